"""Members of one ring as replication sees them: pointers that are always right, on the simulated network.

Every question and answer goes through its bytes, which are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from random import Random

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Quality, Route
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import Record, position_of
from chordtwist.core.ring import Arc, RingId, distance
from chordtwist.node.interfaces import IAnswer, IRecordStore, IRing
from chordtwist.node.records.hash_table import HashTable
from chordtwist.simulation.chance import constant
from chordtwist.simulation.clock import HeapClock, HostClock
from chordtwist.simulation.faults import DROP, PASS, Deliver, Envelope, Rule, Verdict
from chordtwist.simulation.network import SimulatedNetwork
from chordtwist.simulation.trace import Trace
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire.peer_messages import Answer, Hello, NotMember, Question, Store
from tests.builders import IDENTITY, peer, places

DELAY_S = 0.01
"""One way."""

WALL_MS = 1_800_000_000_000


def key_in(arc: Arc, number: int = 0) -> bytes:
    """A key whose position lies in `arc`; another one for each number."""
    return keys_in(arc, number + 1)[number]


def keys_in(arc: Arc, count: int) -> list[bytes]:
    """So many keys whose positions lie in `arc`, of at least a thousandth of the ring."""
    found: list[bytes] = []
    for attempt in range(2_000 * (count + 10)):
        key = sha256(b"%d" % attempt).digest()
        if position_of(key) in arc:
            found.append(key)
            if len(found) == count:
                return found
    raise AssertionError("the arc is too short")


@implementer(IRing, IAnswer)
class Member:
    """One member: what `Node` is to its `HashTable`.

    @ivar view: what it takes for the ring, when that is not the truth. @ivar skew_ms: by how much the time that
    it goes by is ahead. @ivar asked: every question it
    has put, with whom. @ivar searched: of what quality. @ivar guess: who a quick search takes for the members.
    @ivar guess_s: how long one takes.
    """

    def __init__(self, ring: RecordRing, me: Peer, store: IRecordStore, quota: Quota | None) -> None:
        self.ring = ring
        self.me = me
        self.identity = IDENTITY
        self.is_member = True
        self.store = store
        self.view: list[Peer] | None = None
        self.skew_ms = 0
        self.asked: list[tuple[Peer, Question]] = []
        self.searched: list[Quality] = []
        self.guess: list[Peer] | None = None
        self.guess_s = 2 * DELAY_S
        self.link = ring.network.link(me, me.packed)
        self.records = HashTable(
            self,
            store,
            self.link.clock,
            lambda: int(self.link.clock.seconds() * 1000),
            Random(me.id),
            ring.parameters,
            default_ttl_s=3600,
            max_ttl_s=86_400,
            quota=quota,
            is_neighbour=ring.is_neighbour,
        )
        self.link.listen(self)

    def _ring(self) -> list[Peer]:
        """Everybody, ourselves last, in the order in which they follow us."""
        members = self.ring.members if self.view is None else self.view
        return sorted(members, key=lambda peer: distance(self.me.id, peer.id) or 1 << 256)

    @property
    def predecessor(self) -> Peer | None:
        others = [peer for peer in self._ring() if peer != self.me]
        return others[-1] if others else None

    @property
    def successors(self) -> tuple[Peer, ...]:
        return tuple([peer for peer in self._ring() if peer != self.me][: self.ring.parameters.successors])

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        if peer == self.me:
            return self.records.replica.answer(peer, question)
        self.asked.append((peer, question))
        if peer in self.ring.refusing:
            refused: Deferred[Answer] = Deferred()
            self.link.clock.callLater(2 * DELAY_S, refused.errback, Unreachable(peer, "refused"))
            return refused
        return self.link.ask(peer, question)

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        """Answer one question from elsewhere: with the truth, or a lie."""
        if not self.is_member:
            return NotMember(b"", bytes(64))
        lie = self.ring.lies[self.me](question) if self.me in self.ring.lies else None
        if lie is not None:
            return lie
        # What stops meanwhile does not answer.
        return self.records.replica.answer(peer, question).addErrback(lambda failure: Deferred())

    def link_lost(self, peer: Peer, reason: str) -> None:
        pass

    def breach(self, peer: Peer, reason: str) -> None:
        raise AssertionError(f"{peer}: {reason}")

    def tell(self, asker: Peer, question: Question) -> Answer:
        """What it answers at once."""
        told: list[Answer] = []
        self.records.replica.answer(asker, question).addCallback(told.append)
        return told[0]

    def known_route(self, position: RingId) -> Route | None:
        if not self.is_member or not self.ring.knows_routes:
            return None
        route = self.ring.route(position, self._ring())
        return replace(route, replicas=route.replicas[: self.ring.known_replicas_max])

    def find(self, position: RingId, quality: Quality = Quality.VERIFIED) -> Deferred[Route]:
        self.searched.append(quality)
        members = self.ring.members if quality is Quality.VERIFIED or self.guess is None else self.guess
        if not self.is_member:
            return fail(Unreachable(None, "nobody can be asked"))
        found: Deferred[Route] = Deferred()
        takes_s = self.ring.verifying_s if quality is Quality.VERIFIED else self.guess_s
        self.link.clock.callLater(takes_s, lambda: found.callback(self.ring.route(position, members)))
        return found

    def neighbours_time_ms(self) -> int:
        return self.skew_ms + self.ring.wall_ms()

    @property
    def searches(self) -> int:
        return len(self.searched)

    def questions(self, kind: type[Question]) -> list[tuple[Peer, Question]]:
        """Whom it has asked that kind of question."""
        return [(peer, question) for peer, question in self.asked if isinstance(question, kind)]


class RecordRing(Rule):
    """All members, on the simulated network, with what happens to their messages as a rule of it.

    @ivar silent: members that nothing comes from any more. @ivar refusing: those whose host resets links: the process
    died. @ivar lies: what members answer instead of the truth; None is the truth. @ivar slow_s: by how much answers of
    members are late. @ivar lose: says of a question whether it is lost.
    """

    def __init__(
        self,
        *members: int,
        replication: int = 4,
        successors: int = 16,
        store: Callable[[], IRecordStore] = MemoryRecordStore,
        quota: Quota | None = None,
        is_neighbour: Callable[[Peer], bool] = lambda peer: True,
    ) -> None:
        self._heap = HeapClock()
        self.clock = HostClock(self._heap)
        self.network = SimulatedNetwork(self._heap, Random(1), Trace(), constant(int(DELAY_S * 1e6)))
        self.network.through_wire = True
        self.network.faults.install(self)
        self.parameters = Parameters("test", IDENTITY.policy, successors, replication)
        self.members: list[Peer] = []
        self.nodes: dict[int, Member] = {}
        self.silent: set[Peer] = set()
        self.refusing: set[Peer] = set()
        self.slow_s: dict[Peer, float] = {}
        self.lies: dict[Peer, Callable[[Question], Answer | None]] = {}
        self.knows_routes = True
        self.verifying_s = 2 * DELAY_S
        self.known_replicas_max = successors
        self.lose: Callable[[Peer, Peer, Question], bool] = lambda asker, asked, question: False
        self._store = store
        self._quota = quota
        self.is_neighbour = is_neighbour
        for place in members:
            self.add(place)
        for node in self.nodes.values():
            node.records.joined(None)

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Lose what nobody hears, and let answers of slow members come late."""
        source, target, message = envelope.source, envelope.target, envelope.message
        if self.severs(source, target):
            return DROP
        if isinstance(message, Question):
            return DROP if self.lose(source, target, message) else PASS
        return Deliver(int(self.slow_s.get(source, 0) * 1e6))

    def severs(self, source: Peer, target: Peer) -> bool:
        """See `Rule.severs`."""
        return source in self.silent or target in self.silent

    @property
    def traffic(self) -> int:
        """Plaintext bytes of all frames but those that greet."""
        return self.network.traffic_bytes() - self.network.bytes_by_kind[Hello.kind]

    def wall_ms(self) -> int:
        """The wall time by every right clock."""
        return WALL_MS + int(self.clock.seconds() * 1000)

    def add(self, place: int) -> Member:
        """A member that is simply there, and has links with all others."""
        member = Member(self, peer(place), self._store(), self._quota)
        for other in self.nodes.values():
            member.link.greet(other.link, "tests")
        self.members = sorted([*self.members, member.me], key=lambda peer: peer.id)
        self.nodes[place] = member
        member.records.start()
        self._changed()
        return member

    def join(self, place: int) -> Member:
        """A newcomer, as it goes live."""
        member = self.add(place)
        member.records.joined(member.successors[0])
        return member

    def die(self, place: int) -> None:
        """The process ends; everybody knows at once."""
        self.crash(place)
        self.forget(place)

    def crash(self, place: int) -> None:
        """The process ends, and nobody knows yet."""
        self.nodes[place].records.stop()
        self.nodes[place].link.crash()

    def forget(self, place: int) -> None:
        """The ring has closed behind it."""
        self.members.remove(peer(place))
        self._changed()

    def _changed(self) -> None:
        for node in self.nodes.values():
            node.records.ring_changed()

    def pass_time(self, seconds: float) -> None:
        """Let everything happen that is due."""
        self._heap.run_until(self._heap.now_us + round(seconds * 1e6))

    def pending(self) -> int:
        """How many timers members have."""
        return sum(node.link.clock.calls for node in self.nodes.values())

    def route(self, position: RingId, members: list[Peer]) -> Route:
        """Who keeps a position, if these are all members."""
        behind = sorted(members, key=lambda peer: distance(position, peer.id))
        return Route(position, tuple(behind[: self.parameters.successors]))

    # What tests ask

    def node(self, place: int) -> Member:
        return self.nodes[place]

    def holders(self, key: bytes) -> list[int]:
        """The places of the members that keep a live record under `key`."""
        return [
            place
            for place, node in sorted(self.nodes.items())
            if node.me in self.members and isinstance(node.records.local_records.get(key), Record)
        ]

    def replicas(self, key: bytes, copies: int = 4) -> list[int]:
        """The places of those that should."""
        return sorted(places(self.route(position_of(key), self.members).replicas[:copies]))

    def value(self, place: int, key: bytes) -> bytes | None:
        """What lies there under `key`."""
        versioned = self.nodes[place].records.local_records.get(key)
        return versioned.value if isinstance(versioned, Record) else None

    def stores(self) -> int:
        """How many `Store` questions have been put by anybody."""
        return sum(len(node.questions(Store)) for node in self.nodes.values())
