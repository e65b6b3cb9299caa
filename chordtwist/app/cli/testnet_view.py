"""A testnet on a terminal: a live table, a line to type in, what was said; plain lines where there is no terminal."""

from __future__ import annotations

import os
import termios
import tty
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from chordtwist.app.cli import showing, talking
from chordtwist.app.testnet import Place, Standing, Testnet
from chordtwist.app.testnet_load import Load
from chordtwist.app.testnet_story import Story
from chordtwist.app.testnet_words import HELP

if TYPE_CHECKING:
    from rich.console import RenderableType

SAID_LINES = 6
TYPED_MAX = 200
_STYLES = {Standing.RUNS: "green", Standing.PAUSED: "yellow", Standing.KILLED: "red", Standing.LEFT: ""}


def is_in_front() -> bool:
    """Whether somebody sits at a terminal and this process has it, not a shell that has sent it to the background."""
    try:
        return os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


class PlainView:
    """Lines on standard output."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def say(self, line: str) -> None:
        """Say something that stays."""
        talking.show(line)

    def refresh(self) -> None:
        """Show nothing: what is news is said."""

    def end(self) -> None:
        """Say what came of the load, if there was one."""
        words = load_in_words(self._load)
        if words:
            talking.show(words)


class LiveView:
    """A picture of all nodes that is drawn again and again, and the line that is typed."""

    def __init__(self, testnet: Testnet, story: Story, load: Load, nodes: int) -> None:
        from rich.live import Live

        self.typed = ""
        self._testnet = testnet
        self._story = story
        self._load = load
        self._nodes = nodes
        self._said: deque[str] = deque(maxlen=SAID_LINES)
        self._console = showing.console()
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._settings = termios.tcgetattr(0)
        self._is_over = False
        tty.setcbreak(0)
        self._live.start()

    def say(self, line: str) -> None:
        """Say something below the table."""
        self._said.append(line)
        self.refresh()

    def refresh(self) -> None:
        """Draw it as it is now."""
        if not self._is_over:
            self._live.update(self._picture(), refresh=True)

    def end(self) -> None:
        """Leave the terminal as it was."""
        if not self._is_over:
            self.typed = ""
            self.refresh()
            self._is_over = True
            self._live.stop()
            termios.tcsetattr(0, termios.TCSADRAIN, self._settings)

    def _picture(self) -> RenderableType:
        from rich.console import Group

        story = self._story
        parts: list[RenderableType] = []
        if story.has_formed:
            parts += [self._table(), showing.text("")]
        else:
            parts += [self._bar()]
        parts.append(showing.text(story.in_words(), "bold green" if story.is_one_ring else "bold yellow"))
        words = load_in_words(self._load)
        if words:
            parts.append(showing.text(words, "red" if self._load.wrong else ""))
        parts += [showing.text(line, "dim") for line in self._said]
        if not self._is_over:
            parts.append(showing.text(f"> {self.typed}_"))
        return Group(*parts)

    def _bar(self) -> RenderableType:
        from rich.progress_bar import ProgressBar

        members = sum(place.is_member for place in self._testnet.places.values())
        return ProgressBar(total=max(1, self._nodes), completed=members, width=min(60, self._console.width))

    def _table(self) -> RenderableType:
        places = list(self._testnet.places.values())
        numbers = {place.address: str(place.number) for place in places}
        room = max(3, self._console.height - SAID_LINES - 6)
        shown = places[: room - 1] if len(places) > room else places
        rows = [self._row(place, numbers) for place in shown]
        if len(shown) < len(places):
            rows.append(["", f"and {len(places) - len(shown)} more", "", "", "", "", ""])
        columns = ("#", "ADDRESS", "STATE", "BEFORE IT", "BEHIND IT", "RECORDS", "SILENT TO IT")
        spare = ("SILENT TO IT", "RECORDS", "BEFORE IT")
        return showing.table(columns, rows, right=("#", "BEFORE IT", "BEHIND IT", "RECORDS"), spare=spare)

    def _row(self, place: Place, numbers: dict[str, str]) -> list[Any]:
        status = place.status
        standing = showing.text(place.standing.value, _STYLES[place.standing])
        if place.standing is not Standing.RUNS:
            return [place.number, place.address, standing, "", "", "", ""]
        if not place.is_member:
            return [place.number, place.address, showing.text("joins", "yellow"), "", "", "", ""]
        successors = status["successors"]
        return [
            place.number,
            place.address,
            standing,
            numbers.get(str(status["predecessor"]), ""),
            numbers.get(successors[0], "") if successors else "",
            status["records"],
            ", ".join(numbers.get(peer, peer) for peer in status["silent"][:4]),
        ]


def load_in_words(load: Load) -> str:
    """Say what became of the load; nothing where there was none."""
    right = load.right_percent
    if right is None:
        return ""
    words = f"load {load.per_second:g}/s: {load.puts} puts, {load.gets} gets, {right:.2f} % right"
    if load.failed or load.wrong:
        words += f" ({load.failed} puts not confirmed, {load.wrong} gets wrong)"
    return f"{words}, median {showing.milliseconds(load.median_ms())}"


def first_words(api: str, page: str | None) -> list[str]:
    """Say what to try."""
    lines = [
        f"in another terminal:  export CHORDTWIST_API={api}",
        '                      chordtwist put greeting "good morning"; chordtwist inspect greeting; chordtwist ring',
        f"here:                 {HELP}",
    ]
    return lines if page is None else [f"page:                 {page}", *lines]


@implementer(IReadDescriptor)
class Keys:
    """Reads what is typed, or what comes over a pipe, without waiting; gives whole lines to `take`."""

    def __init__(self, take: Callable[[str], object], typed: Callable[[str], None], ended: Callable[[], None]) -> None:
        """@param typed: told of what stands in the line so far. @param ended: told when nothing more comes."""
        self._take = take
        self._typed = typed
        self._ended = ended
        self._line = ""

    def fileno(self) -> int:
        """Give the descriptor of standard input."""
        return 0

    def logPrefix(self) -> str:
        """Name it in the log."""
        return "keys"

    def doRead(self) -> None:
        """Take what is there."""
        try:
            read = os.read(0, 4096)
        except OSError:
            read = b""
        if not read:
            self._ended()
            return
        for sign in read.decode("utf-8", "replace"):
            if sign in "\r\n":
                line, self._line = self._line, ""
                self._take(line)
            elif sign in "\x7f\x08":
                self._line = self._line[:-1]
            elif sign == "\x15":  # Ctrl-U
                self._line = ""
            elif sign == "\x04" and not self._line:  # Ctrl-D
                self._take("quit")
            elif sign.isprintable() and len(self._line) < TYPED_MAX:
                self._line += sign
        self._typed(self._line)

    def connectionLost(self, reason: object) -> None:
        """Read no more."""
