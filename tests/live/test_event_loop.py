"""The reactor of a process that runs nodes, on sockets."""

from __future__ import annotations

from socket import AF_UNIX, SO_SNDBUF, SOCK_STREAM, SOL_SOCKET, socket, socketpair
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection, Server
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.event_loop import NodeEventLoop


class Heard(Protocol):
    """Notes what comes."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None
        self.fails = False

    def dataReceived(self, data: bytes) -> None:
        if self.fails:
            raise ValueError("a fault of ours")
        self.received += data

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.lost = reason


class EventLoopTests(SynchronousTestCase):
    """Turns are done one by one."""

    def setUp(self) -> None:
        """Two connections."""
        self.loop: Any = NodeEventLoop()
        (self.ours, self.heard), (self.other, _) = self.connection(), self.connection()

    def connection(self) -> tuple[Connection, Heard]:
        near, far = socketpair(AF_UNIX, SOCK_STREAM)
        near.setblocking(False)
        far.setblocking(False)
        near.setsockopt(SOL_SOCKET, SO_SNDBUF, 4096)
        self.addCleanup(far.close)
        heard = Heard()
        connection = Unnamed(near, heard, self.loop)
        self.addCleanup(connection.stopReading)
        heard.makeConnection(connection)
        connection.startReading()
        self.far: socket = far
        return connection, heard

    def test_writes_at_once(self) -> None:
        """What is written goes out in the same turn, and epoll is never asked to watch for it."""
        self.other.write(b"hello")
        self.assertEqual(self.loop.getWriters(), [self.other])
        self.loop.doIteration(0)
        self.assertEqual(self.far.recv(100), b"hello")
        self.assertEqual((self.loop.getWriters(), self.loop._writes), ([], set()))

    def test_takes_no_more(self) -> None:
        """What the other end does not take goes out when it does, in order and once."""
        sent = b"".join(b"%07d " % number for number in range(50_000))
        self.other.write(sent)
        received = b""
        while len(received) < len(sent):
            self.loop.doIteration(0)
            received += self.far.recv(1 << 16)
        self.assertEqual(received, sent)
        self.loop.doIteration(0)
        self.assertEqual(self.loop.getWriters(), [])

    def test_closes(self) -> None:
        """A connection that is let go ends once all is written."""
        self.other.write(b"good-bye")
        self.other.loseConnection()
        self.loop.doIteration(0)
        self.assertEqual(self.far.recv(100), b"good-bye")
        self.assertEqual(self.far.recv(100), b"")

    def test_fault(self) -> None:
        """What fails for one connection ends that one only, and is logged."""
        _, heard = self.connection()
        heard.fails = True
        self.far.send(b"x")
        self.other.write(b"y")
        self.loop.doIteration(0)
        self.assertIsNotNone(heard.lost)
        self.assertIsNone(self.heard.lost)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_forgets_all(self) -> None:
        """At the end those that still had to write are listed too."""
        self.other.stopReading()
        self.other.write(b"x")
        self.assertIn(self.other, self.loop.removeAll())


class Unnamed(Server):
    """A connection of which nobody asks where it comes from."""

    repstr = logstr = "a connection"

    def __init__(self, near: socket, protocol: Protocol, reactor: Any) -> None:
        Connection.__init__(self, near, protocol, reactor)
        self.connected = True
