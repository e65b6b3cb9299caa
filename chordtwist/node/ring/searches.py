"""What one node looks up on its ring, from what it knows of it, and what that took."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Lookup, Route
from chordtwist.core.ring import RingId
from chordtwist.core.routing import Routing
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.search import search
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables


class Searches:
    """What one node searches, and what that took."""

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        statements: Statements,
        tables: Tables,
        clock: IReactorTime,
    ) -> None:
        self._membership = membership
        self._routing = routing
        self._statements = statements
        self._tables = tables
        self._clock = clock
        self._asked = self._hops = self._questions = 0

    def find(self, position: RingId) -> Deferred[Route]:
        """Who keeps `position`. Fails with `Unreachable` when nobody can be asked."""
        return Deferred.fromCoroutine(self._find(position))

    def counted(self) -> dict[str, int]:
        """All that have found somebody, their hops and their questions."""
        return {"asked": self._asked, "hops": self._hops, "questions": self._questions}

    async def _find(self, position: RingId) -> Route:
        routing = self._routing
        is_member = self._membership.is_member
        lookup = Lookup(position, excluded=None if is_member else routing.me)
        if is_member:
            lookup.know(self._statements.table)
        else:
            lookup.hear(routing.everybody())
        await search(lookup, self._tables.fetch, self._clock)
        route = lookup.route(routing.entries_max)
        if route is None:
            raise Unreachable(None, "nobody on the ring can be asked")
        self._asked += 1
        self._hops += route.hops
        self._questions += route.questions
        return route
