"""What happened to a node lately, for people who ask afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

EVENTS_MAX = 100
TEXT_MAX = 300


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, and when by the wall clock, in milliseconds."""

    at_ms: int
    text: str


class Events:
    """The last `EVENTS_MAX` events. What repeats at once is counted, not listed again."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._last = ""
        self._times = 1

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

    def __iter__(self) -> Iterator[Event]:
        """Go through the events, oldest first."""
        return iter(tuple(self._events))
