"""A node, alone and as one of a ring, keeps the contract of a hash table, on the simulated network."""

from __future__ import annotations

from chordtwist.node.interfaces import IDht
from chordtwist.simulation.world import World
from tests import contracts


class AloneTests(contracts.DhtContract):
    """`IDht` by a node that is its whole ring."""

    nodes = 1

    def make_dht(self) -> IDht:
        """The first of the nodes, once they are one ring."""
        self.world = World(seed=1)
        self.addCleanup(self.world.close)
        self.world.grow(self.nodes)
        self.assertIsNotNone(self.world.settle(60.0), self.world.wrong())
        return self.world.node(self.world.members()[0])

    def advance(self, seconds: float) -> None:
        """Everything that is due happens."""
        self.world.run(seconds)


class RingTests(AloneTests):
    """`IDht` by one of six nodes, most of whose questions go over links."""

    nodes = 6
