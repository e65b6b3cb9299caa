"""What nodes hold in memory: every object that can be reached from them, without the world that they run in."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from gc import get_referents
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

from chordtwist.node.node import Node

_SHARED = (type, ModuleType, CodeType, BuiltinFunctionType)
"""What there is once in a process, however many nodes run in it."""


class Footprint:
    """The objects that some nodes keep alive, counted by the name of their class, and their bytes in all."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.objects: Counter[str] = Counter()
        self.bytes = 0
        seen: set[int] = set()
        ahead: list[object] = list(nodes)
        while ahead:
            found = ahead.pop()
            if id(found) in seen:
                continue
            seen.add(id(found))
            kind = type(found)
            self.objects[kind.__name__] += 1
            self.bytes += sys.getsizeof(found)
            ahead += [one for one in _held_by(found) if not isinstance(one, _SHARED) and not _is_of_world(one)]


def _held_by(found: object) -> Iterable[object]:
    # A function refers to its whole module besides.
    return (found.__closure__, found.__defaults__) if isinstance(found, FunctionType) else get_referents(found)


def _is_of_world(found: object) -> bool:
    """Whether it simulates something: the network, a clock, the rest of the world."""
    return type(found).__module__.startswith("chordtwist.simulation")
