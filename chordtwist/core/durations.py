"""Durations as people write and read them: ``90``, ``45s``, ``5m``, ``1h30m``, ``2d``; ``1 h 30 min``."""

from __future__ import annotations

import re

UNITS_S = {"d": 86_400, "h": 3600, "min": 60, "m": 60, "s": 1}

_PART = re.compile(r"(\d{1,20}(?:\.\d{1,20})?) *(d|h|min|m|s)", re.ASCII | re.IGNORECASE)


def duration_s(written: str) -> float:
    """Read a duration in seconds: a number of them, or numbers with units, as in 1h30m.

    @raise ValueError: it is none; the words say how one is written.
    """
    text = written.strip()
    try:
        return float(text)
    except ValueError:
        pass
    total_s, at = 0.0, 0
    while at < len(text) and (part := _PART.match(text, at)):
        total_s += float(part[1]) * UNITS_S[part[2].lower()]
        at = part.end()
        at += len(text[at:]) - len(text[at:].lstrip())
    if not text or at < len(text):
        raise ValueError(f"{written!r} is no duration; one is written as 90, 45s, 5m, 1h30m or 2d")
    return total_s


def duration_in_words(seconds: float) -> str:
    """Show a duration in its two largest units, shortened: ``1 h 30 min``; below a minute the seconds."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = int(seconds)
    parts: list[str] = []
    for name, unit_s in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, whole = divmod(whole, unit_s)
        if count or parts:
            parts.append(f"{count} {name}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)
