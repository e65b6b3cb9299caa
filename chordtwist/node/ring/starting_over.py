"""Why a newcomer starts over: a ring that has changed meanwhile, or members that stand in its way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chordtwist.core.errors import Refused
from chordtwist.core.peer import Peer

PAUSE_MIN_S, PAUSE_MAX_S, PAUSE_LONGEST_S = 0.05, 0.4, 2.0
"""The random pause before starting over: at most so long at first, longer each time up to the last figure. A small ring
takes in one newcomer in some tens of milliseconds on a LAN."""

PATIENCE_MAX = 8
"""So often we start over because of what one and the same member shows; then it is one that lies."""

LINED_UP_MAX_S = 30.0
"""So long one and the same member may let us wait for its slot while nobody comes in; then it is one that lies. As long
as five newcomers have it that crash one behind another."""


class StartOver(Exception):
    """The ring changed, or was busy, while we were joining: nothing is wrong, the same again in a moment.

    @param said_by: the members that alone stand in our way, by what they say.
    @param nearer: a member that stands nearer to our place than those we found.
    """

    def __init__(self, *said_by: Peer, nearer: Peer | None = None) -> None:
        self.said_by = said_by
        self.nearer = nearer


class InTheWay:
    """Who keeps one newcomer from its place, each by its own word, and how often."""

    def __init__(self) -> None:
        self._times: Counter[Peer] = Counter()
        self._refusing: dict[Peer, None] = {}
        self._seen: set[Peer] = set()
        self._lined_up_s: dict[Peer, float] = {}

    def look(self, members: Collection[Peer]) -> None:
        """Note which members there are: while others come in, a line moves on."""
        if not self._seen.issuperset(members):
            self._lined_up_s.clear()
            self._seen.update(members)

    def lined_up(self, peer: Peer, for_s: float) -> None:
        """Note that a member has let us wait for its slot."""
        self._lined_up_s[peer] = self._lined_up_s.get(peer, 0.0) + for_s
        if self._lined_up_s[peer] >= LINED_UP_MAX_S:
            self._times[peer] = PATIENCE_MAX

    def stood(self, peers: Iterable[Peer]) -> None:
        """Note that what some members say has made us start over."""
        self._times.update(peers)

    def refused(self, peer: Peer, reason: str, members: int) -> None:
        """Note that one of so many `members` does not take us in: the opinion of one, that may not reach us just now.

        @raise Refused: half of them do not.
        """
        self._refusing[peer] = None
        if 2 * len(self._refusing) >= members:
            raise Refused(f"a member does not take us in: {reason}")

    def is_overruled(self, peer: Peer) -> bool:
        """Whether a member has kept us waiting so often that it is one that lies."""
        return self._times[peer] >= PATIENCE_MAX


async def pause(clock: IReactorTime, rng: Random, times: int) -> None:
    """Wait for a random time, longer the more `times` we have started over."""
    longest_s = min(PAUSE_MAX_S * times, PAUSE_LONGEST_S)
    await deferLater(clock, PAUSE_MIN_S + max(0.0, longest_s - PAUSE_MIN_S) * rng.random())
