"""Noticing that this process stood still, since its machine was suspended or it was stopped.

What it reads then may have waited in its sockets all the time, and nobody can tell for how long: the lives in it may
have ended meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

LOOKED_EVERY_S = 2.0

STANDSTILL_MS = 4_000
"""Twice as long: a busy machine holds a process up for a second. A life may seem longer by so much; that is less than
`records.GRACE_MS`."""

STALE_MS = 3_000
"""For so long after a standstill nothing that arrives is trusted: by then what had waited has been read. It is as long
as whoever asks to store something waits for an answer: those who asked before have given up."""


class Standstill:
    """Watches one process."""

    def __init__(self, clock: IReactorTime, life_ms: Callable[[], int]) -> None:
        """@param life_ms: a clock that goes on while the machine is suspended."""
        self._clock = clock
        self._life_ms = life_ms
        self._seen_ms = life_ms()
        self._stale_until_ms = 0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Look now and then, until `stop`."""
        self._seen_ms = self._life_ms()
        self._timer = self._clock.callLater(LOOKED_EVERY_S, self._look)

    def stop(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def is_stale(self) -> bool:
        """Whether what arrives now may have waited for long."""
        now_ms = self._life_ms()
        if self._timer is not None and now_ms - self._seen_ms >= STANDSTILL_MS:
            self._seen_ms = now_ms
            self._stale_until_ms = now_ms + STALE_MS
        return now_ms < self._stale_until_ms

    def _look(self) -> None:
        self.is_stale()
        self._seen_ms = self._life_ms()
        self._timer = self._clock.callLater(LOOKED_EVERY_S, self._look)
