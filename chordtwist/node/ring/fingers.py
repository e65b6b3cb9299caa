"""Keeping the fingers right, one at a time (Chord paper, section 4.4).

Each is the nearest member at or behind where it begins that our own dial has reached: a live one gives way to a nearer
one only, whatever anybody says (the slot of BASALT, Middleware 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, RingId, distance, finger_start
from chordtwist.core.routing import Routing
from chordtwist.core.table import Table
from chordtwist.node.chores import Chore
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.tables import Tables

FINGERS_SLOWEST_S = 60.0
"""Fingers only shorten lookups: one is looked at every minute in a quiet ring (MIT's Chord slows down to minutes), one
that did not answer in a lookup before all others. Twice as often saves a lookup 2 % of its time."""

STEPS_BACK = 3
"""So many members between where a finger begins and who was asked are met one by one, each for one question: between
our finger and that of our head there is one on average. A search takes some five."""


class Fingers:
    """The duty of one member to its fingers."""

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        tables: Tables,
        find: Callable[[RingId], Deferred[Route]],
        is_silent: Callable[[Peer], bool],
        clock: IReactorTime,
        rng: Random,
        interval_s: float,
    ) -> None:
        """@param is_silent: whether a peer's last question went unanswered."""
        self._routing = routing
        self._tables = tables
        self._find = find
        self._is_silent = is_silent
        self._next = 0
        self.chore = Chore(
            "fix fingers", lambda: membership.is_member and self.fix(), clock, rng, interval_s, FINGERS_SLOWEST_S
        )

    def fix(self) -> Deferred[bool] | bool:
        """Look at one finger, at one that was silent before all others; answers whether it had to be changed."""
        routing = self._routing
        routing.trim_fingers()
        wanted = routing.fingers_wanted()
        if not wanted:
            return False
        k = next((k for k, peer in routing.fingers.items() if self._is_silent(peer)), None)
        if k is None:
            k = wanted[self._next % len(wanted)]
            self._next += 1
        nearest = self._nearest(k)
        if nearest is None:
            return self._look_up(k)
        return self._tables.fetch(nearest).addCallbacks(
            self._shown, self._silent, callbackArgs=(k, STEPS_BACK), errbackArgs=(nearest, k)
        )

    def _nearest(self, k: int) -> Peer | None:
        """Choose the nearest at or behind where finger `k` begins of the one that we have, whom we met before, and whom
        our neighbours' tables name: their fingers are nearly ours (Chord paper, section 4.4).
        """
        routing, book = self._routing, self._tables.book
        start = finger_start(routing.me.id, k)
        near = (*routing.successors, *book.before(routing.me.id, routing.entries_max))
        tables = [table for peer in near if (table := self._tables.at_hand(peer)) is not None]
        known = [*book.behind(start, 1), *(_at_or_behind(start, table) for table in tables)]
        present = routing.fingers.get(k)
        if present is not None:
            known.append(present)
        candidates = [peer for peer in known if not self._is_silent(peer) and distance(start, peer.id) < 1 << k]
        return min(candidates, key=lambda peer: distance(start, peer.id), default=present)

    def _shown(self, table: Table, k: int, steps: int) -> Deferred[bool] | bool:
        routing = self._routing
        changed = routing.nearer_finger(k, table.peer)
        if routing.finger_is_right(k, table):
            return changed
        before = table.predecessor
        if before is None or before == routing.me or not steps:
            return self._look_up(k)
        return self._tables.fetch(before).addCallbacks(
            self._shown, lambda failure: self._look_up_after(failure, k), callbackArgs=(k, steps - 1)
        )

    def _silent(self, failure: Failure, peer: Peer, k: int) -> Deferred[bool]:
        if self._routing.fingers.get(k) == peer:
            self._routing.set_finger(k, None)
        return self._look_up_after(failure, k)

    def _look_up_after(self, failure: Failure, k: int) -> Deferred[bool]:
        failure.trap(Unreachable)
        return self._look_up(k)

    def _look_up(self, k: int) -> Deferred[bool]:
        routing = self._routing
        return self._find(finger_start(routing.me.id, k)).addCallbacks(
            lambda route: routing.nearer_finger(k, route.owner), lambda failure: failure.trap(Unreachable) is None
        )


def _at_or_behind(start: RingId, table: Table) -> Peer:
    """Name the nearest at or behind a position of those that a table names."""
    return min(table.everybody(), key=lambda peer: (peer.id - start) % RING_SIZE)
