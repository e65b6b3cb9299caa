"""How often a node dials an address that it knows nothing of because somebody asked it to."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chordtwist.core.allowance import Allowance
from chordtwist.core.peer import Peer

PER_TELLER_PER_MIN = 20
"""Addresses on the word of one peer: while many nodes die in a large ring, one asks each other a handful of times."""

IN_ALL_PER_MIN = 200
"""The same on the word of all together: whoever has many addresses makes no scanner of this node either."""


class DialLimits:
    """Keeps count of what strangers made this node look at."""

    def __init__(self, is_known: Callable[[Peer], bool], clock: IReactorTime) -> None:
        """@param is_known: whether a node was met at an address by our own dial: to ask it again harms nobody."""
        self._is_known = is_known
        self._clock = clock
        self._of_teller = Allowance(PER_TELLER_PER_MIN / 60, PER_TELLER_PER_MIN)
        self._of_all = Allowance(IN_ALL_PER_MIN / 60, IN_ALL_PER_MIN)

    def may_look(self, teller: Peer, named: Peer) -> bool:
        """Whether to dial a peer that `teller` named; counts it when it may."""
        if self._is_known(named):
            return True
        now = self._clock.seconds()
        if self._of_teller.wait_s(teller.id, now) > 0 or self._of_all.wait_s("", now) > 0:
            return False
        self._of_teller.spend(teller.id, 1, now)
        self._of_all.spend("", 1, now)
        return True
