"""Scenarios: what happens to a ring, and what is expected of it afterwards.

Each is a function of a `Run`, behind a sentence that says what it is. All end with `Run.finish`: faults are healed,
then the ring must become ideal and every record that has a living copy must be read. Where a scenario comes from
another project's list of tests, its name and the thread stand in that sentence.
"""

from chordtwist.simulation.scenarios import (
    at_once,
    at_random,
    at_work,
    day,
    lifetimes,
    merging,
    slander,
    stores,
    zave,
)
from chordtwist.simulation.scenarios.catalogue import SCENARIOS, SENTENCES

__all__ = [
    "SCENARIOS",
    "SENTENCES",
    "at_once",
    "at_random",
    "at_work",
    "day",
    "lifetimes",
    "merging",
    "slander",
    "stores",
    "zave",
]
