"""A walk round the ring for people who want to see it: every member's own table, and what all of them say together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.ring_check import RingCheck, closes, shares
from chordtwist.core.table import Table

WALK_WIDTH = 16
"""Members asked at one time: a ring of a thousand is walked in a second or two."""

WALK_MEMBERS_MAX = 2_000
"""A walk ends here; larger rings are estimated."""

SHOWN_PER_TURN = 100
"""Members made ready to be shown before others get the reactor."""


class RingWalk:
    """One walk, from the table of the node itself to everybody whom a member lists.

    @ivar found: the tables, and after how many ms each came. @ivar silent: who showed none, and why.
    """

    def __init__(self, start: Table, fetch: Callable[[Peer], Deferred[Table]], clock: IReactorTime) -> None:
        self._start = start
        self._fetch = fetch
        self._clock = clock
        self.found: dict[Peer, tuple[Table, float]] = {start.peer: (start, 0.0)}
        self.silent: dict[Peer, str] = {}
        self._seen: set[Peer] = {start.peer}
        self._waiting: deque[Peer] = deque()
        self._under_way: set[Peer] = set()
        self._ended: Deferred[None] = Deferred()

    def begin(self) -> Deferred[None]:
        """Walk; fires when everybody has answered or has been given up. Cancelling it ends the walk."""
        self._hear(self._start)
        self._proceed()
        return self._ended

    @property
    def is_whole(self) -> bool:
        """Whether nobody was left out because there are too many."""
        return len(self._seen) <= WALK_MEMBERS_MAX

    def _hear(self, table: Table) -> None:
        for peer in (*table.successors, *(() if table.predecessor is None else (table.predecessor,))):
            if peer not in self._seen and len(self._seen) <= WALK_MEMBERS_MAX:
                self._seen.add(peer)
                self._waiting.append(peer)

    def _proceed(self) -> None:
        while self._waiting and len(self._under_way) < WALK_WIDTH and not self._ended.called:
            peer = self._waiting.popleft()
            began_s = self._clock.seconds()
            self._under_way.add(peer)
            self._fetch(peer).addCallbacks(
                self._shown, self._not_shown, callbackArgs=(peer, began_s), errbackArgs=(peer,)
            ).addErrback(self._failed)
        if not self._under_way and not self._waiting and not self._ended.called:
            self._ended.callback(None)

    def _shown(self, table: Table, peer: Peer, began_s: float) -> None:
        if self._ended.called:
            return
        self._under_way.remove(peer)
        self.found[peer] = table, (self._clock.seconds() - began_s) * 1000
        self._hear(table)
        self._proceed()

    def _not_shown(self, failure: Failure, peer: Peer) -> None:
        error = failure.value
        failure.trap(Unreachable, CancelledError)
        if self._ended.called:
            return
        self._under_way.remove(peer)
        self.silent[peer] = error.reason if isinstance(error, Unreachable) else "it was not waited for"
        self._proceed()

    def _failed(self, failure: Failure) -> None:
        if not self._ended.called:
            self._ended.errback(failure)


async def shown(walk: RingWalk, start: Table, now_ms: int, clock: IReactorTime) -> dict[str, object]:
    """Make plain values of a walk that has ended, ready for JSON; `now_ms` is the wall time.

    `members`, by their places: `address`, `id`, `share` of the circle, 0 to 1, `predecessor`, `successor`, `listed`
    (how many successors), `whole` (whether those are all), `age_s` of its run, `round_trip_ms`. `silent`: `address` and
    `reason`. `closes`, `faults`: as `core.ring_check` has them. `complete`: whether the ring was not too large.
    """
    tables = [table for table, _ in walk.found.values()]
    members: list[dict[str, object]] = []
    for table, share in shares(tables):
        if len(members) % SHOWN_PER_TURN == SHOWN_PER_TURN - 1:
            await deferLater(clock, 0)
        members.append(
            {
                "address": str(table.peer),
                "id": f"{table.peer.id:064x}",
                "share": share,
                "predecessor": None if table.predecessor is None else str(table.predecessor),
                "successor": str(table.successors[0]) if table.successors else None,
                "listed": len(table.successors),
                "whole": table.whole,
                # The number of a run is the time of its begin, unless its clock went back.
                "age_s": max(0, now_ms - table.epoch) / 1000,
                "round_trip_ms": round(walk.found[table.peer][1], 3),
            }
        )
    check = RingCheck(tables, walk.silent)
    for begin in range(0, check.members, SHOWN_PER_TURN):
        check.look(begin, begin + SHOWN_PER_TURN)
        await deferLater(clock, 0)
    return {
        "from": str(start.peer),
        "members": members,
        "silent": [{"address": str(peer), "reason": reason} for peer, reason in walk.silent.items()],
        "closes": closes(start, tables),
        "faults": check.faults(),
        "complete": walk.is_whole,
    }
