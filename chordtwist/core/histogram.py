"""How often a measured value was how large: all that remains of each is a count."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

SECONDS = (0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Bounds for durations: from an answer at hand, over a link across the world, to the time limit of a question."""

COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32)
"""Bounds for hops and questions of a lookup, which grow with the logarithm of the ring."""


class Histogram:
    """Counts values by the smallest of its bounds that is not less than them.

    @ivar sum: of all values.
    """

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Go through the bounds, infinity last: each with how many values are not above it."""
        return zip((*self.bounds, float("inf")), accumulate(self._counts), strict=True)
