"""How long N nodes in one process, each on a loopback address of its own, take to become one ring that is right.

``python -m benchmarks.ring --nodes N [--tls] [--rounds R]`` prints one JSON object per round, and with several a last
one of medians:

- ``formed_s``: from the start of the last node until every successor list, predecessor and finger is what the sorted
  ids say;
- ``correct``: whether that happened in the time given; else ``wrong`` counts what was not right in the end;
- ``rss_mib``: memory of the process, ``mib_per_node`` what a node took of it;
- ``connections``: open links, each counted once; ``descriptors``: open files of the process;
- ``idle_cpu_percent``, ``idle_bytes_per_node_s``: once formed, for some seconds: what upkeep costs.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from random import Random, SystemRandom
from statistics import median
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import deferLater

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.ring import finger_start
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.bounds import links_bound
from chordtwist.net.certificates import make_key, self_signed
from chordtwist.net.introduction import Introduction
from chordtwist.net.peer_pool import PeerPool
from chordtwist.net.tls import Credentials, Tls
from chordtwist.node.environment import Environment
from chordtwist.node.node import Node
from chordtwist.storage.memory import MemoryRecordStore

NETWORK = "127.91.0.0"
PORT = 6401
LOOK_EVERY_S = 0.25


class Member:
    """One node with its links and its port."""

    def __init__(self, number: int, nodes: int, parameters: Parameters, tls: bool, reactor: Any) -> None:
        identity = Identity(parameters.network, parameters.policy)
        self.peer = identity.peer(host_of(number), PORT)
        bootstrap = identity.peer(host_of(0), PORT)
        signer = Ed25519Signer(os.urandom(32))
        epoch = wall_ms()
        introduction = Introduction(self.peer, identity, parameters, signer, verify_ed25519, epoch, wall_ms)
        key = make_key() if tls else b""
        shown = Credentials(self_signed(key, self.peer.host), key) if tls else None
        own = None if shown is None else Tls(shown, self.peer.host, lambda: datetime.now(UTC), reactor)
        self.pool = PeerPool(reactor, introduction, own, self.peer.host, links_bound(nodes))
        self.node = Node(
            self.peer,
            identity,
            parameters,
            self.pool,
            MemoryRecordStore(),
            Environment(
                reactor,
                wall_ms,
                Random(number),
                SystemRandom(),
                signer,
                verify_ed25519,
                lambda: max(wall_ms(), epoch + 1),
                lambda: succeed([bootstrap]),
            ),
        )
        self.port = reactor.listenTCP(PORT, self.pool.factory, 511, self.peer.host)
        self.pool.start(self.node)

    async def stop(self) -> None:
        """Close port and links."""
        self.node.stop()
        await self.port.stopListening()
        await self.pool.stop()


def host_of(number: int) -> str:
    """The loopback address of a node."""
    first, second, *_ = NETWORK.split(".")
    return f"{first}.{second}.{number // 250}.{number % 250 + 1}"


def wall_ms() -> int:
    """Wall time."""
    return time.time_ns() // 1_000_000


class Right:
    """What is right in a ring of which all members are known."""

    def __init__(self, everybody: Iterable[Peer]) -> None:
        self._order = sorted(everybody, key=lambda peer: peer.id)
        self._ids = [peer.id for peer in self._order]

    def wrong(self, node: Node) -> dict[str, int]:
        """Count what is not right at one node: whether it is no member, its successors, predecessor and fingers."""
        order, count, routing = self._order, len(self._order), node.routing
        index = bisect_left(self._ids, node.me.id)
        others = [order[(index + step) % count] for step in range(1, count)]
        listed = others if count - 1 <= 2 * routing.entries_max and routing.whole else others[: routing.entries_max]
        found = {
            "not_members": int(not node.is_member),
            "successors": int(list(routing.successors) != listed),
            "predecessors": int(routing.predecessor != (others[-1] if others else None)),
            "fingers": 0,
        }
        for k in routing.fingers_wanted():
            right = order[bisect_left(self._ids, finger_start(node.me.id, k)) % count]
            found["fingers"] += routing.fingers.get(k) != (None if right == node.me else right)
        return found


def wrong(members: list[Member]) -> dict[str, int]:
    """Count what is not what the sorted ids say, of all members."""
    right, found = Right(member.peer for member in members), Counter[str]()
    for member in members:
        found.update(right.wrong(member.node))
    return dict(found)


def rss_mib() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def measured(given: argparse.Namespace, reactor: Any) -> dict[str, object]:
    """Form a ring, look, and take it down."""
    parameters = Parameters(network="benchmark", successors=given.successors)
    before_mib = rss_mib()
    members = [Member(number, given.nodes, parameters, given.tls, reactor) for number in range(given.nodes)]
    began = time.monotonic()
    for member in members:
        member.node.start()
    began_cpu_s = time.process_time()
    while any(left := wrong(members).values()) and time.monotonic() - began < given.seconds:
        await deferLater(reactor, LOOK_EVERY_S)
    formed_s = time.monotonic() - began
    cpu_s = time.process_time() - began_cpu_s
    result: dict[str, object] = {
        "nodes": given.nodes,
        "tls": given.tls,
        "formed_s": round(formed_s, 2),
        "correct": not any(left),
        "wrong": wrong(members) if any(left) else {},
        "cpu_s": round(cpu_s, 2),
        "rss_mib": round(rss_mib(), 1),
        "mib_per_node": round((rss_mib() - before_mib) / given.nodes, 2),
    }
    written = sum(member.pool.counts.bytes_written for member in members)
    began, began_cpu_s = time.monotonic(), time.process_time()
    await deferLater(reactor, given.idle)
    took_s = time.monotonic() - began
    written = sum(member.pool.counts.bytes_written for member in members) - written
    result["idle_cpu_percent"] = round(100 * (time.process_time() - began_cpu_s) / took_s, 1)
    result["connections"] = sum(member.pool.status()["open"] for member in members) // 2
    result["descriptors"] = len(os.listdir("/proc/self/fd"))
    result["idle_bytes_per_node_s"] = round(written / took_s / given.nodes)
    await gatherResults([Deferred.fromCoroutine(member.stop()) for member in members])
    return result


async def rounds(given: argparse.Namespace, reactor: Any) -> None:
    """Measure so many rings one after another, print each, and the medians of all."""
    results = []
    for _ in range(given.rounds):
        results.append(await measured(given, reactor))
        print(json.dumps(results[-1]), flush=True)
    if len(results) > 1:
        figures = [name for name, value in results[0].items() if isinstance(value, float)]
        medians = {name: median(cast(float, result[name]) for result in results) for name in figures}
        print(json.dumps({"medians_of": len(results), **medians}))


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=50)
    options.add_argument("--tls", action="store_true", help="over TLS 1.3, both sides with certificates")
    options.add_argument("--successors", type=int, default=16, help="entries of a successor list (16)")
    options.add_argument("--seconds", type=float, default=60, help="time in which the ring has to form (60)")
    options.add_argument("--rounds", type=int, default=1, help="rings, one after another (1)")
    options.add_argument("--idle", type=float, default=5, help="time to look at it afterwards (5)")
    given = options.parse_args()
    from twisted.internet import reactor as installed

    reactor: Any = installed
    reactor.seconds = time.monotonic

    def begin() -> None:
        done = Deferred.fromCoroutine(rounds(given, reactor))
        done.addErrback(lambda failure: print(failure.getTraceback())).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
