"""Attacks on the ring and its lookups: lies in tables."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, RingId, distance, finger_start
from chordtwist.core.small_ring import in_order
from chordtwist.core.table import Table
from chordtwist.simulation.adversaries.attack import Attack, Lie
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.wire.peer_messages import OtherRing

OMITTED = 3
"""Honest members that a budgeted liar leaves out in one place: no test of how dense a list is notices that."""

VICTIMS = 10

ANEW_EACH_S = 60
"""Seconds until the same invented addresses are named again."""

HINTED = 5
"""Honest members that are told of a larger ring by each liar, once."""


class ColludersOnly(Attack):
    name = "colluders"
    sentence = "Show lists and fingers in which there are only colluders."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        colluders, me = self.coalition.colluders, liar.me
        successors = tuple(islice((peer for peer in colluders(me.id) if peer != me), liar.routing.entries_max))
        if not successors:
            return None
        fingers = [next(colluders(finger_start(me.id, k))) for k in liar.routing.fingers_wanted()]
        return Lie(self.coalition.last_before(me.id), successors, tuple(fingers), False)


class Budgeted(Attack):
    name = "budgeted"
    sentence = "Leave out only so many honest members before each colluder that no list looks thin."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        if true.whole:
            return None  # in a ring that small everybody knows everybody
        me = liar.me
        successors: list[Peer] = []
        position = me.id
        while len(successors) < liar.routing.entries_max:
            peer = self._favoured(position)
            if peer is None or peer == me or peer in successors:
                break
            successors.append(peer)
            position = peer.id
        fingers = [self._favoured((finger_start(me.id, k) - 1) % RING_SIZE) for k in liar.routing.fingers_wanted()]
        before = true.predecessor
        if before is not None and before not in self.coalition:
            # Backwards as well: the nearest colluder, if it is near enough.
            colluder = self.coalition.last_before(me.id)
            skipped = [peer for peer in islice(self.coalition.members(colluder.id), OMITTED + 2) if peer != colluder]
            before = colluder if me in skipped else before
        return Lie(before, tuple(successors), tuple(peer for peer in fingers if peer is not None), False)

    def _favoured(self, position: RingId) -> Peer | None:
        """Find the first colluder behind `position` within the budget, else the true next member."""
        near = list(islice(self.coalition.members((position + 1) % RING_SIZE), OMITTED + 1))
        return next((peer for peer in near if peer in self.coalition), near[0] if near else None)


class Hide(Attack):
    name = "hide"
    sentence = "Leave ten honest owners out of every table: those that most colluders stand before."

    def begin(self) -> None:
        ring = list(self.coalition.members(0))
        entries = self.coalition.world.parameters.successors

        def exposed(index: int) -> int:
            return sum(ring[index - n - 1] in self.coalition for n in range(min(entries, len(ring) - 1)))

        honest = [index for index, peer in enumerate(ring) if peer not in self.coalition]
        self.victims = [ring[index] for index in sorted(honest, key=lambda index: (-exposed(index), index))[:VICTIMS]]

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        if not self.victims:
            return None
        me = liar.me
        successors = tuple(islice((peer for peer in self._shown(me.id + 1) if peer != me), liar.routing.entries_max))
        fingers = [next(self._shown(finger_start(me.id, k))) for k in liar.routing.fingers_wanted()]
        before = true.predecessor
        if before in self.victims:
            before = self.coalition.last_before(me.id)
        return Lie(before, successors, tuple(fingers), False)

    def _shown(self, position: RingId) -> Iterator[Peer]:
        return (peer for peer in self.coalition.members(position % RING_SIZE) if peer not in self.victims)


class InventDense(Attack):
    name = "invent-dense"
    sentence = "Name addresses that nobody has, dense behind oneself."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        invented = self.coalition.invented(liar.me.id, liar.routing.entries_max)
        return Lie(true.predecessor, invented, true.fingers, False)


class InventSpread(Attack):
    name = "invent-spread"
    sentence = "Name addresses that nobody has, as far apart as members are, and as fingers too."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        me, invented = liar.me, self.coalition.invented
        step = RING_SIZE // max(1, len(self.coalition.world.check.members))
        successors = [invented((me.id + n * step) % RING_SIZE, 1)[0] for n in range(1, liar.routing.entries_max + 1)]
        fingers = [invented(finger_start(me.id, k), 1)[0] for k in liar.routing.fingers_wanted()]
        return Lie(true.predecessor, tuple(dict.fromkeys(successors)), tuple(fingers), False)


class InventAnew(ColludersOnly):
    name = "invent-anew"
    sentence = "Name other invented addresses each second: whoever dials those has no dial left for members."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        lie = super().table(liar, asker, true)
        if lie is None:
            return None
        half = lie.successors[: max(1, liar.routing.entries_max // 2)]
        me, span = liar.me.id, distance(liar.me.id, half[-1].id)
        places = len(half) * ANEW_EACH_S
        second = int(self.coalition.world.now_s) % ANEW_EACH_S
        starts = ((me + span * (n * ANEW_EACH_S + second) // places) % RING_SIZE for n in range(len(half)))
        invented = (self.coalition.invented(start, 1)[0] for start in starts)
        return lie._replace(successors=in_order(liar.me, (*half, *invented)))


class InventThirdParty(Attack):
    name = "invent-third-party"
    sentence = "Name honest members at a port where they do not listen: everybody dials one victim's host in vain."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        peer = self.coalition.world.identity.peer
        closed = [peer(member.host, 7) for member in true.successors if member not in self.coalition]
        return Lie(true.predecessor, tuple(closed), true.fingers, False) if closed else None


class LargerRing(InventDense):
    name = "larger-ring"
    sentence = "Show a ring that looks larger, and tell honest members of it: they are to leave theirs for it."

    def begin(self) -> None:
        honest = self.coalition.honest()
        for liar in self.coalition.live():
            start = liar.me.id % max(1, len(honest))
            told = [honest[(start + n * 7) % len(honest)] for n in range(min(HINTED, len(honest)))]
            liar.asking.tell(told, OtherRing(liar.me.packed))


class Equivocate(ColludersOnly):
    name = "equivocate"
    sentence = "Show two tables with one `seq`: one to every second asker, another to the rest."

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        lie = super().table(liar, asker, true)
        return lie if asker.id % 2 else None
