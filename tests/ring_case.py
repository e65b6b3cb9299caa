"""Eight members with four copies of everything, and what tests of their records ask of them."""

from __future__ import annotations

from hashlib import sha256

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.records import (
    PutResult,
    Record,
    RecordKind,
    Seal,
    Tombstone,
    Version,
    signed_key,
)
from chordtwist.core.ring import Arc
from chordtwist.core.signed import Ed25519Signer, pack_record
from chordtwist.wire import peer_messages as wire
from tests.builders import at
from tests.record_ring import DELAY_S, WALL_MS, RecordRing, key_in

ROUND_TRIP_S = 2 * DELAY_S
A_MOMENT_S = 0.001

EIGHT = tuple(range(0x1000, 0x9000, 0x1000))
OWNED = Arc(at(0x2000), at(0x3000))
"""The arc of 0x3000 among `EIGHT`; its replicas are 0x3000 to 0x6000."""

KEY = key_in(OWNED)
OUTSIDER = 0x8000
"""Keeps no copy of `KEY`."""

WRITER = Ed25519Signer(b"\1" * 32)
SIGNED_KEY = signed_key(WRITER.public, b"")


def seal(seq: int, value: bytes, expected_seq: int | None = None) -> Seal:
    signature = WRITER.sign(pack_record(b"", seq, sha256(value).digest()))
    return Seal(WRITER.public, b"", seq, signature, expected_seq)


class RingCase(SynchronousTestCase):
    """Eight members, four copies; everybody knows the way to everybody."""

    def setUp(self) -> None:
        self.ring = RecordRing(*EIGHT)
        self.ring.pass_time(10)  # every owner has compared its arc once

    def put(self, place: int, key: bytes = KEY, value: bytes = b"value", **options: float) -> Deferred[PutResult]:
        return self.ring.node(place).records.put(key, value, **options)  # type: ignore[arg-type]

    def put_and_wait(self, place: int, key: bytes = KEY, value: bytes = b"value", **options: float) -> PutResult:
        result = self.put(place, key, value, **options)
        self.ring.pass_time(10 * ROUND_TRIP_S)
        return self.successResultOf(result)

    def get(self, place: int, key: bytes = KEY) -> Deferred[Record | None]:
        return self.ring.node(place).records.get(key)

    def value_at(self, place: int, key: bytes = KEY, within_s: float = 5.0) -> bytes | None:
        read = self.get(place, key)
        self.ring.pass_time(within_s)
        record = self.successResultOf(read)
        return None if record is None else record.value

    def questions_of(self, place: int, kind: type[wire.Question]) -> int:
        return len(self.ring.node(place).questions(kind))

    def keep(self, place: int, record: Record | Tombstone) -> None:
        """A copy that is simply there."""
        self.ring.node(place).records.local_records.take(record, None, None)

    def record(self, ms: int = WALL_MS, value: bytes = b"value", ttl_s: float = 3600, key: bytes = KEY) -> Record:
        expiry_ms = int((self.ring.clock.seconds() + ttl_s) * 1000)
        return Record(key, value, RecordKind.PLAIN, Version(ms, b""), expiry_ms, 4)
