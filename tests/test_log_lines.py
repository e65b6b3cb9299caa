"""Log events as lines."""

from __future__ import annotations

import json
import os
import pty
import tempfile
from datetime import datetime
from io import StringIO

from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import Level, LogFormat, LogSection
from chordtwist.app.log_lines import LogLines, reaches_journal


def event(level: LogLevel, words: str, namespace: str = "node", **values: object) -> LogEvent:
    """An event as a Logger makes it, half a second into 1970."""
    return {"log_level": level, "log_format": words, "log_namespace": namespace, "log_time": 0.5, **values}


def written(log: LogSection, *events: LogEvent) -> list[str]:
    """The lines for events."""
    stream = StringIO()
    for one in events:
        LogLines(log, stream, {})(one)
    return stream.getvalue().splitlines()


def each_level(namespace: str = "node") -> list[LogEvent]:
    """An event of each level, the least serious first."""
    return [event(level, level.name, namespace) for level in LogLevel.iterconstants()]


def failure() -> LogEvent:
    """An event with a traceback."""
    try:
        raise ValueError("broken")
    except ValueError:
        return event(LogLevel.critical, "while stabilizing", log_failure=Failure())


class TextTests(SynchronousTestCase):
    """Lines for people."""

    def test_line(self) -> None:
        """A line has the time in UTC, the level, where it comes from, and the message."""
        (line,) = written(LogSection(), event(LogLevel.info, "{peer} joined", peer="127.0.0.2:6401"))
        self.assertEqual("1970-01-01T00:00:00.500+00:00 info     node: 127.0.0.2:6401 joined", line)

    def test_terminal(self) -> None:
        """On a terminal a line is short: local time, the level in colour, the message; a traceback as elsewhere."""
        told = event(LogLevel.warn, "{peer} left\x1b[2J", peer="127.0.0.2:6401")
        time = datetime.fromtimestamp(0.5).strftime("%H:%M:%S")
        for environment, level in ({}, "\x1b[33mwarn \x1b[0m"), ({"NO_COLOR": "1"}, "warn "):
            ours, theirs = pty.openpty()
            with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
                LogLines(LogSection(), terminal, environment)(told)
                terminal.flush()
                self.assertEqual(f"{time} {level} 127.0.0.2:6401 left\\x1b[2J\r\n", screen.read(200).decode())
                LogLines(LogSection(format=LogFormat.JSON), terminal, environment)(told)
                terminal.flush()
                self.assertTrue(screen.read(200).startswith(b"{"))

    def test_closed_stream(self) -> None:
        """Where standard error is closed events are lost, and nothing else is."""
        LogLines(LogSection(), None, {})(event(LogLevel.warn, "lost"))

    def test_one_line_only(self) -> None:
        """What a stranger sent can neither start a line of its own nor move the cursor."""
        (line,) = written(LogSection(), event(LogLevel.warn, "{reason}", reason="a\nb\x1b[2J\u2028c"))
        self.assertTrue(line.endswith(r"node: a\nb\x1b[2J\u2028c"), line)

    def test_level(self) -> None:
        """Events below the configured level are not shown."""
        for level, shown in ((Level.DEBUG, 5), (Level.INFO, 4), (Level.WARN, 3), (Level.ERROR, 2)):
            self.assertEqual(shown, len(written(LogSection(level=level), *each_level())))

    def test_twisted_is_quiet(self) -> None:
        """At the default level Twisted's own events are shown from warnings on: a healthy node has nothing to say."""
        for level, shown in ((Level.DEBUG, 5), (Level.INFO, 3), (Level.ERROR, 2)):
            self.assertEqual(shown, len(written(LogSection(level=level), *each_level("twisted.internet.tcp"))))

    def test_failure(self) -> None:
        """A failure shows its traceback."""
        first, *trace = written(LogSection(), failure())
        self.assertIn("critical node: while stabilizing", first)
        self.assertIn("ValueError: broken", trace[-1])


class JsonTests(SynchronousTestCase):
    """Lines for programs."""

    JSON = LogSection(format=LogFormat.JSON)

    def test_object(self) -> None:
        """A line is one JSON object: time, level, namespace, message, and the event's plain values."""
        silent = event(LogLevel.warn, "{peer} is silent", peer="[::1]:6401", tries=3, why=object())
        expected = {
            "time": "1970-01-01T00:00:00.500+00:00",
            "level": "warn",
            "namespace": "node",
            "message": "[::1]:6401 is silent",
            "peer": "[::1]:6401",
            "tries": 3,
        }
        self.assertEqual([expected], [json.loads(line) for line in written(self.JSON, silent)])

    def test_failure(self) -> None:
        """A traceback is a member of the object, not lines of its own."""
        (line,) = written(self.JSON, failure())
        shown = json.loads(line)
        self.assertEqual("while stabilizing", shown["message"])
        self.assertTrue(shown["traceback"].endswith("ValueError: broken"))


class JournalTests(SynchronousTestCase):
    """Under systemd."""

    def setUp(self) -> None:
        """A file stands in for the journal's socket: what counts is its device and inode."""
        self.stream = self.enterContext(tempfile.TemporaryFile("w+"))
        status = os.fstat(self.stream.fileno())
        self.environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}

    def test_priorities(self) -> None:
        """Where the journal reads, a line carries its priority, and leaves the time to the journal."""
        for one in each_level():
            LogLines(LogSection(level=Level.DEBUG), self.stream, self.environment)(one)
        self.stream.seek(0)
        expected = ["<7>node: debug\n", "<6>node: info\n", "<4>node: warn\n", "<3>node: error\n", "<2>node: critical\n"]
        self.assertEqual(expected, self.stream.readlines())

    def test_redirected(self) -> None:
        """A stream led elsewhere by a service's own script gets ordinary lines."""
        self.assertTrue(reaches_journal(self.stream, self.environment))
        self.assertFalse(reaches_journal(self.stream, {"JOURNAL_STREAM": "0:0"}))
        self.assertFalse(reaches_journal(self.stream, {}))
        self.assertFalse(reaches_journal(StringIO(), self.environment))
