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
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from chordtwist.core import errors
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.prefixes import owner_of
from chordtwist.core.quotas import STRANGERS_SHARE, Quota
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
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.publishing import Publisher
from chordtwist.node.records.reads import HEDGE_AFTER_S, Reader
from chordtwist.node.records.reconciling import Reconciling
from chordtwist.node.records.record_bodies import body_of, version_body_of, versioned_from
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

SWEEP_S = 30.0
"""What has expired is gone at once for everybody who asks; its room is given back within this time."""

SWEEP_ON_S = 1.0
"""The same, where something had expired: there may be more of it than one batch."""

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
        self._is_neighbour = is_neighbour
        self._ring = ring
        self._clock = clock
        self._parameters = parameters
        self._default_ttl_s = default_ttl_s
        self._ttl_ms_max = int(max_ttl_s * 1000)
        self._leaving = False
        self._running = False
        self._sweeping: IDelayedCall | None = None
        self.versions = VersionClock(ring.me.packed)
        self._pauses = Pauses(clock)
        self.local_records = LocalRecords(store, clock, self._pauses, quota or Quota())
        self.reader = Reader(
            ring,
            self.local_records,
            self.versions,
            clock,
            self._ask,
            parameters.replication,
            self._ttl_ms_max,
        )
        self.publisher = Publisher(ring.me, self.reader, self.local_records, self.versions, clock, rng, self._ask)
        self.reconciling = Reconciling(ring, self.local_records, self._accept, self._ttl_ms_max)
        served_arcs = ServedArcs(clock)
        self._answering = Answering(self.local_records, served_arcs)
        self.repair = Repair(
            ring,
            self.local_records,
            self.reader,
            self.reconciling,
            served_arcs,
            clock,
            self._pauses,
            rng,
            parameters.replication,
        )
        self._answers: dict[type[Question], Callable[..., Answer | Deferred[Answer]]] = {
            Fetch: self._fetch,
            Store: self._store,
            StoreAll: lambda peer, question: Deferred.fromCoroutine(self._store_all(peer, question)),
            Digest: lambda peer, question: Deferred.fromCoroutine(self._answering.compare(peer, question)),
            HaveList: self._list_missing,
            HandOver: lambda peer, question: Deferred.fromCoroutine(self._answering.hand_out(question)),
        }

    # Its node's life

    def start(self) -> None:
        """Look after records from now on."""
        self._running = True
        self.repair.start()
        self._sweep_later()

    def stop(self) -> None:
        """End every timer at once."""
        self._running = False
        self.repair.stop()
        self.publisher.stop()
        self.reader.stop()
        self._pauses.stop()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

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
        return self._with_unconfirmed(key, unconfirmed)

    def _living(self, record: Record | None) -> Record | None:
        if record is None or record.expiry_ms <= self.local_records.now_ms() or self.publisher.ended(record):
            return None
        return self.publisher.exact(record)

    def _with_unconfirmed(self, key: bytes, versioned: Versioned) -> Deferred[Record | None]:
        """What was put here a moment ago, unless the replicas turn out to keep a record that beats it by its kind."""
        result: Deferred[Record | None] = Deferred(lambda _: end())
        read = self.reader.read(key)
        timer = self._clock.callLater(HEDGE_AFTER_S, lambda: fire(None))

        def end() -> None:
            if timer.active():
                timer.cancel()
            read.addErrback(lambda failure: None).cancel()

        def fire(found: Record | None) -> None:
            if not result.called:
                end()
                ours = versioned if isinstance(versioned, Record) else None
                result.callback(self._living(found if found is not None and found.kind > _kind(versioned) else ours))

        read.addCallback(fire)
        return result

    def _copies(self, wanted: int | None) -> int:
        return min(wanted or self._parameters.replication, self._parameters.successors)

    # What other nodes ask

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        """The answer to a question about records.

        @raise Malformed: it is none.
        """
        answer = self._answers.get(type(question))
        if answer is None:
            raise errors.Malformed(f"a {type(question).__name__} is no question for a node")
        return answer(peer, question)

    def _ask(self, peer: Peer, question: Fetch | Store) -> Answer | Deferred[Answer]:
        """Ask a peer, or ourselves without a detour."""
        if peer == self._ring.me:
            return self.answer(peer, question)
        return self._ring.ask(peer, question)

    def _fetch(self, peer: Peer, question: Fetch) -> Answer:
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

    def _store(self, peer: Peer, question: Store) -> Answer | Deferred[Answer]:
        arc = self.repair.arc
        if self._leaving:
            return Refused("leaving")
        if question.rank == 0 and arc is not None and position_of(question.record.key) not in arc:
            before = self._ring.predecessor
            assert before is not None  # an arc without one is the whole ring
            return NotMine(before.packed)
        versioned = versioned_from(question.record, self.local_records.now_ms(), self._ttl_ms_max)
        if not is_right(versioned, verify_ed25519):
            return Refused("wrong")
        if not self._sees(versioned):
            return Refused("clock", max(0, self._ring.neighbours_time_ms()))
        here = self.local_records.get(versioned.key)
        refusal = _refusal(versioned, here, question.expected_seq)
        if refusal is not None:
            return refusal
        host = None if peer == self._ring.me else owner_of(peer)
        if not self.local_records.has_room(host, versioned, self._share(peer)):
            return Refused("full")
        written = self.local_records.take(versioned, here, host)
        self._sweep_later()
        if written is None:
            return Stored()
        answered: Deferred[Answer] = written.addCallbacks(lambda _: Stored(), _full)
        if answered.called and isinstance(answered.result, Answer):
            return answered.result
        return answered

    def _list_missing(self, peer: Peer, question: HaveList) -> Answer | Deferred[Answer]:
        if self._leaving and not question.both:
            # Whoever asks wants to drop what is here: it may be the one that was just handed it.
            return Refused("leaving")
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
                written = self._accept(versioned_from(body, self.local_records.now_ms(), self._ttl_ms_max), peer)
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

    def _share(self, peer: Peer) -> float:
        return 1.0 if self._is_neighbour(peer) else STRANGERS_SHARE

    def _accept(self, versioned: Versioned, peer: Peer | None) -> Deferred[None] | None:
        """Keep what another replica sent, or with None what we asked for, as far as it wins; None when nothing changes.

        @raise StoreFull: there is no room for it. @raise Refused: it is wrong, or from the future.
        """
        if not is_right(versioned, verify_ed25519):
            raise errors.Refused("it is not what its kind demands")
        if not self._sees(versioned):
            raise errors.Refused("its version is too far ahead of our clock")
        host = None if peer is None else owner_of(peer)
        if peer is not None and not self.local_records.has_room(host, versioned, self._share(peer)):
            raise errors.StoreFull(f"{peer.host} has delivered as much as one address may")
        written = self.local_records.take(versioned, self.local_records.get(versioned.key), host)
        self._sweep_later()
        return written

    def _sees(self, versioned: Versioned) -> bool:
        """Whether its version is not too far ahead of the time that most neighbours have. By our own clock, should that
        be wrong by minutes, we would refuse everybody's puts, or keep what all others refuse.
        """
        return self.versions.see(versioned.version, self._ring.neighbours_time_ms(), versioned.key)

    # Giving room back

    def _sweep_later(self, wait_s: float = SWEEP_S) -> None:
        if self._sweeping is None and self._running:
            self._sweeping = self._clock.callLater(wait_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        if self.local_records.sweep():
            self._sweep_later(SWEEP_ON_S)
        elif self.local_records.store.records():
            self._sweep_later()


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
