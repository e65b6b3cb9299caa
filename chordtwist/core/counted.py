"""How many there are of something, in words."""

from __future__ import annotations


def counted(count: float, noun: str) -> str:
    """Write a number and what it counts: ``1 record``, ``2 records``."""
    return f"{count:.0f} {noun}{'' if count == 1 else 's'}"
