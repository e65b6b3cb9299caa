"""Rings that were apart and become one."""

from __future__ import annotations

from chordtwist.simulation.chance import pick_some
from chordtwist.simulation.faults import Partition
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario

ONE_RING_WITHIN_S = 60
"""A healed partition has become one ring by then, each of its two halves having found the other."""


@scenario("The network falls into two halves, with writes on both sides; then it is healed (stacks-core#164).")
def partition_and_merge(run: Run) -> None:
    run.grow()
    world = run.world
    run.load()
    run.minutes(0.1)
    peers = world.members()
    run.may_misjudge = world.check.suspended = True
    world.network.faults.install(Partition([pick_some(world.rng, peers, len(peers) // 2)]))
    run.minutes(0.8)
    run.rest()
    took_s = world.settle(600)
    run.notes["one_ring_after_s"] = took_s
    run.expect(took_s is not None and took_s <= ONE_RING_WITHIN_S, f"one ring only {took_s} s after it was healed")
    run.world.check.resume()
    run.load(0.1)
    run.minutes(0.1)
    run.finish()


@scenario(
    "Two rings of one network grow apart; then each learns of the other's bootstrap addresses, and they become one."
)
def two_rings(run: Run) -> None:
    world, options = run.world, run.options
    run.may_misjudge = world.check.suspended = True
    addresses = [world.address() for _ in range(options.nodes)]
    cut = max(1, options.nodes * 2 // 5)
    for group in (addresses[:cut], addresses[cut:]):
        world.seed_peers = group[:1]
        for peer in group:
            world.start(peer)
            run.until_members(peer, within_s=60)
    run.load()
    run.minutes(0.2)
    run.lookups.stop()
    world.seed_peers = [addresses[0], addresses[cut]]
    took_s = world.settle(600)
    run.notes["one_ring_after_s"] = took_s
    run.expect(took_s is not None, "the two rings did not become one in 600 s")
    run.world.check.resume()
    run.load(0.5)
    run.minutes(0.5)
    run.finish()
