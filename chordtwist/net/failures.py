"""Why a connection could not be had, in words for a log line or a person."""

from __future__ import annotations

import os
from errno import EMFILE, ENFILE

TOO_FEW_DESCRIPTORS = "no file descriptor is left (ulimit -n)"


def in_words(error: BaseException | None) -> str:
    """Put it in the system's own words where it is the system's error, since Twisted's say it twice; else as it is."""
    number = getattr(error, "osError", None)
    if number in (EMFILE, ENFILE):
        return TOO_FEW_DESCRIPTORS
    return os.strerror(number) if isinstance(number, int) else str(error).rstrip(".")
