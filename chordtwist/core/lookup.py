"""One search under way: who was heard of, who was asked, whom to ask next, and when it is done.

Nodes are asked for their whole table, never for a key (the Chord paper, section 4.3, sends the key; a liar could then
aim its lie). A search goes from table to table towards the position. It ends when the owner itself has answered: the
nearest reachable peer at or behind the position, of all that anybody named, whose own table says that it is its own.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from operator import attrgetter, eq

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, Arc, RingId
from chordtwist.core.table import Table

HOPS_MAX = 48
"""A search that needs more is being led around: log2 of the largest ring anybody has seen is below 25."""


GUESSES_MAX = 2
"""Likely owners that are asked one after another: of a book that lacks one member in ten the second is right nearly
always."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who keeps a position: its owner first, then the members behind it, nearest first.

    `hops`: how many tables stood one behind another on the way to the one that named the owner, 0 when this node knew
    it; `questions`: how many were put in all, the one to the owner included; `silent`: how many of them nobody answered
    with a table; `is_widened`: whether there was reason to doubt, and more were asked than when all is well; `agreed`:
    how many of the members behind the owner all witnesses show as it does.
    """

    position: RingId
    replicas: tuple[Peer, ...]
    hops: int = 0
    questions: int = 0
    silent: int = 0
    is_widened: bool = False
    agreed: int = 0

    @property
    def owner(self) -> Peer:
        """The member whose arc holds the position."""
        return self.replicas[0]


class Quality(Enum):
    """How sure a search is of what it finds."""

    QUICK = "the likely owner is asked whether it is the owner: for what proves itself, whoever has it"
    VERIFIED = "peers that were met before are heard as witnesses besides"


class State(Enum):
    """How far a lookup has come with one candidate."""

    HEARD = "somebody named it"
    ASKED = "it was asked for its table"
    ANSWERED = "it has shown its table"
    UNREACHABLE = "it was asked and gave no table"
    EXCLUDED = "it must not be asked"


class Candidate:
    """A peer that may own the position, or know somebody nearer to it. A lookup hears of some two hundred."""

    state = State.HEARD
    table: Table | None = None
    """What it has shown, while it is `ANSWERED`."""
    is_listed = False
    """Whether it stands in the successor list of a table that was shown."""
    is_final = False
    """Whether it is asked no more: it was asked twice, or its table was at hand."""

    def __init__(self, peer: Peer, gap: int, depth: int) -> None:
        """@param gap: how far behind the position it stands, clockwise.
        @param depth: how many tables stood one behind another up to the one that named it.
        """
        self.peer = peer
        self.gap = gap
        self.depth = depth

    @property
    def may_be_slow(self) -> bool:
        """Whether it was silent once: so are the dead, and the slow."""
        return self.state is State.UNREACHABLE and not self.is_final


BY_GAP = attrgetter("gap")


class Lookup:
    """One lineage of a search for the owner of `position`.

    Start it with `know`, `hear` or both; ask `next_peer` whom to ask now; tell it what came of that with `answered`
    and `unreachable`; stop when `done`.
    """

    def __init__(self, position: RingId, excluded: Peer | None = None) -> None:
        """@param excluded: a peer that must not be met on the way: ourselves, while we look for our own place."""
        self.position = position
        self.questions = 0
        self._silent = 0
        self._candidates: dict[bytes, Candidate] = {}
        """Everybody heard of, by packed address: bytes are found twice as fast as peers."""
        self._around: list[Candidate] = []
        """Those of them that may be met and are not unreachable, by their `gap`: the nearest at or behind the position
        comes first, the nearest before it last."""
        self._shown: list[Table] = []
        """All tables that were shown or at hand, in this order."""
        self._names: list[set[bytes]] = []
        """The packed addresses in each of the first of them, so far as somebody asked who named whom."""
        if excluded is not None:
            candidate = self._candidates[excluded.packed] = Candidate(excluded, 0, 0)
            candidate.state = State.EXCLUDED

    def hear(self, peers: Iterable[Peer], depth: int = 0) -> None:
        """Take in peers that somebody named, `depth` questions away from what was known at first."""
        # Most of the work of a search is done here, some forty times for each table: lists come in order, or nearly so,
        # and are merged faster than each of them finds its place.
        known, position, around = self._candidates, self.position, self._around
        for peer in peers:
            packed = peer.packed
            if packed not in known:
                candidate = known[packed] = Candidate(peer, (peer.id - position) % RING_SIZE, depth)
                around.append(candidate)
        around.sort(key=BY_GAP)

    def know(self, table: Table) -> None:
        """Take in a table that is at hand already and true now: its owner need not be asked."""
        self.hear((table.peer,))
        candidate = self._candidates[table.peer.packed]
        candidate.is_final = True
        self._take(candidate, table, 0)

    def answered(self, table: Table) -> None:
        """Take in the table of a peer that was asked."""
        candidate = self._candidates[table.peer.packed]
        self._take(candidate, table, candidate.depth + 1)

    def _take(self, candidate: Candidate, table: Table, depth: int) -> None:
        candidate.state = State.ANSWERED
        candidate.table = table
        self._shown.append(table)
        self.hear(table.everybody(), depth)
        known = self._candidates
        for peer in table.successors:
            known[peer.packed].is_listed = True

    def unreachable(self, peer: Peer) -> None:
        """Pass over a peer that was asked and gave no table, or is no member."""
        candidate = self._candidates[peer.packed]
        candidate.state = State.UNREACHABLE
        self._around.remove(candidate)
        self._silent += 1

    @property
    def tables(self) -> list[Table]:
        """All tables that were shown, or at hand."""
        return [candidate.table for candidate in self._candidates.values() if candidate.table is not None]

    def depth_of(self, peer: Peer) -> int:
        """Tell how many tables stood one behind another up to the one that named `peer`, of whom it has heard."""
        return self._candidates[peer.packed].depth

    def namers(self, peer: Peer) -> Iterator[Peer]:
        """Name those whose tables name `peer`, the latest first."""
        for table in self._shown[len(self._names) :]:
            self._names.append({named.packed for named in table.everybody()})
        shown = zip(reversed(self._shown), reversed(self._names), strict=True)
        return (table.peer for table, names in shown if peer.packed in names)

    @property
    def owner(self) -> Peer | None:
        """The nearest peer at or behind the position that is not unreachable: the owner, once `done`."""
        return self._around[0].peer if self._around else None

    @property
    def before(self) -> Peer | None:
        """The nearest peer before the position that is not unreachable."""
        return self._around[-1].peer if self._around and self._around[-1].gap else None

    @property
    def predecessor(self) -> Table | None:
        """The table of `before`, when it was shown."""
        return self._around[-1].table if self._around and self._around[-1].gap else None

    @property
    def done(self) -> bool:
        """Whether the owner is known from its own words, or nobody is left who could know it."""
        if not self._around:
            return True
        owner = self._around[0]
        if owner.table is None:
            return False
        before = owner.table.predecessor
        if before is None or self.position in Arc(before.id, owner.peer.id):
            return True
        if self._candidates[before.packed].state is State.EXCLUDED:
            return True  # our own place is looked up, and the owner knows us there
        # Its predecessor lies at or behind the position and did not answer. Perhaps it is dead, and the owner has not
        # noticed yet: the nearest member before the position decides. Perhaps it was slow: it is asked once more. That
        # takes a while, in which the owner may have met another: then it shows its table once more, and is believed.
        return self.predecessor is not None and owner.is_final and not self._candidates[before.packed].may_be_slow

    def at_once(self) -> list[Peer]:
        """Choose whom to ask now all at the same time, without waiting for anybody: nobody, in a plain search."""
        return []

    def next_peer(self) -> Peer | None:
        """Choose whom to ask now; None when it is done, or nobody is left.

        Nobody is chosen twice, but an owner that others name and that was silent, and then whoever named it.
        """
        if self.done:
            return None
        owner = self._around[0]
        # Then the member before the position has shown its table, which names the owner.
        is_near = self.predecessor is not None
        if is_near and owner.table is not None:
            chosen: Candidate | None = self._again(owner, owner.table)
        elif owner.state is State.HEARD and (is_near or owner.is_listed):
            chosen = owner
        else:
            chosen = self._nearest_before()
        if chosen is None:
            return None
        chosen.state = State.ASKED
        self.questions += 1
        return chosen.peer

    def _again(self, owner: Candidate, table: Table) -> Candidate:
        """Choose whom to ask once more: the silent predecessor that the owner's table names, or after it the owner."""
        assert table.predecessor is not None, "else it were done"
        chosen = self._candidates[table.predecessor.packed]
        if chosen.may_be_slow:
            insort(self._around, chosen, key=BY_GAP)
        else:
            chosen = owner
        chosen.is_final = True
        chosen.table = None
        return chosen

    def _nearest_before(self) -> Candidate | None:
        """Choose the nearest candidate before the position that can be asked, and may know a nearer one."""
        for candidate in reversed(self._around):
            if not candidate.gap or candidate.table is not None:
                # What stands farther away knows nothing nearer than this one has named.
                break
            if candidate.state is State.HEARD and candidate.depth < HOPS_MAX:
                return candidate
        return None

    def route(self, entries_max: int) -> Route | None:
        """Say what was found, once `done`: at most `entries_max` replicas; None when nobody was left to ask."""
        if not self._around or (table := self._around[0].table) is None:
            return None
        owner = self._around[0]
        replicas = (owner.peer, *table.successors)[:entries_max]
        return Route(self.position, replicas, owner.depth, self.questions, self._silent, self.is_widened)

    @property
    def is_widened(self) -> bool:
        """Whether there was reason to doubt what was said: never, in a search that believes."""
        return False


class QuickLookup(Lookup):
    """A search that begins at the end: it asks whoever is likely to be the owner, and then the predecessor that names.
    Only when neither is the owner it goes from table to table.
    """

    def __init__(self, position: RingId, near: int) -> None:
        """@param near: who stands no farther behind the position than this, of those known, is likely its owner."""
        super().__init__(position)
        self._near = near

    def next_peer(self) -> Peer | None:
        """Choose whom to ask now, as `Lookup.next_peer`."""
        owner = self._around[0] if self._around else None
        if owner is None or self.questions >= GUESSES_MAX or owner.state is not State.HEARD or owner.gap > self._near:
            return super().next_peer()
        owner.state = State.ASKED
        self.questions += 1
        return owner.peer


def alike(one: Sequence[Peer], other: Sequence[Peer]) -> int:
    """Count how many are the same in two lists, from the first on."""
    return sum(takewhile(bool, map(eq, one, other)))
