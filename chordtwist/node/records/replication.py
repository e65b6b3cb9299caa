"""Put and get over replicas, for one node: the hash table that doors see, and what others are answered about records.

Read in this order: `reads` (a majority of replicas), `publishing` (what this node has put), `repair` (every record at
its replicas while members come and go) with `reconciling` (one arc, one peer), `answering` (those who do the same) and
`stray_records` (what is kept at the wrong place), `local_records` (what this node keeps).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from random import Random

from msgspec.structs import replace
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chordtwist.core import errors
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import (
    KEY_BYTES,
    PutResult,
    Record,
    RecordKind,
    Seal,
    Tombstone,
    Versioned,
    is_right,
    kind_of,
    position_of,
    precedence,
)
from chordtwist.core.signed import verify_ed25519
from chordtwist.core.versions import VersionClock
from chordtwist.node.interfaces import IRecordStore, IRing
from chordtwist.node.records.answering import Answering
from chordtwist.node.records.incoming import Incoming
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.publishing import Publisher
from chordtwist.node.records.reads import HEDGE_AFTER_S, Reader
from chordtwist.node.records.reconciling import Reconciling
from chordtwist.node.records.record_bodies import body_of, version_body_of
from chordtwist.node.records.repair import Repair
from chordtwist.node.records.served_arcs import ServedArcs
from chordtwist.wire.peer_messages import (
    VALUE_BYTES_MAX,
    Answer,
    Digest,
    Fetch,
    Found,
    HandOver,
    HaveList,
    NotFound,
    NotMine,
    Pulling,
    Question,
    Refused,
    Store,
    StoreAll,
    Stored,
    StoredAll,
)

RECORDS_PER_TURN = 64
"""Records of a batch looked at before others get the reactor: 6 ms when all are signed."""


class Replication:
    """What a node does about records; `Node` passes it what concerns it."""

    def __init__(
        self,
        ring: IRing,
        store: IRecordStore,
        clock: IReactorTime,
        rng: Random,
        parameters: Parameters,
        default_ttl_s: float,
        max_ttl_s: float,
        quota: Quota | None = None,
        is_neighbour: Callable[[Peer], bool] = lambda peer: True,
    ) -> None:
        """@param is_neighbour: whether a peer may have a whole arc for us; others may leave less here."""
        self._ring = ring
        self._clock = clock
        self._parameters = parameters
        self._default_ttl_s = default_ttl_s
        self._ttl_ms_max = int(max_ttl_s * 1000)
        self._leaving = False
        self.versions = VersionClock(ring.me.packed)
        self._pauses = Pauses(clock)
        self.local_records = LocalRecords(store, clock, self._pauses, quota or Quota())
        locating = Locating(ring, clock)
        self._incoming = Incoming(ring, self.local_records, self.versions, self._ttl_ms_max, is_neighbour)
        self.reader = Reader(ring, self.local_records, locating, self._incoming, clock, parameters.replication)
        self.publisher = Publisher(ring, self.local_records, locating, self._incoming, self.versions, clock, rng)
        self.reconciling = Reconciling(ring, self.local_records, self._incoming)
        served_arcs = ServedArcs(clock)
        self._answering = Answering(self.local_records, served_arcs)
        self.repair = Repair(
            ring,
            self.local_records,
            locating,
            self.reconciling,
            served_arcs,
            clock,
            self._pauses,
            rng,
            parameters.replication,
        )
        self._answers: dict[type[Question], Callable[..., Deferred[Answer]]] = {
            Fetch: lambda peer, question: succeed(self._fetch(question)),
            Store: self._store,
            StoreAll: lambda peer, question: Deferred.fromCoroutine(self._store_all(peer, question)),
            Digest: lambda peer, question: Deferred.fromCoroutine(self._answering.compare(peer, question)),
            HaveList: self._list_missing,
            HandOver: lambda peer, question: Deferred.fromCoroutine(self._answering.hand_out(question)),
        }

    # Its node's life

    def start(self) -> None:
        """Look after records from now on."""
        self.local_records.start()
        self.repair.start()

    def stop(self) -> None:
        """End every timer at once."""
        self.repair.stop()
        self.publisher.stop()
        self.reader.stop()
        self._pauses.stop()
        self.local_records.stop()

    def joined(self, old_owner: Peer | None) -> None:
        """The node is a member now; until its arc has come from `old_owner` it says that it is pulling it."""
        self._leaving = False
        self.repair.joined(old_owner)

    def ring_changed(self) -> None:
        """Another predecessor, other successors, or another standing. Costs next to nothing."""
        self.repair.ring_changed()

    def hand_over(self) -> Deferred[None]:
        """Before leaving: others get what only this node has. From now on it takes nothing more. May take long: the
        caller sets the limit.
        """
        self._leaving = True
        return Deferred.fromCoroutine(self.repair.hand_over(self.publisher.on_their_way))

    def status(self) -> dict[str, object]:
        """Plain figures, for `IDht.status`."""
        store = self.local_records.store
        return {
            "records": store.records(),
            "bytes": store.record_bytes(),
            "tombstones": store.tombstones(),
            "published": len(self.publisher),
            "pulling": self.repair.pulling,
            "repair": {
                "rounds": self.repair.rounds,
                "sent": self.reconciling.sent,
                "fetched": self.reconciling.fetched,
                "dropped": self.repair.stray_records.dropped,
            },
        }

    # What doors ask

    def put(
        self, key: bytes, value: bytes, ttl_s: float | None = None, copies: int | None = None, seal: Seal | None = None
    ) -> Deferred[PutResult]:
        """`IDht.put`. Stamped now; its life counts from now; `get` here sees it when this returns."""
        if len(key) != KEY_BYTES or not 0 < len(value) <= VALUE_BYTES_MAX:
            return fail(errors.Refused(f"a key has {KEY_BYTES} bytes, a value 1 to {VALUE_BYTES_MAX}"))
        ttl_ms = min(self._ttl_ms_max, max(1, int((ttl_s or self._default_ttl_s) * 1000)))
        record = Record(
            key,
            value,
            kind_of(key, value, seal),
            self.versions.next(self._ring.neighbours_time_ms(), key),
            self.local_records.now_ms() + ttl_ms,
            self._copies(copies),
            None if seal is None else replace(seal, expected_seq=None),
        )
        return self._publish(record, seal)

    def delete(self, key: bytes, seal: Seal | None = None) -> Deferred[PutResult]:
        """`IDht.delete`: a tombstone takes the record's place. Of a signed record `seal` is over an empty value."""
        return self.get(key).addCallback(self._delete, key, seal)

    def _delete(self, found: Record | None, key: bytes, seal: Seal | None) -> Deferred[PutResult]:
        tombstone = Tombstone(
            key,
            self.versions.next(self._ring.neighbours_time_ms(), key),
            # Whatever it ends may have longer copies that nobody knows of now; none outlives the maximum.
            self.local_records.now_ms() + self._ttl_ms_max,
            self._copies(None if found is None else found.copies),
            None if seal is None else replace(seal, expected_seq=None),
            b"" if seal is None else sha256(b"").digest(),
        )
        return self._publish(tombstone, seal)

    def _publish(self, versioned: Versioned, seal: Seal | None) -> Deferred[PutResult]:
        if seal is not None and not is_right(versioned, verify_ed25519):
            return fail(errors.Refused("the key is not that of the public key and salt, or the signature is wrong"))
        here = self.local_records.get(versioned.key)
        if here is not None and isinstance(here, Record) and here.kind > _kind(versioned):
            return fail(errors.Refused("a record that proves its key stands there: nothing else may replace it"))
        return self.publisher.publish(versioned, None if seal is None else seal.expected_seq)

    def get(self, key: bytes) -> Deferred[Record | None]:
        """`IDht.get`: what a majority of the replicas has; without a question where this node's own word is good."""
        here = self.local_records.get(key)
        if isinstance(here, Record) and here.kind is RecordKind.CONTENT:
            return succeed(self.publisher.exact(here))
        in_step, arc = self.repair.in_step, self.repair.arc
        if in_step is not None and arc is not None and here is not None:
            position = position_of(key)
            if position in in_step and position in arc:
                return succeed(self._living(here if isinstance(here, Record) else None))
        unconfirmed = self.publisher.unconfirmed(key)
        if unconfirmed is None:
            return self.reader.read(key).addCallback(self._living)
        # What was put here a moment ago, unless the replicas turn out to keep a record that beats it by its kind.
        read = self.reader.read(key).addTimeout(HEDGE_AFTER_S, self._clock, lambda failure, _: None)
        return read.addCallback(self._unless_beaten, unconfirmed)

    def _living(self, record: Record | None) -> Record | None:
        if record is None or record.expiry_ms <= self.local_records.now_ms() or self.publisher.ended(record):
            return None
        return self.publisher.exact(record)

    def _unless_beaten(self, found: Record | None, ours: Versioned) -> Record | None:
        if found is not None and found.kind > _kind(ours):
            return self._living(found)
        return self._living(ours if isinstance(ours, Record) else None)

    def _copies(self, wanted: int | None) -> int:
        return min(wanted or self._parameters.replication, self._parameters.successors)

    # What other nodes ask

    def answer(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """Answer a question about records; most answers are there at once.

        @raise Malformed: it is none.
        """
        answer = self._answers.get(type(question))
        if answer is None:
            raise errors.Malformed(f"a {type(question).__name__} is no question for a node")
        return answer(peer, question)

    def _fetch(self, question: Fetch) -> Answer:
        arc = self.repair.arc
        is_mine = arc is None or position_of(question.key) in arc
        if question.rank == 0 and not is_mine and (before := self._ring.predecessor) is not None:
            return NotMine(before.packed)
        versioned, now_ms = self.local_records.get(question.key), self.local_records.now_ms()
        if isinstance(versioned, Record):
            return Found(body_of(versioned, now_ms) if question.value else version_body_of(versioned, now_ms))
        if versioned is not None:
            return NotFound(body_of(versioned, now_ms))
        return Pulling() if self.repair.pulling and is_mine else NotFound()

    def _store(self, peer: Peer, question: Store) -> Deferred[Answer]:
        arc = self.repair.arc
        if self._leaving:
            return succeed(Refused("leaving"))
        if question.rank == 0 and arc is not None and position_of(question.record.key) not in arc:
            before = self._ring.predecessor
            assert before is not None  # an arc without one is the whole ring
            return succeed(NotMine(before.packed))
        versioned = self._incoming.read(question.record)
        fault = self._incoming.fault(versioned)
        if fault is not None:
            return succeed(Refused(fault, max(0, self._ring.neighbours_time_ms()) if fault == "clock" else 0))
        here = self.local_records.get(versioned.key)
        refusal = _refusal(versioned, here, question.expected_seq)
        if refusal is not None:
            return succeed(refusal)
        if not self._incoming.has_room(versioned, peer):
            return succeed(Refused("full"))
        written = self._incoming.take(versioned, here, peer)
        return succeed(Stored()) if written is None else written.addCallbacks(lambda _: Stored(), _full)

    def _list_missing(self, peer: Peer, question: HaveList) -> Deferred[Answer]:
        if self._leaving and not question.both:
            # Whoever asks wants to drop what is here: it may be the one that was just handed it.
            return succeed(Refused("leaving"))
        return Deferred.fromCoroutine(self._answering.list_missing(question))

    async def _store_all(self, peer: Peer, question: StoreAll) -> Answer:
        if self._leaving:
            return Refused("leaving")
        refused: list[int] = []
        waiting: list[tuple[int, Deferred[None]]] = []
        for index, body in enumerate(question.records):
            if index % RECORDS_PER_TURN == RECORDS_PER_TURN - 1:
                await self._pauses.pause()
            try:
                written = self._incoming.keep(body, peer)
            except errors.Refused:
                refused.append(index)
            else:
                if written is not None:
                    waiting.append((index, written))
                    if self.repair.arc is not None and position_of(body.key) in self.repair.arc:
                        self.repair.soon()  # a former keeper brings what our replicas lack as well
        outcomes = await DeferredList([written for _, written in waiting], consumeErrors=True)
        refused += [index for (index, _), (is_safe, _) in zip(waiting, outcomes, strict=True) if not is_safe]
        return StoredAll(sorted(refused))


def _kind(versioned: Versioned) -> RecordKind:
    if isinstance(versioned, Record):
        return versioned.kind
    return RecordKind.PLAIN if versioned.seal is None else RecordKind.SIGNED


def _refusal(versioned: Versioned, here: Versioned | None, expected_seq: int | None) -> Refused | None:
    """Why `versioned` is not taken where `here` stands; None when it is, also when it is there already."""
    if expected_seq is not None:
        stands = 0 if here is None or here.seal is None else here.seal.seq
        is_there = here is not None and precedence(here) == precedence(versioned)
        if stands != expected_seq and not is_there:
            return Refused("seq")
    if here is None:
        return None
    ours, theirs = precedence(here), precedence(versioned)
    has_ended = (
        ours == theirs and isinstance(here, Tombstone) and isinstance(versioned, Record) and versioned.seal is None
    )
    if ours > theirs or has_ended:
        reason = "kind" if _kind(here) > _kind(versioned) else "newer"
        return Refused(reason, here.version.ms, here.version.publisher)
    return None


def _full(failure: Failure) -> Answer:
    failure.trap(errors.StoreFull)
    return Refused("full")
