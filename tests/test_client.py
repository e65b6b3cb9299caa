"""The client side of the API: answers find their questions, and nothing waits for ever."""

from __future__ import annotations

import gc
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure as TwistedFailure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.address import Address, UnixAddress
from chordtwist.core.errors import Malformed, Refused, Unreachable
from chordtwist.core.records import (
    SALT_BYTES_MAX,
    SEQ_MAX,
    VALUE_BYTES_MAX,
    PutResult,
    Seal,
    Version,
    signed_key,
)
from chordtwist.core.signed import Ed25519Signer
from chordtwist.net.api import ApiFactory
from chordtwist.net.api_address import dialling_endpoint
from chordtwist.net.client import DhtClient, NodeGone, key_of, seal
from chordtwist.wire.api_messages import (
    STATUS_BYTES_MAX,
    TTL_S_MAX,
    Failure,
    Get,
    Outcome,
    Put,
    QuestionReader,
    ResultCode,
    Shutdown,
    StatusPiece,
    Success,
)
from tests.memory_dht import MemoryDht

KEY, OTHER = b"k" * 32, b"o" * 32


class KeyTests(SynchronousTestCase):
    def test_hexadecimal(self) -> None:
        """64 hexadecimal digits of either case are the key itself."""
        self.assertEqual(key_of("0aF" + "0" * 61), bytes.fromhex("0af" + "0" * 61))

    def test_names(self) -> None:
        """Anything else is hashed: other lengths, other letters, other digits, any Unicode."""
        names = ("abc", "a" * 63, "g" * 64, "١" * 64, " ")
        self.assertEqual([key_of(name) for name in names], [sha256(name.encode()).digest() for name in names])
        self.assertRaises(ValueError, key_of, "")

    def test_seals(self) -> None:
        """A seal that no message can carry is an error of the program; the node would end the connection."""
        signer = Ed25519Signer(b"s" * 32)
        seal(signer, b"value", SEQ_MAX, b"s" * SALT_BYTES_MAX, SEQ_MAX)
        for wrong in (
            (-1, b"", None),
            (SEQ_MAX + 1, b"", None),
            (1, b"", -1),
            (1, b"", SEQ_MAX + 1),
            (1, b"s" * (SALT_BYTES_MAX + 1), None),
        ):
            self.assertRaises(ValueError, seal, signer, b"value", *wrong)


class ConversationTests(SynchronousTestCase):
    """A client and a node that talk through memory."""

    def setUp(self) -> None:
        """They are connected."""
        self.clock = Clock()
        self.dht = MemoryDht(self.clock)
        self.stopped = 0
        door = ApiFactory(self.dht, self.clock, self.stop)
        self.client, node = DhtClient(), door.buildProtocol(None)
        here = IPv4Address("TCP", "127.0.0.1", 50_000)
        transports = FakeTransport(node, True, peerAddress=here), FakeTransport(self.client, False)
        self.pump: IOPump = connect(node, transports[0], self.client, transports[1])

    def stop(self) -> None:
        self.stopped += 1

    def result(self, deferred: Deferred[Any]) -> Any:
        self.pump.flush()
        return self.successResultOf(deferred)

    def test_put_and_get(self) -> None:
        """What was put is got, byte for byte; what was not is None."""
        value = bytes(range(256)) * 255
        self.result(self.client.put(KEY, value, 60, 2))
        self.assertEqual(self.dht.puts, [(KEY, value, 60, 2)])
        self.assertEqual(self.result(self.client.get(KEY)), value)
        self.assertIsNone(self.result(self.client.get(OTHER)))

    def test_put_confirmed(self) -> None:
        """A confirmed put says what became of it, also with a life longer than the course's PUT can say."""
        result = self.result(self.client.put_confirmed(KEY, b"x" * VALUE_BYTES_MAX, 80_000, 3))
        self.assertEqual((result.copies, result.wanted, result.ttl_ms), (3, 3, 80_000_000))

    def test_refused(self) -> None:
        """A refused put fails with the node's reason."""
        signer = Ed25519Signer(b"s" * 32)
        seal = Seal(signer.public, b"", 1, b"\x00" * 64)
        refused = self.client.put_confirmed(signed_key(signer.public, b""), b"value", seal=seal)
        self.pump.flush()
        self.assertEqual(str(self.failureResultOf(refused, Refused).value), "the seal does not hold")

    def test_signed(self) -> None:
        """The owner of a key writes under it, in place of exactly what it expects."""
        signer = Ed25519Signer(b"s" * 32)
        key = signed_key(signer.public, b"name")
        self.result(self.client.put_confirmed(key, b"one", seal=seal(signer, b"one", 1, b"name", 0)))
        self.result(self.client.put_confirmed(key, b"two", seal=seal(signer, b"two", 2, b"name", 1)))
        late = self.client.put_confirmed(key, b"three", seal=seal(signer, b"three", 3, b"name", 1))
        self.pump.flush()
        self.failureResultOf(late, Refused)
        self.assertEqual(self.result(self.client.get(key)), b"two")

    def test_delete(self) -> None:
        """What was deleted is gone."""
        self.client.put(KEY, b"value")
        self.assertEqual(self.result(self.client.delete(KEY)).ttl_ms, 0)
        self.assertIsNone(self.result(self.client.get(KEY)))

    def test_many_under_way(self) -> None:
        """Thousands of questions may be under way on one connection; each gets its own answer."""
        puts = [self.client.put_confirmed(bytes([n % 256]) * 32, b"%d" % n) for n in range(256)]
        gets = [self.client.get(bytes([n % 256]) * 32) for n in range(2000)]
        status = self.client.status()
        self.pump.flush()
        self.assertEqual(len({self.successResultOf(put).version for put in puts}), 256)
        self.assertEqual([self.successResultOf(get) for get in gets], [b"%d" % (n % 256) for n in range(2000)])
        self.assertEqual(self.successResultOf(status), self.dht.state)

    def test_long_status(self) -> None:
        """A status longer than one message comes whole."""
        self.dht.state = {"fingers": ["x" * 64] * 3000}
        self.assertEqual(self.result(self.client.status()), self.dht.state)

    def test_shutdown(self) -> None:
        """The node is told to leave; the Deferred fires when it has ended the connection."""
        self.dht.held = []
        ended = self.client.shutdown()
        self.pump.flush()
        self.assertEqual((self.dht.left, self.stopped), (1, 0))
        self.dht.release()
        self.pump.flush()
        self.assertEqual(self.stopped, 1)
        self.assertNoResult(ended)
        self.pump.server.transport.loseConnection()
        self.assertIsNone(self.result(ended))

    def test_close(self) -> None:
        """Closing sends what was put before, fails what is under way, and may be done twice."""
        self.dht.held = []
        got = self.client.get(OTHER)
        self.client.put(KEY, b"value")
        closed = [self.client.close(), self.client.close()]
        self.assertIn("was closed", str(self.failureResultOf(got, NodeGone).value))
        self.pump.flush()
        self.assertEqual([self.successResultOf(one) for one in closed], [None, None])
        self.assertEqual([key for key, *_ in self.dht.puts], [KEY])
        self.assertIsNone(self.successResultOf(self.client.close()))


class ClientTests(SynchronousTestCase):
    """A client whose node is played by the test, message by message."""

    def setUp(self) -> None:
        """It is connected."""
        self.transport = StringTransport()
        self.client = DhtClient()
        self.client.makeConnection(self.transport)

    def lose(self) -> None:
        self.client.connectionLost(TwistedFailure(ConnectionDone()))

    def asked(self) -> list[object]:
        """What the client sent."""
        reader = QuestionReader()
        reader.feed(self.transport.value())
        found: list[object] = []
        while (question := reader.take()) is not None:
            found.append(question)
        return found

    def test_bytes(self) -> None:
        """The course's messages leave as the course writes them."""
        self.client.put(KEY, b"value")
        self.client.get(KEY)
        self.client.shutdown()
        self.assertEqual(self.asked(), [Put(0, 0, KEY, b"value"), Get(KEY), Shutdown()])

    def test_any_order(self) -> None:
        """Answers may come in any order; those to GETs of one key are taken in the order in which they were asked."""
        first, other, second = self.client.get(KEY), self.client.get(OTHER), self.client.get(KEY)
        raw = Success(KEY, b"one").pack() + Success(KEY, b"two").pack() + Failure(OTHER).pack()
        for at in range(len(raw)):
            self.client.dataReceived(raw[at : at + 1])
        self.assertEqual(
            [self.successResultOf(d) for d in (first, second, other)],
            [b"one", b"two", None],
        )

    def test_closed_meanwhile(self) -> None:
        """A program may close with the first of several answers: the others are passed over, and all is sent."""
        for size in (1, 60, 1000):
            self.setUp()
            first, other, last = self.client.get(KEY), self.client.get(OTHER), self.client.get(OTHER)
            first.addCallback(lambda value: self.client.close())
            raw = Success(KEY, b"value").pack() + Failure(OTHER).pack() + Success(OTHER, b"value").pack()
            for at in range(0, len(raw), size):
                self.client.dataReceived(raw[at : at + size])
            for given_up in other, last:
                self.failureResultOf(given_up, NodeGone)
            self.assertEqual((self.transport.disconnecting, self.transport.disconnected), (True, False), size)

    def test_cancelled(self) -> None:
        """The answer to a question that was cancelled is not taken for that of another."""
        gone, wanted = self.client.get(KEY), self.client.get(KEY)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.client.dataReceived(Success(KEY, b"one").pack() + Success(KEY, b"two").pack())
        self.assertEqual(self.successResultOf(wanted), b"two")

    def test_failed(self) -> None:
        """A put that too few nodes confirmed fails with the node's reason."""
        put = self.client.put_confirmed(KEY, b"value")
        nothing = PutResult(0, 0, Version(0, b""), 0)
        self.client.dataReceived(Outcome(1, ResultCode.FAILED, nothing, "nobody is there").pack())
        self.assertEqual(str(self.failureResultOf(put, Unreachable).value), "nobody is there")

    def test_lost(self) -> None:
        """When the connection is lost everything under way fails, and so does everything afterwards."""
        self.client.pauseProducing()
        under_way: list[Deferred[Any]] = [
            self.client.get(KEY),
            self.client.get(KEY),
            self.client.put_confirmed(KEY, b"value"),
            self.client.delete(KEY),
            self.client.status(),
            self.client.put(KEY, b"value"),
        ]
        ended = self.client.shutdown()
        self.lose()
        under_way += [
            self.client.get(KEY),
            self.client.put(KEY, b"value"),
            self.client.put_confirmed(KEY, b"value"),
            self.client.status(),
            self.client.shutdown(),
        ]
        reasons = {str(self.failureResultOf(deferred, NodeGone).value) for deferred in under_way}
        self.assertEqual(reasons, {"the connection to the node is gone: Connection was closed cleanly"})
        self.assertIsNone(self.successResultOf(ended))

    def test_room(self) -> None:
        """A put's Deferred waits while the node takes nothing, so that a program can wait as well."""
        self.assertIsNone(self.successResultOf(self.client.put(KEY, b"value")))
        self.client.pauseProducing()
        put = self.client.put(KEY, b"value")
        self.assertNoResult(put)
        self.client.resumeProducing()
        self.assertIsNone(self.successResultOf(put))

    def test_nonsense(self) -> None:
        """A node that answers nonsense is left at once, and what is under way fails with what it did wrong."""
        for raw, expected in (
            (b"\x00" * 4, "the node sent a message of size 0; its header alone has 4 bytes"),
            (Failure(OTHER).pack(), f"the node sent an answer to a GET of {OTHER.hex()} that nobody asked"),
            (
                Outcome(9, ResultCode.DONE, PutResult(1, 1, Version(1, b""), 1)).pack(),
                "the node sent an answer under the number 9, which nobody asked",
            ),
            (StatusPiece(9, False, b"{").pack(), "the node sent an answer under the number 9, which nobody asked"),
            (StatusPiece(1, True, b"nonsense").pack(), "the node sent a status that cannot be read: "),
            (
                StatusPiece(1, False, b"x" * 60_000).pack() * 70,
                f"the node sent a status of more than {STATUS_BYTES_MAX} bytes",
            ),
        ):
            self.setUp()
            asked = self.client.status()
            self.client.dataReceived(raw)
            reason = str(self.failureResultOf(asked, Malformed).value)
            self.assertTrue(reason.startswith(expected), reason)
            self.assertTrue(self.transport.disconnected, expected)
            self.lose()
            self.failureResultOf(self.client.get(KEY), Malformed)

    def test_impossible_questions(self) -> None:
        """What no message can carry is an error of the program, and nothing is sent."""
        half: Any = 1.5
        for ask in (
            lambda: self.client.get(b"short"),
            lambda: self.client.put(KEY, b""),
            lambda: self.client.put(KEY, b"x" * (VALUE_BYTES_MAX + 1)),
            lambda: self.client.put(KEY, b"x", TTL_S_MAX + 1),
            lambda: self.client.put_confirmed(KEY, b"x", 1 << 32),
            lambda: self.client.put_confirmed(KEY, b"x", -1),
            lambda: self.client.put_confirmed(KEY, b"x", half),
            lambda: self.client.put(KEY, b"x", -half),
            lambda: self.client.put(KEY, b"x", 1, half),
            lambda: self.client.put(KEY, b"x", 1, 256),
            lambda: self.client.delete(b""),
        ):
            self.assertRaises(ValueError, ask)
        self.assertEqual(self.transport.value(), b"")

    def test_wrong_types(self) -> None:
        """What cannot be packed was never asked: closing the client tells nobody, and leaves no error behind."""
        wrong: Any = "a text"
        self.assertRaises(TypeError, self.client.put_confirmed, KEY, wrong)
        self.assertRaises(TypeError, self.client.get, 7)
        self.assertRaises(AttributeError, self.client.delete, KEY, wrong)
        self.client.close()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])


class ConnectTests(SynchronousTestCase):
    def test_connected(self) -> None:
        """The Deferred fires with a client that can be asked at once."""
        reactor = MemoryReactorClock()
        connected = DhtClient.connect(dialling_endpoint(reactor, UnixAddress(Path("/run/node.sock"))))
        _, factory, *_ = reactor.unixClients[0]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.successResultOf(connected).get(KEY)
        self.assertEqual(transport.value(), Get(KEY).pack())

    def test_nobody(self) -> None:
        """Where no node listens the Deferred fails and says so."""
        reactor = MemoryReactorClock()
        connected = DhtClient.connect(dialling_endpoint(reactor, UnixAddress(Path("/run/node.sock"))))
        _, factory, *_ = reactor.unixClients[0]
        factory.clientConnectionFailed(None, TwistedFailure(ConnectionRefusedError(osError=111)))
        reason = str(self.failureResultOf(connected, NodeGone).value)
        self.assertEqual(reason, "no node answers there: Connection refused")

    def test_given_up(self) -> None:
        """A connection may have a time limit as every question may, and be cancelled."""
        reactor = MemoryReactorClock()
        endpoint = dialling_endpoint(reactor, Address("127.0.0.1", 7401))
        late = DhtClient.connect(endpoint).addTimeout(1, reactor)
        reactor.advance(1)
        self.failureResultOf(late, TimeoutError)
        cancelled = DhtClient.connect(endpoint)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)

    def test_impossible_name(self) -> None:
        """Nor is anybody behind a name that nobody can look up."""
        connected = DhtClient.connect(dialling_endpoint(MemoryReactorClock(), Address("xn--a", 7401)))
        reason = str(self.failureResultOf(connected, NodeGone).value)
        self.assertEqual(reason, "no node answers there: invalid hostname: xn--a")
