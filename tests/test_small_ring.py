"""Behaviour of lists in rings in which everybody knows everybody."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.small_ring import copied, fitted, in_order
from tests.builders import peer, peers, places


class CopiedTests(SynchronousTestCase):
    """`copied`: the list of one's head as one's own."""

    def test_head_comes_first(self) -> None:
        """The head stands first, and its list behind it."""
        self.assertEqual(copied(peer(10), peer(20), peers(30, 40), 3), (peers(20, 30, 40), False))

    def test_last_entry_falls_off(self) -> None:
        """A full list loses its last entry to the head (Zave: ``[head] + head.successors[:-1]``)."""
        self.assertEqual(copied(peer(10), peer(20), peers(30, 40, 50), 3), (peers(20, 30, 40), False))

    def test_short_list_is_taken_whole(self) -> None:
        """A list that deaths have shortened loses nothing: all lists would stay short for good."""
        self.assertEqual(copied(peer(10), peer(20), peers(30), 3), (peers(20, 30), False))

    def test_finding_oneself_closes_the_list(self) -> None:
        """A head's list that names us is cut there, and ours is whole: behind its last entry comes its owner again."""
        self.assertEqual(copied(peer(10), peer(20), peers(30, 10), 3), (peers(20, 30), True))

    def test_behind_oneself_nothing_counts(self) -> None:
        """In a whole list of the head, what stands behind us stands before us already."""
        self.assertEqual(copied(peer(10), peer(20), peers(30, 10, 15), 3), (peers(20, 30), True))

    def test_ring_of_two(self) -> None:
        """The only other member names us alone."""
        self.assertEqual(copied(peer(10), peer(20), peers(10), 3), (peers(20), True))

    def test_across_zero(self) -> None:
        """Order is clockwise from ourselves, across position 0."""
        self.assertEqual(copied(peer(40), peer(50), peers(5, 40), 3), (peers(50, 5), True))

    def test_jumping_over_oneself_ends_the_list(self) -> None:
        """Where the head's list passes our place without naming us, the rest is not in order for us, and not whole."""
        self.assertEqual(copied(peer(10), peer(20), peers(30, 15), 3), (peers(20, 30), False))

    def test_another_in_our_place_does_not_close(self) -> None:
        """A peer with our id on another port is not us: the list ends there and is not whole."""
        self.assertEqual(copied(peer(10), peer(20), (peer(30), peer(10, 9999)), 3), (peers(20, 30), False))

    def test_whole_up_to_twice_the_entries(self) -> None:
        """A list that closes may hold twice the entries."""
        others = peers(*range(20, 80, 10))
        self.assertEqual(copied(peer(10), others[0], (*others[1:], peer(10)), 3), (others, True))

    def test_too_long_to_be_whole(self) -> None:
        """A list that closes behind more than twice the entries is an ordinary list of the nearest ones."""
        others = peers(*range(20, 90, 10))
        self.assertEqual(copied(peer(10), others[0], (*others[1:], peer(10)), 3), (others[:3], False))


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
