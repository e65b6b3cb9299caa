"""What this node keeps: the store, with summaries of its pieces that are kept up as records come and go."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from chordtwist.core.digests import Summary, SummaryTree, mark
from chordtwist.core.errors import StoreFull
from chordtwist.core.quotas import Ledger, Quota
from chordtwist.core.records import Entry, Record, Tombstone, Versioned, ended, merge, position_of, present
from chordtwist.core.ring import RING_SIZE, Arc
from chordtwist.node.interfaces import IRecordStore
from chordtwist.node.records.pauses import Pauses

ENTRIES_PER_TURN = 1_000
"""Entries looked at before others get the reactor: about 5 ms."""

COPIES_MAX = 255
"""What fits into the byte that carries it."""

SWEEP_S = 30.0
"""What has expired is gone at once for everybody who asks; its room is given back within this time."""

SWEEP_ON_S = 1.0
"""The same, where something had expired: there may be more of it than one batch."""

TTL_SLACK_MS = 1_000
"""A copy of a version that is here is written again only for a life that differs by more: each way a copy comes adds
its own delay, and a write for a few milliseconds is a write for nothing."""


class LocalRecords:
    """Every change of the store goes through here."""

    def __init__(
        self, store: IRecordStore, clock: IReactorTime, life_ms: Callable[[], int], pauses: Pauses, quota: Quota
    ) -> None:
        """@param life_ms: the clock that lives are counted on."""
        self.store = store
        self._life_ms = life_ms
        self._clock = clock
        self._running = False
        self._sweeping: IDelayedCall | None = None
        self._pauses = pauses
        self._ledger = Ledger(quota)
        self._carried = Ledger(quota)
        """Who delivered first what others have carried here, who are charged all the same: they might name anybody."""
        self.changes = 0
        """How often something was put, or removed."""
        self._marks = SummaryTree()
        self._is_marked: bool | None = None if store.records() or store.tombstones() else True
        """Whether all that is kept is marked; None before that has begun."""

    def start(self) -> None:
        """Give the room of what has expired back, until `stop`."""
        self._running = True
        self._sweep_later(SWEEP_S)
        if self._is_marked is None:
            Deferred.fromCoroutine(self._marked()).addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> None:
        """End the timer."""
        self._running = False
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def now_ms(self) -> int:
        """Read the clock that lives are counted on."""
        return self._life_ms()

    def get(self, key: bytes) -> Versioned | None:
        """Get what is there now, to the millisecond: a live record, a tombstone, or nothing."""
        versioned = self.store.get(key)
        if versioned is None:
            if self.store.entry(key) is not None:
                self.remove(key)  # what cannot be read: while it is counted, replicas do not bring it back
            return None
        if versioned.expiry_ms > (now_ms := self.now_ms()):
            return versioned
        return present(versioned, now_ms)

    def has_room(self, host: str | None, versioned: Versioned, share: float = 1.0) -> bool:
        """Whether an address may deliver this, which may use so much of its quota; None is ourselves."""
        return host is None or self._ledger.has_room(host, versioned.key, versioned.value_bytes, share)

    def has_carried_room(self, first: str, versioned: Versioned, share: float) -> bool:
        """Whether others may bring this here, which `first` delivered to one of them."""
        return self._carried.has_room(first, versioned.key, versioned.value_bytes, share)

    def payer(self, key: bytes) -> str | None:
        """Say whose address delivered what is kept under `key` first, as far as that is known."""
        return self._carried.payer(key) or self._ledger.payer(key)

    def take(
        self, versioned: Versioned, here: Versioned | None, host: str | None, first: str | None = None
    ) -> Deferred[None] | None:
        """Keep `versioned` beside `here`, which `get` has just answered, as `merge` says; None when that changes
        nothing and what is here is safe.

        @param host: whose address delivers it. @param first: whose delivered it to that one, where it is another's.

        The Deferred fires when it is safe, and fails with `StoreFull`.
        """
        self._sweep_later(SWEEP_S)
        if here is not None:
            versioned = merge(versioned, here)
            if not _differs(versioned, here):
                return self.store.under_way(versioned.key)
        return self._put(versioned, host, first)

    def _put(self, versioned: Versioned, host: str | None, first: str | None) -> Deferred[None]:
        written = self.store.put(versioned)
        if written.called and isinstance(written.result, Failure):
            return written  # there was no room
        self._mark(versioned.key, versioned)
        payer = self._ledger.payer(versioned.key)
        self._ledger.charge(host, versioned.key, versioned.value_bytes)
        self._carried.charge(first, versioned.key, versioned.value_bytes)
        return written.addErrback(self._not_written, versioned.key, payer)

    def _not_written(self, failure: Failure, key: bytes, payer: str | None) -> Failure:
        """Undo what was marked, since the disk said no later: what is there again is, and `payer` pays for it."""
        self._mark(key, self.store.entry(key))
        if self.store.under_way(key) is None:  # else a later put stands, and is charged for
            left = self.store.entry(key)
            self._carried.release(key)
            if left is None:
                self._ledger.release(key)
            else:
                self._ledger.charge(payer, key, left.value_bytes)
        return failure

    def remove(self, key: bytes) -> None:
        """Keep nothing under `key`."""
        if self.store.entry(key) is not None:
            self.store.remove(key)
            self._mark(key, None)
            self._ledger.release(key)
            self._carried.release(key)

    def sweep(self) -> int:
        """Turn a batch of what has expired into tombstones, or into nothing. Answers how many there were."""
        now_ms = self.now_ms()
        gone = ended(self.store.expired(now_ms), now_ms)
        for key, left in gone:
            if left is None:
                self.remove(key)
            else:
                # Who delivered the record pays for its tombstone: else one address fills a node with tombstones.
                payer, first = self._ledger.payer(key), self._carried.payer(key)
                self._put(left, payer, first).addErrback(lambda failure: failure.trap(StoreFull))
        return len(gone)

    def _sweep_later(self, wait_s: float) -> None:
        if self._sweeping is None and self._running:
            self._sweeping = self._clock.callLater(wait_s, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeping = None
        if self.sweep():
            self._sweep_later(SWEEP_ON_S)
        elif self.store.records():
            self._sweep_later(SWEEP_S)

    # Summaries

    async def summary(self, arc: Arc, copies_above: int) -> Summary:
        """Sum up everything kept in `arc` with more than `copies_above` copies, tombstones included. Waits while what
        was kept before is being marked.
        """
        await self._marked()
        return self._marks.summary(arc, copies_above)

    async def entries(
        self, arc: Arc, copies_above: int, copies_max: int = COPIES_MAX, at_most: int | None = None
    ) -> list[Entry]:
        """List what is kept in `arc` with more than `copies_above` copies and no more than `copies_max`, by position;
        the first `at_most` of it. Gives way to others on its way.
        """
        await self._marked()
        found: list[Entry] = []
        looked = 0
        for piece in self._marks.arcs(arc, copies_above, copies_max):
            for entry in self.store.scan(piece):
                looked += 1
                if copies_above < entry.copies <= copies_max:
                    found.append(entry)
                    if len(found) == at_most:
                        return found
            if looked >= ENTRIES_PER_TURN:
                looked = 0
                await self._pauses.pause()
        return found

    async def _marked(self) -> None:
        if self._is_marked is None:
            self._is_marked = False
            await self._mark_all()
        while not self._is_marked:
            await self._pauses.pause()

    async def _mark_all(self) -> None:
        """Mark what was kept before this run; what is changed meanwhile is marked by who changes it."""
        for looked, entry in enumerate(self.store.scan(Arc(RING_SIZE - 1, RING_SIZE - 1)), 1):
            self._marks.put(entry.position, entry.copies, mark(entry.key, entry.version))
            if looked % ENTRIES_PER_TURN == 0:
                await self._pauses.pause()
        self._is_marked = True

    def _mark(self, key: bytes, kept: Entry | Versioned | None) -> None:
        self.changes += 1
        position = position_of(key)
        if kept is None:
            self._marks.remove(position)
        else:
            self._marks.put(position, kept.copies, mark(key, kept.version))


def _differs(versioned: Versioned, here: Versioned) -> bool:
    """Whether `versioned`, merged from `here` and something else, is worth a write."""
    return (
        versioned.version != here.version
        or versioned.copies != here.copies
        or isinstance(versioned, Tombstone) != isinstance(here, Tombstone)
        or versioned.value_bytes != here.value_bytes
        or abs(versioned.expiry_ms - here.expiry_ms) > TTL_SLACK_MS
        or _until_ms(versioned) > _until_ms(here) + TTL_SLACK_MS
        or (isinstance(versioned, Record) and isinstance(here, Record) and versioned.value != here.value)
    )


def _until_ms(versioned: Versioned) -> int:
    """Until when its version is remembered at least."""
    return (
        max(versioned.expiry_ms, versioned.tombstone_until_ms) if isinstance(versioned, Record) else versioned.expiry_ms
    )
