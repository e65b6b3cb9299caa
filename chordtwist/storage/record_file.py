"""One LMDB file of packed records, with room on the disk kept ahead of need.

Records lie in the order in which they came, each behind its key: a commit of thirty new ones changes a page or two at
the end of the tree, where thirty random keys would change thirty. Which number a key has is known in memory, from
reading all rows at the start.

It is opened without LMDB's own locks. They would bind a write transaction to one thread, and a worker thread that fills
it waits for Python's global lock at every single put: measured with a busy reactor, a commit of 100 puts took 140 ms
and more. So the reactor's thread fills the transaction (about 2 microseconds for a small record) and only `commit`,
one long call without that lock, runs in a worker: at most two waits, and the first is none where the reactor hands the
lock over, as it does to `WorkerThread`.

What the locks would guard is kept by three rules. One process has the file (`StateDirectory` locks it). One write
transaction is open at a time. And reads use one long snapshot, taken while no commit was under way: pages that it
shows are never reused by the transaction that follows it, and no reader ever looks while the root is being replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path
from typing import TypeVar

import lmdb

from chordtwist.core.errors import StateUnusable
from chordtwist.core.records import KEY_BYTES

T = TypeVar("T")

STORE_FORMAT = 1
"""Of the records on disk (`layout`): raised when an older node would misread them."""

MAP_BYTES_MIN = 4 << 20
"""Where a file begins."""

GROWTH_BYTES_MAX = 8 << 20
"""One step: a file grows by a quarter, and no more than this: the commit behind it waits until the disk has it all."""

GROWTH_BYTES_MIN = 1 << 20
"""A disk that cannot give even this is full."""

HEADROOM_BYTES = 4 << 20
"""Allocated beyond what records may use. LMDB never overwrites a page that somebody may read, so even a removal takes
some: at most `SHRINK_CHANGES_MAX` times the depth of the tree (4 for millions of keys), twice, until those it freed can
be used again: 1 MiB. The rest is for the tree of free pages."""

ZEROS_BYTES = 1 << 20

SHRINK_CHANGES_MAX = 32
"""Changes in one commit that lives on the headroom."""

NUMBER_BYTES = 8

FULL = (ENOSPC, EDQUOT, EFBIG)
"""How systems say that there is no more room for a file."""


class Corrupt(Exception):
    """The file is no longer what was written."""


class RecordFile:
    """Opens the file in the folder `directory`, or begins one; it may grow to `map_bytes_max`.

    @raise Corrupt: see there.
    @raise StateUnusable: its format is newer, or the system refuses.
    """

    def __init__(self, directory: Path, map_bytes_max: int) -> None:
        self.path = path = directory / "data.mdb"
        self._map_bytes_max = map_bytes_max
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for own in (directory, path):
                if own.is_symlink():
                    raise StateUnusable(f"{own}: cannot be used: it is a symbolic link")
            size = path.stat().st_size if path.exists() else 0
            self._env = lmdb.open(
                str(directory),
                map_size=max(MAP_BYTES_MIN, size - HEADROOM_BYTES),
                max_dbs=2,
                max_spare_txns=1,
                lock=False,
                mode=0o700,
            )
        except (lmdb.InvalidError, lmdb.CorruptedError) as error:
            raise Corrupt(str(error)) from error
        except (lmdb.Error, OSError) as error:
            raise StateUnusable(f"{path}: cannot be used: {error}") from error
        try:
            self._open(size)
        except BaseException:
            self._env.close()
            raise

    def _open(self, size: int) -> None:
        # A page beyond the end of the file is no error in a memory map: it is a signal that ends the process.
        if size and size < (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]:
            raise Corrupt(f"{size} bytes are only the beginning of it")
        try:
            self._records = self._env.open_db(b"arrivals")
            self._about = self._env.open_db(b"about")
            with self._env.begin(write=True, db=self._about) as txn:
                written = int.from_bytes(txn.get(b"format", b""), "big")
                self.skew_ms = int.from_bytes(txn.get(b"skew", b""), "big", signed=True)
                if written > STORE_FORMAT:
                    raise StateUnusable(
                        f"{self.path}: written by a newer chordtwist"
                        f" (format {written}; this one reads up to {STORE_FORMAT})"
                    )
                if written < STORE_FORMAT:
                    txn.put(b"format", STORE_FORMAT.to_bytes(4, "big"))
        except (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.IncompatibleError, lmdb.BadTxnError) as error:
            raise Corrupt(str(error)) from error
        except lmdb.Error as error:
            raise StateUnusable(f"{self.path}: cannot be used: {error}") from error
        self._map_bytes = self._env.info()["map_size"]
        self._allocate(self._map_bytes)
        self._numbers: dict[bytes, bytes] = {}
        self._changed: tuple[list[bytes], dict[bytes, bytes]] = ([], {})
        """What the transaction that is not committed yet removes, and the numbers of what it puts."""
        self._snapshot = self._env.begin(db=self._records, buffers=True)
        try:
            self._last = _last_number(self._snapshot)
        except lmdb.Error as error:
            self._snapshot.abort()
            raise Corrupt(str(error)) from error

    def rows(self) -> Iterator[tuple[bytes, memoryview]]:
        """Go through everything, the oldest first: once, before anything else. The views end with the next step.

        @raise Corrupt: see there.
        """
        try:
            with self._snapshot.cursor() as cursor:
                for number, row in cursor:
                    key = bytes(row[:KEY_BYTES])
                    if len(number) != NUMBER_BYTES or len(key) != KEY_BYTES or key in self._numbers:
                        raise Corrupt(f"row {bytes(number).hex()} is no record")
                    self._numbers[key] = bytes(number)
                    yield key, row[KEY_BYTES:]
        except lmdb.Error as error:
            raise Corrupt(str(error)) from error

    def read(self, key: bytes, parse: Callable[[memoryview], T]) -> T | None:
        """Read what `parse` makes of what was under `key` when the last commit was over; None when nothing was.

        @raise Corrupt: see there.
        """
        number = self._numbers.get(key)
        if number is None:
            return None
        try:
            row = self._snapshot.get(number)
            if row is None or row[:KEY_BYTES] != key:
                raise ValueError("its row is gone")
            return parse(row[KEY_BYTES:])
        except (lmdb.Error, ValueError) as error:
            if isinstance(error, lmdb.Error):
                # A page is damaged: a commit that touches this row would fail, and every one after it.
                del self._numbers[key]
            raise Corrupt(f"{self.path}: {key.hex()}: {error}") from error

    def change(self, removed: Iterable[bytes], put: Iterable[tuple[bytes, bytes]], skew_ms: int) -> Callable[[], None]:
        """Remove, then put, then return the commit: to be called once, in any thread, before `change` is called again,
        and followed by `committed` when it has returned. Until then, reads see what was.

        `skew_ms` is kept beside the records, see `LmdbRecordStore`.

        @raise lmdb.Error: nothing was changed; `lmdb.MapFullError` calls for `claim`. The commit raises the same.
        """
        gone, placed, rows = list(removed), {}, []
        numbers, last = self._numbers, self._last
        txn = self._env.begin(write=True, db=self._records)
        try:
            for key in gone:
                if key in numbers:
                    txn.delete(numbers[key])
            for key, raw in put:
                if key in numbers:
                    txn.delete(numbers[key])
                last += 1
                number = placed[key] = _packed(last)
                rows.append((number, key + raw))
            with txn.cursor() as cursor:
                cursor.putmulti(rows, append=True)
            if skew_ms != self.skew_ms:
                txn.put(b"skew", skew_ms.to_bytes(8, "big", signed=True), db=self._about)
        except BaseException:
            txn.abort()
            raise
        self._changed = gone, placed
        return txn.commit

    def committed(self, skew_ms: int) -> None:
        """Let reads see what was committed."""
        self.skew_ms = skew_ms
        gone, placed = self._changed
        for key in gone:
            self._numbers.pop(key, None)
        self._numbers.update(placed)
        self._last += len(placed)
        self._snapshot.abort()
        self._snapshot = self._env.begin(db=self._records, buffers=True)

    def claim(self) -> int:
        """Claim more of the disk, in any thread; returns by how many bytes to `grow`, 0 when there is no more."""
        step = max(GROWTH_BYTES_MIN, min(self._map_bytes // 4, GROWTH_BYTES_MAX))
        step = max(0, min(step, self._map_bytes_max - self._map_bytes))
        while step and not self._allocate(self._map_bytes + step):
            step = step // 2 if step // 2 >= GROWTH_BYTES_MIN else 0
        return step

    def grow(self, step_bytes: int) -> None:
        """Let the next commits use what was claimed. Neither a commit nor a read may be under way."""
        self._resize(self._map_bytes + step_bytes)

    @property
    def why_full(self) -> str:
        """What it needs when nothing could be claimed."""
        if self._map_bytes >= self._map_bytes_max:
            return f"the records take all the {self._map_bytes_max >> 20} MiB that they may have"
        return "the disk is full"

    def open_headroom(self) -> None:
        """Let the next commits use it; as `grow`, not while anything is under way."""
        self._allocate(self._map_bytes)
        self._resize(self._map_bytes + HEADROOM_BYTES)

    def close_headroom(self) -> None:
        """Keep it for the next time. What of it is in use now stays so; LMDB makes no map smaller than its content."""
        self._resize(self._map_bytes - HEADROOM_BYTES)

    def close(self) -> None:
        """Close the file; no commit may be under way."""
        self._snapshot.abort()
        self._env.close()

    def _resize(self, map_bytes: int) -> None:
        self._snapshot.abort()
        self._env.set_mapsize(map_bytes)
        self._map_bytes = self._env.info()["map_size"]
        self._snapshot = self._env.begin(db=self._records, buffers=True)

    def _allocate(self, map_bytes: int) -> bool:
        """Whether the disk gave that and the headroom. Some file systems cannot promise; then a commit finds out."""
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            begin, end = os.fstat(descriptor).st_size, map_bytes + HEADROOM_BYTES
            os.posix_fallocate(descriptor, 0, end)
            # A block that was never written makes the journal of ext4 or XFS a part of the commit that writes it first:
            # a commit of thirty records takes a third longer.
            while begin < end:
                begin += os.pwrite(descriptor, bytes(min(ZEROS_BYTES, end - begin)), begin)
        except OSError as error:
            return error.errno not in FULL
        finally:
            os.close(descriptor)
        return True


def _packed(number: int) -> bytes:
    return number.to_bytes(NUMBER_BYTES, "big")


def _last_number(txn: lmdb.Transaction) -> int:
    with txn.cursor() as cursor:
        return int.from_bytes(cursor.key(), "big") if cursor.last() else 0
