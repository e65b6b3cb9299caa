"""The API's server side over transports in memory: what is answered, what is not, and what a client can cost."""

from __future__ import annotations

import random
import resource
from collections.abc import Sequence

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure as TwistedFailure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.records import VALUE_BYTES_MAX, Record
from chordtwist.net.api import (
    ALL_UNDER_WAY_BYTES_MAX,
    CLIENTS_HELD_BYTES_MAX,
    COMPLETE_WITHIN_S,
    CONNECTIONS_CLOSE_WITHIN_S,
    GET_BYTES,
    GONE_BYTES,
    OPERATION_BYTES,
    READ_WITHIN_S,
    UNDER_WAY_BYTES_MAX,
    ApiFactory,
    ApiProtocol,
    connections_bound,
)
from chordtwist.net.bounds import JOINED_BYTES_MAX, links_bound
from chordtwist.net.operating import Tell
from chordtwist.wire.api_messages import (
    NOTHING_STORED,
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
    Shutdown,
    StatusPiece,
    Success,
)
from tests import SOAK
from tests.memory_dht import COPIES, MemoryDht

KEY, OTHER = b"k" * 32, b"o" * 32
SLOTS = UNDER_WAY_BYTES_MAX // GET_BYTES
LOCAL = IPv4Address("TCP", "127.0.0.1", 50_000)


class Transport(StringTransport):
    """Keeps each write apart, and is full when told."""

    def __init__(self, peer: IPv4Address | IPv6Address | UNIXAddress = LOCAL) -> None:
        super().__init__(peerAddress=peer)
        self.writes: list[bytes] = []
        self.is_full = False

    def write(self, data: bytes) -> None:
        """A write goes out at once, or fills the buffer."""
        self.writes.append(data)
        if self.is_full and self.producer is not None:
            self.producer.pauseProducing()


class Client:
    """One connection to the door of a test."""

    def __init__(self, door: ApiFactory, peer: IPv4Address | IPv6Address | UNIXAddress = LOCAL) -> None:
        self.transport = Transport(peer)
        protocol = door.buildProtocol(None)
        assert protocol is not None
        self.protocol: ApiProtocol = protocol
        self.protocol.makeConnection(self.transport)

    def send(self, *messages: bytes) -> None:
        self.protocol.dataReceived(b"".join(messages))

    def lose(self) -> None:
        self.protocol.connectionLost(TwistedFailure(ConnectionDone()))

    @property
    def answers(self) -> list[ApiAnswer]:
        """Everything the node wrote, read as a client would."""
        reader = AnswerReader()
        reader.feed(b"".join(self.transport.writes))
        found = []
        while (answer := reader.take()) is not None:
            found.append(answer)
        return found

    @property
    def is_paused(self) -> bool:
        return self.transport.producerState == "paused"


class ApiTestCase(SynchronousTestCase):
    """A door to a hash table in memory, and what is logged."""

    def setUp(self) -> None:
        """No client is connected."""
        self.clock = Clock()
        self.dht = MemoryDht(self.clock)
        self.stopped = 0
        self.door = self.make_door()
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]

    def make_door(self, shutdown_beyond_loopback: bool = False) -> ApiFactory:
        return ApiFactory(self.dht, self.clock, self.stop, shutdown_beyond_loopback)

    def stop(self) -> None:
        self.stopped += 1

    def client(self, peer: IPv4Address | IPv6Address | UNIXAddress = LOCAL) -> Client:
        return Client(self.door, peer)

    def warnings(self) -> list[str]:
        """The reasons for which clients were dropped."""
        return [event["reason"] for event in self.log if event["log_level"] is LogLevel.warn]


class AnswerTests(ApiTestCase):
    def test_put_and_get(self) -> None:
        """A value that was put is read at once, through the same connection and any other."""
        one, two = self.client(), self.client()
        one.send(Put(60, 2, KEY, b"value").pack(), Get(KEY).pack())
        two.send(Get(KEY).pack(), Get(OTHER).pack())
        self.assertEqual(one.answers, [Success(KEY, b"value")])
        self.assertEqual(two.answers, [Success(KEY, b"value"), Failure(OTHER)])

    def test_silence_on_put(self) -> None:
        """A PUT is not answered: not when it is done, nor when it is refused, fails, or meets a bug."""
        client = self.client()
        client.send(Put(0, 0, KEY, b"value").pack())
        for error in Refused("no"), Unreachable(None, "nobody is there"), ValueError("a bug"):
            self.dht.put = lambda *arguments, error=error: fail(error)  # type: ignore[method-assign]
            client.send(Put(0, 0, KEY, b"value").pack())
        self.assertEqual(client.transport.writes, [])
        self.assertEqual([str(failure.value) for failure in self.flushLoggedErrors()], ["a bug"])

    def test_defaults(self) -> None:
        """A TTL or replication of 0 leaves it to the node; others are passed on as they are, a TTL of 1 too."""
        self.client().send(Put(0, 0, KEY, b"a").pack(), Put(1, 9, OTHER, b"b").pack())
        self.assertEqual(self.dht.puts, [(KEY, b"a", None, None), (OTHER, b"b", 1, 9)])

    def test_ttl_of_one(self) -> None:
        """A value with a TTL of 1 is there half a second later, and gone after the second."""
        client = self.client()
        client.send(Put(1, 0, KEY, b"value").pack())
        self.clock.advance(0.5)
        client.send(Get(KEY).pack())
        self.clock.advance(0.5)
        client.send(Get(KEY).pack())
        self.assertEqual(client.answers, [Success(KEY, b"value"), Failure(KEY)])

    def test_longest_value(self) -> None:
        """The longest value comes back byte for byte."""
        value = random.Random(1).randbytes(VALUE_BYTES_MAX)
        client = self.client()
        client.send(Put(0, 0, KEY, value).pack(), Get(KEY).pack())
        self.assertEqual(client.answers, [Success(KEY, value)])

    def test_one_write(self) -> None:
        """Answers that are ready together are one write, and an answer that comes later is one write."""
        client = self.client()
        client.send(Put(0, 0, KEY, b"value").pack(), Get(KEY).pack() * 50)
        self.assertEqual([len(write) for write in client.transport.writes], [50 * 41])
        self.dht.held = []
        client.send(Get(KEY).pack() * 3)
        self.assertEqual(len(client.transport.writes), 1)
        self.dht.release()
        self.assertEqual([len(write) for write in client.transport.writes[1:]], [41] * 3)

    def test_out_of_order(self) -> None:
        """An answer that takes longer does not hold up the others."""
        client = self.client()
        self.dht.held = []
        client.send(Get(KEY).pack())
        late, self.dht.held = self.dht.held, None
        client.send(Get(OTHER).pack())
        self.assertEqual(client.answers, [Failure(OTHER)])
        late[0]()
        self.assertEqual(client.answers, [Failure(OTHER), Failure(KEY)])

    def test_answered_whatever_happens(self) -> None:
        """A GET is answered with FAILURE when the search has a bug, whether it raises or fails."""
        client = self.client()

        def broken(key: bytes) -> Deferred[Record | None]:
            raise ValueError("raised")

        for get in broken, lambda key: fail(ValueError("failed")):
            self.dht.get = get  # type: ignore[method-assign]
            client.send(Get(KEY).pack())
        self.assertEqual(client.answers, [Failure(KEY), Failure(KEY)])
        self.assertEqual([str(failure.value) for failure in self.flushLoggedErrors()], ["raised", "failed"])

    def test_half_closed(self) -> None:
        """A client that says it will send no more still gets its answers, then the connection ends."""
        client = self.client()
        self.dht.held = []
        client.send(Put(0, 0, KEY, b"value").pack(), Get(KEY).pack(), b"\x00\x24\x02")
        client.protocol.readConnectionLost()
        self.assertFalse(client.transport.disconnecting)
        self.dht.release()
        self.assertEqual(client.answers, [Success(KEY, b"value")])
        self.assertTrue(client.transport.disconnecting)
        self.assertEqual(self.warnings(), [])

    def test_close_behind_put(self) -> None:
        """A PUT is carried out when its client closes right behind it, also one that still waits for its turn."""
        client = self.client()
        self.dht.held = []
        client.send(Get(OTHER).pack() * SLOTS, Put(0, 0, KEY, b"value").pack(), Get(KEY).pack())
        self.assertEqual(self.dht.puts, [])
        client.lose()
        self.dht.release()
        self.assertEqual([key for key, *_ in self.dht.puts], [KEY])
        self.assertEqual(self.door.connections, 0)

    def test_answer_after_loss(self) -> None:
        """An answer for a client that is gone is nobody's."""
        client = self.client()
        self.dht.held = []
        client.send(Get(KEY).pack(), Get(KEY).pack()[:30])
        client.lose()
        self.dht.release()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_confirmed(self) -> None:
        """A confirmed put and a delete are answered with what became of them, under the client's own number."""
        client = self.client()
        client.send(PutConfirmed(7, 90, 3, KEY, b"value").pack(), Get(KEY).pack(), Delete(8, KEY).pack())
        put, got, deleted = client.answers
        assert isinstance(put, Outcome) and isinstance(deleted, Outcome)
        self.assertEqual((put.request_id, put.code), (7, ResultCode.DONE))
        self.assertEqual((put.result.copies, put.result.wanted, put.result.ttl_ms), (3, 3, 90_000))
        self.assertEqual(got, Success(KEY, b"value"))
        self.assertEqual((deleted.request_id, deleted.code), (8, ResultCode.DONE))
        self.assertEqual(deleted.result.wanted, COPIES)

    def test_not_confirmed(self) -> None:
        """A confirmed put that comes to nothing says whether it was refused or failed, and why."""
        client = self.client()
        for error in Refused("a better one stands there"), Unreachable(None, "nobody is there"), ValueError("a bug"):
            self.dht.put = lambda *arguments, error=error: fail(error)  # type: ignore[method-assign]
            client.send(PutConfirmed(1, 0, 0, KEY, b"value").pack())
        expected = [
            Outcome(1, ResultCode.REFUSED, NOTHING_STORED, "a better one stands there"),
            Outcome(1, ResultCode.FAILED, NOTHING_STORED, "nobody is there"),
            Outcome(1, ResultCode.FAILED, NOTHING_STORED, "an error of the node; see its log"),
        ]
        self.assertEqual(client.answers, expected)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_status(self) -> None:
        """STATUS is answered with the node's state as JSON."""
        client = self.client()
        client.send(GetStatus(3).pack())
        self.assertEqual(client.answers, [StatusPiece(3, True, b'{"member":true,"records":0}')])

    def test_impossible_answer(self) -> None:
        """An answer that cannot be packed is a bug that is logged; the connection and its bounds go on."""
        client = self.client()
        self.dht.held = []
        client.send(PutConfirmed(1, 0, 0, KEY, b"value").pack())
        client.protocol._answer = lambda raw: 1 // 0  # type: ignore[method-assign,assignment]
        self.dht.release()
        del client.protocol._answer
        client.send(Get(KEY).pack())
        self.assertEqual(client.answers, [Success(KEY, b"value")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.door._under_way_bytes, 0)


class SplittingTests(ApiTestCase):
    def conversation(self) -> list[bytes]:
        """A recorded conversation: every message, values of many lengths, keys written twice."""
        rng = random.Random(7)
        keys = [rng.randbytes(32) for _ in range(5)]
        sent = [Get(keys[0]).pack(), GetStatus(1).pack()]
        for number in range(12):
            key = keys[number % len(keys)]
            value = rng.randbytes(rng.choice((1, 3, 40, 200)))
            if number % 3:
                sent.append(Put(number % 4, number % 3, key, value).pack())
            else:
                sent.append(PutConfirmed(number, 60, 0, key, value).pack())
            sent += [Get(key).pack(), Get(rng.choice(keys)).pack()]
        return [*sent, Delete(99, keys[1]).pack(), Get(keys[1]).pack()]

    def answers_to(self, chunks: Sequence[bytes]) -> tuple[bytes, bool, int]:
        """What a client gets, whether its connection was ended, and whether the node was shut down."""
        self.dht = MemoryDht(self.clock)
        self.door = self.make_door()
        client = self.client()
        for chunk in chunks:
            if client.transport.producerState == "producing":
                client.protocol.dataReceived(chunk)
        is_ended = client.transport.disconnecting
        client.lose()
        return b"".join(client.transport.writes), is_ended, self.dht.left

    def test_random_splittings(self) -> None:
        """A thousand random splittings of one conversation get the same answers, byte for byte."""
        rng = random.Random(11)
        talk = b"".join(self.conversation())
        for ending in b"", Shutdown().pack(), Shutdown().pack() + b"never read", Success(KEY, b"x").pack() + talk:
            raw = talk + ending
            expected = self.answers_to([raw])
            self.assertGreater(len(expected[0]), 1000)
            for _ in range(120 * SOAK):
                cuts = sorted(rng.choices(range(len(raw) + 1), k=rng.choice((1, 2, 5, 40))))
                chunks = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
                if self.answers_to(chunks) != expected:
                    self.fail(f"cut at {cuts}")

    def test_single_bytes(self) -> None:
        """Bytes that come one by one get the same answers as well."""
        raw = b"".join(self.conversation())
        self.assertEqual(self.answers_to([raw[at : at + 1] for at in range(len(raw))]), self.answers_to([raw]))


class ViolationTests(ApiTestCase):
    def test_connection_ends(self) -> None:
        """Whoever breaks the rules loses this connection, with one log line that names it; nobody else notices."""
        for raw, reason in (
            (b"\x00\x03\x02\x8b", "it sent a message of size 3; its header alone has 4 bytes"),
            (b"\x00\x23\x02\x8b", "it sent GET of size 35; it has 36"),
            (b"\x00\x28\x02\x8a", "it sent PUT of size 40; it has 41 to 65535"),
            (b"\x00\x05\x02\x8e", "it sent SHUTDOWN of size 5; it has 4"),
            (b"\x00\x24\x03\x00", "it sent a message of the unknown type 768"),
            (Success(KEY, b"x").pack(), "it sent SUCCESS from a client"),
            (Failure(KEY).pack(), "it sent FAILURE from a client"),
        ):
            bystander, client = self.client(), self.client()
            before = len(self.warnings())
            client.send(raw)
            bystander.send(Get(KEY).pack())
            self.assertEqual(self.warnings()[before:], [reason])
            self.assertTrue(client.transport.disconnecting, reason)
            self.assertEqual((bystander.answers, bystander.transport.disconnecting), ([Failure(KEY)], False))
        self.assertEqual({event["address"] for event in self.log if "address" in event}, {"127.0.0.1:50000"})
        self.assertEqual(self.dht.left, 0)

    def test_answers_owed(self) -> None:
        """What was asked in front of a violation is still carried out and answered; what stands behind it is not."""
        client = self.client()
        self.dht.held = []
        client.send(Put(0, 0, KEY, b"value").pack(), Get(KEY).pack(), b"\x00\x00\x00\x00", Get(OTHER).pack())
        self.assertEqual((client.transport.disconnecting, client.is_paused), (False, True))
        self.dht.release()
        self.assertEqual((client.answers, client.transport.disconnecting), ([Success(KEY, b"value")], True))

    def test_answers_owed_but_not_read(self) -> None:
        """Whoever breaks the rules and does not read what it is owed is cut off after a while, and nothing is held."""
        reader, client = self.client(), self.client()
        self.dht.put(KEY, b"value")
        for one in reader, client:
            one.transport.is_full = True
            one.send(Get(KEY).pack(), b"\x00\x00\x00\x00")
            self.assertTrue(one.transport.disconnecting)
        reader.lose()
        self.clock.advance(READ_WITHIN_S - 0.5)
        self.assertFalse(client.transport.disconnected)
        self.clock.advance(0.5)
        self.assertTrue(client.transport.disconnected)
        self.assertEqual(self.door._held_bytes, 0)
        client.lose()
        self.assertEqual((self.clock.getDelayedCalls(), self.door.connections), ([], 0))
        self.assertFalse(reader.transport.disconnected)

    def test_half_closed_may_read_slowly(self) -> None:
        """Who only said that it sends no more may take its time to read."""
        client = self.client()
        client.transport.is_full = True
        client.send(Get(KEY).pack())
        client.protocol.readConnectionLost()
        self.clock.advance(100 * READ_WITHIN_S)
        self.assertFalse(client.transport.disconnected)

    def test_lines_are_summed_up(self) -> None:
        """A program that breaks the rules on one connection after another writes one line, not a full log."""
        for port in range(50_000, 50_100):
            self.client(IPv4Address("TCP", "127.0.0.1", port)).send(b"\x00\x03\x02\x8b")
        self.assertEqual(len(self.warnings()), 1)
        self.assertEqual(self.door.refusals.count, 100)

    def test_connections_are_bounded(self) -> None:
        """Beyond the bound a client is turned away, with a line that says so; when one leaves, there is room again."""
        self.door = ApiFactory(self.dht, self.clock, self.stop, connections_max=2)
        first, _ = self.client(), self.client()
        self.assertIsNone(self.door.buildProtocol(LOCAL))
        self.assertEqual(self.warnings(), ["more than 2 connections"])
        first.lose()
        self.client().send(Get(KEY).pack())

    def test_bound_of_connections(self) -> None:
        """Clients have what descriptors links do not need, and always a few."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.assertLess(connections_bound() + links_bound(), max(soft, 32))

    def test_message_that_never_completes(self) -> None:
        """A message that is not complete in its time ends the connection, also when its bytes still trickle in."""
        silent, trickling, idle = self.client(), self.client(), self.client()
        silent.send(Put(0, 0, KEY, b"x" * 100).pack()[:50])
        trickling.send(Put(0, 0, KEY, b"x" * 100).pack()[:50])
        for _ in range(int(COMPLETE_WITHIN_S) - 1):
            self.clock.advance(1)
            trickling.send(b"x")
        self.assertEqual(self.warnings(), [])
        self.clock.advance(1)
        self.assertEqual(self.warnings(), [f"its message is not complete {COMPLETE_WITHIN_S:g} s after it began"])
        self.assertEqual(self.door.refusals.count, 2)
        self.assertEqual([client.transport.disconnecting for client in (silent, trickling, idle)], [True, True, False])

    def test_slow_but_complete(self) -> None:
        """Messages that each complete in their time may go on for ever, and idle connections stay."""
        client = self.client()
        raw = Get(KEY).pack()
        for _ in range(4):
            client.send(raw[:20])
            self.clock.advance(COMPLETE_WITHIN_S * 0.7)
            client.send(raw[20:] + raw[:20])
            self.clock.advance(COMPLETE_WITHIN_S * 0.7)
            client.send(raw[20:])
        self.clock.advance(10 * COMPLETE_WITHIN_S)
        self.assertEqual((client.answers, client.transport.disconnecting), ([Failure(KEY)] * 8, False))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_names_of_clients(self) -> None:
        """The log names clients as people write addresses."""
        for peer in IPv6Address("TCP", "::1", 5), UNIXAddress(None):
            self.client(peer).send(b"\x00" * 4)
        self.assertEqual([event["address"] for event in self.log], ["[::1]:5", "on the Unix socket"])


class ShutdownTests(ApiTestCase):
    def test_four_bytes(self) -> None:
        """Exactly four bytes are enough: the node leaves, then its process is told to end; others are served still."""
        client, bystander = self.client(), self.client()
        self.dht.held = []
        client.send(b"\x00\x04\x02\x8e")
        self.assertEqual((self.dht.left, self.stopped, client.transport.disconnecting), (1, 0, False))
        held, self.dht.held = self.dht.held, None
        bystander.send(Get(KEY).pack())
        held[0]()
        self.assertEqual((self.stopped, bystander.answers), (1, [Failure(KEY)]))

    def test_what_follows(self) -> None:
        """Whatever follows SHUTDOWN is ignored, glued to it or not; asking twice is asking once."""
        client, other = self.client(), self.client()
        client.send(Shutdown().pack(), Put(0, 0, KEY, b"value").pack(), b"\x00\x00\x00\x00")
        other.send(Shutdown().pack())
        self.assertEqual((self.dht.left, self.stopped, self.dht.puts, self.warnings()), (1, 1, [], []))

    def test_leaving_fails(self) -> None:
        """A bug in leaving does not keep the process from ending."""

        def broken() -> Deferred[None]:
            raise ValueError("a bug")

        self.dht.leave = broken  # type: ignore[method-assign]
        self.client().send(Shutdown().pack())
        self.assertEqual(self.stopped, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_only_from_here(self) -> None:
        """SHUTDOWN is taken from this machine only, unless it is allowed."""
        for peer, is_taken in (
            (IPv4Address("TCP", "127.8.8.8", 1), True),
            (IPv6Address("TCP", "::1", 1), True),
            (IPv6Address("TCP", "::ffff:127.0.0.1", 1), True),
            (UNIXAddress(None), True),
            (IPv4Address("TCP", "192.0.2.1", 1), False),
            (IPv6Address("TCP", "2001:db8::1", 1), False),
        ):
            self.door = self.make_door()
            before = self.stopped
            client = self.client(peer)
            client.send(Shutdown().pack())
            self.assertEqual(self.stopped - before, int(is_taken), peer)
            self.assertEqual(client.transport.disconnecting, not is_taken, peer)
        reason = "it sent SHUTDOWN from beyond this machine, which is not allowed here"
        self.assertEqual(self.warnings(), [reason, reason])

    def test_allowed_from_beyond(self) -> None:
        """Where it is allowed, SHUTDOWN is taken from anywhere."""
        self.door = self.make_door(shutdown_beyond_loopback=True)
        self.client(IPv4Address("TCP", "192.0.2.1", 1)).send(Shutdown().pack())
        self.assertEqual(self.stopped, 1)


class OperateTests(ApiTestCase):
    """OPERATE: what carries it out is the test."""

    def make_door(self, shutdown_beyond_loopback: bool = False) -> ApiFactory:
        self.asked: list[tuple[bytes, bool]] = []
        self.tell: list[Tell] = []
        self.done: list[Deferred[None]] = []

        def operate(text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]:
            self.asked.append((text, is_operators))
            self.tell.append(tell)
            self.done.append(Deferred())
            return self.done[-1]

        return ApiFactory(self.dht, self.clock, self.stop, operate=operate)

    def text(self, client: Client, request_id: int = 1) -> bytes:
        pieces = [answer for answer in client.answers if isinstance(answer, Piece) and answer.request_id == request_id]
        return b"".join(piece.text for piece in pieces)

    def test_lines(self) -> None:
        """Each line goes out when it is told, in as many pieces as it needs; the last piece says so. Other questions
        are answered meanwhile.
        """
        client = self.client()
        client.send(Operate(1, b'{"do":"export"}').pack(), Get(KEY).pack())
        self.assertEqual(self.asked, [(b'{"do":"export"}', False)])
        self.assertEqual(client.answers, [Failure(KEY)])
        self.successResultOf(self.tell[0](b"short"))
        self.successResultOf(self.tell[0](b"x" * 100_000))
        self.assertEqual(self.text(client), b"short\n" + b"x" * 100_000 + b"\n")
        self.done[0].callback(None)
        self.assertEqual(client.answers[-1], Piece(1, True, b""))
        self.assertEqual([answer.is_last for answer in client.answers if isinstance(answer, Piece)].count(True), 1)

    def test_operators(self) -> None:
        """Whoever comes over the Unix socket is the operator's."""
        self.client(UNIXAddress("")).send(Operate(1, b"{}").pack())
        self.client().send(Operate(1, b"{}").pack())
        self.assertEqual([is_operators for _, is_operators in self.asked], [True, False])

    def test_slow_reader(self) -> None:
        """A client that does not read what it is told makes the telling wait, not the node hold it."""
        client = self.client()
        client.send(Operate(1, b"{}").pack())
        client.transport.is_full = True
        waiting = self.tell[0](b"line")
        self.assertNoResult(waiting)
        client.transport.is_full = False
        client.protocol.resumeProducing()
        self.successResultOf(waiting)

    def test_gone(self) -> None:
        """What is under way for a client that is gone is given up, and so it is when the node closes."""
        client, other = self.client(), self.client()
        client.send(Operate(1, b"{}").pack())
        other.send(Operate(1, b"{}").pack())
        given_up: list[int] = []
        for number, done in enumerate(self.done):
            done._canceller = lambda _, number=number: given_up.append(number)
        client.lose()
        self.assertEqual(given_up, [0])
        self.door.close()
        self.assertEqual(given_up, [0, 1])
        self.assertEqual(other.answers, [Piece(1, True, b"")])
        self.assertTrue(other.transport.disconnecting)

    def test_a_bug(self) -> None:
        """An error of ours ends the answer, and is logged."""
        client = self.client()
        client.send(Operate(1, b"{}").pack())
        self.done[0].errback(ZeroDivisionError())
        self.assertEqual(client.answers, [Piece(1, True, b"")])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_bounded(self) -> None:
        """So many of one connection are under way at once; further ones wait unread."""
        client = self.client()
        client.send(*[Operate(number, b"{}").pack() for number in range(40)])
        self.assertEqual(len(self.asked), UNDER_WAY_BYTES_MAX // OPERATION_BYTES)
        self.done[0].callback(None)
        self.assertEqual(len(self.asked), UNDER_WAY_BYTES_MAX // OPERATION_BYTES + 1)


class BoundTests(ApiTestCase):
    def test_questions_under_way(self) -> None:
        """A client that asks more at once than one may is not read until answers are there; none is lost."""
        client = self.client()
        self.dht.held = []
        client.send(Get(KEY).pack() * (SLOTS + 10))
        self.assertEqual((len(self.dht.held), client.is_paused), (SLOTS, True))
        self.dht.held.pop(0)()
        self.assertEqual((len(self.dht.held), client.is_paused), (SLOTS, True))
        self.dht.release()
        self.assertEqual((len(client.answers), client.is_paused), (SLOTS + 10, False))

    def test_long_values_count_more(self) -> None:
        """PUTs are counted by their values, so that a connection cannot hold many long ones."""
        client = self.client()
        self.dht.held = []
        client.send(Put(0, 0, KEY, b"x" * VALUE_BYTES_MAX).pack() * 80)
        self.assertEqual(len(self.dht.puts), 65)
        self.dht.release()
        self.assertEqual((len(self.dht.puts), client.is_paused), (80, False))

    def test_questions_of_all(self) -> None:
        """All clients together have a bound; whoever came first is served first when there is room again."""
        crowd = [self.client() for _ in range(ALL_UNDER_WAY_BYTES_MAX // UNDER_WAY_BYTES_MAX)]
        self.dht.held = []
        for client in crowd:
            client.send(Get(KEY).pack() * SLOTS)
        first, second = self.client(), self.client()
        first.send(Get(KEY).pack() * 2)
        second.send(Get(OTHER).pack() * 2)
        self.assertEqual((first.is_paused, second.is_paused), (True, True))
        self.assertEqual(len(self.dht.held), SLOTS * len(crowd))
        for _ in range(2):
            self.dht.held.pop(0)()
        # Now one question of each of the two is under way; their answers make room for the second ones.
        one_of_first, one_of_second = self.dht.held[-2:]
        one_of_first()
        one_of_second()
        self.assertEqual((first.answers, second.answers), ([Failure(KEY)], [Failure(OTHER)]))
        self.dht.held.remove(one_of_first)
        self.dht.held.remove(one_of_second)
        self.dht.release()
        self.assertEqual((first.answers, second.answers), ([Failure(KEY)] * 2, [Failure(OTHER)] * 2))
        self.assertEqual((first.is_paused, second.is_paused), (False, False))
        self.assertEqual({len(client.answers) for client in crowd}, {SLOTS})

    def test_room_for_many(self) -> None:
        """Those who waited for room are served one after another, not each from within the other."""
        self.dht.held = []
        for _ in range(ALL_UNDER_WAY_BYTES_MAX // UNDER_WAY_BYTES_MAX):
            self.client().send(Get(KEY).pack() * SLOTS)
        waiting = [self.client() for _ in range(500)]
        for client in waiting:
            client.send(PutConfirmed(1, 0, 0, KEY, b"value").pack())
        self.dht.release()
        self.assertEqual({len(client.answers) for client in waiting}, {1})
        self.assertEqual(self.door._under_way_bytes, 0)

    def test_client_that_reads_at_once(self) -> None:
        """A transport that is full and empty again within one write changes nothing."""
        self.dht.put(KEY, b"x" * 60_000)
        client = self.client()

        def write(data: bytes) -> None:
            client.transport.writes.append(data)
            client.protocol.pauseProducing()
            client.protocol.resumeProducing()

        client.transport.write = write  # type: ignore[method-assign]
        client.send(Get(KEY).pack() * 5)
        self.assertEqual(client.answers, [Success(KEY, b"x" * 60_000)] * 5)

    def test_client_that_does_not_read(self) -> None:
        """Who does not read answers is not read either, until it has read everything; nothing is lost."""
        self.dht.put(KEY, b"x" * 30_000)
        client = self.client()
        client.transport.is_full = True
        client.send(Get(KEY).pack() * 20)
        self.assertEqual((len(client.answers), client.is_paused), (3, True))
        client.transport.is_full = False
        client.protocol.resumeProducing()
        self.assertEqual((len(client.answers), client.is_paused), (20, False))

    def test_long_answers(self) -> None:
        """Long answers are not joined without end, before the transport can say stop."""
        self.dht.put(KEY, b"x" * 30_000)
        client = self.client()
        client.send(Get(KEY).pack() * 20)
        longest = max(len(write) for write in client.transport.writes)
        self.assertTrue(JOINED_BYTES_MAX <= longest < JOINED_BYTES_MAX + 30_036, longest)

    def test_memory_of_all(self) -> None:
        """When all together hold too much, the client that holds most is dropped, and nobody else."""
        self.dht.put(KEY, b"x" * 60_000)
        modest, client = self.client(), self.client()
        modest.send(Put(0, 0, OTHER, b"x" * 60_000).pack()[:-1])
        hoarders = []
        while not self.warnings():
            hoarders.append(self.client())
            hoarders[-1].transport.is_full = True
            self.dht.held = []
            hoarders[-1].send(Get(KEY).pack() * SLOTS)
            self.dht.release()
            self.assertLessEqual(self.door._held_bytes, CLIENTS_HELD_BYTES_MAX)
        self.assertEqual(len(self.warnings()), 1)
        dropped = [hoarder for hoarder in hoarders if hoarder.transport.disconnected]
        self.assertEqual(len(dropped), 1)
        dropped[0].lose()
        client.send(Get(KEY).pack())
        modest.send(b"x", Get(OTHER).pack())
        self.assertEqual(client.answers, [Success(KEY, b"x" * 60_000)])
        self.assertEqual(modest.answers, [Success(OTHER, b"x" * 60_000)])

    def test_memory_of_rule_breakers(self) -> None:
        """What is owed to clients that broke the rules counts like what others do not read."""
        self.dht.put(KEY, b"x" * 60_000)
        written = 0
        while not any("hold most" in reason for reason in self.warnings()):
            client = self.client()
            client.transport.is_full = True
            self.dht.held = []
            client.send(Get(KEY).pack() * (SLOTS - 1), b"\x00\x00\x00\x00")
            self.dht.release()
            written += sum(map(len, client.transport.writes))
            self.assertLess(written, CLIENTS_HELD_BYTES_MAX * 1.1)
        self.assertLessEqual(self.door._held_bytes, CLIENTS_HELD_BYTES_MAX)

    def test_memory_of_clients_that_are_gone(self) -> None:
        """What clients leave that come and go while there is no room counts; what is kept is still carried out."""
        self.dht.held = []
        for _ in range(ALL_UNDER_WAY_BYTES_MAX // UNDER_WAY_BYTES_MAX):
            self.client().send(Get(OTHER).pack() * SLOTS)
        modest, raw = Put(0, 0, OTHER, b"x" * 1000).pack(), Put(0, 0, KEY, b"x" * 60_000).pack()
        bystander = self.client()
        bystander.send(modest)
        versioned = (CLIENTS_HELD_BYTES_MAX - len(modest)) // (len(raw) + GONE_BYTES)
        for count in range(1, versioned + 5):
            client = self.client()
            client.send(raw)
            client.lose()
            self.assertLessEqual(self.door._held_bytes, CLIENTS_HELD_BYTES_MAX)
            self.assertEqual(self.door.refusals.count, max(0, count - versioned))
        self.assertEqual(self.dht.puts, [])
        self.dht.release()
        self.assertEqual([key for key, *_ in self.dht.puts].count(KEY), versioned)
        self.assertIn(OTHER, [key for key, *_ in self.dht.puts])
        self.assertEqual((self.door._held_bytes, self.door._under_way_bytes), (0, 0))
        self.assertEqual((self.door._waiting, self.door._gone), ({}, {}))
        self.assertFalse(bystander.transport.disconnected)

    def test_gone_with_a_full_hand(self) -> None:
        """So does what waits for its client's own questions that are under way."""
        client = self.client()
        self.dht.held = []
        put = Put(0, 0, KEY, b"value").pack()
        client.send(Get(OTHER).pack() * SLOTS, put)
        client.lose()
        self.assertEqual(self.door._held_bytes, GONE_BYTES + len(put))
        client.protocol.drop("it is too much")
        self.dht.release()
        self.assertEqual((self.door._held_bytes, self.door._gone, self.dht.puts), (0, {}, []))

    def test_gone_with_nothing_left(self) -> None:
        """Who goes while there is no room, and left nothing, is not kept."""
        self.dht.held = []
        for _ in range(ALL_UNDER_WAY_BYTES_MAX // UNDER_WAY_BYTES_MAX):
            self.client().send(Get(OTHER).pack() * SLOTS)
        self.client().lose()
        self.assertEqual((self.door._held_bytes, self.door._gone), (0, {}))

    def test_nothing_held_afterwards(self) -> None:
        """When its clients are gone the door holds nothing of theirs."""
        clients = [self.client() for _ in range(5)]
        for client in clients:
            client.transport.is_full = True
            client.send(Get(KEY).pack(), Put(0, 0, KEY, b"x" * 500).pack()[:-1])
        for client in clients:
            client.lose()
        self.assertEqual((self.door._held_bytes, self.door._under_way_bytes, self.door.connections), (0, 0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ClosingTests(ApiTestCase):
    def test_no_clients(self) -> None:
        """Without clients the door is closed at once."""
        self.assertIsNone(self.successResultOf(self.door.close()))

    def test_close(self) -> None:
        """Closing ends every connection, and is done when the last one is gone."""
        clients = [self.client(), self.client()]
        closed = self.door.close()
        self.assertEqual([client.transport.disconnecting for client in clients], [True, True])
        clients[0].lose()
        self.assertNoResult(closed)
        clients[1].lose()
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_answers_owed(self) -> None:
        """What is under way is answered first; nothing more is taken."""
        client = self.client()
        self.dht.held = []
        client.send(Get(KEY).pack())
        self.door.close()
        client.send(Get(OTHER).pack())
        self.assertFalse(client.transport.disconnecting)
        self.dht.release()
        self.assertEqual((client.answers, client.transport.disconnecting), ([Failure(KEY)], True))

    def test_already_ending(self) -> None:
        """A connection that ends already is waited for like the others."""
        client = self.client()
        client.send(b"\x00" * 4)
        closed = self.door.close()
        client.lose()
        self.assertIsNone(self.successResultOf(closed))

    def test_client_that_does_not_read(self) -> None:
        """A client that does not read its last answers is given a moment, then its connection is cut."""
        client = self.client()
        closed = self.door.close()
        self.clock.advance(CONNECTIONS_CLOSE_WITHIN_S)
        self.assertTrue(client.transport.disconnected)
        client.lose()
        self.assertIsNone(self.successResultOf(closed))
