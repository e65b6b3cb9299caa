"""Behaviour of the check whether a silent peer still lives."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.liveness import TRIES_MIN, Liveness
from chordtwist.core.peer import Peer
from chordtwist.node.ring.probing import OTHERS_ASKED, TRIES_MAX, Probing
from chordtwist.wire.peer_messages import Answer, Ping, PingFor, Pong, Question, Silent
from tests.builders import Neighbourhood, peer, peers


class ProbingTests(SynchronousTestCase):
    """We stand at 10 and ask about 20; 30, 40 and 50 may be asked to ping for us. The limit is 3 s."""

    def setUp(self) -> None:
        """All answer; what others are asked about 20 they answer with `Silent`."""
        self.scene = Neighbourhood(10, 20, 30, 40, 50)
        self.liveness = Liveness(3.0)
        self.others = [*peers(30, 40, 50)]
        self.died: list[Peer] = []
        self.probing = Probing(
            self.ask, self.liveness, lambda: self.others, self.died.append, self.scene.link.clock, Random(1)
        )
        for place in (30, 40, 50):
            self.scene.reply(place, Silent())

    def ask(self, whom: Peer, question: Question) -> Deferred[Answer]:
        """What the node does besides: what it says of the peer's life is noted."""

        def answered(answer: Answer) -> Answer:
            self.liveness.answered(whom, self.scene.now_s)
            return answer

        def unanswered(failure: Failure) -> Failure:
            self.liveness.unanswered(whom, self.scene.now_s)
            return failure

        return self.scene.link.ask(whom, question).addCallbacks(answered, unanswered)

    def pinged_for_us(self) -> list[int]:
        """How often each of the others was asked."""
        return [len(self.scene.asked(place)) for place in (30, 40, 50)]

    def check_until(self, seconds: float) -> Deferred[bool]:
        checked = self.probing.check(peer(20))
        self.scene.advance(seconds)
        return checked

    def test_lives(self) -> None:
        """One answer to one question, and it lives."""
        self.assertIs(self.successResultOf(self.check_until(0.2)), True)
        self.assertEqual(self.scene.asked(20), [Ping()])
        self.assertEqual(self.died, [])

    def test_dead(self) -> None:
        """A peer that is silent for the limit, towards us and others, is dead, and the node is told once."""
        self.scene.silence(20)
        checked = self.check_until(2.9)
        self.assertNoResult(checked)
        self.scene.advance(1.5)
        self.assertIs(self.successResultOf(checked), False)
        self.assertEqual(self.died, [peer(20)])

    def test_from_the_last_answer(self) -> None:
        """The limit counts from its last answer: one that was heard of just now has all of it."""
        self.check_until(0.2)
        self.scene.links[20].crash()
        checked = self.check_until(2.9)
        self.assertNoResult(checked)
        self.scene.advance(1.0)
        self.assertIs(self.successResultOf(checked), False)

    def test_refuses_at_once(self) -> None:
        """An address that refuses at once is not tried in a hurry: the tries are spread over the limit."""
        self.scene.links[20].crash()
        tries: list[float] = []
        ask = self.ask

        def counted(whom: Peer, question: Question) -> Deferred[Answer]:
            if whom == peer(20):
                tries.append(self.scene.now_s)
            return ask(whom, question)

        self.probing._ask = counted
        self.successResultOf(self.check_until(4))
        self.assertTrue(TRIES_MIN <= len(tries) <= 6, tries)
        self.assertTrue(all(after - before >= 0.7 for before, after in pairwise(tries)))

    def test_others_are_asked(self) -> None:
        """Two others are asked to try as well, from the second try on: one lost answer bothers nobody."""
        self.scene.silence(20)
        self.check_until(0.9)
        self.assertEqual(self.pinged_for_us(), [0, 0, 0])
        self.scene.advance(0.9)
        self.assertEqual(sum(self.pinged_for_us()), OTHERS_ASKED)
        self.assertEqual({*self.scene.asked(30), *self.scene.asked(40)}, {PingFor(peer(20).packed)})

    def test_others_reach_it(self) -> None:
        """When another reaches it the path is broken, not the peer: it lives."""
        for place in (30, 40, 50):
            self.scene.reply(place, Pong())
        self.scene.silence(20)
        self.assertIs(self.successResultOf(self.check_until(2.5)), True)
        self.assertEqual(self.died, [])

    def test_one_of_the_others_reaches_it(self) -> None:
        """So it does when one reaches it and the other is silent."""
        self.others = [*peers(30, 40)]
        self.scene.reply(40, Pong())
        self.scene.silence(20, 30)
        self.assertIs(self.successResultOf(self.check_until(5)), True)

    def test_silent_others_are_not_asked(self) -> None:
        """Others that owe us an answer themselves are not asked, nor is the peer about itself."""
        self.others = [*peers(20, 30, 40)]
        self.liveness.unanswered(peer(30), 0)
        self.scene.silence(20)
        self.check_until(5)
        self.assertEqual(self.pinged_for_us()[0], 0)
        self.assertGreater(self.pinged_for_us()[1], 0)
        self.assertNotIn(PingFor(peer(20).packed), self.scene.asked(20))

    def test_nobody_to_ask(self) -> None:
        """In a ring of two there is nobody else to ask: our own word counts."""
        self.others = []
        self.scene.silence(20)
        self.assertIs(self.successResultOf(self.check_until(4.5)), False)

    def test_comes_back(self) -> None:
        """A peer that answers in the midst of the check lives."""
        self.scene.silence(20)
        checked = self.check_until(2.5)
        self.scene.network.faults.heal()
        self.scene.advance(1.5)
        self.assertIs(self.successResultOf(checked), True)
        self.assertEqual(self.died, [])

    def test_once_at_a_time(self) -> None:
        """Several that want to know about one peer share one check; later ones begin another."""
        checks = [self.probing.check(peer(20)) for _ in range(3)]
        self.probing.check_all(peers(20))
        self.scene.advance(0.2)
        self.assertEqual([self.successResultOf(checked) for checked in checks], [True] * 3)
        self.assertEqual(self.scene.asked(20), [Ping()])
        self.successResultOf(self.check_until(0.2))
        self.assertEqual(self.scene.asked(20), [Ping()] * 2)

    def test_together(self) -> None:
        """Neighbours that died together are noticed together."""
        self.scene.silence(20, 30, 40)
        self.others = [*peers(20, 30, 40, 50)]
        self.probing.check_all(peers(20, 30, 40))
        self.scene.advance(4.2)
        self.assertEqual(sorted(self.died, key=lambda dead: dead.id), [*peers(20, 30, 40)])

    def test_excused(self) -> None:
        """While we are late ourselves nobody dies."""
        self.scene.silence(20)
        checked = self.check_until(2)
        self.liveness.excuse(2)
        self.scene.advance(2.5)
        self.assertNoResult(checked)
        self.scene.advance(2)
        self.assertIs(self.successResultOf(checked), False)

    def test_bounded(self) -> None:
        """A check ends, with "lives", when the clocks make a verdict impossible."""
        self.scene.silence(20)
        checked = self.check_until(1.5)
        self.liveness.excuse(1e6)
        self.scene.advance(3 * TRIES_MAX)
        self.assertIs(self.successResultOf(checked), True)

    def test_answers_now(self) -> None:
        """`answers_now` is one question, without a verdict."""
        asked = self.probing.answers_now(peer(20))
        self.scene.advance(0.2)
        self.assertIs(self.successResultOf(asked), True)
        self.scene.silence(20)
        asked = self.probing.answers_now(peer(20))
        self.scene.advance(1.1)
        self.assertIs(self.successResultOf(asked), False)
        self.assertEqual(self.died, [])

    def test_bug(self) -> None:
        """A failure that is no silence but a bug of ours is logged, and takes nobody for dead."""

        def ask(whom: Peer, question: Question) -> Deferred[Answer]:
            broken: Deferred[Answer] = Deferred()
            self.scene.clock.at(self.scene.clock.now_us, lambda _: broken.errback(ZeroDivisionError()), None)
            return broken

        self.probing._ask = ask
        self.assertIs(self.successResultOf(self.check_until(0.1)), True)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
