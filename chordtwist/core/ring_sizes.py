"""Which of two rings is larger, judged by the members that our own dial reached behind points that we drew.

Ids follow from addresses, so members stand anywhere on the circle with equal chance, and the more there are the nearer
the next one stands behind a point. Nobody else knows the points: to seem large behind all of them takes as many
addresses that answer as a large ring has.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from chordtwist.core.lookup import Route
from chordtwist.core.ring import ID_BITS, RING_SIZE, RingId, distance

POINTS = 64
"""Points that are drawn: the size of a large ring is judged right within an eighth by them, two times of three."""

APART_MIN = POINTS // 4
"""Behind fewer points two rings that are two do not show different members."""

ALIKE = 1.25
"""Rings whose sizes differ by less are taken for equally large, since neither side may be sure: the smallest id says
which of them joins the other, and both find the same."""


class Sighting(NamedTuple):
    """Who owns one point in either ring; None where nobody was reached."""

    point: RingId
    ours: Route | None
    theirs: Route | None

    @property
    def our_gap(self) -> int:
        """How far behind the point our owner stands."""
        return _gap(self.point, self.ours)

    @property
    def their_gap(self) -> int:
        """How far behind the point the other ring's owner stands."""
        return _gap(self.point, self.theirs)

    @property
    def is_apart(self) -> bool:
        """Whether the two owners belong to two rings: the nearer does not list the farther."""
        if self.ours is None or self.theirs is None:
            return True
        nearer, farther = self.ours, self.theirs
        if self.their_gap < self.our_gap:
            nearer, farther = farther, nearer
        return farther.owner not in nearer.replicas


def _gap(point: RingId, route: Route | None) -> int:
    return RING_SIZE if route is None else distance(point, route.owner.id)


def draw_points(rng: Random) -> list[RingId]:
    """Draw the points, of which the first is position 0: its owner has the smallest id of a ring."""
    return [0, *(rng.getrandbits(ID_BITS) for _ in range(POINTS))]


def is_theirs_larger(sightings: Sequence[Sighting]) -> bool | None:
    """Whether the other ring is the larger; None when the points show no two rings.

    @param sightings: one for each of `draw_points`, in their order.
    """
    lowest, *drawn = sightings
    apart = [sighting for sighting in drawn if sighting.is_apart]
    if len(apart) < APART_MIN:
        return None
    # The sum of the gaps is inverse to the size.
    ours, theirs = sum(sighting.our_gap for sighting in apart), sum(sighting.their_gap for sighting in apart)
    if ours > ALIKE * theirs:
        return True
    if theirs > ALIKE * ours:
        return False
    return lowest.their_gap < lowest.our_gap if lowest.is_apart else None
