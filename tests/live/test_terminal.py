"""What commands show on a terminal, where that is not what they write into a pipe."""

from __future__ import annotations

import re
import socket

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from tests.live.terminal import on_terminal
from tests.live.test_api_sockets import SocketTestCase
from tests.test_cli_talking import STATE


class GetTests(SocketTestCase):
    async def shown(self, value: bytes, *options: str) -> tuple[int, str]:
        """What get shows of a value."""
        api = str(await self.listen_somewhere())
        self.dht.put(bytes.fromhex("ab" * 32), value)
        return await deferToThread(on_terminal, "get", "ab" * 32, *options, CHORDTWIST_API=api)

    async def test_text(self) -> None:
        """A text gets an end of line where it has none, so that the prompt stands on a line of its own."""
        for value in "good morning", "good morning\n", "zwei Zeilen: ä\n\tund noch eine":
            self.assertEqual((0, value.rstrip("\n") + "\n"), await self.shown(value.encode()))

    async def test_no_text(self) -> None:
        """What would steer the terminal is not shown, and the status is 1; unless it is forced."""
        for value in b"\xff\x00", b"\x1b[2J", "‮".encode(), b"\r":
            status, shown = await self.shown(value)
            self.assertEqual(1, status)
            self.assertEqual(f"Error: no text but {len(value)} bytes", shown.partition(" that")[0])
            self.assertTrue(shown.replace("\n", "").isprintable(), shown)
        self.assertEqual((0, "\x1b[2J"), await self.shown(b"\x1b[2J", "--force"))


class WaitingTests(SynchronousTestCase):
    def test_silent(self) -> None:
        """Who waits for a node that says nothing is told so after two seconds; in a pipe nothing is said."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            api = f"127.0.0.1:{silent.getsockname()[1]}"
            status, shown = on_terminal("get", "greeting", "--timeout", "3", CHORDTWIST_API=api)
        self.assertEqual(3, status)
        told = f"waiting for {api} ...\nError: the node at {api} did not answer within 3 s\n"
        self.assertEqual(told, shown)


class StatusTests(SocketTestCase):
    async def test_widths(self) -> None:
        """It is readable at 80 columns and at 40: no line is longer, and the first one is coloured."""
        api = str(await self.listen_somewhere())
        self.dht.state = STATE
        for columns in 80, 40:
            status, shown = await deferToThread(on_terminal, "status", columns=columns, CHORDTWIST_API=api)
            plain = re.sub("\x1b\\[[0-9;]*m", "", shown)
            self.assertEqual(0, status)
            self.assertEqual([], [line for line in plain.splitlines() if len(line) > columns])
            self.assertTrue(plain.startswith("well\n"))
            self.assertIn("\x1b[1;32mwell", shown)


class PutTests(SocketTestCase):
    async def test_typed(self) -> None:
        """A value that is typed ends with Ctrl-D, which is said."""
        api = str(await self.listen_somewhere())
        status, shown = await deferToThread(on_terminal, "put", "greeting", typed=b"hello\n\x04", CHORDTWIST_API=api)
        self.assertEqual(0, status)
        self.assertIn("type the value; Ctrl-D ends it", shown)
        self.assertEqual([b"hello\n"], [value for _, value, *_ in self.dht.puts])
