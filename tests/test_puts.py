"""`Puts` and `Publisher`: a put on its way to replicas that fail in every way, and looked after until its end."""

from __future__ import annotations

import gc

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver

from chordtwist.core.errors import Refused, StoreFull, Unreachable
from chordtwist.core.records import (
    PutResult,
    Record,
    Version,
    Versioned,
    position_of,
)
from chordtwist.core.ring import Arc
from chordtwist.core.versions import FOLLOWED_MS_MAX
from chordtwist.node.records.publication import Publication
from chordtwist.node.records.publishing import LOOK_AFTER_S
from chordtwist.node.records.puts import OWNER_WITHIN_S, OWNERS_MAX
from chordtwist.node.records.record_bodies import body_of
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import Answer, Fetch, NotMine, Question, Store
from tests.builders import at, peer
from tests.record_ring import DELAY_S, WALL_MS, RecordRing, key_in
from tests.ring_case import A_MOMENT_S, EIGHT, KEY, OUTSIDER, OWNED, ROUND_TRIP_S, RingCase


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

    def test_is_read_on_the_same_node(self) -> None:
        """Before any replica has answered, and although none ever will."""
        self.put(OUTSIDER)
        self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S), b"value")
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.silent.add(peer(place))
        self.put(OUTSIDER, value=b"another")
        self.assertEqual(self.value_at(OUTSIDER, within_s=5.1), b"another")

    def test_is_overtaken_on_the_same_node(self) -> None:
        """What somebody has put later, and has confirmed, is read also where an earlier put is on its way yet."""
        self.ring.silent = {peer(0x4000), peer(0x5000)}
        result = self.put(OUTSIDER)
        self.ring.pass_time(1)
        self.assertNoResult(result)
        self.ring.silent = set()
        self.put_and_wait(0x1000, value=b"later")
        self.assertNoResult(result)
        self.assertEqual(self.value_at(OUTSIDER), b"later")

    def test_copies_are_a_hint(self) -> None:
        """One copy is one; more than the members of a successor list is cut."""
        key = key_in(OWNED, 1)
        self.assertEqual(self.put_and_wait(OUTSIDER, key, copies=1).wanted, 1)
        self.assertEqual(self.ring.holders(key), [0x3000])
        self.assertEqual(self.put_and_wait(OUTSIDER, copies=200).wanted, 16)
        self.assertEqual(len(self.ring.holders(KEY)), 8)

    def test_no_replica_is_needed_more_than_another(self) -> None:
        """Three of four make a put in one round trip, whoever says nothing, but that a silent owner is waited for once
        for a second; every member reads it then, the silent one too.
        """
        for number, silent in enumerate((0x3000, 0x4000, 0x6000)):
            key, again = key_in(OWNED, number), key_in(OWNED, number + 3)
            self.ring.silent = {peer(silent)}
            for waits_s, one in ((OWNER_WITHIN_S if silent == 0x3000 else 0, key), (0, again)):
                result = self.put(OUTSIDER, one)
                self.ring.pass_time(waits_s + ROUND_TRIP_S - A_MOMENT_S)
                self.assertNoResult(result)
                self.ring.pass_time(2 * A_MOMENT_S)
                self.assertEqual(self.successResultOf(result).copies, 3)
            self.ring.silent.clear()
            self.assertEqual([self.value_at(place, key) for place in EIGHT], [b"value"] * 8)

    def test_an_owner_that_was_searched_for_is_not_waited_for(self) -> None:
        """It has just said itself that it is the owner."""
        self.ring.knows_routes = False
        self.ring.silent = {peer(0x3000)}
        result = self.put(OUTSIDER)
        self.ring.pass_time(2 * ROUND_TRIP_S + A_MOMENT_S)
        self.assertEqual(self.successResultOf(result).copies, 3)

    def test_stops_while_it_waits_for_the_owner(self) -> None:
        """Nothing is left of it."""
        self.ring.silent = {peer(0x3000)}
        result = self.put(OUTSIDER)
        self.ring.pass_time(OWNER_WITHIN_S / 2)
        self.ring.node(OUTSIDER).records.stop()
        self.failureResultOf(result, Unreachable)
        self.ring.pass_time(OWNER_WITHIN_S)

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
        """A newcomer owns the key and the writer does not know it: it is searched for, and has it."""
        newcomer = self.ring.join(0x2FFF)
        key = key_in(Arc(at(0x2000), at(0x2FFF)))
        writer = self.ring.node(OUTSIDER)
        writer.view = [peer(place) for place in EIGHT]
        result = self.put(OUTSIDER, key)
        self.ring.pass_time(4 * ROUND_TRIP_S + A_MOMENT_S)
        self.assertGreaterEqual(self.successResultOf(result).copies, 3)
        self.assertIsNotNone(newcomer.records.local_records.get(key))

    def test_no_owner_by_its_own_word(self) -> None:
        """Whom a replica names before itself gets nothing, and counts for nothing, where no search names him: another
        keeps it in the place of that replica, even where it is the owner.
        """
        for liar, most in ((0x3000, 3), (0x4000, 1)):
            self.ring = RecordRing(*EIGHT)
            self.ring.lies[peer(liar)] = lambda question: (
                NotMine(peer(0x2800).packed) if isinstance(question, Store) else None
            )
            result = self.put(OUTSIDER)
            self.ring.pass_time(1)
            self.assertGreaterEqual(self.successResultOf(result).copies, 3)
            replicas = {0x3000, 0x4000, 0x5000, 0x6000, 0x7000} - {liar}
            self.assertEqual({*self.ring.holders(KEY)} - {liar}, replicas)
            asked = [to for to, question in self.ring.node(OUTSIDER).asked if isinstance(question, Store)]
            self.assertNotIn(peer(0x2800), asked)
            self.assertLessEqual(asked.count(peer(liar)), most)

    def test_newcomers_before_a_stale_owner(self) -> None:
        """A few or many: it is confirmed where readers look for it, not by those who kept it before they came."""
        for newcomers in (3, OWNERS_MAX + 2):
            self.ring = RecordRing(*EIGHT)
            writer = self.ring.node(OUTSIDER)
            writer.view = [peer(place) for place in EIGHT]
            for nearer in range(newcomers):
                self.ring.join(0x2FFF - nearer)
            key = key_in(Arc(at(0x2000), at(0x2FFF - newcomers)))
            result = self.put(OUTSIDER, key)
            for _ in range(100):
                self.ring.pass_time(DELAY_S)
                if result.called:
                    break
            self.successResultOf(result)
            replicas = self.ring.replicas(key)
            self.assertGreaterEqual(len({*self.ring.holders(key)} & {*replicas}), 3)
            self.assertEqual(self.value_at(0x7000, key), b"value")

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

    def test_what_was_refused_denies_nothing(self) -> None:
        """A node that forgets a put does not say that it has not put the one before: where another replica says
        something else it would be believed.
        """
        self.ring.pass_time(FOLLOWED_MS_MAX / 1000)
        self.put_and_wait(OUTSIDER, value=b"confirmed")
        self.keep(0x4000, self.record(0, b"older"))
        self.ring.node(OUTSIDER).skew_ms = 90_000
        self.failureResultOf(self.put_later(OUTSIDER, b"refused"), Refused)
        self.ring.node(OUTSIDER).skew_ms = 0
        self.assertEqual(self.value_at(0x1000), b"confirmed")

    def put_later(self, place: int, value: bytes) -> Deferred[PutResult]:
        result = self.put(place, value=value)
        self.ring.pass_time(1)
        return result

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

    def test_does_not_end_on_one_word(self) -> None:
        """A replica that says to have a newer one, when it is put or when it is looked after, ends nothing."""
        later = Version(WALL_MS + 10_000, peer(0x1000).packed)
        body = body_of(replace(self.record(value=b"forged"), version=later), 0)

        def lie(question: Question) -> Answer | None:
            if isinstance(question, Store):
                return wire.Refused("newer", later.ms, later.publisher)
            return wire.Found(body) if isinstance(question, Fetch) else None

        self.ring.lies[peer(0x3000)] = lie
        self.put_and_wait(OUTSIDER)
        self.ring.pass_time(100)
        self.assertEqual(len(self.ring.node(OUTSIDER).records.publisher), 1)

    def test_asks_another_replica_each_time(self) -> None:
        """So that an owner which has dropped it, and says that it has not, is found out."""
        self.put_and_wait(OUTSIDER, ttl_s=3600)
        self.ring.node(OUTSIDER).asked.clear()
        self.ring.pass_time(1000)
        asked = [to for to, question in self.ring.node(OUTSIDER).asked if isinstance(question, Fetch)]
        self.assertEqual(asked[:4], [peer(place) for place in (0x3000, 0x4000, 0x5000, 0x6000)])

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
