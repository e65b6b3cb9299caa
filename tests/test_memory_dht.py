"""The double that stands for a node in the tests of doors keeps a node's contract."""

from __future__ import annotations

from twisted.internet.task import Clock

from chordtwist.node.interfaces import IDht
from tests import contracts
from tests.memory_dht import MemoryDht


class MemoryDhtTests(contracts.DhtContract):
    """`IDht` by a dictionary."""

    def make_dht(self) -> IDht:
        """On a clock of its own."""
        self.clock = Clock()
        return MemoryDht(self.clock)

    def advance(self, seconds: float) -> None:
        """Nothing but the clock moves."""
        self.clock.advance(seconds)
