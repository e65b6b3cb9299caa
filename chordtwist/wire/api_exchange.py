"""A client's half of the API without I/O: it packs each question, and finds for each answer who asked for it.

The three clients stand on it: `net.client` on Twisted, `aio` on asyncio, `net.blocking_client` on a plain socket.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, TypeVar

from chordtwist.core.errors import ChordtwistError, Malformed, Refused, Unreachable
from chordtwist.core.records import PutResult, Seal, check_value, raw_key
from chordtwist.wire.api_messages import (
    STATUS_BYTES_MAX,
    TTL_S_MAX,
    AnswerReader,
    ApiAnswer,
    Delete,
    Failure,
    Get,
    GetStatus,
    Operate,
    Outcome,
    Piece,
    Put,
    PutConfirmed,
    ResultCode,
    StatusPiece,
    Success,
    unpack_state,
)

T = TypeVar("T")

Settle = Callable[[T | ChordtwistError], None]
"""Takes the answer to one question, or why there is none; called once."""

TTL_S_MAX_CONFIRMED = (1 << 32) - 1
"""The longest life that a PUT CONFIRMED can ask for."""

_REQUEST_IDS = 1 << 32


class Exchange:
    """The questions of one connection that are under way. Each method but `receive` and `give_up` takes a question,
    returns the bytes to send, and calls `settle` from `receive` or `give_up` later on.

    A key is its 32 bytes, or the name that people know it by.
    """

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._getting: defaultdict[bytes, deque[Settle[bytes | None]]] = defaultdict(deque)
        self._changing: dict[int, Settle[PutResult]] = {}
        self._describing: dict[int, tuple[Settle[dict[str, Any]], bytearray]] = {}
        self._operating: dict[int, tuple[Settle[None], Callable[[bytes], None]]] = {}
        self._asked = 0
        self._is_over = False

    def put(self, key: bytes | str, value: bytes, ttl_s: int, replication: int) -> bytes:
        """Pack the course's PUT, which nobody answers.

        @raise ValueError: no PUT can say that.
        """
        key = raw_key(key)
        check_value(value)
        return Put(_ttl(ttl_s, TTL_S_MAX, ", or put_confirmed"), _replication(replication), key, value).pack()

    def put_confirmed(
        self, settle: Settle[PutResult], key: bytes | str, value: bytes, ttl_s: int, replication: int, seal: Seal | None
    ) -> bytes:
        """Pack a put that is answered with its result, with `Refused` or with `Unreachable`.

        @raise ValueError: no PUT CONFIRMED can say that.
        """
        key = raw_key(key)
        check_value(value)
        ttl_s, copies = _ttl(ttl_s, TTL_S_MAX_CONFIRMED), _replication(replication)
        return self._await(
            self._changing, settle, lambda number: PutConfirmed(number, ttl_s, copies, key, value, seal).pack()
        )

    def get(self, settle: Settle[bytes | None], key: bytes | str) -> bytes:
        """Pack a question for the value under a key; the answer is None where there is none.

        @raise ValueError: that is no key.
        """
        key = raw_key(key)
        raw = Get(key).pack()
        self._getting[key].append(settle)
        return raw

    def delete(self, settle: Settle[PutResult], key: bytes | str, seal: Seal | None) -> bytes:
        """Pack the end of a record; answered as `put_confirmed`.

        @raise ValueError: that is no key.
        """
        key = raw_key(key)
        return self._await(self._changing, settle, lambda number: Delete(number, key, seal).pack())

    def status(self, settle: Settle[dict[str, Any]]) -> bytes:
        """Pack a question for the node's state."""
        return self._await(self._describing, (settle, bytearray()), lambda number: GetStatus(number).pack())

    def operate(self, settle: Settle[None], take: Callable[[bytes], None], text: bytes) -> bytes:
        """Pack a question of people's tools, a JSON object; `take` gets the pieces of its answer as they come, and
        `settle` None behind the last.
        """
        return self._await(self._operating, (settle, take), lambda number: Operate(number, text).pack())

    def receive(self, data: bytes) -> None:
        """Take answers, or parts of them, and settle what they answer.

        Whoever is told may call `give_up`: what arrives besides is passed over.

        @raise Malformed: what comes is no answer to anything; the exchange is at its end.
        """
        if self._is_over:
            return
        self._reader.feed(data)
        try:
            while not self._is_over and (answer := self._reader.take()) is not None:
                self._answered(answer)
        except Malformed as error:
            raise Malformed(f"the node sent {error}") from None

    def give_up(self, error: ChordtwistError) -> None:
        """Settle all that is under way with `error`; nothing is awaited any more."""
        self._is_over = True
        under_way: list[Settle[Any]] = [settle for waiting in self._getting.values() for settle in waiting]
        under_way += self._changing.values()
        under_way += [settle for settle, _ in (*self._describing.values(), *self._operating.values())]
        for waiting in self._getting, self._changing, self._describing, self._operating:
            waiting.clear()
        for settle in under_way:
            settle(error)

    def _await(self, waiting: dict[int, T], who: T, pack: Callable[[int], bytes]) -> bytes:
        self._asked = (self._asked + 1) % _REQUEST_IDS
        raw = pack(self._asked)  # first, since nobody waits for what a wrong type has kept from being packed
        waiting[self._asked] = who
        return raw

    def _answered(self, answer: ApiAnswer) -> None:
        if isinstance(answer, Success):
            self._found(answer.key, answer.value)
        elif isinstance(answer, Failure):
            self._found(answer.key, None)
        elif isinstance(answer, Outcome):
            self._changed(answer)
        elif isinstance(answer, StatusPiece):
            self._told(answer)
        else:
            self._shown(answer)

    def _found(self, key: bytes, value: bytes | None) -> None:
        waiting = self._getting.get(key)
        if waiting is None:
            raise Malformed(f"an answer to a GET of {key.hex()} that nobody asked")
        settle = waiting.popleft()
        if not waiting:
            del self._getting[key]
        settle(value)

    def _changed(self, outcome: Outcome) -> None:
        settle = _who_asked(self._changing, outcome.request_id)
        del self._changing[outcome.request_id]
        if outcome.code is ResultCode.DONE:
            settle(outcome.result)
        elif outcome.code is ResultCode.REFUSED:
            settle(Refused(outcome.reason))
        else:
            settle(Unreachable(None, outcome.reason))

    def _told(self, piece: StatusPiece) -> None:
        settle, text = _who_asked(self._describing, piece.request_id)
        text += piece.text
        if len(text) > STATUS_BYTES_MAX:
            raise Malformed(f"a status of more than {STATUS_BYTES_MAX} bytes")
        if piece.is_last:
            state = unpack_state(text)
            del self._describing[piece.request_id]
            settle(state)

    def _shown(self, piece: Piece) -> None:
        settle, take = _who_asked(self._operating, piece.request_id)
        take(piece.text)
        if piece.is_last:
            del self._operating[piece.request_id]
            settle(None)


def _who_asked(waiting: dict[int, T], number: int) -> T:
    if number not in waiting:
        raise Malformed(f"an answer under the number {number}, which nobody asked")
    return waiting[number]


def _ttl(ttl_s: int, longest_s: int, hint: str = "") -> int:
    if not 0 <= ttl_s <= longest_s or ttl_s % 1:
        raise ValueError(f"a TTL of {ttl_s} s; whole seconds from 0 to {longest_s}{hint}")
    return int(ttl_s)


def _replication(copies: int) -> int:
    if not 0 <= copies <= 255 or copies % 1:
        raise ValueError(f"{copies} copies; a whole number from 0 to 255")
    return int(copies)
