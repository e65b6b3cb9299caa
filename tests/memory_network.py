"""Sockets in memory, on one clock: what `PeerPool` needs of a reactor, without ports, threads or waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IListeningPort, IReactorTime, ITransport
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

BUFFER_BYTES = 65_536
"""What a transport takes before it asks its producer to pause, as Twisted's do."""


def address(host: str, port: int) -> IPv4Address | IPv6Address:
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)


class MemoryNetwork:
    """Hosts that can dial one another. `settle` lets everything happen that is due.

    @ivar silent: hosts that nothing reaches and that nobody hears of, as behind a cut cable.
    @ivar dial_errors: what dials fail with, one each, before they do anything.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.ports: dict[tuple[str, int], Factory] = {}
        self.silent: set[str] = set()
        self.dial_errors: list[Exception] = []
        self.dials: list[tuple[str, int, str]] = []
        self.transports: list[MemoryTransport] = []
        self._next_port = 40_000

    def settle(self) -> None:
        """Deliver what was written until nothing moves any more; no time passes."""
        for _ in range(10_000):
            due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
            if not due:
                return
            self.clock.advance(0)
        raise AssertionError("it never settles")

    def pass_time(self, seconds: float, step_s: float = 0.05) -> None:
        """Let time pass, in steps."""
        ends_at = self.clock.seconds() + seconds
        self.settle()
        while self.clock.seconds() < ends_at - 1e-9:
            self.clock.advance(min(step_s, ends_at - self.clock.seconds()))
            self.settle()

    def connect(self, factory: ClientFactory, connector: MemoryConnector) -> None:
        host, port = connector.destination
        if connector.stopped or host in self.silent or connector.origin in self.silent:
            return
        accepting = self.ports.get((host, port)) or self.ports.get(("", port))
        if accepting is None:
            connector.fail(ConnectionRefusedError())
            return
        connector.done()
        self._next_port += 1
        theirs = address(host, port)
        ours = address(connector.origin or host, self._next_port)
        dialled, accepted = factory.buildProtocol(theirs), accepting.buildProtocol(ours)
        assert dialled is not None
        one, other = MemoryTransport(self, dialled, ours, theirs), MemoryTransport(self, accepted, theirs, ours)
        one.other, other.other = other, one
        self.transports += one, other
        if accepted is not None:
            accepted.makeConnection(other)
        dialled.makeConnection(one)
        if accepted is None:
            other.loseConnection()

    def links(self) -> list[tuple[str, str]]:
        """Hosts of the two ends of each open connection, the dialler's first."""
        pairs = zip(self.transports[::2], self.transports[1::2], strict=True)
        return [(one.host.host, other.host.host) for one, other in pairs if one.is_up and other.is_up]


@implementer(IReactorTime)
class MemoryReactor:
    """`IReactorTime` and as much of `IReactorTCP` as the nodes of one process need."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network

    def seconds(self) -> float:
        return self._network.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        return self._network.clock.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return self._network.clock.getDelayedCalls()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryPort:
        if (interface, port) in self._network.ports:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self._network.ports[interface, port] = factory
        return MemoryPort(self._network, interface, port)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> MemoryConnector:
        network = self._network
        origin = "" if bindAddress is None else bindAddress[0]
        network.dials.append((host, port, origin))
        connector = MemoryConnector(network, factory, (host, port), origin, timeout)
        if network.dial_errors:
            network.clock.callLater(0, connector.fail, network.dial_errors.pop(0))
        else:
            network.clock.callLater(0, network.connect, factory, connector)
        return connector


@implementer(IListeningPort)
class MemoryPort:
    """A listening port."""

    def __init__(self, network: MemoryNetwork, host: str, port: int) -> None:
        self._network = network
        self._at = (host, port)

    def startListening(self) -> None:
        raise CannotListenError(*self._at, OSError("listens already"))

    def stopListening(self) -> None:
        self._network.ports.pop(self._at, None)

    def getHost(self) -> IAddress:
        return address(*self._at)


@implementer(IConnector)
class MemoryConnector:
    """An attempt to connect."""

    def __init__(
        self,
        network: MemoryNetwork,
        factory: ClientFactory,
        destination: tuple[str, int],
        origin: str,
        timeout: float,
    ) -> None:
        self.destination = destination
        self.origin = origin
        self.stopped = False
        self._factory = factory
        self._limit = network.clock.callLater(timeout, self._too_late)

    def done(self) -> None:
        self.stopped = True
        self._limit.cancel()

    def fail(self, error: Exception) -> None:
        if not self.stopped:
            self.done()
            self._factory.clientConnectionFailed(self, Failure(error))

    def _too_late(self) -> None:
        self.stopped = True
        self._factory.clientConnectionFailed(self, Failure(TimeoutError()))

    def stopConnecting(self) -> None:
        self.fail(UserError())

    def disconnect(self) -> None:
        self.stopConnecting()

    def connect(self) -> None:
        raise AssertionError("connects already")

    def getDestination(self) -> IAddress:
        return address(*self.destination)


@implementer(ITransport)
class MemoryTransport:
    """One end of a connection.

    @ivar reads: False while its protocol has paused it.
    """

    other: MemoryTransport

    def __init__(self, network: MemoryNetwork, protocol: Any, host: IPv4Address | IPv6Address, peer: IAddress) -> None:
        self.protocol = protocol
        self.host = host
        self.peer = peer
        self.reads = True
        self.is_up = True
        self.disconnecting = False
        self.aborted = False
        self.received: list[bytes] = []
        self._network = network
        self._waiting = bytearray()
        self._producer: Any = None
        self._producer_paused = False
        self._moving = False

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(data)
        if not self.is_up or self.disconnecting:
            return
        self._waiting += data
        if self._producer is not None and len(self._waiting) > BUFFER_BYTES and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()
        self._move_soon()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._move_soon()

    def abortConnection(self) -> None:
        if self.is_up:
            self.aborted = True
            self._waiting.clear()
            self._network.clock.callLater(0, self._down, ConnectionLost(), ConnectionLost())

    def crash(self) -> None:
        """End as when the process of this end dies: the other end sees the stream end."""
        self._network.clock.callLater(0, self._down, ConnectionLost(), ConnectionDone())

    def getPeer(self) -> Any:
        return self.peer

    def getHost(self) -> Any:
        return self.host

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self._producer is None
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pauseProducing(self) -> None:
        self.reads = False

    def resumeProducing(self) -> None:
        self.reads = True
        self.other._move_soon()

    def stopProducing(self) -> None:
        self.loseConnection()

    def _move_soon(self) -> None:
        if not self._moving:
            self._moving = True
            self._network.clock.callLater(0, self._move)

    def _move(self) -> None:
        self._moving = False
        if not self.is_up or {self.host.host, self.other.host.host} & self._network.silent:
            return
        if self._waiting and self.other.reads:
            moved = bytes(self._waiting)
            self._waiting.clear()
            self.other.received.append(moved)
            if self.other.protocol is not None and not self.other.disconnecting:
                self.other.protocol.dataReceived(moved)
            if self._producer is not None and self._producer_paused:
                self._producer_paused = False
                self._producer.resumeProducing()
        if self.disconnecting and not self._waiting:
            self._down(ConnectionDone(), ConnectionDone())

    def _down(self, ours: Exception, theirs: Exception) -> None:
        if not self.is_up:
            return
        self.is_up = False
        if self.protocol is not None:
            self.protocol.connectionLost(Failure(ours))
        other = self.other
        if other.is_up and not {self.host.host, other.host.host} & self._network.silent:
            other.is_up = False
            if other.protocol is not None:
                other.protocol.connectionLost(Failure(theirs))
