"""Behaviour of the promises that a member gives its neighbours."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.leases import GIVEN_MAX, LEASE_MS, Leases
from tests.builders import peer, peers, table


class LeasesTests(SynchronousTestCase):
    """The leases of the member at 10."""

    def setUp(self) -> None:
        """None is given."""
        self.leases = Leases()
        self.present = table(10, (20, 30, 40), 5)

    def give(self, place: int, now_ms: int = 0) -> int | None:
        return self.leases.give(self.present, peer(place), now_ms)

    def test_neighbours_only(self) -> None:
        """Successors and the predecessor are promised to be listed, and nobody else."""
        for place, until_ms in ((20, LEASE_MS), (40, LEASE_MS), (5, LEASE_MS), (50, None), (10, None), (4, None)):
            self.assertEqual(self.give(place), until_ms, place)

    def test_renewed(self) -> None:
        """A promise given again binds for longer."""
        self.give(20)
        self.assertEqual(self.give(20, 7), 7 + LEASE_MS)
        self.assertEqual(self.leases.gone(table(10, (30,), 5), LEASE_MS + 7), peers(20))

    def test_gone(self) -> None:
        """Whoever is left out inside the span has to be named as gone, on either side; behind the end nobody is."""
        for place in (20, 40, 5):
            self.give(place)
        for successors, predecessor, gone in (
            ((20, 30, 40), 5, ()),
            ((30, 40), 5, (20,)),
            ((20, 30), 5, ()),
            ((20, 30, 50), 5, (40,)),
            ((20, 30, 40), 4, (5,)),
            ((20, 30, 40), 6, ()),
            ((20, 30, 40), None, ()),
            ((), 5, ()),
            ((), None, ()),
        ):
            shown = table(10, successors, predecessor)
            self.assertEqual(self.leases.gone(shown, 1), peers(*gone), (successors, predecessor))

    def test_whole(self) -> None:
        """A whole table reaches over everybody."""
        self.give(20)
        self.assertEqual(self.leases.gone(table(10, (30,), 30, whole=True), 1), peers(20))

    def test_over(self) -> None:
        """A promise that is over binds nobody."""
        self.give(20)
        self.assertEqual(self.leases.gone(table(10, (30,), 5), LEASE_MS), peers(20))
        self.assertEqual(self.leases.gone(table(10, (30,), 5), LEASE_MS + 1), ())

    def test_bounded(self) -> None:
        """With too many that bind no more is promised, and none is forgotten."""
        for place in range(100, 100 + GIVEN_MAX):
            self.leases.give(table(10, (place,), 5), peer(place), 0)
        self.assertIsNone(self.give(20))
        self.assertIsNotNone(self.leases.give(table(10, (100,), 5), peer(100), 0))
        self.assertEqual(len(self.leases.gone(table(10, (5000,), 5), 1)), GIVEN_MAX)
        self.assertIsNotNone(self.give(20, LEASE_MS + 1))
