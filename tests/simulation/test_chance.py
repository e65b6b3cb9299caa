"""Behaviour of the simulation's chance."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.simulation import chance


class DelaysTests(SynchronousTestCase):
    """Distributions of delays."""

    def test_constant(self) -> None:
        """A constant delay is always the same."""
        self.assertEqual(set(chance.constant(5)), {5})

    def test_uniform(self) -> None:
        """A uniform one reaches from its least to its most."""
        delays = chance.uniform(10, 90)
        self.assertEqual((delays[0], delays[-1], sum(delays) // len(delays)), (10, 90, 49))

    def test_exponential(self) -> None:
        """An exponential one has the mean it was given, starts at the least, and has a tail."""
        delays = chance.exponential(5_000, 30_000)
        self.assertEqual(delays, tuple(sorted(delays)))
        self.assertTrue(5_000 <= delays[0] < 5_100)
        self.assertTrue(29_900 < sum(delays) / len(delays) < 30_100)
        self.assertTrue(150_000 < delays[-1] < 260_000)

    def test_heavy(self) -> None:
        """A heavy one has the median it was given, and one in a hundred is more than four times as long."""
        delays = chance.heavy(60_000)
        self.assertTrue(59_000 < delays[511] <= 60_000 <= delays[512] < 61_000)
        self.assertTrue(4.4 < delays[1014] / 60_000 < 4.8)

    def test_alike_everywhere(self) -> None:
        """The numbers are these, on every machine."""
        self.assertEqual(chance.exponential(5_000, 30_000)[::200], (5_012, 10_448, 17_403, 27_073, 43_052, 99_362))
        self.assertEqual(chance.heavy(60_000)[::200], (4_725, 37_466, 51_769, 67_407, 91_801, 209_508))


class DrawsTests(SynchronousTestCase):
    """Single draws."""

    def test_sessions(self) -> None:
        """Half of all sessions are shorter than the median; their ends come without memory."""
        rng = Random(1)
        drawn = sorted(chance.session_us(rng, 60_000_000) for _ in range(2000))
        self.assertTrue(55e6 < drawn[1000] < 65e6)
        self.assertTrue(110e6 < drawn[1500] < 130e6, "three quarters end within two medians")

    def test_below(self) -> None:
        """Every integer below the limit is drawn alike often, to within chance."""
        rng = Random(1)
        counts = [0] * 5
        for _ in range(5000):
            counts[chance.below(rng, 5)] += 1
        self.assertTrue(min(counts) > 900 and max(counts) < 1100)

    def test_pick_some(self) -> None:
        """Some are picked, each once; never more than there are."""
        rng = Random(1)
        self.assertEqual(len(set(chance.pick_some(rng, range(10), 4))), 4)
        self.assertEqual(sorted(chance.pick_some(rng, range(3), 9)), [0, 1, 2])

    def test_alike_everywhere(self) -> None:
        """The draws are these, on every machine and Python."""
        rng = Random(7)
        self.assertEqual([chance.waiting_us(rng, 1_000_000) for _ in range(3)], [53_543, 929_317, 3_030_607])
        self.assertEqual(chance.pick_some(rng, "abcdef", 3), ["d", "b", "a"])
