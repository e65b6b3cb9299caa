"""`Costs`: processor time is measured while it is spent, and whoever has taken more than its share waits."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.costs import TURN_S, Costs, Shares


class CostsTests(SynchronousTestCase):
    """Accounts of addresses, by a meter and a clock that the test reads."""

    def setUp(self) -> None:
        """Nobody has cost anything yet."""
        self.metered_s = self.now_s = 0.0
        self.costs = Costs(lambda: self.metered_s, lambda: self.now_s, Shares(0.1, 0.5, 0.2), at_once_s=1.0)
        self.stranger = self.costs.payer_of("192.0.2.1", is_proved=False, is_upkeep=False)

    def work(self, seconds: float) -> None:
        """Take some processor time."""
        self.metered_s += seconds

    def test_share(self) -> None:
        """After what may come at once the debt is paid at the pace of the share."""
        self.costs.charged(self.stranger, self.work, 0.1)
        self.assertEqual(0.0, self.costs.wait_s(self.stranger))
        self.costs.charged(self.stranger, self.work, 0.2)
        self.assertAlmostEqual(2.0, self.costs.wait_s(self.stranger))
        self.now_s = 2.0
        self.assertAlmostEqual(0.0, self.costs.wait_s(self.stranger))

    def test_own_work(self) -> None:
        """Nobody pays for what the node does for itself."""
        self.work(10.0)
        self.costs.charged(None, self.work, 10.0)
        self.assertEqual(0.0, self.costs.wait_s(self.stranger))

    def test_work_within_work(self) -> None:
        """Work that another pays for, done in the middle of somebody's, is not charged twice."""
        other = self.costs.payer_of("192.0.2.2", is_proved=False, is_upkeep=False)

        def both() -> None:
            self.work(0.2)
            self.costs.charged(other, self.work, 0.3)
            self.costs.charged(None, self.work, 5.0)
            self.work(0.2)

        self.costs.charged(self.stranger, both)
        self.assertAlmostEqual(3.0, self.costs.wait_s(self.stranger))
        self.assertAlmostEqual(2.0, self.costs.wait_s(other))

    def test_work_that_fails(self) -> None:
        """What ends with an error costs as much."""

        def fail() -> None:
            self.work(0.3)
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, self.costs.charged, self.stranger, fail)
        self.assertAlmostEqual(2.0, self.costs.wait_s(self.stranger))
        self.assertIsNone(self.costs.payer)

    def test_one_address_one_account(self) -> None:
        """Strangers of one address pay from one account; a peer there has another, and its upkeep a third."""
        self.costs.charged(self.stranger, self.work, 1.0)
        again = self.costs.payer_of("192.0.2.1", is_proved=False, is_upkeep=True)
        self.assertGreater(self.costs.wait_s(again), 0)
        records = self.costs.payer_of("192.0.2.1", is_proved=True, is_upkeep=False)
        upkeep = self.costs.payer_of("192.0.2.1", is_proved=True, is_upkeep=True)
        self.costs.charged(records, self.work, 1.0)
        self.assertAlmostEqual(1.0, self.costs.wait_s(records))
        self.assertEqual(0.0, self.costs.wait_s(upkeep))

    def test_turn(self) -> None:
        """The turn is over once others have had their part of it, all of them together."""
        for number in range(2):
            self.assertFalse(self.costs.is_turn_over)
            payer = self.costs.payer_of(f"192.0.2.{number}", is_proved=True, is_upkeep=False)
            self.costs.charged(payer, self.work, TURN_S / 2)
        self.assertTrue(self.costs.is_turn_over)
        self.costs.begin_turn()
        self.assertFalse(self.costs.is_turn_over)

    def test_all_strangers(self) -> None:
        """Many that owe nothing may cost more together than one of them might; peers do not count."""
        for number in range(5):
            self.costs.charged(self.costs.payer_of(f"192.0.2.{number}", True, False), self.work, 0.1)
        self.assertFalse(self.costs.do_strangers_owe())
        for number in range(5):
            self.costs.charged(self.costs.payer_of(f"192.0.2.{number}", False, False), self.work, 0.05)
        self.assertTrue(self.costs.do_strangers_owe())

    def test_shares(self) -> None:
        """Where an address may have more nodes, all shares are larger."""
        self.assertEqual(Shares(0.25, 1.0, 0.5), Shares(0.125, 0.5, 0.25).times(2))
