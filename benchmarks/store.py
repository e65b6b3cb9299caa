"""Puts and gets per second of the record stores, beside what the disk's engine does alone in the same run.

``python -m benchmarks.store [--seconds S] [--work-us U] [--folder DIR]`` prints one JSON object per line:

- ``store``: ``memory``, ``lmdb``, or ``engine``: bare LMDB, as many rows in one commit as puts are in flight, no
  reactor, no thread, nothing kept in memory: what could be had at best; ``engine_ratio`` of a put is its share of that;
- ``operation`` (``put``, ``get``, ``miss``, ``scan``, ``open``), ``value_bytes``, ``in_flight``;
- ``per_s``: for puts by the clock on the wall, for the rest, which waits for nothing, of processor time;
- ``p50_ms`` and ``p99_ms``: from the call of a put to its confirmation;
- ``cpu_us``: processor time of one operation, which a busy machine does not change;
- ``work_us``: the reactor's time spent on something else for every put, as a node spends it on messages: with 0 the
  store is measured alone, with 65 (about what a confirmed put costs a node) what it takes away from a node.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import lmdb
from twisted.internet.defer import Deferred

from chordtwist.core.records import Record, RecordKind, Version
from chordtwist.core.ring import Arc
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.lmdb import LmdbRecordStore, WorkerThread
from chordtwist.storage.memory import MemoryRecordStore

PUBLISHER = b"\x7f\0\0\1\x19\1"
TTL_MS = 3_600_000
BYTES_MAX = 64 << 30
GETS = 20_000


def now_ms() -> int:
    """The steady clock."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def records(value_bytes: int) -> Iterator[Record]:
    """New records without end."""
    value = os.urandom(value_bytes)
    while True:
        yield Record(os.urandom(32), value, RecordKind.PLAIN, Version(wall_ms(), PUBLISHER), now_ms() + TTL_MS, 4)


def report(store: str, operation: str, value_bytes: int, in_flight: int, per_s: float, **more: object) -> None:
    """One line."""
    line = {"store": store, "operation": operation, "value_bytes": value_bytes, "in_flight": in_flight}
    print(json.dumps({**line, "per_s": round(per_s), **more}), flush=True)


async def puts(
    reactor: Any, store: IRecordStore, value_bytes: int, in_flight: int, seconds: float, work_us: int
) -> Any:
    """Put with so many in flight; fires with the keys and each put's seconds."""
    new = records(value_bytes)
    keys: list[bytes] = []
    latencies_s: list[float] = []
    begin = time.perf_counter()
    end = begin + seconds
    done: Deferred[None] = Deferred()
    running = in_flight

    def one() -> None:
        nonlocal running
        asked = time.perf_counter()
        if asked >= end:
            running -= 1
            if not running:
                done.callback(None)
            return
        while time.perf_counter() < asked + work_us * 1e-6:
            pass
        record = next(new)
        keys.append(record.key)
        store.put(record).addCallbacks(answered, done.errback, callbackArgs=(time.perf_counter(),))

    def answered(ignored: None, asked: float) -> None:
        latencies_s.append(time.perf_counter() - asked)
        # As in a node, the next question comes by the reactor.
        reactor.callLater(0, one)

    for _ in range(in_flight):
        reactor.callLater(0, one)
    await done
    return keys, latencies_s, time.perf_counter() - begin


def report_calls(store: str, operation: str, value_bytes: int, call: Callable[[], int]) -> None:
    """A line about calls that take no time but the processor's; the call says how many operations it was."""
    begin = time.process_time()
    count = call()
    took_s = time.process_time() - begin
    report(store, operation, value_bytes, 1, count / took_s, cpu_us=round(took_s / count * 1e6, 2))


async def measure(
    reactor: Any, kind: str, folder: Path, value_bytes: int, in_flight: int, engine_per_s: float, arguments: Any
) -> None:
    """One store, one size, one load."""

    def open_store() -> IRecordStore:
        if kind == "memory":
            return MemoryRecordStore(bytes_max=BYTES_MAX)
        return LmdbRecordStore(folder / "records", WorkerThread(reactor), now_ms, wall_ms, bytes_max=BYTES_MAX)

    store = open_store()

    def open_and_count() -> int:
        nonlocal store
        store = open_store()
        return len(keys)

    begin_s = time.process_time()
    keys, latencies_s, took_s = await puts(reactor, store, value_bytes, in_flight, arguments.seconds, arguments.work_us)
    latencies_s.sort()
    report(
        kind,
        "put",
        value_bytes,
        in_flight,
        len(keys) / took_s,
        p50_ms=round(latencies_s[len(keys) // 2] * 1e3, 3),
        p99_ms=round(latencies_s[len(keys) * 99 // 100] * 1e3, 3),
        cpu_us=round((time.process_time() - begin_s) / len(keys) * 1e6, 1),
        work_us=arguments.work_us,
        engine_ratio=round(len(keys) / took_s / engine_per_s, 3),
    )
    if in_flight == arguments.in_flight[-1]:
        asked = [keys[n * 7919 % len(keys)] for n in range(GETS)]
        report_calls(kind, "get", value_bytes, lambda: sum(store.get(key) is not None for key in asked))
        report_calls(kind, "miss", value_bytes, lambda: sum(store.get(key[1:]) is None for key in asked))
        sum(1 for _ in store.scan(Arc(0, 0)))
        report_calls(kind, "scan", value_bytes, lambda: sum(1 for _ in range(3) for _ in store.scan(Arc(0, 0))))
        await store.close()
        if kind == "lmdb":
            report_calls(kind, "open", value_bytes, open_and_count)
            await store.close()
    else:
        await store.close()


def measure_engine(folder: Path, value_bytes: int, in_flight: int, seconds: float) -> float:
    """The same rows in bare LMDB; answers how many a second."""
    row = os.urandom(30 + value_bytes)
    with lmdb.open(str(folder / "engine"), map_size=BYTES_MAX, max_dbs=1) as env:
        rows = env.open_db(b"rows")
        count, begin = 0, time.perf_counter()
        while time.perf_counter() < begin + seconds:
            with env.begin(write=True, db=rows) as txn:
                for _ in range(in_flight):
                    txn.put(os.urandom(32), row)
            count += in_flight
        per_s = count / (time.perf_counter() - begin)
        report("engine", "put", value_bytes, in_flight, per_s)
        return per_s


async def main(reactor: Any, arguments: Any) -> None:
    """All of them."""
    for value_bytes in arguments.value_bytes:
        for in_flight in arguments.in_flight:
            engine_per_s = 0.0
            for kind in ("engine", "memory", "lmdb"):
                folder = Path(mkdtemp(prefix="store-benchmark-", dir=arguments.folder))
                try:
                    if kind == "engine":
                        engine_per_s = measure_engine(folder, value_bytes, in_flight, arguments.seconds)
                    else:
                        await measure(reactor, kind, folder, value_bytes, in_flight, engine_per_s, arguments)
                finally:
                    shutil.rmtree(folder)


if __name__ == "__main__":
    from twisted.internet.task import react

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load (default 1)")
    parser.add_argument("--work-us", type=int, default=0, help="of other work for each put (default 0)")
    parser.add_argument("--value-bytes", type=int, nargs="+", default=[64, 1024, 60_000])
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 32, 100])
    parser.add_argument("--folder", default=".", help="on the disk to measure (default: here)")
    given = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, given)))
