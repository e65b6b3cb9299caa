"""What people ask to see of the ring and of a record, through one node: plain values, ready for JSON.

Nothing here changes a record or a pointer. What it costs is bounded, and is asked for by whoever reaches the API or the
status page, who are let in by the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.records import position_of
from chordtwist.core.routing import Routing
from chordtwist.node.records.hash_table import HashTable
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.ring_walk import RingWalk, shown
from chordtwist.node.ring.searches import AT_HAND, Searches
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.wire.peer_messages import Ping

PINGS_MAX = 20
"""Of one peer in one request."""


class Inspection:
    """Shows what one node can see."""

    def __init__(
        self,
        routing: Routing,
        statements: Statements,
        tables: Tables,
        asking: Asking,
        searches: Searches,
        records: HashTable,
        clock: IReactorTime,
        wall_ms: Callable[[], int],
    ) -> None:
        self._routing = routing
        self._statements = statements
        self._tables = tables
        self._asking = asking
        self._searches = searches
        self._records = records
        self._clock = clock
        self._wall_ms = wall_ms

    def ring(self) -> Deferred[dict[str, object]]:
        """Walk the ring; the fields of `ring_walk.shown`. Of a ring of a thousand it takes a second or two."""
        return Deferred.fromCoroutine(self._ring())

    async def _ring(self) -> dict[str, object]:
        start = self._statements.table
        walk = RingWalk(start, self._tables.fetch, self._clock)
        await walk.begin()
        return await shown(walk, start, self._wall_ms(), self._clock)

    def estimate(self) -> dict[str, object]:
        """Estimate the size of the ring without a question: `members`, and whether that is `exact`."""
        table = self._statements.table
        return {"members": table.members_estimate(), "exact": table.whole, "listed": len(table.successors)}

    def inspect(self, key: bytes) -> Deferred[dict[str, object]]:
        """Ask every replica what it keeps under `key`; the fields of `Inspecting.inspect`."""
        return self._records.inspecting.inspect(key)

    def trace(self, key: bytes) -> Deferred[dict[str, object]]:
        """Search for the owner of `key`, and tell of every question.

        `steps`, in the order in which they were put: `address`, `hop`, `at_ms`, `took_ms` (None while nobody answered),
        `outcome`: ``table``, ``table at hand`` of one that was not asked since it had shown its own within the last
        minute, or why there was none. `owner`, `replicas`, `hops`, `questions`, `took_ms`; the owner is
        None when nobody could be asked.
        """
        return Deferred.fromCoroutine(self._trace(key))

    async def _trace(self, key: bytes) -> dict[str, object]:
        began_s = self._clock.seconds()
        route, steps = await self._searches.trace(position_of(key))
        return {
            "key": key.hex(),
            "position": f"{position_of(key):064x}",
            "from": str(self._routing.me),
            "owner": None if route is None else str(route.owner),
            "replicas": [] if route is None else [str(peer) for peer in route.replicas],
            "hops": 0 if route is None else route.hops,
            "questions": sum(step.outcome != AT_HAND for step in steps),
            "took_ms": round((self._clock.seconds() - began_s) * 1000, 3),
            "steps": [
                {
                    "address": str(step.peer),
                    "hop": step.hop,
                    "at_ms": round(step.at_ms, 3),
                    "took_ms": None if step.took_ms is None else round(step.took_ms, 3),
                    "outcome": step.outcome,
                }
                for step in steps
            ],
        }

    def knows(self, peer: Peer) -> bool:
        """Whether we have met it: to ask it again harms nobody."""
        return self._asking.is_known(peer)

    def ping(self, peers: Iterable[Peer] | None, times: int) -> Deferred[list[dict[str, object]]]:
        """Ask each of `peers`, or all neighbours and fingers, for a sign of life, `times` times one after another.

        Of each: `address`, `as` (``predecessor``, ``successor 1``, ``finger``; several may hold), `asked`, `answered`,
        `median_ms` and `worst_ms` of the answers, `reason` of the last silence.
        """
        routing = self._routing
        places: dict[Peer, list[str]] = {peer: [] for peer in peers or ()}
        named = [(f"successor {rank}", peer) for rank, peer in enumerate(routing.successors, 1)]
        if routing.predecessor is not None:
            named.append(("predecessor", routing.predecessor))
        named += [("finger", peer) for peer in dict.fromkeys(routing.fingers.values())]
        for place, peer in named:
            if peers is None or peer in places:
                places.setdefault(peer, []).append(place)
        pinged = [Deferred.fromCoroutine(self._ping(peer, as_, times)) for peer, as_ in places.items()]
        return gatherResults(pinged, consumeErrors=True)

    async def _ping(self, peer: Peer, places: list[str], times: int) -> dict[str, object]:
        took_ms: list[float] = []
        reason = None
        times = min(times, PINGS_MAX)
        for _ in range(times):
            began_s = self._clock.seconds()
            try:
                await self._asking.ask(peer, Ping())
            except Unreachable as error:
                reason = error.reason
            else:
                took_ms.append((self._clock.seconds() - began_s) * 1000)
        return {
            "address": str(peer),
            "as": places,
            "asked": times,
            "answered": len(took_ms),
            "median_ms": round(median(took_ms), 3) if took_ms else None,
            "worst_ms": round(max(took_ms), 3) if took_ms else None,
            "reason": reason,
        }
