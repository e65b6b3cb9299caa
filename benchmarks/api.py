"""Puts and gets per second through the API of a ring of real processes, every value checked.

``python -m benchmarks.api [--nodes N] [--clients C] [--value-bytes B] [--seconds S] [--tls] [--elsewhere] [--turns]``
starts N nodes on loopback addresses of their own, lets C clients, spread over them, first put for S seconds (confirmed
puts of new keys) and then get for S seconds (random keys, each at whatever node the client is connected to), and prints
one JSON object:


- ``puts_per_s``, ``put_p50_ms``, ``put_p99_ms``: confirmed puts, from the question to the outcome;
- ``gets_per_s``, ``p50_ms``, ``p99_ms``: gets;
- ``right``: the share of all outcomes and values that were as they should be;
- ``cpu_ms_per_put``, ``cpu_ms_per_get``: processor time of all nodes together, which a busy machine does not change;
- ``limit_gets_per_s``: the same clients at a server with the same protocol and no node behind it, in the same run, and
  ``gets_ratio``, what the ring did to that;
- ``elsewhere_p50_ms``, with ``--elsewhere``: gets by one client of the first node, of keys that only others hold;
  ``elsewhere_per_s``: the same with 64 under way, which it pipelines; ``frames_per_s``: bare frames with such values
  (``benchmarks.limits``), in the same run, and ``frames_ratio``, what the node did to that;
- ``longest_turn_ms``, with ``--turns``: processor time of the longest turn of any node's reactor, and ``turns``, their
  number, while all that went on;
- ``formed_s``: how long the ring took, from the last node's API to every neighbour right.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection
from typing import Any

from benchmarks._forked import Forked
from benchmarks.limits import OneValue
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.quantile import quantile
from chordtwist.core.records import position_of
from chordtwist.core.ring import distance
from chordtwist.net.api import ApiFactory
from chordtwist.wire.api_messages import AnswerReader, Get, Outcome, PutConfirmed, ResultCode, Success
from tests.fleet import API_PORT, P2P_PORT, Fleet
from tests.turns import turns_of

PREFIX = "127.77.0."
"""Nodes have the addresses 1 to N of it, away from those of the tests."""

LIMIT_HOST = "127.77.1.1"

NETWORK = "benchmark"

COPIES = 3
PIPELINED = 64
"""Gets under way over one connection."""

SILENCE_S = 60.0
"""After it a benchmark that gets no answer gives up."""

READ_BYTES = 1 << 16


def value_of(key: bytes, length: int) -> bytes:
    """The value that belongs under a key, so that nobody has to remember it."""
    return (key * (length // len(key) + 1))[:length]


class Load:
    """What all clients do in one phase: which question is next, whether an answer is right, how long answers took."""

    def __init__(self, question: Callable[[], tuple[bytes, bytes]], is_right: Callable[[bytes, object], bool]) -> None:
        self.question = question
        self.is_right = is_right
        self.latencies_s: list[float] = []
        self.right = 0

    def per_s(self, seconds: float) -> int:
        """Answers per second."""
        return round(len(self.latencies_s) / seconds)

    def quantile_ms(self, share: float) -> float:
        """The time within which this share of the answers came."""
        return round(quantile(self.latencies_s, share) * 1000, 3) if self.latencies_s else 0.0


class Client:
    """A connection with one question under way."""

    __slots__ = ("asked_s", "key", "reader", "socket")

    def __init__(self, host: str) -> None:
        self.socket = create_connection((host, API_PORT))
        self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self.reader = AnswerReader()

    def ask(self, load: Load) -> None:
        """The next question."""
        self.key, raw = load.question()
        self.asked_s = time.perf_counter()
        self.socket.sendall(raw)


def run_load(hosts: Sequence[str], clients: int, seconds: float, load: Load) -> Load:
    """Connect the clients to the hosts in turn and let each ask, one question after another, for so many seconds, until
    the last answer is here.

    A plain loop: with Twisted at this end too, the clients took half as much of the machine as the node that they were
    to measure.

    @raise ConnectionError: a node hangs up, or is silent.
    """
    asking = {}
    with ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        for number in range(clients):
            client = Client(hosts[number % len(hosts)])
            stack.enter_context(client.socket)
            poll.register(client.socket, select.EPOLLIN)
            asking[client.socket.fileno()] = client
        ends_s = time.perf_counter() + seconds
        for client in asking.values():
            client.ask(load)
        while asking:
            events = poll.poll(SILENCE_S)
            if not events:
                raise ConnectionError(f"no answer for {SILENCE_S:g} s")
            for descriptor, _ in events:
                client = asking[descriptor]
                raw = client.socket.recv(READ_BYTES)
                if not raw:
                    raise ConnectionError(f"{client.socket.getpeername()[0]} hung up")
                client.reader.feed(raw)
                answer = client.reader.take()
                if answer is None:
                    continue
                now_s = time.perf_counter()
                load.latencies_s.append(now_s - client.asked_s)
                load.right += load.is_right(client.key, answer)
                if now_s < ends_s:
                    client.ask(load)
                else:
                    del asking[descriptor]
    return load


def pipelined_per_s(host: str, seconds: float, load: Load) -> float:
    """Answers per second to one client that has `PIPELINED` gets under way."""
    client = Client(host)
    with client.socket:
        client.socket.settimeout(SILENCE_S)
        began_s = time.perf_counter()
        client.socket.sendall(b"".join(load.question()[1] for _ in range(PIPELINED)))
        answers = 0
        while time.perf_counter() < began_s + seconds:
            raw = client.socket.recv(READ_BYTES)
            if not raw:
                raise ConnectionError(f"{host} hung up")
            client.reader.feed(raw)
            questions = []
            while (answer := client.reader.take()) is not None:
                load.right += load.is_right(answer.key, answer) if isinstance(answer, Success) else 0
                answers += 1
                questions.append(load.question()[1])
            client.socket.sendall(b"".join(questions))
        return answers / (time.perf_counter() - began_s)


def held_elsewhere(keys: Sequence[bytes], hosts: Sequence[str]) -> list[bytes]:
    """Leave out the keys of which the first host has a copy."""
    identity = Identity(NETWORK, Policy.IP)
    peers = [identity.peer(host, P2P_PORT) for host in hosts]

    def holders(key: bytes) -> list[str]:
        position = position_of(key)
        return [peer.host for peer in sorted(peers, key=lambda peer: distance(position, peer.id))[:COPIES]]

    return [key for key in keys if hosts[0] not in holders(key)]


def frames_per_s(seconds: float, value_bytes: int) -> int:
    """What two processes do that only pass frames with such values."""
    options = f"--seconds {seconds / 4} --rounds 3 --in-flight {PIPELINED} --frame-value-bytes {value_bytes}"
    words = [sys.executable, "-m", "benchmarks.limits", *options.split()]
    lines = subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    return next(int(line["per_s"]) for line in map(json.loads, lines) if line["limit"] == "frames")


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time that processes have used so far, in seconds (proc(5): fields 14 and 15 of stat)."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(given: argparse.Namespace, hosts: Sequence[str], pids: Sequence[int]) -> dict[str, object]:
    """Put, get, and get where there is no node."""
    rng = random.Random(given.seed)
    keys: list[bytes] = []

    def put() -> tuple[bytes, bytes]:
        key = rng.randbytes(32)
        return key, PutConfirmed(1, 3600, 0, key, value_of(key, given.value_bytes)).pack()

    def is_stored(key: bytes, answer: object) -> bool:
        is_right = isinstance(answer, Outcome) and answer.code is ResultCode.DONE
        if is_right:
            keys.append(key)
        return is_right

    def get() -> tuple[bytes, bytes]:
        key = rng.choice(keys)
        return key, Get(key).pack()

    def is_found(key: bytes, answer: object) -> bool:
        return answer == Success(key, value_of(key, given.value_bytes))

    cpu_start_s = cpu_s(pids)
    puts = run_load(hosts, given.clients, given.seconds, Load(put, is_stored))
    if not keys:
        raise RuntimeError("not one put was confirmed")
    cpu_between_s = cpu_s(pids)
    gets = run_load(hosts, given.clients, given.seconds, Load(get, is_found))
    cpu_end_s = cpu_s(pids)
    limit = run_load([LIMIT_HOST], given.clients, min(given.seconds, 2.0), Load(get, lambda *_: True))
    asked = len(puts.latencies_s) + len(gets.latencies_s)
    elsewhere: dict[str, object] = {}
    if given.elsewhere:
        keys[:] = held_elsewhere(keys, hosts)
        if not keys:
            raise RuntimeError("the first node has a copy of everything: there are too few nodes")
        one = run_load(hosts[:1], 1, given.seconds, Load(get, is_found))
        pipelined = Load(get, is_found)
        per_s = pipelined_per_s(hosts[0], given.seconds, pipelined)
        frames = frames_per_s(given.seconds, given.value_bytes)
        elsewhere = {
            "elsewhere_p50_ms": one.quantile_ms(0.5),
            "elsewhere_per_s": round(per_s),
            "frames_per_s": frames,
            "frames_ratio": round(per_s / frames, 3),
        }
    limit_per_s = limit.per_s(min(given.seconds, 2.0))
    return {
        "puts_per_s": puts.per_s(given.seconds),
        "gets_per_s": gets.per_s(given.seconds),
        "p50_ms": gets.quantile_ms(0.5),
        "p99_ms": gets.quantile_ms(0.99),
        "right": (puts.right + gets.right) / asked,
        "put_p50_ms": puts.quantile_ms(0.5),
        "put_p99_ms": puts.quantile_ms(0.99),
        "cpu_ms_per_put": round((cpu_between_s - cpu_start_s) / len(puts.latencies_s) * 1000, 3),
        "cpu_ms_per_get": round((cpu_end_s - cpu_between_s) / len(gets.latencies_s) * 1000, 3),
        "limit_gets_per_s": limit_per_s,
        "gets_ratio": round(gets.per_s(given.seconds) / limit_per_s, 3),
        **elsewhere,
    }


def main() -> None:
    """Start the ring, load it, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=5, help="processes, up to 250 (5)")
    options.add_argument("--clients", type=int, default=32, help="connections, one question under way each (32)")
    options.add_argument("--value-bytes", type=int, default=100, help="length of every value (100)")
    options.add_argument("--seconds", type=float, default=5, help="for the puts, and again for the gets (5)")
    options.add_argument("--tls", action="store_true", help="TLS 1.3 between the nodes")
    options.add_argument("--elsewhere", action="store_true", help="gets at the first node of what others hold, too")
    options.add_argument("--turns", action="store_true", help="how long the turns of the nodes' reactors take")
    options.add_argument("--state", action="store_true", help="records on disk instead of in memory")
    options.add_argument("--seed", type=int, default=1, help="of the keys and their order (1)")
    given = options.parse_args()

    def serve(reactor: Any) -> None:
        door = ApiFactory(OneValue(value_of(b"k" * 32, given.value_bytes)), reactor, reactor.stop)
        reactor.listenTCP(API_PORT, door, 50, LIMIT_HOST)

    about = {name: getattr(given, name) for name in ("nodes", "clients", "value_bytes", "seconds", "tls", "state")}
    settings = {"network": NETWORK, "replication": COPIES, **({"state_dir": "yes"} if given.state else {})}
    with Forked(serve), Fleet(settings, "open" if given.tls else "off", PREFIX) as fleet:
        fleet.reactor = "chord"  # as services run it, by ``chordtwist run``
        fleet.measures_turns = given.turns
        fleet.start(range(1, given.nodes + 1))
        try:
            formed_s = fleet.wait_for_ring(60.0)
        except (OSError, AssertionError) as error:
            last = {number: fleet.log(number).strip().rpartition("\n")[2] for number in fleet.processes}
            raise SystemExit(f"no ring: {error}; the last words of the nodes: {last}") from None
        hosts = [fleet.host(number) for number in fleet.numbers]
        pids = [process.pid for process in fleet.processes.values()]
        began_s = time.monotonic()
        found = measure(given, hosts, pids)
        if given.turns:
            turns = [turns_of(fleet.turns(number), began_s, time.monotonic()) for number in fleet.numbers]
            found["turns"] = sum(of_node.count for of_node in turns)
            found["longest_turn_ms"] = round(max(of_node.longest_s for of_node in turns) * 1000, 1)
        print(json.dumps({**about, **found, "formed_s": round(formed_s, 2)}), flush=True)


if __name__ == "__main__":
    main()
