"""Flood a node with everything hostile at once from one address, an honest client beside it.

``--dearest`` asks all questions there are instead, each with the arguments that make it dearest.

``python -m tools.flood --seconds 60`` starts a ring, floods one of its nodes from one address for the time given, and
prints one JSON object: gets per second of a client of that node before, during and after, how many were wrong, the
processor time of the turns of its reactor (that 99.9 % do not exceed, and the most), how often another node did not
list it, and its memory and open descriptors.

The attacker takes processor time of the same machine, which one elsewhere would not; ``--nice 19`` gives it what is
left over. ``flood_cpu`` is the share of one processor that the flood cost the node, all that the client's gets cost
taken off: on a machine that is busy with other things, that says more than gets per second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fleet import Fleet
from tests.flooding import Flood, Honest, Listed, Watch, descriptors, fill, rss_mib
from tests.turns import turns_of

PREFIX = "127.66.1."
ATTACKING_NODE = 200
ATTACKER = f"{PREFIX}{ATTACKING_NODE}"
NODE = 1


@contextmanager
def flooding(node: str, asked: argparse.Namespace, key: str) -> Iterator[subprocess.Popen[str]]:
    """An attacker in a process of its own; its last line says what it did."""
    command = [
        sys.executable,
        "-m",
        "tools.flood",
        "--attack",
        node,
        "--seconds",
        str(asked.seconds),
        "--nice",
        str(asked.nice),
        "--key",
        key.strip(),
        *(["--tls"] if asked.tls else []),
        *(["--dearest"] if asked.dearest else []),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def measured(asked: argparse.Namespace) -> dict[str, object]:
    """The whole run."""
    seconds: float = asked.seconds
    with Fleet({"state_dir": True}, tls="open" if asked.tls else "off", prefix=PREFIX) as fleet:
        fleet.measures_turns = True
        fleet.start(range(1, asked.nodes + 1))
        if asked.member:
            fleet.start([ATTACKING_NODE])
        fleet.wait_for_ring(60)
        key = (fleet.folder / f"state-{ATTACKING_NODE}" / "node-key").read_text() if asked.member else ""
        pid = fleet.processes[NODE].pid
        fill(fleet.client(NODE), asked.records)
        honest = Honest(fleet.client(NODE))
        honest.write()
        honest.read(2, pid)
        quiet_s = min(10.0, seconds)
        figures: dict[str, object] = {**vars(asked), "records_kept": fleet.client(NODE).status()["records"]}
        quiet_began_s = time.monotonic()
        before = honest.read(quiet_s, pid)
        figures.update(rss_before_mib=round(rss_mib(pid)), descriptors_before=descriptors(pid))
        watch = Watch(pid)
        listed = Listed(fleet, NODE)
        watch.start()
        listed.start()
        with flooding(fleet.host(NODE), asked, key) as attacker:
            time.sleep(1)
            flood_began_s = time.monotonic()
            during = honest.read(seconds - 1, pid)
            flood_ended_s = time.monotonic()
            assert attacker.stdout is not None
            done = json.loads(attacker.stdout.readline())
        watch.stop()
        listed.stop()
        time.sleep(6)
        after = honest.read(quiet_s, pid)
        quiet_turns = turns_of(fleet.turns(NODE), quiet_began_s, quiet_began_s + quiet_s)
        turns = turns_of(fleet.turns(NODE), flood_began_s, flood_ended_s)
        figures.update(
            gets_per_s_before=round(before.gets_per_s),
            gets_per_s_during=round(during.gets_per_s),
            gets_per_s_after=round(after.gets_per_s),
            kept=round(during.gets_per_s / before.gets_per_s, 2),
            flood_cpu=round(during.cpu_beside(before), 2),
            cpu_ms_per_get=round(before.cpu_s / before.gets * 1000, 3),
            load=os.getloadavg()[0],
            wrong=before.wrong + during.wrong + after.wrong,
            turns=turns.count,
            turn_ms_999=round(turns.at(0.999) * 1000, 1),
            turn_ms_most=round(turns.longest_s * 1000, 1),
            turn_ms_most_before=round(quiet_turns.longest_s * 1000, 1),
            lists_without_it=listed.without,
            looks_at_lists=listed.looks,
            rss_most_mib=round(max(watch.rss_mib)),
            descriptors_most=max(watch.descriptors),
            rss_after_mib=round(rss_mib(pid)),
            descriptors_after=descriptors(pid),
            is_one_ring=fleet.is_one_ring(),
            log_lines=len(fleet.log(NODE).splitlines()),
            tracebacks=fleet.log(NODE).count("Traceback"),
            attacks=done,
        )
        return figures


def main() -> None:
    """Measure, or attack on behalf of the process that measures."""
    parser = argparse.ArgumentParser(prog="python -m tools.flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--tls", action="store_true", help="links with TLS")
    parser.add_argument("--member", action="store_true", help="the attacker is a member of the ring")
    parser.add_argument("--dearest", action="store_true", help="all questions there are, as dear as can be")
    parser.add_argument("--records", type=int, default=0, help="records that are put before")
    parser.add_argument("--nice", type=int, default=0, help="how much the attacker gives way to others, 0 to 19")
    parser.add_argument("--key", default="", help=argparse.SUPPRESS)
    parser.add_argument("--attack", metavar="NODE", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.attack:
        os.nice(asked.nice)
        flood = Flood(asked.attack, ATTACKER, asked.tls, bytes.fromhex(asked.key), asked.dearest)
        flood.start(asked.seconds)
        flood.join()
        print(json.dumps(dict(sorted(flood.done.items()))), flush=True)
        os._exit(0)
    print(json.dumps(measured(asked)))


if __name__ == "__main__":
    main()
