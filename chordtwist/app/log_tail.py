"""The log of the process as it is written, for whoever follows it over the API."""

from __future__ import annotations

from collections import deque
from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from chordtwist.core.errors import Refused
from chordtwist.core.printable import printable

LOG_LINES_KEPT = 1_000
"""Lines that wait for whoever follows a log; the oldest are dropped, and counted."""


class LogTail:
    """Gathers the lines of the log from now on that are serious enough, until `end`."""

    def __init__(self, level: str) -> None:
        """@param level: debug, info, warn or error. @raise Refused: it is none of them."""
        try:
            self._level = LogLevel.lookupByName(level)
        except ValueError:
            raise Refused(f"{level!r} is no level of a log; they are debug, info, warn, error") from None
        self._lines: deque[dict[str, object]] = deque(maxlen=LOG_LINES_KEPT)
        self._dropped = 0
        self._observer = cast(ILogObserver, self._hear)
        globalLogPublisher.addObserver(self._observer)

    def _hear(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        if level < self._level:
            return
        self._dropped += len(self._lines) == LOG_LINES_KEPT
        self._lines.append(
            {
                "at_ms": int(event["log_time"] * 1000),
                "level": level.name,
                "namespace": str(event.get("log_namespace") or "-"),
                "text": printable(formatEvent(event)),
            }
        )

    def taken(self) -> list[dict[str, object]]:
        """Give the lines that were not given before: `at_ms`, `level`, `namespace`, `text`."""
        lines, dropped = list(self._lines), self._dropped
        self._lines.clear()
        self._dropped = 0
        if dropped:
            text = f"{dropped} lines are left out here"
            lines.insert(0, {"at_ms": lines[0]["at_ms"], "level": "warn", "namespace": "-", "text": text})
        return lines

    def end(self) -> None:
        """Gather no more."""
        globalLogPublisher.removeObserver(self._observer)
