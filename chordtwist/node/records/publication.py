"""One put of this node, from its arrival until its life ends."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from chordtwist.core.errors import ChordtwistError
from chordtwist.core.records import GRACE_MS, PutResult, Record, RecordKind, Versioned

PUT_WITHIN_S = 10.0
"""A put that is not confirmed by then is reported as not confirmed; it is tried on until its life ends."""

STAMPED_AGAIN_WITHIN_S = 5.0
"""So long after its arrival a put may be stamped again behind a version from our future: it came later. One that is
only looked after, or tried once more after minutes, may well be older than that version."""

OVERWRITTEN = "a later put through this node has taken its place before it was confirmed"
EXPIRED = "it expired before enough replicas answered"


class Publication:
    """What was put, and what has become of it."""

    def __init__(self, versioned: Versioned, expected_seq: int | None, now_s: float) -> None:
        """@param expected_seq: the seq to be replaced, of a signed one that is to take the place of no other."""
        self.versioned = versioned
        self.expected_seq = expected_seq
        self.give_up_s = now_s + PUT_WITHIN_S
        self.fresh_until_s = now_s + STAMPED_AGAIN_WITHIN_S
        self.result: Deferred[PutResult] | None = Deferred()
        """What whoever put it waits for; None when that has fired."""
        self.is_current = True
        """Whether this node looks after it: until a later put of its key, or until it is forgotten."""
        self.is_on_its_way = False
        """Whether somebody who was asked to keep it has not answered."""
        self.confirmed = False
        self.overtaken = False
        """Whether somebody else's put took its place while it was on its way, as a majority of its replicas says."""
        self.stamped_again = False
        self.retries = 0
        self.looks = 0
        self.due = 0
        """Which of its places in the queue counts: the last one."""

    @property
    def is_plain(self) -> bool:
        """Whether its version decides what it replaces, and what replaces it."""
        return self.versioned.kind is RecordKind.PLAIN

    def is_over(self, now_ms: int) -> bool:
        """Whether its life has ended."""
        return self.versioned.expiry_ms <= now_ms

    def has_ended(self, record: Record, now_ms: int) -> bool:
        """Whether `record`, which a replica still has, is what was put here and has lived its life."""
        return self.versioned.version == record.version and self.is_over(now_ms) and not self._is_outlived_by(record)

    def exact(self, record: Record) -> Record:
        """Give a replica's record the exact end of its life, if it is what was put here."""
        exact_ms = self.versioned.expiry_ms
        if self.versioned.version != record.version or record.expiry_ms <= exact_ms or self._is_outlived_by(record):
            return record
        return replace(record, expiry_ms=exact_ms)

    def fail(self, error: ChordtwistError) -> None:
        """Tell whoever waits for it, if nothing was told yet."""
        result, self.result = self.result, None
        if result is not None:
            result.errback(error)

    def succeed(self, copies: int, now_ms: int) -> None:
        """Tell whoever waits for it that so many copies are confirmed, if nothing was told yet."""
        result, self.result = self.result, None
        if result is not None:
            versioned = self.versioned
            ttl_ms = max(0, versioned.expiry_ms - now_ms) if isinstance(versioned, Record) else 0
            result.callback(PutResult(copies, versioned.copies, versioned.version, ttl_ms))

    def _is_outlived_by(self, record: Record) -> bool:
        """Whether a replica rightly has `record` for longer than it was put for here: of content and signed records the
        longest life wins, which an earlier put has given it. What the way adds to a life is less than the grace.
        """
        return record.kind is not RecordKind.PLAIN and record.expiry_ms > self.versioned.expiry_ms + GRACE_MS
