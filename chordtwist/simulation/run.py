"""One run of a scenario: the world, what goes on in it, what is expected of it, and what became of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.simulation.evictions import Evictions
from chordtwist.simulation.records import Records
from chordtwist.simulation.workload import Lookups
from chordtwist.simulation.world import World

if TYPE_CHECKING:
    from chordtwist.simulation.byzantine import Figures

SAMPLES = 300
"""Points of a plot."""

REPAIR_S = 130.0
"""Two rounds of repair: after so long in a ring at rest every record must be where it belongs."""

WARM_MAX = 64
"""So many members at most walk round the ring before anything is looked up: each keeps a table of everybody."""

WARM_WITHIN_S = 1800.0

SETTLE_S = 300.0
"""A healed ring that has not become ideal by then never will."""


class Interrupted(Exception):
    """Somebody does not want to wait for the end of a run."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one run is made of."""

    nodes: int = 100
    seed: int = 1
    minutes: float = 10.0
    scenario: str = "steady"
    session_median_s: float | None = None
    """Half of all nodes stay for less than this; None: nobody goes."""

    lookups: int | None = None
    """Lookups during the run; None: two a second."""

    successors: int = 16
    replication: int = 4
    stabilize_interval_s: float = 1.0
    records: int | None = None
    """Records put during the run; None: one for each node, at most 1,000."""

    byzantine: float = 0.0
    """The share of nodes that lie; the scenario is then the attack."""

    attack: str = "budgeted"
    how: str = "far"
    """Whom they lie to: "far" leaves their ring neighbours out, "all" nobody."""

    warm: bool = False
    """Whether those that look positions up have walked round the ring before."""

    grown: bool = False
    """Whether they lie from their first word, while the ring grows."""

    evict: bool = False
    """Whether nodes take for dead whom they convict."""

    without: tuple[int, ...] = ()
    """Which events of the scenario `mixed`, counted from 0, do not happen."""

    def command(self) -> str:
        """Spell the command that does this run again, to the bit."""
        words = ["chordtwist simulate", f"--scenario {self.scenario}", f"--nodes {self.nodes}", f"--seed {self.seed}"]
        words.append(f"--minutes {self.minutes:g}")
        if self.session_median_s is not None:
            words.append(f"--session-median {self.session_median_s:g}")
        if self.byzantine:
            words.append(f"--byzantine {self.byzantine:g} --attack {self.attack} --how {self.how}")
            words += ["--grown"] if self.grown else []
        words += ["--evict"] if self.evict else []
        words += ["--warm"] if self.warm else []
        for name in ("lookups", "records"):
            if (value := getattr(self, name)) is not None:
                words.append(f"--{name} {value}")
        if self.without:
            words.append(f"--without {','.join(map(str, self.without))}")
        for name, default in (("successors", 16), ("replication", 4), ("stabilize_interval_s", 1.0)):
            if (value := getattr(self, name)) != default:
                words.append(f"--{name.removesuffix('_s').replace('_', '-')} {value:g}")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of the world at one moment; what is counted is counted since the sample before."""

    at_s: float
    members: int
    wrong_pointers: int
    lookups: int
    lookups_wrong: int
    bytes_per_node_s: float
    watched: dict[str, float]
    """Figures of this scenario's own, by their titles."""


class Run:
    """A scenario calls its methods one after another; afterwards everything that `report` tells is here."""

    def __init__(
        self,
        options: Options,
        progress: Callable[[float], None] | None = None,
        world: World | None = None,
    ) -> None:
        """@param progress: told the simulated seconds that have passed, once per simulated second."""
        self.options = options
        self.world = (
            world
            if world is not None
            else World(
                options.seed,
                Parameters(network="simulation", successors=options.successors, replication=options.replication),
                stabilize_interval_s=options.stabilize_interval_s,
            )
        )
        self.lookups = Lookups(self.world)
        self.records = Records(self.world)
        self.failures: list[str] = []
        """What was expected and did not come true."""
        self.may_misjudge = False
        """Whether the scenario breaks the network so that live nodes may be judged dead."""
        self.events = 0
        """Random events that have happened, or that the options left out."""
        self.notes: dict[str, object] = {}
        """Figures of this scenario's own."""
        self.watch: Callable[[], dict[str, float]] = dict
        """Figures that a scenario wants in every sample."""
        self.world.evicts = options.evict
        self.evictions = Evictions(self.world)
        self.figures: Figures | None = None
        """What liars achieved, where there are any."""
        self.samples: list[Sample] = []
        self.converged_s: float | None = None
        """After how many seconds of peace, or of its beginning, the ring was ideal for the first time."""
        self.due = self.readable = self.gone = 0
        """Records that should be there at the end, that were read, and of which no copy is left."""
        self.interrupted = False
        """Set from outside: the run raises `Interrupted` at the end of this simulated second."""
        self.node_seconds = 0.0
        self.load_began: tuple[float, Counter[str]] | None = None
        self._began = time.monotonic()
        self._sampled = (0.0, 0, 0, 0, 0.0)
        self._sample_every_s = max(1, int(options.minutes * 60 / SAMPLES))
        self._progress = progress
        self.world.each_second.append(self._each_second)

    # What a scenario says

    def grow(self, count: int | None = None) -> list[Peer]:
        """Let the ring grow by so many nodes, unhurried, and become ideal."""
        before = len(self.world.live)
        self.world.grow(self.options.nodes if count is None else count)
        self.settle("the ring formed")
        return list(self.world.live)[before:]

    def load(self, share: float = 1.0) -> None:
        """Look up, put and read from now on, at the rate that spreads the counts of the options over their minutes."""
        options = self.options
        seconds = max(1.0, options.minutes * 60)
        lookups = options.lookups if options.lookups is not None else 2 * seconds
        records = options.records if options.records is not None else min(options.nodes, 1000)
        if options.warm:
            self.warm()
        if lookups:
            self.lookups.begin(share * lookups / seconds)
        if records:
            self.records.begin(share * records / seconds, share * 2 * records / seconds)
        self.count_traffic()

    def count_traffic(self) -> None:
        """Tell of the traffic from now on."""
        self.load_began = (self.world.now_s, self.world.network.bytes_by_part.copy())
        self.node_seconds = 0.0

    def warm(self) -> None:
        """Let some members walk until they have met everybody their address books name; only they look up then."""
        askers = self.world.members()[:: max(1, len(self.world.check.members) // WARM_MAX)]
        walking = [self.world.live[peer].node.walker.meet_everybody() for peer in askers]
        self.until(lambda: all(walk.called for walk in walking), WARM_WITHIN_S, "walked round the ring")
        self.lookups.askers = askers

    def minutes(self, share: float = 1.0) -> None:
        """Let this share of the minutes of the options pass."""
        self.world.run(self.options.minutes * 60 * share)

    def rest(self) -> None:
        """Nobody asks for anything any more, nothing is broken any more."""
        self.lookups.stop()
        self.records.stop()
        self.world.network.faults.heal()

    def settle(self, what: str, within_s: float = SETTLE_S) -> None:
        """Let the ring become ideal; it is expected to."""
        took_s = self.world.settle(within_s)
        if self.converged_s is None or self.load_began is not None:
            self.converged_s = took_s
        wrong = self.world.wrong()
        self.expect(
            took_s is not None, f"{what}: not ideal within {within_s:.0f} s: {len(wrong)} wrong, {'; '.join(wrong[:3])}"
        )

    def read_everything(self, what: str = "at the end") -> None:
        """Read every confirmed record once; each that has a living copy is expected to be there."""
        self.due, self.readable, self.gone = self.records.read_everything()
        self.expect(
            self.readable + self.gone >= self.due,
            f"{what} {self.due - self.readable - self.gone} of {self.due} records with a living copy were not read",
        )

    def until(self, true: Callable[[], bool], within_s: float, what: str) -> None:
        """Let time pass until something is true; it is expected to become so."""
        for _ in range(int(within_s * 20)):
            if true():
                return
            self.world.run(0.05)
        self.expect(true(), f"not within {within_s:g} s: {what}")

    def until_members(self, *peers: Peer, within_s: float = 30) -> None:
        """Let time pass until all of these nodes are members; they are expected to become so."""
        live = self.world.live
        self.until(lambda: all(live[peer].is_member for peer in peers), within_s, f"{' '.join(map(str, peers))} joined")

    def expect(self, true: bool, what: str) -> None:
        """Note `what` as a failure of the run unless it is so."""
        if not true:
            self.failures.append(what)
            self.world.trace.line(self.world.clock.now_us, "!! {}", what)

    def finish(self) -> None:
        """Peace, then everything must come right: the ring, and after so long the records."""
        self.rest()
        self.settle("healed")
        if self.records.stored:
            self.world.run(REPAIR_S)
            self.read_everything()
        self.world.check.recount()

    # What became of it

    @property
    def wall_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def assumptions_held(self) -> bool:
        """Whether the proof's assumptions held: only then a violation means a wrong rule."""
        return not self.world.check.bursts and not self.world.check.misjudged

    def problems(self) -> list[str]:
        """Everything that must not be, in words; none: the run is good."""
        check = self.world.check
        unjust = [f"{peer} is honest, and convicted" for peer in self.evictions.honest_evicted]
        if self.figures is not None:  # liars break what they can: only errors of ours are problems
            return [f"bug: {error}" for error in self.world.errors[:5]] + unjust + self.failures
        found = [f"{v.at_us / 1e6:.6f} {v.invariant}: {v.what}" for v in check.violations]
        found += [f"record: {what}" for what in self.records.violations]
        found += [f"bug: {error}" for error in self.world.errors[:5]]
        if check.misjudged and not self.may_misjudge:
            found.append(f"{check.misjudged} live heads were given up, in a network that works")
        return found + unjust + self.failures

    def bytes_per_node_s(self) -> dict[str, float]:
        """Traffic since the load began, by node that ran and second, for each part of a node that asked; the largest
        comes first.
        """
        if self.load_began is None or not self.node_seconds:
            return {}
        since = self.world.network.bytes_by_part - self.load_began[1]
        return {part: count / self.node_seconds for part, count in since.most_common()}

    def _each_second(self) -> None:
        world = self.world
        self.node_seconds += len(world.live)
        if self._progress is not None:
            self._progress(world.now_s)
        if world.now_s - self._sampled[0] >= self._sample_every_s:
            self._sample()
        if self.interrupted:
            raise Interrupted

    def _sample(self) -> None:
        world, lookups = self.world, self.lookups
        before_s, bytes_before, asked_before, wrong_before, _ = self._sampled
        now = (world.now_s, world.network.traffic_bytes(), lookups.answered, lookups.wrong, self.node_seconds)
        self._sampled = now
        nodes = max(1, len(world.live))
        self.samples.append(
            Sample(
                now[0],
                len(world.check.members),
                len(world.check.wrong_pointers()),
                now[2] - asked_before,
                now[3] - wrong_before,
                (now[1] - bytes_before) / (now[0] - before_s) / nodes,
                self.watch(),
            )
        )
