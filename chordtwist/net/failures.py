"""Why a connection could not be had, in words for a log line or a person."""

from __future__ import annotations

import os


def in_words(error: BaseException | None) -> str:
    """Put it in the system's own words where it is the system's error, since Twisted's say it twice; else as it is."""
    number = getattr(error, "osError", None)
    return os.strerror(number) if isinstance(number, int) else str(error).rstrip(".")
