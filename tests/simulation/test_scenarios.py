"""Every scenario comes right in a small ring; the mixed schedule does for many seeds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.simulation import report
from chordtwist.simulation.run import Options, Run
from chordtwist.simulation.scenarios import SCENARIOS
from tests import SOAK

MIXED_SEEDS = 14 * SOAK
LARGE_SEEDS = 2 * SOAK
PLAYED_BELOW = ("mixed", "overwritten", "day", "steady", "half-dies", "partition-and-merge")


class ScenariosTests(SynchronousTestCase):
    """Small runs of everything; the same by hand, with thousands of nodes: ``chordtwist simulate``."""

    def play(self, scenario: str, nodes: int = 14, seed: int = 1, successors: int = 4, minutes: float = 0.6) -> Run:
        """Run it, and expect that nothing is wrong."""
        options = Options(nodes, seed, minutes, scenario, successors=successors, replication=min(3, successors))
        run = Run(options)
        self.addCleanup(run.world.close)
        SCENARIOS[scenario](run)
        self.assertEqual(run.problems(), [], options.command())
        return run

    def test_every_scenario(self) -> None:
        """None of them leaves anything wrong, and all leave a ring. Some have tests of their own below."""
        for name in SCENARIOS:
            if not name.startswith("zave-") and name not in PLAYED_BELOW:
                run = self.play(name)
                self.assertTrue(run.world.check.members, name)

    def test_mixed(self) -> None:
        """Schedules of random faults, across the small-ring switch both ways: no violation, everything comes right."""
        ebbs = floods = 0
        for seed in range(MIXED_SEEDS):
            run = self.play("mixed", nodes=12 + seed % 9, seed=seed)
            ebbs += run.notes["ebbs"] != 0
            floods += run.notes["floods"] != 0
        self.assertTrue(ebbs > MIXED_SEEDS / 2 and floods > MIXED_SEEDS / 10, (ebbs, floods))

    def test_mixed_with_long_lists(self) -> None:
        """So it is with lists of 16 in place of 4, where a small ring has 33 members."""
        for seed in range(LARGE_SEEDS):
            self.play("mixed", nodes=38, seed=seed, successors=16)

    def test_overwritten(self) -> None:
        """Thirty nodes that come and go for ten minutes, half of their clocks wrong: nobody reads an old value, none
        is lost.
        """
        for seed in range(1, 1 + SOAK):
            run = self.play("overwritten", nodes=30, seed=seed, minutes=10)
            self.assertGreater(run.records.stored, 80)
            self.assertGreater(run.records.read_right, 1000)

    def test_day(self) -> None:
        """What nodes keep and remember levels off, and is drawn: here in half an hour, with short-lived records."""
        run = self.play("day", nodes=6, minutes=35)
        self.assertGreater(run.samples[-1].watched["KiB of memory per node"], 10)
        self.assertIn("KiB of memory per node", report.plot(run))

    def test_steady(self) -> None:
        """In a ring at rest every lookup is right, every read, and no traffic but upkeep's."""
        run = self.play("steady", nodes=30, minutes=2)
        lookups = run.lookups
        self.assertEqual((lookups.right, lookups.explained, lookups.wrong), (lookups.asked, 0, 0))
        self.assertEqual(run.records.read_right, run.records.reads)
        self.assertTrue(0 < sum(run.bytes_per_node_s().values()) < 400)

    def test_half_dies(self) -> None:
        """When half of the ring dies at once the very first lookups are right, but for one in 200 at most."""
        run = self.play("half-dies", nodes=60, successors=16)
        first = run.notes["first_200_lookups"]
        assert isinstance(first, dict)
        self.assertEqual(run.notes["members_without_living_entry"], 0)
        self.assertLessEqual(first["wrong"], 1)

    def test_partition(self) -> None:
        """Two halves become one ring again within a minute."""
        run = self.play("partition-and-merge", nodes=24, successors=8)
        took_s = run.notes["one_ring_after_s"]
        assert isinstance(took_s, float)
        self.assertLess(took_s, 60)

    def test_same_seed(self) -> None:
        """The same options give the same run, to the bit; another seed gives another."""
        traces = [self.play("mixed", seed=seed).world.trace.digest() for seed in (3, 3, 4)]
        self.assertEqual(traces[0], traces[1])
        self.assertNotEqual(traces[0], traces[2])
