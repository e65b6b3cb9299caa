"""`HashTable`: put, get and delete as doors see them, of every kind of record, until their ends."""

from __future__ import annotations

from hashlib import sha256

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chordtwist.core.errors import Malformed, Refused
from chordtwist.core.records import (
    VALUE_BYTES_MAX,
    PutResult,
    RecordKind,
    Tombstone,
)
from chordtwist.core.ring import Arc
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.local_records import SWEEP_ON_S, SWEEP_S
from chordtwist.node.records.record_bodies import body_of
from chordtwist.storage.index import EXPIRED_MAX
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import Ping, Store
from tests.builders import at, peer
from tests.record_ring import DELAY_S, RecordRing, key_in
from tests.ring_case import A_MOMENT_S, EIGHT, KEY, OUTSIDER, OWNED, ROUND_TRIP_S, SIGNED_KEY, RingCase, seal


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
        self.assertEqual(self.ring.pending(), 0)


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
