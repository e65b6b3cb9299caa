"""Walking round the circle: one member after another is met, so that the address book knows whom there is.

A table names the members behind its owner. The next visit is paid to one of them, whom we know least of, as near to the
end of that list as can be: so a walk round the ring takes one visit for each list's length, and each walk meets others.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.errors import NotDialled, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, distance
from chordtwist.core.routing import Routing
from chordtwist.node.chores import Chore
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.tables import Tables

VISIT_BYTES = 1000
"""What a visit costs over IPv4 and without TLS: two Hellos, a question, a table, a Goodbye."""

FIRST_WALK_S = 0.5
"""Between two visits of a newcomer's first walk, which is in haste: whom it has met by then are its neighbours, and
those that a few contacts told it of, be they liars."""

WALK_AGAIN_S = 600.0
"""A walk begins so long after the one before at least: in small rings the walker rests."""

WALK_ANEW_S = 20.0
"""The same while the lists of those met do not reach over half of the ring: the walk was in vain for the most part."""


class Walker:
    """Pays the visits of one member."""

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        tables: Tables,
        asking: Asking,
        clock: IReactorTime,
        rng: Random,
        bytes_per_s: float,
    ) -> None:
        """@param bytes_per_s: what visits may cost, on average."""
        self._membership = membership
        self._routing = routing
        self._tables = tables
        self._asking = asking
        self._clock = clock
        self._set_out()
        self.chore = Chore("walk", self.visit, clock, rng, FIRST_WALK_S, VISIT_BYTES / bytes_per_s)

    def begin_anew(self, old_owner: Peer | None = None) -> None:
        """Walk round in haste, since we have become a member: of whose ring, only a few have told us."""
        self._set_out()
        self._tables.book.is_walked = False
        self.chore.hurry()

    def _set_out(self) -> None:
        self._at = self._end = self._routing.me.id
        """Who was visited last, and how far its list reaches."""
        self._began_s = -WALK_AGAIN_S
        self._covered = 0
        """How much of the ring the lists of those reach over that the walk under way has met."""

    def visit(self) -> Deferred[bool] | bool:
        """Visit the next member, unless our own list names all, or the last walk is over and was lately. Answers
        whether the next visit is in haste: while a first walk is answered.
        """
        if not self._membership.is_member or self._routing.whole or (peer := self._next()) is None:
            return False
        # Others are dialled now: who is not comes next again.
        return Deferred.fromCoroutine(self._visit(peer)).addErrback(lambda failure: failure.trap(NotDialled) is None)

    def meet_everybody(self) -> Deferred[None]:
        """Visit one member after another at once until a walk round the ring has met nobody new, whatever it costs; or
        until somebody may not be dialled now.
        """
        return Deferred.fromCoroutine(self._meet_everybody()).addErrback(
            lambda failure: failure.trap(NotDialled) and None
        )

    async def _meet_everybody(self) -> None:
        book, before = self._tables.book, -1
        while book.met_count > before and not self._routing.whole:
            before = book.met_count
            self._began_s = -WALK_AGAIN_S
            while (peer := self._next()) is not None:
                await self._visit(peer)

    def _next(self) -> Peer | None:
        me, book = self._routing.me, self._tables.book
        peer = book.stalest(self._at, self._end)
        if peer is None:
            peer = next(iter(book.behind((self._end + 1) % RING_SIZE, 1)), None)
        if peer is not None and 0 < distance(me.id, self._at) < distance(me.id, peer.id):
            return peer
        # It is once round.
        if 2 * self._covered > RING_SIZE:
            book.is_walked = True
        now = self._clock.seconds()
        if now - self._began_s < (WALK_AGAIN_S if book.is_walked else WALK_ANEW_S):
            return None
        if not self._routing.successors:
            return None  # all have died, and whom we go on with is looked for elsewhere
        self._began_s = now
        # Our own list is looked after anyway; its last entry goes on from there.
        before, last = (me, *self._routing.successors)[-2:]
        self._at, self._end = before.id, last.id
        self._covered = distance(me.id, last.id)
        return last

    async def _visit(self, peer: Peer) -> bool:
        try:
            table = await self._tables.fetch(peer, self._asking.ask_once)
        except NotDialled:
            raise  # it may live: the walk passes nobody over for that
        except Unreachable:
            self._end = (peer.id - 1) % RING_SIZE  # those before it may lead over it
            return False
        last = peer if table.whole else (peer, *table.successors)[-1]
        # A list that reaches farther than ours leaves somebody out, perhaps.
        reach = min(distance(peer.id, last.id), self._routing.span)
        self._covered += reach
        self._at, self._end = peer.id, (peer.id + reach) % RING_SIZE
        return not self._tables.book.is_walked
