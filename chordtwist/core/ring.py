"""Positions on the identifier circle, and the pieces of it.

The circle has ``2**ID_BITS`` positions, numbered clockwise (Chord paper, section 4.1). `between` and `Arc` only
compare, so they hold on a circle of any size; the tests try them exhaustively on one of 16.
"""

from __future__ import annotations

from dataclasses import dataclass

ID_BITS = 256
"""SHA-256 places nodes and keys."""

RING_SIZE = 1 << ID_BITS

RingId = int
"""An integer in ``0 .. RING_SIZE - 1``: the place of a node or of a key."""


def between(a: RingId, x: RingId, b: RingId) -> bool:
    """Tell whether `x` lies strictly inside, going clockwise from `a` to `b`; when ``a == b``, all but `a` does."""
    if a < b:
        return a < x < b
    return x > a or x < b if a != b else x != a


def distance(a: RingId, b: RingId) -> int:
    """How many positions clockwise from `a` to `b`: ``0 .. RING_SIZE - 1``."""
    return (b - a) % RING_SIZE


def finger_start(me: RingId, k: int) -> RingId:
    """Where finger `k` begins: ``me + 2**k``. Counted from 0; the Chord paper (section 4.3) counts from 1."""
    return (me + (1 << k)) % RING_SIZE


@dataclass(frozen=True, slots=True)
class Arc:
    """The piece of the circle clockwise from `after`, which is excluded, up to `upto`, which is included.

    Equal ends mean the whole circle. A member owns ``Arc(predecessor.id, me.id)``.
    """

    after: RingId
    upto: RingId

    def __contains__(self, x: RingId) -> bool:
        return x == self.upto or between(self.after, x, self.upto)

    @property
    def length(self) -> int:
        """How many positions the arc holds: ``1 .. RING_SIZE``."""
        return distance(self.after, self.upto) or RING_SIZE


def position_bytes(position: RingId) -> bytes:
    """Pack a position as it travels: 32 bytes, big-endian."""
    return position.to_bytes(ID_BITS // 8, "big")


def position_from_bytes(raw: bytes) -> RingId:
    """Read the position that 32 big-endian bytes name."""
    return int.from_bytes(raw, "big")
