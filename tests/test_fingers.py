"""Behaviour of the duty to fingers: which one is looked at, and what becomes of it."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RingId, finger_start
from chordtwist.node.ring.fingers import Fingers
from chordtwist.node.ring.tables import Tables
from chordtwist.simulation.signer import verify_simulated
from tests.builders import IDENTITY, Neighbourhood, ScriptedMembership, at, peer, routing, table

NEAR, FAR = 250, 251
"""Two fingers of 10: they begin at 1034 and 2058."""


class FingersTests(SynchronousTestCase):
    """The member 10, whose list ends at 20; its finger 250 is 1100, its finger 251 is 2100."""

    def setUp(self) -> None:
        """Both are right, and nobody is silent."""
        self.scene = Neighbourhood(10, 20, 1040, 1050, 1060, 1070, 1100, 1500, 2100)
        self.scene.show(table(1100, predecessor=900), table(2100, predecessor=1900))
        self.routing = routing(10, (20,))
        self.routing.set_finger(NEAR, peer(1100))
        self.routing.set_finger(FAR, peer(2100))
        self.silent: set[Peer] = set()
        self.looked_up: list[RingId] = []
        self.owner: Peer | None = peer(1500)
        link = self.scene.link
        self.tables = Tables(IDENTITY, link.ask, link.key_of, verify_simulated, link.clock.seconds, 3)
        self.fingers = Fingers(
            ScriptedMembership(),
            self.routing,
            self.tables,
            self.find,
            self.silent.__contains__,
            link.clock,
            Random(1),
            1.0,
        )

    def find(self, position: RingId) -> Deferred[Route]:
        self.looked_up.append(position)
        if self.owner is None:
            return fail(Unreachable(None, "nobody can be asked"))
        return succeed(Route(position, (self.owner,)))

    def fix(self) -> bool:
        fixed = maybeDeferred(self.fingers.fix)
        self.scene.advance(10)
        return bool(self.successResultOf(fixed))

    def all_looked_at(self) -> None:
        for _ in self.routing.fingers_wanted():
            self.fix()

    def test_right(self) -> None:
        """Of a finger that is right nothing is looked up."""
        self.all_looked_at()
        self.assertNotIn(finger_start(at(10), NEAR), self.looked_up)
        self.assertEqual(self.routing.fingers[NEAR], peer(1100))

    def test_nearer(self) -> None:
        """Where a member between where a finger begins and itself does not answer, the finger is looked up; whoever is
        nearer takes its place.
        """
        self.scene.show(table(1100, predecessor=1050, seq=2))
        self.scene.silence(1050)
        self.owner = peer(1070)
        self.all_looked_at()
        self.assertIn(finger_start(at(10), NEAR), self.looked_up)
        self.assertEqual(self.routing.fingers[NEAR], peer(1070))

    def test_its_node_stops(self) -> None:
        """Then a question that ends has nobody looked up."""
        self.patch(self.tables, "fetch", lambda peer: fail(CancelledError()))
        fixed = [maybeDeferred(self.fingers.fix) for _ in self.routing.fingers_wanted()]
        for one in fixed:
            one.addErrback(lambda failure: failure.trap(CancelledError))
        self.scene.advance(10)
        self.assertNotIn(finger_start(at(10), NEAR), self.looked_up)

    def test_stubborn(self) -> None:
        """A live finger does not give way to one that stands farther away, whoever says so."""
        self.scene.show(table(1100, predecessor=1050, seq=2))
        self.scene.silence(1050)
        self.all_looked_at()
        self.assertIn(finger_start(at(10), NEAR), self.looked_up)
        self.assertEqual(self.routing.fingers[NEAR], peer(1100))

    def test_met_before(self) -> None:
        """A nearer one that the address book knows takes its place when it answers."""
        self.scene.show(table(1050, predecessor=900))
        self.tables.fetch(peer(1050))
        self.scene.advance(1)
        self.all_looked_at()
        self.assertEqual(self.routing.fingers[NEAR], peer(1050))
        self.assertNotIn(finger_start(at(10), NEAR), self.looked_up)

    def test_a_neighbour_names_a_nearer_one(self) -> None:
        """So does one that the table of a neighbour names, whatever others and the finger itself leave out; a name that
        does not answer has the finger looked up.
        """
        self.scene.show(table(20, predecessor=10, fingers=(1050,)), table(1050, predecessor=900))
        self.tables.fetch(peer(20))
        self.scene.advance(1)
        self.all_looked_at()
        self.assertEqual(self.routing.fingers[NEAR], peer(1050))
        self.scene.show(table(20, predecessor=10, fingers=(1040,), seq=2))
        self.scene.silence(1040)
        self.tables.fetch(peer(20))
        self.scene.advance(1)
        self.all_looked_at()
        self.assertIn(finger_start(at(10), NEAR), self.looked_up)
        self.assertEqual(self.routing.fingers[NEAR], peer(1050))

    def test_gone(self) -> None:
        """A finger that does not answer is taken out, and another one looked up; perhaps nobody can be asked."""
        self.scene.silence(1100)
        self.owner = None
        self.all_looked_at()
        self.assertNotIn(NEAR, self.routing.fingers)
        self.owner = peer(1500)
        self.all_looked_at()
        self.assertEqual(self.routing.fingers[NEAR], peer(1500))

    def head_shows(self, *fingers: int) -> None:
        """Nothing is known of fingers but what our head shows."""
        self.routing.set_finger(NEAR, None)
        self.routing.set_finger(FAR, None)
        self.scene.show(table(20, predecessor=10, fingers=fingers))
        self.tables.fetch(peer(20))
        self.scene.advance(10)

    def test_newcomer(self) -> None:
        """A member that has come between where a finger begins and itself is met without a search."""
        self.scene.show(table(1100, predecessor=1050, seq=2), table(1050, predecessor=900))
        self.all_looked_at()
        self.assertEqual(self.routing.fingers[NEAR], peer(1050))
        self.assertNotIn(finger_start(at(10), NEAR), self.looked_up)

    def test_head_knows(self) -> None:
        """Who has no finger asks the one that its head shows (section 4.4)."""
        self.head_shows(1100)
        self.all_looked_at()
        self.assertEqual(self.routing.fingers[NEAR], peer(1100))
        self.assertNotIn(finger_start(at(10), NEAR), self.looked_up)

    def test_head_nearly_knows(self) -> None:
        """A member between where our finger begins and our head's is met without a search."""
        self.scene.show(table(1500, predecessor=1100))
        self.head_shows(1500)
        self.all_looked_at()
        self.assertEqual(self.routing.fingers[NEAR], peer(1100))
        self.assertNotIn(finger_start(at(10), NEAR), self.looked_up)

    def test_head_knows_one_too_far(self) -> None:
        """A peer behind where the next finger begins is nobody to begin with: a search is shorter."""
        self.head_shows(2100)
        self.all_looked_at()
        self.assertEqual(len(self.scene.asked(2100)), 1)
        self.assertIn(finger_start(at(10), NEAR), self.looked_up)
        self.assertEqual(self.routing.fingers[FAR], peer(2100))

    def test_many_newcomers(self) -> None:
        """Who would have to be met one behind another is not: the finger is looked up."""
        self.scene.show(
            table(1100, predecessor=1070, seq=2),
            table(1070, predecessor=1060),
            table(1060, predecessor=1050),
            table(1050, predecessor=1040),
            table(1040, predecessor=900),
        )
        self.all_looked_at()
        self.assertIn(finger_start(at(10), NEAR), self.looked_up)
        self.assertEqual(self.scene.asked(1040), [])

    def test_silent_first(self) -> None:
        """A finger that did not answer the last question of anybody here is looked at before all others."""
        self.silent.add(peer(2100))
        self.scene.silence(2100)
        self.assertTrue(self.fix())
        self.assertEqual(self.looked_up, [finger_start(at(10), FAR)])
        self.assertEqual(self.routing.fingers[FAR], peer(1500))

    def test_whole(self) -> None:
        """Who knows everybody needs no fingers."""
        self.routing.begin()
        self.assertFalse(self.fix())
        self.assertEqual(self.routing.fingers, {})
