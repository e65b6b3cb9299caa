"""Log events to lines on standard error: text for people, JSON for programs, priorities for the journal.

Under twistd the levels of twisted.logger have no option of their own, so the node brings its own observer there too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.app.config import Level, LogFormat, LogSection
from chordtwist.core.printable import printable

PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
"""The journal's number for each of our levels (sd-daemon(3), as syslog's)."""


RESET = "\x1b[0m"
STYLES = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warn": "\x1b[33m",
    "error": "\x1b[1;31m",
    "critical": "\x1b[1;31m",
}
"""How a terminal shows the words for levels: dim, green, yellow, bold red (ECMA-48, section 8.3.117)."""


class Stream(Protocol):
    """Where lines go."""

    def fileno(self) -> int: ...

    def write(self, text: str, /) -> object: ...


@implementer(ILogObserver)
class LogLines:
    """Writes events as lines, as the configuration asks."""

    def __init__(self, log: LogSection, stream: Stream | None, environment: Mapping[str, str]) -> None:
        """@param stream: None, which Python makes of a standard stream that is closed: events are lost.
        @param environment: tells whether the journal reads the stream.
        """
        self._stream = stream
        self._as_line = _json_line if log.format is LogFormat.JSON else _text_line
        if stream is not None and log.format is LogFormat.TEXT:
            if reaches_journal(stream, environment):
                self._as_line = _journal_lines
            elif is_terminal(stream):
                self._as_line = _plain_terminal_line if environment.get("NO_COLOR") else _terminal_line
        self.set_level(log.level)

    def set_level(self, level: Level) -> None:
        """Show events from `level` on."""
        shown = LogLevelFilterPredicate(defaultLogLevel=LogLevel.lookupByName(level.value))
        if level is Level.INFO:
            # Twisted tells of every factory that starts and stops; a node that is well has nothing to say.
            shown.setLogLevelForNamespace("twisted", LogLevel.warn)
            shown.setLogLevelForNamespace("log_legacy", LogLevel.warn)
        self._filtered = FilteringLogObserver(cast(ILogObserver, self._write), [shown])

    def __call__(self, event: LogEvent) -> None:
        """Write the line of an event that is shown."""
        self._filtered(event)

    def _write(self, event: LogEvent) -> None:
        if self._stream is not None:
            self._stream.write(self._as_line(event))


def reaches_journal(stream: Stream, environment: Mapping[str, str]) -> bool:
    """Whether systemd's journal reads `stream`: JOURNAL_STREAM names its device and inode (systemd.exec(5))."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def is_terminal(stream: Stream) -> bool:
    """Tell whether people read `stream` as it is written."""
    try:
        return os.isatty(stream.fileno())
    except (OSError, ValueError):
        return False


def _terminal_line(event: LogEvent, styles: Mapping[str, str] = STYLES) -> str:
    # Somebody looks on: his own time, and what matters in colour. Where it comes from is for files.
    level = _level(event)
    time = datetime.fromtimestamp(event["log_time"]).strftime("%H:%M:%S")
    style = styles.get(level, "")
    shown = f"{style}{level:<5}{RESET}" if style else f"{level:<5}"
    return f"{time} {shown} " + "\n    ".join(_message(event)) + "\n"


def _plain_terminal_line(event: LogEvent) -> str:
    return _terminal_line(event, {})


def _text_line(event: LogEvent) -> str:
    return f"{_time(event)} {_level(event):<8} {_namespace(event)}: " + "\n    ".join(_message(event)) + "\n"


def _journal_lines(event: LogEvent) -> str:
    # The journal has its own clock, and takes every line for an event of its own.
    priority = PRIORITIES[_level(event)]
    first, *more = _message(event)
    lines = [f"{_namespace(event)}: {first}", *more]
    return "".join(f"<{priority}>{line}\n" for line in lines)


def _json_line(event: LogEvent) -> str:
    members: dict[str, object] = {
        key: value for key, value in event.items() if not key.startswith("log_") and _is_plain(value)
    }
    first, *trace = _message(event)
    members.update(time=_time(event), level=_level(event), namespace=_namespace(event), message=first)
    if trace:
        members["traceback"] = "\n".join(trace)
    return json.dumps(members) + "\n"


def _message(event: LogEvent) -> list[str]:
    # The message in one line, then the lines of a traceback. What a stranger sent may be in the message: escaped, it
    # can neither forge a second line nor move the cursor of a terminal.
    lines = [printable(formatEvent(event))]
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        lines += map(printable, failure.getTraceback().rstrip("\n").split("\n"))
    return lines


def _time(event: LogEvent) -> str:
    return datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return "info" if level is None else str(level.name)


def _namespace(event: LogEvent) -> str:
    return str(event.get("log_namespace") or "-")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
