"""A record store in memory: for nodes without a state directory, for tests, and for the simulator."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from chordtwist.core.records import Entry, Record, Versioned, entry_of, position_of
from chordtwist.core.ring import Arc
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.index import BYTES_MAX, RECORDS_MAX, Expiries, Places, Room


@implementer(IRecordStore)
class MemoryRecordStore:
    """Keeps everything in dictionaries; what was put is safe at once, for as long as the process lives."""

    def __init__(self, records_max: int = RECORDS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._versioned: dict[bytes, Versioned] = {}
        self._room = Room(records_max, bytes_max)
        self._places = Places()
        self._expiries = Expiries()

    def put(self, versioned: Versioned) -> Deferred[None]:
        """Keep it; the Deferred has fired already."""
        key, room = versioned.key, self._room
        before = self._versioned.get(key)
        is_new = before is None
        growth = versioned.value_bytes - (0 if before is None else before.value_bytes)
        refusal = room.refusal(is_new, growth)
        if refusal is not None:
            return fail(refusal)
        self._versioned[key] = versioned
        room.keys += is_new
        room.records += isinstance(versioned, Record) - isinstance(before, Record)
        room.bytes += growth
        if is_new:
            self._places.add(key)
        if before is None or before.expiry_ms != versioned.expiry_ms:
            self._expiries.add(versioned.expiry_ms, key, self._versioned)
        return succeed(None)

    def under_way(self, key: bytes) -> None:
        """Say that everything is safe."""

    def get(self, key: bytes) -> Versioned | None:
        """Get what is kept under `key`."""
        return self._versioned.get(key)

    def entry(self, key: bytes) -> Entry | None:
        """Get the same without its value."""
        versioned = self._versioned.get(key)
        return None if versioned is None else entry_of(versioned, position_of(key))

    def remove(self, key: bytes) -> None:
        """Keep nothing under `key` any more."""
        before = self._versioned.pop(key, None)
        if before is None:
            return
        self._room.keys -= 1
        self._room.records -= isinstance(before, Record)
        self._room.bytes -= before.value_bytes
        self._places.discard(key)

    def scan(self, arc: Arc) -> Iterator[Entry]:
        """Go through what is kept in `arc`; what is put or removed ahead of the iterator while it runs is seen."""
        for position, key in self._places.scan(arc):
            versioned = self._versioned.get(key)
            if versioned is not None:
                yield entry_of(versioned, position)

    def expired(self, now_ms: int) -> list[Versioned]:
        """List what is past its expiry, soonest first, at most `EXPIRED_MAX`; the same again until it is dealt with."""
        return [self._versioned[key] for key in self._expiries.due(now_ms, self._versioned)]

    def records(self) -> int:
        """Count the records that are kept."""
        return self._room.records

    def record_bytes(self) -> int:
        """Count the bytes of their values."""
        return self._room.bytes

    def tombstones(self) -> int:
        """Count the tombstones that are kept."""
        return self._room.keys - self._room.records

    def close(self) -> Deferred[None]:
        """End: nothing waits to be written."""
        return succeed(None)
