"""Attacks on judgement: lies that nothing is to prove, and proofs against those who do not lie."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from chordtwist.core.evidence import Charge
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, Arc
from chordtwist.core.table import Table
from chordtwist.simulation.adversaries.attack import Attack, Lie
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.simulation.adversaries.tables import ColludersOnly
from chordtwist.wire.peer_messages import (
    Accuse,
    Answer,
    AskLease,
    Audit,
    GetTable,
    Holding,
    Leased,
    Noted,
    Question,
    TableIs,
)

if TYPE_CHECKING:
    from chordtwist.simulation.adversaries.coalition import Coalition

EPOCH_S = 30
"""How long a run of a restarter lasts: shorter than a lease binds."""

SAID_MAX = 16
"""Statements of honest members that slanderers collect."""

ACCUSED_PER_S = 10
"""Accusations that each slanderer or flooder brings every second."""


class LeaseBreaker(Attack):
    name = "break-lease"
    sentence = "Promise everybody, and leave one honest neighbour out of an otherwise true table."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        victim = next((peer for peer in true.successors if peer not in self.coalition), None)
        if victim is None or asker == victim:
            return None
        successors = tuple(peer for peer in true.successors if peer != victim)
        return Lie(true.predecessor, successors, tuple(peer for peer in true.fingers if peer != victim), true.whole)


class PromiseNothing(ColludersOnly):
    name = "promise-nothing"
    sentence = "Show nobody but colluders, and give no lease."

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        return Noted() if isinstance(question, AskLease) else None


class ReceiptBreaker(Attack):
    name = "break-receipt"
    sentence = "Sign to keep a record for whoever asks first, and that there is nothing for all others."

    def __init__(self, coalition: Coalition) -> None:
        super().__init__(coalition)
        self._promised: set[tuple[Peer, bytes]] = set()

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        if not isinstance(question, Audit):
            return None
        if (liar.me, question.key) not in self._promised:
            self._promised.add((liar.me, question.key))
            return None
        return liar.holding_nothing(question.key)


class Restarter(ColludersOnly):
    name = "restart"
    sentence = "Show nobody but colluders, and begin another run every half minute, whose promises are new."

    def each_second(self) -> None:
        second = int(self.coalition.world.now_s)
        for number, liar in enumerate(self.coalition.live()):
            if liar.is_member and (second + number) % EPOCH_S == 0:
                liar.statements.begin_epoch(liar.statements.epoch + 1)


class Slander(Attack):
    name = "slander"
    sentence = "Accuse honest members of what they have signed, in every order, and lie in nothing else."

    def __init__(self, coalition: Coalition) -> None:
        super().__init__(coalition)
        self._said: list[Leased | TableIs | Holding] = []
        self._told = 0

    def each_second(self) -> None:
        honest = self.coalition.honest()
        for number, liar in enumerate(self.coalition.live()):
            if not liar.is_member or not honest:
                continue
            victim = honest[(int(self.coalition.world.now_s) + number) % len(honest)]
            kept = next(liar.store.scan(Arc(victim.id, victim.id)), None)
            key = bytes(32) if kept is None else kept.key
            for question in (AskLease(), GetTable(0, 0), Audit(key, bytes(16))):
                liar.asking.ask(victim, question).addCallbacks(self._collect, lambda failure: None)
            proofs = list(product(Charge, self._said, self._said))
            for proof in proofs[self._told :][:ACCUSED_PER_S]:
                liar.asking.tell((victim,), _accusing(*proof))
            self._told = (self._told + ACCUSED_PER_S) % max(1, len(proofs))

    def _collect(self, answer: Answer) -> None:
        if isinstance(answer, Leased | TableIs | Holding):
            self._said = [*self._said, answer][-SAID_MAX:]


class EvidenceFlood(Attack):
    name = "evidence-flood"
    sentence = "Prove all the time that members, and addresses where nobody is, have signed two tables as one."

    def each_second(self) -> None:
        honest, second = self.coalition.honest(), int(self.coalition.world.now_s)
        for number, liar in enumerate(self.coalition.live()):
            if not liar.is_member or not honest:
                continue
            for nth in range(ACCUSED_PER_S):
                told = honest[(second * ACCUSED_PER_S + nth + number) % len(honest)]
                invented = self.coalition.invented((told.id + second) % RING_SIZE, ACCUSED_PER_S)
                liar.asking.tell(
                    (told,), _forged(liar, invented[nth] if nth % 2 else honest[nth % len(honest)], second)
                )


def _forged(liar: Liar, culprit: Peer, seq: int) -> Accuse:
    """Sign two tables in the name of `culprit` with our own key: a proof, but for whose key it is."""
    lies = (Lie(None, listed, (), False) for listed in ((), (liar.me,)))
    return _accusing(Charge.EQUIVOCATION, *(liar.signed(lie, seq, seq, culprit) for lie in lies))


def _accusing(charge: Charge, first: Leased | TableIs | Holding, second: Leased | TableIs | Holding) -> Accuse:
    return Accuse(charge, first.body, first.signature, second.body, second.signature)
