"""One search under way: who was heard of, who was asked, whom to ask next, and when it is done.

Nodes are asked for their whole table, never for a key (the Chord paper, section 4.3, sends the key; a liar could then
aim its lie). A search goes from table to table towards the position. It ends when the owner itself has answered: the
nearest reachable peer at or behind the position, of all that anybody named, whose own table says that it is its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, Arc, RingId
from chordtwist.core.table import Table

HOPS_MAX = 48
"""A search that needs more is being led around: log2 of the largest ring anybody has seen is below 25."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who keeps a position: its owner first, then the members behind it, nearest first.

    `hops`: how many tables stood one behind another on the way to the one that named the owner, 0 when this node knew
    it; `questions`: how many were put in all, the one to the owner included; `silent`: how many of them nobody answered
    with a table.
    """

    position: RingId
    replicas: tuple[Peer, ...]
    hops: int = 0
    questions: int = 0
    silent: int = 0

    @property
    def owner(self) -> Peer:
        """The member whose arc holds the position."""
        return self.replicas[0]


class Lookup:
    """One lineage of a search for the owner of `position`.

    Start it with `know`, `hear` or both; ask `next_peer` whom to ask now; tell it what came of that with `answered`
    and `unreachable`; stop when `done`.
    """

    def __init__(self, position: RingId, excluded: Peer | None = None) -> None:
        """@param excluded: a peer that must not be met on the way: ourselves, while we look for our own place."""
        self.position = position
        self.questions = 0
        self._depth: dict[bytes, int] = {} if excluded is None else {excluded.packed: 0}
        """How many questions away everybody is who was heard of, by packed address: one search hears some two hundred
        names, and bytes are found twice as fast as peers."""
        self._asked: dict[Peer, None] = {}
        self._gone: dict[Peer, None] = {}
        self._again: dict[Peer, None] = {}
        """Who was asked once more, and we ourselves: each is only once."""
        self._silent = 0
        self._tables: dict[Peer, Table] = {}
        self._listed: set[bytes] = set()
        """Who stands in the successor list of a table that was shown, by packed address."""
        self._around: list[tuple[int, bytes, Peer]] = []
        """Everybody heard of and not gone, with the way from the position to him, in that order: the nearest at or
        behind it comes first, the nearest before it last."""

    def hear(self, peers: Iterable[Peer], depth: int = 0) -> None:
        """Peers that somebody named, `depth` questions away from what was known at first."""
        # Most of the work of a search is done here, some forty times for each table: lists come in order, or nearly so,
        # and are merged faster than each of them finds its place.
        known, position, around = self._depth, self.position, self._around
        for peer in peers:
            packed = peer.packed
            if packed not in known:
                known[packed] = depth
                around.append(((peer.id - position) % RING_SIZE, packed, peer))
        around.sort()

    def know(self, table: Table) -> None:
        """A table that is at hand already and true now: its owner need not be asked."""
        self.hear((table.peer,))
        self._asked[table.peer] = self._again[table.peer] = None
        self._take(table, 0)

    def answered(self, table: Table) -> None:
        """A peer that was asked has shown its table."""
        self._take(table, self._depth[table.peer.packed] + 1)

    def unreachable(self, peer: Peer) -> None:
        """A peer that was asked gave no table, or is no member."""
        self._gone[peer] = None
        self._around.remove(((peer.id - self.position) % RING_SIZE, peer.packed, peer))
        self._silent += 1

    @property
    def owner(self) -> Peer | None:
        """The nearest peer at or behind the position that is not unreachable: the owner, once `done`."""
        return self._around[0][2] if self._around else None

    @property
    def before(self) -> Peer | None:
        """The nearest peer before the position that is not unreachable."""
        if not self._around:
            return None
        gap, _, peer = self._around[-1]
        return peer if gap else None

    @property
    def predecessor(self) -> Table | None:
        """The table of `before`, when it was shown."""
        before = self.before
        return None if before is None else self._tables.get(before)

    @property
    def done(self) -> bool:
        """Whether the owner is known from its own words, or nobody is left who could know it."""
        owner = self.owner
        if owner is None:
            return True
        table = self._tables.get(owner)
        if table is None:
            return False
        before = table.predecessor
        if before is None or self.position in Arc(before.id, owner.id):
            return True
        # Its predecessor lies at or behind the position and did not answer. Perhaps it is dead, and the owner has not
        # noticed yet: the nearest member before the position decides. Perhaps it was slow: it is asked once more. That
        # takes a while, in which the owner may have met another: then it shows its table once more, and is believed.
        return self.predecessor is not None and not self._may_be_slow(before) and owner in self._again

    def next_peer(self) -> Peer | None:
        """Whom to ask now; None when it is done, or nobody is left. Nobody is chosen twice, but an owner that others
        name and that was silent, and then whoever named it.
        """
        chosen = self.owner
        if chosen is None or self.done:
            return None
        table = self._tables.get(chosen)
        if table is not None and self.predecessor is not None:
            before = table.predecessor
            assert before is not None, "else it were done"
            if self._may_be_slow(before):
                chosen = before
                del self._gone[before]
                self.hear((before,), self._depth.pop(before.packed))
            else:
                del self._tables[chosen]
            self._again[chosen] = None
            self._asked.pop(chosen, None)
        # A successor list that spans the position names its owner, or a peer that knows it: its predecessor is.
        if chosen in self._asked or not (chosen.packed in self._listed or self.predecessor is not None):
            chosen = self._next_before()
        if chosen is not None:
            self._asked[chosen] = None
            self.questions += 1
        return chosen

    def _may_be_slow(self, peer: Peer) -> bool:
        return peer in self._gone and peer not in self._again

    def _next_before(self) -> Peer | None:
        """The nearest peer before the position that can be asked, and may know a nearer one."""
        for gap, _, peer in reversed(self._around):
            if not gap or peer in self._tables:
                # What stands farther away knows nothing nearer than this one has named.
                break
            if peer not in self._asked and self._depth[peer.packed] < HOPS_MAX:
                return peer
        return None

    def route(self, entries_max: int) -> Route | None:
        """What was found, once `done`: at most `entries_max` replicas; None when nobody was left to ask."""
        owner = self.owner
        if owner is None or owner not in self._tables:
            return None
        replicas = (owner, *self._tables[owner].successors)[:entries_max]
        return Route(self.position, replicas, self._depth[owner.packed], self.questions, self._silent)

    def _take(self, table: Table, depth: int) -> None:
        self._tables[table.peer] = table
        self._listed.update([peer.packed for peer in table.successors])
        self.hear(table.everybody(), depth)
