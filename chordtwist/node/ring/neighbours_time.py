"""The wall time that most of a node's neighbours have: no wrong clock of one machine decides which version is newer."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_high, median_low

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.table import Table
from chordtwist.core.versions import AHEAD_MS_MAX, TIME_MS_MAX

KEPT_MS = 1_000
"""A step of the wall clock is noticed so much later; clocks are compared by seconds."""

ASKED_EVERY_MS = 900_000
ASKED = 4
"""So many successors are asked for the time so often, while somebody wants to know it, and when our clock was set."""

TRUSTED_MS = AHEAD_MS_MAX // 2
"""A clock that differs by less is our own: the neighbours' tables tell the time to a second or two, which would put
versions of two puts in the wrong order, and two nodes that each err by this much still take each other's puts."""

COMPARED_MIN = 2
"""With fewer neighbours nobody can say whose clock is wrong."""

TOLD_AGAIN_MS = 3_600_000
"""Between two lines in the log that say that our clock is wrong."""


class NeighboursTime:
    """Our wall time, unless it is wrong by more than `TRUSTED_MS`: then what most of our neighbours and ourselves have.
    Liars would have to be half of them to move it.
    """

    _log = Logger()

    def __init__(
        self,
        neighbours: Callable[[], list[Peer]],
        ahead_ms: Callable[[Peer], int | None],
        ask: Callable[[Peer], Deferred[Table]],
        steady_s: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        """@param ahead_ms: how far a peer's wall clock is ahead of our steady one, as far as its last table tells.
        @param ask: for a peer's table as it is now.
        """
        self._neighbours = neighbours
        self._ahead_ms = ahead_ms
        self._ask = ask
        self._steady_s = steady_s
        self._wall_ms = wall_ms
        self.ahead_ms: int | None = None
        """By how much our wall clock was ahead of what most have, at the last look; None with too few to compare."""
        self._until_ms = 0
        self._ask_again_ms = 0
        self._ours = 0
        self._common_ahead_ms = 0
        self._tell_again_ms = 0

    def now_ms(self) -> int:
        """Tell the time now, in milliseconds since 1970: none that others would refuse, whatever the clocks show."""
        steady_ms = int(self._steady_s() * 1000)
        if steady_ms >= self._until_ms:
            self._until_ms = steady_ms + KEPT_MS
            self._compare(steady_ms)
        return max(0, min(steady_ms + self._common_ahead_ms, TIME_MS_MAX))

    def _compare(self, steady_ms: int) -> None:
        ours = self._wall_ms() - steady_ms
        neighbours = self._neighbours()
        if steady_ms >= self._ask_again_ms or abs(ours - self._ours) > TRUSTED_MS:
            # When ours was set, or both our clocks have stood still, theirs may have been set as well.
            self._ask_again_ms = steady_ms + ASKED_EVERY_MS
            for peer in neighbours[:ASKED]:
                self._ask(peer).addErrback(lambda failure: failure.trap(Unreachable, CancelledError))
        self._ours = ours
        told = [self._ahead_ms(peer) for peer in neighbours]
        ahead = [ours, *(theirs for theirs in told if theirs is not None)]
        common = min(max(ours, median_low(ahead)), median_high(ahead))
        wrong_ms = ours - common
        is_wrong = abs(wrong_ms) > TRUSTED_MS
        self.ahead_ms = wrong_ms if len(ahead) > COMPARED_MIN else None
        self._common_ahead_ms = common if is_wrong else ours
        if is_wrong and steady_ms >= self._tell_again_ms:
            self._tell_again_ms = steady_ms + TOLD_AGAIN_MS
            self._log.warn(
                "this machine's clock is {wrong_s} s {side} those of its neighbours: versions go by theirs",
                wrong_s=round(abs(wrong_ms) / 1000),
                side="ahead of" if wrong_ms > 0 else "behind",
            )
