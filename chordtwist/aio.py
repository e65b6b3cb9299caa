"""The API from asyncio, without Twisted: a program's connection to its node, with an awaitable for every question.

A complete program::

    import asyncio

    import chordtwist.aio


    async def main():
        async with chordtwist.aio.connect("127.0.0.1:7401") as dht:
            result = await dht.put_confirmed("greeting", b"good morning", ttl_s=600)
            print(f"{result.copies} of {result.wanted} copies")
            print(await dht.get("greeting"))


    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar

from chordtwist.core.address import ApiAddress, UnixAddress, parse_api_address
from chordtwist.core.errors import ChordtwistError, Malformed, NodeGone
from chordtwist.core.records import PutResult, Seal
from chordtwist.wire.api_exchange import Exchange, Settle
from chordtwist.wire.api_messages import Shutdown

T = TypeVar("T")

DIALS_WITHIN_S = 10.0
"""The API is on this machine or near it; a dial that takes longer has failed."""


class AsyncClient(asyncio.Protocol):
    """A connection to a node's API. Any number of questions may be under way; none waits for the answer to another.

    When the connection is lost, what is under way fails with `NodeGone`, and so does what is asked afterwards.
    Cancelling gives up waiting for an answer; the question has been asked all the same.
    """

    def __init__(self) -> None:
        self._exchange = Exchange()
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        # Set while the node takes what is written.
        self._room = asyncio.Event()
        self._room.set()
        self._ended = self._loop.create_future()
        # Why nothing can be asked any more.
        self._error: ChordtwistError | None = None

    async def put(self, key: bytes | str, value: bytes, ttl_s: int = 0, replication: int = 0) -> None:
        """Store `value` for `ttl_s` seconds (0: the node's default), in so many copies (0: as usual).

        Nobody says whether that comes true: it only waits until the next one may be sent.
        """
        raw = self._exchange.put(key, value, ttl_s, replication)
        self._check_alive()
        self._transport.write(raw)
        await self._room.wait()
        self._check_alive()

    async def put_confirmed(
        self, key: bytes | str, value: bytes, ttl_s: int = 0, replication: int = 0, seal: Seal | None = None
    ) -> PutResult:
        """Store `value` and say what became of it: copies made and wanted, version, life.

        @raise Refused: another record stands there by right.
        @raise Unreachable: too few nodes confirmed it; it may be stored here and there even so.
        """
        return await self._ask(
            lambda settle: self._exchange.put_confirmed(settle, key, value, ttl_s, replication, seal)
        )

    async def get(self, key: bytes | str) -> bytes | None:
        """Get the value under `key`; None where the node has found none, or too few others have answered to know."""
        return await self._ask(lambda settle: self._exchange.get(settle, key))

    async def delete(self, key: bytes | str, seal: Seal | None = None) -> PutResult:
        """Put an end to the record under `key`; like `put_confirmed`. A signed record's end is sealed by its owner."""
        return await self._ask(lambda settle: self._exchange.delete(settle, key, seal))

    async def status(self) -> dict[str, Any]:
        """Ask for the node's state; the fields of ``chordtwist status --json``."""
        return await self._ask(self._exchange.status)

    async def shutdown(self) -> None:
        """Ask the node to leave its ring and end; done when it has ended the connection.

        A node that takes no SHUTDOWN from here ends the connection as well, at once, and goes on.
        """
        self._check_alive()
        self._transport.write(Shutdown().pack())
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        """End the connection when everything is sent. What is under way fails."""
        self._give_up(NodeGone(None, "this connection to the node was closed"))
        self._transport.close()
        await asyncio.shield(self._ended)

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, since the node is there."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take answers, or parts of them."""
        try:
            self._exchange.receive(data)
        except Malformed as error:
            self._give_up(error)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits: the connection is gone, and with it every answer that is not here."""
        reason = "it was closed" if exc is None else str(exc)
        self._give_up(NodeGone(None, f"the connection to the node is gone: {reason}"))
        self._room.set()
        self._ended.set_result(None)

    def pause_writing(self) -> None:
        """Hold back what is put, since the node takes no more at the moment."""
        self._room.clear()

    def resume_writing(self) -> None:
        """Write on, since the node took enough."""
        self._room.set()

    # Inside

    async def _ask(self, pack: Callable[[Settle[T]], bytes]) -> T:
        self._check_alive()
        answered: asyncio.Future[T] = self._loop.create_future()

        def settle(answer: T | ChordtwistError) -> None:
            if answered.done():
                return  # whoever waited has given up
            if isinstance(answer, ChordtwistError):
                answered.set_exception(answer)
            else:
                answered.set_result(answer)

        self._transport.write(pack(settle))
        return await answered

    def _check_alive(self) -> None:
        if self._error is not None:
            raise self._error

    def _give_up(self, error: ChordtwistError) -> None:
        if self._error is None:
            self._error = error
        self._exchange.give_up(self._error)


def connect(address: str = "127.0.0.1:7401") -> Connecting:
    """Connect to the node whose API is at `address`, HOST:PORT or unix:PATH: await it for an `AsyncClient`, or use it
    by ``async with``, which closes it at the end.

    @raise ValueError: that is no address.
    """
    return Connecting(parse_api_address(address))


class Connecting:
    """A connection to be: raises `NodeGone` where nobody listens."""

    def __init__(self, address: ApiAddress) -> None:
        self._address = address
        self._client: AsyncClient | None = None

    def __await__(self) -> Generator[Any, None, AsyncClient]:
        return self._connected().__await__()

    async def __aenter__(self) -> AsyncClient:
        self._client = await self._connected()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None  # or nothing was entered
        await self._client.close()

    async def _connected(self) -> AsyncClient:
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            async with asyncio.timeout(DIALS_WITHIN_S):
                if isinstance(address, UnixAddress):
                    dialled = loop.create_unix_connection(AsyncClient, os.fspath(address.path))
                else:
                    dialled = loop.create_connection(AsyncClient, address.host, address.port)
                _, client = await dialled
        except TimeoutError:
            raise NodeGone(None, f"no node answers there: nothing within {DIALS_WITHIN_S:g} s") from None
        except OSError as error:
            number = error.errno or 0  # below 0: of a name that cannot be resolved
            reason = os.strerror(number) if number > 0 else error.strerror or str(error)
            raise NodeGone(None, f"no node answers there: {reason}") from None
        return client
