"""The API's bytes: every message there and back, however it is split, and what is no message at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.core.records import SEQ_MAX, VALUE_BYTES_MAX, PutResult, Seal, Version
from chordtwist.wire.api_messages import (
    OPERATE_BYTES_MAX,
    REASON_BYTES_MAX,
    AnswerReader,
    ApiAnswer,
    ApiQuestion,
    Delete,
    Failure,
    Get,
    GetStatus,
    Operate,
    Outcome,
    Piece,
    Put,
    PutConfirmed,
    QuestionReader,
    ResultCode,
    Shutdown,
    StatusPiece,
    Success,
    pack_found,
    pack_state,
    unpack_state,
)

KEY = bytes(range(32))

u8 = st.integers(0, 255)
u16 = st.integers(0, 65_535)
u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
seqs = st.integers(0, SEQ_MAX)
keys = st.binary(min_size=32, max_size=32)
values = st.binary(min_size=1, max_size=300)
seals = st.builds(
    Seal,
    public_key=keys,
    salt=st.binary(max_size=64),
    seq=seqs,
    signature=st.binary(min_size=64, max_size=64),
    expected_seq=st.none() | seqs,
)
questions: st.SearchStrategy[ApiQuestion] = st.one_of(
    st.builds(Put, u16, u8, keys, values),
    st.builds(Get, keys),
    st.builds(Shutdown),
    st.builds(PutConfirmed, u32, u32, u8, keys, values, st.none() | seals),
    st.builds(Delete, u32, keys, st.none() | seals),
    st.builds(GetStatus, u32),
    st.builds(Operate, u32, st.binary(min_size=1, max_size=50)),
)
results = st.builds(PutResult, u8, u8, st.builds(Version, u64, st.binary(max_size=18)), u64)
answers: st.SearchStrategy[ApiAnswer] = st.one_of(
    st.builds(Success, keys, values),
    st.builds(Failure, keys),
    st.builds(Outcome, u32, st.sampled_from(ResultCode), results, st.text("aä語 .", max_size=90)),
    st.builds(StatusPiece, u32, st.booleans(), st.binary(max_size=50)),
    st.builds(Piece, u32, st.booleans(), st.binary(max_size=50)),
)


def pieces(draw: st.DataObject, raw: bytes) -> Iterable[bytes]:
    """`raw` cut at places that hypothesis chooses."""
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


def read_all(reader: QuestionReader | AnswerReader, chunks: Iterable[bytes]) -> list[ApiQuestion | ApiAnswer]:
    """Everything a reader makes of chunks that arrive one after another."""
    found: list[ApiQuestion | ApiAnswer] = []
    for chunk in chunks:
        reader.feed(chunk)
        while (message := reader.take()) is not None:
            found.append(message)
    return found


class LayoutTests(SynchronousTestCase):
    def test_course_messages(self) -> None:
        """The course's five messages have exactly the bytes of its specification."""
        expected = {
            "put": bytes.fromhex("002a 028a 0001 02 00") + KEY + b"hi",
            "get": bytes.fromhex("0024 028b") + KEY,
            "success": bytes.fromhex("0026 028c") + KEY + b"hi",
            "failure": bytes.fromhex("0024 028d") + KEY,
            "shutdown": bytes.fromhex("0004 028e"),
        }
        made = {
            "put": Put(1, 2, KEY, b"hi").pack(),
            "get": Get(KEY).pack(),
            "success": Success(KEY, b"hi").pack(),
            "failure": Failure(KEY).pack(),
            "shutdown": Shutdown().pack(),
        }
        self.assertEqual(made, expected)

    def test_extensions(self) -> None:
        """The extensions have exactly the bytes that their table shows."""
        seal = Seal(b"P" * 32, b"salt", 7, b"S" * 64, expected_seq=6)
        packed_seal = b"P" * 32 + b"S" * 64 + bytes.fromhex("0000000000000007 01 0000000000000006") + b"salt"
        expected = [
            bytes.fromhex("002d 028f 00000009 00015180 03") + KEY + bytes.fromhex("0006 0290") + b"hi",
            bytes.fromhex("00a2 028f 00000009 00015180 03") + KEY + packed_seal + bytes.fromhex("0006 0290") + b"hi",
            bytes.fromhex("0028 0291 00000009") + KEY,
            bytes.fromhex("001e 0292 00000009 00 03 04 0000000000000005 0000000000000258 02") + b"ab" + b"",
            bytes.fromhex("0008 0293 00000009"),
            bytes.fromhex("000b 0294 00000009 01") + b"{}",
            bytes.fromhex("000b 0295 00000009 01") + b"{}",
            bytes.fromhex("000b 0296 00000009 00") + b"{}",
        ]
        made = [
            PutConfirmed(9, 86_400, 3, KEY, b"hi").pack(),
            PutConfirmed(9, 86_400, 3, KEY, b"hi", seal).pack(),
            Delete(9, KEY).pack(),
            Outcome(9, ResultCode.DONE, PutResult(3, 4, Version(5, b"ab"), 600)).pack(),
            GetStatus(9).pack(),
            StatusPiece(9, True, b"{}").pack(),
            Operate(9, b"{}").pack(),
            Piece(9, False, b"{}").pack(),
        ]
        self.assertEqual(made, expected)

    def test_request_in_parts(self) -> None:
        """A request that no message can carry comes in parts, one behind another; it is counted while it is not whole.
        Nothing else comes between them, and they end at the bound.
        """
        whole = Operate(9, b"x" * OPERATE_BYTES_MAX)
        raw = whole.pack()
        reader = QuestionReader()
        self.assertEqual(read_all(reader, [raw[:-1]]), [])
        self.assertGreaterEqual(reader.held_bytes, OPERATE_BYTES_MAX)
        self.assertEqual(read_all(reader, [raw[-1:], Get(KEY).pack()]), [whole, Get(KEY)])
        self.assertEqual(reader.held_bytes, 0)
        part = Operate(9, b"x" * 70_000).pack()[:65_535]
        for other, words in (
            (Get(KEY).pack(), "GET where the rest of an OPERATE belongs"),
            (Operate(8, b"{}").pack(), "OPERATE number 8 where the rest of number 9 belongs"),
            (part * 4, f"OPERATE with a request of more than {OPERATE_BYTES_MAX} bytes"),
        ):
            error = self.assertRaises(Malformed, read_all, QuestionReader(), [part + other])
            self.assertEqual(str(error), words)

    def test_reserved_byte_ignored(self) -> None:
        """A PUT's reserved byte means nothing, whatever it holds."""
        raw = bytearray(Put(1, 2, KEY, b"hi").pack())
        raw[7] = 0xFF
        self.assertEqual(read_all(QuestionReader(), [bytes(raw)]), [Put(1, 2, KEY, b"hi")])

    def test_found(self) -> None:
        """A GET is answered with SUCCESS and the value, with FAILURE when there is none or no SUCCESS can carry it."""
        longest = b"x" * 65_499
        self.assertEqual(pack_found(KEY, longest), Success(KEY, longest).pack())
        for value in None, b"", longest + b"x":
            self.assertEqual(pack_found(KEY, value), Failure(KEY).pack())

    def test_longest_value(self) -> None:
        """The longest value of a PUT goes through every message that carries one."""
        value = b"x" * VALUE_BYTES_MAX
        put = Put(0, 0, KEY, value)
        confirmed = PutConfirmed(1, 0, 0, KEY, value)
        self.assertEqual(len(put.pack()), 65_535)
        self.assertEqual(read_all(QuestionReader(), [put.pack() + confirmed.pack()]), [put, confirmed])
        self.assertEqual(read_all(AnswerReader(), [Success(KEY, value).pack()]), [Success(KEY, value)])

    def test_long_status(self) -> None:
        """A status longer than a message is cut into pieces, the last of which says so."""
        state = {"peers": ["x" * 64] * 2500}
        told = [piece for piece in read_all(AnswerReader(), [pack_state(5, state)]) if isinstance(piece, StatusPiece)]
        self.assertEqual([piece.is_last for piece in told], [False, False, True])
        self.assertEqual(unpack_state(b"".join(piece.text for piece in told)), state)
        self.assertEqual(json.loads(b"".join(piece.text for piece in told)), state)

    def test_no_status(self) -> None:
        """Pieces that make no JSON object are no status."""
        for text in b"[]", b"{", b'{"\xff": 1}':
            self.assertRaises(Malformed, unpack_state, text)

    def test_long_reason(self) -> None:
        """A reason too long for its place is cut between characters; counts too high for it become the highest."""
        outcome = Outcome(1, ResultCode.REFUSED, PutResult(300, 300, Version(0, b""), 0), "ä" * REASON_BYTES_MAX)
        cut = Outcome(1, ResultCode.REFUSED, PutResult(255, 255, Version(0, b""), 0), "ä" * (REASON_BYTES_MAX // 2))
        self.assertEqual(read_all(AnswerReader(), [outcome.pack()]), [cut])


class StreamTests(SynchronousTestCase):
    @given(st.data(), st.lists(questions, max_size=8))
    def test_questions(self, draw: st.DataObject, sent: list[ApiQuestion]) -> None:
        """Questions come out as they were packed, however their bytes are split or glued; nothing is held back."""
        reader = QuestionReader()
        chunks = pieces(draw, b"".join(question.pack() for question in sent))
        self.assertEqual(read_all(reader, chunks), sent)
        self.assertEqual(reader.held_bytes, 0)

    @given(st.data(), st.lists(answers, max_size=8))
    def test_answers(self, draw: st.DataObject, sent: list[ApiAnswer]) -> None:
        """Answers come out as they were packed, however their bytes are split or glued; nothing is held back."""
        reader = AnswerReader()
        chunks = pieces(draw, b"".join(answer.pack() for answer in sent))
        self.assertEqual(read_all(reader, chunks), sent)
        self.assertEqual(reader.held_bytes, 0)

    @given(st.data(), st.lists(questions, max_size=3), st.binary(min_size=4, max_size=80))
    def test_garbage(self, draw: st.DataObject, sent: list[ApiQuestion], garbage: bytes) -> None:
        """What is made of garbage, and of the messages in front of it, does not depend on how the bytes are split."""
        raw = b"".join(question.pack() for question in sent) + garbage

        def outcome(chunks: Iterable[bytes]) -> tuple[list[ApiQuestion | ApiAnswer], str]:
            reader, found = QuestionReader(), list[ApiQuestion | ApiAnswer]()
            try:
                for chunk in chunks:
                    reader.feed(chunk)
                    while (message := reader.take()) is not None:
                        found.append(message)
            except Malformed as error:
                return found, str(error)
            return found, f"{reader.held_bytes} bytes held"

        self.assertEqual(outcome(pieces(draw, raw)), outcome([raw]))

    @given(st.binary(max_size=300))
    def test_garbage_from_the_node(self, garbage: bytes) -> None:
        """Bytes from the node that are no message are Malformed and nothing else."""
        try:
            read_all(AnswerReader(), [garbage])
        except Malformed as error:
            self.assertNotEqual(str(error), "")

    def test_taken_one_by_one(self) -> None:
        """Messages that are not taken wait, and more may be fed behind them."""
        reader = QuestionReader()
        reader.feed(Get(KEY).pack() + Shutdown().pack()[:2])
        reader.feed(Shutdown().pack()[2:])
        self.assertEqual(reader.held_bytes, 40)
        self.assertEqual([reader.take(), reader.take(), reader.take()], [Get(KEY), Shutdown(), None])

    def test_shutdown_needs_no_fifth_byte(self) -> None:
        """SHUTDOWN is complete with its fourth byte."""
        self.assertEqual(read_all(QuestionReader(), [b"\x00\x04\x02", b"\x8e"]), [Shutdown()])

    def test_nothing_kept_of_what_was_taken(self) -> None:
        """Between messages a reader keeps no bytes, and within one only those of this message."""
        reader = QuestionReader()
        read_all(reader, [Get(KEY).pack() * 1000 + b"\x00"])
        self.assertEqual((reader.held_bytes, reader._buffer), (1, b"\x00"))

    def test_linear_work(self) -> None:
        """A message of single bytes is copied a bounded number of times, not once for each byte."""
        joined = 0

        class Counting(bytearray):
            def __radd__(self, before: bytes) -> bytes:
                nonlocal joined
                joined += len(before) + len(self)
                return before + bytes(self)

        reader = QuestionReader()
        raw = Put(0, 0, KEY, b"x" * 5000).pack()
        found: list[ApiQuestion] = []
        for at in range(len(raw)):
            if type(reader._arrived) is bytearray:
                reader._arrived = Counting(reader._arrived)
            reader.feed(raw[at : at + 1])
            found += [message for message in (reader.take(),) if message is not None]
        self.assertEqual(len(found), 1)
        self.assertGreater(joined, len(raw) - 1)
        self.assertLess(joined, 3 * len(raw))


def _message(size: int, number: int, body: bytes = b"") -> bytes:
    return size.to_bytes(2, "big") + number.to_bytes(2, "big") + body


class ViolationTests(SynchronousTestCase):
    def refused(self, make: Callable[[], QuestionReader | AnswerReader], raw: bytes, expected: str) -> None:
        error = self.assertRaises(Malformed, read_all, make(), [raw])
        self.assertEqual(str(error), expected)

    def test_sizes(self) -> None:
        """A size that its message cannot have is refused with its header alone, in words that say what is right."""
        for raw, expected in (
            (_message(0, 651), "a message of size 0; its header alone has 4 bytes"),
            (_message(3, 650), "a message of size 3; its header alone has 4 bytes"),
            (_message(35, 651), "GET of size 35; it has 36"),
            (_message(37, 651), "GET of size 37; it has 36"),
            (_message(40, 650), "PUT of size 40; it has 41 to 65535"),
            (_message(5, 654), "SHUTDOWN of size 5; it has 4"),
            (_message(44, 655), "PUT CONFIRMED of size 44; it has 45 to 222"),
            (_message(218, 657), "DELETE of size 218; it has 40 to 217"),
            (_message(4, 659), "STATUS of size 4; it has 8"),
        ):
            self.refused(QuestionReader, raw, expected)

    def test_types(self) -> None:
        """A type that nobody or only the node sends is refused with its header alone."""
        for raw, expected in (
            (_message(36, 649), "a message of the unknown type 649"),
            (_message(36, 663), "a message of the unknown type 663"),
            (_message(36, 662), "PIECE from a client"),
            (_message(38, 652), "SUCCESS from a client"),
            (_message(36, 653), "FAILURE from a client"),
            (_message(36, 658), "OUTCOME from a client"),
            (_message(9, 656), "VALUE without a PUT CONFIRMED in front"),
        ):
            self.refused(QuestionReader, raw, expected)

    def test_confirmed_put_without_value(self) -> None:
        """Behind a PUT CONFIRMED comes its VALUE, of a length that a PUT could carry, and nothing else."""
        head = PutConfirmed(1, 0, 0, KEY, b"").pack()[:-4]
        for raw, expected in (
            (Get(KEY).pack(), "GET where the VALUE of a PUT CONFIRMED belongs"),
            (_message(4, 656), "VALUE of size 4; it has 5 to 65499"),
            (_message(65_500, 656), "VALUE of size 65500; it has 5 to 65499"),
        ):
            self.refused(QuestionReader, head + raw, expected)

    def test_seals(self) -> None:
        """A seal is whole, and its seq one that every node can keep."""
        put = PutConfirmed(1, 0, 0, KEY, b"x", Seal(b"P" * 32, b"", 1, b"S" * 64)).pack()
        high = Delete(1, KEY, Seal(b"P" * 32, b"", SEQ_MAX + 1, b"S" * 64)).pack()
        for raw, expected in (
            (_message(157, 655, put[4:157]), "PUT CONFIRMED with a seal of 112 bytes; it has 113 to 177"),
            (_message(41, 657, high[4:41]), "DELETE with a seal of 1 bytes; it has 113 to 177"),
            (high, "DELETE with a seq beyond 9223372036854775807"),
        ):
            self.refused(QuestionReader, raw, expected)

    def test_answers(self) -> None:
        """Nonsense from the node is refused in the same way."""
        outcome = Outcome(1, ResultCode.DONE, PutResult(1, 1, Version(1, b"a"), 1), "r").pack()
        for raw, expected in (
            (_message(36, 651), "GET from the node"),
            (_message(36, 700), "a message of the unknown type 700"),
            (_message(36, 652), "SUCCESS of size 36; it has 37 to 65535"),
            (outcome[:27] + b"\x09" + outcome[28:], "OUTCOME whose publisher does not fit it"),
            (outcome[:8] + b"\x07" + outcome[9:], "OUTCOME that cannot be read: 7 is not a valid ResultCode"),
            (
                outcome[:-1] + b"\xff",
                "OUTCOME that cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
            ),
        ):
            self.refused(AnswerReader, raw, expected)
