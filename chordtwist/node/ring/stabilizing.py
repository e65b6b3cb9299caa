"""Stabilize: how a member keeps its successor list right, round by round (Zave's corrected Chord, section 5: from the
successor, then from the successor's predecessor; Chord paper, section 5.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Lookup
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, between
from chordtwist.core.routing import Routing
from chordtwist.core.small_ring import Successors
from chordtwist.core.table import Table
from chordtwist.node.chores import Chore
from chordtwist.node.ring.admission import LIVE, Admission
from chordtwist.node.ring.asking import Asking, answers_to
from chordtwist.node.ring.bootstrap import Bootstrap
from chordtwist.node.ring.member_checks import MemberChecks
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.probing import Probing
from chordtwist.node.ring.search import search
from chordtwist.node.ring.tables import NoMember, Tables
from chordtwist.node.ring.uniting import Before, Uniting
from chordtwist.wire.peer_messages import Announce, Changed, Notify

STABILIZE_SLOWEST = 5
"""A quiet ring is looked at so many times less often than a changing one: a death without a sound is noticed within
5 x 1.5 s + dead_after, one that resets its links at once."""

WALKED_AT_ONCE = 64
"""Members that one round steps over towards ourselves, each reached before it is adopted."""


class Stabilizing:
    """The duty of one member to its successor list."""

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        asking: Asking,
        tables: Tables,
        probing: Probing,
        admission: Admission,
        member_checks: MemberChecks,
        uniting: Uniting,
        bootstrap: Bootstrap,
        clock: IReactorTime,
        rng: Random,
        interval_s: float,
    ) -> None:
        self._membership = membership
        self._routing = routing
        self._asking = asking
        self._tables = tables
        self._probing = probing
        self._admission = admission
        self._member_checks = member_checks
        self._uniting = uniting
        uniting.hurry = self.hurry
        self._bootstrap = bootstrap
        self._clock = clock
        self._settled: tuple[Table, int] | None = None
        """What our head showed, and our state of then, when another round could only have found the same."""
        self._head_met: tuple[Peer, int] | None = None
        self._closer: Peer | None = None
        """Somebody before our head, by its own word."""
        self._shown: tuple[Successors, bool] = ((), False)
        self.chore = Chore(
            "stabilize",
            lambda: Deferred.fromCoroutine(self.round()),
            clock,
            rng,
            interval_s,
            interval_s * STABILIZE_SLOWEST,
            probing.liveness.excuse,
        )

    # When

    def start(self) -> None:
        """Do rounds until `stop`, the first one at once."""
        self.chore.start()
        self.chore.hurry()

    def stop(self) -> None:
        """Do no more rounds; one that is under way ends by itself."""
        self.chore.stop()

    def hurry(self) -> None:
        """Something happened: do a round at once."""
        self.chore.hurry()

    def peer_changed(self, peer: Peer) -> None:
        """Hear from a peer that its list is another, and do a round at once where that matters."""
        routing = self._routing
        head = routing.head
        if peer == head:
            self.hurry()
        elif head is not None and between(routing.me.id, peer.id, head.id):
            # A newcomer in front of our head: no need to wait until the head has told us of it.
            self._closer = peer
            self.hurry()

    def ring_changed(self) -> None:
        """Tell our predecessor, when our list is another."""
        routing = self._routing
        shown = routing.successors[: routing.entries_max - 1], routing.whole
        if shown != self._shown:
            # What we know travels backwards around the ring, a list's length far: round by round that takes a minute.
            self._shown = shown
            if self._membership.is_member and routing.predecessor is not None:
                self._asking.tell((routing.predecessor,), Changed())

    def dropped(self, peer: Peer, was_head: bool) -> None:
        """Forget as which run a peer was met, since it was dropped; do a round at once where our list needs one."""
        if self._head_met is not None and self._head_met[0] == peer:
            self._head_met = None
        routing = self._routing
        if was_head or (not routing.whole and len(routing.successors) < routing.entries_max):
            self.hurry()

    # A round

    async def round(self) -> bool:
        """Do one round, and answer whether it changed anything. At most one is under way, since the chore waits for it.

        A quiet one is a single question, whose answer says what it said the last time.
        """
        routing = self._routing
        changes = routing.changes
        while self._membership.is_member and (head := routing.head) is not None:
            before = self._uniting.before(head)
            table = await self._reach(head)
            if table is None:
                if head == routing.head:
                    return True  # it lives, and has no list yet
            elif await self._take_over(table, before):
                self._uniting.ask_others()
                await self._notify_head(table)
                break
        if self._membership.is_member and routing.cut_off and not await self._bridge():
            self._membership.rejoin()
        return routing.changes != changes

    async def _reach(self, head: Peer) -> Table | None:
        """Ask our head for its table. None: it is our head no more, or lives and shows no table yet."""
        epoch = self._tables.epoch_of(head)
        try:
            table = await self._tables.fetch(head)
        except NoMember as said:
            self._member_checks.is_newcomer(head, said, epoch)
            return None
        except Unreachable:
            if not self._member_checks.is_overdue(head):
                self._probing.check_all(self._routing.successors)
                await self._probing.check(head)
            return None
        self._admission.gone_live(head)
        # As which run we met it as our head: what we knew of it before may be of a run long gone.
        met, self._head_met = self._head_met, (head, table.epoch)
        if self._member_checks.is_elsewhere(table, met[1] if met is not None and met[0] == head else None):
            self._membership.drop(head, "is in another ring")
            return None
        return table

    async def _take_over(self, table: Table, before: Before) -> bool:
        """Take over the list of our head, and of whoever stands between us and it; False where it is our head no more.

        Nothing is done where both sides are as the last round left them.
        """
        routing, head = self._routing, table.peer
        told, self._closer = self._closer, None
        if told is None and (table, routing.changes) == self._settled:
            return True
        await self._copy(table, head, before)
        if head != routing.head:
            return False
        closer = routing.better_head(table)
        if told is not None and between(routing.me.id, told.id, (closer or head).id):
            closer = told
        if closer is None and self._is_settled(table):
            # Until one of the two changes, another round could only find the same.
            self._settled = (table, routing.changes)
        await self._walk_back(closer)
        return True

    def _is_settled(self, table: Table) -> bool:
        """Whether our list is what our head's `table` makes it."""
        routing = self._routing
        if routing.whole or routing.becomes_whole(table):
            return routing.follows(table)
        return self._uniting.is_settled(table) and routing.last_of(table) is None

    async def _walk_back(self, closer: Peer | None) -> None:
        """Adopt one better head after another: after a merge whole runs of members stand between us and our head."""
        for _ in range(WALKED_AT_ONCE):
            adopted = None if closer is None else await self._adopt(closer, self._routing.head)
            if adopted is None:
                break
            closer = self._routing.better_head(adopted)

    async def _notify_head(self, table: Table) -> None:
        """Notify our head, unless `table`, which it has just shown, names us as its predecessor."""
        head = self._routing.head
        if head is not None and not (head == table.peer and table.predecessor == self._routing.me):
            await self._notify(head)

    async def _bridge(self) -> bool:
        """Find the next member when every entry of our list has died; answers whether there is one.

        We stay a member meanwhile: lists before us hold the same dead, and would be empty without us, one behind
        another around the whole ring.
        """
        routing = self._routing
        lookup = Lookup((routing.me.id + 1) % RING_SIZE, excluded=routing.me)
        lookup.hear((*routing.everybody(), *await self._bootstrap.anybody()))
        await search(lookup, self._tables.fetch, self._clock)
        if lookup.owner is not None:
            await self._adopt(lookup.owner, None)
        if routing.head is not None:
            await self._notify(routing.head)
        return not routing.cut_off

    async def _adopt(self, closer: Peer, head: Peer | None) -> Table | None:
        """Take a peer as our head in place of `head`, if it answers and that one still is: its table, else None."""
        before = self._uniting.before(closer)
        try:
            table = await self._tables.fetch(closer)
        except Unreachable:
            return None
        if self._routing.head != head or self._member_checks.is_elsewhere(table):
            return None
        return table if await self._copy(table, head, before) else None

    async def _notify(self, head: Peer) -> None:
        with suppress(Unreachable):
            await self._asking.ask(head, Notify(self._membership.epoch))

    async def _copy(self, table: Table, head: Peer | None, before: Before) -> bool:
        """Take over what `table` shows, unless we have another head than `head` by then; answers whether."""
        routing = self._routing
        self._probing.check_all(routing.displaced(table))
        if not routing.becomes_whole(table):
            table = await self._contradicted(table) or table
        last = None
        members = await self._member_checks.members(table)
        end = routing.last_of(table)
        if end is not None:
            try:
                last = await self._tables.fetch(end)
            except Unreachable:
                self._probing.check_all((end,))
        if head != routing.head:
            return False
        if members is not None:
            if routing.stabilize(table, members):
                self._membership.changed()
        elif last is None or not self._close(table, last):
            self._uniting.merge(table, before)
        if routing.whole and table.whole and routing.me not in table.successors:
            # Our list is whole by that of a head that does not know us, nor do the others perhaps.
            self._asking.tell(routing.successors, Announce(self._membership.epoch, LIVE))
        return True

    async def _contradicted(self, table: Table) -> Table | None:
        """Find the table to copy in place of the head's, which leaves our list open, where most of our other entries
        show whole lists in which we stand: one liar ends no wholeness, and keeps no newcomer out by that.
        """
        routing, liveness = self._routing, self._probing.liveness
        others = [peer for peer in routing.successors if peer != table.peer and not liveness.is_silent(peer)]

        def whole(shown: Iterable[Table | None]) -> list[Table]:
            named = [one for one in shown if one is not None and one.whole and routing.me in one.successors]
            return named if 2 * len(named) > len(others) else []

        # An ordinary list asks its entries in turn; what they showed then may be old, and begins only the question.
        if not routing.whole and not whole(map(self._tables.at_hand, others)):
            return None
        shown = await answers_to(self._tables.fetch(peer) for peer in others)
        return next(iter(whole(shown)), None)

    def _close(self, table: Table, last: Table) -> bool:
        changes = self._routing.changes
        closes = self._routing.close(table, last)
        if self._routing.changes != changes:
            self._membership.changed()
        return closes
