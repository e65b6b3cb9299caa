"""The shape of a ring, by the properties that the Chord papers claim for it: plain to read, and slow."""

from __future__ import annotations

from chordtwist.core.peer import Peer
from chordtwist.core.ring import between
from chordtwist.simulation.invariants import RingCheck


def lost_properties(check: RingCheck) -> list[str]:
    """Which of Zave's properties the members' present pointers lack, in her words; none in a correct state."""
    following = {peer: _first_living(check, peer) for peer in check.members}
    rings = _cycles(following)
    on_ring = {peer for ring in rings for peer in ring}
    lost = []
    if not rings:
        lost.append("at least one ring")
    if len(rings) > 1:
        lost.append("at most one ring")
    if any(not _reaches(peer, following, on_ring) for peer in following):
        lost.append("connected appendages")
    if any(_skipped(ring, peer, following[peer]) for ring in rings for peer in ring):
        lost.append("ordered ring")
    if any(_skipped(on_ring, peer, following[peer]) for peer in following if peer not in on_ring):
        lost.append("ordered merges")
    if any(
        _skipped(set(following) - on_ring, peer, following[peer], but=peer) and following[peer] not in on_ring
        for peer in following
        if peer not in on_ring
    ):
        lost.append("ordered appendages")
    followed = set(following.values())
    if len(following) > 1 and any(
        pointers.linked and peer not in followed and peer not in on_ring for peer, pointers in check.members.items()
    ):
        lost.append("valid successor list")
    return lost


def _first_living(check: RingCheck, peer: Peer) -> Peer | None:
    return next((entry for entry in check.members[peer].successors if entry in check.members), None)


def _cycles(following: dict[Peer, Peer | None]) -> list[list[Peer]]:
    rings: list[list[Peer]] = []
    for start in following:
        path: list[Peer] = []
        peer: Peer | None = start
        while peer is not None and peer not in path:
            path.append(peer)
            peer = following[peer]
        if peer == start and not any(start in ring for ring in rings):
            rings.append(path)
    return rings


def _reaches(peer: Peer | None, following: dict[Peer, Peer | None], on_ring: set[Peer]) -> bool:
    for _ in following:
        if peer is None or peer in on_ring:
            break
        peer = following[peer]
    return peer in on_ring


def _skipped(among: set[Peer] | list[Peer], peer: Peer, target: Peer | None, but: Peer | None = None) -> bool:
    return target is not None and any(between(peer.id, other.id, target.id) for other in among if other != but)
