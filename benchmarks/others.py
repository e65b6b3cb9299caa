"""The same work done by chordtwist, by kademlia and by OpenDHT, side by side on one machine.

``python -m benchmarks.others SYSTEM... [--work rates|killed] [--nodes N] [--processes P] [--keys K] [--copies C]
[--rounds R]`` prints one JSON object per system and round, and with several systems a last one: of each rate the ratio
of every other system to the first, median over the rounds, in each of which all work in turn. Nodes are spread over
processes, values have 100 bytes, and every operation is issued inside such a process, at its nodes in turn, with so
many under way in all; every value is checked.

- ``rates``: K puts, then twice as many gets of random keys.
- ``killed``: K puts; three in ten of the processes are ended with SIGKILL; every key is read at the others, at once and
  again 10 s later, whether or not the first reading has ended.

The other two are no dependencies of this project: install them beside it (``pip install --target DIR kademlia
opendht``) and put DIR at the end of PYTHONPATH. OpenDHT gets one address and a port for each node, since over several
addresses of 127.0.0.0/8 it never forms a network. Between nodes of chordtwist there is TLS with ``chordtwist-tls``
only; the others have none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from statistics import median
from typing import Any, Protocol, cast

VALUE_BYTES = 100
PORT = 23_000
OPERATION_WITHIN_S = 30.0
"""What has not been answered by then counts as wrong."""


def key_of(number: int) -> bytes:
    """Keys are numbered, so that nobody has to tell anybody what was put."""
    return sha256(b"key %d" % number).digest()


def value_of(number: int) -> bytes:
    """The value that belongs under it."""
    return (sha256(b"value %d" % number).digest() * 4)[:VALUE_BYTES]


# The three systems


class Nodes(Protocol):
    """Some nodes of one process."""

    async def start(self, first: int, count: int) -> None:
        """Start nodes `first` and up, which join node 0; fires when they have."""

    async def put(self, index: int, key: bytes, value: bytes) -> bool:
        """Put at the node with that index here; whether it is confirmed."""

    async def get(self, index: int, key: bytes) -> bytes | None:
        """Get at the node with that index here."""


class ChordtwistNodes:
    """Nodes as ``chordtwist testnet`` runs them."""

    def __init__(self, copies: int | None, tls: bool) -> None:
        self._copies = copies
        self._tls = tls

    async def start(self, first: int, count: int) -> None:
        from twisted.internet import reactor

        from chordtwist.app.config import NodeConfig, TlsMode
        from chordtwist.app.process import use_all_descriptors, use_monotonic_clock
        from chordtwist.app.testnet import Testnet, loopback_addresses, node_config

        use_monotonic_clock(reactor)
        use_all_descriptors()
        common = NodeConfig()
        common = replace(common, tls=replace(common.tls, mode=TlsMode.OPEN if self._tls else TlsMode.OFF))
        if self._copies is not None:
            common = replace(common, dht=replace(common.dht, replication=self._copies))
        testnet = Testnet(reactor, lambda host: node_config(common, host, PORT, "127.88.0.1"), count)
        for address in loopback_addresses("127.88.0.1", first + count)[first:]:
            testnet.add(address)
        testnet.privilegedStartService()
        testnet.startService()
        self._nodes: list[Any] = list(testnet.nodes.values())
        while testnet.members < count:
            await asyncio.sleep(0.05)

    async def put(self, index: int, key: bytes, value: bytes) -> bool:
        await self._nodes[index].dht.put(key, value, 3600).asFuture(asyncio.get_running_loop())
        return True

    async def get(self, index: int, key: bytes) -> bytes | None:
        record = await self._nodes[index].dht.get(key).asFuture(asyncio.get_running_loop())
        return None if record is None else record.value


class KademliaNodes:
    """bmuller/kademlia: asyncio, UDP, no upkeep but what a lookup brings."""

    def __init__(self, copies: int | None) -> None:
        self._options = {} if copies is None else {"ksize": copies}

    async def start(self, first: int, count: int) -> None:
        server: Any = import_module("kademlia.network").Server
        self._nodes = [server(**self._options) for _ in range(count)]
        for index, node in enumerate(self._nodes):
            await node.listen(PORT, interface=f"127.88.1.{first + index + 1}")
            if first + index:
                await node.bootstrap([("127.88.1.1", PORT)])

    async def put(self, index: int, key: bytes, value: bytes) -> bool:
        return bool(await self._nodes[index].set(key.hex(), value))

    async def get(self, index: int, key: bytes) -> bytes | None:
        found: bytes | None = await self._nodes[index].get(key.hex())
        return found


class OpenDhtNodes:
    """savoirfairelinux/opendht: C++ with threads of its own, UDP, 8 copies, without its limit of questions a second."""

    async def start(self, first: int, count: int) -> None:
        self._dht: Any = import_module("opendht")
        self._nodes = []
        for number in range(first, first + count):
            config = self._dht.DhtConfig()
            config.setRateLimit(-1, -1)
            node = self._dht.DhtRunner()
            node.run(port=PORT + number, config=config)
            if number:
                node.bootstrap("127.0.0.1", str(PORT))
            self._nodes.append(node)
        await asyncio.sleep(5)

    async def put(self, index: int, key: bytes, value: bytes) -> bool:
        done = Told()
        self._nodes[index].put(self._dht.InfoHash(key[:20].hex().encode()), self._dht.Value(value), done.tell)
        return bool(await done.told)

    async def get(self, index: int, key: bytes) -> bytes | None:
        found: list[bytes] = []
        done = Told()

        def got(value: Any) -> bool:
            found.append(value.data)
            return False  # one is enough

        self._nodes[index].get(self._dht.InfoHash(key[:20].hex().encode()), got, done.tell)
        await done.told
        return found[0] if found else None


class Told:
    """Lets a coroutine wait for what another thread is told."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.told: asyncio.Future[bool] = self._loop.create_future()

    def tell(self, is_done: bool, _: object) -> None:
        """OpenDHT calls this, perhaps twice."""
        self._loop.call_soon_threadsafe(lambda: None if self.told.done() else self.told.set_result(is_done))


SYSTEMS = {"chordtwist": "chordtwist", "chordtwist-tls": "chordtwist", "kademlia": "kademlia", "opendht": "opendht"}
"""By name, the package whose version is told."""


def nodes_of(system: str, copies: int | None) -> Nodes:
    """The nodes of a system that is named."""
    if system.startswith("chordtwist"):
        return ChordtwistNodes(copies, tls=system == "chordtwist-tls")
    return KademliaNodes(copies) if system == "kademlia" else OpenDhtNodes()


# One process of nodes


async def serve(nodes: Nodes, first: int, count: int) -> None:
    """Start the nodes and do what standard input says, several things at once if need be."""
    began_s = time.monotonic()
    await nodes.start(first, count)
    print(json.dumps({"formed_s": time.monotonic() - began_s}), flush=True)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    under_way = set()
    while line := await lines.readline():
        under_way.add(asyncio.create_task(work(nodes, count, **json.loads(line))))
    os._exit(0)


async def work(nodes: Nodes, count: int, name: str, what: str, numbers: list[int], in_flight: int) -> None:
    """Put or get, and print what became of it."""
    latencies_s: list[float] = []
    right = 0
    ahead = iter(enumerate(numbers))

    async def again() -> None:
        nonlocal right
        for turn, number in ahead:
            began_s = time.monotonic()
            operation = (
                nodes.put(turn % count, key_of(number), value_of(number))
                if what == "put"
                else nodes.get(turn % count, key_of(number))
            )
            try:
                answer = await asyncio.wait_for(operation, OPERATION_WITHIN_S)
            except Exception:  # whatever went wrong in whichever system: it is not right
                answer = None
            right += answer is True or answer == value_of(number)
            latencies_s.append(time.monotonic() - began_s)

    began_s, cpu_began_s = time.monotonic(), time.process_time()
    await asyncio.gather(*(again() for _ in range(in_flight)))
    result = {
        "name": name,
        "took_s": time.monotonic() - began_s,
        "cpu_s": time.process_time() - cpu_began_s,
        "right": right,
        "latencies_s": latencies_s,
    }
    print(json.dumps(result), flush=True)


# All processes together


class Herds:
    """The processes; killed when all is done."""

    def __init__(self, given: argparse.Namespace, system: str) -> None:
        self.given = given
        self._system = system
        per_process = given.nodes // given.processes
        self._processes: list[subprocess.Popen[str]] = []
        self._early: list[tuple[subprocess.Popen[str], dict[str, Any]]] = []
        """What was told while something else was waited for."""
        for number in range(given.processes):
            of_herd = ["--first", str(number * per_process), "--count", str(per_process)]
            if given.copies is not None:
                of_herd += ["--copies", str(given.copies)]
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.others", system, *of_herd],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self._processes.append(process)
            if not number:
                self._told(process)  # everybody else joins its first node
        for process in self._processes[1:]:
            self._told(process)

    def begin(self, name: str, numbers: list[int]) -> None:
        """Let the processes share some work: puts when it is called "put", else gets."""
        share = len(self._processes)
        for index, process in enumerate(self._processes):
            line = {
                "name": name,
                "what": name if name == "put" else "get",
                "numbers": numbers[index::share],
                "in_flight": max(1, self.given.in_flight // share),
            }
            assert process.stdin is not None
            process.stdin.write(json.dumps(line) + "\n")
            process.stdin.flush()

    def outcome(self, name: str) -> dict[str, object]:
        """What became of it, waited for."""
        told = [self._told(process, name) for process in self._processes]
        latencies_s = sorted(latency_s for one in told for latency_s in one["latencies_s"])
        count = len(latencies_s)
        return {
            f"{name}_right": round(sum(one["right"] for one in told) / count, 5),
            f"{name}_per_s": round(count / max(one["took_s"] for one in told)),
            f"{name}_cpu_ms": round(1000 * sum(one["cpu_s"] for one in told) / count, 3),
            f"{name}_p50_ms": round(1000 * latencies_s[count // 2], 2),
            f"{name}_p99_ms": round(1000 * latencies_s[count * 99 // 100], 2),
        }

    def kill(self, indexes: list[int]) -> None:
        """SIGKILL."""
        for index in sorted(indexes, reverse=True):
            process = self._processes.pop(index)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _told(self, process: subprocess.Popen[str], name: str | None = None) -> dict[str, Any]:
        assert process.stdout is not None
        for early in self._early:
            if early[0] is process and early[1].get("name") == name:
                self._early.remove(early)
                return early[1]
        while line := process.stdout.readline():
            told: dict[str, Any] = json.loads(line)
            if told.get("name") == name:
                return told
            self._early.append((process, told))
        raise SystemExit(f"{self._system} does not run here; is it on the PYTHONPATH?")


def rates(herds: Herds) -> dict[str, object]:
    """Puts, then gets."""
    keys = list(range(herds.given.keys))
    herds.begin("put", keys)
    result = herds.outcome("put")
    herds.begin("get", random.Random(1).choices(keys, k=2 * len(keys)))
    return result | herds.outcome("get")


def killed(herds: Herds) -> dict[str, object]:
    """Puts; then three in ten processes die."""
    keys = list(range(herds.given.keys))
    herds.begin("put", keys)
    result = herds.outcome("put")
    time.sleep(herds.given.settle_s)
    processes = herds.given.processes
    herds.kill(random.Random(1).sample(range(1, processes), processes * 3 // 10))
    random.Random(2).shuffle(keys)
    herds.begin("get_at_0_s", keys)
    time.sleep(10)
    herds.begin("get_at_10_s", keys)
    return result | herds.outcome("get_at_0_s") | herds.outcome("get_at_10_s")


def main() -> None:
    """Do one work with one system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", metavar="SYSTEM", nargs="+", choices=SYSTEMS, help=", ".join(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=1, help="of all systems in turn (1)")
    parser.add_argument("--settle-s", type=float, default=10, help="between forming, or putting, and what is next (10)")
    parser.add_argument("--work", choices=("rates", "killed"), default="rates")
    parser.add_argument("--nodes", type=int, default=10, help="in all (10)")
    parser.add_argument("--processes", type=int, default=2, help="that they are spread over (2)")
    parser.add_argument("--keys", type=int, default=2000, help="(2000)")
    parser.add_argument("--in-flight", type=int, default=32, help="operations under way in all (32)")
    parser.add_argument("--copies", type=int, help="of each record; unless given, what is the system's default")
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first is not None:
        be_herd(nodes_of(given.systems[0], given.copies), given.first, given.count)
        return
    results: dict[str, list[dict[str, object]]] = {system: [] for system in given.systems}
    for system in given.systems * given.rounds:
        results[system].append(measured(given, system))
    first, *others = given.systems
    if others:
        print(json.dumps({f"{other} to {first}": ratios(results[other], results[first]) for other in others}))


def ratios(ours: list[dict[str, object]], theirs: list[dict[str, object]]) -> dict[str, float]:
    """The median over all rounds of what one system did to what the other did, for each rate."""
    names = [name for name in ours[0] if name.endswith("_per_s")]
    pairs = list(zip(ours, theirs, strict=True))
    return {name: round(median(cast(float, a[name]) / cast(float, b[name]) for a, b in pairs), 3) for name in names}


def measured(given: argparse.Namespace, system: str) -> dict[str, object]:
    """Do the work with one system, print what came of it."""
    about = {name: getattr(given, name) for name in ("work", "nodes", "processes", "keys", "copies")}
    herds = Herds(given, system)
    try:
        time.sleep(given.settle_s)
        result = {"rates": rates, "killed": killed}[given.work](herds)
    finally:
        herds.kill(list(range(len(herds._processes))))
    print(json.dumps({"system": system, **about, "version": version(SYSTEMS[system]), **result}), flush=True)
    return result


def be_herd(nodes: Nodes, first: int, count: int) -> None:
    """Run one process of nodes until it is killed."""
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)
    from twisted.internet import reactor

    running: Any = reactor

    async def run() -> None:
        try:
            await serve(nodes, first, count)
        finally:
            os._exit(1)

    running.callWhenRunning(lambda: setattr(running, "herd", loop.create_task(run())))
    running.run()


if __name__ == "__main__":
    main()
