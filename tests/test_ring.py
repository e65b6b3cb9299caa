"""Positions on the circle. Comparisons hold on a circle of any size: they are tried exhaustively on one of 16."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.ring import (
    ID_BITS,
    RING_SIZE,
    Arc,
    between,
    distance,
    finger_start,
    position_bytes,
    position_from_bytes,
)

SMALL = range(16)

positions = st.integers(0, RING_SIZE - 1)


def walk(a: int, b: int) -> list[int]:
    """What one passes going clockwise from `a`, step by step, until one stands on `b`, which is left out."""
    passed, at = [], (a + 1) % 16
    while at != b:
        passed.append(at)
        at = (at + 1) % 16
    return passed


class BetweenTests(SynchronousTestCase):
    """`between(a, x, b)`."""

    def test_exhaustively(self) -> None:
        """True for exactly those that one passes walking clockwise from a to b."""
        for a, x, b in product(SMALL, SMALL, SMALL):
            self.assertEqual(between(a, x, b), x in walk(a, b), (a, x, b))

    def test_equal_ends(self) -> None:
        """With equal ends it is everything except them (ring.md, "Words")."""
        for a, x in product(SMALL, SMALL):
            self.assertEqual(between(a, x, a), x != a)


class ArcTests(SynchronousTestCase):
    """`Arc(after, upto)`."""

    def test_exhaustively(self) -> None:
        """Its first end is excluded, its last included; equal ends mean the whole circle."""
        for after, upto, x in product(SMALL, SMALL, SMALL):
            inside = after == upto or x in walk(after, upto) or x == upto
            self.assertEqual(x in Arc(after, upto), inside, (after, upto, x))

    def test_length(self) -> None:
        """As many positions as it holds, up to the whole circle."""
        self.assertEqual(Arc(5, 9).length, 4)
        self.assertEqual(Arc(RING_SIZE - 1, 2).length, 3)
        self.assertEqual(Arc(7, 7).length, RING_SIZE)

    @given(positions, positions, positions)
    def test_halves(self, a: int, b: int, x: int) -> None:
        """Two ends cut the circle into two arcs without a gap and without overlap."""
        if a != b:
            self.assertNotEqual(x in Arc(a, b), x in Arc(b, a))
            self.assertEqual(Arc(a, b).length + Arc(b, a).length, RING_SIZE)


class DistanceTests(SynchronousTestCase):
    """How far, and where fingers begin."""

    @given(positions, positions)
    def test_clockwise(self, a: int, b: int) -> None:
        """The distance clockwise leads from one to the other."""
        self.assertEqual((a + distance(a, b)) % RING_SIZE, b)
        self.assertTrue(0 <= distance(a, b) < RING_SIZE)

    @given(positions)
    def test_finger_start(self, me: int) -> None:
        """Finger k begins 2**k behind its owner (Chord paper, section 4.3, where k is counted from 1)."""
        self.assertEqual([distance(me, finger_start(me, k)) for k in range(ID_BITS)], [2**k for k in range(ID_BITS)])

    @given(positions)
    def test_bytes(self, position: int) -> None:
        """A position travels as 32 bytes, big-endian."""
        self.assertEqual(position_from_bytes(position_bytes(position)), position)
        self.assertEqual(len(position_bytes(position)), 32)
        self.assertEqual(position_bytes(1)[-1], 1)
