"""Becoming a member: the newcomer's side of ``join`` (ring.md's corrected one, with its second read)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from random import Random
from statistics import median

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.own_place import OwnPlace
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.ring import between
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status
from chordtwist.core.small_ring import closing_max, in_order, reached
from chordtwist.core.table import Table
from chordtwist.node.ring.admission import taken_by
from chordtwist.node.ring.announcing import Announcing
from chordtwist.node.ring.asking import answers_to
from chordtwist.node.ring.starting_over import InTheWay, StartOver, pause
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.wire.peer_messages import Answer, JoinFailure, JoinRequest, PingFor, Pong, Question

ATTEMPTS_MAX = 200
"""Rounds of one joining before it is given up and begun again from the bootstrap list."""

OTHERS_MAX = 5
"""Others who are asked whether they reach us, where the owner of our place says that it does not."""

CLEARLY_LARGE = 4
"""A ring estimated at so many times the members that its rules need has them."""

READ_AGAIN_MAX = 8
"""So often the list of the member before us may change, and not at our place, before we look for our place again."""


class Joining:
    """Brings one node into the ring that its contacts belong to."""

    def __init__(
        self,
        identity: Identity,
        routing: Routing,
        statements: Statements,
        tables: Tables,
        ask: Callable[[Peer, Question], Deferred[Answer]],
        find_place: Callable[[Iterable[Peer], bool], Deferred[OwnPlace]],
        is_dead: Callable[[Peer], bool],
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param find_place: `Searches.find_place`. @param is_dead: `Probing.is_dead`."""
        self._identity = identity
        self._routing = routing
        self._statements = statements
        self._tables = tables
        self._ask = ask
        self._find_place = find_place
        self._is_dead = is_dead
        self._clock = clock
        self._rng = rng
        self._announcing = Announcing(identity, routing, statements, tables, ask, clock, rng)

    async def join(self, contacts: Iterable[Peer], alone: bool = False) -> Peer:
        """Find our place through `contacts` and write the routing state of a member there.

        Answers with the old owner of our arc. Nobody is told; the caller is a member from the moment this returns.

        @param alone: whether nobody else is asked on the way whom we met before.
        @raise Refused: the ring does not admit us, in its own words. @raise Unreachable: nobody there can be asked.
        """
        contacts = list(contacts)
        in_the_way = InTheWay()
        for attempt in range(ATTEMPTS_MAX):
            try:
                return await self._attempt(contacts, alone, in_the_way)
            except StartOver as why:
                in_the_way.stood(why.said_by)
                if why.nearer is not None and why.nearer not in contacts:
                    contacts.insert(0, why.nearer)
                await pause(self._clock, self._rng, attempt + 1)
        raise Unreachable(None, f"no quiet moment to join in {ATTEMPTS_MAX} attempts")

    async def _attempt(self, contacts: list[Peer], alone: bool, in_the_way: InTheWay) -> Peer:
        me = self._routing.me
        for peer in contacts:
            if peer.id == me.id and peer != me:
                raise Refused(f"{peer} does not admit us: {taken_by(peer)}")
        place = await self.find_place(contacts, alone)
        owner, before = place.owner_table, place.predecessor
        if owner is None or before is None:
            raise Unreachable(None, "no contact shows a table")
        if owner.peer.id == me.id:
            raise Refused(f"{owner.peer} does not admit us: {taken_by(owner.peer)}")
        is_patient = not in_the_way.is_overruled(before.peer)
        if me in before.successors and is_patient:
            # An earlier incarnation of ourselves is still listed: its place is free as soon as they know.
            await self._tell_older(before.peer)
            if before.successors[0] == me and not before.whole:
                raise StartOver(before.peer)
        if is_patient and not all([self._is_dead(peer) for peer in place.silent_between(before, owner.peer)]):
            # Nobody may be skipped who lives.
            raise StartOver(before.peer)
        await self._be_admitted(owner.peer, place, in_the_way)
        shown = before if is_patient else place.most_say_whole()
        if shown is not None and shown.whole:
            return await self._announcing.join_whole(self._followers(shown), in_the_way)
        return await self._join_large(place, before, owner, in_the_way)

    async def find_place(self, contacts: Iterable[Peer], alone: bool) -> OwnPlace:
        """Look our place up, beginning at contacts."""
        return await self._find_place(contacts, alone)

    async def _join_large(self, place: OwnPlace, before: Table, owner: Table, in_the_way: InTheWay) -> Peer:
        """Join by the lists of both members at our place: either may be a liar's. That of the member before us must
        still say the same in the end (Zave's join), unless it has changed again and again.

        Of those whom the owner alone names inside that list only who answers comes in: the dead would push out who
        lives.
        """
        if not await self._is_large((before, owner, *place.witnesses)):
            raise StartOver(before.peer)
        for _ in range(READ_AGAIN_MAX):
            followers = await self._followers_by_both(before, owner)
            is_patient = not in_the_way.is_overruled(before.peer)
            again = await self._fetch(before.peer) if is_patient else before
            if not is_patient or (not again.whole and again.successors == before.successors):
                self._routing.join(before.peer, followers, whole=False)
                return owner.peer
            named = [peer for peer in again.successors if between(before.peer.id, peer.id, owner.peer.id)]
            if again.whole or owner.peer not in again.successors or not {*named} <= {*before.successors}:
                break
            # It has changed, but not at our place: a search would take so long that it changes again meanwhile.
            before = again
            await self._be_admitted(owner.peer, place, in_the_way)
        raise StartOver(before.peer)

    async def _followers_by_both(self, before: Table, owner: Table) -> tuple[Peer, ...]:
        """Make our list of those of the member before us and of the owner; inside the former whom the owner alone names
        has to answer.
        """
        me = self._routing.me
        listed = in_order(me, (owner.peer, *before.successors))
        # Whom the member before us names between us and the owner is dead, or no member.
        followers = listed[listed.index(owner.peer) :]
        more = [peer for peer in reached(me, owner.extended) if peer not in followers]
        if len(in_order(me, (*followers, *more))) < self._routing.entries_max:
            # Shortened by deaths, or by a newcomer that withdrew: it may belong to a ring too small for these rules.
            raise StartOver(before.peer)
        inside = [peer for peer in more if between(me.id, peer.id, followers[-1].id)]
        shown = await answers_to(self._tables.fetch(peer) for peer in inside)
        silent = [peer for peer, table in zip(inside, shown, strict=True) if table is None]
        return in_order(me, (*followers, *(peer for peer in more if peer not in silent)))

    async def _is_large(self, tables: Collection[Table]) -> bool:
        """Whether so many members live that the rules of a large ring hold: one more than a list has entries.

        After many deaths in a short time lists are full of the dead, and not whole. Asked only where it is in doubt.
        """
        needed = closing_max(self._routing.entries_max) + 2
        if median(table.members_estimate() for table in tables) > CLEARLY_LARGE * needed:
            return True
        return await self.has_living([peer for table in tables for peer in table.everybody()], needed)

    async def has_living(
        self, heard: Iterable[Peer], needed: int, counts: Callable[[Table], bool] = lambda shown: True
    ) -> bool:
        """Whether so many members of a ring, besides us, show tables themselves: of those heard of and whom they name.

        @param counts: whether a table is one of that ring; whom others name is not asked for.
        """
        me = self._routing.me
        heard = dict.fromkeys(heard)
        asked: dict[Peer, None] = {me: None}
        living = 0
        while living < needed:
            batch = [peer for peer in heard if peer not in asked][: needed - living]
            if not batch:
                return False
            asked.update(dict.fromkeys(batch))
            for shown in await answers_to(self._tables.fetch(peer) for peer in batch):
                if shown is not None and counts(shown):
                    living += 1
                    heard.update(dict.fromkeys(shown.everybody()))
        return True

    def _followers(self, table: Table) -> tuple[Peer, ...]:
        """Make our list of our predecessor's: all of it; where it is whole, itself closes the list."""
        everybody = (*table.successors, table.peer) if table.whole else table.successors
        followers = in_order(self._routing.me, everybody)
        if not followers:
            raise StartOver
        return followers

    async def _fetch(self, peer: Peer) -> Table:
        try:
            return await self._tables.fetch(peer)
        except Unreachable:
            raise StartOver(peer) from None

    async def _tell_older(self, predecessor: Peer) -> None:
        try:
            await self._ask(predecessor, self._statements.leave(Status.JOINING))
        except Unreachable:
            raise StartOver(predecessor) from None

    async def _be_admitted(self, owner: Peer, place: OwnPlace, in_the_way: InTheWay) -> None:
        """Ask the owner of our place for admission. What it says against us is the opinion of one: we look whether it
        names a member that stands nearer, and ask others whether they reach us.
        """
        try:
            answer = await self._ask(owner, JoinRequest(self._statements.epoch))
        except Unreachable as silent:
            if not in_the_way.is_overruled(owner):
                raise StartOver(owner) from None
            answer = JoinFailure(silent.reason)
        if not isinstance(answer, JoinFailure):
            return
        if answer.better:
            nearer = await self._stands_between(answer.better, owner)
            if nearer is not None:
                raise StartOver(nearer=nearer)
            return
        others = [table.peer for table in place.shown() if table.peer != owner][:OTHERS_MAX]
        tried = await answers_to(self._ask(other, PingFor(self._routing.me.packed)) for other in others)
        if 2 * sum(isinstance(said, Pong) for said in tried) <= sum(said is not None for said in tried):
            raise Refused(f"{owner} does not admit us: {answer.reason}")

    async def _stands_between(self, named: bytes, owner: Peer) -> Peer | None:
        """Find out whether a peer that was named shows the table of a member between our place and the owner."""
        try:
            peer = self._identity.unpack(named)
            if between(self._routing.me.id, peer.id, owner.id):
                return (await self._tables.fetch(peer)).peer
        except (ValueError, Unreachable):
            pass
        return None
