"""Puzzles that cost whoever is to solve them processor time, and whoever sets them neither that nor memory.

A puzzle is a keyed hash of the place it is set for and of the time: nobody else can use its solution, nobody can solve
it beforehand, and it is known again without having been kept. To solve it is to find a number with which its SHA-256
opens with so many zero bits; each bit doubles the work (`now` is an argument).
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from struct import Struct

from chordtwist.core.ring import RingId

WINDOW_S = 300
"""A solution is good until the window of time after the one in which the puzzle was set ends: 5 to 10 minutes."""

PUZZLE_BYTES = 20
BITS_MAX = 22
"""The hardest puzzle: about four million tries, some seconds of a processor in Python."""

_HEAD = b"chordtwist-puzzle"
_WINDOW = Struct(">I")
_NUMBER = Struct(">Q")


def puzzle(secret: bytes, place: RingId, now: float) -> bytes:
    """Set the puzzle for a place now, as whoever has the secret does."""
    return _of_window(secret, place, int(now // WINDOW_S))


def good_until(secret: bytes, place: RingId, set_before: bytes, now: float) -> float:
    """Until when a solution of that puzzle is good; 0 when it was not set for this place, or too long ago."""
    if len(set_before) != PUZZLE_BYTES:
        return 0.0
    window = _WINDOW.unpack_from(set_before)[0]
    ends_at = float((window + 2) * WINDOW_S)
    is_ours = compare_digest(set_before, _of_window(secret, place, window))
    return ends_at if is_ours and now < ends_at and window <= now // WINDOW_S else 0.0


def _of_window(secret: bytes, place: RingId, window: int) -> bytes:
    counted = _WINDOW.pack(window)
    keyed = hmac_digest(secret, _HEAD + counted + place.to_bytes(32, "big"), sha256)
    return counted + keyed[: PUZZLE_BYTES - len(counted)]


def solves(set_before: bytes, bits: int, number: int) -> bool:
    """Whether that number is a solution."""
    return int.from_bytes(sha256(_HEAD + set_before + _NUMBER.pack(number)).digest()) >> (256 - bits) == 0


def solve(set_before: bytes, bits: int, first: int, tries: int) -> int | None:
    """Find the first solution among so many numbers from `first` on, or None. Takes about a microsecond for each."""
    opening = sha256(_HEAD + set_before)
    pack, below = _NUMBER.pack, 1 << (256 - bits)
    for number in range(first, first + tries):
        tried = opening.copy()
        tried.update(pack(number))
        if int.from_bytes(tried.digest()) < below:
            return number
    return None
