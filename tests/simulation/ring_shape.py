"""The shape of a ring, by the properties that the Chord papers claim for it: plain to read, and slow."""

from __future__ import annotations

from collections.abc import Iterable

from chordtwist.core.peer import Peer
from chordtwist.core.ring import between
from chordtwist.simulation.invariants import RingCheck


def lost_properties(check: RingCheck) -> list[str]:
    """Which of Zave's properties the members' present pointers lack, in her words; none in a correct state."""
    following = {peer: _first_living(check, peer) for peer in check.members}
    rings = _cycles(following)
    on_ring = {peer for ring in rings for peer in ring}
    beside = set(following) - on_ring
    followed = set(following.values())
    unfollowed = {peer for peer in beside - followed if check.members[peer].linked}
    holds = {
        "at least one ring": bool(rings),
        "at most one ring": len(rings) <= 1,
        "connected appendages": all(_reaches(peer, following, on_ring) for peer in following),
        "ordered ring": not any(_skipped(ring, peer, following[peer]) for ring in rings for peer in ring),
        "ordered merges": not any(_skipped(on_ring, peer, following[peer]) for peer in beside),
        "ordered appendages": not any(
            _skipped(beside - {peer}, peer, following[peer]) for peer in beside if following[peer] not in on_ring
        ),
        "valid successor list": len(following) <= 1 or not unfollowed,
    }
    return [name for name, does in holds.items() if not does]


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


def _skipped(among: Iterable[Peer], peer: Peer, target: Peer | None) -> bool:
    return target is not None and any(between(peer.id, other.id, target.id) for other in among)
