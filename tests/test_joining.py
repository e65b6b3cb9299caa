"""Behaviour of a newcomer: finding its place, being admitted, being taken in, and reading twice before it goes live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.core.small_ring import closing_max
from chordtwist.core.table import Table
from chordtwist.node.ring.admission import ANNOUNCE, LIVE, PROBE, WITHDRAW
from chordtwist.node.ring.joining import ATTEMPTS_MAX
from chordtwist.node.ring.starting_over import LINED_UP_MAX_S, PATIENCE_MAX, PAUSE_LONGEST_S, InTheWay
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.simulation.signer import verify_simulated
from chordtwist.wire.peer_messages import (
    Announce,
    Announced,
    Answer,
    GetTable,
    JoinFailure,
    JoinRequest,
    JoinSuccess,
    Leave,
    Noted,
    PingFor,
    Pong,
    Question,
    Silent,
)
from tests.builders import (
    IDENTITY,
    Neighbourhood,
    busy,
    large_ring,
    newcomer,
    not_member,
    peer,
    peers,
    places,
    signed,
    signer,
    table,
    whole_ring,
)
from tests.contracts import ScriptedAnswers

ENTRIES_MAX = 2
DEAD_AFTER_S = 3.0


class JoiningTestCase(SynchronousTestCase):
    """We are to join at 35, with lists of two entries."""

    ring: ClassVar[dict[int, Table]]

    def setUp(self) -> None:
        """Every member shows its table, admits everybody, and takes everybody in."""
        self.scene = Neighbourhood(35, *self.ring)
        self.scene.show(*self.ring.values())
        self.members = [*peers(*self.ring)]
        for place in self.ring:
            self.answer(place, JoinRequest, JoinSuccess())
            self.answer(place, Announce, Announced([member.packed for member in self.members]))
            self.answer(place, Leave, Noted())
        link = self.scene.link
        self.routing = Routing(self.scene.me, ENTRIES_MAX)
        statements = Statements(IDENTITY, self.routing, signer(self.scene.me), lambda: 0, link.key_of, 4, lambda: 0)
        tables = Tables(IDENTITY, link.ask, link.key_of, verify_simulated, link.clock.seconds, ENTRIES_MAX)
        self.joining = newcomer(self.scene, self.routing, statements, tables)

    def answer(self, place: int, kind: type[Question], *answers: Answer) -> None:
        """The peer at a place answers questions of a kind with these, one after another, the last one for good."""
        scripted = self.scene.others[place]
        before, left = scripted.reply, list(answers)

        def reply(asker: Peer, question: Question) -> Answer | Deferred[Answer]:
            if not isinstance(question, kind):
                return before(asker, question)
            return left.pop(0) if len(left) > 1 else left[0]

        scripted.reply = reply

    def join(self, *contacts: int) -> Deferred[Peer]:
        return Deferred.fromCoroutine(self.joining.join(peers(*contacts)))

    def joined(self, *contacts: int, seconds: float = 3) -> Peer:
        joining = self.join(*contacts)
        self.scene.advance(seconds)
        return self.successResultOf(joining)

    def asked(self, place: int, kind: type[Question]) -> list[Question]:
        return [question for question in self.scene.asked(place) if isinstance(question, kind)]

    def steps(self, place: int) -> list[int]:
        """The steps of the announcements that a peer heard."""
        return [question.step for question in self.scene.asked(place) if isinstance(question, Announce)]


class LargeRingTests(JoiningTestCase):
    """Joining a ring of 10 to 80, too large for whole lists (Zave: join)."""

    ring = large_ring(ENTRIES_MAX, 10, 20, 30, 40, 50, 60, 70, 80)

    def test_join(self) -> None:
        """The newcomer takes its predecessor's whole list, and its arc from its successor, whom it names."""
        self.assertEqual(self.joined(70), peer(40))
        self.assertEqual(self.routing.predecessor, peer(30))
        self.assertEqual((self.routing.successors, self.routing.whole), (peers(40, 50), False))

    def test_admission(self) -> None:
        """The owner of its place is asked for admission, once, and nobody else."""
        self.joined(70)
        self.assertEqual(self.asked(40, JoinRequest), [JoinRequest(4)])
        self.assertEqual([place for place in self.ring if self.asked(place, JoinRequest)], [40])

    def test_nobody_is_told(self) -> None:
        """In a large ring nobody is told: newcomers are met when their neighbours stabilize."""
        self.joined(70)
        self.assertEqual([place for place in self.ring if self.steps(place)], [])

    def test_second_read(self) -> None:
        """The predecessor is read again last of all; when its list is another by then it is read until it says the same
        twice, and the owner admits us anew.
        """
        self.answer(30, GetTable, signed(self.ring[30]), signed(table(30, (40, 60), 20, seq=2)))
        self.joined(30, seconds=0.3)
        self.assertEqual([len(self.asked(30, GetTable)), len(self.asked(40, JoinRequest))], [3, 2])
        self.assertEqual(self.routing.successors, peers(40, 50))

    def test_second_read_at_our_place(self) -> None:
        """When it names somebody else at our place, or does not name the owner, everything starts over."""
        for named in (33, 40), (38, 40), (50, 60):
            with self.subTest(named=named):
                self.setUp()
                self.answer(30, GetTable, signed(self.ring[30]), signed(table(30, named, 20, seq=2)))
                self.assertNoResult(joining := self.join(30))
                self.scene.advance(0.3)
                self.assertNoResult(joining)
                self.assertEqual(self.routing.successors, ())

    def test_never_the_same(self) -> None:
        """A predecessor whose list is another at each second read is one that lies, and keeps nobody out for ever."""
        tables = [signed(table(30, (40, 50 + n % 2 * 10), 20, seq=2 + n)) for n in range(200)]
        self.answer(30, GetTable, *tables)
        self.assertEqual(self.joined(30, seconds=15), peer(40))

    def test_always_whole_at_last(self) -> None:
        """So is one whose list is whole at each second read."""
        tables = [signed(table(30, (40, 50), 20, whole=n % 2 == 1, seq=2 + n)) for n in range(200)]
        self.answer(30, GetTable, *tables)
        self.assertEqual(self.joined(30, seconds=15), peer(40))

    def silent_to(self, place: int, kind: type[Question], first: int = 0) -> None:
        """The peer at a place answers questions of a kind no more after the first so many."""
        scripted, heard = self.scene.others[place], []
        before = scripted.reply

        def reply(asker: Peer, question: Question) -> Answer | Deferred[Answer]:
            if isinstance(question, kind):
                heard.append(question)
                if len(heard) > first:
                    return Deferred()
            return before(asker, question)

        scripted.reply = reply

    def test_silent_to_requests(self) -> None:
        """An owner that shows its table, and never says whether it admits us, is overruled where others reach us."""
        self.silent_to(40, JoinRequest)
        for place in self.ring:
            self.answer(place, PingFor, Pong())
        self.assertEqual(self.joined(70, seconds=60), peer(40))

    def test_silent_to_requests_as_others(self) -> None:
        """It is right where they do not."""
        self.silent_to(40, JoinRequest)
        for place in self.ring:
            self.answer(place, PingFor, Silent())
        joining = self.join(70)
        self.scene.advance(60)
        self.failureResultOf(joining, Refused)

    def test_silent_to_goodbyes(self) -> None:
        """A predecessor that goes on listing our earlier run, and does not answer when told of it, is overruled."""
        self.scene.show(table(30, (35, 40), 20, seq=2))
        self.silent_to(30, Leave)
        self.assertEqual(self.joined(70, seconds=60), peer(40))

    def test_becomes_small_meanwhile(self) -> None:
        """A list that is whole at the second read makes it start over, by the rules of small rings."""
        self.answer(30, GetTable, signed(self.ring[30]), signed(table(30, (40, 50), 20, whole=True, seq=2)))
        joining = self.join(30)
        self.scene.advance(0.3)
        self.assertNoResult(joining)

    def refuse(self, reason: str, *reached_by: int) -> None:
        """The owner refuses us; only these say that they reach us."""
        self.answer(40, JoinRequest, JoinFailure(reason))
        for place in self.ring:
            self.answer(place, PingFor, Pong() if place in reached_by else Silent())

    def test_refused(self) -> None:
        """A refusal ends the attempt, in the words of whoever refused, when others do not reach us either."""
        self.refuse("you cannot be reached", 20)
        joining = self.join(70)
        self.scene.advance(3)
        error = self.failureResultOf(joining, Refused).value
        self.assertEqual(str(error), "10.0.0.40:6401 does not admit us: you cannot be reached")

    def test_refused_by_one(self) -> None:
        """A refusal is the opinion of one where most others say that they reach us."""
        self.refuse("you cannot be reached", 10, 20, 30, 70, 80)
        self.assertEqual(self.joined(70), peer(40))

    def name_better(self) -> None:
        """40 names 37, a member that nobody lists, as the owner of our place."""
        self.scene.others[37] = ScriptedAnswers()
        self.scene.start(peer(37), self.scene.others[37])
        self.scene.show(table(37, (40, 50), 30))
        self.answer(37, JoinRequest, JoinSuccess())
        self.answer(40, JoinRequest, JoinFailure("not mine", better=peer(37).packed))

    def test_better_peer(self) -> None:
        """A better peer that shows itself to be a member nearer to our place means that the ring changed: everything
        starts over.
        """
        self.name_better()
        joining = self.join(70)
        self.scene.advance(0.3)
        self.assertNoResult(joining)
        self.scene.advance(2)
        self.assertEqual(
            len(self.asked(40, JoinRequest)), 1
        )  # from now on the better one is asked, though no list has it
        self.scene.show(table(30, (37, 40), 20, seq=2))
        self.scene.advance(3)
        self.assertEqual(self.successResultOf(joining), peer(37))

    def test_better_peer_that_nobody_lists(self) -> None:
        """Such a member is where the newcomer begins then, also where it asks nobody whom it has met before."""
        self.name_better()
        joining = Deferred.fromCoroutine(self.joining.join(peers(70), alone=True))
        self.scene.advance(2)
        self.assertEqual(len(self.asked(40, JoinRequest)), 1)
        self.scene.show(table(30, (37, 40), 20, seq=2))
        self.scene.advance(3)
        self.assertEqual(self.successResultOf(joining), peer(37))

    def test_no_better_peer(self) -> None:
        """One that is silent, stands elsewhere, or is no peer at all is the opinion of one."""
        for better in (peer(37).packed, peer(60).packed, bytes(6)):
            self.answer(40, JoinRequest, JoinFailure("not mine", better=better))
            self.assertEqual(self.joined(70), peer(40))

    def test_silent_owner(self) -> None:
        """An owner that is silent is passed over when it is dead by the rule, no sooner: nobody may be skipped who
        lives.
        """
        self.scene.silence(40)
        joining = self.join(70)
        self.scene.advance(DEAD_AFTER_S)
        self.assertNoResult(joining)
        self.scene.advance(5)
        self.assertEqual(self.successResultOf(joining), peer(50))

    def test_behind_a_dead_head(self) -> None:
        """So is a head before our place that shows no table: we join behind the member before it."""
        self.scene.silence(30)
        joining = self.join(70)
        self.scene.advance(DEAD_AFTER_S)
        self.assertNoResult(joining)
        self.scene.advance(5)
        self.assertEqual(self.successResultOf(joining), peer(40))
        self.assertEqual((self.routing.predecessor, self.routing.successors), (peer(20), peers(40, 50)))

    def test_mute_owner(self) -> None:
        """One that lives and never shows a table keeps nobody out for ever."""
        self.answer(40, GetTable, Pong())
        joining = self.join(70)
        self.scene.advance(DEAD_AFTER_S)
        self.assertNoResult(joining)
        self.scene.advance(15)
        self.assertEqual(self.successResultOf(joining), peer(50))

    def test_hollow_list(self) -> None:
        """The list of the member before us may be a liar's: that of the owner completes it."""
        for listed in ((40,), (60, 80)):
            self.scene.show(table(30, listed, 20, seq=2))
            self.assertEqual(self.joined(70), peer(40))
            self.assertEqual(self.routing.successors, peers(40, 50))

    def test_dead_name_of_the_owner(self) -> None:
        """Whom the owner alone names inside that list comes in when it answers: the dead would push out who lives."""
        self.scene.show(table(40, (45, 50), 30, seq=2))
        self.assertEqual(self.joined(70, seconds=6), peer(40))
        self.assertEqual(self.routing.successors, peers(40, 50))
        self.scene.others[45] = ScriptedAnswers()
        self.scene.start(peer(45), self.scene.others[45])
        self.scene.show(table(45, (50, 60), 40))
        self.joined(70)
        self.assertEqual(self.routing.successors, peers(40, 45))

    def test_shortened_lists(self) -> None:
        """Nobody joins where deaths have shortened both lists: the ring may be too small for these rules."""
        self.scene.show(table(30, (40,), 20, seq=2), table(40, (), 30, seq=2))
        joining = self.join(70)
        self.scene.advance(5)
        self.assertNoResult(joining)

    def test_earlier_incarnation(self) -> None:
        """When its own earlier run is still listed, it tells its predecessor so, with its signed word, and waits."""
        self.scene.show(table(30, (35, 40), 20, seq=2))
        joining = self.join(70)
        self.scene.advance(0.5)
        self.assertNoResult(joining)
        self.assertTrue(self.asked(30, Leave))
        self.scene.show(table(30, (40, 50), 20, seq=3))
        self.scene.advance(3)
        self.successResultOf(joining)

    def test_older_than_silent(self) -> None:
        """A predecessor that does not answer to that makes it start over."""
        self.scene.show(table(30, (35, 40), 20, seq=2))
        joining = self.join(70)
        self.scene.advance(0.3)
        self.scene.silence(30)
        self.scene.advance(3)
        self.assertNoResult(joining)

    def test_held_place(self) -> None:
        """When another port of its address is a member in its place, that is refused by what our own dial finds."""
        holder = peer(35, 7000)
        self.scene.others[35] = ScriptedAnswers()
        self.scene.start(holder, self.scene.others[35])
        self.answer(35, GetTable, signed(replace(table(35, (40, 50), 30), peer=holder), by=signer(holder)))
        self.scene.show(replace(table(30, (50, 40), 20, seq=2), successors=(holder, peer(40))))
        joining = self.join(30)
        self.scene.advance(3)
        self.failureResultOf(joining, Refused)

    def test_nobody_there(self) -> None:
        """When no contact shows a table, it fails: the caller tries others."""
        self.scene.silence(*self.ring)
        joining = self.join(70, 80)
        self.scene.advance(3)
        self.failureResultOf(joining, Unreachable)

    def test_dead_members_on_the_way(self) -> None:
        """Dead members are no obstacle as long as its neighbours live."""
        self.scene.silence(60, 50, 10)
        self.assertEqual(self.joined(70, seconds=5), peer(40))

    def test_too_few_alive(self) -> None:
        """A ring that has so few living members left that its lists will close is not joined before they do: they would
        skip a newcomer that they have not met.
        """
        self.assertEqual(closing_max(ENTRIES_MAX) + 2, 5)
        self.scene.silence(10, 50, 60, 80)
        joining = self.join(70)
        self.scene.advance(10)
        self.assertNoResult(joining)

    def test_bounded(self) -> None:
        """A ring that never comes to rest is given up in the end; the caller begins again."""
        self.scene.silence(10, 50, 60, 80)
        joining = self.join(70)
        self.scene.advance(ATTEMPTS_MAX * (PAUSE_LONGEST_S + 5))
        self.failureResultOf(joining, Unreachable)


class SmallRingTests(JoiningTestCase):
    """Joining a ring of 10, 50 and 80, in which everybody knows everybody."""

    ring = whole_ring(10, 50, 80)

    def test_join(self) -> None:
        """The newcomer knows everybody from its first moment."""
        self.assertEqual(self.joined(80), peer(50))
        self.assertEqual(self.routing.predecessor, peer(10))
        self.assertEqual((self.routing.successors, self.routing.whole), (peers(50, 80, 10), True))

    def test_announced_to_everybody(self) -> None:
        """It makes sure that it reaches every member, announces itself to each, and again when all have taken it in,
        before it goes live, and tells them when it is.
        """
        self.joined(80)
        self.assertEqual([self.steps(place) for place in self.ring], [[PROBE, ANNOUNCE, ANNOUNCE, LIVE]] * 3)

    def test_smallest_first(self) -> None:
        """The member with the smallest id is asked before all others, so that newcomers meet there."""
        late: Deferred[Answer] = Deferred()
        before = self.scene.others[10].reply
        self.scene.others[10].reply = lambda asker, question: (
            late if isinstance(question, Announce) and question.step == ANNOUNCE else before(asker, question)
        )
        joining = self.join(80)
        self.scene.advance(1)
        self.assertEqual([self.steps(place) for place in self.ring], [[PROBE, ANNOUNCE], [PROBE], [PROBE]])
        late.callback(Announced([]))
        self.scene.others[10].reply = before
        self.scene.advance(1)
        self.successResultOf(joining)

    def test_told_of_more_again_and_again(self) -> None:
        """A silent name that few of those name who took it in is no member: nobody is kept waiting by inventions."""
        for place in (60, 70):
            self.scene.others[place] = ScriptedAnswers()
            self.scene.start(peer(place), self.scene.others[place])
        everybody, before = self.members, self.scene.others[50].reply
        for place, more in ((50, peers(60)), (60, peers(60, 70))):

            def reply(asker: Peer, question: Question, more: Sequence[Peer] = more) -> Answer | Deferred[Answer]:
                if isinstance(question, Announce):
                    return Announced([member.packed for member in (*everybody, *more)])
                return before(asker, question)

            self.scene.others[place].reply = reply
        self.scene.others[70].reply = lambda asker, question: Deferred()
        self.joined(80, seconds=30)
        self.assertEqual(places(self.routing.successors), [50, 60, 80, 10])

    def test_told_of_more(self) -> None:
        """Members that others name are told as well, and become part of its list."""
        self.scene.others[60] = self.scene.others[50]
        self.scene.start(peer(60), self.scene.others[60])
        everybody = [member.packed for member in (*self.members, peer(60))]
        self.answer(80, Announce, Announced(everybody))
        self.assertEqual(self.joined(80), peer(50))
        self.assertEqual(places(self.routing.successors), [50, 60, 80, 10])

    def test_long_line(self) -> None:
        """Whoever is not let wait asks the first member only, time and again, and not at once; and goes where that one
        says that others line up.
        """
        everybody = Announced([member.packed for member in self.members])
        full = JoinFailure("another newcomer has the slot", better=peer(10).packed, busy=True)
        self.answer(10, Announce, everybody, full, full, full, everybody)
        self.joined(80, seconds=4)
        self.assertEqual(self.steps(10), [PROBE, *4 * [ANNOUNCE], ANNOUNCE, LIVE])
        self.assertEqual(self.steps(80), [PROBE, ANNOUNCE, ANNOUNCE, LIVE])

    def test_late_refusal(self) -> None:
        """Whoever is sent on has not stood in line, however late it is told: it pauses before it asks again."""
        before = self.scene.others[10].reply

        def reply(asker: Peer, question: Question) -> Answer | Deferred[Answer]:
            if not isinstance(question, Announce) or question.step != ANNOUNCE:
                return before(asker, question)
            return deferLater(self.scene.link.clock, 0.8, busy, peer(10).packed)

        self.scene.others[10].reply = reply
        self.join(80)
        self.scene.advance(10)
        self.assertLess(len(self.scene.asked(10)), 15)

    def test_nonsense_named(self) -> None:
        """An address that no peer can have is passed over."""
        self.answer(80, Announce, Announced([bytes(7), *[member.packed for member in self.members]]))
        self.joined(80)
        self.assertEqual(places(self.routing.successors), [50, 80, 10])

    def test_busy(self) -> None:
        """A member whose slot another newcomer has is asked again later; those that had taken it in are told that it
        withdrew.
        """
        everybody = Announced([member.packed for member in self.members])
        self.answer(80, Announce, everybody, JoinFailure("another newcomer has the slot", busy=True), everybody)
        joining = self.join(80)
        self.scene.advance(0.3)
        self.assertNoResult(joining)
        self.assertEqual(self.steps(10), [PROBE, ANNOUNCE, WITHDRAW])
        self.assertEqual(self.steps(50), [PROBE, ANNOUNCE, WITHDRAW])
        self.scene.advance(3)
        self.successResultOf(joining)
        self.assertEqual(self.steps(50), [PROBE, ANNOUNCE, WITHDRAW, PROBE, ANNOUNCE, ANNOUNCE, LIVE])

    def test_refused(self) -> None:
        """When half of the members refuse it, the attempt ends; all others are told."""
        everybody = Announced([member.packed for member in self.members])
        for place in (50, 80):
            self.answer(place, Announce, everybody, JoinFailure("you cannot be reached"))
        joining = self.join(80)
        self.scene.advance(2)
        error = self.failureResultOf(joining, Refused).value
        self.assertEqual(str(error), "a member does not take us in: you cannot be reached")
        self.assertEqual(self.steps(10)[-1], WITHDRAW)

    def test_refused_before_its_turn(self) -> None:
        """Those that refuse it before its turn has come, since they cannot dial it back, keep nobody waiting."""
        for place in (50, 80):
            self.answer(place, Announce, JoinFailure("you cannot be reached"))
        joining = self.join(80)
        self.scene.advance(2)
        self.failureResultOf(joining, Refused)
        self.assertEqual(self.steps(10), [PROBE])

    def test_refused_by_one(self) -> None:
        """What one of several says against it is the opinion of one, which may not reach it just now: it is asked some
        times again, and then gone without.
        """
        for place in self.ring:
            with self.subTest(place=place):
                self.setUp()
                self.answer(place, Announce, JoinFailure("I do not like you"))
                self.joined(80, seconds=30)
                self.assertEqual(len(self.routing.successors), 2)

    def test_busy_for_ever(self) -> None:
        """A member that is busy, or silent, whenever it is asked is gone without after a while, wherever it stands."""
        for place in self.ring:
            for answer in (JoinFailure("the ring is changing", busy=True), None):
                with self.subTest(place=place, answer=answer):
                    self.setUp()
                    before = self.scene.others[place].reply

                    def reply(
                        asker: Peer,
                        question: Question,
                        answer: Answer | None = answer,
                        before: Callable[[Peer, Question], Answer | Deferred[Answer]] = before,
                    ) -> Answer | Deferred[Answer]:
                        if isinstance(question, Announce):
                            return answer or Deferred()
                        return before(asker, question)

                    self.scene.others[place].reply = reply
                    self.joined(80, seconds=300)
                    self.assertEqual(len(self.routing.successors), 2)

    def test_ring_that_changes(self) -> None:
        """What most members say at once is held against none of them: it is the ring that changes."""
        taken_in = Announced([member.packed for member in self.members])
        for place, times in ((50, 15), (80, 10)):
            self.answer(place, Announce, *times * [JoinFailure("the ring is changing", busy=True)], taken_in)
        self.joined(80, seconds=60)
        self.assertEqual(len(self.routing.successors), 3)

    def test_first_that_lets_nobody_in(self) -> None:
        """A first member that keeps everybody in its line costs half a minute, wherever it sends those that wait."""
        for better in (b"", peer(10).packed, peer(5).packed, bytes(7)):
            with self.subTest(better=better):
                self.setUp()
                self.answer(10, Announce, Announced([member.packed for member in self.members]), busy(better))
                self.joined(80, seconds=LINED_UP_MAX_S + 10)
                self.assertLess(len(self.scene.asked(10)), 50)

    def test_line_that_moves_on(self) -> None:
        """A first member that lets others in is waited for, however long that takes."""
        in_the_way = InTheWay()
        for place in range(1, 6):
            in_the_way.look(peers(*range(1, place + 1)))
            in_the_way.lined_up(peer(1), LINED_UP_MAX_S - 1.0)
            self.assertFalse(in_the_way.is_overruled(peer(1)))
        in_the_way.look(peers(2, 3))
        in_the_way.lined_up(peer(1), 1.0)
        self.assertTrue(in_the_way.is_overruled(peer(1)))

    def test_silent_to_announcements(self) -> None:
        """A member that answers no announcement costs half a minute, and then nothing while we have the slots."""
        before = self.scene.others[80].reply
        self.scene.others[80].reply = lambda asker, question: (
            Deferred() if isinstance(question, Announce) else before(asker, question)
        )
        self.joined(80, seconds=40)
        self.assertEqual(self.steps(80), (PATIENCE_MAX + 1) * [PROBE])
        self.assertEqual(self.steps(10)[-3:], [ANNOUNCE, ANNOUNCE, LIVE])

    def test_strangers_named_by_one(self) -> None:
        """Those that one member names, and that answer like no member, or refuse us, keep nobody waiting."""
        for answer in (Pong(), JoinFailure("I do not like you")):
            with self.subTest(answer=answer):
                self.setUp()
                named = [Announced([member.packed for member in (*self.members, *peers(1, 2, 3, 60))])]
                for place in (1, 2, 3, 60):
                    self.scene.others[place] = ScriptedAnswers()
                    self.scene.start(peer(place), self.scene.others[place])
                    self.answer(place, Announce, answer)
                self.answer(80, Announce, *named)
                self.joined(80)
                self.assertEqual(places(self.routing.successors), [50, 80, 10])

    def test_before_it_a_liar(self) -> None:
        """Where the member before its place shows no whole list, and most others do, it joins by theirs in the end."""
        self.scene.show(table(10, (80,), 80, seq=2))
        self.joined(80, seconds=60)
        self.assertEqual((places(self.routing.successors), self.routing.whole), ([50, 80, 10], True))

    def test_one_comes_before_the_first(self) -> None:
        """A newcomer that learns, when its turn comes, of a member before the first one lines up there as others do."""
        self.scene.others[5] = self.scene.others[50]
        self.scene.start(peer(5), self.scene.others[5])
        known, everybody = ([member.packed for member in peers(*places)] for places in ((10, 50, 80), (5, 10, 50, 80)))
        self.answer(10, Announce, Announced(known), Announced(everybody))
        self.joined(80)
        self.assertEqual(self.steps(10), [PROBE, ANNOUNCE, WITHDRAW, ANNOUNCE, ANNOUNCE, LIVE])

    def test_told_once_more(self) -> None:
        """A member that is silent when its turn has come is asked once more, and told again that it is live."""
        late: Deferred[Answer] = Deferred()
        before, heard = self.scene.others[80].reply, []

        def reply(asker: Peer, question: Question) -> Answer | Deferred[Answer]:
            if isinstance(question, Announce):
                heard.append(question.step)
                if question.step in (ANNOUNCE, LIVE) and heard.count(question.step) == 1:
                    return late
            return before(asker, question)

        self.scene.others[80].reply = reply
        self.joined(80, seconds=4)
        self.scene.advance(4)
        self.assertEqual(heard, [PROBE, ANNOUNCE, ANNOUNCE, ANNOUNCE, LIVE, LIVE])

    def test_silent_member(self) -> None:
        """It goes live only when all have answered: a silent member must be found dead first."""
        self.scene.silence(80)
        joining = self.join(50)
        self.scene.advance(15)
        self.assertNoResult(joining)
        self.assertNotIn(LIVE, self.steps(10))

    def test_list_changes_meanwhile(self) -> None:
        """A member that its predecessor names at the second read, and that it has not told, makes it start over, and
        withdraw before.
        """
        self.answer(10, GetTable, signed(self.ring[10]), signed(table(10, (45, 50, 80), 80, whole=True, seq=2)))
        joining = self.join(10)
        self.scene.advance(0.4)
        self.assertNoResult(joining)
        self.assertEqual(self.steps(80), [PROBE, ANNOUNCE, ANNOUNCE, WITHDRAW])

    def test_ceases_to_be_whole_meanwhile(self) -> None:
        """So does a list that is not whole any more: the ring grew beyond it."""
        self.answer(10, GetTable, signed(self.ring[10]), signed(table(10, (50, 80), 80, seq=2)))
        joining = self.join(10)
        self.scene.advance(0.4)
        self.assertNoResult(joining)
        self.assertEqual(self.steps(80), [PROBE, ANNOUNCE, ANNOUNCE, WITHDRAW])

    def test_predecessor_leaves_meanwhile(self) -> None:
        """So does a predecessor that is no member any more."""
        self.answer(10, GetTable, signed(self.ring[10]), not_member(10, seq=9))
        joining = self.join(80)
        self.scene.advance(0.4)
        self.assertNoResult(joining)
        self.assertEqual(self.steps(80), [PROBE, ANNOUNCE, ANNOUNCE, WITHDRAW])

    def test_member_forgets_it_meanwhile(self) -> None:
        """So does a member that took it in, and has not got it any more when all others have: it restarted."""
        everybody = Announced([member.packed for member in self.members])
        self.answer(10, Announce, everybody, everybody, JoinFailure("another newcomer has the slot", busy=True))
        joining = self.join(80)
        self.scene.advance(0.3)
        self.assertNoResult(joining)
        self.assertEqual(self.steps(80), [PROBE, ANNOUNCE, ANNOUNCE, WITHDRAW])

    def test_listed_itself(self) -> None:
        """Where its own earlier run is still listed it may go on: everybody who takes it in replaces that."""
        ring = whole_ring(10, 35, 50, 80)
        self.scene.show(*[ring[place] for place in (10, 50, 80)])
        self.assertEqual(self.joined(80), peer(50))
        self.assertEqual(places(self.routing.successors), [50, 80, 10])
        self.assertTrue(self.asked(10, Leave))


class LargestSmallRingTests(JoiningTestCase):
    """Joining a ring of five, whose whole lists have room for nobody more."""

    ring = whole_ring(10, 20, 50, 70, 80)

    def test_ends_wholeness(self) -> None:
        """Taking it in made its predecessor's list an ordinary one: it joins, with an ordinary list."""
        self.answer(20, GetTable, signed(self.ring[20]), signed(table(20, (50, 70), 10, seq=2)))
        self.assertEqual(self.joined(80), peer(50))
        self.assertEqual(self.routing.predecessor, peer(20))
        self.assertEqual((self.routing.successors, self.routing.whole), (peers(50, 70), False))

    def test_another_came_meanwhile(self) -> None:
        """But not behind a predecessor that names a member which it has not told."""
        self.answer(20, GetTable, signed(self.ring[20]), signed(table(20, (45, 50), 10, seq=2)))
        joining = self.join(80)
        self.scene.advance(0.4)
        self.assertNoResult(joining)
        self.assertEqual(self.steps(80), [PROBE, ANNOUNCE, ANNOUNCE, WITHDRAW])


class RingOfOneTests(JoiningTestCase):
    """Joining a ring of one."""

    ring = whole_ring(80)

    def test_join(self) -> None:
        """The two know one another."""
        self.assertEqual(self.joined(80), peer(80))
        self.assertEqual((self.routing.predecessor, self.routing.successors), (peer(80), peers(80)))
        self.assertTrue(self.routing.whole)

    def test_listed_alone(self) -> None:
        """A member that knows nobody but our own earlier run is no place to join yet."""
        self.scene.show(table(80, (35,), 35, seq=2))
        joining = self.join(80)
        self.scene.advance(2)
        self.assertNoResult(joining)

    def test_held_place(self) -> None:
        """An only contact that stands in our very place, on another port, holds it."""
        holder = peer(35, 7000)
        self.scene.start(holder, self.scene.others[80])
        alone = table(35, whole=True)
        self.answer(80, GetTable, signed(replace(alone, peer=holder), by=signer(holder)))
        joining = Deferred.fromCoroutine(self.joining.join([holder]))
        self.scene.advance(2)
        self.assertIn("10.0.0.35:7000 holds that place", str(self.failureResultOf(joining, Refused).value))
