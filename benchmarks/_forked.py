"""A server in a process of its own, so that both ends of a benchmark have a core."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Any


class Forked:
    """While it is entered, ``start(reactor)`` serves in a child process. To be entered before this one has a reactor:
    one that exists before a fork is shared by both sides.
    """

    def __init__(self, start: Callable[[Any], object]) -> None:
        self._start = start

    def __enter__(self) -> Forked:
        reading, writing = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(reading)
            self._serve(writing)
        os.close(writing)
        is_ready = os.read(reading, 1)
        os.close(reading)
        if not is_ready:
            raise RuntimeError("the server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)

    def _serve(self, ready: int) -> None:
        try:
            from twisted.internet import reactor as installed

            reactor: Any = installed
            self._start(reactor)
            os.write(ready, b"!")
            os.close(ready)
            reactor.run(installSignalHandlers=False)
        finally:
            os._exit(0)
