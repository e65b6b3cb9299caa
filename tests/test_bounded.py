"""`Bounded`: a map that forgets whoever was set longest ago."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.bounded import Bounded


class BoundedTests(SynchronousTestCase):
    """Two entries at most."""

    def setUp(self) -> None:
        self.map: Bounded[str, int] = Bounded(2)
        self.map["one"], self.map["two"] = 1, 2

    def test_forgets_the_oldest(self) -> None:
        """Beyond the bound the entry that was set first goes."""
        self.map["three"] = 3
        self.assertEqual(["two", "three"], list(self.map))

    def test_setting_again_counts(self) -> None:
        """What is set again stays, and nothing goes for it."""
        self.map["one"] = 11
        self.assertEqual(2, len(self.map))
        self.map["three"] = 3
        self.assertEqual(["one", "three"], list(self.map))

    def test_reading_does_not_count(self) -> None:
        """What is only read goes all the same."""
        self.assertEqual((1, 1), (self.map["one"], self.map.get("one")))
        self.map["three"] = 3
        self.assertEqual(["two", "three"], list(self.map))
