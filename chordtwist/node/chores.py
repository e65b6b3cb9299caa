"""Periodic duties: a LoopingCall that survives errors, never beats in step with others, and finds its own pace."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.backoff import jittered

SLOWER = 1.2
"""While nothing changes each round comes this much later than the one before (MIT's Chord)."""

HURRY_SPACING_S = 0.2
"""Rounds that were hurried begin at least so far apart, so that many small events cost one round."""

LATE_S = 0.5
"""A round later than this is reported: the reactor was busy or stopped."""


class Chore:
    """One duty of a node, done again and again until `stop`.

    A round never begins before the one before it has ended. A failing round is logged and the next one comes as if
    nothing had been. With `slowest_s` the interval grows from `interval_s` while rounds answer False for "nothing
    changed", and falls back to `interval_s` as soon as one answers True, or on `hurry`. A hurried round comes
    about `hurried_s` later, so that those whom one event hurries do not all begin at once; 0 is at once.
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
        hurried_s: float = 0.0,
        spacing_s: float = HURRY_SPACING_S,
    ) -> None:
        """@param late: told by how many seconds a round came too late, when that is much.
        @param spacing_s: between the beginnings of two rounds at least, however often it is hurried.
        """
        self.name = name
        self._round = round
        self._clock = clock
        self._rng = rng
        self._fastest_s = self._interval_s = interval_s
        self._slowest_s = interval_s if slowest_s is None else slowest_s
        self._late = late
        self._hurried_s = hurried_s
        self._spacing_s = spacing_s
        self._due = 0.0
        self._began = -spacing_s
        self._busy = False
        self._again = False
        self._rounds = 0
        self._failures = 0
        self._loop: LoopingCall | None = None
        self._round_of: LoopingCall | None = None
        """The loop that began the last round: after a stop and a start another one."""

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._loop is not None

    def told(self) -> dict[str, object]:
        """Tell how it goes: how many rounds began and failed, the seconds between them at the present pace, and those
        until the next; None while one is under way, or none is to come.
        """
        waits = self.running and not self._busy
        return {
            "rounds": self._rounds,
            "failed": self._failures,
            "every_s": round(self._interval_s, 3),
            "next_s": round(max(0.0, self._due - self._clock.seconds()), 3) if waits else None,
        }

    def start(self) -> None:
        """Do the first round within an interval."""
        loop = self._loop = LoopingCall(self._once)
        loop.clock = self._clock
        wait = self._next_wait()
        loop.start(wait, now=False).addErrback(
            lambda failure: self._log.failure("{name} ended", failure, name=self.name)
        )

    def stop(self) -> None:
        """Do no more rounds. One that is under way ends by itself."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()

    def hurry(self) -> None:
        """Do a round as soon as the spacing allows, since something happened, and fall back to the fastest pace."""
        self._interval_s = self._fastest_s
        if self._busy:
            self._again = True
        elif self._loop is not None and self._bring_forward(self._loop):
            self._loop.reset()

    def _bring_forward(self, loop: LoopingCall) -> bool:
        """Set the time of a hurried round, unless the one that is set comes before it."""
        now = self._clock.seconds()
        wait = jittered(self._hurried_s, self._rng) if self._hurried_s else 0.0
        due = max(now + wait, self._began + self._spacing_s)
        if wait and due >= self._due:
            return False
        self._due, loop.interval = due, due - now
        return True

    def _next_wait(self) -> float:
        wait = jittered(self._interval_s, self._rng)
        self._due = self._clock.seconds() + wait
        return wait

    def _once(self) -> Deferred[None] | None:
        loop = self._loop
        assert loop is not None
        if self._busy:
            # A round from before the last stop is still under way; this one comes right behind it.
            self._again = True
            self._beat_from_now(loop)
            return None
        self._round_of = loop
        self._began = self._clock.seconds()
        lateness = self._began - self._due
        if self._late is not None and lateness > LATE_S:
            self._late(lateness)
        self._busy = True
        self._rounds += 1
        return maybeDeferred(self._round).addCallbacks(self._ended, self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):  # its node stops
            self._failures += 1
            self._log.failure("{name} failed; it goes on", failure, name=self.name)
        self._ended(None)

    def _ended(self, changed: bool | None) -> None:
        self._busy = False
        if changed:
            self._interval_s = self._fastest_s
        else:
            self._interval_s = min(self._slowest_s, self._interval_s * SLOWER)
        again, self._again = self._again, False
        loop = self._loop
        if loop is None:
            return
        if again:
            self._interval_s = self._fastest_s
        if not again or self._hurried_s:
            loop.interval = self._next_wait()
        if again:
            self._bring_forward(loop)
        if loop is self._round_of:
            self._beat_from_now(loop)
        else:
            loop.reset()

    def _beat_from_now(self, loop: LoopingCall) -> None:
        # LoopingCall counts its beats from `starttime`: begun afresh, the next beat is one interval from now.
        loop.starttime = self._clock.seconds()
