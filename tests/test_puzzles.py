"""Puzzles: who can solve which, and until when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.puzzles import PUZZLE_BYTES, WINDOW_S, good_until, puzzle, solve, solves
from chordtwist.core.ring import RING_SIZE

SECRET = b"s" * 32
places = st.integers(0, RING_SIZE - 1)
times = st.floats(0, 1e7)


class PuzzleTests(SynchronousTestCase):
    """One secret, many places."""

    @given(places, times, st.floats(0, 3 * WINDOW_S))
    def test_time(self, place: int, now: float, later_s: float) -> None:
        """A puzzle is good at once and for one window more, two at most; the same is set again within its window."""
        set_then = puzzle(SECRET, place, now)
        self.assertEqual(PUZZLE_BYTES, len(set_then))
        until = good_until(SECRET, place, set_then, now)
        self.assertGreaterEqual(until, now + WINDOW_S)
        self.assertLessEqual(until, now + 2 * WINDOW_S)
        later = now + later_s
        self.assertEqual(until if later < until else 0.0, good_until(SECRET, place, set_then, later))
        self.assertEqual(set_then == puzzle(SECRET, place, later), now // WINDOW_S == later // WINDOW_S)

    @given(places, places, times)
    def test_place(self, place: int, other: int, now: float) -> None:
        """It is good for the place that it was set for, by who has the secret."""
        set_then = puzzle(SECRET, place, now)
        self.assertEqual(place == other, good_until(SECRET, other, set_then, now) > 0)
        self.assertEqual(0.0, good_until(b"t" * 32, place, set_then, now))

    def test_of_the_future(self) -> None:
        """One that will be set later is not good yet."""
        self.assertEqual(0.0, good_until(SECRET, 1, puzzle(SECRET, 1, 1000.0 + WINDOW_S), 1000.0))

    @given(st.binary(max_size=40), places, times)
    def test_any_bytes(self, raw: bytes, place: int, now: float) -> None:
        """Bytes that nobody set are none."""
        self.assertEqual(0.0, good_until(SECRET, place, raw, now))

    @given(st.binary(min_size=PUZZLE_BYTES, max_size=PUZZLE_BYTES), st.integers(0, 8))
    def test_solution(self, raw: bytes, bits: int) -> None:
        """A search finds the first number that solves it, and none where there is none."""
        found = solve(raw, bits, 0, 1 << 14)
        assert found is not None
        self.assertTrue(solves(raw, bits, found))
        self.assertFalse(any(solves(raw, bits, number) for number in range(found)))
        self.assertIsNone(solve(raw, bits, 0, found))
        self.assertEqual(found, solve(raw, bits, found, 1))

    def test_harder(self) -> None:
        """Each bit more takes about twice as many tries."""
        tries = [
            sum(solve(puzzle(SECRET, place, 0.0), bits, 0, 1 << 14) or 0 for place in range(60)) / 60 for bits in (4, 8)
        ]
        self.assertLess(tries[0], 32)
        self.assertGreater(tries[1], 128)
