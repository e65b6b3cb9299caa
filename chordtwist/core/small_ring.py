"""Whole lists: the rules for rings in which everybody knows everybody.

Zave's proof needs a ring of more members than a successor list has entries; most people's rings are smaller. There the
list is kept *whole*: it closes, that is, behind its last entry comes its owner again. While whole it may hold twice the
entries of an ordinary list, so that a ring can grow across the switch; above that the ordinary rules apply. A ring that
shrinks closes its lists again well before it needs that: when less than two lists hold it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chordtwist.core.peer import Peer
from chordtwist.core.ring import distance

Successors = tuple[Peer, ...]


def copied(me: Peer, extended: Sequence[Peer], entries_max: int) -> tuple[Successors, bool]:
    """Copy the `extended` list of a head (itself, its list, and itself again when that is whole) as a list of `me`: the
    successors, and whether they are whole.

    Cut before `me`, since nothing behind that point is in order any more: finding oneself there makes a list whole, and
    so does a whole list that comes round without naming `me`. Its owner has not heard yet that we went live.
    """
    entries = reached(me, extended)
    if len(entries) == len(extended):
        return entries[:entries_max], False
    behind = extended[len(entries)]
    comes_round = behind == me if behind.id == me.id else extended[0] == extended[-1]
    return fitted(entries, comes_round, entries_max)


def reached(me: Peer, extended: Sequence[Peer]) -> Successors:
    """Cut an `extended` list where it comes round to `me`, or is in order no more."""
    farthest = 0
    for index, peer in enumerate(extended):
        gone = distance(me.id, peer.id)
        if gone <= farthest:
            return tuple(extended[:index])
        farthest = gone
    return tuple(extended)


def closed(me: Peer, successors: Successors, last: Sequence[Peer], entries_max: int) -> Successors | None:
    """Close the list of `me`, made of an ordinary one and of the extended list that its last entry shows; None when
    they do not reach round to `me`, or the ring is too large to close.
    """
    entries, whole = copied(me, (*successors, *last[1:]), entries_max)
    return entries if whole and len(entries) <= closing_max(entries_max) else None


def closing_max(entries_max: int) -> int:
    """Count the other members of the largest ring whose ordinary lists become whole.

    As many as can be, since a newcomer that joined a larger ring may not be linked in yet when lists close without it:
    it must be linked before the ring gets so small that each member counts. A little less than a whole list may hold,
    lest each that comes and goes makes the whole ring switch.
    """
    return 2 * entries_max - max(1, entries_max // 4)


def fitted(entries: Successors, whole: bool, entries_max: int) -> tuple[Successors, bool]:
    """Cut a list to what it may hold: twice `entries_max` while whole; above that it is an ordinary list."""
    if whole and len(entries) <= 2 * entries_max:
        return entries, True
    return entries[:entries_max], False


def in_order(me: Peer, peers: Iterable[Peer]) -> Successors:
    """`peers` clockwise from `me`, each once, without `me`; of several in one place the first that was named."""
    placed: dict[int, Peer] = {}
    for peer in peers:
        placed.setdefault(peer.id, peer)
    placed.pop(me.id, None)
    return tuple(sorted(placed.values(), key=lambda peer: distance(me.id, peer.id)))
