"""When the next round of repair is held."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

ROUND_S = 60.0
"""Between two rounds with nothing to repair: some 110 bytes to each replica, both ways. Between rounds every put and
every read repairs what it meets."""

SOON_S = 1.0
"""After a change of the ring: a few rounds of stabilization, so that those who change together are seen together."""

DAMPED_S = 3.0
"""Between the beginnings of two rounds at least, however often the ring changes."""


class Pace:
    """Has the rounds of one node held: now and then, and soon after a change of the ring."""

    def __init__(self, round: Callable[[], Deferred[None]], clock: IReactorTime, rng: Random) -> None:
        """@param round: holds one; what it returns never fails."""
        self._round = round
        self._clock = clock
        self._rng = rng
        self._timer: IDelayedCall | None = None
        self._due_s = 0.0
        self._began_s = clock.seconds() - DAMPED_S
        self._busy = False
        self._changed = False
        self.running = False

    def start(self) -> None:
        """Have rounds held until `stop`."""
        self.running = True
        self._schedule(ROUND_S * (0.5 + self._rng.random()))

    def stop(self) -> None:
        """Have no more of them held. One that is under way ends by itself."""
        self.running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def soon(self) -> None:
        """Have the next one held soon, but not again and again while the ring goes on changing."""
        if not self.running:
            return
        self._changed = True
        if not self._busy:
            due_s = max(self._clock.seconds() + SOON_S * (0.5 + self._rng.random()), self._began_s + DAMPED_S)
            if self._timer is None or due_s < self._due_s:
                self._schedule(due_s - self._clock.seconds())

    def _schedule(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_s = self._clock.seconds() + wait_s
        self._timer = self._clock.callLater(wait_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._busy = True
        self._changed = False
        self._began_s = self._clock.seconds()
        self._round().addCallback(self._ended)

    def _ended(self, _: None) -> None:
        self._busy = False
        if not self.running:
            return
        self._schedule(ROUND_S * (0.5 + self._rng.random()))
        if self._changed:
            self.soon()
