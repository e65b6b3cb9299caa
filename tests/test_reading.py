"""One read under way: whom to ask, and when it is enough."""

from __future__ import annotations

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Peer
from chordtwist.core.reading import NOTHING_KEPT, REDIRECTS_MAX, Ask, Reading, Said
from chordtwist.core.records import Record, RecordKind, Version, precedence
from tests.builders import peer, peers

OWNER, SECOND, THIRD, FOURTH, FIFTH, SIXTH = REPLICAS = peers(1, 2, 3, 4, 5, 6)
READER = peer(99)


def record(ms: int, value: bytes = b"value") -> Record:
    return Record(b"k" * 32, value, RecordKind.PLAIN, Version(ms, b""), 1_000, 4)


def value(ms: int) -> Said:
    return Said(precedence(record(ms)), record(ms))


def version(ms: int) -> Said:
    return Said(precedence(record(ms)))


def ended(ms: int) -> Said:
    return Said(precedence(record(ms)), ended=True)


class ReadingTests(SynchronousTestCase):
    """A reading of a record with four copies by somebody who keeps none."""

    def setUp(self) -> None:
        self.reading = Reading(REPLICAS, 4, READER)
        self.asks = self.reading.begin()

    def tell(self, by: Peer, said: Said) -> list[Ask]:
        """`by` answers the last question it was asked."""
        return self.note(self.reading.said(self.last(by), said))

    def lose(self, by: Peer) -> list[Ask]:
        return self.note(self.reading.out(self.last(by)))

    def last(self, by: Peer) -> Ask:
        return [ask for ask in self.asks if ask.peer == by][-1]

    def note(self, asks: list[Ask]) -> list[Ask]:
        self.asks = self.asks + asks
        return asks

    def test_asks_a_majority_at_once(self) -> None:
        """The value from the owner, the versions from two others; each is told which replica it is taken for."""
        self.assertEqual(self.asks, [Ask(OWNER, 0, True), Ask(SECOND, 1, False), Ask(THIRD, 2, False)])

    def test_a_replica_asks_itself_first(self) -> None:
        """The value that lies here costs nothing; the owner is asked for its version."""
        self.assertEqual(
            Reading(REPLICAS, 4, THIRD).begin(), [Ask(THIRD, 2, True), Ask(OWNER, 0, False), Ask(SECOND, 1, False)]
        )

    def test_a_member_behind_the_replicas_is_none(self) -> None:
        """Who stands behind the last copy asks the others."""
        self.assertEqual(Reading(REPLICAS, 4, SIXTH).begin()[0], Ask(OWNER, 0, True))

    def test_the_word_of_a_majority_is_enough(self) -> None:
        """One round trip when all agree."""
        self.assertEqual(self.tell(OWNER, value(1)), [])
        self.assertEqual(self.tell(SECOND, version(1)), [])
        self.assertFalse(self.reading.done)
        self.assertEqual(self.tell(THIRD, version(1)), [])
        self.assertTrue(self.reading.done)
        self.assertEqual(self.reading.record, record(1))
        self.assertEqual(self.reading.behind, [])

    def test_one_replica_is_never_believed(self) -> None:
        """Not before a majority has spoken."""
        self.tell(OWNER, value(1))
        self.assertFalse(self.reading.done)
        self.assertFalse(self.reading.certain)

    def test_a_newer_version_elsewhere_is_fetched(self) -> None:
        """The value comes from who named it; those with an older one are behind."""
        self.tell(OWNER, value(1))
        self.tell(SECOND, version(1))
        self.assertEqual(self.tell(THIRD, version(2)), [Ask(THIRD, 2, True)])
        self.assertFalse(self.reading.done)
        self.tell(THIRD, value(2))
        self.assertTrue(self.reading.done)
        self.assertEqual(self.reading.record, record(2))
        self.assertEqual(self.reading.behind, [(0, OWNER), (1, SECOND)])

    def test_a_newer_version_that_is_not_delivered_is_not_believed(self) -> None:
        """Who names a version and does not send it is out; another one is asked in its place."""
        self.tell(OWNER, value(1))
        self.tell(SECOND, version(1))
        self.tell(THIRD, version(2))
        self.assertEqual(self.lose(THIRD), [Ask(FOURTH, 3, False)])
        self.tell(FOURTH, version(1))
        self.assertEqual(self.reading.record, record(1))

    def test_two_that_name_the_newest_are_not_both_asked_for_it(self) -> None:
        """While one is on its way to send it the other waits."""
        self.tell(SECOND, version(2))
        self.assertEqual(self.tell(THIRD, version(2)), [])
        self.assertEqual(self.last(SECOND), Ask(SECOND, 1, True))

    def test_a_silent_owner_is_replaced_at_once(self) -> None:
        """The next replica is asked for the value."""
        self.assertEqual(self.lose(OWNER), [Ask(FOURTH, 3, True)])
        self.tell(SECOND, version(1))
        self.tell(THIRD, version(1))
        self.tell(FOURTH, value(1))
        self.assertEqual(self.reading.record, record(1))

    def test_when_the_fourth_is_silent_too_the_fifth_stands_in(self) -> None:
        """Members behind the replicas may keep copies since a newcomer pushed them back."""
        self.lose(OWNER)
        self.assertEqual(self.lose(FOURTH), [Ask(FIFTH, 4, True)])

    def test_a_replica_asked_for_its_version_gives_the_value_when_nobody_else_can(self) -> None:
        """In a ring of two the second is all there is."""
        reading = Reading(REPLICAS[:2], 4, READER)
        first, _ = reading.begin()
        self.assertEqual(reading.out(first), [Ask(SECOND, 1, True)])

    def test_those_who_stand_in_for_slow_ones_are_no_majority(self) -> None:
        """With two of four replicas a write that a majority has confirmed has been met; those behind the replicas, who
        keep what is left from other times, do not count in their place before they have failed.
        """
        self.tell(THIRD, NOTHING_KEPT)
        for _ in range(2):
            self.note(self.reading.hedge())
        self.tell(FIFTH, ended(1))
        self.tell(SIXTH, ended(1))
        self.assertFalse(self.reading.done)
        self.tell(OWNER, value(2))
        self.assertTrue(self.reading.done)
        self.assertEqual(self.reading.record, record(2))

    def test_not_found_by_one_is_not_final(self) -> None:
        """When the owner has nothing, all other replicas are asked for the value at once."""
        self.assertEqual(
            self.tell(OWNER, NOTHING_KEPT), [Ask(FOURTH, 3, True), Ask(SECOND, 1, True), Ask(THIRD, 2, True)]
        )
        self.tell(SECOND, NOTHING_KEPT)
        self.tell(THIRD, NOTHING_KEPT)
        self.assertFalse(self.reading.done)
        self.tell(FOURTH, value(1))
        self.assertEqual(self.reading.record, record(1))
        self.assertEqual([replica for _, replica in self.reading.behind], [OWNER, SECOND, THIRD])

    def test_a_replica_without_anything_calls_for_the_others(self) -> None:
        """Replicas were replaced since the last write: a majority of today's may hold one copy, from before it, while
        the only one that took part has not spoken yet (mixed, seed 4200128).
        """
        self.tell(OWNER, NOTHING_KEPT)
        self.tell(SECOND, NOTHING_KEPT)
        self.tell(THIRD, value(1))
        self.assertFalse(self.reading.done)
        self.tell(FOURTH, value(2))
        self.assertTrue(self.reading.done)
        self.assertEqual(self.reading.record, record(2))

    def test_who_was_not_needed_for_a_majority_is_asked_in_doubt(self) -> None:
        """A majority would do if the third kept something."""
        self.tell(OWNER, value(1))
        self.tell(SECOND, version(1))
        self.assertEqual(self.tell(THIRD, NOTHING_KEPT), [Ask(FOURTH, 3, False)])
        self.assertFalse(self.reading.done)
        self.tell(FOURTH, version(1))
        self.assertTrue(self.reading.done)

    def test_doubt_ends_with_the_silence_of_the_others(self) -> None:
        """Nobody who might know more is left, or such a one is not waited for any longer."""
        for give_up in (lambda: self.lose(FOURTH), lambda: self.hedge() + self.hedge()):
            self.setUp()
            self.tell(OWNER, value(1))
            self.tell(SECOND, version(1))
            self.tell(THIRD, NOTHING_KEPT)
            self.assertFalse(self.reading.done)
            give_up()
            self.assertTrue(self.reading.done)
            self.assertEqual(self.reading.record, record(1))

    def hedge(self) -> list[Ask]:
        return self.note(self.reading.hedge())

    def test_nothing_is_nothing_when_all_say_so(self) -> None:
        """Then the reading is done and certain, with no record."""
        for replica in (OWNER, SECOND, THIRD, FOURTH):
            self.assertFalse(self.reading.done)
            self.tell(replica, NOTHING_KEPT)
        # Two questions each were put to the second and third; both answers came.
        for replica in (SECOND, THIRD):
            self.note(self.reading.said(Ask(replica, 0, False), NOTHING_KEPT))
        self.assertTrue(self.reading.done)
        self.assertTrue(self.reading.certain)
        self.assertIsNone(self.reading.record)

    def test_silence_of_many_is_not_certain(self) -> None:
        """When nobody is left to be asked it is done, but not certain."""
        asks = self.asks
        while asks:
            asks = asks[1:] + self.reading.out(asks[0])
        self.assertTrue(self.reading.done)
        self.assertFalse(self.reading.certain)
        self.assertIsNone(self.reading.record)

    def test_what_few_have_is_better_than_nothing(self) -> None:
        """When all others are silent the only copy counts."""
        self.tell(OWNER, value(1))
        for replica in (SECOND, THIRD, FOURTH, FIFTH, SIXTH):
            self.assertFalse(self.reading.done)
            self.lose(replica)
        self.assertTrue(self.reading.done)
        self.assertEqual(self.reading.record, record(1))

    def test_a_newer_tombstone_hides_an_older_value(self) -> None:
        """A value that a replica missed the end of does not come back."""
        self.tell(OWNER, ended(2))
        self.tell(SECOND, version(1))
        self.tell(THIRD, version(1))
        self.assertTrue(self.reading.done)
        self.assertTrue(self.reading.ended)
        self.assertIsNone(self.reading.record)

    def test_an_old_tombstone_hides_nothing(self) -> None:
        """What was put after a delete is there."""
        self.tell(OWNER, value(3))
        self.tell(SECOND, ended(2))
        self.tell(THIRD, version(3))
        self.assertFalse(self.reading.ended)
        self.assertEqual(self.reading.record, record(3))
        self.assertEqual(self.reading.behind, [(1, SECOND)])

    def test_at_its_end_a_record_lives_until_the_last_says_so(self) -> None:
        """A replica that is a few milliseconds ahead has the tombstone of the same version already."""
        self.tell(SECOND, ended(1))
        self.tell(THIRD, ended(1))
        self.tell(OWNER, value(1))
        self.assertEqual(self.reading.record, record(1))

    def test_the_value_is_not_asked_of_a_replica_that_ended_it(self) -> None:
        """At the end of a record some have its tombstone already: the value comes from one that still has it."""
        self.tell(OWNER, ended(1))
        self.tell(SECOND, ended(1))
        self.assertEqual(self.tell(THIRD, version(1)), [Ask(THIRD, 2, True)])
        self.assertEqual(self.tell(THIRD, ended(1)), [])
        self.assertTrue(self.reading.done)
        self.assertIsNone(self.reading.record)

    def test_content_needs_no_majority(self) -> None:
        """It proves itself: one honest replica is enough."""
        proof = Record(sha256(b"x").digest(), b"x", RecordKind.CONTENT, Version(1, b""), 1_000, 4)
        self.tell(OWNER, Said(precedence(proof), proof))
        self.assertTrue(self.reading.done)
        self.assertEqual(self.reading.record, proof)

    def test_an_answer_to_the_first_question_counts_while_the_second_is_out(self) -> None:
        """A late version is as good as an early one."""
        self.tell(OWNER, NOTHING_KEPT)
        self.note(self.reading.said(Ask(SECOND, 1, False), version(1)))
        self.assertFalse(self.reading.done)
        self.note(self.reading.said(Ask(SECOND, 1, True), value(1)))
        self.note(self.reading.said(Ask(THIRD, 2, False), version(1)))
        self.assertEqual(self.reading.record, record(1))


class OwnerBeforeTests(SynchronousTestCase):
    """Replicas that are none, or others than we knew."""

    def setUp(self) -> None:
        self.reading = Reading(REPLICAS, 4, READER)
        self.asks = self.reading.begin()

    def test_the_true_owner_is_asked(self) -> None:
        """It takes the first place; who named it is asked again, as the second."""
        newcomer = peer(0)
        self.assertEqual(self.reading.not_mine(self.asks[0], newcomer), [Ask(newcomer, 0, True), Ask(OWNER, 1, False)])
        self.reading.said(Ask(newcomer, 0, True), value(1))
        self.reading.said(Ask(OWNER, 1, False), version(1))
        self.assertFalse(self.reading.done)
        self.reading.said(self.asks[1], version(1))
        self.assertEqual(self.reading.record, record(1))

    def test_known_ones_are_no_news(self) -> None:
        """Who names one that stands behind him is out."""
        self.assertEqual(self.reading.not_mine(self.asks[0], SECOND), [Ask(FOURTH, 3, True)])

    def test_redirects_are_bounded(self) -> None:
        """Nobody leads us around for ever."""
        ask = self.asks[0]
        for place in range(100, 100 + REDIRECTS_MAX):
            ask = self.reading.not_mine(ask, peer(place))[0]
        self.assertNotIn(peer(200), [further.peer for further in self.reading.not_mine(ask, peer(200))])

    def test_a_fresh_route_asks_only_who_has_not_spoken(self) -> None:
        """Whoever was silent is asked again, whoever said something is not."""
        asks = self.reading.said(self.asks[0], NOTHING_KEPT) + self.asks[1:]
        while asks:
            asks = asks[1:] + self.reading.out(asks[0])
        self.assertTrue(self.reading.done)
        asks = self.reading.renew(peers(0, 1, 2, 3))
        self.assertFalse(self.reading.done)
        self.assertEqual([ask.peer for ask in asks], list(peers(0, 2, 3)))


class HedgeTests(SynchronousTestCase):
    """Time passes without enough answers."""

    def setUp(self) -> None:
        self.reading = Reading(REPLICAS[:5], 4, READER)
        self.asks = self.reading.begin()

    def test_the_next_replica_is_asked_too(self) -> None:
        """For the value, while there is none; at the next beat two more, one of them for its version, then four."""
        reading = Reading(peers(*range(1, 12)), 4, READER)
        reading.begin()
        self.assertEqual(reading.hedge(), [Ask(FOURTH, 3, True)])
        self.assertEqual(reading.hedge(), [Ask(FIFTH, 4, True), Ask(SIXTH, 5, False)])
        self.assertEqual([ask.rank for ask in reading.hedge()], [6, 7, 8, 9])
        self.assertEqual([ask.rank for ask in reading.hedge()], [10])

    def test_who_is_awaited(self) -> None:
        """Whoever was asked and has not answered, each once, though it was asked for version and value."""
        self.assertEqual(self.reading.awaited, [ask.peer for ask in self.asks])
        self.reading.out(self.asks[0])
        for _ in range(3):
            self.reading.hedge()
        self.assertEqual(self.reading.awaited, [SECOND, THIRD, FOURTH, FIFTH])

    def test_then_those_asked_for_their_version_are_asked_for_the_value(self) -> None:
        """When nobody new is left."""
        self.assertEqual(self.reading.hedge(), [Ask(FOURTH, 3, True)])
        self.assertEqual(self.reading.hedge(), [Ask(FIFTH, 4, True)])
        self.assertEqual(self.reading.hedge(), [Ask(SECOND, 1, True), Ask(THIRD, 2, True)])
        self.assertEqual(self.reading.hedge(), [])

    def test_with_the_value_in_hand_only_versions_are_missing(self) -> None:
        """One more majority member is asked for its version; when nobody is left, nothing."""
        self.reading.said(self.asks[0], value(1))
        self.assertEqual(self.reading.hedge(), [Ask(FOURTH, 3, False)])
        self.assertEqual(self.reading.hedge(), [Ask(FIFTH, 4, False)])
        self.assertEqual(self.reading.hedge(), [])

    def test_a_reading_that_is_done_asks_nobody(self) -> None:
        """It is over."""
        self.reading.said(self.asks[0], value(1))
        self.reading.said(self.asks[1], version(1))
        self.reading.said(self.asks[2], version(1))
        self.assertEqual(self.reading.hedge(), [])
