"""Periodic duties: done again and again whatever happens, never in step with others, each at its own pace."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

SLOWER = 1.2
"""While nothing changes each round comes this much later than the one before (MIT's Chord)."""

JITTER_MIN, JITTER_MAX = 0.5, 1.5
"""Each wait is the present interval times a random number between these."""

HURRY_SPACING_S = 0.2
"""Rounds that were hurried begin at least so far apart, so that many small events cost one round."""

LATE_S = 0.5
"""A round later than this is reported: the reactor was busy or stopped."""


class Chore:
    """One duty of a node, done again and again until `stop`.

    A round never begins before the one before it has ended. A failing round is logged and the next one comes as if
    nothing had been. With `slowest_s` the interval grows from `interval_s` while rounds answer False for "nothing
    changed", and falls back to `interval_s` as soon as one answers True, or on `hurry`.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        round: Callable[[], Deferred[bool] | Deferred[None] | bool | None],
        clock: IReactorTime,
        rng: Random,
        interval_s: float,
        slowest_s: float | None = None,
        late: Callable[[float], None] | None = None,
    ) -> None:
        """@param late: told by how many seconds a round came too late, when that is much."""
        self.name = name
        self._round = round
        self._clock = clock
        self._rng = rng
        self._fastest_s = self._interval_s = interval_s
        self._slowest_s = interval_s if slowest_s is None else slowest_s
        self._late = late
        self._due = 0.0
        self._began = -HURRY_SPACING_S
        self._busy = False
        self._again = False
        self._timer: IDelayedCall | None = None
        """The next round; None while one is under way."""
        self.running = False
        """Whether it was started and not stopped."""

    def start(self) -> None:
        """Do the first round within an interval."""
        if self.running:
            return
        self.running = True
        if self._busy:
            # A round from before the last stop is still under way; another comes right behind it.
            self._again = True
        else:
            self._wait(self._next_wait())

    def stop(self) -> None:
        """Do no more rounds. One that is under way ends by itself."""
        self.running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hurry(self) -> None:
        """Something happened: do a round as soon as `HURRY_SPACING_S` allows, and fall back to the fastest pace."""
        self._interval_s = self._fastest_s
        if self._busy:
            self._again = True
        elif self._timer is not None:
            wait_s = self._soon()
            self._due = self._clock.seconds() + wait_s
            self._timer.reset(wait_s)

    def _soon(self) -> float:
        return max(0.0, self._began + HURRY_SPACING_S - self._clock.seconds())

    def _next_wait(self) -> float:
        return self._interval_s * (JITTER_MIN + (JITTER_MAX - JITTER_MIN) * self._rng.random())

    def _wait(self, wait_s: float) -> None:
        self._due = self._clock.seconds() + wait_s
        self._timer = self._clock.callLater(wait_s, self._once)

    def _once(self) -> None:
        self._timer = None
        self._began = self._clock.seconds()
        lateness = self._began - self._due
        if self._late is not None and lateness > LATE_S:
            self._late(lateness)
        self._busy = True
        try:
            result = self._round()
        except Exception:
            self._failed(Failure())
            return
        if isinstance(result, Deferred):
            result.addCallbacks(self._ended, self._failed)
        else:
            self._ended(result)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("{name} failed; it goes on", failure, name=self.name)
        self._ended(None)

    def _ended(self, changed: bool | None) -> None:
        self._busy = False
        if changed or self._again:
            self._interval_s = self._fastest_s
        else:
            self._interval_s = min(self._slowest_s, self._interval_s * SLOWER)
        again, self._again = self._again, False
        if self.running:
            self._wait(self._soon() if again else self._next_wait())
