"""Summaries of what is kept in a piece of the ring, so that two replicas find their difference without telling it all.

A summary is a count and a sum of marks: it is updated by one addition when a record comes or goes, and summaries of
neighbouring pieces add up. Where two differ the piece is cut into equal parts and these are compared (range-based set
reconciliation, Meyer 2022): the bytes told are in proportion to the difference, not to what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from chordtwist.core.records import Version
from chordtwist.core.ring import ID_BITS, RING_SIZE, Arc, RingId, distance

MARK_BYTES = 16
_MARKS = 1 << 8 * MARK_BYTES

SHORT_MARK_BYTES = 8
"""Enough to tell the records of one list apart."""

PARTS = 16
"""Pieces an arc is cut into. Each level costs some 300 bytes per difference; 16 levels would be the whole of 2**64."""

LISTED_AT_ONCE = 64
"""A piece of no more records is listed, not cut again: 8 bytes for each cost less than another level."""

PART_POSITIONS_MIN = 1 << 64
"""An arc shorter than this is never cut: only a hostile list has two records in it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How many records there are, and the sum of their marks modulo 2**128."""

    count: int
    total: int

    def __add__(self, other: Summary) -> Summary:
        return Summary(self.count + other.count, (self.total + other.total) % _MARKS)

    def __sub__(self, other: Summary) -> Summary:
        return Summary(self.count - other.count, (self.total - other.total) % _MARKS)


NOTHING = Summary(0, 0)


def mark(key: bytes, version: Version) -> int:
    """Mark one version of one record: equal on all nodes, different from all others. Life is no part of it: no two
    nodes agree on it to the millisecond.
    """
    told = blake2b(digest_size=MARK_BYTES)
    told.update(key)
    told.update(version.ms.to_bytes(8, "big"))
    told.update(version.publisher)
    return int.from_bytes(told.digest(), "big")


def mark_bytes(of: int) -> bytes:
    """Pack a mark, or a sum of them, as it travels."""
    return of.to_bytes(MARK_BYTES, "big")


def short_mark(key: bytes, version: Version) -> bytes:
    """Give the first bytes of a mark, as they stand in lists."""
    return mark_bytes(mark(key, version))[:SHORT_MARK_BYTES]


_FAN_BITS = 4
_MARKS_PER_PIECE_MAX = 64
_PIECE_BITS_MIN = ID_BITS - 64
"""A piece as short as this is not cut: nobody finds many keys that lie in it."""

_COUNTS = (1 << 64) - 1


class _Piece:
    """A piece of the ring: its marks, or its sixteen parts, and the sum of both by copies.

    A mark is kept as ``mark << 8 | copies``, a sum as ``total << 64 | count``, not reduced.
    """

    __slots__ = ("marks", "parts", "sums")

    def __init__(self) -> None:
        self.marks: dict[RingId, int] = {}
        self.parts: list[_Piece | None] | None = None
        self.sums: dict[int, int] = {}

    def count(self, copies: int, more: int) -> None:
        total = self.sums.get(copies, 0) + more
        if total:
            self.sums[copies] = total
        else:
            del self.sums[copies]


class SummaryTree:
    """The marks of everything kept, by position, with the sums of pieces of the ring.

    A piece of many marks is cut into sixteen parts, and so on: to sum up any arc takes some hundred additions, however
    much is kept, and a change touches one piece of each size. A mark takes some 200 bytes.
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root = _Piece()

    def put(self, position: RingId, copies: int, mark: int) -> None:
        """Keep a mark, of something with so many copies, in place of what is at `position`."""
        self._replace(position, mark << 8 | copies)

    def remove(self, position: RingId) -> None:
        """Keep nothing at `position` any more."""
        self._replace(position, None)

    def summary(self, arc: Arc, copies_above: int) -> Summary:
        """Sum up what is in `arc` with more than `copies_above` copies."""
        total = 0
        for piece, first, last in self._pieces(arc):
            if first is None:
                total += sum(more for copies, more in piece.sums.items() if copies > copies_above)
            else:
                total += sum(
                    (kept >> 8 << 64) | 1
                    for position, kept in piece.marks.items()
                    if first <= position <= last and kept & 255 > copies_above
                )
        return Summary(total & _COUNTS, (total >> 64) % _MARKS)

    def arcs(self, arc: Arc, copies_above: int, copies_max: int) -> Iterator[Arc]:
        """Find the short pieces of `arc`, clockwise, in which something has so many copies."""
        for low, bits, first, last in self._leaves(arc, copies_above, copies_max):
            begin, end = max(low, first), min(low + (1 << bits) - 1, last)
            yield Arc((begin - 1) % RING_SIZE, end)

    def _replace(self, position: RingId, kept: int | None) -> None:
        path = [self._root]
        bits = ID_BITS
        while (parts := path[-1].parts) is not None:
            bits -= _FAN_BITS
            index = position >> bits & _FAN_MASK
            part = parts[index]
            if part is None:
                part = parts[index] = _Piece()
            path.append(part)
        leaf = path[-1]
        before = leaf.marks.pop(position, None)
        if kept is not None:
            leaf.marks[position] = kept
        for piece in path:
            if before is not None:
                piece.count(before & 255, -(before >> 8 << 64 | 1))
            if kept is not None:
                piece.count(kept & 255, kept >> 8 << 64 | 1)
        if len(leaf.marks) > _MARKS_PER_PIECE_MAX and bits > _PIECE_BITS_MIN:
            _cut(leaf, bits - _FAN_BITS)

    def _pieces(self, arc: Arc) -> Iterator[tuple[_Piece, RingId | None, RingId]]:
        """Find the largest pieces that make up `arc`: whole ones, and some of which `first` to `last` lie in it."""
        for first, last in _ranges(arc):
            waiting = [(self._root, 0, ID_BITS)]
            while waiting:
                piece, low, bits = waiting.pop()
                high = low + (1 << bits) - 1
                if first <= low and high <= last:
                    yield piece, None, last
                elif piece.parts is None:
                    yield piece, first, last
                else:
                    waiting += _parts(piece.parts, low, bits, first, last)

    def _leaves(self, arc: Arc, copies_above: int, copies_max: int) -> Iterator[tuple[RingId, int, RingId, RingId]]:
        for first, last in _ranges(arc):
            waiting = [(self._root, 0, ID_BITS)]
            while waiting:
                piece, low, bits = waiting.pop()
                if not any(copies_above < copies <= copies_max for copies in piece.sums):
                    continue
                if piece.parts is None:
                    yield low, bits, first, last
                else:
                    waiting += reversed(_parts(piece.parts, low, bits, first, last))


_FAN_MASK = (1 << _FAN_BITS) - 1


def _ranges(arc: Arc) -> list[tuple[RingId, RingId]]:
    """Tell the positions of an arc, first and last, in its order."""
    if arc.after < arc.upto:
        return [(arc.after + 1, arc.upto)]
    return [(arc.after + 1, RING_SIZE - 1), (0, arc.upto)]


def _parts(
    parts: list[_Piece | None], low: RingId, bits: int, first: RingId, last: RingId
) -> list[tuple[_Piece, RingId, int]]:
    """Find those parts of a piece in which some of the positions lie, with where each begins, and how long it is."""
    bits -= _FAN_BITS
    begin = max(0, (first - low) >> bits)
    end = min(_FAN_MASK, (last - low) >> bits)
    found = []
    for index in range(begin, end + 1):
        part = parts[index]
        if part is not None:
            found.append((part, low + (index << bits), bits))
    return found


def _cut(piece: _Piece, bits: int) -> None:
    """Cut a piece into parts, each of so many bits."""
    parts: list[_Piece | None] = [None] * (1 << _FAN_BITS)
    for position, kept in piece.marks.items():
        index = position >> bits & _FAN_MASK
        part = parts[index]
        if part is None:
            part = parts[index] = _Piece()
        part.marks[position] = kept
        part.count(kept & 255, kept >> 8 << 64 | 1)
    piece.marks = {}
    piece.parts = parts


def is_listed(arc: Arc, mine: int, theirs: int) -> bool:
    """Whether two sides that keep `mine` and `theirs` records in `arc` better list them, or hand them over whole, than
    cut it into parts.
    """
    return not mine or not theirs or max(mine, theirs) <= LISTED_AT_ONCE or arc.length < PART_POSITIONS_MIN


def split_arc(arc: Arc) -> list[Arc]:
    """Cut an arc of at least `PART_POSITIONS_MIN` into equal parts, clockwise."""
    ends = [(arc.after + arc.length * k // PARTS) % RING_SIZE for k in range(PARTS)] + [arc.upto]
    return [Arc(after, upto) for after, upto in pairwise(ends)]


def gaps(covered: Iterable[Arc]) -> list[Arc]:
    """List the pieces of the ring that no arc of `covered` holds, clockwise from the end of one of them."""
    arcs = sorted(covered, key=lambda arc: arc.after)
    if not arcs:
        return [Arc(0, 0)]
    begin = arcs[0].after
    ends = [distance(begin, arc.after) + arc.length for arc in arcs]
    # What reaches over the beginning again covers it before the first arc does.
    reached = max(0, max(ends) - RING_SIZE)
    left: list[Arc] = []
    for arc, end in zip(arcs, ends, strict=True):
        start = distance(begin, arc.after)
        if start > reached:
            left.append(Arc((begin + reached) % RING_SIZE, arc.after))
        reached = max(reached, end)
    if reached < RING_SIZE:
        left.append(Arc((begin + reached) % RING_SIZE, begin))
    return left
