"""A lookup of one's own place: the members on either side of it, as if nobody stood there.

A newcomer has met nobody but its contacts, of which all but one may lie. So each contact is a lineage of its own, and
when these do not suffice others begin at the names that the contacts show, one of each contact in turn: however many of
them lie together, an honest one has its share of the ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest

from chordtwist.core.lookup import BY_GAP, Candidate, State
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, between, distance
from chordtwist.core.table import Table
from chordtwist.core.witnesses import Lineage, WitnessedLookup

WITNESSES_OF_NEWCOMERS = (3, 8, 32)
"""How many a newcomer hears: when all is well, when one leaves the owner out, and when somebody seems to lie."""

BEGUN_MAX = 32
"""Ways that a newcomer begins. With three of four contacts and a quarter of 1,000 members in a coalition that names
only itself 98 % of newcomers find their place so, with some 90 questions."""

UNLIKE = 3.5
"""Tables that show rings of so different size are not all true: a coalition of a quarter that names only itself shows
one of a quarter. Chance alone makes a set of a dozen honest lists of 16 so unlike once in fifty times."""

JUDGED_MIN = 12
"""Shorter lists tell too little of how large the ring is."""

NEARER = 0.75
"""Each step of a newcomer's way leaves at most this share of the distance; the next finger of an honest table leaves
half. Else it wanders among those that no other way has come to."""


class OwnPlace(WitnessedLookup):
    """A search that ends when the owner of our place and the member before it have both shown their tables."""

    def __init__(
        self, me: Peer, starts: Iterable[Peer], is_met: Callable[[Peer], bool], contacts: Iterable[Peer] = ()
    ) -> None:
        """@param starts: as of `WitnessedLookup`.
        @param contacts: those through whom we are to join; none, where we are a member.
        """
        self._contacts = dict.fromkeys(contacts)
        self._named: list[list[Candidate]] = []
        """Whom each contact that has shown its table names, the nearest before our place first."""
        super().__init__(me.id, me, dict.fromkeys((*self._contacts, *starts)), is_met)

    def _take(self, candidate: Candidate, table: Table, depth: int) -> None:
        super()._take(candidate, table, depth)
        if candidate.peer in self._contacts:
            named = [self._candidates[peer.packed] for peer in table.everybody()]
            self._named.append(sorted(named, key=BY_GAP, reverse=True))

    @property
    def wanted(self) -> int:
        """How many witnesses to hear. All ways of a newcomer are long; so it is other signs of lies that widen them."""
        if not self._contacts:
            return super().wanted
        sizes = [table.members_estimate() for table in self.tables if len(table.successors) >= JUDGED_MIN]
        doubts = self._skipping + 2 * (bool(sizes) and max(sizes) > UNLIKE * min(sizes))
        return WITNESSES_OF_NEWCOMERS[min(doubts, len(WITNESSES_OF_NEWCOMERS) - 1)]

    def _unused_starts(self) -> list[Candidate]:
        if self._contacts and len(self._lineages) >= BEGUN_MAX:
            return []
        unused, taken = super()._unused_starts(), self._on_the_way()
        if not unused:
            turns = dict.fromkeys(candidate for turn in zip_longest(*self._named) for candidate in turn)
            unused = [c for c in turns if c is not None and c.state is State.HEARD and c not in taken]
        return unused

    def _advance(self, lineage: Lineage, table: Table) -> None:
        super()._advance(lineage, table)
        following = lineage.candidate
        if self._contacts and following is not None:
            # Counted behind the position, as `gap` is, the rest of the way is what is lacking to the whole circle.
            rest, left = RING_SIZE - following.gap, distance(table.peer.id, self.position)
            if rest > NEARER * left:
                lineage.candidate = None

    @property
    def done(self) -> bool:
        """Whether enough witnesses have spoken, and both neighbours have shown their tables."""
        return super().done and (self.before is None or self.predecessor is not None)

    @property
    def owner_table(self) -> Table | None:
        """The table of the owner; None when nobody could be asked."""
        return self._around[0].table if self._around else None

    def most_say_whole(self) -> Table | None:
        """Give the whole table of the nearest witness before our place, where most witnesses know everybody."""
        whole = [table for table in self.witnesses if table.whole]
        if 2 * len(whole) <= len(self.witnesses):
            return None
        return min(whole, key=lambda table: distance(table.peer.id, self.position))

    def shown(self) -> list[Table]:
        """List all tables that came of it, of the nearest before our place first."""
        return sorted(self.tables, key=lambda table: distance(table.peer.id, self.position))

    def silent_between(self, before: Table, owner: Peer) -> list[Peer]:
        """List whom the member before our place names between itself and the owner, and who has shown no table."""
        named = [peer for peer in before.successors if between(before.peer.id, peer.id, owner.id)]
        return [peer for peer in named if self._candidates[peer.packed].state is State.UNREACHABLE]
