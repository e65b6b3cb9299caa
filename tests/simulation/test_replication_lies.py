"""Replicas that answer nonsense: whatever they say, others get their values, and nobody waits for ever.

A logged failure is a bug, and fails the test: trial sees to that.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import ChordtwistError, Refused, Unreachable
from chordtwist.core.records import Record, RecordKind, Version
from chordtwist.core.ring import Arc, position_bytes
from chordtwist.node.records.stray_records import TIDY_AFTER_S
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import Answer, Digest, Fetch, HandOver, HaveList, Question, Store, StoreAll
from tests.builders import at, peer
from tests.record_ring import WALL_MS, RecordRing, key_in, keys_in

EIGHT = tuple(range(0x1000, 0x9000, 0x1000))
OWNED = Arc(at(0x2000), at(0x3000))
KEY = key_in(OWNED)
OUTSIDER = 0x8000
A_ROUND_S = 100

BODY = wire.RecordBody(KEY, b"forged", 0, WALL_MS + 10**9, b"", 10**6, 4)
OTHER_BODY = wire.RecordBody(bytes(32), b"other", 0, WALL_MS, b"", 10**6, 4)
BROKEN_BODY = wire.RecordBody(KEY, b"x", 77, WALL_MS, b"", 10**6, 4)
SEALED_BODY = wire.RecordBody(KEY, b"x", 2, WALL_MS, b"", 10**6, 4, wire.Seal(bytes(32), b"", 1, bytes(64)))
TOMBSTONE_BODY = wire.RecordBody(KEY, b"x", 2, WALL_MS, b"", 0, 4, wire.Seal(bytes(32), b"", 1, bytes(64)), 10**6)

NONSENSE: tuple[Answer, ...] = (
    wire.Pong(),
    wire.NotMine(bytes(6)),
    wire.NotMine(peer(0x1234).packed),
    wire.NotMine(peer(0x3000).packed),
    wire.Pulling(),
    wire.NotFound(TOMBSTONE_BODY),
    wire.NotFound(OTHER_BODY),
    wire.Found(OTHER_BODY),
    wire.Found(BROKEN_BODY),
    wire.Found(SEALED_BODY),
    wire.Found(TOMBSTONE_BODY),
    wire.Refused("because"),
    wire.Refused("newer", WALL_MS + 10**9, b"\0"),
    wire.Refused("clock"),
    wire.InStep(),
    wire.Parts([wire.Summary(10**6, bytes(16))]),
    wire.Parts([wire.Summary(10**6, bytes(16))] * 3),
    wire.Parts([wire.Summary(1, bytes(16))] * 16),
    wire.Parts([wire.Summary(10**6, bytes(16))] * 16),
    wire.Missing([], []),
    wire.Missing([0, 5, 65_535], [wire.Held(bytes(32), WALL_MS + 5, b""), wire.Held(KEY, 1, b"")]),
    wire.HandedOver([], position_bytes(at(0x2800))),
    wire.HandedOver([BODY, OTHER_BODY, BROKEN_BODY], bytes(32)),
    wire.HandedOver([BODY, SEALED_BODY], position_bytes(at(0x3000))),
    wire.StoredAll([0, 1, 65_535]),
    wire.StoredAll([]),
)


class LieCase(SynchronousTestCase):
    """Eight members, four copies, one or more liars among the replicas."""

    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.ring = RecordRing(*EIGHT)
        self.ring.pass_time(TIDY_AFTER_S)

    def end(self) -> None:
        """Nothing is left behind."""
        for node in self.ring.nodes.values():
            node.records.stop()
        self.ring.pass_time(11)
        self.assertEqual(self.ring.pending(), 0)

    def lie(self, place: int, answer: Answer, *kinds: type[Question]) -> None:
        self.ring.lies[peer(place)] = lambda question: answer if isinstance(question, kinds) else None

    def put(self) -> Deferred[object]:
        put = self.ring.node(OUTSIDER).records.put(KEY, b"value")
        return put.addErrback(lambda failure: failure.trap(Refused, Unreachable))

    def value(self) -> bytes | None:
        read = self.ring.node(0x7000).records.get(KEY)
        self.ring.pass_time(5.1)
        record = self.successResultOf(read)
        return None if record is None else record.value


class OneLiarTests(LieCase):
    """Any one replica says anything."""

    def test_reads(self) -> None:
        """The value is found, whichever replica answers a read with whatever nonsense."""
        self.put()
        self.ring.pass_time(1)
        for place in (0x3000, 0x4000):
            for answer in NONSENSE:
                self.lie(place, answer, Fetch)
                self.assertEqual(self.value(), b"value", (hex(place), answer))
        self.end()

    def test_writes(self) -> None:
        """A put ends in time: confirmed by the others, or reported as not confirmed when the owner is the liar."""
        for answer in NONSENSE:
            for place in (0x3000, 0x4000):
                self.begin()
                self.lie(place, answer, Store)
                put = self.put()
                self.ring.pass_time(11)
                self.successResultOf(put)
                if place == 0x4000:
                    self.ring.lies.clear()
                    self.assertEqual(self.value(), b"value", answer)
                self.end()

    def test_repair(self) -> None:
        """Whatever a replica answers to those who compare: the others get their copies, the rounds go on."""
        for answer in NONSENSE:
            self.begin()
            self.lie(0x4000, answer, Digest, HaveList, HandOver, StoreAll)
            self.ring.node(0x3000).records.local_records.take(self.record(), None, None)
            self.ring.node(0x1000).records.local_records.take(self.record(), None, None)
            self.ring.pass_time(2 * A_ROUND_S)
            self.assertLessEqual({0x3000, 0x5000, 0x6000}, set(self.ring.holders(KEY)), answer)
            self.end()

    def test_repair_of_many(self) -> None:
        """The same where there is so much that arcs are cut and lists are long."""
        keys = keys_in(OWNED, 150)
        for answer in NONSENSE:
            self.begin()
            self.lie(0x4000, answer, Digest, HaveList, HandOver, StoreAll)
            for key in keys:
                self.ring.node(0x3000).records.local_records.take(self.record(key), None, None)
            self.ring.pass_time(A_ROUND_S)
            self.assertLessEqual({0x3000, 0x5000, 0x6000}, set(self.ring.holders(keys[7])), answer)
            self.end()

    def test_joining(self) -> None:
        """A newcomer whose old owner answers nonsense gets its records from the others."""
        key = key_in(Arc(at(0x2000), at(0x2800)))
        for answer in NONSENSE:
            self.begin()
            for place in (0x3000, 0x4000, 0x5000, 0x6000):
                self.ring.node(place).records.local_records.take(self.record(key), None, None)
            self.lie(0x3000, answer, Digest, HaveList, HandOver, StoreAll)
            newcomer = self.ring.join(0x2800)
            self.ring.pass_time(A_ROUND_S)
            self.assertFalse(newcomer.records.repair.pulling)
            self.assertIsNotNone(newcomer.records.local_records.get(key), answer)
            self.end()

    def test_leaving(self) -> None:
        """A leaver whose successor answers nonsense is done in bounded time."""
        for answer in NONSENSE:
            self.begin()
            self.ring.node(0x3000).records.local_records.take(self.record(), None, None)
            self.lie(0x4000, answer, Digest, HaveList, HandOver, StoreAll)
            handed = self.ring.node(0x3000).records.hand_over()
            self.ring.pass_time(30)
            self.successResultOf(handed)
            self.end()

    def record(self, key: bytes = KEY) -> Record:
        expiry_ms = int((self.ring.clock.seconds() + 3600) * 1000)
        return Record(key, b"value", RecordKind.PLAIN, Version(WALL_MS, b""), expiry_ms, 4)


class ManyLiarsTests(LieCase):
    """Everybody says anything."""

    @given(st.lists(st.tuples(st.sampled_from(EIGHT[:-1]), st.sampled_from(NONSENSE)), min_size=1, max_size=7))
    def test_nobody_waits_for_ever(self, lies: list[tuple[int, Answer]]) -> None:
        """A put and a get end in time, and no error but the documented ones comes of it."""
        self.begin()

        def tell(answer: Answer) -> Callable[[Question], Answer]:
            return lambda question: answer

        for place, answer in lies:
            self.ring.lies[peer(place)] = tell(answer)
        put = self.ring.node(OUTSIDER).records.put(KEY, b"value")
        put.addErrback(lambda failure: failure.trap(ChordtwistError))
        read = self.ring.node(OUTSIDER).records.get(KEY)
        self.ring.pass_time(0.3)
        self.ring.pass_time(11)
        self.successResultOf(put)
        self.assertTrue(read.called)
        handed = self.ring.node(OUTSIDER).records.hand_over()
        self.ring.pass_time(60)
        self.successResultOf(handed)
        self.end()
