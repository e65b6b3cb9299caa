"""Chord's maintenance as it was published, for one purpose only: the checks of the simulator must see it break.

This is the protocol of the Chord paper (Stoica et al., figure 6 and section IV.E.3) as P. Zave analysed
it ("Using lightweight modeling to understand Chord", 2012): a member has a successor, a second successor and a
predecessor. The program never runs it.
"""

from __future__ import annotations

from chordtwist.core.peer import Peer
from chordtwist.core.ring import between
from chordtwist.simulation.invariants import RingCheck


class OriginalMember:
    """One member's pointers."""

    def __init__(self, me: Peer) -> None:
        self.me = me
        self.first: Peer | None = None
        self.second: Peer | None = None
        self.predecessor: Peer | None = None


class OriginalRing:
    """A ring under the original rules, stepped by hand. `check` is told of every change."""

    def __init__(self, check: RingCheck, first: Peer) -> None:
        self.check = check
        self.live: dict[Peer, OriginalMember] = {}
        self.now_us = 0
        member = self.live[first] = OriginalMember(first)
        member.first = first
        check.went_live(0, first, None, (first,), False)

    def join(self, me: Peer, successor: Peer) -> None:
        """``join``: only the successor is set."""
        member = self.live[me] = OriginalMember(me)
        member.first = successor
        self.now_us += 1
        self.check.went_live(self.now_us, me, None, (successor,), False)

    def stabilize(self, me: Peer) -> None:
        """``stabilize``: take the successor's predecessor when it is closer, without asking it, and notify."""
        member = self.live[me]
        if member.first is None or member.first not in self.live:
            return
        candidate = self.live[member.first].predecessor
        if candidate is not None and between(me.id, candidate.id, member.first.id):
            member.first = candidate
            self._tell(member)
        self.notify(me)

    def notify(self, me: Peer) -> None:
        """``notify``: the successor takes us as predecessor when we are closer than the one it has."""
        target = self.live[me].first
        if target is not None and target in self.live:
            other = self.live[target]
            if other.predecessor is None or between(other.predecessor.id, me.id, target.id):
                other.predecessor = me
                self._tell(other)

    def copy_list(self, me: Peer) -> None:
        """The second successor is the successor's successor."""
        member = self.live[me]
        if member.first is not None and member.first in self.live:
            member.second = self.live[member.first].first
            self._tell(member)

    def promote(self, me: Peer) -> None:
        """A dead successor is replaced by the second one."""
        member = self.live[me]
        if member.first not in self.live:
            member.first, member.second = member.second, None
            self._tell(member)

    def flush(self, me: Peer) -> None:
        """``check_predecessor``: a dead predecessor is forgotten."""
        member = self.live[me]
        if member.predecessor not in self.live:
            member.predecessor = None
            self._tell(member)

    def fail(self, *peers: Peer) -> None:
        """They die at this moment."""
        for peer in peers:
            del self.live[peer]
        self.now_us += 1
        self.check.ended(self.now_us, peers)

    def _tell(self, member: OriginalMember) -> None:
        self.now_us += 1
        entries = tuple(peer for peer in (member.first, member.second) if peer is not None)
        self.check.changed(self.now_us, member.me, member.predecessor, entries, False)
