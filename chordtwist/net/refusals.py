"""Addresses that broke the protocol, refused for a while; and one log line for each cause, however often it comes."""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

REFUSE_FOR_S = 30.0
"""How long an address is refused after a breach: a broken program costs a connection per half minute, and an operator
who mends it does not wait long."""

LINE_EVERY_S = 60.0
"""At most one line per address and reason in this time; the next one says how many were left out."""

LINES_MAX = 20
"""Lines in this time, of all addresses together."""

KEPT_MAX = 4096
"""Addresses, and lines that were told, that are remembered; the oldest goes first."""


class Refusals:
    """What one node refuses, and how it says so."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._until: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._said: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self._minute_began_at = clock.seconds()
        self._lines_told = 0
        self._untold = 0
        self.count = 0

    def refuse(self, address: str, reason: str) -> None:
        """Have nothing to do with an address for `REFUSE_FOR_S`."""
        self._until[address] = (self._clock.seconds() + REFUSE_FOR_S, reason)
        self._until.move_to_end(address)
        if len(self._until) > KEPT_MAX:
            self._until.popitem(last=False)

    def standing(self, address: str) -> str | None:
        """Why an address is refused at present; None when it is not."""
        refused = self._until.get(address)
        if refused is None:
            return None
        if refused[0] <= self._clock.seconds():
            del self._until[address]
            return None
        return refused[1]

    def tell(self, address: str, reason: str) -> None:
        """Log that something from `address` was refused. Lines of one address and reason are summed up, and so are
        those of many addresses: nobody fills a log from outside.
        """
        self.count += 1
        now = self._clock.seconds()
        if now - self._minute_began_at >= LINE_EVERY_S:
            self._minute_began_at, self._lines_told = now, 0
        said_at, left_out = self._said.get((address, reason), (-LINE_EVERY_S, 0))
        if now - said_at < LINE_EVERY_S:
            self._said[address, reason] = (said_at, left_out + 1)
        elif self._lines_told >= LINES_MAX:
            self._untold += 1
        else:
            more = f" ({left_out} more times since the last such line)" if left_out else ""
            if self._untold:
                more += f" ({self._untold} others were refused without a line)"
                self._untold = 0
            self.log.warn("refused {address}: {reason}{more}", address=address, reason=reason, more=more)
            self._lines_told += 1
            self._said[address, reason] = (now, 0)
            self._said.move_to_end((address, reason))
            if len(self._said) > KEPT_MAX:
                self._said.popitem(last=False)
