"""Behaviour of the rule of death: how long a peer must be silent, and what does not count."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.liveness import HEARD_MAX, SILENT_PEERS_MAX, TRIES_MIN, Liveness
from tests.builders import peer


class LivenessTests(SynchronousTestCase):
    """`Liveness`, with a limit of 3 s. All times are the caller's."""

    def setUp(self) -> None:
        """Nobody was heard of yet."""
        self.liveness = Liveness(3.0)
        self.peer = peer(1)

    def try_in_vain(self, times: int, now: float) -> None:
        for _ in range(times):
            self.liveness.unanswered(self.peer, now)

    def test_unknown(self) -> None:
        """Nobody is dead, or silent, who was never asked."""
        self.assertFalse(self.liveness.is_dead(self.peer, 1e9))
        self.assertFalse(self.liveness.is_silent(self.peer))

    def test_dead(self) -> None:
        """Dead is who did not answer for the limit, at least three questions, nor others."""
        self.liveness.answered(self.peer, 10)
        self.try_in_vain(TRIES_MIN, 11)
        self.liveness.others_tried(self.peer)
        self.assertTrue(self.liveness.is_dead(self.peer, 13))

    def test_before_the_limit(self) -> None:
        """Silence is counted from the last answer: nobody is dead before the limit, however often he was asked."""
        self.liveness.answered(self.peer, 10)
        self.try_in_vain(50, 11)
        self.liveness.others_tried(self.peer)
        self.assertFalse(self.liveness.is_dead(self.peer, 12.9))

    def test_never_heard(self) -> None:
        """Of a peer that never answered, silence is counted from our first question."""
        self.try_in_vain(1, 10)
        self.try_in_vain(TRIES_MIN, 12)
        self.liveness.others_tried(self.peer)
        self.assertFalse(self.liveness.is_dead(self.peer, 12.9))
        self.assertTrue(self.liveness.is_dead(self.peer, 13))

    def test_too_few_tries(self) -> None:
        """One question may be lost, two may meet a pause: three make a verdict."""
        self.liveness.answered(self.peer, 10)
        self.try_in_vain(2, 11)
        self.liveness.others_tried(self.peer)
        self.assertFalse(self.liveness.is_dead(self.peer, 100))
        self.try_in_vain(1, 100)
        self.assertTrue(self.liveness.is_dead(self.peer, 100))

    def test_others_must_have_tried(self) -> None:
        """While others were not asked it may be our own path that is broken."""
        self.liveness.answered(self.peer, 10)
        self.try_in_vain(9, 11)
        self.assertFalse(self.liveness.is_dead(self.peer, 100))

    def test_others_before_silence(self) -> None:
        """That others tried counts only for a peer that is silent towards us."""
        self.liveness.others_tried(self.peer)
        self.try_in_vain(9, 11)
        self.assertFalse(self.liveness.is_dead(self.peer, 100))

    def test_any_answer_is_life(self) -> None:
        """One answer of any kind, and everything is counted afresh."""
        self.try_in_vain(9, 10)
        self.liveness.others_tried(self.peer)
        self.liveness.answered(self.peer, 14)
        self.assertFalse(self.liveness.is_silent(self.peer))
        self.assertFalse(self.liveness.is_dead(self.peer, 100))
        self.try_in_vain(9, 15)
        self.assertFalse(self.liveness.is_dead(self.peer, 100))

    def test_silent(self) -> None:
        """Silent is who owes us an answer."""
        self.liveness.answered(self.peer, 1)
        self.try_in_vain(1, 2)
        self.assertTrue(self.liveness.is_silent(self.peer))

    def test_verdict_holds(self) -> None:
        """Who is dead stays dead until it answers."""
        self.try_in_vain(3, 10)
        self.liveness.others_tried(self.peer)
        self.assertTrue(self.liveness.is_dead(self.peer, 1e6))

    def test_each_for_itself(self) -> None:
        """What one peer does says nothing of another."""
        self.try_in_vain(3, 10)
        self.liveness.others_tried(self.peer)
        self.assertFalse(self.liveness.is_dead(peer(2), 100))

    def test_own_lateness_is_excused(self) -> None:
        """Time by which this process was late is added to the limit."""
        self.liveness.answered(self.peer, 10)
        self.try_in_vain(3, 11)
        self.liveness.others_tried(self.peer)
        self.liveness.excuse(2.5)
        self.assertFalse(self.liveness.is_dead(self.peer, 15.4))
        self.assertTrue(self.liveness.is_dead(self.peer, 15.5))

    def test_lateness_before_the_first_silence_is_excused(self) -> None:
        """So it is when we were late between its last answer and the first question that met silence."""
        self.liveness.answered(self.peer, 10)
        self.liveness.excuse(60)
        self.try_in_vain(3, 71)
        self.liveness.others_tried(self.peer)
        self.assertFalse(self.liveness.is_dead(self.peer, 72.9))
        self.assertTrue(self.liveness.is_dead(self.peer, 73))

    def test_lateness_before_the_last_answer_is_over(self) -> None:
        """Lateness before its last answer excuses nothing."""
        self.liveness.excuse(60)
        self.liveness.answered(self.peer, 100)
        self.try_in_vain(3, 101)
        self.liveness.others_tried(self.peer)
        self.assertTrue(self.liveness.is_dead(self.peer, 103))

    def test_bounded(self) -> None:
        """Of strangers without number only so many are remembered, those not heard of for the longest forgotten
        first: silence is then counted from a later moment, which only makes a verdict later.
        """
        for number in range(HEARD_MAX + 1):
            self.liveness.answered(peer(number), number / 1000)
            self.liveness.answered(peer(9999), number / 1000)
        for forgotten, dead in ((peer(0), False), (peer(9999), True)):
            for _ in range(3):
                self.liveness.unanswered(forgotten, 8)
            self.liveness.others_tried(forgotten)
            self.assertIs(self.liveness.is_dead(forgotten, 8), dead)

    def test_forgets_with_time(self) -> None:
        """Who was not asked for ten minutes is not remembered as silent; who is asked again and again is."""
        gone, asked = peer(1), peer(2)
        for now in (0, 300, 700):
            self.liveness.unanswered(asked, now)
            if not now:
                self.liveness.unanswered(gone, now)
        self.assertFalse(self.liveness.is_silent(gone))
        self.assertTrue(self.liveness.is_silent(asked))

    def test_answers_are_forgotten_with_time(self) -> None:
        """Of who was not heard of for ten minutes silence is counted from the first question in vain."""
        self.liveness.answered(self.peer, 0)
        self.liveness.unanswered(peer(2), 700)
        self.try_in_vain(TRIES_MIN, 701)
        self.liveness.others_tried(self.peer)
        self.assertFalse(self.liveness.is_dead(self.peer, 703))
        self.assertTrue(self.liveness.is_dead(self.peer, 704))

    def test_strangers_are_not_kept(self) -> None:
        """Where somebody is heard of all the time, the many who were met once do not stay behind him."""
        for now in range(5_000):
            self.liveness.answered(self.peer, now)
            self.liveness.answered(peer(1_000 + now), now)
            self.liveness.unanswered(peer(2), now)
        self.assertLess(len(self.liveness._heard), 1_300)

    def test_silence_is_bounded(self) -> None:
        """So it is with strangers that never answer: the first to fall silent is forgotten first."""
        for number in range(SILENT_PEERS_MAX + 1):
            self.liveness.unanswered(peer(number), 1)
        self.assertFalse(self.liveness.is_silent(peer(0)))
        self.assertTrue(self.liveness.is_silent(peer(1)))
        self.assertTrue(self.liveness.is_silent(peer(SILENT_PEERS_MAX)))
