"""Whom a node calls to find its ring: the bootstrap list, and the peers that an earlier run knew."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.storage.state import PEERS_REMEMBERED_MAX

SEEDS_REMEMBERED_MAX = 256
"""Remembered peers that are called for their ring: enough that some still live after days, few enough to be asked
within seconds."""

NEWS_SHARE = 16
"""When one in so many of the peers to be kept is new, they are kept again; a new neighbour suffices."""

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
        self._on_disk = set(remembered)

    def seeds(self) -> Deferred[list[Peer]]:
        """Those of the bootstrap list, then the best of the remembered ones; fails with `Unreachable` when there are
        none.

        The first node of a ring names itself at the head: after a restart it looks for its ring, and when nobody
        answers, since all were restarted, it begins it again.
        """
        return self._bootstrap().addCallbacks(self._and_remembered, self._remembered_only)

    def _and_remembered(self, listed: list[Peer]) -> list[Peer]:
        first = [self._me] if self._is_first and self._remembered else []
        return list(dict.fromkeys((*first, *listed, *self._remembered[:SEEDS_REMEMBERED_MAX])))

    def _remembered_only(self, failure: Failure) -> list[Peer]:
        failure.trap(Unreachable)
        if not self._remembered:
            failure.raiseException()
        return self._remembered[:SEEDS_REMEMBERED_MAX]

    def remembered(self) -> list[Peer]:
        """Give the peers that this run or an earlier one was in a ring with, best first."""
        return self._remembered

    def remember(self, neighbours: list[Peer], met: Iterable[Peer] = ()) -> None:
        """Keep the peers of the moment, best first, those met all around the ring behind them, and at last those kept
        before: a part of the ring that we lost is looked for until newer names take its place. No neighbour is no news:
        a node that is alone looks for those it knew.
        """
        if not neighbours:
            return
        kept = list(dict.fromkeys((*neighbours, *met, *self._remembered)))[:PEERS_REMEMBERED_MAX]
        news = set(kept) - self._on_disk
        self._remembered = kept
        if not self._on_disk.issuperset(neighbours) or len(news) * NEWS_SHARE > len(kept):
            self._on_disk = set(kept)
            self._remember(kept)
