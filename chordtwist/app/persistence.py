"""What a node keeps: its records, its key, the numbers of its runs, the peers it knew; on disk where it has a place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.errors import StateUnusable
from chordtwist.core.peer import Identity, Peer
from chordtwist.net.daemon_threads import DaemonThreads
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.index import BYTES_MAX, RECORDS_MAX, TTL_MS_MAX
from chordtwist.storage.lmdb import LmdbRecordStore, WorkerThread
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.storage.state import SEED_BYTES, StateDirectory

T = TypeVar("T")

RUNS_RESERVED = 1000
"""Numbers of runs that a process takes from the disk at once: a node that rejoins its ring needs another, and must not
wait for a disk there. At one in five seconds they last for more than an hour."""

WARN_EVERY_S = 60.0
"""Between two lines about a state directory that cannot be written."""


class Persistence:
    """Everything that is to outlive a run of the node, or, without a state directory, nothing that does.

    Once the node runs, what is written besides records is written in a thread: a disk may hang.

    @ivar store: its records.
    @ivar seed: of its Ed25519 key.
    @ivar directory: where it all is, or None.
    @ivar operator_token: what the operator proves himself with over the API; empty where there is no place for it.
    """

    _log = Logger()

    def __init__(
        self,
        state_dir: Path | None,
        reactor: Any,
        life_ms: Callable[[], int],
        wall_ms: Callable[[], int],
        records_max: int = RECORDS_MAX,
        bytes_max: int = BYTES_MAX,
        ttl_ms_max: int = TTL_MS_MAX,
    ) -> None:
        """@param life_ms: the clock that expiries are counted on.
        @param bytes_max: of values.
        @param ttl_ms_max: the longest life that a record may have.
        @raise StateUnusable: the directory cannot be used, and why.
        """
        self._wall_ms = wall_ms
        self._epoch = self._reserved = 0
        self._writing = 0
        self._when_written: Deferred[None] | None = None
        self._unkept: list[Peer] = []
        self._trouble = ""
        self._warn_again_s = 0.0
        self._reactor = reactor
        self._threads = DaemonThreads(reactor, 1, "state")
        self._lmdb: LmdbRecordStore | None = None
        self.operator_token = ""
        self.directory: StateDirectory | None = None
        self.store: IRecordStore
        if state_dir is None:
            self.seed = secrets.token_bytes(SEED_BYTES)
            self.store = MemoryRecordStore(records_max, bytes_max)
            return
        directory = self.directory = StateDirectory(state_dir)
        thread = WorkerThread(reactor, "record commits")
        try:
            self.seed = directory.node_key()
            self.store = self._lmdb = LmdbRecordStore(
                directory.records,
                thread,
                life_ms,
                wall_ms,
                records_max,
                bytes_max,
                ttl_ms_max=ttl_ms_max,
            )
        except BaseException:
            thread.stop()
            directory.close()
            raise
        with suppress(StateUnusable, OSError):  # on a full disk there is none
            self.operator_token = directory.operator_token()

    @property
    def trouble(self) -> str:
        """What the disk said last, where it does not take what is to be kept."""
        return self._trouble or ("" if self._lmdb is None else self._lmdb.trouble)

    def next_epoch(self) -> int:
        """Give a run of the node on the ring a number above all given before, also when the clock went back.

        @raise StateUnusable: at the first call only. Later ones go on in memory, whatever the disk says.
        """
        if self.directory is None:
            self._epoch = max(self._wall_ms(), self._epoch + 1)
        elif not self._epoch:
            self._epoch = self.directory.next_epoch(self._wall_ms(), RUNS_RESERVED)
            self._reserved = self._epoch + RUNS_RESERVED - 1
        else:
            self._epoch += 1
            if self._reserved - self._epoch < RUNS_RESERVED // 2 and not self._writing:
                self._write(self.directory.next_epoch, self._epoch + 1, RUNS_RESERVED).addCallback(self._reserve)
        return self._epoch

    def _reserve(self, first: int | None) -> None:
        if first is not None:
            self._reserved = first + RUNS_RESERVED - 1

    def remembered_peers(self, identity: Identity) -> list[Peer]:
        """List the peers that an earlier run knew, best first."""
        return [] if self.directory is None else self.directory.remembered_peers(identity)

    def remember_peers(self, peers: Iterable[Peer]) -> None:
        """Keep them for the next run, best first; soon, and one warning a minute while the disk does not take them."""
        self._unkept = list(peers)
        self.keep_again()

    def keep_again(self) -> None:
        """Try again to keep what the disk did not take when it was to be kept."""
        if self.directory is not None and self._unkept and not self._writing:
            self._write(self.directory.remember_peers, self._unkept).addCallback(self._kept, self._unkept)

    def _kept(self, _: None, peers: list[Peer]) -> None:
        if not self._trouble and self._unkept is peers:
            self._unkept = []

    def free_bytes(self) -> Deferred[int]:
        """Ask how much may still be written to the disk of the directory, which there is. Fires when the disk answers,
        or fails with `OSError`.
        """
        assert self.directory is not None
        return self._threads.call(_free_bytes, self.directory.path)

    def close(self) -> Deferred[None]:
        """Close everything; fires when all is safe and another process may have the directory. It is the last call.

        Where that takes too long and is cancelled, a commit may be under way: the directory is this process's until its
        end.
        """
        if not self._writing:
            return self._close(None)
        closed: Deferred[None] = Deferred()
        self._when_written = closed
        return closed.addCallback(self._close)

    def _close(self, _: None) -> Deferred[None]:
        self._threads.stop()
        return self.store.close().addCallback(self._closed)

    def _closed(self, _: None) -> None:
        if self.directory is not None:
            self.directory.close()

    def _write(self, function: Callable[..., T], *args: object) -> Deferred[T | None]:
        """Call a function that writes, in the thread; fires with None when the disk did not take it."""
        self._writing += 1
        return self._threads.call(function, *args).addBoth(self._written)

    def _written(self, result: T | Failure) -> T | None:
        self._writing -= 1
        if self._when_written is not None and not self._writing:
            when_written, self._when_written = self._when_written, None
            when_written.callback(None)
        self._trouble = ""
        if not isinstance(result, Failure):
            return result
        self._trouble = result.getErrorMessage()
        if self._reactor.seconds() >= self._warn_again_s:
            self._warn_again_s = self._reactor.seconds() + WARN_EVERY_S
            self._log.warn("not kept for the next start: {error}", error=self._trouble)
        return None


def _free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
