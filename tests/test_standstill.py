"""`Standstill`: noticing that this process stood still."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.node.records.standstill import LOOKED_EVERY_S, STALE_MS, STANDSTILL_MS, Standstill


class StandstillTests(SynchronousTestCase):
    """A process whose machine may sleep: its timers stand still, lives go on."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slept_ms = 0
        self.standstill = Standstill(self.clock, lambda: int(self.clock.seconds() * 1000) + self.slept_ms)
        self.standstill.start()
        self.addCleanup(self.standstill.stop)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def test_while_it_runs(self) -> None:
        """Nothing is stale, however long it runs."""
        for _ in range(20):
            self.pass_time(1)
            self.assertFalse(self.standstill.is_stale())

    def test_after_a_sleep(self) -> None:
        """What arrives is stale at once, before any timer has run, and for a while; then it is not."""
        self.pass_time(10)
        self.slept_ms += 90_000
        self.assertTrue(self.standstill.is_stale())
        self.pass_time(STALE_MS / 1000 - 0.5)
        self.assertTrue(self.standstill.is_stale())
        self.pass_time(1)
        self.assertFalse(self.standstill.is_stale())

    def test_seen_by_its_timer(self) -> None:
        """A standstill during which nothing arrived counts as well."""
        self.slept_ms += 90_000
        self.pass_time(LOOKED_EVERY_S)
        self.assertTrue(self.standstill.is_stale())

    def test_a_busy_moment(self) -> None:
        """A process that others held up for a second or two goes on as if nothing had been."""
        self.slept_ms += STANDSTILL_MS - int(LOOKED_EVERY_S * 1000) - 100
        self.assertFalse(self.standstill.is_stale())
