"""A node's API without sockets, for the commands that talk to a node, and a runner for those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli.commands import main
from chordtwist.app.cli.talking import Door
from chordtwist.core.address import ApiAddress
from chordtwist.core.errors import NodeGone
from chordtwist.net.api import ApiFactory
from chordtwist.net.blocking_client import BlockingClient, Deadline
from chordtwist.net.operating import CarryOut
from tests.memory_dht import MemoryDht


class MemorySocket(Protocol):
    """The blocking end of a connection in memory; while nothing comes, time passes."""

    transport: Any

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._arrived: list[bytes] = []
        self._is_lost = False
        self._seconds = 0.0
        self.pump: Any = None

    def dataReceived(self, data: bytes) -> None:
        self._arrived.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True

    def sendall(self, data: bytes) -> None:
        if self.pump is not None:
            self.transport.write(data)

    def recv(self, size: int) -> bytes:
        if self.pump is not None:
            self.pump.flush()
        if self._arrived:
            return self._arrived.pop(0)
        if self._is_lost:
            return b""
        self._clock.advance(self._seconds)
        raise TimeoutError

    def settimeout(self, seconds: float) -> None:
        self._seconds = seconds

    def close(self) -> None:
        if self.pump is not None:
            self.transport.loseConnection()
            self.pump.flush()


class MemoryDoor(Door):
    """Connects to a hash table in memory; `is_there` says whether anybody listens, `is_silent` that nobody answers."""

    def __init__(self, dht: Any, clock: Any, shutdown_allowed: bool = True, operate: CarryOut | None = None) -> None:
        self._door = ApiFactory(dht, clock, self._stop, operate=operate)
        self._clock = clock
        self._host = "127.0.0.1" if shutdown_allowed else "192.0.2.1"
        self.asked: list[str] = []
        self.is_there = True
        self.is_silent = False
        self.clock = clock.seconds
        self.sleep = clock.advance

    def dial(self, api: ApiAddress, deadline: Deadline) -> BlockingClient:
        self.asked.append(str(api))
        if not self.is_there:
            raise NodeGone(None, "no node answers there: Connection refused")
        end = MemorySocket(self._clock)
        if not self.is_silent:
            node = self._door.buildProtocol(None)
            here = IPv4Address("TCP", self._host, 50_000)
            end.pump = connect(node, FakeTransport(node, True, peerAddress=here), end, FakeTransport(end, False))
        return BlockingClient(end, deadline)

    def _stop(self) -> None:
        self.is_there = False
        self._door.close()


class CommandTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """An empty node."""
        self.clock = Clock()
        self.dht = MemoryDht(self.clock)
        self.door = MemoryDoor(self.dht, self.clock)

    def command(self, command: click.Command, *words: str, typed: bytes | None = None) -> Result:
        """Run ``chordtwist`` with one of its commands, which its module names."""
        name = command.callback.__module__.rpartition(".")[2].rstrip("_")
        return self.chordtwist(name, *words, typed=typed)

    def chordtwist(self, *words: str, typed: bytes | None = None) -> Result:
        return CliRunner(env={"CHORDTWIST_API": None}).invoke(main, list(words), input=typed, obj=self.door)

    def shown(self, command: click.Command, *words: str, typed: bytes | None = None) -> Any:
        """What a command shows with --json."""
        return json.loads(self.command(command, *words, "--json", typed=typed).stdout)

    def keyfile(self) -> str:
        """An owner's key, in a file."""
        self.key = Ed25519PrivateKey.generate()
        path = Path(self.mktemp())
        path.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(path)
