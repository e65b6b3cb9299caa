"""Attacks aimed at somebody: at who joins, at one key, or at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chordtwist.core.peer import Peer
from chordtwist.core.table import Table
from chordtwist.simulation.adversaries.attack import Lie
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.simulation.adversaries.tables import Budgeted, ColludersOnly, Hide

if TYPE_CHECKING:
    from chordtwist.simulation.adversaries.coalition import Coalition

TURNS_AFTER_S = 60
"""A turncoat is honest for so long."""


class EclipseJoiner(ColludersOnly):
    name = "eclipse-joiner"
    sentence = "Show those who are no members yet nobody but colluders; be honest to members."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        if asker in self.coalition.world.check.members:
            return None
        return super().table(liar, asker, true)


class ActiveEclipse(Budgeted):
    name = "active-eclipse"
    sentence = "Stay below every test of density, and leave ten exposed owners out besides."

    def __init__(self, coalition: Coalition) -> None:
        super().__init__(coalition)
        self._hide = Hide(coalition)

    def begin(self) -> None:
        self._hide.begin()
        self.victims = self._hide.victims

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        lie = super().table(liar, asker, true)
        if lie is None:
            return None
        hidden = set(self.victims)
        before = self.coalition.last_before(liar.me.id) if lie.predecessor in hidden else lie.predecessor
        return Lie(
            before,
            tuple(peer for peer in lie.successors if peer not in hidden),
            tuple(peer for peer in lie.fingers if peer not in hidden),
            lie.whole,
        )


class Turncoat(ColludersOnly):
    name = "turncoat"
    sentence = "Be honest for a minute, then show nobody but colluders."

    def __init__(self, coalition: Coalition) -> None:
        super().__init__(coalition)
        self._turns_s: float | None = None

    def each_second(self) -> None:
        if self._turns_s is None:
            self._turns_s = self.coalition.world.now_s + TURNS_AFTER_S

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        if self._turns_s is None or self.coalition.world.now_s < self._turns_s:
            return None
        return super().table(liar, asker, true)
