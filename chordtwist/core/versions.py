"""The clock that stamps versions: a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014).

It runs with the wall clock, and after every version it has seen: a put that follows another one anywhere gets the newer
version, although no two wall clocks agree. `now_ms`, the wall time, is always an argument.
"""

from __future__ import annotations

from chordtwist.core.bounded import Bounded
from chordtwist.core.records import Version

TIME_MS_MAX = 253_402_300_800_000
"""The end of the year 9999: no clock is later. Messages carry much larger numbers than that, so whatever is stamped
by a clock can be sent, and what follows it too."""

STAMPED_KEYS_MAX = 4096
"""Keys remembered of one millisecond: one that lies ahead, which somebody's fast clock began, lasts up to a minute."""

AHEAD_MS_MAX = 60_000
"""A version further ahead of our wall clock is refused, never merged: else one publisher from the far future would own
a key for good, and would drag every clock with it. A minute: hosts without NTP drift by seconds a day."""

FOLLOWED_MS_MAX = AHEAD_MS_MAX // 2
"""The clock runs after a version no further ahead than this. Whoever may take it to the very end of what others accept
makes them refuse all that this node puts: their clocks need only be a little behind. Half of it is left for that: as
far as a clock may be from its neighbours' before their time counts."""

AHEAD_KEYS_MAX = 4096
"""Keys remembered of which a version was seen that lies further ahead."""


def is_ahead(version: Version, now_ms: int) -> bool:
    """Whether a version lies too far in the future to be taken."""
    return version.ms > now_ms + AHEAD_MS_MAX


class VersionClock:
    """Stamps the puts that arrive at one node: each newer than all it has seen, and than every earlier put of its key.

    Puts of different keys share a millisecond: one for each would run ahead of the wall clock wherever more than a
    thousand come in a second, and after a minute of that lead the others would refuse them.

    A version further ahead than `FOLLOWED_MS_MAX` counts for its own key only.
    """

    def __init__(self, publisher: bytes) -> None:
        """@param publisher: this node's packed address, which tells versions of the same millisecond apart."""
        self._publisher = publisher
        self._last_ms = 0
        self._stamped: set[bytes] = set()
        """Keys that have a version of that millisecond."""
        # Of keys forgotten here the replicas say it again: they refuse what is older.
        self._ahead: Bounded[bytes, int] = Bounded(AHEAD_KEYS_MAX)
        """Keys of which a version ahead of this clock was seen or stamped, and its millisecond."""

    def next(self, now_ms: int, key: bytes) -> Version:
        """Stamp a put of `key` that arrived now."""
        if self._last_ms > now_ms + AHEAD_MS_MAX + 1:
            # Our own wall clock was far ahead and has been put right: nobody has taken what it stamped meanwhile.
            self._run_to(now_ms)
        if now_ms > self._last_ms:
            self._run_to(now_ms)
        elif key in self._stamped or len(self._stamped) >= STAMPED_KEYS_MAX:
            self._run_to(self._last_ms + 1)
        if self._ahead and self._last_ms <= (ahead_ms := self._ahead.pop(key, 0)) <= now_ms + AHEAD_MS_MAX + 1:
            self._ahead[key] = ahead_ms + 1
            return Version(ahead_ms + 1, self._publisher)
        self._stamped.add(key)
        return Version(self._last_ms, self._publisher)

    def see(self, version: Version, now_ms: int, key: bytes) -> bool:
        """Run after `version` of `key` from now on; False, and nothing done, when it lies too far ahead."""
        if is_ahead(version, now_ms):
            return False
        if version.ms > self._last_ms or (version.ms == self._last_ms and version.publisher != self._publisher):
            if version.ms <= now_ms + FOLLOWED_MS_MAX:
                self._run_to(version.ms + 1)
            elif version.ms > self._ahead.get(key, 0):
                self._ahead[key] = version.ms
        return True

    def _run_to(self, ms: int) -> None:
        self._last_ms = ms
        self._stamped.clear()

    def after(self, version: Version) -> Version | None:
        """Give the version next to one that lies too far ahead to be merged, or None when that is no time.

        The clock itself stays. For the node whose own clock is slow by more than `AHEAD_MS_MAX`: others judge the
        result by their clocks.
        """
        return Version(version.ms + 1, self._publisher) if version.ms < TIME_MS_MAX else None
