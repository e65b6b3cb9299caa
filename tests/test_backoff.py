"""Behaviour of waits between tries."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.backoff import JITTER_MAX, JITTER_MIN, backoff_s, jittered


class BackoffTests(SynchronousTestCase):
    """`backoff_s` and `jittered`."""

    def test_doubles(self) -> None:
        """A wait is twice the one before, up to the slowest, however often it was tried."""
        waits = [backoff_s(tries, 0.5, 5.0) for tries in (0, 1, 2, 3, 4, 10**6)]
        self.assertEqual([0.5, 1.0, 2.0, 4.0, 5.0, 5.0], waits)

    def test_jitter(self) -> None:
        """Waits of the same length are drawn from its neighbourhood."""
        rng = Random(1)
        waits = [jittered(10.0, rng) for _ in range(1000)]
        self.assertGreaterEqual(min(waits), 10 * JITTER_MIN)
        self.assertLess(max(waits), 10 * JITTER_MAX)
        self.assertAlmostEqual(10.0, sum(waits) / len(waits), places=0)
