"""The same work done by chordtwist, by kademlia and by OpenDHT, side by side on one machine.

``python -m benchmarks.versus [--systems SYSTEM...] [--nodes N...] [--passes P]`` lets all systems form a ring of N
nodes in turn, each in several processes, and measures it; every operation is issued inside such a process, at its
nodes in turn, with 1 or 32 under way in all, and every value of 100 bytes is checked. It prints one JSON object for
each ring; in the end, on standard error, tables of the medians:

- ``form_s``: until every node is a member; ``right_s``: until every neighbour and finger is right, where that can be
  told, the young ring's work included; ``form_cpu_ms``: what forming took of a processor, for each node;
- ``young_put_32_...``, ``young_get_32_...``: at once, at all nodes; ``warm_put_1_...`` and so on: later, at 16 nodes
  that know the ring, and have put and read 2,000 other keys. ``per_s``, ``p50_ms``, ``p99_ms``; ``cpu_ms`` and
  ``bytes`` of all nodes for each operation, bytes with all headers; ``right`` the share of right answers, ``missing``
  how many gets of a key that was confirmed found nothing, ``failed`` and ``wrong`` how many did not end well;
- ``formed_kib``, ``used_kib``: memory of a node, once formed and at the end;
- ``idle_cpu_percent``, ``idle_bytes_per_s``: of a node, while nothing is asked.

kademlia and OpenDHT are no dependencies of this project: ``pip install -e .[versus]``; what is not installed is left
out. Where the system allows it, all of it happens in a network namespace of its own, so that bytes of others do not
count. Copies of a record: ours as asked for, kademlia 20, OpenDHT 8. Only chordtwist-tls encrypts.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks._systems import SYSTEMS
from benchmarks._versus_shown import plot, tables
from chordtwist.core.quantile import quantile

IN_FLIGHT = 1, 32
ASKING = 16
"""Nodes that ask in a warm ring."""

WARM_KEYS = 2000
WARM_WITHIN_S = 60.0
RIGHT_WITHIN_S = 240.0
SETTLE_S = 5.0
"""Between forming, or working, and what is next."""

KILLED = 3, 10
"""Of so many processes so many are ended, with ``--kill``, and one at least."""

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


class Herds:
    """All processes of one ring."""

    def __init__(self, system: str, nodes: int, processes: int, copies: int, joining: int) -> None:
        """Start them at once, or so many of ours at a time. @raise SystemExit: one does not form."""
        self._system = system
        self.nodes = nodes
        share = nodes // processes
        began_s = time.monotonic()
        words = [sys.executable, "-m", "benchmarks._herd", system]
        self._processes = [
            subprocess.Popen(
                [*words, *map(str, (number * share, share, nodes, copies, joining))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if "VERSUS_LOUD" in os.environ else subprocess.DEVNULL,
                text=True,
            )
            for number in range(processes)
        ]
        told = [self._told(process) for process in self._processes]
        self._before = {what: sum(one[what] for one in told) for what in ("kib", "cpu_s")}
        self.formed_s = time.monotonic() - began_s

    def __len__(self) -> int:
        return len(self._processes)

    def all_do(self, orders: Iterable[dict[str, object]]) -> list[dict[str, Any]]:
        """Let each do something, and wait for all answers."""
        for process, order in zip(self._processes, orders, strict=False):
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        return [self._told(process) for process in self._processes]

    def look(self) -> dict[str, float]:
        """Processor seconds and KiB for each node, since everything was loaded, and what is wrong in the ring."""
        told = self.all_do([{"do": "look"}] * len(self))
        cpu_s, kib = (sum(one[what] for one in told) - self._before[what] for what in ("cpu_s", "kib"))
        return {"cpu_s": cpu_s, "kib": round(kib / self.nodes), "wrong": sum(one["wrong"] for one in told)}

    def kill(self, numbers: Iterable[int]) -> None:
        """SIGKILL."""
        for number in sorted(numbers, reverse=True):
            process = self._processes.pop(number)
            process.send_signal(signal.SIGKILL)
            process.wait()

    def end(self) -> None:
        """SIGKILL for all that are left."""
        self.kill(range(len(self)))

    def _told(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            self.end()
            raise SystemExit(f"{self._system} does not run here; VERSUS_LOUD=1 in the environment shows why")
        told: dict[str, Any] = json.loads(line)
        return told


class Measured:
    """One ring, and what came of it."""

    def __init__(self, herds: Herds, seconds: float) -> None:
        self._herds = herds
        self._seconds = seconds
        self._next_number = 0
        self.found: dict[str, object] = {"form_s": round(herds.formed_s, 2)}
        look = herds.look()
        self.found["form_cpu_ms"] = round(1000 * look["cpu_s"] / herds.nodes, 1)
        self.found["formed_kib"] = look["kib"]

    def settle(self) -> None:
        """Wait until all is right."""
        began_s = time.monotonic()
        while self._herds.look()["wrong"] and time.monotonic() - began_s < RIGHT_WITHIN_S:
            time.sleep(0.5)
        if not self._herds.look()["wrong"]:
            self.found["right_s"] = round(self._herds.formed_s + time.monotonic() - began_s, 2)
        time.sleep(SETTLE_S)

    def warm(self, asking: int) -> None:
        """Let the nodes that will ask know the ring, and ask."""
        self._herds.all_do([{"do": "warm", "asking": asking}] * len(self._herds))
        keys = self.put("", asking, 32, WARM_WITHIN_S, WARM_KEYS)
        self.get("", keys, asking, 32, WARM_WITHIN_S, most=WARM_KEYS)

    def put(self, name: str, asking: int, in_flight: int, seconds: float, most: int | None = None) -> list[int]:
        """Put new keys; answers with those that were confirmed."""
        share = len(self._herds)
        first = self._next_number
        orders = [
            {
                "do": "put",
                "first": first + index,
                "step": share,
                **self._limits(index, asking, in_flight, seconds, most),
            }
            for index in range(share)
        ]
        told = self._work(name, orders)
        self._next_number = first + share * max(len(one["latencies_s"]) for one in told)
        return [
            number
            for index, one in enumerate(told)
            for number in range(first + index, first + index + share * len(one["latencies_s"]), share)
            if number not in set(one["failed"])
        ]

    def get(
        self,
        name: str,
        keys: Sequence[int],
        asking: int,
        in_flight: int,
        seconds: float,
        most: int | None = None,
        each: bool = False,
    ) -> None:
        """Get keys at random, or each once."""
        share = len(self._herds)
        orders = [
            {
                "do": "get",
                "numbers": list(keys[index::share]) if each else list(keys),
                "each": each,
                "first": index,
                **self._limits(index, asking, in_flight, seconds, most),
            }
            for index in range(share)
        ]
        self._work(name, orders)

    def idle(self, seconds: float) -> None:
        """Do nothing."""
        time.sleep(SETTLE_S)
        before, bytes_before = self._herds.look(), bytes_moved()
        time.sleep(seconds)
        nodes, look = self._herds.nodes, self._herds.look()
        self.found["idle_cpu_percent"] = round(100 * (look["cpu_s"] - before["cpu_s"]) / seconds / nodes, 4)
        self.found["idle_bytes_per_s"] = round((bytes_moved() - bytes_before) / seconds / nodes)
        self.found["used_kib"] = look["kib"]

    def _limits(self, index: int, asking: int, in_flight: int, seconds: float, most: int | None) -> dict[str, object]:
        share = len(self._herds)
        here = in_flight // share + (index < in_flight % share)
        limits: dict[str, object] = {"asking": asking, "in_flight": here, "seconds": seconds}
        return limits if most is None else limits | {"most": most // share}

    def _work(self, name: str, orders: Sequence[dict[str, object]]) -> list[dict[str, Any]]:
        before, bytes_before = self._herds.look()["cpu_s"], bytes_moved()
        told = self._herds.all_do(orders)
        cpu_s, moved = self._herds.look()["cpu_s"] - before, bytes_moved() - bytes_before
        latencies_s = [latency_s for one in told for latency_s in one["latencies_s"]]
        count = len(latencies_s)
        bad = {what: sum(len(one[what]) for one in told) for what in ("missing", "failed", "wrong")}
        figures: dict[str, object] = {
            "count": count,
            "per_s": round(count / max(one["took_s"] for one in told if one["latencies_s"]), 1),
            "cpu_ms": round(1000 * cpu_s / count, 3),
            "bytes": round(moved / count),
            "p50_ms": round(1000 * quantile(latencies_s, 0.5), 2),
            "p99_ms": round(1000 * quantile(latencies_s, 0.99), 2),
            "longest_ms": round(1000 * max(latencies_s)),
            "right": round(1 - sum(bad.values()) / count, 5),
            **bad,
        }
        if name:
            self.found |= {f"{name}_{figure}": value for figure, value in figures.items()}
        return told


def bytes_moved() -> int:
    """What the loopback interface of this network namespace has moved so far, headers included."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.split()[0] == "lo:")


def be_alone() -> bool:
    """Enter a network namespace with nothing but loopback, so that no other bytes count; whether that is allowed."""
    if ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWNET):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))
    return True


def measured(given: argparse.Namespace, system: str, nodes: int) -> dict[str, object]:
    """Form one ring, measure it, end it."""
    processes = given.processes or max(2, nodes // 100)
    herds = Herds(system, nodes, processes, given.copies, given.joining or nodes)
    try:
        ring = Measured(herds, given.seconds)
        keys = ring.put("young_put_32", nodes // processes, 32, given.seconds)
        ring.get("young_get_32", keys, nodes // processes, 32, given.seconds)
        ring.settle()
        asking = max(1, min(nodes, ASKING) // processes)
        ring.warm(asking)
        for in_flight in IN_FLIGHT:
            keys = ring.put(f"warm_put_{in_flight}", asking, in_flight, given.seconds)
            ring.get(f"warm_get_{in_flight}", keys, asking, in_flight, given.seconds)
        ring.idle(given.idle)
        if given.kill:
            herds.kill(random.Random(1).sample(range(1, processes), max(1, processes * KILLED[0] // KILLED[1])))
            for moment in ("at_once", "later"):
                ring.get(f"killed_get_{moment}", keys, nodes // processes, 32, 600.0, each=True)
                time.sleep(SETTLE_S)
    finally:
        herds.end()
    about = {"system": system, "version": version(SYSTEMS[system]), "nodes": nodes, "processes": processes}
    return {**about, "copies": given.copies, **ring.found}


def main() -> None:
    """Measure all, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help=", ".join(SYSTEMS))
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100], help="of each ring (10 100)")
    parser.add_argument("--passes", type=int, default=3, help="of everything in turn (3)")
    parser.add_argument("--processes", type=int, help="of each ring; unless given, one for 100 nodes, 2 at least")
    parser.add_argument("--copies", type=int, default=3, help="of each record of ours (3)")
    parser.add_argument("--joining", type=int, help="so many of ours join at a time in each process (all)")
    parser.add_argument("--seconds", type=float, default=4, help="for the puts, and for the gets, each time (4)")
    parser.add_argument("--idle", type=float, default=10, help="seconds to look on while nothing is asked (10)")
    parser.add_argument(
        "--kill", action="store_true", help="end three in ten processes then, or one, and read every key"
    )
    parser.add_argument("--shown", type=Path, metavar="FILE", help="measure nothing: show the objects in this file")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the rates")
    given = parser.parse_args()
    if given.shown is not None:
        results = [json.loads(line) for line in given.shown.read_text().splitlines()]
    else:
        if not be_alone():
            print("no network namespace to be had: bytes of others count too", file=sys.stderr)
        results = []
        for nodes in given.nodes:
            for system in installed(given.systems) * given.passes:
                results.append(measured(given, system, nodes))
                print(json.dumps(results[-1]), flush=True)
    if given.plot is not None:
        given.plot.write_text(plot(results))
    print(tables(results), file=sys.stdout if given.shown else sys.stderr)


def installed(systems: Iterable[str]) -> list[str]:
    """Leave out what is not installed, and say so."""
    found = []
    for system in systems:
        try:
            version(SYSTEMS[system])
        except PackageNotFoundError:
            print(f"{system} is left out, since it is not installed: pip install -e .[versus]", file=sys.stderr)
        else:
            found.append(system)
    return found


if __name__ == "__main__":
    main()
