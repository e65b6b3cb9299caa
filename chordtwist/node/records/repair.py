"""Keeping every record at its replicas while members come and go.

The owner of an arc compares what it keeps with each of its replicas and sends what is missing there, both ways. A
newcomer compares its arc with the old owner in the same way, and a leaver with its successor. How two compare stands in
`reconciling`, what becomes of records that nobody is responsible for in `stray_records`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.errors import ChordtwistError
from chordtwist.core.peer import Peer
from chordtwist.core.records import Versioned
from chordtwist.core.ring import Arc, distance, position_bytes
from chordtwist.node.chores import Chore
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.reconciling import Reconciling
from chordtwist.node.records.served_arcs import ServedArcs
from chordtwist.node.records.stray_records import StrayRecords
from chordtwist.wire.peer_messages import Release

ROUND_S = 60.0
"""Between two rounds with nothing to repair: some 110 bytes to each replica, both ways. Between rounds every put and
every read repairs what it meets."""

SOON_S = 1.0
"""After a change of the ring: a few rounds of stabilization, so that those who change together are seen together."""

DAMPED_S = 3.0
"""Between the beginnings of two rounds at least, however often the ring changes."""

COMPARED_WITHIN_S = 300.0
"""One peer may take so long: enough for some gigabytes. What was sent until then counts; the next round goes on."""

SWEEPS_MAX = 100
"""Batches of expired records removed before a round; a full disk may bring the same batch again and again."""

PULLED_WITHIN_S = 60.0
"""After so long a newcomer goes on with the next peer, who has the same: one that only seems to bring it on does not
keep it from answering for its arc. What came until then counts."""

PULL_AGAIN_S = 1.0
PULLS_MAX = 10
"""How often a newcomer tries to get its arc from somebody; then it serves what it has, and the rounds do the rest."""

ON_THEIR_WAY_S = 1.0
ON_THEIR_WAY_TRIES = 10
"""How long a leaver waits for its last puts: a few round trips. Then its successor brings them where they belong."""


class Repair:
    """The duty of one node to its records."""

    _log = Logger()

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        locating: Locating,
        reconciling: Reconciling,
        served_arcs: ServedArcs,
        clock: IReactorTime,
        pauses: Pauses,
        rng: Random,
        copies: int,
    ) -> None:
        self._ring = ring
        self._local_records = local_records
        self._reconciling = reconciling
        self._served_arcs = served_arcs
        self._clock = clock
        self._pauses = pauses
        self._copies = copies
        self._pulls = 0
        self._pull: Deferred[None] | None = None
        self._comparing: dict[Peer, Deferred[bool]] = {}
        self.chore = Chore(
            "repair",
            lambda: Deferred.fromCoroutine(self.round()),
            clock,
            rng,
            ROUND_S,
            hurried_s=SOON_S,
            spacing_s=DAMPED_S,
        )
        self.stray_records = StrayRecords(
            ring.me, local_records, locating, reconciling, served_arcs, self._settled, clock, rng
        )
        self._level_with: tuple[Arc, tuple[Peer, ...]] | None = None
        """Our arc, and its replicas, when the last round has found all of them in step; a list goes far beyond them."""
        self._counted_on: tuple[Peer, ...] = ()
        """The replicas that the last round compared."""
        self._replicas_max = copies - 1
        """Those that were compared, a few more than usual where a record has more copies than usual."""
        self.pulling = False
        """Whether our arc is still coming from the old owner."""
        self._awaited: Arc | None = None
        """What was ours when that began: others may have taken parts of it over since."""
        self.leaving = False
        """Whether what is here is being handed over: nothing more is taken."""
        self.arc: Arc | None = None
        """What this node owns; None while it is no member or does not know its predecessor."""
        self.rounds = 0
        """Those that compared something."""
        self.not_taken = 0
        """Copies that replicas of our arc refused in the last round."""

    # Its node's life

    def start(self) -> None:
        """Do rounds until `stop`."""
        self.stray_records.start()
        self.chore.start()

    def stop(self) -> None:
        """End every timer and what is under way."""
        self.chore.stop()
        self.stray_records.stop()
        self._stop_comparing()
        if self._pull is not None:
            self._pull.cancel()

    def joined(self, old_owner: Peer | None) -> None:
        """We are a member now: our arc is pulled from `old_owner`, unless we are the first."""
        self.leaving = False
        self.stray_records.joined()
        self.arc = self._owned()
        self._served_arcs.clear()
        if old_owner is None:
            self.soon()
        else:
            self._pull = Deferred.fromCoroutine(self.pull(old_owner))
            self._pull.addErrback(self._not_pulled)

    def ring_changed(self) -> None:
        """Another predecessor, or other replicas."""
        arc = self.arc = self._owned()
        for peer, comparing in list(self._comparing.items()):
            if peer not in self._ring.successors:
                # It is dead or gone: the round that should replace its copies must not wait for its answer.
                comparing.cancel()
        if arc is None or self._level_with != (arc, self._ring.successors[: self._replicas_max]):
            self.soon()

    def soon(self) -> None:
        """Compare soon, but not again and again while the ring goes on changing."""
        self.chore.hurry()

    def _not_pulled(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("pulling our part of the ring failed; the rounds bring it", failure)

    # The round of an owner

    def _owned(self) -> Arc | None:
        ring = self._ring
        if not ring.is_member:
            return None
        if ring.predecessor is None:
            return Arc(ring.me.id, ring.me.id) if not ring.successors else None
        return Arc(ring.predecessor.id, ring.me.id)

    def _settled(self) -> Arc | None:
        """Name what we own, once its records are here."""
        return None if self.pulling else self.arc

    async def round(self) -> None:
        """Compare our arc with its replicas."""
        for _ in range(SWEEPS_MAX):
            if not self._local_records.sweep():
                break
            await self._pauses.pause()
        arc = self._settled()
        if arc is None:
            return
        self.rounds += 1
        not_taken = self._reconciling.not_taken
        replicas = [peer for peer in self._ring.successors if peer != self._ring.me]
        outcomes: list[Deferred[bool]] = []
        for copies_above, peer in enumerate(replicas, 1):
            if copies_above >= self._copies and not (await self._local_records.summary(arc, copies_above)).count:
                break
            outcome = self._comparing[peer] = Deferred.fromCoroutine(self._compared(peer, arc, copies_above))
            outcomes.append(outcome)
        self._release(arc, tuple(self._comparing))
        limit = self._clock.callLater(COMPARED_WITHIN_S, self._stop_comparing)
        answered = await DeferredList(outcomes)
        if limit.active():
            limit.cancel()
        self._comparing.clear()
        self.not_taken = self._reconciling.not_taken - not_taken
        self._replicas_max = max(self._copies - 1, len(outcomes))
        is_level = all(right for _, right in answered)
        self._level_with = (arc, tuple(replicas[: self._replicas_max])) if is_level else None

    def _release(self, arc: Arc, replicas: tuple[Peer, ...]) -> None:
        """Tell those behind our replicas that were replicas until now: no record has so many copies that we count on
        them. By themselves they would notice much later.
        """
        former, self._counted_on = self._counted_on, replicas
        me = self._ring.me.id
        last = max((distance(me, peer.id) for peer in replicas), default=0)
        for peer in former:
            if distance(me, peer.id) > last:
                released = Release(position_bytes(arc.after), position_bytes(arc.upto))
                self._ring.ask(peer, released).addErrback(lambda failure: None)

    def _stop_comparing(self) -> None:
        for comparing in list(self._comparing.values()):
            comparing.cancel()

    async def _compared(self, peer: Peer, arc: Arc, copies_above: int) -> bool:
        """Whether we keep what `peer` keeps of our arc now."""
        refused = self._reconciling.refused
        try:
            await self._reconciling.reconcile(peer, arc, copies_above, as_owner=True)
        except (ChordtwistError, CancelledError) as error:
            self._log.debug("{peer} was not compared with: {error}", peer=str(peer), error=error)
            return False
        except Exception:
            self._log.failure("comparing with {peer} failed", peer=str(peer))
            return False
        return refused == self._reconciling.refused

    # Coming and going

    async def pull(self, old_owner: Peer) -> None:
        """Get our arc from the old owner, or when it fails from those behind it, who keep copies."""
        self._pulls += 1
        this = self._pulls
        self.pulling, self._awaited = True, self.arc
        try:
            for _ in range(PULLS_MAX):
                for peer in dict.fromkeys((old_owner, *self._ring.successors)):
                    arc = self.arc
                    if arc is None or not self.chore.running or this != self._pulls:
                        return
                    if peer != self._ring.me and await self._pulled(peer, arc):
                        return
                if not self._ring.successors:
                    return
                await self._pauses.wait(PULL_AGAIN_S)
            self._log.warn("nobody handed our part of the ring over; copies elsewhere will be found")
        finally:
            if this == self._pulls:
                self.pulling = False
                self.soon()
                self.stray_records.hurry()

    def awaits(self, arc: Arc) -> bool:
        """Whether records of an arc are still coming: what is here tells nobody what there is."""
        return self.pulling and self._awaited is not None and arc.upto in self._awaited

    async def _pulled(self, peer: Peer, arc: Arc) -> bool:
        try:
            await self._reconciling.reconcile(peer, arc, 0).addTimeout(PULLED_WITHIN_S, self._clock)
        except (ChordtwistError, TimeoutError) as error:
            self._log.debug("{peer} did not hand our arc over: {error}", peer=str(peer), error=error)
            return False
        return True

    async def hand_over(self, on_their_way: Callable[[], list[Versioned]]) -> None:
        """Give the successor, before we leave, everything of our arc that it lacks, what nobody counts on us for, and
        what has been put here and has not reached its replicas in `ON_THEIR_WAY_S`.
        """
        self.leaving = True
        arc = self.arc
        if arc is None:
            return
        for peer in self._ring.successors:
            try:
                await self._reconciling.reconcile(peer, arc, 0, both=False)
                # Perhaps our predecessor is leaving too, and has just handed us its part: nobody else has that.
                for piece, copies_max in self._served_arcs.surplus(arc):
                    await self._reconciling.give(peer, piece, copies_max)
                for _ in range(ON_THEIR_WAY_TRIES):
                    if not on_their_way():
                        return
                    await self._pauses.wait(ON_THEIR_WAY_S / ON_THEIR_WAY_TRIES)
                await self._reconciling.send_all(peer, on_their_way())
                return
            except ChordtwistError as error:
                self._log.debug("{peer} did not take our records: {error}", peer=str(peer), error=error)
