"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Callable

from chordtwist.simulation.run import Run

Scenario = Callable[[Run], None]

SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    """Give a scenario its name: that of its function, with hyphens."""
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function
