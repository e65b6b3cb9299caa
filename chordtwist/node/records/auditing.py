"""Audits: members that should keep what we keep sign what they have, and are asked again by somebody else.

A receipt (`core.receipts`) is asked for openly. Later another member, drawn at random, asks for us whether it is still
true: whoever answers does not know for whom. Two statements of which the later one has less convict. Wrong audits cost
nothing but the question, so whom to ask is guessed from the address book.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.address_book import AddressBook
from chordtwist.core.bounded import Bounded
from chordtwist.core.conduct import Conduct
from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.evidence import Charge, Evidence
from chordtwist.core.peer import Peer
from chordtwist.core.receipts import NOTHING_HELD, held, proof_of
from chordtwist.core.records import RecordKind
from chordtwist.core.ring import RING_SIZE, Arc
from chordtwist.core.signed import Holding as Statement
from chordtwist.core.signed import Verify, unpack_holding
from chordtwist.node.chores import Chore
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.wire.peer_messages import Audit, Holding, Relay

AUDIT_BYTES = 500
"""What one audit costs on average: a question of 90 bytes and a statement of 300, twice where somebody relays them."""

HASHES_NOTHING = "it signs to keep a value that it cannot hash"

RECEIPTS_MAX = 4
"""Receipts that one member has yet to look at again: with a question in 50 s each is some minutes later."""

NONCE_BYTES = 16


class Auditor:
    """Audits for one member."""

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        book: AddressBook,
        conduct: Conduct,
        key_of: Callable[[Peer], bytes | None],
        verify: Verify,
        accuse: Callable[[Evidence], None],
        bytes_per_s: float,
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param key_of: the key that a peer was proved with. @param accuse: told of what may be a proof.
        @param bytes_per_s: what audits may cost; 0: there are none.
        """
        self._ring = ring
        self._local_records = local_records
        self._book = book
        self._conduct = conduct
        self._key_of = key_of
        self._verify = verify
        self._accuse = accuse
        self._rng = rng
        self._receipts: Bounded[tuple[Peer, bytes], tuple[Statement, Holding]] = Bounded(RECEIPTS_MAX)
        self.audits = 0
        """Statements that were signed for us."""
        self.chores = []
        if bytes_per_s > 0:
            every_s = AUDIT_BYTES / bytes_per_s
            self.chores.append(Chore("audits", lambda: Deferred.fromCoroutine(self._audit()), clock, rng, every_s))

    async def _audit(self) -> None:
        if not self._ring.is_member:
            return
        count = len(self._receipts)
        if count == RECEIPTS_MAX or self._rng.random() < count / RECEIPTS_MAX:
            await self._look_again(*list(self._receipts)[int(self._rng.random() * count)])
        else:
            await self._take_receipt()

    async def _take_receipt(self) -> None:
        start = int(self._rng.random() * RING_SIZE)
        entry = next(self._local_records.store.scan(Arc(start, start)), None)
        if entry is None:
            return
        keepers = [peer for peer in self._book.behind(entry.position, entry.copies) if peer != self._ring.me]
        if not keepers:
            return
        peer = keepers[int(self._rng.random() * len(keepers))]
        receipt = await self._ask(peer, Audit(entry.key, self._nonce()), peer)
        if receipt is not None and receipt[0].held != NOTHING_HELD:
            self._receipts[peer, entry.key] = receipt

    async def _look_again(self, target: Peer, key: bytes) -> None:
        """Ask through somebody whether a receipt is still true, and let it go."""
        relay = self._book.any_met(self._rng)
        if relay is None or relay == target:
            return
        before, first = self._receipts.pop((target, key))
        later = await self._ask(relay, Relay(target.packed, Audit(key, self._nonce())), target)
        if later is None:
            return
        statement, said = later
        if statement.stamp.epoch != before.stamp.epoch:
            return
        if statement.stamp.seq <= before.stamp.seq:
            self._receipts[target, key] = before, first  # whoever relays it has brought an old one
        elif statement.held < before.held:
            charge = Charge.BROKEN_RECEIPT
            self._accuse(Evidence(charge, first.body, first.signature, said.body, said.signature))

    def _nonce(self) -> bytes:
        return self._rng.randbytes(NONCE_BYTES)

    async def _ask(self, asked: Peer, question: Audit | Relay, target: Peer) -> tuple[Statement, Holding] | None:
        """Ask for what `target` keeps; None where it has signed nothing, or cannot have what it says to have."""
        audit = question.audit if isinstance(question, Relay) else question
        assert audit is not None
        try:
            said = await self._ring.ask(asked, question)
        except Unreachable:
            return None
        if not isinstance(said, Holding):
            return None
        statement = self._signed_by(target, said)
        if statement is None or statement.key != audit.key:
            return None
        self.audits += 1
        ours = self._local_records.get(audit.key)
        if statement.held == held(ours) and statement.proof != proof_of(ours, audit.nonce):
            # Of a plain record there may be two values: publishers can put them as one version. And whoever relays may
            # bring what the target has hashed with a number of his own.
            if asked == target and ours is not None and ours.kind is not RecordKind.PLAIN:
                self._conduct.blame(target, HASHES_NOTHING)
            return None
        return statement, said

    def _signed_by(self, target: Peer, said: Holding) -> Statement | None:
        """Read what a peer signed; None where it did not."""
        try:
            statement = unpack_holding(self._ring.identity, said.body)
        except Malformed:
            return None
        is_its_own = (statement.stamp.peer, statement.signer) == (target, self._key_of(target))
        return statement if is_its_own and self._verify(statement.signer, said.signature, said.body) else None
