"""Durations, as people write and read them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.durations import duration_in_words, duration_s


class DurationTests(SynchronousTestCase):
    def test_written(self) -> None:
        """A number alone is seconds; units may follow one another, in either case, with blanks between."""
        for written, expected in (
            ("90", 90),
            ("0", 0),
            ("0.5", 0.5),
            ("45s", 45),
            ("5m", 300),
            ("5 min", 300),
            ("1h30m", 5400),
            ("1H 30M", 5400),
            (" 2d ", 172_800),
            ("1.5h", 5400),
        ):
            self.assertEqual(expected, duration_s(written), written)

    def test_nonsense(self) -> None:
        """What is no duration says how one is written."""
        for written in ("", " ", "soon", "5x", "1h30", "h", "1h-5m", "5m!", "1_0q", "٣m"):
            error = self.assertRaises(ValueError, duration_s, written)
            self.assertIn("1h30m", str(error), written)

    def test_shown(self) -> None:
        """The two largest units are shown."""
        for seconds, expected in (
            (0, "0 s"),
            (0.25, "0.25 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3600, "1 h"),
            (3661, "1 h 1 min"),
            (3601, "1 h"),
            (86_400, "1 d"),
            (90_000, "1 d 1 h"),
            (86_460, "1 d"),
        ):
            self.assertEqual(expected, duration_in_words(seconds), seconds)
