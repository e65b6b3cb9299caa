"""The clock that stamps versions: a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014).

It runs with the wall clock, and after every version it has seen: a put that follows another one anywhere gets the newer
version, although no two wall clocks agree. `now_ms`, the wall time, is always an argument.
"""

from __future__ import annotations

from chordtwist.core.records import Version

AHEAD_MS_MAX = 60_000
"""A version further ahead of our wall clock is refused, never merged: else one publisher from the far future would own
a key for good, and would drag every clock with it. A minute: hosts without NTP drift by seconds a day."""


def is_ahead(version: Version, now_ms: int) -> bool:
    """Whether a version lies too far in the future to be taken."""
    return version.ms > now_ms + AHEAD_MS_MAX


class VersionClock:
    """Stamps the puts that arrive at one node; no two alike, each newer than all it has seen."""

    __slots__ = ("_last_ms", "_publisher")

    def __init__(self, publisher: bytes) -> None:
        """@param publisher: this node's packed address, which tells versions of the same millisecond apart."""
        self._publisher = publisher
        self._last_ms = 0

    def next(self, now_ms: int) -> Version:
        """The version of a put that arrived now."""
        if self._last_ms > now_ms + AHEAD_MS_MAX:
            # Our own wall clock was far ahead and has been put right: nobody has taken what it stamped meanwhile.
            self._last_ms = 0
        self._last_ms = max(now_ms, self._last_ms + 1)
        return Version(self._last_ms, self._publisher)

    def see(self, version: Version, now_ms: int) -> bool:
        """Run after `version` from now on; False, and nothing done, when it lies too far ahead."""
        if is_ahead(version, now_ms):
            return False
        if version.ms > self._last_ms:
            self._last_ms = version.ms
        return True

    def after(self, version: Version) -> Version:
        """The version next to one that lies too far ahead to be merged; the clock itself stays.

        For the node whose own clock is slow by more than `AHEAD_MS_MAX`: others judge the result by their clocks.
        """
        return Version(version.ms + 1, self._publisher)
