"""What one node looks up on its ring, from what it knows of it, and what that took."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from chordtwist.core.conduct import LEAVES_OUT, LISTED_AFTER_S, Conduct
from chordtwist.core.errors import Unreachable
from chordtwist.core.histogram import COUNTS, SECONDS, Histogram
from chordtwist.core.lookup import Lookup, Quality, QuickLookup, Route, alike
from chordtwist.core.own_place import OwnPlace
from chordtwist.core.peer import Peer
from chordtwist.core.replicas import replicas_of
from chordtwist.core.ring import RingId, distance
from chordtwist.core.routing import Routing
from chordtwist.core.table import Table
from chordtwist.core.witnesses import WITNESSES, WitnessedLookup, spans
from chordtwist.node.ring.dial_limits import DialLimits
from chordtwist.node.ring.search import search
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables

LIKELY_GAPS = 4
"""Who stands no more than so many members behind a position, judged by our own list, is likely its owner: only one in
fifty has no member that near behind it."""

AROUND = 4
"""Entries of the book before a position that a quick search may go on from when its guess was wrong."""

TABLE = "table"
"""The outcome of a question that was answered with a table."""

AT_HAND = "table at hand"
"""The outcome where no question was needed: the peer has shown its table within the last minute."""

JUST_SHOWN_S = 1.0
"""The table of a contact that came so lately is the one that showed it to be a member."""

TABLE_COUNTS_S = 60.0
"""The table of a witness that came so lately counts as asked for now."""

OWNER_COUNTS_S = 1.0
"""The same for whom we take for the owner, and a quick search has just asked. Not longer: whoever searches once more
since it is dead, or the owner no more, must not hear the same again."""

DOUBTED_WITHIN_S = 0.5
"""Whom few name as a replica is waited for so long: a dial and a question on a bad WAN. Inventions cost that much."""

DOUBTED_MAX = 8
"""So many of them are dialled at one time."""

NOT_WALKED = len(WITNESSES) - 1
"""So many reasons to doubt what is found are there while the first walk is under way: three contacts that lie have a
newcomer meet so many of theirs that six of the first six witnesses are liars in one lookup of five."""

TABLE_LEADS_S = 600.0
"""A table that came so lately need not be asked for again to find somebody nearer: most whom it names still live."""

Witnessed = TypeVar("Witnessed", bound=WitnessedLookup)


@dataclass(slots=True)
class Step:
    """One question of a search: to whom, how many tables stood one behind another before it, when and how long after
    the begin of the search, and what came of it: `TABLE`, a reason, or nothing by its end.
    """

    peer: Peer
    hop: int
    at_ms: float
    took_ms: float | None = None
    outcome: str = "not waited for"


class Searches:
    """What one node searches, and what that took."""

    def __init__(
        self,
        is_member: Callable[[], bool],
        routing: Routing,
        statements: Statements,
        tables: Tables,
        conduct: Conduct,
        dial_limits: DialLimits,
        clock: IReactorTime,
        rng: Random,
        copies: int,
    ) -> None:
        """@param copies: of a record, where its put does not say otherwise."""
        self._is_member = is_member
        self._routing = routing
        self._statements = statements
        self._tables = tables
        self._conduct = conduct
        self._dial_limits = dial_limits
        self._clock = clock
        self._rng = rng
        self._copies = copies
        self.watch: Callable[[RingId, Route | None, list[Step]], None] | None = None
        """Told of each search when it is over, while somebody looks on: its position, what it found, its questions."""
        self._failed = 0
        self._hops, self._questions = Histogram(COUNTS), Histogram(COUNTS)
        self._seconds = Histogram(SECONDS)

    def find(self, position: RingId, quality: Quality = Quality.VERIFIED) -> Deferred[Route]:
        """Who keeps `position`. Fails with `Unreachable` when nobody can be asked."""
        return Deferred.fromCoroutine(self._find(position, quality))

    def find_place(self, contacts: Iterable[Peer] = (), alone: bool = False) -> Deferred[OwnPlace]:
        """Look our own place up, as if we did not stand there. Never fails: it has no owner when nobody can be asked.

        @param contacts: members to begin at, since we are none; those whose tables have just come are not asked again.
        @param alone: whether to begin nowhere else: whom we met before may be of another ring.
        """
        me, tables, contacts = self._routing.me, self._tables, list(contacts)
        near, fresh, farther = ([], [], []) if alone else self._met_before(me.id)
        lookup = OwnPlace(me, (*near, *farther), tables.book.is_met, contacts)
        if contacts:
            # Nothing older counts: who asks again has found that the ring has changed.
            fresh = [table for peer in contacts if (table := tables.fresh(peer, JUST_SHOWN_S)) is not None]
        for table in fresh[: WITNESSES[0]]:
            lookup.begin_with(table)
        if self._is_member():
            lookup.hear(self._routing.neighbours())
        return search(lookup, partial(self._fetch, lookup), self._clock).addCallback(lambda _: self._judged(lookup))

    def counted(self) -> dict[str, int]:
        """All that have found somebody, their hops and their questions; and those that found nobody."""
        return {
            "asked": self._hops.count,
            "hops": int(self._hops.sum),
            "questions": int(self._questions.sum),
            "failed": self._failed,
        }

    def measured(self) -> dict[str, Histogram]:
        """Hops, questions and seconds of those that have found somebody."""
        return {"hops": self._hops, "questions": self._questions, "seconds": self._seconds}

    def _witnessed(self, position: RingId, excluded: Peer | None) -> Lookup:
        """Begin a search at members that we met before: by chance among those whose lists reach over the position, then
        at the nearest others. That a table is at hand spares the question; it is no reason to be drawn, since liars can
        see to it that theirs are.
        """
        book, tables = self._tables.book, self._tables
        near, fresh, farther = self._met_before(position)
        lookup = WitnessedLookup(
            position,
            excluded,
            (*near, *farther),
            book.is_met,
            book.behind(position, 1),
            lambda peer: tables.fresh(peer, TABLE_LEADS_S),
            0 if book.is_walked else NOT_WALKED,
        )
        for table in fresh:
            lookup.begin_with(table)
        owner = lookup.owner
        shown = None if owner is None else tables.fresh(owner, OWNER_COUNTS_S)
        if shown is not None:
            lookup.know(shown)
        return lookup

    def _met_before(self, position: RingId) -> tuple[list[Peer], list[Table], list[Peer]]:
        """Choose of the members met before: those whose lists should reach over a position, by chance; the tables of
        the first of them that came just now; the nearest others.
        """
        book, tables = self._tables.book, self._tables
        near = book.draw(position, WITNESSES[-1], self._reach(), self._rng, lambda peer: self._may_span(peer, position))
        farther = [peer for peer in book.before(position, 2 * WITNESSES[-1]) if peer not in near]
        farther.sort(key=self._conduct.is_suspected)
        fresh = [table for peer in near[: WITNESSES[0]] if (table := tables.fresh(peer, TABLE_COUNTS_S)) is not None]
        return near, fresh, farther

    def _reach(self) -> int:
        """How far before a position those stand whose lists may reach over it."""
        return self._routing.span * 3 // 4

    def _may_span(self, peer: Peer, position: RingId) -> bool:
        """Whether the list of a peer reaches over a position, by what it showed last, or else probably, and nothing is
        held against it.
        """
        if self._conduct.is_suspected(peer):
            return False
        table = self._tables.at_hand(peer)
        return distance(peer.id, position) <= self._routing.span // 2 if table is None else spans(table, position)

    def _quick(self, position: RingId) -> Lookup:
        """Begin a search at whom the book takes for the owner."""
        book = self._tables.book
        lookup = QuickLookup(position, LIKELY_GAPS * self._routing.span // self._routing.entries_max)
        lookup.hear((*book.behind(position, 1), *book.before(position, AROUND)))
        return lookup

    def _fetch(self, lookup: Lookup, peer: Peer) -> Deferred[Table]:
        # Else liars who name inventions all the time would keep us from members that we have not met.
        self._dial_limits.named(peer, lookup.namers(peer))
        return self._tables.fetch(peer)

    async def _find(self, position: RingId, quality: Quality) -> Route:
        lookup = self._begin(position, quality)
        began_s = self._clock.seconds()
        steps: list[Step] = []
        watch = self.watch
        fetch = partial(self._fetch, lookup) if watch is None else self._noting(lookup, steps)
        await search(lookup, fetch, self._clock)
        if isinstance(lookup, WitnessedLookup):
            self._judged(lookup)
        route = await self._route(lookup, fetch, quality)
        if watch is not None:
            watch(position, route, steps)
        if route is None:
            self._failed += 1
            raise Unreachable(None, "nobody on the ring can be asked")
        self._hops.observe(route.hops)
        self._questions.observe(route.questions)
        self._seconds.observe(self._clock.seconds() - began_s)
        return route

    def _judged(self, lookup: Witnessed) -> Witnessed:
        """Hold it against witnesses that they left out the owner, if that was a member long enough to be listed. Not
        where most of them do: it may be one that answers us, and nobody near it, so that they are blamed.
        """
        owner = lookup.owner
        if owner is not None and self._tables.known_for_s(owner) >= LISTED_AFTER_S:
            blamed = lookup.left_out_by(owner)
            for peer in blamed if 2 * len(blamed) < len(lookup.witnesses) else ():
                self._conduct.blame(peer, LEAVES_OUT)
        return lookup

    async def _route(self, lookup: Lookup, fetch: Callable[[Peer], Deferred[Table]], quality: Quality) -> Route | None:
        """Say what a search has found, with the replicas of all lists that are at hand, not of the owner's alone. Whom
        too few name is dialled first.
        """
        route = lookup.route(self._routing.entries_max)
        if route is None:
            return None
        replicas, doubted = self._replicas(lookup, route)
        asked = doubted[:DOUBTED_MAX] if quality is Quality.VERIFIED else ()
        if asked:
            lookup.hear(asked)
            await self._wait_for([fetch(peer) for peer in asked])
            replicas, _ = self._replicas(lookup, route)
        for peer in replicas[: self._copies]:
            self._dial_limits.named(peer, lookup.namers(peer))
        agreed = min(route.agreed, alike(replicas, route.replicas) - 1)
        return replace(route, replicas=replicas, questions=route.questions + len(asked), agreed=agreed)

    async def _wait_for(self, answers: list[Deferred[Table]]) -> None:
        """Wait until all have come or failed, or as long as it is worth while; late ones still count later."""
        waited: Deferred[None] = Deferred(lambda late: late.callback(None))

        def have_come(_: object) -> None:
            if not waited.called:
                waited.callback(None)

        DeferredList(answers, consumeErrors=True).addCallback(have_come)
        await waited.addTimeout(DOUBTED_WITHIN_S, self._clock)

    def _replicas(self, lookup: Lookup, route: Route) -> tuple[tuple[Peer, ...], tuple[Peer, ...]]:
        """List those that keep a position, and those that may, as `replicas_of`."""
        at_hand = [self._tables.fresh(peer, TABLE_COUNTS_S) for peer in route.replicas]
        lists = [*lookup.tables, *(table for table in at_hand if table is not None)]
        has_failed = self._dial_limits.has_failed
        return replicas_of(
            lookup.position, route.owner, lists, self._is_met, has_failed, self._copies, self._routing.entries_max
        )

    def _is_met(self, peer: Peer) -> bool:
        """Whether our own dial has reached a peer as a member; we are one ourselves."""
        return peer == self._routing.me or peer in self._routing.successors or self._tables.book.is_met(peer)

    def trace(self, position: RingId) -> Deferred[tuple[Route | None, list[Step]]]:
        """Search for who keeps `position`, and tell of each question; None when nobody can be asked. Never fails."""
        return Deferred.fromCoroutine(self._trace(position))

    async def _trace(self, position: RingId) -> tuple[Route | None, list[Step]]:
        lookup = self._begin(position, Quality.VERIFIED)
        me = self._routing.me
        steps = [Step(table.peer, 0, 0.0, 0.0, AT_HAND) for table in lookup.tables if table.peer != me]
        fetch = self._noting(lookup, steps)
        await search(lookup, fetch, self._clock)
        return await self._route(lookup, fetch, Quality.VERIFIED), steps

    def _noting(self, lookup: Lookup, steps: list[Step]) -> Callable[[Peer], Deferred[Table]]:
        """Make what fetches tables for `lookup` and notes each question in `steps`."""
        clock, began_s = self._clock, self._clock.seconds()

        def fetch(peer: Peer) -> Deferred[Table]:
            asked_s = clock.seconds()
            step = Step(peer, lookup.depth_of(peer), (asked_s - began_s) * 1000)
            steps.append(step)

            def over(result: Table | Failure) -> Table | Failure:
                step.took_ms = (clock.seconds() - asked_s) * 1000
                if isinstance(result, Failure):
                    error = result.value
                    step.outcome = error.reason if isinstance(error, Unreachable) else result.getErrorMessage()
                else:
                    step.outcome = TABLE
                return result

            return self._fetch(lookup, peer).addBoth(over)

        return fetch

    def _begin(self, position: RingId, quality: Quality) -> Lookup:
        routing = self._routing
        is_member = self._is_member()
        excluded = None if is_member else routing.me
        known = len(routing.replicas(position)) if is_member else 0
        if known and (routing.whole or known >= self._copies or quality is Quality.QUICK):
            # Our own list has been reached by our own dials: no witness knows better.
            lookup = Lookup(position, excluded)
        elif is_member and quality is Quality.QUICK:
            lookup = self._quick(position)
        else:
            lookup = self._witnessed(position, excluded)
        if is_member:
            lookup.know(self._statements.table)
        else:
            lookup.hear(routing.everybody())
        return lookup
