"""How many there are of something, in words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.counted import counted


class CountedTests(SynchronousTestCase):
    def test_words(self) -> None:
        """One is one; none, and more, are many."""
        for count, words in (0, "0 records"), (1, "1 record"), (1.0, "1 record"), (2, "2 records"):
            self.assertEqual(counted(count, "record"), words)
