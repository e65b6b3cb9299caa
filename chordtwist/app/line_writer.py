"""Lines of the log to a stream that may not take them: a pipe that nobody reads, a terminal that was stopped."""

from __future__ import annotations

import atexit
import os
import select
import sys
from collections import deque
from threading import Condition, Thread
from typing import TextIO

QUEUE_BYTES_MAX = 1 << 20
"""Lines that wait to be written; those beyond it are dropped, and counted."""

LAST_LINES_WITHIN_S = 0.5
"""For the last lines to be taken, when the process ends."""


class LineWriter:
    """Writes lines in a thread of its own, so that whoever logs never waits.

    What the other side does not take is dropped, and when it takes something again a line says how many lines are
    missing there. The thread begins with the first line: who goes into the background leaves its threads behind.
    """

    def __init__(self, stream: TextIO) -> None:
        """@param stream: with a descriptor of its own; what it holds itself is written first."""
        stream.flush()
        self._descriptor = stream.fileno()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._is_taken = True
        self._changed = Condition()
        self._thread: Thread | None = None

    def fileno(self) -> int:
        """Tell the descriptor that is written to."""
        return self._descriptor

    def write(self, text: str) -> None:
        """Write whole lines, soon."""
        with self._changed:
            if self._bytes + len(text) > QUEUE_BYTES_MAX:
                self._dropped += 1
                return
            if self._is_taken:
                self._tell_of_dropped()
            self._add(text)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as it can."""

    def close(self) -> None:
        """Wait until all lines are written, `LAST_LINES_WITHIN_S` at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines, LAST_LINES_WITHIN_S)

    def _add(self, text: str) -> None:
        raw = text.encode("utf-8", "backslashreplace")
        self._lines.append(raw)
        self._bytes += len(raw)

    def _tell_of_dropped(self) -> None:
        if self._dropped:
            self._add(f"({self._dropped} lines of the log are missing here: nobody took them)\n")
            self._dropped = 0

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                raw = self._lines[0]
            is_taken = self._written(raw)
            with self._changed:
                self._lines.popleft()
                self._bytes -= len(raw)
                self._is_taken = is_taken
                if not is_taken:
                    self._dropped += 1
                elif not self._lines:
                    self._tell_of_dropped()
                self._changed.notify_all()

    def _written(self, raw: bytes) -> bool:
        # Whether the other side took it. It waits for as long as that takes.
        while raw:
            try:
                raw = raw[os.write(self._descriptor, raw) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                return False  # nobody is there any more
        return True


def to_standard_error() -> LineWriter | None:
    """Make the writer for standard error, which has time for its last lines at the end; None where that is closed."""
    if sys.stderr is None:
        return None
    writer = LineWriter(sys.stderr)
    atexit.register(writer.close)
    return writer
