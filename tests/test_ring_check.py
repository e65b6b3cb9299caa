"""`core.ring_check`: whether tables are one ring, and who says something else than the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Peer
from chordtwist.core.ring_check import RingCheck, closes, shares
from chordtwist.core.table import Table
from tests.builders import large_ring, peer, peers, whole_ring

FIVE = (0x1000, 0x2000, 0x3000, 0x8000, 0x9000)


def faults(tables: Iterable[Table], silent: Collection[Peer]) -> list[str]:
    """All faults, looked for two members at a time."""
    check = RingCheck(tables, silent)
    for begin in range(0, check.members, 2):
        check.look(begin, begin + 2)
    return check.faults()


class RingCheckTests(SynchronousTestCase):
    """Five members that list two each."""

    def setUp(self) -> None:
        self.tables = large_ring(2, *FIVE)

    def change(self, place: int, **changes: object) -> None:
        self.tables[place] = replace(self.tables[place], **changes)  # type: ignore[arg-type]

    def faults(self, *silent: Peer) -> list[str]:
        return faults(self.tables.values(), silent)

    def closes(self, start: int = 0x1000) -> bool:
        return closes(self.tables[start], self.tables.values())

    def test_shares(self) -> None:
        """Each member has the part of the circle between the member before it and itself; all together the whole."""
        found = shares(reversed(list(self.tables.values())))
        self.assertEqual([table.peer for table, _ in found], list(peers(*FIVE)))
        self.assertEqual([share for _, share in found], [0x8000 / 65536, 1 / 16, 1 / 16, 5 / 16, 1 / 16])

    def test_one_ring(self) -> None:
        """Members that agree are one ring, from wherever it is walked; so is a member alone, and so are two."""
        for tables in (self.tables, whole_ring(0x1000), whole_ring(0x1000, 0x5000)):
            for start in tables.values():
                self.assertTrue(closes(start, tables.values()))
            self.assertEqual(faults(tables.values(), ()), [])
        self.assertEqual(shares(whole_ring(0x1000).values())[0][1], 1.0)

    def test_dead_member(self) -> None:
        """Who answers nobody is told once, with how many name it; the walk does not close at the one before it."""
        del self.tables[0x3000]
        dead = peer(0x3000)
        self.assertEqual(self.faults(dead), [f"{dead} does not answer as a member; so many name it: 3"])
        self.assertFalse(self.closes())

    def test_skipped_member(self) -> None:
        """Who is left out of a list is named, with whom the list has in its place."""
        self.change(0x2000, successors=peers(0x8000, 0x9000))
        self.assertEqual(self.faults(), [f"{peer(0x2000)} lists {peer(0x8000)} where {peer(0x3000)} stands"])
        self.assertFalse(self.closes())

    def test_predecessors(self) -> None:
        """A predecessor that is another's, or none, is told."""
        self.change(0x2000, predecessor=None)
        self.change(0x3000, predecessor=peer(0x1000))
        self.assertEqual(
            self.faults(),
            [
                f"{peer(0x2000)} takes nobody for its predecessor, which is {peer(0x1000)}",
                f"{peer(0x3000)} takes {peer(0x1000)} for its predecessor, which is {peer(0x2000)}",
            ],
        )
        self.assertTrue(self.closes())

    def test_two_rings(self) -> None:
        """A walk that comes back without having met everybody does not close: there is another ring."""
        self.change(0x2000, successors=peers(0x1000, 0x2000)[:1])
        self.assertFalse(self.closes())

    def test_a_loop_ends(self) -> None:
        """A walk that leads into a circle without its start ends."""
        self.change(0x9000, successors=peers(0x2000, 0x3000))
        self.assertFalse(self.closes())

    def test_lonely(self) -> None:
        """A member of several that lists nobody is told."""
        self.change(0x9000, successors=())
        self.assertEqual(self.faults(), [f"{peer(0x9000)} lists nobody that answers"])

    def test_a_large_ring_takes_no_long_turn(self) -> None:
        """Each table is compared with as many members as it lists, not with all."""
        tables: list[Table] = list(large_ring(16, *range(1, 2001)).values())
        self.assertEqual(faults(tables, ()), [])
