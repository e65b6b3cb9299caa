"""A world to run nodes in: one network, one clock, one seed, and a look at everything after every step.

The nodes are the very class that runs in production, built of the same parts; only their link, their clock, their
signer and their chance come from here. The world starts and kills them, asks them for lookups and records, and checks
what they answer against what it alone knows: who really is a member.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.lookup import Quality, Route
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.ring import RingId, distance
from chordtwist.node.environment import Environment, NodeOptions
from chordtwist.node.node import Node
from chordtwist.node.ring.ring_trace import RingTrace, Step
from chordtwist.simulation.chance import Delays, pick
from chordtwist.simulation.clock import SECOND_US, HeapClock, microseconds
from chordtwist.simulation.invariants import RingCheck
from chordtwist.simulation.link import SimulatedLink
from chordtwist.simulation.network import CONTINENT, SimulatedNetwork
from chordtwist.simulation.signer import SimulatedSigner, verify_simulated
from chordtwist.simulation.trace import Trace
from chordtwist.storage.memory import MemoryRecordStore

BEGAN_MS = 1_700_000_000_000
"""Wall time at which every simulation begins."""

SEEDS_TOLD = 3
"""Members that a starting node is told of, as a list of bootstrap nodes would."""

GROW_WAIT_S = 60
"""Seconds that a newcomer to a small ring is waited for."""

CONFIRM_S = 10.0
"""A ring that stays ideal for so long is taken for settled."""


class World:
    """Everything of one run."""

    def __init__(
        self,
        seed: int,
        parameters: Parameters | None = None,
        delays: Delays = CONTINENT,
        stabilize_interval_s: float = 1.0,
        build: Callable[..., Node] = Node,
    ) -> None:
        """@param build: makes the nodes; tests of the checker pass one that breaks a rule."""
        self.seed = seed
        self.parameters = parameters if parameters is not None else Parameters(network="simulation")
        self.identity = Identity(self.parameters.network, self.parameters.policy)
        self.stabilize_interval_s = stabilize_interval_s
        self.build = build
        self.rng = Random(seed)
        self.trace = Trace()
        self.clock = HeapClock()
        self.network = SimulatedNetwork(self.clock, Random(self.rng.getrandbits(64)), self.trace, delays)
        self.network.misled = self._misled
        self.check = RingCheck(self.parameters.successors, self.trace)
        self.hosts: dict[Peer, Host] = {}
        """Every address that ever ran a node."""
        self.live: dict[Peer, Host] = {}
        """Those whose process runs, member or not, in the order of their start."""
        self.leaving: dict[Peer, None] = {}
        """Those of them that were told to leave."""
        self.seed_peers: list[Peer] | None = None
        """The bootstrap list of everybody; None: a few members, the same until one of them is none any more, as a well
        kept name would tell."""
        self.remembered: list[Peer] = []
        """Whom every node was in a ring with, as an earlier run of it has kept."""
        self.quota: Quota | None = None
        """What one address may leave at each node; None: the default."""
        self.evicts = False
        """Whether nodes take for dead whom they convict."""
        self._well_known: list[Peer] = []
        self.skew_ms: Callable[[], int] = lambda: 0
        """By how much the wall clock of a host is ahead, asked for each new host."""
        self.errors: list[str] = []
        """What nodes logged as failures: bugs, each of them."""
        self.may_break: Callable[[Peer], bool] = lambda asker: False
        """Whether a peer that breaks the protocol does so on purpose; else it is a bug."""
        self.timers_left = 0
        """Calls that stopped nodes still waited for: there should be none."""
        self.membership: list[tuple[int, Peer]] = []
        """Every change of who is a member: when, and who."""
        self.each_second: list[Callable[[], None]] = []
        self.trace_ring: Callable[[Step], object] | None = None
        """Told each step of the trace of the ring, where somebody wants one."""
        self._addresses = 0
        self._failures = Failures(self)
        globalLogPublisher.addObserver(self._failures)

    def close(self) -> None:
        """End the world; nothing of it goes on."""
        for host in list(self.live.values()):
            host.node.stop()
            host.link.clock.end()
        globalLogPublisher.removeObserver(self._failures)

    # Hosts

    def address(self, number: int | None = None) -> Peer:
        """Make the peer at the address of that number, or at one not used before."""
        if number is None:
            number = self._addresses
        self._addresses = max(self._addresses, number + 1)
        return self.identity.peer(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 6401)

    def start(self, peer: Peer | None = None) -> Host:
        """Start a node at `peer`, or at a fresh address; at one where a node ran before it is a restart."""
        if peer is None:
            peer = self.address()
        if peer in self.live:
            raise ValueError(f"a node runs at {peer} already")
        host = self.hosts.get(peer)
        if host is None:
            host = self.hosts[peer] = Host(self, peer)
        self.live[peer] = host
        host.run()
        return host

    def crash(self, *peers: Peer) -> None:
        """Their processes die at this instant; their hosts reset the links."""
        self._die(peers, SimulatedLink.crash)

    def power_off(self, *peers: Peer) -> None:
        """Their hosts die at this instant, without a sound."""
        self._die(peers, SimulatedLink.power_off)

    def leave(self, peer: Peer) -> Deferred[None]:
        """Let a node leave in good order; fires when its process has ended."""
        host = self.live[peer]
        link = host.link
        self.leaving[peer] = None
        self.trace.act(self.clock.now_us, "{} leaves", peer)

        def left(result: None) -> None:
            if peer not in self.live or host.link is not link:
                return  # it died meanwhile
            host.look()
            del self.live[peer]
            self.leaving.pop(peer, None)
            self._end(host, SimulatedLink.close)

        leaving = host.node.leave().addCallback(left)
        host.look()
        return leaving

    def _die(self, peers: Iterable[Peer], end: Callable[[SimulatedLink], None]) -> None:
        dying = [self.live.pop(peer) for peer in peers]
        for host in dying:
            self.leaving.pop(host.peer, None)
        self.check.ended(self.clock.now_us, [host.peer for host in dying if host.is_member])
        for host in dying:
            self.trace.act(self.clock.now_us, "{} dies", host.peer)
            self.membership.append((self.clock.now_us, host.peer))
            host.is_member = False
            self._end(host, end)

    def _end(self, host: Host, end: Callable[[SimulatedLink], None]) -> None:
        host.node.stop()
        if host.ring_trace is not None:
            host.ring_trace.ended()
        self.timers_left += host.link.clock.calls
        end(host.link)

    def members(self) -> list[Peer]:
        """Those that are members now, in the order of their start."""
        return [peer for peer, host in self.live.items() if host.is_member]

    def node(self, peer: Peer) -> Node:
        """Find the node that runs at `peer`."""
        return self.live[peer].node

    def seeds(self, me: Peer) -> list[Peer]:
        """List whom a node is told of when it asks for its bootstrap list."""
        if self.seed_peers is not None:
            return self.seed_peers
        members = self.check.members
        self._well_known = [peer for peer in self._well_known if peer in members]
        while len(self._well_known) < min(SEEDS_TOLD, len(members)):
            peer = self.check.owner(self.rng.getrandbits(256))
            if peer is not None and peer not in self._well_known:
                self._well_known.append(peer)
        return [peer for peer in self._well_known if peer != me]

    # Time

    @property
    def now_s(self) -> float:
        return self.clock.now_us / SECOND_US

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until_us = self.clock.now_us + microseconds(seconds)
        while self.clock.now_us < until_us:
            step_us = min(until_us, (self.clock.now_us // SECOND_US + 1) * SECOND_US)
            self.clock.run_until(step_us)
            if step_us % SECOND_US == 0:
                self.trace.settle()
                self.check.forgive()
                for told in self.each_second:
                    told()

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something in so many seconds; it belongs to no host, and nobody can cancel it."""
        self.clock.at(self.clock.now_us + microseconds(seconds), lambda _: act(), None)

    def wrong(self) -> list[str]:
        """List what is not ideal on the ring, in words; nodes that are no members yet count."""
        waiting = [f"{peer} is no member yet" for peer, host in self.live.items() if not host.is_member]
        return waiting + self.check.wrong_pointers()

    def settle(self, within_s: float) -> float | None:
        """Run until the ring has been ideal for `CONFIRM_S`; after how many seconds it became so, or None."""
        began_s = self.now_s
        ideal_since: float | None = None
        while self.now_s - began_s < within_s + CONFIRM_S:
            if self.wrong():
                ideal_since = None
            elif ideal_since is None:
                ideal_since = self.now_s
            elif self.now_s - ideal_since >= CONFIRM_S:
                return ideal_since - began_s
            self.run(1.0)
        return None

    def grow(self, count: int, per_second: float = 20.0) -> None:
        """Let `count` nodes join, unhurried: one by one while the ring is small, then so many a second."""
        small = 2 * self.parameters.successors + 2
        for _ in range(count):
            self.start()
            if len(self.live) > small:
                self.run(1 / per_second)
            else:
                for _ in range(GROW_WAIT_S):
                    if len(self.check.members) == len(self.live):
                        break
                    self.run(1)

    # Lookups

    def find(
        self,
        asker: Peer,
        position: RingId,
        told: Callable[[LookupResult], None],
        quality: Quality = Quality.VERIFIED,
    ) -> None:
        """Let a node look a position up, and judge its answer."""
        began_us = self.clock.now_us
        host = self.live[asker]

        def judged(result: Route | Failure) -> None:
            if host.link.ended:
                return
            route = None if isinstance(result, Failure) else result
            told(self._judge(began_us, position, route, host.node.liveness.is_silent))

        host.node.find(position, quality).addBoth(judged)

    def _judge(
        self, began_us: int, position: RingId, route: Route | None, is_silent: Callable[[Peer], bool]
    ) -> LookupResult:
        answer = None if route is None else route.owner
        took_us = self.clock.now_us - began_us
        verdict = "wrong"
        if answer is not None:
            if answer == self.check.owner(position):
                verdict = "right"
            elif self.check.suspended or self._was_owner(answer, position, began_us):
                # While there is more than one ring, each has an owner of its own.
                verdict = "explained"
            elif self._was_owner(answer, position, began_us, is_silent):
                verdict = "unreached"
        if verdict == "wrong":
            self.trace.line(
                self.clock.now_us,
                "?? a lookup begun {} ms ago found {}, not {}",
                took_us // 1000,
                answer,
                self.check.owner(position),
            )
        return LookupResult(verdict, route, took_us)

    def _was_owner(
        self, answer: Peer, position: RingId, began_us: int, is_out: Callable[[Peer], bool] = lambda peer: False
    ) -> bool:
        """Whether a membership change during the lookup explains its answer: nobody who was a settled member all the
        time stands nearer, those left aside that are out of it, and the answer was a member at some time.
        """
        changed = {peer for _, peer in self.membership[bisect_right(self.membership, began_us, key=lambda c: c[0]) :]}
        if answer not in changed and answer not in self.check.members:
            return False
        gap = distance(position, answer.id)
        for peer in self.check.followers(position):
            if distance(position, peer.id) >= gap:
                return True
            pointers = self.check.members[peer]
            if pointers.settled_by(began_us) and peer not in changed and not is_out(peer):
                return False
        return True

    # What nodes tell

    def _misled(self, asker: Peer, asked: Peer, reason: str) -> None:
        if not self.may_break(asker):
            self.errors.append(f"{self.now_s:.6f} {asker} asked {asked} what broke the protocol: {reason}")


FOLDERS = re.compile(r'(?<=File ")[^"]*/(?=(?:chordtwist|site-packages)/)')
"""In a traceback, where the package or the libraries lie."""


@implementer(ILogObserver)
class Failures:
    """Keeps what nodes log as failures: they go on, as they should, but each is a bug."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            # Sweeps compare what they found on other machines, where the same files lie elsewhere.
            told = FOLDERS.sub("", failure.getTraceback())
            self._world.errors.append(f"{self._world.now_s:.6f} {told}")


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What became of one lookup: "right", "explained" by a membership change during it, "unreached" when the asker's
    questions to the owner went unanswered and it found who comes next, or "wrong".
    """

    verdict: str
    route: Route | None
    took_us: int


class Host:
    """One address: what survives a restart, and the run of the node there."""

    __slots__ = (
        "_changes",
        "_epoch",
        "_is_out",
        "_seed",
        "_world",
        "is_member",
        "link",
        "node",
        "peer",
        "ring_trace",
        "skew_ms",
        "store",
    )

    def __init__(self, world: World, peer: Peer) -> None:
        self._world = world
        self._epoch = 0
        self._seed = world.rng.getrandbits(64)
        self._changes = -1
        self.peer = peer
        self.skew_ms = world.skew_ms()
        """By how much its wall clock is ahead."""
        self.is_member = False
        self._is_out = False
        self.link: SimulatedLink
        self.node: Node
        self.ring_trace: RingTrace | None = None
        self.store: MemoryRecordStore

    def run(self) -> None:
        """Start the node; it has forgotten everything but its key and its epoch."""
        world = self._world
        signer = SimulatedSigner(self._seed.to_bytes(8, "big"))
        self.is_member = self._is_out = False
        self._changes = -1
        self.link = world.network.link(self.peer, signer.public)
        self.store = MemoryRecordStore()
        rng = Random(world.rng.getrandbits(64))
        self.node = world.build(
            self.peer,
            world.identity,
            world.parameters,
            self.link,
            self.store,
            Environment(
                self.link.clock,
                self.wall_ms,
                rng,
                rng,
                signer,
                verify_simulated,
                self._next_epoch,
                lambda: succeed(world.seeds(self.peer)),
                lambda: world.remembered,
                self.life_ms,
            ),
            NodeOptions(world.stabilize_interval_s, quota=world.quota, evicts=world.evicts),
        )
        self.ring_trace = None if world.trace_ring is None else RingTrace(self.node, self.life_ms, world.trace_ring)
        self.link.clock.after = self.look
        self.link.listen(self.node)
        world.trace.act(world.clock.now_us, "{} starts", self.peer)
        self.node.start()
        self.look()

    def twin(self, seconds: float) -> Host:
        """Run a second machine with a copy of what survives a restart here, at the same address, for so long: now one
        of the two is reached there, now the other. Only the first one's ring is looked at.
        """
        world = self._world
        twin = Host(world, self.peer)
        twin._seed, twin._epoch, twin.skew_ms = self._seed, self._epoch, self.skew_ms
        twin.run()
        twin.link.clock.after = None

        def turn() -> None:
            alive = [host.link for host in (self, twin) if not host.link.ended]
            world.network.opened(pick(world.rng, alive))

        def end() -> None:
            world.each_second.remove(turn)
            twin.node.stop()
            twin.link.crash()
            if not self.link.ended:
                world.network.opened(self.link)

        world.each_second.append(turn)
        world.after(seconds, end)
        return twin

    def put_out(self) -> None:
        """Count it as no member any more, until it is started anew, since the others took it for dead."""
        self._is_out = True
        self.look()

    def life_ms(self) -> int:
        """Read the clock that lives are counted on: it goes on while the machine is suspended."""
        return self._world.clock.now_us // 1000

    def wall_ms(self) -> int:
        """Read its wall clock, in ms."""
        return BEGAN_MS + self.skew_ms + self._world.clock.now_us // 1000

    def _next_epoch(self) -> int:
        self._epoch = max(self.wall_ms(), self._epoch + 1)
        return self._epoch

    def look(self) -> None:
        """See whether a ring pointer of the node, or its membership, has changed, and have the ring checked."""
        routing = self.node.routing
        is_member = self.node.is_member and not self._is_out
        if routing.changes == self._changes and is_member is self.is_member:
            return
        self._changes = routing.changes
        world = self._world
        check, now_us = world.check, world.clock.now_us
        before, behind, whole = routing.predecessor, routing.successors, routing.whole
        if is_member:
            if self.is_member:
                known = check.members[self.peer]
                if known.predecessor is before and known.successors is behind and known.whole is whole:
                    return
                for lost in known.successors:
                    if lost in routing.removed and self.node.liveness.is_dead(lost, self.link.clock.seconds()):
                        check.judged_dead(now_us, self.peer, lost)
                self._tell("now has")
                check.changed(now_us, self.peer, before, behind, whole)
            else:
                self.is_member = True
                world.membership.append((now_us, self.peer))
                self._tell("is a member:")
                check.went_live(now_us, self.peer, before, behind, whole)
        elif self.is_member:
            self.is_member = False
            world.membership.append((now_us, self.peer))
            self._tell("is no member any more:")
            check.ended(now_us, [self.peer])

    def _tell(self, what: str) -> None:
        routing = self.node.routing
        self._world.trace.line(
            self._world.clock.now_us,
            "{} {} {} < > {}{}",
            self.peer,
            what,
            routing.predecessor,
            _Shown(routing.successors),
            " whole" if routing.whole else "",
        )


class _Shown:
    """A list of peers, put into words only when somebody reads it."""

    __slots__ = ("_peers",)

    def __init__(self, peers: tuple[Peer, ...]) -> None:
        self._peers = peers

    def __str__(self) -> str:
        shown = " ".join(map(str, self._peers[:4]))
        return shown + (f" +{len(self._peers) - 4}" if len(self._peers) > 4 else "")
