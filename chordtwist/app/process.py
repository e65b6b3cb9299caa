"""What a node asks of the process it runs in: a clock that never jumps, and signals that mean what operators mean."""

from __future__ import annotations

import gc
import resource
import signal
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)

COLLECT_AFTER = (10_000, 10, 3)
"""New objects, then collections of the next older ones, after which Python looks for cycles (its own: 700, 10, 10).
Ours die without, while a put that waits for its copies or for the disk lives through several of these: a fifth of the
processor time of a confirmed put. All objects are looked through after 300,000 new ones at the earliest."""


def make_ready(reactor: Any) -> None:
    """Prepare a process of its own for nodes; to be called before the first timer."""
    use_monotonic_clock(reactor)
    use_all_descriptors()
    gc.set_threshold(*COLLECT_AFTER)
    EndingSignals(reactor).install()


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
        self._reactor.callFromThread(self._leave, signal.Signals(number).name)

    def _leave(self, name: str) -> None:
        # Not after a SHUTDOWN, nor when both signals came at once: a reactor that stops already refuses to be stopped.
        if not self._is_leaving:
            self._is_leaving = True
            self._log.info("{signal}: leaving the ring", signal=name)
            self._reactor.stop()

    def _leaving(self) -> None:
        self._is_leaving = True
