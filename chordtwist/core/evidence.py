"""Proofs of misbehaviour: two statements that one peer signed and that no honest one signs both.

Whoever holds such a proof needs to believe nobody: not who brings it, not a clock, not a majority. What it cannot tell
is whose key signed it; that is for the reader's own dial (`node.ring.judgement`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from itertools import chain

from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Malformed
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.prefixes import owner_of, prefix_of
from chordtwist.core.ring import RingId
from chordtwist.core.signed import Verify, fingerprint, unpack_holding, unpack_lease, unpack_table, unpack_table_opening

MARK_LENGTH = 8

DIGEST_LENGTH = 16
"""Addresses can be chosen: of eight bytes two sets with one digest are found in an hour."""

SENTENCE_S = 3600.0
"""How long a first conviction lasts: addresses change hands."""

SENTENCE_DOUBLINGS_MAX = 5

STALE_S = 600.0
"""So long after the end of a sentence nobody is asked for a proof against the same peer: others end it later."""

CONVICTIONS_MAX = 512
"""Peers convicted at one time, some 700 bytes each, 33 kB at most. Beyond them one of the prefix that has the most is
let go, and there of the address that has the most: whoever convicts ports of his own makes room among those, not where
he is guilty."""

SUMS, SUM_LENGTH = 32, 3
"""The convicted fall into so many parts by the hash of their addresses; each part is summed up in so many bytes."""

SALT_LENGTH = 8
"""Sums are of a salt besides, which each asker draws anew: else whoever has two ports more to be convicted at finds in
seconds two with whom a part sums up alike whether a third is convicted or not, and nobody tells of that one."""

SEEN_MAX = 4096
"""Proofs remembered by their marks after their sentence is over: none convicts twice."""


class Charge(IntEnum):
    """What a proof shows."""

    BROKEN_LEASE = 1
    EQUIVOCATION = 2
    BROKEN_RECEIPT = 3


WORDS = {
    Charge.BROKEN_LEASE: "its table leaves out a neighbour that it had promised to list",
    Charge.EQUIVOCATION: "it signed two tables as one",
    Charge.BROKEN_RECEIPT: "it has less of a record than it had signed to keep",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two signed statements that contradict one another: of a broken lease the lease and the table, of a broken receipt
    the receipt and what was said later.
    """

    charge: Charge
    first: bytes
    first_signature: bytes
    second: bytes
    second_signature: bytes

    @property
    def mark(self) -> bytes:
        """Name it in eight bytes."""
        parts = (bytes((self.charge,)), self.first, self.first_signature, self.second, self.second_signature)
        return sha256(b"".join(parts)).digest()[:MARK_LENGTH]


Statement = tuple[bytes, bytes]
"""What somebody signed, and the signature."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a proof comes to: whom it convicts, if `key` is its key, and in which epoch."""

    culprit: Peer
    key: bytes
    epoch: int
    charge: Charge
    victim: Peer | None = None


def judge(identity: Identity, evidence: Evidence, verify: Verify) -> Verdict:
    """Check a proof, its signatures included.

    @raise Malformed: it proves nothing, and why.
    """
    verdict = _JUDGES[evidence.charge](identity, evidence)
    statements = (evidence.first, evidence.first_signature), (evidence.second, evidence.second_signature)
    for body, signature in statements:
        if not verify(verdict.key, signature, body):
            raise Malformed(f"a proof against {verdict.culprit} that the key in it did not sign")
    return verdict


def _broken_lease(identity: Identity, evidence: Evidence) -> Verdict:
    stamp, neighbour, until_ms = unpack_lease(identity, evidence.first)
    table = unpack_table(identity, evidence.second)
    if stamp.peer != table.peer or stamp.epoch != table.epoch:
        raise Malformed(f"a lease of another run than that of the table of {table.peer}")
    if stamp.seq >= table.seq or table.clock_ms > until_ms:
        raise Malformed(f"a lease that did not bind {table.peer} when it signed that table")
    if not table.leaves_out(neighbour):
        raise Malformed(f"a table of {table.peer} that breaks no lease")
    return Verdict(table.peer, table.key, table.epoch, Charge.BROKEN_LEASE, neighbour)


def _equivocation(identity: Identity, evidence: Evidence) -> Verdict:
    first, first_key = unpack_table_opening(identity, evidence.first)
    second, key = unpack_table_opening(identity, evidence.second)
    if (first.peer, first.epoch, first.seq, first_key) != (second.peer, second.epoch, second.seq, key):
        raise Malformed(f"two tables of {second.peer} that are two statements")
    if evidence.first == evidence.second:
        raise Malformed(f"one table of {second.peer} twice")
    return Verdict(second.peer, key, second.epoch, Charge.EQUIVOCATION)


def _broken_receipt(identity: Identity, evidence: Evidence) -> Verdict:
    first, second = unpack_holding(identity, evidence.first), unpack_holding(identity, evidence.second)
    stamp, later = first.stamp, second.stamp
    if (stamp.peer, stamp.epoch, first.signer, first.key) != (later.peer, later.epoch, second.signer, second.key):
        raise Malformed(f"a receipt of another run, or record, than what {later.peer} said later")
    if stamp.seq >= later.seq or second.clock_ms >= first.until_ms:
        raise Malformed(f"a receipt that did not bind {later.peer} when it said more")
    if second.held >= first.held:
        raise Malformed(f"a receipt that {later.peer} has kept")
    return Verdict(later.peer, second.signer, later.epoch, Charge.BROKEN_RECEIPT)


_JUDGES: dict[Charge, Callable[[Identity, Evidence], Verdict]] = {
    Charge.BROKEN_LEASE: _broken_lease,
    Charge.EQUIVOCATION: _equivocation,
    Charge.BROKEN_RECEIPT: _broken_receipt,
}


def attesting(identity: Identity, statement: Statement, verdict: Verdict, verify: Verify) -> Peer:
    """Read whose signed table names the culprit with its key. Whether the table's own key is its owner's nobody can
    tell who does not dial.

    @raise Malformed: it does not, or is no such table.
    """
    body, signature = statement
    table = unpack_table(identity, body)
    if not verify(table.key, signature, body):
        raise Malformed(f"a table of {table.peer} that its key did not sign")
    if not table.names_key(verdict.culprit, fingerprint(verdict.key)):
        raise Malformed(f"a table of {table.peer} that does not name {verdict.culprit} with that key")
    return table.peer


@dataclass(frozen=True, slots=True)
class Conviction:
    """Who is convicted, by what, until when, by the steady clock."""

    verdict: Verdict
    evidence: Evidence
    until_s: float
    attested: tuple[Statement, ...] = ()
    """Tables of its neighbours, from before, that name its key."""


class Convictions:
    """Who is convicted at present, as one node sees it: once, whatever else is proved of him."""

    def __init__(self, ended: Callable[[Peer], None]) -> None:
        """@param ended: told of a peer whose sentence is over, or that had to make room, where nobody else is convicted
        in its place on the ring.
        """
        self._ended = ended
        self._held: dict[Peer, Conviction] = {}
        self._digest: bytes | None = None
        """`digest`, while it is known."""
        self._parts: list[dict[Peer, None]] = [{} for _ in range(SUMS)]
        self._digests = [NOBODY] * SUMS
        """Of each part."""
        self._seen: Bounded[bytes, None] = Bounded(SEEN_MAX)
        self._served: Bounded[Peer, float] = Bounded(SEEN_MAX)
        """Until when somebody was convicted last."""
        self._times: Bounded[RingId, int] = Bounded(SEEN_MAX)
        """How often somebody was convicted in a place: where an address is one place, at any of its ports."""

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._held

    def __iter__(self) -> Iterator[Conviction]:
        return iter(self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def of(self, peer: Peer) -> Conviction | None:
        """Look up the conviction of a peer."""
        return self._held.get(peer)

    def is_wanted(self, culprit: Peer, now_s: float) -> bool:
        """Whether a proof against a peer would be news: not while it is convicted, nor soon after."""
        return culprit not in self._held and now_s - self._served.get(culprit, -STALE_S) >= STALE_S

    def add(self, verdict: Verdict, evidence: Evidence, now_s: float, attested: tuple[Statement, ...] = ()) -> bool:
        """Convict; False where its culprit is convicted already, or this proof has had its sentence."""
        culprit, mark = verdict.culprit, evidence.mark
        if culprit in self._held or mark in self._seen:
            return False
        times = self._times.get(culprit.id, 0)
        until_s = now_s + SENTENCE_S * 2 ** min(times, SENTENCE_DOUBLINGS_MAX)
        self._times[culprit.id] = times + 1
        self._served[culprit] = until_s
        self._seen[mark] = None
        self._held[culprit] = Conviction(verdict, evidence, until_s, attested)
        part = _part_of(culprit)
        self._parts[part][culprit] = None
        self._has_changed(part)
        if len(self._held) > CONVICTIONS_MAX:
            counts, shared = Counter(map(_owner, self._held)), Counter(map(owner_of, self._held))
            self._end(max(self._held, key=lambda peer: (counts[_owner(peer)], shared[owner_of(peer)])))
        return True

    def expire(self, now_s: float) -> None:
        """End the sentences that are over."""
        for peer in [peer for peer, conviction in self._held.items() if conviction.until_s <= now_s]:
            self._end(peer)

    def digest(self) -> bytes:
        """Sum up in a few bytes who is convicted: alike at two nodes that convict the same ones."""
        if self._digest is None:
            self._digest = _digest(self._held)
        return self._digest

    def sums(self, salt: bytes) -> bytes:
        """Sum up part by part whom we convict, to be told of the parts in which somebody else convicts others."""
        return b"".join(_sum(salt, digest) for digest in self._digests)

    def unlike(self, salt: bytes, sums: bytes) -> list[Peer]:
        """List whom we convict of the parts in which somebody else convicts others, by his sums; all, by none."""
        theirs = (sums[at : at + SUM_LENGTH] for at in range(0, SUMS * SUM_LENGTH, SUM_LENGTH))
        parts = zip(self._parts, self._digests, theirs, strict=True)
        return [*chain.from_iterable(part for part, digest, summed in parts if summed != _sum(salt, digest))]

    def _has_changed(self, part: int) -> None:
        self._digest = None
        self._digests[part] = _digest(self._parts[part])

    def _end(self, peer: Peer) -> None:
        del self._held[peer]
        part = _part_of(peer)
        del self._parts[part][peer]
        self._has_changed(part)
        if not any(other.id == peer.id for other in self._held):
            self._ended(peer)


def _part_of(peer: Peer) -> int:
    return sha256(peer.packed).digest()[0] % SUMS


def _digest(peers: Iterable[Peer]) -> bytes:
    return sha256(b"".join(sorted(peer.packed for peer in peers))).digest()[:DIGEST_LENGTH]


def _sum(salt: bytes, digest: bytes) -> bytes:
    return sha256(salt + digest).digest()[:SUM_LENGTH]


NOBODY = _digest(())
"""The digest of those who convict nobody: newcomers."""


def _owner(peer: Peer) -> str:
    return prefix_of(peer) or owner_of(peer)
