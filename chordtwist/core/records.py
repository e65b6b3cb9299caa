"""Records: what is stored under a key, when it ends, and which of two wins."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256

from chordtwist.core.ring import RingId

KEY_BYTES = 32


class RecordKind(IntEnum):
    """What makes a record right."""

    PLAIN = 0
    """Anybody may write; the newest version wins. The course API's kind."""

    CONTENT = 1
    """The key is the SHA-256 of the value: one honest replica is enough."""

    SIGNED = 2
    """The key is the SHA-256 of public key and salt; the highest signed seq wins (BEP 44)."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Newer is greater, everywhere: milliseconds of a hybrid logical clock, then the publisher's packed address."""

    ms: int
    publisher: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """What a signed record carries besides its value."""

    public_key: bytes
    salt: bytes
    seq: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A value under a key. `expiry_ms` is on this node's own steady clock: from that moment on it is gone."""

    key: bytes
    value: bytes
    kind: RecordKind
    version: Version
    expiry_ms: int
    copies: int
    seal: Seal | None = None


@dataclass(frozen=True, slots=True)
class Stub:
    """What stays of a record that expired or was deleted: its version, until `expiry_ms`, the latest expiry of anything
    it replaced, so that an older value with a longer life cannot come back.
    """

    key: bytes
    version: Version
    expiry_ms: int
    copies: int


Kept = Record | Stub
"""What a store keeps under one key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One kept record or stub without its value, as digests need it."""

    position: RingId
    key: bytes
    version: Version
    expiry_ms: int
    copies: int
    is_stub: bool


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of a put: `copies` confirmed of `wanted`, as which version, alive for how many ms from now."""

    copies: int
    wanted: int
    version: Version
    life_ms: int


@lru_cache(65_536)
def position_of(key: bytes) -> RingId:
    """Where a key lives on the ring: SHA-256 of it, so that nobody can place keys at will without searching for them."""
    return int.from_bytes(sha256(key).digest(), "big")
