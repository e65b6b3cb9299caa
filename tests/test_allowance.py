"""`Allowance`: so much at once, so much again with every second, and who spends too much waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.allowance import KEPT_MAX, Allowance


class AllowanceTests(SynchronousTestCase):
    """Ten at once, five again with every second."""

    def setUp(self) -> None:
        """Nobody has spent anything."""
        self.allowance = Allowance(per_s=5, at_once=10)

    def test_at_once(self) -> None:
        """Ten may be spent at once, and one thing more, whose cost shows when it is done; then one waits."""
        for _ in range(10):
            self.assertEqual(0, self.allowance.wait_s("a", 100.0))
            self.allowance.spend("a", 1, 100.0)
        self.assertEqual(0, self.allowance.wait_s("a", 100.0))
        self.allowance.spend("a", 1, 100.0)
        self.assertAlmostEqual(0.2, self.allowance.wait_s("a", 100.0))

    def test_comes_back(self) -> None:
        """Whoever waits as long as it is told may go on."""
        self.allowance.spend("a", 30, 100.0)
        wait_s = self.allowance.wait_s("a", 101.0)
        self.assertAlmostEqual(3.0, wait_s)
        self.assertAlmostEqual(0.0, self.allowance.wait_s("a", 101.0 + wait_s))

    def test_never_more_than_at_once(self) -> None:
        """A long quiet time saves nothing up."""
        self.allowance.spend("a", 1, 0.0)
        self.allowance.spend("a", 15, 1_000_000.0)
        self.assertAlmostEqual(1.0, self.allowance.wait_s("a", 1_000_000.0))

    def test_others(self) -> None:
        """What one spends costs others nothing."""
        self.allowance.spend("a", 1000, 100.0)
        self.assertEqual(0, self.allowance.wait_s("b", 100.0))

    def test_bounded(self) -> None:
        """However many come, so many are remembered; whoever still spends is among them."""
        self.allowance.spend("a", 1000, 0.0)
        for number in range(2 * KEPT_MAX):
            self.allowance.spend(number, 1, 1.0)
            self.allowance.spend("a", 1, 1.0)
        self.assertGreater(self.allowance.wait_s("a", 1.0), 0)
        self.assertEqual(KEPT_MAX, len(self.allowance._left))

    @given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 20)), max_size=60))
    def test_rate(self, steps: list[tuple[float, float]]) -> None:
        """Whoever waits when it has to never spends more than was there at first, what came since, and one thing."""
        now = spent = largest = 0.0
        for pause_s, cost in steps:
            now += pause_s + self.allowance.wait_s("a", now + pause_s)
            self.allowance.spend("a", cost, now)
            spent += cost
            largest = max(largest, cost)
        self.assertLessEqual(spent, 10 + 5 * now + largest + 1e-6)
