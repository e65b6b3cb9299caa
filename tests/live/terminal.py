"""A terminal of so many columns, and what a command shows on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

PROGRAM = "from chordtwist.app.cli import main; main()"
ENDS_WITHIN_S = 60
"""On any machine that is not stuck."""


def on_terminal(*words: str, columns: int = 80, typed: bytes = b"", **environment: str) -> tuple[int, str]:
    """Run ``chordtwist`` on a terminal: its status, and all that the terminal was sent, ends of lines as in files."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm-256color"} | environment
    command = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=here
    )
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # what Linux says when nobody has the other end any more
            break
    os.close(ours)
    return command.wait(ENDS_WITHIN_S), shown.decode(errors="replace").replace("\r\n", "\n")
