"""Keeping the fingers right, one at a time (Chord paper, section 4.4)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.ring import RingId, finger_start
from chordtwist.core.routing import Routing
from chordtwist.node.tables import Tables


class Fingers:
    """The duty of one member to its fingers."""

    def __init__(self, routing: Routing, tables: Tables, find: Callable[[RingId], Deferred[Route]]) -> None:
        self._routing = routing
        self._tables = tables
        self._find = find
        self._next = 0

    async def fix(self) -> bool:
        """Look at one finger; answers whether it had to be changed."""
        routing = self._routing
        routing.trim_fingers()
        wanted = routing.fingers_wanted()
        if not wanted:
            return False
        k = wanted[self._next % len(wanted)]
        self._next += 1
        peer = routing.fingers.get(k)
        if peer is not None:
            try:
                if routing.finger_is_right(k, await self._tables.fetch(peer)):
                    return False
            except Unreachable:
                routing.set_finger(k, None)
        try:
            route = await self._find(finger_start(routing.me.id, k))
        except Unreachable:
            return False
        return routing.set_finger(k, route.owner)
