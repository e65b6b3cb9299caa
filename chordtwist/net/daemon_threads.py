"""Calls that may hang, such as lookups of names and writes to a disk, out of the reactor's way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


class DaemonThreads:
    """Runs blocking calls in threads of its own; none begins before the first call.

    They are daemons, unlike those of the reactor's pool: a call that hangs does not keep the process from ending.
    """

    def __init__(self, reactor: Any, threads_max: int, name: str) -> None:
        self._reactor = reactor
        threads: Any = ThreadPool(0, threads_max, name)
        threads.threadFactory = partial(Thread, daemon=True)
        threads.start()
        self._threads = threads

    def call(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        """Call it in a thread, when one is free; fires, or fails, in the reactor's with what came of it."""
        called: Deferred[T] = deferToThreadPool(self._reactor, self._threads, function, *args)
        return called

    def stop(self) -> None:
        """Let the threads end, at once or after their calls; nothing is called any more."""
        # Not the pool's own stop, which waits for them, and so for a call that hangs.
        self._threads.adjustPoolsize(0, 0)
