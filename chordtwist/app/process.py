"""What a node asks of the process it runs in: a clock that never jumps, and signals that mean what operators mean."""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from twisted.internet.error import ReactorAlreadyInstalledError, ReactorNotRunning
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

from chordtwist.net.failures import TOO_FEW_DESCRIPTORS

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)

DESCRIPTORS_MIN = 256
"""Of a node in a ring of some dozens with some clients; below it links and clients are refused one by one."""

ACCEPT_ERRORS = ("EMFILE encountered", "Could not accept new connection")
"""How Twisted's lines about it begin; the second one names the error, as ``acceptError``."""

ACCEPT_ERRORS_EVERY_S = 60.0

_log = Logger()

COLLECT_AFTER = (10_000, 10, 2)
"""New objects, then collections of the next older ones, after which Python looks for cycles (its own: 700, 10, 10).
Ours die without, while a put that waits for its copies or for the disk lives through several of these: a fifth of the
processor time of a confirmed put. All objects are looked through after 200,000 new ones at the earliest."""

LOOKED_THROUGH_EVERY_S = 3600.0
"""Whatever has survived one look through all objects is left out of the next ones, which would take a turn of 60 ms at
30,000 records; so often they are looked through after all, since a link may die in a cycle."""


def choose_reactor() -> None:
    """Give this process the reactor that nodes run best on; to be called before anything asks for one."""
    try:
        from chordtwist.app.event_loop import install
    except ImportError:
        return  # a system without epoll
    with suppress(ReactorAlreadyInstalledError):
        install()


def make_ready(reactor: Any) -> Hangups:
    """Prepare a process of its own for nodes; to be called before the first timer. Answers with what takes SIGHUP."""
    use_monotonic_clock(reactor)
    use_all_descriptors()
    watch_descriptors(reactor)
    gc.set_threshold(*COLLECT_AFTER)
    gc.freeze()  # what is loaded stays: to look through it each time took 18 ms of a turn
    gc.callbacks.append(Survivors(reactor.seconds).looked_through)
    ending = EndingSignals(reactor)
    ending.install()
    hangups = Hangups(reactor, ending.leave)
    hangups.install()
    return hangups


class Survivors:
    """Keeps what survives a look through all objects out of the next ones, for `LOOKED_THROUGH_EVERY_S`."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began_s = seconds()

    def looked_through(self, phase: str, about: dict[str, int]) -> None:
        """Take note of a collection, as one of `gc.callbacks`."""
        if about["generation"] != 2:
            return
        if phase == "start" and self._seconds() - self._began_s >= LOOKED_THROUGH_EVERY_S:
            self._began_s = self._seconds()
            gc.unfreeze()
        elif phase == "stop":
            gc.freeze()


def stop(reactor: Any) -> None:
    """End the process, or let it end: a signal may have come while the node left because of a SHUTDOWN."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def use_monotonic_clock(reactor: Any) -> None:
    """Let all timers run on a clock that cannot be set; to be called before the first timer.

    Twisted's reactors count with the wall clock: setting it forward would fire every timer at once, and the node would
    take all its neighbours for dead.
    """
    reactor.seconds = time.monotonic


def use_all_descriptors() -> None:
    """Let this process open as many files and connections as the system allows it at most.

    What it may open without asking is meant for programs that use select(2), which can count to 1,024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def watch_descriptors(reactor: Any) -> None:
    """Say so when there are few descriptors, and, once a minute at most, when connections end since none is left."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS_MIN:
        _log.warn(
            "this process may open {soft} files and connections only, {least} are the least for a node: raise the limit"
            " (ulimit -n, LimitNOFILE= of a unit)",
            soft=soft,
            least=DESCRIPTORS_MIN,
        )
    globalLogPublisher.addObserver(AcceptErrors(reactor))


@implementer(ILogObserver)
class AcceptErrors:
    """Hears what Twisted says, for its developers, when a connection cannot be accepted; says it for operators."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._again_s = float("-inf")

    def __call__(self, event: LogEvent) -> None:
        """Look at one event."""
        words = event.get("log_format")
        if isinstance(words, str) and words.startswith(ACCEPT_ERRORS) and self._clock.seconds() >= self._again_s:
            self._again_s = self._clock.seconds() + ACCEPT_ERRORS_EVERY_S
            _log.warn("a connection was not accepted: {reason}", reason=event.get("acceptError", TOO_FEW_DESCRIPTORS))


class EndingSignals:
    """The first SIGTERM or SIGINT lets the node leave; a second one ends the process at once, whatever it is doing."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._came = False
        self._is_leaving = False

    def install(self) -> None:
        """Take the signals over, from now on: one that comes while the node is built lets it leave once it runs."""
        self._take_over()
        # A reactor that starts to run sets its own reactions.
        self._reactor.callWhenRunning(self._take_over)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._leaving)

    def _take_over(self) -> None:
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_DFL if self._came else self._first)

    def _first(self, number: int, frame: FrameType | None) -> None:
        # With the system's own reaction in place, the second signal works even when no more Python code runs.
        self._came = True
        self._take_over()
        self._reactor.callFromThread(self.leave, signal.Signals(number).name)

    def leave(self, name: str) -> None:
        """Let the node leave and the process end, because of the signal `name`."""
        # Not after a SHUTDOWN, nor when both signals came at once: a reactor that stops already refuses to be stopped.
        if not self._is_leaving:
            self._is_leaving = True
            self._log.info("{signal}: leaving the ring", signal=name)
            self._reactor.stop()

    def _leaving(self) -> None:
        self._is_leaving = True


class Hangups:
    """SIGHUP: the terminal is gone, and the node leaves; or, where it has none or still has it, an operator wants the
    configuration read again. SIGUSR1 and SIGUSR2 do nothing here, where they would end the process.

    @ivar reload: called for the second; None until there is something to be read again.
    """

    _log = Logger()

    def __init__(self, reactor: Any, leave: Callable[[str], object]) -> None:
        self.reload: Callable[[], object] | None = None
        self._reactor = reactor
        self._leave = leave
        self._had_terminal = False

    def install(self) -> None:
        """Take SIGHUP from now on, unless whoever started the process (nohup) had it ignored."""
        self._look_for_terminal()
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._came)
        self._reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        # A daemon has let go of its terminal meanwhile, and twistd may have use for SIGUSR1: it turns logs over.
        self._look_for_terminal()
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._nothing)

    def _look_for_terminal(self) -> None:
        self._had_terminal = has_terminal()

    def _came(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._hung_up)

    def _hung_up(self) -> None:
        if self._had_terminal and not has_terminal():
            self._leave("SIGHUP, the terminal is gone")
        elif self.reload is not None:
            self.reload()

    def _nothing(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(
            self._log.info, "{signal}: nothing is done for it", signal=signal.Signals(number).name
        )


def has_terminal() -> bool:
    """Whether this process has a terminal of its own that still stands."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
