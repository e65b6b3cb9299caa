"""Summaries of what is kept in a piece of the ring, so that two replicas find their difference without telling it all.

A summary is a count and a sum of marks: it is updated by one addition when a record comes or goes, and summaries of
neighbouring pieces add up. Where two differ the piece is cut into equal parts and these are compared (range-based set
reconciliation, Meyer 2022): the bytes told are in proportion to the difference, not to what is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from chordtwist.core.records import Version
from chordtwist.core.ring import RING_SIZE, Arc, distance

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
