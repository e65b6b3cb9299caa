"""What happened to a node lately, for people who ask afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

EVENTS_MAX = 100
REFUSED_EVENTS_MAX = 30
"""Of them, refusals: strangers can make as many as they like, and what befell the ring must stay to be read."""

TEXT_MAX = 300


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, and when by the wall clock, in milliseconds."""

    at_ms: int
    text: str


class Events:
    """The last `EVENTS_MAX` events. What repeats at once is counted, not listed again."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._refusals: deque[Event] = deque()
        """Those of the events that are refusals."""
        self._last = ""
        self._times = 1

    def note_refusal(self, at_ms: int, text: str) -> None:
        """Note that something was refused; the oldest such gives way to it when there are many."""
        if self._refusals and self._events[-1] is self._refusals[-1] and text[:TEXT_MAX] == self._last:
            self._refusals.pop()  # counted there, not listed again
        self.note(at_ms, text)
        self._refusals.append(self._events[-1])
        if len(self._refusals) > REFUSED_EVENTS_MAX:
            oldest = self._refusals.popleft()
            self._events = deque(event for event in self._events if event is not oldest)

    def note(self, at_ms: int, text: str) -> None:
        """Note that `text` happened."""
        text = text[:TEXT_MAX]
        if text == self._last:
            self._times += 1
            self._events.pop()
            self._events.append(Event(at_ms, f"{text} ({self._times} times)"))
        else:
            self._last, self._times = text, 1
            self._events.append(Event(at_ms, text))
            if len(self._events) > EVENTS_MAX:
                self._events.popleft()

    def __iter__(self) -> Iterator[Event]:
        """Go through the events, oldest first."""
        return iter(tuple(self._events))
