"""The store on disk: what a process that ends, in whatever way, leaves to the next one."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread, current_thread
from threading import enumerate as enumerate_threads
from typing import TypeVar

import lmdb
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import StateUnusable, StoreFull
from chordtwist.core.records import GRACE_MS, Record, Tombstone, Version, present
from chordtwist.core.ring import Arc
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.index import TTL_MS_MAX
from chordtwist.storage.lmdb import EXPIRED_BYTES_MAX, WAITING_BYTES_MAX, LmdbRecordStore, WorkerThread
from chordtwist.storage.record_file import HEADROOM_BYTES, MAP_BYTES_MIN
from tests import SOAK, contracts
from tests.contracts import make_record, make_tombstone
from tests.store_machine import LmdbStoreMachine
from tests.workers import InlineWorker, ReactorTurns, SteppedWorker, folder_in_memory

T = TypeVar("T")

WALL_MS = 1_700_000_000_000
VALUE_BYTES_MAX = 65_495


class LmdbRecordStoreTests(contracts.RecordStoreContract):
    """`LmdbRecordStore` is an `IRecordStore`."""

    def make_store(self, records_max: int = 1000, bytes_max: int = 1 << 20) -> IRecordStore:
        folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, folder)
        store = LmdbRecordStore(folder, InlineWorker(), lambda: 0, lambda: WALL_MS, records_max, bytes_max)
        self.addCleanup(store.close)
        return store

    def test_close(self) -> None:
        """Closing comes to its end."""
        store = LmdbRecordStore(Path(self.mktemp()), InlineWorker(), lambda: 0, lambda: WALL_MS)
        self.successResultOf(store.close())

    def test_like_a_dictionary(self) -> None:
        """Whatever is done to it, in whatever order, however its process ends and whenever the next one starts, it
        says what a dictionary with a clock says.
        """
        run_state_machine_as_test(LmdbStoreMachine, settings=settings(max_examples=6 * SOAK))


class Run:
    """One process's life with a store: its clocks, its worker, and its end."""

    def __init__(self, directory: Path, now_ms: int = 0, wall_ms: int = WALL_MS, map_bytes_max: int | None = None):
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.worker = SteppedWorker()
        self.store = LmdbRecordStore(
            directory, self.worker, lambda: self.now_ms, lambda: self.wall_ms, map_bytes_max=map_bytes_max
        )

    def wait(self, elapsed_ms: int) -> None:
        """Time passes on both clocks."""
        self.now_ms += elapsed_ms
        self.wall_ms += elapsed_ms

    def settle(self) -> None:
        """Make every commit that waits."""
        while self.worker.waiting:
            self.worker.step()

    def end(self) -> None:
        """Close it as it should be."""
        closed = self.store.close()
        self.settle()
        assert closed.called


class DiskTests(SynchronousTestCase):
    """Scenes with one directory and several runs."""

    def setUp(self) -> None:
        """A directory, and what is logged."""
        root = folder_in_memory()
        self.addCleanup(shutil.rmtree, root)
        self.directory = root / "records"
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        self.runs: list[Run] = []

    def tearDown(self) -> None:
        """End what still runs."""
        for run in self.runs:
            run.end()

    def run_store(
        self, now_ms: int = 0, wall_ms: int = WALL_MS, map_bytes_max: int | None = None, directory: Path | None = None
    ) -> Run:
        """A process begins."""
        run = Run(directory or self.directory, now_ms, wall_ms, map_bytes_max)
        self.runs.append(run)
        return run

    def end(self, run: Run) -> None:
        """It ends as it should."""
        self.runs.remove(run)
        run.end()

    def killed(self) -> Path:
        """The directory as a process that is killed now would leave it."""
        directory = self.directory.with_name("killed")
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.directory, directory)
        return directory

    def messages(self) -> list[str]:
        """What was logged, each as its format with the fields that a person reads."""
        return [str(event["log_format"]).format(**event) for event in self.logged]


class CommitTests(DiskTests):
    """When a put is safe, and what is read until then."""

    def test_fires_after_its_commit(self) -> None:
        """A put is confirmed when its commit is over, not before; it is read at once."""
        run, versioned = self.run_store(), make_record(b"k")
        done = run.store.put(versioned)
        self.assertEqual(run.store.get(versioned.key), versioned)
        self.assertNoResult(done)
        self.assertIsNone(self.run_store(directory=self.killed()).store.get(versioned.key))
        run.settle()
        self.successResultOf(done)
        self.assertEqual(self.run_store(directory=self.killed()).store.get(versioned.key), versioned)

    def test_group_commit(self) -> None:
        """What is put while a commit is under way shares the next one."""
        run = self.run_store()
        done = [run.store.put(make_record(b"%d" % n)) for n in range(100)]
        run.worker.step()
        self.successResultOf(done[0])
        for other in done[1:]:
            self.assertNoResult(other)
        run.worker.step()
        for other in done[1:]:
            self.successResultOf(other)

    def test_pause(self) -> None:
        """After a commit at whose end several puts were under way the next one waits for more to share it, four times
        as long as the last one took, within bounds; where only one was under way it does not: who puts one record after
        another waits for the disk only.
        """
        run = self.run_store()
        for puts, took_ms in ((1, 9), (1, 9), (3, 2), (1, 0), (3, 9), (1, 0), (1, 0), (2, 0), (1, 0)):
            for n in range(puts):
                run.store.put(make_record(b"%d" % n))
            while run.worker.waiting:
                run.wait(took_ms)
                run.worker.step()
        # Several puts are two commits here: the first begins at once.
        self.assertEqual(
            run.worker.pauses_s,
            [0, 0, *(0, 0.008, 0.008), *(0, 0.016, 0.016), 0, *(0, 0.001), 0],
        )

    def test_company(self) -> None:
        """Before its pause is over the next commit begins when as many puts are here as were under way; it begins once
        only.
        """
        run = self.run_store()
        run.worker.are_pauses_long = True
        for n in range(5):
            run.store.put(make_record(b"%d" % n))
        run.worker.step()
        self.assertEqual((len(run.worker.pausing), len(run.worker.waiting)), (1, 0))
        last = run.store.put(make_record(b"last"))
        self.assertEqual((len(run.worker.pausing), len(run.worker.waiting)), (1, 1))
        run.worker.pausing[0]()
        run.worker.step()
        self.successResultOf(last)
        self.assertEqual(len(run.worker.waiting), 0)

    def test_most_of_the_company(self) -> None:
        """Of many that were under way a fifth may be missing: they are taken while the commit is under way."""
        run = self.run_store()
        run.worker.are_pauses_long = True
        for n in range(33):
            run.store.put(make_record(b"%d" % n))
        run.settle()
        for n in range(25):
            run.store.put(make_record(b"more %d" % n))
        self.assertEqual(len(run.worker.waiting), 0)
        run.store.put(make_record(b"last"))
        self.assertEqual(len(run.worker.waiting), 1)

    def test_alone_after_company(self) -> None:
        """Who comes alone after many waits for a pause, once."""
        run = self.run_store()
        run.worker.are_pauses_long = True
        for n in range(33):
            run.store.put(make_record(b"%d" % n))
        run.settle()
        alone = run.store.put(make_record(b"alone"))
        run.worker.pausing[-1]()
        run.settle()
        self.successResultOf(alone)
        run.store.put(make_record(b"next"))
        self.assertEqual(len(run.worker.waiting), 1)

    def test_bounded_commit(self) -> None:
        """A commit holds at most 4 MiB of values and one more, so that copying it never holds the reactor for long."""
        run = self.run_store()
        done = [run.store.put(make_record(b"%d" % n, value=bytes(VALUE_BYTES_MAX))) for n in range(200)]
        run.worker.step()
        while (committed := sum(one.called for one in done)) <= 1:
            run.worker.step()
        self.assertTrue(4 << 20 <= (committed - 1) * VALUE_BYTES_MAX < (4 << 20) + VALUE_BYTES_MAX, committed)
        run.settle()
        self.assertEqual(run.store.records(), 200)
        self.assertTrue(all(one.called for one in done))

    def test_large_expired(self) -> None:
        """Of large values that expire together few are read at a time; in the end all are named."""
        run = self.run_store()
        for n in range(40):
            run.store.put(make_record(b"%d" % n, value=bytes(60_000), expiry_ms=10))
        run.settle()
        named: set[bytes] = set()
        while due := run.store.expired(10):
            self.assertLessEqual(sum(versioned.value_bytes for versioned in due), EXPIRED_BYTES_MAX + 60_000)
            for versioned in due:
                named.add(versioned.key)
                run.store.remove(versioned.key)
        self.assertEqual(len(named), 40)

    def test_slow_disk(self) -> None:
        """When too many bytes wait for a disk that does not keep up, more are refused; tombstones and removals are
        not.
        """
        run, count = self.run_store(), WAITING_BYTES_MAX // VALUE_BYTES_MAX + 1
        done = [run.store.put(make_record(b"%d" % n, value=bytes(VALUE_BYTES_MAX))) for n in range(count)]
        self.failureResultOf(done[-1], StoreFull)
        tombstone = run.store.put(make_tombstone(b"0"))
        run.store.remove(make_record(b"1").key)
        run.settle()
        for one in (*done[:-1], tombstone):
            self.successResultOf(one)
        self.assertEqual(run.store.records(), count - 3)
        self.successResultOf(self.confirmed(run, make_record(b"again", value=bytes(VALUE_BYTES_MAX))))

    def confirmed(self, run: Run, record: Record) -> Deferred[None]:
        done = run.store.put(record)
        run.settle()
        return done

    def test_impossible_record(self) -> None:
        """A record that cannot be written is refused, with our own bug in the log, and the next ones are committed."""
        run = self.run_store()
        impossible = run.store.put(make_record(b"k", version=Version(1 << 64, b"")))
        run.settle()
        self.failureResultOf(impossible, StoreFull)
        self.assertEqual(len(self.flushLoggedErrors(struct.error)), 1)
        self.assertIsNone(run.store.get(make_record(b"k").key))
        self.successResultOf(self.confirmed(run, make_record(b"k")))

    def test_close_waits(self) -> None:
        """Closing waits for every commit; then the worker has been stopped."""
        run, versioned = Run(self.directory), make_record(b"k")
        done = [run.store.put(versioned), run.store.put(make_tombstone(b"other"))]
        closed = run.store.close()
        self.assertNoResult(closed)
        run.settle()
        self.successResultOf(closed)
        for one in done:
            self.successResultOf(one)
        self.assertTrue(run.worker.has_stopped)
        self.assertEqual(self.run_store().store.get(versioned.key), versioned)


class ClockTests(DiskTests):
    """Lives over restarts, and over clocks that are set."""

    def test_remaining_life(self) -> None:
        """A restart takes as much of a life as it lasts, to the millisecond, whatever the steady clock begins at."""
        run = self.run_store(now_ms=5_000)
        run.store.put(make_record(b"k", expiry_ms=65_000, tombstone_until_ms=75_000))
        run.wait(10_001)
        self.end(run)
        run = self.run_store(now_ms=900_000, wall_ms=run.wall_ms + 20_000)
        self.assertEqual(
            run.store.get(make_record(b"k").key),
            make_record(b"k", expiry_ms=900_000 + 29_999, tombstone_until_ms=900_000 + 39_999),
        )

    def test_expired_while_down(self) -> None:
        """What expired while no process ran is gone at the start; its tombstone stays where it is due, until a grace
        after its time.
        """
        run = self.run_store()
        gone, left = make_record(b"gone", expiry_ms=10), make_record(b"left", expiry_ms=10, tombstone_until_ms=50)
        for versioned in (
            gone,
            left,
            make_tombstone(b"old tombstone", 20 - GRACE_MS),
            make_tombstone(b"tombstone", 21 - GRACE_MS),
            make_record(b"alive", 21),
        ):
            run.store.put(versioned)
        run.wait(5)
        self.end(run)
        run = self.run_store(now_ms=0, wall_ms=run.wall_ms + 15)
        tombstone = make_tombstone(b"tombstone", 1 - GRACE_MS)
        self.assertEqual(run.store.expired(0), [tombstone])
        self.assertIsNone(run.store.get(gone.key))
        self.assertEqual(run.store.get(left.key), Tombstone(left.key, left.version, 30, left.copies))
        self.assertEqual(run.store.get(tombstone.key), tombstone)
        self.assertEqual(len(list(run.store.scan(Arc(0, 0)))), 3)
        self.end(run)
        self.assertEqual(len(list(self.run_store(wall_ms=run.wall_ms).store.scan(Arc(0, 0)))), 3)

    def test_many_expired_while_down(self) -> None:
        """Thousands that expired are dropped in one start."""
        run = self.run_store()
        for n in range(3_000):
            run.store.put(make_record(b"%d" % n, expiry_ms=n))
        self.end(run)
        run = self.run_store(wall_ms=WALL_MS + 2_000)
        self.assertEqual(run.store.records(), 999)

    def test_wall_clock_set_while_running(self) -> None:
        """A wall clock that is set, by years and in either direction, changes no life: neither while the process runs
        nor over its restart.
        """
        for step_ms in (50 * 365 * 86_400_000, -3_600_000):
            run = self.run_store(wall_ms=WALL_MS)
            run.store.put(make_record(b"before", expiry_ms=60_000))
            run.settle()
            run.wall_ms += step_ms
            run.store.put(make_record(b"after", expiry_ms=60_000))
            run.wait(10_000)
            self.end(run)
            run = self.run_store(now_ms=7, wall_ms=run.wall_ms)
            for name in (b"before", b"after"):
                self.assertEqual(run.store.get(make_record(name).key), make_record(name, expiry_ms=50_007))
            self.end(run)
            shutil.rmtree(self.directory)

    def test_wall_clock_set_before_a_kill(self) -> None:
        """One commit after the wall clock was set is enough for the next process to know, also when it is a crash."""
        run = self.run_store(wall_ms=1_000)
        run.store.put(make_record(b"before", expiry_ms=60_000))
        run.settle()
        run.wall_ms = WALL_MS
        run.store.put(make_record(b"after", expiry_ms=60_000))
        run.settle()
        run = self.run_store(wall_ms=WALL_MS, directory=self.killed())
        for name in (b"before", b"after"):
            self.assertEqual(run.store.get(make_record(name).key), make_record(name, expiry_ms=60_000))

    def test_wall_clock_behind_at_the_start(self) -> None:
        """Where the machine boots in 1970, nothing outlives the longest life there is, counted from that start, also
        when the clock is put right and later starts know better; and what lives no longer is left as it is.
        """
        lives_ms = [60_000] * 150 + [TTL_MS_MAX]
        records = [make_record(b"%d" % n, ttl_ms) for n, ttl_ms in enumerate(lives_ms)]
        records.append(make_record(b"remembered", expiry_ms=60_000, tombstone_until_ms=70_000))
        run = self.run_store(wall_ms=WALL_MS)
        for versioned in records:
            run.store.put(versioned)
        self.end(run)
        run = self.run_store(wall_ms=30_000)
        self.assert_end(run, records, TTL_MS_MAX)
        run.settle()
        # Its commit is the only one that learns of the right clock; then the power fails.
        run.wall_ms = WALL_MS + 3_600_000
        run.store.put(make_record(b"later", expiry_ms=60_000))
        run.settle()
        run = self.run_store(wall_ms=run.wall_ms + 10_000, directory=self.killed())
        self.assert_end(run, records, TTL_MS_MAX - 10_000)
        self.assert_end(run, [make_record(b"later")], 50_000)

    def assert_end(self, run: Run, records: list[Record], end_ms: int) -> None:
        """All of them end then, and so does what is remembered of them."""
        for record in records:
            versioned = run.store.get(record.key)
            assert isinstance(versioned, Record)
            self.assertEqual(versioned.expiry_ms, end_ms)
            self.assertLessEqual(versioned.tombstone_until_ms, end_ms)

    def test_wall_clock_a_little_behind_at_the_start(self) -> None:
        """For a record whose life stays within the longest, what is remembered of it is cut all the same."""
        versioned = make_record(b"k", expiry_ms=60_000, tombstone_until_ms=TTL_MS_MAX)
        run = self.run_store()
        run.store.put(versioned)
        self.end(run)
        run = self.run_store(wall_ms=WALL_MS - 5_000)
        cut = make_record(b"k", expiry_ms=65_000, tombstone_until_ms=TTL_MS_MAX)
        self.assertEqual(run.store.get(versioned.key), cut)
        run.wait(1_000)
        later = make_record(b"k", expiry_ms=65_000, tombstone_until_ms=TTL_MS_MAX + 1_000)
        run.settle()
        run.store.put(later)
        run.settle()
        self.assertEqual(run.store.get(versioned.key), later)


class FullTests(DiskTests):
    """No more room, in the map or on the disk."""

    def fill(self, run: Run, value_bytes: int = VALUE_BYTES_MAX) -> tuple[list[bytes], Record]:
        """Put until a single record is refused: the keys of what was taken, and that record."""
        taken: list[bytes] = []
        at_once, n = 256, 0
        while True:
            records = [make_record(b"%d" % (n + i), value=bytes(value_bytes)) for i in range(at_once)]
            refused: list[object] = []
            for record in records:
                run.store.put(record).addErrback(refused.append)
            run.settle()
            n += at_once
            taken += [record.key for record in records if run.store.get(record.key) is not None]
            if refused and at_once == 1:
                return taken, records[0]
            if refused:
                at_once //= 4

    def test_grows(self) -> None:
        """A map that is full grows, and what is in it is read as before."""
        run = self.run_store()
        records = [make_record(b"%d" % n, value=bytes([n]) * VALUE_BYTES_MAX) for n in range(150)]
        done = [run.store.put(record) for record in records]
        run.settle()
        for one in done:
            self.successResultOf(one)
        taken = (self.directory / "data.mdb").stat()
        self.assertGreater(taken.st_size, 2 * MAP_BYTES_MIN)
        self.assertGreaterEqual(512 * taken.st_blocks, taken.st_size)
        for record in records:
            self.assertEqual(run.store.get(record.key), record)
        self.end(run)
        self.assertEqual(self.run_store().store.records(), 150)

    def test_levels_off(self) -> None:
        """Where as much ends as is put the file takes no more of the disk."""
        run = self.run_store()
        taken: list[int] = []
        keys: list[bytes] = []
        for n in range(2_000):
            record = make_record(b"%d" % n, value=bytes(1 + 37 * n % 8192))
            run.store.put(record)
            keys.append(record.key)
            if n >= 300:
                run.store.remove(keys[n - 300])
            if n % 500 == 499:
                run.settle()
                taken.append((self.directory / "data.mdb").stat().st_blocks)
        self.assertLess(taken[-1], 1.2 * taken[0])

    def test_full_map(self) -> None:
        """A full map refuses records, says so once, and serves what it has; all can be removed, and there is room
        again; the next process finds it so.
        """
        path = self.directory / "data.mdb"
        for value_bytes in (VALUE_BYTES_MAX, 100):
            run = self.run_store(map_bytes_max=MAP_BYTES_MIN)
            taken, refused = self.fill(run, value_bytes)
            again = run.store.put(refused)
            run.settle()
            self.failureResultOf(again, StoreFull)
            self.assertEqual(
                self.messages(),
                [f"{path}: no more records are taken: the records take all the 4 MiB that they may have"],
            )
            for key in taken:
                self.assertIsNotNone(run.store.get(key))
            for key in taken[::2]:
                run.store.remove(key)
            for key in taken[1::2]:
                tombstone = run.store.put(Tombstone(key, contracts.NEW, 100, 4))
            run.settle()
            self.successResultOf(tombstone)
            self.assertEqual(run.store.records(), 0)
            self.assertLess(path.stat().st_size, MAP_BYTES_MIN + 2 * HEADROOM_BYTES)
            self.end(run)
            run = self.run_store(map_bytes_max=MAP_BYTES_MIN)
            self.assertEqual(len(list(run.store.scan(Arc(0, 0)))), len(taken) // 2)
            for entry in list(run.store.scan(Arc(0, 0))):
                run.store.remove(entry.key)
            self.assertGreater(len(self.fill(run, value_bytes)[0]), len(taken) * 0.8)
            self.end(run)
            shutil.rmtree(self.directory)
            self.logged._events.clear()

    def test_replaced_while_full(self) -> None:
        """A refused put leaves what was there before, on disk and in memory."""
        run = self.run_store(map_bytes_max=MAP_BYTES_MIN)
        old = make_record(b"k", value=b"old", expiry_ms=1)
        run.store.put(old)
        run.settle()
        self.fill(run)
        done = run.store.put(make_record(b"k", value=bytes(VALUE_BYTES_MAX)))
        run.settle()
        self.failureResultOf(done, StoreFull)
        self.assertEqual(run.store.get(old.key), old)
        self.assertEqual(run.store.expired(1), [old])

    def test_later_changes_stand(self) -> None:
        """What was changed again while a put that will be refused was under way stays as it was changed last."""
        run = self.run_store(map_bytes_max=MAP_BYTES_MIN)
        names = [b"a", b"b", b"c"]
        for name in names:
            run.store.put(make_record(name, value=b"old"))
        run.settle()
        self.fill(run)
        # One commit is under way, the next one is as large as commits become, and so the last changes make a third.
        run.store.put(make_tombstone(b"first"))
        refused = [
            run.store.put(make_record(name, value=bytes(VALUE_BYTES_MAX)))
            for name in (b"x", *names, *(b"more %d" % n for n in range(61)))
        ]
        tombstone = run.store.put(make_tombstone(b"a"))
        run.store.remove(make_record(b"b").key)
        self.assertNoResult(refused[0])
        run.settle()
        for one in refused:
            self.failureResultOf(one, StoreFull)
        self.successResultOf(tombstone)
        self.assertEqual(run.store.get(make_record(b"a").key), make_tombstone(b"a"))
        self.assertIsNone(run.store.get(make_record(b"b").key))
        self.assertEqual(run.store.get(make_record(b"c").key), make_record(b"c", value=b"old"))

    def test_full_disk(self) -> None:
        """A disk that gives no more refuses records and serves reads, removals and tombstones; room given is room
        again.
        """
        run = self.run_store()
        size = (self.directory / "data.mdb").stat().st_size
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + (1 << 20), limit[1]))
        try:
            taken, _ = self.fill(run)
            self.assertEqual(
                self.messages(), [f"{self.directory / 'data.mdb'}: no more records are taken: the disk is full"]
            )
            for key in taken[1:]:
                run.store.remove(key)
            run.settle()
            self.assertIsNotNone(run.store.get(taken[0]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, before)
        self.assertEqual(run.store.records(), 1)
        for n in range(200):
            done = run.store.put(make_record(b"%d" % n, value=bytes(VALUE_BYTES_MAX)))
        run.settle()
        self.successResultOf(done)


class BrokenWorker(InlineWorker):
    """Its disk fails while it is told so."""

    is_broken = False

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """What LMDB does when a write fails: the transaction is gone, and nothing was changed."""

        def fail() -> T:
            call.__self__.abort()  # type: ignore[attr-defined]
            raise lmdb.DiskError("a test", errno.EIO)

        return super().run(fail if self.is_broken else call)


class BrokenDiskTests(DiskTests):
    """A disk that fails to write."""

    def setUp(self) -> None:
        """A store with something in it, whose disk has just begun to fail."""
        super().setUp()
        self.worker = BrokenWorker()
        self.wall_ms = WALL_MS
        self.store = LmdbRecordStore(self.directory, self.worker, lambda: 0, lambda: self.wall_ms)
        self.versioned = [make_record(b"%d" % n) for n in range(100)]
        for versioned in self.versioned:
            self.store.put(versioned)
        self.worker.is_broken = True

    def test_refuses(self) -> None:
        """Records and tombstones are refused, what was there is read, and a line in the log says so once."""
        for versioned in (make_record(b"new"), make_record(b"0", value=b"other"), make_tombstone(b"1")):
            self.failureResultOf(self.store.put(versioned), StoreFull)
        for versioned in self.versioned:
            self.assertEqual(self.store.get(versioned.key), versioned)
        self.assertEqual(self.store.records(), 100)
        self.assertEqual(len([line for line in self.messages() if "the records cannot be written" in line]), 1)
        self.successResultOf(self.store.close())

    def test_removes_later(self) -> None:
        """What is removed is seen no more, and is taken from the disk as soon as the disk is well again."""
        for versioned in self.versioned[:99]:
            self.store.remove(versioned.key)
        self.failureResultOf(self.store.put(make_record(b"0", value=b"other")), StoreFull)
        self.assertIsNone(self.store.get(self.versioned[0].key))
        self.assertEqual(self.store.records(), 1)
        self.worker.is_broken = False
        self.successResultOf(self.store.put(make_record(b"1", value=b"other")))
        self.successResultOf(self.store.close())
        again = self.run_store(wall_ms=self.wall_ms).store
        self.assertEqual(
            {entry.key for entry in again.scan(Arc(0, 0))}, {self.versioned[1].key, self.versioned[99].key}
        )

    def test_closes(self) -> None:
        """Closing comes to its end, also when something should still have been written."""
        self.wall_ms += 60_000
        self.store.remove(self.versioned[0].key)
        self.successResultOf(self.store.close())
        self.assertIn("its end is not written", self.messages()[-1])
        self.assertEqual(self.run_store(wall_ms=self.wall_ms).store.records(), 0)


class CorruptTests(DiskTests):
    """Files that are not what was written."""

    def written(self, records: int = 300) -> Path:
        """A file with so many records, that no process uses."""
        run = self.run_store()
        for n in range(records):
            run.store.put(make_record(b"%d" % n, value=bytes(2_000)))
        self.end(run)
        return self.directory / "data.mdb"

    def assert_set_aside(self) -> None:
        """The next start has an empty store that works, the old file is beside it, and one line says so."""
        run = self.run_store()
        self.assertEqual(run.store.records(), 0)
        done = run.store.put(make_record(b"k"))
        run.settle()
        self.successResultOf(done)
        self.assertTrue((self.directory / "data.mdb.corrupt-1").exists())
        self.assertEqual(len([line for line in self.messages() if "is corrupt" in line]), 1)

    def test_no_record_file(self) -> None:
        """A file of anything else is set aside."""
        self.written().write_bytes(b"These are not the records that you are looking for.\n" * 10_000)
        self.assert_set_aside()

    def test_truncated(self) -> None:
        """A file that lost its end is set aside, before anybody looks where there is nothing."""
        os.truncate(self.written(), 100_000)
        self.assert_set_aside()

    def test_a_damaged_page(self) -> None:
        """Whichever page is damaged, the next start comes up: with what can be read, or with the file set aside."""
        path = self.written(40)
        whole = path.read_bytes()
        with lmdb.open(str(path.parent), max_dbs=3, lock=False) as env:
            pages, size = env.info()["last_pgno"] + 1, env.stat()["psize"]
        set_aside = 0
        for page in range(2, pages):
            path.write_bytes(whole[: page * size] + b"\xa5" * size + whole[(page + 1) * size :])
            run = Run(self.directory)
            for n in range(40):
                run.store.get(make_record(b"%d" % n).key)
            run.settle()
            run.end()
            for beside in self.directory.glob("*.corrupt-*"):
                set_aside += 1
                beside.unlink()
        self.assertGreater(set_aside, 0)
        self.assertLess(set_aside, pages)

    def test_no_records(self) -> None:
        """A file whose rows are no records is set aside."""
        path = self.written()
        with lmdb.open(str(path.parent), max_dbs=3, lock=False, map_size=64 << 20) as env:
            records = env.open_db(b"arrivals")
            with env.begin(write=True, db=records) as txn:
                txn.put(bytes(8), b"k" * 32 + b"\xff" * 40)
        self.assert_set_aside()

    def test_one_record_unreadable(self) -> None:
        """A record that vanished from the file while the process runs, or makes no sense any more, is not read, with a
        line in the log; once removed it is gone from the file too.
        """
        run = self.run_store()
        record = make_record(b"k")
        for row in ([], [(record.key, b"\2" + bytes(40))]):
            run.store.put(record)
            run.settle()
            run.store._file.change([record.key], row, 0)()
            run.store._file.committed(0)
            self.assertIsNone(run.store.get(record.key))
            self.assertEqual(run.store.entry(record.key), contracts.entry_of(record))
            run.store.remove(record.key)
            run.settle()
            self.assertEqual(list(run.store.scan(Arc(0, 0))), [])
            self.assertEqual(list(run.store._file.rows()), [])
        self.assertEqual(len([line for line in self.messages() if "is forgotten" in line]), 2)

    def test_expired_and_unreadable(self) -> None:
        """A record that cannot be read when its life ends leaves nothing behind, and keeps nothing up."""
        run = self.run_store()
        record, beside = make_record(b"k", tombstone_until_ms=70_000), make_record(b"beside")
        run.store.put(record)
        run.store.put(beside)
        run.settle()
        run.store._file.change([record.key], [(record.key, b"\2" + bytes(40))], 0)()
        run.store._file.committed(0)
        due = run.store.expired(60_000)
        self.assertEqual(
            {versioned.key: present(versioned, 60_000) for versioned in due}, {record.key: None, beside.key: None}
        )

    def test_newer_format(self) -> None:
        """Records of a newer format are left alone, and one line says what wrote them."""
        path = self.written()
        with lmdb.open(str(path.parent), max_dbs=2, lock=False, map_size=64 << 20) as env:
            about = env.open_db(b"about")
            with env.begin(write=True, db=about) as txn:
                txn.put(b"format", (2).to_bytes(4, "big"))
        before = path.read_bytes()
        with self.assertRaises(StateUnusable) as caught:
            LmdbRecordStore(self.directory, SteppedWorker(), lambda: 0, lambda: WALL_MS)
        self.assertIn("newer chordtwist (format 2; this one reads up to 1)", str(caught.exception))
        self.assertEqual(path.read_bytes(), before)

    def test_not_allowed(self) -> None:
        """A folder that cannot be made is an error of one line that names it."""
        (self.directory.parent / "file").write_bytes(b"")
        with self.assertRaises(StateUnusable) as caught:
            LmdbRecordStore(self.directory.parent / "file" / "records", SteppedWorker(), lambda: 0, lambda: WALL_MS)
        self.assertIn("file/records", str(caught.exception))


class WorkerThreadTests(SynchronousTestCase):
    """`WorkerThread` is a `Worker`."""

    def setUp(self) -> None:
        """A thread."""
        self.turns = ReactorTurns()
        self.thread = WorkerThread(self.turns, "of this test")

    def test_runs_elsewhere(self) -> None:
        """Calls run in one thread of its own, one after another; their results come in the thread of the reactor."""
        came_in: list[tuple[Thread, Thread]] = []
        for _ in range(2):
            self.thread.run(current_thread).addCallback(lambda ran_in: came_in.append((ran_in, current_thread())))
        for _ in range(2):
            self.turns.turn()
        [(ran_in, came_to), again] = came_in
        self.assertEqual((ran_in, came_to), again)
        self.assertIsNot(ran_in, came_to)
        self.assertIs(came_to, current_thread())
        self.thread.stop()

    def test_beside(self) -> None:
        """The reactor works on while a call is under way."""
        gate = Lock()
        gate.acquire()
        passed = self.thread.run(gate.acquire)
        self.assertNoResult(passed)
        gate.release()
        self.turns.turn()
        self.assertTrue(self.successResultOf(passed))
        self.thread.stop()

    def test_failure(self) -> None:
        """What a call raises comes as a failure, and the thread goes on."""
        failed = self.thread.run(lambda: 1 // 0)
        self.turns.turn()
        self.failureResultOf(failed, ZeroDivisionError)
        again = self.thread.run(lambda: 1)
        self.turns.turn()
        self.assertEqual(self.successResultOf(again), 1)
        self.thread.stop()

    def test_stop(self) -> None:
        """Once stopped, no thread is left."""
        self.thread.stop()
        self.assertNotIn("of this test", [thread.name for thread in enumerate_threads()])

    def test_store(self) -> None:
        """A store whose commits run in the thread: what one turn puts is one commit, and closing ends the thread."""
        folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, folder)
        store = LmdbRecordStore(folder, self.thread, lambda: 0, lambda: WALL_MS)
        done = [store.put(make_record(b"%d" % n)) for n in range(3)]
        self.turns.turn()
        self.assertNoResult(done[0])
        self.turns.turn()
        for one in done:
            self.successResultOf(one)
        self.successResultOf(store.close())
        self.assertNotIn("of this test", [thread.name for thread in enumerate_threads()])
