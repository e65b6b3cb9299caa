"""Scenes of records in trouble: what one node, one disk or one clock does wrong, others do not suffer from for long."""

from __future__ import annotations

import shutil

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.keeping import Keeping
from chordtwist.core.errors import StateUnusable
from chordtwist.storage.lmdb import LmdbRecordStore
from tests.contracts import make_record
from tests.record_ring import WALL_MS, RecordRing, keys_in
from tests.test_replication import EIGHT, KEY, OWNED
from tests.workers import InlineWorker, folder_in_memory


class ClosingTests(SynchronousTestCase):
    """The end of a process, and the beginning of the next."""

    def test_given_up(self) -> None:
        """A process that gives up closing while a commit is still to come lets no other have its directory."""
        folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, folder)
        clock = Clock()
        keeping = Keeping(folder, clock, lambda: WALL_MS)
        assert keeping.directory is not None
        self.addCleanup(keeping.directory.close)
        self.assertNoResult(keeping.store.put(make_record(b"k")))
        closed = keeping.close()  # waits for the turn in which the commit begins
        closed.cancel()
        self.failureResultOf(closed, CancelledError)
        self.assertRaises(StateUnusable, Keeping, folder, clock, lambda: WALL_MS)


class UnreadableTests(SynchronousTestCase):
    """A disk on which one record rots."""

    def setUp(self) -> None:
        """A ring whose nodes keep their records on disk."""
        self.folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, self.folder)
        self.stores: list[LmdbRecordStore] = []
        self.ring = RecordRing(*EIGHT, store=self.store)
        for store in self.stores:
            self.addCleanup(store.close)

    def store(self) -> LmdbRecordStore:
        """Another node's; the clock of the ring begins at 0."""

        def now_ms() -> int:
            return int(self.ring.clock.seconds() * 1000) if hasattr(self, "ring") else 0

        folder = self.folder / str(len(self.stores))
        self.stores.append(LmdbRecordStore(folder, InlineWorker(), now_ms, lambda: WALL_MS + now_ms()))
        return self.stores[-1]

    def test_comes_back(self) -> None:
        """A record that a replica finds unreadable is counted out of its summaries: the owner brings it back."""
        keys = keys_in(OWNED, 40)
        for key in keys:
            self.ring.node(0x8000).records.put(key, b"v", 80_000)
        self.ring.pass_time(100)
        replica = EIGHT.index(0x5000)
        file = self.stores[replica]._file
        file.change([KEY], [(KEY, b"\2" + bytes(40))], file.skew_ms)()
        file.committed(file.skew_ms)
        holdings = self.ring.node(0x5000).records.holdings
        self.assertIsNone(holdings.get(KEY))
        self.assertIsNone(self.stores[replica].entry(KEY))
        self.ring.pass_time(200)
        self.assertEqual(self.ring.holders(KEY), self.ring.replicas(KEY))
