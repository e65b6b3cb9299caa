"""The scenarios by name."""

from __future__ import annotations

from collections.abc import Callable

from chordtwist.simulation.run import Run

Scenario = Callable[[Run], None]

SCENARIOS: dict[str, Scenario] = {}

SENTENCES: dict[str, str] = {}
"""What each scenario is: values, since python -OO throws docstrings away."""


def scenario(sentence: str) -> Callable[[Scenario], Scenario]:
    """Give a scenario its name, that of its function with hyphens, and the sentence that says what it is."""

    def named(function: Scenario) -> Scenario:
        name = function.__name__.replace("_", "-")
        SCENARIOS[name], SENTENCES[name] = function, sentence
        return function

    return named
