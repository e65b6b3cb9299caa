"""How long to wait before something is tried again, or done again: longer each time, and never in step with others."""

from __future__ import annotations

from random import Random

JITTER_MIN, JITTER_MAX = 0.5, 1.5
"""Each wait is as long as it should be times a random number between these (MIT's Chord)."""


def backoff_s(tries: int, first_s: float, slowest_s: float) -> float:
    """Say how long to wait after so many earlier tries: `first_s`, twice as long each time, at most `slowest_s`."""
    return min(slowest_s, first_s * (1 << min(tries, 30)))


def jittered(wait_s: float, rng: Random) -> float:
    """Draw a wait near `wait_s`, so that those who began together do not go on together."""
    return wait_s * (JITTER_MIN + (JITTER_MAX - JITTER_MIN) * rng.random())
