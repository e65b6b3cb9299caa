"""Who keeps what has its place at a position, of all that is listed behind it: no one list decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, RingId, distance
from chordtwist.core.table import Table
from chordtwist.core.witnesses import spans

NAMED_BY = 2
"""So many lists name whom one of them cannot have invented alone."""


TRIED_MAX = 2
"""Of those that one list names and others leave out so many are tried: members whom few know yet, or inventions."""


def replicas_of(
    position: RingId,
    owner: Peer,
    tables: Iterable[Table],
    is_met: Callable[[Peer], bool],
    may_be_tried: Callable[[Peer], bool],
    entries_max: int,
) -> tuple[Peer, ...]:
    """List the owner of a position and the members behind it, nearest first: whoever was met before and is listed, or
    stands in two lists of those that reach so far, or in the only one; and a few more, whom none of our dials has found
    wanting.
    """
    stretches: list[tuple[int, int]] = []
    gaps: dict[Peer, int] = {}
    named: Counter[Peer] = Counter()
    for table in {table.peer: table for table in tables}.values():
        first, last = stretch = _stretch(table, position)
        stretches.append(stretch)
        for peer in (table.peer, *table.successors):
            gap = gaps[peer] = distance(position, peer.id)
            named[peer] += first <= gap <= last
    gaps[owner] = distance(position, owner.id)
    replicas, tried = [owner], 0
    for peer in sorted(gaps, key=gaps.__getitem__):
        gap = gaps[peer]
        if gap <= gaps[owner] or not named[peer]:
            continue
        reaching = sum(first <= gap <= last for first, last in stretches)
        if named[peer] < min(NAMED_BY, reaching) and not is_met(peer):
            if tried >= TRIED_MAX or not may_be_tried(peer):
                continue
            tried += 1
        replicas.append(peer)
        if len(replicas) >= entries_max:
            break
    return tuple(replicas[:entries_max])


def _stretch(table: Table, position: RingId) -> tuple[int, int]:
    """Say of which stretch behind the position a table lists everybody: from where, to where."""
    if table.whole:
        return 0, RING_SIZE
    last = table.successors[-1] if table.successors else table.peer
    first = 0 if spans(table, position) else distance(position, table.peer.id)
    return first, distance(position, last.id)
