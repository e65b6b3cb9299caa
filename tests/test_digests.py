"""Summaries of what is kept: equal exactly when the same is kept, and cut alike on both sides."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.digests import (
    LISTED_AT_ONCE,
    MARK_BYTES,
    NOTHING,
    PART_POSITIONS_MIN,
    PARTS,
    Summary,
    SummaryTree,
    gaps,
    is_listed,
    mark,
    mark_bytes,
    short_mark,
    split_arc,
)
from chordtwist.core.records import Version
from chordtwist.core.ring import RING_SIZE, Arc, distance

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
V1, V2 = Version(1, b"a"), Version(2, b"a")
STEP = RING_SIZE // 64
places = st.integers(0, 63).map(lambda place: place * STEP)


class SummaryTests(SynchronousTestCase):
    """Counts and sums of marks."""

    def test_a_mark_tells_key_and_version(self) -> None:
        """Another key, time or publisher is another mark; the same is the same on every node."""
        self.assertEqual(len({mark(KEY, V1), mark(KEY, V2), mark(KEY, Version(1, b"b")), mark(OTHER_KEY, V1)}), 4)
        self.assertEqual(short_mark(KEY, V1), mark_bytes(mark(KEY, V1))[:8])
        self.assertEqual(len(mark_bytes(mark(KEY, V1))), MARK_BYTES)

    def test_pieces_add_up_in_any_order(self) -> None:
        """The summary of an arc is the sum of those of its parts."""
        one, other = Summary(1, mark(KEY, V1)), Summary(1, mark(OTHER_KEY, V1))
        self.assertEqual(one + other, other + one)
        self.assertEqual((one + other) - one, other)
        self.assertEqual(one - one, NOTHING)


class CutTests(SynchronousTestCase):
    """The parts of an arc."""

    @given(places, places)
    def test_parts_are_the_arc(self, after: int, upto: int) -> None:
        """They begin and end with it, follow one another, and together are as long as it."""
        arc = Arc(after, upto)
        parts = split_arc(arc)
        self.assertEqual(len(parts), PARTS)
        self.assertEqual((parts[0].after, parts[-1].upto), (after, upto))
        self.assertTrue(all(part.upto == behind.after for part, behind in pairwise(parts)))
        self.assertEqual(sum(part.length for part in parts), arc.length)

    def test_few_are_listed(self) -> None:
        """A piece with nothing on one side, with few records, or too short to be cut, is listed or handed over."""
        arc = Arc(0, STEP)
        self.assertTrue(is_listed(arc, 0, 10**6))
        self.assertTrue(is_listed(arc, 10**6, 0))
        self.assertTrue(is_listed(arc, LISTED_AT_ONCE, LISTED_AT_ONCE))
        self.assertFalse(is_listed(arc, LISTED_AT_ONCE + 1, 1))
        self.assertTrue(is_listed(Arc(0, PART_POSITIONS_MIN - 1), 10**6, 10**6))


class GapsTests(SynchronousTestCase):
    """What no arc covers."""

    def test_nothing_covered(self) -> None:
        """Then everything is a gap."""
        self.assertEqual([gap.length for gap in gaps([])], [RING_SIZE])

    def test_an_arc_that_wraps_covers_the_beginning(self) -> None:
        """The gap of arcs that reach over position 0 begins where the last of them ends."""
        self.assertEqual(gaps([Arc(0, 10), Arc(250, 30)]), [Arc(30, 250)])

    def test_everything_covered(self) -> None:
        """A whole circle leaves nothing."""
        self.assertEqual(gaps([Arc(7, 7)]), [])

    @given(st.lists(st.tuples(places, places), min_size=1, max_size=6))
    def test_a_position_is_covered_or_in_a_gap(self, ends: list[tuple[int, int]]) -> None:
        """Never both, never neither."""
        covered = [Arc(after, upto) for after, upto in ends]
        left = gaps(covered)
        for place in range(64):
            position = place * STEP
            is_covered = any(position in arc for arc in covered)
            self.assertEqual(sum(position in gap for gap in left), 0 if is_covered else 1)


class SummaryTreeTests(SynchronousTestCase):
    """Sums of pieces of the ring, however it was cut."""

    @given(
        st.integers(0, 2**32),
        st.sampled_from([0, 190, 250]),
        st.lists(st.tuples(st.integers(0, RING_SIZE - 1), st.integers(0, RING_SIZE - 1)), min_size=1, max_size=4),
        st.integers(0, 4),
    )
    def test_is_what_counting_says(
        self, seed: int, crowded_bits: int, ends: list[tuple[int, int]], copies_above: int
    ) -> None:
        """For every arc and number of copies, after hundreds of changes, also where many lie close together."""
        rng = Random(seed)
        tree = SummaryTree()
        kept: dict[int, tuple[int, int]] = {}
        for _ in range(400):
            position = rng.getrandbits(256 - rng.choice((0, crowded_bits)))
            kept[position] = (rng.randint(1, 4), rng.getrandbits(128))
            tree.put(position, *kept[position])
            if rng.random() < 0.3:
                some = rng.choice(list(kept))
                if rng.random() < 0.5:
                    del kept[some]
                    tree.remove(some)
                else:
                    kept[some] = (rng.randint(1, 4), rng.getrandbits(128))
                    tree.put(some, *kept[some])
        some = rng.choice(list(kept))
        arcs = [Arc(after, upto) for after, upto in ends]
        for arc in (*arcs, Arc(0, 0), Arc(some, some), Arc((some - 1) % RING_SIZE, some), Arc(some, arcs[0].upto)):
            found = {position for position, (copies, _) in kept.items() if position in arc and copies > copies_above}
            expected = sum((Summary(1, kept[position][1]) for position in found), NOTHING)
            self.assertEqual(expected, tree.summary(arc, copies_above))
            pieces = list(tree.arcs(arc, copies_above, 4))
            self.assertTrue(all(any(position in piece for piece in pieces) for position in found))
            self.assertEqual(sorted(pieces, key=lambda piece: distance(arc.after, piece.upto) or RING_SIZE), pieces)

    def test_nothing_left(self) -> None:
        """What is not there can be removed, and what was removed does not count."""
        tree = SummaryTree()
        tree.remove(5)
        for position in range(200):
            tree.put(position, 4, 7)
        for position in range(200):
            tree.remove(position)
        self.assertEqual(NOTHING, tree.summary(Arc(0, 0), 0))
        self.assertEqual([], list(tree.arcs(Arc(0, 0), 0, 255)))
