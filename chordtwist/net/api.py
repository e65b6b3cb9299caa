"""The API's server side: what clients ask over their connections, put to a hash table, and the bounds on it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from enum import Enum
from functools import partial
from ipaddress import IPv6Address, ip_address
from itertools import chain
from typing import Any, TypeVar

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.errors import ChordtwistError, Malformed, Refused
from chordtwist.core.records import PutResult, Record
from chordtwist.net.bounds import JOINED_BYTES_MAX, links_bound
from chordtwist.net.operating import CarryOut, Telling
from chordtwist.net.refusals import Because, Refusals
from chordtwist.node.interfaces import IDht
from chordtwist.wire.api_messages import (
    NOTHING_STORED,
    ApiQuestion,
    Delete,
    Get,
    GetStatus,
    Operate,
    Outcome,
    Put,
    PutConfirmed,
    QuestionReader,
    ResultCode,
    pack_found,
    pack_state,
)

T = TypeVar("T")

COST_BYTES_MIN = 16_384
"""What a question under way is reckoned at, at least: a search holds tables, however short its key is."""

GET_BYTES = 65_536
"""What a GET under way is reckoned at: its answer may have come from a replica long before it can be written."""

OPERATION_BYTES = 262_144
"""What an OPERATE under way is reckoned at: what it gathers, such as the tables of a ring. 16 of one connection."""

UNDER_WAY_BYTES_MAX = 4_194_304
"""Questions of one connection under way at once: 64 GETs, or PUTs of the longest value. Further ones wait unread."""

ALL_UNDER_WAY_BYTES_MAX = 16_777_216
"""Questions of all connections under way at once: 256 GETs. Whoever asks next waits behind them at the replicas."""

CLIENTS_HELD_BYTES_MAX = 67_108_864
"""What all connections together may make us hold: messages that are not complete, answers that nobody reads, and what
waits for room of clients that are gone. Beyond it the connection that holds most is dropped, since pausing alone does
not help against many that never read, nor against many that come and go."""

GONE_BYTES = 2_048
"""What a client that is gone is reckoned at besides its messages that wait: nothing else bounds how many there are."""

COMPLETE_WITHIN_S = 60.0
"""From the first byte of a message to its last: the longest needs no more at 10 kbit/s."""

CONNECTIONS_MAX = 65_536
"""Clients connected at once where the system sets no bound on descriptors."""

DESCRIPTORS_LEFT = 256
"""Kept for the store, the log, ports that listen, and dials that have come to nothing."""

READ_WITHIN_S = 10.0
"""For a client that broke the rules to read what it is owed: then its connection is cut."""

CONNECTIONS_CLOSE_WITHIN_S = 1.0
"""For questions under way to be answered, and answers to be read, when the node closes its connections."""


def connections_bound() -> int:
    """How many clients may be connected: all of the descriptors that this process may open and its links do not."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(8, soft - links_bound() - DESCRIPTORS_LEFT)


class ApiFactory(Factory):
    """The door for clients of the API: makes their protocols, and keeps the bounds that they share."""

    noisy = False
    _log = Logger()

    def __init__(
        self,
        dht: IDht,
        clock: IReactorTime,
        on_shutdown: Callable[[], object],
        shutdown_beyond_loopback: bool = False,
        connections_max: int | None = None,
        operate: CarryOut | None = None,
    ) -> None:
        """@param on_shutdown: called once, when the node has left because a client sent SHUTDOWN; ends the process.
        @param operate: what carries out OPERATE; without it such a message breaks the rules.
        """
        self.dht = dht
        self.clock = clock
        self.shutdown_beyond_loopback = shutdown_beyond_loopback
        self.refusals = Refusals(clock, "API client {address} is dropped: {reason}{more}")
        self.operate = operate
        self._connections_max = connections_bound() if connections_max is None else connections_max
        self._on_shutdown = on_shutdown
        # Dictionaries where sets would do: whoever came first is served first.
        self._connections: dict[ApiProtocol, None] = {}
        self._waiting: dict[ApiProtocol, None] = {}
        # Clients that are gone, with messages that wait for room.
        self._gone: dict[ApiProtocol, None] = {}
        self._under_way_bytes = 0
        self._held_bytes = 0
        self._is_waking = False
        self._is_leaving = False
        self._closed: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> ApiProtocol | None:
        """Make the connection of one more client, or None beyond the bound: then Twisted closes it at once."""
        if len(self._connections) >= self._connections_max:
            host = getattr(addr, "host", "on the Unix socket")
            self.refusals.tell(host, f"more than {self._connections_max} connections", Because.CROWD)
            return None
        protocol = ApiProtocol(self)
        protocol.factory = self
        return protocol

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def status(self) -> dict[str, int]:
        """Count clients, and what was refused of them, as plain values."""
        return {"connected": len(self._connections), "refused": self.refusals.count}

    def close(self) -> Deferred[None]:
        """End every connection as soon as its client has the answers it waits for; cut it off when it takes too long.

        To be called once, when nobody listens any more; fires when no connection is left, `CONNECTIONS_CLOSE_WITHIN_S`
        later at the latest.
        """
        if not self._connections:
            return succeed(None)
        closed = self._closed = Deferred()
        deadline = self.clock.callLater(CONNECTIONS_CLOSE_WITHIN_S, self._abort)
        for connection in list(self._connections):
            connection.close()

        def all_closed(fired: None) -> None:
            if deadline.active():
                deadline.cancel()

        return closed.addCallback(all_closed)

    def _abort(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    # What the protocols tell

    def connected(self, connection: ApiProtocol) -> None:
        """Count a client."""
        self._connections[connection] = None

    def lost(self, connection: ApiProtocol) -> None:
        """Forget a client that is gone; what it sent may still wait for room."""
        del self._connections[connection]
        if self._closed is not None and not self._connections:
            closed, self._closed = self._closed, None
            closed.callback(None)

    def stays_behind(self, connection: ApiProtocol) -> None:
        """Keep a client that is gone, since messages of it wait for room."""
        self._gone[connection] = None

    def served_out(self, connection: ApiProtocol) -> None:
        """Forget a client that is gone, since nothing of it waits any more."""
        self._gone.pop(connection, None)

    def has_room(self, connection: ApiProtocol) -> bool:
        """Say whether one more question may be put to the hash table; if not, it is served when there is."""
        if self._under_way_bytes < ALL_UNDER_WAY_BYTES_MAX:
            return True
        self._waiting[connection] = None
        return False

    def begun(self, cost_bytes: int) -> None:
        """Count a question that is under way."""
        self._under_way_bytes += cost_bytes

    def done(self, cost_bytes: int) -> None:
        """Count a question as answered; serve those that waited for its room are served."""
        self._under_way_bytes -= cost_bytes
        if self._is_waking:
            return
        self._is_waking = True
        while self._waiting and self._under_way_bytes < ALL_UNDER_WAY_BYTES_MAX:
            connection = next(iter(self._waiting))
            del self._waiting[connection]
            connection.serve()
        self._is_waking = False

    def holding(self, more_bytes: int) -> None:
        """Count the bytes that a connection makes us hold: more, or less."""
        self._held_bytes += more_bytes
        while self._held_bytes > CLIENTS_HELD_BYTES_MAX:
            most = max(chain(self._connections, self._gone), key=lambda connection: connection.held_bytes)
            self._gone.pop(most, None)
            self._waiting.pop(most, None)
            most.drop("of all clients it makes the node hold most, and together they are beyond the bound")

    def leave(self) -> None:
        """Leave the ring, then end the process; a second time, nothing."""
        if not self._is_leaving:
            self._is_leaving = True
            left = maybeDeferred(self.dht.leave)
            left.addErrback(lambda reason: self._log.failure("while leaving", reason))
            left.addCallback(lambda fired: self._on_shutdown())


class ClientStage(Enum):
    """What a client's connection has come to."""

    SERVED = "served"
    """Its questions are carried out."""

    AT_END = "at end"
    """It sends nothing more; what it sent is carried out."""

    ENDING = "ending"
    """All that it sent is carried out; its connection ends when it has its answers."""

    IGNORED = "ignored"
    """What else it sends is not looked at: it sent SHUTDOWN."""

    DISMISSED = "dismissed"
    """The same, since it broke the rules or the node leaves; its connection ends when it has its answers."""

    LOST = "lost"
    """Its connection is gone; what it sent is carried out."""


# Needed for every chunk, and to look a member up in its class takes Python 3.11 another 0.1 us.
_SERVED, _ENDING, _LOST = ClientStage.SERVED, ClientStage.ENDING, ClientStage.LOST
_CARRIED_OUT = (ClientStage.SERVED, ClientStage.AT_END, ClientStage.LOST)
_IGNORES_INPUT = (ClientStage.IGNORED, ClientStage.DISMISSED)
_ENDS = (ClientStage.ENDING, ClientStage.DISMISSED)


@implementer(IPushProducer, IHalfCloseableProtocol)
class ApiProtocol(Protocol):
    """One client's connection.

    Every GET is answered once, in one write, in the order in which the answers are found; a PUT never is. It takes no
    more from its client than it can serve: while too much is under way, or the client does not read its answers, what
    it sends stays in the kernel's buffers, and in time the client itself has to wait.
    """

    _log = Logger()

    def __init__(self, door: ApiFactory) -> None:
        self._door = door
        self._dht = door.dht
        self._reader = QuestionReader()
        self._joined: list[bytes] = []
        self._joined_bytes = 0
        self._under_way_bytes = 0
        self._unread_bytes = 0
        self.held_bytes = 0
        self._since_s: float | None = None
        self._deadline: IDelayedCall | None = None
        self._stage = _SERVED
        self._is_serving = False
        self._is_full = False  # questions are left in the reader: too many are under way, here or everywhere
        self._operations: dict[Telling, Deferred[None]] = {}
        self._write_blocked = False  # the client does not read its answers
        self._input_paused = False

    def connectionMade(self) -> None:
        """Take in a client."""
        transport: Any = self.transport
        self._transport = transport
        if ITCPTransport.providedBy(transport) and not isinstance(transport.getHost(), UNIXAddress):
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        self._door.connected(self)

    def dataReceived(self, data: bytes) -> None:
        """Carry out what the client sent."""
        if self._stage not in _IGNORES_INPUT:
            self._reader.feed(data)
            self.serve()

    def readConnectionLost(self) -> None:
        """Answer what is asked already, since the client will send nothing more."""
        if self._stage is _SERVED:
            self._stage = ClientStage.AT_END
        self.serve()

    def writeConnectionLost(self) -> None:
        """Do nothing: this side does not half-close."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Carry out the PUTs that came over the connection, although it is gone."""
        self._stage = _LOST
        self._give_up_operations()
        self._write_blocked = False
        self._unread_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.serve()
        self._door.lost(self)

    def pauseProducing(self) -> None:
        """Serve no further: the transport holds all it wants to, since the client does not read."""
        self._write_blocked = True

    def resumeProducing(self) -> None:
        """Serve again: the client has read everything."""
        self._write_blocked = False
        self._unread_bytes = 0
        for telling in list(self._operations):
            telling.go_on()
        self.serve()

    def stopProducing(self) -> None:
        """Do nothing: the connection is gone, and `connectionLost` sees to it."""

    def close(self) -> None:
        """End this connection, once what was asked is answered and read; what an OPERATE still tells is cut short."""
        self._give_up_operations()
        self._ignore_input(ClientStage.DISMISSED)
        self._after_serving(False)

    def abort(self) -> None:
        """End this connection at once."""
        self._ignore_input(ClientStage.DISMISSED)
        self._unread_bytes = 0
        self._transport.abortConnection()

    def drop(self, reason: str) -> None:
        """End this connection at once, since the client makes it cost too much."""
        self._warn(reason)
        self.abort()
        self._report_held_bytes()

    # Serving

    def serve(self) -> None:
        """Carry out the questions that are here, as far as the bounds allow, and write what answers are ready."""
        if self._is_serving:
            return
        self._is_serving = True
        has_taken = self._is_full = False
        try:
            while self._stage in _CARRIED_OUT and not self._write_blocked:
                if self._under_way_bytes >= UNDER_WAY_BYTES_MAX or not self._door.has_room(self):
                    self._is_full = True
                    break
                question = self._reader.take()
                if question is None:
                    if self._stage is ClientStage.AT_END:
                        self._stage = _ENDING
                    break
                has_taken = True
                self._carry_out(question)
        except Malformed as error:
            self._dismiss(f"it sent {error}")
        finally:
            self._is_serving = False
        if self._joined:
            self._write_joined()
        self._after_serving(has_taken)

    def _carry_out(self, question: ApiQuestion) -> None:
        if isinstance(question, Get):
            self._get(question.key)
        elif isinstance(question, Put):
            self._put(question)
        elif isinstance(question, PutConfirmed):
            self._put_confirmed(question)
        elif isinstance(question, Delete):
            self._delete(question)
        elif isinstance(question, GetStatus):
            self._answer(pack_state(question.request_id, self._dht.status()))
        elif isinstance(question, Operate):
            self._operate(question)
        else:
            self._shutdown()

    def _get(self, key: bytes) -> None:
        if self._stage is _LOST:
            return
        found = maybeDeferred(self._dht.get, key)
        record = _at_hand(found)
        if record is not None:
            self._answer(pack_found(key, record.value))
        else:
            self._follow(found, GET_BYTES, partial(self._answer_get, key))

    def _answer_get(self, key: bytes, found: Record | Failure | None) -> None:
        if isinstance(found, Failure):
            # The client waits for its answer all the same, and the course has no other.
            if found.check(ChordtwistError) is None:
                self._log.failure("GET {key} failed", found, key=key.hex())
            else:
                self._log.debug("GET {key} came to nothing: {reason}", key=key.hex(), reason=found.value)
            found = None
        self._answer(pack_found(key, None if found is None else found.value))

    def _put(self, put: Put) -> None:
        stored = maybeDeferred(self._dht.put, put.key, put.value, put.ttl_s or None, put.replication or None)
        self._follow(stored, len(put.value), partial(self._note_put, put.key))

    def _note_put(self, key: bytes, result: PutResult | Failure) -> None:
        if isinstance(result, Failure):
            if result.check(ChordtwistError) is None:
                self._log.failure("PUT {key} failed", result, key=key.hex())
            else:
                self._log.debug("PUT {key} came to nothing: {reason}", key=key.hex(), reason=result.value)

    def _put_confirmed(self, put: PutConfirmed) -> None:
        stored = maybeDeferred(self._dht.put, put.key, put.value, put.ttl_s or None, put.replication or None, put.seal)
        self._follow(stored, len(put.value), partial(self._answer_outcome, put.request_id))

    def _delete(self, delete: Delete) -> None:
        deleted = maybeDeferred(self._dht.delete, delete.key, delete.seal)
        self._follow(deleted, GET_BYTES, partial(self._answer_outcome, delete.request_id))

    def _answer_outcome(self, request_id: int, result: PutResult | Failure) -> None:
        if not isinstance(result, Failure):
            self._answer(Outcome(request_id, ResultCode.DONE, result).pack())
        elif result.check(Refused):
            self._refuse(request_id, str(result.value))
        elif result.check(ChordtwistError):
            self._answer(Outcome(request_id, ResultCode.FAILED, NOTHING_STORED, str(result.value)).pack())
        else:
            self._log.failure("a confirmed put or delete failed", result)
            self._answer(
                Outcome(request_id, ResultCode.FAILED, NOTHING_STORED, "an error of the node; see its log").pack()
            )

    def _refuse(self, request_id: int, reason: str) -> None:
        self._answer(Outcome(request_id, ResultCode.REFUSED, NOTHING_STORED, reason).pack())

    def _shutdown(self) -> None:
        if not self._door.shutdown_beyond_loopback and not self._is_local():
            self._dismiss("it sent SHUTDOWN from beyond this machine, which is not allowed here")
            return
        self._ignore_input(ClientStage.IGNORED)
        self._log.info("API client {client} sent SHUTDOWN", client=self._client())
        self._door.leave()

    def _operate(self, question: Operate) -> None:
        carry_out = self._door.operate
        if carry_out is None:
            self._dismiss("it sent OPERATE, which nobody answers here")
            return
        if self._stage is _LOST:
            return
        telling = Telling(question.request_id, self._answer, lambda: self._write_blocked)
        is_operators = isinstance(self._transport.getPeer(), UNIXAddress)
        operated = self._operations[telling] = maybeDeferred(carry_out, question.text, is_operators, telling.tell)
        self._follow(operated, OPERATION_BYTES, partial(self._operated, telling))

    def _operated(self, telling: Telling, result: Failure | None) -> None:
        del self._operations[telling]
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("an OPERATE failed", result)
        if self._stage is not _LOST:
            telling.end()

    def _give_up_operations(self) -> None:
        for operated in list(self._operations.values()):
            operated.cancel()

    # Answers and bounds

    def _follow(self, outcome: Deferred[T], cost_bytes: int, finish: Callable[[T | Failure], None]) -> None:
        cost_bytes = max(cost_bytes, COST_BYTES_MIN)
        self._under_way_bytes += cost_bytes
        self._door.begun(cost_bytes)
        outcome.addBoth(self._finish, finish, cost_bytes)

    def _finish(self, result: T | Failure, finish: Callable[[T | Failure], None], cost_bytes: int) -> None:
        try:
            finish(result)
        except Exception:
            self._log.failure("while answering {client}", client=self._client())
        self._done(cost_bytes)

    def _done(self, cost_bytes: int) -> None:
        self._under_way_bytes -= cost_bytes
        self._door.done(cost_bytes)
        if self._is_full or self._stage is not _SERVED:
            self.serve()

    def _answer(self, raw: bytes) -> None:
        self._joined.append(raw)
        self._joined_bytes += len(raw)
        if not self._is_serving or self._joined_bytes >= JOINED_BYTES_MAX:
            self._write_joined()

    def _write_joined(self) -> None:
        raw = b"".join(self._joined)
        self._joined.clear()
        self._joined_bytes = 0
        self._transport.write(raw)
        if self._write_blocked:
            self._unread_bytes += len(raw)
            if not self._is_serving:
                self._report_held_bytes()

    def _after_serving(self, has_taken: bool) -> None:
        if self._stage is _LOST:
            self._keep_rest_or_nothing()
            return
        is_paused = self._is_full or self._write_blocked or self._stage is not _SERVED
        if is_paused is not self._input_paused:
            self._pause_or_resume_input(is_paused)
        if self._stage in _ENDS and self._under_way_bytes == 0:
            self._end()
        self._report_held_bytes()
        if is_paused or self._reader.held_bytes == 0:
            self._since_s = None
        elif has_taken or self._since_s is None:
            self._watch_incomplete()

    def _pause_or_resume_input(self, is_paused: bool) -> None:
        self._input_paused = is_paused
        if is_paused:
            self._transport.pauseProducing()
        else:
            self._transport.resumeProducing()

    def _watch_incomplete(self) -> None:
        # One timer is set again and again instead of one for each message: most messages are complete at once.
        self._since_s = self._door.clock.seconds()
        if self._deadline is None:
            self._deadline = self._door.clock.callLater(COMPLETE_WITHIN_S, self._look_at_deadline)

    def _keep_rest_or_nothing(self) -> None:
        # Of a client that is gone, what waits for room is kept; what is not complete never will be.
        if self._is_full and self._reader.held_bytes:
            self._unread_bytes = GONE_BYTES
            self._door.stays_behind(self)
        else:
            self._unread_bytes = 0
            self._reader = QuestionReader()
            self._door.served_out(self)
        self._report_held_bytes()

    def _look_at_deadline(self) -> None:
        self._deadline = None
        if self._since_s is not None:
            left_s = self._since_s + COMPLETE_WITHIN_S - self._door.clock.seconds()
            if left_s > 0:
                self._deadline = self._door.clock.callLater(left_s, self._look_at_deadline)
            else:
                self._dismiss(f"its message is not complete {COMPLETE_WITHIN_S:g} s after it began")
                self._after_serving(False)

    def _report_held_bytes(self) -> None:
        held_bytes = self._reader.held_bytes + self._unread_bytes
        if held_bytes != self.held_bytes:
            more_bytes, self.held_bytes = held_bytes - self.held_bytes, held_bytes
            self._door.holding(more_bytes)

    def _dismiss(self, reason: str) -> None:
        self._warn(reason)
        self._ignore_input(ClientStage.DISMISSED)

    def _ignore_input(self, stage: ClientStage) -> None:
        # What was not looked at is given back.
        self._reader = QuestionReader()
        if self._stage is not _LOST:
            self._stage = stage

    def _end(self) -> None:
        if not self._transport.disconnecting:
            # A transport does not end while a producer is registered with it.
            self._transport.unregisterProducer()
            self._transport.loseConnection()
            if self._stage is ClientStage.DISMISSED:
                if self._deadline is not None:
                    self._deadline.cancel()
                self._deadline = self._door.clock.callLater(READ_WITHIN_S, self._cut_off)

    def _cut_off(self) -> None:
        self._deadline = None
        self.abort()
        self._report_held_bytes()

    def _warn(self, reason: str) -> None:
        # One line for a client's program that breaks the rules on one connection after another.
        client = self._client()
        self._door.refusals.tell(client, reason, who=client.rpartition(":")[0])

    def _is_local(self) -> bool:
        peer = self._transport.getPeer()
        if isinstance(peer, UNIXAddress):
            return True
        ip = ip_address(peer.host)
        mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
        return (mapped or ip).is_loopback

    def _client(self) -> str:
        peer = self._transport.getPeer()
        if isinstance(peer, UNIXAddress):
            return "on the Unix socket"
        return f"[{peer.host}]:{peer.port}" if ":" in peer.host else f"{peer.host}:{peer.port}"


def _at_hand(found: Deferred[Record | None]) -> Record | None:
    # The one way past a Deferred: most records that are asked for here are here already, and to follow the Deferred of
    # one takes 1.9 us more, of the 44 that a get takes.
    result = getattr(found, "result", None)
    return result if type(result) is Record else None
