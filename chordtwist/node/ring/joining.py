"""Becoming a member: the newcomer's side of ``join`` (ring.md's corrected one, with its second read)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from random import Random
from statistics import median

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.own_place import OwnPlace
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.ring import between
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status
from chordtwist.core.small_ring import closing_max, in_order, reached
from chordtwist.core.table import Table
from chordtwist.node.ring.admission import ANNOUNCE, HELD_S, LIVE, PROBE, WITHDRAW, taken_by
from chordtwist.node.ring.asking import answers_to
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.wire.peer_messages import (
    Announce,
    Announced,
    Answer,
    JoinFailure,
    JoinRequest,
    NotMember,
    Ping,
    PingFor,
    Pong,
    Question,
)

ATTEMPTS_MAX = 200
"""Rounds of one joining before it is given up and begun again from the bootstrap list."""

PAUSE_MIN_S, PAUSE_MAX_S, PAUSE_LONGEST_S = 0.05, 0.4, 2.0
"""The random pause before starting over: at most so long at first, longer each time up to the last figure. A small ring
takes in one newcomer in some tens of milliseconds on a LAN."""

PATIENCE_MAX = 8
"""So often we start over because of what one and the same member shows; then it is one that lies."""

OTHERS_MAX = 5
"""Others who are asked whether they reach us, where the owner of our place says that it does not."""

CLEARLY_LARGE = 4
"""A ring estimated at so many times the members that its rules need has them."""

TURNS_MAX = 20
"""Times that a newcomer asks a member whose slot is taken, before it looks again who is there."""

SILENT_TRIES_MAX = 1
"""Members that do not answer when our turn has come are asked so many times again: then the turn is another's."""

READ_AGAIN_MAX = 8
"""So often the list of the member before us may change, and not at our place, before we look for our place again."""

LIVE_SAID_MAX = 3
"""Times that members which do not answer are told that we are live."""


class StartOver(Exception):
    """The ring changed, or was busy, while we were joining: nothing is wrong, the same again in a moment.

    @param said_by: the members that alone stand in our way, by what they say.
    @param nearer: a member that stands nearer to our place than those we found.
    """

    def __init__(self, *said_by: Peer, nearer: Peer | None = None) -> None:
        self.said_by = said_by
        self.nearer = nearer


class InTheWay:
    """Who keeps one newcomer from its place, each by its own word, and how often."""

    def __init__(self) -> None:
        self._times: Counter[Peer] = Counter()
        self._refusing: dict[Peer, None] = {}

    def stood(self, peers: Iterable[Peer]) -> None:
        """Note that what some members say has made us start over."""
        self._times.update(peers)

    def refused(self, peer: Peer, reason: str, members: int) -> None:
        """Note that one of so many `members` does not take us in; it is the opinion of one, and not asked again.

        @raise Refused: half of them do not.
        """
        self._times[peer] = PATIENCE_MAX
        self._refusing[peer] = None
        if 2 * len(self._refusing) >= members:
            raise Refused(f"a member does not take us in: {reason}")

    def is_overruled(self, peer: Peer) -> bool:
        """Whether a member has kept us waiting so often that it is one that lies."""
        return self._times[peer] >= PATIENCE_MAX


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
                await self._pause(attempt + 1)
        raise Unreachable(None, f"no quiet moment to join in {ATTEMPTS_MAX} attempts")

    async def _pause(self, times: int) -> None:
        longest_s = min(PAUSE_MAX_S * times, PAUSE_LONGEST_S)
        await deferLater(self._clock, PAUSE_MIN_S + max(0.0, longest_s - PAUSE_MIN_S) * self._rng.random())

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
        if me in before.successors:
            # An earlier incarnation of ourselves is still listed: its place is free as soon as they know.
            await self._tell_older(before.peer)
            if before.successors[0] == me and not before.whole and is_patient:
                raise StartOver(before.peer)
        if is_patient and not all([self._is_dead(peer) for peer in place.silent_between(before, owner.peer)]):
            # Nobody may be skipped who lives.
            raise StartOver(before.peer)
        await self._be_admitted(owner.peer, place)
        shown = before if is_patient else place.most_say_whole()
        if shown is not None and shown.whole:
            return await self._join_whole(self._followers(shown), in_the_way)
        return await self._join_large(place, before, owner, is_patient)

    async def find_place(self, contacts: Iterable[Peer], alone: bool) -> OwnPlace:
        """Look our place up, beginning at contacts."""
        return await self._find_place(contacts, alone)

    async def _join_whole(self, followers: Iterable[Peer], in_the_way: InTheWay) -> Peer:
        """Join a ring in which everybody knows everybody: in the slot of each member, then live at once."""
        me = self._routing.me
        told: dict[Peer, None] = {}
        try:
            members = await self._be_taken_in(followers, in_the_way, told)
            # We have the slot of every member, so no other newcomer came in since; some may have come before us, while
            # we waited in line: our predecessor may be another one than at first.
            followers = in_order(me, members)
            predecessor = followers[-1]
            # A member that took us in and has restarted meanwhile, before we had the slots of the others, may be back.
            answers = dict(zip(members, await self._announce(members, ANNOUNCE), strict=True))
            failed = {peer: answer for peer, answer in answers.items() if not isinstance(answer, Announced)}
            await self._pass_over(failed, dict.fromkeys(answers.keys() - failed.keys(), members), in_the_way)
            again = await self._fetch(predecessor)
            # With one more than a whole list holds, taking us in ends wholeness.
            may_be_whole = len(members) <= 2 * self._routing.entries_max
            untold = {*again.successors} - {me, *members}
            is_sure = (again.whole or not may_be_whole) and all(map(in_the_way.is_overruled, untold))
            if not is_sure and not in_the_way.is_overruled(predecessor):
                raise StartOver(predecessor)
        except (Refused, StartOver):
            await self._announce(told, WITHDRAW)
            raise
        self._routing.join(predecessor, followers, whole=True)
        Deferred.fromCoroutine(self._say_live(members)).addErrback(lambda failure: failure.trap(CancelledError))
        return followers[0]

    async def _join_large(self, place: OwnPlace, before: Table, owner: Table, is_patient: bool) -> Peer:
        """Join by the lists of both members at our place: either may be a liar's. That of the member before us must
        still say the same in the end (Zave's join), unless it has changed again and again.

        Of those whom the owner alone names inside that list only who answers comes in: the dead would push out who
        lives.
        """
        if not await self._is_large((before, owner, *place.witnesses)):
            raise StartOver(before.peer)
        for _ in range(READ_AGAIN_MAX):
            followers = await self._followers_by_both(before, owner)
            again = await self._fetch(before.peer)
            if not is_patient or (not again.whole and again.successors == before.successors):
                self._routing.join(before.peer, followers, whole=False)
                return owner.peer
            named = [peer for peer in again.successors if between(before.peer.id, peer.id, owner.peer.id)]
            if again.whole or owner.peer not in again.successors or not {*named} <= {*before.successors}:
                break
            # It has changed, but not at our place: a search would take so long that it changes again meanwhile.
            before = again
            await self._be_admitted(owner.peer, place)
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
            raise StartOver from None

    async def _tell_older(self, predecessor: Peer) -> None:
        try:
            await self._ask(predecessor, self._statements.leave(Status.JOINING))
        except Unreachable:
            raise StartOver from None

    async def _be_admitted(self, owner: Peer, place: OwnPlace) -> None:
        """Ask the owner of our place for admission. What it says against us is the opinion of one: we look whether it
        names a member that stands nearer, and ask others whether they reach us.
        """
        try:
            answer = await self._ask(owner, JoinRequest(self._statements.epoch))
        except Unreachable:
            raise StartOver from None
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

    async def _be_taken_in(self, members: Iterable[Peer], in_the_way: InTheWay, told: dict[Peer, None]) -> list[Peer]:
        """Announce ourselves to every member that we learn of; answers with all of them, in whose slots we are now.

        The member with the smallest id is asked before all others, so that newcomers meet there and not halfway. Before
        its turn comes a newcomer makes sure that it reaches everybody, and they it: else all others wait for nothing.

        @param told: those that may have taken us in are added.
        """
        first, named = await self._line_up(members, in_the_way, told)
        told.update(dict.fromkeys(named))
        taken_in_by: dict[Peer, Collection[Peer]] = {first: named}
        try:
            await self._announce_to_all(ANNOUNCE, named, taken_in_by, in_the_way, SILENT_TRIES_MAX)
        finally:
            told.update(dict.fromkeys(taken_in_by))
        return [*taken_in_by]

    async def _line_up(
        self, members: Iterable[Peer], in_the_way: InTheWay, told: dict[Peer, None]
    ) -> tuple[Peer, list[Peer]]:
        """Ask the first member until its slot is ours: it holds its answer for a while when others come before us, and
        refuses at once when its line is full. Only those that stand in it reach everybody else.

        Answers with that one, and the members that it and the others name.
        """
        answered: dict[Peer, Collection[Peer]] = {}
        passed: set[Peer] = set()
        before: Peer | None = None
        for turn in range(TURNS_MAX):
            passed.update(await self._announce_to_all(PROBE, members, answered, in_the_way, before=before))
            if not answered:
                raise StartOver
            first = min(answered, key=lambda peer: (in_the_way.is_overruled(peer), peer.id))
            told[first] = None
            asked_s = self._clock.seconds()
            answer = (await self._announce([first], ANNOUNCE))[0]
            if isinstance(answer, Announced):
                named = self._named(answer)
                if not any(peer.id < first.id and peer not in answered and peer not in passed for peer in named):
                    return first, [*dict.fromkeys((*named, *answered))]
                # One came before it while we waited here: others line up there.
                members, before = [*answered, *named], None
            elif isinstance(answer, JoinFailure) and answer.busy:
                is_in_line = self._clock.seconds() - asked_s > HELD_S / 2
                if is_in_line or not answer.better:
                    del answered[first]  # it tells us who came meanwhile
                    members, before = [*answered, first], None
                else:
                    members, before = [peer for peer in self._unpacked([answer.better]) if peer.id < first.id], first
                await self._pause(0 if is_in_line else turn + 1)
                continue
            await self._announce([first], WITHDRAW)
            if not isinstance(answer, Announced):
                del answered[first]
                await self._pass_over({first: answer}, answered, in_the_way)
        raise StartOver(first)

    async def _announce_to_all(
        self,
        step: int,
        members: Iterable[Peer],
        answered: dict[Peer, Collection[Peer]],
        in_the_way: InTheWay,
        silent_tries: int = 0,
        before: Peer | None = None,
    ) -> Collection[Peer]:
        """Take a step of ours to all `members`, and to whomever they name, but those that have `answered`: whoever does
        is added there, with whom he names. Answers with those that do not, and are passed over.

        @param before: whom they name is left alone unless its id is smaller than that of this one.
        @raise StartOver: others do not, and have not kept us waiting for long. @raise Refused: half of them refuse us.
        """
        heard = dict.fromkeys(members)
        failed: dict[Peer, Answer | None] = {}
        while batch := [peer for peer in heard if peer not in answered and peer not in failed]:
            for peer, answer in zip(batch, await self._announce(batch, step), strict=True):
                if isinstance(answer, Announced):
                    answered[peer] = self._named(answer)
                    heard.update({peer: None for peer in answered[peer] if before is None or peer.id < before.id})
                elif answer is not None or silent_tries <= 0:
                    failed[peer] = answer
            silent_tries -= 1
        await self._pass_over(failed, answered, in_the_way)
        return failed

    async def _pass_over(
        self, failed: Mapping[Peer, Answer | None], answered: Mapping[Peer, Collection[Peer]], in_the_way: InTheWay
    ) -> None:
        """Go on without those that have `failed` to answer a step of ours, where they are no members: by their own
        word, or silent and named by few. Members have their time, and then are overruled by those that `answered`. Whom
        we cannot reach is none that lies: we would skip each other.
        """
        count = len(answered) + len(failed)
        waited_for = []
        for peer, answer in failed.items():
            names = sum(peer in named for named in answered.values())
            if isinstance(answer, JoinFailure) and not answer.busy:
                in_the_way.refused(peer, answer.reason, count)
            elif isinstance(answer, NotMember) or (answer is None and 2 * names <= len(answered)):
                continue
            waited_for.append(peer)
        overruled = [peer for peer in waited_for if in_the_way.is_overruled(peer)]
        if 2 * len(waited_for) >= count or len(overruled) < len(waited_for):
            raise StartOver(*waited_for)
        if None in await answers_to(self._ask(peer, Ping()) for peer in overruled):
            raise StartOver(*waited_for)

    def _named(self, announced: Announced) -> dict[Peer, None]:
        return self._unpacked(announced.members)

    def _unpacked(self, named: Iterable[bytes]) -> dict[Peer, None]:
        peers: dict[Peer, None] = {}
        for packed in named:
            with suppress(ValueError):
                peers[self._identity.unpack(packed)] = None
        peers.pop(self._routing.me, None)
        return peers

    async def _announce(self, peers: Iterable[Peer], step: int) -> list[Answer | None]:
        """Tell all of them at once; None stands for one that is silent."""
        question = Announce(self._statements.epoch, step)
        return await answers_to(self._ask(peer, question) for peer in peers)

    async def _say_live(self, members: list[Peer]) -> None:
        """Whoever has not heard it keeps the next newcomer waiting."""
        for _ in range(LIVE_SAID_MAX):
            answers = await self._announce(members, LIVE)
            members = [peer for peer, answer in zip(members, answers, strict=True) if answer is None]
            if not members:
                break
