"""What one address may leave here."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.quotas import RECORD_OVERHEAD_BYTES, Ledger, Quota

EVE, BOB = "10.0.0.66", "10.0.0.2"


class LedgerTests(SynchronousTestCase):
    """`Ledger`, with a quota of two records or 1,000 bytes and overhead."""

    def setUp(self) -> None:
        self.ledger = Ledger(Quota(records_max=2, bytes_max=1_000 + 2 * RECORD_OVERHEAD_BYTES))

    def test_records_are_counted_per_address(self) -> None:
        """The third record of one address has no room; another address has its own."""
        self.ledger.charge(EVE, b"1", 10)
        self.assertTrue(self.ledger.has_room(EVE, b"2", 10))
        self.ledger.charge(EVE, b"2", 10)
        self.assertFalse(self.ledger.has_room(EVE, b"3", 10))
        self.assertTrue(self.ledger.has_room(BOB, b"3", 10))

    def test_bytes_are_counted_per_address(self) -> None:
        """Values may be as long as the rest of the quota, not longer."""
        self.ledger.charge(EVE, b"1", 600)
        self.assertTrue(self.ledger.has_room(EVE, b"2", 400))
        self.assertFalse(self.ledger.has_room(EVE, b"2", 401))

    def test_replacing_ones_own_counts_once(self) -> None:
        """An address that overwrites its record needs room for the difference only."""
        self.ledger.charge(EVE, b"1", 600)
        self.ledger.charge(EVE, b"2", 300)
        self.assertTrue(self.ledger.has_room(EVE, b"1", 700))
        self.ledger.charge(EVE, b"1", 700)
        self.assertFalse(self.ledger.has_room(EVE, b"2", 301))

    def test_who_overwrites_pays(self) -> None:
        """A record is charged to the last address that delivered it."""
        self.ledger.charge(EVE, b"1", 1_000)
        self.ledger.charge(BOB, b"1", 1_000)
        self.assertTrue(self.ledger.has_room(EVE, b"2", 1_000))

    def test_what_is_gone_costs_nothing(self) -> None:
        """Room is given back when a record goes; what nobody was charged for can go too."""
        self.ledger.charge(EVE, b"1", 10)
        self.ledger.charge(EVE, b"2", 10)
        self.ledger.release(b"1")
        self.assertTrue(self.ledger.has_room(EVE, b"3", 10))
        self.ledger.release(b"2")
        self.ledger.release(b"nobody's")
        self.assertTrue(self.ledger.has_room(EVE, b"3", 1_000))

    def test_strangers_have_a_share(self) -> None:
        """Whoever is no neighbour may use a share of the quota only, counted together with the rest."""
        self.assertTrue(self.ledger.has_room(EVE, b"1", 100, share=0.5))
        self.assertFalse(self.ledger.has_room(EVE, b"1", 1_000, share=0.5))
        self.ledger.charge(EVE, b"1", 100)
        self.assertFalse(self.ledger.has_room(EVE, b"2", 100, share=0.5))
        self.assertTrue(self.ledger.has_room(EVE, b"2", 100))
