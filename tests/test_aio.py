"""The client of asyncio: answers find their questions, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.aio import AsyncClient, connect
from chordtwist.core.errors import ChordtwistError, Malformed, NodeGone, Refused, Unreachable
from chordtwist.core.records import PutResult, Version, key_of
from chordtwist.wire.api_messages import (
    NOTHING_STORED,
    Failure,
    Outcome,
    PutConfirmed,
    QuestionReader,
    ResultCode,
    StatusPiece,
    Success,
)

KEY, OTHER = key_of("greeting"), key_of("farewell")


class Transport:
    """Keeps what is written, as questions; `closed` says how the connection was ended."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._reader = QuestionReader()
        self.asked: list[Any] = []
        self.closed = ""

    def write(self, raw: bytes) -> None:
        self._reader.feed(raw)
        while (question := self._reader.take()) is not None:
            self.asked.append(question)

    def close(self) -> None:
        self.closed = "close"
        asyncio.get_running_loop().call_soon(self._client.connection_lost, None)

    def abort(self) -> None:
        self.closed = "abort"


class AsyncClientTests(SynchronousTestCase):
    """A client whose node says what a test wants."""

    def run_test(self, test: Any) -> None:
        """Run a test with a client and its transport, on a loop of its own."""

        async def run() -> None:
            client = AsyncClient()
            transport: Any = Transport(client)
            client.connection_made(transport)
            await test(client, transport)

        asyncio.run(run())

    async def error_of(self, asking: Coroutine[Any, Any, Any] | asyncio.Task[Any]) -> BaseException | None:
        """What a question fails with."""
        try:
            await asking
        except (ChordtwistError, ValueError) as error:
            return error
        return None

    async def begun(self, asking: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A question that has been sent."""
        task = asyncio.create_task(asking)
        await asyncio.sleep(0)
        return task

    def test_answers(self) -> None:
        """Answers find their questions in any order, split in any way; names are as good as keys."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            first, second, third = [await self.begun(client.get(key)) for key in (KEY, "farewell", "greeting")]
            raw = Failure(OTHER).pack() + Success(KEY, b"one").pack() + Success(KEY, b"two").pack()
            for at in range(len(raw)):
                client.data_received(raw[at : at + 1])
            self.assertEqual((b"one", None, b"two"), (await first, await second, await third))
            status = await self.begun(client.status())
            client.data_received(StatusPiece(transport.asked[-1].request_id, True, b'{"a":1}').pack())
            self.assertEqual({"a": 1}, await status)

        self.run_test(test)

    def test_results(self) -> None:
        """A confirmed put gives its result, or fails with the node's reason; so does a delete."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            result = PutResult(2, 4, Version(5, b"p"), 1000)
            for code, told, expected in (
                (ResultCode.DONE, result, None),
                (ResultCode.REFUSED, NOTHING_STORED, Refused),
                (ResultCode.FAILED, NOTHING_STORED, Unreachable),
            ):
                for asking in client.put_confirmed("greeting", b"value", 60), client.delete(KEY):
                    task = await self.begun(asking)
                    client.data_received(Outcome(transport.asked[-1].request_id, code, told, "why").pack())
                    if expected is None:
                        self.assertEqual(result, await task)
                        continue
                    try:
                        await task
                    except expected as error:
                        self.assertEqual("why", str(error))
                    else:
                        self.fail("nothing was raised")
            self.assertEqual(PutConfirmed(1, 60, 0, KEY, b"value"), transport.asked[0])

        self.run_test(test)

    def test_cancelled(self) -> None:
        """Who cancels a question is not told of its answer, and the next one gets its own."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            first, second = await self.begun(client.get(KEY)), await self.begun(client.get(KEY))
            first.cancel()
            await asyncio.sleep(0)
            client.data_received(Success(KEY, b"one").pack() + Success(KEY, b"two").pack())
            self.assertEqual(b"two", await second)

        self.run_test(test)

    def test_lost(self) -> None:
        """When the connection is lost all that is under way fails, and all that is asked afterwards."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            under_way = [await self.begun(asking) for asking in (client.get(KEY), client.status(), client.shutdown())]
            client.connection_lost(ConnectionResetError("reset"))
            got, status, shutdown = await asyncio.gather(*under_way, return_exceptions=True)
            self.assertEqual((NodeGone, NodeGone, None), (type(got), type(status), shutdown))
            self.assertIn("reset", str(got))
            for asking in client.get(KEY), client.put(KEY, b"x"), client.status():
                error = await self.error_of(asking)
                self.assertIsInstance(error, NodeGone)

        self.run_test(test)

    def test_nonsense(self) -> None:
        """What answers nothing ends the connection, and what is under way fails."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            got = await self.begun(client.get(KEY))
            client.data_received(Failure(OTHER).pack())
            error = await self.error_of(got)
            self.assertEqual((Malformed, "abort"), (type(error), transport.closed))

        self.run_test(test)

    def test_room(self) -> None:
        """A put waits while the node takes no more."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            await client.put(KEY, b"one")
            client.pause_writing()
            second = await self.begun(client.put(KEY, b"two"))
            self.assertFalse(second.done())
            client.resume_writing()
            await second
            client.pause_writing()
            third = await self.begun(client.put(KEY, b"three"))
            client.connection_lost(None)
            error = await self.error_of(third)
            self.assertIsInstance(error, NodeGone)

        self.run_test(test)

    def test_close(self) -> None:
        """Closing waits for the end; what is under way fails."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            got = await self.begun(client.get(KEY))
            await client.close()
            error = await self.error_of(got)
            self.assertEqual((NodeGone, "close"), (type(error), transport.closed))

        self.run_test(test)

    def test_impossible_questions(self) -> None:
        """What no message can say is the caller's mistake."""

        async def test(client: AsyncClient, transport: Transport) -> None:
            for asking in (
                client.get(b"short"),
                client.get(""),
                client.put(KEY, b""),
                client.put_confirmed(KEY, b"x", -1),
            ):
                error = await self.error_of(asking)
                self.assertIsInstance(error, ValueError)
            self.assertEqual([], transport.asked)

        self.run_test(test)
        self.assertRaises(ValueError, connect, "nowhere")

    def test_no_such_name(self) -> None:
        """A name that cannot be resolved is told in the system's words, without its number."""

        def unknown(*asked: object, **how: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def connected() -> None:
            await connect("nowhere.example:7401")

        self.patch(socket, "getaddrinfo", unknown)
        error = self.assertRaises(NodeGone, asyncio.run, connected())
        self.assertEqual("no node answers there: Name or service not known", str(error))


class PackageTests(SynchronousTestCase):
    """What the package shows by itself."""

    def test_names(self) -> None:
        """Every name that the package lists can be had; others cannot."""
        import chordtwist

        for name in chordtwist.__all__:
            self.assertIsNotNone(getattr(chordtwist, name))
        self.assertRaises(AttributeError, lambda: chordtwist.nothing)
