"""Behaviour of a walk round the ring: who is asked, how many at once, and when it is over."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.table import Table
from chordtwist.node.ring import ring_walk
from chordtwist.node.ring.ring_walk import WALK_WIDTH, RingWalk
from tests.builders import peer, places, table


class RingWalkTests(SynchronousTestCase):
    """A walk from 10; the test answers for everybody who is asked."""

    def walk(self, *successors: int, predecessor: int | None = None) -> Deferred[None]:
        self.clock = Clock()
        self.asked: list[Peer] = []
        self.answers: dict[int, Deferred[Table]] = {}
        self.ring_walk = RingWalk(table(10, successors, predecessor), self.fetch, self.clock)
        return self.ring_walk.begin()

    def fetch(self, peer: Peer) -> Deferred[Table]:
        self.asked.append(peer)
        answer = self.answers[places([peer])[0]] = Deferred()
        return answer

    def show(self, place: int, *successors: int, predecessor: int | None = None) -> None:
        self.answers[place].callback(table(place, successors, predecessor))

    def test_everybody(self) -> None:
        """Whoever a table names, as a successor or before its owner, is asked once, and the walk's own node never; it
        is over when all have answered or have been given up.
        """
        ended = self.walk(20, 30, predecessor=80)
        self.clock.advance(0.25)
        self.show(20, 30, 40, predecessor=10)
        self.answers[30].errback(Unreachable(peer(30), "silent"))
        self.show(80, 10, 20, predecessor=70)
        self.show(40, 70, 80, predecessor=30)
        self.assertNoResult(ended)
        self.show(70, 80, 10, predecessor=40)
        self.successResultOf(ended)
        self.assertEqual(places(self.asked), [20, 30, 80, 40, 70])
        self.assertEqual(places(self.ring_walk.found), [10, 20, 80, 40, 70])
        self.assertEqual(self.ring_walk.silent, {peer(30): "silent"})
        self.assertEqual(self.ring_walk.found[peer(20)][1], 250)
        self.assertTrue(self.ring_walk.is_whole)

    def test_alone(self) -> None:
        """A ring of one is walked at once."""
        self.successResultOf(self.walk())
        self.assertEqual(self.asked, [])

    def test_width(self) -> None:
        """So many are asked at one time, and the next one when one of them has answered."""
        self.walk(*range(11, 11 + 2 * WALK_WIDTH))
        self.assertEqual(len(self.asked), WALK_WIDTH)
        self.show(11)
        self.answers[12].errback(Unreachable(peer(12), "silent"))
        self.assertEqual(len(self.asked), WALK_WIDTH + 2)

    def test_too_many(self) -> None:
        """A ring of as many members as a walk asks is whole; of a larger one some are left out, and it says so."""
        self.patch(ring_walk, "WALK_MEMBERS_MAX", 4)
        for others, is_whole in ((3, True), (4, False)):
            ended = self.walk(*range(11, 11 + others))
            for place in [*self.answers]:
                self.show(place, 10)
            self.successResultOf(ended)
            self.assertEqual((len(self.asked), self.ring_walk.is_whole), (others, is_whole))
        self.walk(*range(11, 31))
        self.assertEqual(len(self.asked), 4)

    def test_cancelled(self) -> None:
        """When nobody waits for it any more it is over: what comes late counts no more, and nobody else is asked."""
        ended = self.walk(20, 30, 40)
        ended.cancel()
        self.failureResultOf(ended, CancelledError)
        self.show(20, 50, 60)
        self.answers[30].errback(Unreachable(peer(30), "silent"))
        self.answers[40].errback(OSError("our own fault"))
        self.assertEqual(places(self.asked), [20, 30, 40])
        self.assertEqual((places(self.ring_walk.found), self.ring_walk.silent), ([10], {}))

    def test_not_waited_for(self) -> None:
        """Who is given up without a word is told apart from who cannot be reached."""
        ended = self.walk(20)
        self.answers[20].cancel()
        self.successResultOf(ended)
        self.assertEqual(self.ring_walk.silent, {peer(20): "it was not waited for"})

    def test_error(self) -> None:
        """An error of ours ends it, once, and whoever waits hears of it."""
        ended = self.walk(20, 30, 40)
        self.answers[20].errback(OSError("our own fault"))
        self.failureResultOf(ended, OSError)
        self.answers[30].errback(OSError("once more"))
        self.show(40, 50)
        self.assertEqual(len(self.asked), 3)
