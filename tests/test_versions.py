"""The hybrid logical clock: whoever puts later gets the newer version, and nobody drags the clocks."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.records import Version
from chordtwist.core.versions import (
    AHEAD_KEYS_MAX,
    AHEAD_MS_MAX,
    FOLLOWED_MS_MAX,
    STAMPED_KEYS_MAX,
    TIME_MS_MAX,
    VersionClock,
    is_ahead,
)

ME, OTHER = b"\x0a\0\0\1\x19\1", b"\x0a\0\0\2\x19\1"
NOW_MS = 1_800_000_000_000
KEY = b"k" * 32


class VersionClockTests(SynchronousTestCase):
    """`VersionClock`, with the wall time as an argument."""

    def test_runs_with_the_wall_clock(self) -> None:
        """A version is the wall time in milliseconds and who stamped it."""
        self.assertEqual(VersionClock(ME).next(NOW_MS, KEY), Version(NOW_MS, ME))

    def test_two_puts_of_a_key_in_one_millisecond_differ(self) -> None:
        """Every version of a key is newer than the one before it, however fast they follow."""
        clock = VersionClock(ME)
        self.assertEqual([clock.next(NOW_MS, KEY).ms for _ in range(3)], [NOW_MS, NOW_MS + 1, NOW_MS + 2])

    def test_many_keys_do_not_run_ahead(self) -> None:
        """Ten puts of different keys in every millisecond leave the clock where the wall clock is."""
        clock = VersionClock(ME)
        for put in range(10_000):
            stamped = clock.next(NOW_MS + put // 10, put.to_bytes(32, "big"))
            clock.see(stamped, NOW_MS + put // 10, KEY)
        self.assertEqual(stamped.ms, NOW_MS + 999)

    def test_a_millisecond_ahead_does_not_fill_memory(self) -> None:
        """Of a millisecond that lasts, since it lies ahead, only so many keys are kept; then the next begins."""
        clock = VersionClock(ME)
        clock.see(Version(NOW_MS + 20_000, OTHER), NOW_MS, KEY)
        first = clock.next(NOW_MS, KEY)
        for put in range(STAMPED_KEYS_MAX):
            clock.next(NOW_MS, put.to_bytes(32, "big"))
        self.assertEqual(clock.next(NOW_MS, bytes(31) + b"x").ms, first.ms + 1)
        self.assertGreater(clock.next(NOW_MS, KEY), first)

    def test_a_clock_set_back_stamps_on(self) -> None:
        """A wall clock that goes back by a minute does not make later puts older."""
        clock = VersionClock(ME)
        first = clock.next(NOW_MS, KEY)
        self.assertGreater(clock.next(NOW_MS - 60_000, KEY), first)

    def test_runs_after_its_own_earlier_run(self) -> None:
        """A version of our own that we have forgotten, of a run before this one, is followed like anybody's."""
        clock = VersionClock(ME)
        self.assertTrue(clock.see(Version(NOW_MS + 5_000, ME), NOW_MS, KEY))
        self.assertEqual(clock.next(NOW_MS, KEY), Version(NOW_MS + 5_001, ME))

    def test_runs_after_what_it_has_seen(self) -> None:
        """A put that follows another publisher's gets the newer version although the wall clock here is slow."""
        clock = VersionClock(ME)
        theirs = Version(NOW_MS + 5_000, OTHER)
        self.assertTrue(clock.see(theirs, NOW_MS, KEY))
        self.assertEqual(clock.next(NOW_MS, KEY), Version(NOW_MS + 5_001, ME))

    def test_an_older_version_changes_nothing(self) -> None:
        """Seeing the past is no reason to stamp differently."""
        clock = VersionClock(ME)
        clock.next(NOW_MS, KEY)
        self.assertTrue(clock.see(Version(NOW_MS - 10, OTHER), NOW_MS, KEY))
        self.assertEqual(clock.next(NOW_MS, KEY).ms, NOW_MS + 1)

    def test_the_far_future_is_not_merged(self) -> None:
        """A version more than a minute ahead is refused and leaves the clock alone; exactly a minute is taken."""
        clock = VersionClock(ME)
        self.assertFalse(clock.see(Version(NOW_MS + AHEAD_MS_MAX + 1, OTHER), NOW_MS, KEY))
        self.assertEqual(clock.next(NOW_MS, KEY).ms, NOW_MS)
        self.assertTrue(clock.see(Version(NOW_MS + AHEAD_MS_MAX, OTHER), NOW_MS, KEY))
        self.assertEqual(clock.next(NOW_MS, KEY).ms, NOW_MS + AHEAD_MS_MAX + 1)

    def test_what_lies_far_ahead_counts_for_its_key_only(self) -> None:
        """Behind a version half a minute and more ahead come all further puts of its key, while those of others keep
        to the time; what is less far ahead is followed by all.
        """
        clock = VersionClock(ME)
        far_ms = NOW_MS + AHEAD_MS_MAX
        self.assertTrue(clock.see(Version(far_ms, OTHER), NOW_MS, KEY))
        self.assertTrue(clock.see(Version(far_ms - 1, OTHER), NOW_MS, KEY))
        self.assertEqual(clock.next(NOW_MS, bytes(32)).ms, NOW_MS)
        self.assertEqual([clock.next(NOW_MS + n, KEY).ms for n in range(1, 4)], [far_ms + 1, far_ms + 2, far_ms + 3])
        self.assertEqual(clock.next(far_ms + 3, KEY).ms, far_ms + 4)
        self.assertEqual(clock.next(far_ms + 10, KEY).ms, far_ms + 10)
        self.assertTrue(clock.see(Version(far_ms + 10 + FOLLOWED_MS_MAX, OTHER), far_ms + 10, KEY))
        self.assertEqual(clock.next(far_ms + 10, bytes(32)).ms, far_ms + 11 + FOLLOWED_MS_MAX)

    def test_keys_far_ahead_are_bounded(self) -> None:
        """However many keys have versions far ahead, only so many are remembered."""
        clock = VersionClock(ME)
        for n in range(2 * AHEAD_KEYS_MAX + 1):
            clock.see(Version(NOW_MS + AHEAD_MS_MAX, OTHER), NOW_MS, n.to_bytes(32, "big"))
        self.assertEqual(len(clock._ahead), AHEAD_KEYS_MAX)

    def test_a_clock_put_right_is_believed_again(self) -> None:
        """After a wall clock that was an hour ahead is put right, versions are of this hour again."""
        clock = VersionClock(ME)
        clock.next(NOW_MS + 3_600_000, KEY)
        self.assertEqual(clock.next(NOW_MS, KEY).ms, NOW_MS)

    def test_stamps_after_the_far_future_without_going_there(self) -> None:
        """Who is slow by more than a minute can still follow a version; the next put is of its own time again."""
        clock = VersionClock(ME)
        theirs = Version(NOW_MS + 90_000, OTHER)
        self.assertEqual(clock.after(theirs), Version(NOW_MS + 90_001, ME))
        self.assertIsNone(clock.after(Version(TIME_MS_MAX, OTHER)))
        self.assertEqual(clock.next(NOW_MS, KEY).ms, NOW_MS)

    def test_ahead_is_more_than_a_minute(self) -> None:
        """`is_ahead` draws the line where `see` does."""
        self.assertFalse(is_ahead(Version(NOW_MS + AHEAD_MS_MAX, OTHER), NOW_MS))
        self.assertTrue(is_ahead(Version(NOW_MS + AHEAD_MS_MAX + 1, OTHER), NOW_MS))

    def test_equal_milliseconds_are_told_apart_by_publisher(self) -> None:
        """Two nodes that stamp in the same millisecond agree on which of the two is newer."""
        self.assertLess(Version(NOW_MS, ME), Version(NOW_MS, OTHER))
        self.assertLess(Version(NOW_MS, OTHER), Version(NOW_MS + 1, ME))

    @example([(False, 60_000), (True, 29_999), (True, 29_999), (True, 0)])
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 200_000)), max_size=30))
    def test_never_stamps_twice_alike_within_a_minute_of_skew(self, steps: list[tuple[bool, int]]) -> None:
        """Whatever is seen and however the wall clock jumps within a minute, versions of a key grow; one that lies too
        far ahead since the clock was set back counts as never stamped: nobody takes it.
        """
        clock = VersionClock(ME)
        last = Version(0, ME)
        for is_put, ms in steps:
            if is_put:
                now_ms = NOW_MS + ms % 30_000
                stamped = clock.next(now_ms, KEY)
                self.assertTrue(stamped > last or is_ahead(last, now_ms), (stamped, last))
                last = stamped
            else:
                clock.see(Version(NOW_MS + ms, OTHER), NOW_MS, KEY)
