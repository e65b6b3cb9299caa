"""Behaviour of the routing state: the rules by which one member's pointers change.

Section numbers are those of P. Zave, "How to make Chord correct" (IEEE TSE 43(12), 2017) and of the Chord paper
(Stoica et al., IEEE/ACM ToN 11(1), 2003).
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Identity, Policy
from chordtwist.core.ring import ID_BITS, finger_start
from chordtwist.core.routing import Routing
from tests.builders import PLACE_BITS, at, is_alone, peer, peers, places, routing, table

FIRST = ID_BITS - PLACE_BITS
"""The finger that begins one place behind its owner; test peers are never closer."""


def given(written: str) -> Routing:
    """The state of the member at place 10, written as `shown` writes it."""
    before, _, behind = written.partition(" < ")
    entries = [int(place) for place in behind.removesuffix(" whole").split()]
    return routing(10, entries, None if before == "-" else int(before), behind.endswith(" whole"))


def shown(state: Routing) -> str:
    """Predecessor and successors by their places, and whether the list is whole."""
    before = "-" if state.predecessor is None else str(places([state.predecessor])[0])
    return f"{before} < {' '.join(map(str, places(state.successors)))}{' whole' if state.whole else ''}"


class SayingTests(SynchronousTestCase):
    """What a routing state says of itself."""

    def test_fresh(self) -> None:
        """Before it joins a node knows nobody and owns nothing: it is neither alone nor any part of a ring."""
        state = routing(10)
        self.assertEqual((state.head, is_alone(state), state.everybody()), (None, False, []))
        self.assertFalse(state.owns(at(10)))
        self.assertEqual(state.replicas(at(10)), ())

    def test_alone(self) -> None:
        """A ring of one is whole and owns the whole circle."""
        state = routing(10)
        self.assertTrue(state.begin())
        self.assertTrue(is_alone(state))
        self.assertFalse(state.cut_off)
        self.assertTrue(all(state.owns(at(place)) for place in (9, 10, 11)))
        self.assertEqual(state.replicas(at(9)), peers(10))

    def test_head(self) -> None:
        """The head is the first successor."""
        self.assertEqual(routing(10, (20, 30)).head, peer(20))

    def test_cut_off(self) -> None:
        """Without an entry in a ring too large to know all its members a member is cut off, not alone."""
        state = routing(10, (), predecessor=5)
        self.assertTrue(state.cut_off)
        self.assertFalse(is_alone(state))

    def test_owns(self) -> None:
        """A member owns what lies behind its predecessor, up to and including itself."""
        state = routing(10, (20,), predecessor=5)
        owned = [place for place in (4, 5, 6, 10, 11) if state.owns(at(place))]
        self.assertEqual(owned, [6, 10])

    def test_owns_nothing_it_is_not_told(self) -> None:
        """A member of a larger ring that knows no predecessor yet owns nothing."""
        self.assertFalse(routing(10, (20,)).owns(at(10)))

    def test_everybody(self) -> None:
        """Everybody: successors, then the predecessor, then fingers, each once."""
        state = routing(10, (20, 30), predecessor=5)
        state.set_finger(255, peer(40))
        state.set_finger(254, peer(30))
        self.assertEqual(places(state.everybody()), [20, 30, 5, 40])


class KeepersTests(SynchronousTestCase):
    """`replicas`: who keeps a position, as far as one's own list tells."""

    def test_own(self) -> None:
        """What we own is kept by us and our successors."""
        state = routing(10, (20, 30), predecessor=5)
        self.assertEqual(places(state.replicas(at(7))), [10, 20, 30])

    def test_within_the_list(self) -> None:
        """Between two entries the second one owns, and the rest of the list stands behind it."""
        state = routing(10, (20, 30, 40), predecessor=5)
        self.assertEqual(places(state.replicas(at(11))), [20, 30, 40])
        self.assertEqual(places(state.replicas(at(30))), [30, 40])

    def test_beyond_the_list(self) -> None:
        """Behind the last entry an ordinary list does not tell."""
        self.assertEqual(routing(10, (20, 30), predecessor=5).replicas(at(31)), ())

    def test_whole(self) -> None:
        """A whole list tells of every position: from the owner once around, ourselves included."""
        state = routing(10, (20, 30), predecessor=30, whole=True)
        self.assertEqual(places(state.replicas(at(25))), [30, 10, 20])

    def test_whole_without_predecessor(self) -> None:
        """So it does while the predecessor is not known: behind the last entry come we."""
        state = routing(10, (20, 30), whole=True)
        self.assertEqual(places(state.replicas(at(31))), [10, 20, 30])


class NearTests(SynchronousTestCase):
    """`is_near`: who has records for us that are not its own clients'."""

    def test_near(self) -> None:
        """Near is who stands no farther from us than our last successor, either way."""
        state = routing(100, (120, 130), predecessor=90)
        near = [place for place in (60, 69, 70, 99, 101, 130, 131) if state.is_near(peer(place))]
        self.assertEqual(near, [70, 99, 101, 130])

    def test_everybody(self) -> None:
        """In a small ring everybody is, and so it is while we know nobody."""
        self.assertTrue(routing(100, (120,), whole=True).is_near(peer(40_000)))
        self.assertTrue(routing(100).is_near(peer(40_000)))


class JoinTests(SynchronousTestCase):
    """`join`: become a member, all pointers in one go."""

    def test_join(self) -> None:
        """Our list is that of the predecessor (Zave: join reads the whole list, not one successor)."""
        for why, before, list_, whole, after in (
            ("All of it.", "", (20, 30, 40), False, "5 < 20 30 40"),
            ("In a small ring it is whole from the first moment.", "", (20, 30, 40, 5), True, "5 < 20 30 40 5 whole"),
            ("An earlier incarnation of ourselves is nobody.", "", (10, 20), False, "5 < 20"),
            ("Joining afresh leaves nothing of the ring before.", "9 < 20 30 whole", (15, 16), False, "5 < 15 16"),
        ):
            state = given(before) if before else routing(10)
            self.assertTrue(state.join(peer(5), peers(*list_), whole), why)
            self.assertEqual(after, shown(state), why)

    def test_begin_again(self) -> None:
        """Whoever begins a ring forgets the one before."""
        state = routing(10, (20, 30), predecessor=5)
        state.begin()
        self.assertEqual((state.predecessor, state.successors, is_alone(state)), (None, (), True))


class StabilizeTests(SynchronousTestCase):
    """`stabilize`: make a whole list of those that the head or we name, and that answered."""

    def test_table(self) -> None:
        """What the head's table, and those of its members that answered, make of our pointers."""
        many = tuple(range(20, 90, 10))
        for why, before, head, members, after in (
            ("A list that closes is whole.", "30 < 20", table(20, (30, 10), 10, True), (20, 30), "30 < 20 30 whole"),
            ("Nothing new.", "30 < 20 30 whole", table(20, (30, 10), 10, True), (20, 30), "30 < 20 30 whole"),
            ("A closer head.", "30 < 20 30 whole", table(15, (20, 30, 10), 10, True), (20, 30), "30 < 15 20 30 whole"),
            ("Named.", "30 < 20 30 whole", table(20, (30, 10), 10, True), (40, 30), "30 < 20 30 40 whole"),
            ("Gone.", "30 < 20 30 40 whole", table(20, (30, 40, 10), 10, True), (40,), "30 < 20 40 whole"),
            # More than twice the entries make it an ordinary one, with the next union.
            ("Too many.", "30 < 20 30 whole", table(20, (30, 10), 10, True), many, "30 < 20 30 40 50 60 70"),
        ):
            state = given(before)
            before, changes = shown(state), state.changes
            self.assertIs(before != after, state.stabilize(head, peers(*members)), why)
            self.assertEqual((after, before != after), (shown(state), state.changes != changes), why)

    def test_places_of_members(self) -> None:
        """Who is named in a member's place, on another port of its address, does not take it; it is told of."""
        for whole in (False, True):
            state = routing(10, (20, 30, 40), predecessor=40, whole=whole)
            named = replace(table(20, (30, 40, 50), 10, whole=whole), successors=(peer(30, 7000), *peers(40, 50)))
            for held in (peer(30), peer(30, 7000)):
                if whole:
                    state.stabilize(named, (peer(30, 7000), peer(40)))
                else:
                    state.unite(named, lambda peer: True)
                self.assertEqual(state.successors, (peer(20), held, peer(40)))
                self.assertEqual(state.displaced(named), [peer(30)] if held == peer(30) else [])
                state.drop(peer(30))

    def test_next_to(self) -> None:
        """Next to a place are the members before and behind it, ourselves included."""
        state = routing(10, (20, 30, 40), predecessor=40, whole=True)
        found = [tuple(places(state.next_to(peer(place)))) for place in (25, 5, 15, 30)]
        self.assertEqual([(20, 30), (40, 10), (10, 20), (20, 40)], found)

    def test_dead_in_front_of_a_list_that_ceases_to_be_whole(self) -> None:
        """Its first r entries may all have died since the head listed them: the one behind lives (seed 3500142)."""
        state = routing(10, (20, 30, 40, 50), predecessor=50, whole=True)
        state.unite(table(20, (30, 40, 50), 10), lambda peer: True)
        for place in (20, 30, 40):
            state.drop(peer(place))
        self.assertEqual(places(state.successors), [50])


class UniteTests(SynchronousTestCase):
    """`unite`: what the table of an entry adds to an ordinary list of three at most."""

    def test_table(self) -> None:
        """What it makes of our list by which of its names answered our own dial, or were dead all the time; and for
        whom the list waits.
        """
        for why, before, shows, met, dead, after, unmet in (
            ("Nothing new.", "5 < 20 30 40", table(20, (30, 40, 50)), (50,), (), "5 < 20 30 40", ()),
            (
                "An entry is left out by the head: it stays.",
                "5 < 20 30 40",
                table(20, (40, 50)),
                (),
                (),
                "5 < 20 30 40",
                (),
            ),
            ("A list of liars.", "5 < 20 30 40", table(20, (90, 95)), (90, 95), (), "5 < 20 30 40", ()),
            ("Inside, and it answered.", "5 < 20 30 40", table(20, (25, 30, 40)), (25,), (), "5 < 20 25 30", ()),
            (
                "Inside, and it did not: it waits.",
                "5 < 20 30 40",
                table(20, (25, 35)),
                (35,),
                (),
                "5 < 20 30 35",
                (25,),
            ),
            ("A closer head.", "5 < 20 30 40", table(15, (20, 30, 40)), (), (), "5 < 15 20 30", ()),
            ("Of another entry.", "5 < 20 30 40", table(30, (35, 40)), (35,), (), "5 < 20 30 35", ()),
            ("Behind the end.", "5 < 20", table(20, (30, 40, 50)), (30, 40, 50), (), "5 < 20 30 40", ()),
            ("Behind one that did not answer.", "5 < 20", table(20, (30, 40)), (40,), (), "5 < 20", (30,)),
            ("All are dialled that may fit.", "5 < 20", table(20, (30, 40, 50)), (), (), "5 < 20", (30, 40)),
            ("Behind one that is dead.", "5 < 20", table(20, (30, 40, 50)), (40, 50), (30,), "5 < 20 40 50", (30,)),
            ("Of the last entry.", "5 < 20 30", table(30, (40, 50)), (40, 50), (), "5 < 20 30 40", ()),
            ("It comes round to us.", "5 < 20", table(20, (30, 10, 15)), (15, 30), (), "5 < 20 30", ()),
            ("Nobody was left.", "5 < ", table(20, (30, 40)), (30,), (), "5 < 20 30", (40,)),
            # What ends wholeness cuts nothing: that is left to the next union.
            ("Not whole any more.", "30 < 20 30 40 50 whole", table(20, (30,)), (), (), "30 < 20 30 40 50", ()),
            ("The next cuts it.", "30 < 20 30 40 50", table(20, (30,)), (), (), "30 < 20 30 40", ()),
        ):
            state = given(before)
            before, changes, is_met = shown(state), state.changes, peers(*met).__contains__
            self.assertIs(before != after, state.unite(shows, is_met, peers(*dead)), why)
            self.assertEqual((after, before != after), (shown(state), state.changes != changes), why)
            self.assertEqual(list(unmet), places(given(before).unmet(shows, is_met)), why)

    def test_missed(self) -> None:
        """Entries of ours that a table names no more are looked at, but for those that newcomers pushed off its end."""
        state = routing(10, (20, 30, 40))
        for why, before, after, missed in (
            ("Died or left.", (30, 40, 50), (40, 50, 60), [30]),
            ("Pushed off.", (25, 30, 40), (22, 25, 30), []),
            ("Never named.", (40, 50, 60), (40, 50, 70), []),
        ):
            self.assertEqual(missed, places(state.missed(table(20, after), table(20, before))), why)


class CloseTests(SynchronousTestCase):
    """`last_of` and `close`: a ring that has shrunk becomes whole before its lists reach round by themselves."""

    def test_spans_half(self) -> None:
        """The last entry is looked at when the list spans half of the circle: in a small ring one at least does."""
        half = 1 << PLACE_BITS - 1
        for last, expected in ((half + 10, peer(half + 10)), (half + 9, None)):
            self.assertEqual(routing(10).last_of(table(20, (30, last), 10)), expected)

    def test_head_is_far(self) -> None:
        """Not while the head has somebody else before it, who may be many: what comes round then is not the ring."""
        for predecessor in (15, 5, None):
            self.assertIsNone(routing(10).last_of(table(20, (30, 60000), predecessor)))

    def test_whole_already(self) -> None:
        """A list that closes by the head's own needs nobody else's."""
        self.assertIsNone(routing(10).last_of(table(20, (60000, 10), 10, whole=True)))

    def test_closes(self) -> None:
        """The head's list and that of its last entry reach round to us: ours is whole, and no entry of ours goes."""
        state = routing(10, (20, 30, 40), predecessor=60000)
        self.assertTrue(state.close(table(20, (30, 60000, 65000), 10), table(60000, (65000, 10, 20))))
        self.assertEqual((places(state.successors), state.whole), ([20, 30, 40, 60000, 65000], True))
        self.assertEqual(state.predecessor, peer(60000))

    def test_newcomer_taken_in(self) -> None:
        """A newcomer that we have taken in stays: it goes live on our word, and no list names it before."""
        state = routing(10, (20, 30, 60000, 65000), predecessor=65000, whole=True)
        state.take_in(peer(40))
        state.close(table(20, (30, 60000, 65000), 10), table(60000, (65000, 10, 20)))
        self.assertEqual((places(state.successors), state.whole), ([20, 30, 40, 60000, 65000], True))

    def test_does_not_close(self) -> None:
        """Where they do not reach round nothing changes."""
        state = routing(10, (20, 30, 40), predecessor=60000)
        self.assertFalse(state.close(table(20, (30, 60000, 65000)), table(60000, (62000, 64000, 65000))))
        self.assertEqual((places(state.successors), state.whole), ([20, 30, 40], False))

    def test_another_last_entry(self) -> None:
        """The list of somebody who is not the last entry closes nothing."""
        state = routing(10, (20, 30, 40), predecessor=60000)
        state.close(table(20, (30, 60000, 65000)), table(65000, (10, 20, 30)))
        self.assertFalse(state.whole)


class FollowsTests(SynchronousTestCase):
    """`follows`: whether stabilizing with a table would change nothing."""

    def test_follows(self) -> None:
        """A list that is what the head's table makes it follows it."""
        self.assertTrue(routing(10, (20, 30), whole=True).follows(table(20, (30, 10), whole=True)))

    def test_more_or_less(self) -> None:
        """One with an entry more or less, or another idea of being whole, does not."""
        self.assertFalse(routing(10, (20, 25, 30), whole=True).follows(table(20, (30, 10), whole=True)))
        self.assertFalse(routing(10, (20, 30)).follows(table(20, (30, 10), whole=True)))


class BetterHeadTests(SynchronousTestCase):
    """`better_head`: whom to reach, since the head names it as its predecessor."""

    def test_between(self) -> None:
        """A predecessor of the head that lies between us and the head."""
        self.assertEqual(routing(10, (20,)).better_head(table(20, predecessor=15)), peer(15))

    def test_ourselves(self) -> None:
        """Nobody when it is ourselves: all is well."""
        self.assertIsNone(routing(10, (20,)).better_head(table(20, predecessor=10)))

    def test_before_us(self) -> None:
        """Nobody when it lies before us: the head has not been notified by us yet."""
        self.assertIsNone(routing(10, (20,)).better_head(table(20, predecessor=5)))

    def test_none(self) -> None:
        """Nobody when the head knows no predecessor."""
        self.assertIsNone(routing(10, (20,)).better_head(table(20)))


class RectifyTests(SynchronousTestCase):
    """`rectify`: what a notification does (where the Chord paper, figure 6, adopts whoever notifies, unchecked)."""

    def test_notified(self) -> None:
        """Which notifier becomes our predecessor; successors are never touched."""
        for why, before, notifier, is_dead, after in (
            ("Between our predecessor and us.", "3 < 20 30", 7, False, "7 < 20 30"),
            ("Farther, while our predecessor lives.", "7 < 20", 3, False, "7 < 20"),
            ("Farther, when our predecessor is dead.", "7 < 20", 3, True, "3 < 20"),
            ("Anybody while there is none.", "- < 20", 11, False, "11 < 20"),
            ("The predecessor itself.", "7 < 20", 7, False, "7 < 20"),
        ):
            state = given(before)
            self.assertIs(state.wants_predecessor(peer(notifier)), before != after and not is_dead, why)
            self.assertIs(before != after, state.rectify(peer(notifier), predecessor_is_dead=is_dead), why)
            self.assertEqual(after, shown(state), why)

    def test_in_our_place(self) -> None:
        """Nobody who stands in our own place becomes our predecessor."""
        state = routing(10, (20,), predecessor=7)
        other = peer(10, 9999)
        self.assertFalse(state.wants_predecessor(other))
        self.assertFalse(state.rectify(other, predecessor_is_dead=True))


class DropTests(SynchronousTestCase):
    """`drop`: forget who died or left."""

    def test_list_gets_shorter(self) -> None:
        """The second entry is promoted and nothing is put in at the end (914 of 1,500 runs lost a principal by it)."""
        state = routing(10, (20, 30, 40), predecessor=5)
        state.set_finger(255, peer(50))
        self.assertTrue(state.drop(peer(20)))
        self.assertEqual(places(state.successors), [30, 40])

    def test_stranger(self) -> None:
        """Whoever is in no list changes nothing."""
        state = routing(10, (20,), predecessor=5)
        self.assertFalse(state.drop(peer(99)))

    def test_predecessor_stays(self) -> None:
        """A dead predecessor stays until somebody else notifies: what we own must not grow by hearsay."""
        state = routing(10, (20, 30), predecessor=5)
        self.assertFalse(state.drop(peer(5)))
        self.assertEqual(state.predecessor, peer(5))

    def test_fingers_go(self) -> None:
        """Every finger that points to it is let go."""
        state = routing(10, (20,), predecessor=5)
        for k, place in ((253, 40), (254, 40), (255, 50)):
            state.set_finger(k, peer(place))
        changes = state.changes
        self.assertFalse(state.drop(peer(40)))
        self.assertEqual(state.fingers, {255: peer(50)})
        self.assertGreater(state.changes, changes)

    def test_not_whole_until_it_closes_again(self) -> None:
        """A list shortened by a death is not whole until it closes again."""
        state = routing(10, (20, 30), predecessor=30, whole=True)
        state.drop(peer(20))
        self.assertFalse(state.whole)
        state.stabilize(table(30, (10,), 20, whole=True), ())
        self.assertTrue(state.whole)

    def test_last_of_all(self) -> None:
        """When everybody we knew has died, and we knew everybody, what is left is a ring of one."""
        state = routing(10)
        state.join(peer(30), peers(20, 30), whole=True)
        state.drop(peer(20))
        self.assertFalse(is_alone(state))
        state.drop(peer(30))
        self.assertTrue(is_alone(state))
        self.assertIsNone(state.predecessor)

    def test_last_of_all_after_a_notification(self) -> None:
        """A new predecessor in between does not make us forget that we knew everybody."""
        state = routing(10)
        state.join(peer(40), peers(20, 30, 40), whole=True)
        state.drop(peer(20))
        state.drop(peer(40))
        self.assertTrue(state.rectify(peer(30), predecessor_is_dead=True))
        state.drop(peer(30))
        self.assertTrue(is_alone(state))

    def test_last_entry_of_a_large_ring(self) -> None:
        """When every entry of an ordinary list has died there are others whom we do not know: we are cut off."""
        state = routing(10)
        state.join(peer(5), peers(20, 30, 40), whole=False)
        for place in (20, 30, 40):
            state.drop(peer(place))
        self.assertTrue(state.cut_off)
        self.assertEqual(state.predecessor, peer(5))

    def test_whole_is_not_remembered_for_ever(self) -> None:
        """Who knew everybody once, and has taken an ordinary list since, is cut off, not alone."""
        state = routing(10)
        state.join(peer(30), peers(20, 30), whole=True)
        state.unite(table(20, (30, 40, 50), 10), lambda peer: True)
        for place in (20, 30, 40, 50):
            state.drop(peer(place))
        self.assertTrue(state.cut_off)


class NewcomerTests(SynchronousTestCase):
    """`take_in` and `take_back`: newcomers of small rings."""

    def test_taken_in(self) -> None:
        """A newcomer that announced itself gets its place in the list, once."""
        for why, before, newcomer, after in (
            ("The list stays whole.", "40 < 20 40 whole", 30, "40 < 20 30 40 whole"),
            ("A second announcement changes nothing.", "30 < 20 30 whole", 30, "30 < 20 30 whole"),
            # Nobody is cut off before a copy.
            ("More than twice the entries.", "70 < 20 30 40 50 60 70 whole", 15, "70 < 15 20 30 40 50 60 70"),
        ):
            state = given(before)
            self.assertIs(before != after, state.take_in(peer(newcomer)), why)
            self.assertEqual(after, shown(state), why)

    def test_first_other_member(self) -> None:
        """A ring of one takes in its second member."""
        state = routing(10)
        state.begin()
        state.take_in(peer(30))
        self.assertEqual((places(state.successors), state.whole), ([30], True))

    def test_in_anothers_place(self) -> None:
        """Of two in one place the newcomer counts: the place was found free."""
        state = routing(10, (20, 30), predecessor=30, whole=True)
        state.take_in(peer(30, 9999))
        self.assertEqual(state.successors, (peer(20), peer(30, 9999)))

    def test_withdrawn(self) -> None:
        """A newcomer that withdrew never was a member: without it the list is as whole as before."""
        state = routing(10, (20, 30), predecessor=20, whole=True)
        self.assertTrue(state.take_back(peer(30)))
        self.assertEqual((places(state.successors), state.whole), ([20], True))
        self.assertFalse(state.take_back(peer(30)))

    def test_only_newcomer_withdrawn(self) -> None:
        """When the only other one withdraws we are alone as before, not cut off."""
        state = routing(10)
        state.begin()
        state.take_in(peer(30))
        state.take_back(peer(30))
        self.assertTrue(is_alone(state))


class UnfinishedNewcomerTests(SynchronousTestCase):
    """Newcomers between being taken in and going live."""

    def test_not_shown(self) -> None:
        """They are not shown to others, who would copy them and never take them out again."""
        state = routing(10, (20, 40), predecessor=40, whole=True)
        state.take_in(peer(30))
        self.assertEqual(places(state.live_successors), [20, 40])
        changes = state.changes
        state.gone_live(peer(30))
        self.assertEqual(places(state.live_successors), [20, 30, 40])
        self.assertGreater(state.changes, changes)
        state.gone_live(peer(30))
        state.gone_live(peer(99))
        self.assertEqual(state.changes, changes + 1)

    def test_shown_by_a_ring_of_one(self) -> None:
        """A ring of one shows its newcomer: it must not say that it is alone, since that ends a ring of two."""
        state = routing(10)
        state.begin()
        state.take_in(peer(30))
        self.assertEqual(places(state.live_successors), [30])

    def test_keep_nothing(self) -> None:
        """They keep nothing yet: a ring of one owns the whole circle until its newcomer goes live."""
        state = routing(10)
        state.begin()
        state.take_in(peer(30))
        self.assertTrue(state.owns(at(20)))
        self.assertEqual(places(state.replicas(at(20))), [10])
        state.gone_live(peer(30))
        self.assertFalse(state.owns(at(20)))
        self.assertEqual(places(state.replicas(at(20))), [30, 10])

    def test_between_members(self) -> None:
        """So it is among several members: the member behind the newcomer owns what will be the newcomer's."""
        state = routing(10, (20, 40), predecessor=40, whole=True)
        state.take_in(peer(30))
        self.assertEqual(places(state.replicas(at(25))), [40, 10, 20])

    def test_withdrawn(self) -> None:
        """One that withdrew and comes again is a newcomer again."""
        state = routing(10, (20,), predecessor=20, whole=True)
        state.take_in(peer(30))
        state.take_back(peer(30))
        self.assertEqual(places(state.live_successors), [20])
        state.take_in(peer(30))
        self.assertEqual(places(state.live_successors), [20])


class ForeignTests(SynchronousTestCase):
    """`is_foreign`: whether a table shows another ring than ours."""

    def test_own_ring(self) -> None:
        """A whole table that names us, our predecessor or any other of our successors is of our ring."""
        state = routing(10, (20, 30), whole=True)
        self.assertFalse(state.is_foreign(table(20, (30, 10), whole=True)))
        self.assertFalse(state.is_foreign(table(20, (30,), whole=True)))
        self.assertFalse(state.is_foreign(table(25, (20,), whole=True)))
        self.assertFalse(routing(10, (20,), predecessor=5).is_foreign(table(20, (30, 5), whole=True)))

    def test_other_ring(self) -> None:
        """One that names none of them is not, though its owner is listed: as its run before, which died."""
        state = routing(10, (20, 30), whole=True)
        self.assertTrue(state.is_foreign(table(20, (), whole=True)))
        self.assertTrue(state.is_foreign(table(20, (40, 50), whole=True)))

    def test_not_known(self) -> None:
        """A table that is not whole does not tell, and whoever has no successors cannot."""
        self.assertFalse(routing(10, (20, 30)).is_foreign(table(20, (40, 50))))
        self.assertFalse(routing(10).is_foreign(table(20, (40, 50), whole=True)))


class FingersTests(SynchronousTestCase):
    """Fingers (Chord paper, section 4.3; we count them from 0)."""

    def test_wanted(self) -> None:
        """Wanted are fingers that begin behind the last successor; the list itself answers for the others."""
        state = routing(0, (1, 2, 5), predecessor=60_000)
        wanted = state.fingers_wanted()
        self.assertEqual([k - FIRST for k in wanted], list(range(3, PLACE_BITS)))
        self.assertTrue(all(finger_start(at(0), k) > at(5) for k in wanted))

    def test_none_in_a_whole_list(self) -> None:
        """Who knows everybody wants none; nor does who knows nobody."""
        self.assertEqual(routing(0, (1, 2), whole=True).fingers_wanted(), range(0))
        self.assertEqual(routing(0).fingers_wanted(), range(0))

    def test_right(self) -> None:
        """Right is the first member at or behind where the finger begins, by its own table."""
        state = routing(0, (1, 2, 5))
        k = FIRST + 4
        self.assertTrue(state.finger_is_right(k, table(16, predecessor=15)))
        self.assertTrue(state.finger_is_right(k, table(40, predecessor=15)))
        self.assertFalse(state.finger_is_right(k, table(40, predecessor=16)))
        self.assertFalse(state.finger_is_right(k, table(40)))

    def test_set(self) -> None:
        """A finger is pointed to a peer, elsewhere, or nowhere; what changes something says so."""
        state = routing(0, (1, 2, 5))
        self.assertTrue(state.set_finger(255, peer(40)))
        self.assertFalse(state.set_finger(255, peer(40)))
        self.assertTrue(state.set_finger(255, peer(41)))
        self.assertEqual(state.fingers, {255: peer(41)})
        self.assertTrue(state.set_finger(255, None))
        self.assertFalse(state.set_finger(255, None))
        self.assertEqual(state.fingers, {})

    def test_ourselves(self) -> None:
        """A finger that would point to ourselves points nowhere, and finding that again is no change."""
        state = routing(0, (1, 2, 5))
        state.set_finger(255, peer(40))
        self.assertTrue(state.set_finger(255, peer(0)))
        self.assertEqual(state.fingers, {})
        self.assertFalse(state.set_finger(255, peer(0)))

    def test_prefixes(self) -> None:
        """No more than a few fingers lie in one prefix of public addresses, so that nobody owns our way to the rest."""
        identity = Identity("test", Policy.IP)
        state = Routing(identity.peer("8.8.8.8", 6401), 3)
        taken = [state.set_finger(250 + k, identity.peer(f"9.9.9.{k + 1}", 6401)) for k in range(4)]
        self.assertEqual(taken, [True, True, False, False])
        self.assertTrue(state.set_finger(255, identity.peer("9.9.8.1", 6401)))
        self.assertTrue(state.set_finger(250, identity.peer("9.9.9.77", 6401)))
        known = Routing(identity.peer("8.8.8.8", 6401), 3, spreads_fingers=False)
        self.assertTrue(all(known.set_finger(250 + k, identity.peer(f"9.9.9.{k + 1}", 6401)) for k in range(4)))

    def test_trimmed(self) -> None:
        """Fingers that the list covers by now are let go."""
        state = routing(0, (1, 2, 5))
        state.set_finger(FIRST + 3, peer(9))
        state.set_finger(255, peer(40_000))
        state.successors = peers(1, 2, 12)
        state.trim_fingers()
        self.assertEqual(state.fingers, {255: peer(40_000)})

    def test_counted(self) -> None:
        """Changes of fingers are changes of the table that others are shown."""
        state = routing(0, (1, 2, 5))
        changes = state.changes
        state.set_finger(255, peer(40))
        self.assertGreater(state.changes, changes)
