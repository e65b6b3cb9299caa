"""The six ways the original protocol breaks (Zave 2012): four nodes in order, lists of two entries."""

from __future__ import annotations

from chordtwist.core.peer import Peer
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario


def _four(run: Run) -> list[Peer]:
    """Four addresses n0 < n1 < n2 < n3; n0 runs, alone."""
    world = run.world
    world.seed_peers = []
    peers = sorted((world.address() for _ in range(4)), key=lambda peer: peer.id)
    world.start(peers[0])
    world.seed_peers = [peers[0]]
    return peers


def _join(run: Run, *peers: Peer) -> None:
    """All of them start now; wait until they are members."""
    for peer in peers:
        run.world.start(peer)
    run.until_members(*peers)


@scenario("At most one ring: n1 and n3 join n0, n2 and die before lists are copied again.")
def zave_two_rings(run: Run) -> None:
    n0, n1, n2, n3 = _four(run)
    _join(run, n2)
    run.world.run(3)
    _join(run, n1)
    _join(run, n3)
    run.until(lambda: run.world.check.linked() == 4, 10, "linked in")
    run.world.power_off(n1, n3)
    run.world.run(30)
    run.world.seed_peers = [n0, n2]
    run.finish()


@scenario("At least one ring: n1 joins n0, n2, notifies n2, and dies.")
def zave_no_ring(run: Run) -> None:
    n0, n1, n2, _ = _four(run)
    _join(run, n2)
    run.world.run(3)
    _join(run, n1)
    run.until(lambda: run.world.node(n2).predecessor == n1, 10, "known to its successor")
    run.world.power_off(n1)
    run.world.run(30)
    run.world.seed_peers = [n0, n2]
    run.finish()


@scenario("Connected appendages: n2 dies just as n1 joins in front of it.")
def zave_lost_appendage(run: Run) -> None:
    n0, n1, n2, n3 = _four(run)
    _join(run, n2)
    run.world.run(3)
    run.world.start(n1)
    run.world.run(0.25 + 0.5 * run.world.rng.random())
    run.world.power_off(n2)
    run.world.run(30)
    run.world.seed_peers = [n0, n1]
    _join(run, n3)
    run.finish()


@scenario("Valid successor lists: n1's second entry is old when n2 dies, and jumps over n3.")
def zave_wrong_list(run: Run) -> None:
    n0, n1, n2, n3 = _four(run)
    _join(run, n2)
    _join(run, n1)
    run.world.run(3)
    _join(run, n3)
    run.world.power_off(n2)
    run.world.run(30)
    run.world.seed_peers = [n0, n1, n3]
    run.finish()


@scenario("Ordered merges: n1 and n2 join in front of n3 at once, and notify in order.")
def zave_disordered_merge(run: Run) -> None:
    n0, n1, n2, n3 = _four(run)
    _join(run, n3)
    run.world.run(3)
    _join(run, n1, n2)
    run.world.run(30)
    run.world.seed_peers = [n0, n1, n2, n3]
    run.finish()


@scenario("Ordered appendages: n1, n2 and n3 join n0 at once, which then dies.")
def zave_disordered_appendages(run: Run) -> None:
    n0, n1, n2, n3 = _four(run)
    _join(run, n1, n2, n3)
    run.world.power_off(n0)
    run.world.run(30)
    run.world.seed_peers = [n1, n2, n3]
    run.finish()
