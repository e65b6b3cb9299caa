"""What a store knows of its keys without their values: their order on the ring, their expiries, and room for more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Protocol

from sortedcontainers import SortedList

from chordtwist.core.errors import StoreFull
from chordtwist.core.records import position_of
from chordtwist.core.ring import RING_SIZE, Arc, RingId

RECORDS_MAX = 1_000_000
"""Keys kept, tombstones included: what a store keeps in memory around each takes some 700 bytes."""

BYTES_MAX = 1 << 30
"""Bytes of values kept: what a small host can spare."""

TTL_MS_MAX = 86_400_000
"""How long anything lives, or is remembered, from when it is put: `max_store_duration`, whose default is a day."""

EXPIRED_MAX = 256
"""Things that one call of `expired` names: dealing with them takes about a millisecond of the reactor's time."""

SCANNED_AT_ONCE = 256
"""Places that a scan reads ahead before it looks again what is there."""


class Room:
    """How much is kept, and how much may be.

    A new key beyond `records_max` keys (tombstones included: they cost memory too), and any value that would bring the
    values beyond `bytes_max`, is refused. Replacing something by no more bytes, and removing, always works.
    """

    def __init__(self, records_max: int, bytes_max: int) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self.keys = 0
        self.records = 0
        self.bytes = 0

    def refusal(self, keys: int, growth: int) -> StoreFull | None:
        """Say why there is no room for so many more keys and bytes; None when there is."""
        if keys > 0 and self.keys >= self._records_max:
            return StoreFull(f"this node keeps its {self._records_max} records already")
        if growth > 0 and self.bytes + growth > self._bytes_max:
            return StoreFull(f"this node keeps {self.bytes} of {self._bytes_max} bytes already")
        return None


ADDED_MAX = 1_000
"""New keys of a large store that wait for being put in order: 3 ms of the reactor's time."""

LARGE = 5_000
"""Keys that are put in order at once, when all are new, in 10 ms; more are not. One by one costs a put 3 µs more."""


class Places:
    """Keys in the order of their positions.

    A put must cost a microsecond, a scan is rare: so new keys are only noted, and put in order by the next scan. In a
    large store that would take the next scan tens of milliseconds and more: there it is done every `ADDED_MAX` keys.
    Removed ones are skipped until they are half of all.
    """

    def __init__(self) -> None:
        self._ordered: SortedList[tuple[RingId, bytes]] = SortedList()
        self._added: list[bytes] = []
        self._removed: set[bytes] = set()

    def add(self, key: bytes) -> None:
        """Note a key that is not there."""
        if key in self._removed:
            self._removed.remove(key)
        else:
            self._added.append(key)
            if len(self._added) % ADDED_MAX == 0 and len(self._ordered) + len(self._added) >= LARGE:
                self._in_order()

    def discard(self, key: bytes) -> None:
        """Forget a key that is there."""
        self._removed.add(key)
        if len(self._removed) > SCANNED_AT_ONCE and 2 * len(self._removed) > len(self._ordered) + len(self._added):
            self._ordered = SortedList([place for place in self._ordered if place[1] not in self._removed])
            self._added = [key for key in self._added if key not in self._removed]
            self._removed.clear()

    def scan(self, arc: Arc) -> Iterator[tuple[RingId, bytes]]:
        """Go through the places in `arc`, clockwise from its beginning; changes ahead of the iterator are seen."""
        if arc.after < arc.upto:
            yield from self._scan(arc.after, arc.upto)
        else:
            yield from self._scan(arc.after, RING_SIZE)
            yield from self._scan(-1, arc.upto)

    def _scan(self, after: RingId, upto: RingId) -> Iterator[tuple[RingId, bytes]]:
        beyond = (upto + 1, b"")
        while True:
            following = self._in_order().irange((after + 1, b""), beyond, (True, False))
            batch = list(islice(following, SCANNED_AT_ONCE))
            if not batch:
                return
            for place in batch:
                if place[1] not in self._removed:
                    yield place
            after = batch[-1][0]

    def _in_order(self) -> SortedList[tuple[RingId, bytes]]:
        if self._added:
            added = [(position_of(key), key) for key in self._added]
            self._added = []
            self._ordered.update(added)
        return self._ordered


class HasExpiry(Protocol):
    """A record, a tombstone, or an entry."""

    @property
    def expiry_ms(self) -> int: ...


class Expiries:
    """When each key expires, soonest first: a heap in which what is no longer true is found out when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, bytes]] = []

    def add(self, expiry_ms: int, key: bytes, versioned: Mapping[bytes, HasExpiry]) -> None:
        """Note that `key` now expires then. `versioned` says what is true."""
        heappush(self._heap, (expiry_ms, key))
        # A key that is overwritten again and again would leave its old expiries in the heap until they come up.
        if len(self._heap) > 2 * len(versioned) + EXPIRED_MAX:
            self._heap = [(current.expiry_ms, key) for key, current in versioned.items()]
            heapify(self._heap)

    def due(self, now_ms: int, versioned: Mapping[bytes, HasExpiry]) -> list[bytes]:
        """List keys past their expiry, soonest first, at most `EXPIRED_MAX`; `versioned` says what is true."""
        heap = self._heap
        due: dict[bytes, int] = {}
        while heap and heap[0][0] <= now_ms and len(due) < EXPIRED_MAX:
            expiry_ms, key = heappop(heap)
            current = versioned.get(key)
            if current is not None and current.expiry_ms == expiry_ms:
                due[key] = expiry_ms
        # They stay due until the caller has replaced or removed them.
        for key, expiry_ms in due.items():
            heappush(heap, (expiry_ms, key))
        return list(due)
