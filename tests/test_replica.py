"""`Replica`: what one that keeps records answers others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.quotas import RECORD_OVERHEAD_BYTES, Quota
from chordtwist.core.reading import AS_PUBLISHER
from chordtwist.core.records import (
    Record,
    RecordKind,
    Tombstone,
    Version,
)
from chordtwist.core.ring import Arc
from chordtwist.core.versions import AHEAD_MS_MAX, FOLLOWED_MS_MAX
from chordtwist.node.records.record_bodies import body_of
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import Fetch, NotFound, Pulling, Store, Stored
from tests.builders import at, peer
from tests.record_ring import WALL_MS, RecordRing, key_in
from tests.ring_case import EIGHT, KEY, OUTSIDER, OWNED, RingCase


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

    def test_no_life_is_longer_than_its_version_can_have(self) -> None:
        """What a peer says of the life left is a claim: of a version of 23 hours ago an hour can be left, and the
        minute by which clocks may differ.
        """
        node = self.ring.node(0x3000)
        body = replace(body_of(self.record(), 0), ttl_ms=86_400_000, version_ms=self.ring.wall_ms() - 23 * 3_600_000)
        self.assertEqual(node.tell(peer(0x8000), Store(body, 0)), Stored())
        versioned = node.records.local_records.get(KEY)
        assert versioned is not None
        left_ms = versioned.expiry_ms - int(self.ring.clock.seconds() * 1000)
        self.assertEqual(left_ms, 3_600_000 + AHEAD_MS_MAX)

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

    def test_what_it_has_put(self) -> None:
        """Asked as a publisher it tells its puts, wherever they are; of another key, since when it knows all."""
        started_ms = WALL_MS + FOLLOWED_MS_MAX
        self.put_and_wait(OUTSIDER)
        writer = self.ring.node(OUTSIDER)
        told = writer.tell(peer(0x1000), wire.Fetch(KEY, AS_PUBLISHER, True))
        assert isinstance(told, wire.Found)
        self.assertEqual((told.record.value, told.record.publisher), (b"value", peer(OUTSIDER).packed))
        other = writer.tell(peer(0x1000), wire.Fetch(bytes(32), AS_PUBLISHER, True))
        self.assertEqual(other, wire.Refused("forgotten", started_ms))

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
            version = Version(WALL_MS + ms, peer(1).packed)
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
