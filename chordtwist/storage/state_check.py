"""Looks a state directory through while no node uses it: nothing is changed, set aside, or made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_NB, LOCK_SH, flock
from pathlib import Path

import lmdb

from chordtwist.core.errors import StateUnusable
from chordtwist.core.records import KEY_BYTES, is_right
from chordtwist.core.signed import verify_ed25519
from chordtwist.storage.files import open_own, read_own
from chordtwist.storage.layout import unpack, unpack_entry
from chordtwist.storage.record_file import STORE_FORMAT
from chordtwist.storage.state import FILE_BYTES_MAX, STATE_FORMAT, StateDirectory

DAMAGED_MAX = 1_000
"""More are not named one by one."""


@dataclass
class StateReport:
    """What stands in a state directory.

    @ivar files: what each small file is, or what is wrong with it. @ivar records, tombstones, bytes: alive, remembered,
    of values. @ivar ended: rows whose time has come; the next start removes them. @ivar damaged: keys of rows that are
    no records, or prove themselves wrong, and why. @ivar faults: everything that a node would set aside or stop at.
    """

    directory: str
    files: dict[str, str] = field(default_factory=dict)
    records: int = 0
    tombstones: int = 0
    bytes: int = 0
    ended: int = 0
    damaged: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not self.damaged


def check_state(path: Path, wall_ms: int) -> StateReport:
    """Look it through; `wall_ms` is the time now.

    @raise StateUnusable: there is none, a node uses it, or the system refuses.
    """
    report = StateReport(str(path))
    with _locked(path):
        for name, read in StateDirectory.readers().items():
            _check_file(path / name, read, report)
        folder = path / "records"
        if (folder / "data.mdb").exists():
            _check_records(folder, wall_ms, report)
        else:
            report.files["records"] = "none"
    return report


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        descriptor = open_own(path / "lock", os.O_RDONLY)
    except FileNotFoundError:
        raise StateUnusable(f"{path}: is no state directory of a node: it has no file lock") from None
    except OSError as error:
        raise StateUnusable(f"{path}: cannot be read: {error.strerror}") from None
    try:
        flock(descriptor, LOCK_SH | LOCK_NB)
        yield
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        raise StateUnusable(f"{path}: in use by process {owner}: end that node first") from None
    finally:
        os.close(descriptor)


def _check_file(path: Path, read: Callable[[bytes], object], report: StateReport) -> None:
    try:
        raw = read_own(path, FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return
    except OSError as error:
        report.faults.append(f"{path.name}: cannot be read: {error.strerror}")
        return
    try:
        found = read(raw)
        if path.name == "format" and found != STATE_FORMAT:
            raise ValueError(f"format {found}; this build writes {STATE_FORMAT}")
    except ValueError as error:
        report.faults.append(f"{path.name}: {error}")
        return
    report.files[path.name] = "right"
    if path.stat().st_mode & 0o077 and path.name in ("node-key", "operator-token"):
        report.faults.append(f"{path.name}: others can read it")


def _check_records(folder: Path, wall_ms: int, report: StateReport) -> None:
    size = (folder / "data.mdb").stat().st_size
    try:
        env = lmdb.open(str(folder), readonly=True, lock=False, max_dbs=2)
    except (lmdb.Error, OSError) as error:
        report.faults.append(f"records: {error}")
        return
    try:
        # A page beyond the end of the file is no error in a memory map: it is a signal that ends the process.
        if size < (env.info()["last_pgno"] + 1) * env.stat()["psize"]:
            report.faults.append(f"records: {size} bytes are only the beginning of it")
            return
        report.files["records"] = "right"
        _check_rows(env, wall_ms, report)
    except lmdb.Error as error:
        report.faults.append(f"records: {error}")
    finally:
        env.close()


def _check_rows(env: lmdb.Environment, wall_ms: int, report: StateReport) -> None:
    about, records = env.open_db(b"about", create=False), env.open_db(b"arrivals", create=False)
    with env.begin(buffers=True) as txn:
        written = int.from_bytes(txn.get(b"format", b"", db=about), "big")
        if written != STORE_FORMAT:
            report.faults.append(f"records: format {written}; this build writes {STORE_FORMAT}")
            return
        now_ms = wall_ms - int.from_bytes(txn.get(b"skew", b"", db=about), "big", signed=True)
        with txn.cursor(records) as cursor:
            for _, row in cursor:
                _check_row(bytes(row[:KEY_BYTES]), row[KEY_BYTES:], now_ms, report)


def _check_row(key: bytes, raw: memoryview, now_ms: int, report: StateReport) -> None:
    try:
        if len(key) != KEY_BYTES:
            raise ValueError("a row without a key")
        entry, ends_ms = unpack_entry(key, raw, 0)
        if not is_right(unpack(entry, raw, 0), verify_ed25519):
            raise ValueError("its hash or signature does not fit")
    except ValueError as error:
        if len(report.damaged) < DAMAGED_MAX:
            report.damaged.append((key.hex(), str(error)))
        return
    if ends_ms <= now_ms:
        report.ended += 1
    elif entry.is_tombstone or entry.expiry_ms <= now_ms:
        report.tombstones += 1
    else:
        report.records += 1
        report.bytes += entry.value_bytes
