"""Behaviour of periodic duties."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.backoff import JITTER_MAX, JITTER_MIN
from chordtwist.node.chores import HURRY_SPACING_S, LATE_S, SLOWER, Chore
from chordtwist.simulation.clock import HeapClock, HostClock


class ChoreTests(SynchronousTestCase):
    """A chore with an interval of 1 s, at most 4 s."""

    def setUp(self) -> None:
        """Its rounds are noted, and answer what `answer` says."""
        self.heap = HeapClock()
        self.clock = HostClock(self.heap)
        self.rounds: list[float] = []
        self.late: list[float] = []
        self.answer: Deferred[bool] | bool | None = None
        self.chore = self.build(seed=1)

    def build(self, seed: int, slowest_s: float | None = 4.0) -> Chore:
        return Chore("test", self.round, self.clock, Random(seed), 1.0, slowest_s, self.late.append)

    def round(self) -> Deferred[bool] | bool | None:
        self.rounds.append(self.clock.seconds())
        return self.answer

    def advance(self, seconds: float) -> None:
        self.heap.run_until(self.heap.now_us + int(seconds * 1e6))

    def waits(self) -> list[float]:
        return [after - before for before, after in zip(self.rounds, self.rounds[1:], strict=False)]

    def test_not_before_start(self) -> None:
        """It does nothing before it is started, nor when it is hurried."""
        self.chore.hurry()
        self.advance(10)
        self.assertEqual((self.rounds, self.chore.running), ([], False))

    def test_first_round(self) -> None:
        """The first round comes at a random moment within one and a half intervals: not all nodes begin in step."""
        firsts = set()
        for seed in range(8):
            self.rounds.clear()
            began, chore = self.clock.seconds(), self.build(seed)
            chore.start()
            self.advance(JITTER_MAX)
            firsts.add(self.rounds[0] - began)
            chore.stop()
        self.assertTrue(all(JITTER_MIN <= first <= JITTER_MAX for first in firsts))
        self.assertEqual(len(firsts), 8)

    def test_pace(self) -> None:
        """While rounds change something they come at the interval, jittered by half of it either way."""
        self.answer = True
        self.chore.start()
        self.advance(400)
        self.assertTrue(all(JITTER_MIN <= wait <= JITTER_MAX for wait in self.waits()))
        self.assertTrue(0.95 < sum(self.waits()) / len(self.waits()) < 1.05)

    def test_slows_down(self) -> None:
        """While rounds change nothing each wait is a fifth longer, up to the slowest."""
        self.answer = False
        self.chore.start()
        self.advance(400)
        for number, wait in enumerate(self.waits(), 1):
            pace = min(4.0, SLOWER**number)
            self.assertTrue(JITTER_MIN * pace <= wait <= JITTER_MAX * pace + 1e-6, (number, wait))

    def test_steady(self) -> None:
        """A chore without a slowest pace keeps its own."""
        self.chore = self.build(1, slowest_s=None)
        self.chore.start()
        self.advance(400)
        self.assertTrue(all(JITTER_MIN <= wait <= JITTER_MAX for wait in self.waits()))

    def test_speeds_up(self) -> None:
        """One round that changes something brings back the fastest pace."""
        self.chore.start()
        self.advance(60)
        self.answer = True
        self.advance(6)
        self.rounds.clear()
        self.advance(20)
        self.assertTrue(all(wait <= JITTER_MAX for wait in self.waits()))

    def test_hurry(self) -> None:
        """Hurried, it does a round at once, and goes on at the fastest pace."""
        self.chore.start()
        self.advance(60)
        self.rounds.clear()
        self.chore.hurry()
        self.advance(0)
        self.assertEqual(self.rounds, [60.0])
        self.advance(JITTER_MAX * SLOWER)
        self.assertGreaterEqual(len(self.rounds), 2)

    def test_hurry_is_spaced(self) -> None:
        """Hurried again and again, it keeps `HURRY_SPACING_S` between the beginnings of rounds."""
        self.chore.start()
        self.advance(60)
        self.rounds.clear()
        for _ in range(95):
            self.chore.hurry()
            self.advance(0.01)
        self.assertEqual(len(self.rounds), 5)
        self.assertTrue(all(wait >= HURRY_SPACING_S - 1e-6 for wait in self.waits()))

    def test_hurry_in_the_midst_of_a_round(self) -> None:
        """What happens during a round is seen by one more, right behind it."""
        self.answer = under_way = Deferred[bool]()
        self.chore.start()
        self.advance(JITTER_MAX)
        self.chore.hurry()
        self.chore.hurry()
        self.advance(10)
        self.assertEqual(len(self.rounds), 1)
        self.answer = False
        under_way.callback(False)
        self.advance(0.01)
        self.assertEqual(len(self.rounds), 2)
        self.advance(0.4)
        self.assertEqual(len(self.rounds), 2)

    def test_one_round_at_a_time(self) -> None:
        """A round never begins before the one before it has ended; the next comes a wait later."""
        self.answer = under_way = Deferred[bool]()
        self.chore.start()
        self.advance(60)
        self.assertEqual(len(self.rounds), 1)
        under_way.callback(True)
        self.advance(JITTER_MIN - 0.01)
        self.assertEqual(len(self.rounds), 1)
        self.advance(JITTER_MAX)
        self.assertEqual(len(self.rounds), 2)

    def test_told(self) -> None:
        """It tells its rounds, those that failed, its pace, and when the next one comes unless one is under way."""
        self.chore.start()
        self.advance(1.5)
        told = self.chore.told()
        self.assertEqual((len(self.rounds), 0), (told["rounds"], told["failed"]))
        self.assertIsInstance(told["next_s"], float)
        self.answer = Deferred()
        self.advance(6)
        self.assertIsNone(self.chore.told()["next_s"])
        self.answer.errback(ValueError("no"))
        self.assertEqual((len(self.rounds), 1), (self.chore.told()["rounds"], self.chore.told()["failed"]))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_failing_round(self) -> None:
        """A round that fails is logged with its name, and the next one comes as if nothing had been."""
        self.answer = failing = Deferred[bool]()
        self.chore.start()
        self.advance(JITTER_MAX)
        failing.errback(ZeroDivisionError())
        self.answer = None
        self.advance(10)
        self.assertGreater(len(self.rounds), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_raising_round(self) -> None:
        """So it is with a round that raises."""

        def complain() -> bool:
            self.rounds.append(self.clock.seconds())
            return 1 // (len(self.rounds) - 1) > 0

        chore = Chore("test", complain, self.clock, Random(1), 1.0)
        chore.start()
        self.advance(10)
        self.assertGreater(len(self.rounds), 5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """Stopped, it does nothing more and leaves no timer behind; stopping twice does no harm."""
        self.chore.start()
        self.advance(10)
        self.chore.stop()
        self.chore.stop()
        self.rounds.clear()
        self.chore.hurry()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.advance(60)
        self.assertEqual((self.rounds, self.chore.running), ([], False))

    def test_stop_in_the_midst_of_a_round(self) -> None:
        """A round that is under way ends by itself, and none follows."""
        self.answer = under_way = Deferred[bool]()
        self.chore.start()
        self.advance(JITTER_MAX)
        self.chore.stop()
        under_way.callback(True)
        self.advance(60)
        self.assertEqual(len(self.rounds), 1)

    def test_start_again(self) -> None:
        """It may be started again."""
        self.chore.start()
        self.chore.stop()
        self.chore.start()
        self.assertTrue(self.chore.running)
        self.advance(JITTER_MAX)
        self.assertEqual(len(self.rounds), 1)

    def test_start_again_in_the_midst_of_a_round(self) -> None:
        """Started again while a round from before is under way, it still does one at a time."""
        self.answer = under_way = Deferred[bool]()
        self.chore.start()
        self.advance(JITTER_MAX)
        self.chore.stop()
        self.chore.start()
        self.advance(30)
        self.assertEqual(len(self.rounds), 1)
        self.answer = True
        under_way.callback(True)
        self.advance(10)
        self.assertGreater(len(self.rounds), 5)
        self.assertTrue(all(wait <= JITTER_MAX + 1e-6 for wait in self.waits()[1:]))

    def test_late(self) -> None:
        """A round that comes much later than it was due is reported, with by how much: the process stood still."""
        self.answer = True
        self.chore.start()
        self.advance(10)
        self.clock.hold()
        self.advance(30)
        self.clock.resume()
        self.advance(0)
        self.assertEqual(len(self.late), 1)
        self.assertTrue(30 - JITTER_MAX <= self.late[0] <= 30)

    def test_hardly_late(self) -> None:
        """A little late is not worth a word."""
        self.answer = True
        self.chore.start()
        for _ in range(40):
            self.clock.hold()
            self.advance(LATE_S)
            self.clock.resume()
            self.advance(0.01)
        self.assertEqual(self.late, [])

    def test_late_after_hurry(self) -> None:
        """Lateness of a hurried round counts from when it was due."""
        self.chore.start()
        self.advance(20)
        self.chore.hurry()
        self.clock.hold()
        self.advance(5)
        self.clock.resume()
        self.advance(0)
        self.assertEqual(self.late, [5.0])


class HurriedLaterTests(SynchronousTestCase):
    """A chore with an interval of 60 s, hurried by about 1 s, 3 s apart at least."""

    def setUp(self) -> None:
        """Its rounds are noted, and end when the test says so."""
        self.heap = HeapClock()
        self.rounds: list[float] = []
        self.under_way: Deferred[None] = succeed(None)
        self.clock = HostClock(self.heap)
        self.chore = Chore("test", self.round, self.clock, Random(1), 60.0, hurried_s=1.0, spacing_s=3.0)
        self.chore.start()

    def round(self) -> Deferred[None]:
        self.rounds.append(self.clock.seconds())
        return self.under_way

    def advance(self, seconds: float) -> None:
        self.heap.run_until(self.heap.now_us + int(seconds * 1e6))

    def test_about_so_much_later(self) -> None:
        """Half of it at least, half as much again at most."""
        self.chore.hurry()
        self.advance(JITTER_MAX)
        self.assertEqual([JITTER_MIN <= at <= JITTER_MAX for at in self.rounds], [True])

    def test_hurried_on_and_on(self) -> None:
        """Being hurried again puts no round off, and brings none nearer to the last than they may be."""
        for _ in range(120):
            self.chore.hurry()
            self.advance(0.1)
        self.assertIn(len(self.rounds), (4, 5))
        self.assertTrue(all(after - before >= 2.999 for before, after in pairwise(self.rounds)))

    def test_hurried_in_the_midst_of_a_round(self) -> None:
        """What happens during a round is seen by one more, about so much behind it."""
        self.under_way = Deferred()
        self.chore.hurry()
        self.advance(JITTER_MAX)
        self.chore.hurry()
        self.advance(10)
        self.assertEqual(len(self.rounds), 1)
        under_way, self.under_way = self.under_way, succeed(None)
        under_way.callback(None)
        self.advance(JITTER_MIN - 0.001)
        self.assertEqual(len(self.rounds), 1)
        self.advance(JITTER_MAX)
        self.assertEqual(len(self.rounds), 2)
