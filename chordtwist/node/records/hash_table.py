"""Put and get over replicas, for one node: the hash table that doors see, built of its parts.

Read in this order: `locating` (who keeps a key), `reads` (a majority of replicas), `publishing` (what this node has
put), `replica` (what others ask) with `incoming` (what they send), `local_records` (what this node keeps), `repair`
(every record at its replicas while members come and go) with `reconciling` (one arc, one peer) and `stray_records`
(what is kept at the wrong place).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from random import Random

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chordtwist.core import errors
from chordtwist.core.costs import Costs, unmetered
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import (
    KEY_BYTES,
    VALUE_BYTES_MAX,
    PutResult,
    Record,
    RecordKind,
    Seal,
    Tombstone,
    Versioned,
    is_right,
    kind_of,
    precedence,
)
from chordtwist.core.signed import verify_ed25519
from chordtwist.core.versions import VersionClock
from chordtwist.node.interfaces import IRecordStore, IRing
from chordtwist.node.records.hearsay import Doubts
from chordtwist.node.records.incoming import Incoming
from chordtwist.node.records.inspecting import Inspecting
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.publishing import Publisher
from chordtwist.node.records.reads import Reader
from chordtwist.node.records.reconciling import Reconciling
from chordtwist.node.records.repair import Repair
from chordtwist.node.records.replica import Replica
from chordtwist.node.records.restoring import Restoring
from chordtwist.node.records.served_arcs import ServedArcs
from chordtwist.node.records.standstill import Standstill


class HashTable:
    """One node's part in the hash table; `Node` passes it what concerns records."""

    def __init__(
        self,
        ring: IRing,
        store: IRecordStore,
        clock: IReactorTime,
        life_ms: Callable[[], int],
        rng: Random,
        parameters: Parameters,
        default_ttl_s: float,
        max_ttl_s: float,
        quota: Quota | None = None,
        is_neighbour: Callable[[Peer], bool] = lambda peer: True,
        costs: Costs | None = None,
    ) -> None:
        """@param life_ms: the clock that lives are counted on.
        @param is_neighbour: whether a peer may have a whole arc for us; others may leave less here.
        """
        self._ring = ring
        self._parameters = parameters
        self._default_ttl_s = default_ttl_s
        self._ttl_ms_max = int(max_ttl_s * 1000)
        self.versions = VersionClock(ring.me.packed)
        self._pauses = Pauses(clock, costs or unmetered())
        self.local_records = LocalRecords(store, clock, life_ms, self._pauses, quota or Quota())
        self._standstill = Standstill(clock, life_ms)
        locating = Locating(ring, clock)
        incoming = Incoming(ring, self.local_records, self.versions, self._standstill, self._ttl_ms_max, is_neighbour)
        self.reader = Reader(ring, self.local_records, locating, incoming, clock, parameters.replication)
        self.publisher = Publisher(
            ring, self.local_records, locating, incoming, self.versions, self.reader.judge, clock, rng
        )
        doubts = Doubts(ring, self.local_records, incoming, self.reader)
        self.reconciling = Reconciling(ring, self.local_records, doubts, clock, self._pauses)
        served_arcs = ServedArcs(clock)
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
        self.inspecting = Inspecting(ring, locating, incoming, clock.seconds, parameters.replication)
        self.restoring = Restoring(ring, locating, incoming)
        self.replica = Replica(
            ring, self.local_records, incoming, served_arcs, self.repair, self.publisher, doubts, self._pauses
        )

    # Its node's life

    def start(self) -> None:
        """Look after records from now on."""
        self._standstill.start()
        self.local_records.start()
        self.repair.start()

    def stop(self) -> None:
        """End every timer at once."""
        self._standstill.stop()
        self.repair.stop()
        self.publisher.stop()
        self.reader.stop()
        self._pauses.stop()
        self.local_records.stop()

    def joined(self, old_owner: Peer | None) -> None:
        """Begin as a member; until its arc has come from `old_owner` it says that it is pulling it."""
        self.repair.joined(old_owner)

    def ring_changed(self) -> None:
        """Look at another predecessor, other successors, or another standing. Costs next to nothing."""
        self.repair.ring_changed()

    def hand_over(self) -> Deferred[None]:
        """Give others what only this node has, before it leaves. From now on it takes nothing more. May take long: the
        caller sets the limit.
        """
        return Deferred.fromCoroutine(self.repair.hand_over(self.publisher.on_their_way))

    def status(self) -> dict[str, object]:
        """Count what is kept and what was done, for `IDht.status`."""
        store = self.local_records.store
        return {
            "records": store.records(),
            "bytes": store.record_bytes(),
            "tombstones": store.tombstones(),
            "published": len(self.publisher),
            "pulling": self.repair.pulling,
            "repair": {
                "rounds": self.repair.rounds,
                "below": self.repair.not_taken,
                "sent": self.reconciling.sent,
                "fetched": self.reconciling.fetched,
                "dropped": self.repair.stray_records.dropped,
            },
        }

    # What doors ask

    def put(
        self, key: bytes, value: bytes, ttl_s: float | None = None, copies: int | None = None, seal: Seal | None = None
    ) -> Deferred[PutResult]:
        """Put a value, for `IDht.put`. Stamped now; its life counts from now; `get` sees it when this returns."""
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
        """Put a tombstone in a record's place, for `IDht.delete`. Of a signed one `seal` is over an empty value."""
        return self.get(key).addErrback(_not_known).addCallback(self._delete, key, seal)

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
        if isinstance(here, Record) and here.kind > versioned.kind:
            return fail(errors.Refused("a record that proves its key stands there: nothing else may replace it"))
        return self.publisher.publish(versioned, None if seal is None else seal.expected_seq)

    def get(self, key: bytes) -> Deferred[Record | None]:
        """Get what a majority of the replicas has, for `IDht.get`; without a question where that is ourselves."""
        here = self.local_records.get(key)
        if isinstance(here, Record) and here.kind is RecordKind.CONTENT:
            return succeed(self.publisher.exact(here))
        if here is not None and self._ring.is_member and not self._ring.successors:
            return succeed(self._living(here if isinstance(here, Record) else None))
        unconfirmed = self.publisher.unconfirmed(key)
        read = self.reader.read(key)
        if unconfirmed is None:
            return read.addCallback(self._living)
        return read.addErrback(_not_known).addCallback(self._newer, unconfirmed)

    def _living(self, record: Record | None) -> Record | None:
        if record is None or record.expiry_ms <= self.local_records.now_ms() or self.publisher.ended(record):
            return None
        return self.publisher.exact(record)

    def _newer(self, found: Record | None, put: Versioned) -> Record | None:
        """Give what was put here a moment ago, unless the replicas keep what has beaten it meanwhile."""
        ours = self.publisher.published(put.key) or put  # it may have been stamped again
        if found is not None and precedence(found) > precedence(ours):
            return self._living(found)
        return self._living(ours if isinstance(ours, Record) else None)

    def _copies(self, wanted: int | None) -> int:
        return min(wanted or self._parameters.replication, self._parameters.successors)


def _not_known(failure: Failure) -> None:
    failure.trap(errors.Unreachable)
