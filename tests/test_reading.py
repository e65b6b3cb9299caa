"""One read under way: whom to ask, and when it is enough."""

from __future__ import annotations

import re
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


NAMES = dict(zip("abcdef", REPLICAS, strict=True))
SAID = {"=": value, ":": version, "+": ended}
"""``a=1``: replica a sends the value of version 1; ``a:1``: names that version; ``a+1``: has its tombstone; ``a-``: has
nothing; ``a!``: is silent; ``~``: time passes. Behind it who is asked: ``>b`` for a value, ``?b`` for a version."""

CASES = (
    # What happens, the version that is read then (with a + its tombstone), who is behind.
    ("One round trip is enough when a majority agrees.", "a=1 b:1 c:1", "1", ""),
    ("A newer version is fetched from whoever named it; others are behind.", "a=1 b:1 c:2>c c=2", "2", "ab"),
    ("Who names a newer version and does not send it is out.", "a=1 b:1 c:2>c c!?d d:1", "1", ""),
    ("In place of a silent owner the next replica is asked for the value.", "a!>d b:1>b c:1 d=1", "1", ""),
    # A majority has met every write that a majority confirmed. Those behind the replicas keep what is left from other
    # times, and do not count in the place of slow ones before these have failed.
    ("Those who stand in for slow ones are no majority.", "c- ~>d ~>e?f e+1 f+1 a=2", "2", "c"),
    ("When the owner has nothing all others are asked for the value at once.", "a->d>b>c b- c- d=1", "1", "abc"),
    # Replicas were replaced since the last write: a majority of today's may hold one copy, from before it, while the
    # only one that took part has not spoken yet (mixed, seed 4200128).
    ("A replica without anything calls for the others.", "a->d>b>c b- c=1 d=2", "2", "abc"),
    ("Who was not needed for a majority is asked in doubt.", "a=1 b:1 c-?d d:1", "1", "c"),
    ("Doubt ends with the silence of whoever might know more.", "a=1 b:1 c-?d d!", "1", "c"),
    ("Nor is such a one waited for any longer than for two beats.", "a=1 b:1 c-?d ~?e ~", "1", "c"),
    ("When all others are silent the only copy counts.", "a=1 b!?d c!?e d!?f e! f!", "1", ""),
    ("A newer tombstone hides an older value, which a replica missed the end of.", "a+2>d b:1 c:1", "+", ""),
    ("What was put after a delete is there.", "a=3 b+2 c:3", "3", "b"),
    # A replica that is a few milliseconds ahead has the tombstone of the same version already.
    ("At its end a record lives until the last says so.", "b+1 c+1 a=1", "1", ""),
    ("The value is not asked of a replica that ended it.", "a+1>d b+1 c:1>c c+1", "+", ""),
)

OPEN = (
    ("One replica is never believed.", "a=1"),
    ("Of two that name the newest one is asked for it; while it is on its way the other waits.", "b:2>b c:2"),
    ("Members behind the replicas may keep copies since a newcomer pushed them back.", "a!>d d!>e"),
)
"""After these it is not done."""


class ReadingTests(SynchronousTestCase):
    """A reading of a record with four copies by somebody who keeps none."""

    def setUp(self) -> None:
        self.reading = Reading(REPLICAS, 4, READER)
        self.asks = self.reading.begin()

    def test_done(self) -> None:
        """It is done with the last of these steps and not before, and asks nobody but whom they name."""
        for title, steps, found, behind in CASES:
            self.follow(title, steps)
            reading, was_ended = self.reading, found == "+"
            self.assertEqual((True, was_ended), (reading.done, reading.ended), title)
            self.assertEqual(None if was_ended else record(int(found)), reading.record, title)
            if not was_ended:
                self.assertEqual([NAMES[name] for name in behind], [who for _, who in reading.behind], title)

    def test_open(self) -> None:
        """A majority has not spoken yet, or the value is on its way."""
        for title, steps in OPEN:
            self.follow(title, steps)
            self.assertEqual((False, False), (self.reading.done, self.reading.certain), title)

    def follow(self, title: str, steps: str) -> None:
        """Take the steps from the beginning, each while the reading is open; look whom each has asked."""
        self.setUp()
        for step in steps.split():
            self.assertFalse(self.reading.done, title)
            wanted = [(sign, NAMES[name]) for sign, name in re.findall(r"([>?])(.)", step)]
            asks = self.take(step)
            self.asks = self.asks + asks
            self.assertEqual(wanted, [(">" if ask.value else "?", ask.peer) for ask in asks], f"{title} {step}")
            self.assertEqual([REPLICAS.index(ask.peer) for ask in asks], [ask.rank for ask in asks], title)

    def take(self, step: str) -> list[Ask]:
        if step[0] == "~":
            return self.reading.hedge()
        last = [ask for ask in self.asks if ask.peer == NAMES[step[0]]][-1]
        if step[1] == "!":
            return self.reading.out(last)
        return self.reading.said(last, NOTHING_KEPT if step[1] == "-" else SAID[step[1]](int(step[2])))

    def tell(self, by: Peer, said: Said) -> None:
        """`by` answers the last question it was asked."""
        last = [ask for ask in self.asks if ask.peer == by][-1]
        self.asks = self.asks + self.reading.said(last, said)

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

    def test_a_replica_asked_for_its_version_gives_the_value_when_nobody_else_can(self) -> None:
        """In a ring of two the second is all there is."""
        reading = Reading(REPLICAS[:2], 4, READER)
        first, _ = reading.begin()
        self.assertEqual(reading.out(first), [Ask(SECOND, 1, True)])

    def test_nothing_is_nothing_when_all_say_so(self) -> None:
        """Then the reading is done and certain, with no record."""
        for replica in (OWNER, SECOND, THIRD, FOURTH):
            self.assertFalse(self.reading.done)
            self.tell(replica, NOTHING_KEPT)
        # Two questions each were put to the second and third; both answers came.
        for replica in (SECOND, THIRD):
            self.reading.said(Ask(replica, 0, False), NOTHING_KEPT)
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

    def test_content_needs_no_majority(self) -> None:
        """It proves itself: one honest replica is enough."""
        proof = Record(sha256(b"x").digest(), b"x", RecordKind.CONTENT, Version(1, b""), 1_000, 4)
        self.tell(OWNER, Said(precedence(proof), proof))
        self.assertTrue(self.reading.done)
        self.assertEqual(self.reading.record, proof)

    def test_an_answer_to_the_first_question_counts_while_the_second_is_out(self) -> None:
        """A late version is as good as an early one."""
        self.tell(OWNER, NOTHING_KEPT)
        self.reading.said(Ask(SECOND, 1, False), version(1))
        self.assertFalse(self.reading.done)
        self.reading.said(Ask(SECOND, 1, True), value(1))
        self.reading.said(Ask(THIRD, 2, False), version(1))
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
