"""What a member has signed of the records it keeps, so that it never signs what contradicts that."""

from __future__ import annotations

from hashlib import sha256

from chordtwist.core.records import Record, Versioned, precedence_bytes
from chordtwist.core.signed import Held

RECEIPT_MS = 600_000
"""How long a receipt binds: members look again within that time, and it does not outlive what it names."""

RECEIPTS_GIVEN_MAX = 1024
"""Receipts that bind at one time; beyond them what is signed speaks of the moment only."""


NOTHING_HELD = Held()


def held(versioned: Versioned | None) -> Held:
    """Tell what somebody keeps that has this."""
    return NOTHING_HELD if versioned is None else Held(precedence_bytes(versioned), isinstance(versioned, Record))


def proof_of(versioned: Versioned | None, nonce: bytes) -> bytes:
    """Hash the 32 bytes that nobody can tell who has dropped the value; nothing of a tombstone."""
    return sha256(nonce + versioned.value).digest() if isinstance(versioned, Record) else b""


class Receipts:
    """The receipts that one member has given in its present epoch. Times are of its steady clock, in ms."""

    def __init__(self) -> None:
        self._given: dict[bytes, tuple[Held, int]] = {}

    def give(self, key: bytes, here: Held, left_ms: int, now_ms: int) -> int | None:
        """Promise that under `key` there is `here`, or something greater: answers until when. None where that would
        break an earlier promise: records are dropped for honest reasons too, and then nothing is signed.

        @param left_ms: how long it lives.
        """
        self._forget(now_ms)
        before, bound_ms = self._given.get(key, (NOTHING_HELD, now_ms))
        if here < before:
            return None
        if here == NOTHING_HELD or (len(self._given) >= RECEIPTS_GIVEN_MAX and key not in self._given):
            return now_ms
        until_ms = now_ms + max(0, min(left_ms, RECEIPT_MS))
        self._given[key] = here, max(until_ms, bound_ms)
        return until_ms

    def forget_all(self) -> None:
        """Forget all of them, since another epoch begins."""
        self._given.clear()

    def _forget(self, now_ms: int) -> None:
        for key in [key for key, (_, until_ms) in self._given.items() if until_ms < now_ms]:
            del self._given[key]
