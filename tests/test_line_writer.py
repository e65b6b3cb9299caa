"""`LineWriter`: whoever logs never waits, and what nobody took is counted."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.line_writer import QUEUE_BYTES_MAX, LineWriter


class LineWriterTests(SynchronousTestCase):
    """A pipe."""

    def setUp(self) -> None:
        """A writer on a pipe that nobody reads yet."""
        self.reading, writing = os.pipe()
        self.stream = os.fdopen(writing, "w")
        self.is_open = True
        self.addCleanup(self.hang_up)
        self.writer = LineWriter(self.stream)

    def hang_up(self) -> None:
        """Close the reader's end, once; the writer's thread ends with the process."""
        if self.is_open:
            self.is_open = False
            os.close(self.reading)

    def read_until(self, end: bytes) -> bytes:
        """Read until something comes that is the end."""
        taken = b""
        while not taken.endswith(end):
            taken += os.read(self.reading, 1 << 16)
        return taken

    def test_written(self) -> None:
        """Lines are written whole and in their order, and have been when it is closed."""
        for number in range(100):
            self.writer.write(f"line {number}\n")
        self.writer.close()
        expected = b"".join(b"line %d\n" % number for number in range(100))
        os.set_blocking(self.reading, False)
        self.assertEqual(expected, os.read(self.reading, 1 << 16))

    def test_no_reader(self) -> None:
        """While nobody reads, lines wait up to a bound, further ones are dropped, and nobody waits for either; when
        somebody reads again he is told how many are missing, at the places where they are.
        """
        line = "x" * 999 + "\n"
        lines = 2 * QUEUE_BYTES_MAX // len(line)
        began_s = time.monotonic()
        for _ in range(lines):
            self.writer.write(line)
        self.assertLess(time.monotonic() - began_s, 5)
        self.writer.close()  # gives up
        taken, dropped = b"", 0
        while taken.count(line.encode()) + dropped < lines:
            taken += self.read_until(b"\n")
            told = [part for part in taken.splitlines() if part.endswith(b"nobody took them)")]
            dropped = sum(int(part.split()[0].strip(b"(")) for part in told)
        self.assertGreater(dropped, 0)
        self.assertEqual(lines, taken.count(line.encode()) + dropped)
        self.writer.write("the next\n")
        self.assertEqual(b"the next\n", self.read_until(b"next\n"))

    def test_reader_gone(self) -> None:
        """When the reader is gone lines are dropped, without an error and without end."""
        self.hang_up()
        for _ in range(3):
            self.writer.write("lost\n")
            self.writer.close()

    def test_not_blocking(self) -> None:
        """A descriptor that others made non-blocking, as a shell does with its terminal, is waited for."""
        os.set_blocking(self.stream.fileno(), False)
        line = "y" * 9_999 + "\n"
        for _ in range(50):
            self.writer.write(line)
        taken = b""
        while len(taken) < 50 * len(line):
            taken += os.read(self.reading, 1 << 16)
        self.assertEqual(line.encode() * 50, taken)
