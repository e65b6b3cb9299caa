"""A map that never holds more than so many entries: whoever was set longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V], Generic[K, V]):
    """Keeps the `entries_max` entries that were set last.

    An OrderedDict and not cachetools.LRUCache, which takes half as long again: it lies on the path of every frame.
    Reading does not count.
    """

    def __init__(self, entries_max: int) -> None:
        super().__init__()
        self.entries_max = entries_max

    def __setitem__(self, key: K, value: V) -> None:
        """Set `key`; forget the one set longest ago when there are too many."""
        # Without `super()`, which takes as long as all the rest.
        OrderedDict.__setitem__(self, key, value)
        self.move_to_end(key)
        if len(self) > self.entries_max:
            self.popitem(last=False)
