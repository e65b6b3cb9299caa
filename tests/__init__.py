"""The tests: units here, whole rings on a simulated network in ``simulation``, sockets and processes in ``live``."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, settings

SOAK = int(os.environ.get("CHORDTWIST_SOAK", "1"))
"""How many times as many examples and seeds as usual the tests take; ``make soak`` sets it."""

CHECKOUT = Path(__file__).parent.parent
"""What the tests stand in: documents, tools, examples. While a wheel is tried the package itself is elsewhere."""

# No test may fail because a machine is busy, so nothing has a deadline. CI sees the same examples each time: what it
# says is about the change under test, and finding more is for everybody else's runs.
settings.register_profile(
    "chordtwist",
    max_examples=40 * SOAK,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    print_blob=True,
)
settings.load_profile("chordtwist")
