"""Behaviour of one search: whom to ask next, and when it is done."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.lookup import HOPS_MAX, Lookup, QuickLookup, Route
from chordtwist.core.peer import Peer
from chordtwist.core.table import Table
from tests.builders import at, large_ring, peer, peers, places, table, whole_ring


def drive(lookup: Lookup, tables: dict[int, Table], silent: Iterable[int] = ()) -> list[int]:
    """Answer everything a lookup asks; places in the order in which they were asked."""
    asked = []
    gone = peers(*silent)
    while chosen := lookup.next_peer():
        asked += places([chosen])
        if chosen in gone:
            lookup.unreachable(chosen)
        else:
            lookup.answered(tables[places([chosen])[0]])
    return asked


class LookupTests(SynchronousTestCase):
    """`Lookup` of position 35 in a ring of 10, 20, 30, 40, 50 and 60 with two successors each."""

    def setUp(self) -> None:
        """Everybody's table is ideal, without fingers."""
        self.tables = large_ring(2, 10, 20, 30, 40, 50, 60)
        self.lookup = Lookup(at(35))

    def replicas(self) -> list[int]:
        route = self.lookup.route(3)
        assert route is not None
        return places(route.replicas)

    def test_nobody(self) -> None:
        """A search that knows nobody is done, and has found nothing."""
        self.assertTrue(self.lookup.done)
        self.assertIsNone(self.lookup.next_peer())
        self.assertIsNone(self.lookup.route(3))

    def test_one_contact(self) -> None:
        """From one contact it goes from table to table towards the position, and ends at the owner."""
        self.lookup.hear(peers(60))
        self.assertEqual(drive(self.lookup, self.tables)[0], 60)
        self.assertTrue(self.lookup.done)
        self.assertEqual(self.replicas(), [40, 50, 60])

    def test_owners_own_word(self) -> None:
        """It is done only when the owner itself has shown that the position is its own."""
        self.lookup.hear(peers(30))
        self.lookup.next_peer()
        self.lookup.answered(self.tables[30])
        self.assertEqual(self.lookup.owner, peer(40))
        self.assertFalse(self.lookup.done)
        self.assertIsNone(self.lookup.route(3))
        self.assertEqual(self.lookup.next_peer(), peer(40))
        self.lookup.answered(self.tables[40])
        self.assertTrue(self.lookup.done)
        self.assertIsNone(self.lookup.next_peer())

    def test_position_of_a_member(self) -> None:
        """A member owns its own position."""
        self.lookup = Lookup(at(40))
        self.lookup.hear(peers(10))
        drive(self.lookup, self.tables)
        self.assertEqual(self.replicas()[0], 40)

    def test_nearer_owner(self) -> None:
        """An owner whose predecessor lies at or behind the position is none: the predecessor is asked."""
        self.lookup.hear(peers(50))
        self.lookup.next_peer()
        self.lookup.answered(self.tables[50])
        self.assertEqual((self.lookup.owner, self.lookup.done), (peer(40), False))

    def test_newcomer_in_front(self) -> None:
        """A newcomer that only the owner knows yet is found: the owner's table names it as its predecessor."""
        self.tables[37] = table(37, (40, 50), 30)
        self.tables[40] = table(40, (50, 60), 37)
        self.lookup.hear(peers(30))
        drive(self.lookup, self.tables)
        self.assertEqual(self.replicas(), [37, 40, 50])

    def test_own_table(self) -> None:
        """A table at hand is used without asking its owner; when it owns the position no question is put at all."""
        self.lookup.know(self.tables[40])
        self.assertTrue(self.lookup.done)
        self.assertEqual(self.lookup.route(3), Route(at(35), peers(40, 50, 60), hops=0, questions=0))

    def test_hops_and_questions(self) -> None:
        """Hops count the tables one behind another up to the one that named the owner; questions count all."""
        self.lookup = Lookup(at(35))
        self.lookup.know(self.tables[60])
        self.assertEqual(drive(self.lookup, self.tables), [20, 40])
        route = self.lookup.route(3)
        assert route is not None
        self.assertEqual((route.owner, route.hops, route.questions), (peer(40), 1, 2))

    def test_known_owner(self) -> None:
        """An owner that the table at hand names is no hop away and costs one question."""
        self.lookup.know(self.tables[30])
        self.assertEqual(drive(self.lookup, self.tables), [40])
        route = self.lookup.route(3)
        assert route is not None
        self.assertEqual((route.owner, route.hops, route.questions), (peer(40), 0, 1))

    def test_route_is_cut(self) -> None:
        """A route names at most as many replicas as asked for."""
        self.lookup.know(self.tables[40])
        route = self.lookup.route(2)
        assert route is not None
        self.assertEqual(places(route.replicas), [40, 50])

    def test_nearest_first(self) -> None:
        """Peers nearest before the position are asked first."""
        self.lookup = Lookup(at(35))
        self.lookup.hear(peers(10, 30, 50, 20, 60))
        self.assertEqual([self.lookup.next_peer() for _ in range(3)], [*peers(30, 20, 10)])

    def test_nobody_twice(self) -> None:
        """Nobody is asked twice."""
        self.lookup.hear(peers(10, 20))
        self.assertEqual([self.lookup.next_peer() for _ in range(3)], [*peers(20, 10), None])
        self.lookup.hear(peers(20, 10))
        self.assertIsNone(self.lookup.next_peer())

    def test_nothing_from_farther_away(self) -> None:
        """Behind a peer that has answered nobody farther from the position is asked: it has named nearer ones."""
        self.lookup = Lookup(at(35))
        self.lookup.hear(peers(10, 60, 50))
        self.lookup.next_peer()
        self.lookup.answered(table(10, (20, 30), 60))
        self.lookup.next_peer()
        self.lookup.answered(table(30, (41, 50), 20))
        self.assertEqual(self.lookup.next_peer(), peer(41))
        self.assertIsNone(self.lookup.next_peer())

    def test_behind_the_position(self) -> None:
        """A peer behind the position that no list has named is not taken for the owner while a nearer one before the
        position may be found.
        """
        self.lookup = Lookup(at(35))
        self.lookup.hear(peers(10, 60))
        self.assertEqual([self.lookup.next_peer() for _ in range(2)], [*peers(10, 60)])
        self.lookup = Lookup(at(35))
        self.lookup.know(table(10, (20, 30), 60, fingers=(50,)))
        self.assertEqual(self.lookup.next_peer(), peer(30))

    def test_silent_peer(self) -> None:
        """A silent peer is passed over: the next best is asked."""
        self.lookup.hear(peers(20, 30))
        self.assertEqual(drive(self.lookup, self.tables, silent=[30])[:2], [30, 20])
        self.assertEqual(self.replicas()[0], 40)

    def test_silent_owner(self) -> None:
        """When the owner is silent, the next member behind it is the owner, though it has not noticed yet."""
        self.lookup.hear(peers(20))
        drive(self.lookup, self.tables, silent=[40])
        self.assertTrue(self.lookup.done)
        self.assertEqual(self.replicas()[0], 50)

    def test_silent_owner_needs_the_member_before(self) -> None:
        """Then the nearest member before the position must have shown its table first: it may know somebody nearer."""
        self.lookup.hear(peers(40, 50))
        self.lookup.next_peer()
        self.lookup.unreachable(peer(40))
        self.lookup.answered(self.tables[50])
        self.assertFalse(self.lookup.done)
        self.assertEqual(self.lookup.next_peer(), peer(10))

    def test_slow_owner(self) -> None:
        """An owner that was silent is asked once more when the member behind it names it: it may have been slow."""
        self.lookup.hear(peers(30))
        self.assertEqual(self.lookup.next_peer(), peer(30))
        self.lookup.answered(self.tables[30])
        self.assertEqual(self.lookup.next_peer(), peer(40))
        self.lookup.unreachable(peer(40))
        self.assertEqual(self.lookup.next_peer(), peer(50))
        self.lookup.answered(self.tables[50])
        self.assertFalse(self.lookup.done)
        self.assertEqual(self.lookup.next_peer(), peer(40))
        self.lookup.answered(self.tables[40])
        self.assertTrue(self.lookup.done)
        route = self.lookup.route(3)
        assert route is not None
        self.assertEqual((places(route.replicas), route.questions, route.silent), ([40, 50, 60], 4, 1))

    def test_owner_silent_twice(self) -> None:
        """When it is silent again, the member behind it is asked once more, and then believed to be the owner."""
        self.lookup.hear(peers(30))
        self.assertEqual(drive(self.lookup, self.tables, silent=[40]), [30, 40, 50, 40, 50])
        self.assertEqual(self.replicas()[0], 50)

    def test_newcomer_met_meanwhile(self) -> None:
        """In the time that two questions to a dead owner take, the member behind it may have met a newcomer."""
        self.lookup.hear(peers(30))
        for place in (30, 40, 50, 40):
            self.assertEqual(self.lookup.next_peer(), peer(place))
            if place == 40:
                self.lookup.unreachable(peer(40))
            else:
                self.lookup.answered(self.tables[place])
        self.assertEqual(self.lookup.next_peer(), peer(50))
        self.lookup.answered(table(50, (60, 10), 45))
        self.assertEqual(self.lookup.next_peer(), peer(45))
        self.lookup.answered(table(45, (50, 60), 30))
        self.assertTrue(self.lookup.done)
        self.assertEqual(self.replicas(), [45, 50, 60])

    def test_owner_silent_when_asked_once_more(self) -> None:
        """Does it not answer then, it is passed over too."""
        self.lookup.hear(peers(30))
        asked: list[int] = []
        while chosen := self.lookup.next_peer():
            asked += places([chosen])
            if chosen == peer(40) or (chosen == peer(50) and asked.count(50) == 2):
                self.lookup.unreachable(chosen)
            else:
                self.lookup.answered(self.tables[asked[-1]])
        self.assertEqual(asked, [30, 40, 50, 40, 50, 60, 60])
        self.assertEqual(self.replicas()[0], 60)

    def test_names_one_dead_after_the_other(self) -> None:
        """Who names another silent predecessor each time it is asked is asked no third time."""
        self.lookup.hear(peers(30))
        asked: list[int] = []
        dead = iter((40, 41, 42, 43))
        while chosen := self.lookup.next_peer():
            asked += places([chosen])
            if chosen == peer(50):
                self.lookup.answered(table(50, (60, 10), next(dead)))
            elif chosen == peer(30):
                self.lookup.answered(self.tables[30])
            else:
                self.lookup.unreachable(chosen)
        self.assertEqual(asked.count(50), 2)
        self.assertEqual(self.replicas()[0], 50)

    def test_owner_and_next_silent(self) -> None:
        """Two members that died together are passed over together."""
        self.lookup.hear(peers(10))
        drive(self.lookup, self.tables, silent=[40, 50])
        self.assertEqual(self.replicas()[0], 60)

    def test_everybody_silent(self) -> None:
        """When nobody answers it ends, with nothing."""
        self.lookup.hear(peers(10, 20, 30, 40))
        drive(self.lookup, self.tables, silent=[10, 20, 30, 40])
        self.assertTrue(self.lookup.done)
        self.assertIsNone(self.lookup.route(3))

    def test_silent_members_before(self) -> None:
        """When everybody known before the position is silent, those behind it still lead there."""
        self.lookup.hear(peers(30, 20, 50))
        drive(self.lookup, self.tables, silent=[30, 20])
        self.assertEqual(self.replicas()[0], 40)

    def test_owner_without_predecessor(self) -> None:
        """An owner that knows no predecessor is believed: nobody before it is known to anybody."""
        self.lookup.know(table(40, (50, 60)))
        self.assertTrue(self.lookup.done)
        self.assertEqual(self.replicas()[0], 40)

    def test_excluded(self) -> None:
        """Who looks for his own place does not meet himself, however often others name him."""
        self.lookup = Lookup(at(40), excluded=peer(40))
        self.lookup.hear(peers(10, 40))
        asked = drive(self.lookup, self.tables)
        self.assertNotIn(40, asked)
        self.assertEqual(self.lookup.before, peer(30))
        self.assertEqual(self.lookup.predecessor, self.tables[30])
        self.assertEqual(self.replicas()[0], 50)

    def test_before(self) -> None:
        """`before` is the nearest before the position that is not silent; `predecessor` its table, once shown."""
        self.lookup.hear(peers(20, 30, 40))
        self.assertEqual((self.lookup.before, self.lookup.predecessor), (peer(30), None))
        self.lookup.unreachable(peer(30))
        self.assertEqual(self.lookup.before, peer(20))
        self.lookup.next_peer()
        self.lookup.answered(self.tables[20])
        self.lookup.unreachable(peer(20))
        self.assertEqual(self.lookup.before, peer(10))

    def test_nobody_before(self) -> None:
        """There is nobody before the position while nobody was heard of, or only who stands at it."""
        self.lookup.hear(peers(35))
        self.assertEqual((self.lookup.before, self.lookup.predecessor), (None, None))

    def test_led_around(self) -> None:
        """A chain of tables that always name one more peer ends: nobody is asked `HOPS_MAX` questions deep."""
        self.lookup = Lookup(at(60_000))
        self.lookup.hear(peers(1))
        asked = 0
        while chosen := self.lookup.next_peer():
            place = places([chosen])[0]
            self.lookup.answered(table(place, (), place - 1, fingers=(place + 1,)))
            asked += 1
        self.assertEqual(asked, HOPS_MAX)


class QuickLookupTests(SynchronousTestCase):
    """`QuickLookup` of position 35 in a ring of 10, 20, 30, 40, 50 and 60 with two successors each."""

    CASES = (
        ("who is likely the owner, and is", (40,), (), [40]),
        ("one member more than we know", (50,), (), [50, 40]),
        ("nobody near: it goes from table to table", (60, 10), (), [10, 30, 40]),
        ("the likely owner is dead", (40, 50, 20, 30), (40,), [40, 50, 30, 40, 50]),
    )

    def test_questions(self) -> None:
        """Whom it asks, one after another, from what is known at first."""
        for why, known, silent, asked in self.CASES:
            tables = large_ring(2, 10, 20, 30, 40, 50, 60)
            lookup = QuickLookup(at(35), at(20))
            lookup.hear(peers(*known))
            self.assertEqual(drive(lookup, tables, silent), asked, why)
            route = lookup.route(3)
            assert route is not None
            self.assertEqual(places(route.replicas)[0], 50 if silent else 40, why)


class WholeRingLookupTests(SynchronousTestCase):
    """Lookups in small rings."""

    def test_from_outside(self) -> None:
        """A stranger with one contact finds the owner with two questions."""
        lookup = Lookup(at(35))
        lookup.hear(peers(50))
        self.assertEqual(drive(lookup, whole_ring(10, 20, 30, 40, 50)), [50, 40])

    def test_ring_of_one(self) -> None:
        """A ring of one owns everything."""
        lookup = Lookup(at(35))
        lookup.hear(peers(10))
        drive(lookup, whole_ring(10))
        self.assertEqual(lookup.route(3), Route(at(35), peers(10), hops=0, questions=1))

    def test_once_around(self) -> None:
        """The replicas go once around the ring, whoever searches included, and nobody comes twice."""
        lookup = Lookup(at(35))
        lookup.know(whole_ring(10, 20, 30, 40)[20])
        drive(lookup, whole_ring(10, 20, 30, 40))
        route = lookup.route(8)
        assert route is not None
        self.assertEqual(places(route.replicas), [40, 10, 20, 30])


class LargeRingLookupTests(SynchronousTestCase):
    """Lookups in a ring of 300 with fingers."""

    def setUp(self) -> None:
        """All tables are ideal; every tenth member is silent, and nobody has noticed."""
        rng = Random(1)
        self.members = sorted({int(rng.random() * 65_536) for _ in range(300)})
        count = len(self.members)
        self.tables = {}
        for index, place in enumerate(self.members):
            fingers = [self.owner(place + (1 << k)) for k in range(16)]
            listed = [self.members[(index + step) % count] for step in range(1, 9)]
            self.tables[place] = table(
                place, listed, self.members[index - 1], fingers=[f for f in fingers if f not in (*listed, place)]
            )
        self.rng = rng

    def owner(self, place: int) -> int:
        return self.members[bisect_left(self.members, place % 65_536) % len(self.members)]

    def search(self, place: int, start: int, silent: list[int]) -> Lookup:
        lookup = Lookup(at(place))
        lookup.know(self.tables[start])
        drive(lookup, self.tables, silent)
        return lookup

    def test_right(self) -> None:
        """Every search ends at the owner, within half of log2 of the members hops on average and a few questions."""
        hops = questions = 0
        for _ in range(200):
            place = int(self.rng.random() * 65_536)
            start = self.members[int(self.rng.random() * len(self.members))]
            route = self.search(place, start, []).route(4)
            assert route is not None
            self.assertEqual(places([route.owner]), [self.owner(place)])
            hops += route.hops
            questions += route.questions
        self.assertLess(hops / 200, 8.3 / 2 + 0.5)
        self.assertLess(questions / 200, 12)

    def test_right_among_the_silent(self) -> None:
        """So it does when a tenth of all members is silent: at the first member behind the position that answers."""
        silent = self.members[::10]
        live = [place for place in self.members if place not in silent]
        for _ in range(100):
            place = int(self.rng.random() * 65_536)
            start = live[int(self.rng.random() * len(live))]
            route = self.search(place, start, silent).route(4)
            assert route is not None
            expected = next((member for member in live if member >= place), live[0])
            self.assertEqual(places([route.owner]), [expected])


class RouteTests(SynchronousTestCase):
    """`Route`: what a search found."""

    def test_owner(self) -> None:
        """The owner is the first replica."""
        replicas: tuple[Peer, ...] = peers(40, 50)
        self.assertEqual(Route(at(35), replicas).owner, peer(40))
