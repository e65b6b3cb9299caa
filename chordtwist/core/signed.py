"""The fixed byte layouts of everything that is signed, and signing itself, with a key that is passed in.

msgpack has many encodings of one value, so nothing signed is msgpack: each kind has exactly one layout. All open with
``"chordtwist" || kind u8 || network (u8 length, UTF-8) || address of the signer (u8 length, packed) || epoch u64 || seq
u64 || wall time in ms u64``, so that a signature says one thing only, in one network, by one run of one peer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import NamedTuple, Protocol

from chordtwist.core.errors import Malformed
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.table import FINGERPRINT_LENGTH, FINGERS_MAX, Table

KEY_LENGTH = 32
SIGNATURE_LENGTH = 64
FINGERPRINTS_MAX = 4096
CONTENTS_UNPACKED_MAX = 128
"""Contents of tables that are remembered before anybody has looked at a signature: more than the peers one node keeps
asking, and 18 MiB where all are as long as they may be."""

SIGNED_NUMBER_MAX = (1 << 63) - 1
"""Of an epoch, a seq and a time: messages between nodes repeat them, and carry no larger numbers."""

_MAGIC = b"chordtwist"
_STAMP = Struct(">QQQ")
_CLOCK = Struct(">Q")


class Layout(IntEnum):
    """What kind of statement was signed."""

    STATUS = 2
    HELLO = 4
    RECORD = 5
    TABLE = 6
    """1 was a table without `gone` and `clock_ms`."""
    LEASE = 7
    """3 was an acknowledgement that bound nobody."""
    HOLDING = 8


class Status(IntEnum):
    """What a node is on the ring. A member shows its table instead of saying so."""

    MEMBER = 0
    JOINING = 1
    LEAVING = 2


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who said something, in which run of its process, as which of its statements, when by its own wall clock."""

    peer: Peer
    epoch: int
    seq: int
    time_ms: int


class Held(NamedTuple):
    """What is kept under a key; whoever keeps it may keep something greater later. A tombstone is less than what it is
    left of, and nothing is the least.
    """

    rank: bytes = b""
    """As `core.records.precedence_bytes` packs it."""
    is_live: bool = False


class Holding(NamedTuple):
    """What somebody said to keep under a key at `clock_ms` of its steady clock, and until when it binds itself to that:
    no longer from that very millisecond on, so that two statements of one moment contradict each other only if one does
    bind.
    """

    stamp: Stamp
    clock_ms: int
    signer: bytes
    key: bytes
    held: Held
    proof: bytes
    """SHA-256 of the nonce that it was asked with and the value; empty where there is none."""
    until_ms: int


class Signer(Protocol):
    """A key to sign with. The simulator passes a cheap one; everybody else an `Ed25519Signer`."""

    @property
    def public(self) -> bytes: ...

    def sign(self, body: bytes) -> bytes: ...


Verify = Callable[[bytes, bytes, bytes], bool]
"""``verify(public, signature, body)``: whether the owner of the key signed the body."""


class Ed25519Signer:
    """An Ed25519 key (RFC 8032), of a node or of the owner of signed records. A signature costs about 25 microseconds,
    its verification 70.
    """

    def __init__(self, seed: bytes) -> None:
        """@param seed: the 32 random bytes of the private key: whoever has them is the owner."""
        # Imported here and below, where it is used: a client that verifies nothing runs a tenth of a second.
        from nacl.signing import SigningKey

        self._private = SigningKey(seed)
        self.public = bytes(self._private.verify_key)

    def sign(self, body: bytes) -> bytes:
        """Sign a body."""
        return self._private.sign(body).signature


def verify_ed25519(public: bytes, signature: bytes, body: bytes) -> bool:
    """Whether the owner of `public` signed `body`; False as well when the key or signature is no such thing."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public).verify(body, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


@lru_cache(FINGERPRINTS_MAX)
def fingerprint(public: bytes) -> bytes:
    """Hash the eight bytes by which a table names a neighbour's key; each new signature names all of them again."""
    return sha256(public).digest()[:FINGERPRINT_LENGTH]


def table_opening(identity: Identity, table: Table) -> bytes:
    """Pack what is new with every signature of a table, whose it is and of when: the common opening, its steady clock
    u64. They are the first bytes of one, before `table_content`.
    """
    opening = _opening(identity, Layout.TABLE, Stamp(table.peer, table.epoch, table.seq, table.time_ms))
    return opening + _CLOCK.pack(table.clock_ms)


def table_content(table: Table) -> bytes:
    """Pack what a table says: key, flags u8 (1 whole, 2 predecessor known), predecessor, successors (u8 count), fingers
    (u8 count), gone (u8 count). A neighbour is u8 length, packed address, fingerprint; the others have no fingerprint.
    """
    flags = (1 if table.whole else 0) | (2 if table.predecessor is not None else 0)
    parts = [table.key, bytes((flags, len(table.successors)))]
    for peer, known in zip(table.neighbours, table.fingerprints, strict=True):
        parts += (_sized(peer.packed), known)
    parts.append(bytes((len(table.fingers),)))
    parts += [_sized(peer.packed) for peer in table.fingers]
    parts.append(bytes((len(table.gone),)))
    parts += [_sized(peer.packed) for peer in table.gone]
    return b"".join(parts)


def unpack_table(identity: Identity, body: bytes) -> Table:
    """Read the table that `body` states.

    @raise Malformed: it is no table of this network, names more fingers than there can be, or has bytes left over.
    """
    reader, stamp = _open(identity, Layout.TABLE, body)
    clock_ms = reader.number()
    content = _unpack_content(identity, reader.rest())
    return Table(stamp.peer, stamp.epoch, stamp.seq, stamp.time_ms, *content, clock_ms)


def unpack_table_opening(identity: Identity, body: bytes) -> tuple[Stamp, bytes]:
    """Read whose table `body` states, of when, and its key; what it says is left alone, which is what takes time.

    @raise Malformed: it is no table of this network, or ends before its key does.
    """
    reader, stamp = _open(identity, Layout.TABLE, body)
    reader.number()
    return stamp, reader.take(KEY_LENGTH)


@lru_cache(CONTENTS_UNPACKED_MAX)
def _unpack_content(
    identity: Identity, content: bytes
) -> tuple[bytes, bool, Peer | None, tuple[Peer, ...], tuple[Peer, ...], tuple[bytes, ...], tuple[Peer, ...]]:
    """Key, whole, predecessor, successors, fingers, fingerprints, gone: mostly what the same peer said before."""
    reader = _Reader(content)
    key = reader.take(KEY_LENGTH)
    flags, count = reader.u8(), reader.u8()
    has_predecessor = flags & 2
    neighbours: list[Peer] = []
    known: list[bytes] = []
    for _ in range(count + (1 if has_predecessor else 0)):
        neighbours.append(reader.peer(identity))
        known.append(reader.take(FINGERPRINT_LENGTH))
    fingers_count = reader.u8()
    if fingers_count > FINGERS_MAX:
        raise Malformed(f"a table with {fingers_count} fingers")
    fingers = tuple([reader.peer(identity) for _ in range(fingers_count)])
    gone = tuple([reader.peer(identity) for _ in range(reader.u8())])
    reader.close()
    if flags > 3:
        raise Malformed(f"a table with unknown flags {flags}")
    predecessor = neighbours.pop(0) if has_predecessor else None
    return key, bool(flags & 1), predecessor, tuple(neighbours), fingers, tuple(known), gone


def pack_status(identity: Identity, stamp: Stamp, status: Status) -> bytes:
    """Pack "I am not a member": the common opening, status u8."""
    return _opening(identity, Layout.STATUS, stamp) + bytes((status,))


def unpack_status(identity: Identity, body: bytes) -> tuple[Stamp, Status]:
    """Who is not a member, and why.

    @raise Malformed: it is no such statement of this network.
    """
    reader, stamp = _open(identity, Layout.STATUS, body)
    raw = reader.u8()
    reader.close()
    if raw not in (Status.JOINING, Status.LEAVING):
        raise Malformed(f"{stamp.peer} states the unknown status {raw}")
    return stamp, Status(raw)


def pack_lease(identity: Identity, stamp: Stamp, neighbour: Peer, until_ms: int) -> bytes:
    """Pack "every table that I sign in this epoch names this neighbour, or says that it is gone, until my steady clock
    shows that": the common opening, the neighbour's address, `until_ms` u64.
    """
    return _opening(identity, Layout.LEASE, stamp) + _sized(neighbour.packed) + _CLOCK.pack(until_ms)


def unpack_lease(identity: Identity, body: bytes) -> tuple[Stamp, Peer, int]:
    """Read who promised to list which neighbour, and until when.

    @raise Malformed: it is no lease of this network.
    """
    reader, stamp = _open(identity, Layout.LEASE, body)
    neighbour, until_ms = reader.peer(identity), reader.number()
    reader.close()
    return stamp, neighbour, until_ms


def pack_holding(identity: Identity, holding: Holding) -> bytes:
    """Pack "under this key I keep this, and until my steady clock shows `until_ms` this or something greater": the
    common opening, steady clock u64, the signer's public key, the record's key (u8 length), rank (u8 length), live u8,
    proof (u8 length), `until_ms` u64.
    """
    return b"".join(
        (
            _opening(identity, Layout.HOLDING, holding.stamp),
            _CLOCK.pack(holding.clock_ms),
            holding.signer,
            _sized(holding.key),
            _sized(holding.held.rank),
            bytes((holding.held.is_live,)),
            _sized(holding.proof),
            _CLOCK.pack(holding.until_ms),
        )
    )


def unpack_holding(identity: Identity, body: bytes) -> Holding:
    """Read who said to keep what, and until when.

    @raise Malformed: it is no such statement of this network.
    """
    reader, stamp = _open(identity, Layout.HOLDING, body)
    clock_ms, signer, key = reader.number(), reader.take(KEY_LENGTH), reader.sized()
    rank, live, proof, until_ms = reader.sized(), reader.u8(), reader.sized(), reader.number()
    reader.close()
    if live > 1:
        raise Malformed(f"{stamp.peer} states the unknown state {live} of a record")
    return Holding(stamp, clock_ms, signer, key, Held(rank, bool(live)), proof, until_ms)


def pack_hello(identity: Identity, stamp: Stamp, asked: Peer | None, channel: bytes) -> bytes:
    """Pack what binds a node's key to one link: the common opening, the address dialled (empty from the side that was
    dialled), and what both ends of a TLS session can derive and nobody else (RFC 9266); empty without TLS.
    """
    return _opening(identity, Layout.HELLO, stamp) + _sized(b"" if asked is None else asked.packed) + _sized(channel)


def pack_record(salt: bytes, seq: int, digest: bytes) -> bytes:
    """Pack what the owner of a signed record signs: ``"chordtwist" || kind u8 || salt (u8 length) || seq u64 || SHA-256
    of the value``.

    No network and no peer: it is a program's own key that signs, once, whoever carries the record. The digest in place
    of the value lets a tombstone prove its seq when the value is gone.
    """
    return b"".join((_MAGIC, bytes((Layout.RECORD,)), _sized(salt), seq.to_bytes(8, "big"), digest))


@lru_cache(64)
def _preamble(identity: Identity, layout: Layout) -> bytes:
    """Pack what every statement of this kind in this network begins with."""
    return _MAGIC + bytes((layout,)) + _sized(identity.network.encode())


def _opening(identity: Identity, layout: Layout, stamp: Stamp) -> bytes:
    said = _STAMP.pack(stamp.epoch, stamp.seq, stamp.time_ms)
    return b"".join((_preamble(identity, layout), _sized(stamp.peer.packed), said))


def _open(identity: Identity, layout: Layout, body: bytes) -> tuple[_Reader, Stamp]:
    preamble = _preamble(identity, layout)
    if not body.startswith(preamble):
        if not body.startswith(_MAGIC + bytes((layout,))):
            raise Malformed(f"signed bytes that are no {layout.name.lower()}")
        raise Malformed(f"a signed {layout.name.lower()} of another network")
    reader = _Reader(body, len(preamble))
    peer = reader.peer(identity)
    stamp = Stamp(peer, *_STAMP.unpack(reader.take(_STAMP.size)))
    if max(stamp.epoch, stamp.seq, stamp.time_ms) > SIGNED_NUMBER_MAX:
        raise Malformed(f"a signed {layout.name.lower()} with a number above {SIGNED_NUMBER_MAX}")
    return reader, stamp


def _sized(raw: bytes) -> bytes:
    return bytes((len(raw),)) + raw


class _Reader:
    """Takes fields off the front of a layout; every shortage is `Malformed`."""

    def __init__(self, body: bytes, at: int = 0) -> None:
        self._body = body
        self._at = at

    def take(self, length: int) -> bytes:
        end = self._at + length
        raw = self._body[self._at : end]
        if len(raw) != length:
            raise Malformed(f"signed bytes end after {len(self._body)} bytes, in the middle of a field")
        self._at = end
        return raw

    def u8(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        value: int = _CLOCK.unpack(self.take(_CLOCK.size))[0]
        if value > SIGNED_NUMBER_MAX:
            raise Malformed(f"signed bytes with a number above {SIGNED_NUMBER_MAX}")
        return value

    def sized(self) -> bytes:
        return self.take(self.u8())

    def peer(self, identity: Identity) -> Peer:
        try:
            return identity.unpack(self.sized())
        except ValueError as error:
            raise Malformed(f"signed bytes name an impossible peer: {error}") from None

    def rest(self) -> bytes:
        return self._body[self._at :]

    def close(self) -> None:
        if self._at != len(self._body):
            raise Malformed(f"{len(self._body) - self._at} bytes too many behind a signed statement")
