"""A testnet as somebody has it on a terminal, and by a script."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import re
import select
import signal
import subprocess
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import BIN

WITHIN_S = 60.0


def first_address() -> str:
    """An address from which on nobody else uses loopback."""
    return f"127.{random.randrange(1, 255)}.{random.randrange(255)}.1"


class ScriptTests(SynchronousTestCase):
    def run_script(self, *lines: str) -> subprocess.CompletedProcess[str]:
        path = Path(self.mktemp())
        path.write_text("\n".join(lines))
        command = [f"{BIN}/chordtwist", "testnet", "5", "--first", first_address(), "--script", str(path)]
        return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S)

    def test_a_death_a_pause_and_a_newcomer(self) -> None:
        """Under load one is killed, one paused and goes on, one comes: each time the others are one ring again, and all
        that is read is right.
        """
        ran = self.run_script("load 40", "kill 3", "ring", "pause 4", "ring", "resume 4", "ring", "add", "ring")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        healed = re.findall(r"one ring of (\d) again", ran.stdout)
        self.assertEqual(healed, ["4", "3", "4", "5"], ran.stdout)
        self.assertRegex(ran.stdout, r"\d+ puts, \d+ gets, \d+\.\d+ % right")
        self.assertNotIn("gets wrong", ran.stdout.replace(" 0 gets wrong", ""))

    def test_a_step_that_cannot_be(self) -> None:
        """A step that cannot be done ends it with status 1 and the reason."""
        ran = self.run_script("kill 9", "ring")
        self.assertEqual((ran.returncode, ran.stderr), (1, "'kill 9' could not be done\n"))
        self.assertIn("there is no node 9; they are numbered from 1 to 5", ran.stdout)


class TerminalTests(SynchronousTestCase):
    def test_typed(self) -> None:
        """On a terminal there is a table; what is typed is done; quit, and the terminal is as it was before."""
        pid, terminal = pty.fork()
        if not pid:
            os.environ["COLUMNS"], os.environ["LINES"] = "80", "30"
            os.execv(f"{BIN}/chordtwist", ["chordtwist", "testnet", "3", "--first", first_address()])
        self.addCleanup(os.close, terminal)
        self.addCleanup(self.end, pid)
        self.seen = ""
        self.wait_for(terminal, "formed in")
        self.wait_for(terminal, "BEHIND IT")
        self.wait_for(terminal, "in another terminal")
        os.write(terminal, b"kil\x7fll 2\r")
        self.wait_for(terminal, "one ring of 2 again")
        self.assertIn("killed", self.seen)
        os.write(terminal, b"dance\rquit\r")
        self.wait_for(terminal, "is no word here")
        self.wait_for(terminal, "all of them leave")
        ends_s = time.monotonic() + WITHIN_S
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            self.assertLess(time.monotonic(), ends_s, self.seen[-2000:])
            self.read(terminal)
        self.assertNotIn("Traceback", self.seen)

    def wait_for(self, terminal: int, words: str) -> None:
        ends_s = time.monotonic() + WITHIN_S
        while words not in self.seen:
            self.assertLess(time.monotonic(), ends_s, f"{words} is missing in {self.seen[-3000:]}")
            self.read(terminal)

    def read(self, terminal: int) -> None:
        if select.select([terminal], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # its other end is closed
                self.seen += os.read(terminal, 65_536).decode("utf-8", "replace")

    @staticmethod
    def end(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
