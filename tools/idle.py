"""Connect many clients to the API of a node that say nothing.

``python -m tools.idle --connections 10000`` prints one JSON object: how many are connected, what each costs the node in
memory, and how many gets per second another client has meanwhile.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

from tests.fleet import Fleet
from tests.flooding import Honest, connected, descriptors, rss_mib, still_open

PREFIX = "127.66.2."
NODE = 1
QUIET_S = 5.0


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
    parser = argparse.ArgumentParser(prog="python -m tools.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    print(json.dumps(measured(parser.parse_args().connections)))


if __name__ == "__main__":
    main()
