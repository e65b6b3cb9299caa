"""Scenes for tests: peers whose place can be read off their address, tables, and routing states."""

from __future__ import annotations

from collections.abc import Iterable

from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.ring import ID_BITS, RingId
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Signer, fingerprint
from chordtwist.core.table import UNPROVED, Table
from chordtwist.simulation.signer import SimulatedSigner

PLACE_BITS = 16
"""Test peers stand at multiples of ``2**(ID_BITS - PLACE_BITS)``."""

PORT = 6401


def at(place: int) -> RingId:
    """The position of a place: the circle has 65,536 of them, clockwise."""
    return (place % (1 << PLACE_BITS)) << (ID_BITS - PLACE_BITS)


class PlacedIdentity(Identity):
    """Places by address instead of by its hash: 10.0.a.b stands at place ``256 * a + b``, whatever its port."""

    def _unpack(self, packed: bytes) -> Peer:
        peer = super()._unpack(packed)
        return Peer(at(int.from_bytes(packed[2:4], "big")), peer.host, peer.port, packed)


IDENTITY = PlacedIdentity("test", Policy.IP)


def peer(place: int, port: int = PORT) -> Peer:
    """The peer at a place, 0 to 65,535."""
    return IDENTITY.peer(f"10.0.{place >> 8}.{place & 255}", port)


def peers(*places: int) -> tuple[Peer, ...]:
    """The peers at these places, in this order."""
    return tuple([peer(place) for place in places])


def places(found: Iterable[Peer]) -> list[int]:
    """The places at which peers stand: what an assertion about peers is readable in."""
    return [peer.id >> (ID_BITS - PLACE_BITS) for peer in found]


def signer(of: Peer) -> Signer:
    """The key of a test peer."""
    return SimulatedSigner(of.packed)


def table(
    owner: int,
    successors: Iterable[int] = (),
    predecessor: int | None = None,
    whole: bool = False,
    fingers: Iterable[int] = (),
    epoch: int = 1,
    seq: int = 1,
    time_ms: int = 0,
) -> Table:
    """The table of the peer at `owner`; all other peers by their places too."""
    me = peer(owner)
    listed = peers(*successors)
    neighbours = len(listed) + (predecessor is not None)
    return Table(
        peer=me,
        epoch=epoch,
        seq=seq,
        time_ms=time_ms,
        key=signer(me).public,
        whole=whole,
        predecessor=None if predecessor is None else peer(predecessor),
        successors=listed,
        fingers=peers(*fingers),
        fingerprints=(UNPROVED,) * neighbours,
    )


def routing(
    me: int,
    successors: Iterable[int] = (),
    predecessor: int | None = None,
    whole: bool = False,
    entries_max: int = 3,
) -> Routing:
    """The routing state of a member in the midst of things."""
    state = Routing(peer(me), entries_max)
    state.successors = peers(*successors)
    state.predecessor = None if predecessor is None else peer(predecessor)
    state.whole = whole
    return state


def whole_ring(*members: int) -> dict[int, Table]:
    """The tables of all members of a small ring in its ideal state, by place; `members` in clockwise order."""
    count = len(members)
    return {
        place: table(
            place,
            [members[(index + step) % count] for step in range(1, count)],
            members[index - 1] if count > 1 else None,
            whole=True,
        )
        for index, place in enumerate(members)
    }


def large_ring(entries: int, *members: int) -> dict[int, Table]:
    """The same for a ring too large for whole lists: `entries` successors each."""
    count = len(members)
    return {
        place: table(place, [members[(index + step) % count] for step in range(1, entries + 1)], members[index - 1])
        for index, place in enumerate(members)
    }


def fingerprint_of(place: int) -> bytes:
    """How a table names the key of the peer at a place."""
    return fingerprint(signer(peer(place)).public)
