"""The clauses of the ring's invariant that one member can see of itself: an operator sees them in the status.

All members together keep the ring right as long as each has a living successor, and enough of them are principal, that
is, skipped by no list (P. Zave, IEEE TSE 43(12), 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from chordtwist.core.peer import Peer
from chordtwist.core.ring import distance
from chordtwist.core.routing import Routing
from chordtwist.node.ring.tables import Tables

SHOWN_WITHIN_S = 60.0
"""A table counts that its owner showed, or said to be the same still, so lately: each entry is asked that often."""


class SelfCheck:
    """Looks at one member."""

    def __init__(self, routing: Routing, tables: Tables, is_silent: Callable[[Peer], bool]) -> None:
        self._routing = routing
        self._tables = tables
        self._is_silent = is_silent

    @property
    def has_live_successor(self) -> bool:
        """Whether an entry of the list answers, or there is nobody else."""
        successors = self._routing.successors
        return any(not self._is_silent(peer) for peer in successors) or (self._routing.whole and not successors)

    @property
    def is_ordered(self) -> bool:
        """Whether the list is in ring order, each entry once, without ourselves."""
        me = self._routing.me.id
        gaps = [distance(me, peer.id) for peer in self._routing.successors]
        return all(before < behind for before, behind in pairwise([0, *gaps]))

    def skipped_by(self) -> list[Peer]:
        """List the members whose tables, shown lately, pass us over: none, and we are principal as far as we know."""
        return [table.peer for table in self._tables.shown_within(SHOWN_WITHIN_S) if table.skips(self._routing.me)]
