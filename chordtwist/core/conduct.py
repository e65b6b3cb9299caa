"""What one node holds against others without proof: private, soon forgotten, and of weight only in whom it asks.

Suspicion never touches the ring's pointers: private eviction breaks rings, since who cannot be reached from here is no
liar. What evicts is a proof (`core.evidence`).
"""

from __future__ import annotations

from collections.abc import Callable

from chordtwist.core.bounded import Bounded
from chordtwist.core.peer import Peer

BLAMED_MAX = 1024
"""Peers remembered; whom something was held against longest ago goes first."""

LISTED_AFTER_S = 60.0
"""Who is a member for so long stands in every honest list that reaches over it."""

BLAMED_AGAIN_S = 30.0
"""One fault shows in many searches: it counts once in so long."""

HALF_LIFE_S = 600.0

SUSPECTED_FROM = 2.5
"""Three faults within some five minutes."""

LEAVES_OUT = "its lists leave out members that answer"


class Conduct:
    """The conduct of peers, as this node has met it."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """@param seconds: the steady clock."""
        self._seconds = seconds
        self._faults: Bounded[Peer, tuple[float, float, str]] = Bounded(BLAMED_MAX)
        """What counts of each one's faults, since when, and the last of them."""

    def blame(self, peer: Peer, fault: str) -> None:
        """Hold something against `peer`: that its list left out a member that is reached, and has been for a while, or
        that it has shown by itself that it lies.
        """
        now = self._seconds()
        faults, at_s, _ = self._faults.get(peer, (0.0, now - BLAMED_AGAIN_S, fault))
        if now - at_s >= BLAMED_AGAIN_S:
            self._faults[peer] = (faults * _left(now - at_s) + 1, now, fault)

    def is_suspected(self, peer: Peer) -> bool:
        """Whether so much is held against a peer that others are asked in its place."""
        if peer not in self._faults:
            return False
        faults, at_s, _ = self._faults[peer]
        return faults * _left(self._seconds() - at_s) >= SUSPECTED_FROM

    def suspected(self) -> dict[Peer, str]:
        """List them, whom something was held against last at the end, each with what that was."""
        return {peer: fault for peer, (_, _, fault) in self._faults.items() if self.is_suspected(peer)}


def _left(seconds: float) -> float:
    """Say how much still counts after so long."""
    return float(0.5 ** (seconds / HALF_LIFE_S))
