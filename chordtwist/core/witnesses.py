"""A lookup that believes no single node: it hears witnesses whom nobody in it has named, and then the owner itself.

An id follows from an address, so a liar cannot invent the owner of a key; it can only leave the true one out. One
honest witness undoes that: the owner is the nearest at or behind the position of all that any witness names, reached by
our own dial. So all rests on the witnesses being independent of one another, that is, of who named them: each is a
lineage of its own, from a peer that we had met before to a table that reaches over the position (as in S/Kademlia's
disjoint paths, ICPADS 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from chordtwist.core.lookup import BY_GAP, Candidate, Lookup, Route, State, alike
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, Arc, RingId, between
from chordtwist.core.table import Table

WITNESSES = (6, 9, 16)
"""How many are heard: when all is well, when there is one reason to doubt, and when there are more."""

RIVALS_MAX = 8
"""Candidates for the owner that are asked at one time."""


class Lineage:
    """One way to the position: each peer on it was named by the one before, and by no other lineage."""

    length = 0
    table: Table | None = None
    """The table that reaches over the position, once the way has come to it."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate: Candidate | None = candidate
        """Who is to be asked now, or is being asked; None: the way is lost, or at its end."""


class WitnessedLookup(Lookup):
    """A search for the owner of `position` that widens as far as there is reason to doubt."""

    def __init__(
        self,
        position: RingId,
        excluded: Peer | None,
        starts: Iterable[Peer],
        is_met: Callable[[Peer], bool],
        likely: Iterable[Peer] = (),
        remembered: Callable[[Peer], Table | None] = lambda peer: None,
        doubts: int = 0,
    ) -> None:
        """@param starts: peers that we met before this search, in the order in which lineages begin at them.
        @param is_met: whether our own dial had reached a peer before.
        @param likely: whom we take for the owner, as far as we know.
        @param remembered: looks up the table that a start has shown not too long ago. Where that does not reach over
            the position it is no witness, but leads on.
        @param doubts: reasons to doubt that there are from the beginning.
        """
        super().__init__(position, excluded)
        starts = list(starts)
        self._likely = [peer for peer in likely if peer not in starts and is_met(peer)]
        self.hear((*starts, *self._likely))
        self._starts = [self._candidates[peer.packed] for peer in starts]
        self._lineages: list[Lineage] = []
        self.witnesses: list[Table] = []
        """The tables that reach over the position, one of each lineage."""
        self._doubted: Peer | None = None
        """The owner that witnesses were compared for when last somebody asked; how many there were, and how many of
        them leave it out."""
        self._compared = self._doubts = 0
        self._is_met = is_met
        self._remembered = remembered
        self._first_doubts = doubts

    def begin_with(self, table: Table) -> None:
        """Take in the table of a start that we have at hand and that is fresh: it counts as asked just now."""
        candidate = self._candidates[table.peer.packed]
        self._lineages.append(Lineage(candidate))
        self._take(candidate, table, 0)

    # What the witnesses say

    @property
    def wanted(self) -> int:
        """How many witnesses to hear: no honest list leaves the owner out, and each step may lead to a liar."""
        steps = max((lineage.length for lineage in self._lineages), default=0)
        doubts = self._first_doubts + self._skipping + max(0, steps - 1)
        return WITNESSES[min(doubts, len(WITNESSES) - 1)]

    def route(self, entries_max: int) -> Route | None:
        """Say what was found, as `Lookup.route`, and how far behind the owner it holds as well."""
        route = super().route(entries_max)
        return None if route is None else replace(route, agreed=self._agreed(route.replicas))

    def _agreed(self, replicas: tuple[Peer, ...]) -> int:
        """Count those behind the owner up to whom all witnesses show the same, as many of them as for the owner."""
        most = len(replicas) - 1
        lengths = []
        for table in self.witnesses:
            shown = table.extended
            if replicas[0] not in shown:
                return 0
            behind = shown[shown.index(replicas[0]) + 1 :]
            same = alike(behind, replicas[1:])
            if same < len(behind):
                most = min(most, same)
            lengths.append(same)
        return min(most, sorted(lengths)[-WITNESSES[0]]) if len(lengths) >= WITNESSES[0] else 0

    @property
    def is_widened(self) -> bool:
        """Whether more witnesses were wanted than when all is well."""
        return self.wanted > WITNESSES[0]

    @property
    def _skipping(self) -> int:
        """How many witnesses leave the owner out that others name."""
        owner = self.owner
        if owner is not self._doubted or len(self.witnesses) != self._compared:
            self._doubted, self._compared = owner, len(self.witnesses)
            self._doubts = 0 if owner is None else sum(_skips(table, owner) for table in self.witnesses)
        return self._doubts

    def left_out_by(self, member: Peer) -> list[Peer]:
        """List the witnesses whose tables reach over `member` and leave it out."""
        return [table.peer for table in self.witnesses if _skips(table, member)]

    @property
    def is_witnessed(self) -> bool:
        """Whether enough witnesses have spoken, or there are no more."""
        if len(self.witnesses) >= self.wanted:
            return True
        return not any(lineage.candidate is not None for lineage in self._lineages) and not self._unused_starts()

    @property
    def done(self) -> bool:
        """Whether enough witnesses have spoken, and the owner is known from its own words."""
        return self.is_witnessed and super().done

    def _take(self, candidate: Candidate, table: Table, depth: int) -> None:
        super()._take(candidate, table, depth)
        for lineage in self._lineages:
            if lineage.candidate is candidate:
                self._advance(lineage, table)

    def unreachable(self, peer: Peer) -> None:
        """Pass over a peer that was asked and gave no table; the way that led over it is lost."""
        super().unreachable(peer)
        for lineage in self._lineages:
            if lineage.candidate is not None and lineage.candidate.peer == peer:
                lineage.candidate = None

    def _advance(self, lineage: Lineage, table: Table) -> None:
        lineage.length += 1
        lineage.candidate = None
        if spans(table, self.position):
            lineage.table = table
            self.witnesses.append(table)
            return
        taken = self._on_the_way()
        # The nearest before the position, of those that this table names.
        for candidate in sorted(
            (self._candidates[peer.packed] for peer in table.everybody()), key=BY_GAP, reverse=True
        ):
            if candidate.peer == table.peer:
                return
            if candidate.state is State.HEARD and candidate not in taken:
                lineage.candidate = candidate
                return

    # Whom to ask

    def at_once(self) -> list[Peer]:
        """Choose whom to ask now, all at the same time: one of each lineage, with them the owner as far as it is known;
        then whoever was named nearer than one that most witnesses name, since an invented name must not cost a time
        limit each.
        """
        if self.done:
            return []
        self._begin_lineages(self.wanted - sum(self._is_alive(lineage) for lineage in self._lineages))
        heard = [lineage.candidate for lineage in self._lineages if lineage.candidate is not None]
        chosen = [candidate for candidate in heard if candidate.state is State.HEARD]
        likely, self._likely = self._likely, []
        chosen += [candidate for peer in likely if (candidate := self._candidates[peer.packed]).state is State.HEARD]
        if not chosen and self.is_witnessed:
            chosen = self._rivals()
        chosen = list(dict.fromkeys(chosen))
        for candidate in chosen:
            candidate.state = State.ASKED
        self.questions += len(chosen)
        return [candidate.peer for candidate in chosen]

    def next_peer(self) -> Peer | None:
        """Choose whom to ask now in place of one that keeps us waiting; None when nobody is left.

        Another lineage begins while there are too few witnesses; then it is a plain search.
        """
        if not self.is_witnessed:
            for lineage in self._begin_lineages(1):
                if lineage.candidate is not None:
                    lineage.candidate.state = State.ASKED
                    self.questions += 1
                    return lineage.candidate.peer
        return super().next_peer() if self.is_witnessed else None

    @staticmethod
    def _is_alive(lineage: Lineage) -> bool:
        return lineage.table is not None or lineage.candidate is not None

    def _unused_starts(self) -> list[Candidate]:
        taken = self._on_the_way()
        return [candidate for candidate in self._starts if candidate.state is State.HEARD and candidate not in taken]

    def _on_the_way(self) -> set[Candidate | None]:
        """Those whom one way has come to: no other leads over them."""
        return {lineage.candidate for lineage in self._lineages}

    def _begin_lineages(self, count: int) -> list[Lineage]:
        """Begin so many, as far as there are starts; one that a remembered table leads nowhere is lost at once."""
        begun: list[Lineage] = []
        while len(begun) < count and (unused := self._unused_starts()):
            start = unused[0]
            lineage = Lineage(start)
            self._lineages.append(lineage)
            # Who stands behind the position may own it: that takes a word of now.
            table = self._remembered(start.peer) if start.gap > RING_SIZE // 2 else None
            if table is not None and not spans(table, self.position):
                self._take(start, table, 0)
            if self._is_alive(lineage):
                begun.append(lineage)
        return begun

    def _rivals(self) -> list[Candidate]:
        """Those who may own the position, nearest first, up to one that is no invention of a few."""
        half = len(self.witnesses) / 2
        rivals: list[Candidate] = []
        for candidate in self._around[:RIVALS_MAX]:
            if candidate.table is not None:
                break
            if candidate.state is State.HEARD:
                rivals.append(candidate)
            named = sum(candidate.peer in table.successors for table in self.witnesses)
            if named > half or self._is_met(candidate.peer):
                break
        return rivals


def spans(table: Table, position: RingId) -> bool:
    """Tell whether the list of `table` says who owns `position`."""
    if table.whole:
        return True
    return bool(table.successors) and position in Arc(table.peer.id, table.successors[-1].id)


def _skips(table: Table, owner: Peer) -> bool:
    """Whether the list of `table` reaches over `owner` and leaves it out."""
    if owner == table.peer or owner in table.successors:
        return False
    return table.whole or between(table.peer.id, owner.id, table.successors[-1].id)
