"""Which of two rings is larger, by the owners of points that we drew."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RingId
from chordtwist.core.ring_sizes import POINTS, Sighting, draw_points, is_theirs_larger
from tests.builders import peer

LISTED = 4


def ring(members: list[int]) -> list[Peer]:
    """Those at these places, twice around the circle."""
    return 2 * [peer(place) for place in sorted(members)]


def owner(point: RingId, ring: list[Peer]) -> Route:
    """The owner of a point, and its list."""
    first = bisect_left(ring, point, hi=len(ring) // 2, key=attrgetter("id"))
    return Route(point, tuple(ring[first : first + LISTED + 1]))


def compared(ours: list[int], theirs: list[int], seed: int = 1) -> bool | None:
    """What our own side finds of two rings with members at these places."""
    points, our_ring, their_ring = draw_points(Random(seed)), ring(ours), ring(theirs)
    return is_theirs_larger([Sighting(point, owner(point, our_ring), owner(point, their_ring)) for point in points])


def scattered(count: int, seed: int) -> list[int]:
    """Places of a ring of so many, by chance."""
    return Random(seed).sample(range(1, 1 << 16), count)


class SizesTests(SynchronousTestCase):
    """`is_theirs_larger`, for rings by chance."""

    def test_clearly_larger(self) -> None:
        """Of two rings one of which is three times as large the smaller gives way, and the larger does not."""
        for seed in range(100):
            small, large = scattered(40, seed), scattered(120, seed + 1000)
            self.assertEqual((compared(small, large, seed), compared(large, small, seed)), (True, False), seed)

    def test_alike(self) -> None:
        """Of two that are equally large nearly always the one without the smallest id gives way, on both sides the
        same, although either draws points of its own.
        """
        agreed = 0
        for seed in range(100):
            ours, theirs = scattered(60, seed), scattered(60, seed + 1000)
            verdicts = compared(ours, theirs, seed), compared(theirs, ours, seed + 7)
            agreed += verdicts == (min(theirs) < min(ours), min(ours) < min(theirs))
        self.assertGreater(agreed, 60)

    def test_dense_in_one_place(self) -> None:
        """Members that stand dense behind one place are not many."""
        ours = scattered(60, 1)
        self.assertIs(compared(ours, list(range(30_000, 30_200))), False)

    def test_one_ring(self) -> None:
        """Who shows our own members, but for some that he leaves out, shows no other ring."""
        ours = scattered(60, 1)
        self.assertIsNone(compared(ours, ours))
        self.assertIsNone(compared(ours, ours[:45]))
        self.assertIsNone(compared(ours[:45], ours))

    def test_nobody(self) -> None:
        """A ring in which nobody is reached is smaller than any."""
        ours = scattered(60, 1)
        found = [Sighting(point, owner(point, ring(ours)), None) for point in draw_points(Random(1))]
        self.assertIs(is_theirs_larger(found), False)

    def test_points(self) -> None:
        """They are drawn with our own chance, behind the one that tells the smallest id."""
        points = draw_points(Random(1))
        self.assertEqual((points[0], len(set(points))), (0, POINTS + 1))
        self.assertNotEqual(points, draw_points(Random(2)))
