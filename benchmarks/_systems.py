"""Nodes of the systems that `versus` compares: started, asked and judged in one way."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Coroutine
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

PORT = 23_000
FIRST = "127.88.0.1"
LOOK_EVERY_S = 0.05


class Nodes(Protocol):
    """Some nodes of one process."""

    async def start(self, first: int, count: int, of: int) -> None:
        """Start the nodes from number `first` on, of so many in all, which join node 0; ends when they have."""

    def put(self, index: int, key: bytes, value: bytes) -> Deferred[bool]:
        """Put at the node with that index here; whether it is confirmed."""

    def get(self, index: int, key: bytes) -> Deferred[bytes | None]:
        """Get at the node with that index here."""

    async def warm(self, count: int) -> None:
        """Let the first nodes learn what those know that have run for hours."""

    def wrong(self) -> int:
        """Count what is not as it will be in the end, of neighbours and fingers; 0 where nobody can say."""


class ChordtwistNodes:
    """Nodes as ``chordtwist testnet`` runs them."""

    def __init__(self, reactor: Any, tls: bool, copies: int, joining: int) -> None:
        """@param joining: so many of them join at a time."""
        self._joining = joining
        self._service: Any = import_module("chordtwist.app.service")
        self._reactor = reactor
        self._tls = tls
        self._copies = copies

    async def start(self, first: int, count: int, of: int) -> None:
        from benchmarks.ring import Right
        from chordtwist.app.config import NodeConfig, TlsMode
        from chordtwist.app.process import make_ready
        from chordtwist.app.testnet import loopback_addresses, node_config

        make_ready(self._reactor)
        common = NodeConfig()
        tls = replace(common.tls, mode=TlsMode.OPEN if self._tls else TlsMode.OFF)
        common = replace(common, tls=tls, dht=replace(common.dht, replication=self._copies))
        everybody = loopback_addresses(FIRST, of)
        self._services, self._nodes = [], list[Any]()
        for address in everybody[first : first + count]:
            config = node_config(common, address, PORT, FIRST)
            self._services.append(self._service.build(config, self._reactor, lambda: None, count, self._nodes.append))
        identity = self._nodes[0].identity
        self._right = Right(identity.peer(address, PORT) for address in everybody)
        started = 0
        while (members := sum(node.is_member for node in self._nodes)) < count:
            for service in self._services[started : members + self._joining]:
                service.privilegedStartService()
                service.startService()
                started += 1
            await deferLater(self._reactor, LOOK_EVERY_S)

    def put(self, index: int, key: bytes, value: bytes) -> Deferred[bool]:
        done: Deferred[bool] = self._services[index].dht.put(key, value, 3600).addCallback(lambda _: True)
        return done

    def get(self, index: int, key: bytes) -> Deferred[bytes | None]:
        done: Deferred[bytes | None] = self._services[index].dht.get(key)
        return done.addCallback(lambda record: None if record is None else record.value)

    async def warm(self, count: int) -> None:
        await gatherResults([node.walker.meet_everybody() for node in self._nodes[:count]])

    def wrong(self) -> int:
        return sum(sum(self._right.wrong(node).values()) for node in self._nodes)


class KademliaNodes:
    """bmuller/kademlia: asyncio, UDP, no upkeep but what a lookup brings."""

    def __init__(self) -> None:
        self._network: Any = import_module("kademlia.network")

    async def start(self, first: int, count: int, of: int) -> None:
        self._nodes = [self._network.Server() for _ in range(count)]
        for index, node in enumerate(self._nodes):
            await awaited(node.listen(PORT, interface=f"127.88.1.{first + index + 1}"))
            while first + index and not await awaited(node.bootstrap([("127.88.1.1", PORT)])):
                pass

    def put(self, index: int, key: bytes, value: bytes) -> Deferred[bool]:
        return awaited(self._nodes[index].set(key.hex(), value)).addCallback(bool)

    def get(self, index: int, key: bytes) -> Deferred[bytes | None]:
        return awaited(self._nodes[index].get(key.hex()))

    async def warm(self, count: int) -> None:
        pass

    def wrong(self) -> int:
        return 0


def awaited(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Let asyncio do it."""
    return Deferred.fromFuture(asyncio.ensure_future(work))


class OpenDhtNodes:
    """savoirfairelinux/opendht: C++ with threads of its own, UDP, without its limit of questions a second."""

    def __init__(self, reactor: Any) -> None:
        self._dht: Any = import_module("opendht")
        self._reactor = reactor

    async def start(self, first: int, count: int, of: int) -> None:
        self._nodes = []
        for number in range(first, first + count):
            config = self._dht.DhtConfig()
            config.setRateLimit(-1, -1)
            node = self._dht.DhtRunner()
            # Over several addresses of 127.0.0.0/8 it never forms a network.
            node.run(port=PORT + number, config=config)
            if number:
                node.bootstrap("127.0.0.1", str(PORT))
            self._nodes.append(node)
        # It says of itself that it runs long before it can do anything.
        for index in range(count):
            while not await self.put(index, b"%020d" % (first + index), b"begin"):
                await deferLater(self._reactor, LOOK_EVERY_S)

    def put(self, index: int, key: bytes, value: bytes) -> Deferred[bool]:
        done: Deferred[bool] = Deferred()
        self._nodes[index].put(self._hash(key), self._dht.Value(value), lambda is_done, _: self._tell(done, is_done))
        return done

    def get(self, index: int, key: bytes) -> Deferred[bytes | None]:
        found: list[bytes] = []
        done: Deferred[bytes | None] = Deferred()

        def got(value: Any) -> bool:
            found.append(value.data)
            return False  # one is enough

        self._nodes[index].get(self._hash(key), got, lambda *_: self._tell(done, found[0] if found else None))
        return done

    async def warm(self, count: int) -> None:
        pass

    def wrong(self) -> int:
        return 0

    def _hash(self, key: bytes) -> Any:
        return self._dht.InfoHash(key[:20].hex().encode())

    def _tell(self, done: Deferred[Any], what: object) -> None:
        """Called by threads of OpenDHT, perhaps twice."""
        self._reactor.callFromThread(lambda: None if done.called else done.callback(what))


SYSTEMS = {"chordtwist": "chordtwist", "chordtwist-tls": "chordtwist", "kademlia": "kademlia", "opendht": "opendht"}
"""By name, the package whose version is told."""


def nodes_of(system: str, copies: int, joining: int) -> Nodes:
    """Make the nodes of a system that is named, which have the reactor they need.

    @param copies: of each record, for ours; the others have their own, 20 and 8.
    @param joining: so many of ours join at a time.
    """
    if system == "kademlia":
        from twisted.internet import asyncioreactor

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
        return KademliaNodes()
    if system != "opendht":
        from chordtwist.app.process import choose_reactor

        choose_reactor()
    from twisted.internet import reactor

    if system == "opendht":
        return OpenDhtNodes(reactor)
    return ChordtwistNodes(reactor, system == "chordtwist-tls", copies, joining)


def rss_kib() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
