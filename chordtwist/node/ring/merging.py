"""Two rings of one network that meet become one: the members of the smaller join the other afresh, one by one."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chordtwist.core.allowance import Allowance
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.core.table import Table
from chordtwist.node.chores import Chore
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.bootstrap import Bootstrap
from chordtwist.node.ring.joining import Joining
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.statements import Statements
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
        asking: Asking,
        bootstrap: Bootstrap,
        joining: Joining,
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        self._membership = membership
        self._routing = routing
        self._statements = statements
        self._asking = asking
        self._bootstrap = bootstrap
        self._joining = joining
        self._clock = clock
        self._rng = rng
        self._looking = False
        self._hints = Allowance(HINTS_PER_S, HINTS_AT_ONCE)
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
            self._meet(await self.ring_of(strangers[int(self._rng.random() * len(strangers))]))

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
            other = await self.ring_of(peer)
        finally:
            self._looking = False
        self._meet(other)

    async def ring_of(self, peer: Peer) -> Table | None:
        """Look our own place up in the ring of `peer`: the table of the member before it, when that ring does not hold
        us, though our own does. One to give way to must also have as many members that answer as ours shows us.
        """
        for look in range(LOOKS_AT_OTHER_RING):
            if look:
                await deferLater(self._clock, LOOK_AGAIN_S)
            try:
                before = await self._joining.find_place([peer])
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
        # How large it is, a table only says: a stranger's word must not dissolve our ring.
        needed = len(table.successors) + 1
        if not is_alone and gives_way(table, before) and not await self._joining.has_living(before, needed):
            return None
        return before

    def _meet(self, other: Table | None) -> None:
        """Another ring of our network, if any: one of the two joins the other."""
        if other is None or not self._membership.is_member:
            return
        if not gives_way(self._statements.table, other):
            self._asking.tell((other.peer,), OtherRing(self._routing.me.packed))
            return
        self._log.info("joining the larger ring of {peer}", peer=str(other.peer))
        neighbours = self._routing.everybody()
        self._asking.tell(neighbours, OtherRing(other.peer.packed)).addCallback(
            lambda _: self._membership.rejoin((other.peer,))
        ).addErrback(lambda failure: self._log.failure("joining the larger ring failed", failure))


def gives_way(ours: Table, theirs: Table) -> bool:
    """Which of two rings that met joins the other: the smaller one, or that without the smallest id; both agree."""
    mine, other = ours.members_estimate(), theirs.members_estimate()
    return mine < other or (mine == other and _lowest(ours) > _lowest(theirs))


def _lowest(table: Table) -> int:
    return min(peer.id for peer in table.everybody())
