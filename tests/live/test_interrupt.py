"""Ctrl-C at the keyboard: a command ends in silence, with the status that shells know it by."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = str(Path(__file__).parents[2])
PROGRAM = "from chordtwist.app.cli import main; main()"
ENDS_WITHIN_S = 60
"""On any machine that is not stuck."""

SILENCE = (-signal.SIGINT, b"", b"")
"""Ended by the signal itself, which a shell shows as status 130."""


def start(*words: str, program: str = PROGRAM, path: str = ROOT) -> subprocess.Popen[bytes]:
    """A command in a process of its own, whose libraries are looked for in `path` first."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
    )


def end_of(command: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Status, output and errors, once it has ended."""
    out, err = command.communicate(timeout=ENDS_WITHIN_S)
    return command.returncode, out, err


class InterruptTests(SynchronousTestCase):
    """Ctrl-C, as the signal that it is."""

    def test_while_waiting(self) -> None:
        """While a command waits for the answer of a node; SIGTERM ends it as silently."""
        with socket.create_server(("127.0.0.1", 0)) as node:
            node.settimeout(ENDS_WITHIN_S)
            for words in ["get", "greeting"], ["put", "greeting", "value"], ["status"]:
                command = start(*words, "--api", f"127.0.0.1:{node.getsockname()[1]}")
                link, _ = node.accept()
                with link:
                    self.assertTrue(link.recv(1))
                    number = signal.SIGTERM if words == ["status"] else signal.SIGINT
                    command.send_signal(number)
                    self.assertEqual((-number, b"", b""), end_of(command), words)

    def test_while_importing(self) -> None:
        """While Python imports the first library, whatever was asked."""
        with tempfile.TemporaryDirectory() as folder:
            # In place of the library that every command needs first: whoever imports it is interrupted just then.
            Path(folder, "click.py").write_text("import os, signal, time\nos.kill(os.getpid(), 2)\ntime.sleep(20)\n")
            for words in ["run", "-c", "node.ini"], ["testnet", "3"], ["get", "greeting"], ["--help"]:
                self.assertEqual(SILENCE, end_of(start(*words, path=f"{folder}:{ROOT}")), words)

    def test_ignored(self) -> None:
        """Where the shell has it ignored, as for what a script starts behind an ampersand, it stays so."""
        program = (
            "import atexit, os, signal; signal.signal(2, signal.SIG_IGN); atexit.register(os.kill, os.getpid(), 2)"
        )
        status, out, err = end_of(start("--version", program=f"{program}\n{PROGRAM}"))
        self.assertEqual((0, b""), (status, err), out)
