"""Types what a newcomer types into a real terminal, and shows the whole session: ``python -m tools.walk``.

The README guide first, then a ring of 16 whose third node is killed. At human speed a line is typed when the prompt
is back; with ``--paste`` a block is thrown in at once, as by a mouse, while the one before it may still be running. The
environment of ``make node`` must be there, and the guide's addresses free, as in a network namespace of one's own::

    unshare -rn sh -c 'ip link set lo up && python -m tools.walk --columns 40 --paste'
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROMPT = "newcomer$ "
KEY_EVERY_S = 0.08
"""About twelve signs a second, as somebody types who knows what he wants."""

ENDS_WITHIN_S = 300.0
STEERING = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])")


class Terminal:
    """A shell on a terminal; `shown` is all that it was sent."""

    def __init__(self, columns: int) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        here = {name: value for name, value in os.environ.items() if not name.startswith("CHORDTWIST_")}
        self.shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env=here | {"PS1": PROMPT, "TERM": "xterm-256color", "HISTFILE": ""},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.shown = ""
        self._seen = 0

    def send(self, text: str, key_every_s: float = 0.0) -> None:
        """Type a text, or with no time between its signs paste it."""
        for part in text if key_every_s else (text,):
            os.write(self._ours, part.encode())
            self.read(key_every_s)

    def read(self, seconds: float) -> None:
        """Take what is shown within so long."""
        ends_s = time.monotonic() + seconds
        while True:
            left_s = max(0.0, ends_s - time.monotonic())
            if not select.select([self._ours], [], [], left_s)[0]:
                return
            try:
                raw = os.read(self._ours, 1 << 16)
            except OSError:
                return
            text = raw.decode(errors="replace")
            self.shown += text
            print(STEERING.sub("", text).replace("\r", ""), end="", flush=True)

    def wait_for(self, what: str, times: int = 1) -> bool:
        """Wait until it has been shown so often since the last wait, wherever the terminal has broken its lines."""
        ends_s = time.monotonic() + ENDS_WITHIN_S
        while len(re.findall(what, unbroken(self.shown[self._seen :]))) < times:
            if time.monotonic() > ends_s:
                print(f"\n[nothing like {what!r} came within {ENDS_WITHIN_S:g} s]", file=sys.stderr)
                return False
            self.read(0.2)
        self._seen = len(self.shown)
        return True

    def end(self) -> None:
        """Close it, as a window is closed."""
        os.killpg(self.shell.pid, signal.SIGHUP)
        os.close(self._ours)
        self.shell.wait()


def unbroken(shown: str) -> str:
    """Take out what steers the terminal, and all ends of lines."""
    return STEERING.sub("", shown).replace("\r", "").replace("\n", "")


def guide() -> Iterator[str]:
    """The blocks of the README's guide that are typed."""
    text = (ROOT / "README.rst").read_text()
    text = text[text.index("\nFive minutes") : text.index("\nWithout make")]
    for match in re.finditer(r"^\.\. code-block:: (\w+)\n\n((?:    .*\n|\n)+)", text, re.M):
        block = textwrap.dedent(match[2]).strip() + "\n"
        if match[1] == "sh":
            yield block
        elif match[1] == "python":
            yield f"python3 - <<'END'\n{block}END\n"


def typed(terminal: Terminal) -> list[str]:
    """Type the guide line by line: what went wrong."""
    wrong = []
    for block in guide():
        lines = [block] if block.startswith("python3") else block.splitlines(keepends=True)
        for line in lines:
            terminal.send(line, KEY_EVERY_S)
            if not terminal.wait_for(re.escape(PROMPT)):
                wrong.append(f"no prompt came back after {line!r}")
    return wrong


def pasted(terminal: Terminal) -> list[str]:
    """Paste all blocks of the guide at once: what went wrong."""
    terminal.send("".join(guide()) + 'echo "all of it" is done\n')
    return [] if terminal.wait_for(r"all of it is done") else ["the guide did not come to its end"]


def ring_of_sixteen(terminal: Terminal) -> list[str]:
    """Start a ring of 16, kill its third node and see it heal: what went wrong."""
    wrong = []
    terminal.send("chordtwist testnet 16\n", KEY_EVERY_S)
    steps = (("", r"formed in"), ("kill 3\n", r"one ring of 15 again"), ("quit\n", re.escape(PROMPT)))
    for words, expected in steps:
        terminal.send(words, KEY_EVERY_S)
        if not terminal.wait_for(expected):
            wrong.append(f"after {words!r} nothing like {expected!r} came")
    return wrong


def main() -> int:
    """Walk once."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--columns", type=int, default=80, metavar="N")
    options.add_argument("--paste", action="store_true", help="throw all of the guide in at once")
    options.add_argument("--busy", type=int, default=0, metavar="N", help="loops that take the processor meanwhile")
    asked = options.parse_args()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(asked.busy)]
    terminal = Terminal(asked.columns)
    began_s = time.monotonic()
    try:
        terminal.wait_for(re.escape(PROMPT))
        wrong = (pasted if asked.paste else typed)(terminal)
        expected = ("good morning", "652 good morning", "the node at 127.0.0.1:7401 has left")
        shown = unbroken(terminal.shown)
        wrong += [f"{words!r} was not shown" for words in expected if words not in shown]
        wrong += [f"{words!r} was shown" for words in ("Error:", "Traceback") if words in shown]
        wrong += ring_of_sixteen(terminal)
    finally:
        terminal.end()
        for loop in busy:
            loop.kill()
            loop.wait()
    print(f"\n[{len(wrong)} wrong, {time.monotonic() - began_s:.0f} s]")
    for line in wrong:
        print(f"[{line}]")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
