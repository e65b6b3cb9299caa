"""Owners that count on this node: they compare their arcs with it as one of their replicas."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from chordtwist.core.bounded import Bounded
from chordtwist.core.digests import gaps
from chordtwist.core.peer import Peer
from chordtwist.core.ring import Arc
from chordtwist.node.records.local_records import COPIES_MAX

DUTY_S = 100.0
"""An owner that has not compared for longer than from any round to the next does not count on us any more. If it was
only kept from it, looking it up costs a few questions, and drops nothing."""

DUTIES_MAX = 256
"""Owners that are believed to count on us: more than any replication needs, few enough to look through."""


class ServedArcs:
    """What one node knows of them."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._served_arcs: Bounded[bytes, tuple[Arc, int, float]] = Bounded(DUTIES_MAX)
        """By owner: its arc, our distance from it, when it last compared."""

    def note(self, peer: Peer, arc: Arc, copies_above: int) -> None:
        """Note that an owner compares its arc with us now: the records with more than `copies_above` copies."""
        known = self._served_arcs.get(peer.packed)
        if known is not None and known[:2] == (arc, copies_above):
            self._served_arcs[peer.packed] = (arc, copies_above, self._clock.seconds())
            return
        self.release(peer, arc)
        self._served_arcs[peer.packed] = (arc, copies_above, self._clock.seconds())

    def release(self, peer: Peer, arc: Arc) -> None:
        """Note that the owner of an arc does not count on us for it."""
        # Arcs of owners do not overlap: who owns this one has taken over from whoever did.
        for packed, duty in list(self._served_arcs.items()):
            if packed == peer.packed or arc.upto in duty[0] or duty[0].upto in arc:
                del self._served_arcs[packed]

    def clear(self) -> None:
        """Forget them all, since we have just joined."""
        self._served_arcs.clear()

    def arcs(self) -> list[tuple[Arc, int]]:
        """List the arcs whose owners count on us, and our distance from each."""
        since_s = self._clock.seconds() - DUTY_S
        for packed, duty in list(self._served_arcs.items()):
            if duty[2] < since_s:
                del self._served_arcs[packed]
        return [(arc, copies_above) for arc, copies_above, _ in self._served_arcs.values()]

    def surplus(self, own: Arc) -> list[tuple[Arc, int]]:
        """List where we keep what nobody counts on us for: arcs, with the most copies that such a record has there."""
        served_arcs = self.arcs()
        everything = [(gap, COPIES_MAX) for gap in gaps([own, *(arc for arc, _ in served_arcs)])]
        # A record of fewer copies than our distance is not what its owner compares with us.
        return everything + [(arc, copies_above) for arc, copies_above in served_arcs if arc != own]
