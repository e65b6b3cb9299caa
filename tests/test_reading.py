"""One read under way: whom to ask, and when it is enough."""

from __future__ import annotations

import re
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.claims import NOTHING_KEPT, Forgotten, Said, is_denied_by
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.reading import AS_PUBLISHER, Ask, Reading
from chordtwist.core.records import Record, RecordKind, Seal, Version, precedence
from tests.builders import IDENTITY, at, peer, peers

OWNER, SECOND, THIRD, FOURTH, FIFTH, SIXTH = REPLICAS = peers(1, 2, 3, 4, 5, 6)
PUBLISHER = peer(80)
READER = peer(99)


def record(ms: int, value: bytes = b"value", publisher: Peer = PUBLISHER) -> Record:
    return Record(b"k" * 32, value, RecordKind.PLAIN, Version(ms, publisher.packed), 1_000, 4)


def reading_of(*replicas: Peer, me: Peer = READER) -> Reading:
    """A read of a record with four copies, whose key is at 0."""
    return Reading(Route(at(0), replicas), 4, me, IDENTITY.unpack)


def value(ms: int) -> Said:
    return Said(precedence(record(ms)), record(ms), digest=DIGEST)


def version(ms: int) -> Said:
    return Said(precedence(record(ms)), digest=DIGEST)


def altered(ms: int) -> Said:
    return Said(precedence(record(ms)), record(ms, b"altered"), digest=sha256(b"altered").digest())


def ended(ms: int) -> Said:
    return Said(precedence(record(ms)), ended=True)


DIGEST = sha256(b"value").digest()
NAMES = {**dict(zip("abcdef", REPLICAS, strict=True)), "p": PUBLISHER}
SAID = {"=": value, ":": version, "+": ended, "*": altered}
"""``a=1``: replica a sends the value of version 1; ``a:1``: names that version; ``a*1``: sends another value as that
version; ``a+1``: has its tombstone; ``a-``: has nothing; ``a!``: is silent; ``p``: the publisher of all; ``p-``: it has
put none of these; ``p.1``: it has forgotten what it put up to version 1; ``~``: time passes. Behind it who is asked:
``>b`` for a value, ``?b`` for a version."""

CASES = (
    # What happens, the version that is read then (with a + its tombstone, with a - nothing), who is behind.
    ("One round trip is enough when a majority agrees.", "a=1 b:1 c:1", "1", ""),
    ("A newer version that its publisher confirms counts; others are behind.", "a=1 b:1 c:2?d?p p:2>c c=2", "2", "ab"),
    ("So does one that all others have, unless its publisher denies it.", "a=1 b:2>d c:2?p d=2 p:2", "2", "a"),
    ("A publisher that has forgotten does not.", "a=1 b:2>d c:2?p d=2 p.2", "2", "a"),
    ("One that is silent is waited for no longer than for two beats.", "a=1 b:2>d c:2?p d=2 ~?e ~", "2", "a"),
    ("A replica's own put needs nobody else.", "a=1 b:1 c:2?d?p d:1 p=2", "2", "abd"),
    ("The value of a version that has a majority is fetched.", "a!>d b:2 c:2 d:2>b b=2", "2", ""),
    ("In place of a silent owner the next replica is asked for the value.", "a!>d b:1 c:1 d=1", "1", ""),
    # One liar, who names the publisher, another one, or nobody.
    ("A version that its publisher has not put is none.", "a*2 b:1 c:1?d?p p:1>b b=1", "1", ""),
    ("Nor one that it would remember.", "a*2 b:1 c:1?d?p p.1 d:1>b b=1", "1", ""),
    ("Nor one of a publisher that has forgotten, against a majority.", "a*2 b:1 c:1?d?p p.2 d:1>b b=1", "1", ""),
    ("Nor one of a silent publisher.", "a*2 b:1 c:1?d?p p! d:1>b b=1", "1", ""),
    ("A majority has another value as that version.", "a*1 b:1>d c:1?p d=1 p:1", "1", "a"),
    ("A tombstone is a version as others are.", "a+2>d b:1 c:1?p d=1 p:1", "1", ""),
    ("What nobody put is not read, though nobody else has anything.", "a*2 b-?d c-?p d- p.0", "-", ""),
    # Most are liars: the publisher is believed, if they leave anybody in doubt.
    ("No majority speaks in its publisher's name.", "a=1 b*2 c*2?d?p d*2 p:1", "1", ""),
    ("Nor for one that would remember.", "a=1 b*2 c*2?d?p d*2 p.1", "1", ""),
    ("Nor ends anything in it.", "a=1 b+2>d c+2?p d+2 p:1", "1", ""),
    # A majority has met every write that a majority confirmed. Those behind the replicas keep what is left from other
    # times, and do not count in the place of slow ones before these have failed.
    ("Those who stand in for slow ones are no majority.", "c- ~>d ~>e?f e+1 f+1?p a=2 p!", "2", ""),
    ("When the owner has nothing all others are asked for the value at once.", "a->d>b>c b- c- d=1?p p:1", "1", "abc"),
    # Replicas were replaced since the last write: a majority of today's may hold one copy, from before it, while the
    # only one that took part has not spoken yet (mixed, seed 4200128).
    ("A replica without anything calls for the others.", "a->d>b>c b- c=1?p d=2 p:2", "2", "abc"),
    ("Without their publisher what is newest counts.", "a->d>b>c b- c=1?p d=2 p.2", "2", ""),
    ("Who was not needed for a majority is asked in doubt.", "a=1 b:1 c-?d?p d:1", "1", "c"),
    ("Doubt ends with the publisher's word.", "a=1 b:1 c-?d?p p:1", "1", "c"),
    ("Nobody is waited for any longer than for two beats.", "a=1 b:1 c-?d?p ~?e ~", "1", ""),
    ("When all others are silent the only copy counts.", "a=1 b!?d c!?e d!?f e! f!?p p!", "1", ""),
    ("A newer tombstone that its publisher confirms hides an older value.", "a+2>d b:1 c:1?p p+2", "+", ""),
    ("What was put after a delete is there.", "a=3 b+2 c:3?d?p d:3 p:3", "3", "b"),
    # A replica that is a few milliseconds ahead has the tombstone of the same version already.
    ("At its end a record lives until a majority says so.", "b+1 c+1 a=1", "1", ""),
    ("The value is not asked of a replica that ended it.", "a+1>d b+1 c:1>c c+1", "+", ""),
    ("No one replica keeps a record beyond its end.", "a=1 b+1 c+1", "1", ""),
)

OPEN = (
    ("One replica is never believed.", "a=1"),
    ("Nor are two.", "b:2 c:2"),
    ("Members behind the replicas may keep copies since a newcomer pushed them back.", "a!>d d!>e"),
)
"""After these it is not done."""


class ReadingTests(SynchronousTestCase):
    """A reading of a record with four copies by somebody who keeps none."""

    def setUp(self) -> None:
        self.reading = reading_of(*REPLICAS)
        self.asks = self.reading.begin()

    def test_done(self) -> None:
        """It is done with the last of these steps and not before, and asks nobody but whom they name."""
        for title, steps, found, behind in CASES:
            self.follow(title, steps)
            reading, was_ended = self.reading, found == "+"
            self.assertEqual((True, was_ended), (reading.done, reading.ended), title)
            self.assertEqual(record(int(found)) if found.isdigit() else None, reading.record, title)
            told = [who for _, who in reading.behind] if reading.believed and reading.record is not None else []
            self.assertEqual([NAMES[name] for name in behind], told, title)

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
            ranks = [AS_PUBLISHER if ask.peer == PUBLISHER else REPLICAS.index(ask.peer) for ask in asks]
            self.assertEqual(ranks, [ask.rank for ask in asks], title)

    def take(self, step: str) -> list[Ask]:
        if step[0] == "~":
            return self.reading.hedge()
        last = [ask for ask in self.asks if ask.peer == NAMES[step[0]]][-1]
        if step[1] == "!":
            return self.reading.out(last)
        if step[1] == ".":
            return self.reading.forgotten(last, Forgotten(int(step[2])))
        return self.reading.said(last, NOTHING_KEPT if step[1] == "-" else SAID[step[1]](int(step[2])))

    def tell(self, by: Peer, said: Said) -> None:
        """`by` answers the last question it was asked."""
        last = [ask for ask in self.asks if ask.peer == by][-1]
        self.asks = self.asks + self.reading.said(last, said)

    def test_a_publishers_old_copy(self) -> None:
        """What a publisher keeps from another time, behind the replicas, is not what it says to have put last."""
        reading = self.reading = reading_of(OWNER, SECOND, THIRD, FOURTH, PUBLISHER)
        self.asks = reading.begin()
        self.tell(OWNER, version(2))
        self.tell(SECOND, version(2))
        self.tell(THIRD, version(3))
        (behind,) = reading.hedge()
        self.assertEqual(behind, Ask(PUBLISHER, 4, True))
        reading.said(Ask(PUBLISHER, AS_PUBLISHER, False), version(3))
        reading.said(behind, value(1))
        self.assertFalse(reading.done)
        reading.said(Ask(THIRD, 2, True), value(3))
        self.assertEqual((True, True, record(3)), (reading.done, reading.believed, reading.record))

    def test_an_older_put_that_is_confirmed(self) -> None:
        """Where a publisher is silent, what a majority keeps or has replaced goes before what another says to have put
        before it.
        """
        other = peer(81)
        older = Said(precedence(record(1, publisher=other)), record(1, publisher=other), digest=DIGEST)
        reading = self.reading = reading_of(*REPLICAS)
        self.asks = reading.begin()
        self.tell(OWNER, value(2))
        self.tell(THIRD, version(2))
        self.asks += reading.hedge()
        self.tell(FOURTH, version(3))
        self.asks += reading.hedge()
        self.tell(FIFTH, older)
        reading.said(Ask(other, AS_PUBLISHER, False), older)
        self.assertFalse(reading.done)
        reading.hedge()
        self.assertEqual((True, False, record(2)), (reading.done, reading.believed, reading.record))

    def test_a_publisher_that_is_a_replica(self) -> None:
        """What it keeps of its own needs nobody else, where nobody says to have something newer by it."""
        for newer, found in ((False, 1), (True, 2)):
            reading = self.reading = reading_of(OWNER, SECOND, PUBLISHER, FOURTH)
            self.asks = reading.begin()
            self.tell(PUBLISHER, version(1))
            self.tell(SECOND, version(2) if newer else version(0))
            self.tell(OWNER, value(found))
            if newer:
                self.assertIn(Ask(PUBLISHER, AS_PUBLISHER, False), self.asks)
                self.tell(PUBLISHER, version(2))
            self.assertEqual((True, True, record(found)), (reading.done, reading.believed, reading.record))
            self.assertTrue(reading.has_publishers_word)

    def test_a_publisher_that_keeps_a_forgery(self) -> None:
        """What it was asked about as the publisher it knows; a copy there may come from anybody."""
        true, forged = record(1, publisher=FOURTH), record(2, b"altered", FOURTH)
        as_said = Said(precedence(forged), forged, digest=sha256(b"altered").digest())
        for ask, said in zip(self.asks, (Said(precedence(true), true, digest=DIGEST), as_said, as_said), strict=True):
            asked = self.reading.said(ask, said)
        as_publisher = next(ask for ask in asked if ask.rank == AS_PUBLISHER)
        as_replica = next(ask for ask in asked if ask.rank == 3)
        self.reading.said(as_publisher, Said(precedence(true), digest=DIGEST))
        self.reading.said(as_replica, as_said)
        self.assertEqual((True, true), (self.reading.done, self.reading.record))

    def test_asks_a_majority_at_once(self) -> None:
        """The value from the owner, the versions from two others; each is told which replica it is taken for."""
        self.assertEqual(self.asks, [Ask(OWNER, 0, True), Ask(SECOND, 1, False), Ask(THIRD, 2, False)])

    def test_a_replica_asks_itself_first(self) -> None:
        """The value that lies here costs nothing; the owner is asked for its version."""
        self.assertEqual(
            reading_of(*REPLICAS, me=THIRD).begin(), [Ask(THIRD, 2, True), Ask(OWNER, 0, False), Ask(SECOND, 1, False)]
        )

    def test_a_member_behind_the_replicas_is_none(self) -> None:
        """Who stands behind the last copy asks the others."""
        self.assertEqual(reading_of(*REPLICAS, me=SIXTH).begin()[0], Ask(OWNER, 0, True))

    def test_a_replica_asked_for_its_version_gives_the_value_when_nobody_else_can(self) -> None:
        """In a ring of two the second is all there is."""
        reading = reading_of(*REPLICAS[:2])
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

    def test_all_have_spoken(self) -> None:
        """When all replicas have, nobody is waited for, though one has nothing and is asked twice."""
        key = sha256(b"k").digest()
        proof = Record(key, b"x", RecordKind.SIGNED, Version(1, b""), 1_000, 4, Seal(bytes(32), b"", 1, bytes(64)))
        self.tell(OWNER, NOTHING_KEPT)
        self.reading.said(Ask(SECOND, 1, True), Said(precedence(proof), proof))
        self.reading.said(Ask(THIRD, 2, True), Said(precedence(proof), proof))
        self.assertFalse(self.reading.done)
        self.reading.said(Ask(FOURTH, 3, True), Said(precedence(proof), proof))
        self.assertEqual((True, proof), (self.reading.done, self.reading.record))

    def test_denials(self) -> None:
        """A publisher that remembers another version denies this one; with nothing to say it does not, nor with the
        same.
        """
        for word, denies in (
            (version(2), False),
            (ended(2), False),
            (NOTHING_KEPT, False),
            (version(1), True),
            (version(3), True),
            (altered(2), True),
            (Forgotten(1), True),
            (Forgotten(2), False),
        ):
            self.assertEqual(is_denied_by(word, version(2)), denies, word)

    def test_an_answer_to_the_first_question_counts_while_the_second_is_out(self) -> None:
        """A late version is as good as an early one."""
        self.tell(OWNER, NOTHING_KEPT)
        self.reading.said(Ask(SECOND, 1, False), version(1))
        self.assertFalse(self.reading.done)
        self.reading.said(Ask(SECOND, 1, True), value(1))
        self.reading.said(Ask(THIRD, 2, False), version(1))
        self.assertEqual(self.reading.record, record(1))


class FreshRouteTests(SynchronousTestCase):
    """The ring was searched for the replicas once more."""

    def setUp(self) -> None:
        self.reading = reading_of(*REPLICAS)
        self.asks = self.reading.begin()

    def test_asks_only_who_has_not_spoken(self) -> None:
        """Whoever was silent is asked again, whoever said something is not."""
        asks = self.reading.said(self.asks[0], NOTHING_KEPT) + self.asks[1:]
        while asks:
            asks = asks[1:] + self.reading.out(asks[0])
        self.assertTrue(self.reading.done)
        asks = self.reading.renew(Route(at(0), REPLICAS))
        self.assertFalse(self.reading.done)
        self.assertEqual([ask.peer for ask in asks], [SECOND, THIRD, FOURTH])

    def test_waits_for_nobody_that_may_have_answered(self) -> None:
        """Answers are not taken while the ring is searched: so whoever owes one is asked again."""
        asks = self.reading.renew(Route(at(0), REPLICAS))
        self.assertEqual([ask.peer for ask in asks], [ask.peer for ask in self.asks])

    def test_whose_replicas(self) -> None:
        """Those behind the replicas may be others, and one before them may not."""
        self.assertTrue(self.reading.is_of(Route(at(0), REPLICAS[:4])))
        self.assertFalse(self.reading.is_of(Route(at(0), peers(0, 1, 2, 3))))


class HedgeTests(SynchronousTestCase):
    """Time passes without enough answers."""

    def setUp(self) -> None:
        self.reading = reading_of(*REPLICAS[:5])
        self.asks = self.reading.begin()

    def test_the_next_replica_is_asked_too(self) -> None:
        """For the value, while there is none; at the next beat two more, one of them for its version, then four."""
        reading = reading_of(*peers(*range(1, 12)))
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
