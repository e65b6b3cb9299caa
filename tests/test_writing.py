"""One write under way: who confirms, who stands in, when it is done."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.reading import REDIRECTS_MAX
from chordtwist.core.writing import Writing
from tests.builders import peer, peers

OWNER, SECOND, THIRD, FOURTH, FIFTH = REPLICAS = peers(1, 2, 3, 4, 5)


class WritingTests(SynchronousTestCase):
    """A write of four copies."""

    def setUp(self) -> None:
        self.writing = Writing(REPLICAS, 4)
        self.sends = self.writing.begin()

    def test_goes_to_all_replicas_at_once(self) -> None:
        """Each is told which replica it is."""
        self.assertEqual(self.sends, [(OWNER, 0), (SECOND, 1), (THIRD, 2), (FOURTH, 3)])

    def test_done_with_owner_and_majority(self) -> None:
        """Three of four, the owner among them; over with the fourth."""
        self.writing.stored(SECOND)
        self.writing.stored(OWNER)
        self.assertFalse(self.writing.done)
        self.writing.stored(THIRD)
        self.assertTrue(self.writing.done)
        self.assertFalse(self.writing.over)
        self.writing.stored(FOURTH)
        self.assertTrue(self.writing.over)

    def test_not_done_without_the_owner(self) -> None:
        """A majority that reads begins with the owner."""
        for replica in (SECOND, THIRD, FOURTH):
            self.writing.stored(replica)
        self.assertFalse(self.writing.done)

    def test_fewer_members_than_copies(self) -> None:
        """In a ring of two both make the majority."""
        writing = Writing((OWNER, SECOND), 4)
        self.assertEqual(len(writing.begin()), 2)
        writing.stored(OWNER)
        self.assertFalse(writing.done)
        writing.stored(SECOND)
        self.assertTrue(writing.done)

    def test_who_stands_behind_stands_in(self) -> None:
        """A silent replica is replaced by the next member, once; then nobody is left."""
        self.assertEqual(self.writing.out(THIRD), [(FIFTH, 4)])
        self.assertEqual(self.writing.out(FIFTH), [])
        self.assertFalse(self.writing.over)

    def test_over_when_nobody_is_awaited(self) -> None:
        """Answers and silence count alike."""
        for replica in (OWNER, SECOND, THIRD):
            self.writing.stored(replica)
        self.writing.out(FOURTH)
        self.assertFalse(self.writing.over)
        self.writing.out(FIFTH)
        self.assertTrue(self.writing.over)
        self.assertIsNone(self.writing.refusal)

    def test_the_true_owner_is_named(self) -> None:
        """It is sent the record as the owner; the one before is a replica now and must confirm as such."""
        newcomer = peer(0)
        self.assertEqual(self.writing.not_mine(OWNER, newcomer), [(newcomer, 0), (OWNER, 1)])
        for replica in (OWNER, SECOND, THIRD):
            self.writing.stored(replica)
        self.assertFalse(self.writing.done)
        self.writing.stored(newcomer)
        self.assertTrue(self.writing.done)

    def test_redirects_are_bounded(self) -> None:
        """As they are for reads; one we know already is no news."""
        self.assertEqual(self.writing.not_mine(OWNER, SECOND), [(FIFTH, 4)])
        writing = Writing(REPLICAS, 4)
        writing.begin()
        at_first = OWNER
        for place in range(100, 100 + REDIRECTS_MAX):
            writing.not_mine(at_first, peer(place))
            at_first = peer(place)
        self.assertNotIn((peer(200), 0), writing.not_mine(at_first, peer(200)))


class RefusalTests(SynchronousTestCase):
    """Replicas that say no."""

    def setUp(self) -> None:
        self.writing = Writing(REPLICAS, 4)
        self.writing.begin()

    def test_one_no_is_none(self) -> None:
        """The others make the majority."""
        self.writing.refused(SECOND, "full")
        self.assertIsNone(self.writing.refusal)
        for replica in (OWNER, THIRD, FOURTH):
            self.writing.stored(replica)
        self.assertTrue(self.writing.done)
        self.assertIsNone(self.writing.refusal)

    def test_the_owner_decides(self) -> None:
        """Without it nothing is confirmed."""
        self.writing.refused(OWNER, "full")
        self.assertEqual(self.writing.refusal, "full")

    def test_too_many_refuse(self) -> None:
        """A majority cannot be had any more."""
        self.writing.refused(SECOND, "clock")
        self.writing.refused(THIRD, "clock")
        self.assertEqual(self.writing.refusal, "clock")

    def test_newer_at_the_owner_waits_for_the_others(self) -> None:
        """Whether our clock is slow is not decided by one replica alone."""
        self.writing.refused(OWNER, "newer")
        self.assertIsNone(self.writing.refusal)
        self.writing.stored(SECOND)
        self.writing.stored(THIRD)
        self.writing.stored(FOURTH)
        self.assertEqual(self.writing.refusal, "newer")

    def test_newer_at_most(self) -> None:
        """Three of four are enough to know."""
        self.writing.refused(THIRD, "newer")
        self.writing.refused(SECOND, "newer")
        self.assertIsNone(self.writing.refusal)
        self.writing.refused(FOURTH, "newer")
        self.assertEqual(self.writing.refusal, "newer")
