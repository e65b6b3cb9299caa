"""Who keeps a position: the union of lists, in which nobody is left out, and nobody brought in, by one."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.replicas import replicas_of
from chordtwist.core.table import Table
from tests.builders import at, large_ring, peer, peers, places, table, whole_ring

MEMBERS = tuple(range(2, 202, 2))
"""A hundred members with lists of eight; position 101 is owned by 102."""

TRUE = [102, 104, 106, 108, 110, 112]


class ReplicasTests(SynchronousTestCase):
    """Lists of the owner and of three members before it."""

    def setUp(self) -> None:
        self.tables = large_ring(8, *MEMBERS)

    def found(self, *tellers: int, met: Iterable[int] = (), failed: Iterable[int] = ()) -> tuple[list[int], list[int]]:
        tables: list[Table] = [self.tables[teller] for teller in tellers]
        is_met, has_failed = set(peers(*met)).__contains__, set(peers(*failed)).__contains__
        replicas, doubted = replicas_of(at(101), peer(102), tables, is_met, has_failed, 4, 6)
        return places(replicas), places(doubted)

    def replicas(self, *tellers: int, met: Iterable[int] = (), failed: Iterable[int] = ()) -> list[int]:
        return self.found(*tellers, met=met, failed=failed)[0]

    def test_all_is_well(self) -> None:
        """They follow the owner, as far as any list goes."""
        self.assertEqual(self.replicas(102, 100, 98, 96), TRUE)

    def test_an_owner_that_leaves_out(self) -> None:
        """Two honest lists bring back whom the owner does not name; its own friends stand where they stand."""
        self.tables[102] = table(102, [110, 120, 130, 140, 150, 160, 170, 180])
        self.assertEqual(self.replicas(102, 100, 98, 96), TRUE)

    def test_one_honest_list(self) -> None:
        """It is enough for those that were met before."""
        for liar in (102, 100, 98):
            self.tables[liar] = table(liar, [102, 120, 130, 140][liar == 102 :])
        self.assertEqual(self.replicas(102, 100, 98, 96, met=[104, 106, 108]), [102, 104, 106, 108, 120, 130])

    def test_an_owner_that_invents(self) -> None:
        """What nobody else lists pushes nobody out of his place."""
        self.tables[102] = table(102, [103, 104, 105, 106, 107, 108, 109, 110])
        self.assertEqual(self.replicas(102, 100, 98, 96), TRUE)

    def test_who_is_known_to_few(self) -> None:
        """He may be a member that is new: our own dial decides, of those that would be among the first four."""
        inventive = [103, 104, 105, 106, 107, 108, 109, 110]
        self.tables[102], self.tables[100] = table(102, inventive), table(100, [102, *inventive[:-1]])
        self.assertEqual(self.found(102, 100, 98, 96), (TRUE, [103, 105, 107]))
        self.assertEqual(self.found(102, 100, 98, 96, met=[105]), ([102, 104, 105, 106, 108, 110], [103]))
        self.assertEqual(self.found(102, 100, 98, 96, failed=[103, 107]), (TRUE, [105]))

    def test_who_did_not_answer(self) -> None:
        """Whom most name, and our own dial has not reached, is none; whom it has reached before stays."""
        self.assertEqual(self.replicas(102, 100, 98, 96, failed=[104]), [102, 106, 108, 110, 112, 114])
        self.assertEqual(self.replicas(102, 100, 98, 96, failed=[104], met=[104]), TRUE)

    def test_behind_all_other_lists(self) -> None:
        """The only list that reaches so far is believed."""
        self.assertEqual(self.replicas(102, 88), TRUE)

    def test_who_is_met_and_listed_by_nobody(self) -> None:
        """It has died, or left."""
        self.assertEqual(self.replicas(102, 100, 98, 96, met=[105]), TRUE)

    def test_a_list_that_begins_behind(self) -> None:
        """That of a follower says nothing of who stands before it."""
        self.tables[102] = table(102, [104, 106])
        self.assertEqual(self.replicas(102, 106, 108), TRUE)

    def test_whole_lists(self) -> None:
        """Everybody, once round."""
        self.tables = whole_ring(10, 50, 102)
        self.assertEqual(self.replicas(102, 10, 50), [102, 10, 50])
