"""A map that never holds more than so many entries: whoever was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V], Generic[K, V]):
    """Keeps the `entries_max` entries that were set or used last.

    An OrderedDict and not cachetools.LRUCache, which takes half as long again: it lies on
    the path of every frame. Reading by ``[key]`` and ``get`` does not count as use; `use` does.
    """

    def __init__(self, entries_max: int) -> None:
        super().__init__()
        self.entries_max = entries_max

    def __setitem__(self, key: K, value: V) -> None:
        """Set `key`, as the one used last; forget the one not used for longest when there are too many."""
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self.entries_max:
            self.popitem(last=False)

    def use(self, key: K) -> V | None:
        """Read `key` and count it as used; None when it is not there."""
        value = self.get(key)
        if value is not None:
            self.move_to_end(key)
        return value
