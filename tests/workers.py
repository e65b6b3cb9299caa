"""Where the commits of a record store run in tests: at once, step by step, or in a thread beside a bare loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from tempfile import mkdtemp
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def folder_in_memory() -> Path:
    """A new folder, in memory where the system has such a place: thousands of commits to a disk take minutes."""
    return Path(mkdtemp(prefix="chordtwist-test-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


class InlineWorker:
    """Commits at once, in the thread of the test."""

    def soon(self, after_s: float, call: Callable[[], object]) -> None:
        """Now."""
        call()

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """The Deferred has fired already."""
        done: Deferred[T] = Deferred()
        try:
            result = call()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(result)
        return done

    def stop(self) -> None:
        """There is nothing to stop."""


class SteppedWorker:
    """Commits when the test says so."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()
        self.has_stopped = False
        self.pauses_s: list[float] = []
        self.are_pauses_long = False
        self.pausing: list[Callable[[], object]] = []

    def soon(self, after_s: float, call: Callable[[], object]) -> None:
        """Now: a test says itself what comes in one turn of the reactor. Where pauses are long, one stays in `pausing`
        until the test says that it is over.
        """
        self.pauses_s.append(after_s)
        if after_s and self.are_pauses_long:
            self.pausing.append(call)
        else:
            call()

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """Fires in a later `step`."""
        done: Deferred[T] = Deferred()
        self.waiting.append(lambda: InlineWorker().run(call).chainDeferred(done))
        return done

    def step(self) -> None:
        """Make one commit, or claim more of the disk for it."""
        self.waiting.popleft()()

    def stop(self) -> None:
        """Note that it was told."""
        self.has_stopped = True


class ReactorTurns:
    """A reactor of which nothing is left but its turns: what a thread wants called is called when the test is ready."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: Any) -> None:
        self._calls.put(lambda: callable(*args))

    def callLater(self, delay: float, callable: Callable[..., Any]) -> None:
        self._calls.put(callable)

    def turn(self) -> None:
        """Wait for one call, and make it."""
        self._calls.get()()
