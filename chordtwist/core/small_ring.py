"""Whole lists: the rules for rings in which everybody knows everybody.

Zave's proof needs a ring of more members than a successor list has entries; most people's rings are smaller. There the
list is kept *whole*: it closes, that is, behind its last entry comes its owner again. While whole it may hold twice the
entries of an ordinary list, so that a ring can grow across the switch; above that the ordinary rules apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chordtwist.core.peer import Peer
from chordtwist.core.ring import distance

Successors = tuple[Peer, ...]


def copied(me: Peer, head: Peer, followers: Sequence[Peer], entries_max: int) -> tuple[Successors, bool]:
    """`head` and the list it showed, as a list of `me`: the successors, and whether they are whole.

    Cut before `me`: finding oneself in the list of one's head is what makes a list whole. Cut as well where the list
    runs past `me` without naming it, since nothing behind that point is in order any more.
    """
    entries: list[Peer] = []
    reached = 0
    for peer in (head, *followers):
        gone = distance(me.id, peer.id)
        if gone == 0:
            return fitted(tuple(entries), peer == me, entries_max)
        if gone <= reached:
            break
        reached = gone
        entries.append(peer)
    return tuple(entries[:entries_max]), False


def fitted(entries: Successors, whole: bool, entries_max: int) -> tuple[Successors, bool]:
    """A list cut to what it may hold: twice `entries_max` while whole; above that it is an ordinary list."""
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
