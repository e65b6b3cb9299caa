"""`Events`: the last hundred things that happened."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.events import EVENTS_MAX, REFUSED_EVENTS_MAX, TEXT_MAX, Event, Events


class EventsTests(SynchronousTestCase):
    """A list with an end."""

    def test_oldest_first(self) -> None:
        """Events come in the order in which they happened, each with its time."""
        events = Events()
        events.note(1, "one")
        events.note(2, "two")
        self.assertEqual([Event(1, "one"), Event(2, "two")], list(events))

    def test_bounded(self) -> None:
        """The last hundred stay, none longer than its bound."""
        events = Events()
        for number in range(EVENTS_MAX + 5):
            events.note(number, f"{number} " + "x" * TEXT_MAX)
        self.assertEqual(EVENTS_MAX, len(list(events)))
        self.assertEqual([TEXT_MAX], sorted({len(event.text) for event in events}))
        self.assertEqual(5, next(iter(events)).at_ms)

    def test_refusals(self) -> None:
        """Refusals, of which strangers make as many as they like, leave room for what befell the ring."""
        events = Events()
        events.note(0, "10.0.0.2:6401 left")
        for number in range(5 * EVENTS_MAX):
            events.note_refusal(number, f"refused 10.0.1.{number}")
        events.note(999, "10.0.0.3:6401 left")
        first, *refused, last = (event.text for event in events)
        self.assertEqual(("10.0.0.2:6401 left", "10.0.0.3:6401 left"), (first, last))
        self.assertEqual([f"refused 10.0.1.{5 * EVENTS_MAX - n}" for n in range(REFUSED_EVENTS_MAX, 0, -1)], refused)
        repeated = Events()
        repeated.note_refusal(0, "refused 10.0.1.1")
        for number in range(EVENTS_MAX):
            repeated.note_refusal(number, "refused 10.0.1.2")
        self.assertEqual(
            ["refused 10.0.1.1", f"refused 10.0.1.2 ({EVENTS_MAX} times)"], [event.text for event in repeated]
        )
        for number in range(EVENTS_MAX):
            events.note(number, f"{number}")
        events.note_refusal(5, "refused 10.0.2.1")
        self.assertEqual(EVENTS_MAX, len(list(events)))

    def test_repeated(self) -> None:
        """What happens again and again takes one line, which counts it."""
        events = Events()
        for at_ms in range(3):
            events.note(at_ms, "lost 10.0.0.1")
        events.note(9, "lost 10.0.0.2")
        self.assertEqual([Event(2, "lost 10.0.0.1 (3 times)"), Event(9, "lost 10.0.0.2")], list(events))
