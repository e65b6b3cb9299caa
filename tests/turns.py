"""A node that measures its turns: ``python -m tests.turns FILE run -c CONFIG`` is ``chordtwist run -c CONFIG``, and
writes to FILE how much processor time each turn of its reactor took.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONG_S = 0.001
"""Turns as short as this are counted only."""

WRITE_EVERY_S = 0.5


def measure(reactor: Any, path: str) -> None:
    """Have a reactor write a line of JSON now and then: when, how many turns, and the seconds of each long one."""
    do_calls = reactor.runUntilCurrent
    file = Path(path)
    count, long_s, began_s, written = 0, [], time.thread_time(), time.monotonic()

    def begin_turn() -> None:
        nonlocal count, long_s, began_s, written
        now_s = time.thread_time()
        count += 1
        if now_s - began_s > LONG_S:
            long_s.append(round(now_s - began_s, 5))
        if time.monotonic() - written > WRITE_EVERY_S:
            written = time.monotonic()
            with file.open("a") as lines:
                lines.write(json.dumps([written, count, long_s]) + "\n")
            count, long_s = 0, []
            now_s = time.thread_time()
        began_s = now_s
        do_calls()

    reactor.runUntilCurrent = begin_turn


@dataclass(frozen=True)
class Turns:
    """The turns of a reactor between two moments."""

    count: int
    long_s: list[float]
    """Those above `LONG_S`, the longest last."""

    def at(self, share: float) -> float:
        """The seconds that this share of all turns did not exceed; 0 where it is a short one."""
        beyond = int(self.count * (1 - share))
        return self.long_s[-1 - beyond] if beyond < len(self.long_s) else 0.0

    @property
    def longest_s(self) -> float:
        """The longest."""
        return self.long_s[-1] if self.long_s else 0.0


def turns_of(path: Path, since_s: float, until_s: float) -> Turns:
    """Read what a node has written between two moments of the monotonic clock."""
    count, long_s = 0, []
    for line in path.read_text().splitlines():
        at_s, more, longer_s = json.loads(line)
        if since_s < at_s - WRITE_EVERY_S and at_s <= until_s:
            count += more
            long_s += longer_s
    return Turns(count, sorted(long_s))


if __name__ == "__main__":
    file = sys.argv.pop(1)
    from twisted.internet import reactor

    from chordtwist.app.cli import main

    measure(reactor, file)
    main()
