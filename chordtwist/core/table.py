"""The routing table a node shows to everybody who asks: its whole routing state, never an answer to a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, between, distance

FINGERPRINT_LENGTH = 8
UNPROVED = bytes(FINGERPRINT_LENGTH)
"""The fingerprint of a neighbour that the table's owner knows from others' tables only."""

FINGERS_MAX = 64
"""Different fingers of one table. Each begins twice as far away as the one before, behind the last successor: for more
of them two ids would have to agree in their first 64 bits."""


@dataclass(frozen=True, slots=True)
class Table:
    """What one member says of itself and its neighbours at one moment.

    `seq` is new with every signature of `peer` in its `epoch`; `time_ms` is the wall time of `peer`, `clock_ms` its
    steady time since the epoch began; `fingerprints` are of the keys that the predecessor and then the successors were
    proved with, in that order. `gone`: whom it has promised to list (`core.leases`) and does not list any more.
    """

    peer: Peer
    epoch: int
    seq: int
    time_ms: int
    key: bytes
    whole: bool
    predecessor: Peer | None
    successors: tuple[Peer, ...]
    fingers: tuple[Peer, ...]
    fingerprints: tuple[bytes, ...]
    gone: tuple[Peer, ...] = ()
    clock_ms: int = 0

    @property
    def extended(self) -> tuple[Peer, ...]:
        """Its owner, the successors, and when they are whole its owner again, with whom the list closes (Zave)."""
        return (self.peer, *self.successors, self.peer) if self.whole else (self.peer, *self.successors)

    def skips(self, peer: Peer) -> bool:
        """Whether a peer lies between two neighbours of the extended list, unnamed: no principal member (Zave)."""
        return any(between(one.id, peer.id, other.id) for one, other in pairwise(self.extended)) and (
            peer not in self.extended
        )

    def everybody(self) -> tuple[Peer, ...]:
        """All peers the table names, its owner first; the same peer may stand there twice."""
        before = () if self.predecessor is None else (self.predecessor,)
        return (self.peer, *self.successors, *before, *self.fingers)

    @property
    def neighbours(self) -> tuple[Peer, ...]:
        """The predecessor, where one is known, and then the successors: in the order of `fingerprints`."""
        return self.successors if self.predecessor is None else (self.predecessor, *self.successors)

    def lists(self, peer: Peer) -> bool:
        """Whether `peer` stands in it as a neighbour on the ring."""
        return peer == self.predecessor or peer in self.successors

    def names_key(self, peer: Peer, known: bytes) -> bool:
        """Whether it names `peer` as a neighbour that was proved with the key of that fingerprint."""
        # Bytes first: a judge looks through all tables at hand, and few of them name the key.
        return known in self.fingerprints and (peer, known) in zip(self.neighbours, self.fingerprints, strict=True)

    def leaves_out(self, peer: Peer) -> bool:
        """Whether it reaches over the place of `peer`, on either side of its owner, and says nothing of it."""
        if peer == self.peer or self.lists(peer) or peer in self.gone:
            return False
        if self.whole:
            return True
        before, me = self.predecessor, self.peer
        if before is not None and between(before.id, peer.id, me.id):
            return True
        return bool(self.successors) and between(me.id, peer.id, self.successors[-1].id)

    def members_estimate(self) -> float:
        """How many members the ring has, judged by how much of it the successors span; exact when `whole`."""
        if self.whole or not self.successors:
            return len(self.successors) + 1
        return members_by_density(self.peer, self.successors)


def members_by_density(before: Peer, members: Sequence[Peer]) -> float:
    """Estimate how many members a ring has in which these stand behind `before`, one behind another, at least one."""
    return len(members) * RING_SIZE / (distance(before.id, members[-1].id) or RING_SIZE)
