"""Pauses in long work, so that others get the reactor; all of them end at once when the node stops."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chordtwist.core.costs import Costs, Payer


class Pauses:
    """The pauses under way in one node.

    Of long work one slice is done in each turn of the reactor, whoever it is for: what waited longest goes on first,
    and what somebody pays for who owes waits. Each slice is paid for by who paid when the work paused.
    """

    def __init__(self, clock: IReactorTime, costs: Costs) -> None:
        self._clock = clock
        self._costs = costs
        self._waiting: dict[Deferred[None], IDelayedCall] = {}
        self._slices: dict[Deferred[None], Payer | None] = {}
        self._next_slice: IDelayedCall | None = None

    def pause(self) -> Deferred[None]:
        """Fire in a later turn of the reactor, when the slice behind it may be done; fails with `CancelledError` on
        `stop`.
        """
        paused: Deferred[None] = Deferred(self._cancelled)
        self._slices[paused] = self._costs.payer
        if self._next_slice is None:
            self._next_slice = self._clock.callLater(0.0, self._do_slice)
        return paused

    def wait(self, seconds: float) -> Deferred[None]:
        """Fire after `seconds`; fails with `CancelledError` on `stop`."""
        waited: Deferred[None] = Deferred(self._cancelled)
        self._waiting[waited] = self._clock.callLater(seconds, self._over, waited)
        return waited

    def stop(self) -> None:
        """Stop the work of whoever pauses."""
        for paused in [*self._waiting, *self._slices]:
            paused.cancel()
        if self._next_slice is not None:
            self._next_slice.cancel()
            self._next_slice = None

    def _do_slice(self) -> None:
        self._next_slice = None
        waits_s: dict[Payer | None, float] = {None: 0.0}
        due: Deferred[None] | None = None
        for paused, payer in self._slices.items():
            if payer is not None and payer not in waits_s:
                waits_s[payer] = self._costs.wait_s(payer)
            if waits_s[payer] <= 0:
                due = paused
                break
        if due is not None:
            self._costs.charged(self._slices.pop(due), due.callback, None)
        if self._slices and self._next_slice is None:
            del waits_s[None]
            self._next_slice = self._clock.callLater(0.0 if due is not None else min(waits_s.values()), self._do_slice)

    def _over(self, waited: Deferred[None]) -> None:
        del self._waiting[waited]
        waited.callback(None)

    def _cancelled(self, paused: Deferred[None]) -> None:
        if paused in self._slices:
            del self._slices[paused]
        else:
            self._waiting.pop(paused).cancel()
