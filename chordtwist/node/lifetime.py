"""The time of one node, which ends with it: whatever any of its parts waits for is over at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

SWEEP_CALLS_MIN = 64
"""Calls remembered before those that were cancelled are swept out."""


@implementer(IReactorTime)
class EndingClock:
    """Another clock, until `end`: then every call that is still to come is cancelled, and no new one ever comes."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: dict[int, IDelayedCall] = {}
        self._last = 0
        self._sweep_at = SWEEP_CALLS_MIN
        self._ended = False

    def seconds(self) -> float:
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> IDelayedCall:
        """See `IReactorTime.callLater`. Behind the end, the call is one that was cancelled."""
        self._last = number = self._last + 1
        call = self._clock.callLater(delay, self._run, number, callable, args, kwargs)
        if self._ended:
            call.cancel()
            return call
        self._calls[number] = call
        if len(self._calls) > self._sweep_at:
            self._calls = {number: call for number, call in self._calls.items() if call.active()}
            self._sweep_at = max(SWEEP_CALLS_MIN, 2 * len(self._calls))
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """List the calls of this node that are still to come."""
        return [call for call in self._calls.values() if call.active()]

    def end(self) -> None:
        """Nothing comes any more."""
        self._ended = True
        for call in self.getDelayedCalls():
            call.cancel()
        self._calls.clear()

    def _run(
        self, number: int, callable: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        self._calls.pop(number, None)
        callable(*args, **kwargs)
