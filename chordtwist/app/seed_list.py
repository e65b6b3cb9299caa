"""Whom a node calls to find its ring: the bootstrap list, and the peers that an earlier run knew."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.storage.state import PEERS_REMEMBERED_MAX

REMEMBER_FIRST_S, REMEMBER_SLOWEST_S = 2.0, 60.0
"""How often the peers of the moment are kept for the next run, if others than those kept: soon after the start, should
the run be killed then; later one small file a minute."""


class SeedList:
    """The list of one node; a run that ends in any way leaves the next one peers to begin with."""

    def __init__(
        self,
        me: Peer,
        bootstrap: Callable[[], Deferred[list[Peer]]],
        is_first: bool,
        remembered: list[Peer],
        remember: Callable[[list[Peer]], object],
    ) -> None:
        """@param bootstrap: fails with `Unreachable` when the list cannot be resolved.
        @param is_first: the bootstrap list is empty; it is this node that begins the ring.
        """
        self._me = me
        self._bootstrap = bootstrap
        self._is_first = is_first
        self._remembered = remembered
        self._remember = remember

    def seeds(self) -> Deferred[list[Peer]]:
        """Those of the bootstrap list, then the remembered ones; fails with `Unreachable` when none are to be had.

        The first node of a ring names itself at the head: after a restart it looks for its ring, and when nobody
        answers, since all were restarted, it begins it again.
        """
        return self._bootstrap().addCallbacks(self._and_remembered, self._remembered_only)

    def _and_remembered(self, listed: list[Peer]) -> list[Peer]:
        first = [self._me] if self._is_first and self._remembered else []
        return list(dict.fromkeys((*first, *listed, *self._remembered)))

    def _remembered_only(self, failure: Failure) -> list[Peer]:
        failure.trap(Unreachable)
        if not self._remembered:
            failure.raiseException()
        return self._remembered

    def remembered(self) -> list[Peer]:
        """Give the peers that this run or an earlier one was in a ring with, best first."""
        return self._remembered

    def remember(self, peers: list[Peer]) -> None:
        """Keep the peers of the moment, best first, and behind them those kept before: a part of the ring that we lost
        is looked for until newer names take its place. None is no news: a node that is alone looks for those it knew.
        """
        kept = list(dict.fromkeys((*peers, *self._remembered)))[:PEERS_REMEMBERED_MAX]
        if peers and set(kept) != set(self._remembered):
            self._remember(kept)
        if peers:
            self._remembered = kept
