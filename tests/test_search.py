"""Behaviour of a search over a network: what a lookup asks, and what becomes of silence."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Lookup
from chordtwist.core.peer import Peer
from chordtwist.core.table import Table
from chordtwist.core.witnesses import WitnessedLookup
from chordtwist.node.lifetime import EndingClock
from chordtwist.node.ring.search import PATIENCE_S, search
from chordtwist.node.ring.tables import Tables
from chordtwist.simulation.faults import SlowHost
from chordtwist.simulation.signer import verify_simulated
from tests.builders import IDENTITY, Neighbourhood, at, large_ring, peer, peers, places

RING = large_ring(2, 20, 30, 40, 50, 60, 70, 80)


class SearchTests(SynchronousTestCase):
    """From 10, which is no member, for position 65 in a ring of 20 to 80, two successors each."""

    def setUp(self) -> None:
        """All members show their tables."""
        self.scene = Neighbourhood(10, *RING)
        self.scene.show(*RING.values())
        link = self.scene.link
        self.tables = Tables(IDENTITY, link.ask, link.key_of, verify_simulated, link.clock.seconds, 3)
        self.lookup = Lookup(at(65))

    def begin(self, *contacts: int) -> Deferred[Lookup]:
        self.lookup.hear(peers(*contacts))
        return search(self.lookup, self.tables.fetch, self.scene.link.clock)

    def found(self) -> list[int]:
        route = self.lookup.route(3)
        return [] if route is None else places(route.replicas)

    def asked(self) -> list[int]:
        return [place for place in RING if self.scene.asked(place)]

    def test_found(self) -> None:
        """It fires with its lookup, which then has a route."""
        searched = self.begin(20)
        self.scene.advance(1)
        self.assertIs(self.successResultOf(searched), self.lookup)
        self.assertEqual(self.found(), [70, 80, 20])

    def test_nobody_to_ask(self) -> None:
        """With nobody to ask it fires at once, with nothing."""
        self.assertIs(self.successResultOf(self.begin()), self.lookup)
        self.assertEqual(self.found(), [])

    def test_asker_stops(self) -> None:
        """When its node's timers have ended, and the links with them, it ends too, without an error."""
        clock = EndingClock(self.scene.link.clock)
        self.lookup.hear(peers(20, 30, 60))
        answers: list[tuple[Peer, Deferred[Table]]] = []

        def fetch(peer: Peer) -> Deferred[Table]:
            answers.append((peer, Deferred()))
            return answers[-1][1]

        searched = search(self.lookup, fetch, clock)
        clock.end()
        for asked, answer in answers:  # grows meanwhile: whoever is next is asked
            answer.errback(Unreachable(asked, "the link is closed"))
        self.successResultOf(searched)

    def test_one_at_a_time(self) -> None:
        """While a peer may yet answer in time nobody else is asked, however many are known."""
        self.begin(20, 30, 40, 50, 60)
        self.scene.advance(0.055)
        self.assertEqual(self.asked(), [60])

    def test_refused_at_once(self) -> None:
        """Of several that are asked at the same time one may fail before the next is asked: the search goes on."""
        lookup = WitnessedLookup(at(65), None, peers(20, 30, 60), lambda peer: True)

        def fetch(peer: Peer) -> Deferred[Table]:
            if peer == peers(20)[0]:
                return fail(Unreachable(peer, "it is not dialled now"))
            return self.tables.fetch(peer)

        searched = search(lookup, fetch, self.scene.link.clock)
        self.scene.advance(1)
        self.assertIs(self.successResultOf(searched), lookup)
        self.assertEqual(places([] if lookup.owner is None else [lookup.owner]), [70])
        self.assertIsNotNone(lookup.route(3))

    def test_no_timer_left(self) -> None:
        """When it has ended it leaves no timer behind."""
        self.begin(20)
        self.scene.advance(0.9)
        self.assertEqual(self.scene.link.clock.calls, 0)

    def test_silent(self) -> None:
        """A silent peer holds nothing up: the next best is asked, and the search ends without its answer."""
        self.scene.silence(60)
        searched = self.begin(60, 20)
        self.scene.advance(0.5)
        self.successResultOf(searched)
        self.assertEqual(self.found(), [70, 80, 20])

    def test_impatient(self) -> None:
        """For a silent peer it waits `PATIENCE_S`; then the next is asked, before a time limit ends."""
        self.scene.silence(40, 50, 60)
        self.begin(40, 50, 60, 20, 30)
        self.scene.advance(3 * PATIENCE_S - 0.02)
        self.assertEqual(self.asked(), [])
        self.scene.advance(0.2)
        self.assertEqual(self.asked(), [30])

    def test_patience_begins_anew(self) -> None:
        """Each question has all of `PATIENCE_S`, however long the one before it took."""
        late: dict[Peer, Deferred[Table]] = {}

        def fetch(whom: Peer) -> Deferred[Table]:
            late[whom] = Deferred()
            return late[whom]

        self.lookup.hear(peers(20, 30))
        search(self.lookup, fetch, self.scene.link.clock)
        self.scene.advance(PATIENCE_S - 0.01)
        late[peer(30)].callback(RING[30])
        self.scene.advance(PATIENCE_S - 0.01)
        self.assertEqual(places(late), [30, 50])
        self.scene.advance(0.01)
        self.assertEqual(places(late), [30, 50, 40])

    def test_late_answer_counts(self) -> None:
        """An answer that comes after our patience has ended still counts."""
        self.scene.network.faults.install(SlowHost(peer(60), 200_000))
        searched = self.begin(60)
        self.scene.advance(0.9)
        self.successResultOf(searched)
        self.assertEqual(self.found()[0], 70)

    def test_everybody_silent(self) -> None:
        """When all are silent it ends, bounded by their time limits, with nothing."""
        self.scene.silence(*RING)
        searched = self.begin(20, 30, 40)
        self.scene.advance(2 * PATIENCE_S + 1.1)
        self.successResultOf(searched)
        self.assertEqual(self.found(), [])
        self.assertEqual(self.scene.link.clock.calls, 0)

    def test_liar(self) -> None:
        """A peer whose answer is no table is passed over like a silent one."""
        self.scene.others[60].reply = self.scene.others[20].reply
        searched = self.begin(60, 50)
        self.scene.advance(0.9)
        self.successResultOf(searched)
        self.assertEqual(self.found()[0], 70)

    def test_answers_after_the_end(self) -> None:
        """Answers that come when it has ended change nothing."""
        late: dict[Peer, Deferred[Table]] = {}

        def fetch(whom: Peer) -> Deferred[Table]:
            late[whom] = Deferred()
            return late[whom]

        self.lookup.hear(peers(60, 50))
        searched = search(self.lookup, fetch, self.scene.link.clock)
        self.scene.advance(PATIENCE_S)
        late[peer(60)].callback(RING[60])
        late[peer(70)].callback(RING[70])
        self.successResultOf(searched)
        late[peer(50)].callback(RING[50])
        self.assertEqual(self.found(), [70, 80, 20])

    def test_silence_after_the_end(self) -> None:
        """Nor does silence."""
        late: dict[Peer, Deferred[Table]] = {}

        def fetch(whom: Peer) -> Deferred[Table]:
            late[whom] = Deferred()
            return late[whom]

        self.lookup.hear(peers(60, 50))
        searched = search(self.lookup, fetch, self.scene.link.clock)
        self.scene.advance(PATIENCE_S)
        late[peer(60)].callback(RING[60])
        late[peer(70)].callback(RING[70])
        self.successResultOf(searched)
        late[peer(50)].errback(CancelledError())
        self.assertEqual(self.found(), [70, 80, 20])
