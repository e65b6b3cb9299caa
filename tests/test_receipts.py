"""Behaviour of the receipts that a member gives for records."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.receipts import (
    NOTHING_HELD,
    RECEIPT_MS,
    RECEIPTS_GIVEN_MAX,
    Receipts,
    held,
    proof_of,
)
from chordtwist.core.records import Record, RecordKind, Seal, Tombstone, Version, Versioned, wins
from chordtwist.core.signed import Held

KEY = bytes(32)
LONG_MS = 10 * RECEIPT_MS


def plain(ms: int, publisher: bytes = b"") -> Record:
    return Record(KEY, b"value", RecordKind.PLAIN, Version(ms, publisher), LONG_MS, 3)


def sealed(seq: int, value: bytes = b"value") -> Record:
    return Record(KEY, value, RecordKind.SIGNED, Version(1, b""), LONG_MS, 3, Seal(bytes(32), b"", seq, bytes(64)))


class HeldTests(SynchronousTestCase):
    """What is kept, as it is compared."""

    def test_order(self) -> None:
        """What takes the place of something is greater than it, whatever their kinds, and nothing is the least."""
        ended = Tombstone(KEY, Version(3, b"b"), LONG_MS, 3)
        ranked: list[Versioned] = [ended, plain(256, b"a"), plain(256, b"ab"), plain(257)]
        ranked += [Record(KEY, b"v", RecordKind.CONTENT, Version(1, b""), LONG_MS, 3)]
        values = sorted((b"value", b"other"), key=lambda value: sha256(value).digest())
        ranked += [sealed(1), *(sealed(300, value) for value in values), sealed(1 << 40)]
        for less, more in pairwise(ranked):
            self.assertTrue(wins(more, less), (less, more))
            self.assertLess(held(less), held(more))
        self.assertLess(NOTHING_HELD, held(ended))

    def test_ended(self) -> None:
        """A tombstone is less than what it is left of."""
        self.assertLess(held(Tombstone(KEY, Version(3, b"b"), LONG_MS, 3)), held(plain(3, b"b")))

    def test_proof(self) -> None:
        """The proof takes the value and the nonce; of a tombstone, and of nothing, there is none."""
        self.assertEqual(proof_of(plain(1), b"nonce"), sha256(b"noncevalue").digest())
        self.assertEqual({proof_of(Tombstone(KEY, Version(3, b"b"), 9, 3), b"nonce"), proof_of(None, b"nonce")}, {b""})


class ReceiptsTests(SynchronousTestCase):
    """The receipts of one member."""

    def setUp(self) -> None:
        """None is given."""
        self.receipts = Receipts()
        self.old, self.new = held(plain(1)), held(plain(2))

    def give(self, here: Held, now_ms: int = 0, left_ms: int = LONG_MS, key: bytes = KEY) -> int | None:
        return self.receipts.give(key, here, left_ms, now_ms)

    def test_until(self) -> None:
        """A receipt binds for ten minutes, not longer than the record lives; that there is nothing binds nobody."""
        self.assertEqual(self.give(self.old, 5), 5 + RECEIPT_MS)
        self.assertEqual(self.give(self.old, 5, 7, b"other"), 12)
        self.assertEqual(self.give(self.old, 5, -1, b"ended"), 5)
        self.assertEqual(self.give(NOTHING_HELD, 5, key=b"none"), 5)
        self.assertEqual(self.give(self.old, 5, key=b"none"), 5 + RECEIPT_MS)

    def test_never_less(self) -> None:
        """While one binds nothing is signed that has less, however it was lost; more always is."""
        self.give(self.new)
        for here in (NOTHING_HELD, self.old):
            self.assertIsNone(self.give(here, RECEIPT_MS))
        self.assertIsNotNone(self.give(held(plain(3)), RECEIPT_MS))
        self.assertIsNone(self.give(self.new, RECEIPT_MS))

    def test_newer_that_ends_soon(self) -> None:
        """What took the place of something, and ended before it, leaves its promise: nothing is signed until that is
        over.
        """
        self.give(self.old)
        self.assertEqual(self.give(self.new, 1, 10), 11)
        self.assertIsNone(self.give(NOTHING_HELD, 12))
        self.assertEqual(self.give(NOTHING_HELD, RECEIPT_MS + 1), RECEIPT_MS + 1)

    def test_over(self) -> None:
        """A receipt that is over, or of another epoch, binds nobody."""
        self.give(self.new)
        self.assertIsNotNone(self.give(self.old, RECEIPT_MS + 1))
        self.give(self.new, RECEIPT_MS + 1)
        self.receipts.forget_all()
        self.assertIsNotNone(self.give(self.old, RECEIPT_MS + 1))

    def test_bounded(self) -> None:
        """With too many that bind, others speak of the moment, and none is forgotten."""
        for number in range(RECEIPTS_GIVEN_MAX):
            self.give(self.new, key=b"%d" % number)
        self.assertEqual(self.give(self.new, 3), 3)
        self.assertEqual(self.give(self.new, 3, key=b"7"), 3 + RECEIPT_MS)
        self.assertIsNone(self.give(self.old, 3, key=b"0"))
        self.assertEqual(self.give(self.old, 3), 3)
