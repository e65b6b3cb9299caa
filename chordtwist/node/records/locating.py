"""Who keeps what: as the ring knows it, as a search of the last minute found it, or searched for."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.lookup import Quality, Route
from chordtwist.core.ring import RingId
from chordtwist.core.routes import Routes
from chordtwist.node.interfaces import IRing


class Locating:
    """Finds the replicas of positions, for the reads and puts of one node."""

    def __init__(self, ring: IRing, clock: IReactorTime) -> None:
        self._ring = ring
        self._clock = clock
        self._routes = Routes()

    def known(self, position: RingId, copies: int) -> Route | None:
        """Name the replicas of a position, so many as far as there are, if that takes no question.

        Where our own list of successors ends it names the owner, and too few of those behind it.
        """
        route = self._ring.known_route(position)
        if route is not None and len(route.replicas) >= min(copies, len(self._ring.successors) + 1):
            return route
        return self._routes.known(position, self._clock.seconds(), copies)

    def guess(self, position: RingId) -> Deferred[Route]:
        """Search the ring quickly, for the replicas of what proves itself; fails as `find` does. Not remembered: nobody
        else has confirmed it.
        """
        return self._ring.find(position, Quality.QUICK)

    def find(self, position: RingId) -> Deferred[Route]:
        """Search the ring afresh; fails with `Unreachable` when nobody can be asked."""
        return self._ring.find(position).addCallback(self._learn)

    def stale(self, route: Route) -> None:
        """Forget a route, since its owner says that it is none."""
        self._routes.forget(route)

    def _learn(self, route: Route) -> Route:
        self._routes.learn(route, self._clock.seconds())
        return route
