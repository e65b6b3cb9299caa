"""Behaviour of the searches of one member: whom it asks, and what it tells of each question."""

from __future__ import annotations

from typing import Any, ClassVar

from chordtwist.core.lookup import Quality
from chordtwist.core.witnesses import WitnessedLookup
from chordtwist.node.ring import searches
from chordtwist.node.ring.searches import AT_HAND, NOT_WALKED, OWNER_COUNTS_S, TABLE, Step
from tests.builders import at, large_ring, peer, peers, places, table
from tests.contracts import ScriptedAnswers
from tests.test_node_answers import OneNodeTestCase

ROUND_TRIP_MS = 20


class SearchesCase(OneNodeTestCase):
    """The node at 50, which keeps three copies."""

    copies: ClassVar[int] = 3

    def traced(self, position: int) -> list[Step]:
        traced = self.node.searches.trace(position)
        self.scene.advance(2)
        route, steps = self.successResultOf(traced)
        assert route is not None
        self.owner = places([route.owner])[0]
        return steps


class LargeRingTests(SearchesCase):
    """40 stands before it, 60, 70 and 80 behind it."""

    def setUp(self) -> None:
        super().setUp()
        self.be_member()

    def test_own_list(self) -> None:
        """Where its own list has all copies of a position nobody is heard but the owner: no witness knows better."""
        steps = self.traced(at(55))
        self.assertEqual(([step.peer for step in steps], self.owner), ([peer(60)], 60))

    def test_end_of_own_list(self) -> None:
        """Where it has some of them others are heard as well."""
        steps = self.traced(at(65))
        self.assertEqual(self.owner, 70)
        self.assertNotEqual([step.peer for step in steps], [peer(70)])

    def test_times(self) -> None:
        """A question says when it was put and how long the answer took, in ms; a table at hand took no time."""
        steps = self.traced(at(85))
        for outcome, at_ms, took_ms in ((AT_HAND, {0}, {0}), (TABLE, {0}, {ROUND_TRIP_MS})):
            told = [step for step in steps if step.outcome == outcome]
            self.assertEqual({round(step.at_ms, 3) for step in told}, at_ms)
            self.assertEqual({round(step.took_ms or 0, 3) for step in told}, took_ms)
        self.scene.advance(70)
        self.assertEqual({round(step.at_ms, 3) for step in self.traced(at(15))}, {0, ROUND_TRIP_MS})

    def test_owner_just_asked(self) -> None:
        """Who has just shown that it is the owner is not asked again at once; after a moment it is."""
        for pause_s, outcome in ((0.0, AT_HAND), (OWNER_COUNTS_S + 0.1, TABLE)):
            asked = -1
            while asked != len(self.scene.asked(90)):  # by nothing else meanwhile
                self.scene.advance(60)
                found = self.node.searches.find(at(85), Quality.QUICK)
                self.scene.advance(0.05)
                asked = len(self.scene.asked(90))
                self.scene.advance(pause_s)
            self.assertEqual(self.successResultOf(found).owner, peer(90))
            self.assertEqual([step.outcome for step in self.traced(at(85)) if step.peer == peer(90)], [outcome])


class LargeBookTests(SearchesCase):
    """The node has met more members before a position than a search begins at, and two behind it."""

    def setUp(self) -> None:
        super().setUp()
        self.be_member()
        ring = large_ring(3, *range(100, 145))
        for place, shown in ring.items():
            self.scene.others[place] = ScriptedAnswers()
            self.scene.links[place] = self.scene.start(peer(place), self.scene.others[place])
            self.scene.show(shown)
            self.node.tables.book.met(peer(place), self.scene.now_s)

    def test_likely_owner(self) -> None:
        """The one nearest behind a position is taken for its owner, and asked; nobody behind that one is."""
        self.node.tables.book.is_walked = True
        asked = [step.peer for step in self.traced(at(140))]
        self.assertEqual(self.owner, 140)
        self.assertIn(peer(140), asked)
        self.assertNotIn(peer(141), asked)

    def test_newcomer(self) -> None:
        """Until a first walk is round the ring most of those met may be whom liars told us of: more of them are heard,
        however alike they are.
        """
        doubts: list[int] = []

        class Noted(WitnessedLookup):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                doubts.append(given[-1])

        self.patch(searches, "WitnessedLookup", Noted)
        for is_walked in (False, True):
            self.node.tables.book.is_walked = is_walked
            self.traced(at(140))
            self.assertEqual(doubts[0], 0 if is_walked else NOT_WALKED)
            doubts.clear()


class SmallRingTests(SearchesCase):
    """A ring of two, fewer than there are copies."""

    def test_whole_list(self) -> None:
        """Where everybody knows everybody there are no witnesses to hear."""
        self.node.start()
        self.node.routing.join(peer(90), peers(90), whole=True)
        self.scene.show(table(90, (50,), 50, whole=True))
        self.scene.advance(8)
        self.assertEqual([step.peer for step in self.traced(at(55))], [peer(90)])
        self.assertEqual(self.owner, 90)
