"""The API from the other side: a program's connection to its node, with a Deferred for every question.

A complete program::

    import chordtwist
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react


    async def main(reactor):
        dht = await chordtwist.connect(reactor, "127.0.0.1:7401")
        result = await dht.put_confirmed("greeting", b"good morning", ttl_s=600)
        print(f"{result.copies} of {result.wanted} copies")
        print(await dht.get("greeting"))
        await dht.close()


    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))

`chordtwist.aio` is the same for programs of asyncio. Both are in ``examples``.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from chordtwist.core.address import parse_api_address
from chordtwist.core.errors import ChordtwistError, Malformed
from chordtwist.core.errors import NodeGone as NodeGone
from chordtwist.core.records import PutResult, Seal
from chordtwist.core.records import key_of as key_of
from chordtwist.core.records import seal as seal
from chordtwist.net.api_address import dialling_endpoint
from chordtwist.net.failures import in_words
from chordtwist.wire.api_exchange import Exchange, Settle
from chordtwist.wire.api_messages import Shutdown

T = TypeVar("T")


def connect(reactor: Any, address: str = "127.0.0.1:7401") -> Deferred[DhtClient]:
    """Connect to the node whose API is at `address`, HOST:PORT or unix:PATH; fails with `NodeGone`.

    @raise ValueError: that is no address.
    """
    return DhtClient.connect(dialling_endpoint(reactor, parse_api_address(address)))


@implementer(IPushProducer)
class DhtClient(Protocol):
    """A connection to a node's API. Any number of questions may be under way; none waits for the answer to another.

    A key is its 32 bytes, or the name that people know it by, as `key_of` takes it.

    When the connection is lost, what is under way fails with `NodeGone`, and so does what is asked afterwards.
    Cancelling a Deferred gives up waiting for its answer; the question has been asked all the same.
    """

    def __init__(self) -> None:
        self._exchange = Exchange()
        self._is_full = False
        self._until_room: list[Deferred[None]] = []
        self._until_end: list[Deferred[None]] = []
        # Why nothing can be asked any more.
        self._error: ChordtwistError | None = None
        self._is_gone = False

    @classmethod
    def connect(cls, endpoint: IStreamClientEndpoint) -> Deferred[DhtClient]:
        """Connect to the node that `endpoint` reaches; fails with `NodeGone`."""

        def unreachable(reason: TwistedFailure) -> DhtClient:
            if reason.check(ConnectingCancelledError):  # which addTimeout does not know
                raise CancelledError from None
            # Twisted calls a host name that it will not look up a ValueError.
            reason.trap(ConnectError, DNSLookupError, ValueError)
            raise NodeGone(None, f"no node answers there: {in_words(reason.value)}") from None

        connected: Deferred[DhtClient] = connectProtocol(endpoint, cls())
        return connected.addErrback(unreachable)

    def put(self, key: bytes | str, value: bytes, ttl_s: int = 0, replication: int = 0) -> Deferred[None]:
        """Store `value` for `ttl_s` seconds (0: the node's default), in so many copies (0: as usual).

        Nobody says whether that comes true: the Deferred only fires when the next one may be sent, which is at once
        unless the node is slower than we are.
        """
        raw = self._exchange.put(key, value, ttl_s, replication)
        if self._error is not None:
            return fail(self._error)
        self._transport.write(raw)
        return self._room()

    def put_confirmed(
        self, key: bytes | str, value: bytes, ttl_s: int = 0, replication: int = 0, seal: Seal | None = None
    ) -> Deferred[PutResult]:
        """Store `value` and say what became of it: copies made and wanted, version, life.

        Fails with `Refused` when another record stands there by right, and with `Unreachable` when too few nodes
        confirmed it; it may be stored here and there even so.
        """
        answered: Deferred[PutResult] = Deferred()
        settle = _settling(answered)
        return self._ask(self._exchange.put_confirmed(settle, key, value, ttl_s, replication, seal), answered)

    def get(self, key: bytes | str) -> Deferred[bytes | None]:
        """Get the value under `key`; None where the node has found none, or too few others have answered to know."""
        answered: Deferred[bytes | None] = Deferred()
        return self._ask(self._exchange.get(_settling(answered), key), answered)

    def delete(self, key: bytes | str, seal: Seal | None = None) -> Deferred[PutResult]:
        """Put an end to the record under `key`; like `put_confirmed`. A signed record's end is sealed by its owner."""
        answered: Deferred[PutResult] = Deferred()
        return self._ask(self._exchange.delete(_settling(answered), key, seal), answered)

    def status(self) -> Deferred[dict[str, Any]]:
        """Ask for the node's state; the fields of ``chordtwist status --json``."""
        answered: Deferred[dict[str, Any]] = Deferred()
        return self._ask(self._exchange.status(_settling(answered)), answered)

    def shutdown(self) -> Deferred[None]:
        """Ask the node to leave its ring and end; fires when it has ended the connection.

        A node that takes no SHUTDOWN from here ends the connection as well, at once, and goes on.
        """
        if self._error is not None:
            return fail(self._error)
        self._transport.write(Shutdown().pack())
        return self._end()

    def close(self) -> Deferred[None]:
        """End the connection when everything is sent; fires when it is closed. What is under way fails."""
        if self._error is None:
            self._give_up(NodeGone(None, "this connection to the node was closed"))
            self._transport.unregisterProducer()
            self._transport.loseConnection()
        return self._end()

    # Called by Twisted

    def connectionMade(self) -> None:
        """Begin, since the node is there."""
        transport: Any = self.transport
        self._transport = transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Take answers, or parts of them; once nothing is awaited any more they are passed over."""
        try:
            self._exchange.receive(data)
        except Malformed as error:
            self._give_up(error)
            self._transport.abortConnection()

    def connectionLost(self, reason: TwistedFailure = connectionDone) -> None:
        """Fail what waits: the connection is gone, and with it every answer that is not here."""
        self._is_gone = True
        self._give_up(NodeGone(None, f"the connection to the node is gone: {in_words(reason.value)}"))
        ends, self._until_end = self._until_end, []
        for end in ends:
            end.callback(None)

    def pauseProducing(self) -> None:
        """Hold back what is asked, since the node takes no more at the moment."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """Write on, since the node took everything."""
        self._is_full = False
        until_room, self._until_room = self._until_room, []
        for room in until_room:
            room.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: the connection is gone, and `connectionLost` sees to it."""

    # Inside

    def _ask(self, raw: bytes, answered: Deferred[T]) -> Deferred[T]:
        if self._error is not None:
            self._exchange.give_up(self._error)
        else:
            self._transport.write(raw)
        return answered

    def _room(self) -> Deferred[None]:
        if not self._is_full:
            return succeed(None)
        room: Deferred[None] = Deferred()
        self._until_room.append(room)
        return room

    def _end(self) -> Deferred[None]:
        if self._is_gone:
            return succeed(None)
        end: Deferred[None] = Deferred()
        self._until_end.append(end)
        return end

    def _give_up(self, error: ChordtwistError) -> None:
        if self._error is None:
            self._error = error
        self._exchange.give_up(self._error)
        until_room, self._until_room = self._until_room, []
        for room in until_room:
            room.errback(self._error)


def _settling(answered: Deferred[T]) -> Settle[T]:
    def settle(answer: T | ChordtwistError) -> None:
        if isinstance(answer, ChordtwistError):
            answered.errback(answer)
        else:
            answered.callback(answer)

    return settle
