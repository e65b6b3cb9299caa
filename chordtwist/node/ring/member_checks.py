"""Who is a member of our ring just now, by its own word: asked of whoever a whole list names, and of old neighbours."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.core.small_ring import copied, in_order
from chordtwist.core.table import Table
from chordtwist.node.ring.admission import Admission
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.probing import Probing
from chordtwist.node.ring.tables import NoMember, Tables


class MemberChecks:
    """Asks for one member."""

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        tables: Tables,
        admission: Admission,
        probing: Probing,
        is_known: Callable[[Peer], bool],
        foreign: Callable[[Peer], None],
        clock: IReactorTime,
    ) -> None:
        """@param is_known: whether a peer has ever answered us.
        @param foreign: told of a peer that answers from another ring.
        """
        self._membership = membership
        self._routing = routing
        self._tables = tables
        self._admission = admission
        self._probing = probing
        self._is_known = is_known
        self._foreign = foreign
        self._clock = clock

    def is_elsewhere(self, table: Table, epoch: int | None = None) -> bool:
        """Whether a peer answers from another ring: our member it is no more. One that answers as another run than
        `epoch` has to name one of us: it may have joined afresh anywhere.
        """
        if self._routing.is_foreign(table):
            self._foreign(table.peer)
            return True
        return epoch is not None and table.epoch != epoch and not self._routing.is_named(table)

    def is_newcomer(self, peer: Peer, said: NoMember, epoch: int | None) -> bool:
        """Whether a peer that says it is no member was taken in, or has gone live since we asked, knowing its `epoch`.
        Otherwise it is gone: what it answers just now counts, also in an epoch before that of its last run, as after
        a restart with a wall clock that was set back.
        """
        if self._admission.awaits(peer, said.epoch) or self._tables.epoch_of(peer) not in (None, epoch):
            return True
        self._membership.drop(peer, "is no member any more")
        return False

    def is_overdue(self, peer: Peer) -> bool:
        """Whether a peer that does not show its table was taken in, and has had the time to go live; it is dropped
        then: who answers nothing but pings is no member, and who stood behind it would wait for ever.
        """
        if not self._admission.is_overdue(peer):
            return False
        self._admission.gone(peer)
        self._membership.drop(peer, "has not become a member")
        return True

    async def is_shown(self, peer: Peer) -> bool:
        """Whether a member next to the place of a peer shows it there, asked now, and nobody we list holds that place.

        In a whole ring: what a peer says of itself makes it no member.
        """
        routing = self._routing
        holder = next((entry for entry in routing.successors if entry.id == peer.id and entry != peer), None)
        if holder is not None:
            self._probing.check_all((holder,))
            return False
        for member in dict.fromkeys(reversed(routing.next_to(peer))):
            if member == routing.me:
                if peer == routing.predecessor:
                    return True
                continue
            try:
                table = await self._tables.fetch(member)
            except Unreachable:
                continue
            if table.lists(peer):
                return True
        return False

    async def is_member_still(self, peer: Peer) -> bool:
        """Whether a peer lives as a member, or may yet: False when it is dead, has left, or joins afresh."""
        try:
            await self._tables.fetch(peer)
        except NoMember:
            return False
        except Unreachable:
            return await self._probing.check(peer)
        return True

    async def members(self, table: Table) -> list[Peer] | None:
        """Of a list that will be whole by a head's `table`: the members that we or the head name, and that live. None:
        it will not be whole.
        """
        routing = self._routing
        if not copied(routing.me, table.extended, routing.entries_max)[1]:
            return None
        theirs = dict.fromkeys((table.peer, *table.successors))
        before = routing.predecessor
        closing: list[Peer] = []
        if before is not None and before not in theirs and before not in routing.successors:
            # Our list closes just behind it, and the head's may close without it.
            closing = [before] if await self._is_member_now(before) else []
        ours = dict.fromkeys(routing.successors)
        unsure = [peer for peer in in_order(routing.me, (*ours, *theirs)) if (peer in ours) != (peer in theirs)]
        ours.update(dict.fromkeys(closing))
        outside: dict[Peer, None] = {}
        silent: dict[Peer, None] = {}
        routing.removed.clear()
        await DeferredList([self._see_status(peer, outside, silent) for peer in unsure])
        now_ours = dict.fromkeys(routing.successors)
        # Whoever is silent and was met before is kept until it is dead by the rule, which a check finds out: left out
        # of a list that calls itself whole, a live member would be skipped. One that never answered is a name that
        # somebody brought, and is asked again by later rounds.
        now = self._clock.seconds()
        left_out = {
            peer
            for peer in silent
            if peer not in now_ours and (not self._is_known(peer) or self._probing.liveness.is_dead(peer, now))
        }
        self._probing.check_all(peer for peer in silent if peer not in left_out)
        gone = {*outside, *left_out, *routing.removed}
        return [peer for peer in dict.fromkeys((*now_ours, *ours, *theirs)) if peer in now_ours or peer not in gone]

    def _is_member_now(self, peer: Peer) -> Deferred[bool]:
        """Whether a peer answers at once as a member of our ring."""
        return self._tables.fetch(peer).addCallbacks(
            lambda table: not self.is_elsewhere(table), lambda failure: failure.trap(Unreachable) is None
        )

    def _see_status(self, peer: Peer, outside: dict[Peer, None], silent: dict[Peer, None]) -> Deferred[None]:
        """Note whether a peer is outside of our ring, or silent. One that still joins is outside: it must not get into
        lists by being copied, since nobody would take it out again when it withdraws. It announces itself to everybody
        before it goes live.
        """

        def answered(table: Table) -> None:
            if self.is_elsewhere(table):
                outside[peer] = None

        def refused(failure: Failure) -> None:
            failure.trap(Unreachable)
            said = failure.value
            if isinstance(said, NoMember):
                self.is_newcomer(peer, said, epoch)
                outside[peer] = None
            elif self.is_overdue(peer):
                outside[peer] = None
            else:
                silent[peer] = None

        epoch = self._tables.epoch_of(peer)
        return self._tables.fetch(peer).addCallbacks(answered, refused)
