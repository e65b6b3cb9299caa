"""What a node keeps: its records, its key, the numbers of its runs, the peers it knew; on disk where it has a place."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.errors import StateUnusable
from chordtwist.core.peer import Identity, Peer
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.index import BYTES_MAX, RECORDS_MAX, TTL_MS_MAX
from chordtwist.storage.lmdb import LmdbRecordStore, WorkerThread
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.storage.state import SEED_BYTES, StateDirectory


class Persistence:
    """Everything that is to outlive a run of the node, or, without a state directory, nothing that does.

    @ivar store: its records.
    @ivar seed: of its Ed25519 key.
    @ivar directory: where it all is, or None.
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
        self._epoch = 0
        self._thread = WorkerThread(reactor, "state directory")
        self._writing = DeferredLock()
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
            self.store = LmdbRecordStore(
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

    def next_epoch(self) -> int:
        """Give a run of the node on the ring a number above all given before, also when the clock went back."""
        if self.directory is not None:
            return self.directory.next_epoch(self._wall_ms())
        self._epoch = max(self._wall_ms(), self._epoch + 1)
        return self._epoch

    def remembered_peers(self, identity: Identity) -> list[Peer]:
        """List the peers that an earlier run knew, best first."""
        return [] if self.directory is None else self.directory.remembered_peers(identity)

    def remember_peers(self, peers: list[Peer]) -> Deferred[None]:
        """Keep them for the next run, best first; fires when that is done. A full disk is no reason to fail: the older
        list stays, and the log says why.
        """
        if self.directory is None:
            return succeed(None)
        # In a thread: a disk may take seconds for two small writes, and nobody waits for them.
        kept = self._writing.run(self._thread.run, partial(self.directory.remember_peers, peers))
        return kept.addErrback(self._not_remembered)

    def _not_remembered(self, failure: Failure) -> None:
        failure.trap(StateUnusable)
        self._log.warn("peers are not remembered: {error}", error=failure.value)

    def close(self) -> Deferred[None]:
        """Close everything; fires when all is safe and another process may have the directory. It is the last call.

        Where that takes too long and is cancelled, a commit may be under way: the directory is this process's until its
        end.
        """
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self.store.close()
        if self.directory is not None:
            await self._writing.acquire()
            self._thread.stop()
            self.directory.close()
