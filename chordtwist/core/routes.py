"""Routes found lately, so that most reads and writes need no search: who owned which arc, who stood behind it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, Arc, RingId, distance

ROUTES_MAX = 4_096
ROUTE_KEPT_S = 60.0
"""A stale route costs one more round trip, since an owner that is none says so: kept for as long as a quiet ring hardly
changes, and short against what a changing one would make of a thousand routes."""


class Routes:
    """Which arcs are known to have which owner: each from a position that was looked for up to the owner found."""

    def __init__(self) -> None:
        self._owners: list[RingId] = []
        self._routes: dict[RingId, tuple[Arc, Route, float]] = {}
        self._look_at_s = 0.0
        """When to forget the old ones."""

    def learn(self, route: Route, now_s: float) -> None:
        """Remember a route that a search has found just now, and what its witnesses agreed on besides."""
        self._learn(Arc((route.position - 1) % RING_SIZE, route.owner.id), route, now_s)
        for n in range(1, route.agreed + 1):
            arc = Arc(route.replicas[n - 1].id, route.replicas[n].id)
            self._learn(arc, Route(arc.upto, route.replicas[n:]), now_s)

    def _learn(self, arc: Arc, route: Route, now_s: float) -> None:
        owner = arc.upto
        known = self._routes.get(owner)
        if known is None:
            if now_s >= self._look_at_s or len(self._owners) >= ROUTES_MAX:
                self._forget_old(now_s)
            self._owners.insert(bisect_left(self._owners, owner), owner)
        elif _are_alike(known[1].replicas, route.replicas) and distance(known[0].after, owner) > distance(
            arc.after, owner
        ):
            arc = known[0]
        self._routes[owner] = (arc, route, now_s)

    def known(self, position: RingId, now_s: float, copies: int = 1) -> Route | None:
        """Who keeps `position`, so many members at least, when a search of the last minute tells."""
        if not self._owners:
            return None
        index = bisect_left(self._owners, position)
        owner = self._owners[index if index < len(self._owners) else 0]
        arc, route, learned_s = self._routes[owner]
        if position not in arc or len(route.replicas) < copies:
            return None
        if now_s - learned_s > ROUTE_KEPT_S:
            self.forget(route)
            return None
        return replace(route, position=position, hops=0, questions=0)

    def forget(self, route: Route) -> None:
        """Forget a route that has turned out to be stale."""
        owner = route.owner.id
        if self._routes.pop(owner, None) is not None:
            self._owners.pop(bisect_left(self._owners, owner))

    def __len__(self) -> int:
        return len(self._owners)

    def _forget_old(self, now_s: float) -> None:
        """Owners that have died are never found again: their routes would stay until there are too many."""
        self._routes = {owner: known for owner, known in self._routes.items() if now_s - known[2] <= ROUTE_KEPT_S}
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        self._owners = sorted(self._routes)
        self._look_at_s = now_s + ROUTE_KEPT_S


def _are_alike(one: Sequence[Peer], other: Sequence[Peer]) -> bool:
    """Whether two lists of replicas are the same as far as both reach."""
    return all(a == b for a, b in zip(one, other, strict=False))
