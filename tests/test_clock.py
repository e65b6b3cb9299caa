"""Behaviour of simulated time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chordtwist.simulation.clock import HeapClock, HostClock, _Call, microseconds


class HostClockTests(SynchronousTestCase):
    """What one simulated host sees of time."""

    def setUp(self) -> None:
        """One heap, two hosts, and a list of what ran when."""
        self.heap = HeapClock()
        self.host = HostClock(self.heap)
        self.other = HostClock(self.heap)
        self.ran: list[tuple[str, float]] = []

    def note(self, name: str) -> None:
        self.ran.append((name, self.host.seconds()))

    def test_interfaces(self) -> None:
        """Everything written for Twisted's time runs on it unchanged."""
        verifyObject(IReactorTime, self.host)
        verifyObject(IDelayedCall, self.host.callLater(1, self.note, "never"))

    def test_each_at_its_own_moment(self) -> None:
        """A call sees the moment it asked for, also when the run goes far beyond it."""
        self.host.callLater(2, self.note, "second")
        self.host.callLater(0.5, self.note, "first")
        self.heap.run_until(10_000_000)
        self.assertEqual(self.ran, [("first", 0.5), ("second", 2.0)])
        self.assertEqual(self.host.seconds(), 10.0)

    def test_ties_in_the_order_of_asking(self) -> None:
        """Calls due at one moment run in the order in which they were asked for, whoever asked."""
        self.host.callLater(1, self.note, "a")
        self.other.callLater(1, self.note, "b")
        self.host.callLater(1, self.note, "c")
        self.heap.run_until(1_000_000)
        self.assertEqual([name for name, _ in self.ran], ["a", "b", "c"])

    def test_zero_delay_is_not_now(self) -> None:
        """A call without delay still waits until the caller has returned, and for those asked for before it."""
        self.host.callLater(0, self.note, "a")
        self.assertEqual(self.ran, [])
        self.heap.run_until(0)
        self.assertEqual(self.ran, [("a", 0.0)])

    def test_cancel(self) -> None:
        """A cancelled call never comes, and cannot be cancelled twice."""
        call = self.host.callLater(1, self.note, "never")
        call.cancel()
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.heap.run_until(2_000_000)
        self.assertEqual(self.ran, [])
        self.assertEqual(self.host.getDelayedCalls(), [])
        self.assertEqual(self.host.calls, 0)

    def test_cancel_what_was_called(self) -> None:
        """What has run cannot be cancelled, put off or reset any more."""
        call = self.host.callLater(1, self.note, "once")
        self.heap.run_until(1_000_000)
        self.assertRaises(AlreadyCalled, call.cancel)
        self.assertRaises(AlreadyCalled, call.reset, 1)
        self.assertRaises(AlreadyCalled, call.delay, 1)

    def test_reset_to_later(self) -> None:
        """A call reset to a later time comes then, once, behind those of that time that were asked for before."""
        call = self.host.callLater(1, self.note, "late")
        self.host.callLater(3, self.note, "early")
        call.reset(3)
        self.assertEqual(call.getTime(), 3.0)
        self.heap.run_until(5_000_000)
        self.assertEqual(self.ran, [("early", 3.0), ("late", 3.0)])

    def test_reset_to_earlier(self) -> None:
        """A call reset to an earlier time comes then, once."""
        call = self.host.callLater(3, self.note, "moved")
        call.reset(1)
        self.heap.run_until(5_000_000)
        self.assertEqual(self.ran, [("moved", 1.0)])

    def test_later_and_back(self) -> None:
        """A call that is put off and then brought forward comes at the last time that was said."""
        call = self.host.callLater(1, self.note, "moved")
        call.reset(5)
        call.reset(2)
        call.delay(1)
        self.heap.run_until(9_000_000)
        self.assertEqual(self.ran, [("moved", 3.0)])

    def test_delay_adds(self) -> None:
        """`delay` counts from the time the call was due; a negative one brings it forward, never into the past."""
        first, second = self.host.callLater(1, self.note, "later"), self.host.callLater(1, self.note, "now")
        first.delay(1)
        second.delay(-5)
        self.heap.run_until(9_000_000)
        self.assertEqual(self.ran, [("now", 0.0), ("later", 2.0)])

    def test_looping_call(self) -> None:
        """Twisted's own loop keeps its period on it."""
        loop = LoopingCall(self.note, "tick")
        loop.clock = self.host
        loop.start(0.25, now=False)
        self.heap.run_until(1_000_000)
        loop.stop()
        self.assertEqual([at for _, at in self.ran], [0.25, 0.5, 0.75, 1.0])
        self.assertEqual(self.host.calls, 0)

    def test_timeout(self) -> None:
        """`Deferred.addTimeout` works on it, and leaves nothing behind when the answer comes first."""
        waited: Deferred[str] = Deferred()
        waited.addTimeout(1, self.host)
        waited.callback("in time")
        self.assertEqual(self.successResultOf(waited), "in time")
        self.assertEqual(self.host.getDelayedCalls(), [])

    def test_held(self) -> None:
        """A paused host runs what fell due meanwhile when it resumes: late, in order, without what that cancels."""
        self.host.callLater(1, self.note, "a")
        last = self.host.callLater(3, self.note, "never")
        self.host.callLater(2, last.cancel)
        self.other.callLater(1, self.note, "other")
        self.host.hold()
        self.heap.run_until(5_000_000)
        self.assertEqual(self.ran, [("other", 1.0)])
        self.host.resume()
        self.heap.run_until(6_000_000)
        self.assertEqual(self.ran, [("other", 1.0), ("a", 5.0)])

    def test_held_and_reset(self) -> None:
        """A call that fell due on a paused host can still be put off by one that runs before it."""
        last = self.host.callLater(2, self.note, "moved")
        self.host.callLater(1, last.reset, 4)
        self.host.hold()
        self.heap.run_until(5_000_000)
        self.host.resume()
        self.heap.run_until(20_000_000)
        self.assertEqual(self.ran, [("moved", 9.0)])

    def test_ended(self) -> None:
        """Nothing runs on a host whose process is gone, and nothing new is taken."""
        self.host.callLater(1, self.note, "never")
        self.host.end()
        self.host.callLater(1, self.note, "neither").cancel()
        self.heap.run_until(5_000_000)
        self.assertEqual(self.ran, [])

    def test_after(self) -> None:
        """`after` is called behind everything that ran on the host."""
        self.host.after = lambda: self.note("after")
        self.host.callLater(1, self.note, "call")
        self.heap.run_until(1_000_000)
        self.assertEqual([name for name, _ in self.ran], ["call", "after"])

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(0, 20)), max_size=60))
    def test_like_a_list(self, steps: list[tuple[int, int, int]]) -> None:
        """Whatever is inserted, cancelled, reset and run: the same comes at the same time as from a sorted list."""
        heap = HeapClock()
        host = HostClock(heap)
        ran: list[int] = []
        expected: list[int] = []
        calls: list[_Call] = []
        due: dict[int, tuple[int, int]] = {}
        for asked, (step, amount, which) in enumerate(steps):
            name = which % len(calls) if calls else 0
            if step == 0 or not calls:
                name = len(calls)
                calls.append(host.callLater(amount, ran.append, name))
                due[name] = (heap.now_us + amount * 1_000_000, asked)
            elif step == 1 and name in due:
                calls[name].cancel()
                del due[name]
            elif step == 2 and name in due:
                calls[name].reset(amount)
                due[name] = (heap.now_us + amount * 1_000_000, asked)
            elif step == 3:
                until_us = heap.now_us + which * 1_000_000
                heap.run_until(until_us)
                for name in sorted((name for name, at in due.items() if at[0] <= until_us), key=lambda n: due[n]):
                    expected.append(name)
                    del due[name]
            self.assertEqual(host.calls, len(due))
            self.assertEqual(len(host.getDelayedCalls()), len(due))
        heap.run_until(heap.now_us + 1_000_000_000)
        expected += sorted(due, key=lambda name: due[name])
        self.assertEqual(ran, expected)


class HeapClockTests(SynchronousTestCase):
    """What the whole simulation sees of time."""

    def test_microseconds(self) -> None:
        """Seconds become the nearest whole microsecond."""
        self.assertEqual([microseconds(s) for s in (0, 0.1, 1e-6, 4e-7, 3600)], [0, 100_000, 1, 0, 3_600_000_000])

    def test_errors_come_out(self) -> None:
        """What an act raises comes out of the run, with the clock at its moment; the run can go on."""
        heap = HeapClock()
        host = HostClock(heap)
        host.callLater(1, int, "no number")
        self.assertRaises(ValueError, heap.run_until, 5_000_000)
        self.assertEqual(heap.now_us, 1_000_000)
        heap.run_until(5_000_000)

    def test_cancelled_calls_are_swept(self) -> None:
        """Calls that are cancelled again and again, as time limits are, do not pile up until they would be due."""
        heap = HeapClock()
        host = HostClock(heap)
        keep = host.callLater(5000, lambda: None)
        for _ in range(100_000):
            host.callLater(1000, lambda: None).cancel()
        self.assertLess(len(heap.entries()), 20_000)
        self.assertEqual(host.getDelayedCalls(), [keep])
