"""Behaviour of the walker: whom it visits, how far that takes it, and when it rests."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.liveness import Liveness
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.dial_limits import DialLimits
from chordtwist.node.ring.tables import Tables
from chordtwist.node.ring.walking import WALK_AGAIN_S, WALK_ANEW_S, Walker
from chordtwist.simulation.signer import verify_simulated
from tests.builders import IDENTITY, Neighbourhood, ScriptedMembership, large_ring, peer, peers, routing, table

MEMBERS = range(1600, 65600, 1600)
ENTRIES = 4


class WalkerTests(SynchronousTestCase):
    """The member 1600 of a ring of 1600, 3200 .. 64000, with lists of four."""

    def setUp(self) -> None:
        """It knows its own list."""
        others = [member for member in MEMBERS if member != 1600]
        self.scene = Neighbourhood(1600, *others)
        self.ring = large_ring(ENTRIES, *MEMBERS)
        self.scene.show(*(self.ring[member] for member in others))
        link = self.scene.link
        limits = self.limits = DialLimits(lambda peer: link.key_of(peer) is not None, link.clock)
        asking = Asking(link, Liveness(3.0), limits, lambda peer, said: None, link.clock.seconds)
        self.tables = Tables(IDENTITY, asking.ask, link.key_of, verify_simulated, link.clock.seconds, ENTRIES)
        self.membership = ScriptedMembership()
        self.routing = routing(1600, (3200, 4800, 6400, 8000), entries_max=ENTRIES)
        self.tables.book.heard(self.routing.successors, peer(3200), link.clock.seconds())
        self.walker = Walker(self.membership, self.routing, self.tables, asking, link.clock, Random(1), 30.0)

    def visit(self) -> list[int]:
        """Whom one visit was paid to."""
        before = {member: len(self.scene.asked(member)) for member in self.scene.others}
        visited = maybeDeferred(self.walker.visit)
        self.scene.advance(3)
        self.in_haste = self.successResultOf(visited)
        return [member for member, count in before.items() if len(self.scene.asked(member)) > count]

    def walk(self) -> list[int]:
        """All visits of a walk."""
        walked: list[int] = []
        while visited := self.visit():
            walked += visited
        return walked

    def test_round(self) -> None:
        """It begins at the end of our own list, and each table takes it as far as its list reaches, once round."""
        self.assertEqual(self.walk(), [*range(8000, 65600, 6400), 64000])
        self.assertEqual(self.tables.book.met_count, 10)
        self.assertEqual(len(self.tables.book), len(MEMBERS))

    def test_first_in_haste(self) -> None:
        """The first walk is in haste, and no other: until it is round the book says that it is not walked."""
        book = self.tables.book
        while not book.is_walked:
            visited = self.visit()
            self.assertEqual(self.in_haste, not book.is_walked)
            self.assertEqual(visited != [], self.in_haste)
        self.scene.advance(WALK_AGAIN_S)
        self.assertNotEqual(self.visit(), [])
        self.assertFalse(self.in_haste)

    def test_no_haste(self) -> None:
        """Who is no member, or knows everybody by his own list, is not in haste."""
        self.routing.join(peer(64000), peers(3200, 4800), whole=True)
        self.visit()
        self.assertFalse(self.in_haste)
        self.membership.status = None  # type: ignore[assignment]
        self.visit()
        self.assertFalse(self.in_haste)

    def test_cut_off(self) -> None:
        """While nobody answers nothing is in haste, and nothing counts as walked; then it begins anew, soon."""
        others = [member for member in MEMBERS if member != 1600]
        for member in others:
            self.scene.silence(member)
        for _ in range(10):
            self.visit()
            self.assertEqual((self.in_haste, self.tables.book.is_walked), (False, False))
        self.scene.network.faults.heal()
        self.scene.advance(WALK_ANEW_S + 400)
        self.walk()
        self.assertTrue(self.tables.book.is_walked)

    def test_as_another_member(self) -> None:
        """Who has joined afresh, perhaps another ring, walks in haste again, and from its place."""
        self.walk()
        self.assertTrue(self.tables.book.is_walked)
        self.walker.begin_anew()
        self.assertFalse(self.tables.book.is_walked)
        self.assertEqual((self.visit(), self.in_haste), ([8000], True))

    def test_no_dial_left(self) -> None:
        """Whom we may not dial now keeps its place in the book, and comes next when we may."""
        self.limits._unanswered.spend("", 40.0, self.scene.link.clock.seconds())
        known = len(self.tables.book)
        self.assertEqual((self.visit(), self.in_haste), ([], False))
        self.assertEqual(len(self.tables.book), known)
        self.scene.advance(60)
        self.assertEqual(self.visit(), [8000])

    def test_no_dial_left_for_everybody(self) -> None:
        """Walking on without a rest ends where we may dial nobody new."""
        self.limits._unanswered.spend("", 40.0, self.scene.link.clock.seconds())
        met = self.walker.meet_everybody()
        self.scene.advance(1)
        self.successResultOf(met)

    def test_list_comes_back(self) -> None:
        """Having had nobody to begin at costs no rest."""
        for entry in self.routing.successors:
            self.routing.drop(entry)
        self.assertEqual(self.visit(), [])
        self.routing.join(peer(64000), peers(3200, 4800, 6400, 8000), whole=False)
        self.assertEqual(self.visit(), [8000])

    def test_rest(self) -> None:
        """The next walk begins some minutes after the one before; it meets others."""
        first = self.walk()
        self.scene.advance(WALK_AGAIN_S - 60)
        self.assertEqual(self.visit(), [])
        self.scene.advance(60)
        second = self.walk()
        self.assertEqual(second[0], 8000)
        self.assertEqual(set(first[1:-1]) & set(second), set())

    def test_links_end(self) -> None:
        """A link that a visit took is gone behind it."""
        self.walk()
        self.assertEqual(self.scene.link.links, {})

    def test_silent(self) -> None:
        """Over one that does not answer the list of one before him leads."""
        self.scene.silence(14400)
        self.assertEqual([self.visit(), self.visit(), self.visit(), self.visit()], [[8000], [], [12800], [19200]])

    def test_long_list(self) -> None:
        """A list that reaches much farther than ours takes the walk no farther than ours would."""
        self.scene.show(table(8000, (9600, 32000, 48000, 62400)))
        self.visit()
        self.assertEqual(self.visit(), [9600])

    def test_everybody_at_once(self) -> None:
        """Walking on without a rest meets everybody but our own list, which is looked after anyway."""
        met = self.walker.meet_everybody()
        self.scene.advance(60)
        self.successResultOf(met)
        self.assertEqual(self.tables.book.met_count, len(MEMBERS) - ENTRIES)

    def test_no_walk(self) -> None:
        """Who knows everybody by his own list, has lost all of it, or is no member, walks nowhere."""
        self.routing.join(peer(64000), peers(3200, 4800), whole=True)
        self.assertEqual(self.visit(), [])
        self.routing.join(peer(64000), peers(3200, 4800), whole=False)
        for entry in peers(3200, 4800):
            self.routing.drop(entry)
        self.assertEqual(self.visit(), [])
        self.routing.join(peer(64000), peers(3200, 4800), whole=False)
        self.membership.status = None  # type: ignore[assignment]
        self.assertEqual(self.visit(), [])
