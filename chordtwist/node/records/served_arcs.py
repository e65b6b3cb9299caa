"""Owners that count on this node: they compare their arcs with it as one of their replicas."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

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
        self._served_arcs: dict[bytes, tuple[Arc, int, float]] = {}
        """By owner: its arc, our distance from it, when it last compared."""

    def note(self, peer: Peer, arc: Arc, copies_above: int) -> None:
        """Note that an owner compares its arc with us now: the records with more than `copies_above` copies."""
        known = self._served_arcs.get(peer.packed)
        if known is not None and known[:2] == (arc, copies_above):
            self._served_arcs[peer.packed] = (arc, copies_above, self._clock.seconds())
            return
        # Arcs of owners do not overlap: who owns this one has taken over from whoever did.
        self._served_arcs = {
            packed: duty
            for packed, duty in self._served_arcs.items()
            if packed != peer.packed and arc.upto not in duty[0] and duty[0].upto not in arc
        }
        if len(self._served_arcs) >= DUTIES_MAX:
            del self._served_arcs[next(iter(self._served_arcs))]
        self._served_arcs[peer.packed] = (arc, copies_above, self._clock.seconds())

    def clear(self) -> None:
        """Forget them all, since we have just joined."""
        self._served_arcs.clear()

    def arcs(self) -> list[tuple[Arc, int]]:
        """List the arcs whose owners count on us, and our distance from each."""
        since_s = self._clock.seconds() - DUTY_S
        self._served_arcs = {packed: duty for packed, duty in self._served_arcs.items() if duty[2] >= since_s}
        return [(arc, copies_above) for arc, copies_above, _ in self._served_arcs.values()]

    def surplus(self, own: Arc) -> list[tuple[Arc, int]]:
        """List where we keep what nobody counts on us for: arcs, with the most copies that such a record has there."""
        served_arcs = self.arcs()
        everything = [(gap, COPIES_MAX) for gap in gaps([own, *(arc for arc, _ in served_arcs)])]
        # A record of fewer copies than our distance is not what its owner compares with us.
        return everything + [(arc, copies_above) for arc, copies_above in served_arcs if arc != own]
