"""The quantile of some measured values: one that was measured, none in between."""

from __future__ import annotations

from collections.abc import Collection


def quantile(values: Collection[float], share: float) -> float:
    """Find the value that this share of all values lie below, the greatest one for 1.

    `statistics.quantiles` interpolates: with few values it answers with one that never occurred, or with none.

    @raise ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values have no quantile")
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
