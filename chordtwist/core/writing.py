"""One write to the replicas under way: who has confirmed, who stands in for whom, and when it is done.

Done is when a majority of the replicas has confirmed: every later majority of readers meets one of them. No replica is
needed more than another; but only whoever is taken for the owner can tell that it is none, so where a route is of
earlier its answer is waited for, for a moment. The rest still get theirs.
"""

from __future__ import annotations

from collections import Counter

from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer

Send = tuple[Peer, int]
"""To whom, as which replica; 0 is the owner."""


class Writing:
    """Start with `begin`; send what every method returns; report what came of each."""

    def __init__(self, route: Route, copies: int, awaits_owner: bool = False) -> None:
        """@param copies: how many of the members of the route are to keep it; the rest stand in for silent ones.
        @param awaits_owner: whether its owner has to answer before it is done: others may have come before it since.
        """
        self._order = list(route.replicas)
        self._copies = copies
        self._waiting: dict[Peer, None] = {}
        self._sent: dict[Peer, int] = {}
        self._out: dict[Peer, None] = {}
        self._is_full = False
        self.awaits_owner = awaits_owner
        self.stored_at: dict[Peer, None] = {}
        self.refusals: dict[Peer, str] = {}

    @property
    def done(self) -> bool:
        """Whether so many have confirmed that every majority of readers meets one of them. Nobody is waited for, but an
        owner of which nobody knows now whether it is one: it may be slow, or full, as any other.
        """
        return self._has_majority and not self.lacks_owner

    @property
    def owner(self) -> Peer:
        """Whoever is taken for the owner."""
        return self._order[0]

    @property
    def lacks_owner(self) -> bool:
        """Whether it is done but for an answer of its owner."""
        return self.awaits_owner and self.owner in self._waiting and self._has_majority

    @property
    def _has_majority(self) -> bool:
        if len(self.stored_at) < self.quorum:
            return False
        # Those who stand in are met only by readers that miss the same ones.
        in_place = sum(peer in self.stored_at for peer in self._order[: self._replicas])
        return in_place > self._replicas - self.quorum

    @property
    def refusal(self) -> str | None:
        """Why it cannot be done: so many refuse that the others are no majority, or the rest has no room."""
        if self.done:
            return None
        newer = sum(reason == "newer" for reason in self.refusals.values())
        if newer and newer < self.quorum and self._waiting:
            # Whether a newer version stands there, or the clock of one is fast, is not for one replica to say.
            return None
        if self._replicas - len(self.refusals) < self.quorum:
            return Counter(self.refusals.values()).most_common(1)[0][0]
        return "full" if self._is_full and self.over else None

    @property
    def over(self) -> bool:
        """Whether everybody who was asked has answered, or will not."""
        return not self._waiting

    def begin(self) -> list[Send]:
        """Send it to all replicas at once."""
        return [self._send(peer) for peer in self._order[: self._replicas]]

    def stored(self, peer: Peer) -> None:
        """Count a replica that confirmed, as what it was last taken for."""
        self._waiting.pop(peer, None)
        self.stored_at[peer] = None

    def refused(self, peer: Peer, reason: str) -> None:
        """Count a replica that said no: nobody can stand in for it, the reason holds everywhere."""
        self._waiting.pop(peer, None)
        self.refusals[peer] = reason

    def full(self, peer: Peer) -> list[Send]:
        """Let somebody stand in for a replica that has no room."""
        self._is_full = True
        return self.out(peer)

    def out(self, peer: Peer) -> list[Send]:
        """Let the next member behind the others stand in for a replica that is silent, leaves, or says to be none."""
        self._waiting.pop(peer, None)
        self._out[peer] = None
        within = self._order[: self._replicas + len(self._out)]
        return [self._send(peer) for peer in within if peer not in self._sent]

    @property
    def _replicas(self) -> int:
        return min(self._copies, len(self._order))

    @property
    def quorum(self) -> int:
        """How many make a majority."""
        return self._replicas // 2 + 1

    def _send(self, peer: Peer) -> Send:
        rank = self._order.index(peer)
        self._waiting[peer] = None
        self._sent[peer] = rank
        return peer, rank
