"""Records: what is stored under a key, when it ends, and which of two wins.

Everything kept under one key forms a lattice: `merge` is commutative, associative and idempotent, so replicas that were
told the same things, in any order and any number of times, keep the same thing. Time has no part in it: `present` says
what is left of something at a moment, `merge` what is right of two things.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from string import hexdigits
from typing import TYPE_CHECKING, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from chordtwist.core.ring import RingId

if TYPE_CHECKING:
    from chordtwist.core.signed import Signer, Verify

KEY_BYTES = 32

GRACE_MS = 5_000
"""By so much a copy may outlive the end that its publisher gave it: its life only ever seems longer, by the delays of
its way and by a standstill of the process that read it. So much longer everything that ended is remembered by whoever
knows better, or the last copy would be believed."""

SALT_BYTES_MAX = 64
SEQ_MAX = (1 << 63) - 1
"""The highest seq of a signed record: a signed integer of 64 bits in every database and language."""

VALUE_BYTES_MAX = 65_495
"""The longest value that the course API can carry, in a PUT; every path carries it."""


class RecordKind(IntEnum):
    """What makes a record right."""

    PLAIN = 0
    """Anybody may write; the newest version wins. The course API's kind."""

    CONTENT = 1
    """The key is the SHA-256 of the value: one honest replica is enough."""

    SIGNED = 2
    """The key is the SHA-256 of public key and salt; the highest signed seq wins (BEP 44)."""


class Version(Struct, frozen=True, order=True, gc=False):
    """Newer is greater, everywhere: milliseconds of a hybrid logical clock, then the publisher's packed address."""

    ms: int
    publisher: bytes


def version_text(version: Version) -> str:
    """Write a version: its milliseconds and its publisher."""
    return f"{version.ms}-{version.publisher.hex()}"


class Seal(Struct, frozen=True, gc=False):
    """What a signed record carries besides its value; `signature` is over `core.signed.pack_record`.

    `expected_seq`: on the way of a put only, compare-and-swap: the put is refused where another seq stands (BEP 44's
    `cas`); 0 means that nothing may stand there.
    """

    public_key: bytes
    salt: bytes
    seq: int
    signature: bytes
    expected_seq: int | None = None


class Record(Struct, frozen=True, gc=False):
    """A value under a key. `expiry_ms` is on this node's own steady clock: from that moment on it is gone.

    `tombstone_until_ms`: when the last of what it replaced ends, on the same clock; 0 when nothing may outlive it. For
    `GRACE_MS` more its version is remembered after its end.
    """

    key: bytes
    value: bytes
    kind: RecordKind
    version: Version
    expiry_ms: int
    copies: int
    seal: Seal | None = None
    tombstone_until_ms: int = 0

    @property
    def value_bytes(self) -> int:
        """How long its value is."""
        return len(self.value)


class Tombstone(Struct, frozen=True, gc=False):
    """What stays of a record that expired or was deleted: its version, until `GRACE_MS` after `expiry_ms`, the latest
    expiry of anything it replaced, so that an older value with a longer life cannot come back.

    Of a signed record the seal stays too, and in `digest` the SHA-256 of its value: they prove that this seq was
    reached. Otherwise anybody could end a signed record by claiming a higher one.
    """

    key: bytes
    version: Version
    expiry_ms: int
    copies: int
    seal: Seal | None = None
    digest: bytes = b""

    @property
    def value_bytes(self) -> int:
        """A tombstone has no value."""
        return 0

    @property
    def kind(self) -> RecordKind:
        """Signed or plain: which content stood somewhere cannot be proved without it."""
        return RecordKind.PLAIN if self.seal is None else RecordKind.SIGNED


Versioned = Record | Tombstone
"""What a store keeps under one key."""


class Entry(Struct, frozen=True, gc=False):
    """One kept record or tombstone without its value, as digests need it."""

    position: RingId
    key: bytes
    version: Version
    expiry_ms: int
    copies: int
    is_tombstone: bool
    value_bytes: int
    """Of a tombstone 0."""


def entry_of(versioned: Versioned, position: RingId) -> Entry:
    """Note of something kept what a store needs to know without its value; `position` is that of its key."""
    is_tombstone = isinstance(versioned, Tombstone)
    return Entry(
        position,
        versioned.key,
        versioned.version,
        versioned.expiry_ms,
        versioned.copies,
        is_tombstone,
        versioned.value_bytes,
    )


Some = TypeVar("Some", Record, Tombstone, Versioned, Entry)


def shorten(some: Some, end_ms: int) -> Some:
    """Let it be gone, and no longer remembered, from `end_ms` on."""
    if isinstance(some, Record) and some.tombstone_until_ms > end_ms:
        return replace(some, expiry_ms=min(some.expiry_ms, end_ms), tombstone_until_ms=end_ms)
    return replace(some, expiry_ms=min(some.expiry_ms, end_ms))


class PutResult(Struct, frozen=True, gc=False):
    """What became of a put: `copies` confirmed of `wanted`, as which version, alive for how many ms from now."""

    copies: int
    wanted: int
    version: Version
    ttl_ms: int


@lru_cache(65_536)
def position_of(key: bytes) -> RingId:
    """Place a key on the ring: by its SHA-256, so that keys cannot be placed at will."""
    return int.from_bytes(sha256(key).digest(), "big")


def kind_of(key: bytes, value: bytes, seal: Seal | None) -> RecordKind:
    """Say what a value put under `key` is: under its own SHA-256 it is a content record, unasked."""
    return RecordKind.SIGNED if seal is not None else _kind_unsealed(key, sha256(value).digest())


def _kind_unsealed(key: bytes, digest: bytes) -> RecordKind:
    return RecordKind.CONTENT if digest == key else RecordKind.PLAIN


def signed_key(public_key: bytes, salt: bytes) -> bytes:
    """Give the one key under which the owner of `public_key` writes with `salt` (BEP 44's target)."""
    return sha256(public_key + salt).digest()


def key_of(name: str) -> bytes:
    """Find the key that people mean by `name`: 64 hexadecimal digits as they are, of anything else the SHA-256.

    @raise ValueError: the name is empty, as a variable that nobody has set.
    """
    if not name:
        raise ValueError("an empty name; a key has a name, or 64 hexadecimal digits")
    if len(name) == 2 * KEY_BYTES and not set(name) - set(hexdigits):
        return bytes.fromhex(name)
    return sha256(name.encode(errors="surrogateescape")).digest()


def raw_key(key: bytes | str) -> bytes:
    """Give the 32 bytes of a key, or of the name that people know it by.

    @raise ValueError: it has not 32 bytes, or the name is empty.
    """
    if isinstance(key, str):
        return key_of(key)
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes; it has {KEY_BYTES}")
    return key


def check_value(value: bytes) -> None:
    """@raise ValueError: no record can have that value: it is empty, or too long."""
    if not 1 <= len(value) <= VALUE_BYTES_MAX:
        raise ValueError(f"a value of {len(value)} bytes; from 1 to {VALUE_BYTES_MAX}")


def seal(signer: Signer, value: bytes, seq: int, salt: bytes = b"", expected_seq: int | None = None) -> Seal:
    """Seal `value` for a signed record under ``signed_key(signer.public, salt)``: only the owner of the key can write
    there, and only with ever higher `seq`; with `expected_seq`, only in place of the record that has it (0: of none).

    @raise ValueError: the salt is longer than 64 bytes, or a seq is not from 0 to 2**63 - 1.
    """
    from chordtwist.core.signed import pack_record

    if len(salt) > SALT_BYTES_MAX:
        raise ValueError(f"a salt of {len(salt)} bytes; at most {SALT_BYTES_MAX}")
    for number in seq, expected_seq or 0:
        if not 0 <= number <= SEQ_MAX:
            raise ValueError(f"a seq of {number}; from 0 to {SEQ_MAX}")
    signature = signer.sign(pack_record(salt, seq, sha256(value).digest()))
    return Seal(signer.public, salt, seq, signature, expected_seq)


def is_right(versioned: Versioned, verify: Verify) -> bool:
    """Whether it is what its kind demands: the key that follows from value or seal, and a signature that holds.

    A plain record whose key is the SHA-256 of its value is wrong: it must call itself a content record, or it could be
    replaced by anything.
    """
    return right_digest(versioned, verify) is not None


def right_digest(versioned: Versioned, verify: Verify) -> bytes | None:
    """Give the SHA-256 of its value, of a tombstone what it has of that, if it `is_right`; else None."""
    key, seal = versioned.key, versioned.seal
    if isinstance(versioned, Tombstone):
        digest = versioned.digest
    else:
        digest = sha256(versioned.value).digest()
        kind = RecordKind.SIGNED if seal is not None else _kind_unsealed(key, digest)
        if kind is not versioned.kind:
            return None
    return digest if seal is None or is_sealed(key, seal, digest, verify) else None


def is_sealed(key: bytes, seal: Seal, digest: bytes, verify: Verify) -> bool:
    """Whether the owner of `key` has sealed a value with the SHA-256 `digest`."""
    # Imported here and above: a command that reads a plain record ends before these would be loaded.
    from chordtwist.core.signed import pack_record

    return (
        len(seal.salt) <= SALT_BYTES_MAX
        and signed_key(seal.public_key, seal.salt) == key
        and verify(seal.public_key, seal.signature, pack_record(seal.salt, seal.seq, digest))
    )


def wins(new: Versioned, old: Versioned) -> bool:
    """Whether `new` is served where both were heard of: a strict order of everything that can stand under one key.

    Signed beats content beats plain. Signed: the higher seq; of one seq the greater digest, since both replicas must
    choose alike. Content has one value only. Plain: the newer version. Where these are equal the longer life of a
    signed or content record wins (else a replayed one with a short life would end it), but the end of a plain one:
    its life only ever seems longer, by the delays of its way.
    """
    return _rank(new) > _rank(old)


Precedence = tuple[object, ...]
"""What decides between two things under one key before their lives do; greater wins, as `precedence_of` says."""


def precedence_of(kind: RecordKind, version: Version, seal: Seal | None, digest: bytes) -> Precedence:
    """Rank a record of which no more is known than this; `digest`, the SHA-256 of its value, is needed with a seal."""
    if seal is not None:
        return (2, seal.seq, digest)
    if kind is RecordKind.CONTENT:
        return (1,)
    return (0, version)


def precedence(versioned: Versioned) -> Precedence:
    """Rank it: equal for copies of one thing, whatever their lives, and of content and signed ones the versions."""
    if isinstance(versioned, Tombstone):
        return precedence_of(RecordKind.PLAIN, versioned.version, versioned.seal, versioned.digest)
    digest = b"" if versioned.seal is None else sha256(versioned.value).digest()
    return precedence_of(versioned.kind, versioned.version, versioned.seal, digest)


def precedence_bytes(versioned: Versioned) -> bytes:
    """Pack its precedence, so that greater bytes are of what wins: kind u8; of plain ones the version (ms u64,
    publisher), of signed ones seq u64 and the digest.
    """
    kind, *rest = precedence(versioned)
    parts = (rest[0].ms, rest[0].publisher) if rest and isinstance(rest[0], Version) else rest
    packed = [part if isinstance(part, bytes) else cast(int, part).to_bytes(8, "big") for part in parts]
    return b"".join((bytes((cast(int, kind),)), *packed))


def refusal(new: Versioned, here: Versioned | None, expected_seq: int | None = None) -> str | None:
    """Say why `new`, put by somebody, does not take the place of `here`; None when it does, or is there already.

    "seq": another seq stands there than `expected_seq`. "kind": what stands there proves its key. "newer": it has a
    newer version or a higher seq, or it is the tombstone of this very version.
    """
    if here is None:
        return "seq" if expected_seq else None
    ours, theirs = precedence(here), precedence(new)
    seq = 0 if here.seal is None else here.seal.seq
    if expected_seq is not None and expected_seq != seq and ours != theirs:
        return "seq"
    if here.kind > new.kind:
        return "kind"
    has_ended = ours == theirs and isinstance(here, Tombstone) and isinstance(new, Record) and new.seal is None
    return "newer" if ours > theirs or has_ended else None


def merge(one: Versioned, other: Versioned) -> Versioned:
    """Choose what a replica keeps that heard of both: the one that wins, remembered until the latest expiry of both at
    least, and of equals (the same content, the same signed value) the newest version.

    It has as many copies as either: a put of one copy over one of four has to reach all four places, or the older value
    would be there when the one is lost.
    """
    winner, loser = (other, one) if wins(other, one) else (one, other)
    until_ms = max(_tombstone_until_ms(winner), _tombstone_until_ms(loser))
    version, copies = winner.version, max(winner.copies, loser.copies)
    is_copy = precedence(winner) == precedence(loser)
    if is_copy:
        version = max(version, loser.version)
    # A tombstone, of the same thing too, may be remembered for the sake of another.
    is_other = not is_copy or isinstance(loser, Tombstone)
    if loser.expiry_ms + (GRACE_MS if is_other else 0) > winner.expiry_ms:
        until_ms = max(until_ms, loser.expiry_ms)
    is_same = version == winner.version and copies == winner.copies
    if isinstance(winner, Tombstone):
        expiry_ms = max(winner.expiry_ms, until_ms)
        if is_same and expiry_ms == winner.expiry_ms:
            return winner
        return replace(winner, version=version, copies=copies, expiry_ms=expiry_ms)
    if until_ms + GRACE_MS <= winner.expiry_ms:
        until_ms = 0
    if is_same and until_ms == winner.tombstone_until_ms:
        return winner
    return replace(winner, version=version, copies=copies, tombstone_until_ms=until_ms)


def present(versioned: Versioned | None, now_ms: int) -> Versioned | None:
    """Give what is left of it at `now_ms`: itself, the tombstone of a record that expired, or nothing. A tombstone
    stays for `GRACE_MS` after its expiry.

    A content record leaves a plain tombstone: nobody can prove which content once stood there, and what it beat by its
    kind alone is not older than its version says.
    """
    if versioned is None or versioned.expiry_ms > now_ms:
        return versioned
    if isinstance(versioned, Tombstone):
        return versioned if versioned.expiry_ms + GRACE_MS > now_ms else None
    until_ms = versioned.tombstone_until_ms
    if not until_ms or until_ms + GRACE_MS <= now_ms:
        return None
    digest = b"" if versioned.seal is None else sha256(versioned.value).digest()
    return Tombstone(versioned.key, versioned.version, until_ms, versioned.copies, versioned.seal, digest)


def ended(expired: Iterable[Versioned], now_ms: int) -> list[tuple[bytes, Versioned | None]]:
    """List the keys of what is past its expiry and not as it is to stay, each with what is left of it: a tombstone in
    its grace stays.
    """
    left = [(versioned, present(versioned, now_ms)) for versioned in expired]
    return [(versioned.key, one) for versioned, one in left if one is not versioned]


def _tombstone_until_ms(versioned: Versioned) -> int:
    return versioned.tombstone_until_ms if isinstance(versioned, Record) else 0


def _rank(versioned: Versioned) -> Precedence:
    """Greater wins; equal only where nothing but copies of one thing, remembered for different times, is compared."""
    first = precedence(versioned)
    is_tombstone = isinstance(versioned, Tombstone)
    value = versioned.value if isinstance(versioned, Record) else b""
    if first[0]:
        # A tombstone's expiry says for how long it is remembered, not when the record ended: that is the past.
        ttl_ms = 0 if is_tombstone else versioned.expiry_ms
        return (*first, not is_tombstone, ttl_ms, b"" if versioned.seal is None else versioned.seal.signature)
    return (*first, is_tombstone, 0 if is_tombstone else -versioned.expiry_ms, value)
