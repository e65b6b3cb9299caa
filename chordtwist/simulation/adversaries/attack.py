"""What one coalition of colluders does: the seam between an attack and the nodes that carry it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from twisted.internet.defer import Deferred

from chordtwist.core.peer import Peer
from chordtwist.core.table import Table
from chordtwist.wire.peer_messages import Answer, Question

if TYPE_CHECKING:
    from chordtwist.simulation.adversaries.coalition import Coalition
    from chordtwist.simulation.adversaries.liar import Liar


class Lie(NamedTuple):
    """What a liar shows in place of its own routing state."""

    predecessor: Peer | None
    successors: tuple[Peer, ...]
    fingers: tuple[Peer, ...]
    whole: bool
    gone: tuple[Peer, ...] = ()


class Attack:
    """Decides what the colluders say and do. Every method may answer None, which means: what an honest node would."""

    name: ClassVar[str]
    sentence: ClassVar[str]
    """What it does: a value, since python -OO throws docstrings away."""

    def __init__(self, coalition: Coalition) -> None:
        self.coalition = coalition
        self.victims: list[Peer] = []
        """Honest members whose keys are to be lost, where the attack is aimed at somebody."""

    def begin(self) -> None:
        """Choose victims, since the attack begins now."""

    def each_second(self) -> None:
        """Act unasked: called once per simulated second while the attack lasts."""

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        """Forge the table that `liar` shows to `asker`; `true` is its own."""
        return None

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        """Answer a question of `asker` in a way of the attack's own."""
        return None
