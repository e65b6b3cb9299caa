"""Everything at random, within what the proof assumes."""

from __future__ import annotations

from collections.abc import Callable

from chordtwist.core.peer import Peer
from chordtwist.simulation.chance import below, pick, pick_some
from chordtwist.simulation.faults import Clog, Cut, Duplicating, Loss, Overtaking, Rule, SlowHost
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario

MOST_WAITING = 6
"""Newcomers that wait to become members: a small ring takes in one at a time, and none while a path to it is broken."""


@scenario(
    "Everything at random: ebbing and flooding across the small-ring switch, every fault there is, then peace. "
    "Each ebb and flood goes to a random size on the other side of the switch; newcomers, ends and faults come in "
    "both."
)
def mixed(run: Run) -> None:
    world = run.world
    run.may_misjudge = True
    run.grow(max(2, run.options.nodes >> world.rng.getrandbits(1)))
    run.load()
    tide = _Tide(run)
    until_s = world.now_s + run.options.minutes * 60
    while world.now_s < until_s:
        world.run(tide.happen())
        tide.turn()
    run.notes.update(tide.turns)
    for host in list(world.live.values()):
        host.link.resume()
    run.rest()
    for peer in tide.away:
        if peer not in world.live:
            world.start(peer)
    run.finish()


@scenario(
    "Nodes join three at a time and end one at a time, all the while, in a ring little larger than a list is long."
)
def crowd(run: Run) -> None:
    world, rng = run.world, run.world.rng
    run.grow(2 * run.options.successors + 4)
    run.load()
    until_s = world.now_s + run.options.minutes * 60
    while world.now_s < until_s:
        for _ in range(3):
            if len(world.live) < run.options.nodes:
                world.start()
        world.run(1.5 * rng.random())
        staying = [p for p in world.check.members.values() if p.linked and p.peer not in world.leaving]
        peer = pick(rng, staying).peer
        if len(staying) > run.options.successors + 3 and _survivable(run, [peer]):
            (world.leave if rng.getrandbits(1) else world.crash)(peer)
        world.run(rng.random())
    run.finish()


class _Tide:
    """The ring ebbs to a random size and floods to another, by one random event after another.

    Most events are small; bursts stay below what a list can lose, so that the assumptions can hold.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.world = run.world
        self.rng = run.world.rng
        self.away: list[Peer] = []
        """Addresses whose node ended; some come back."""
        self.turns = {"ebbs": 0, "floods": 0}
        self._storm: list[Rule] = []
        self._ebbs = len(self.world.live) > run.options.successors + 1
        self._target = self._turning_point()

    def happen(self) -> float:
        """Let one random event happen, and tell for how many seconds there is no other; a ring of fewer than three only
        grows.

        What it draws comes of its number, not of what was drawn before: so one that is left out, when a run is shrunk,
        changes of the others only what follows from the ring.
        """
        number, self.run.events = self.run.events, self.run.events + 1
        self.rng.seed(f"{self.run.options.seed} {number}")
        pause_s = self.rng.random() * self.rng.random() * 4
        draw = below(self.rng, 100)
        members = self.world.members()
        if len(members) < 3:
            draw = 0
        event = next(event for above, event in (EBBING if self._ebbs else FLOODING) if draw < above)
        if number not in self.run.options.without:
            event(self, members)
        return pause_s

    def turn(self) -> None:
        """Turn from ebb to flood, or back, once the ring is as small, or as large, as was meant."""
        members = len(self.world.check.members)
        if members <= self._target if self._ebbs else members >= self._target:
            self.turns["ebbs" if self._ebbs else "floods"] += 1
            self._ebbs = not self._ebbs
            self.rng.seed(f"{self.run.options.seed} {self.turns}")
            self._target = self._turning_point()

    def _turning_point(self) -> int:
        """At how many members it turns: on the other side of the switch where it can be."""
        r, most = self.run.options.successors, self.run.options.nodes
        return 2 + below(self.rng, r) if self._ebbs else most - below(self.rng, max(1, most - 2 * r - 1))

    # Events

    def arrive(self, members: list[Peer]) -> None:
        """Start some nodes, every second one at the address of one that ended."""
        world, rng, options = self.world, self.rng, self.run.options
        for _ in range(1 + below(rng, 1 + options.successors // 4)):
            if len(world.live) < min(options.nodes, len(members) + MOST_WAITING):
                back = [peer for peer in self.away if peer not in world.live]
                world.start(pick(rng, back) if back and rng.getrandbits(1) else None)

    def end(self, members: list[Peer]) -> None:
        """One member ends, or some at once, neighbours or not: it crashes, loses power or leaves."""
        world, rng = self.world, self.rng
        most = max(1, self.run.options.successors // 2)
        count = 1 if rng.getrandbits(2) else 1 + below(rng, min(most, len(members) // 3))
        if rng.getrandbits(1):
            followers = world.check.followers(rng.getrandbits(256))
            ending = [next(followers) for _ in range(count)]
        else:
            ending = pick_some(rng, members, count)
        if not _may_end(self.run, ending):
            return
        self.away += ending
        way = below(rng, 3)
        if way == 0:
            world.crash(*ending)
        elif way == 1:
            world.power_off(*ending)
        else:
            for peer in ending:
                world.leave(peer)

    def restart(self, members: list[Peer]) -> None:
        """Crash a member and start it within a second, often before anybody has noticed."""
        peer = pick(self.rng, members)
        if _may_end(self.run, [peer]):
            self.world.crash(peer)
            self.world.run(self.rng.random())
            self.world.start(peer)

    def pause(self, members: list[Peer]) -> None:
        """Let a member stand still."""
        peer = pick(self.rng, members)
        link = self.world.live[peer].link
        self.world.trace.act(self.world.clock.now_us, "{} stands still", peer)
        link.pause()
        self.world.after(1.5 * self.rng.random(), link.resume)

    def clog(self, members: list[Peer]) -> None:
        """Clog a path."""
        self._install(Clog(*pick_some(self.rng, members, 2)), 2)

    def cut(self, members: list[Peer]) -> None:
        """Cut a path: where hardly anybody is left to ask on one's behalf, not until it looks like death."""
        self._install(Cut(*pick_some(self.rng, members, 2)), 6 if len(members) > 4 else 2)

    def slow(self, members: list[Peer]) -> None:
        """Make a member slow."""
        self._install(SlowHost(pick(self.rng, members), below(self.rng, 250_000)), 5)

    def storm(self, members: list[Peer]) -> None:
        """Messages everywhere are lost, come twice and overtake one another, until it is calm."""
        rng = self.rng
        self.calm(members)
        self._storm = [
            Loss(0.15 * rng.random()),
            Duplicating(0.1 * rng.random()),
            Overtaking(0.1 * rng.random(), 400_000),
        ]
        self.world.trace.act(self.world.clock.now_us, "a storm begins")
        self.world.network.faults.install(*self._storm)

    def calm(self, members: list[Peer]) -> None:
        """End a storm."""
        self.world.network.faults.remove(*self._storm)

    def _install(self, fault: Rule, most_s: float) -> None:
        """Have a fault for a random time up to `most_s`."""
        network = self.world.network
        self.world.trace.act(self.world.clock.now_us, "{}", fault)
        network.faults.install(fault)
        self.world.after(most_s * self.rng.random(), lambda: network.faults.remove(fault))


_Event = Callable[[_Tide, list[Peer]], None]

_FAULTS: tuple[tuple[int, _Event], ...] = (
    (72, _Tide.pause),
    (79, _Tide.clog),
    (86, _Tide.cut),
    (90, _Tide.slow),
    (95, _Tide.storm),
    (100, _Tide.calm),
)
EBBING = ((15, _Tide.arrive), (60, _Tide.end), (65, _Tide.restart), *_FAULTS)
FLOODING = ((50, _Tide.arrive), (53, _Tide.end), (56, _Tide.restart), *_FAULTS)
"""What happens at a draw from 0 to 99: the first event whose number is above it."""


def _may_end(run: Run, peers: list[Peer]) -> bool:
    """Whether the proof's assumptions survive their end: everybody else keeps a living entry, and enough members are
    principal. Otherwise nearly every run would break them, and check little.
    """
    check = run.world.check
    gone = dict.fromkeys((*peers, *run.world.leaving))
    skipped = dict.fromkeys(check.skipped())
    staying = [p.peer for p in check.members.values() if p.linked and p.peer not in gone]
    principals = len(staying) - sum(1 for peer in staying if peer in skipped)
    return principals >= min(len(staying), run.options.successors + 1) and _survivable(run, peers)


def _survivable(run: Run, peers: list[Peer]) -> bool:
    """Whether every member that stays keeps a living entry in its list."""
    members = run.world.check.members
    gone = dict.fromkeys((*peers, *run.world.leaving))
    rest = [pointers for peer, pointers in members.items() if peer not in gone]
    return len(rest) == 1 or all(any(p in members and p not in gone for p in q.successors) for q in rest)
