"""Looking one's own place up: whoever is left out finds that out himself.

A member whom liars leave out stands in nobody's list, and has only them in its own. So it asks witnesses of its own for
the members around its place, and meets those whom they name: behind it they come into its list, before it they are
asked for leases (`watch`), which tells them of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.conduct import LEAVES_OUT, LISTED_AFTER_S, Conduct
from chordtwist.core.own_place import OwnPlace
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.node.chores import Chore
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.uniting import Uniting

OWN_PLACE_FIRST_S, OWN_PLACE_SLOWEST_S = 10.0, 45.0
"""How often a member looks its place up: soon after joining, later every 30 to 60 s, jittered."""

MET_AT_ONCE = 16
"""Of the names that a look brings at most so many are dialled: a list's length."""


class SelfLookup:
    """The duty of one member to look its own place up."""

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        find_place: Callable[[], Deferred[OwnPlace]],
        uniting: Uniting,
        conduct: Conduct,
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param find_place: `Searches.find_place`."""
        self._membership = membership
        self._routing = routing
        self._find_place = find_place
        self._uniting = uniting
        self._conduct = conduct
        self._clock = clock
        self._member_since_s: float | None = None
        self._rng = rng
        self.chore = Chore("self-lookup", self.look, clock, rng, OWN_PLACE_FIRST_S, OWN_PLACE_SLOWEST_S)

    def look(self) -> Deferred[bool] | bool:
        """Look our place up; answers whether our list came to lack somebody."""
        if not self._membership.is_member:
            self._member_since_s = None
            return False
        if self._member_since_s is None:
            self._member_since_s = self._clock.seconds()
        if self._routing.whole or self._routing.head is None:
            return False
        return self._find_place().addCallback(self._found)

    def _found(self, place: OwnPlace) -> bool:
        since_s = self._member_since_s
        if since_s is not None and self._clock.seconds() - since_s >= LISTED_AFTER_S:
            for peer in place.left_out_by(self._routing.me):
                self._conduct.blame(peer, LEAVES_OUT)
        named: Counter[Peer] = Counter()
        for table in place.shown():
            named.update({*table.everybody()})
        missing = [peer for peer in named if self._uniting.is_missing(peer)]
        # An invention is one coalition's; whom more of them name comes first, and chance decides among the others.
        self._rng.shuffle(missing)
        missing.sort(key=lambda peer: -named[peer])
        for peer in missing[:MET_AT_ONCE]:
            self._uniting.hear_of(peer)
        return bool(missing)
