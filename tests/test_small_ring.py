"""Behaviour of lists in rings in which everybody knows everybody."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.small_ring import closed, closing_max, copied, fitted, in_order
from tests.builders import peer, peers, places


class CopiedTests(SynchronousTestCase):
    """`copied`: the list of one's head as one's own."""

    def test_head_comes_first(self) -> None:
        """The head stands first, and its list behind it."""
        self.assertEqual(copied(peer(10), peers(20, 30, 40), 3), (peers(20, 30, 40), False))

    def test_last_entry_falls_off(self) -> None:
        """A full list loses its last entry to the head (Zave: ``[head] + head.successors[:-1]``)."""
        self.assertEqual(copied(peer(10), peers(20, 30, 40, 50), 3), (peers(20, 30, 40), False))

    def test_short_list_is_taken_whole(self) -> None:
        """A list that deaths have shortened loses nothing: all lists would stay short for good."""
        self.assertEqual(copied(peer(10), peers(20, 30), 3), (peers(20, 30), False))

    def test_finding_oneself_closes_the_list(self) -> None:
        """A head's list that names us is cut there, and ours is whole: behind its last entry comes its owner again."""
        self.assertEqual(copied(peer(10), peers(20, 30, 10, 20), 3), (peers(20, 30), True))

    def test_behind_oneself_nothing_counts(self) -> None:
        """In a whole list of the head, what stands behind us stands before us already."""
        self.assertEqual(copied(peer(10), peers(20, 30, 10, 15, 20), 3), (peers(20, 30), True))

    def test_ring_of_two(self) -> None:
        """The only other member names us alone."""
        self.assertEqual(copied(peer(10), peers(20, 10, 20), 3), (peers(20), True))

    def test_across_zero(self) -> None:
        """Order is clockwise from ourselves, across position 0."""
        self.assertEqual(copied(peer(40), peers(50, 5, 40, 50), 3), (peers(50, 5), True))

    def test_jumping_over_oneself_ends_the_list(self) -> None:
        """Where the head's list passes our place without naming us, the rest is not in order for us, and not whole."""
        self.assertEqual(copied(peer(10), peers(20, 30, 15), 3), (peers(20, 30), False))

    def test_unknown_to_the_head(self) -> None:
        """A whole list of the head that comes round without naming us is whole for us too: the head has not heard yet
        that we went live. Cut short, the list would lose the newcomers that we have taken in ourselves.
        """
        self.assertEqual(copied(peer(10), peers(20, 30, 20), 3), (peers(20, 30), True))
        self.assertEqual(copied(peer(10), peers(20, 30, 5, 15, 20), 3), (peers(20, 30, 5), True))

    def test_another_in_our_place_does_not_close(self) -> None:
        """A peer with our id on another port is not us: the list ends there and is not whole."""
        self.assertEqual(copied(peer(10), (*peers(20, 30), peer(10, 9999), peer(20)), 3), (peers(20, 30), False))

    def test_whole_up_to_twice_the_entries(self) -> None:
        """A list that closes may hold twice the entries."""
        others = peers(*range(20, 80, 10))
        self.assertEqual(copied(peer(10), (*others, peer(10), others[0]), 3), (others, True))

    def test_too_long_to_be_whole(self) -> None:
        """A list that closes behind more than twice the entries is an ordinary list of the nearest ones."""
        others = peers(*range(20, 90, 10))
        self.assertEqual(copied(peer(10), (*others, peer(10), others[0]), 3), (others[:3], False))


class ClosedTests(SynchronousTestCase):
    """`closed`: an ordinary list and the one behind it as a whole list."""

    def test_reaches_round(self) -> None:
        """Where the list behind the last entry names us, both together are whole, up to us."""
        self.assertEqual(closed(peer(10), peers(20, 30, 40), peers(40, 50, 10, 20), 3), peers(20, 30, 40, 50))

    def test_does_not_reach_round(self) -> None:
        """Where it ends before us, nothing is known of who stands between."""
        self.assertIsNone(closed(peer(10), peers(20, 30, 40), peers(40, 50, 60, 70), 3))

    def test_passes_us(self) -> None:
        """Where it jumps over us, it is not in order for us."""
        self.assertIsNone(closed(peer(10), peers(20, 30, 40), peers(40, 50, 15), 3))

    def test_too_large(self) -> None:
        """A ring that nearly fills a whole list does not close: each newcomer would open it again."""
        entries = peers(*range(20, 120, 10))
        for count, expected in ((closing_max(4), True), (closing_max(4) + 1, False)):
            whole = closed(peer(10), entries[:4], (*entries[3:count], peer(10)), 4)
            self.assertEqual(whole, entries[:count] if expected else None)

    def test_closing_max(self) -> None:
        """Well above the entries of a list, and below what a whole one may hold."""
        for entries_max in range(2, 33):
            self.assertTrue(entries_max < closing_max(entries_max) < 2 * entries_max)


class FittedTests(SynchronousTestCase):
    """`fitted`: a list cut to what it may hold."""

    def test_whole(self) -> None:
        """A whole list may hold twice the entries, and stays whole."""
        entries = peers(*range(1, 7))
        self.assertEqual(fitted(entries, True, 3), (entries, True))

    def test_above_twice(self) -> None:
        """One entry more, and it is an ordinary list again."""
        entries = peers(*range(1, 8))
        self.assertEqual(fitted(entries, True, 3), (entries[:3], False))

    def test_ordinary(self) -> None:
        """A list that is not whole keeps the nearest entries."""
        entries = peers(*range(1, 6))
        self.assertEqual(fitted(entries, False, 3), (entries[:3], False))

    def test_short(self) -> None:
        """A short list is left as it is, and does not become whole by that."""
        self.assertEqual(fitted(peers(1), False, 3), (peers(1), False))


class InOrderTests(SynchronousTestCase):
    """`in_order`: peers clockwise from oneself."""

    def test_clockwise(self) -> None:
        """The nearest clockwise comes first, across position 0."""
        self.assertEqual(places(in_order(peer(40), peers(30, 50, 10, 41))), [41, 50, 10, 30])

    def test_each_once_without_oneself(self) -> None:
        """Duplicates and oneself are left out."""
        self.assertEqual(places(in_order(peer(40), peers(50, 40, 50))), [50])

    def test_one_per_place(self) -> None:
        """Of several peers in one place the first that was named counts; none in our own place does."""
        named = (peer(50, 2), peer(50, 1), peer(40, 7))
        self.assertEqual(in_order(peer(40), named), (peer(50, 2),))
