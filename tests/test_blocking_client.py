"""The client of commands: one question at a time, and never longer than the deadline."""

from __future__ import annotations

import os
import tempfile
from errno import EACCES
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.address import Address, UnixAddress
from chordtwist.core.errors import Malformed, NodeGone
from chordtwist.core.records import VALUE_BYTES_MAX
from chordtwist.net import blocking_client
from chordtwist.net.blocking_client import SLOW_AFTER_S, BlockingClient, Deadline
from chordtwist.wire.api_messages import STATUS_BYTES_MAX, Failure, Piece, Success

KEY, OTHER = b"k" * 32, b"o" * 32


class Scripted:
    """A connection that gives what it was told to, and then says nothing more, or that it is closed."""

    def __init__(self, clock: Clock, *gives: bytes, closes: bool = False) -> None:
        self._clock = clock
        self._gives = list(gives)
        self._closes = closes
        self._seconds = 0.0

    def sendall(self, data: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        if self._gives:
            return self._gives.pop(0)
        if self._closes:
            return b""
        self._clock.advance(self._seconds)
        raise TimeoutError

    def settimeout(self, seconds: float) -> None:
        self._seconds = seconds

    def close(self) -> None:
        pass


def denied() -> None:
    """Fail as the system does for who may not write to a socket: as root, who runs tests here and there, may."""
    raise PermissionError(EACCES, os.strerror(EACCES))


class BlockingClientTests(SynchronousTestCase):
    """A client whose node says what a test wants."""

    def setUp(self) -> None:
        """No time has passed."""
        self.clock = Clock()
        self.told: list[float] = []

    def client(self, *gives: bytes, closes: bool = False) -> BlockingClient:
        deadline = Deadline(30, lambda: self.told.append(self.clock.seconds()), self.clock.seconds)
        return BlockingClient(Scripted(self.clock, *gives, closes=closes), deadline)

    def test_silence(self) -> None:
        """A node that says nothing is given up at the deadline; on the way it is told, once, that one waits."""
        self.assertRaises(TimeoutError, self.client().get, KEY)
        self.assertEqual((30, [SLOW_AFTER_S]), (self.clock.seconds(), self.told))

    def test_cut_answer(self) -> None:
        """An answer may come in any pieces; one that ends in the middle is none."""
        answer = Success(KEY, b"value").pack()
        pieces = [answer[at : at + 1] for at in range(len(answer))]
        self.assertEqual(b"value", self.client(*pieces).get(KEY))
        error = self.assertRaises(NodeGone, self.client(*pieces[:-1], closes=True).get, KEY)
        self.assertIn("the connection to the node is gone", str(error))

    def test_other_port(self) -> None:
        """Whoever ends the connection without a word is no API: the error says where one may be."""
        error = self.assertRaises(NodeGone, self.client(closes=True).get, KEY)
        self.assertIn("a node's port for other nodes", str(error))

    def test_not_allowed(self) -> None:
        """Who may not write to a Unix socket is told whom it belongs to."""
        # Not below the folder of the tests: the path of a socket is short.
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "api.sock"
        path.touch()
        self.patch(blocking_client, "_dial", lambda address, deadline: denied())
        error = self.assertRaises(NodeGone, BlockingClient.connect, UnixAddress(path), Deadline(30))
        self.assertEqual(
            f"you may not write to it; it belongs to user {path.owner()} and group {path.group()}", str(error)
        )
        for address in UnixAddress(path.with_name("gone")), Address("127.0.0.1", 1):
            error = self.assertRaises(NodeGone, BlockingClient.connect, address, Deadline(30))
            self.assertEqual("Permission denied", str(error))

    def test_answer_to_nothing(self) -> None:
        """An answer that nobody asked for is no node's."""
        for given in Failure(OTHER).pack(), Piece(1, True, b"").pack(), b"HTTP/1.1 400 Bad Request\r\n":
            self.assertRaises(Malformed, self.client(given).get, KEY)

    def test_impossible_questions(self) -> None:
        """What no message can say is the caller's mistake, and nothing is sent."""
        client = self.client()
        self.assertRaises(ValueError, client.get, b"short")
        self.assertRaises(ValueError, client.put_confirmed, KEY, b"x" * (VALUE_BYTES_MAX + 1))
        self.assertRaises(ValueError, client.put_confirmed, KEY, b"x", -1)
        self.assertRaises(ValueError, client.put_confirmed, KEY, b"x", 1, 256)

    def test_lines(self) -> None:
        """The lines of an answer to people's tools are given as they come, however they were cut."""
        pieces = [Piece(1, False, part).pack() for part in (b'{"a"', b':1}\n{"a":2}\n{', b'"a":3}\n')]
        lines = self.client(*pieces, Piece(1, True, b"").pack()).operate({"do": "ring"})
        self.assertEqual([{"a": 1}, {"a": 2}, {"a": 3}], list(lines))

    def test_endless_answer(self) -> None:
        """An answer may take longer than the deadline as long as something comes; a line without end is given up."""
        line = Piece(1, False, b'{"a":1}\n').pack()
        lines = self.client(*[line] * 100).operate({"do": "events"})
        for _ in range(100):
            next(lines)
            self.clock.advance(20)
        self.assertRaises(TimeoutError, next, lines)
        endless = Piece(1, False, b"x" * 60_000).pack()
        lines = self.client(*[endless] * (STATUS_BYTES_MAX // 60_000 + 1)).operate({"do": "events"})
        self.assertRaises(Malformed, next, lines)

    def test_no_object(self) -> None:
        """A line that is no JSON object is no node's."""
        for raw in b"{", b"[]", b"\xff", b"[" * 10_000:
            self.assertRaises(Malformed, list, self.client(Piece(1, False, raw + b"\n").pack()).operate({}))
