"""`Outstanding`: questions under way, one timer for all of them."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.net.outstanding import Outstanding
from chordtwist.wire.peer_messages import Answer, Ping, PingFor, Question
from tests import builders

PEER = builders.peer(5)


class OutstandingTests(SynchronousTestCase):
    """The questions to one peer."""

    def setUp(self) -> None:
        """None yet."""
        self.clock = Clock()
        self.given_up: list[int] = []
        self.outstanding = Outstanding(PEER, self.clock, self.given_up.append)

    def ask(self, request_id: int, question: Question | None = None) -> Deferred[Answer]:
        question = question or Ping()
        answered: Deferred[Answer] = Deferred()
        self.outstanding.add(request_id, (self.clock.seconds() + question.answer_within_s, question, answered, None))
        return answered

    def advance(self, *steps_s: float) -> None:
        """Time as a clock that is never late lets it pass."""
        for step_s in steps_s:
            self.clock.advance(step_s)

    def test_given_up(self) -> None:
        """Each is given up when its own time is over, with the reason, and its number is told."""
        slow, quick = self.ask(1, PingFor(PEER.packed)), self.ask(2)
        self.advance(1.0)
        error = self.failureResultOf(quick, Unreachable).value
        self.assertEqual(str(error), f"{PEER} is unreachable: no answer to Ping within 1 s")
        self.assertEqual(self.given_up, [2])
        self.assertNoResult(slow)
        self.advance(1.0)
        self.failureResultOf(slow, Unreachable)
        self.assertEqual((self.given_up, len(self.outstanding)), ([2, 1], 0))

    def test_one_timer(self) -> None:
        """There is one timer while something is under way, and none when nothing is."""
        for request_id in range(100):
            self.ask(request_id).addErrback(lambda failure: None)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.advance(1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_taken(self) -> None:
        """What was taken is not given up, and is taken once."""
        answered = self.ask(1)
        self.assertIs(self.outstanding.take(1)[2], answered)  # type: ignore[index]
        self.assertIsNone(self.outstanding.take(1))
        self.advance(1.0, 1.0)
        self.assertNoResult(answered)

    def test_taken_all(self) -> None:
        """All can be taken at once, in the order in which they were asked; no timer stays."""
        asked = [self.ask(5), self.ask(3)]
        self.assertEqual([asked[2] for asked in self.outstanding.take_all()], asked)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.outstanding.take_all(), [])

    def test_failed(self) -> None:
        """All can fail at once."""
        answered = self.ask(1)
        self.outstanding.fail("connection refused")
        self.assertEqual(self.failureResultOf(answered, Unreachable).value.args[0][-18:], "connection refused")

    def test_a_sweep_takes_others_away(self) -> None:
        """Whoever hears of the first may take the others away, in the middle of a sweep."""
        self.ask(1).addErrback(lambda failure: self.outstanding.take_all())
        other = self.ask(2)
        self.advance(1.0)
        self.assertNoResult(other)

    def test_many_sweeps_at_once(self) -> None:
        """However close the ends of many questions lie, sweeps keep a distance."""
        for request_id in range(10):
            self.ask(request_id).addErrback(lambda failure: None)
            self.advance(0.001)
        self.advance(0.99)
        self.assertEqual(self.given_up, [0])
        self.advance(0.02)
        self.assertEqual(self.given_up, list(range(10)))

    def test_stood_still(self) -> None:
        """When this process itself stood still, questions have their time again: answers may be there, unread."""
        answered = self.ask(1)
        self.advance(0.5)
        self.clock.advance(60)
        self.assertNoResult(answered)
        self.advance(0.99)
        self.assertNoResult(answered)
        self.advance(0.01)
        self.failureResultOf(answered, Unreachable)

    def test_a_little_late(self) -> None:
        """A sweep that comes a little late gives no more time."""
        answered = self.ask(1)
        self.clock.advance(1.05)
        self.failureResultOf(answered, Unreachable)
