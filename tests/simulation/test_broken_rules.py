"""The checks of the simulator see a broken rule, within 200 seeds, in rings of 5 to 12 with lists of 2 or 3.

Each test runs a node with one rule broken until a run fails, and shows that the same runs of the unbroken node do not.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.node.node import Node
from chordtwist.simulation.run import Options, Run
from chordtwist.simulation.scenarios import SCENARIOS
from chordtwist.simulation.world import World
from tests.simulation import broken_rules

SEEDS_MAX = 200
SEEDS_OVERWRITTEN = (4, 43, 10, 14, 16, 9, 3, 1, 5, 6, 8, *range(17, 30))
"""These runs are a hundred times as long; the first ones show most."""

SHORT_SESSION_S = 100.0
"""Whoever took a put brings it to new owners again and again: only where nodes go often is repair missed."""

SEEDS_OF_SHORT_SESSIONS = (8, 13, 19, 14, 7, 4)

SEEDS_OF_CROWDS = 1, 4
"""These runs come first: they show what they are for, and are cheap."""


class BrokenRulesTests(SynchronousTestCase):
    """One rule broken at a time."""

    def problems(self, build: type[Node], scenario: str, seed: int) -> list[str]:
        """What went wrong in a run of nodes of that class."""
        successors = 2 + seed % 2
        nodes = 5 + seed % 8 if scenario == "mixed" else 12
        options = Options(nodes, seed, 1.5, scenario, successors=successors, replication=2, lookups=0, records=0)
        return self.problems_of(build, options)

    def problems_of(self, build: type[Node], options: Options) -> list[str]:
        """The same, as the options say."""
        parameters = Parameters("simulation", successors=options.successors, replication=options.replication)
        world = World(options.seed, parameters, build=build)
        run = Run(options, world=world)
        try:
            SCENARIOS[options.scenario](run)
            return run.problems()
        finally:
            world.close()
            self.flushLoggedErrors()

    def assert_seen(
        self, broken: type[Node], scenario: str, unbroken: type[Node] = Node, first: tuple[int, ...] = ()
    ) -> None:
        """The broken node fails within `SEEDS_MAX` runs, the unbroken one in none of these."""
        for seed in dict.fromkeys((*first, *range(SEEDS_MAX))):
            self.assertEqual(self.problems(unbroken, scenario, seed), [], f"seed {seed}")
            if self.problems(broken, scenario, seed):
                return
        self.fail(f"{broken.__name__} was not seen to be broken in {SEEDS_MAX} runs")

    def test_list_filled_from_fingers(self) -> None:
        """A list that is topped up from a cache after a death loses principal members."""
        self.assert_seen(broken_rules.FillsFromFingers, "mixed")

    def test_private_eviction(self) -> None:
        """Nodes that throw others out by private opinion tear the ring apart."""
        self.assert_seen(broken_rules.EvictsPrivately, "crowd", first=SEEDS_OF_CROWDS)

    def test_list_read_once(self) -> None:
        """A newcomer that reads its predecessor's list once, and goes live later, takes over what is no longer true."""
        self.assert_seen(broken_rules.ReadsOnce, "crowd", broken_rules.JoinsLate, SEEDS_OF_CROWDS[1:])

    def test_no_small_ring_mode(self) -> None:
        """A ring that begins with fewer than r + 1 members under the rules of large rings breaks."""
        self.assert_seen(broken_rules.IgnoresSmallRings, "mixed")

    def test_records(self) -> None:
        """Keys that are overwritten show who forgets what has expired, who takes whatever comes, and who lets records
        live longer than they may; the same runs of the unbroken node do not.
        """
        signs = {
            broken_rules.KeepsNoTombstones: "an older value",
            broken_rules.TakesWhateverComes: "an older value",
            broken_rules.AgesSlowly: "after its expiry",
        }
        shown_by = []
        for broken, sign in signs.items():
            for seed in SEEDS_OVERWRITTEN:
                options = Options(12, seed, 9.0, "overwritten", successors=4, replication=3)
                if any(sign in problem for problem in self.problems_of(broken, options)):
                    shown_by.append(options)
                    break
            else:
                self.fail(f"{broken.__name__} was not seen to be broken in {len(SEEDS_OVERWRITTEN)} runs")
        for options in dict.fromkeys(shown_by):
            self.assertEqual(self.problems_of(Node, options), [], options.command())

    def test_no_repair(self) -> None:
        """They show who leaves records where they are, too."""
        for seed in SEEDS_OF_SHORT_SESSIONS:
            options = Options(12, seed, 4.0, "overwritten", successors=4, replication=3)
            options = replace(options, session_median_s=SHORT_SESSION_S)
            self.assertEqual(self.problems_of(Node, options), [], options.command())
            if self.problems_of(broken_rules.RepairsNothing, options):
                return
        self.fail(f"not seen in {len(SEEDS_OF_SHORT_SESSIONS)} runs")

    def test_day(self) -> None:
        """A day shows who never forgets."""
        options = Options(6, 1, 55.0, "day", lookups=0, successors=4, replication=3)
        self.assertIn("objects per node", " ".join(self.problems_of(broken_rules.ForgetsNothing, options)))
