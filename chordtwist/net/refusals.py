"""Addresses that broke the protocol, refused for a while; and one log line for each cause, however often it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chordtwist.core.allowance import Allowance
from chordtwist.core.bounded import Bounded

REFUSE_FOR_S = 30.0
"""How long an address is refused after a breach: a broken program costs a connection per half minute, and an operator
who mends it does not wait long."""

LINE_EVERY_S = 60.0
"""At most one line per address and reason in this time; the next one says how many were left out."""

LINES_PER_S, LINES_AT_ONCE = 1.0, 60.0
"""Lines about all addresses together: whoever has many writes the log no fuller than whoever has one."""

REFUSALS_MAX = 4096
"""Addresses that are refused, and causes of lines, that are remembered; the oldest goes first."""


class Because(Enum):
    """Why something is refused, in a word for programs; it stays."""

    BROKEN = "broken"
    """It does what the protocol forbids."""

    FOREIGN = "foreign"
    """It is of another network, address, key or authority."""

    CROWD = "crowd"
    """There are too many connections."""

    COSTS = "costs"
    """It costs more than it may."""

    MEMORY = "memory"
    """It makes us hold too much."""


@dataclass(slots=True)
class _Line:
    # The last line about one cause, and how often it was left out since.
    told_at: float
    left_out: int = 0


class Refusals:
    """What one node refuses, and how it says so."""

    log = Logger()

    def __init__(self, clock: IReactorTime, line: str = "refused {address}: {reason}{more}") -> None:
        """@param line: the format of log lines."""
        self.note: Callable[[str], object] = lambda line: None
        """Told of each line."""
        self._clock = clock
        self._line = line
        self._until: Bounded[str, tuple[float, str]] = Bounded(REFUSALS_MAX)
        self._lines: Bounded[tuple[str, str], _Line] = Bounded(REFUSALS_MAX)
        self._all = Allowance(LINES_PER_S, LINES_AT_ONCE)
        self._left_out = 0
        self.counts: Counter[Because] = Counter()

    def refuse(self, address: str, reason: str) -> None:
        """Have nothing to do with an address for `REFUSE_FOR_S`."""
        self._until[address] = (self._clock.seconds() + REFUSE_FOR_S, reason)

    def why_refused(self, address: str) -> str | None:
        """Say why an address is refused at present; None when it is not."""
        refused = self._until.get(address)
        if refused is None:
            return None
        if refused[0] <= self._clock.seconds():
            del self._until[address]
            return None
        return refused[1]

    @property
    def count(self) -> int:
        """How often something was refused."""
        return self.counts.total()

    def tell(self, address: str, reason: str, because: Because = Because.BROKEN, who: str | None = None) -> None:
        """Log that something from `address` was refused.

        `who` names the address without what differs each time; lines about one and the same reason are summed up.
        """
        self.counts[because] += 1
        key = (who or address, reason)
        now = self._clock.seconds()
        line = self._lines.get(key)
        if line is not None and now - line.told_at < LINE_EVERY_S:
            line.left_out += 1
            return
        if self._all.wait_s("", now) > 0:
            self._left_out += 1
            return
        self._all.spend("", 1, now)
        left_out = 0 if line is None else line.left_out
        more = f" ({left_out} more times since the last such line)" if left_out else ""
        if self._left_out:
            more += f" ({self._left_out} lines about others were left out)"
            self._left_out = 0
        self.log.warn(self._line, address=address, reason=reason, more=more)
        self.note(self._line.format(address=address, reason=reason, more=more))
        self._lines[key] = _Line(now)
