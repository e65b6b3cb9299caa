"""Two rings of one network that meet become one: the members of the smaller join the other afresh, one by one."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chordtwist.core.allowance import Allowance
from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Lookup
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.core.table import Table, members_by_density
from chordtwist.node.chores import Chore
from chordtwist.node.ring.asking import Asking, answers_to
from chordtwist.node.ring.bootstrap import Bootstrap
from chordtwist.node.ring.comparing import Comparing
from chordtwist.node.ring.joining import Joining
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.search import search
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.wire.peer_messages import OtherRing

MERGE_FIRST_S, MERGE_SLOWEST_S = 5.0, 30.0
"""How often a lost or listed peer outside of our ring is looked at: soon after joining, later every half minute."""

LOOKERS = 64
LOOKERS_SHARING_MIN, LOOKERS_SHARING_MAX = 4, 16
"""In a large ring, where looking costs a whole search, only one look in so many is done, so that about `LOOKERS`
members do one in each interval. Nobody's turn takes more than 8 minutes to come: he may be the one that was told of the
other ring."""

HINTS_PER_S, HINTS_AT_ONCE = 0.2, 2.0
"""Looks at one peer that may belong to another ring, on anybody's word, its own included: two rings that meet need one.
Each is a search or two, and there is one at a time."""

COMPARED_PER_S, COMPARED_AT_ONCE = 1 / 60, 1.0
"""How often this node compares rings: that is 130 searches each time, and a hint must not make it search for ever."""

COMPARED_AGAIN_PER_S = 1 / 300
"""The same for one member of another ring. It is told of ours each time, and may come by itself."""

CLAIMS_MIN = 0.5
"""A ring that claims to have less than this share of our members is not looked at: staying needs no proof."""

LOOKS_AT_OTHER_RING, LOOK_AGAIN_S = 2, 2.0
"""A ring that does not hold us must say so twice before we believe it: we may just not be linked in yet."""


class Merging:
    """Looks for other rings of our network, for one member, and gives way to the larger."""

    _log = Logger()

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        statements: Statements,
        tables: Tables,
        asking: Asking,
        bootstrap: Bootstrap,
        joining: Joining,
        comparing: Comparing,
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        self._membership = membership
        self._routing = routing
        self._statements = statements
        self._tables = tables
        self._asking = asking
        self._bootstrap = bootstrap
        self._joining = joining
        self._comparing = comparing
        self._clock = clock
        self._rng = rng
        self._looking = False
        self._hints = Allowance(HINTS_PER_S, HINTS_AT_ONCE)
        self._is_comparing = False
        self._compared = Allowance(COMPARED_PER_S, COMPARED_AT_ONCE)
        self._compared_with = Allowance(COMPARED_AGAIN_PER_S, 0)
        self.chore = Chore("merge", self.look, clock, rng, MERGE_FIRST_S, MERGE_SLOWEST_S)

    def look(self) -> Deferred[None] | None:
        """Look whether somebody who is listed, or was lost, belongs to another ring; None when it is others' turn."""
        members = self._statements.table.members_estimate()
        sharing = max(LOOKERS_SHARING_MIN, min(LOOKERS_SHARING_MAX, members / LOOKERS))
        if not self._membership.is_member or not (self._routing.whole or self._rng.random() * sharing < 1):
            return None
        return Deferred.fromCoroutine(self._look())

    async def _look(self) -> None:
        known = await self._bootstrap.anybody()
        ours = {peer.packed for peer in self._statements.table.everybody()}
        strangers = [peer for peer in known if peer.packed not in ours]
        if strangers:
            await self._meet(await self.ring_of(strangers[int(self._rng.random() * len(strangers))]))

    def look_at(self, peer: Peer) -> None:
        """Look whether a peer belongs to another ring, soon; one at a time, and none too often."""
        now = self._clock.seconds()
        if not self._looking and self._hints.wait_s(peer.id, now) <= 0:
            self._hints.spend(peer.id, 1, now)
            self._looking = True
            Deferred.fromCoroutine(self._look_at(peer)).addErrback(
                lambda failure: self._log.failure("looking at another ring failed", failure)
            )

    async def _look_at(self, peer: Peer) -> None:
        try:
            await self._meet(await self.ring_of(peer))
        finally:
            self._looking = False

    async def ring_of(self, peer: Peer) -> Table | None:
        """Look our own place up in the ring of `peer`: the table of the member before it, when that ring does not hold
        us, though our own does.
        """
        for look in range(LOOKS_AT_OTHER_RING):
            if look:
                await deferLater(self._clock, LOOK_AGAIN_S)
            try:
                before = await self._place_in_ring_of(peer)
            except Unreachable:
                return None
            self._bootstrap.found(peer)
            table = self._statements.table
            is_alone = table.whole and not table.successors
            # A ring of one is no part of a larger ring: that lists an older run of ours.
            if before.peer in table.everybody() or (table.peer in before.everybody() and not is_alone):
                return None
            if is_alone:
                break
        return before

    async def _place_in_ring_of(self, peer: Peer) -> Table:
        """Find the table of the member before our place, by the word of that ring alone.

        @raise Unreachable: nobody there can be asked.
        """
        me = self._routing.me
        lookup = Lookup(me.id, excluded=me)
        lookup.hear((peer,))
        await search(lookup, self._tables.fetch, self._clock)
        while (before := lookup.before) is not None:
            # The owner's word ends a search; the member before it may not have been asked yet.
            table = lookup.predecessor
            if table is not None:
                return table
            try:
                lookup.answered(await self._tables.fetch(before))
            except Unreachable:
                lookup.unreachable(before)
        raise Unreachable(peer, "nobody there shows a table")

    async def _meet(self, other: Table | None) -> None:
        """Another ring of our network, if any: one of the two joins the other."""
        if other is None or not self._membership.is_member:
            return
        is_larger = await self._is_larger(other)
        if is_larger is None or not self._membership.is_member:
            return
        if not is_larger:
            self._asking.tell((other.peer,), OtherRing(self._routing.me.packed))
            return
        self._log.info("joining the larger ring of {peer}", peer=str(other.peer))
        neighbours = self._routing.everybody()
        self._asking.tell(neighbours, OtherRing(other.peer.packed)).addCallback(
            lambda _: self._membership.rejoin((other.peer,))
        ).addErrback(lambda failure: self._log.failure("joining the larger ring failed", failure))

    async def _is_larger(self, other: Table) -> bool | None:
        """Whether our own dial finds the ring of `other` to be the larger; None when it is not shown to be a ring.

        How large it is, a table only says: nobody's word must dissolve our ring.
        """
        table = self._statements.table
        if table.whole:
            if not gives_way(table, other):
                return False
            is_shown = not table.successors or await self._joining.has_living(
                other.everybody(), len(table.successors) + 1, self._is_outside
            )
            return True if is_shown else None
        if other.members_estimate() < CLAIMS_MIN * table.members_estimate():
            return False
        if not self._may_compare(other.peer):
            return False
        self._is_comparing = True
        try:
            answering = await self._answering(other)
            if 2 * len(answering) < len(other.successors):
                return None
            is_larger = await self._comparing.is_larger(other)
        finally:
            self._is_comparing = False
        if is_larger is not None:
            return is_larger
        # The points show one ring: the others of ours have joined it already, or it holds us, and hides that.
        return bool(answering) and members_by_density(other.peer, answering) > table.members_estimate()

    def _is_outside(self, shown: Table) -> bool:
        """Whether a member is none of our whole ring, in which each names all others."""
        me, ours = self._routing.me, self._statements.table.successors
        return shown.peer not in ours and not shown.lists(me)

    def _may_compare(self, member: Peer) -> bool:
        now = self._clock.seconds()
        if self._is_comparing or self._compared.wait_s("", now) > 0 or self._compared_with.wait_s(member, now) > 0:
            return False
        self._compared.spend("", 1, now)
        self._compared_with.spend(member, 1, now)
        return True

    async def _answering(self, other: Table) -> list[Peer]:
        """List the successors of `other` that show tables and are none of ours, nearest first."""
        ours = self._statements.table.successors
        shown = await answers_to(self._tables.fetch(peer) for peer in other.successors if peer not in ours)
        return [table.peer for table in shown if table is not None]


def gives_way(ours: Table, theirs: Table) -> bool:
    """Which of two rings that met joins the other: the smaller one, or that without the smallest id; both agree."""
    mine, other = ours.members_estimate(), theirs.members_estimate()
    return mine < other or (mine == other and _lowest(ours) > _lowest(theirs))


def _lowest(table: Table) -> int:
    return min(peer.id for peer in table.everybody())
