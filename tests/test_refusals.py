"""`Refusals`: addresses that are refused for a while, and lines in the log that do not flood it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from chordtwist.net.refusals import KEPT_MAX, LINE_EVERY_S, LINES_AT_ONCE, LINES_PER_S, REFUSE_FOR_S, Refusals


class RefusalsTests(TestCase):
    """One node's."""

    def setUp(self) -> None:
        """Nobody is refused."""
        self.clock = Clock()
        self.refusals = Refusals(self.clock)
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    def test_for_a_while(self) -> None:
        """A refused address is refused with its reason, then no more."""
        self.assertIsNone(self.refusals.status("127.0.0.9"))
        self.refusals.refuse("127.0.0.9", "it broke the protocol")
        self.clock.advance(REFUSE_FOR_S - 1)
        self.assertEqual(self.refusals.status("127.0.0.9"), "it broke the protocol")
        self.clock.advance(1)
        self.assertIsNone(self.refusals.status("127.0.0.9"))

    def test_bounded(self) -> None:
        """However many addresses there are, the oldest are forgotten."""
        for number in range(KEPT_MAX + 1):
            self.refusals.refuse(str(number), "")
        self.assertIsNone(self.refusals.status("0"))
        self.assertEqual(self.refusals.status(str(KEPT_MAX)), "")

    def test_line(self) -> None:
        """A refusal is one line with address and reason."""
        self.refusals.tell("127.0.0.9", "no Hello")
        self.assertEqual(self.lines(), ["refused 127.0.0.9: no Hello"])
        self.assertEqual(self.refusals.count, 1)

    def test_summed_up(self) -> None:
        """The same again is counted, and told with the next line a minute later; another reason has its own line."""
        for _ in range(5):
            self.refusals.tell("127.0.0.9", "no Hello")
        self.refusals.tell("127.0.0.9", "another network")
        self.clock.advance(LINE_EVERY_S)
        self.refusals.tell("127.0.0.9", "no Hello")
        self.assertEqual(
            self.lines(),
            [
                "refused 127.0.0.9: no Hello",
                "refused 127.0.0.9: another network",
                "refused 127.0.0.9: no Hello (4 more times since the last such line)",
            ],
        )
        self.assertEqual(self.refusals.count, 7)

    def test_many_addresses(self) -> None:
        """Nor do many addresses flood the log: so many lines come at once, then one now and then, which sums up."""
        for number in range(1000):
            self.refusals.tell(f"10.0.{number >> 8}.{number & 255}", "no Hello")
        told = len(self.events)
        self.assertTrue(LINES_AT_ONCE <= told <= LINES_AT_ONCE + 2, told)
        self.clock.advance(1 / LINES_PER_S)
        self.refusals.tell("127.0.0.9", "no Hello")
        self.assertEqual(
            self.lines()[-1], f"refused 127.0.0.9: no Hello ({1000 - told} lines about others were left out)"
        )

    def test_same_cause(self) -> None:
        """Lines that differ in a detail only are summed up where the cause, or the culprit, is named."""
        for port in range(3):
            self.refusals.tell(f"127.0.0.9:{port}", f"{port} bytes too many", cause="too long", who="127.0.0.9")
        self.assertEqual(self.lines(), ["refused 127.0.0.9:0: 0 bytes too many"])

    def test_lines_remembered(self) -> None:
        """However many causes there are, the oldest are forgotten."""
        for number in range(KEPT_MAX + 1):
            self.clock.advance(1 / LINES_PER_S)
            self.refusals.tell(str(number), "no Hello")
        self.assertEqual(len(self.refusals._lines), KEPT_MAX)
