"""What a node signs: its table, its status, its leases, its receipts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chordtwist.core import signed
from chordtwist.core.leases import Leases
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.receipts import Receipts, held, proof_of
from chordtwist.core.records import Versioned
from chordtwist.core.routing import Routing
from chordtwist.core.signed import (
    Signer,
    Stamp,
    Status,
    fingerprint,
    pack_holding,
    pack_lease,
    pack_status,
    table_content,
    table_opening,
)
from chordtwist.core.table import UNPROVED, Table
from chordtwist.wire.peer_messages import Holding, Leased, Leave, NotMember, TableIs

TABLE_FRESH_MS = 10_000
"""A table older than this is signed again when somebody asks who does not hold it: its time says when it held."""


class Statements:
    """Signs for one node. Every signature has a `seq` of its own within the epoch."""

    def __init__(
        self,
        identity: Identity,
        routing: Routing,
        signer: Signer,
        wall_ms: Callable[[], int],
        key_of: Callable[[Peer], bytes | None],
        epoch: int,
        steady_ms: Callable[[], int],
    ) -> None:
        self.epoch = epoch
        self.seq = 0
        """Of the last statement; of the present table, `table.seq`."""
        self._identity = identity
        self._routing = routing
        self._signer = signer
        self._wall_ms = wall_ms
        self._key_of = key_of
        self._steady_ms = steady_ms
        self._epoch_began_ms = steady_ms()
        self._leases = Leases()
        self._receipts = Receipts()
        self._table: Table | None = None
        self._content = b""
        self._signed: TableIs | None = None
        self._changes = -1
        self._same_since = 0

    def begin_epoch(self, epoch: int) -> None:
        """From now on speak as another incarnation."""
        self.epoch = epoch
        self.seq = 0
        self._epoch_began_ms = self._steady_ms()
        self._leases.forget_all()
        self._receipts.forget_all()
        self._table = None
        self._signed = None

    @property
    def table(self) -> Table:
        """The present table; the same object until something changes."""
        table = self._table
        if table is None or self._changes != self._routing.changes:
            table = self._renew()
            self._same_since = table.seq
        return table

    def is_present(self, epoch: int, seq: int) -> bool:
        """Whether a table that somebody holds says what the present one says; its time may be older."""
        table = self.table
        return epoch == table.epoch and self._same_since <= seq <= table.seq

    def signed_table(self) -> TableIs:
        """Sign the present table, or take the signature that there is where it is new enough."""
        table = self.table
        if not 0 <= self._wall_ms() - table.time_ms <= TABLE_FRESH_MS:
            table = self._renew()
        if self._signed is None:
            body = table_opening(self._identity, table) + self._content
            self._signed = TableIs(body, self._signer.sign(body))
        return self._signed

    def not_member(self, status: Status) -> NotMember:
        """Sign that this node is no member: the answer to every ring question then."""
        body = pack_status(self._identity, self._stamp(), status)
        return NotMember(body, self._signer.sign(body))

    def leave(self, status: Status) -> Leave:
        """Sign that this node is no member, to be told without being asked."""
        said = self.not_member(status)
        return Leave(said.body, said.signature)

    def leased(self, neighbour: Peer) -> Leased | None:
        """Sign the promise to list a neighbour (`core.leases`); None where none is given, since it is none of ours."""
        until_ms = self._leases.give(self.table, neighbour, self.clock_ms())
        if until_ms is None:
            return None
        body = pack_lease(self._identity, self._stamp(), neighbour, until_ms)
        return Leased(body, self._signer.sign(body))

    def holding(self, key: bytes, versioned: Versioned | None, left_ms: int, nonce: bytes) -> Holding | None:
        """Sign what is kept under a key (`core.receipts`); None where less is kept than was promised, which is no
        crime of an honest member.
        """
        here, clock_ms = held(versioned), self.clock_ms()
        until_ms = self._receipts.give(key, here, left_ms, clock_ms)
        if until_ms is None:
            return None
        proof = proof_of(versioned, nonce)
        said = signed.Holding(self._stamp(), clock_ms, self._signer.public, key, here, proof, until_ms)
        body = pack_holding(self._identity, said)
        return Holding(body, self._signer.sign(body))

    def _stamp(self) -> Stamp:
        self.seq += 1
        return Stamp(self._routing.me, self.epoch, self.seq, self._wall_ms())

    def clock_ms(self) -> int:
        """Tell our steady time since this epoch began."""
        return self._steady_ms() - self._epoch_began_ms

    def _renew(self) -> Table:
        routing, before = self._routing, self._table
        stamp = self._stamp()
        successors = routing.live_successors
        ring = successors if routing.predecessor is None else (routing.predecessor, *successors)
        fingerprints = tuple([UNPROVED if (key := self._key_of(peer)) is None else fingerprint(key) for peer in ring])
        if before is not None and self._changes == routing.changes and before.fingerprints == fingerprints:
            fingers, changed = before.fingers, False
        else:
            listed = set(successors)
            fingers = tuple(dict.fromkeys(peer for peer in routing.fingers.values() if peer not in listed))
            changed = True
        self._changes = routing.changes
        self._signed = None
        clock_ms = self.clock_ms()
        table = Table(
            peer=routing.me,
            epoch=stamp.epoch,
            seq=stamp.seq,
            time_ms=stamp.time_ms,
            key=self._signer.public,
            whole=routing.whole,
            predecessor=routing.predecessor,
            successors=successors,
            fingers=fingers,
            fingerprints=fingerprints,
            clock_ms=clock_ms,
        )
        gone = self._leases.gone(table, clock_ms)
        if gone:
            table = replace(table, gone=gone)
        if changed or before is None or before.gone != gone:
            self._content = table_content(table)
        self._table = table
        return table
