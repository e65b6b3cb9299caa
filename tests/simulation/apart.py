"""Rings of one network that have not met yet."""

from __future__ import annotations

from chordtwist.core.peer import Peer
from chordtwist.simulation.faults import Partition
from chordtwist.simulation.world import World


def grow_apart(world: World, *rings: list[Peer]) -> None:
    """Start the members of each ring while they do not reach those of another; in the end they do."""
    world.check.suspended = True
    world.network.faults.install(Partition(rings))
    for members in rings:
        world.seed_peers = members[:1]
        for peer in members:
            world.start(peer)
        world.run(40)
    world.network.faults.heal()
