"""Messages between nodes: every value that the fields allow travels and comes back the same."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.signed import Held, Stamp, Status, pack_holding, pack_lease, pack_status
from chordtwist.core.signed import Holding as Statement
from chordtwist.core.table import UNPROVED, Table
from chordtwist.wire import peer_messages
from chordtwist.wire.peer_messages import (
    BODY_BYTES_MAX,
    MESSAGE_NAMES,
    MESSAGES,
    Answer,
    Fetch,
    GetTable,
    Goodbye,
    HandedOver,
    Hello,
    Holding,
    JoinFailure,
    Leased,
    Leave,
    Message,
    NotFound,
    NotMember,
    NotMine,
    Ping,
    Question,
    RecordBody,
    StoreAll,
    TableIs,
    decode,
    encode,
)
from tests.builders import pack_table

BATCHES = {HandedOver, StoreAll}
"""Bounded by the bytes of their values, which no field says."""

NETWORK = Identity("x" * 255, Policy.ADDRESS)
WE = NETWORK.peer("2001:db8::1", 65_535)
STAMP = Stamp(WE, *([(1 << 64) - 1] * 3))
SIGNED: dict[Any, bytes] = {
    NotMember: pack_status(NETWORK, STAMP, Status.LEAVING),
    Leave: pack_status(NETWORK, STAMP, Status.LEAVING),
    Leased: pack_lease(NETWORK, STAMP, WE, 0),
    Holding: pack_holding(NETWORK, Statement(STAMP, 0, bytes(32), bytes(32), Held(bytes(41), True), bytes(32), 0)),
    TableIs: pack_table(
        NETWORK, Table(WE, 0, 0, 0, bytes(32), True, WE, (WE,) * 255, (WE,) * 255, (UNPROVED,) * 256, (WE,) * 128)
    ),
}
"""The longest bodies that are signed: their fields leave room for what newer builds may append."""


def values_of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """All values of a field's type."""
    match kind:
        case inspect.IntType(ge=least, le=most, lt=copies_above):
            return st.integers(least, most if most is not None else None if copies_above is None else copies_above - 1)
        case inspect.BytesType(min_length=least, max_length=most):
            return st.binary(min_size=least or 0, max_size=min(most or 40, (least or 0) + 40))
        case inspect.StrType(min_length=least, max_length=most):
            # Other signs are escaped on their way in.
            return st.text("aä語 .", min_size=least or 0, max_size=min(most or 40, 40))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.ListType(item_type=item, min_length=least):
            return st.lists(values_of(item), min_size=least or 0, max_size=4)
        case inspect.UnionType(types=types):
            return st.one_of([values_of(one) for one in types])
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, **{field.name: values_of(field.type) for field in fields})
    raise AssertionError(kind)


def messages_of(cls: type[Message]) -> st.SearchStrategy[Message]:
    return values_of(inspect.type_info(cls))


def longest(kind: inspect.Type) -> Any:
    """The value of a field's type that takes most bytes."""
    match kind:
        case inspect.IntType(le=most, lt=copies_above):
            return most if most is not None else (1 << 64) - 1 if copies_above is None else copies_above - 1
        case inspect.BytesType(max_length=most):
            assert most is not None, "bytes without a bound"
            return bytes(most)
        case inspect.StrType(max_length=most):
            assert most is not None, "text without a bound"
            return "x" * most
        case inspect.BoolType():
            return True
        case inspect.ListType(item_type=item, max_length=most):
            assert most is not None, "a list without a bound"
            return [longest(item)] * most
        case inspect.UnionType(types=types):
            return max((longest(one) for one in types if not isinstance(one, inspect.NoneType)), key=len_of)
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: longest(field.type) for field in fields})
    raise AssertionError(kind)


def len_of(value: object) -> int:
    return len(msgspec.msgpack.encode(value))


class CatalogueTests(SynchronousTestCase):
    """All messages together."""

    def test_complete(self) -> None:
        """Every message of the module can be sent."""
        defined = {
            value
            for value in vars(peer_messages).values()
            if isinstance(value, type) and issubclass(value, Message) and value not in (Message, Question, Answer)
        }
        self.assertEqual(defined, set(MESSAGES))

    def test_kinds(self) -> None:
        """Every kind is one byte and belongs to one message."""
        kinds = [message.kind for message in MESSAGES]
        self.assertEqual(len(set(kinds)), len(kinds))
        self.assertTrue(all(0 < kind < 256 for kind in kinds))
        self.assertEqual(MESSAGE_NAMES[30], "GetTable")

    def test_question_or_answer(self) -> None:
        """Every message but those of the link itself is either a question, with a time limit, or an answer."""
        for message in MESSAGES:
            if message not in (Hello, Goodbye):
                self.assertTrue(issubclass(message, Question) ^ issubclass(message, Answer), message)
            if issubclass(message, Question):
                self.assertTrue(0 < message.answer_within_s <= 10, message)

    def test_limits(self) -> None:
        """The longest message that its fields allow fits the limit of its kind: nobody's frame is refused for that."""
        for message in MESSAGES:
            if message not in BATCHES | SIGNED.keys() | {NotFound}:
                body = encode(longest(inspect.type_info(message)))
                self.assertLessEqual(len(body), BODY_BYTES_MAX[message.kind], message)

    def test_tombstone_limit(self) -> None:
        """So does a tombstone, which has no value or at most its digest."""
        tombstone = longest(inspect.type_info(RecordBody))
        length = len(encode(NotFound(msgspec.structs.replace(tombstone, value=bytes(32)))))
        self.assertLessEqual(length, NotFound.body_bytes_max)

    def test_signed_limits(self) -> None:
        """So does the longest statement of a peer of the network with the longest name, signed."""
        for message, body in SIGNED.items():
            length = len(encode(message(body, bytes(64))))
            self.assertLessEqual(length, BODY_BYTES_MAX[message.kind], message)


class RoundTripTests(SynchronousTestCase):
    """Bytes and back."""

    @given(st.sampled_from(MESSAGES).flatmap(messages_of))
    def test_same(self, message: Message) -> None:
        """What is sent is what is received."""
        self.assertEqual(decode(message.kind, encode(message)), message)

    def test_bytes(self) -> None:
        """The body is a msgpack array of the fields in their order."""
        self.assertEqual(encode(GetTable(1, 2)), b"\x92\x01\x02")
        self.assertEqual(encode(Ping()), b"\x90")

    def test_newer_build(self) -> None:
        """Fields that a newer build appended are ignored."""
        self.assertEqual(decode(GetTable.kind, b"\x93\x01\x02\xa3new"), GetTable(1, 2))

    def test_older_build(self) -> None:
        """Fields with defaults that an older build does not send have their defaults."""
        self.assertEqual(decode(NotFound.kind, b"\x90"), NotFound())
        self.assertEqual(decode(JoinFailure.kind, b"\x91\xa2no"), JoinFailure("no"))


class BrokenTests(SynchronousTestCase):
    """Bodies that are no message."""

    @given(st.integers(0, 255), st.binary(max_size=100))
    def test_anything(self, kind: int, body: bytes) -> None:
        """No bytes lead to anything but a message or `Malformed`."""
        try:
            message = decode(kind, body)
        except Malformed:
            return
        self.assertEqual(message.kind, kind)

    def test_broken(self) -> None:
        """What is wrong is told with the message's name."""
        for cls, body, words in (
            (GetTable, b"\x91\x01", "GetTable"),
            (GetTable, b"\x92\x01\xff", "GetTable"),
            (Fetch, encode([bytes(31), 0, True]), "Fetch"),
            (NotMine, encode([bytes(5)]), "NotMine"),
            (Goodbye, encode(["x" * 201]), "Goodbye"),
            (Goodbye, b"\x91\xa2\xff\xff", "Goodbye"),
            (Ping, b"", "Ping"),
            (Ping, b"\x90\x90", "Ping"),
            (Ping, b"\x91" * 5000, "Ping"),
        ):
            error = self.assertRaises(Malformed, decode, cls.kind, body)
            self.assertIn(f"a broken {words}: ", str(error))

    def test_unknown(self) -> None:
        """So is a kind that nobody knows."""
        self.assertIn("kind 99", str(self.assertRaises(Malformed, decode, 99, b"\x90")))
