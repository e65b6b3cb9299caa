"""Drives a `Lookup` with questions to peers."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Lookup
from chordtwist.core.peer import Peer
from chordtwist.core.table import Table

PATIENCE_S = 0.3
"""After so long a question no longer holds a place among those in flight, so that the next-best peer is asked: two
round trips on a bad WAN. Its answer still counts when it comes."""


def search(lookup: Lookup, fetch: Callable[[Peer], Deferred[Table]], clock: IReactorTime) -> Deferred[Lookup]:
    """Ask until the lookup is done or nobody is left to ask. Fires with `lookup`, never fails, and is bounded in time:
    by the time limit of a question and the bounded length of a search.
    """
    return _Search(lookup, fetch, clock).ended


class _Search:
    def __init__(self, lookup: Lookup, fetch: Callable[[Peer], Deferred[Table]], clock: IReactorTime) -> None:
        self.ended: Deferred[Lookup] = Deferred()
        self._lookup = lookup
        self._fetch = fetch
        self._clock = clock
        self._pending: dict[Peer, bool] = {}
        """Peers asked and not answered; True while they hold a place among those in flight."""
        self._impatience: IDelayedCall | None = None
        self._proceed()

    def _proceed(self) -> None:
        lookup = self._lookup
        while not self.ended.called:
            peers = lookup.next_peers(sum(self._pending.values()))
            if not peers:
                break
            for peer in peers:
                self._pending[peer] = True
            for peer in peers:
                self._fetch(peer).addCallbacks(self._answered, self._silent, errbackArgs=(peer,))
        if self.ended.called:
            return
        if lookup.done or not self._pending:
            if self._impatience is not None and self._impatience.active():
                self._impatience.cancel()
            self._impatience = None
            self.ended.callback(lookup)
        elif self._impatience is None:
            self._impatience = self._clock.callLater(PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        self._impatience = None
        self._pending = dict.fromkeys(self._pending, False)
        self._proceed()

    def _answered(self, table: Table) -> None:
        self._pending.pop(table.peer, None)
        if not self.ended.called:
            self._lookup.answered(table)
            self._proceed()

    def _silent(self, failure: Failure, peer: Peer) -> None:
        failure.trap(Unreachable, CancelledError)
        self._pending.pop(peer, None)
        if not self.ended.called:
            self._lookup.unreachable(peer)
            self._proceed()
