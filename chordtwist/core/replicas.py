"""Who keeps what has its place at a position, of all that is listed behind it: no one list decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, RingId, distance
from chordtwist.core.table import Table
from chordtwist.core.witnesses import spans


def replicas_of(
    position: RingId,
    owner: Peer,
    tables: Iterable[Table],
    is_met: Callable[[Peer], bool],
    has_failed: Callable[[Peer], bool],
    copies: int,
    entries_max: int,
) -> tuple[tuple[Peer, ...], tuple[Peer, ...]]:
    """List the owner of a position and the members behind it, nearest first: whoever was met before and is listed, or
    stands in most lists that reach so far. Whom fewer name may be a member that few know yet, or an invention of some:
    of these list those that would be among the first `copies`.

    @param has_failed: whether our own dial of somebody who was never met has failed lately: then he is neither.
    @param entries_max: how many of the former at most; those behind the first `copies` stand in for silent ones.
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
    replicas, doubted = [owner], []
    for peer in sorted(gaps, key=gaps.__getitem__):
        gap = gaps[peer]
        if gap <= gaps[owner] or not named[peer]:
            continue
        if not is_met(peer):
            if has_failed(peer):
                continue
            if 2 * named[peer] <= sum(first <= gap <= last for first, last in stretches):
                doubted += [peer] if len(replicas) < copies else []
                continue
        replicas.append(peer)
        if len(replicas) >= entries_max:
            break
    return tuple(replicas[:entries_max]), tuple(doubted)


def _stretch(table: Table, position: RingId) -> tuple[int, int]:
    """Say of which stretch behind the position a table lists everybody: from where, to where."""
    if table.whole:
        return 0, RING_SIZE
    last = table.successors[-1] if table.successors else table.peer
    first = 0 if spans(table, position) else distance(position, table.peer.id)
    return first, distance(position, last.id)
