"""What a member has promised its neighbours: that its tables name them, so that a table which does not convicts it."""

from __future__ import annotations

from chordtwist.core.peer import Peer
from chordtwist.core.table import Table

LEASE_MS = 120_000
"""How long a promise binds: it is renewed after a minute and a half, and a liar cannot wait for its end unseen."""

GIVEN_MAX = 128
"""Promises that bind at one time; a list has 32 entries at most, and few of them change within two minutes."""


class Leases:
    """The leases that one member has given in its present epoch. Times are of its steady clock, in ms."""

    def __init__(self) -> None:
        self._given: dict[Peer, int] = {}

    def give(self, table: Table, neighbour: Peer, now_ms: int) -> int | None:
        """Promise to list a neighbour that our present `table` lists; answers until when, None where nothing is
        promised.
        """
        self._forget(now_ms)
        if not table.lists(neighbour) or (len(self._given) >= GIVEN_MAX and neighbour not in self._given):
            return None
        self._given[neighbour] = now_ms + LEASE_MS
        return now_ms + LEASE_MS

    def gone(self, table: Table, now_ms: int) -> tuple[Peer, ...]:
        """List whom a `table` of ours has to name as gone, since it leaves out whom it promised to list."""
        self._forget(now_ms)
        return tuple(peer for peer in self._given if table.leaves_out(peer))

    def forget_all(self) -> None:
        """Forget all of them, since another epoch begins."""
        self._given.clear()

    def _forget(self, now_ms: int) -> None:
        for peer in [peer for peer, until_ms in self._given.items() if until_ms < now_ms]:
            del self._given[peer]
