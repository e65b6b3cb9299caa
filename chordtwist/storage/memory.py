"""A record store in memory: for nodes without a state directory, for tests, and for the simulator."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from chordtwist.core.errors import StoreFull
from chordtwist.core.records import Entry, Kept, Record, Stub, position_of
from chordtwist.core.ring import RING_SIZE, Arc, RingId
from chordtwist.node.interfaces import IRecordStore

RECORDS_MAX = 1_000_000
"""Keys kept, stubs included: objects around the smallest values take some 600 bytes each."""

BYTES_MAX = 1 << 30
"""Bytes of values kept: what a small host can spare."""

EXPIRED_MAX = 256
"""Things that one call of `expired` names: dealing with them takes about a millisecond of the reactor's time."""

SCANNED_AT_ONCE = 256
"""Entries that a scan reads ahead before it looks again what is kept."""


@implementer(IRecordStore)
class MemoryRecordStore:
    """Keeps everything in dictionaries; what was put is safe at once, for as long as the process lives.

    A new key beyond `records_max` keys (stubs included: they cost memory too), and any value that would bring the
    values beyond `bytes_max`, is refused with `StoreFull`. Replacing something by no more bytes, and removing, always
    works.
    """

    def __init__(self, records_max: int = RECORDS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._kept: dict[bytes, Kept] = {}
        self._records = 0
        self._bytes = 0
        self._places = Places()
        self._expiries = Expiries()

    def put(self, kept: Kept) -> Deferred[None]:
        """Keep it; the Deferred has fired already."""
        key = kept.key
        before = self._kept.get(key)
        records, size = (1, len(kept.value)) if isinstance(kept, Record) else (0, 0)
        if before is None:
            if len(self._kept) >= self._records_max:
                return fail(StoreFull(f"this node keeps its {self._records_max} records already"))
        elif isinstance(before, Record):
            records -= 1
            size -= len(before.value)
        if size > 0 and self._bytes + size > self._bytes_max:
            return fail(StoreFull(f"this node keeps {self._bytes} of {self._bytes_max} bytes already"))
        self._kept[key] = kept
        self._records += records
        self._bytes += size
        if before is None:
            self._places.add(key)
        if before is None or before.expiry_ms != kept.expiry_ms:
            self._expiries.add(kept.expiry_ms, key, self._kept)
        return succeed(None)

    def get(self, key: bytes) -> Kept | None:
        """What is kept under `key`."""
        return self._kept.get(key)

    def remove(self, key: bytes) -> None:
        """Keep nothing under `key` any more."""
        before = self._kept.pop(key, None)
        if before is None:
            return
        if isinstance(before, Record):
            self._records -= 1
            self._bytes -= len(before.value)
        self._places.discard(key)

    def scan(self, arc: Arc) -> Iterator[Entry]:
        """What is kept in `arc`; what is put or removed ahead of the iterator while it runs is seen."""
        for position, key in self._places.scan(arc):
            kept = self._kept[key]
            yield Entry(position, key, kept.version, kept.expiry_ms, kept.copies, isinstance(kept, Stub))

    def expired(self, now_ms: int) -> list[Kept]:
        """What is past its expiry, soonest first, at most `EXPIRED_MAX`; the same again until it is dealt with."""
        return [self._kept[key] for key in self._expiries.due(now_ms, self._kept)]

    def records(self) -> int:
        """How many records are kept."""
        return self._records

    def record_bytes(self) -> int:
        """Bytes of their values."""
        return self._bytes

    def close(self) -> Deferred[None]:
        """Nothing waits to be written."""
        return succeed(None)


class Places:
    """Keys in the order of their positions, put in order only when somebody scans.

    A put must cost a microsecond, a scan is rare: so new keys are only noted, and sorted in by the next scan (a sorted
    list with a few new ones at its end is what Python's sort is fastest at); removed ones are skipped until they are
    half of the list.
    """

    __slots__ = ("_added", "_ordered", "_removed")

    def __init__(self) -> None:
        self._ordered: list[tuple[RingId, bytes]] = []
        self._added: list[bytes] = []
        self._removed: set[bytes] = set()

    def add(self, key: bytes) -> None:
        """Note a key that is not there."""
        if key in self._removed:
            self._removed.remove(key)
        else:
            self._added.append(key)

    def discard(self, key: bytes) -> None:
        """Forget a key that is there."""
        self._removed.add(key)
        if len(self._removed) > SCANNED_AT_ONCE and 2 * len(self._removed) > len(self._ordered) + len(self._added):
            self._ordered = [place for place in self._ordered if place[1] not in self._removed]
            self._added = [key for key in self._added if key not in self._removed]
            self._removed.clear()

    def scan(self, arc: Arc) -> Iterator[tuple[RingId, bytes]]:
        """The places in `arc`, clockwise from its beginning; changes ahead of the iterator are seen."""
        if arc.after < arc.upto:
            yield from self._scan(arc.after, arc.upto)
        else:
            yield from self._scan(arc.after, RING_SIZE)
            yield from self._scan(-1, arc.upto)

    def _scan(self, after: RingId, upto: RingId) -> Iterator[tuple[RingId, bytes]]:
        while True:
            ordered = self._in_order()
            begin = bisect_left(ordered, (after + 1,))
            batch = ordered[begin : min(begin + SCANNED_AT_ONCE, bisect_left(ordered, (upto + 1,), begin))]
            if not batch:
                return
            for place in batch:
                if place[1] not in self._removed:
                    yield place
            after = batch[-1][0]

    def _in_order(self) -> list[tuple[RingId, bytes]]:
        if self._added:
            added = [(position_of(key), key) for key in self._added]
            self._added = []
            # An insertion moves half of the list, a sort compares all of it: measured, equal at about 1 in 200.
            if len(added) * 200 < len(self._ordered):
                for place in added:
                    insort(self._ordered, place)
            else:
                self._ordered += added
                self._ordered.sort()
        return self._ordered


class Expiries:
    """When each key expires, soonest first: a heap in which what is no longer true is found out when it comes up."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, bytes]] = []

    def add(self, expiry_ms: int, key: bytes, kept: dict[bytes, Kept]) -> None:
        """Note that `key` now expires then. `kept` says what is true."""
        heappush(self._heap, (expiry_ms, key))
        # A key that is overwritten again and again would leave its old expiries in the heap until they come up.
        if len(self._heap) > 2 * len(kept) + EXPIRED_MAX:
            self._heap = [(now_true.expiry_ms, key) for key, now_true in kept.items()]
            heapify(self._heap)

    def due(self, now_ms: int, kept: dict[bytes, Kept]) -> list[bytes]:
        """Keys past their expiry, soonest first, at most `EXPIRED_MAX`; `kept` says what is true."""
        heap = self._heap
        due: dict[bytes, int] = {}
        while heap and heap[0][0] <= now_ms and len(due) < EXPIRED_MAX:
            expiry_ms, key = heappop(heap)
            current = kept.get(key)
            if current is not None and current.expiry_ms == expiry_ms:
                due[key] = expiry_ms
        # They stay due until the caller has replaced or removed them.
        for key, expiry_ms in due.items():
            heappush(heap, (expiry_ms, key))
        return list(due)
