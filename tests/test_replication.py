"""Put, get and delete over replicas that fail in every way, on a ring whose pointers are right."""

from __future__ import annotations

import gc
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chordtwist.core.errors import Malformed, Refused, StoreFull, Unreachable
from chordtwist.core.quotas import RECORD_OVERHEAD_BYTES, Quota
from chordtwist.core.records import (
    VALUE_BYTES_MAX,
    PutResult,
    Record,
    RecordKind,
    Seal,
    Tombstone,
    Version,
    Versioned,
    position_of,
    signed_key,
)
from chordtwist.core.ring import Arc
from chordtwist.core.signed import Ed25519Signer, pack_record
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.local_records import SWEEP_ON_S, SWEEP_S
from chordtwist.node.records.publication import Publication
from chordtwist.node.records.publishing import LOOK_AFTER_S
from chordtwist.node.records.record_bodies import body_of
from chordtwist.storage.index import EXPIRED_MAX
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import Fetch, NotFound, Ping, Pulling, Store, Stored
from tests.builders import at, peer
from tests.record_ring import DELAY_S, WALL_MS, RecordRing, key_in

ROUND_TRIP_S = 2 * DELAY_S
A_MOMENT_S = 0.001

EIGHT = tuple(range(0x1000, 0x9000, 0x1000))
OWNED = Arc(at(0x2000), at(0x3000))
"""The arc of 0x3000 among `EIGHT`; its replicas are 0x3000 to 0x6000."""

KEY = key_in(OWNED)
OUTSIDER = 0x8000
"""Keeps no copy of `KEY`."""

WRITER = Ed25519Signer(b"\1" * 32)
SIGNED_KEY = signed_key(WRITER.public, b"")


def seal(seq: int, value: bytes, expected_seq: int | None = None) -> Seal:
    signature = WRITER.sign(pack_record(b"", seq, sha256(value).digest()))
    return Seal(WRITER.public, b"", seq, signature, expected_seq)


class RingCase(SynchronousTestCase):
    """Eight members, four copies; everybody knows the way to everybody."""

    def setUp(self) -> None:
        self.ring = RecordRing(*EIGHT)
        self.ring.pass_time(10)  # every owner has compared its arc once

    def put(self, place: int, key: bytes = KEY, value: bytes = b"value", **options: float) -> Deferred[PutResult]:
        return self.ring.node(place).records.put(key, value, **options)  # type: ignore[arg-type]

    def put_and_wait(self, place: int, key: bytes = KEY, value: bytes = b"value", **options: float) -> PutResult:
        result = self.put(place, key, value, **options)
        self.ring.pass_time(10 * ROUND_TRIP_S)
        return self.successResultOf(result)

    def get(self, place: int, key: bytes = KEY) -> Deferred[Record | None]:
        return self.ring.node(place).records.get(key)

    def value_at(self, place: int, key: bytes = KEY, within_s: float = 5.0) -> bytes | None:
        read = self.get(place, key)
        self.ring.pass_time(within_s)
        record = self.successResultOf(read)
        return None if record is None else record.value

    def questions_of(self, place: int, kind: type[wire.Question]) -> int:
        return len(self.ring.node(place).questions(kind))

    def keep(self, place: int, record: Record | Tombstone) -> None:
        """A copy that is simply there."""
        self.ring.node(place).records.local_records.take(record, None, None)

    def record(self, ms: int = WALL_MS, value: bytes = b"value", ttl_s: float = 3600, key: bytes = KEY) -> Record:
        expiry_ms = int((self.ring.clock.seconds() + ttl_s) * 1000)
        return Record(key, value, RecordKind.PLAIN, Version(ms, b""), expiry_ms, 4)


class AloneTests(SynchronousTestCase):
    """A ring of one node."""

    def setUp(self) -> None:
        self.ring = RecordRing(0x1000)
        self.node = self.ring.node(0x1000).records

    def test_provides_what_replication_needs(self) -> None:
        """The double of a node has the shape of the seam."""
        self.assertTrue(verifyObject(IRing, self.ring.node(0x1000)))

    def test_put_and_get_need_nobody(self) -> None:
        """Both are done when they return."""
        result = self.successResultOf(self.node.put(KEY, b"value", ttl_s=60))
        self.assertEqual((result.copies, result.wanted, result.ttl_ms), (1, 4, 60_000))
        record = self.successResultOf(self.node.get(KEY))
        assert record is not None
        self.assertEqual((record.value, record.version), (b"value", result.version))

    def test_nothing_there(self) -> None:
        """A key that was never put is not found, at once or within a moment."""
        read = self.node.get(KEY)
        self.ring.pass_time(1)
        self.assertIsNone(self.successResultOf(read))

    def test_lives_to_the_millisecond(self) -> None:
        """A value of one second is there after 999 ms, and gone after 1,000."""
        self.node.put(KEY, b"value", ttl_s=1)
        self.ring.pass_time(0.999)
        self.assertIsNotNone(self.successResultOf(self.node.get(KEY)))
        self.ring.pass_time(0.001)
        read = self.node.get(KEY)
        self.ring.pass_time(1)
        self.assertIsNone(self.successResultOf(read))

    def test_expired_room_is_given_back(self) -> None:
        """What has expired leaves the store although nobody asks for it."""
        self.node.put(KEY, b"value", ttl_s=1)
        self.ring.pass_time(1 + SWEEP_S)
        self.assertEqual(self.ring.node(0x1000).store.records(), 0)

    def test_much_expired_room_is_given_back(self) -> None:
        """Of what expires at once batch follows batch, without waiting for the next round."""
        store = self.ring.node(0x1000).store
        for number in range(3 * EXPIRED_MAX):
            self.node.put(b"%032d" % number, b"value", ttl_s=SWEEP_S - 1)
        self.ring.pass_time(SWEEP_S)
        self.assertEqual(store.records(), 2 * EXPIRED_MAX)
        self.ring.pass_time(SWEEP_ON_S)
        self.assertEqual(store.records(), EXPIRED_MAX)
        self.ring.pass_time(SWEEP_ON_S)
        self.assertEqual(store.records(), 0)

    def test_ttl_0_means_the_default_and_the_maximum_holds(self) -> None:
        """An hour here; a day at most."""
        self.assertEqual(self.successResultOf(self.node.put(KEY, b"v", ttl_s=0)).ttl_ms, 3_600_000)
        self.assertEqual(self.successResultOf(self.node.put(KEY, b"v")).ttl_ms, 3_600_000)
        self.assertEqual(self.successResultOf(self.node.put(KEY, b"v", ttl_s=999_999)).ttl_ms, 86_400_000)

    def test_the_last_put_wins(self) -> None:
        """Also within one millisecond."""
        for value in (b"first", b"second", b"third"):
            self.node.put(KEY, value)
        record = self.successResultOf(self.node.get(KEY))
        assert record is not None
        self.assertEqual(record.value, b"third")

    def test_an_older_value_does_not_come_back(self) -> None:
        """A newer value with a shorter life leaves nothing behind it."""
        self.node.put(KEY, b"older", ttl_s=100)
        self.node.put(KEY, b"newer", ttl_s=1)
        self.ring.pass_time(2)
        self.assertIsNone(self.successResultOf(self.node.get(KEY)))
        self.ring.pass_time(SWEEP_S + 1)
        self.assertIsInstance(self.ring.node(0x1000).store.get(KEY), Tombstone)

    def test_delete(self) -> None:
        """A deleted value is gone, and a later put stands."""
        self.node.put(KEY, b"value")
        self.successResultOf(self.node.delete(KEY))
        self.assertIsNone(self.successResultOf(self.node.get(KEY)))
        self.node.put(KEY, b"again")
        record = self.successResultOf(self.node.get(KEY))
        assert record is not None
        self.assertEqual(record.value, b"again")

    def test_the_longest_value(self) -> None:
        """Every value that the course API can carry; not one byte more, and not none."""
        self.assertEqual(self.successResultOf(self.node.put(KEY, bytes(VALUE_BYTES_MAX))).copies, 1)
        self.failureResultOf(self.node.put(KEY, bytes(VALUE_BYTES_MAX + 1)), Refused)
        self.failureResultOf(self.node.put(KEY, b""), Refused)
        self.failureResultOf(self.node.put(b"short", b"value"), Refused)

    def test_a_full_store_refuses(self) -> None:
        """With an answer; what was there is still read, and can be deleted."""
        ring = RecordRing(0x1000, store=lambda: MemoryRecordStore(records_max=1))
        node = ring.node(0x1000).records
        node.put(KEY, b"value")
        self.failureResultOf(node.put(key_in(OWNED, 1), b"value"), Refused)
        self.assertIsNotNone(self.successResultOf(node.get(KEY)))
        self.successResultOf(node.delete(KEY))

    def test_status(self) -> None:
        """Plain figures."""
        self.node.put(KEY, b"value")
        status = self.node.status()
        self.assertEqual((status["records"], status["bytes"], status["published"]), (1, 5, 1))

    def test_no_question_for_a_node(self) -> None:
        """What is no question about records breaks the protocol."""
        self.assertRaises(Malformed, self.node.replica.answer, peer(1), Ping())

    def test_stop_leaves_nothing(self) -> None:
        """A stopped node fires no timer."""
        self.node.put(KEY, b"value")
        self.node.stop()
        self.assertEqual(self.ring.clock.getDelayedCalls(), [])


class PutTests(RingCase):
    """Writing to four replicas."""

    def test_reaches_all_replicas(self) -> None:
        """The owner and the next three members, from wherever it was put."""
        result = self.put_and_wait(OUTSIDER)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])
        self.assertEqual(result.wanted, 4)

    def test_takes_one_round_trip(self) -> None:
        """It is confirmed when a majority has answered; all are asked at once."""
        result = self.put(OUTSIDER)
        self.ring.pass_time(ROUND_TRIP_S - A_MOMENT_S)
        self.assertNoResult(result)
        self.ring.pass_time(2 * A_MOMENT_S)
        self.assertGreaterEqual(self.successResultOf(result).copies, 3)
        self.assertEqual(self.questions_of(OUTSIDER, Store), 4)

    def test_is_read_at_once_on_the_same_node(self) -> None:
        """Before any replica has answered, and although none ever will."""
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.silent.add(peer(place))
        self.put(OUTSIDER)
        self.assertEqual(self.value_at(OUTSIDER, within_s=0.3), b"value")

    def test_copies_are_a_hint(self) -> None:
        """One copy is one; more than the members of a successor list is cut."""
        key = key_in(OWNED, 1)
        self.assertEqual(self.put_and_wait(OUTSIDER, key, copies=1).wanted, 1)
        self.assertEqual(self.ring.holders(key), [0x3000])
        self.assertEqual(self.put_and_wait(OUTSIDER, copies=200).wanted, 16)
        self.assertEqual(len(self.ring.holders(KEY)), 8)

    def test_no_replica_is_needed_more_than_another(self) -> None:
        """Three of four make a put in one round trip, whoever says nothing; every member reads it then, the silent one
        too.
        """
        for number, silent in enumerate((0x3000, 0x4000, 0x6000)):
            key = key_in(OWNED, number)
            self.ring.silent = {peer(silent)}
            result = self.put(OUTSIDER, key)
            self.ring.pass_time(ROUND_TRIP_S + A_MOMENT_S)
            self.assertEqual(self.successResultOf(result).copies, 3)
            self.ring.silent.clear()
            self.assertEqual([self.value_at(place, key) for place in EIGHT], [b"value"] * 8)

    def test_full_nodes_are_stood_in_for(self) -> None:
        """A put finds room at the next members, also where the owner has none; too few are reported as that: readers
        would not meet those that stand in.
        """
        for full, is_done in ((1, True), (2, True), (3, False)):
            self.ring = RecordRing(*EIGHT)
            self.ring.pass_time(10)
            for place in (0x3000, 0x4000, 0x5000)[:full]:
                self.fill(place)
            result = self.put(0x1000)
            self.ring.pass_time(10 * ROUND_TRIP_S)
            if is_done:
                self.assertGreaterEqual(self.successResultOf(result).copies, 3)
                self.assertEqual(self.value_at(0x2000), b"value")
            else:
                self.assertIn("room", str(self.failureResultOf(result, Refused).value))

    def fill(self, place: int) -> None:
        """Let a member have no room for anything new."""
        store = self.ring.node(place).store
        assert isinstance(store, MemoryRecordStore)
        self.patch(store, "put", lambda versioned: fail(StoreFull("full")))

    def test_a_put_that_nobody_takes_is_reported(self) -> None:
        """Within ten seconds; it is tried on all the same."""
        for place in EIGHT[:-1]:
            self.ring.silent.add(peer(place))
        result = self.put(OUTSIDER)
        self.ring.pass_time(10.1)
        self.failureResultOf(result, Unreachable)
        self.ring.silent.clear()
        self.ring.pass_time(60)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])

    def test_a_silent_replica_is_stood_in_for(self) -> None:
        """The member behind the last one gets a copy; the owner and two others confirm meanwhile."""
        self.ring.refusing.add(peer(0x5000))
        result = self.put_and_wait(OUTSIDER)
        self.assertGreaterEqual(result.copies, 3)
        self.assertIn(0x7000, self.ring.holders(KEY))

    def test_a_stale_owner_names_the_true_one(self) -> None:
        """A newcomer owns the key and the writer does not know it: two round trips, and the newcomer has it."""
        newcomer = self.ring.join(0x2FFF)
        key = key_in(Arc(at(0x2000), at(0x2FFF)))
        writer = self.ring.node(OUTSIDER)
        writer.view = [peer(place) for place in EIGHT]
        result = self.put(OUTSIDER, key)
        self.ring.pass_time(2 * ROUND_TRIP_S + A_MOMENT_S)
        self.assertGreaterEqual(self.successResultOf(result).copies, 3)
        self.assertIsNotNone(newcomer.records.local_records.get(key))

    def test_an_unknown_way_is_searched(self) -> None:
        """One search; the next put to the same owner needs none."""
        self.ring.knows_routes = False
        searches = self.ring.node(OUTSIDER).searches
        key = min((key_in(OWNED, number) for number in range(6)), key=position_of)
        self.put_and_wait(OUTSIDER, key)
        self.put_and_wait(OUTSIDER, KEY if key != KEY else key_in(OWNED, 1))
        self.assertEqual(self.ring.node(OUTSIDER).searches - searches, 1)

    def test_a_route_that_names_too_few_is_not_enough(self) -> None:
        """Where our own list ends the owner is known, and those behind it are not: they are searched for."""
        self.ring.known_replicas_max = 1
        self.put_and_wait(OUTSIDER)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])
        self.ring.silent.add(peer(0x3000))
        self.assertEqual(self.value_at(OUTSIDER, within_s=1), b"value")

    def test_the_last_put_wins_everywhere(self) -> None:
        """Through whichever node it came, for good."""
        for number, place in enumerate((0x1000, OUTSIDER, 0x4000, 0x2000)):
            self.put_and_wait(place, value=b"%d" % number)
        self.ring.pass_time(300)
        self.assertEqual([self.value_at(place) for place in EIGHT], [b"3"] * 8)

    def test_two_puts_through_one_node_at_once(self) -> None:
        """The second wins although the first is still on its way; both are confirmed."""
        first, second = self.put(OUTSIDER, value=b"first"), self.put(OUTSIDER, value=b"second")
        self.ring.pass_time(1)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.value_at(0x1000), b"second")

    def test_a_put_that_was_never_on_its_way_when_the_next_came(self) -> None:
        """It was still looking for its replicas: whoever waits for it is told that it was overwritten."""
        self.ring.knows_routes = False
        first, second = self.put(OUTSIDER, value=b"first"), self.put(OUTSIDER, value=b"second")
        self.ring.pass_time(1)
        self.failureResultOf(first, Refused)
        self.successResultOf(second)

    def test_a_put_overtaken_on_its_way_stays_overtaken(self) -> None:
        """Another node took a later put, which arrived first: the earlier one is not stamped again."""
        self.ring.knows_routes = False
        earlier = self.put(OUTSIDER, value=b"earlier")
        self.ring.pass_time(A_MOMENT_S)
        self.ring.knows_routes = True
        later = self.put(0x1000, value=b"later")
        self.ring.pass_time(1)
        self.successResultOf(earlier)
        self.successResultOf(later)
        self.assertEqual([self.value_at(place) for place in (OUTSIDER, 0x1000, 0x3000)], [b"later"] * 3)

    def test_a_slow_clock_loses_nothing(self) -> None:
        """A node whose clock is 20 s behind overwrites what stands there: it stamps again, behind that version."""
        self.put_and_wait(0x1000, value=b"older")
        self.ring.node(OUTSIDER).skew_ms = -20_000
        result = self.put_and_wait(OUTSIDER, value=b"newer")
        self.assertEqual(self.value_at(0x1000), b"newer")
        self.assertGreaterEqual(result.copies, 3)

    def test_a_skew_is_told(self) -> None:
        """A version from our future is one line, which states no more than that; milliseconds, as between puts that
        follow one another closely, are none.
        """
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        for skew_ms, expected in ((-16, []), (-20_000, [True])):
            self.put_and_wait(0x1000, value=b"older")
            self.ring.node(OUTSIDER).skew_ms = skew_ms
            self.put_and_wait(OUTSIDER, value=b"newer")
            told = [event["ahead_ms"] > 15_000 for event in log if "is ahead of our time" in event["log_format"]]
            self.assertEqual(expected, told)

    def test_a_very_slow_clock_loses_nothing_either(self) -> None:
        """Two minutes behind, when a majority says so; its own clock does not move."""
        self.put_and_wait(0x1000, value=b"older")
        slow = self.ring.node(OUTSIDER)
        slow.skew_ms = -120_000
        self.put_and_wait(OUTSIDER, value=b"newer")
        self.assertEqual(self.ring.value(0x3000, KEY), b"newer")
        self.assertLess(slow.records.versions.next(WALL_MS - 120_000, KEY).ms, WALL_MS - 60_000)

    def test_a_very_slow_clock_overwrites_itself(self) -> None:
        """What such a node put behind a version from its future it can put anew: it takes no put of its own for later
        than the present one.
        """
        self.put_and_wait(0x1000, value=b"older")
        self.ring.node(OUTSIDER).skew_ms = -120_000
        for value in (b"newer", b"newest"):
            self.put_and_wait(OUTSIDER, value=value)
            self.assertEqual(self.ring.value(0x3000, KEY), value)

    def test_what_is_looked_after_is_not_stamped_again(self) -> None:
        """A put that is brought once more to an owner that has lost it stays as old as it is: where it meets what was
        put after it by a fast clock it does not come back.
        """
        self.put_and_wait(OUTSIDER, value=b"older")
        self.ring.node(0x1000).skew_ms = 50_000
        self.put_and_wait(0x1000, value=b"newer")
        self.ring.node(0x3000).records.local_records.remove(KEY)
        self.ring.pass_time(LOOK_AFTER_S[0] * 1.5)
        self.assertEqual(self.value_at(0x2000), b"newer")

    def test_what_a_fast_clock_stamped_is_not_kept_by_itself(self) -> None:
        """A replica whose own put the others refuse keeps no copy of it: when their clocks get there it would take the
        place of whatever was put meanwhile.
        """
        self.put_and_wait(OUTSIDER, value=b"confirmed")
        fast = self.ring.node(0x3000)
        fast.skew_ms = 90_000
        refused = self.put(0x3000, value=b"refused")
        self.ring.pass_time(1)
        self.failureResultOf(refused, Refused)
        self.assertIsNone(self.ring.value(0x3000, KEY))
        self.assertEqual(self.value_at(0x3000), b"confirmed")

    def test_a_fast_clock_is_refused(self) -> None:
        """More than a minute ahead: no key is owned from the future, and the put is reported as refused."""
        self.ring.node(OUTSIDER).skew_ms = 90_000
        result = self.put(OUTSIDER)
        self.ring.pass_time(1)
        self.assertIn("clock", self.failureResultOf(result, Refused).getErrorMessage())
        self.assertEqual(self.ring.holders(KEY), [])

    def test_an_overwritten_put_comes_to_an_end(self) -> None:
        """While its replicas are silent it ends with its life, or with its node."""
        for ttl_s, stops in ((1.0, False), (3600.0, True)):
            self.setUp()
            self.ring.silent.update(self.ring.members)
            first = self.put(OUTSIDER, value=b"first", ttl_s=ttl_s)
            self.put(OUTSIDER, value=b"second").addErrback(lambda failure: failure.trap(Unreachable) and None)
            self.ring.pass_time(0.5)
            if stops:
                self.ring.node(OUTSIDER).records.stop()
            self.ring.pass_time(60)
            self.failureResultOf(first, Unreachable, Refused)

    def test_life_counts_from_the_arrival(self) -> None:
        """The time until the replicas were reached is part of it."""
        self.ring.silent.add(peer(0x3000))
        self.put(OUTSIDER, ttl_s=30).addErrback(lambda failure: failure.trap(Unreachable))
        self.ring.pass_time(6)
        self.ring.silent.clear()
        self.ring.pass_time(10)
        self.assertEqual(self.ring.value(0x3000, KEY), b"value")
        self.ring.pass_time(14.1)
        self.assertEqual([self.ring.value(place, KEY) for place in EIGHT], [None] * 8)

    def test_an_owner_that_leaves_refuses(self) -> None:
        """What it took now would be lost with it: the put goes to the one behind it, once that is the owner."""
        leaving = self.ring.node(0x3000)
        leaving.records.hand_over()
        result = self.put(OUTSIDER, copies=1)
        self.ring.pass_time(0.1)
        self.assertNoResult(result)
        self.ring.forget(0x3000)
        self.ring.pass_time(2)
        self.successResultOf(result)
        self.assertEqual(self.ring.value(0x4000, KEY), b"value")

    def test_a_crash_of_the_writer_ends_its_puts(self) -> None:
        """Whoever waits for one is told."""
        result = self.put(OUTSIDER)
        self.ring.node(OUTSIDER).records.stop()
        self.failureResultOf(result, Unreachable)
        self.ring.pass_time(1)


class GetTests(RingCase):
    """Reading from four replicas."""

    def setUp(self) -> None:
        super().setUp()
        self.put_and_wait(0x1000)
        for node in self.ring.nodes.values():
            node.asked.clear()

    def test_one_round_trip(self) -> None:
        """The value from the owner, versions from two others, in parallel."""
        read = self.get(OUTSIDER)
        self.ring.pass_time(ROUND_TRIP_S + A_MOMENT_S)
        record = self.successResultOf(read)
        assert record is not None
        self.assertEqual(record.value, b"value")
        asked = [(to, question) for to, question in self.ring.node(OUTSIDER).asked if isinstance(question, Fetch)]
        self.assertEqual(
            asked,
            [
                (peer(0x3000), Fetch(KEY, 0, True)),
                (peer(0x4000), Fetch(KEY, 1, False)),
                (peer(0x5000), Fetch(KEY, 2, False)),
            ],
        )

    def test_the_owner_asks_too(self) -> None:
        """A put may have been confirmed without it: its own word is that of one replica."""
        self.assertEqual(self.value_at(0x3000, within_s=ROUND_TRIP_S + A_MOMENT_S), b"value")
        self.assertEqual(self.questions_of(0x3000, Fetch), 2)

    def test_a_replica_asks_for_versions_only(self) -> None:
        """The value is here; whether it is the newest the others know."""
        self.assertEqual(self.value_at(0x5000, within_s=ROUND_TRIP_S + A_MOMENT_S), b"value")
        self.assertEqual(
            [question for _, question in self.ring.node(0x5000).questions(Fetch)],
            [Fetch(KEY, 0, False), Fetch(KEY, 1, False)],
        )

    def test_a_dead_owner_costs_one_round_trip_more(self) -> None:
        """Its host refuses: the next replica is asked at once."""
        self.ring.refusing.add(peer(0x3000))
        self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S + A_MOMENT_S), b"value")

    def test_a_silent_owner_costs_a_quarter_of_a_second(self) -> None:
        """The next replica is asked long before the question's limit."""
        self.ring.silent.add(peer(0x3000))
        self.assertEqual(self.value_at(OUTSIDER, within_s=0.3), b"value")

    def test_a_silent_owner_costs_it_once(self) -> None:
        """From then on the next replica is asked along with it; when it answers again, the others are spared."""
        self.ring.silent.add(peer(0x3000))
        self.value_at(OUTSIDER, within_s=0.3)
        for _ in range(3):
            self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S + A_MOMENT_S), b"value")
            self.ring.pass_time(1)
        self.ring.silent.clear()
        self.ring.pass_time(10)
        asked = self.ring.node(OUTSIDER).asked
        asked.clear()
        self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S + A_MOMENT_S), b"value")
        spoken_to = [to for to, question in asked if isinstance(question, Fetch)]
        self.assertEqual(spoken_to, [peer(0x3000), peer(0x4000), peer(0x5000)])

    def test_any_one_living_copy_is_found(self) -> None:
        """Whichever three of the four are silent, within a second and a half."""
        for survivor in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.silent = {peer(place) for place in (0x3000, 0x4000, 0x5000, 0x6000) if place != survivor}
            self.assertEqual(self.value_at(OUTSIDER, within_s=1.5), b"value", hex(survivor))

    def test_not_found_by_one_is_not_final(self) -> None:
        """A replica that lost its copy is asked, and the value is found at another."""
        for place in (0x3000, 0x4000, 0x5000):
            self.ring.node(place).records.local_records.remove(KEY)
        self.assertEqual(self.value_at(OUTSIDER, within_s=0.5), b"value")

    def test_nothing_is_said_after_a_fresh_search(self) -> None:
        """When all replicas that we know say no, the way is searched once more, and the new ones are asked."""
        missing = key_in(OWNED, 3)
        read = self.get(OUTSIDER, missing)
        self.ring.pass_time(1)
        self.assertIsNone(self.successResultOf(read))
        self.assertEqual(self.ring.node(OUTSIDER).searches, 1)
        self.assertEqual(len({to for to, _ in self.ring.node(OUTSIDER).questions(Fetch)}), 4)

    def test_found_where_a_stale_route_does_not_lead(self) -> None:
        """All members we knew of there are gone; others have taken over and have it."""
        reader = self.ring.node(OUTSIDER)
        reader.view = [peer(place) for place in (0x1000, 0x2000, 0x7000, OUTSIDER)]
        self.assertEqual(self.value_at(OUTSIDER, within_s=1), b"value")

    def test_a_stale_owner_names_the_true_one(self) -> None:
        """Who owns the key now is asked next, at once."""
        self.ring.join(0x2FFF)
        self.ring.pass_time(10)
        key = key_in(Arc(at(0x2000), at(0x2FFF)))
        self.put_and_wait(0x1000, key)
        self.ring.node(OUTSIDER).view = [peer(place) for place in EIGHT]
        self.assertEqual(self.value_at(OUTSIDER, key, within_s=2 * ROUND_TRIP_S + A_MOMENT_S), b"value")

    def test_ends_within_five_seconds(self) -> None:
        """When nobody answers at all it is given up, without an error."""
        for place in EIGHT[:-1]:
            self.ring.silent.add(peer(place))
        read = self.get(OUTSIDER)
        self.ring.pass_time(4.9)
        self.assertNoResult(read)
        self.ring.pass_time(0.2)
        self.assertIsNone(self.successResultOf(read))

    def test_a_node_cut_off_serves_what_it_holds(self) -> None:
        """No member any more, and nobody to ask: its own copy is better than nothing."""
        holder = self.ring.node(0x5000)
        holder.is_member = False
        holder.records.ring_changed()
        for place in EIGHT:
            self.ring.silent.add(peer(place))
        self.assertEqual(self.value_at(0x5000, within_s=5.1), b"value")

    def test_a_member_again_within_the_read_is_found(self) -> None:
        """The ring heals while the reader waits: the new owner has a copy."""
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.silent.add(peer(place))
        self.keep(0x7000, self.record())
        read = self.get(OUTSIDER)
        self.ring.pass_time(2)
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.forget(place)
        self.ring.pass_time(2)
        record = self.successResultOf(read)
        assert record is not None
        self.assertEqual(record.value, b"value")

    def test_the_newest_wins_and_those_behind_get_it(self) -> None:
        """Replicas that disagree are repaired by the read, with its remaining life."""
        newer = self.record(ms=WALL_MS + 30_000, value=b"newer", ttl_s=100)
        self.keep(0x5000, newer)
        self.assertEqual(self.value_at(OUTSIDER), b"newer")
        self.assertEqual([self.ring.value(place, KEY) for place in (0x3000, 0x4000)], [b"newer"] * 2)
        repaired = self.ring.node(0x3000).records.local_records.get(KEY)
        assert repaired is not None
        self.assertLess(abs(repaired.expiry_ms - newer.expiry_ms), 100)

    def test_one_who_lacks_it_always_is_not_sent_it_by_every_read(self) -> None:
        """A hot key does not flood a replica that does not take it."""
        for _ in range(5):
            self.ring.node(0x4000).records.local_records.remove(KEY)
            self.value_at(OUTSIDER, within_s=1)
        self.assertEqual(self.questions_of(OUTSIDER, Store), 1)

    def test_nonsense_is_as_good_as_silence(self) -> None:
        """A replica with a record that does not prove what it says is passed over."""
        self.ring.node(0x3000).store.put(replace(self.record(), kind=RecordKind.CONTENT))
        self.assertEqual(self.value_at(OUTSIDER), b"value")

    def test_a_node_with_a_slow_clock_reads_all_the_same(self) -> None:
        """What others stored is not from the future because our clock is two minutes behind."""
        self.ring.node(OUTSIDER).skew_ms = -120_000
        self.assertEqual(self.value_at(OUTSIDER), b"value")

    def test_a_get_after_a_get_is_not_older(self) -> None:
        """A put that follows a get through the same node is newer than what was read."""
        newer = self.record(ms=WALL_MS + 40_000, value=b"newer")
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.keep(place, newer)
        self.value_at(OUTSIDER)
        result = self.put_and_wait(OUTSIDER, value=b"newest")
        self.assertGreater(result.version, newer.version)

    def test_a_read_given_up_stops(self) -> None:
        """Cancelling it ends its timer."""
        before = len(self.ring.clock.getDelayedCalls())
        read = self.get(OUTSIDER)
        read.addErrback(lambda failure: None)
        read.cancel()
        self.ring.pass_time(ROUND_TRIP_S + A_MOMENT_S)
        self.assertEqual(len(self.ring.clock.getDelayedCalls()), before)


class ExpiryTests(RingCase):
    """Nothing is read after its life, on any path."""

    def test_a_second_is_a_second_everywhere(self) -> None:
        """A value of one second is read after half of it and gone after 1.1, at every node."""
        self.put_and_wait(OUTSIDER, ttl_s=1)
        self.ring.pass_time(0.1)
        reads = [self.get(place) for place in EIGHT]
        self.ring.pass_time(0.2)
        self.assertEqual([read is not None for read in map(self.successResultOf, reads)], [True] * 8)
        self.ring.pass_time(0.6)
        self.assertEqual([self.value_at(place, within_s=1) for place in EIGHT], [None] * 8)

    def test_exact_where_it_was_put(self) -> None:
        """A replica's copy ends later by the delay of its way; the node that took the put knows better."""
        self.put_and_wait(OUTSIDER, ttl_s=1)
        self.ring.pass_time(1 - 10 * ROUND_TRIP_S - DELAY_S / 2)
        read = self.get(OUTSIDER)
        self.ring.pass_time(1)
        self.assertIsNone(self.successResultOf(read))

    def test_hand_over_does_not_prolong(self) -> None:
        """A newcomer that pulls a record gets its remaining life."""
        key = key_in(Arc(at(0x2000), at(0x2800)))
        self.put_and_wait(OUTSIDER, key, ttl_s=5)
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(3)
        self.assertIsNotNone(newcomer.records.local_records.get(key))
        self.ring.pass_time(2)
        self.assertIsNone(newcomer.records.local_records.get(key))

    def test_a_put_of_one_copy_does_not_leave_the_older_ones(self) -> None:
        """The owner brings it wherever the older value lies; when the owner dies the older one does not come back."""
        self.put_and_wait(OUTSIDER, value=b"older")
        self.put_and_wait(OUTSIDER, value=b"newer", copies=1)
        self.assertEqual(self.value_at(0x1000), b"newer")
        self.ring.pass_time(100)
        self.assertEqual([self.ring.value(place, KEY) for place in (0x3000, 0x4000, 0x5000, 0x6000)], [b"newer"] * 4)
        self.ring.die(0x3000)
        self.assertEqual(self.value_at(0x1000), b"newer")

    def test_an_older_value_at_a_replica_that_missed_the_newer_stays_hidden(self) -> None:
        """The others remember the newer version until the older one would have expired."""
        self.put_and_wait(OUTSIDER, value=b"older", ttl_s=1000)
        self.ring.silent.add(peer(0x6000))
        self.put(OUTSIDER, value=b"newer", ttl_s=2)
        self.ring.pass_time(3)
        self.ring.silent.clear()
        self.assertEqual(self.ring.value(0x6000, KEY), b"older")
        self.assertEqual([self.value_at(place, within_s=1) for place in EIGHT], [None] * 8)

    def test_tombstones_are_handed_over(self) -> None:
        """A newcomer learns what must not come back."""
        key = key_in(Arc(at(0x2000), at(0x2800)))
        self.put_and_wait(OUTSIDER, key, b"older", ttl_s=1000)
        self.put_and_wait(OUTSIDER, key, b"newer", ttl_s=1)
        self.ring.pass_time(2)
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(5)
        self.assertIsInstance(newcomer.records.local_records.get(key), Tombstone)

    def test_a_tombstone_repairs_a_replica_that_missed_the_end(self) -> None:
        """The owner's round tells the tombstone to those that still have the older value."""
        self.put_and_wait(OUTSIDER, value=b"older", ttl_s=1000)
        self.ring.silent.add(peer(0x6000))
        self.put(OUTSIDER, value=b"newer", ttl_s=2)
        self.ring.pass_time(3)
        self.ring.silent.clear()
        self.ring.pass_time(100)
        self.assertIsInstance(self.ring.node(0x6000).records.local_records.get(KEY), Tombstone)


class DeleteTests(RingCase):
    """An end put to a record."""

    def test_gone_everywhere_for_good(self) -> None:
        """Also at a replica that was away."""
        self.put_and_wait(OUTSIDER, ttl_s=1000)
        self.ring.silent.add(peer(0x6000))
        deleted = self.ring.node(0x1000).records.delete(KEY)
        self.ring.pass_time(1)
        self.assertEqual(self.successResultOf(deleted).ttl_ms, 0)
        self.ring.silent.clear()
        self.assertEqual([self.value_at(place, within_s=1) for place in EIGHT], [None] * 8)
        self.ring.pass_time(200)
        self.assertEqual(self.ring.holders(KEY), [])

    def test_gone_at_once_on_the_same_node(self) -> None:
        """Before the replicas have confirmed it."""
        self.put_and_wait(OUTSIDER)
        self.ring.node(OUTSIDER).records.delete(KEY)
        self.ring.pass_time(ROUND_TRIP_S + A_MOMENT_S)
        self.assertIsNone(self.value_at(OUTSIDER, within_s=0.3))

    def test_reaches_as_many_copies_as_there_are(self) -> None:
        """A record with more copies than usual is deleted at all of them."""
        self.put_and_wait(OUTSIDER, copies=7)
        self.ring.node(0x1000).records.delete(KEY)
        self.ring.pass_time(1)
        self.assertEqual(self.ring.holders(KEY), [])


class KindTests(RingCase):
    """Records that prove themselves."""

    VALUE = b"the very value"
    CONTENT_KEY = sha256(VALUE).digest()

    def test_content_is_not_overwritten(self) -> None:
        """A plain value under the hash of another is refused, and a get gives the true one all the time."""
        self.put_and_wait(OUTSIDER, self.CONTENT_KEY, self.VALUE)
        result = self.put(0x1000, self.CONTENT_KEY, b"false")
        self.assertEqual(self.value_at(0x1000, self.CONTENT_KEY, within_s=0.3), self.VALUE)
        self.failureResultOf(result, Refused)
        self.assertEqual([self.value_at(place, self.CONTENT_KEY) for place in EIGHT], [self.VALUE] * 8)

    def test_content_takes_the_place_of_a_plain_value(self) -> None:
        """Whoever came first."""
        self.put_and_wait(OUTSIDER, self.CONTENT_KEY, b"false")
        self.put_and_wait(0x1000, self.CONTENT_KEY, self.VALUE)
        self.assertEqual([self.value_at(place, self.CONTENT_KEY) for place in EIGHT], [self.VALUE] * 8)

    def test_content_is_not_deleted(self) -> None:
        """It ends with its life."""
        self.put_and_wait(OUTSIDER, self.CONTENT_KEY, self.VALUE)
        deleted = self.ring.node(0x1000).records.delete(self.CONTENT_KEY)
        self.ring.pass_time(1)
        self.failureResultOf(deleted, Refused)
        self.assertEqual(self.value_at(0x1000, self.CONTENT_KEY), self.VALUE)

    def test_content_here_needs_no_question(self) -> None:
        """Any replica answers alone: nobody can have a newer one."""
        self.put_and_wait(OUTSIDER, self.CONTENT_KEY, self.VALUE)
        (place, *_) = self.ring.replicas(self.CONTENT_KEY)
        self.assertIsNotNone(self.successResultOf(self.get(place, self.CONTENT_KEY)))

    def put_signed(self, place: int, seq: int, value: bytes, expected_seq: int | None = None) -> Deferred[PutResult]:
        result = self.ring.node(place).records.put(SIGNED_KEY, value, seal=seal(seq, value, expected_seq))
        self.ring.pass_time(1)
        return result

    def test_the_highest_seq_wins(self) -> None:
        """Whoever puts it, and whatever the clocks say; a lower one is refused."""
        self.successResultOf(self.put_signed(OUTSIDER, 1, b"one"))
        self.ring.node(0x1000).skew_ms = -30_000
        self.successResultOf(self.put_signed(0x1000, 2, b"two"))
        self.failureResultOf(self.put_signed(OUTSIDER, 1, b"one"), Refused)
        self.assertEqual([self.value_at(place, SIGNED_KEY) for place in EIGHT], [b"two"] * 8)

    def test_a_plain_value_does_not_replace_a_signed_one(self) -> None:
        """Only the owner of the key writes there."""
        self.successResultOf(self.put_signed(OUTSIDER, 1, b"one"))
        result = self.put(0x1000, SIGNED_KEY, b"stolen")
        self.ring.pass_time(1)
        self.failureResultOf(result, Refused)
        self.assertEqual(self.value_at(0x1000, SIGNED_KEY), b"one")

    def test_compare_and_swap(self) -> None:
        """A put that expects another seq than the one that stands there is refused."""
        self.successResultOf(self.put_signed(OUTSIDER, 1, b"one", expected_seq=0))
        self.failureResultOf(self.put_signed(OUTSIDER, 3, b"three", expected_seq=2), Refused)
        self.successResultOf(self.put_signed(OUTSIDER, 2, b"two", expected_seq=1))
        self.assertEqual(self.value_at(0x1000, SIGNED_KEY), b"two")

    def test_a_wrong_signature_is_refused_here_and_there(self) -> None:
        """By the node that takes the put, and by replicas that are sent it by somebody else."""
        wrong = replace(seal(1, b"one"), signature=bytes(64))
        self.failureResultOf(self.ring.node(OUTSIDER).records.put(SIGNED_KEY, b"one", seal=wrong), Refused)
        record = replace(self.record(key=SIGNED_KEY), kind=RecordKind.SIGNED, seal=wrong)
        answer = self.ring.node(0x3000).tell(peer(0x1000), Store(body_of(record, 0), 1))
        self.assertEqual(answer, wire.Refused("wrong"))

    def test_a_signed_delete(self) -> None:
        """A seal over an empty value with a higher seq ends it; without one nobody can."""
        self.successResultOf(self.put_signed(OUTSIDER, 1, b"one"))
        unsigned = self.ring.node(OUTSIDER).records.delete(SIGNED_KEY)
        self.ring.pass_time(1)
        self.failureResultOf(unsigned, Refused)
        deleted = self.ring.node(0x1000).records.delete(SIGNED_KEY, seal(2, b""))
        self.ring.pass_time(1)
        self.successResultOf(deleted)
        self.assertEqual([self.value_at(place, SIGNED_KEY, within_s=1) for place in EIGHT], [None] * 8)
        self.failureResultOf(self.put_signed(OUTSIDER, 1, b"one"), Refused)


class PublicationTests(RingCase):
    """The node that took a put looks after it."""

    def lost_and_found(self) -> Versioned:
        """What the owner keeps some time after all replicas have lost it."""
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.node(place).records.local_records.remove(KEY)
        self.ring.pass_time(100)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])
        found = self.ring.node(0x3000).records.local_records.get(KEY)
        assert found is not None
        return found

    def test_brings_back_what_all_replicas_lost(self) -> None:
        """The very same version, with what is left of its life."""
        result = self.put_and_wait(OUTSIDER, ttl_s=1000)
        found = self.lost_and_found()
        self.assertEqual(found.version, result.version)
        self.assertLess(found.expiry_ms / 1000, 10 + 1000 + 1)

    def test_brings_back_what_it_owns_itself(self) -> None:
        """So does the owner with what was put there."""
        result = self.put_and_wait(0x3000, ttl_s=1000)
        self.assertEqual(self.lost_and_found().version, result.version)

    def test_ends_when_somebody_has_a_newer_one(self) -> None:
        """It never fights another publisher."""
        self.put_and_wait(OUTSIDER, value=b"older")
        self.put_and_wait(0x1000, value=b"newer")
        self.ring.pass_time(60)
        self.assertEqual(len(self.ring.node(OUTSIDER).records.publisher), 0)
        self.assertEqual(len(self.ring.node(0x1000).records.publisher), 1)

    def test_costs_one_small_question_now_and_then(self) -> None:
        """While all is well the owner is asked for the version: less than ten times in an hour."""
        self.put_and_wait(OUTSIDER, ttl_s=3600)
        self.ring.node(OUTSIDER).asked.clear()
        self.ring.pass_time(3000)
        asked = [question for _, question in self.ring.node(OUTSIDER).asked if isinstance(question, (Fetch, Store))]
        self.assertLess(len(asked), 15)
        self.assertEqual({question.value for question in asked if isinstance(question, Fetch)}, {False})
        self.assertFalse(any(isinstance(question, Store) for question in asked))

    def test_what_it_owns_itself_is_not_read(self) -> None:
        """Its version is enough to see that it is there: the disk is left alone."""
        self.put_and_wait(0x3000, ttl_s=3600)
        node = self.ring.node(0x3000)
        read: list[bytes] = []
        store, get = node.records.local_records.store, node.records.local_records.store.get

        def reading(key: bytes) -> Versioned | None:
            read.append(key)
            return get(key)

        self.patch(store, "get", reading)
        node.asked.clear()
        self.ring.pass_time(3000)
        self.assertEqual(read, [])
        self.assertEqual([question for _, question in node.asked if isinstance(question, (Fetch, Store))], [])

    def test_what_was_overwritten_is_not_kept(self) -> None:
        """A key that is put a hundred times is looked after once, and no older value stays in memory."""
        gc.collect()
        earlier = {id(thing) for thing in gc.get_objects() if isinstance(thing, Publication)}
        publisher = self.ring.node(OUTSIDER).records.publisher
        for number in range(100):
            self.put(OUTSIDER, value=b"number %d" % number).addErrback(lambda failure: failure.trap(Refused))
        self.ring.pass_time(1)
        self.assertEqual(len(publisher), 1)
        gc.collect()
        found = [thing for thing in gc.get_objects() if isinstance(thing, Publication)]
        versioned = [thing for thing in found if id(thing) not in earlier]
        self.assertEqual(
            [thing.versioned.value for thing in versioned if isinstance(thing.versioned, Record)], [b"number 99"]
        )

    def test_ends_with_its_life(self) -> None:
        """After a grace of some seconds nothing of it is left."""
        self.put_and_wait(OUTSIDER, ttl_s=20)
        self.ring.pass_time(26)
        self.assertEqual(len(self.ring.node(OUTSIDER).records.publisher), 0)


class AnswerTests(RingCase):
    """What others are told."""

    def test_an_older_version_never_replaces_a_newer(self) -> None:
        """It is refused with the newer version."""
        answer = self.ring.node(0x3000).tell
        newer, older = self.record(ms=WALL_MS + 2), self.record(ms=WALL_MS + 1, value=b"older")
        now_ms = int(self.ring.clock.seconds() * 1000)
        self.assertEqual(answer(peer(1), Store(body_of(newer, now_ms), 0)), Stored())
        self.assertEqual(answer(peer(1), Store(body_of(older, now_ms), 0)), wire.Refused("newer", WALL_MS + 2, b""))
        self.assertEqual(answer(peer(1), Store(body_of(newer, now_ms), 0)), Stored())

    def test_a_rank_is_believed_but_for_the_owner(self) -> None:
        """Only who is taken for the owner and is none says so."""
        answer = self.ring.node(0x4000).tell
        self.assertEqual(answer(peer(1), Fetch(KEY, 0, True)), wire.NotMine(peer(0x3000).packed))
        self.assertEqual(answer(peer(1), Fetch(KEY, 1, True)), NotFound())
        body = body_of(self.record(), int(self.ring.clock.seconds() * 1000))
        self.assertEqual(answer(peer(1), Store(body, 0)), wire.NotMine(peer(0x3000).packed))
        self.assertEqual(answer(peer(1), Store(body, 1)), Stored())

    def test_the_life_of_what_others_send_is_bounded(self) -> None:
        """Nobody stores for longer than a day here."""
        body = body_of(self.record(ttl_s=10**6), int(self.ring.clock.seconds() * 1000))
        self.ring.node(0x3000).records.replica.answer(peer(1), Store(body, 0))
        versioned = self.ring.node(0x3000).records.local_records.get(KEY)
        assert versioned is not None
        self.assertEqual(versioned.expiry_ms, int((self.ring.clock.seconds() + 86_400) * 1000))

    def test_one_address_does_not_fill_everything(self) -> None:
        """Beyond its quota it is refused; others are not, and what it had before stays."""
        ring = RecordRing(*EIGHT, quota=Quota(records_max=2, bytes_max=10 * (5 + RECORD_OVERHEAD_BYTES)))
        answer = ring.node(0x3000).tell
        keys = [key_in(OWNED, number) for number in range(4)]
        answers = [answer(peer(0x66), Store(body_of(self.record(key=key, ttl_s=3600), 0), 0)) for key in keys[:3]]
        self.assertEqual(answers, [Stored(), Stored(), wire.Refused("full")])
        self.assertEqual(answer(peer(0x77), Store(body_of(self.record(key=keys[3]), 0), 0)), Stored())
        batch = wire.StoreAll([body_of(self.record(key=keys[2]), 0)])
        self.assertEqual(answer(peer(0x66), batch), wire.StoredAll([0]))

    def test_a_newcomer_says_that_it_is_pulling(self) -> None:
        """While its arc comes from the old owner it does not say that there is nothing."""
        key = key_in(Arc(at(0x2000), at(0x2800)))
        self.ring.silent.add(peer(0x3000))
        newcomer = self.ring.join(0x2800)
        self.assertEqual(newcomer.tell(peer(1), Fetch(key, 0, True)), Pulling())
        self.assertEqual(newcomer.tell(peer(1), Fetch(KEY, 2, True)), NotFound())


class ConvergenceTests(SynchronousTestCase):
    """Whatever replicas are told, in whatever order, they agree."""

    @given(
        st.lists(
            st.tuples(st.integers(1, 4), st.sampled_from([b"a", b"b"]), st.integers(1, 60), st.booleans()),
            min_size=1,
            max_size=5,
        ),
        st.randoms(use_true_random=False),
    )
    def test_any_order_of_delivery(self, told: list[tuple[int, bytes, int, bool]], chance: object) -> None:
        """Two members that get the same stores and deletes in other orders, some twice, keep the same thing."""
        ring = RecordRing(0x3000, 0x4000)
        things: list[Record | Tombstone] = []
        for ms, value, ttl_s, is_tombstone in told:
            version = Version(WALL_MS + ms, b"")
            things.append(
                Tombstone(KEY, version, ttl_s * 1000, 4)
                if is_tombstone
                else Record(KEY, value, RecordKind.PLAIN, version, ttl_s * 1000, 4)
            )
        again = things + things[:2]
        chance.shuffle(again)  # type: ignore[attr-defined]
        for place, order in ((0x3000, things), (0x4000, again)):
            for thing in order:
                ring.node(place).records.replica.answer(peer(1), Store(body_of(thing, 0), 1))
        one, other = (ring.node(place).records.local_records.get(KEY) for place in (0x3000, 0x4000))
        assert one is not None and other is not None
        self.assertEqual((one.version, type(one)), (other.version, type(other)))
        if isinstance(one, Record) and isinstance(other, Record):
            self.assertEqual(one.value, other.value)
        for node in ring.nodes.values():
            node.records.stop()
