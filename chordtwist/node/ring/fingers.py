"""Keeping the fingers right, one at a time (Chord paper, section 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RingId, distance, finger_start
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
        peer = routing.fingers.get(k) or self._head_knows(k)
        if peer is None:
            return self._look_up(k)
        return self._tables.fetch(peer).addCallbacks(
            self._shown, self._silent, callbackArgs=(k, STEPS_BACK), errbackArgs=(k,)
        )

    def _head_knows(self, k: int) -> Peer | None:
        """Whom our head's table, which is nearly ours, names for this finger (Chord paper, section 4.4)."""
        routing = self._routing
        table = None if routing.head is None else self._tables.at_hand(routing.head)
        if table is None:
            return None
        start = finger_start(routing.me.id, k)
        nearest = min((*table.successors, *table.fingers), key=lambda peer: distance(start, peer.id), default=None)
        return None if nearest is None or distance(start, nearest.id) >= 1 << k else nearest

    def _shown(self, table: Table, k: int, steps: int) -> Deferred[bool] | bool:
        routing = self._routing
        if routing.finger_is_right(k, table):
            return routing.set_finger(k, table.peer)
        before = table.predecessor
        if before is None or before == routing.me or not steps:
            return self._look_up(k)
        return self._tables.fetch(before).addCallbacks(
            self._shown, lambda failure: self._look_up_after(failure, k), callbackArgs=(k, steps - 1)
        )

    def _silent(self, failure: Failure, k: int) -> Deferred[bool]:
        self._routing.set_finger(k, None)
        return self._look_up_after(failure, k)

    def _look_up_after(self, failure: Failure, k: int) -> Deferred[bool]:
        failure.trap(Unreachable)
        return self._look_up(k)

    def _look_up(self, k: int) -> Deferred[bool]:
        routing = self._routing
        return self._find(finger_start(routing.me.id, k)).addCallbacks(
            lambda route: routing.set_finger(k, route.owner), lambda failure: failure.trap(Unreachable) is None
        )
