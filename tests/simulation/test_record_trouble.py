"""Records in trouble: what one node, one disk or one clock does wrong, others do not suffer from for long."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from itertools import count, pairwise
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.persistence import Persistence
from chordtwist.core.costs import unmetered
from chordtwist.core.errors import Refused, StateUnusable, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import STRANGERS_SHARE, Quota
from chordtwist.core.records import Record, RecordKind, Version, position_of
from chordtwist.core.ring import Arc
from chordtwist.core.versions import AHEAD_MS_MAX
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.publishing import PUBLICATION_BYTES_MAX
from chordtwist.node.records.record_bodies import body_of
from chordtwist.node.records.stray_records import TIDIED_AT_ONCE, TIDY_AFTER_S, TIDY_S
from chordtwist.storage.lmdb import LmdbRecordStore
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire.peer_messages import (
    Answer,
    HaveList,
    Question,
    RecordBody,
    Store,
    StoreAll,
    Stored,
    StoredAll,
    decode,
    encode,
)
from tests.builders import at, peer
from tests.contracts import make_record
from tests.record_ring import WALL_MS, Member, RecordRing, key_in, keys_in
from tests.ring_case import EIGHT, KEY, OUTSIDER, OWNED
from tests.test_lmdb import BrokenWorker
from tests.workers import InlineWorker, SteppedWorker, folder_in_memory

T = TypeVar("T")

STRANGER = peer(0x7777)

REPLICAS = (0x3000, 0x4000, 0x5000, 0x6000)
"""Of `OWNED`, the arc of the first."""


def record(key: bytes = KEY, ms: int = WALL_MS) -> Record:
    return Record(key, b"v", RecordKind.PLAIN, Version(ms, b""), 80_000_000, 4)


class SlowDiskTests(SynchronousTestCase):
    """Disks commit when the test says so."""

    def setUp(self) -> None:
        self.folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, self.folder)
        self.workers: list[SteppedWorker] = []

    def store(self) -> LmdbRecordStore:
        worker = SteppedWorker()
        self.workers.append(worker)
        return LmdbRecordStore(self.folder / str(len(self.workers)), worker, lambda: 0, lambda: WALL_MS)

    def after_a_kill(self, number: int) -> LmdbRecordStore:
        """What the process that had the store of that number would find, were it killed now."""
        shutil.copytree(self.folder / str(number), self.folder / f"killed-{number}")
        return LmdbRecordStore(self.folder / f"killed-{number}", SteppedWorker(), lambda: 0, lambda: WALL_MS)

    def assert_both_wait(self, question: Callable[[RecordBody], Question], stored: Answer) -> None:
        node = RecordRing(0x3000, store=self.store).node(0x3000).records
        answers = [node.replica.answer(peer(0x7000), question(body_of(record(), 0))) for _ in range(2)]
        for answer in answers:
            self.assertNoResult(answer)
        self.assertIsNone(self.after_a_kill(1).get(KEY))
        while self.workers[0].waiting:
            self.workers[0].step()
        for answer in answers:
            self.assertEqual(self.successResultOf(answer), stored)

    def test_the_same_again(self) -> None:
        """A record that comes again while it waits for its commit is confirmed with it, not before."""
        self.assert_both_wait(lambda body: Store(body, 0), Stored())

    def test_the_same_again_in_a_batch(self) -> None:
        """So is one that another replica brings."""
        self.assert_both_wait(lambda body: StoreAll([body]), StoredAll([]))

    def test_put(self) -> None:
        """While no disk of any replica commits, no put is confirmed, however often its node tries."""
        ring = RecordRing(*REPLICAS, 0x8000, store=self.store)
        ring.known_replicas_max = 4
        put = ring.node(0x8000).records.put(KEY, b"v", 3600)
        ring.pass_time(9)
        self.assertNoResult(put)
        for node in ring.nodes.values():
            node.records.stop()
        self.failureResultOf(put)


class LaterWorker(BrokenWorker):
    """Commits when the test says so, and fails where the disk was broken when it was asked."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], object]] = []

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """Fires in `step`."""
        done: Deferred[T] = Deferred()
        was_broken = self.is_broken

        def go() -> None:
            self.is_broken = was_broken
            BrokenWorker.run(self, call).chainDeferred(done)

        self._waiting.append(go)
        return done

    def step(self) -> None:
        """Make all commits that wait."""
        while self._waiting:
            self._waiting.pop(0)()


class QuotaTests(SynchronousTestCase):
    """One address has a bound, whatever it does."""

    def test_tombstones_are_charged(self) -> None:
        """What is left of a record is on the account of whoever delivered it: else lives of a millisecond, and
        tombstones of a day, fill a node.
        """
        ring = RecordRing(*EIGHT, store=lambda: MemoryRecordStore(records_max=200), quota=Quota(records_max=10))
        node = ring.node(0x3000)
        keys = iter(keys_in(OWNED, 100))
        for _ in range(5):
            for _ in range(10):
                body = RecordBody(next(keys), b"x", 0, WALL_MS, peer(0x7777).packed, 1, 4, None, 86_400_000)
                node.records.replica.answer(peer(0x7777), Store(body, 0))
            ring.pass_time(1.1)
            node.records.local_records.sweep()
        self.assertLessEqual(node.store.tombstones(), 10)
        honest = RecordBody(next(keys), b"x", 0, WALL_MS, peer(0x6666).packed, 60_000, 4)
        self.assertEqual(node.tell(peer(0x6666), Store(honest, 0)), Stored())

    def test_who_delivered_first_pays_wherever_it_goes(self) -> None:
        """A stranger leaves its share of one owner's records at each of seven other members: what they bring that
        owner, since it is nobody else's, is no more than one share besides the one that it had itself.
        """
        share = 10
        quota = Quota(records_max=int(share / STRANGERS_SHARE))
        ring = RecordRing(*EIGHT, quota=quota, is_neighbour=lambda peer: peer.id != STRANGER.id)
        ring.pass_time(10)
        keys = iter(keys_in(OWNED, 300))
        for place in EIGHT:
            for _ in range(2 * share):
                body = RecordBody(next(keys), b"x", 0, WALL_MS, STRANGER.packed, 600_000, 4)
                ring.node(place).tell(STRANGER, Store(body, 0 if place == 0x3000 else 1))
        ring.pass_time(2 * TIDY_AFTER_S + 2 * TIDY_S)
        self.assertGreater(ring.node(0x3000).store.records(), share)
        self.assertLessEqual(ring.node(0x3000).store.records(), 2 * share)

    def test_a_replacement_that_the_disk_refuses(self) -> None:
        """Whoever delivered what stays pays for it on."""
        folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, folder)
        worker = LaterWorker()
        store = LmdbRecordStore(folder / "records", worker, lambda: 0, lambda: WALL_MS)
        local_records = LocalRecords(store, Clock(), lambda: 0, Pauses(Clock(), unmetered()), Quota(records_max=2))
        for key in keys_in(OWNED, 10):
            if local_records.has_room("10.0.0.66", record(key)):
                local_records.take(record(key), None, "10.0.0.66")
                worker.step()
                worker.is_broken = True
                written = local_records.take(record(key, WALL_MS + 1), local_records.get(key), "10.0.0.66")
                worker.step()
                worker.is_broken = False
                assert written is not None
                self.failureResultOf(written)
        self.assertEqual(store.records(), 2)


class RepairTests(SynchronousTestCase):
    """Repair goes on, and says no more than it knows."""

    def keep(self, member: Member, key: bytes) -> None:
        versioned = record(key)
        member.records.local_records.take(versioned, member.records.local_records.get(key), None)

    def test_an_owner_without_room(self) -> None:
        """What its replicas lack it brings them, though it has no room for what it lacks itself."""
        ring = RecordRing(*EIGHT, store=lambda: MemoryRecordStore(records_max=200))
        first, *keys = sorted(keys_in(OWNED, 201), key=position_of)
        for place in REPLICAS:
            for key in keys if place == REPLICAS[0] else [first, *keys[:150]]:
                self.keep(ring.node(place), key)
        ring.pass_time(600)
        for place in REPLICAS[1:]:
            held = {entry.key for entry in ring.node(place).store.scan(OWNED)}
            self.assertLessEqual(len(set(keys) - held), 1, "201 keys, and room for 200")

    def test_a_newcomer_that_comes_and_goes_during_a_round(self) -> None:
        """An owner whose arc was another's meanwhile is not in step with its replicas when the round ends: what was
        confirmed there is read, not what it has itself.
        """
        ring = RecordRing(*EIGHT)
        key = key_in(Arc(at(0x2000), at(0x2800)))
        ring.node(0x8000).records.put(key, b"older")
        ring.pass_time(100)
        owner = ring.node(0x3000)
        ring.slow_s[peer(0x6000)] = 2.0
        rounds = owner.records.repair.rounds
        while owner.records.repair.rounds == rounds:
            ring.pass_time(0.05)
        ring.pass_time(0.1)
        ring.join(0x2800)
        ring.pass_time(0.3)
        ring.lose = lambda asker, asked, question: isinstance(question, Store) and asked == owner.me
        put = ring.node(0x8000).records.put(key, b"newer")
        ring.pass_time(0.3)
        self.successResultOf(put)
        ring.lose = lambda asker, asked, question: False
        ring.die(0x2800)
        ring.pass_time(1.6)
        get = owner.records.get(key)
        ring.pass_time(0.2)
        found = self.successResultOf(get)
        assert found is not None
        self.assertEqual(found.value, b"newer")

    def test_reads_around_the_end_of_a_record(self) -> None:
        """What has ended while it was read is sent to nobody: a life below zero breaks the protocol."""
        ring = RecordRing(*EIGHT)
        ring.node(0x4000).records.put(KEY, b"v", 5.0)
        ring.pass_time(4.9)
        reader = ring.node(0x1000)
        for _ in range(200):
            reader.records.get(KEY)
            ring.pass_time(0.001)
        for _, question in reader.asked:
            decode(question.kind, encode(question))

    def test_a_batch_that_waits(self) -> None:
        """Of what is brought in batches, nothing goes that has ended before its turn."""
        ring = RecordRing(*EIGHT)
        owner = ring.node(0x3000)
        short = Record(KEY, b"v", RecordKind.PLAIN, Version(WALL_MS, b""), 10, 4)
        ring.pass_time(0.010)
        sent = Deferred.fromCoroutine(owner.records.repair._reconciling.send_all(peer(0x4000), [short]))
        ring.pass_time(1)
        self.successResultOf(sent)
        self.assertEqual(owner.questions(StoreAll), [])


class ClosingTests(SynchronousTestCase):
    """The end of a process, and the beginning of the next."""

    def test_given_up(self) -> None:
        """A process that gives up closing while a commit is still to come lets no other have its directory."""
        folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, folder)
        clock = Clock()
        persistence = Persistence(folder, clock, lambda: 0, lambda: WALL_MS)
        assert persistence.directory is not None
        self.addCleanup(persistence.directory.close)
        self.assertNoResult(persistence.store.put(make_record(b"k")))
        closed = persistence.close()  # waits for the turn in which the commit begins
        closed.cancel()
        self.failureResultOf(closed, CancelledError)
        self.assertRaises(StateUnusable, Persistence, folder, clock, lambda: 0, lambda: WALL_MS)


class ClockTests(SynchronousTestCase):
    """Versions from the end of what is taken."""

    def setUp(self) -> None:
        """A node whose clock is 20 s ahead, as its neighbours accept, has been sent a version a minute ahead of it."""
        self.ring = RecordRing(*EIGHT)
        self.writer = self.ring.node(OUTSIDER)
        self.writer.skew_ms = 20_000
        self.key = key_in(Arc(at(0x7000), at(OUTSIDER)))
        stranger = peer(0x7777)
        ahead_ms = self.writer.neighbours_time_ms() + AHEAD_MS_MAX
        body = RecordBody(self.key, b"theirs", 0, ahead_ms, stranger.packed, 80_000_000, 1)
        self.assertEqual(self.writer.tell(stranger, Store(body, 0)), Stored())

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
        local_records = self.ring.node(0x5000).records.local_records
        self.assertIsNone(local_records.get(KEY))
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


class StrayRecordsTests(SynchronousTestCase):
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
            self.ring.node(0x1000).records.local_records.take(
                Record(key, b"v", RecordKind.PLAIN, version, 80_000_000, 1), None, None
            )
        self.silent: set[Peer] = set()
        self.ring.lose = lambda asker, asked, question: asked in self.silent and isinstance(question, HaveList)

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
