"""Every record at its replicas, while members come, go and lose things."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable, Untruthful
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import Record, RecordKind, Tombstone, Version, position_of, signed_key
from chordtwist.core.ring import Arc, position_bytes
from chordtwist.core.signed import Ed25519Signer, pack_record
from chordtwist.node.records.incoming import RECORDS_PER_TURN
from chordtwist.node.records.reconciling import PROGRESS_S
from chordtwist.node.records.record_bodies import TOO_MANY, body_of
from chordtwist.node.records.repair import DAMPED_S, PULLED_WITHIN_S, ROUND_S, SOON_S
from chordtwist.node.records.replica import LISTED_BESIDES_MAX
from chordtwist.node.records.stray_records import TIDY_AFTER_S, TIDY_S
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.frames import OPENING_BYTES
from chordtwist.wire.peer_messages import (
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    Answer,
    Digest,
    HandedOver,
    HandOver,
    HaveList,
    Missing,
    Parts,
    Question,
    Refused,
    Store,
    StoreAll,
    StoredAll,
    Summary,
    encode,
)
from tests.builders import at, peer
from tests.record_ring import WALL_MS, RecordRing, key_in, keys_in

EIGHT = tuple(range(0x1000, 0x9000, 0x1000))
OWNED = Arc(at(0x2000), at(0x3000))
"""The arc of 0x3000; its replicas are 0x3000 to 0x6000."""

KEY = key_in(OWNED)
OUTSIDER = 0x8000
A_ROUND_S = 1.6 * ROUND_S


class RepairCase(SynchronousTestCase):
    """Eight members, four copies."""

    def setUp(self) -> None:
        self.ring = RecordRing(*EIGHT)
        self.ring.pass_time(TIDY_AFTER_S)

    def record(self, key: bytes = KEY, ms: int = WALL_MS, value: bytes = b"value", copies: int = 4) -> Record:
        expiry_ms = int((self.ring.clock.seconds() + 3600) * 1000)
        return Record(key, value, RecordKind.PLAIN, Version(ms, b""), expiry_ms, copies)

    def keep(self, place: int, *versioned: Record | Tombstone) -> None:
        """Copies that are simply there."""
        local_records = self.ring.node(place).records.local_records
        for one in versioned:
            local_records.take(one, local_records.get(one.key), None)

    def spread(self, records: Iterable[Record]) -> None:
        """Copies at all replicas."""
        for record in records:
            for place in self.ring.replicas(record.key, record.copies):
                self.keep(place, record)

    def many(self, count: int, value: bytes = b"value", copies: int = 4) -> list[Record]:
        """Records all over the ring."""
        return [self.record(number.to_bytes(32, "big"), value=value, copies=copies) for number in range(count)]

    def asked(self, kind: type[Question]) -> list[tuple[Peer, Question]]:
        """What anybody has asked since `forget`."""
        return [found for node in self.ring.nodes.values() for found in node.questions(kind)]

    def forget(self) -> None:
        self.before = self.ring.traffic
        for node in self.ring.nodes.values():
            node.asked.clear()

    def bytes_of(self, kind: type[Question]) -> int:
        return sum(OPENING_BYTES + len(encode(question)) for _, question in self.asked(kind))

    def wrong_places(self, records: Iterable[Record]) -> list[bytes]:
        """Keys whose copies do not lie exactly where they belong."""
        return [record.key for record in records if self.ring.holders(record.key) != self.ring.replicas(record.key)]


class RoundTests(RepairCase):
    """The owner compares its arc with its replicas."""

    def test_a_quiet_round_costs_less_than_200_bytes_per_neighbour(self) -> None:
        """Question and answer together, however much is kept."""
        self.spread(self.many(500))
        self.ring.pass_time(A_ROUND_S)
        self.forget()
        self.ring.pass_time(A_ROUND_S)
        rounds = len(self.asked(Digest))
        self.assertGreaterEqual(rounds, 8 * 3)
        self.assertLess((self.ring.traffic - self.before) / rounds, 200)

    def test_a_bug_ends_no_rounds(self) -> None:
        """A comparison that ends with an error of ours is logged, and the next round is held."""
        records = self.ring.node(0x3000).records

        async def broken(*arguments: object, **options: object) -> None:
            raise KeyError("a bug")

        self.patch(records.reconciling, "reconcile", broken)
        self.ring.pass_time(2 * A_ROUND_S)
        self.assertGreaterEqual(len(self.flushLoggedErrors(KeyError)), 2)

    def test_a_lost_copy_is_restored(self) -> None:
        """At whichever replica, within a round."""
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.spread([self.record()])
            self.ring.node(place).records.local_records.remove(KEY)
            self.ring.pass_time(A_ROUND_S)
            self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])

    def test_the_only_copy_is_enough(self) -> None:
        """One of the replicas has it: after two rounds all have."""
        self.keep(0x5000, self.record())
        self.ring.pass_time(2 * A_ROUND_S)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])

    def test_the_newest_version_wins(self) -> None:
        """Wherever it is, and a tombstone like a value: whoever has put it says so."""
        self.ring.lose = lambda asker, asked, question: isinstance(question, Store) and asked != peer(0x5000)
        for is_deleted in (False, True):
            self.spread([self.record()])
            table = self.ring.node(OUTSIDER).records
            put = table.delete(KEY) if is_deleted else table.put(KEY, b"newer")
            put.addErrback(lambda failure: failure.trap(Unreachable))
            self.ring.pass_time(2 * A_ROUND_S)
            found = [self.ring.node(place).records.local_records.get(KEY) for place in self.ring.replicas(KEY)]
            self.assertEqual([isinstance(one, Tombstone) for one in found], [is_deleted] * 4)
            self.assertEqual({one.version.publisher for one in found if one}, {peer(OUTSIDER).packed})

    def test_what_nobody_has_put_is_spread_by_nobody(self) -> None:
        """A newer version at one replica, which its publisher denies, stays there for one round."""
        self.spread([self.record()])
        self.ring.pass_time(1)
        forged = Version(WALL_MS + 40_000, peer(OUTSIDER).packed)
        self.keep(0x4000, replace(self.record(value=b"forged"), version=forged))
        self.ring.pass_time(2 * A_ROUND_S)
        self.assertEqual([self.ring.value(place, KEY) for place in (0x3000, 0x5000, 0x6000)], [b"value"] * 3)

    def test_bytes_follow_the_difference(self) -> None:
        """Five records lost of a thousand in an arc cost some kilobytes, not a list of a thousand."""
        keys = keys_in(OWNED, 1000)
        self.spread([self.record(key, value=bytes(100)) for key in keys])
        self.ring.pass_time(A_ROUND_S)
        for key in keys[::200]:
            self.ring.node(0x5000).records.local_records.remove(key)
        self.forget()
        self.ring.pass_time(A_ROUND_S)
        self.assertEqual([self.ring.holders(key) for key in keys[::200]], [[0x3000, 0x4000, 0x5000, 0x6000]] * 5)
        self.assertLess((self.ring.traffic - self.before), 8_000)

    def test_other_numbers_of_copies(self) -> None:
        """One copy stays one; seven are kept up too."""
        one, seven = self.record(key_in(OWNED, 1), copies=1), self.record(key_in(OWNED, 2), copies=7)
        self.keep(0x3000, one, seven)
        self.ring.pass_time(2 * A_ROUND_S)
        self.assertEqual(self.ring.holders(one.key), [0x3000])
        self.assertEqual(self.ring.holders(seven.key), self.ring.replicas(seven.key, 7))

    def test_a_change_is_seen_to_soon(self) -> None:
        """A dead replica is replaced within seconds."""
        self.spread([self.record()])
        self.ring.pass_time(A_ROUND_S)
        self.ring.die(0x5000)
        self.ring.pass_time(DAMPED_S + 3)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x6000, 0x7000])

    def test_a_dead_owner_is_replaced(self) -> None:
        """The one behind it owns the arc and restores the fourth copy."""
        self.spread([self.record()])
        self.ring.die(0x3000)
        self.ring.pass_time(DAMPED_S + 3)
        self.assertEqual(self.ring.holders(KEY), [0x4000, 0x5000, 0x6000, 0x7000])

    def test_many_changes_are_one(self) -> None:
        """A ring that changes again and again is not compared again and again."""
        self.ring.pass_time(A_ROUND_S)
        rounds = self.ring.node(0x3000).records.repair.rounds
        for _ in range(40):
            self.ring.node(0x3000).records.repair.soon()
            self.ring.pass_time(0.1)
        self.assertLessEqual(self.ring.node(0x3000).records.repair.rounds - rounds, 2)

    def test_changes_far_away_are_none(self) -> None:
        """Who joins or leaves behind all our replicas makes us compare nothing."""
        self.spread([self.record()])
        repair = self.ring.node(0x3000).records.repair
        rounds = repair.rounds
        while repair.rounds == rounds:
            self.ring.pass_time(1)
        rounds, near = repair.rounds, self.ring.node(0x2000).records.repair.rounds
        self.ring.die(0x1000)
        self.ring.pass_time(2 * SOON_S)
        self.assertEqual(repair.rounds, rounds)
        self.assertGreater(self.ring.node(0x2000).records.repair.rounds, near)

    def test_a_silent_replica_holds_up_nobody(self) -> None:
        """The others are compared with all the same."""
        self.ring.silent.add(peer(0x4000))
        self.keep(0x3000, self.record())
        self.ring.pass_time(A_ROUND_S)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x5000, 0x6000])

    def test_an_owner_with_a_slow_clock_asks_others(self) -> None:
        """An owner that refuses what its replicas have, since to its clock and its neighbours' it comes from the
        future, does not answer alone what it has itself.
        """
        self.spread([self.record(value=b"older")])
        owner = self.ring.node(0x3000)
        owner.skew_ms = -300_000
        for place in (0x4000, 0x5000, 0x6000):
            self.keep(place, self.record(ms=WALL_MS + 1, value=b"newer"))
        self.ring.pass_time(A_ROUND_S)
        read = owner.records.get(KEY)
        self.ring.pass_time(1)
        found = self.successResultOf(read)
        assert found is not None
        self.assertEqual(found.value, b"newer")

    def test_a_full_replica_is_left_alone(self) -> None:
        """What it has no room for is missing there, which the owner counts; everything else is where it belongs."""
        ring = self.ring = RecordRing(*EIGHT, store=lambda: MemoryRecordStore(records_max=2))
        self.keep(0x4000, self.record(bytes(32)), self.record(bytes(31) + b"\1"))
        self.keep(0x3000, self.record())
        ring.pass_time(10)
        self.assertEqual(ring.holders(KEY), [0x3000, 0x5000, 0x6000])
        self.assertEqual(ring.node(0x3000).records.repair.not_taken, 1)

    def test_stopped_in_the_middle(self) -> None:
        """Nothing fires later."""
        self.spread(self.many(300))
        self.ring.node(0x3000).records.repair.soon()
        self.ring.pass_time(2)
        newcomer = self.ring.join(0x2800)
        self.ring.silent = set(self.ring.members)
        self.ring.pass_time(2.5)
        self.assertTrue(newcomer.records.repair.pulling)
        for node in self.ring.nodes.values():
            node.records.stop()
        self.ring.pass_time(3)
        self.assertEqual(self.ring.pending(), 0)


class TrafficTests(RepairCase):
    """What repair costs."""

    def test_one_replaced_node(self) -> None:
        """A member dies and another one joins elsewhere: all copies are where they belong, at less than 1.5 times the
        bytes of the records that had to move.
        """
        records = self.many(2_000, value=bytes(300))
        self.spread(records)
        self.ring.pass_time(A_ROUND_S)
        self.forget()
        before = {record.key: set(self.ring.holders(record.key)) for record in records}
        self.ring.die(0x5000)
        self.ring.pass_time(15)
        between = {record.key: set(self.ring.replicas(record.key)) for record in records}
        self.ring.join(0x6800)
        self.ring.pass_time(5 * A_ROUND_S)
        after = {record.key: set(self.ring.replicas(record.key)) for record in records}
        self.assertEqual(self.wrong_places(records), [])
        moved = sum(
            len(between[key] - before[key]) + len(after[key] - between[key]) for key in (one.key for one in records)
        )
        self.assertGreater(moved, 1_000)
        self.assertLess((self.ring.traffic - self.before) / (moved * (300 + 32)), 1.5)


class JoinTests(RepairCase):
    """A newcomer gets its arc from the old owner."""

    def setUp(self) -> None:
        super().setUp()
        self.arc = Arc(at(0x2000), at(0x2800))
        self.key = key_in(self.arc)

    def test_gets_what_is_its_own(self) -> None:
        """And then everything else it is a replica of; what is surplus elsewhere goes."""
        records = self.many(600)
        self.spread(records)
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(2)
        mine = [record for record in records if self.ring.replicas(record.key, 1) == [0x2800]]
        self.assertGreater(len(mine), 5)
        self.assertTrue(all(newcomer.records.local_records.get(record.key) for record in mine))
        self.ring.pass_time(5 * A_ROUND_S)
        self.assertEqual(self.wrong_places(records), [])

    def test_comes_in_batches(self) -> None:
        """None above the limit, each from where the one before it ended."""
        keys = keys_in(self.arc, 60)
        self.spread([self.record(key, value=bytes(20_000)) for key in keys])
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(2)
        self.assertTrue(all(newcomer.records.local_records.get(key) for key in keys))
        self.assertGreaterEqual(len(newcomer.questions(HandOver)), 60 * 20_000 // BATCH_BYTES_MAX)

    def test_many_small_ones_come_in_batches(self) -> None:
        """The number of records is bounded as well."""
        keys = keys_in(self.arc, 1_100)
        self.keep(0x3000, *[self.record(key, value=b"v") for key in keys])
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(1)
        self.assertTrue(all(newcomer.records.local_records.get(key) for key in keys))
        self.assertEqual(len(newcomer.questions(HandOver)), -(-1_100 // BATCH_RECORDS_MAX))

    def test_what_has_expired_is_no_end(self) -> None:
        """A batch in which everything has expired is not the last one."""
        keys = keys_in(self.arc, 1_200)
        old_owner = self.ring.node(0x3000).records.local_records
        in_order = sorted(keys, key=position_of)
        for key in in_order[:1_100]:
            old_owner.take(replace(self.record(key), expiry_ms=1), None, None)
        for key in in_order[1_100:]:
            old_owner.take(self.record(key), None, None)
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(1)
        self.assertEqual(sum(newcomer.records.local_records.get(key) is not None for key in keys), 100)

    def test_is_readable_meanwhile(self) -> None:
        """While the newcomer pulls, its old owner and the replicas are asked."""
        self.spread([self.record(self.key)])
        self.ring.lose = lambda asker, asked, question: isinstance(question, (Digest, HandOver))
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(1)
        self.assertTrue(newcomer.records.repair.pulling)
        for place in (*EIGHT, 0x2800):
            read = self.ring.node(place).records.get(self.key)
            self.ring.pass_time(0.5)
            self.assertIsNotNone(self.successResultOf(read), hex(place))

    def test_another_that_joins_meanwhile_goes_on(self) -> None:
        """A newcomer that has not got its arc yet says so to the next one, which gets it from whoever had it before:
        else both would say that there is nothing.
        """
        key = key_in(Arc(at(0x2000), at(0x2700)))
        self.spread([self.record(key)])
        self.ring.lose = lambda asker, asked, question: asker == peer(0x2800) and isinstance(question, Digest)
        self.ring.join(0x2800)
        newcomer = self.ring.join(0x2700)
        self.ring.pass_time(0.5)
        self.assertFalse(newcomer.records.repair.pulling)
        self.assertIsNotNone(newcomer.records.local_records.get(key))

    def test_what_is_put_meanwhile_is_not_lost(self) -> None:
        """A newcomer takes puts before it has pulled; the newer version stays."""
        self.spread([self.record(self.key, ms=WALL_MS - 1, value=b"older")])
        self.ring.silent.add(peer(0x3000))
        newcomer = self.ring.join(0x2800)
        self.ring.node(0x8000).records.put(self.key, b"newer")
        self.ring.pass_time(1)
        self.ring.silent.clear()
        self.ring.pass_time(30)
        found = newcomer.records.local_records.get(self.key)
        assert isinstance(found, Record)
        self.assertEqual(found.value, b"newer")

    def test_an_old_owner_that_never_ends_is_left(self) -> None:
        """Whoever hands the same over again and again is given a minute, then the next one is asked."""
        keys = keys_in(self.arc, 50)
        for place in (0x4000, 0x5000, 0x6000):
            self.keep(place, *[self.record(key) for key in keys])
        step = (at(0x2800) - at(0x2000)) // (1 << 40)
        place = at(0x2000)

        def endless(question: Question) -> Answer | None:
            nonlocal place
            place += step
            if isinstance(question, HandOver):
                return HandedOver([body_of(self.record(keys[0]), 0)], position_bytes(place))
            return Parts([Summary(10**6, bytes(16))]) if isinstance(question, Digest) else None

        self.ring.lies[peer(0x3000)] = endless
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(PULLED_WITHIN_S - 1)
        self.assertTrue(newcomer.records.repair.pulling)
        self.ring.pass_time(10)
        self.assertFalse(newcomer.records.repair.pulling)
        self.assertTrue(all(newcomer.records.local_records.get(key) for key in keys))

    def test_an_old_owner_that_hardly_moves_is_left_soon(self) -> None:
        """Whoever takes seconds for each record is given up when nothing comes of it, and the next one is asked."""
        keys = keys_in(self.arc, 50)
        for place in (0x4000, 0x5000, 0x6000):
            self.keep(place, *[self.record(key) for key in keys])
        ordered = sorted(keys, key=position_of)

        def dripping(question: Question) -> Answer | None:
            if isinstance(question, HandOver):
                record = self.record(ordered.pop(0))
                return HandedOver([body_of(record, 0)], position_bytes(position_of(record.key)))
            return Parts([Summary(10**6, bytes(16))]) if isinstance(question, Digest) else None

        self.ring.lies[peer(0x3000)] = dripping
        self.ring.slow_s[peer(0x3000)] = 2.5
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(PROGRESS_S + 2)
        self.assertFalse(newcomer.records.repair.pulling)
        self.assertTrue(all(newcomer.records.local_records.get(key) for key in keys))

    def test_only_what_was_asked_for_is_taken(self) -> None:
        """An old owner that hands over records of other arcs is left, and none of them is kept."""
        other = key_in(Arc(at(0x5000), at(0x6000)))
        self.spread([self.record(self.key)])

        def foreign(question: Question) -> Answer | None:
            if isinstance(question, HandOver):
                return HandedOver([body_of(self.record(other), 0)], question.upto)
            return Parts([Summary(10**6, bytes(16))]) if isinstance(question, Digest) else None

        self.ring.lies[peer(0x3000)] = foreign
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(5)
        self.assertFalse(newcomer.records.repair.pulling)
        self.assertIsNone(newcomer.records.local_records.get(other))
        self.assertIsNotNone(newcomer.records.local_records.get(self.key))

    def test_what_was_asked_for_is_charged(self) -> None:
        """An old owner that hands over without end fills its share here and no more; then the next one is asked."""
        quota = Quota(records_max=40)
        ring = self.ring = RecordRing(*EIGHT, quota=quota)
        ring.pass_time(10)
        self.spread([self.record(self.key)])
        ordered = sorted(keys_in(self.arc, 200), key=position_of)

        def endless(question: Question) -> Answer | None:
            if isinstance(question, HandOver):
                batch = [self.record(ordered.pop(0)) for _ in range(4)]
                return HandedOver([body_of(one, 0) for one in batch], position_bytes(position_of(batch[-1].key)))
            return Parts([Summary(1 << 30, bytes(16))]) if isinstance(question, Digest) else None

        ring.lies[peer(0x3000)] = endless
        newcomer = ring.join(0x2800)
        ring.pass_time(10)
        self.assertFalse(newcomer.records.repair.pulling)
        self.assertLessEqual(newcomer.store.records(), quota.records_max + 1)
        self.assertIsNotNone(newcomer.records.local_records.get(self.key))

    def test_a_dead_old_owner_is_stood_in_for(self) -> None:
        """The ones behind it have copies."""
        self.spread([self.record(self.key)])
        self.ring.crash(0x3000)
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(2)
        self.assertIsNotNone(newcomer.records.local_records.get(self.key))
        self.assertFalse(newcomer.records.repair.pulling)

    def test_pulling_ends(self) -> None:
        """When nobody at all answers, the newcomer serves what it has after a while."""
        for place in EIGHT:
            self.ring.refusing.add(peer(place))
        newcomer = self.ring.join(0x2800)
        self.ring.pass_time(5)
        self.assertTrue(newcomer.records.repair.pulling)
        self.ring.pass_time(30)
        self.assertFalse(newcomer.records.repair.pulling)

    def test_a_returning_node_fetches_only_the_difference(self) -> None:
        """It kept its records on disk: they are compared, not sent again."""
        keys = keys_in(self.arc, 200)
        records = [self.record(key, value=bytes(1_000)) for key in keys]
        self.spread(records)
        newcomer = self.ring.add(0x2800)
        for record in records[2:]:
            newcomer.records.local_records.take(record, None, None)
        self.forget()
        newcomer.records.joined(peer(0x3000))
        self.ring.pass_time(1)
        self.assertTrue(all(newcomer.records.local_records.get(key) for key in keys))
        self.assertEqual(newcomer.records.reconciling.fetched, 2)


class LeaveTests(RepairCase):
    """A leaver hands over what only it has."""

    def leave(self, place: int) -> None:
        """As `Node.leave` does it."""
        node = self.ring.node(place)
        handed: Deferred[None] = node.records.hand_over()
        self.ring.pass_time(3)
        self.successResultOf(handed)
        self.ring.die(place)

    def test_with_one_copy_nothing_is_lost(self) -> None:
        """Seven of eight leave one after another; the last has everything."""
        records = self.many(100, copies=1)
        for record in records:
            self.keep(self.ring.replicas(record.key, 1)[0], record)
        for place in EIGHT[:-1]:
            self.leave(place)
        self.assertEqual([self.ring.holders(record.key) for record in records], [[0x8000]] * 100)

    def test_what_the_successor_has_is_not_sent(self) -> None:
        """With four copies a leaver hands over nothing but a digest."""
        self.spread(self.many(100))
        self.ring.pass_time(A_ROUND_S)
        self.forget()
        self.leave(0x3000)
        self.assertEqual(self.ring.node(0x3000).questions(StoreAll), [])

    def test_a_dead_successor_is_passed_over(self) -> None:
        """The next one takes it."""
        self.keep(0x3000, self.record(copies=1))
        self.ring.crash(0x4000)
        self.leave(0x3000)
        self.assertEqual(self.ring.value(0x5000, KEY), b"value")

    def test_a_successor_that_leaves_too_takes_nothing(self) -> None:
        """Two neighbours leave at once: what they have goes to the one behind both."""
        self.keep(0x3000, self.record(copies=1))
        first = self.ring.node(0x4000).records.hand_over()
        second = self.ring.node(0x3000).records.hand_over()
        self.ring.pass_time(3)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.ring.value(0x5000, KEY), b"value")

    def test_what_a_leaving_predecessor_handed_over_goes_on(self) -> None:
        """The one that just got it leaves as well, before anybody knows that the first is gone."""
        self.keep(0x3000, self.record(copies=1))
        first = self.ring.node(0x3000).records.hand_over()
        self.ring.pass_time(0.5)
        second = self.ring.node(0x4000).records.hand_over()
        self.ring.pass_time(0.5)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.ring.value(0x5000, KEY), b"value")

    def test_its_last_put_is_not_lost(self) -> None:
        """It was taken a moment before, and its owner is silent: the successor brings it there."""
        self.ring.silent.add(peer(0x3000))
        put = self.ring.node(0x7000).records.put(KEY, b"value", copies=1)
        put.addErrback(lambda failure: None)
        self.ring.pass_time(0.1)
        self.leave(0x7000)
        self.assertEqual(self.ring.value(0x8000, KEY), b"value")
        self.ring.silent.clear()
        self.ring.pass_time(3 * A_ROUND_S)
        self.assertEqual(self.ring.holders(KEY), [0x3000])

    def test_alone(self) -> None:
        """The last member has nobody to hand anything to."""
        ring = RecordRing(0x1000)
        self.successResultOf(ring.node(0x1000).records.hand_over())


class MisplacedTests(RepairCase):
    """Records that nobody is responsible for where they are."""

    def test_goes_to_its_owner(self) -> None:
        """And from there to the replicas; then it is dropped where it was."""
        self.keep(0x1000, self.record())
        self.ring.pass_time(4 * A_ROUND_S)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])

    def test_a_former_replica_brings_what_the_others_lack(self) -> None:
        """Its owner tells it that a newcomer has taken its place, and it does not wait for rounds that never come."""
        self.spread([self.record()])
        self.ring.pass_time(A_ROUND_S)
        for place in (0x3000, 0x4000, 0x5000):
            self.ring.node(place).records.local_records.remove(KEY)
        self.ring.join(0x3800)
        self.ring.pass_time(2 * TIDY_S)
        self.assertEqual(self.ring.holders(KEY)[:4], [0x3000, 0x3800, 0x4000, 0x5000])
        self.ring.pass_time(2 * TIDY_S)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x3800, 0x4000, 0x5000])

    def test_is_kept_while_one_replica_has_not_confirmed(self) -> None:
        """Dropping needs all of them."""
        self.ring.silent.add(peer(0x6000))
        self.keep(0x1000, self.record())
        self.ring.pass_time(4 * A_ROUND_S)
        self.assertEqual(self.ring.holders(KEY), [0x1000, 0x3000, 0x4000, 0x5000])
        self.ring.silent.clear()
        self.ring.pass_time(3 * A_ROUND_S)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])

    def test_an_older_version_does_not_replace_the_newer(self) -> None:
        """A node that comes back from long ago brings nothing back."""
        self.spread([self.record(ms=WALL_MS + 5, value=b"newer")])
        self.keep(0x1000, self.record(value=b"older"))
        self.ring.pass_time(4 * A_ROUND_S)
        self.assertEqual([self.ring.value(place, KEY) for place in (0x3000, 0x4000, 0x5000, 0x6000)], [b"newer"] * 4)

    def test_a_holder_whose_owner_is_silent_keeps_its_copy(self) -> None:
        """However long: it is one of the replicas."""
        self.spread([self.record()])
        self.ring.silent.add(peer(0x3000))
        self.ring.pass_time(8 * A_ROUND_S)
        self.assertEqual(self.ring.holders(KEY), [0x3000, 0x4000, 0x5000, 0x6000])

    def test_surplus_of_few_copies_goes(self) -> None:
        """A newcomer took over the only copy: the old owner, a replica of nothing there, drops its own."""
        arc = Arc(at(0x2000), at(0x2800))
        record = self.record(key_in(arc), copies=1)
        self.keep(0x3000, record)
        self.ring.join(0x2800)
        self.ring.pass_time(4 * A_ROUND_S)
        self.assertEqual(self.ring.holders(record.key), [0x2800])

    def test_more_than_one_list_of_them(self) -> None:
        """A store full of others' records is returned piece by piece."""
        records = self.many(3_000)
        self.keep(0x1000, *records)
        self.ring.pass_time(6 * A_ROUND_S)
        self.assertEqual(self.wrong_places(records), [])


class AnsweringTests(RepairCase):
    """What others are told while they compare."""

    def test_a_leaver_takes_nothing_more(self) -> None:
        """Neither one record nor many."""
        node = self.ring.node(0x3000)
        node.records.hand_over()
        for question in (StoreAll([]), Store(body_of(self.record(), 0), 0)):
            self.assertEqual(node.tell(peer(1), question), Refused("leaving"))

    def signed(self, number: int, is_right: bool = True) -> wire.RecordBody:
        """A signed record, with a salt of its own, whose signature fits or is only well-formed."""
        writer, salt, value = Ed25519Signer(b"\1" * 32), b"%d" % number, b"value"
        signature = writer.sign(pack_record(salt, 1, sha256(value).digest())) if is_right else bytes(64)
        key = signed_key(writer.public, salt)
        return wire.RecordBody(key, value, 2, 1, b"", 60_000, 4, wire.Seal(writer.public, salt, 1, signature))

    def test_one_bad_signature_ends_the_batch(self) -> None:
        """What stands in front of it is kept, what stands behind it is not looked at; so the link ends."""
        node = self.ring.node(0x3000)
        bodies = [self.signed(1), self.signed(2, is_right=False), self.signed(3)]
        answered = node.records.replica.answer(peer(0x66), StoreAll(bodies))
        self.failureResultOf(answered, Untruthful)
        kept = [node.records.local_records.get(body.key) is not None for body in bodies]
        self.assertEqual([True, False, False], kept)

    def test_a_batch_takes_turns(self) -> None:
        """Of many signed records some are verified in each turn of the reactor."""
        node = self.ring.node(0x3000)
        bodies = [self.signed(number) for number in range(200)]
        pauses = node.records._pauses
        pause, kept = pauses.pause, [0]

        def note() -> Deferred[None]:
            kept.append(node.store.records())
            return pause()

        self.patch(pauses, "pause", note)
        answered = node.records.replica.answer(peer(0x66), StoreAll(bodies))
        self.ring.pass_time(0.1)
        kept.append(node.store.records())
        self.assertEqual((StoredAll([]), 200), (self.successResultOf(answered), kept[-1]))
        self.assertLessEqual(max(after - before for before, after in pairwise(kept)), RECORDS_PER_TURN)

    def test_a_list_of_far_more_than_it_lists(self) -> None:
        """A list for an arc in which far more is kept is refused: nobody has us look through all of it."""
        self.keep(0x3000, *self.many(LISTED_BESIDES_MAX + 1))
        node = self.ring.node(0x3000)
        self.assertEqual(Refused(TOO_MANY), node.tell(peer(0x66), HaveList(bytes(32), bytes(32), 0, b"", False)))
        self.assertEqual(Missing([], []), node.tell(peer(0x66), HaveList(bytes(32), bytes(32), 9, b"", False)))

    def test_a_few_strays_among_many(self) -> None:
        """Whoever asks for what is missing among far more asks for less at once, and learns it all the same."""
        there = self.many(4_000)
        self.keep(0x3000, *there)
        reconciling = self.ring.node(0x8000).records.reconciling
        strays = [self.record(b"%032d" % number) for number in range(5)]
        self.keep(0x8000, *strays, *there[::700])
        entries = list(self.ring.node(0x8000).store.scan(Arc(0, 0)))
        lacking = Deferred.fromCoroutine(reconciling.lacking(peer(0x3000), Arc(0, 0), 0, entries))
        while not lacking.called:
            self.ring.pass_time(0.1)
        found: list[bytes] = self.successResultOf(lacking)
        self.assertEqual({record.key for record in strays}, set(found))

    def test_copies_that_nothing_has(self) -> None:
        """A hand-over of records with more copies than any has looks at none of them."""
        self.keep(0x3000, *self.many(3_000))
        node = self.ring.node(0x3000)
        self.patch(node.store, "scan", None)
        self.assertEqual(HandedOver([], bytes(32)), node.tell(peer(0x66), HandOver(bytes(32), bytes(32), 255)))
