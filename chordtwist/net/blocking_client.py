"""The API for a command that asks one thing and ends: a blocking socket, and no Twisted."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import msgspec

from chordtwist.core.address import ApiAddress, UnixAddress
from chordtwist.core.errors import ChordtwistError, Malformed, NodeGone
from chordtwist.core.records import PutResult, Seal
from chordtwist.wire.api_exchange import Exchange
from chordtwist.wire.api_messages import STATUS_BYTES_MAX, Shutdown, unpack_state

T = TypeVar("T")

SLOW_AFTER_S = 2.0
"""A person who has waited so long wonders what for."""

_READ_BYTES = 65_536


class Connection(Protocol):
    """What is used of a socket."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...

    def settimeout(self, seconds: float, /) -> None: ...

    def close(self) -> None: ...


class Deadline:
    """When a command has waited long enough, for all that it asks together; on the way, once, that it waits is told."""

    def __init__(
        self, within_s: float, tell: Callable[[], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._within_s = within_s
        self._tell = tell
        self.restart()

    def restart(self) -> None:
        """Begin anew: for each part of an answer that goes on and on, and for each of many looks."""
        self._ends_at_s = self._clock() + self._within_s
        self._tells_at_s = self._clock() + SLOW_AFTER_S

    def wait_s(self) -> float:
        """Say for how long to wait before this is asked again.

        @raise TimeoutError: no longer.
        """
        left_s = self.left_s()
        if self._tell is None:
            return left_s
        until_told_s = self._tells_at_s - self._clock()
        if until_told_s > 0:
            return min(left_s, until_told_s)
        tell, self._tell = self._tell, None
        tell()
        return left_s

    def left_s(self) -> float:
        """Say how much time is left.

        @raise TimeoutError: none.
        """
        left_s = self._ends_at_s - self._clock()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class BlockingClient:
    """A connection to a node's API on which each question waits for its answer.

    Every method raises `NodeGone` when the connection is lost, `Malformed` when what answers is no node, and
    `TimeoutError` when the deadline has come; after any of them the client is of no use.
    """

    def __init__(self, connection: Connection, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._exchange = Exchange()
        self._has_heard = False

    @classmethod
    def connect(cls, address: ApiAddress, deadline: Deadline) -> BlockingClient:
        """Connect to the node whose API is at `address`.

        @raise NodeGone: nobody listens there.
        @raise TimeoutError: nobody answered before the deadline.
        """
        try:
            return cls(_dial(address, deadline), deadline)
        except TimeoutError:
            raise
        except PermissionError as error:
            raise NodeGone(None, _not_allowed(address) or in_words(error)) from None
        except OSError as error:
            raise NodeGone(None, f"no node answers there: {in_words(error)}") from None

    def put_confirmed(
        self, key: bytes, value: bytes, ttl_s: int = 0, replication: int = 0, seal: Seal | None = None
    ) -> PutResult:
        """Store `value` for `ttl_s` seconds in so many copies (0: as the node does by itself), and say what became of
        it.

        @raise Refused: another record stands there by right.
        @raise Unreachable: too few nodes confirmed it; it may be stored here and there even so.
        """
        answers: list[PutResult | ChordtwistError] = []
        return self._ask(self._exchange.put_confirmed(answers.append, key, value, ttl_s, replication, seal), answers)

    def get(self, key: bytes) -> bytes | None:
        """Get the value under `key`; None where the node has found none, or too few others have answered to know."""
        answers: list[bytes | ChordtwistError | None] = []
        return self._ask(self._exchange.get(answers.append, key), answers)

    def delete(self, key: bytes, seal: Seal | None = None) -> PutResult:
        """Put an end to the record under `key`; as `put_confirmed`."""
        answers: list[PutResult | ChordtwistError] = []
        return self._ask(self._exchange.delete(answers.append, key, seal), answers)

    def status(self) -> dict[str, Any]:
        """Ask for the node's state; the fields of ``chordtwist status --json``."""
        answers: list[dict[str, Any] | ChordtwistError] = []
        return self._ask(self._exchange.status(answers.append), answers)

    def operate(self, request: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """Ask what people's tools ask (docs/protocol.rst lists what); gives each line of the answer as it comes.

        The deadline begins anew with each piece that arrives: some answers go on for as long as they are read.
        """
        pieces: list[bytes] = []
        ends: list[ChordtwistError | None] = []
        self._send(self._exchange.operate(ends.append, pieces.append, msgspec.json.encode(request)))
        rest = b""
        while not ends:
            self._hear()
            self._deadline.restart()
            *lines, rest = (rest + b"".join(pieces)).split(b"\n")
            pieces.clear()
            for line in lines:
                yield unpack_state(line)
            if len(rest) > STATUS_BYTES_MAX:
                raise Malformed(f"the node sent a line of more than {STATUS_BYTES_MAX} bytes")
        if rest:
            yield unpack_state(rest)

    def begin_anew(self) -> None:
        """Give what is asked from now on its whole time, for who asks again and again."""
        self._deadline.restart()

    def shutdown(self) -> None:
        """Ask the node to leave its ring, and wait until it has ended the connection.

        A node that takes no SHUTDOWN from here ends the connection as well, at once, and goes on.
        """
        self._send(Shutdown().pack())
        with suppress(NodeGone):
            while self._receive():
                pass

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ask(self, raw: bytes, answers: list[T | ChordtwistError]) -> T:
        self._send(raw)
        while not answers:
            self._hear()
        answer = answers[0]
        if isinstance(answer, ChordtwistError):
            raise answer
        return answer

    def _hear(self) -> None:
        data = self._receive()
        if not data:
            raise self._gone()
        self._has_heard = True
        self._exchange.receive(data)

    def _send(self, raw: bytes) -> None:
        self._connection.settimeout(self._deadline.left_s())
        try:
            self._connection.sendall(raw)
        except TimeoutError:
            raise
        except OSError as error:
            raise self._gone(error) from None

    def _receive(self) -> bytes:
        while True:
            self._connection.settimeout(self._deadline.wait_s())
            try:
                return self._connection.recv(_READ_BYTES)
            except TimeoutError:
                continue  # the deadline says when it is one
            except OSError as error:
                raise self._gone(error) from None

    def _gone(self, error: OSError | None = None) -> NodeGone:
        reason = "it was closed" if error is None else in_words(error)
        if self._has_heard:
            return NodeGone(None, f"the connection to the node is gone: {reason}")
        return NodeGone(
            None,
            f"whoever listens there ended the connection without an answer ({reason}); if that is a node's port for"
            " other nodes, its API is at another one, 7401 by habit",
        )


def in_words(error: OSError) -> str:
    """Put an error of the system in the system's words."""
    return error.strerror or str(error)


def _not_allowed(address: ApiAddress) -> str:
    # Whom to ask for the right to a Unix socket; empty where that cannot be seen.
    if not isinstance(address, UnixAddress):
        return ""
    try:
        owner, group = address.path.owner(), address.path.group()
    except (OSError, KeyError):
        return ""
    return f"you may not write to it; it belongs to user {owner} and group {group}"


def _dial(address: ApiAddress, deadline: Deadline) -> socket.socket:
    if isinstance(address, UnixAddress):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(deadline.left_s())
            connection.connect(os.fspath(address.path))
        except BaseException:
            connection.close()
            raise
        return connection
    # Bytes, since a text would be made fit for foreign names first, which an address is already: a load of tables.
    host: Any = address.host.encode()
    return socket.create_connection((host, address.port), deadline.left_s())
