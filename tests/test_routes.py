"""Routes that are remembered between searches."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.lookup import Route
from chordtwist.core.routes import ROUTE_KEPT_S, ROUTES_MAX, Routes
from tests.builders import at, peer, peers


class RoutesTests(SynchronousTestCase):
    """`Routes`."""

    def setUp(self) -> None:
        self.routes = Routes()
        self.route = Route(at(120), peers(200, 300, 400), hops=3, questions=5)

    def test_knows_what_it_learned(self) -> None:
        """From the position that was looked for up to its owner, at no hop and no question; before it, nothing."""
        self.routes.learn(self.route, 0)
        self.assertEqual(self.routes.known(at(150), 1), Route(at(150), peers(200, 300, 400)))
        self.assertEqual(self.routes.known(at(200), 1), Route(at(200), peers(200, 300, 400)))
        self.assertIsNone(self.routes.known(at(119), 1))
        self.assertIsNone(self.routes.known(at(201), 1))

    def test_knows_nothing_at_first(self) -> None:
        """An empty memory answers nothing."""
        self.assertIsNone(self.routes.known(0, 0))

    def test_an_arc_over_the_beginning(self) -> None:
        """An owner behind position 0 owns positions before it."""
        self.routes.learn(Route(at(65_000), peers(10, 20)), 0)
        self.assertIsNotNone(self.routes.known(at(65_500), 0))
        self.assertIsNotNone(self.routes.known(at(5), 0))
        self.assertIsNone(self.routes.known(at(11), 0))

    def test_the_first_position_has_one_before_it(self) -> None:
        """A search for position 0 is remembered like any other."""
        self.routes.learn(Route(0, peers(10)), 0)
        self.assertIsNotNone(self.routes.known(0, 0))

    def test_grows_by_searches_of_the_same_owner(self) -> None:
        """Two searches that found the same replicas know the longer arc, whichever came first."""
        self.routes.learn(self.route, 0)
        self.routes.learn(Route(at(180), peers(200, 300, 400)), 1)
        self.assertIsNotNone(self.routes.known(at(130), 2))
        self.routes.learn(Route(at(110), peers(200, 300, 400)), 3)
        self.assertIsNotNone(self.routes.known(at(115), 4))

    def test_learns_what_witnesses_agree_on(self) -> None:
        """Whose arcs behind the owner are sure are known as well, with the replicas that are left."""
        self.routes.learn(Route(at(120), peers(200, 300, 400, 500), agreed=2), 0)
        self.assertEqual(self.routes.known(at(201), 1), Route(at(201), peers(300, 400, 500)))
        self.assertEqual(self.routes.known(at(400), 1), Route(at(400), peers(400, 500)))
        self.assertIsNone(self.routes.known(at(401), 1))
        self.assertIsNone(self.routes.known(at(350), 1, copies=3))
        self.routes.learn(Route(at(350), peers(400, 500, 600)), 2)
        self.assertEqual(self.routes.known(at(301), 3, copies=3), Route(at(301), peers(400, 500, 600)))

    def test_other_replicas_replace(self) -> None:
        """What is known of the arc before it is forgotten when the replicas have changed."""
        self.routes.learn(self.route, 0)
        self.routes.learn(Route(at(180), peers(200, 250)), 1)
        self.assertIsNone(self.routes.known(at(130), 2))

    def test_forgets_with_time(self) -> None:
        """After a minute a route is not relied on."""
        self.routes.learn(self.route, 0)
        self.assertIsNotNone(self.routes.known(at(150), ROUTE_KEPT_S))
        self.assertIsNone(self.routes.known(at(150), ROUTE_KEPT_S + 1))

    def test_forgets_what_was_stale(self) -> None:
        """Also when it was forgotten before."""
        self.routes.learn(self.route, 0)
        self.routes.forget(self.route)
        self.routes.forget(self.route)
        self.assertIsNone(self.routes.known(at(150), 0))

    def test_old_ones_take_no_room(self) -> None:
        """Owners that come and go, and are never looked for again, are not kept for long."""
        for place in range(ROUTES_MAX):
            self.routes.learn(Route(at(place), (peer(place),)), float(place))
            self.assertLessEqual(len(self.routes), 2 * ROUTE_KEPT_S + 1)
        self.assertIsNotNone(self.routes.known(at(ROUTES_MAX - 1), ROUTES_MAX))

    def test_is_bounded(self) -> None:
        """With too many owners it begins afresh."""
        for place in range(ROUTES_MAX + 1):
            self.routes.learn(Route(at(place), (peer(place),)), 0)
        self.assertIsNone(self.routes.known(at(7), 0))
        self.assertIsNotNone(self.routes.known(at(ROUTES_MAX), 0))
