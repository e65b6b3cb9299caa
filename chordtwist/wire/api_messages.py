"""The DHT API on the wire: the course's messages 650 to 654, our extensions above them, and reading either way.

``size u16 || type u16 || body``, big-endian; `size` counts the whole message, so that none has more than 65,535 bytes.

==== ============== ================================================================================================
type message        body
==== ============== ================================================================================================
650  PUT            TTL in s u16, replication u8, reserved u8, key 32 bytes, value; never answered
651  GET            key; one SUCCESS or FAILURE
652  SUCCESS        key, value
653  FAILURE        key
654  SHUTDOWN       nothing
655  PUT CONFIRMED  request id u32, TTL in s u32, replication u8, key; the seal of a signed record. Its VALUE follows as
                    the next message: the longest leaves no room here
656  VALUE          the value of the PUT CONFIRMED in front
657  DELETE         request id u32, key; the seal of a signed record
658  OUTCOME        of a PUT CONFIRMED or DELETE: request id u32, standing u8 (0 done, 1 refused, 2 failed), copies u8,
                    copies wanted u8, version u64 (ms), life left u64 (ms), publisher (u8 length), reason in UTF-8
659  STATUS         request id u32
660  STATUS PIECE   request id u32, u8 (1: this is the last piece), a piece of the JSON text
661  OPERATE        request id u32, u8 (1: this is the last part), a part of a request in JSON; the next follows
662  PIECE          request id u32, u8 (1: this is the last piece), a piece of the answer to an OPERATE: lines of JSON
==== ============== ================================================================================================

A seal is public key 32 bytes, signature 64 bytes, seq u64, u8 (1: only in place of the following seq), seq u64, salt. A
TTL or replication of 0 means the node's default. Request ids are the client's own and name its question in the answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from chordtwist.core.errors import Malformed
from chordtwist.core.printable import printable
from chordtwist.core.records import SALT_BYTES_MAX, SEQ_MAX, VALUE_BYTES_MAX, PutResult, Seal, Version

MESSAGE_BYTES_MAX = 65_535
HEADER_BYTES = 4
TTL_S_MAX = 65_535
"""The longest life the course's PUT can ask for; a PUT CONFIRMED can ask for more."""
REASON_BYTES_MAX = 400
STATUS_BYTES_MAX = 4_194_304
"""The longest status a client collects: far above that of a node with full tables."""

OPERATE_BYTES_MAX = 262_144
"""The longest request of an OPERATE, all its parts together: some records of the longest value in base64."""

PUT, GET, SUCCESS, FAILURE, SHUTDOWN = 650, 651, 652, 653, 654
PUT_CONFIRMED, VALUE, DELETE, OUTCOME, STATUS, STATUS_PIECE = 655, 656, 657, 658, 659, 660
OPERATE, PIECE = 661, 662

_HEADER = Struct(">HH")
_PUT = Struct(">HHHBx32s")
_KEYED = Struct(">HH32s")
_PUT_CONFIRMED = Struct(">HHIIB32s")
_DELETE = Struct(">HHI32s")
_SEAL_HEAD = Struct(">32s64sQ?Q")
_OUTCOME = Struct(">HHIBBBQQB")
_REQUEST = Struct(">HHI")
_PIECE = Struct(">HHI?")
PIECE_BYTES_MAX = MESSAGE_BYTES_MAX - _PIECE.size
"""What one part of a request, or one piece of an answer, can carry."""


class ResultCode(IntEnum):
    """What became of a confirmed put or delete."""

    DONE = 0
    REFUSED = 1
    FAILED = 2


# From clients


class Put(msgspec.Struct, frozen=True, gc=False):
    """Store a value; never answered. 0 for `ttl_s` or `replication` is the node's default."""

    ttl_s: int
    replication: int
    key: bytes
    value: bytes

    def pack(self) -> bytes:
        size = _PUT.size + len(self.value)
        return _PUT.pack(size, PUT, self.ttl_s, self.replication, self.key) + self.value


class Get(msgspec.Struct, frozen=True, gc=False):
    """Ask for the value under a key."""

    key: bytes

    def pack(self) -> bytes:
        return _KEYED.pack(_KEYED.size, GET, self.key)


class Shutdown(msgspec.Struct, frozen=True, gc=False):
    """The node leaves, and its process ends."""

    def pack(self) -> bytes:
        return _HEADER.pack(HEADER_BYTES, SHUTDOWN)


class PutConfirmed(msgspec.Struct, frozen=True, gc=False):
    """Store a value and answer with what became of it."""

    request_id: int
    ttl_s: int
    replication: int
    key: bytes
    value: bytes
    seal: Seal | None = None

    def pack(self) -> bytes:
        seal = _pack_seal(self.seal)
        size = _PUT_CONFIRMED.size + len(seal)
        head = _PUT_CONFIRMED.pack(size, PUT_CONFIRMED, self.request_id, self.ttl_s, self.replication, self.key)
        return head + seal + _HEADER.pack(HEADER_BYTES + len(self.value), VALUE) + self.value


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Put an end to a record and answer with what became of it."""

    request_id: int
    key: bytes
    seal: Seal | None = None

    def pack(self) -> bytes:
        seal = _pack_seal(self.seal)
        return _DELETE.pack(_DELETE.size + len(seal), DELETE, self.request_id, self.key) + seal


class GetStatus(msgspec.Struct, frozen=True, gc=False):
    """Ask for the node's state."""

    request_id: int

    def pack(self) -> bytes:
        return _REQUEST.pack(_REQUEST.size, STATUS, self.request_id)


class Operate(msgspec.Struct, frozen=True, gc=False):
    """Ask for what only people and their tools ask for; `text` is a JSON object of at most `OPERATE_BYTES_MAX` bytes.

    docs/protocol.rst lists what can be asked. The answer is lines of JSON, in as many PIECEs as they need.
    """

    request_id: int
    text: bytes

    def pack(self) -> bytes:
        return b"".join(
            _PIECE.pack(_PIECE.size + len(part), OPERATE, self.request_id, is_last) + part
            for part, is_last in parts(self.text)
        )


ApiQuestion: TypeAlias = Put | Get | Shutdown | PutConfirmed | Delete | GetStatus | Operate


# From the node


class Success(msgspec.Struct, frozen=True, gc=False):
    """The value under a key."""

    key: bytes
    value: bytes

    def pack(self) -> bytes:
        return _KEYED.pack(_KEYED.size + len(self.value), SUCCESS, self.key) + self.value


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Nothing was found under a key."""

    key: bytes

    def pack(self) -> bytes:
        return _KEYED.pack(_KEYED.size, FAILURE, self.key)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a confirmed put or delete; `reason` says why it was refused or failed."""

    request_id: int
    code: ResultCode
    result: PutResult
    reason: str = ""

    def pack(self) -> bytes:
        result = self.result
        # Cut between characters, not within one.
        reason = self.reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
        size = _OUTCOME.size + len(result.version.publisher) + len(reason)
        head = _OUTCOME.pack(
            size,
            OUTCOME,
            self.request_id,
            self.code,
            min(result.copies, 255),
            min(result.wanted, 255),
            result.version.ms,
            result.ttl_ms,
            len(result.version.publisher),
        )
        return head + result.version.publisher + reason


NOTHING_STORED = PutResult(0, 0, Version(0, b""), 0)
"""The result of a put or delete that was refused or failed."""


class StatusPiece(msgspec.Struct, frozen=True, gc=False):
    """A piece of the node's state as JSON text; the pieces of one request are put together in their order."""

    request_id: int
    is_last: bool
    text: bytes

    def pack(self) -> bytes:
        return _PIECE.pack(_PIECE.size + len(self.text), STATUS_PIECE, self.request_id, self.is_last) + self.text


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer to an OPERATE; the pieces of one request, in their order, are lines of JSON."""

    request_id: int
    is_last: bool
    text: bytes

    def pack(self) -> bytes:
        return _PIECE.pack(_PIECE.size + len(self.text), PIECE, self.request_id, self.is_last) + self.text


ApiAnswer: TypeAlias = Success | Failure | Outcome | StatusPiece | Piece


def pack_found(key: bytes, value: bytes | None) -> bytes:
    """Pack the one answer to a GET: SUCCESS with the value, FAILURE for None and for what no SUCCESS can carry."""
    if value and len(value) <= MESSAGE_BYTES_MAX - _KEYED.size:
        return _KEYED.pack(_KEYED.size + len(value), SUCCESS, key) + value
    return _KEYED.pack(_KEYED.size, FAILURE, key)


def pack_state(request_id: int, state: Mapping[str, object]) -> bytes:
    """Pack the answer to a STATUS: as many pieces as the JSON text of `state` needs."""
    text = msgspec.json.encode(state)
    return b"".join(StatusPiece(request_id, is_last, part).pack() for part, is_last in parts(text))


def parts(text: bytes) -> Iterator[tuple[bytes, bool]]:
    """Cut a text into what one message can carry, and say which part is the last; an empty one is one part."""
    for start in range(0, max(1, len(text)), PIECE_BYTES_MAX):
        yield text[start : start + PIECE_BYTES_MAX], start + PIECE_BYTES_MAX >= len(text)


def unpack_state(text: bytes | bytearray) -> dict[str, Any]:
    """Read the state that the pieces of a STATUS's answer make together.

    @raise Malformed: they make no JSON object.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"a status that cannot be read: {error}") from None


# Reading

M = TypeVar("M")


class _Layout(NamedTuple):
    # What may come: its name, which sizes it may have, and what reads it from the bytes between two places.
    name: str
    size_min: int
    size_max: int
    read: Callable[..., Any]


class _MessageReader(ABC, Generic[M]):
    """Cuts whatever arrives, split or glued in any way, into messages, in time linear in its bytes.

    Pull, not push: the caller feeds bytes and takes as many messages as it can serve; what is left waits. A message is
    refused as soon as its header is there; whatever stands complete in front of it is taken first, so that what is
    done does not depend on how the bytes were split. After a `Malformed` the reader must not be used again.
    """

    def __init__(self, layouts: Mapping[int, _Layout]) -> None:
        self._layouts = layouts
        # Read from `_buffer`, from `_at` on; bytes behind it gather in `_arrived` until they can complete `_needed`.
        self._buffer = b""
        self._at = 0
        self._arrived = bytearray()
        self._needed = HEADER_BYTES

    def feed(self, received: bytes) -> None:
        """Add what arrived."""
        if self._at == len(self._buffer) and not self._arrived:
            self._buffer = received
            self._at = 0
        else:
            self._arrived += received

    def take(self) -> M | None:
        """Take the next complete message, or None when it needs more bytes.

        @raise Malformed: what comes next can never be a message; the words say why.
        """
        while True:
            at = self._at
            if len(self._buffer) - at < self._needed:
                # Joined once for a header and once for its message, however many pieces they came in: linear time.
                if self._unread_bytes < self._needed:
                    if at:
                        # What was taken is given back: an idle connection keeps nothing.
                        self._buffer = self._buffer[at:]
                        self._at = 0
                    return None
                self._buffer = self._buffer[at:] + self._arrived
                self._arrived = bytearray()
                self._at = at = 0
            size, number = _HEADER.unpack_from(self._buffer, at)
            layout = self._layouts.get(number)
            if layout is None or not layout.size_min <= size <= layout.size_max:
                raise Malformed(self._fault(size, number))
            end = at + size
            if end > len(self._buffer):
                self._needed = size
                continue
            self._needed = HEADER_BYTES
            self._at = end
            message: M | None = layout.read(self, self._buffer, at, end)
            if message is not None:
                return message

    @property
    def held_bytes(self) -> int:
        """Bytes that were fed and not taken yet."""
        return self._unread_bytes

    @property
    def _unread_bytes(self) -> int:
        return len(self._buffer) - self._at + len(self._arrived)

    def _fault(self, size: int, number: int) -> str:
        if size < HEADER_BYTES:
            return f"a message of size {size}; its header alone has {HEADER_BYTES} bytes"
        layout = self._layouts.get(number)
        if layout is None:
            name = _TYPE_NAMES.get(number)
            return f"a message of the unknown type {number}" if name is None else self._misplaced(name)
        if layout.size_min == layout.size_max:
            return f"{layout.name} of size {size}; it has {layout.size_min}"
        return f"{layout.name} of size {size}; it has {layout.size_min} to {layout.size_max}"

    @abstractmethod
    def _misplaced(self, name: str) -> str:
        """Say what is wrong with a message of this name that may not come now."""


class QuestionReader(_MessageReader[ApiQuestion]):
    """Reads what a client sends."""

    def __init__(self) -> None:
        super().__init__(_QUESTIONS)
        self._announced: PutConfirmed | None = None
        self._operating_id = 0
        self._operating = bytearray()

    @property
    def held_bytes(self) -> int:
        """Bytes that were fed and not taken yet, the parts of a request that is not whole included."""
        return self._unread_bytes + len(self._operating)

    def _misplaced(self, name: str) -> str:
        if self._operating:
            return f"{name} where the rest of an OPERATE belongs"
        if self._announced is not None:
            return f"{name} where the VALUE of a PUT CONFIRMED belongs"
        return f"{name} from a client" if name != "VALUE" else "VALUE without a PUT CONFIRMED in front"

    def _put(self, buffer: bytes, at: int, end: int) -> Put:
        _, _, ttl_s, replication, key = _PUT.unpack_from(buffer, at)
        return Put(ttl_s, replication, key, buffer[at + _PUT.size : end])

    def _get(self, buffer: bytes, at: int, end: int) -> Get:
        return Get(buffer[at + HEADER_BYTES : end])

    def _shutdown(self, buffer: bytes, at: int, end: int) -> Shutdown:
        return Shutdown()

    def _put_confirmed(self, buffer: bytes, at: int, end: int) -> None:
        _, _, request_id, ttl_s, replication, key = _PUT_CONFIRMED.unpack_from(buffer, at)
        seal = _unpack_seal("PUT CONFIRMED", buffer[at + _PUT_CONFIRMED.size : end])
        self._announced = PutConfirmed(request_id, ttl_s, replication, key, b"", seal)
        self._layouts = _ANNOUNCED

    def _value(self, buffer: bytes, at: int, end: int) -> PutConfirmed:
        announced, self._announced = self._announced, None
        assert announced is not None  # or VALUE would not be in the table
        self._layouts = _QUESTIONS
        return msgspec.structs.replace(announced, value=buffer[at + HEADER_BYTES : end])

    def _delete(self, buffer: bytes, at: int, end: int) -> Delete:
        _, _, request_id, key = _DELETE.unpack_from(buffer, at)
        return Delete(request_id, key, _unpack_seal("DELETE", buffer[at + _DELETE.size : end]))

    def _status(self, buffer: bytes, at: int, end: int) -> GetStatus:
        return GetStatus(_REQUEST.unpack_from(buffer, at)[2])

    def _operate(self, buffer: bytes, at: int, end: int) -> Operate | None:
        _, _, request_id, is_last = _PIECE.unpack_from(buffer, at)
        if self._operating and request_id != self._operating_id:
            raise Malformed(f"OPERATE number {request_id} where the rest of number {self._operating_id} belongs")
        if len(self._operating) + end - at - _PIECE.size > OPERATE_BYTES_MAX:
            raise Malformed(f"OPERATE with a request of more than {OPERATE_BYTES_MAX} bytes")
        self._operating_id = request_id
        self._operating += buffer[at + _PIECE.size : end]
        if not is_last:
            self._layouts = _OPERATING
            return None
        text, self._operating = bytes(self._operating), bytearray()
        self._layouts = _QUESTIONS
        return Operate(request_id, text)


class AnswerReader(_MessageReader[ApiAnswer]):
    """Reads what the node sends."""

    def __init__(self) -> None:
        super().__init__(_ANSWERS)

    def _misplaced(self, name: str) -> str:
        return f"{name} from the node"

    def _success(self, buffer: bytes, at: int, end: int) -> Success:
        start = at + _KEYED.size
        return Success(buffer[at + HEADER_BYTES : start], buffer[start:end])

    def _failure(self, buffer: bytes, at: int, end: int) -> Failure:
        return Failure(buffer[at + HEADER_BYTES : end])

    def _outcome(self, buffer: bytes, at: int, end: int) -> Outcome:
        _, _, request_id, code, copies, wanted, version_ms, ttl_ms, length = _OUTCOME.unpack_from(buffer, at)
        start = at + _OUTCOME.size + length
        publisher = buffer[at + _OUTCOME.size : start]
        if start > end:
            raise Malformed("OUTCOME whose publisher does not fit it")
        try:
            code, reason = ResultCode(code), buffer[start:end].decode()
        except ValueError as error:
            raise Malformed(f"OUTCOME that cannot be read: {error}") from None
        result = PutResult(copies, wanted, Version(version_ms, publisher), ttl_ms)
        return Outcome(request_id, code, result, printable(reason))

    def _status_piece(self, buffer: bytes, at: int, end: int) -> StatusPiece:
        _, _, request_id, is_last = _PIECE.unpack_from(buffer, at)
        return StatusPiece(request_id, is_last, buffer[at + _PIECE.size : end])

    def _piece(self, buffer: bytes, at: int, end: int) -> Piece:
        _, _, request_id, is_last = _PIECE.unpack_from(buffer, at)
        return Piece(request_id, is_last, buffer[at + _PIECE.size : end])


_SEALED_BYTES_MAX = _SEAL_HEAD.size + SALT_BYTES_MAX

_QUESTIONS = {
    PUT: _Layout("PUT", _PUT.size + 1, MESSAGE_BYTES_MAX, QuestionReader._put),
    GET: _Layout("GET", _KEYED.size, _KEYED.size, QuestionReader._get),
    SHUTDOWN: _Layout("SHUTDOWN", HEADER_BYTES, HEADER_BYTES, QuestionReader._shutdown),
    PUT_CONFIRMED: _Layout(
        "PUT CONFIRMED",
        _PUT_CONFIRMED.size,
        _PUT_CONFIRMED.size + _SEALED_BYTES_MAX,
        QuestionReader._put_confirmed,
    ),
    DELETE: _Layout("DELETE", _DELETE.size, _DELETE.size + _SEALED_BYTES_MAX, QuestionReader._delete),
    STATUS: _Layout("STATUS", _REQUEST.size, _REQUEST.size, QuestionReader._status),
    # A part has something in it: the parts of a request come to an end.
    OPERATE: _Layout("OPERATE", _PIECE.size + 1, MESSAGE_BYTES_MAX, QuestionReader._operate),
}
_OPERATING = {OPERATE: _QUESTIONS[OPERATE]}
_ANNOUNCED = {VALUE: _Layout("VALUE", HEADER_BYTES + 1, HEADER_BYTES + VALUE_BYTES_MAX, QuestionReader._value)}
_ANSWERS = {
    SUCCESS: _Layout("SUCCESS", _KEYED.size + 1, MESSAGE_BYTES_MAX, AnswerReader._success),
    FAILURE: _Layout("FAILURE", _KEYED.size, _KEYED.size, AnswerReader._failure),
    OUTCOME: _Layout("OUTCOME", _OUTCOME.size, MESSAGE_BYTES_MAX, AnswerReader._outcome),
    STATUS_PIECE: _Layout("STATUS PIECE", _PIECE.size, MESSAGE_BYTES_MAX, AnswerReader._status_piece),
    PIECE: _Layout("PIECE", _PIECE.size, MESSAGE_BYTES_MAX, AnswerReader._piece),
}
_TYPE_NAMES = {number: layout.name for table in (_QUESTIONS, _ANNOUNCED, _ANSWERS) for number, layout in table.items()}


def _pack_seal(seal: Seal | None) -> bytes:
    if seal is None:
        return b""
    is_expecting, expected_seq = seal.expected_seq is not None, seal.expected_seq or 0
    return _SEAL_HEAD.pack(seal.public_key, seal.signature, seal.seq, is_expecting, expected_seq) + seal.salt


def _unpack_seal(name: str, raw: bytes) -> Seal | None:
    if not raw:
        return None
    if len(raw) < _SEAL_HEAD.size:
        raise Malformed(f"{name} with a seal of {len(raw)} bytes; it has {_SEAL_HEAD.size} to {_SEALED_BYTES_MAX}")
    public_key, signature, seq, is_expecting, expected_seq = _SEAL_HEAD.unpack_from(raw)
    if max(seq, expected_seq) > SEQ_MAX:
        raise Malformed(f"{name} with a seq beyond {SEQ_MAX}")
    return Seal(public_key, raw[_SEAL_HEAD.size :], seq, signature, expected_seq if is_expecting else None)
