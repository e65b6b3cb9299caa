"""What the tables of many members say together: whether they are one ring, and who says something else than the others.

A walk brings the tables; each is what one member said of itself a moment ago. While members come and go they disagree
for some seconds: this is what people look at, nothing that a node acts on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RING_SIZE, distance
from chordtwist.core.table import Table

FAULTS_MAX = 1000
"""More are not told one by one."""


def shares(tables: Iterable[Table]) -> list[tuple[Table, float]]:
    """Order the members by their places, each with the part of the circle that it owns, 0 to 1."""
    ordered = sorted(tables, key=lambda table: table.peer.id)
    return [
        (table, (distance(ordered[index - 1].peer.id, table.peer.id) or RING_SIZE) / RING_SIZE)
        for index, table in enumerate(ordered)
    ]


def closes(start: Table, tables: Iterable[Table]) -> bool:
    """Tell whether going from first successor to first successor leads over every member, and back to the start."""
    by_peer = {table.peer: table for table in tables}
    at, passed = start, 0
    while True:
        passed += 1
        if not at.successors:
            return passed == len(by_peer) == 1
        if at.successors[0] == start.peer:
            return passed == len(by_peer)
        following = by_peer.get(at.successors[0])
        if following is None or passed > len(by_peer):
            return False
        at = following


class RingCheck:
    """Compares what the members say with who is there, some members at a time: of thousands it takes a while.

    @ivar members: how many there are.
    """

    def __init__(self, tables: Iterable[Table], silent: Collection[Peer]) -> None:
        """@param silent: those whom a member names and who showed no table."""
        self._ordered = sorted(tables, key=lambda table: table.peer.id)
        self._peers = [table.peer for table in self._ordered]
        self._silent = silent
        self._named: Counter[Peer] = Counter()
        self._found: list[str] = []
        self.members = len(self._peers)

    def look(self, begin: int, end: int) -> None:
        """Look at the members with the numbers from `begin` up to before `end`, by their places."""
        peers, count, silent = self._peers, self.members, self._silent
        for index in range(begin, min(end, count)):
            table = self._ordered[index]
            if silent:
                self._named.update(peer for peer in {*table.neighbours} if peer in silent)
            upto = index + 1 + min(len(table.successors), count - 1)
            following = peers[index + 1 : upto] + peers[: max(0, upto - count)]
            self._found += _of_list(table, following, silent, count)
            self._found += _of_predecessor(table, peers[index - 1], silent)

    def faults(self) -> list[str]:
        """Say, a sentence each, where the lists and predecessors of those that were looked at differ from who is there,
        the silent first; at most `FAULTS_MAX`.
        """
        first = [
            f"{peer} does not answer as a member; so many name it: {self._named[peer]}"
            for peer, _ in zip(self._silent, range(FAULTS_MAX), strict=False)
        ]
        return (first + self._found)[:FAULTS_MAX]


def _of_list(table: Table, following: list[Peer], silent: Collection[Peer], members: int) -> Iterator[str]:
    listed = [peer for peer in table.successors if peer not in silent]
    for named, there in zip(listed, following, strict=False):
        if named != there:
            yield f"{table.peer} lists {named} where {there} stands"
            return
    if not listed and members > 1:
        yield f"{table.peer} lists nobody that answers"


def _of_predecessor(table: Table, before: Peer, silent: Collection[Peer]) -> Iterator[str]:
    named = table.predecessor
    if before == table.peer or named == before or (named is not None and named in silent):
        return
    yield f"{table.peer} takes {'nobody' if named is None else named} for its predecessor, which is {before}"
