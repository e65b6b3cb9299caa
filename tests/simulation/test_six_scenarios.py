"""The six ways in which the original protocol breaks (Zave 2012), on its rules and on ours.

Four nodes n0 < n1 < n2 < n3, lists of two entries, n0 alone. Under the original rules each script must lose the
property it is named after: that shows that the checks see. The same happenings under the node's own rules must not, for
many seeds: other delays, other interleavings.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.simulation.invariants import RingCheck
from chordtwist.simulation.run import Options, Run
from chordtwist.simulation.scenarios import SCENARIOS
from chordtwist.simulation.trace import Trace
from tests import SOAK
from tests.simulation.original_chord import OriginalRing
from tests.simulation.ring_shape import lost_properties
from tests.simulation.test_invariants import peers_in_order

SEEDS = 8 * SOAK


class OriginalRulesTests(SynchronousTestCase):
    """The original protocol loses a property in each script."""

    def setUp(self) -> None:
        """n0 alone."""
        self.check = RingCheck(2, Trace())
        self.n0, self.n1, self.n2, self.n3 = peers_in_order(4)
        self.ring = OriginalRing(self.check, self.n0)

    def two(self, copies: bool = True) -> None:
        """A ring of n0 and n2; both have copied lists."""
        self.link_in(self.n2, self.n0, self.n0)
        if copies:
            self.ring.copy_list(self.n0)
            self.ring.copy_list(self.n2)

    def link_in(self, newcomer: object, successor: object, predecessor: object) -> None:
        """A newcomer joins, notifies, and its predecessor takes it over."""
        ring = self.ring
        ring.join(newcomer, successor)  # type: ignore[arg-type]
        ring.stabilize(newcomer)  # type: ignore[arg-type]
        ring.stabilize(predecessor)  # type: ignore[arg-type]

    def assert_lost(self, name: str) -> None:
        """The property of that name is lost, and the two invariants saw something as well."""
        self.assertIn(name, lost_properties(self.check))
        check = self.check
        self.assertTrue(check.violated or check.violated_apart or check.bursts or check.misjudged)

    def test_at_most_one_ring(self) -> None:
        """n1 and n3 are linked in and fail before lists are copied again: n0 and n2 promote themselves."""
        self.two()
        self.link_in(self.n1, self.n2, self.n0)
        self.link_in(self.n3, self.n0, self.n2)
        self.assertEqual(lost_properties(self.check), [])
        self.ring.fail(self.n1, self.n3)
        self.ring.promote(self.n0)
        self.ring.promote(self.n2)
        self.assert_lost("at most one ring")

    def test_at_least_one_ring(self) -> None:
        """n1 joins, notifies n2 and fails: n0 takes it over unchecked, and has nobody else."""
        self.two(copies=False)
        self.ring.join(self.n1, self.n2)
        self.ring.stabilize(self.n1)
        self.ring.fail(self.n1)
        self.ring.stabilize(self.n0)
        self.ring.flush(self.n2)
        self.assert_lost("at least one ring")

    def test_connected_appendages(self) -> None:
        """n1 joins onto n2, which has died: it reaches nobody."""
        self.two()
        self.ring.fail(self.n2)
        self.ring.join(self.n1, self.n2)
        self.ring.promote(self.n0)
        self.assert_lost("connected appendages")

    def test_valid_successor_list(self) -> None:
        """n1's second entry was copied before n3 came, and jumps over it when n2 dies."""
        self.two()
        self.ring.join(self.n1, self.n2)
        self.ring.copy_list(self.n1)
        self.link_in(self.n3, self.n0, self.n2)
        self.ring.stabilize(self.n1)
        self.ring.stabilize(self.n0)
        self.assertEqual(lost_properties(self.check), [])
        self.ring.fail(self.n2)
        self.ring.promote(self.n1)
        self.assert_lost("valid successor list")

    def test_ordered_merges(self) -> None:
        """n1 and n2 both join before n3 and notify in order: n0 goes to n2, and n1 stays in front of n3."""
        self.link_in(self.n3, self.n0, self.n0)
        self.ring.join(self.n1, self.n3)
        self.ring.join(self.n2, self.n3)
        self.ring.notify(self.n1)
        self.ring.notify(self.n2)
        self.assertEqual(lost_properties(self.check), [])
        self.ring.stabilize(self.n0)
        self.assert_lost("ordered merges")

    def test_ordered_appendages(self) -> None:
        """n1, n2 and n3 join n0 at once and stabilize the last one first: n1 goes to n3, past n2; then n0 fails."""
        for peer in (self.n1, self.n2, self.n3):
            self.ring.join(peer, self.n0)
        for peer in (self.n3, self.n2, self.n1):
            self.ring.stabilize(peer)
        self.ring.fail(self.n0)
        self.ring.stabilize(self.n3)
        self.assert_lost("ordered appendages")


class OwnRulesTests(SynchronousTestCase):
    """The node survives the same."""

    def survive(self, scenario: str) -> None:
        """Run it with several seeds: no invariant is violated, and one ideal ring is left."""
        for seed in range(SEEDS):
            options = Options(nodes=4, seed=seed, minutes=1, scenario=scenario, successors=2, replication=2)
            run = Run(options)
            self.addCleanup(run.world.close)
            SCENARIOS[scenario](run)
            self.assertEqual(run.problems(), [], options.command())
            self.assertEqual(lost_properties(run.world.check), [], options.command())

    def test_at_most_one_ring(self) -> None:
        """Two of four die before lists are copied again."""
        self.survive("zave-two-rings")

    def test_at_least_one_ring(self) -> None:
        """A newcomer dies as soon as its successor knows it."""
        self.survive("zave-no-ring")

    def test_connected_appendages(self) -> None:
        """A newcomer joins onto a node that dies."""
        self.survive("zave-lost-appendage")

    def test_valid_successor_list(self) -> None:
        """A member dies right behind which another has just joined."""
        self.survive("zave-wrong-list")

    def test_ordered_merges(self) -> None:
        """Two join at one place at once."""
        self.survive("zave-disordered-merge")

    def test_ordered_appendages(self) -> None:
        """Three join one at once, which dies."""
        self.survive("zave-disordered-appendages")
