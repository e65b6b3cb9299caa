"""The API from the other side: a program's connection to its node, with a Deferred for every question.

A complete program::

    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from chordtwist.core.address import Address
    from chordtwist.net.api_address import dialling_endpoint
    from chordtwist.net.client import DhtClient, key_of


    async def main(reactor):
        client = await DhtClient.connect(dialling_endpoint(reactor, Address("127.0.0.1", 7401)))
        result = await client.put_confirmed(key_of("greeting"), b"good morning", ttl_s=600)
        print(f"{result.copies} of {result.wanted} copies")
        print(await client.get(key_of("greeting")))
        await client.close()


    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))

A program of asyncio runs Twisted on its own loop, and turns each Deferred into a future with ``asFuture``. Both are in
``docs/examples``.
"""

from __future__ import annotations

from collections import defaultdict, deque
from hashlib import sha256
from string import hexdigits
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure as TwistedFailure
from zope.interface import implementer

from chordtwist.core.errors import ChordtwistError, Malformed, Refused, Unreachable
from chordtwist.core.records import KEY_BYTES, VALUE_BYTES_MAX, PutResult, Seal
from chordtwist.core.signed import Signer, pack_record
from chordtwist.net.failures import in_words
from chordtwist.wire.api_messages import (
    STATUS_BYTES_MAX,
    TTL_S_MAX,
    AnswerReader,
    ApiAnswer,
    Delete,
    Failure,
    Get,
    GetStatus,
    Outcome,
    Put,
    PutConfirmed,
    ResultCode,
    Shutdown,
    StatusPiece,
    Success,
    unpack_state,
)

T = TypeVar("T")

_REQUEST_IDS = 1 << 32


class NodeGone(Unreachable):
    """The node itself cannot be reached, or the connection to it is gone; of others it says `Unreachable` alone."""


def key_of(name: str) -> bytes:
    """Find the key that people mean by `name`: 64 hexadecimal digits as they are, of anything else the SHA-256.

    @raise ValueError: the name is empty, as a variable that nobody has set.
    """
    if not name:
        raise ValueError("an empty name; a key has a name, or 64 hexadecimal digits")
    if len(name) == 2 * KEY_BYTES and not set(name) - set(hexdigits):
        return bytes.fromhex(name)
    return sha256(name.encode(errors="surrogateescape")).digest()


def seal(signer: Signer, value: bytes, seq: int, salt: bytes = b"", expected_seq: int | None = None) -> Seal:
    """Seal `value` for a signed record under ``signed_key(signer.public, salt)``: only the owner of the key can write
    there, and only with ever higher `seq`; with `expected_seq`, only in place of the record that has it (0: of none).
    """
    signature = signer.sign(pack_record(salt, seq, sha256(value).digest()))
    return Seal(signer.public, salt, seq, signature, expected_seq)


@implementer(IPushProducer)
class DhtClient(Protocol):
    """A connection to a node's API. Any number of questions may be under way; none waits for the answer to another.

    When the connection is lost, what is under way fails with `NodeGone`, and so does what is asked afterwards.
    Cancelling a Deferred gives up waiting for its answer; the question has been asked all the same.
    """

    def __init__(self) -> None:
        self._reader = AnswerReader()
        self._getting: defaultdict[bytes, deque[Deferred[bytes | None]]] = defaultdict(deque)
        self._changing: dict[int, Deferred[PutResult]] = {}
        self._describing: dict[int, Deferred[dict[str, Any]]] = {}
        self._described: dict[int, bytearray] = {}
        self._asked = 0
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
            # Twisted calls a host name that it will not look up a ValueError.
            reason.trap(ConnectError, DNSLookupError, ValueError)
            raise NodeGone(None, f"no node answers there: {in_words(reason.value)}") from None

        connected: Deferred[DhtClient] = connectProtocol(endpoint, cls())
        return connected.addErrback(unreachable)

    def put(self, key: bytes, value: bytes, ttl_s: int = 0, replication: int = 0) -> Deferred[None]:
        """Store `value` for `ttl_s` seconds (0: the node's default), in so many copies (0: as usual).

        Nobody says whether that comes true: the Deferred only fires when the next one may be sent, which is at once
        unless the node is slower than we are.
        """
        _check(key, value)
        if not 0 <= ttl_s <= TTL_S_MAX:
            raise ValueError(f"a TTL of {ttl_s} s; from 0 to {TTL_S_MAX}, or put_confirmed")
        if self._error is not None:
            return fail(self._error)
        self._transport.write(Put(ttl_s, _replication(replication), key, value).pack())
        return self._room()

    def put_confirmed(
        self, key: bytes, value: bytes, ttl_s: int = 0, replication: int = 0, seal: Seal | None = None
    ) -> Deferred[PutResult]:
        """Store `value` and say what became of it: copies made and wanted, version, life.

        Fails with `Refused` when another record stands there by right, and with `Unreachable` when too few nodes
        confirmed it; it may be stored here and there even so.
        """
        _check(key, value)
        if not 0 <= ttl_s < 1 << 32:
            raise ValueError(f"a TTL of {ttl_s} s; from 0 to {(1 << 32) - 1}")
        request_id = self._request_id()
        message = PutConfirmed(request_id, ttl_s, _replication(replication), key, value, seal)
        return self._ask(message.pack(), self._changing, request_id)

    def get(self, key: bytes) -> Deferred[bytes | None]:
        """Get the value under `key`, or None."""
        _check(key)
        if self._error is not None:
            return fail(self._error)
        self._transport.write(Get(key).pack())
        found: Deferred[bytes | None] = Deferred()
        self._getting[key].append(found)
        return found

    def delete(self, key: bytes, seal: Seal | None = None) -> Deferred[PutResult]:
        """Put an end to the record under `key`; like `put_confirmed`. A signed record's end is sealed by its owner."""
        _check(key)
        request_id = self._request_id()
        return self._ask(Delete(request_id, key, seal).pack(), self._changing, request_id)

    def status(self) -> Deferred[dict[str, Any]]:
        """Ask for the node's state; the fields of ``chordtwist status --json``."""
        request_id = self._request_id()
        return self._ask(GetStatus(request_id).pack(), self._describing, request_id)

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
        if self._error is not None:
            return
        self._reader.feed(data)
        try:
            # Whoever gets an answer may close the connection, which still has to send what was put before.
            while self._error is None and (answer := self._reader.take()) is not None:
                self._answered(answer)
        except Malformed as error:
            self._give_up(Malformed(f"the node sent {error}"))
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
            raise Malformed(f"an answer under the number {answer.request_id}, which nobody asked")

    def _found(self, key: bytes, value: bytes | None) -> None:
        waiting = self._getting.get(key)
        if waiting is None:
            raise Malformed(f"an answer to a GET of {key.hex()} that nobody asked")
        found = waiting.popleft()
        if not waiting:
            del self._getting[key]
        found.callback(value)

    def _changed(self, outcome: Outcome) -> None:
        changed = self._changing.pop(outcome.request_id, None)
        if changed is None:
            raise Malformed(f"an answer under the number {outcome.request_id}, which nobody asked")
        if outcome.code is ResultCode.DONE:
            changed.callback(outcome.result)
        elif outcome.code is ResultCode.REFUSED:
            changed.errback(Refused(outcome.reason))
        else:
            changed.errback(Unreachable(None, outcome.reason))

    def _told(self, piece: StatusPiece) -> None:
        if piece.request_id not in self._describing:
            raise Malformed(f"an answer under the number {piece.request_id}, which nobody asked")
        text = self._described.setdefault(piece.request_id, bytearray())
        text += piece.text
        if len(text) > STATUS_BYTES_MAX:
            raise Malformed(f"a status of more than {STATUS_BYTES_MAX} bytes")
        if piece.is_last:
            state = unpack_state(self._described.pop(piece.request_id))
            self._describing.pop(piece.request_id).callback(state)

    def _ask(self, raw: bytes, waiting: dict[int, Deferred[T]], request_id: int) -> Deferred[T]:
        if self._error is not None:
            return fail(self._error)
        self._transport.write(raw)
        answered = waiting[request_id] = Deferred()
        return answered

    def _request_id(self) -> int:
        self._asked = (self._asked + 1) % _REQUEST_IDS
        return self._asked

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
        under_way: list[Deferred[Any]] = [found for waiting in self._getting.values() for found in waiting]
        under_way += [*self._changing.values(), *self._describing.values(), *self._until_room]
        for waiting in self._getting, self._changing, self._describing, self._until_room:
            waiting.clear()
        for deferred in under_way:
            deferred.errback(self._error)


def _check(key: bytes, value: bytes = b"x") -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes; it has {KEY_BYTES}")
    if not 1 <= len(value) <= VALUE_BYTES_MAX:
        raise ValueError(f"a value of {len(value)} bytes; from 1 to {VALUE_BYTES_MAX}")


def _replication(copies: int) -> int:
    if not 0 <= copies <= 255:
        raise ValueError(f"{copies} copies; from 0 to 255")
    return copies
