"""The parsers of strangers' bytes, and of a disk's, each behind one function that takes any bytes and has to come back.

A target raises when the parser does what it never may: an error that is not in its documents, another meaning for the
same bytes cut differently, more bytes held than its bound, a message that does not survive being written and read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto
from twisted.internet.task import Clock

from chordtwist.app.config_file import read_text
from chordtwist.core.costs import unmetered
from chordtwist.core.errors import ConfigurationError, Malformed, Refused
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.prefixes import can_be_neighbours, is_crowded
from chordtwist.core.puzzles import solve
from chordtwist.core.records import PutResult, Seal, Version, is_right, merge
from chordtwist.core.signed import (
    Ed25519Signer,
    Stamp,
    pack_lease,
    pack_status,
    unpack_lease,
    unpack_status,
    unpack_table,
    verify_ed25519,
)
from chordtwist.core.signed import Status as NodeStatus
from chordtwist.core.table import Table
from chordtwist.net.certificates import issue, make_authority, make_key, self_signed
from chordtwist.net.client_puzzles import PuzzleChallenger
from chordtwist.net.introduction import Introduction
from chordtwist.net.tls import Credentials, Tls, explain, words_for
from chordtwist.net.tls_link import RECORD_OPENING_BYTES, RECORDS_AT_ONCE
from chordtwist.node.records.record_bodies import body_of, versioned_from
from chordtwist.storage.layout import pack, unpack, unpack_entry
from chordtwist.storage.state import _number, _peers, _seed
from chordtwist.wire import api_messages as api
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.frames import OPENING_BYTES, FrameReader, pack_frame
from tests import certificates
from tests.builders import pack_table
from tests.tls_end import End, carry

FOUND = Path(__file__).parent / "fuzz_found"
"""Inputs that once broke a target, in a folder of its name; they are replayed by every search and by the tests."""

PIECES = (1, 2, 3, 7, 61, 1448, 16_384, 65_536)
"""How many bytes arrive at once; the first byte of an input to a stream's reader chooses."""

IDENTITY = Identity("fuzz", Policy.IP)
PARAMETERS = Parameters(network="fuzz")
ME, OTHER, THIRD = (IDENTITY.peer(host, 6401) for host in ("192.0.2.1", "192.0.2.2", "2001:db8::3"))
SIGNER = Ed25519Signer(bytes(31) + b"\x01")
THEIR_SIGNER = Ed25519Signer(bytes(31) + b"\x02")
CHANNEL = b"channel"
FOLDER = Path("/nowhere")
NOW_MS, TTL_MS_MAX = 1_000_000, 86_400_000
FRAME_BYTES_MAX = OPENING_BYTES + max(wire.BODY_BYTES_MAX.values())


@dataclass(frozen=True)
class Target:
    """One parser: `feed` gives it any bytes, `seeds` are inputs from which the search for others begins."""

    name: str
    feed: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


# Streams


def feed_frames(raw: bytes) -> None:
    """Frames of the peer protocol."""
    piece, stream = _piece(raw)
    whole, cut = _frames(stream, len(stream) or 1), _frames(stream, piece)
    assert whole[1] == cut[1], "what is malformed depends on how the bytes were cut"
    if not whole[1]:
        assert whole[0] == cut[0], "the frames depend on how the bytes were cut"
        written = b"".join(pack_frame(*frame) for frame in whole[0])
        assert stream.startswith(written), "the frames are not what arrived"


def _frames(stream: bytes, piece: int) -> tuple[list[tuple[int, int, bytes]], bool]:
    reader = FrameReader(wire.BODY_BYTES_MAX)
    frames: list[tuple[int, int, bytes]] = []
    try:
        for at in range(0, len(stream), piece):
            reader.feed(stream[at : at + piece])
            frames += reader.frames()
            assert reader.held_bytes < FRAME_BYTES_MAX, "more is held than one incomplete frame"
    except Malformed:
        return frames, True
    return frames, False


def feed_questions(raw: bytes) -> None:
    """What clients of the API send."""
    _feed_api(api.QuestionReader, raw)


def feed_answers(raw: bytes) -> None:
    """What the node sends to clients of the API."""
    _feed_api(api.AnswerReader, raw)


def feed_states(raw: bytes) -> None:
    """What the pieces of a STATUS's answer make together."""
    with suppress(Malformed):
        api.unpack_state(raw)


Reader = api.QuestionReader | api.AnswerReader


def _feed_api(make: Callable[[], Reader], raw: bytes) -> None:
    piece, stream = _piece(raw)
    whole, cut = _messages(make(), stream, len(stream) or 1), _messages(make(), stream, piece)
    assert whole == cut, "the messages depend on how the bytes were cut"
    written = b"".join(message.pack() for message in whole[0])
    again, is_malformed = _messages(make(), written, len(written) or 1)
    # Compared as bytes: an overlong reason is cut when it is written.
    assert not is_malformed and b"".join(message.pack() for message in again) == written, "written, it reads otherwise"


def _messages(reader: Reader, stream: bytes, piece: int) -> tuple[list[api.ApiQuestion | api.ApiAnswer], bool]:
    messages: list[api.ApiQuestion | api.ApiAnswer] = []
    try:
        for at in range(0, len(stream), piece):
            reader.feed(stream[at : at + piece])
            while (message := reader.take()) is not None:
                messages.append(message)
            assert reader.held_bytes < api.MESSAGE_BYTES_MAX, "more is held than one incomplete message"
    except Malformed:
        return messages, True
    return messages, False


def _piece(raw: bytes) -> tuple[int, bytes]:
    return (PIECES[raw[0] % len(PIECES)], raw[1:]) if raw else (1, b"")


# Bodies


def feed_peer_messages(raw: bytes) -> None:
    """The body of a frame: its first byte is the kind."""
    kind, body = (raw[0], raw[1:]) if raw else (0, b"")
    try:
        message = wire.decode(kind, body[: wire.BODY_BYTES_MAX.get(kind, 0)])
    except Malformed:
        return
    written = wire.encode(message)
    assert wire.decode(kind, written) == message, "what was read and written is read as something else"
    if isinstance(message, wire.Hello):
        _meet(message)
    elif isinstance(message, wire.Store):
        _keep(message.record)
    elif isinstance(message, wire.Solution):
        unused: Any = None
        challenger = PuzzleChallenger(unused, unused, unused, 1, unmetered(), Clock())
        assert challenger.answer(OTHER, message) != wire.Noted(), "it solved what nobody asked it"
    elif isinstance(message, wire.Puzzle):
        solve(message.puzzle, message.bits, 0, 10)
    elif isinstance(message, wire.HandedOver | wire.StoreAll):
        for record in message.records:
            _keep(record)


def _meet(hello: wire.Hello) -> None:
    introduction = Introduction(ME, IDENTITY, PARAMETERS, SIGNER, verify_ed25519, 1, lambda: 1)
    for dialled in (None, OTHER):
        try:
            handshaken = introduction.meet(hello, OTHER.host, dialled, CHANNEL)
        except (Malformed, Refused):
            continue
        assert handshaken.peer == OTHER and handshaken.key == THEIR_SIGNER.public, (
            "somebody else was taken for the other side"
        )


def _keep(body: wire.RecordBody) -> None:
    try:
        versioned = versioned_from(body, NOW_MS, TTL_MS_MAX, TTL_MS_MAX)
    except Malformed:
        return
    is_right(versioned, lambda public, signature, signed: True)
    assert NOW_MS <= versioned.expiry_ms <= NOW_MS + TTL_MS_MAX, "it lives longer than anything may"
    again = versioned_from(body_of(versioned, NOW_MS), NOW_MS, TTL_MS_MAX, TTL_MS_MAX)
    assert merge(versioned, again) == merge(again, versioned) == versioned, (
        "what is kept and passed on is something else"
    )


def feed_addresses(raw: bytes) -> None:
    """An address of a node as it travels."""
    for policy in Policy:
        identity = Identity("fuzz", policy)
        try:
            peer = identity.unpack(raw)
        except ValueError:
            continue
        assert Identity("fuzz", policy).peer(peer.host, peer.port).packed == raw, "one node has two addresses"
        can_be_neighbours(ME, peer)
        is_crowded(peer, (OTHER, THIRD))


def feed_tables(raw: bytes) -> None:
    """The signed bytes of a table."""
    try:
        table = unpack_table(IDENTITY, raw)
    except Malformed:
        return
    assert pack_table(IDENTITY, table) == raw, "one table has two forms, and a signature would hold for one only"


def feed_statements(raw: bytes) -> None:
    """The signed bytes of the shorter statements."""
    try:
        stamp, status = unpack_status(IDENTITY, raw)
        assert pack_status(IDENTITY, stamp, status) == raw, "one status has two forms"
    except Malformed:
        pass
    try:
        stamp, neighbour, until_ms = unpack_lease(IDENTITY, raw)
    except Malformed:
        return
    assert pack_lease(IDENTITY, stamp, neighbour, until_ms) == raw, "one statement has two forms"


def feed_configuration(raw: bytes) -> None:
    """The text of a configuration file."""
    with suppress(ConfigurationError, UnicodeDecodeError):
        read_text(raw.decode("utf-8-sig"), "node.ini", FOLDER)


# What strangers show, and what disks give back


class Showing:
    """As much of a TLS session as is looked at: whoever shows that certificate."""

    def __init__(self, shown: crypto.X509) -> None:
        self._shown = shown

    def get_peer_certificate(self, *, as_cryptography: bool = False) -> crypto.X509 | x509.Certificate:
        """`SSL.Connection.get_peer_certificate`."""
        return self._shown.to_cryptography() if as_cryptography else self._shown

    def export_keying_material(self, label: bytes, length: int, context: bytes) -> bytes:
        """`SSL.Connection.export_keying_material`."""
        return bytes(length)


def feed_certificates(raw: bytes) -> None:
    """The certificate of whoever is at the other end of a link, DER; OpenSSL has read it before we do."""
    try:
        shown = crypto.load_certificate(crypto.FILETYPE_ASN1, raw)
    except crypto.Error:
        return
    session: Any = Showing(shown)
    for tls in (_OPEN, _CLOSED):
        with suppress(Refused):
            tls.check(session, OTHER.host)
    for error in (9, 10, 18, 26, 99):
        words_for(error, shown, is_closed=True)


def feed_tls_records(raw: bytes) -> None:
    """What comes over a connection that should speak TLS: instead of a handshake, and after one."""
    piece, stream = _piece(raw)
    for end in (End(_OPEN, None), End(_OPEN, (OTHER.host, OTHER.port)), _after_a_handshake()):
        _feed_tls(end, stream, piece)
        assert not end.listener.pieces, "what nobody sealed was given to the link"
        explain(end.lose(), end.link)
    assert _counted(stream, piece) == _counted(stream, len(stream) or 1), "the records depend on how the bytes were cut"


def _feed_tls(end: End, stream: bytes, piece: int) -> None:
    for at in range(0, len(stream), piece):
        if end.transport.disconnecting:
            break
        end.link.dataReceived(stream[at : at + piece])


def _after_a_handshake() -> End:
    one, other = End(_THEIRS, (ME.host, ME.port)), End(_OPEN, None)
    carry(one, other)
    assert other.listener.is_safe, "no handshake"
    return other


def _counted(stream: bytes, piece: int) -> tuple[int, bytes]:
    # How many records are whole, and the opening that is held back, as `TlsLink` sees them.
    link, whole, passed = End(_OPEN, None).link, 0, b""
    for at in range(0, len(stream), piece):
        rest = stream[at : at + piece]
        while rest:
            records, portion, rest = link._count_records(rest)
            assert records <= RECORDS_AT_ONCE, "more than so many are read at once"
            whole += records
            passed += portion
    assert passed + link._opening == stream and len(link._opening) < RECORD_OPENING_BYTES, "bytes are lost, or held"
    return whole, link._opening


def _tls(credentials: Credentials) -> Tls:
    return Tls(credentials, ME.host, lambda: _NOW, Clock())


_NOW = datetime.now(UTC)
_KEY, _AUTHORITY_KEY = make_key(), make_key()
_AUTHORITY = make_authority(_AUTHORITY_KEY, "fuzz", _NOW)
_OPEN = _tls(Credentials(self_signed(_KEY, ME.host), _KEY))
_THEIRS = Tls(Credentials(self_signed(_KEY, OTHER.host), _KEY), OTHER.host, lambda: _NOW, Clock())
_CLOSED = _tls(Credentials(issue(_AUTHORITY, _AUTHORITY_KEY, _KEY, ME.host, _NOW), _KEY, _AUTHORITY))


def feed_state_files(raw: bytes) -> None:
    """The small files of the state directory."""
    for parse in (_number, _seed, lambda given: _peers(given, IDENTITY)):
        with suppress(ValueError):
            parse(raw)


def feed_records_on_disk(raw: bytes) -> None:
    """A record as the store keeps it."""
    key, view = bytes(32), memoryview(raw)
    try:
        entry, _ = unpack_entry(key, view, NOW_MS)
        versioned = unpack(entry, view, NOW_MS)
    except ValueError:
        return
    assert entry.value_bytes <= len(raw), "a value longer than all of it"
    written = memoryview(pack(versioned, NOW_MS))
    assert unpack(unpack_entry(key, written, NOW_MS)[0], written, NOW_MS) == versioned, "written, it reads otherwise"


# Where the search begins


def frame_seeds() -> list[bytes]:
    """A frame of every kind, all of them together, and claims beyond the limits."""
    frames = [pack_frame(message.kind, 7, wire.encode(message)) for message in messages_of_peers()]
    claims = [(limit + delta).to_bytes(4, "big") + bytes((kind,)) for kind, limit in _LIMITS for delta in (5, 6)]
    streams = [*frames, b"".join(frames), *(claim + bytes(40) for claim in claims)]
    return [bytes((index % len(PIECES),)) + stream for index, stream in enumerate(streams)]


_LIMITS = tuple(wire.BODY_BYTES_MAX.items())


def peer_message_seeds() -> list[bytes]:
    """A body of every kind, and two that msgspec does not call its own errors."""
    bodies = [bytes((message.kind,)) + wire.encode(message) for message in messages_of_peers()]
    store = wire.encode(_STORE)
    nested = bytes((wire.Store.kind, store[0] + 1)) + store[1:] + b"\x91" * 5000 + b"\x90"
    return [*bodies, nested, bytes((wire.Goodbye.kind,)) + b"\x91\xa2\xff\xfe"]


def table_seeds() -> list[bytes]:
    """Tables of a ring of one, a small and a large one."""
    peers = tuple(IDENTITY.peer(f"192.0.2.{number}", 6401) for number in range(2, 40))
    known = b"\x05" * 8
    tables = [
        Table(ME, 1, 1, 1, SIGNER.public, True, None, (), (), ()),
        Table(ME, 2, 3, 4, SIGNER.public, True, OTHER, (OTHER, THIRD), (), (known,) * 3),
        Table(ME, 2, 4, 5, SIGNER.public, False, OTHER, peers[:16], peers[16:], (known,) * 17),
    ]
    return [pack_table(IDENTITY, table) for table in tables]


def statement_seeds() -> list[bytes]:
    """One of each."""
    stamp = Stamp(OTHER, 1, 2, 3)
    return [
        pack_status(IDENTITY, stamp, NodeStatus.LEAVING),
        pack_status(IDENTITY, stamp, NodeStatus.JOINING),
        pack_lease(IDENTITY, stamp, THIRD, 5),
        pack_lease(IDENTITY, stamp, ME, 0),
    ]


def question_seeds() -> list[bytes]:
    """Every question, alone and behind one another, and every size that a type may not have."""
    key, seal = bytes(range(32)), _API_SEAL
    packed = [
        api.Put(60, 1, key, b"value").pack(),
        api.Get(key).pack(),
        api.Shutdown().pack(),
        api.PutConfirmed(1, 60, 2, key, b"value").pack(),
        api.PutConfirmed(2, 0, 0, key, b"v", seal).pack(),
        api.Delete(3, key).pack(),
        api.Delete(4, key, seal).pack(),
        api.GetStatus(5).pack(),
        api.Operate(6, b'{"do":"ring"}').pack(),
    ]
    odd = [size.to_bytes(2, "big") + kind.to_bytes(2, "big") + bytes(40) for size in (0, 3, 5, 35) for kind in _TYPES]
    return [bytes((index % len(PIECES),)) + stream for index, stream in enumerate([*packed, b"".join(packed), *odd])]


def answer_seeds() -> list[bytes]:
    """Every answer, alone and behind one another."""
    key, result = bytes(range(32)), PutResult(3, 4, Version(5, b"publisher"), 6)
    packed = [
        api.Success(key, b"value").pack(),
        api.Failure(key).pack(),
        api.Outcome(1, api.ResultCode.DONE, result).pack(),
        api.Outcome(2, api.ResultCode.REFUSED, api.NOTHING_STORED, "because é").pack(),
        api.pack_state(3, {"member": True, "successors": ["192.0.2.2:6401"]}),
    ]
    return [bytes((index % len(PIECES),)) + stream for index, stream in enumerate([*packed, b"".join(packed)])]


def state_seeds() -> list[bytes]:
    """A state, and arrays within arrays."""
    return [b'{"member":true,"successors":["192.0.2.2:6401"],"fingers":{}}', b'{"a":' + b"[" * 5_000]


_TYPES = range(650, 662)


def configuration_seeds() -> list[bytes]:
    """The file that is shipped, with and without its comments, and the oddities of INI."""
    root = Path(__file__).parents[1]
    shipped = [path.read_bytes() for path in sorted(root.glob("etc/**/*.ini"))]
    bare = [b"\n".join(line.lstrip(b"# ") for line in text.splitlines() if b" = " in line[:40]) for text in shipped]
    odd = [
        b"hostkey = /key.pem ; why\n[dht]\napi_address = unix:/run/api.sock\n",
        b"\xef\xbb\xbf[dht]\r\nbootstrap = [::1]:6401, localhost:6402\r\n[other]\r\nanything : goes\r\n",
        b"[tls]\nmode = closed\nauthority = a.pem\ncertificate = ~nobody/c.pem\n[dht]\nidentity=ADDRESS\n",
    ]
    return [*shipped, *bare, *odd]


def address_seeds() -> list[bytes]:
    """Of both families, and one dressed as the other."""
    return [ME.packed, THIRD.packed, ip_address("::ffff:192.0.2.2").packed + b"\x19\x01"]


def tls_record_seeds() -> list[bytes]:
    """The beginning of a handshake, records of all kinds, many short ones, and what is no TLS."""
    greeting = End(_THEIRS, (ME.host, ME.port)).sent()
    records = [bytes((kind, 3, 3, 0, length)) + bytes(length) for kind in range(20, 25) for length in (0, 1, 22)]
    streams = [greeting, *records, b"".join(records), b"\x17\x03\x03\0\x16" * 40, b"GET / HTTP/1.1\r\n\r\n"]
    return [bytes((index % len(PIECES),)) + stream for index, stream in enumerate(streams)]


@cache
def certificate_seeds() -> list[bytes]:
    """Those of open and closed networks, an authority's, and one that has all sorts of names."""
    host = x509.IPAddress(ip_address(OTHER.host))
    names = [
        host,
        x509.DNSName("node.example"),
        x509.UniformResourceIdentifier("dht://node.example"),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.7"), b"\x16\x09_dht.node"),
    ]
    dressed = x509.IPAddress(ip_address(f"::ffff:{OTHER.host}"))
    odd_names = (names, [dressed], [host, dressed])
    pems = [
        self_signed(_KEY, OTHER.host),
        self_signed(_KEY, THIRD.host),
        issue(_AUTHORITY, _AUTHORITY_KEY, _KEY, OTHER.host, _NOW),
        _AUTHORITY,
        *(certificates.for_names(_KEY, some).public_bytes(Encoding.PEM) for some in odd_names),
    ]
    whole = [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in pems]
    odd = [der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06") for der in whole]
    return [*whole, *odd]


def state_file_seeds() -> list[bytes]:
    """Each of them."""
    return [b"1\n", b"1700000000000      \n", bytes(range(32)).hex().encode() + b"\n", b'["192.0.2.1:6401","[::1]:1"]']


def record_on_disk_seeds() -> list[bytes]:
    """A record of each kind, and a tombstone of each."""
    versioned = [versioned_from(body, NOW_MS, TTL_MS_MAX, TTL_MS_MAX) for body in (_RECORD, _SIGNED)]
    tombstones = [
        versioned_from(
            wire.RecordBody(bytes(32), b"", 0, 1, OTHER.packed, 0, 4, None, 5), NOW_MS, TTL_MS_MAX, TTL_MS_MAX
        )
    ]
    return [pack(one, NOW_MS) for one in (*versioned, *tombstones)]


_RECORD = wire.RecordBody(bytes(32), b"value", 0, 1, OTHER.packed, 1000, 4)
_WIRE_SEAL = wire.Seal(bytes(32), b"salt", 7, bytes(64))
_SIGNED = wire.RecordBody(bytes(32), b"value", 2, 1, OTHER.packed, 1000, 4, _WIRE_SEAL, 5)
_API_SEAL = Seal(bytes(32), b"salt", 7, bytes(64), 6)
_STORE = wire.Store(_RECORD, 0)


def messages_of_peers() -> Iterator[wire.Message]:
    """One message of every kind, and Hello as the other side would say it."""
    theirs = Introduction(OTHER, IDENTITY, PARAMETERS, THEIR_SIGNER, verify_ed25519, 1, lambda: 1)
    yield theirs.hello(ME, CHANNEL)
    yield theirs.hello(None, CHANNEL)
    summary = wire.Summary(3, bytes(16))
    examples: tuple[wire.Message, ...] = (
        wire.Goodbye("idle"),
        wire.PingFor(OTHER.packed),
        wire.JoinRequest(1),
        wire.JoinFailure("that place is taken", OTHER.packed, True),
        wire.Announce(1, 0),
        wire.Announced([ME.packed, THIRD.packed]),
        wire.NotMember(b"body", bytes(64)),
        wire.Leave(b"body", bytes(64)),
        wire.OtherRing(THIRD.packed),
        wire.GetTable(1, 2),
        wire.TableIs(b"body", bytes(64)),
        wire.Notify(1),
        wire.Leased(b"body", bytes(64)),
        wire.Relay(THIRD.packed),
        wire.AskConvicted(bytes(16), bytes(8), b"onetwo" * 16),
        wire.Convicted([OTHER.packed, THIRD.packed]),
        wire.AskProof(OTHER.packed),
        wire.Proof(1, b"lease", bytes(64), b"table", bytes(64)),
        wire.Accuse(2, b"table", bytes(64), b"table", bytes(64)),
        _STORE,
        wire.Store(_SIGNED, 1, 6),
        wire.Audit(bytes(32), bytes(16)),
        wire.Holding(b"body", bytes(64)),
        wire.Relay(THIRD.packed, wire.Audit(bytes(32), bytes(16))),
        wire.Refused("newer", 2, OTHER.packed),
        wire.Fetch(bytes(32), 0, True),
        wire.Found(_SIGNED),
        wire.NotFound(_RECORD),
        wire.NotMine(OTHER.packed),
        wire.Digest(bytes(32), bytes(32), 1, summary, True),
        wire.Parts([summary, summary]),
        wire.HaveList(bytes(32), bytes(32), 1, bytes(16), True),
        wire.Missing([0, 1], [wire.Held(bytes(32), 1, OTHER.packed)]),
        wire.HandOver(bytes(32), bytes(32), 0, [bytes(32)]),
        wire.HandedOver([_RECORD, _SIGNED], bytes(32)),
        wire.Release(bytes(32), bytes(32)),
        wire.StoreAll([_SIGNED]),
        wire.StoredAll([0]),
        wire.Puzzle(20, bytes(20)),
        wire.Solution(bytes(20), 1),
    )
    yield from examples
    shown = {type(message) for message in examples} | {wire.Hello}
    for kind in wire.MESSAGES:
        if kind not in shown:
            yield kind()


TARGETS = {
    target.name: target
    for target in (
        Target("frames", feed_frames, frame_seeds),
        Target("peer-messages", feed_peer_messages, peer_message_seeds),
        Target("addresses", feed_addresses, address_seeds),
        Target("tables", feed_tables, table_seeds),
        Target("statements", feed_statements, statement_seeds),
        Target("api-questions", feed_questions, question_seeds),
        Target("api-answers", feed_answers, answer_seeds),
        Target("states", feed_states, state_seeds),
        Target("tls-records", feed_tls_records, tls_record_seeds),
        Target("certificates", feed_certificates, certificate_seeds),
        Target("state-files", feed_state_files, state_file_seeds),
        Target("records-on-disk", feed_records_on_disk, record_on_disk_seeds),
        Target("configuration", feed_configuration, configuration_seeds),
    )
}
