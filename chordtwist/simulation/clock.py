"""Simulated time: a heap of what is due, in whole microseconds, that stops at each due moment.

`task.Clock` jumps to the end of a step first and then runs whatever fell due on the way, and pays milliseconds per
insertion with thousands of timers. This clock shows everybody the moment he asked for, runs ties in the order in which
they were asked for, and costs about a microsecond per call. Integers, because a run must repeat to the bit anywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

SECOND_US = 1_000_000

SWEPT_CALLS_MIN = 4096
"""Cancelled calls kept before it is worth sweeping them out."""

SPAN_BITS = 16
"""What is due within the present 66 ms is kept in a heap, the rest in a list for each such span: with the timers of
thousands of nodes in one heap, looking for the next one costs as much as calling it."""


def microseconds(seconds: float) -> int:
    """Round to the nearest whole microsecond; one rounded multiplication, alike on every machine."""
    return int(seconds * 1e6 + 0.5)


class HeapClock:
    """What is due when, for everybody. `now_us` is the present moment."""

    def __init__(self) -> None:
        self.now_us = 0
        self._heap: list[_Entry] = []
        self._heap_ends_us = 0
        self._later: defaultdict[int, list[_Entry]] = defaultdict(list)
        self._inserted = 0
        self._running = 0
        self._dropped = 0
        self._sweep_above = SWEPT_CALLS_MIN

    def at(self, due_us: int, act: Callable[[Any], object], subject: Any) -> int:
        """Call ``act(subject)`` at `due_us`, not before now; for the network's own events, which nobody cancels."""
        self._inserted = inserted = self._inserted + 1
        self._keep((due_us, inserted, act, subject))
        return inserted

    def run_until(self, until_us: int) -> None:
        """Run everything due up to and including `until_us`, each at its own moment; then it is `until_us`.

        What an act raises comes out here, with the clock standing at its moment: a bug must not get lost.
        """
        heap = self._heap
        while True:
            while heap and heap[0][0] <= until_us:
                self.now_us, self._running, act, subject = heappop(heap)
                act(subject)
            if heap or not self._next_span(until_us):
                break
        self.now_us = until_us

    def _next_span(self, until_us: int) -> bool:
        """Turn to the next span in which something is due, if it begins by `until_us`."""
        later = self._later
        number = self._heap_ends_us >> SPAN_BITS
        if number not in later:
            if not later:
                return False
            number = min(later)
        if number << SPAN_BITS > until_us:
            return False
        self._heap[:] = later.pop(number)
        heapify(self._heap)
        self._heap_ends_us = number + 1 << SPAN_BITS
        return True

    def entries(self) -> list[_Entry]:
        """Everything kept, cancelled calls among it, in no order."""
        return [*self._heap, *chain.from_iterable(self._later.values())]

    def pending(self) -> list[_Call]:
        """List the calls of all hosts that are still to come, in no order."""
        return [subject for _, at, _, subject in self.entries() if isinstance(subject, _Call) and subject.counts(at)]

    def fire(self, call: _Call) -> None:
        """Run a call of a host from the heap: it may have been cancelled, or put off, since it was inserted."""
        if call.inserted != self._running:
            return  # a later entry took this one's place
        if call.state:
            self._dropped -= 1
        elif call.asked != call.inserted:
            call.inserted = call.asked
            self._keep((call.due_us, call.asked, self.fire, call))
        else:
            call.host.run(call)

    def insert(self, call: _Call) -> None:
        """Have it called when it is due, behind what was asked for before."""
        call.asked = call.inserted = self.at(call.due_us, self.fire, call)

    def _keep(self, entry: _Entry) -> None:
        due_us = entry[0]
        if due_us < self._heap_ends_us:
            heappush(self._heap, entry)
        else:
            self._later[due_us >> SPAN_BITS].append(entry)

    def put_off(self, call: _Call, due_us: int) -> None:
        """Put a call off to `due_us`; among ties it stands where it would if it were asked for now."""
        earlier = due_us < call.due_us
        call.due_us = due_us
        if earlier:
            self.insert(call)
        else:
            self._inserted = call.asked = self._inserted + 1

    def dropped(self) -> None:
        """One more cancelled call is kept; sweep when they are most of what is."""
        self._dropped += 1
        if self._dropped <= self._sweep_above:
            return
        entries = self.entries()
        self._sweep_above = max(SWEPT_CALLS_MIN, len(entries) // 2)
        if self._dropped > self._sweep_above:
            self._dropped = 0
            for span in (self._heap, *self._later.values()):
                span[:] = [entry for entry in span if not (isinstance(entry[3], _Call) and entry[3].state)]
            heapify(self._heap)


@implementer(IReactorTime)
class HostClock:
    """The time of one simulated host: everything it waits for can be held (a paused process) or ended (a dead one).

    `after`, when set, is called behind everything that ran on this host: the simulation looks there for what changed.
    """

    __slots__ = ("_behind_us", "_clock", "_held_us", "after", "calls", "ended", "held")

    def __init__(self, clock: HeapClock) -> None:
        self._clock = clock
        self.after: Callable[[], None] | None = None
        self.held: list[tuple[Callable[[Any], object], Any]] | None = None
        self.ended = False
        self.calls = 0
        """Calls still to come."""
        self._behind_us = self._held_us = 0

    def seconds(self) -> float:
        """Seconds since the simulation began, less those that the machine was suspended for."""
        return (self._clock.now_us - self._behind_us) / SECOND_US

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> _Call:
        """See `IReactorTime.callLater`. On an ended host the call never comes."""
        call = _Call(self, self._clock.now_us + microseconds(delay), callable, args, kwargs)
        if not self.ended:
            self.calls += 1
            self._clock.insert(call)
        return call

    def getDelayedCalls(self) -> list[_Call]:
        """List the calls of this host that are still to come."""
        return [call for call in self._clock.pending() if call.host is self]

    def run(self, call: _Call) -> None:
        """Run a call whose time has come, or keep it while the host is paused."""
        if self.ended:
            return
        if self.held is not None:
            self.held.append((self.run, call))
            return
        call.state = _CALLED
        self.calls -= 1
        call.callable(*call.args, **call.kwargs)
        if self.after is not None:
            self.after()

    def hold(self) -> None:
        """Nothing runs on this host until `resume`; what falls due is kept in order."""
        if self.held is None:
            self.held = []
            self._held_us = self._clock.now_us

    def resume(self) -> None:
        """Everything that was held is due now, late, in order; a call may still be cancelled by one before it."""
        held, self.held = self.held, None
        for act, subject in held or ():
            if isinstance(subject, _Call):
                if subject.state == _PENDING:
                    subject.due_us = self._clock.now_us
                    self._clock.insert(subject)
            else:
                self._clock.at(self._clock.now_us, act, subject)

    def wake(self) -> None:
        """Resume as a machine that was suspended: the steady clock stood still meanwhile."""
        self._behind_us += self._clock.now_us - self._held_us
        self.resume()

    def end(self) -> None:
        """End the process: nothing runs on this host any more."""
        self.ended = True
        self.held = None


_Entry = tuple[int, int, Callable[[Any], object], Any]
"""When it is due, its place among ties, what is called, and with what."""

_PENDING, _CALLED, _CANCELLED = range(3)


@implementer(IDelayedCall)
class _Call:
    """A call that a host waits for."""

    __slots__ = ("args", "asked", "callable", "due_us", "host", "inserted", "kwargs", "state")

    def __init__(
        self,
        host: HostClock,
        due_us: int,
        callable: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> None:
        self.host = host
        self.due_us = due_us
        self.callable = callable
        self.args = args
        self.kwargs = kwargs
        self.state = _PENDING
        self.asked = self.inserted = 0
        """The place among ties it was last asked for with, and that of its entry in the heap."""

    def counts(self, inserted: int) -> bool:
        return self.state == _PENDING and self.inserted == inserted and not self.host.ended

    def getTime(self) -> float:
        return self.due_us / SECOND_US

    def active(self) -> bool:
        return self.state == _PENDING

    def cancel(self) -> None:
        self._must_be_pending()
        self.state = _CANCELLED
        self.callable, self.args, self.kwargs = _nothing, (), {}
        if not self.host.ended:
            self.host.calls -= 1
            self.host._clock.dropped()

    def reset(self, seconds: float) -> None:
        self._must_be_pending()
        self.host._clock.put_off(self, self.host._clock.now_us + microseconds(seconds))

    def delay(self, seconds: float) -> None:
        self._must_be_pending()
        shift_us = microseconds(seconds) if seconds >= 0 else -microseconds(-seconds)
        self.host._clock.put_off(self, max(self.due_us + shift_us, self.host._clock.now_us))

    def _must_be_pending(self) -> None:
        if self.state == _CANCELLED:
            raise AlreadyCancelled
        if self.state == _CALLED:
            raise AlreadyCalled


def _nothing() -> None:
    """Do nothing: what a cancelled call calls, so that it no longer holds on to anything."""
