"""Addresses that broke the protocol, refused for a while; and one log line for each cause, however often it comes."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chordtwist.core.allowance import Allowance

REFUSE_FOR_S = 30.0
"""How long an address is refused after a breach: a broken program costs a connection per half minute, and an operator
who mends it does not wait long."""

LINE_EVERY_S = 60.0
"""At most one line per address and reason in this time; the next one says how many were left out."""

LINES_PER_S, LINES_AT_ONCE = 1.0, 60.0
"""Lines about all addresses together: whoever has many writes the log no fuller than whoever has one."""

KEPT_MAX = 4096
"""Addresses, and causes of lines, that are remembered; the oldest goes first."""


class Refusals:
    """What one node refuses, and how it says so."""

    log = Logger()

    def __init__(self, clock: IReactorTime, line: str = "refused {address}: {reason}{more}") -> None:
        """@param line: the format of log lines."""
        self._clock = clock
        self._line = line
        self._until: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._lines: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._all = Allowance(LINES_PER_S, LINES_AT_ONCE)
        self._left_out = 0
        self.count = 0

    def refuse(self, address: str, reason: str) -> None:
        """Have nothing to do with an address for `REFUSE_FOR_S`."""
        self._until[address] = (self._clock.seconds() + REFUSE_FOR_S, reason)
        self._until.move_to_end(address)
        if len(self._until) > KEPT_MAX:
            self._until.popitem(last=False)

    def status(self, address: str) -> str | None:
        """Why an address is refused at present; None when it is not."""
        refused = self._until.get(address)
        if refused is None:
            return None
        if refused[0] <= self._clock.seconds():
            del self._until[address]
            return None
        return refused[1]

    def tell(self, address: str, reason: str, cause: str | None = None, who: str | None = None) -> None:
        """Log that something from `address` was refused.

        `cause` names the reason, and `who` the address, without what differs each time; lines of one cause and address
        are summed up.
        """
        self.count += 1
        key = (who or address, cause or reason)
        now = self._clock.seconds()
        last, left_out = self._lines.get(key, (-LINE_EVERY_S, 0))
        if now - last < LINE_EVERY_S:
            self._lines[key] = (last, left_out + 1)
            return
        if self._all.wait_s("", now) > 0:
            self._left_out += 1
            return
        self._all.spend("", 1, now)
        more = f" ({left_out} more times since the last such line)" if left_out else ""
        if self._left_out:
            more += f" ({self._left_out} lines about others were left out)"
            self._left_out = 0
        self.log.warn(self._line, address=address, reason=reason, more=more)
        self._lines[key] = (now, 0)
        self._lines.move_to_end(key)
        if len(self._lines) > KEPT_MAX:
            self._lines.popitem(last=False)
