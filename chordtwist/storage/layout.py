"""The bytes of one record or tombstone on disk.

``flags u8, kind u8, publisher's length u8, copies u16, version ms u64, expiry i64, tombstone until i64 || publisher``
then, where there is a seal, ``seq u64, salt's length u8, signature 64, public key 32 || salt``; the rest is the value
of a record or the digest of a tombstone. Times are milliseconds on the clock of the file: the node's own steady clock
plus `offset_ms`.
"""

from __future__ import annotations

from struct import Struct, error

from chordtwist.core.records import Entry, Record, RecordKind, Seal, Tombstone, Version, Versioned, position_of

_HEAD = Struct(">BBBHQqq")
_SEAL = Struct(">QB64s32s")

_KINDS = tuple(RecordKind)
_TOMBSTONE = 1
_SEALED = 2


def pack(versioned: Versioned, offset_ms: int) -> bytes:
    """Pack `versioned` as it is written. A seal's `expected_seq` is left out: it is a question of a put, answered by
    now.
    """
    version, seal = versioned.version, versioned.seal
    flags, kind, until_ms = _TOMBSTONE, 0, 0
    if isinstance(versioned, Record):
        flags, kind, rest = 0, int(versioned.kind), versioned.value
        if versioned.tombstone_until_ms:
            until_ms = versioned.tombstone_until_ms + offset_ms
    else:
        rest = versioned.digest
    sealed = b""
    if seal is not None:
        flags |= _SEALED
        sealed = _SEAL.pack(seal.seq, len(seal.salt), seal.signature, seal.public_key) + seal.salt
    publisher = version.publisher
    head = _HEAD.pack(
        flags, kind, len(publisher), versioned.copies, version.ms, versioned.expiry_ms + offset_ms, until_ms
    )
    return b"".join((head, publisher, sealed, rest))


def unpack(entry: Entry, raw: memoryview, offset_ms: int) -> Versioned:
    """Read what was packed, of which `unpack_entry` gave `entry`: it takes half the time when that need not be built
    again.

    @raise ValueError: that was never packed.
    """
    try:
        flags, kind, length, _, _, _, until_ms = _HEAD.unpack_from(raw)
        at = _HEAD.size + length
        seal = None
        if flags & _SEALED:
            seq, length, signature, public_key = _SEAL.unpack_from(raw, at)
            at += _SEAL.size + length
            seal = Seal(public_key, bytes(raw[at - length : at]), seq, signature)
        if flags & _TOMBSTONE:
            return Tombstone(entry.key, entry.version, entry.expiry_ms, entry.copies, seal, bytes(raw[at:]))
        if until_ms:
            until_ms -= offset_ms
        return Record(
            entry.key, bytes(raw[at:]), _KINDS[kind], entry.version, entry.expiry_ms, entry.copies, seal, until_ms
        )
    except (error, IndexError):
        raise ValueError(f"{len(raw)} bytes that are no record") from None


def unpack_entry(key: bytes, raw: memoryview, offset_ms: int) -> tuple[Entry, int]:
    """Read the entry of what was packed, without touching its value: it may be on other pages. And when the last of it
    ends, the record or what is remembered of it, in milliseconds.

    @raise ValueError: that was never packed.
    """
    if len(raw) < _HEAD.size:
        raise ValueError(f"{len(raw)} bytes are too few for a record")
    flags, kind, length, copies, version_ms, expiry_ms, until_ms = _HEAD.unpack_from(raw)
    seal_at = at = _HEAD.size + length
    if flags & _SEALED and at + _SEAL.size <= len(raw):
        at += _SEAL.size + raw[at + 8]
    if flags > _TOMBSTONE | _SEALED or kind >= len(_KINDS) or at > len(raw) or (flags & _SEALED and at == seal_at):
        raise ValueError(f"{len(raw)} bytes that are no record")
    version = Version(version_ms, bytes(raw[_HEAD.size : seal_at]))
    is_tombstone = bool(flags & _TOMBSTONE)
    size = 0 if is_tombstone else len(raw) - at
    entry = Entry(position_of(key), key, version, expiry_ms - offset_ms, copies, is_tombstone, size)
    return entry, max(expiry_ms, until_ms) - offset_ms
