"""What one node keeps, and the summaries of it that are kept up while it changes."""

from __future__ import annotations

import gc
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.costs import Costs, Shares, unmetered
from chordtwist.core.digests import NOTHING, Summary, mark
from chordtwist.core.errors import StoreFull
from chordtwist.core.quotas import RECORD_OVERHEAD_BYTES, Quota
from chordtwist.core.records import GRACE_MS, Record, RecordKind, Tombstone, Version, Versioned, position_of
from chordtwist.core.ring import RING_SIZE, Arc
from chordtwist.node.records.local_records import ENTRIES_PER_TURN, TTL_SLACK_MS, LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.storage.memory import MemoryRecordStore
from tests.builders import take_turn

WHOLE = Arc(0, 0)
KEY = b"k" * 32


def record(key: bytes = KEY, ms: int = 1, ttl_ms: int = 10_000, copies: int = 4, value: bytes = b"v") -> Record:
    return Record(key, value, RecordKind.PLAIN, Version(ms, b""), ttl_ms, copies)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def life_ms(clock: Clock) -> Callable[[], int]:
    """The clock that lives are counted on."""
    return lambda: int(clock.seconds() * 1000)


class LocalRecordsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = Pauses(self.clock, unmetered())
        self.store = MemoryRecordStore()
        self.local_records = LocalRecords(self.store, self.clock, life_ms(self.clock), self.turns, Quota())

    def take(self, versioned: Versioned) -> Deferred[None] | None:
        return self.local_records.take(versioned, self.local_records.get(versioned.key), None)

    def summary(self, arc: Arc = WHOLE, copies_above: int = 0) -> Summary:
        """What `summary` answers, however many turns it takes."""
        result = Deferred.fromCoroutine(self.local_records.summary(arc, copies_above))
        while not result.called:
            self.clock.advance(0)
        return self.successResultOf(result)

    def counted(self, arc: Arc = WHOLE, copies_above: int = 0) -> Summary:
        """What it should answer."""
        total = NOTHING
        for entry in self.store.scan(WHOLE):
            if position_of(entry.key) in arc and entry.copies > copies_above:
                total += Summary(1, mark(entry.key, entry.version))
        return total


class TakeTests(LocalRecordsCase):
    """Persistence what wins."""

    def test_the_newer_stays(self) -> None:
        """Whatever comes behind it."""
        self.take(record(ms=2, value=b"newer"))
        self.assertIsNone(self.take(record(ms=1)))
        versioned = self.local_records.get(KEY)
        assert isinstance(versioned, Record)
        self.assertEqual(versioned.value, b"newer")

    def test_no_room_for_what_is_left_of_it(self) -> None:
        """A store that takes no tombstone keeps what has expired, for the next time, and nothing is left unhandled."""
        self.take(record(ttl_ms=1000, ms=1))
        self.take(record(ttl_ms=500, ms=2))
        self.patch(self.store, "put", lambda versioned: fail(StoreFull("the disk is full")))
        self.clock.advance(0.6)
        self.assertEqual([self.local_records.sweep(), self.local_records.sweep()], [1, 1])
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_same_again_is_not_written(self) -> None:
        """Its life differs by a delay only; by more it is."""
        self.take(record())
        self.assertIsNone(self.take(record()))
        self.assertIsNone(self.take(record(ttl_ms=10_000 - TTL_SLACK_MS)))
        self.assertIsNotNone(self.take(record(ttl_ms=9_999 - TTL_SLACK_MS)))

    def test_what_it_replaced_is_remembered(self) -> None:
        """A newer one with a shorter life knows how long."""
        self.take(record(ms=1, ttl_ms=10_000))
        self.take(record(ms=2, ttl_ms=500))
        self.clock.advance(1)
        self.assertEqual(self.local_records.get(KEY), Tombstone(KEY, Version(2, b""), 10_000, 4))

    def test_to_the_millisecond(self) -> None:
        """What has expired is gone before anybody sweeps."""
        self.take(record(ttl_ms=1_000))
        self.clock.advance(0.999)
        self.assertIsNotNone(self.local_records.get(KEY))
        self.clock.advance(0.001)
        self.assertIsNone(self.local_records.get(KEY))
        self.assertEqual(self.store.records(), 1)
        self.assertEqual(self.local_records.sweep(), 1)
        self.assertEqual(self.local_records.sweep(), 0)
        self.assertEqual(self.store.records(), 0)

    def test_a_tombstone_in_its_grace(self) -> None:
        """Is found, and no sweep counts it, until late copies of what it ended are gone as well."""
        self.take(record(ms=1, ttl_ms=1_000))
        self.take(record(ms=2, ttl_ms=500))
        self.clock.advance(0.999 + GRACE_MS / 1_000)
        self.local_records.sweep()
        self.assertEqual(self.local_records.get(KEY), Tombstone(KEY, Version(2, b""), 1_000, 4))
        self.assertEqual(self.local_records.sweep(), 0)
        self.clock.advance(0.001)
        self.assertIsNone(self.local_records.get(KEY))
        self.assertEqual(self.local_records.sweep(), 1)

    def test_what_is_not_there_can_be_removed(self) -> None:
        """Nothing happens."""
        self.local_records.remove(KEY)
        self.assertIsNone(self.local_records.get(KEY))

    def test_a_full_store_says_so(self) -> None:
        """And nothing is counted."""
        self.local_records = LocalRecords(
            MemoryRecordStore(records_max=0), self.clock, life_ms(self.clock), self.turns, Quota()
        )
        written = self.take(record())
        assert written is not None
        self.failureResultOf(written, StoreFull)
        self.assertEqual(self.summary(), NOTHING)

    def test_a_disk_that_fails_later(self) -> None:
        """What was counted on is counted again, and charged to nobody."""

        class LateStore(MemoryRecordStore):
            late: Deferred[None]

            def put(self, versioned: Versioned) -> Deferred[None]:
                super().put(versioned)
                self.late = Deferred()
                return self.late

        store = self.store = LateStore()
        quota = Quota(records_max=1, bytes_max=1 + RECORD_OVERHEAD_BYTES)
        self.local_records = LocalRecords(store, self.clock, life_ms(self.clock), self.turns, quota)
        self.assertEqual(self.summary(), NOTHING)
        written = self.local_records.take(record(), None, "10.0.0.66")
        self.assertFalse(self.local_records.has_room("10.0.0.66", record(key(2))))
        assert written is not None
        self.assertEqual(self.summary().count, 1)
        MemoryRecordStore.remove(store, KEY)
        store.late.errback(StoreFull("the disk is full"))
        self.failureResultOf(written, StoreFull)
        self.assertEqual(self.summary(), NOTHING)
        self.assertTrue(self.local_records.has_room("10.0.0.66", record(key(2))))

    def test_quotas_follow_what_is_kept(self) -> None:
        """Room is given back when a record expires; what we asked for ourselves is charged to nobody."""
        quota = Quota(records_max=1, bytes_max=10_000)
        self.local_records = LocalRecords(self.store, self.clock, life_ms(self.clock), self.turns, quota)
        self.local_records.take(record(ttl_ms=1_000), None, "10.0.0.66")
        self.assertFalse(self.local_records.has_room("10.0.0.66", record(key(2))))
        self.assertTrue(self.local_records.has_room(None, record(key(2))))
        self.clock.advance(1)
        self.local_records.sweep()
        self.assertTrue(self.local_records.has_room("10.0.0.66", record(key(2))))


changes = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 5), st.integers(1, 4), st.booleans()), min_size=1, max_size=60
)
ends = st.integers(0, RING_SIZE - 1)


class SummaryTests(LocalRecordsCase):
    """Summaries that follow every change without counting everything again."""

    @given(changes, ends, ends, st.integers(0, 4), st.integers(1, 5))
    def test_is_what_counting_says(
        self, steps: list[tuple[int, int, int, bool]], after: int, upto: int, copies_above: int, size: int
    ) -> None:
        """For every arc and number of copies, in the midst of changes, and by whoever finds the store as it is."""
        self.setUp()
        arc = Arc(after, upto)
        for index, (number, ms, copies, is_tombstone) in enumerate(steps):
            if ms == 0:
                self.local_records.remove(key(number))
            elif is_tombstone:
                self.take(Tombstone(key(number), Version(ms, b""), 10_000, copies))
            else:
                self.take(record(key(number), ms, copies=copies))
            if index % 7 == 3 and size == 1:
                self.local_records = LocalRecords(self.store, self.clock, life_ms(self.clock), self.turns, Quota())
            if index % 5 == 2:
                self.assertEqual(self.summary(arc, copies_above), self.counted(arc, copies_above))
        self.assertEqual(self.summary(arc, copies_above), self.counted(arc, copies_above))
        self.assertEqual(self.summary(), self.counted())

    def test_what_was_kept_before(self) -> None:
        """What a store has from before is marked in slices, while it is changed; who asks meanwhile waits."""
        for number in range(3 * ENTRIES_PER_TURN):
            self.take(record(key(number)))
        self.local_records = LocalRecords(self.store, self.clock, life_ms(self.clock), self.turns, Quota())
        self.local_records.start()
        self.addCleanup(self.local_records.stop)
        asked = Deferred.fromCoroutine(self.local_records.summary(WHOLE, 0))
        self.local_records.remove(key(1))
        self.take(record(key(2), ms=2))
        turns = 0
        while not asked.called:
            take_turn(self.clock)
            turns += 1
        self.assertGreaterEqual(turns, 3)
        self.assertEqual(self.counted(), self.successResultOf(asked))

    def test_lists_give_way_too(self) -> None:
        """A long list takes several turns; one that is long enough stops; copies are told apart."""
        for number in range(2 * ENTRIES_PER_TURN):
            self.take(record(key(number), copies=1 + number % 4))
        all_of_it = Deferred.fromCoroutine(self.local_records.entries(WHOLE, 0))
        self.assertNoResult(all_of_it)
        self.clock.advance(0)
        self.assertEqual(len(self.successResultOf(all_of_it)), 2 * ENTRIES_PER_TURN)
        some = self.successResultOf(Deferred.fromCoroutine(self.local_records.entries(WHOLE, 1, 3, at_most=7)))
        self.assertEqual(len(some), 7)
        self.assertLessEqual({entry.copies for entry in some}, {2, 3})
        self.assertEqual(some, sorted(some, key=lambda entry: entry.position))


class PausesTests(SynchronousTestCase):
    """Pauses that end with the node."""

    def test_a_pause_takes_a_turn(self) -> None:
        """Or as long as it should."""
        clock = Clock()
        turns = Pauses(clock, unmetered())
        soon, later = turns.pause(), turns.wait(2)
        self.assertNoResult(soon)
        clock.advance(0)
        self.successResultOf(soon)
        self.assertNoResult(later)
        clock.advance(2)
        self.successResultOf(later)

    def test_one_slice_a_turn(self) -> None:
        """Whoever it is for, and however much waits: in the order in which it paused."""
        clock = Clock()
        pauses = Pauses(clock, unmetered())
        done: list[int] = []
        for number in range(3):
            pauses.pause().addCallback(lambda fired, number: done.append(number), number)
        for number in range(3):
            self.assertEqual(list(range(number)), done)
            take_turn(clock)
        self.assertEqual(([0, 1, 2], []), (done, clock.getDelayedCalls()))

    def test_paid_for(self) -> None:
        """A slice is paid for by who paid before it paused; while that one owes, others go on."""
        clock, spent_s = Clock(), 0.0
        costs = Costs(lambda: spent_s, clock.seconds, Shares(stranger=0.1), at_once_s=1.0)
        pauses = Pauses(clock, costs)
        payer = costs.payer_of("192.0.2.1", is_proved=False, is_upkeep=False)
        done: list[str] = []

        def work(fired: None, whose: str) -> None:
            nonlocal spent_s
            spent_s += 0.2
            done.append(whose)

        for whose, paid_by in (("theirs", payer), ("theirs again", payer), ("ours", None)):
            costs.charged(paid_by, pauses.pause).addCallback(work, whose)
        clock.pump([0, 0, 0, 0.5])
        self.assertEqual(["theirs", "ours"], done)
        clock.pump([0.5, 0])
        self.assertEqual(["theirs", "ours", "theirs again"], done)
        self.assertAlmostEqual(2.0, costs.wait_s(payer))

    def test_stop_ends_all(self) -> None:
        """Who pauses is told, and no timer is left."""
        clock = Clock()
        turns = Pauses(clock, unmetered())
        pauses = [turns.pause(), turns.wait(7)]
        turns.stop()
        for paused in pauses:
            self.failureResultOf(paused, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])
