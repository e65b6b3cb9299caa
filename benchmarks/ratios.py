"""What TLS costs gets, and what a disk costs puts: two rings in one run, loaded in turn.

``python -m benchmarks.ratios tls`` compares gets over links with TLS 1.3, the default, with gets over plain ones;
``python -m benchmarks.ratios disk`` compares confirmed puts of new keys into LMDB with those into memory. Both rings
stand all the time, their links are warm, and the same clients load one and then the other for a few seconds each, again
and again: whatever else the machine does meanwhile hits both. One JSON object per round, and a last one:

- ``plain_per_s`` and ``tls_per_s``, or ``memory_per_s`` and ``disk_per_s``: medians over all rounds;
- ``ratio``: the median over all rounds of what the dearer ring did to what the other one did just before or after, with
  ``ratio_lowest`` and ``ratio_highest``;
- ``cpu_ratio``: the same of the processor time that the nodes took for one get or put, the cheaper ring's to the
  dearer's; a busy machine changes it less;
- ``right``: the share of all answers that were as they should be;
- ``sync_ms``, with ``disk``: how long the disk takes to make one page durable, median in this run: a put on a single
  node cannot be confirmed sooner.

Nodes and clients share the processors of this machine; nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from contextlib import ExitStack
from statistics import median
from tempfile import NamedTemporaryFile

from benchmarks.api import Load, cpu_s, run_load, value_of
from chordtwist.wire.api_messages import Get, Outcome, PutConfirmed, ResultCode, Success
from tests.fleet import Fleet

KINDS = {"tls": ("plain", "tls"), "disk": ("memory", "disk")}
"""Names of the cheaper and of the dearer ring."""

SYNCS = 20
PAGE_BYTES = 4096
SETTLE_S = 0.2
"""After a phase: the replicas beyond the majority confirm."""


class Ring:
    """One of the two, with all keys that were put there."""

    def __init__(self, name: str, fleet: Fleet, value_bytes: int, rng: random.Random) -> None:
        self.name = name
        self.hosts = [fleet.host(number) for number in fleet.numbers]
        self.pids = [process.pid for process in fleet.processes.values()]
        self._keys: list[bytes] = []
        self._value_bytes = value_bytes
        self._rng = rng

    def puts(self) -> Load:
        """Confirmed puts of new keys."""
        return Load(self._put, self._is_stored)

    def gets(self) -> Load:
        """Gets of keys that were put."""
        return Load(self._get, self._is_found)

    def _put(self) -> tuple[bytes, bytes]:
        key = self._rng.randbytes(32)
        return key, PutConfirmed(1, 3600, 0, key, value_of(key, self._value_bytes)).pack()

    def _is_stored(self, key: bytes, answer: object) -> bool:
        is_right = isinstance(answer, Outcome) and answer.code is ResultCode.DONE
        if is_right:
            self._keys.append(key)
        return is_right

    def _get(self) -> tuple[bytes, bytes]:
        key = self._rng.choice(self._keys)
        return key, Get(key).pack()

    def _is_found(self, key: bytes, answer: object) -> bool:
        return answer == Success(key, value_of(key, self._value_bytes))


def measured(given: argparse.Namespace, cheaper: Ring, dearer: Ring) -> None:
    """Load both in turn, print."""
    rings = (cheaper, dearer)
    for ring in rings:
        run_load(ring.hosts, given.clients, given.warm_s, ring.puts())
        if given.what == "tls":
            run_load(ring.hosts, given.clients, given.warm_s, ring.gets())
    rates: dict[str, list[float]] = {ring.name: [] for ring in rings}
    cpu_ms: dict[str, list[float]] = {ring.name: [] for ring in rings}
    syncs_s: list[float] = []
    asked = right = 0
    for number in range(1, given.rounds + 1):
        line: dict[str, object] = {"what": given.what, "round": number}
        for ring in rings if number % 2 else reversed(rings):
            load = ring.gets() if given.what == "tls" else ring.puts()
            cpu_start_s = cpu_s(ring.pids)
            run_load(ring.hosts, given.clients, given.seconds, load)
            time.sleep(SETTLE_S)
            answers = len(load.latencies_s)
            asked, right = asked + answers, right + load.right
            rates[ring.name].append(answers / given.seconds)
            cpu_ms[ring.name].append((cpu_s(ring.pids) - cpu_start_s) / max(answers, 1) * 1000)
            line[f"{ring.name}_per_s"] = load.per_s(given.seconds)
            line[f"{ring.name}_p50_ms"] = load.quantile_ms(0.5)
            line[f"{ring.name}_cpu_ms"] = round(cpu_ms[ring.name][-1], 3)
        if given.what == "disk":
            syncs_s += sync_times_s()
        print(json.dumps(line), flush=True)
    ratios = [dear / cheap for cheap, dear in zip(rates[cheaper.name], rates[dearer.name], strict=True)]
    cpu_ratios = [cheap / dear for cheap, dear in zip(cpu_ms[cheaper.name], cpu_ms[dearer.name], strict=True)]
    print(
        json.dumps(
            {
                "what": given.what,
                "nodes": given.nodes,
                "clients": given.clients,
                "value_bytes": given.value_bytes,
                **{f"{name}_per_s": round(median(of_ring)) for name, of_ring in rates.items()},
                **{f"{name}_cpu_ms": round(median(of_ring), 3) for name, of_ring in cpu_ms.items()},
                "ratio": round(median(ratios), 3),
                "ratio_lowest": round(min(ratios), 3),
                "ratio_highest": round(max(ratios), 3),
                "cpu_ratio": round(median(cpu_ratios), 3),
                "right": right / asked,
                **({"sync_ms": round(median(syncs_s) * 1000, 3)} if syncs_s else {}),
            }
        ),
        flush=True,
    )


def sync_times_s() -> list[float]:
    """How long it takes to make one page of a file durable, where the nodes have theirs."""
    times_s = []
    with NamedTemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, SYNCS * PAGE_BYTES)
        os.fsync(file.fileno())
        for number in range(SYNCS):
            begun_s = time.perf_counter()
            os.pwrite(file.fileno(), b"x" * PAGE_BYTES, number * PAGE_BYTES)
            os.fdatasync(file.fileno())
            times_s.append(time.perf_counter() - begun_s)
    return times_s


def main() -> None:
    """Start both rings, load them, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=KINDS)
    options.add_argument("--nodes", type=int, default=10, help="processes of each ring, up to 250 (10)")
    options.add_argument("--clients", type=int, default=32, help="connections, one question under way each (32)")
    options.add_argument("--value-bytes", type=int, default=100, help="length of every value (100)")
    options.add_argument("--seconds", type=float, default=3, help="of load on one ring in one round (3)")
    options.add_argument("--rounds", type=int, default=7, help="of both rings in turn (7)")
    options.add_argument("--warm-s", type=float, default=2, help="of load on each ring before the first round (2)")
    options.add_argument("--seed", type=int, default=1, help="of the keys and their order (1)")
    given = options.parse_args()
    of_tls = given.what == "tls"
    with ExitStack() as stack:
        rings = []
        for index, name in enumerate(KINDS[given.what]):
            settings = {"network": "benchmark", **({"state_dir": "yes"} if name == "disk" else {})}
            mode = "open" if of_tls and index else "off"
            fleet = stack.enter_context(Fleet(settings, mode, f"127.77.{10 + index}."))
            fleet.start(range(1, given.nodes + 1))
            fleet.wait_for_ring(60.0)
            rings.append(Ring(name, fleet, given.value_bytes, random.Random(given.seed)))
        measured(given, *rings)


if __name__ == "__main__":
    main()
