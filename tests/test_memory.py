"""The store in memory, and the order of places and expiries that both stores keep."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.records import position_of
from chordtwist.core.ring import Arc
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.index import ADDED_MAX, EXPIRED_MAX, LARGE, Expiries, Places
from chordtwist.storage.memory import MemoryRecordStore
from tests import SOAK, contracts
from tests.contracts import make_record
from tests.store_machine import StoreMachine


class MemoryRecordStoreTests(contracts.RecordStoreContract):
    """`MemoryRecordStore` is an `IRecordStore`."""

    def make_store(self, records_max: int = 1000, bytes_max: int = 1 << 20) -> IRecordStore:
        return MemoryRecordStore(records_max, bytes_max)

    def test_like_a_dictionary(self) -> None:
        """Whatever is done to it, in whatever order, it says what a dictionary with a clock says."""
        run_state_machine_as_test(StoreMachine, settings=settings(max_examples=12 * SOAK))


class PlacesTests(SynchronousTestCase):
    """Keys in the order of their positions."""

    def keys(self, count: int) -> list[bytes]:
        return [sha256(b"%d" % n).digest() for n in range(count)]

    def test_order_with_few_and_with_many_new(self) -> None:
        """Whether few or many keys came since the last scan, and whatever was removed, all are there in order."""
        places, keys = Places(), self.keys(3000)
        for key in keys[:2000]:
            places.add(key)
        list(places.scan(Arc(0, 0)))
        for key in keys[2000:2005]:
            places.add(key)
        list(places.scan(Arc(0, 0)))
        for key in keys[2005:]:
            places.add(key)
        for key in keys[500:]:
            places.discard(key)
        places.add(keys[2999])
        found = list(places.scan(Arc(0, 0)))
        self.assertEqual(found, sorted(found))
        self.assertEqual({key for _, key in found}, {*keys[:500], keys[2999]})

    def test_a_large_store(self) -> None:
        """Where putting all new keys in order at once would take long, never more than some wait for it."""
        places, keys = Places(), self.keys(LARGE + 3 * ADDED_MAX)
        for count, key in enumerate(keys, 1):
            places.add(key)
            if count >= LARGE:
                self.assertLess(len(places._added), ADDED_MAX)
        self.assertEqual(list(places.scan(Arc(0, 0))), sorted((position_of(key), key) for key in keys))

    def test_removed_keys_take_no_room(self) -> None:
        """Keys that come and go leave nothing behind."""
        places, keys = Places(), self.keys(5000)
        for key in keys:
            places.add(key)
        list(places.scan(Arc(0, 0)))
        for key in keys:
            places.discard(key)
        self.assertLess(len(places._ordered) + len(places._added) + len(places._removed), 2000)


class ExpiriesTests(SynchronousTestCase):
    """Which keys expire when."""

    def test_overwriting_takes_no_room(self) -> None:
        """A key whose expiry changes a thousand times is remembered about once."""
        expiries = Expiries()
        for n in range(100_000):
            versioned = make_record(b"k", expiry_ms=n)
            expiries.add(n, versioned.key, {versioned.key: versioned})
        self.assertLess(len(expiries._heap), 2 * EXPIRED_MAX)
        self.assertEqual(expiries.due(99_998, {versioned.key: versioned}), [])
        self.assertEqual(expiries.due(99_999, {versioned.key: versioned}), [versioned.key])
