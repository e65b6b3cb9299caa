"""Behaviour of the duty to look one's own place up: whom it brings to be met."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.conduct import Conduct
from chordtwist.core.own_place import OwnPlace
from chordtwist.core.signed import Status
from chordtwist.core.table import Table
from chordtwist.node.ring.self_lookup import MET_AT_ONCE, SelfLookup
from chordtwist.node.ring.uniting import Uniting
from tests.builders import ScriptedMembership, peer, places, routing, table


class ScriptedUniting(Uniting):
    """Notes whom it hears of; whoever stands from 11 to 60 and is not listed is missing."""

    def __init__(self, listed: list[int]) -> None:
        self.listed = listed
        self.heard: list[int] = []

    def is_missing(self, peer: object) -> bool:
        place = places([peer])[0]  # type: ignore[list-item]
        return 10 < place < 60 and place not in self.listed

    def hear_of(self, peer: object) -> None:
        self.heard += places([peer])  # type: ignore[list-item]


class SelfLookupTests(SynchronousTestCase):
    """The member 10, whose list is 20, 40 and 60."""

    def setUp(self) -> None:
        """Nothing is shown yet."""
        self.membership = ScriptedMembership()
        self.routing = routing(10, (20, 40, 60), 5)
        self.uniting = ScriptedUniting([20, 40])
        self.shown: list[Table] = []
        self.looked = 0
        clock = self.clock = Clock()
        conduct = self.conduct = Conduct(clock.seconds)
        self.duty = SelfLookup(self.membership, self.routing, self.find_place, self.uniting, conduct, clock, Random(1))

    def find_place(self) -> Deferred[OwnPlace]:
        self.looked += 1
        place = OwnPlace(peer(10), [shown.peer for shown in self.shown], lambda peer: True)
        for shown in self.shown:
            place.begin_with(shown)
        return succeed(place)

    def look(self) -> bool:
        looked = self.duty.look()
        return self.successResultOf(looked) if isinstance(looked, Deferred) else looked

    def test_all_is_well(self) -> None:
        """Where the tables name whom our list has, nothing is done."""
        self.shown = [table(5, (10, 20, 40)), table(60, (70, 80), 40)]
        self.assertFalse(self.look())
        self.assertEqual(self.uniting.heard, [])

    def test_missing(self) -> None:
        """Whom any table names that our list lacks is dialled, and so is its owner; whom most name comes first."""
        self.shown = [table(3, (5, 30, 40)), table(4, (20, 30, 50)), table(25, (40, 60), 20)]
        self.assertTrue(self.look())
        self.assertEqual((self.uniting.heard[0], sorted(self.uniting.heard)), (30, [25, 30, 50]))

    def test_bounded(self) -> None:
        """However many are named, few are dialled at once, and those that several name are among them."""
        self.shown = [table(3, (13, *range(21, 40))), table(4, (13, *range(41, 59)))]
        self.assertTrue(self.look())
        self.assertEqual((len(self.uniting.heard), self.uniting.heard[0]), (MET_AT_ONCE, 13))

    def test_left_out(self) -> None:
        """Whose lists leave us out again and again is suspected; not while we may be new to them, as after joining."""
        self.shown = [table(3, (5, 20, 40)), table(4, (10, 20, 50)), table(25, (40, 60), 20)]
        for looks, suspected in ((4, []), (1, [peer(3)])):
            for _ in range(looks):
                self.look()
                self.clock.advance(30)
            self.assertEqual(list(self.conduct.suspected()), suspected)
        self.membership.status = Status.JOINING
        self.look()
        self.membership.status = Status.MEMBER
        self.conduct = self.duty._conduct = Conduct(self.clock.seconds)
        for _ in range(4):
            self.look()
            self.clock.advance(30)
        self.assertEqual(self.conduct.suspected(), {})

    def test_nothing_to_look_for(self) -> None:
        """Who is no member, or knows everybody, looks nothing up."""
        self.membership.status = Status.JOINING
        self.assertFalse(self.look())
        self.membership.status = Status.MEMBER
        self.routing.begin()
        self.assertFalse(self.look())
        self.assertEqual(self.looked, 0)
