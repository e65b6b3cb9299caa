"""A search of the ring: a `Lookup`, driven with questions to peers (Chord paper, section 4.3: find_successor)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Lookup
from chordtwist.core.peer import Peer
from chordtwist.core.table import Table

PATIENCE_S = 0.2
"""After so long the next-best peer is asked as well: a round trip on a bad WAN. A later answer still counts. Three at a
time from the beginning (alpha in Kademlia, section 2.3) take a fifth off a lookup's time, and twice the questions."""


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
        self._pending: dict[Peer, None] = {}
        """Peers asked and not answered."""
        self._asks_at_once = False
        self._is_patient = False
        """Whether one of them was asked so lately that nobody else is asked meanwhile."""
        self._impatience: IDelayedCall | None = None
        self._proceed()

    def _proceed(self, is_late: bool = False) -> None:
        lookup = self._lookup
        at_once = lookup.at_once()
        # All of them are waited for before one is asked: it may fail in the same moment, and must not seem the last.
        self._pending.update(dict.fromkeys(at_once))
        for peer in at_once:
            self._asks_at_once = True
            self._ask(peer)
        # Those asked at once are waited for all together; whoever is asked alone is not asked too early.
        is_waiting = self._asks_at_once and self._pending and not is_late
        while not self._is_patient and not is_waiting and (best := lookup.next_peer()) is not None:
            self._ask(best)
        # Whoever is waited for now was worth asking: the search is not done.
        if not self._is_patient and not self.ended.called and (lookup.done or not self._pending):
            if self._impatience is not None and self._impatience.active():
                self._impatience.cancel()
            self.ended.callback(lookup)

    def _lose_patience(self) -> None:
        self._impatience = None
        self._is_patient = False
        self._proceed(is_late=True)

    def _ask(self, peer: Peer) -> None:
        self._is_patient = True
        self._pending[peer] = None
        if self._impatience is None or not self._impatience.active():
            self._impatience = self._clock.callLater(PATIENCE_S, self._lose_patience)
        else:
            self._impatience.reset(PATIENCE_S)
        self._fetch(peer).addCallbacks(self._answered, self._silent, errbackArgs=(peer,))

    def _answered(self, table: Table) -> None:
        if not self.ended.called:
            self._over(table.peer)
            self._lookup.answered(table)
            self._proceed()

    def _silent(self, failure: Failure, peer: Peer) -> None:
        failure.trap(Unreachable, CancelledError)
        if not self.ended.called:
            self._over(peer)
            self._lookup.unreachable(peer)
            self._proceed()

    def _over(self, peer: Peer) -> None:
        del self._pending[peer]
        self._is_patient = False
