"""Behaviour of a node's time: it ends with the node."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chordtwist.node.lifetime import SWEEP_CALLS_MIN, EndingClock


class EndingClockTests(SynchronousTestCase):
    """`EndingClock` on another clock."""

    def setUp(self) -> None:
        """What is called is noted."""
        self.outer = Clock()
        self.clock = EndingClock(self.outer)
        self.called: list[object] = []

    def test_interface(self) -> None:
        """It is a clock."""
        verifyObject(IReactorTime, self.clock)

    def test_until_the_end(self) -> None:
        """Until the end it does what the other clock does."""
        self.outer.advance(3)
        self.assertEqual(self.clock.seconds(), 3)
        call = self.clock.callLater(2, lambda *args, **kwargs: self.called.append((args, kwargs)), 1, a=2)
        self.assertEqual(self.clock.getDelayedCalls(), [call])
        self.outer.advance(2)
        self.assertEqual(self.called, [((1,), {"a": 2})])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end(self) -> None:
        """At the end every call that is still to come is cancelled; those of others are not."""
        call = self.clock.callLater(2, self.called.append, 1)
        self.outer.callLater(2, self.called.append, "another's")
        self.clock.end()
        self.clock.end()
        self.assertFalse(call.active())
        self.outer.advance(2)
        self.assertEqual(self.called, ["another's"])

    def test_behind_the_end(self) -> None:
        """What is asked for behind the end never comes."""
        self.clock.end()
        call = self.clock.callLater(1, self.called.append, 1)
        self.assertFalse(call.active())
        self.assertEqual(self.outer.getDelayedCalls(), [])

    def test_from_a_call(self) -> None:
        """A call may end the clock that calls it."""
        self.clock.callLater(1, self.clock.end)
        self.clock.callLater(2, self.called.append, 1)
        self.outer.advance(3)
        self.assertEqual(self.called, [])

    def test_cancelled_calls_take_no_room(self) -> None:
        """Calls that were cancelled are forgotten, however many there are."""
        kept = self.clock.callLater(1, self.called.append, 1)
        for _ in range(10 * SWEEP_CALLS_MIN):
            self.clock.callLater(1, self.called.append, 2).cancel()
        self.assertLessEqual(len(self.clock._calls), SWEEP_CALLS_MIN + 1)
        self.assertEqual(self.clock.getDelayedCalls(), [kept])
