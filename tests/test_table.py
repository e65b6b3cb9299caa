"""`Table`: what one member shows."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.ring import RING_SIZE
from tests import builders


class EverybodyTests(SynchronousTestCase):
    """Whom a table names."""

    def test_all(self) -> None:
        """Its owner first, then successors, predecessor and fingers."""
        table = builders.table(5, successors=(7, 9), predecessor=3)
        self.assertEqual(builders.places(table.everybody())[:4], [5, 7, 9, 3])

    def test_alone(self) -> None:
        """A node that is alone names itself."""
        self.assertEqual(builders.places(builders.table(5).everybody()), [5])


class ExtendedTests(SynchronousTestCase):
    """The extended list: what skips whom is judged by it."""

    def test_ordinary(self) -> None:
        """Its owner and the successors."""
        self.assertEqual(builders.places(builders.table(5, successors=(7, 9)).extended), [5, 7, 9])

    def test_whole(self) -> None:
        """A whole list closes with its owner."""
        self.assertEqual(builders.places(builders.table(5, successors=(7, 9), whole=True).extended), [5, 7, 9, 5])


class SkipTests(SynchronousTestCase):
    """Whom a table passes over."""

    def test_ordinary(self) -> None:
        """Whoever lies between two neighbours, and is not named; what comes behind the last entry is not looked at."""
        table = builders.table(5, successors=(7, 9))
        self.assertEqual([place for place in range(12) if table.skips(builders.peer(place))], [6, 8])

    def test_whole(self) -> None:
        """Around a whole list that is everybody it does not name."""
        table = builders.table(5, successors=(7, 9), whole=True)
        skipped = [place for place in range(12) if table.skips(builders.peer(place))]
        self.assertEqual(skipped, [0, 1, 2, 3, 4, 6, 8, 10, 11])

    def test_alone(self) -> None:
        """A ring of one passes everybody else over."""
        self.assertTrue(builders.table(5, whole=True).skips(builders.peer(6)))


class EstimateTests(SynchronousTestCase):
    """How many members there are, judged by one table."""

    def test_whole(self) -> None:
        """A whole list names everybody."""
        self.assertEqual(builders.table(5, successors=(7, 9, 1), whole=True).members_estimate(), 4)

    def test_alone(self) -> None:
        """Nobody else known: one."""
        self.assertEqual(builders.table(5).members_estimate(), 1)

    def test_span(self) -> None:
        """Four successors on a 4096th of the ring: 16,384 members."""
        table = builders.table(0, successors=(4, 8, 12, 16))
        self.assertEqual(table.members_estimate(), 4 * 65_536 / 16)

    def test_once_around(self) -> None:
        """A list that ends at its owner's own place, which two may share, spans the whole ring."""
        table = builders.table(0, successors=(4, 0))
        self.assertEqual(table.members_estimate(), 2 * RING_SIZE / RING_SIZE)
