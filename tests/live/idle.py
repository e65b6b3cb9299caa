"""``python -m tests.live.idle --connections 10000``: many clients that connect to the API and say nothing.

Prints one JSON object: how many are connected, what each costs the node in memory, and how many gets per second another
client has meanwhile.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import time
from contextlib import suppress

from tests.live.fleet import API_PORT, Fleet
from tests.live.flood import Honest, descriptors, rss_mib

PREFIX = "127.66.2."
NODE = 1
PORTS_PER_ADDRESS = 5_000
"""Connections from one loopback address; the next one follows, since ports per address are few."""

QUIET_S = 5.0


def connected(host: str, connections: int) -> list[socket.socket]:
    """So many connections to the API of a node, or as many as it takes."""
    sockets = []
    for number in range(connections):
        address = f"127.67.{number // PORTS_PER_ADDRESS}.1"
        try:
            sockets.append(socket.create_connection((host, API_PORT), 10, (address, 0)))
        except OSError:
            break
    return sockets


def still_open(sockets: list[socket.socket]) -> int:
    """How many of them the node has not ended."""
    open_ones = 0
    for one in sockets:
        one.setblocking(False)
        with suppress(BlockingIOError):
            open_ones -= one.recv(1) == b""
        open_ones += 1
    return open_ones


def measured(connections: int) -> dict[str, object]:
    """The whole run."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Fleet(prefix=PREFIX) as fleet:
        fleet.start([NODE, 2, 3])
        fleet.wait_for_ring(60)
        pid = fleet.processes[NODE].pid
        honest = Honest(fleet.client(NODE))
        honest.write()
        honest.read(1, pid)
        before = honest.read(QUIET_S, pid)
        rss_before_mib = rss_mib(pid)
        began_s = time.monotonic()
        sockets = connected(fleet.host(NODE), connections // 10)
        # The first tenth fills what the process had free.
        first, rss_first_mib = len(sockets), rss_mib(pid)
        sockets += connected(fleet.host(NODE), connections - first)
        took_s = time.monotonic() - began_s
        during = honest.read(QUIET_S, pid)
        rss_with_mib = rss_mib(pid)
        figures: dict[str, object] = {
            "connections": still_open(sockets),
            "connected_per_s": round(len(sockets) / took_s),
            "descriptors": descriptors(pid),
            "kib_per_connection": round((rss_with_mib - rss_first_mib) * 1024 / max(1, len(sockets) - first), 2),
            "rss_before_mib": round(rss_before_mib),
            "rss_with_mib": round(rss_with_mib),
            "gets_per_s_before": round(before.gets_per_s),
            "gets_per_s_with": round(during.gets_per_s),
            "wrong": before.wrong + during.wrong,
            "is_one_ring": fleet.is_one_ring(),
        }
        for one in sockets:
            one.close()
        time.sleep(3)
        figures["descriptors_after"] = descriptors(pid)
        figures["tracebacks"] = fleet.log(NODE).count("Traceback")
        return figures


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    print(json.dumps(measured(parser.parse_args().connections)))


if __name__ == "__main__":
    main()
