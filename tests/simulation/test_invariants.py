"""Behaviour of the check of the ring: what it counts, and that it counts the same as the plain way."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Peer
from chordtwist.core.small_ring import closing_max
from chordtwist.simulation.chance import below, pick_some
from chordtwist.simulation.invariants import KNOWN_US, NOTICED_US, RingCheck
from chordtwist.simulation.trace import Trace


def peers_in_order(count: int) -> list[Peer]:
    """Peers at 100, 200, 300 ... of the circle."""
    return [Peer(100 * n, f"10.0.0.{n}", 6401, bytes((10, 0, 0, n, 25, 1))) for n in range(1, count + 1)]


class RingCheckTests(SynchronousTestCase):
    """A ring of five with lists of two, of which the check is told."""

    def setUp(self) -> None:
        """An ideal ring of five."""
        self.check = RingCheck(2, Trace())
        self.peers = peers_in_order(5)
        self.show_ideal(self.peers)

    def show_ideal(self, peers: list[Peer]) -> None:
        """Tell the check of members that show an ideal ring."""
        self.check.suspended = True
        count = len(peers)
        for index, peer in enumerate(peers):
            behind = tuple(peers[(index + 1 + k) % count] for k in range(2))
            self.check.went_live(0, peer, peers[index - 1], behind, False)
        self.check.suspended = False

    def lists(self, peer: Peer, *behind: Peer, whole: bool = False, now_us: int = 1) -> None:
        """A member now has this list."""
        known = self.check.members[peer]
        self.check.changed(now_us, peer, known.predecessor, behind, whole)

    def test_ideal(self) -> None:
        """An ideal ring has nothing wrong: everybody is linked and principal."""
        self.assertEqual(self.check.wrong_pointers(), [])
        self.assertEqual((self.check.linked(), self.check.principals(), self.check.violated), (5, 5, 0))

    def test_owner(self) -> None:
        """The owner of a position is the first member at or behind it, around the circle."""
        a, b, *_ = self.peers
        self.assertEqual([self.check.owner(at) for at in (100, 101, 200, 501, 0)], [a, b, b, a, a])

    def test_skipped_member(self) -> None:
        """A member that a list skips is not principal any more; it is again when the list names it."""
        a, b, c, d, _ = self.peers
        self.lists(a, c, d)
        self.assertEqual(self.check.principals(), 4)
        self.assertEqual((self.check.skipped(), self.check.told_skipped()), ([b], [f"{b} is skipped by {a}"]))
        self.lists(a, b, c)
        self.assertEqual(self.check.principals(), 5)

    def test_too_few_principals(self) -> None:
        """Fewer than r + 1 principal members are a violation, told once until there are enough again."""
        a, b, c, d, e = self.peers
        self.lists(a, b, d)
        self.lists(b, c, e)
        self.assertEqual(self.check.violated, 0, "three of five are principal, as many as are needed")
        self.lists(c, d, a)
        self.assertEqual([v.invariant for v in self.check.violations], ["SufficientPrincipals"])
        self.lists(d, e, b)
        self.assertEqual(self.check.violated, 1)
        self.assertIn("SufficientPrincipals", self.check.page)

    def test_no_live_entry(self) -> None:
        """A member that takes a list without any live entry breaks the ring."""
        a, *_ = self.peers
        gone = Peer(150, "10.0.0.9", 6401, b"gone")
        self.lists(a, gone)
        self.assertEqual([v.invariant for v in self.check.violations][:1], ["OneLiveSuccessor"])

    def test_burst(self) -> None:
        """Failures that take a whole list at once break the proof's assumption, and are not held against the rules."""
        _, b, c, *_ = self.peers
        self.check.ended(1, [b, c])
        self.lists(self.peers[0], b)
        self.assertEqual((self.check.bursts, self.check.violated, self.check.violated_apart), (1, 0, 1))

    def test_excuse_ends(self) -> None:
        """What was broken excuses nothing any more once the ring was ideal again."""
        a, b, c, d, e = self.peers
        self.check.ended(1, [b, c])
        self.check.forgive()
        self.lists(a, b)
        self.assertEqual(self.check.violated, 0)
        for peer, before, behind in ((a, e, (d, e)), (d, a, (e, a)), (e, d, (a, d))):
            self.check.changed(2, peer, before, behind, True)
        self.check.forgive()
        self.lists(a, b, now_us=NOTICED_US + 1)
        self.assertEqual([v.invariant for v in self.check.violations], ["OneLiveSuccessor"])

    def test_failures_within_the_assumption(self) -> None:
        """One of a list's two entries may fail at any time."""
        self.check.ended(1, [self.peers[1]])
        self.assertEqual((self.check.bursts, self.check.violated, self.check.linked()), (0, 0, 4))

    def test_failure_before_newcomers_are_linked(self) -> None:
        """That fewer than r + 1 principals are left breaks the assumption of whoever joined by the rules of a large
        ring and is not linked yet; newcomers of a small ring, who are known to everybody, do not rest on it.
        """
        for whole, bursts in ((False, 1), (True, 0)):
            self.setUp()
            a, b, c, d, e = self.peers
            self.check.ended(1, [d])
            self.lists(c, e, a)
            self.check.ended(1, [e])
            self.lists(c, a, b)
            self.check.went_live(2, Peer(350, "10.0.0.9", 6401, b"new"), c, (a, b, c), whole)
            self.assertEqual((self.check.bursts, self.check.linked(), self.check.principals()), (0, 3, 3))
            self.check.ended(3, [a])
            self.assertEqual((self.check.bursts, self.check.violated), (bursts, 0))

    def test_ring_that_shrinks_before_newcomers_are_known(self) -> None:
        """Two members that joined a large ring are linked, and skipped yet: that is no wrong rule when so many ended
        since as a newcomer must be able to bear, and they joined lately.
        """
        margin = closing_max(2) - 2
        for ended, joined_us, is_excused in ((margin, 0, True), (margin - 1, 0, False), (margin, -KNOWN_US, False)):
            self.setUp()
            a, b, c, d, e = self.peers
            for peer, pointers in self.check.members.items():
                pointers.live_since_us = joined_us if peer in (b, c) else -KNOWN_US
            self.lists(a, b, d)
            self.lists(e, a, c)
            for other in peers_in_order(12)[5 : 5 + ended]:
                self.check.went_live(0, other, e, (a, d), False)
                self.check.ended(1, [other])
            self.assertEqual((self.check.principals(), self.check.bursts), (3, 0))
            self.lists(b, c, e)
            self.assertEqual((self.check.bursts, self.check.violated), (1, 0) if is_excused else (0, 1))

    def test_read_before_a_burst(self) -> None:
        """Whoever is killed after showing its list, with everybody that stands there, takes that list with it: who has
        just taken it over cannot know. Some seconds later it could.
        """
        for now_us, expected in ((NOTICED_US, (1, 0)), (NOTICED_US + 1, (0, 1))):
            self.check = RingCheck(2, Trace())
            self.show_ideal(self.peers)
            a, b, c, *_ = self.peers
            self.lists(a, c, self.peers[3])
            self.check.excused = False
            self.check.ended(1, [b])
            self.check.ended(2, [c])
            self.check.bursts = 0
            self.lists(a, b, c, now_us=now_us)
            self.assertEqual((self.check.bursts, self.check.violated), expected)

    def test_judged_dead(self) -> None:
        """A member that is taken for dead though it lives breaks the proof's assumption; one that was away just before
        does not.
        """
        a, b, *_ = self.peers
        for now_us, expected in ((NOTICED_US - 1, 0), (NOTICED_US, 1)):
            self.check.judged_dead(now_us, a, b)
            self.assertEqual(self.check.misjudged, expected)
        self.check.ended(NOTICED_US, [b])
        self.check.judged_dead(NOTICED_US, a, b)
        self.assertEqual(self.check.misjudged, 1)

    def test_live_head_given_up(self) -> None:
        """Who gives its live head up for somebody farther away has judged a live node dead: counted apart."""
        a, _, c, d, _ = self.peers
        self.lists(a, c, d)
        self.assertEqual(self.check.misjudged, 1)

    def test_restarted_head_given_up(self) -> None:
        """A head that died and came back has died: to give it up is right."""
        a, b, c, d, _ = self.peers
        self.check.ended(1, [b])
        self.check.went_live(2, b, a, (c, d), False)
        self.check.changed(3, a, None, (c, d), False)
        self.assertEqual(self.check.misjudged, 0)

    def test_closer_head(self) -> None:
        """A newcomer in front of the head is no misjudgement; it counts from the moment when it is somebody's head."""
        a, b, c, *_ = self.peers
        newcomer = Peer(150, "10.0.0.9", 6401, b"new")
        self.check.went_live(1, newcomer, a, (b, c), False)
        self.assertEqual(self.check.linked(), 5)
        self.lists(a, newcomer, b)
        self.assertEqual((self.check.linked(), self.check.misjudged), (6, 0))

    def test_newcomer_known_before(self) -> None:
        """In a small ring a newcomer stands in lists before it goes live: then it is linked at once."""
        check = RingCheck(2, Trace())
        a, b, *_ = self.peers
        check.went_live(0, a, None, (), True)
        check.changed(1, a, None, (b,), True)
        check.went_live(2, b, a, (a,), True)
        self.assertEqual((check.linked(), check.principals()), (2, 2))

    def test_closing_pair(self) -> None:
        """A whole list has one more pair: from its last entry to its owner, which skips whoever it leaves out."""
        a, b, c, *_ = self.peers
        self.lists(a, b, c, whole=True)
        self.assertEqual(self.check.principals(), 3)

    def test_suspended(self) -> None:
        """While there is more than one ring on purpose nothing is asserted."""
        self.check.suspended = True
        a, b, _, d, e = self.peers
        self.lists(a, d, e)
        self.lists(b, e, a)
        self.assertEqual(self.check.violated, 0)

    def test_wrong_pointers(self) -> None:
        """Each head, list and predecessor that is not ideal is named."""
        a, b, c, d, e = self.peers
        self.check.changed(1, a, d, (c, d), False)
        self.check.changed(1, c, b, (d, a), False)
        self.assertEqual(
            self.check.wrong_pointers(),
            [
                f"head of {a}: {c}",
                f"predecessor of {a}: {d}, not {e}",
                f"list of {c}: 2 entries, 2 expected",
            ],
        )

    def test_counts_like_the_plain_way(self) -> None:
        """Whatever changes, joins and ends, in any order: its counts are those of a count from the beginning."""
        for seed in range(30):
            rng = Random(seed)
            check = RingCheck(3, Trace())
            everybody = peers_in_order(12)
            check.went_live(0, everybody[0], None, (), True)
            for now_us in range(1, 60):
                members = list(check.members)
                draw = below(rng, 10)
                behind = tuple(pick_some(rng, everybody, below(rng, 4)))
                outside = [peer for peer in everybody if peer not in check.members]
                if draw < 3 and outside:
                    check.went_live(now_us, outside[below(rng, len(outside))], None, behind, bool(below(rng, 2)))
                elif draw < 5 and len(members) > 2:
                    check.ended(now_us, pick_some(rng, members, 1 + below(rng, 2)))
                else:
                    peer = members[below(rng, len(members))]
                    check.changed(now_us, peer, None, behind, bool(below(rng, 2)))
                check.recount()

    def test_lost_count(self) -> None:
        """The plain count finds a difference."""
        self.check._linked += 1
        self.assertRaises(AssertionError, self.check.recount)
