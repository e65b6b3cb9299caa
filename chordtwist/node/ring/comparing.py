"""Looks the same points up in our ring and in another one, to see which is larger."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.lookup import Lookup, Route
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RingId, distance
from chordtwist.core.ring_sizes import Sighting, draw_points, is_theirs_larger
from chordtwist.core.routing import Routing
from chordtwist.core.table import Table
from chordtwist.node.ring.search import search
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables

SEARCHES_AT_ONCE = 8


class Comparing:
    """Compares rings for one member. All that it counts its own dial has reached."""

    def __init__(
        self, routing: Routing, statements: Statements, tables: Tables, clock: IReactorTime, rng: Random
    ) -> None:
        self._routing = routing
        self._statements = statements
        self._tables = tables
        self._clock = clock
        self._rng = rng

    async def is_larger(self, other: Table) -> bool | None:
        """Whether the ring of `other` is larger than ours; None when it is not another one behind most points."""
        points = draw_points(self._rng)
        # From our own pointers only: whom we met before may belong to the other ring by now.
        ours = await self._owners(points, self._statements.table, None)
        theirs = await self._owners(points, other, self._routing.me)
        return is_theirs_larger([Sighting(point, ours[point], theirs[point]) for point in points])

    async def _owners(
        self, points: Sequence[RingId], first: Table, excluded: Peer | None
    ) -> dict[RingId, Route | None]:
        """Look all points up in the ring of `first`, some at a time."""
        owners: dict[RingId, Route | None] = {}
        seen = [first]
        waiting = iter(points)

        async def work() -> None:
            for point in waiting:
                lookup = Lookup(point, excluded)
                lookup.hear(first.everybody())
                if excluded is None:
                    lookup.know(first)  # our own: nobody asks himself
                lookup.know(min(seen, key=lambda table: distance(table.peer.id, point)))
                await search(lookup, self._tables.fetch, self._clock)
                route = owners[point] = lookup.route(2 * self._routing.entries_max + 1)
                table = None if route is None else self._tables.at_hand(route.owner)
                if table is not None:
                    seen.append(table)

        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(SEARCHES_AT_ONCE)], consumeErrors=True)
        return owners
