"""What other nodes send: read by this node's clock, judged, and kept as far as it wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from chordtwist.core.claims import NOTHING_KEPT, Forgotten, Said
from chordtwist.core.errors import Malformed, Refused, StoreFull, Untruthful
from chordtwist.core.hearsay import Hearsay, weigh, without_end
from chordtwist.core.peer import Peer
from chordtwist.core.prefixes import owner_of
from chordtwist.core.quotas import STRANGERS_SHARE
from chordtwist.core.records import Record, RecordKind, Versioned, is_right, precedence, precedence_of, right_digest
from chordtwist.core.signed import verify_ed25519
from chordtwist.core.versions import AHEAD_MS_MAX, VersionClock
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.record_bodies import FORGOTTEN, versioned_from, without_ttl
from chordtwist.node.records.standstill import Standstill
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import Answer, Found, NotFound, RecordBody

DOUBTED = "doubted"
"""What is said of a plain record that another has put, and that would replace something here."""

WRONG = "wrong"
"""What is said of a record whose hash or signature does not fit it."""

DIGEST_BYTES = 32

RECORDS_PER_TURN = 16
"""Records of a batch looked at before others get the reactor: 2 to 4 ms when all are signed."""


class Taken(NamedTuple):
    """What became of a batch: those refused, by number, and why; those that changed what is kept here."""

    refused: dict[int, str]
    changed: list[int]


class Incoming:
    """Judges for one node."""

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        versions: VersionClock,
        standstill: Standstill,
        ttl_ms_max: int,
        is_neighbour: Callable[[Peer], bool],
    ) -> None:
        """@param is_neighbour: whether a peer may have a whole arc for us; others may leave less here."""
        self._ring = ring
        self._local_records = local_records
        self._versions = versions
        self._standstill = standstill
        self._ttl_ms_max = ttl_ms_max
        self._is_neighbour = is_neighbour

    def judge(self, body: RecordBody, peer: Peer | None) -> tuple[Versioned, str | None]:
        """Read what `peer` sent, and say what is wrong with it, in a word of `peer_messages.Refused`; None when nothing
        is.

        @raise Malformed: its kind is unknown.
        """
        time_ms = self._ring.neighbours_time_ms()
        versioned = self._read(body, time_ms)
        return versioned, self._fault(versioned, peer, time_ms)

    def _read(self, body: RecordBody, time_ms: int) -> Versioned:
        """Read what a body brings; its life counts from now. What a peer says is left of it is a claim: it is cut to
        what a node may store for, and to what its version can have left by now.
        """
        age_ms = time_ms - body.version_ms - AHEAD_MS_MAX
        ttl_ms_max = self._ttl_ms_max if age_ms <= 0 else max(1, self._ttl_ms_max - age_ms)
        return versioned_from(body, self._local_records.now_ms(), ttl_ms_max, self._ttl_ms_max)

    def _fault(self, versioned: Versioned, peer: Peer | None, time_ms: int) -> str | None:
        """Say what is wrong with what `peer` sent.

        Its version must not be too far ahead of the time that most neighbours have. By our own clock, should that be
        wrong by minutes, we would refuse everybody's puts, or keep what all others refuse.
        """
        if peer != self._ring.me and self._standstill.is_stale():
            return "stale"
        if not is_right(versioned, verify_ed25519):
            return WRONG
        if not self._versions.see(versioned.version, time_ms, versioned.key):
            return "clock"
        return None

    def is_stale(self) -> bool:
        """Whether this process stood still a moment ago: what is read now may have waited for long."""
        return self._standstill.is_stale()

    def has_room(self, versioned: Versioned, peer: Peer | None) -> bool:
        """Whether `peer` may leave this here; we ourselves always."""
        if peer is None or peer == self._ring.me:
            return True
        share = 1.0 if self._is_neighbour(peer) else STRANGERS_SHARE
        return self._local_records.has_room(owner_of(peer), versioned, share)

    def _without_end(self, versioned: Versioned, here: Versioned | None, peer: Peer | None) -> Versioned | None:
        """Take from what is brought what would end the plain version that is here: only its publisher may say so."""
        is_own = peer is None or peer == self._ring.me or versioned.version.publisher == peer.packed
        return versioned if is_own or versioned.kind is not RecordKind.PLAIN else without_end(versioned, here)

    def take(self, brought: Versioned, here: Versioned | None, peer: Peer | None) -> Deferred[None] | None:
        """Keep `brought` beside `here`, charged to whoever delivered it; see `LocalRecords.take`."""
        versioned = self._without_end(brought, here, peer)
        return None if versioned is None else self._local_records.take(versioned, here, self._payer(peer))

    def doubts(self, versioned: Versioned, here: Versioned | None, peer: Peer | None) -> bool:
        """Whether what `peer` brings is to be asked about before it takes the place of what is `here`. What neighbours
        bring where nothing stands is taken: a whole arc comes so to each new replica. But what we have put we know.
        """
        if peer is None or peer == self._ring.me:
            return False
        hearsay = weigh(versioned, here, versioned.version.publisher == peer.packed)
        is_ours = versioned.version.publisher == self._ring.me.packed
        return hearsay is Hearsay.DOUBTFUL or (hearsay is Hearsay.NEWS and (is_ours or not self._is_neighbour(peer)))

    def keep(self, body: RecordBody, peer: Peer | None, is_settled: bool = False) -> Deferred[None] | None:
        """Keep what another replica sent, as far as it wins; None when nothing changes.

        @param is_settled: whether it was asked about, where that is needed.
        @raise StoreFull: there is no room for it. @raise Refused: it is wrong, or from the future, or `DOUBTED`.
        @raise Malformed: its kind is unknown.
        """
        brought, fault = self.judge(body, peer)
        if fault is not None:
            raise Refused(fault)
        here = self._local_records.get(brought.key)
        if not is_settled and self.doubts(brought, here, peer):
            raise Refused(DOUBTED)
        versioned = self._without_end(brought, here, peer)
        if versioned is None:
            return None
        if not self.has_room(versioned, peer):
            raise StoreFull(f"{peer} has delivered as much as one address may")
        host, first = self._payer(peer), body.payer or None
        if first == host:
            first = None
        if first is not None and not self._local_records.has_carried_room(first, versioned, self._share_of(first)):
            raise StoreFull(f"{first} has had as much brought here as one address may")
        return self._local_records.take(versioned, here, host, first)

    async def keep_all(
        self, bodies: Sequence[RecordBody], peer: Peer, pauses: Pauses, was_asked_for: bool = True
    ) -> Taken:
        """Keep what another replica sent as `keep` does, some of it in a turn; done when all that was taken is safe.

        @raise Untruthful: unasked, it delivers what its hash or signature does not fit; nothing behind is looked at.
        @raise Malformed: the kind of one is unknown.
        """
        refused: dict[int, str] = {}
        waiting: dict[int, Deferred[None]] = {}
        try:
            for index, body in enumerate(bodies):
                if index % RECORDS_PER_TURN == RECORDS_PER_TURN - 1:
                    await pauses.pause()
                try:
                    written = self.keep(body, peer)
                except Refused as reason:
                    if not was_asked_for and str(reason) == WRONG:
                        raise Untruthful(
                            f"a hash or signature that does not fit its record: {body.key.hex()[:8]}"
                        ) from None
                    refused[index] = str(reason)
                else:
                    if written is not None:
                        waiting[index] = written
        finally:
            safe = DeferredList(list(waiting.values()), consumeErrors=True)
        for (index, _), (is_safe, outcome) in zip(waiting.items(), await safe, strict=True):
            if not is_safe:
                assert isinstance(outcome, Failure)
                outcome.trap(Refused)
                refused[index] = outcome.getErrorMessage()
        return Taken(refused, [index for index in waiting if index not in refused])

    def said(self, key: bytes, answer: Found | NotFound, value: bool) -> Said | None:
        """Weigh what a replica answered to a `Fetch` with or without `value`; None when it cannot be true."""
        body = answer.record if isinstance(answer, Found) else answer.tombstone
        if body is None:
            return NOTHING_KEPT
        is_live = isinstance(answer, Found)
        if is_live and self._standstill.is_stale():
            return None
        if body.key != key or bool(body.ttl_ms) != is_live:
            return None
        time_ms = self._ring.neighbours_time_ms()
        try:
            # Without its value a record is judged by what its tombstone would have to prove.
            versioned = self._read(body if value or not is_live else without_ttl(body), time_ms)
            kind = RecordKind(body.record_kind)
        except (Malformed, ValueError):
            return None
        digest = right_digest(versioned, verify_ed25519)
        if digest is None:
            return None
        # What storers took is read, also by a node whose time is far behind; its clock follows within limits only.
        self._versions.see(versioned.version, time_ms, key)
        if not is_live:
            return Said(precedence(versioned), ended=True)
        rank = precedence_of(kind, versioned.version, versioned.seal, digest)
        record = versioned if isinstance(versioned, Record) else None
        if kind is not RecordKind.PLAIN:
            return Said(rank, record)
        plain_digest = body.value if record is None else digest
        return Said(rank, record, digest=plain_digest) if len(plain_digest) == DIGEST_BYTES else None

    def word(self, key: bytes, answer: Answer) -> Said | Forgotten | None:
        """Weigh what a publisher answered that was asked for a version; None when it says nothing of `key`."""
        if isinstance(answer, (Found, NotFound)):
            return self.said(key, answer, value=False)
        return forgotten_by(answer)

    def publisher_of(self, packed: bytes) -> Peer | None:
        """Read the address in a version; None when it is none."""
        try:
            publisher: Peer = self._ring.identity.unpack(packed)
        except ValueError:
            return None
        return publisher

    def _share_of(self, host: str) -> float:
        """How much of the quota others may carry here for an address; a neighbour's puts belong here in any case."""
        ring = self._ring
        neighbours = ring.successors if ring.predecessor is None else (ring.predecessor, *ring.successors)
        return 1.0 if any(owner_of(neighbour) == host for neighbour in neighbours) else STRANGERS_SHARE

    def _payer(self, peer: Peer | None) -> str | None:
        return None if peer is None or peer == self._ring.me else owner_of(peer)


def forgotten_by(answer: Answer) -> Forgotten | None:
    """Read the answer of a publisher that has put nothing under a key, as far as it remembers; None of others."""
    if isinstance(answer, wire.Refused) and answer.reason == FORGOTTEN:
        return Forgotten(answer.version_ms)
    return None
