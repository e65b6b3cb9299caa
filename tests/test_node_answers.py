"""Behaviour of one node towards peers that say whatever they like: true, late, false, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import ClassVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chordtwist.core.errors import Unreachable
from chordtwist.core.evidence import Charge
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.signed import Status, unpack_lease, unpack_status, unpack_table
from chordtwist.node.environment import Environment
from chordtwist.node.interfaces import IAnswer, IDht, IRing
from chordtwist.node.node import Node
from chordtwist.node.ring.admission import ANNOUNCE, LIVE, STRANGERS_PER_S, WITHDRAW
from chordtwist.node.ring.dial_limits import PER_TELLER_PER_MIN
from chordtwist.node.ring.rectifying import LOOKS_AT_ONCE
from chordtwist.node.ring.uniting import Before
from chordtwist.simulation.signer import verify_simulated
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire.peer_messages import (
    Accuse,
    Announce,
    Announced,
    Answer,
    AskConvicted,
    AskLease,
    Changed,
    Fetch,
    GetTable,
    JoinRequest,
    Leased,
    Leave,
    Noted,
    Notify,
    NotMember,
    OtherRing,
    Ping,
    PingFor,
    Pong,
    Question,
    Relay,
    Same,
    Silent,
    TableIs,
)
from tests.builders import (
    IDENTITY,
    Neighbourhood,
    at,
    is_alone,
    lines,
    not_member,
    peer,
    peers,
    places,
    signed,
    signer,
    table,
)
from tests.contracts import ScriptedAnswers

SUCCESSORS = 3


class OneNodeTestCase(SynchronousTestCase):
    """The node at 50, with three successors at most, among scripted peers."""

    copies: ClassVar[int] = 1
    """Of each record."""

    def setUp(self) -> None:
        """It was built, and has not started."""
        self.observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        self.scene = Neighbourhood(50, 10, 20, 40, 45, 55, 60, 70, 80, 90)
        self.seeds: Callable[[], Deferred[list[Peer]]] = lambda: succeed([])
        self.epoch = 0
        link = self.scene.link
        self.node = Node(
            self.scene.me,
            IDENTITY,
            Parameters(network="test", successors=SUCCESSORS, replication=self.copies),
            link,
            MemoryRecordStore(),
            Environment(
                link.clock,
                lambda: 1_700_000_000_000 + self.scene.clock.now_us // 1000,
                Random(1),
                Random(2),
                signer(self.scene.me),
                verify_simulated,
                self.next_epoch,
                lambda: self.seeds(),
            ),
        )
        link.listen(self.node)
        for place in self.scene.others:
            self.scene.reply(place, lambda question: Silent() if isinstance(question, PingFor) else Pong())

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def be_member(self) -> None:
        """It is a member of a large ring: 40 before it, 60, 70 and 80 behind it, all of whom it knows."""
        self.node.start()
        self.node.routing.join(peer(40), peers(60, 70, 80), whole=False)
        self.scene.show(
            table(40, (50, 60, 70), 20),
            table(60, (70, 80, 90), 50),
            table(70, (80, 90, 10), 60),
            table(80, (90, 10, 20), 70),
            table(90, (10, 20, 40), 80),
            table(20, (40, 50, 60), 10),
        )
        self.scene.advance(8)
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def be_joining(self) -> None:
        """It waits for a bootstrap node that is not there."""
        self.seeds = lambda: succeed([peer(99)])
        self.node.start()
        self.scene.advance(1)

    def state(self) -> tuple[int | None, list[int]]:
        before = self.node.predecessor
        return None if before is None else places([before])[0], places(self.node.successors)

    def asked_by(self, place: int, question: Question, seconds: float = 0.2) -> Answer:
        asked = self.scene.links[place].ask(self.scene.me, question)
        self.scene.advance(seconds)
        return self.successResultOf(asked)

    def assert_breach(self, place: int, question: Question, told: str) -> None:
        """The question ends the link, and one line names the peer and what was wrong."""
        asked = self.scene.links[place].ask(self.scene.me, question)
        self.scene.advance(0.5)
        self.failureResultOf(asked, Unreachable)
        self.assertEqual(lines(self.observer, "warn"), [f"{peer(place)} broke the protocol: {told}"])


class AnswersTests(OneNodeTestCase):
    """What a member answers."""

    def setUp(self) -> None:
        super().setUp()
        self.be_member()

    def test_interfaces(self) -> None:
        """A node is what networks, records and doors need of it."""
        for interface in (IAnswer, IRing, IDht):
            verifyObject(interface, self.node)

    def test_ping(self) -> None:
        """It lives."""
        self.assertEqual(self.asked_by(10, Ping()), Pong())

    def test_table(self) -> None:
        """Anybody is shown its table, signed; whoever holds that already is told so."""
        self.node.fingers.chore.stop()
        self.scene.advance(1)
        said = self.asked_by(10, GetTable(0, 0))
        assert isinstance(said, TableIs)
        self.assertTrue(verify_simulated(signer(self.scene.me).public, said.signature, said.body))
        shown = unpack_table(IDENTITY, said.body)
        self.assertEqual((shown.predecessor, shown.successors), (peer(40), peers(60, 70, 80)))
        self.assertEqual(self.asked_by(10, GetTable(shown.epoch, shown.seq)), Same())

    def test_lease(self) -> None:
        """Whoever is listed is promised that it goes on; whoever is not is promised nothing."""
        said = self.asked_by(60, AskLease())
        assert isinstance(said, Leased)
        self.assertEqual(unpack_lease(IDENTITY, said.body)[1], peer(60))
        self.assertEqual(self.asked_by(90, AskLease()), Noted())

    def test_left_out(self) -> None:
        """Who asks for a lease, and stands inside its list without being in it, comes in when the node's own dial meets
        a member of its ring there.
        """
        for place, shown in ((45, table(45, (50, 60, 70), 40)), (55, table(55, (100, 110, 120), 53))):
            self.scene.show(shown)
            self.asked_by(place, AskLease())
            self.scene.advance(6)
        self.assertEqual(self.state(), (40, [60, 70, 80]))
        self.scene.show(table(55, (60, 70, 80), 45, seq=2))
        self.asked_by(55, AskLease())
        self.scene.advance(2)
        self.assertEqual(self.state(), (40, [55, 60, 70]))

    def test_ping_for(self) -> None:
        """It pings for others, and says whether there was an answer."""
        self.assertEqual(self.asked_by(10, PingFor(peer(90).packed)), Pong())
        self.scene.silence(90)
        self.assertEqual(self.asked_by(10, PingFor(peer(90).packed), 1.5), Silent())

    def test_relay(self) -> None:
        """It sends on a table that leaves out who asks for it, and of any other says so."""
        self.scene.show(table(60, (70, 90), 50))
        self.assertIsInstance(self.asked_by(80, Relay(peer(60).packed)), TableIs)
        self.assertEqual(self.asked_by(70, Relay(peer(60).packed)), Same())
        self.scene.silence(60)
        self.assertEqual(self.asked_by(80, Relay(peer(60).packed), 4), Silent())

    def use_up(self, make: type[PingFor | OtherRing]) -> None:
        """10 names so many strangers that no more are looked at on its word."""
        for place in range(100, 101 + PER_TELLER_PER_MIN):
            self.scene.links[10].ask(self.scene.me, make(peer(place).packed)).addErrback(lambda failure: None)
        self.scene.advance(3)
        self.scene.links[10].ask(self.scene.me, make(peer(200).packed)).addErrback(lambda failure: None)

    def test_ping_for_strangers(self) -> None:
        """Nobody makes it dial addresses that it knows nothing of without end; whom it knows it still asks."""
        self.use_up(PingFor)
        self.assertEqual(self.asked_by(10, PingFor(peer(45).packed)), Silent())
        self.assertEqual(self.scene.asked(45), [])
        self.assertEqual(self.asked_by(10, PingFor(peer(70).packed)), Pong())
        self.assertEqual(self.asked_by(20, PingFor(peer(45).packed)), Pong())

    def test_proofs_name_strangers(self) -> None:
        """Nor does it dial whoever is accused: anybody can make up a key, and sign with it in anybody's name."""
        for place in range(100, 101 + PER_TELLER_PER_MIN):
            self.scene.links[10].ask(self.scene.me, self.made_up(place))
        self.scene.advance(3)
        self.scene.links[10].ask(self.scene.me, self.made_up(200))
        self.assertEqual(self.asked_by(10, self.made_up(45), 2), Noted())
        self.assertEqual(self.scene.asked(45), [])
        self.assertEqual(self.asked_by(20, self.made_up(45), 2), Noted())
        self.assertNotEqual(self.scene.asked(45), [])

    def test_false_proof(self) -> None:
        """Whoever shows what proves nothing breaks the protocol: the honest check a proof before they show it."""
        proof = self.made_up(45)
        wrong = Accuse(proof.charge, proof.first, proof.first_signature, proof.second, bytes(64))
        self.assert_breach(10, wrong, "a proof against 10.0.0.45:6401 that the key in it did not sign")

    def made_up(self, place: int) -> Accuse:
        """Two tables of one number, in the name of a peer that has signed neither."""
        forger = signer(peer(1))
        first, second = (
            signed(replace(table(place, successors), key=forger.public), forger) for successors in ((50,), (60,))
        )
        return Accuse(Charge.EQUIVOCATION, first.body, first.signature, second.body, second.signature)

    def test_elsewhere_names_strangers(self) -> None:
        """Nor does it look for other rings wherever it is told."""
        self.use_up(OtherRing)
        self.assertEqual(self.asked_by(10, OtherRing(peer(45).packed), 2), Noted())
        self.assertEqual(self.scene.asked(45), [])
        self.assertEqual(self.asked_by(20, OtherRing(peer(45).packed), 2), Noted())
        self.assertNotEqual(self.scene.asked(45), [])

    def test_ping_for_itself(self) -> None:
        """Asked about itself it does not dial itself."""
        self.assertEqual(self.asked_by(10, PingFor(self.scene.me.packed)), Pong())

    def test_impossible_peer(self) -> None:
        """A question that names a peer that cannot be breaks the protocol."""
        self.assert_breach(10, PingFor(bytes(6)), "a question names an impossible peer: 0.0.0.0 with port 0")

    def test_impossible_member(self) -> None:
        """So does a hint at one."""
        self.assert_breach(
            10, OtherRing(bytes(7)), "a question names an impossible peer: a packed address has 6 or 18 bytes, not 7"
        )

    def test_find(self) -> None:
        """It knows who keeps what its list spans, and looks for the rest."""
        known = self.node.known_route(at(65))
        assert known is not None
        self.assertEqual(places(known.replicas), [70, 80])
        self.assertIsNone(self.node.known_route(at(85)))
        self.scene.show(table(80, (90, 10, 20), 70), table(90, (10, 20, 40), 80))
        found = self.node.find(at(85))
        self.scene.advance(1)
        self.assertEqual(places(self.successResultOf(found).replicas), [90, 10, 20])

    def test_status(self) -> None:
        """Its state as plain values."""
        status = self.node.status()
        self.assertEqual(status["address"], "10.0.0.50:6401")
        self.assertEqual((status["member"], status["whole"], status["network"]), (True, False, "test"))
        self.assertEqual(status["joining"], {})
        self.assertEqual(status["successors"], [f"10.0.0.{place}:6401" for place in (60, 70, 80)])
        self.assertEqual((status["predecessor"], status["silent"]), ("10.0.0.40:6401", []))
        self.assertEqual((status["live_successor"], status["ordered"], status["skipped_by"]), (True, True, []))

    def test_what_it_sees_of_the_invariant(self) -> None:
        """The status says when no successor answers, when the list is out of order, and whose table skips the node."""
        self.scene.show(table(40, (60, 70, 80), 20, seq=2))
        self.node.tables.fetch(peer(40))
        self.scene.advance(0.3)
        self.assertEqual(self.node.status()["skipped_by"], ["10.0.0.40:6401"])
        for place in (60, 70, 80):
            self.scene.reply(place, lambda question: Deferred())
        for place in (60, 70, 80):
            self.node.ask(peer(place), Ping()).addErrback(lambda failure: None)
        self.scene.advance(2)
        self.assertFalse(self.node.status()["live_successor"])
        self.node.routing.successors = peers(70, 60)
        self.assertFalse(self.node.status()["ordered"])


class JoiningAnswersTests(OneNodeTestCase):
    """What a node answers that is no member yet."""

    def setUp(self) -> None:
        super().setUp()
        self.be_joining()

    def test_ring_questions(self) -> None:
        """Every question about the ring gets its signed word that it joins, and in which epoch."""
        for question in (GetTable(0, 0), Notify(1), JoinRequest(1), Announce(1, 0), Fetch(bytes(32), 0, True)):
            said = self.asked_by(10, question)
            assert isinstance(said, NotMember), (question, said)
            stamp, status = unpack_status(IDENTITY, said.body)
            self.assertEqual((stamp.epoch, status), (1, Status.JOINING))

    def test_ping(self) -> None:
        """It lives all the same, and pings for others."""
        self.assertEqual(self.asked_by(10, Ping()), Pong())
        self.assertEqual(self.asked_by(10, PingFor(peer(20).packed)), Pong())

    def test_hints(self) -> None:
        """Hints are taken note of, and do nothing."""
        self.assertEqual(self.asked_by(10, Changed()), Noted())
        self.assertEqual(self.asked_by(10, OtherRing(peer(20).packed)), Noted())
        self.assertEqual(self.scene.asked(20), [])

    def test_find(self) -> None:
        """It can find nothing, and does not ask itself."""
        found = self.node.find(at(85))
        self.failureResultOf(found, Unreachable)

    def test_status(self) -> None:
        """Its state says that it is no member, and knows nobody."""
        status = self.node.status()
        self.assertEqual((status["member"], status["predecessor"], status["successors"]), (False, None, []))
        self.assertEqual(status["joining"], {"10.0.0.99:6401": "connection refused"})

    def test_names_cannot_be_resolved(self) -> None:
        """While no name of its list can be resolved it begins no ring, and goes on trying."""
        self.seeds = lambda: fail(Unreachable(None, "no name can be resolved"))
        self.scene.advance(60)
        self.assertFalse(self.node.is_member)
        self.seeds = lambda: succeed([])
        self.scene.advance(10)
        self.assertTrue(self.node.is_member)

    def test_bug(self) -> None:
        """An error of ours while joining is logged once, and shown by status while the node goes on trying."""
        self.seeds = lambda: fail(ZeroDivisionError("why"))
        self.scene.advance(60)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        joining = self.node.status()["joining"]
        assert isinstance(joining, dict)
        self.assertEqual("why", joining[str(self.scene.me)])
        self.seeds = lambda: succeed([])
        self.scene.advance(10)
        self.assertTrue(self.node.is_member)
        self.flushLoggedErrors(ZeroDivisionError)


class StabilizeTests(OneNodeTestCase):
    """What a head shows, and what comes of it."""

    def setUp(self) -> None:
        super().setUp()
        self.be_member()

    def test_quiet(self) -> None:
        """In a quiet ring the head is asked for its table, for a lease once, and whom it convicts now and then."""
        before = len(self.scene.asked(60))
        self.scene.advance(30)
        questions = self.scene.asked(60)[before:]
        self.assertTrue(4 <= len(questions) <= 40)
        others = [question for question in questions if not isinstance(question, GetTable)]
        self.assertTrue(len(others) <= 8)
        self.assertTrue({type(question) for question in others} <= {AskConvicted, AskLease})

    def test_unknown_to_head(self) -> None:
        """A head that shows another predecessor than us is notified, once in each round."""
        self.scene.show(table(60, (70, 80, 90), 45, seq=2))
        before = len(self.scene.asked(60))
        self.scene.advance(30)
        questions = self.scene.asked(60)[before:]
        tables = [question for question in questions if isinstance(question, GetTable)]
        notifications = [question for question in questions if isinstance(question, Notify)]
        self.assertTrue(4 <= len(notifications) <= len(tables))

    def test_newcomer(self) -> None:
        """A newcomer in front of the head, which the head names, is reached, and becomes the head."""
        self.scene.show(table(60, (70, 80, 90), 55, seq=2))
        self.scene.show(table(55, (60, 70, 80), 50))
        self.asked_by(60, Changed())
        self.scene.advance(1)
        self.assertEqual(self.state(), (40, [55, 60, 70]))

    def test_unreachable_newcomer(self) -> None:
        """One that cannot be reached by ourselves does not, whatever the head says."""
        self.scene.show(table(60, (70, 80, 90), 55, seq=2))
        self.scene.advance(30)
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_left_out(self) -> None:
        """Entries that it leaves out stay while they live, whomever it names farther away."""
        self.scene.show(table(60, (90, 10, 20), 50, seq=2))
        self.asked_by(60, Changed())
        self.scene.advance(60)
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_left_out_and_dead(self) -> None:
        """One that it names no more is looked at at once: it may have died. Others come behind the end."""
        self.scene.links[70].crash()
        self.scene.show(table(60, (80, 90, 10), 50, seq=2))
        self.asked_by(60, Changed())
        self.scene.advance(6)
        self.assertEqual(self.state(), (40, [60, 80, 90]))

    def test_dead_and_named(self) -> None:
        """One that has died while it still names it is found out by our own questions, and passed over."""
        self.scene.links[80].crash()
        self.scene.advance(60)
        self.assertEqual(self.state(), (40, [60, 70, 90]))

    def test_invented_names(self) -> None:
        """Names in its list at which nobody ever answers do not come into ours. They are asked later and later, and
        come in when they answer.
        """
        self.scene.show(table(60, (65, 75, 80), 50, seq=2))
        self.asked_by(60, Changed())
        self.scene.advance(20)
        self.assertEqual(self.state(), (40, [60, 70, 80]))
        self.scene.others[65] = ScriptedAnswers()
        self.scene.links[65] = self.scene.start(peer(65), self.scene.others[65])
        self.scene.show(table(65, (70, 80, 90), 60))
        self.asked_by(65, Ping())
        self.asked_by(60, Changed())
        self.scene.advance(10)
        self.assertEqual(self.state(), (40, [60, 65, 70]))

    def test_whole_before(self) -> None:
        """A list that ceases to be whole is not settled before the next table has cut it, though that says the same."""
        routing, uniting, shown = self.node.routing, self.node.stabilizing._uniting, table(60, (70, 80, 90), 50)
        routing.join(peer(40), peers(60, 70, 80, 90), whole=True)
        for entries, is_settled in (([60, 70, 80, 90], False), ([60, 70, 80], True)):
            uniting.merge(shown, uniting.before(peer(60)))
            self.assertEqual((self.state(), uniting.is_settled(shown)), ((40, entries), is_settled))

    def test_passed_over(self) -> None:
        """Behind the end a name is passed over when he was dead before the table was asked for, and is dead still."""
        self.scene.links[80].crash()
        self.scene.show(table(60, (70, 80), 50, seq=2), table(70, (80,), 60, seq=2))
        self.scene.advance(60)
        self.node.tables.fetch(peer(90))
        self.scene.advance(1)
        uniting, shown = self.node.stabilizing._uniting, table(60, (70, 80, 90), 50, seq=3)
        since, all_the_time = Before(shown, frozenset()), Before(shown, frozenset(peers(80)))
        for is_back, before, after in (
            (False, since, [60, 70]),
            (True, all_the_time, [60, 70]),
            (False, all_the_time, [60, 70, 90]),
        ):
            silences = dict(self.node.liveness._silent)
            if is_back:
                self.node.liveness.answered(peer(80), self.scene.link.clock.seconds())
            uniting.merge(shown, before)
            self.assertEqual(self.state(), (40, after))
            self.node.liveness._silent.update(silences)

    def test_named_by_another_entry(self) -> None:
        """A member that the head leaves out comes in by the table of any other entry, once it has answered itself."""
        self.scene.show(table(70, (75, 80, 90), 60, seq=2))
        self.scene.others[75] = ScriptedAnswers()
        self.scene.links[75] = self.scene.start(peer(75), self.scene.others[75])
        self.scene.show(table(75, (80, 90, 10), 70))
        self.scene.advance(60)
        self.assertEqual(self.state(), (40, [60, 70, 75]))

    def test_no_member_named(self) -> None:
        """Who answers there, and says that he is no member, does not come in."""
        self.scene.others[65] = ScriptedAnswers()
        self.scene.links[65] = self.scene.start(peer(65), self.scene.others[65])
        self.scene.reply(65, not_member(65))
        self.scene.show(table(60, (65, 70, 80), 50, seq=3))
        self.asked_by(60, Changed())
        self.scene.advance(60)
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_unfinished_newcomer(self) -> None:
        """Nor does one that is no member."""
        self.scene.reply(55, not_member(55))
        self.scene.show(table(60, (70, 80, 90), 55, seq=2))
        self.scene.advance(30)
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_lying_head(self) -> None:
        """A table that the head did not sign, somebody else's, or nonsense changes nothing: it lives, so it stays."""
        lies: list[Answer] = [signed(table(60, (90,)), by=signer(peer(10))), signed(table(90, (10,))), Pong()]

        def lie(question: Question) -> Answer:
            return lies[0] if isinstance(question, GetTable) else Pong()

        self.scene.reply(60, lie)
        while lies:
            self.scene.advance(20)
            self.assertEqual(self.state(), (40, [60, 70, 80]))
            lies.pop(0)

    def test_head_dies(self) -> None:
        """A dead head is dropped, the list gets shorter, and the new head's list is taken at once."""
        self.scene.links[60].power_off()
        self.scene.show(table(70, (80, 90, 10), 60, seq=2))
        self.scene.advance(15)
        self.assertEqual(self.state(), (40, [70, 80, 90]))

    def test_head_leaves(self) -> None:
        """A head that says goodbye is dropped at once."""
        word = not_member(60, Status.LEAVING, seq=9)
        self.scene.reply(60, word)
        self.assertEqual(self.asked_by(60, Leave(word.body, word.signature)), Noted())
        self.scene.advance(1)
        self.assertEqual(self.state(), (40, [70, 80, 90]))

    def test_leave_in_anothers_name(self) -> None:
        """Nobody leaves in another's name: nobody is dropped, and the link ends."""
        word = not_member(60, Status.LEAVING, seq=9)
        self.assert_breach(10, Leave(word.body, word.signature), "10.0.0.10:6401 shows a status of 10.0.0.60:6401")
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_nonsensical_leave(self) -> None:
        """A Leave that states nothing ends the link."""
        self.assert_breach(10, Leave(b"?", bytes(64)), "signed bytes that are no status")

    def test_leave_of_yesterday(self) -> None:
        """A Leave of an earlier epoch, played again by whoever kept it, is old: nobody is dropped."""
        word = not_member(60, Status.LEAVING, epoch=0, seq=99)
        self.assertEqual(self.asked_by(60, Leave(word.body, word.signature)), Noted())
        self.scene.advance(10)
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_head_restarts(self) -> None:
        """A head that answers as another run of itself, and names a neighbour of ours, is a member again: it stays."""
        seen: list[object] = []
        self.node.membership.when_changed.append(lambda: seen.append(self.state()))
        self.scene.show(table(60, (70, 80, 90), 40, epoch=9))
        self.asked_by(60, Changed())
        self.scene.advance(1)
        self.assertEqual(seen, [])

    def test_head_restarts_elsewhere(self) -> None:
        """One that names none of us is in another ring, whose list is not ours to take: it is let go."""
        self.scene.show(table(60, (61, 62, 63), 59, epoch=9), table(70, (80, 90, 10), 50))
        self.asked_by(60, Changed())
        self.scene.advance(1)
        self.assertEqual(self.state(), (40, [70, 80, 90]))

    def test_late_leave(self) -> None:
        """The goodbye of an earlier run that comes when another one is a member, whose table we have not seen yet,
        takes nobody out, at the head or behind it.
        """
        for place, behind in ((60, (70, 80, 90)), (70, (80, 90, 10))):
            word = not_member(place, Status.LEAVING, seq=9)
            self.scene.show(table(place, behind, 50 if place == 60 else 60, epoch=9))
            self.assertEqual(self.asked_by(place, Leave(word.body, word.signature)), Noted())
            self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_leaves_and_is_gone(self) -> None:
        """A goodbye of one that does not answer any more when it comes is believed, without waiting for its death."""
        word = not_member(70, Status.LEAVING, seq=9)
        self.scene.reply(70, lambda question: Deferred())
        self.scene.links[70].ask(self.scene.me, Leave(word.body, word.signature)).addErrback(lambda failure: None)
        self.scene.advance(2)
        self.assertNotIn(peer(70), self.node.successors)

    def test_head_joins(self) -> None:
        """A head that joins, and was not taken in by us, is none."""
        self.scene.reply(60, not_member(60, epoch=9))
        self.asked_by(60, Changed())
        self.scene.advance(0.5)
        self.assertEqual(self.state(), (40, [70, 80, 90]))

    def test_link_lost(self) -> None:
        """When the link to the head is lost it is asked at once, not at the next round."""
        self.scene.advance(60)
        before = len(self.scene.asked(60))
        self.node.link_lost(peer(60), "connection reset")
        self.scene.advance(0.25)
        self.assertIn(Ping(), self.scene.asked(60)[before:])
        self.assertTrue(any(isinstance(question, GetTable) for question in self.scene.asked(60)[before:]))

    def test_strangers_link_lost(self) -> None:
        """When another's is, nobody is asked anything."""
        self.scene.advance(60)
        before = len(self.scene.asked(10))
        self.node.link_lost(peer(10), "connection reset")
        self.scene.advance(0.1)
        self.assertEqual(len(self.scene.asked(10)), before)

    def test_changed_head(self) -> None:
        """A hint from the head that its list changed is followed by a round at once; from anybody else by nothing."""
        self.scene.advance(59)
        for place, asked in ((70, False), (60, True)):
            before = len(self.scene.asked(60))
            self.assertEqual(self.asked_by(place, Changed(), 0.3), Noted())
            questions = self.scene.asked(60)[before:]
            self.assertIs(any(isinstance(question, GetTable) for question in questions), asked)

    def test_newcomer_speaks_up(self) -> None:
        """A newcomer in front of our head that says so itself is reached at once, and adopted for its table: the head
        need not have heard of it.
        """
        self.scene.show(table(55, (60, 70, 80), 50))
        self.asked_by(55, Changed())
        self.scene.advance(0.5)
        self.assertEqual(self.state(), (40, [55, 60, 70]))

    def test_no_newcomer_speaks_up(self) -> None:
        """Whoever says so and shows no table is not adopted."""
        self.asked_by(55, Changed())
        self.scene.advance(10)
        self.assertEqual(self.state(), (40, [60, 70, 80]))

    def test_asked_from_in_between(self) -> None:
        """Whoever asks for our table from between us and our head is looked for at once."""
        self.scene.advance(60)
        before = len(self.scene.asked(60))
        self.scene.links[55].ask(self.scene.me, GetTable(0, 0))
        self.scene.advance(0.3)
        self.assertGreater(len(self.scene.asked(60)), before)


class RectifyTests(OneNodeTestCase):
    """Who notifies, and what comes of it."""

    def setUp(self) -> None:
        super().setUp()
        self.be_member()

    def notify(self, place: int, seconds: float = 1) -> None:
        self.asked_by(place, Notify(1), seconds)

    def test_closer(self) -> None:
        """A closer notifier that shows its table becomes the predecessor."""
        self.scene.show(table(45, (50, 60, 70), 40))
        self.notify(45)
        self.assertEqual(self.node.predecessor, peer(45))

    def test_predecessor_that_restarted(self) -> None:
        """It said that it joins afresh, and is a member again: who notifies from farther away does not replace it."""
        said = not_member(40, Status.JOINING, epoch=2, seq=1)
        self.asked_by(40, Leave(said.body, said.signature))
        self.scene.show(table(40, (50, 60, 70), 20, epoch=2, seq=5))
        self.asked_by(40, Notify(2))
        self.notify(20)
        self.assertEqual(self.node.predecessor, peer(40))

    def test_unreachable(self) -> None:
        """One that we cannot reach ourselves does not, though its notification reached us (the Chord paper, figure 6,
        adopts it).
        """
        self.scene.reply(45, lambda question: Deferred())
        self.notify(45, 5)
        self.assertEqual(self.node.predecessor, peer(40))

    def test_no_member(self) -> None:
        """Nor does one that is no member."""
        self.scene.reply(45, not_member(45))
        self.notify(45)
        self.assertEqual(self.node.predecessor, peer(40))

    def test_farther(self) -> None:
        """Nor one that lies farther than our predecessor, which lives."""
        self.notify(20)
        self.assertEqual(self.node.predecessor, peer(40))
        self.assertIn(GetTable, [type(question) for question in self.scene.asked(40)])

    def test_predecessor_dead(self) -> None:
        """It does once our predecessor is dead by the rule of death."""
        self.scene.links[40].power_off()
        self.notify(20, 1)
        self.assertEqual(self.node.predecessor, peer(40))
        self.scene.advance(6)
        self.assertEqual(self.node.predecessor, peer(20))

    def test_predecessor_left(self) -> None:
        """Or at once, when it is no member any more by its own word."""
        self.scene.reply(40, not_member(40, Status.LEAVING, seq=9))
        self.notify(20)
        self.assertEqual(self.node.predecessor, peer(20))

    def test_closest_of_several(self) -> None:
        """Of several that notify while another is looked at, only the closest is looked at next."""
        self.node.fingers.chore.stop()
        self.scene.advance(1)
        self.scene.reply(10, lambda question: Deferred())
        for place in (10, 90, 20, 90):
            self.scene.links[place].ask(self.scene.me, Notify(1))
        before = {place: len(self.scene.asked(place)) for place in (20, 90)}
        self.scene.advance(3)
        looked_at = {
            place: GetTable in map(type, self.scene.asked(place)[asked_before:])
            for place, asked_before in before.items()
        }
        self.assertEqual(looked_at, {20: True, 90: False})

    def test_closer_does_not_wait(self) -> None:
        """A closer one is adopted while another waits for the verdict on our predecessor."""
        self.scene.show(table(45, (50, 60, 70), 40))
        self.scene.links[40].power_off()
        self.scene.links[20].ask(self.scene.me, Notify(1))
        self.scene.advance(0.5)
        self.notify(45, 0.5)
        self.assertEqual(self.node.predecessor, peer(45))
        self.scene.advance(6)
        self.assertEqual(self.node.predecessor, peer(45))

    def test_again_and_again(self) -> None:
        """One that notifies without end is looked at some times at once, then once a second; others do not wait."""
        self.node.fingers.chore.stop()
        self.scene.advance(1)
        before, seconds = len(self.scene.asked(20)), 10
        for _ in range(seconds * 10):
            self.notify(20, 0.1)
        looks = [question for question in self.scene.asked(20)[before:] if isinstance(question, GetTable)]
        self.assertIn(len(looks), range(seconds, seconds + int(LOOKS_AT_ONCE) + 2))
        self.scene.show(table(45, (50, 60, 70), 40))
        self.notify(45)
        self.assertEqual(self.node.predecessor, peer(45))

    def test_of_another_ring(self) -> None:
        """A notifier that shows a ring of its own is none of ours."""
        self.scene.show(table(45, (), whole=True))
        self.notify(45)
        self.assertEqual(self.node.predecessor, peer(40))


class NewcomerTests(OneNodeTestCase):
    """Newcomers of a small ring: 90 and the node at 50; one at 60 asks to be taken in."""

    def setUp(self) -> None:
        super().setUp()
        self.node.start()
        self.node.routing.join(peer(90), peers(90), whole=True)
        self.scene.show(table(90, (50,), 50, whole=True))
        self.scene.advance(8)
        self.scene.reply(60, joins)

    def announce(self, step: int) -> Answer:
        return self.asked_by(60, Announce(1, step))

    def test_unfinished(self) -> None:
        """One that was taken in is our head while it joins, is shown to nobody, and keeps nothing yet."""
        self.assertIsInstance(self.announce(ANNOUNCE), Announced)
        self.scene.advance(5)
        self.assertEqual(self.state(), (90, [60, 90]))
        self.assertEqual(self.node.statements.table.successors, peers(90))
        route = self.node.known_route(at(55))
        assert route is not None
        self.assertEqual(places(route.replicas), [90, 50])

    def test_goes_live(self) -> None:
        """When it goes live it is shown, and keeps its arc."""
        self.announce(ANNOUNCE)
        self.scene.show(table(60, (90, 50), 50, whole=True, seq=2), table(90, (50, 60), 60, whole=True, seq=2))
        self.announce(LIVE)
        self.scene.advance(5)
        self.assertEqual(self.node.statements.table.successors, peers(60, 90))

    def test_contradicted(self) -> None:
        """A head whose list is not whole ends no wholeness while most others show whole lists in which we stand, and
        does when they show none.
        """
        for is_whole in (True, False):
            with self.subTest(is_whole=is_whole):
                self.node.routing.join(peer(90), peers(60, 80, 90), whole=True)
                self.scene.show(
                    table(60, (10, 20), 50, seq=3 - is_whole),
                    table(80, (90, 50, 60) if is_whole else (90, 10), 60, whole=is_whole, seq=3 - is_whole),
                    table(90, (50, 60, 80) if is_whole else (10, 20), 80, whole=is_whole, seq=3 - is_whole),
                )
                self.scene.silence(10, 20)
                self.scene.advance(20)
                self.assertEqual(self.node.routing.whole, is_whole)
                self.assertEqual(places(self.node.routing.successors), [60, 80, 90])

    def test_no_longer_contradicted(self) -> None:
        """What others showed once makes no list whole when they cannot be asked any more."""
        self.node.routing.join(peer(90), peers(60, 80, 90), whole=True)
        self.scene.show(
            table(60, (70, 80), 50), table(80, (90, 50), 60, whole=True), table(90, (50, 80), 80, whole=True, seq=2)
        )
        self.scene.advance(20)
        self.assertTrue(self.node.routing.whole)
        self.scene.silence(70, 80, 90)
        self.node.routing.join(peer(90), peers(60, 80, 90), whole=False)
        for _ in range(30):
            self.scene.advance(0.1)
            self.assertFalse(self.node.routing.whole)

    def test_never_announced(self) -> None:
        """One that joined a ring while it was large, and says that it is live, is reached and taken in at once when the
        member behind it shows it: the ring has become whole without it.
        """
        self.scene.show(table(60, (90, 50), 50, whole=True), table(90, (50, 60), 60, whole=True, seq=2))
        self.announce(LIVE)
        self.scene.advance(0.1)
        self.assertEqual((self.state(), self.node.routing.whole), ((90, [60, 90]), True))
        self.assertEqual(self.node.statements.table.successors, peers(60, 90))

    def test_says_that_it_is_live(self) -> None:
        """One that only says so, and shows no table, is not."""
        self.announce(LIVE)
        self.scene.advance(5)
        self.assertEqual(self.state(), (90, [90]))

    def test_shown_by_nobody(self) -> None:
        """One that never had the slot, and whom no member next to it shows, is no member by its own table."""
        for place in (60, 70, 80, 10, 20):
            self.scene.show(table(place, (90, 50), 50, whole=True))
            self.asked_by(place, Announce(1, LIVE), 1)
        self.scene.advance(10)
        self.assertEqual((self.state(), self.node.routing.whole), ((90, [90]), True))

    def test_notifiers_without_the_slot(self) -> None:
        """Of those that never had it, and notify us, one comes in at a time, whatever they show."""
        for place in (45, 48, 49):
            if place not in self.scene.links:
                self.scene.others[place] = ScriptedAnswers()
                self.scene.links[place] = self.scene.start(peer(place), self.scene.others[place])
            self.scene.show(table(place, (50, 90), 90, whole=True))
            self.asked_by(place, Notify(1), 0.1)
        self.assertEqual(self.node.predecessor, peer(45))
        self.scene.advance(1 / STRANGERS_PER_S)
        self.asked_by(49, Notify(1), 0.1)
        self.assertEqual(self.node.predecessor, peer(49))

    def test_live_members_place(self) -> None:
        """Another program at a live member's IP address, on another port and with another key, takes nothing of it,
        whatever it says and whoever names it; when the member is dead by our own questions it may.
        """
        other = peer(90, 7000)
        answers = ScriptedAnswers()
        link = self.scene.start(other, answers)
        shown = signed(replace(table(90, (50,), 50, whole=True), peer=other, key=signer(other).public))
        answers.reply = lambda asker, question: shown if isinstance(question, GetTable) else Pong()

        def attack() -> None:
            for question in (Announce(1, LIVE), Announce(1, ANNOUNCE), Notify(1)):
                link.ask(self.scene.me, question).addErrback(lambda failure: None)
                self.scene.advance(3)

        attack()
        self.assertEqual((self.node.predecessor, self.node.successors), (peer(90), peers(90)))
        self.scene.links[90].crash()
        self.scene.advance(10)
        self.assertTrue(is_alone(self.node.routing))
        attack()
        self.assertEqual(self.node.successors, (other,))

    def test_unknown_to_the_head(self) -> None:
        """We ourselves, when a whole head does not know us, keep everybody and tell all of them that we are live."""
        self.node.routing.join(peer(40), peers(60, 90, 40), whole=True)
        self.scene.show(table(60, (90, 40), 40, whole=True), table(90, (40, 60), 60, whole=True))
        self.scene.show(table(40, (60, 90), 90, whole=True))
        self.scene.advance(8)
        self.assertEqual((self.state(), self.node.routing.whole), ((40, [60, 90, 40]), True))
        for place in (60, 90, 40):
            self.assertIn(Announce(self.node.membership.epoch, LIVE), self.scene.asked(place))

    def test_invented_names(self) -> None:
        """Names that a whole list shows us, and at which nobody ever answered, do not come into ours; it stays whole.
        They are asked later and later, and come in when they answer.
        """
        self.scene.show(table(90, (50, 60, 70), 70, whole=True, seq=2), table(70, (90, 50, 60), 60, whole=True))
        self.scene.show(table(60, (65, 70, 75, 90, 30, 50), 50, whole=True))
        self.asked_by(90, Changed())
        self.scene.advance(20)
        self.assertEqual((self.state(), self.node.routing.whole), ((90, [60, 70, 90]), True))
        self.scene.others[65] = ScriptedAnswers()
        self.scene.links[65] = self.scene.start(peer(65), self.scene.others[65])
        self.scene.show(table(65, (70, 90), 60, whole=True))
        self.asked_by(65, Ping())
        self.asked_by(60, Changed())
        self.scene.advance(10)
        self.assertEqual((self.state(), self.node.routing.whole), ((90, [60, 65, 70, 90]), True))

    def test_unknown_predecessor(self) -> None:
        """A list that becomes whole by a head that does not know our predecessor has that at its end, if it lives."""
        self.node.routing.join(peer(40), peers(60, 90), whole=False)
        self.scene.show(table(60, (90, 50), 50, whole=True, seq=2), table(90, (50, 60), 60, whole=True, seq=2))
        self.scene.show(table(40, (50, 60, 90), 90))
        self.scene.advance(8)
        self.assertEqual((self.state(), self.node.routing.whole), ((40, [60, 90, 40]), True))

    def test_withdraws(self) -> None:
        """When it withdraws the list is what it was, and whole."""
        self.announce(ANNOUNCE)
        self.assertEqual(self.state(), (90, [60, 90]))
        self.announce(WITHDRAW)
        self.assertEqual((self.state(), self.node.routing.whole), ((90, [90]), True))

    def test_member_restarts(self) -> None:
        """A member that is taken in again, as another run, is met as that, and not dropped once more for it."""
        word = not_member(90, epoch=2)
        self.scene.reply(90, lambda question: word if isinstance(question, GetTable) else Pong())
        self.asked_by(90, Leave(word.body, word.signature))
        self.assertEqual((self.state(), is_alone(self.node.routing)), ((None, []), True))
        self.asked_by(90, Announce(2, ANNOUNCE))
        self.scene.show(table(90, (50,), 50, whole=True, epoch=2))
        self.asked_by(90, Announce(2, LIVE))
        seen: list[object] = []
        self.node.membership.when_changed.append(lambda: seen.append(self.state()))
        self.asked_by(90, Notify(2))
        self.scene.advance(20)
        self.assertEqual(seen, [(90, [90])])

    def test_dies(self) -> None:
        """When it dies it is dropped."""
        self.announce(ANNOUNCE)
        self.scene.links[60].crash()
        self.scene.advance(15)
        self.assertEqual((self.state(), self.node.routing.whole), ((90, [90]), True))

    def test_neither(self) -> None:
        """One that does nothing of all this is let go after a while: it must not keep us from stabilizing for ever."""
        for step in (ANNOUNCE, LIVE):
            with self.subTest(step=step):
                self.announce(ANNOUNCE)
                self.announce(step)
                self.assertEqual(self.state(), (90, [60, 90]))
                self.scene.advance(40)
                self.assertEqual((self.state(), self.node.routing.whole), ((90, [90]), True))


def joins(question: Question) -> Answer:
    """What a newcomer at 60 answers."""
    return not_member(60) if isinstance(question, GetTable) else Pong()
