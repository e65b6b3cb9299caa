"""The API over real sockets, TCP and Unix: what transports in memory cannot show."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from chordtwist.core.address import Address, ApiAddress, UnixAddress
from chordtwist.core.errors import NodeGone, Refused
from chordtwist.core.records import VALUE_BYTES_MAX
from chordtwist.net.api import ApiFactory
from chordtwist.net.api_address import dialling_endpoint, listening_endpoint
from chordtwist.net.blocking_client import BlockingClient, Deadline
from chordtwist.net.client import DhtClient
from chordtwist.wire.api_messages import AnswerReader, Failure, Get, Put, Success
from tests.fleet import free_port
from tests.memory_dht import MemoryDht

KEY, OTHER = b"k" * 32, b"o" * 32
EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = "from chordtwist.app.cli import main; main()"
clock: Any = reactor


def connected(address: Address) -> socket.socket:
    """A plain connection to a door."""
    return socket.create_connection((address.host, address.port))


class SocketTestCase(TestCase):
    """A door to a hash table in memory, listening where a test says."""

    def setUp(self) -> None:
        """Nobody listens yet."""
        self.dht = MemoryDht(clock)
        self.door = ApiFactory(self.dht, clock, lambda: None)

    async def listen(self, address: ApiAddress) -> IListeningPort:
        door = self.door
        port = await listening_endpoint(reactor, address).listen(door)

        def close() -> Deferred[Any]:
            return maybeDeferred(port.stopListening).addCallback(lambda stopped: door.close())

        self.stop_listening = close
        self.addCleanup(close)
        return port

    async def listen_somewhere(self, host: str = "127.0.0.1") -> Address:
        address = Address(host, free_port())
        await self.listen(address)
        return address

    async def connect(self, address: ApiAddress) -> DhtClient:
        return await DhtClient.connect(dialling_endpoint(reactor, address))


class TcpTests(SocketTestCase):
    async def test_both_families(self) -> None:
        """A node listens on IPv4 and IPv6 addresses, and carries the longest value."""
        for host in "127.0.0.1", "::1":
            self.door = ApiFactory(self.dht, clock, lambda: None)
            client = await self.connect(await self.listen_somewhere(host))
            value = os.urandom(VALUE_BYTES_MAX)
            await client.put_confirmed(KEY, value)
            self.assertEqual(await client.get(KEY), value)
            await client.close()

    async def test_close_behind_put(self) -> None:
        """PUTs are carried out when the client sends a thousand and closes at once."""
        address = await self.listen_somewhere()

        def put() -> None:
            with connected(address) as plain:
                plain.sendall(b"".join(Put(60, 0, bytes([n % 250]) * 32, b"%d" % n).pack() for n in range(1000)))

        await deferToThread(put)
        while self.door.connections or len(self.dht.puts) < 1000:
            await deferLater(clock, 0.01)
        self.assertEqual([value for _, value, *_ in self.dht.puts], [b"%d" % n for n in range(1000)])

    async def test_half_closed(self) -> None:
        """A client that sends everything, says so, and then reads gets all its answers and the end."""
        address = await self.listen_somewhere()

        def talk() -> bytes:
            with connected(address) as plain, plain.makefile("rb") as answers:
                plain.sendall(Put(60, 0, KEY, b"value").pack() + Get(KEY).pack() + Get(OTHER).pack())
                plain.shutdown(socket.SHUT_WR)
                return answers.read()

        self.assertEqual(await deferToThread(talk), Success(KEY, b"value").pack() + Failure(OTHER).pack())

    async def test_client_that_does_not_read(self) -> None:
        """A client that sends without reading has to wait itself; when it reads, every answer comes."""
        address = await self.listen_somewhere()
        value = b"x" * 60_000
        self.dht.put(KEY, value)
        asked = 0

        def greedy() -> int:
            nonlocal asked
            reader, answers = AnswerReader(), 0
            with socket.socket() as plain:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
                plain.connect((address.host, address.port))
                plain.settimeout(0.5)
                batch = Get(KEY).pack() * 1000
                try:
                    while asked < 200_000:
                        plain.sendall(batch)
                        asked += 1000
                except TimeoutError:
                    pass
                sent_wholly = asked
                plain.settimeout(30)
                while answers < sent_wholly:
                    reader.feed(plain.recv(1 << 20))
                    while reader.take() is not None:
                        answers += 1
            return answers

        self.assertGreaterEqual(await deferToThread(greedy), asked)
        self.assertLess(asked, 200_000)

    async def test_reset(self) -> None:
        """A client that resets its connection with answers under way disturbs nobody."""
        address = await self.listen_somewhere()
        self.dht.held = []

        def reset() -> None:
            with connected(address) as plain:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                plain.sendall(Get(KEY).pack() * 10)

        await deferToThread(reset)
        client = await self.connect(address)
        self.dht.release()
        self.assertIsNone(await client.get(OTHER))
        await client.close()


class UnixTests(SocketTestCase):
    def setUp(self) -> None:
        """A short path wherever the tests run: those of Unix sockets are bounded."""
        super().setUp()
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "api.sock"
        self.address = UnixAddress(self.path)

    async def test_socket(self) -> None:
        """The API is served on a Unix socket, with the rights asked for, and the socket is gone afterwards."""
        port = await listening_endpoint(reactor, self.address, 0o600).listen(self.door)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        client = await self.connect(self.address)
        await client.put_confirmed(KEY, b"value")
        self.assertEqual(await client.get(KEY), b"value")
        await client.close()
        await maybeDeferred(port.stopListening)
        self.assertFalse(self.path.exists())

    async def test_left_behind(self) -> None:
        """A socket that a killed process left behind is no obstacle."""
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(self.path))
        self.assertTrue(self.path.is_socket())
        await self.listen(self.address)
        client = await self.connect(self.address)
        self.assertIsNone(await client.get(KEY))
        await client.close()

    async def test_in_use(self) -> None:
        """A socket on which somebody listens is left alone."""
        await self.listen(self.address)
        error = await self.assertFailure(listening_endpoint(reactor, self.address).listen(self.door), CannotListenError)
        self.assertIn("another process listens there", str(error))
        client = await self.connect(self.address)
        await client.close()

    async def test_no_socket(self) -> None:
        """A file that is no socket is left alone."""
        self.path.write_text("precious")
        error = await self.assertFailure(listening_endpoint(reactor, self.address).listen(self.door), CannotListenError)
        self.assertIn("something that is no socket is in its place", str(error))
        self.assertEqual(self.path.read_text(), "precious")


class BlockingTests(SocketTestCase):
    """A client without Twisted."""

    async def test_all_doors(self) -> None:
        """It reaches a node on IPv4, on IPv6, by name and on a Unix socket, and carries the longest value."""
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "api.sock"
        value = os.urandom(VALUE_BYTES_MAX)

        def talk(address: ApiAddress) -> tuple[bytes | None, bytes | None]:
            client = BlockingClient.connect(address, Deadline(30))
            try:
                client.put_confirmed(KEY, value)
                return client.get(KEY), client.get(OTHER)
            finally:
                client.close()

        for host in "127.0.0.1", "::1", "localhost":
            self.door = ApiFactory(self.dht, clock, lambda: None)
            address: ApiAddress = await self.listen_somewhere("127.0.0.1" if host == "localhost" else host)
            address = Address(host, address.port) if isinstance(address, Address) else address
            self.assertEqual((value, None), await deferToThread(talk, address), host)
        self.door = ApiFactory(self.dht, clock, lambda: None)
        await self.listen(UnixAddress(path))
        self.assertEqual((value, None), await deferToThread(talk, UnixAddress(path)))

    async def test_nobody(self) -> None:
        """Where nobody listens it says so at once, in the system's words."""
        for address, words in (
            (Address("127.0.0.1", free_port()), "Connection refused"),
            (UnixAddress(Path("/nowhere/api.sock")), "No such file or directory"),
        ):
            error = await self.assertFailure(deferToThread(BlockingClient.connect, address, Deadline(30)), NodeGone)
            self.assertEqual(f"no node answers there: {words}", str(error))


class ExampleTests(SocketTestCase):
    """The examples of the documents work as they stand."""

    async def run_example(self, name: str, *words: str) -> str:
        """What an example prints; it ends well, and complains of nothing."""
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ("-W", "error", str(EXAMPLES / name), *words), {"PYTHONPATH": str(EXAMPLES.parent)}
        )
        self.assertEqual((b"", 0), (err, status), name)
        return str(out, "utf-8")

    async def test_clients(self) -> None:
        """Those that talk to a node, on TCP and on a Unix socket."""
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "api.sock"
        addresses: list[ApiAddress] = [await self.listen_somewhere(), UnixAddress(path)]
        self.door = ApiFactory(self.dht, clock, lambda: None)
        await self.listen(addresses[1])
        for address in map(str, addresses):
            for name in "twisted_client.py", "asyncio_client.py":
                self.assertEqual("4 of 4 copies\ngood morning\nnothing\n", await self.run_example(name, address), name)
            self.assertEqual("stored\n", await self.run_example("errors.py", address))

    async def test_errors(self) -> None:
        """The one that is about errors, where they happen."""
        nowhere = f"127.0.0.1:{free_port()}"
        self.assertEqual(
            "not stored: no node answers there: Connection refused\n", await self.run_example("errors.py", nowhere)
        )
        self.dht.put = lambda *words: fail(Refused("it is signed"))  # type: ignore[method-assign]
        shown = await self.run_example("errors.py", str(await self.listen_somewhere()))
        self.assertEqual("another record stands there by right: it is signed\n", shown)

    async def test_embedded_node(self) -> None:
        """The one with a node of its own."""
        config = Path(self.mktemp()).absolute()
        p2p, api = free_port(), free_port()
        config.write_text(f"[dht]\np2p_address = 127.0.0.1:{p2p}\napi_address = 127.0.0.1:{api}\n")
        told = "became a member, the first of it"
        expected = f"1 of 4 copies\nb'good morning'\nwell\n['{told}']\n"
        self.assertEqual(expected, await self.run_example("embedded_node.py", str(config)))


STOPPED_EARLY = """
import sys
from twisted.internet.defer import Deferred
from twisted.internet.task import react
import chordtwist

async def main(reactor, p2p, api, nobody):
    values = {"dht.p2p_address": p2p, "dht.api_address": api, "dht.bootstrap_node": nobody}
    node = chordtwist.Node(reactor, values=values)
    joined = node.start()
    await node.stop()
    try:
        await joined
    except chordtwist.NodeGone as error:
        print(error)

react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
"""


class NodeTests(SocketTestCase):
    async def test_stopped_early(self) -> None:
        """A node that is stopped before it has joined its ring says so to whoever waits for that."""
        places = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ("-c", STOPPED_EARLY, *places), {"PYTHONPATH": str(EXAMPLES.parent)}
        )
        self.assertEqual((b"the node was stopped before it had joined its ring\n", b"", 0), (out, err, status))


class CommandTests(SocketTestCase):
    async def chordtwist(self, *words: str, api: str, program: str = PROGRAM) -> tuple[bytes, bytes, int]:
        """Run the command as a process of its own."""
        out, err, status = await getProcessOutputAndValue(
            sys.executable, ("-c", program, *words), {"PYTHONPATH": str(EXAMPLES.parent), "CHORDTWIST_API": api}
        )
        return out, err, status

    async def test_commands(self) -> None:
        """The commands do what they say, over a real connection."""
        api = str(await self.listen_somewhere())
        out, err, status = await self.chordtwist("put", "greeting", "good morning", api=api)
        self.assertEqual((out.partition(b": ")[2], err, status), (b"4 of 4 nodes have it, for 1 h\n", b"", 0))
        self.assertEqual(await self.chordtwist("get", "greeting", api=api), (b"good morning", b"", 0))
        out, err, status = await self.chordtwist("status", "--json", api=api)
        self.assertEqual((json.loads(out), err, status), (self.dht.state, b"", 0))

    async def test_light(self) -> None:
        """What asks one thing and ends loads no Twisted, no tables for terminals and no cryptography."""
        api = str(await self.listen_somewhere())
        heavy = "{'twisted', 'rich', 'cryptography', 'chordtwist.app.config'}"
        program = (
            "import atexit, os, sys\n"
            f"atexit.register(lambda: print(sorted({heavy} & set(sys.modules)), file=sys.stderr))\n"
            "from chordtwist.app.cli import main; main()"
        )
        for words in (
            ["put", "greeting", "hi"],
            ["get", "greeting"],
            ["delete", "greeting"],
            ["status", "--json"],
            ["-h"],
        ):
            told = await self.chordtwist(*words, api=api, program=program)
            self.assertEqual((b"[]\n", 0), told[1:], words)

    async def test_shutdown(self) -> None:
        """A node that is told to shut down is gone when the command ends."""
        address = await self.listen_somewhere()
        self.door._on_shutdown = self.stop_listening
        out, err, status = await self.chordtwist("shutdown", api=str(address))
        self.assertEqual((out, err, status), (f"the node at {address} has left\n".encode(), b"", 0))
        self.assertEqual((await self.chordtwist("status", api=str(address)))[2], 3)
