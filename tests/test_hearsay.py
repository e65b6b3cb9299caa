"""`Doubts`: what one node brings that another has put, at a replica that looks before it believes."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from chordtwist.core.costs import unmetered
from chordtwist.core.records import Record, Tombstone, Version
from chordtwist.node.records.hearsay import Doubts
from chordtwist.node.records.incoming import Taken
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.record_bodies import body_of
from chordtwist.wire.peer_messages import Answer, Question, Refused, Store, StoreAll, Stored, StoredAll
from tests.builders import peer
from tests.record_ring import WALL_MS, RecordRing
from tests.ring_case import EIGHT, KEY, OUTSIDER, RingCase

LIAR = 0x4000
REPLICA = 0x5000
LATER = Version(WALL_MS + 40_000, peer(OUTSIDER).packed)


class DoubtsTests(RingCase):
    """A value of `OUTSIDER` is in place; `LIAR`, one of its replicas, brings something in the name of others."""

    def setUp(self) -> None:
        super().setUp()
        self.put_and_wait(OUTSIDER)
        here = self.ring.node(REPLICA).records.local_records.get(KEY)
        assert isinstance(here, Record)
        self.true = here

    def brings(self, versioned: Record | Tombstone, by: int = LIAR) -> Answer:
        """What `REPLICA` answers when that is stored there; the same alone as in a batch."""
        body = body_of(versioned, self.ring.node(REPLICA).records.local_records.now_ms())
        alone, among = (self.asked(by, question) for question in (Store(body, 2), StoreAll([body])))
        self.assertEqual(among, StoredAll([] if isinstance(alone, Stored) else [0]))
        return alone

    def asked(self, by: int, question: Question) -> Answer:
        answer: Deferred[Answer] = self.ring.node(REPLICA).records.replica.answer(peer(by), question)
        self.ring.pass_time(8)
        return self.successResultOf(answer)

    def here(self) -> Record | Tombstone | None:
        return self.ring.node(REPLICA).records.local_records.get(KEY)

    def test_nobody_writes_in_anothers_name(self) -> None:
        """Its publisher has not put it: neither a newer value, nor an end, nor another value as the same version."""
        for forged in (
            replace(self.true, value=b"forged", version=LATER),
            replace(self.true, value=b"forged"),
            Tombstone(KEY, LATER, self.true.expiry_ms, 4),
        ):
            self.assertEqual(self.brings(forged), Refused("doubted"), forged)
            self.assertEqual(self.here(), self.true)

    def test_a_publisher_that_nobody_reaches(self) -> None:
        """Nor in the name of one that cannot be asked: most replicas have another value."""
        silent = Version(LATER.ms, peer(0x1000).packed)
        self.ring.silent.add(peer(0x1000))
        self.assertEqual(self.brings(replace(self.true, value=b"forged", version=silent)), Refused("doubted"))
        self.assertEqual(self.here(), self.true)

    def test_nobody_ends_it_early(self) -> None:
        """A copy of the version that is here changes neither its life nor that it lives."""
        for ending in (
            replace(self.true, expiry_ms=self.true.expiry_ms - 3_000_000),
            Tombstone(KEY, self.true.version, self.true.expiry_ms, 4),
        ):
            self.assertEqual(self.brings(ending), Stored())
            self.assertEqual(self.here(), self.true)

    def test_what_its_publisher_confirms(self) -> None:
        """Whoever brings it: a replica that missed a put, or a delete, gets it from the others."""
        for is_delete in (False, True):
            self.ring.silent.add(peer(REPLICA))
            (self.ring.node(OUTSIDER).records.delete(KEY) if is_delete else self.put(OUTSIDER, value=b"newer"))
            self.ring.pass_time(1)
            self.ring.silent.clear()
            newer = self.ring.node(LIAR).records.local_records.get(KEY)
            assert newer is not None and newer.version > self.true.version
            self.assertEqual(self.brings(newer), Stored())
            self.assertEqual(type(self.here()), type(newer))

    def test_what_came_meanwhile_changes_nothing(self) -> None:
        """Whoever brings it twice has it asked about twice: what is there by then is taken, and written once."""
        self.ring.silent.add(peer(REPLICA))
        self.put(OUTSIDER, value=b"newer")
        self.ring.pass_time(1)
        self.ring.silent.clear()
        newer = self.ring.node(LIAR).records.local_records.get(KEY)
        assert newer is not None
        node = self.ring.node(REPLICA)
        here, reader = node.records.local_records, node.records.reader
        doubts, pauses = Doubts(node, here, reader.incoming, reader), Pauses(self.ring.clock, unmetered())
        taking = Deferred.fromCoroutine(doubts.keep_all([body_of(newer, here.now_ms())] * 2, peer(LIAR), pauses))
        self.ring.pass_time(8)
        self.assertEqual(self.successResultOf(taking), Taken({}, [0]))

    def test_what_most_replicas_have(self) -> None:
        """Its publisher is gone."""
        newer = replace(self.true, value=b"newer", version=Version(LATER.ms, peer(0x1000).packed))
        self.ring.crash(0x1000)
        for place in (0x3000, 0x4000, 0x6000):
            self.keep(place, newer)
        self.assertEqual(self.brings(newer), Stored())
        here = self.here()
        assert isinstance(here, Record)
        self.assertEqual((here.value, here.version), (b"newer", newer.version))

    def test_a_publisher_brings_its_own(self) -> None:
        """Nobody is asked."""
        asked = len(self.ring.node(REPLICA).asked)
        self.assertEqual(self.brings(replace(self.true, value=b"newer", version=LATER), by=OUTSIDER), Stored())
        self.assertEqual(len(self.ring.node(REPLICA).asked), asked)

    def test_what_we_have_put_we_know(self) -> None:
        """Nobody leaves a value in our own name here, also where nothing stands: others would take it from us."""
        publisher = self.ring.node(OUTSIDER).records
        self.assertIsNone(publisher.local_records.get(KEY))
        for by, refused in ((LIAR, [0]), (REPLICA, [])):
            brought = self.true if by == REPLICA else replace(self.true, value=b"forged", version=LATER)
            body = body_of(brought, publisher.local_records.now_ms())
            answer = publisher.replica.answer(peer(by), StoreAll([body]))
            self.ring.pass_time(8)
            self.assertEqual(StoredAll(refused), self.successResultOf(answer))
        self.assertEqual(self.ring.value(OUTSIDER, KEY), b"value")

    def test_strangers_bring_nothing_that_was_not_put(self) -> None:
        """Also where nothing stands; what its publisher cannot deny any more may be a backup's, and is kept."""
        self.ring = RecordRing(*EIGHT, is_neighbour=lambda other: other != peer(LIAR))
        self.assertEqual(self.brings(replace(self.true, value=b"forged", version=LATER)), Refused("doubted"))
        self.assertIsNone(self.here())
        earlier = Version(WALL_MS - 1000, peer(OUTSIDER).packed)
        self.assertEqual(self.brings(replace(self.true, version=earlier)), Stored())

    def test_a_copy_that_nobody_takes_is_looked_at(self) -> None:
        """A newcomer that a liar gave something forged brings it on: it is refused, and goes at the newcomer too."""
        owner = self.ring.node(0x3000)
        self.keep(0x3000, replace(self.true, value=b"forged", version=LATER))
        owner.records.repair.soon()
        self.ring.pass_time(10)
        self.assertNotEqual(self.ring.value(0x3000, KEY), b"forged")
        self.ring.pass_time(100)
        self.assertEqual(self.ring.value(0x3000, KEY), b"value")
        self.assertEqual(self.value_at(0x1000), b"value")
