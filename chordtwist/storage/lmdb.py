"""A record store on disk: puts are confirmed after their commit, many puts share one, and reads never wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

import lmdb
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.errors import StoreFull
from chordtwist.core.records import GRACE_MS, Entry, Tombstone, Versioned, ended, entry_of, position_of, shorten
from chordtwist.core.ring import Arc
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.index import BYTES_MAX, RECORDS_MAX, TTL_MS_MAX, Expiries, Places, Room
from chordtwist.storage.layout import pack, unpack, unpack_entry
from chordtwist.storage.record_file import SHRINK_CHANGES_MAX, Corrupt, RecordFile
from chordtwist.storage.state import set_aside

T = TypeVar("T")

COMMIT_CHANGES_MAX = 512
"""Changes in one commit: they hold the reactor for about a millisecond."""

COMMIT_BYTES_MAX = 4 << 20
"""Bytes of values in one commit: copying them takes about 2 ms."""

EXPIRED_BYTES_MAX = 1 << 20
"""Bytes of values that one call of `expired` reads, and one value more: about a millisecond."""

COMMIT_PAUSE_MS_MAX = 16
"""Between two commits, where several puts are on their way at once; nobody sees 16 ms."""

COMPANY_PUTS = 8
"""So many puts make a commit worth while, however many more are under way."""

WAITING_BYTES_MAX = 64 << 20
"""Bytes of values that wait for their commits: seconds of a slow disk's work. Beyond, puts are refused."""

MAP_BYTES_PER_RECORD = 1024
"""Room for the record around its value, for tree pages that are half full, and for values of which only one fits on a
page; beside twice the bytes of the values, it is what the file may grow to."""


CUT_AT_ONCE = 64
"""Records whose lives were cut at the start, written again in one commit: with the longest values, 4 MiB."""

WARNING_INTERVAL_MS = 60_000
"""Between two lines in the log that say that records are refused: a store that is nearly full is so again and again."""

SKEW_MS_MIN = 2
"""Changes of the wall clock that are written down: two clocks read one after the other may differ by one."""


CLOCK_READINGS_MAX = 10
"""Attempts to read two clocks at one time."""


class Worker(Protocol):
    """Where commits run: a thread; in tests, at once or when the test says so."""

    def soon(self, after_s: float, call: Callable[[], object]) -> None:
        """Call it, not in the thread, when the reactor is done with what it is at and so much time has passed."""

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """Call it in the thread, and fire with what it returned or raised."""

    def stop(self) -> None:
        """Nothing will be run any more."""


@implementer(IRecordStore)
class LmdbRecordStore:
    """Opens the store in `directory`. `now_ms` is the steady clock of `Record.expiry_ms`, `wall_ms` the wall's.

    Values are on disk only; of every key its entry is in memory too, about 700 bytes, so that misses, scans, digests
    and expiry never touch the disk. What waits for its commit is read from memory.

    *Time.* A file needs a clock that goes on while no process runs, and a process one that no step of the wall clock
    disturbs. So the file has its own: the steady clock plus an offset that is fixed at the start (else the same record,
    written and read back, would not have the same expiry). How far the wall clock is from the file's is kept beside the
    records, and committed with them whenever it has changed; the next start sets the file's clock by it. A wall clock
    that is set right while the node runs (a small computer that boots in 1970) ends no life early or late. At such a
    start, though, what is on the disk seems to have decades to live: no life is longer then than `ttl_ms_max`, which
    is written down too, so that a later start by the right clock does not lengthen it again.

    *Trouble.* When disk or map is full, records are refused with `StoreFull`; tombstones and removals live on a
    headroom. A file that makes no sense is set aside, with one line in the log, and the store begins empty: other
    replicas bring the records back. So do they for a single record that cannot be read, once it is removed.

    @raise StateUnusable: the format is newer, or the system refuses.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        worker: Worker,
        now_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        records_max: int = RECORDS_MAX,
        bytes_max: int = BYTES_MAX,
        map_bytes_max: int | None = None,
        ttl_ms_max: int = TTL_MS_MAX,
    ) -> None:
        self._worker = worker
        self._ttl_ms_max = ttl_ms_max
        self._now_ms = now_ms
        self._wall_ms = wall_ms
        self._batches: deque[Batch] = deque()
        self._waiting_bytes = 0
        self._is_writing = False
        # How many puts make the next commit worth while, and how long it waits for them.
        self._company = 1
        self._pause_s = 0.0
        self._idle: list[Deferred[None]] = []
        # Removed, but still on disk: to be done with the next commit that succeeds. Nobody sees them until then.
        self._undone: set[bytes] = set()
        self.trouble = ""
        """Why the last commit did not take all; empty when it did."""
        self._warn_again_ms = now_ms()
        if map_bytes_max is None:
            map_bytes_max = 2 * bytes_max + MAP_BYTES_PER_RECORD * records_max
        try:
            self._open(directory, map_bytes_max, Room(records_max, bytes_max))
        except Corrupt as error:
            set_aside(directory / "data.mdb", str(error))
            self._open(directory, map_bytes_max, Room(records_max, bytes_max))
        self._drop_expired()
        Deferred.fromCoroutine(self._write_cut())

    def _open(self, directory: Path, map_bytes_max: int, room: Room) -> None:
        self._room = room
        self._entries: dict[bytes, Entry] = {}
        self._places = Places()
        self._expiries = Expiries()
        # Keys whose rows on the disk say more than they may, and when they end instead.
        self._cut: dict[bytes, int] = {}
        self._file = RecordFile(directory, map_bytes_max)
        self._offset_ms = self._wall_ahead_ms() - self._file.skew_ms
        end_ms = self._now_ms() + self._ttl_ms_max
        try:
            for key, raw in self._file.rows():
                self._note(self._unpack_entry(key, raw, end_ms), None)
        except (Corrupt, ValueError) as error:
            self._file.close()
            raise Corrupt(str(error)) from error

    def put(self, versioned: Versioned) -> Deferred[None]:
        """Keep it; fires after its commit. When that fails, what was on disk before is kept again."""
        key = versioned.key
        entry = entry_of(versioned, position_of(key))
        size = entry.value_bytes
        before = self._entries.get(key)
        growth = size if before is None else size - before.value_bytes
        refusal = self._room.refusal(before is None, growth)
        if refusal is None and size and self._waiting_bytes + size > WAITING_BYTES_MAX:
            refusal = StoreFull(f"the disk is {WAITING_BYTES_MAX >> 20} MiB of values behind")
        if refusal is not None:
            return fail(refusal)
        self._note(entry, before)
        self._cut.pop(key, None)
        done: Deferred[None] = Deferred()
        batch = self._open_batch()
        batch.put[key] = versioned
        batch.bytes += size
        self._waiting_bytes += size
        batch.waiting.append((key, done))
        self._commit_soon()
        return done

    def under_way(self, key: bytes) -> Deferred[None] | None:
        """Wait for what is kept under `key` while it waits for its commit: fires as its put does."""
        for batch in reversed(self._batches):
            if key in batch.put:
                done: Deferred[None] = Deferred()
                batch.waiting.append((key, done))
                return done
        return None

    def get(self, key: bytes) -> Versioned | None:
        """Get what is kept under `key`; None, with a line in the log, when it cannot be read."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        for batch in reversed(self._batches):
            versioned = batch.put.get(key)
            if versioned is not None:
                return versioned
        try:
            versioned = self._file.read(key, lambda raw: unpack(entry, raw, self._offset_ms))
            if versioned is None:
                raise Corrupt(f"{self._file.path}: {key.hex()} vanished")
        except Corrupt as error:
            self.log.error("a record cannot be read and is forgotten: {error}", error=error)
            return None
        return shorten(versioned, self._cut[key]) if key in self._cut else versioned

    def entry(self, key: bytes) -> Entry | None:
        """Get the same without its value."""
        return self._entries.get(key)

    def remove(self, key: bytes) -> None:
        """Keep nothing under `key` any more."""
        if key in self._entries:
            self._forget(key)
            batch = self._open_batch()
            batch.put.pop(key, None)
            batch.removed.add(key)
            self._commit_soon()

    def scan(self, arc: Arc) -> Iterator[Entry]:
        """Go through what is kept in `arc`; what is put or removed ahead of the iterator while it runs is seen."""
        for _, key in self._places.scan(arc):
            entry = self._entries.get(key)
            if entry is not None:
                yield entry

    def expired(self, now_ms: int) -> list[Versioned]:
        """List what is past its expiry, soonest first, at most `EXPIRED_MAX`; the same again until it is dealt with."""
        found: list[Versioned] = []
        value_bytes = 0
        for key in self._expiries.due(now_ms, self._entries):
            versioned = self.get(key) or self._ended(key)
            found.append(versioned)
            value_bytes += versioned.value_bytes
            if value_bytes >= EXPIRED_BYTES_MAX:
                break
        return found

    def _ended(self, key: bytes) -> Tombstone:
        """Stand in for what cannot be read, and has expired anyway: nothing is left of it."""
        entry = self._entries[key]
        return Tombstone(key, entry.version, entry.expiry_ms - GRACE_MS, entry.copies)

    def records(self) -> int:
        """Count the records that are kept."""
        return self._room.records

    def record_bytes(self) -> int:
        """Count the bytes of their values."""
        return self._room.bytes

    def tombstones(self) -> int:
        """Count the tombstones that are kept."""
        return self._room.keys - self._room.records

    def close(self) -> Deferred[None]:
        """Commit everything: fires when that is done, the file closed and the worker stopped."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._batches:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        try:
            # The wall clock may have been set since the last commit.
            if self._undone or self._skew_ms() != self._file.skew_ms:
                await self._write(self._undone, ())
        except lmdb.Error as error:
            self.log.warn("{path}: its end is not written: {error}", path=self._file.path, error=error)
        self._file.close()
        self._worker.stop()

    # What is kept, without values

    def _unpack_entry(self, key: bytes, raw: memoryview, end_ms: int) -> Entry:
        """Read what is on the disk under `key`; neither it nor what is remembered of it outlives `end_ms`."""
        entry, latest_ms = unpack_entry(key, raw, self._offset_ms)
        if latest_ms > end_ms:
            self._cut[key] = end_ms
            return shorten(entry, end_ms)
        return entry

    def _note(self, entry: Entry, before: Entry | None) -> None:
        """Keep this under its key from now on, and no longer `before`."""
        key, room = entry.key, self._room
        self._entries[key] = entry
        if before is None:
            room.keys += 1
            self._places.add(key)
        else:
            room.records -= not before.is_tombstone
            room.bytes -= before.value_bytes
        if before is None or before.expiry_ms != entry.expiry_ms:
            self._expiries.add(entry.expiry_ms, key, self._entries)
        room.records += not entry.is_tombstone
        room.bytes += entry.value_bytes

    def _forget(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self._room.keys -= 1
        self._places.discard(key)
        self._room.records -= not entry.is_tombstone
        self._room.bytes -= entry.value_bytes

    def _drop_expired(self) -> None:
        """Leave of what expired while no process ran its tombstone, or nothing, before anybody can read it."""
        now_ms = self._now_ms()
        while due := ended(self.expired(now_ms), now_ms):
            for key, left in due:
                if left is None:
                    self.remove(key)
                else:
                    self.put(left).addErrback(lambda failure: failure.trap(StoreFull))

    async def _write_cut(self) -> None:
        """Write down the lives that were cut at the start, a few at a time. What is not written when the process ends
        is cut at the next start.
        """
        keys = list(self._cut)
        for begin in range(0, len(keys), CUT_AT_ONCE):
            waiting = [
                self.put(versioned)
                for key in keys[begin : begin + CUT_AT_ONCE]
                if key in self._cut and (versioned := self.get(key)) is not None
            ]
            outcomes = await DeferredList(waiting, consumeErrors=True)
            if self._idle or not all(is_safe for is_safe, _ in outcomes):
                return

    # Commits, one after another

    def _open_batch(self) -> Batch:
        if not self._batches or not self._batches[-1].takes_more:
            self._batches.append(Batch())
        return self._batches[-1]

    def _commit_soon(self) -> None:
        if self._is_writing:
            return
        batch = self._batches[0]
        if len(batch.waiting) >= self._company > 1 or not batch.takes_more:
            self._begin(batch)
        elif not batch.is_expected:
            # Without a pause too, whatever else the reactor has just read is to share the commit.
            batch.is_expected = True
            self._worker.soon(self._pause_s, partial(self._begin, batch))

    def _begin(self, batch: Batch) -> None:
        if batch.is_open:
            Deferred.fromCoroutine(self._commit_next(batch))

    async def _commit_next(self, batch: Batch) -> None:
        self._is_writing = True
        batch.is_open = False
        begun_ms = self._now_ms()
        try:
            reason, refused = await self._commit(batch)
        except Exception:
            # A bug of ours, such as a record that cannot be packed: it must not keep others waiting for ever.
            self.log.failure("a commit failed")
            reason, refused = "the record store failed", set(batch.put)
        self._batches.popleft()
        self._waiting_bytes -= batch.bytes
        self._set_pause(len(batch.waiting) + sum(len(later.waiting) for later in self._batches), begun_ms)
        for key in refused:
            # A later change of the same key stands, whatever became of this one.
            if not any(later.touches(key) for later in self._batches):
                self._restore(key)
        for key, done in batch.waiting:
            if key in refused:
                done.errback(StoreFull(reason))
            else:
                done.callback(None)
        self._is_writing = False
        if self._batches:
            self._commit_soon()
            return
        for idle in self._idle:
            idle.callback(None)

    def _set_pause(self, under_way: int, begun_ms: int) -> None:
        # Who puts one record after another waits for nothing but the disk. Where several are under way at once, the
        # next commit waits until most of as many are here: it costs the processor as much as ten records in it; the
        # rest come while it is under way. Not all may come again, so it waits no longer than four times what the last
        # one took: that is long on a busy machine, where fewer commits matter most.
        took_ms = self._now_ms() - begun_ms
        self._company = max(min(under_way, COMPANY_PUTS), under_way * 13 // 16)
        self._pause_s = min(max(1, 4 * took_ms), COMMIT_PAUSE_MS_MAX) / 1000 if under_way > 1 else 0.0

    async def _commit(self, batch: Batch) -> tuple[str, set[bytes]]:
        """Commit all that can be; says why the rest is refused, and its keys."""
        self._undone |= batch.removed
        while True:
            try:
                await self._write(self._undone, batch.put.values())
            except lmdb.MapFullError:
                if step_bytes := await self._worker.run(self._file.claim):
                    self._file.grow(step_bytes)
                    continue
                reason = self._file.why_full
                self._file.open_headroom()
                refused = await self._shrink(batch.put)
                self._file.close_headroom()
            except lmdb.Error as error:
                reason = f"the records cannot be written: {error}"
                refused = await self._shrink(batch.put)
            else:
                self._undone.clear()
                self.trouble = ""
                return "", set()
            self.trouble = reason
            if self._now_ms() >= self._warn_again_ms:
                self._warn_again_ms = self._now_ms() + WARNING_INTERVAL_MS
                self.log.warn("{path}: no more records are taken: {reason}", path=self._file.path, reason=reason)
            return reason, refused

    async def _shrink(self, put: dict[bytes, Versioned]) -> set[bytes]:
        """Commit what is to be removed and tombstones, in small steps; returns the keys of what was not put."""
        changes: list[tuple[bytes, Tombstone | None]] = [(key, None) for key in self._undone]
        changes += [(key, versioned) for key, versioned in put.items() if isinstance(versioned, Tombstone)]
        refused = set(put)
        try:
            for begin in range(0, len(changes), SHRINK_CHANGES_MAX):
                step = changes[begin : begin + SHRINK_CHANGES_MAX]
                await self._write(
                    [key for key, tombstone in step if not tombstone], [tombstone for _, tombstone in step if tombstone]
                )
                for key, tombstone in step:
                    (refused if tombstone else self._undone).discard(key)
        except lmdb.Error as error:
            self.log.debug("{path}: nothing can be removed: {error}", path=self._file.path, error=error)
        return refused

    async def _write(self, removed: Iterable[bytes], put: Iterable[Versioned]) -> None:
        skew_ms = self._skew_ms()
        packed = [(versioned.key, pack(versioned, self._offset_ms)) for versioned in put]
        commit = self._file.change(removed, packed, skew_ms)
        await self._worker.run(commit)
        self._file.committed(skew_ms)

    def _restore(self, key: bytes) -> None:
        """Keep what is on disk again, after a refused put."""
        end_ms = self._now_ms() + self._ttl_ms_max
        try:
            found = self._file.read(key, lambda raw: self._unpack_entry(key, raw, end_ms))
        except Corrupt:
            found = None
        if found is not None and key not in self._undone:
            self._note(found, self._entries.get(key))
        elif key in self._entries:
            self._forget(key)

    def _skew_ms(self) -> int:
        """How far the wall clock is ahead of the file's clock, as it is to be kept."""
        skew_ms = self._wall_ahead_ms() - self._offset_ms
        return skew_ms if abs(skew_ms - self._file.skew_ms) >= SKEW_MS_MIN else self._file.skew_ms

    def _wall_ahead_ms(self) -> int:
        """How far the wall clock is ahead of the steady one."""
        for _ in range(CLOCK_READINGS_MAX):
            wall_ms, now_ms = self._wall_ms(), self._now_ms()
            # On a busy machine another process may run between two readings, for longer than lives may err.
            if self._wall_ms() == wall_ms:
                break
        return wall_ms - now_ms


class Batch:
    """Changes that become one commit: first what is removed, then what is put."""

    def __init__(self) -> None:
        self.removed: set[bytes] = set()
        self.put: dict[bytes, Versioned] = {}
        self.bytes = 0
        self.is_open = True
        """Whether more may come."""
        self.is_expected = False
        """Whether it begins by itself after a pause."""
        self.waiting: list[tuple[bytes, Deferred[None]]] = []

    def touches(self, key: bytes) -> bool:
        """Whether it changes what is kept under `key`."""
        return key in self.put or key in self.removed

    @property
    def takes_more(self) -> bool:
        """Whether it is not being committed, and not full."""
        return self.is_open and len(self.put) + len(self.removed) < COMMIT_CHANGES_MAX and self.bytes < COMMIT_BYTES_MAX


class ReactorTurns(Protocol):
    """What is needed of a reactor."""

    def callFromThread(self, callable: Callable[..., Any], *args: Any) -> None:
        """Call it in the reactor's thread."""

    def callLater(self, delay: float, callable: Callable[..., Any]) -> object:
        """Call it after so many seconds."""


class WorkerThread:
    """One thread, for whatever takes long and needs no Python: commits, and small files of the state directory.

    It begins with the first call: a process that opens its store and then goes into the background leaves its threads
    behind.

    A thread that has been called waits for Python's global lock until the reactor has nothing more to do, or for 5 ms.
    So the reactor stands still until the call has begun, some 70 microseconds, and then works on beside it.
    """

    def __init__(self, reactor: ReactorTurns, name: str = "record commits") -> None:
        self._reactor = reactor
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._begun = Lock()
        self._begun.acquire()
        self._thread: Thread | None = None

    def soon(self, after_s: float, call: Callable[[], object]) -> None:
        """Call it in the reactor's thread, in its next turn or a later one."""
        self._reactor.callLater(after_s, call)

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """Call it in the thread; fires in the reactor's. Waits for an earlier call: to be called when that is over."""
        done: Deferred[T] = Deferred()

        def work() -> None:
            self._begun.release()
            try:
                result = call()
            except Exception:
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, result)

        if self._thread is None:
            # A daemon: a process that has to end at once does not wait for a disk. A commit is whole or nothing anyway.
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._calls.put(work)
        self._begun.acquire()
        return done

    def stop(self) -> None:
        """End the thread; it has ended when this returns."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (work := self._calls.get()) is not None:
            work()
