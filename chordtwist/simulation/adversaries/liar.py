"""A node of the coalition: the very same node as everybody's, but for what it says to those it lies to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from chordtwist.core import signed
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.receipts import NOTHING_HELD
from chordtwist.core.signed import Stamp, table_content, table_opening
from chordtwist.core.table import Table
from chordtwist.node.environment import Environment, NodeOptions
from chordtwist.node.interfaces import IPeerLink, IRecordStore
from chordtwist.node.node import Node
from chordtwist.node.ring.statements import TABLE_FRESH_MS
from chordtwist.simulation.adversaries.attack import Lie
from chordtwist.wire.peer_messages import Answer, GetTable, Holding, Question, Same, TableIs

if TYPE_CHECKING:
    from chordtwist.simulation.adversaries.coalition import Coalition


class Liar(Node):
    """Keeps its own place on the ring as everybody does, and signs lies with its own key."""

    def __init__(
        self,
        coalition: Coalition,
        me: Peer,
        identity: Identity,
        parameters: Parameters,
        link: IPeerLink,
        store: IRecordStore,
        environment: Environment,
        options: NodeOptions,
    ) -> None:
        super().__init__(me, identity, parameters, link, store, environment, options)
        self.coalition = coalition
        self.store = store
        self.clock = environment.clock
        self._wall_ms = environment.wall_ms
        self._signer = environment.signer
        self._lie: Lie | None = None
        self._shown: TableIs | None = None
        self._shown_at = (0, 0, 0)
        self._same_since = 0

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        if self.is_member and self.coalition.lies_to(self, peer):
            attack = self.coalition.attack
            said = attack.answer(self, peer, question)
            if said is not None:
                return said
            if isinstance(question, GetTable):
                lie = attack.table(self, peer, self.statements.table)
                if lie is not None:
                    return self.show(lie, question)
        return self.honest_answer(peer, question)

    def honest_answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        """Answer as an honest node would."""
        return super().answer(peer, question)

    def honest_later(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """Answer as an honest node would, whether at once or later."""
        answer = self.honest_answer(peer, question)
        return answer if isinstance(answer, Deferred) else succeed(answer)

    def show(self, lie: Lie, question: GetTable) -> Answer:
        """Sign `lie` as our table: one statement for one `seq`, since two would be evidence."""
        statements = self.statements
        epoch, seq, time_ms = self._shown_at
        if lie != self._lie or epoch != statements.epoch:
            self._lie, self._shown = lie, None
            self._same_since = statements.seq + 1
        elif question.epoch == epoch and self._same_since <= question.seq <= seq:
            return Same()
        now_ms = self._wall_ms()
        if self._shown is None or not 0 <= now_ms - time_ms <= TABLE_FRESH_MS:
            statements.seq += 1
            self._shown_at = (statements.epoch, statements.seq, now_ms)
            self._shown = self.signed(lie, statements.seq, now_ms)
        return self._shown

    def holding_nothing(self, key: bytes) -> Holding:
        """Sign that there is nothing under a key, whatever was promised."""
        statements = self.statements
        statements.seq += 1
        stamp = Stamp(self.me, statements.epoch, statements.seq, self._wall_ms())
        said = signed.Holding(
            stamp, statements.clock_ms(), self._signer.public, key, NOTHING_HELD, b"", statements.clock_ms()
        )
        body = signed.pack_holding(self.identity, said)
        return Holding(body, self._signer.sign(body))

    def signed(self, lie: Lie, seq: int, time_ms: int, owner: Peer | None = None) -> TableIs:
        """Pack a lie with our signature, as our own table or in the name of another `owner`."""
        neighbours = lie.successors if lie.predecessor is None else (lie.predecessor, *lie.successors)
        table = Table(
            peer=owner or self.me,
            epoch=self.statements.epoch,
            seq=seq,
            time_ms=time_ms,
            key=self._signer.public,
            whole=lie.whole,
            predecessor=lie.predecessor,
            successors=lie.successors,
            fingers=tuple(dict.fromkeys(peer for peer in lie.fingers if peer not in (self.me, *lie.successors))),
            fingerprints=self.coalition.fingerprints(neighbours),
            gone=lie.gone,
            clock_ms=self.statements.clock_ms(),
        )
        body = table_opening(self.identity, table) + table_content(table)
        return TableIs(body, self._signer.sign(body))
