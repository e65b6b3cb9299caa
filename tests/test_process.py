"""What a node asks of its process."""

from __future__ import annotations

import gc
import resource
import signal
import time
from collections.abc import Callable

from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.process import (
    COLLECT_AFTER,
    ENDING_SIGNALS,
    LOOKED_THROUGH_EVERY_S,
    EndingSignals,
    Survivors,
    make_ready,
    stop,
    use_all_descriptors,
    use_monotonic_clock,
)


class CoreReactor:
    """Of a reactor, its clock and what happens to it: says how often it was stopped, and calls at once."""

    seconds: Callable[[], float] = staticmethod(time.time)

    def __init__(self) -> None:
        self.stops = 0
        self.starting: list[Callable[[], object]] = []
        self.leaving: list[Callable[[], object]] = []

    def stop(self) -> None:
        """Count, and tell those who wait for the shutdown; as a reactor does, refuse a second time."""
        if self.stops:
            raise ReactorNotRunning
        self.stops += 1
        for call in self.leaving:
            call()

    def callFromThread(self, function: Callable[..., object], *args: object) -> None:
        """What a signal asks for runs in the reactor."""
        function(*args)

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        """Remember what is to be called when it runs."""
        self.starting.append(function)

    def run(self) -> None:
        """Take the signals, as a reactor does when it starts, then tell those who wait for it."""
        for number in ENDING_SIGNALS:
            signal.signal(number, lambda *_: None)
        for call in self.starting:
            call()

    def addSystemEventTrigger(self, phase: str, event_type: str, function: Callable[[], object]) -> None:
        """Remember what is to be called before the shutdown."""
        self.leaving.append(function)


class MonotonicClockTests(SynchronousTestCase):
    """The clock of all timers."""

    def test_cannot_be_set(self) -> None:
        """The reactor counts with the clock that a change of the system's time does not move."""
        reactor = CoreReactor()
        use_monotonic_clock(reactor)
        before_s = time.monotonic()
        self.assertTrue(before_s <= reactor.seconds() <= time.monotonic())


class ReadyTests(SynchronousTestCase):
    """A process of its own."""

    def test_everything(self) -> None:
        """Its timers cannot be set, all descriptors may be used, cycles are looked for less often, a signal leaves."""
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.callbacks.__setitem__, slice(None), list(gc.callbacks))
        self.addCleanup(gc.unfreeze)
        for number in ENDING_SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        reactor = CoreReactor()
        make_ready(reactor)
        self.assertIs(reactor.seconds, time.monotonic)
        self.assertEqual(len(set(resource.getrlimit(resource.RLIMIT_NOFILE))), 1)
        self.assertEqual(gc.get_threshold(), COLLECT_AFTER)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(reactor.stops, 1)


class DescriptorTests(SynchronousTestCase):
    """How much may be open."""

    def test_all(self) -> None:
        """As much as the system allows at most."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
        use_all_descriptors()
        self.assertEqual((hard, hard), resource.getrlimit(resource.RLIMIT_NOFILE))


class EndingSignalsTests(SynchronousTestCase):
    """SIGTERM and SIGINT."""

    def setUp(self) -> None:
        """The signals of this process are as before after each test."""
        for number in ENDING_SIGNALS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.reactor = CoreReactor()
        EndingSignals(self.reactor).install()
        self.reactor.run()

    def test_first_leaves(self) -> None:
        """The first signal stops the reactor, which stops the services, which leave."""
        for number in ENDING_SIGNALS:
            with self.subTest(number=number):
                self.setUp()
                signal.raise_signal(number)
                self.assertEqual(1, self.reactor.stops)

    def test_second_ends(self) -> None:
        """After the first, both signals have the system's own reaction: the process ends, whatever it is doing."""
        signal.raise_signal(signal.SIGINT)
        self.assertEqual([signal.SIG_DFL] * 2, [signal.getsignal(number) for number in ENDING_SIGNALS])

    def test_both_at_once(self) -> None:
        """Two signals that are here before the reactor looks stop it once."""
        signals = EndingSignals(self.reactor)
        signals.leave("SIGINT")
        signals.leave("SIGTERM")
        self.assertEqual(1, self.reactor.stops)

    def test_before_it_runs(self) -> None:
        """A signal that comes before the reactor runs lets the node leave too, and the next one ends the process."""
        reactor = CoreReactor()
        EndingSignals(reactor).install()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(1, reactor.stops)
        reactor.run()
        self.assertEqual([signal.SIG_DFL] * 2, [signal.getsignal(number) for number in ENDING_SIGNALS])

    def test_while_leaving(self) -> None:
        """A signal that comes while a SHUTDOWN is under way does not stop the stopped reactor again."""
        self.reactor.stop()
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(1, self.reactor.stops)

    def test_before_it_has_left(self) -> None:
        """A signal that comes while the node leaves after a SHUTDOWN ends the process, and nothing stops it again."""
        signal.raise_signal(signal.SIGTERM)
        stop(self.reactor)
        self.assertEqual(1, self.reactor.stops)


class SurvivorsTests(SynchronousTestCase):
    """Looks through all objects, which grow with the records of a node."""

    def test_only_what_is_new(self) -> None:
        """What survived one look is left out of the next ones; once an hour all is looked through again."""
        self.addCleanup(gc.unfreeze)
        gc.unfreeze()
        clock = Clock()
        survivors = Survivors(clock.seconds)
        survivors.looked_through("stop", {"generation": 1})
        self.assertEqual(gc.get_freeze_count(), 0)
        survivors.looked_through("stop", {"generation": 2})
        kept = gc.get_freeze_count()
        self.assertGreater(kept, 0)
        survivors.looked_through("start", {"generation": 2})
        self.assertEqual(gc.get_freeze_count(), kept)
        clock.advance(LOOKED_THROUGH_EVERY_S)
        survivors.looked_through("start", {"generation": 2})
        self.assertEqual(gc.get_freeze_count(), 0)
