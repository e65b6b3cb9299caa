"""Behaviour of the tables of other nodes: fetched, verified once, ordered, and forgotten."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed, Unreachable, Untruthful
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.signed import Status
from chordtwist.core.table import Table
from chordtwist.node.ring.tables import STATUSES_MAX, TABLES_MAX, NoMember, Tables
from chordtwist.simulation.signer import verify_simulated
from chordtwist.wire.peer_messages import Answer, GetTable, Leave, NotMember, Pong, Same, TableIs
from tests.builders import IDENTITY, Neighbourhood, not_member, pack_table, peer, places, signed, signer, table

ENTRIES_MAX = 3


class TablesTests(SynchronousTestCase):
    """We stand at 10; a peer at 20 answers as told."""

    def setUp(self) -> None:
        """We know no table yet."""
        self.scene = Neighbourhood(10, 20, 30)
        self.verified = 0
        link = self.scene.link
        self.tables = Tables(IDENTITY, link.ask, link.key_of, self.verify, link.clock.seconds, ENTRIES_MAX)
        self.peer = peer(20)

    def verify(self, public: bytes, signature: bytes, body: bytes) -> bool:
        self.verified += 1
        return verify_simulated(public, signature, body)

    def fetch(self) -> Table:
        fetched = self.tables.fetch(self.peer)
        self.scene.advance(3)
        return self.successResultOf(fetched)

    def fetch_in_vain(self, reply: Answer | None = None) -> Unreachable:
        if reply is not None:
            self.scene.reply(20, reply)
        fetched = self.tables.fetch(self.peer)
        self.scene.advance(3)
        error = self.failureResultOf(fetched, Unreachable).value
        assert isinstance(error, Unreachable)
        return error

    def assert_held(self, expected: Table | None) -> None:
        """Whichever table we hold is the one we tell of when we ask again."""
        self.scene.reply(20, Same())
        self.tables.fetch(self.peer).addErrback(lambda failure: failure.trap(Unreachable))
        question = GetTable(0, 0) if expected is None else GetTable(expected.epoch, expected.seq)
        self.scene.advance(3)
        self.assertEqual(self.scene.asked(20)[-1], question)

    def test_fetch(self) -> None:
        """The table is asked for without naming a key, and is what its owner signed."""
        shown = table(20, (30, 10), 10, whole=True)
        self.scene.reply(20, signed(shown))
        self.assertEqual(self.fetch(), shown)
        self.assertEqual(self.scene.asked(20), [GetTable(0, 0)])

    def test_same(self) -> None:
        """We say which table we hold; `Same` means that one, without another verification."""
        self.scene.reply(20, signed(table(20, (30,), epoch=5, seq=7)))
        first = self.fetch()
        self.scene.reply(20, Same())
        self.assertIs(self.fetch(), first)
        self.assertEqual(self.scene.asked(20)[1:], [GetTable(5, 7)])
        self.assertEqual(self.verified, 1)

    def test_clock(self) -> None:
        """When a table is new its time tells by how much its owner's wall clock is ahead of our steady one."""
        self.assertIsNone(self.tables.clock_ahead_ms(self.peer))
        shown = table(20, (30,), epoch=5, seq=7)
        self.scene.reply(20, signed(shown))
        self.fetch()
        ahead_ms = self.tables.clock_ahead_ms(self.peer)
        assert ahead_ms is not None
        self.assertLess(abs(ahead_ms - shown.time_ms), 1000)
        self.fetch()
        self.assertEqual(self.tables.clock_ahead_ms(self.peer), ahead_ms, "the same bytes are older by now")

    def test_same_bytes(self) -> None:
        """The same bytes again are not verified again."""
        self.scene.reply(20, signed(table(20, (30,))))
        first = self.fetch()
        self.assertIs(self.fetch(), first)
        self.assertEqual(self.verified, 1)

    def test_newer(self) -> None:
        """A newer table replaces the one we hold."""
        self.scene.reply(20, signed(table(20, (30,), seq=1)))
        self.fetch()
        newer = table(20, (40,), seq=2)
        self.scene.reply(20, signed(newer))
        self.assertEqual(self.fetch(), newer)
        self.assert_held(newer)

    def test_silent(self) -> None:
        """Nobody's table can be had who is silent."""
        self.scene.silence(20)
        self.assertIn("no answer", self.fetch_in_vain().reason)

    def test_same_as_nothing(self) -> None:
        """`Same` to somebody who holds nothing says nothing."""
        self.assertEqual(self.fetch_in_vain(Same()).reason, "it says we hold its table; we do not")

    def test_nonsense(self) -> None:
        """An answer that is no table is none, and is named."""
        self.assertEqual(self.fetch_in_vain(Pong()).reason, "it answered GetTable with Pong")

    def test_wrong_signature(self) -> None:
        """A table that its owner's key did not sign is not believed."""
        self.assertIn("did not sign", self.fetch_in_vain(signed(table(20, (30,)), by=signer(peer(30)))).reason)
        self.assert_held(None)

    def test_altered(self) -> None:
        """Nor is one that was altered on the way, though we hold the table that was signed."""
        said = signed(table(20, (30,), seq=1))
        self.scene.reply(20, said)
        self.fetch()
        altered = pack_table(IDENTITY, table(20, (40,), seq=1))
        self.assertIn("did not sign", self.fetch_in_vain(TableIs(altered, said.signature)).reason)

    def test_anothers(self) -> None:
        """A peer that shows somebody else's table, rightly signed, is not believed."""
        error = self.fetch_in_vain(signed(table(30, (10,))))
        self.assertEqual(error.reason, "10.0.0.20:6401 shows the table of 10.0.0.30:6401")

    def test_another_network(self) -> None:
        """Nor is a table of another network."""
        body = pack_table(Identity("elsewhere", Policy.IP), table(20))
        self.assertIn("another network", self.fetch_in_vain(TableIs(body, signer(self.peer).sign(body))).reason)

    def test_broken(self) -> None:
        """Bytes that are no table at all are the peer's fault, and end no search of ours."""
        body = b"chordtwist?"
        self.assertIn("no table", self.fetch_in_vain(TableIs(body, signer(self.peer).sign(body))).reason)

    def test_replayed(self) -> None:
        """An older table than the one it showed before, of the same run, is not believed, and replaces nothing."""
        newer = table(20, (30,), seq=9)
        self.scene.reply(20, signed(newer))
        self.fetch()
        self.assertEqual(
            self.fetch_in_vain(signed(table(20, (40,), seq=8))).reason, "it shows an older table than before"
        )
        self.assert_held(newer)

    def test_earlier_epoch(self) -> None:
        """A run of a node whose wall clock is behind that of its run before shows an earlier epoch; its present answer
        to our present question counts all the same.
        """
        self.scene.reply(20, signed(table(20, (30,), epoch=9, seq=9)))
        self.fetch()
        restarted = table(20, (), whole=True, epoch=3)
        self.scene.reply(20, signed(restarted))
        self.assertEqual(self.fetch(), restarted)
        self.assertEqual(self.tables.epoch_of(self.peer), 3)

    def test_overtaken(self) -> None:
        """Of two answers that overtook one another the newer one counts, for both questions."""
        newer = table(20, (40,), seq=2)
        late: Deferred[Answer] = Deferred()
        replies: list[Answer | Deferred[Answer]] = [late, signed(newer)]
        self.scene.reply(20, lambda question: replies.pop(0))
        first = self.tables.fetch(self.peer)
        self.scene.advance(0.1)
        second = self.tables.fetch(self.peer)
        self.scene.advance(0.1)
        self.assertEqual(self.successResultOf(second), newer)
        late.callback(signed(table(20, (30,), seq=1)))
        self.scene.advance(0.1)
        self.assertEqual(self.successResultOf(first), newer)
        self.assert_held(newer)

    def test_same_after_newer(self) -> None:
        """`Same` to an older question does not bring the older table back."""
        self.scene.reply(20, signed(table(20, (30,), seq=1)))
        old = self.fetch()
        newer = table(20, (40,), seq=2)
        late: Deferred[Answer] = Deferred()
        replies: list[Answer | Deferred[Answer]] = [late, signed(newer)]
        self.scene.reply(20, lambda question: replies.pop(0))
        first = self.tables.fetch(self.peer)
        self.scene.advance(0.1)
        second = self.tables.fetch(self.peer)
        self.scene.advance(0.1)
        late.callback(Same())
        self.scene.advance(0.1)
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (old, newer))
        self.assert_held(newer)

    def test_no_member(self) -> None:
        """Who joins or leaves has no table, and says so: with `NoMember`, its status and its epoch."""
        error = self.fetch_in_vain(not_member(20, Status.LEAVING, epoch=4))
        assert isinstance(error, NoMember)
        self.assertEqual((error.status, error.epoch, error.reason), (Status.LEAVING, 4, "leaving"))

    def test_forged_no_member(self) -> None:
        """A word about not being a member that the peer did not sign, or that is another's, or nonsense, is none."""
        for forged in (not_member(20, by=signer(peer(30))), not_member(30), NotMember(b"?", bytes(64))):
            self.assertNotIsInstance(self.fetch_in_vain(forged), NoMember)

    def test_forget(self) -> None:
        """What is forgotten is asked for in full again."""
        self.scene.reply(20, signed(table(20, (30,))))
        self.fetch()
        self.tables.forget(self.peer)
        self.tables.forget(self.peer)
        self.assertIsNone(self.tables.epoch_of(self.peer))
        self.fetch()
        self.assertEqual(self.scene.asked(20), [GetTable(0, 0)] * 2)

    def test_longest_list(self) -> None:
        """A table may list a whole ring and its newcomer; a longer one is nothing that an honest node shows."""
        places = range(30, 40 + 2 * ENTRIES_MAX)
        self.scene.reply(20, signed(table(20, places[: 2 * ENTRIES_MAX + 1])))
        self.assertEqual(len(self.fetch().successors), 2 * ENTRIES_MAX + 1)
        self.fetch_in_vain(signed(table(20, places[: 2 * ENTRIES_MAX + 2], seq=2)))

    def test_bounded(self) -> None:
        """Only so many tables are remembered; those shown longest ago go first."""
        tables = Tables(
            IDENTITY,
            lambda whom, question: succeed(signed(table(places([whom])[0]))),
            lambda whom: signer(whom).public,
            verify_simulated,
            lambda: 0.0,
            ENTRIES_MAX,
        )
        for place in range(TABLES_MAX + 1):
            self.successResultOf(tables.fetch(peer(place)))
        self.assertEqual([tables.epoch_of(peer(place)) for place in range(2)], [None, 1])


class StatusTests(SynchronousTestCase):
    """`status_said`: a peer says unasked that it is no member, or in an answer to another question."""

    def setUp(self) -> None:
        """The peer at 20 is proved, and was a member in epoch 5."""
        self.scene = Neighbourhood(10, 20)
        link = self.scene.link
        self.tables = Tables(IDENTITY, link.ask, link.key_of, verify_simulated, link.clock.seconds, ENTRIES_MAX)
        self.peer = peer(20)
        self.scene.reply(20, signed(table(20, (30,), epoch=5, seq=7)))
        self.tables.fetch(self.peer)
        self.scene.advance(1)

    def said(
        self,
        status: Status = Status.JOINING,
        epoch: int = 6,
        seq: int = 1,
        made: Callable[..., NotMember] = not_member,
    ) -> tuple[int, Status] | None:
        word = made(20, status, epoch, seq)
        return self.tables.status_said(self.peer, Leave(word.body, word.signature))

    def test_restarted(self) -> None:
        """A later epoch that joins ends the member we knew."""
        self.assertEqual(self.said(), (6, Status.JOINING))

    def test_leaves(self) -> None:
        """So does leaving in the same epoch."""
        self.assertEqual(self.said(Status.LEAVING, 5, 8), (5, Status.LEAVING))

    def test_older(self) -> None:
        """What it said before it showed its table is no news."""
        self.assertIsNone(self.said(Status.LEAVING, 5, 6))
        self.assertIsNone(self.said(epoch=4, seq=99))
        self.assertEqual(self.tables.epoch_of(self.peer), 5)

    def test_joining_in_the_epoch_of_its_table(self) -> None:
        """That it joins in the epoch in which it went live was said before, whatever its seq."""
        self.assertIsNone(self.said(epoch=5, seq=99))
        self.assertEqual(self.tables.epoch_of(self.peer), 5)

    def test_older_than_another(self) -> None:
        """What it said before its last such word is no news either; the same again is."""
        self.assertIsNotNone(self.said(seq=5))
        self.assertIsNone(self.said(seq=4))
        self.assertIsNotNone(self.said(seq=5))

    def test_stranger(self) -> None:
        """A peer whose table we do not hold may say so as well."""
        self.tables.forget(self.peer)
        self.assertEqual(self.said(epoch=1), (1, Status.JOINING))

    def test_anothers(self) -> None:
        """Nobody speaks for another: the statement is refused, with both names."""
        word = not_member(30, epoch=9)
        error = self.assertRaises(Untruthful, self.tables.status_said, self.peer, Leave(word.body, word.signature))
        self.assertEqual(str(error), "10.0.0.20:6401 shows a status of 10.0.0.30:6401")

    def test_wrong_signature(self) -> None:
        """Nor does a signature of another's key end anybody's membership."""
        self.assertIsNone(self.tables.status_said(self.peer, not_member(20, epoch=9, by=signer(peer(30)))))
        self.assertEqual(self.tables.epoch_of(self.peer), 5)

    def test_unproved(self) -> None:
        """Whoever was never proved cannot be believed yet."""
        self.assertIsNone(self.tables.status_said(peer(30), not_member(30)))

    def test_nonsense(self) -> None:
        """Bytes that are no such statement break the protocol."""
        self.assertRaises(Malformed, self.tables.status_said, self.peer, Leave(b"x", bytes(64)))

    def test_bounded(self) -> None:
        """Only so many words are remembered; the oldest go first."""
        for place in range(1000, 1001 + STATUSES_MAX):
            self.scene.link.keys[peer(place).packed] = signer(peer(place)).public
            self.tables.status_said(peer(place), not_member(place, epoch=3, seq=3))
        self.assertIsNotNone(self.tables.status_said(peer(1000), not_member(1000, epoch=2)))
        self.assertIsNone(self.tables.status_said(peer(1002), not_member(1002, epoch=2)))
