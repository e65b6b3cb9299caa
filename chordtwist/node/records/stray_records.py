"""Returning what nobody is responsible for here: it goes to its owner, then it is dropped."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chordtwist.core.errors import ChordtwistError
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.records import Entry
from chordtwist.core.ring import Arc, RingId, distance
from chordtwist.node.chores import Chore
from chordtwist.node.records.local_records import COPIES_MAX, LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.reconciling import Reconciling
from chordtwist.node.records.served_arcs import ServedArcs
from chordtwist.wire.peer_messages import MARKS_MAX

TIDY_S = 20.0
"""How often a node looks for what it keeps and nobody counts on it for: where newcomers took an arc over from newcomers
this may be all there is. Not sooner after a change, since a newcomer is still fetching its arc then."""

TIDY_AFTER_S = 20.0
"""After joining: by then every owner that counts on us has compared once, and the rest of what a restart found on disk
is not ours any more."""

TIDIED_AT_ONCE = 8
"""Owners looked up at a time for what nobody is responsible for here."""


class StrayRecords:
    """Tidies one node's store."""

    _log = Logger()

    def __init__(
        self,
        me: Peer,
        local_records: LocalRecords,
        locating: Locating,
        reconciling: Reconciling,
        served_arcs: ServedArcs,
        own: Callable[[], Arc | None],
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param own: what we own, once its records are here."""
        self._me = me
        self._local_records = local_records
        self._locating = locating
        self._reconciling = reconciling
        self._served_arcs = served_arcs
        self._own = own
        self._clock = clock
        self.chore = Chore("tidy", self._tidy, clock, rng, TIDY_S)
        self._joined_s = clock.seconds()
        self._was_member = False
        self._tidied: tuple[int, Arc, list[tuple[Arc, int]]] | None = None
        """What was kept, by its changes, our arc, and those of our duties, when there was nothing to tidy."""
        self._next: RingId | None = None
        """Behind which position the next look begins, where the last one left something for it."""
        self.dropped = 0
        """Records dropped as surplus."""

    def start(self) -> None:
        """Tidy until `stop`, as soon as there is something."""
        self.chore.start()

    def stop(self) -> None:
        """Look up no more owners."""
        self.chore.stop()

    def joined(self) -> None:
        """Begin as a member."""
        # Who was a member of another ring brings records that nobody here asks for: they are brought to their owners at
        # once. What a first start found on disk mostly is where it belongs.
        self._joined_s = self._clock.seconds() - (TIDY_AFTER_S if self._was_member else 0.0)
        self._was_member = True

    def hurry(self) -> None:
        """Look soon, since our arc is here: what nobody counts on us for may be told from the rest."""
        self.chore.hurry()

    def _tidy(self) -> Deferred[None] | None:
        """Bring records that no owner has compared for a while to their owner, and drop them when all replicas have
        them.
        """
        own = self._own()
        if own is None or self._clock.seconds() - self._joined_s < TIDY_AFTER_S:
            return None
        if (self._local_records.changes, own, self._served_arcs.arcs()) == self._tidied:
            return None
        return Deferred.fromCoroutine(self._bring_home(own))

    async def _bring_home(self, own: Arc) -> None:
        looked_at = self._local_records.changes, own, self._served_arcs.arcs()
        looked_up = 0
        surplus = self._served_arcs.surplus(own)
        if self._next is not None:
            surplus = _from(self._next, surplus)
            self._next = None
        for arc, copies_max in surplus:
            held = await self._local_records.summary(arc, 0)
            if copies_max < COPIES_MAX:
                held -= await self._local_records.summary(arc, copies_max)
            left: Arc | None = arc
            while held.count and left is not None and self.chore.running:
                if looked_up == TIDIED_AT_ONCE:
                    self._next = left.after
                    return
                looked_up += 1
                left = await self._return(left, copies_max)
        if not looked_up:
            self._tidied = looked_at

    async def _return(self, arc: Arc, copies_max: int) -> Arc | None:
        """Bring the first records of `arc` to their owner; answers what is left of the arc behind it, also when that
        could not be done.
        """
        first = await self._local_records.entries(arc, 0, copies_max, at_most=1)
        if not first:
            return None
        try:
            route = await self._locating.find(first[0].position)
        except ChordtwistError as error:
            self._log.debug("who keeps what is kept for others was not found: {error}", error=error)
            return None
        owner = route.owner
        is_last = distance(first[0].position, owner.id) >= distance(first[0].position, arc.upto)
        piece = Arc(arc.after, arc.upto if is_last else owner.id)
        behind_owner = None if is_last else Arc(owner.id, arc.upto)
        held = await self._local_records.entries(piece, 0, copies_max, at_most=MARKS_MAX)
        if len(held) == MARKS_MAX:
            piece, is_last = Arc(piece.after, held[-1].position), False
        try:
            await self._return_piece(piece, held, route)
        except ChordtwistError as error:
            self._log.debug("what is kept for others was not returned: {error}", error=error)
            return behind_owner
        return None if is_last else Arc(piece.upto, arc.upto)

    async def _return_piece(self, piece: Arc, held: list[Entry], route: Route) -> None:
        """Bring them, which all lie in `piece`, to their owner, and drop those that all replicas have.

        @raise ChordtwistError: one of these did not answer as it should.
        """
        replicas = list(route.replicas)
        my_rank = replicas.index(self._me) if self._me in replicas else len(replicas)
        missing_somewhere: set[bytes] = set()
        for rank, peer in enumerate(replicas):
            here = [entry for entry in held if entry.copies > rank]
            if not here:
                break
            if peer == self._me:
                continue
            lacking = await self._reconciling.lacking(peer, piece, rank, here)
            missing_somewhere.update(lacking)
            if rank == 0:
                await self._reconciling.send(peer, lacking)
        for entry in held:
            if entry.copies > min(my_rank, len(replicas)) or entry.key in missing_somewhere:
                continue
            versioned = self._local_records.get(entry.key)
            if versioned is not None and versioned.version == entry.version:
                self._local_records.remove(entry.key)
                self.dropped += 1


def _from(after: RingId, arcs: list[tuple[Arc, int]]) -> list[tuple[Arc, int]]:
    """Turn the arcs so that they begin behind that position; the one that it lies in is cut there."""
    for number, (arc, copies_max) in enumerate(arcs):
        if after in arc and after != arc.upto:
            return [
                (Arc(after, arc.upto), copies_max),
                *arcs[number + 1 :],
                *arcs[:number],
                (Arc(arc.after, after), copies_max),
            ]
        if after == arc.after:
            return arcs[number:] + arcs[:number]
    return arcs
