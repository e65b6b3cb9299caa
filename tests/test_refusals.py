"""`Refusals`: addresses that are refused for a while, and lines in the log that do not flood it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase

from chordtwist.net.refusals import LINE_EVERY_S, LINES_AT_ONCE, LINES_PER_S, REFUSALS_MAX, REFUSE_FOR_S, Refusals


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
        self.assertIsNone(self.refusals.why_refused("127.0.0.9"))
        self.refusals.refuse("127.0.0.9", "it broke the protocol")
        self.clock.advance(REFUSE_FOR_S - 1)
        self.assertEqual(self.refusals.why_refused("127.0.0.9"), "it broke the protocol")
        self.clock.advance(1)
        self.assertIsNone(self.refusals.why_refused("127.0.0.9"))

    def test_bounded(self) -> None:
        """However many addresses there are, the oldest are forgotten."""
        for number in range(REFUSALS_MAX + 1):
            self.refusals.refuse(str(number), "")
        self.assertIsNone(self.refusals.why_refused("0"))
        self.assertEqual(self.refusals.why_refused(str(REFUSALS_MAX)), "")

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
        for number in range(2 * REFUSALS_MAX):
            self.refusals.tell(f"2001:db8::{number:x}", "no Hello")
        self.assertEqual(LINES_AT_ONCE + 1, len(self.events))
        self.clock.advance(1 / LINES_PER_S)
        self.refusals.tell("127.0.0.9", "no Hello")
        left_out = 2 * REFUSALS_MAX - int(LINES_AT_ONCE) - 1
        self.assertEqual(self.lines()[-1], f"refused 127.0.0.9: no Hello ({left_out} lines about others were left out)")
        self.assertEqual(2 * REFUSALS_MAX + 1, self.refusals.count)

    def test_same_culprit(self) -> None:
        """Lines whose addresses differ in their ports only are summed up where the culprit is named."""
        for port in range(3):
            self.refusals.tell(f"127.0.0.9:{port}", "too long", who="127.0.0.9")
        self.assertEqual(self.lines(), ["refused 127.0.0.9:0: too long"])

    def test_lines_remembered(self) -> None:
        """However many causes there are, the oldest are forgotten."""
        for number in range(REFUSALS_MAX + 1):
            self.clock.advance(1 / LINES_PER_S)
            self.refusals.tell(str(number), "no Hello")
        self.assertEqual(len(self.refusals._lines), REFUSALS_MAX)
