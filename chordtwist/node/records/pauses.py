"""Pauses in long work, so that others get the reactor; all of them end at once when the node stops."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Pauses:
    """The pauses under way in one node."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pausing: dict[Deferred[None], IDelayedCall] = {}

    def pause(self, seconds: float = 0.0) -> Deferred[None]:
        """Fire in a later turn of the reactor, after `seconds` at least; fails with `CancelledError` on `stop`."""
        paused: Deferred[None] = Deferred(self._cancelled)
        self._pausing[paused] = self._clock.callLater(seconds, self._over, paused)
        return paused

    def stop(self) -> None:
        """Stop the work of whoever pauses."""
        for paused in list(self._pausing):
            paused.cancel()

    def _over(self, paused: Deferred[None]) -> None:
        del self._pausing[paused]
        paused.callback(None)

    def _cancelled(self, paused: Deferred[None]) -> None:
        self._pausing.pop(paused).cancel()
