"""Attacks aimed at somebody: at who joins, at one key, or at a moment."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from chordtwist.core.peer import Peer
from chordtwist.core.table import Table
from chordtwist.simulation.adversaries.attack import Lie
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.simulation.adversaries.tables import Budgeted, ColludersOnly, Hide
from chordtwist.wire.peer_messages import Notify

if TYPE_CHECKING:
    from chordtwist.simulation.adversaries.coalition import Coalition

TURNS_AFTER_S = 60
"""A turncoat is honest for so long."""

FRESH_S = 50
"""Each honest node looks at each colluder so often: tables of the last minute count as asked for now."""

BURST_PREFIXES = 20
"""IPv4 /24 networks from which a burst comes, of at most 5,080 nodes."""


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


class StayFresh(ColludersOnly):
    name = "stay-fresh"
    sentence = "Notify everybody of oneself once a minute, so that it is the colluders' tables that are at hand."

    def each_second(self) -> None:
        honest, second = self.coalition.honest(), int(self.coalition.world.now_s)
        for number, liar in enumerate(self.coalition.live()):
            told = honest[(second + number) % FRESH_S :: FRESH_S]
            if liar.is_member:
                liar.asking.tell(told, Notify(liar.membership.epoch))


class Burst(ColludersOnly):
    name = "burst"
    sentence = "Join from 20 prefixes within ten minutes, show only colluders, and be gone an hour later."

    burst_s, gone_after_s = 600, 3600
    """Within so long all of them have come, and so long after the beginning they are gone."""

    def __init__(self, coalition: Coalition) -> None:
        super().__init__(coalition)
        self._share, coalition.share = coalition.share, 0.0
        self._began_s: float | None = None
        self._coming: list[Peer] = []
        self._came: list[Peer] = []

    def begin(self) -> None:
        world = self.coalition.world
        count = round(len(world.check.members) * self._share / (1 - self._share))
        self._began_s = world.now_s
        prefixes = [f"5.{n}" for n in range(BURST_PREFIXES)]
        hosts = (f"{prefix}.0.{n}" for n in range(1, 255) for prefix in prefixes)
        self._coming = [world.identity.peer(host, 6401) for host in islice(hosts, count)]

    def each_second(self) -> None:
        world = self.coalition.world
        if self._began_s is None:
            return
        passed_s = world.now_s - self._began_s
        if passed_s < self.gone_after_s:
            due = min(len(self._coming), round(len(self._coming) * passed_s / self.burst_s))
            for peer in self._coming[len(self._came) : due]:
                self.coalition.enlist(peer)
                self._came.append(world.start(peer).peer)
        else:
            world.power_off(*(peer for peer in self._came if peer in world.live))
