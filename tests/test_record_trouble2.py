"""Scenes of records in trouble: what one node, one disk or one clock does wrong, others do not suffer from for long."""

from __future__ import annotations

import shutil
from hashlib import sha256
from itertools import count, pairwise

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.keeping import Keeping
from chordtwist.core.errors import Refused, StateUnusable, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.records import Record, RecordKind, Version, position_of
from chordtwist.core.ring import Arc
from chordtwist.core.versions import AHEAD_MS_MAX
from chordtwist.node.publishing import PUBLICATION_BYTES_MAX
from chordtwist.node.tidying import TIDIED_AT_ONCE, TIDY_S
from chordtwist.storage.lmdb import LmdbRecordStore
from chordtwist.wire.peer_messages import Holds, RecordBody, Store, Stored
from tests.builders import at, peer
from tests.contracts import make_record
from tests.record_ring import WALL_MS, RecordRing, key_in, keys_in
from tests.test_replication import EIGHT, KEY, OUTSIDER, OWNED
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


class ClockTests(SynchronousTestCase):
    """Versions from the end of what is taken."""

    def setUp(self) -> None:
        """A node whose clock is 20 s ahead, as its neighbours accept, has been sent a version a minute ahead of it."""
        self.ring = RecordRing(*EIGHT)
        self.writer = self.ring.node(OUTSIDER)
        self.writer.skew_ms = 20_000
        self.key = key_in(Arc(at(0x7000), at(OUTSIDER)))
        stranger = peer(0x7777)
        ahead_ms = self.writer.common_time_ms() + AHEAD_MS_MAX
        body = RecordBody(self.key, b"theirs", 0, ahead_ms, stranger.packed, 80_000_000, 1)
        self.assertEqual(self.writer.records.answer(stranger, Store(body, 0)), Stored())

    def test_a_version_just_taken(self) -> None:
        """Its puts of other keys are confirmed as before."""
        for key in keys_in(OWNED, 10):
            put = self.writer.records.put(key, b"v")
            self.ring.pass_time(0.1)
            self.successResultOf(put)

    def test_overwritten(self) -> None:
        """What is put under that very key, again and again, is what is read there, by this node and others."""
        self.ring.pass_time(21)
        for place in (OUTSIDER, OUTSIDER, 0x1000, OUTSIDER):
            value = b"%x" % self.ring.node(place).me.id
            put = self.ring.node(place).records.put(self.key, value, copies=1)
            self.ring.pass_time(0.1)
            self.successResultOf(put)
            for reader in EIGHT:
                get = self.ring.node(reader).records.get(self.key)
                self.ring.pass_time(0.1)
                found = self.successResultOf(get)
                assert found is not None
                self.assertEqual(found.value, value)


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


class PublishingTests(SynchronousTestCase):
    """What becomes of puts."""

    def test_content_again_for_less_long(self) -> None:
        """Content that was put elsewhere for an hour is found for that hour, also by a node that puts it for 5 s."""
        ring = RecordRing(*EIGHT)
        value = next(b"%d" % n for n in count() if position_of(sha256(b"%d" % n).digest()) in OWNED)
        key = sha256(value).digest()
        ring.node(0x2000).records.put(key, value, 3_600)
        ring.pass_time(1)
        ring.node(OUTSIDER).records.put(key, value, 5)
        for _ in range(12):
            ring.pass_time(1)
            get = ring.node(OUTSIDER).records.get(key)
            ring.pass_time(0.1)
            found = self.successResultOf(get)
            assert found is not None
            self.assertEqual(found.value, value)
            self.assertGreaterEqual(found.expiry_ms, 3_600_000)

    def test_put_behind_the_end(self) -> None:
        """A put of a node that has stopped fails at once."""
        node = RecordRing(*EIGHT).node(OUTSIDER)
        node.records.stop()
        self.failureResultOf(node.records.put(KEY, b"v"), Unreachable)
        self.assertEqual(node.asked, [])

    def test_too_many_under_way(self) -> None:
        """While a node is in no ring, what is put there beyond its bound is refused: what it has taken is not lost for
        it, and what is confirmed is let go of first.
        """
        ring = RecordRing(*EIGHT)
        node = ring.node(OUTSIDER)
        keys = keys_in(OWNED, 1_100)
        confirmed = [node.records.put(key, bytes(65_000)) for key in keys[:50]]
        ring.pass_time(1)
        for put in confirmed:
            self.successResultOf(put)
        node.is_member = False
        puts = {key: node.records.put(key, bytes(65_000)) for key in keys[50:]}
        refused = [key for key, put in puts.items() if put.called]
        for key in refused:
            self.failureResultOf(puts.pop(key), Refused)
            self.assertIsNone(node.records.publisher.unconfirmed(key))
        self.assertEqual(len(puts), PUBLICATION_BYTES_MAX // 65_000)
        self.assertEqual(len(node.records.publisher), len(puts))
        node.is_member = True
        ring.pass_time(5)
        for put in puts.values():
            self.successResultOf(put)
        again = node.records.put(refused[0], bytes(65_000))
        ring.pass_time(1)
        self.successResultOf(again)


class TidyingTests(SynchronousTestCase):
    """A node that keeps records of others, whose owners do not all answer."""

    def begin(self, *members: int) -> None:
        """A ring at rest; 0x1000 keeps a record for each owner but the last four, whose replica it is."""
        self.ring = RecordRing(*members)
        self.ring.pass_time(30)
        self.owners = members[1:-3]
        arcs = [Arc(at(before), at(owner)) for before, owner in pairwise(members[:-3])]
        self.keys = [key_in(arc) for arc in arcs]
        for key in self.keys:
            version = Version(WALL_MS, b"")
            self.ring.node(0x1000).records.holdings.take(
                Record(key, b"v", RecordKind.PLAIN, version, 80_000_000, 1), None, None
            )
        self.silent: set[Peer] = set()
        self.ring.lose = lambda asker, asked, question: asked in self.silent and isinstance(question, Holds)

    def test_one_owner_gives_no_answer(self) -> None:
        """What belongs to others is brought home all the same."""
        self.begin(*EIGHT)
        self.silent = {peer(self.owners[0])}
        self.ring.pass_time(3 * TIDY_S)
        at_home = [[0x1000], *([owner] for owner in self.owners[1:])]
        self.assertEqual([self.ring.holders(key) for key in self.keys], at_home)

    def test_more_owners_than_are_looked_up_at_once(self) -> None:
        """A look begins where the last one ended, so those behind many that give no answer have their turn; and those
        have it again when they answer.
        """
        self.begin(*range(0x1000, 0xF000, 0x1000))
        self.silent = {peer(owner) for owner in self.owners[:TIDIED_AT_ONCE]}
        self.ring.pass_time(300)
        for owner, key in zip(self.owners, self.keys, strict=True):
            self.assertEqual(self.ring.holders(key), [0x1000 if peer(owner) in self.silent else owner])
        self.silent = set()
        self.ring.pass_time(200)
        self.assertEqual([self.ring.holders(key) for key in self.keys], [[owner] for owner in self.owners])
