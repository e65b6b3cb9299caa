"""A hash table in memory behind `IDht`, for tests of doors; it passes the same contract as a node."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from chordtwist.core.errors import Refused
from chordtwist.core.records import (
    PutResult,
    Record,
    Seal,
    Tombstone,
    Version,
    Versioned,
    is_right,
    kind_of,
    present,
    wins,
)
from chordtwist.core.signed import verify_ed25519
from chordtwist.node.interfaces import IDht

T = TypeVar("T")

DEFAULT_TTL_S = 3600.0
MAX_TTL_S = 86_400.0
COPIES = 4


@implementer(IDht)
class MemoryDht:
    """Answers at once, except while `held` is a list: then answers wait in it until `release`."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._versioned: dict[bytes, Versioned] = {}
        self._writes = 0
        self.held: list[Callable[[], None]] | None = None
        self.left = 0
        self.copies_confirmed: int | None = None
        self.puts: list[tuple[bytes, bytes, float | None, int | None]] = []
        self.state: dict[str, object] = {"member": True, "records": 0}

    def put(
        self,
        key: bytes,
        value: bytes,
        ttl_s: float | None = None,
        copies: int | None = None,
        seal: Seal | None = None,
    ) -> Deferred[PutResult]:
        self.puts.append((key, value, ttl_s, copies))
        ttl_ms = int(min(DEFAULT_TTL_S if ttl_s is None else ttl_s, MAX_TTL_S) * 1000)
        wanted = copies or COPIES
        kind = kind_of(key, value, seal)
        return self._keep(Record(key, value, kind, self._version(), self._now_ms() + ttl_ms, wanted, seal), seal)

    def get(self, key: bytes) -> Deferred[Record | None]:
        versioned = present(self._versioned.get(key), self._now_ms())
        return self._answer(versioned if isinstance(versioned, Record) else None)

    def delete(self, key: bytes, seal: Seal | None = None) -> Deferred[PutResult]:
        old = present(self._versioned.get(key), self._now_ms())
        until_ms = self._now_ms() + int(MAX_TTL_S * 1000) if old is None else old.expiry_ms
        digest = b"" if seal is None else sha256(b"").digest()
        return self._keep(Tombstone(key, self._version(), until_ms, COPIES, seal, digest), seal)

    def status(self) -> dict[str, object]:
        return self.state

    def leave(self) -> Deferred[None]:
        self.left += 1
        return self._answer(None)

    def release(self) -> None:
        """Give the answers that wait, and from now on answer at once."""
        held, self.held = self.held or [], None
        for give in held:
            give()

    def _keep(self, versioned: Versioned, seal: Seal | None) -> Deferred[PutResult]:
        old = present(self._versioned.get(versioned.key), self._now_ms())
        if seal is not None and seal.expected_seq is not None:
            code = old.seal.seq if old is not None and old.seal is not None else 0
            if code != seal.expected_seq:
                return fail(Refused(f"seq {code} stands there"))
        if not is_right(versioned, verify_ed25519):
            return fail(Refused("the seal does not hold"))
        if old is not None and not wins(versioned, old):
            return fail(Refused("a better record stands there"))
        self._versioned[versioned.key] = versioned
        ttl_ms = 0 if isinstance(versioned, Tombstone) else versioned.expiry_ms - self._now_ms()
        confirmed = self.copies_confirmed or versioned.copies
        return self._answer(PutResult(confirmed, versioned.copies, versioned.version, ttl_ms))

    def _answer(self, answer: T) -> Deferred[T]:
        if self.held is None:
            return succeed(answer)
        given: Deferred[T] = Deferred()
        self.held.append(partial(given.callback, answer))
        return given

    def _version(self) -> Version:
        self._writes += 1
        return Version(self._now_ms() + self._writes, b"")

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)
