"""Every question and answer between nodes, typed; how each becomes the body of a frame and back.

Bodies are msgpack arrays: fields in the order below. A newer build may append fields with defaults; an older one
ignores them. Peers travel as packed addresses (`Peer.packed`), positions and keys as 32 bytes, durations as ms.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from chordtwist.core.errors import Malformed
from chordtwist.core.evidence import CONVICTIONS_MAX, DIGEST_LENGTH, SALT_LENGTH, SUM_LENGTH, SUMS
from chordtwist.core.printable import printable
from chordtwist.core.records import VALUE_BYTES_MAX
from chordtwist.core.signed import SIGNED_NUMBER_MAX

BATCH_BYTES_MAX = 262_144
"""Bytes of records in one `HandedOver` or `StoreAll`: large enough to stream at full speed, small enough that no link
is blocked for long."""

PEERS_TOLD_MAX = 255
REASON_MAX = 200

U64 = Annotated[int, msgspec.Meta(ge=0, le=SIGNED_NUMBER_MAX)]
U16 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
U8 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 8)]
PackedAddress = Annotated[bytes, msgspec.Meta(min_length=6, max_length=18)]
"""A packed address, checked again by `Identity.unpack`."""
MaybePackedAddress = Annotated[bytes, msgspec.Meta(max_length=18)]
"""A packed address, or nothing."""
Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Reason = Annotated[str, msgspec.Meta(max_length=REASON_MAX)]
Body = Annotated[bytes, msgspec.Meta(max_length=16_384)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Anything that travels in a frame. `kind` is its number on the wire, `body_bytes_max` its size limit."""

    kind: ClassVar[int] = 0
    body_bytes_max: ClassVar[int] = 256


class Question(Message, frozen=True):
    """Expects exactly one answer. `answer_within_s` is how long the asker waits before it counts as silence.

    `is_upkeep`: a peer that has to wait for its answer would take the receiver for dead, or fall out of the ring.
    """

    answer_within_s: ClassVar[float] = 1.0
    is_upkeep: ClassVar[bool] = False


class Answer(Message, frozen=True):
    """Answers one question, under its request id."""


# The link itself


class Hello(Message, frozen=True):
    """The first frame both ways. A difference in what must agree ends the link with a `Goodbye` that names it."""

    kind: ClassVar[int] = 1
    body_bytes_max: ClassVar[int] = 1024

    version_min: U16
    version_max: U16
    network: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    policy: Annotated[str, msgspec.Meta(max_length=32)]
    successors: U16
    replication: U16
    dead_after_ms: U64
    address: PackedAddress
    """Where the sender says it can be dialled; believed only when our own dial there met the same key."""
    key: Key
    """The Ed25519 key that signs the sender's tables."""
    epoch: U64
    seq: U64
    time_ms: U64
    signature: Signature
    """By `key` over `core.signed.pack_hello`: the sender owns the key, on this link."""
    membership: Annotated[bytes, msgspec.Meta(max_length=64)] = b""
    """Proof of the network's shared secret, where there is one, bound to the TLS session."""


class Goodbye(Message, frozen=True):
    """The last frame: why the sender ends the link."""

    kind: ClassVar[int] = 2
    body_bytes_max: ClassVar[int] = 1024

    reason: Reason


# Liveness


class Ping(Question, frozen=True):
    kind: ClassVar[int] = 10
    is_upkeep: ClassVar[bool] = True


class Pong(Answer, frozen=True):
    kind: ClassVar[int] = 11


class PingFor(Question, frozen=True):
    """Asks the receiver to ping `target` on our behalf (SWIM, section 4.1): `Pong` when it answered, else `Silent`."""

    kind: ClassVar[int] = 12
    is_upkeep: ClassVar[bool] = True
    answer_within_s: ClassVar[float] = 2.0

    target: PackedAddress


class Silent(Answer, frozen=True):
    """The target of a `PingFor` gave the receiver no answer either, or is a stranger to it that it does not dial."""

    kind: ClassVar[int] = 13


# Joining and leaving


class JoinRequest(Question, frozen=True):
    """Asks the owner of the sender's own place for admission. Changes no pointer anywhere."""

    kind: ClassVar[int] = 20
    body_bytes_max: ClassVar[int] = 512
    answer_within_s: ClassVar[float] = 5.0

    epoch: U64


class JoinSuccess(Answer, frozen=True):
    kind: ClassVar[int] = 21


class JoinFailure(Answer, frozen=True):
    """Admission or an announcement is refused. `better`: a peer to ask instead; `busy`: the same again in a moment.

    Busy, with nobody better, is who stood in line in vain, and finds its place kept for a while.
    """

    kind: ClassVar[int] = 22
    body_bytes_max: ClassVar[int] = 1024

    reason: Reason
    better: MaybePackedAddress = b""
    busy: bool = False


class Announce(Question, frozen=True):
    """Small rings only: a newcomer tells every member of itself. `step`: 0 announce (take
    me in), 1 live now, 2 withdraw, 3 probe (do we reach each other?).

    While another newcomer has the admission slot the answer to the first of these waits for a second.
    """

    kind: ClassVar[int] = 23
    answer_within_s: ClassVar[float] = 3.0

    epoch: U64
    step: U8


class Announced(Answer, frozen=True):
    """The newcomer was taken in; `members`: all members the receiver knows."""

    kind: ClassVar[int] = 24
    body_bytes_max: ClassVar[int] = 8192

    members: Annotated[list[PackedAddress], msgspec.Meta(max_length=PEERS_TOLD_MAX)]


class NotMember(Answer, frozen=True):
    """Signed status: the answer to every ring question while the sender joins or leaves. Ends older incarnations."""

    kind: ClassVar[int] = 25
    body_bytes_max: ClassVar[int] = 1024

    body: Body
    signature: Signature


class Leave(Question, frozen=True):
    """The same signed status, told without being asked; answered with `Noted`."""

    kind: ClassVar[int] = 26
    is_upkeep: ClassVar[bool] = True
    body_bytes_max: ClassVar[int] = 1024

    body: Body
    signature: Signature


class Noted(Answer, frozen=True):
    kind: ClassVar[int] = 27


class OtherRing(Question, frozen=True):
    """A hint: `member` belongs to a larger ring of the same network. The receiver looks for itself; `Noted`."""

    kind: ClassVar[int] = 28

    member: PackedAddress


# Ring


class GetTable(Question, frozen=True):
    """The one routing question; it never names a key. `epoch`, `seq`: the table the asker holds already, or 0, 0."""

    kind: ClassVar[int] = 30
    is_upkeep: ClassVar[bool] = True

    epoch: U64
    seq: U64


class TableIs(Answer, frozen=True):
    """A signed table: `core.signed.unpack_table(body)`."""

    kind: ClassVar[int] = 31
    body_bytes_max: ClassVar[int] = 16_384

    body: Body
    signature: Signature


class Same(Answer, frozen=True):
    """The table the asker holds is still the present one."""

    kind: ClassVar[int] = 32


class Notify(Question, frozen=True):
    """The sender thinks it is the receiver's predecessor; `Noted`."""

    kind: ClassVar[int] = 33
    is_upkeep: ClassVar[bool] = True

    epoch: U64


class Changed(Question, frozen=True):
    """A hint from our head: its list is another now. We read it at once instead of at our next round; `Noted`."""

    kind: ClassVar[int] = 35
    is_upkeep: ClassVar[bool] = True


# What binds a member, and what convicts it


class AskLease(Question, frozen=True):
    """Asks a member that lists the sender to promise that it goes on; `Leased`, or `Noted` when it does not list it."""

    kind: ClassVar[int] = 36


class Leased(Answer, frozen=True):
    """The signed promise (`core.signed.unpack_lease`)."""

    kind: ClassVar[int] = 37
    body_bytes_max: ClassVar[int] = 1024

    body: Body
    signature: Signature


class Audit(Question, frozen=True):
    """Asks a member to sign what it keeps under `key`: `Holding`; `Noted` where it signs nothing."""

    kind: ClassVar[int] = 48

    key: Key
    nonce: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]


class Holding(Answer, frozen=True):
    """What the sender keeps, and for how long it binds itself to (`core.signed.unpack_holding`)."""

    kind: ClassVar[int] = 49
    body_bytes_max: ClassVar[int] = 1024

    body: Body
    signature: Signature


class Relay(Question, frozen=True):
    """Asks for the table that `target` shows to the receiver, as it signed it: whoever lies does not know for whom the
    receiver asks. Answered as `target` answers `GetTable(0, 0)`, with `Same` where that does not leave out who asks, or
    with `Silent`. With `audit` for what `target` says to that instead: `Holding` or `Silent`.
    """

    kind: ClassVar[int] = 38
    answer_within_s: ClassVar[float] = 5.0

    target: PackedAddress
    audit: Audit | None = None


SUMS_OF_CONVICTED = SUMS * SUM_LENGTH


class AskConvicted(Question, frozen=True):
    """Asks whether the receiver convicts whom the sender does (`core.evidence.Convictions.digest`): `Same`, or `Noted`
    if not. With `sums` of whom the sender convicts, by a `salt` of its own, or if that is nobody, for the parts that
    differ: `Convicted`.
    """

    kind: ClassVar[int] = 70
    body_bytes_max: ClassVar[int] = SUMS_OF_CONVICTED + 32

    digest: Annotated[bytes, msgspec.Meta(min_length=DIGEST_LENGTH, max_length=DIGEST_LENGTH)]
    salt: Annotated[bytes, msgspec.Meta(max_length=SALT_LENGTH)] = b""
    sums: Annotated[bytes, msgspec.Meta(max_length=SUMS_OF_CONVICTED)] = b""


class Convicted(Answer, frozen=True):
    """Whom the sender convicts, in the parts in which the asker convicts others."""

    kind: ClassVar[int] = 71
    body_bytes_max: ClassVar[int] = 20 * CONVICTIONS_MAX + 16

    culprits: Annotated[list[PackedAddress], msgspec.Meta(max_length=CONVICTIONS_MAX)]


class AskProof(Question, frozen=True):
    """Asks for the proof against `culprit`: `Proof`, or `Silent` when the receiver does not convict it."""

    kind: ClassVar[int] = 72

    culprit: PackedAddress


PROOF_BYTES_MAX = 40_000


class Contradiction(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Two statements that contradict one another (`core.evidence.Evidence`)."""

    charge: U8
    first: Body
    first_signature: Signature
    second: Body
    second_signature: Signature


class Proof(Contradiction, Answer, frozen=True):
    """Shows a proof to whoever has asked for it."""

    kind: ClassVar[int] = 73
    body_bytes_max: ClassVar[int] = PROOF_BYTES_MAX


class Accuse(Contradiction, Question, frozen=True):
    """Shows a proof to whoever lives near the one whom it convicts; `Noted`. One that proves nothing is a breach."""

    kind: ClassVar[int] = 74
    body_bytes_max: ClassVar[int] = PROOF_BYTES_MAX


# Records


class Seal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a signed record carries besides its value (BEP 44)."""

    public_key: Key
    salt: Annotated[bytes, msgspec.Meta(max_length=64)]
    seq: U64
    signature: Signature


class RecordBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A record or a tombstone as it travels: its remaining life instead of an expiry, since no two clocks agree.

    A life of 0 is a tombstone: then `value` is empty, or where there is a seal the SHA-256 of the value that was. For
    `tombstone_ttl_ms` more its version is to be remembered (`Record.tombstone_until_ms`, a tombstone's own expiry).
    `payer`: whose address delivered it first, where that is not the sender's (`core.quotas`).
    """

    key: Key
    value: Annotated[bytes, msgspec.Meta(max_length=VALUE_BYTES_MAX)]
    record_kind: U8
    version_ms: U64
    publisher: MaybePackedAddress
    ttl_ms: U64
    copies: U8
    seal: Seal | None = None
    tombstone_ttl_ms: U64 = 0
    payer: Annotated[str, msgspec.Meta(max_length=45)] = ""


RECORD_BYTES_MAX = VALUE_BYTES_MAX + 512


class Store(Question, frozen=True):
    """Keep a copy. `rank`: which replica the sender takes the receiver for, 0 the owner. `expected_seq`: keep it only
    in place of the signed record of that seq, 0 of none (BEP 44's compare-and-swap).
    """

    kind: ClassVar[int] = 40
    body_bytes_max: ClassVar[int] = RECORD_BYTES_MAX
    answer_within_s: ClassVar[float] = 3.0

    record: RecordBody
    rank: U8
    expected_seq: U64 | None = None


class Stored(Answer, frozen=True):
    """The copy is safe at the receiver."""

    kind: ClassVar[int] = 41


class Refused(Answer, frozen=True):
    """No copy is kept, and why: "newer" (with that version), "clock" (with the receiver's wall time), "full", "kind",
    "seq", "wrong", "leaving", "stale", "doubted" (nobody confirms it). To a `Fetch` of a publisher "forgotten": it has
    put nothing since `version_ms`.
    """

    kind: ClassVar[int] = 42
    body_bytes_max: ClassVar[int] = 1024

    reason: Reason
    version_ms: U64 = 0
    publisher: MaybePackedAddress = b""


class Fetch(Question, frozen=True):
    """Asks a replica for the record, or only for its version when `value` is False. `rank`: as in `Store`; 255 asks a
    publisher for what it has put.
    """

    kind: ClassVar[int] = 43

    key: Key
    rank: U8
    value: bool


class Found(Answer, frozen=True):
    """The record; when only the version was asked for, the SHA-256 in place of its value, or nothing for content."""

    kind: ClassVar[int] = 44
    body_bytes_max: ClassVar[int] = RECORD_BYTES_MAX

    record: RecordBody


class NotFound(Answer, frozen=True):
    """Nothing live under that key; its tombstone, where one is kept."""

    kind: ClassVar[int] = 45
    body_bytes_max: ClassVar[int] = 512

    tombstone: RecordBody | None = None


class NotMine(Answer, frozen=True):
    """The receiver was taken for the owner and is not: its predecessor is at or after the position."""

    kind: ClassVar[int] = 46

    predecessor: PackedAddress


class Pulling(Answer, frozen=True):
    """The receiver owns the position but still pulls its records: ask the old owner, its successor, too."""

    kind: ClassVar[int] = 47
    body_bytes_max: ClassVar[int] = 256


# Replicas among themselves

Mark = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]

PARTS_MAX = 16
MARKS_MAX = 2048
"""Records listed at once: 16 KiB of marks."""

BATCH_RECORDS_MAX = 1024
"""Records in one batch, however small: dealing with so many takes some milliseconds of the receiver's time."""


class Summary(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How much is kept in some piece of the ring, and what (`core.digests.Summary`)."""

    count: U64
    total: Mark


class Digest(Question, frozen=True):
    """Compares what both keep in an arc of the ring, of records with more than `copies_above` copies: `InStep` or
    `Parts`.

    `as_owner`: the sender owns the arc and counts on the receiver as its replica at distance `copies_above`.
    """

    kind: ClassVar[int] = 50
    answer_within_s: ClassVar[float] = 3.0

    after: Key
    upto: Key
    copies_above: U8
    summary: Summary
    as_owner: bool = False


class InStep(Answer, frozen=True):
    """The receiver keeps the very same."""

    kind: ClassVar[int] = 51


class Parts(Answer, frozen=True):
    """The receiver keeps something else: its summaries of as many equal parts of the arc (`core.digests.parts`)."""

    kind: ClassVar[int] = 52
    body_bytes_max: ClassVar[int] = 1024

    parts: Annotated[list[Summary], msgspec.Meta(min_length=1, max_length=PARTS_MAX)]


class HaveList(Question, frozen=True):
    """Lists what the sender keeps in an arc: the first 8 bytes of each record's mark, one behind another.

    Answered with `Missing`. `both`: name also what the receiver keeps there and the sender does not.
    """

    kind: ClassVar[int] = 53
    body_bytes_max: ClassVar[int] = 8 * MARKS_MAX + 128
    answer_within_s: ClassVar[float] = 3.0

    after: Key
    upto: Key
    copies_above: U8
    marks: Annotated[bytes, msgspec.Meta(max_length=8 * MARKS_MAX)]
    both: bool


class Held(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One thing the receiver of a `HaveList` keeps."""

    key: Key
    version_ms: U64
    publisher: MaybePackedAddress


class Missing(Answer, frozen=True):
    """Which of the listed records the receiver lacks, counted from 0, and what it has besides, at most a batch."""

    kind: ClassVar[int] = 54
    body_bytes_max: ClassVar[int] = 3 * MARKS_MAX + 80 * BATCH_RECORDS_MAX

    lacks: Annotated[list[U16], msgspec.Meta(max_length=MARKS_MAX)]
    besides: Annotated[list[Held], msgspec.Meta(max_length=BATCH_RECORDS_MAX)]


class HandOver(Question, frozen=True):
    """Asks for the records of an arc with more than `copies_above` copies, in the order of positions; where `keys` are
    named, for those instead. Answered with `HandedOver`, a batch at a time.
    """

    kind: ClassVar[int] = 55
    body_bytes_max: ClassVar[int] = 36 * BATCH_RECORDS_MAX + 128
    answer_within_s: ClassVar[float] = 10.0

    after: Key
    upto: Key
    copies_above: U8
    keys: Annotated[list[Key], msgspec.Meta(max_length=BATCH_RECORDS_MAX)] = []


class HandedOver(Answer, frozen=True):
    """Records and tombstones, all there are up to the position `reached`: the next batch begins behind it."""

    kind: ClassVar[int] = 56
    body_bytes_max: ClassVar[int] = 2 * BATCH_BYTES_MAX

    records: Annotated[list[RecordBody], msgspec.Meta(max_length=BATCH_RECORDS_MAX)]
    reached: Key


class StoreAll(Question, frozen=True):
    """Keep copies of all of these: a hand-over or a repair."""

    kind: ClassVar[int] = 57
    body_bytes_max: ClassVar[int] = 2 * BATCH_BYTES_MAX
    answer_within_s: ClassVar[float] = 10.0

    records: Annotated[list[RecordBody], msgspec.Meta(max_length=BATCH_RECORDS_MAX)]


class StoredAll(Answer, frozen=True):
    """They are safe at the receiver, but for those it had no room for, counted from 0."""

    kind: ClassVar[int] = 58
    body_bytes_max: ClassVar[int] = 4 * BATCH_RECORDS_MAX

    refused: Annotated[list[U16], msgspec.Meta(max_length=BATCH_RECORDS_MAX)]


class Release(Question, frozen=True):
    """Tells a former replica that the sender, who owns the arc, does not count on it for any record there; `Noted`."""

    kind: ClassVar[int] = 59

    after: Key
    upto: Key


# What a busy node asks of strangers

PuzzleBytes = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]


class Puzzle(Answer, frozen=True):
    """Instead of an answer: strangers ask much at present, and the sender is one. It solves the puzzle
    (`core.puzzles`), shows the solution in a `Solution`, and asks again.
    """

    kind: ClassVar[int] = 60

    bits: U8
    puzzle: PuzzleBytes


class Solution(Question, frozen=True):
    """The solution; `Noted`, or another `Puzzle` when it is none, or not any more."""

    kind: ClassVar[int] = 61

    puzzle: PuzzleBytes
    number: U64


MESSAGES: tuple[type[Message], ...] = (
    Hello,
    Goodbye,
    Ping,
    Pong,
    PingFor,
    Silent,
    JoinRequest,
    JoinSuccess,
    JoinFailure,
    Announce,
    Announced,
    NotMember,
    Leave,
    Noted,
    OtherRing,
    GetTable,
    TableIs,
    Same,
    Notify,
    Changed,
    AskLease,
    Leased,
    Relay,
    Store,
    Stored,
    Refused,
    Fetch,
    Found,
    NotFound,
    NotMine,
    Pulling,
    Audit,
    Holding,
    Digest,
    InStep,
    Parts,
    HaveList,
    Missing,
    HandOver,
    HandedOver,
    StoreAll,
    StoredAll,
    Release,
    Puzzle,
    Solution,
    AskConvicted,
    Convicted,
    AskProof,
    Proof,
    Accuse,
)
UPKEEP_KINDS = frozenset(message.kind for message in MESSAGES if getattr(message, "is_upkeep", False))
"""Kinds of the questions that are `is_upkeep`."""

BODY_BYTES_MAX = {message.kind: message.body_bytes_max for message in MESSAGES}
"""Size limits by kind, as `FrameReader` takes them."""

_DECODERS = {message.kind: msgspec.msgpack.Decoder(message) for message in MESSAGES}
_WITH_REASON = {message.kind for message in MESSAGES if "reason" in message.__struct_fields__}

encode = msgspec.msgpack.Encoder().encode
"""The body of a message's frame."""


def decode(kind: int, body: bytes) -> Message:
    """Decode the message that a frame of `kind` carries.

    @raise Malformed: the kind is unknown, or the body is not what its fields demand.
    """
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise Malformed(f"a message of the unknown kind {kind}")
    try:
        message = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # msgspec lets the last two through: text that is no UTF-8, and arrays within arrays without end.
        raise Malformed(f"a broken {MESSAGE_NAMES[kind]}: {error}") from None
    return _with_printable_reason(message) if kind in _WITH_REASON else message


def _with_printable_reason(message: Message) -> Message:
    # Logs, the status and other nodes are told of it, wherever they show it.
    reason: str = message.reason  # type: ignore[attr-defined]
    return msgspec.structs.replace(message, reason=printable(reason)[:REASON_MAX])


MESSAGE_NAMES = {message.kind: message.__name__ for message in MESSAGES}
