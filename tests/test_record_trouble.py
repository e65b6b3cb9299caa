"""Records where something goes wrong at an awkward moment: slow disks, full ones, ends of lives, rings that change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import Record, RecordKind, Version, position_of
from chordtwist.core.ring import Arc
from chordtwist.node.holdings import Holdings
from chordtwist.node.record_bodies import body_of
from chordtwist.node.turns import Turns
from chordtwist.storage.lmdb import LmdbRecordStore
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire.peer_messages import (
    Answer,
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
from tests.record_ring import WALL_MS, Member, RecordRing, key_in, keys_in
from tests.test_lmdb import BrokenWorker
from tests.workers import SteppedWorker, folder_in_memory

T = TypeVar("T")

EIGHT = tuple(range(0x1000, 0x9000, 0x1000))
OWNED = Arc(at(0x2000), at(0x3000))
"""The arc of 0x3000; its replicas are 0x3000 to 0x6000."""

REPLICAS = (0x3000, 0x4000, 0x5000, 0x6000)
KEY = key_in(OWNED)


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
        answers = [node.answer(peer(0x7000), question(body_of(record(), 0))) for _ in range(2)]
        for answer in answers:
            assert isinstance(answer, Deferred)
            self.assertNoResult(answer)
        self.assertIsNone(self.after_a_kill(1).get(KEY))
        while self.workers[0].waiting:
            self.workers[0].step()
        for answer in answers:
            assert isinstance(answer, Deferred)
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

    def test_stubs_are_charged(self) -> None:
        """What is left of a record is on the account of whoever delivered it: else lives of a millisecond, and stubs of
        a day, fill a node.
        """
        ring = RecordRing(*EIGHT, store=lambda: MemoryRecordStore(records_max=200), quota=Quota(records_max=10))
        node = ring.node(0x3000)
        keys = iter(keys_in(OWNED, 100))
        for _ in range(5):
            for _ in range(10):
                body = RecordBody(next(keys), b"x", 0, WALL_MS, peer(0x7777).packed, 1, 4, None, 86_400_000)
                node.records.answer(peer(0x7777), Store(body, 0))
            ring.pass_time(1.1)
            node.records.holdings.sweep()
        self.assertLessEqual(node.store.stubs(), 10)
        honest = RecordBody(next(keys), b"x", 0, WALL_MS, peer(0x6666).packed, 60_000, 4)
        self.assertEqual(node.records.answer(peer(0x6666), Store(honest, 0)), Stored())

    def test_a_replacement_that_the_disk_refuses(self) -> None:
        """Whoever delivered what stays pays for it on."""
        folder = folder_in_memory()
        self.addCleanup(shutil.rmtree, folder)
        worker = LaterWorker()
        store = LmdbRecordStore(folder / "records", worker, lambda: 0, lambda: WALL_MS)
        holdings = Holdings(store, Clock(), Turns(Clock()), Quota(records_max=2))
        for key in keys_in(OWNED, 10):
            if holdings.has_room("10.0.0.66", record(key)):
                holdings.take(record(key), None, "10.0.0.66")
                worker.step()
                worker.is_broken = True
                written = holdings.take(record(key, WALL_MS + 1), holdings.get(key), "10.0.0.66")
                worker.step()
                worker.is_broken = False
                assert written is not None
                self.failureResultOf(written)
        self.assertEqual(store.records(), 2)


class RepairTests(SynchronousTestCase):
    """Repair goes on, and says no more than it knows."""

    def keep(self, member: Member, key: bytes) -> None:
        kept = record(key)
        member.records.holdings.take(kept, member.records.holdings.get(key), None)

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
        broken: list[Malformed] = []
        carry = ring.carry

        def checked(asker: Member, asked: Peer, question: Question) -> Deferred[Answer]:
            try:
                decode(question.kind, encode(question))
            except Malformed as error:
                broken.append(error)
            return carry(asker, asked, question)

        self.patch(ring, "carry", checked)
        for _ in range(200):
            ring.node(0x1000).records.get(KEY)
            ring.pass_time(0.001)
        self.assertEqual(broken, [])

    def test_a_batch_that_waits(self) -> None:
        """Of what is brought in batches, nothing goes that has ended before its turn."""
        ring = RecordRing(*EIGHT)
        owner = ring.node(0x3000)
        short = Record(KEY, b"v", RecordKind.PLAIN, Version(WALL_MS, b""), 10, 4)
        ring.clock.advance(0.010)
        sent = Deferred.fromCoroutine(owner.records.repair._reconciling.send_all(peer(0x4000), [short]))
        ring.pass_time(1)
        self.successResultOf(sent)
        self.assertEqual(owner.questions(StoreAll), [])
