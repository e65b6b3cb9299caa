"""Behaviour of a member that receives newcomers."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.parameters import SUCCESSORS_MAX
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.node.ring.admission import (
    ANNOUNCE,
    FORGIVEN_PER_S,
    HELD_S,
    LIVE,
    PLACE_KEPT_S,
    PROBE,
    REACHED_MAX,
    WAITING_MAX,
    WENT_LIVE_MAX,
    WITHDRAW,
    Admission,
)
from chordtwist.wire.peer_messages import (
    Announce,
    Announced,
    Answer,
    JoinFailure,
    JoinRequest,
    JoinSuccess,
    Pong,
    Question,
    decode,
    encode,
)
from tests.builders import Neighbourhood, busy, peer, peers, places, routing

FREE_AFTER_S = 6.0


class AdmissionTestCase(SynchronousTestCase):
    """We stand at 50; newcomers at 20, 30 and 40 answer."""

    def setUp(self) -> None:
        """A small ring of 10, 50 and 80."""
        self.scene = Neighbourhood(50, 10, 80, 20, 30, 40)
        self.admit(routing(50, (80, 10), predecessor=10, whole=True))

    def admit(self, state: Routing) -> None:
        link = self.scene.link
        self.routing = state
        self.admission = Admission(state, link.ask, FREE_AFTER_S, link.clock)

    def settled(self, asked: Deferred[Answer], seconds: float = 0.2) -> Answer:
        self.scene.advance(seconds)
        return self.successResultOf(asked)


class JoinRequestTests(AdmissionTestCase):
    """`JoinRequest`: whether the place is the newcomer's to take."""

    def request(self, newcomer: Peer, seconds: float = 0.2) -> Answer:
        before = self.routing.changes
        answer = self.settled(Deferred.fromCoroutine(self.admission.request(newcomer, JoinRequest(1))), seconds)
        self.assertEqual(self.routing.changes, before)
        return answer

    def test_admitted(self) -> None:
        """A newcomer in our arc that we can dial is admitted; no pointer changes by that."""
        self.assertEqual(self.request(peer(30)), JoinSuccess())

    def test_ring_of_one(self) -> None:
        """A ring of one admits anybody."""
        alone = routing(50)
        alone.begin()
        self.admit(alone)
        self.assertEqual(self.request(peer(80)), JoinSuccess())

    def test_not_ours(self) -> None:
        """A place outside of our arc is not ours to give: the better peer to ask is named."""
        expected = JoinFailure("that place is not mine to give", better=peer(10).packed)
        self.assertEqual(self.request(peer(80)), expected)

    def test_held_by_us(self) -> None:
        """Two nodes on one place: the second is refused, and told who holds it."""
        self.assertEqual(
            self.request(peer(50, 7000)),
            JoinFailure("10.0.0.50:6401 holds that place; where identity = ip, one address is one place"),
        )

    def test_held_by_its_earlier_run(self) -> None:
        """The place of our predecessor is free for our predecessor itself: a node that was restarted."""
        self.assertEqual(self.request(peer(10)), JoinSuccess())

    def test_not_reachable(self) -> None:
        """A newcomer that we cannot dial back is refused, with both addresses, so that its operator knows."""
        self.scene.silence(30)
        expected = JoinFailure("10.0.0.30:6401 cannot be reached from 10.0.0.50:6401: no answer in time")
        self.assertEqual(self.request(peer(30), 1.5), expected)

    def test_arc_changed_meanwhile(self) -> None:
        """The place is looked at again after dialling back: somebody nearer may have come meanwhile."""
        asked = Deferred.fromCoroutine(self.admission.request(peer(30), JoinRequest(1)))
        self.routing.rectify(peer(40), predecessor_is_dead=False)
        answer = self.settled(asked)
        self.assertEqual(answer, JoinFailure("that place is not mine to give", better=peer(40).packed))


class AnnounceTests(AdmissionTestCase):
    """`Announce`: newcomers of small rings."""

    def announce(self, newcomer: Peer, step: int = ANNOUNCE, epoch: int = 1) -> Deferred[tuple[Answer, bool]]:
        return Deferred.fromCoroutine(self.admission.announcement(newcomer, Announce(epoch, step)))

    def announced(
        self, newcomer: Peer, step: int = ANNOUNCE, epoch: int = 1, seconds: float = 0.2
    ) -> tuple[Answer, bool]:
        asked = self.announce(newcomer, step, epoch)
        self.scene.advance(seconds)
        return self.successResultOf(asked)

    def members(self, answer: Answer) -> set[bytes]:
        assert isinstance(answer, Announced), answer
        return set(answer.members)

    def successors(self) -> list[int]:
        return places(self.routing.successors)

    def kept_waiting_by(self, place: int) -> None:
        """A newcomer has the slot all its time, for nothing, and another after it."""
        self.announced(peer(place))
        self.scene.advance(FREE_AFTER_S)
        self.announced(peer(40))

    def test_taken_in(self) -> None:
        """A newcomer is put into the list, which stays whole, and is told of every member."""
        answer, changed = self.announced(peer(30))
        self.assertTrue(changed)
        self.assertTrue(self.members(answer) >= {known.packed for known in peers(50, 80, 10)})
        self.assertEqual((self.successors(), self.routing.whole), ([80, 10, 30], True))
        self.assertTrue(self.admission.awaits(peer(30), 1))

    def test_largest_ring(self) -> None:
        """All members of the largest small ring there can be, and its newcomer, are told in one message."""
        ring = peers(*range(100, 101 + 2 * SUCCESSORS_MAX))
        state = Routing(self.scene.me, SUCCESSORS_MAX)
        state.join(ring[-2], ring[:-1], whole=True)
        self.admit(state)
        self.assertTrue(state.take_in(ring[-1]))
        answer, _ = self.announced(ring[-1], LIVE)
        self.assertEqual(len(self.members(answer)), 2 * SUCCESSORS_MAX + 2)
        self.assertEqual(decode(answer.kind, encode(answer)), answer)

    def test_awaited_in_that_epoch(self) -> None:
        """It is awaited as that incarnation only."""
        self.announced(peer(30), epoch=4)
        self.assertEqual([self.admission.awaits(peer(30), epoch) for epoch in (3, 4, 5)], [False, True, False])

    def test_awaited_for_a_while(self) -> None:
        """It is awaited for a bounded time, whether or not it says that it is live."""
        for step in (ANNOUNCE, LIVE):
            with self.subTest(step=step):
                self.announced(peer(30), step)
                self.scene.advance(2 * FREE_AFTER_S - 1)
                self.assertTrue(self.admission.awaits(peer(30), 1))
                self.scene.advance(1)
                self.assertFalse(self.admission.awaits(peer(30), 1))

    def test_twice(self) -> None:
        """The same announcement again is answered alike."""
        self.announced(peer(30))
        answer, changed = self.announced(peer(30))
        self.assertTrue(self.members(answer))
        self.assertFalse(changed)

    def test_twice_over_a_bad_path(self) -> None:
        """A repeated announcement takes nothing back when the newcomer cannot be reached just then: it counts on the
        first answer, and goes live.
        """
        self.announced(peer(30))
        self.scene.silence(30)
        answer, changed = self.announced(peer(30), seconds=2)
        self.assertTrue(self.members(answer))
        self.assertFalse(changed)
        self.assertTrue(self.admission.awaits(peer(30), 1))

    def test_twice_at_once(self) -> None:
        """Nor does one whose own dial fails after another's has reached the newcomer."""
        dials: list[Deferred[Answer]] = []

        def dialled(peer: Peer, question: Question) -> Deferred[Answer]:
            dials.append(Deferred())
            return dials[-1]

        admission = Admission(self.routing, dialled, FREE_AFTER_S, self.scene.link.clock)
        first, second = (
            Deferred.fromCoroutine(admission.announcement(peer(30), Announce(1, ANNOUNCE))) for _ in range(2)
        )
        dials[1].callback(Pong())
        self.assertTrue(self.successResultOf(second)[1])
        dials[0].errback(Unreachable(peer(30), "no answer in time"))
        answer, changed = self.successResultOf(first)
        self.assertTrue(self.members(answer))
        self.assertFalse(changed)
        self.assertTrue(admission.awaits(peer(30), 1))

    def test_another_has_the_slot(self) -> None:
        """A second newcomer is told to come again when the first has not gone live in a moment."""
        self.announced(peer(30))
        self.assertEqual(self.announced(peer(40), seconds=HELD_S), (busy(), False))
        self.announced(peer(30), LIVE)
        self.assertTrue(self.announced(peer(40))[1])

    def test_turns(self) -> None:
        """Those that come meanwhile have their turn as soon as the one before them is live, in the order they came."""
        self.announced(peer(30))
        second, third = self.announce(peer(40)), self.announce(peer(20))
        self.announced(peer(30), LIVE)
        self.assertTrue(self.successResultOf(second)[1])
        self.assertNoResult(third)
        self.announced(peer(40), WITHDRAW)
        self.assertTrue(self.successResultOf(third)[1])

    def test_turn_of_who_kept_others_waiting(self) -> None:
        """Whoever has kept others waiting, and has not gone live, has its turn behind those that have not."""
        self.kept_waiting_by(30)
        asked = self.announce(peer(30), epoch=2), self.announce(peer(20))
        self.announced(peer(40), LIVE)
        self.assertNoResult(asked[0])
        self.assertTrue(self.successResultOf(asked[1])[1])
        self.announced(peer(20), LIVE)
        self.assertIsInstance(self.successResultOf(asked[0])[0], Announced)

    def test_turn_of_who_withdrew(self) -> None:
        """Also when it withdrew in time."""
        self.announced(peer(30))
        self.scene.advance(FREE_AFTER_S / 2)
        self.announced(peer(30), WITHDRAW)
        self.announced(peer(40))
        asked = self.announce(peer(30), epoch=2), self.announce(peer(20))
        self.announced(peer(40), LIVE)
        self.assertNoResult(asked[0])
        self.assertTrue(self.successResultOf(asked[1])[1])

    def test_time_of_who_kept_others_waiting(self) -> None:
        """It has the slot for a moment where one waits that has kept nobody waiting, and that one for all its time."""
        self.kept_waiting_by(30)
        self.announced(peer(40), LIVE)
        self.announced(peer(30), epoch=2, seconds=0)
        self.assertTrue(self.announced(peer(20), seconds=HELD_S + 0.2)[1])
        self.assertIsInstance(self.announced(peer(30), epoch=2, seconds=FREE_AFTER_S - 1)[0], JoinFailure)

    def test_turn_before_who_kept_others_waiting(self) -> None:
        """A slot that has just become free is not for one that comes then, where one waits that owes less."""
        self.kept_waiting_by(30)
        waiting = self.announce(peer(20))
        self.announced(peer(40), LIVE, seconds=0)
        asked = self.announce(peer(30), epoch=2)
        self.scene.advance(0.2)
        self.assertTrue(self.successResultOf(waiting)[1])
        self.assertNoResult(asked)

    def test_so_many_wait(self) -> None:
        """Of those whose turn has not come only so many are kept waiting; others hear at once where to line up."""
        self.announced(peer(30))
        waiting = [self.announce(peer(place)) for place in range(1000, 1000 + WAITING_MAX)]
        self.assertEqual(self.announced(peer(40), seconds=0)[0], busy(better=peer(10).packed))
        self.scene.advance(HELD_S)
        self.assertEqual([self.successResultOf(one)[0] for one in waiting], WAITING_MAX * [busy()])

    def test_place_in_a_full_line(self) -> None:
        """One that has kept nobody waiting takes the place of one that has, and not the other way round."""
        debtors = [peer(place) for place in range(1000, 1001 + WAITING_MAX)]
        for debtor in debtors:
            self.announced(debtor)  # nobody answers there
        self.announced(peer(30))
        *waiting, last = map(self.announce, debtors)
        sent_on = busy(better=peer(10).packed)
        self.assertEqual(self.successResultOf(last)[0], sent_on)
        self.assertNoResult(asked := self.announce(peer(40)))
        self.assertEqual([self.successResultOf(one)[0] for one in waiting if one.called], [sent_on])
        self.announced(peer(30), LIVE)
        self.assertTrue(self.successResultOf(asked)[1])

    def test_place_is_kept(self) -> None:
        """Who has waited in vain finds its place kept when it asks again; else it has kept others waiting."""
        self.announced(peer(30))
        line = [peer(place) for place in range(1000, 1000 + WAITING_MAX)]
        for waiting in map(self.announce, line):
            self.addCleanup(waiting.addErrback, lambda failure: None)
        self.scene.advance(HELD_S)
        self.assertIsInstance(self.announced(peer(40), seconds=0)[0], JoinFailure)
        self.assertNoResult(self.announce(line[0]))
        self.scene.advance(PLACE_KEPT_S)
        self.assertNoResult(self.announce(peer(40)))
        self.assertGreater(self.admission._owes(line[1]), self.admission._owes(peer(40)))

    def test_place_of_who_withdrew(self) -> None:
        """Who withdraws, or went live without the slot, keeps nobody waiting by its place, and owes nothing."""
        for step in (WITHDRAW, LIVE):
            with self.subTest(step=step):
                self.announced(peer(30))
                self.announced(peer(40), seconds=HELD_S)
                self.announced(peer(40), step)
                self.scene.advance(PLACE_KEPT_S)
                self.assertNoResult(asked := self.announce(peer(20)))
                self.assertEqual(self.admission._owes(peer(40)), 0)
                for newcomer in peers(30, 20):
                    self.announced(newcomer, LIVE)
                self.assertTrue(asked.called)

    def test_place_that_was_left_long_ago(self) -> None:
        """What a place cost that nobody came back to is forgotten from then on, whenever somebody looks."""
        self.announced(peer(30))
        self.announced(peer(40), seconds=HELD_S)
        self.scene.advance(PLACE_KEPT_S / FORGIVEN_PER_S + PLACE_KEPT_S)
        self.announced(peer(20))
        self.assertNoResult(self.announce(peer(40)))
        self.assertEqual(self.admission._owes(peer(40)), 0)

    def test_asks_twice_in_line(self) -> None:
        """Who waits, has the slot for another question meanwhile, and withdraws that, still waits in line."""
        self.announced(peer(30))
        first = self.announce(peer(40))
        self.announce(peer(30), LIVE)
        self.announce(peer(40), epoch=2)
        self.announced(peer(40), WITHDRAW, epoch=2)
        self.assertTrue(self.successResultOf(first)[1])

    def test_one_place(self) -> None:
        """One newcomer has one place in the line, however often it asks."""
        self.announced(peer(30))
        self.assertNoResult(self.announce(peer(40)))
        self.assertIsInstance(self.announced(peer(40), seconds=0)[0], JoinFailure)

    def test_probes(self) -> None:
        """Before its turn it is dialled back and told of the members; not a second time when its turn comes."""
        answer, changed = self.announced(peer(30), PROBE)
        self.assertEqual((self.members(answer), changed), ({known.packed for known in peers(50, 80, 10)}, False))
        self.assertFalse(self.admission.awaits(peer(30), 1))
        self.assertTrue(self.announced(peer(30), seconds=0)[1])
        for place in range(1000, 1001 + REACHED_MAX):
            self.scene.start(peer(place), self.scene.others[40])
            self.announced(peer(place), PROBE)
        self.announced(peer(30), LIVE)
        self.assertNoResult(self.announce(peer(30), epoch=2))

    def test_probes_in_vain(self) -> None:
        """One that cannot be dialled back is refused before its turn."""
        self.scene.silence(30)
        expected = JoinFailure("10.0.0.30:6401 cannot be reached from 10.0.0.50:6401: no answer in time")
        self.assertEqual(self.announced(peer(30), PROBE, seconds=1.5), (expected, False))

    def test_after_a_withdrawal(self) -> None:
        """Or has withdrawn."""
        self.announced(peer(30))
        self.announced(peer(30), WITHDRAW)
        self.assertTrue(self.announced(peer(40))[1])

    def test_newcomer_that_never_goes_live(self) -> None:
        """One that was heard of no more keeps others waiting for a bounded time."""
        self.announced(peer(30))
        self.scene.advance(FREE_AFTER_S)
        self.assertTrue(self.announced(peer(40))[1])

    def test_keeps_its_time(self) -> None:
        """It keeps them waiting no longer by saying the same again and again."""
        self.announced(peer(30))
        for _ in range(3):
            self.scene.advance(FREE_AFTER_S / 4)
            self.assertTrue(self.members(self.announced(peer(30))[0]))
        self.scene.advance(FREE_AFTER_S / 4)
        self.assertTrue(self.announced(peer(40))[1])

    def test_withdrawn(self) -> None:
        """Whoever withdraws is taken out again, and the list stays whole."""
        self.announced(peer(30))
        answer, changed = self.announced(peer(30), WITHDRAW)
        self.assertTrue(self.members(answer) and changed)
        self.assertEqual((self.successors(), self.routing.whole), ([80, 10], True))
        self.assertFalse(self.admission.awaits(peer(30), 1))

    def test_withdrawal_of_nobody(self) -> None:
        """A member that is no newcomer is not taken out by the word "withdrawn", nor one of another epoch."""
        self.assertFalse(self.announced(peer(80), WITHDRAW)[1])
        self.announced(peer(30), epoch=4)
        self.announced(peer(30), LIVE, epoch=4)
        self.assertFalse(self.announced(peer(30), WITHDRAW, epoch=5)[1])
        self.assertEqual(self.successors(), [80, 10, 30])

    def test_live(self) -> None:
        """Whoever has gone live stays, and is shown to others."""
        self.announced(peer(30))
        self.assertEqual(places(self.routing.live_successors), [80, 10])
        self.announced(peer(30), LIVE)
        self.assertEqual(places(self.routing.live_successors), [80, 10, 30])

    def test_still_awaited_behind_live(self) -> None:
        """That it joins, said before it went live and overtaken, is no news afterwards, for the last newcomers."""
        self.announced(peer(30), LIVE, epoch=4)
        self.assertTrue(self.admission.awaits(peer(30), 4))
        for place in range(1000, 1000 + WENT_LIVE_MAX):
            self.announced(peer(place), LIVE, seconds=0)
        self.assertFalse(self.admission.awaits(peer(30), 4))

    def test_held_by_us(self) -> None:
        """Our own place is refused to anybody else."""
        expected = (
            JoinFailure("10.0.0.50:6401 holds that place; where identity = ip, one address is one place"),
            False,
        )
        self.assertEqual(self.announced(peer(50, 7000)), expected)

    def test_held_by_a_live_member(self) -> None:
        """So is that of a live member on another port."""
        other = peer(80, 7000)
        self.scene.start(other, self.scene.ours)
        self.assertEqual(
            self.announced(other),
            (JoinFailure("10.0.0.80:6401 holds that place; where identity = ip, one address is one place"), False),
        )
        self.assertEqual(self.routing.successors, peers(80, 10))
        self.scene.links[80].crash()
        self.assertTrue(self.announced(other)[1])
        self.assertEqual(self.routing.successors, (other, peer(10)))

    def test_not_whole(self) -> None:
        """While a list is not whole nobody is taken into it."""
        self.admit(routing(50, (80,), predecessor=10))
        self.assertEqual(self.announced(peer(30)), (JoinFailure("the ring is changing", busy=True), False))

    def test_ceases_to_be_whole_meanwhile(self) -> None:
        """The list is looked at again after dialling back."""
        asked = self.announce(peer(30))
        self.routing.drop(peer(80))
        self.scene.advance(0.2)
        self.assertEqual(self.successResultOf(asked), (JoinFailure("the ring is changing", busy=True), False))
        self.assertEqual(self.successors(), [10])

    def test_withdraws_meanwhile(self) -> None:
        """A newcomer that withdraws while it is dialled back is not taken in."""
        asked = self.announce(peer(30))
        self.announced(peer(30), WITHDRAW, seconds=0)
        self.scene.advance(0.2)
        answer, changed = self.successResultOf(asked)
        self.assertIsInstance(answer, JoinFailure)
        self.assertFalse(changed)
        self.assertEqual(self.successors(), [80, 10])

    def test_told_of_members_that_come_meanwhile(self) -> None:
        """A member that came into the list while the newcomer was dialled back is named to it."""
        asked = self.announce(peer(30))
        self.routing.join(peer(40), peers(80, 10, 40), whole=True)
        self.scene.advance(0.2)
        answer, changed = self.successResultOf(asked)
        self.assertIn(peer(40).packed, self.members(answer))
        self.assertTrue(changed)

    def test_not_reachable(self) -> None:
        """A newcomer that we cannot dial back is refused, and keeps nobody else waiting."""
        self.scene.silence(30)
        answer, changed = self.announced(peer(30), seconds=1.5)
        self.assertEqual(answer, JoinFailure("10.0.0.30:6401 cannot be reached from 10.0.0.50:6401: no answer in time"))
        self.assertFalse(changed)
        self.assertTrue(self.announced(peer(40))[1])
