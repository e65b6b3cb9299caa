"""Records and tombstones as they travel, and back: a remaining life on the wire, an expiry on this node's own clock
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

from msgspec.structs import replace

from chordtwist.core.digests import Summary, mark_bytes
from chordtwist.core.errors import Malformed
from chordtwist.core.records import GRACE_MS, Record, RecordKind, Seal, Tombstone, Version, Versioned
from chordtwist.wire import peer_messages as wire

TOO_MANY = "too many"
"""Why a `HaveList` is refused whose arc holds far more than it lists."""

FORGOTTEN = "forgotten"
"""Why a publisher tells nothing of a key: it has put nothing there that is newer than the time it names."""

HEAD_BYTES = 100
"""What a record takes in a batch besides its value."""


def body_of(versioned: Versioned, now_ms: int) -> wire.RecordBody:
    """Tell something that is alive, or remembered, at `now_ms` as it travels."""
    if isinstance(versioned, Tombstone):
        return _tombstone_body(versioned, now_ms)
    return wire.RecordBody(
        versioned.key,
        versioned.value,
        versioned.kind,
        versioned.version.ms,
        versioned.version.publisher,
        versioned.expiry_ms - now_ms,
        versioned.copies,
        None if versioned.seal is None else _sealed(versioned.seal),
        max(0, versioned.tombstone_until_ms - now_ms),
    )


def version_body_of(record: Record, now_ms: int) -> wire.RecordBody:
    """Tell a record without its value: by its digest, but for content, whose key tells it."""
    return wire.RecordBody(
        record.key,
        b"" if record.kind is RecordKind.CONTENT else sha256(record.value).digest(),
        record.kind,
        record.version.ms,
        record.version.publisher,
        record.expiry_ms - now_ms,
        record.copies,
        None if record.seal is None else _sealed(record.seal),
    )


def _tombstone_body(tombstone: Tombstone, now_ms: int) -> wire.RecordBody:
    return wire.RecordBody(
        tombstone.key,
        tombstone.digest,
        tombstone.kind,
        tombstone.version.ms,
        tombstone.version.publisher,
        0,
        tombstone.copies,
        None if tombstone.seal is None else _sealed(tombstone.seal),
        max(0, tombstone.expiry_ms - now_ms),
    )


def without_ttl(body: wire.RecordBody) -> wire.RecordBody:
    """Make of a record named without its value the tombstone that it would leave."""
    return wire.RecordBody(
        body.key, body.value, body.record_kind, body.version_ms, body.publisher, 0, body.copies, body.seal
    )


def versioned_from(body: wire.RecordBody, now_ms: int, ttl_ms_max: int, remembered_ms_max: int) -> Versioned:
    """Read what a body brings, counted from `now_ms`: a life cut to `ttl_ms_max`, the time for which its version is
    remembered to `remembered_ms_max`.

    @raise Malformed: its kind is unknown.
    """
    version = Version(body.version_ms, body.publisher)
    seal = None if body.seal is None else _seal(body.seal)
    tombstone_until_ms = now_ms + min(body.tombstone_ttl_ms, remembered_ms_max)
    copies = max(1, body.copies)
    if not body.ttl_ms:
        return Tombstone(body.key, version, tombstone_until_ms, copies, seal, body.value if seal is not None else b"")
    try:
        kind = RecordKind(body.record_kind)
    except ValueError:
        raise Malformed(f"a record of the unknown kind {body.record_kind}") from None
    expiry_ms = now_ms + min(body.ttl_ms, ttl_ms_max)
    if not body.tombstone_ttl_ms or tombstone_until_ms + GRACE_MS <= expiry_ms:
        tombstone_until_ms = 0
    return Record(body.key, body.value, kind, version, expiry_ms, copies, seal, tombstone_until_ms)


class Batch:
    """What travels of many in one message.

    @ivar bodies: what is in it.
    """

    def __init__(self, now_ms: Callable[[], int], payer: Callable[[bytes], str | None]) -> None:
        """@param payer: whose address delivered what is kept under a key first."""
        self.bodies: list[wire.RecordBody] = []
        self._now_ms = now_ms
        self._payer = payer
        self._bytes = 0

    def add(self, versioned: Versioned) -> bool:
        """Add something as it is now, unless it has ended since it was found; say whether the batch is full."""
        at_ms = self._now_ms()
        if versioned.expiry_ms > at_ms:
            self.bodies.append(replace(body_of(versioned, at_ms), payer=self._payer(versioned.key) or ""))
            self._bytes += HEAD_BYTES + versioned.value_bytes
        return self._bytes >= wire.BATCH_BYTES_MAX or len(self.bodies) >= wire.BATCH_RECORDS_MAX


def batches(
    things: Iterable[Versioned], now_ms: Callable[[], int], payer: Callable[[bytes], str | None]
) -> Iterator[list[wire.RecordBody]]:
    """Tell many, as they are when their turn comes, in batches that fit into a message; see `Batch`."""
    batch = Batch(now_ms, payer)
    for versioned in things:
        if batch.add(versioned):
            yield batch.bodies
            batch = Batch(now_ms, payer)
    if batch.bodies:
        yield batch.bodies


def summary_body(summary: Summary) -> wire.Summary:
    """Make a summary ready to travel."""
    return wire.Summary(summary.count, mark_bytes(summary.total))


def summary_from(body: wire.Summary) -> Summary:
    """Read a summary that has travelled."""
    return Summary(body.count, int.from_bytes(body.total, "big"))


def _sealed(seal: Seal) -> wire.Seal:
    return wire.Seal(seal.public_key, seal.salt, seal.seq, seal.signature)


def _seal(seal: wire.Seal) -> Seal:
    return Seal(seal.public_key, seal.salt, seal.seq, seal.signature)
