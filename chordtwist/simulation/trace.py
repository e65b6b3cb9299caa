"""What happened in a run: a hash of all of it, and the last page of it to read."""

from __future__ import annotations

import sys
from array import array
from collections import deque
from hashlib import blake2b

LINES_KEPT = 60
"""A page: enough to see what led to a failure, few enough to read."""


class Trace:
    """Every message enters the hash as two words; what a person wants to read enters as lines, of which the last stay.

    Same seed, same hash: on every machine, whatever its byte order, and on every Python.
    """

    def __init__(self) -> None:
        self.words = array("Q")
        """Appended to by the network, two words per message; `settle` takes them out."""
        self._hash = blake2b(digest_size=16)
        self._lines: deque[tuple[int, str, tuple[object, ...]]] = deque(maxlen=LINES_KEPT)
        self.lines_in_all = 0
        self.acts: list[tuple[int, str, tuple[object, ...]]] = []
        """The lines of what was done to the ring: nodes started and ended, faults installed. All else follows."""

    def act(self, now_us: int, text: str, *subjects: object) -> None:
        """Note a line of something that was done to the ring."""
        self.acts.append((now_us, text, subjects))
        self.line(now_us, text, *subjects)

    def line(self, now_us: int, text: str, *subjects: object) -> None:
        """Note a line, ``text.format(*subjects)``, which is put together only when somebody reads it."""
        self.lines_in_all += 1
        self._lines.append((now_us, text, subjects))

    def settle(self) -> None:
        """Hash the words that have gathered; called now and then, so that they take no memory."""
        if sys.byteorder == "big":
            self.words.byteswap()
        self._hash.update(self.words.tobytes())
        del self.words[:]

    def digest(self) -> str:
        """Hash everything up to now, to 32 hexadecimal digits."""
        self.settle()
        return self._hash.hexdigest()

    def last_page(self) -> str:
        """Show the last lines, one per event, in fixed columns: simulated time, what happened."""
        gone = self.lines_in_all - len(self._lines)
        opening = [f"             ... {gone} lines before"] if gone else []
        return "\n".join(opening + list(map(_shown, self._lines)))

    def acts_page(self) -> str:
        """Show everything that was done to the ring, one act a line."""
        return "\n".join(map(_shown, self.acts))


def _shown(line: tuple[int, str, tuple[object, ...]]) -> str:
    at_us, text, subjects = line
    return f"{at_us / 1e6:12.6f} {text.format(*subjects)}"
