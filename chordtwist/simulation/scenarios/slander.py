"""Honest nodes among slanderers: whatever happens to them, nobody may be convicted of it."""

from __future__ import annotations

from chordtwist.core.peer import Peer
from chordtwist.simulation.adversaries.coalition import Coalition
from chordtwist.simulation.adversaries.judged import Slander
from chordtwist.simulation.chance import below, pick
from chordtwist.simulation.faults import Loss
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario
from chordtwist.simulation.workload import Churn
from chordtwist.simulation.world import World

SLANDERERS = 0.3
LOST = 0.05
SESSION_MEDIAN_S = 600.0

PAUSED_S = 30.0
RESTARTED_WITHIN_S = 0.8
CLOCK_STEP_MS = 3_600_000
TWIN_S = 60.0

MISHAPS_APART_S = 2.0
"""Mishaps of honest members, one after another, come so far apart on average."""


@scenario(
    "Three in ten nodes accuse the others of all they have signed. Those stand still for half a minute, restart within "
    "a second, have their clocks set by an hour, share their address with a copy of themselves; segments are lost, and "
    "half of all nodes stay for less than ten minutes. Whoever is convicted is evicted: nobody is."
)
def slandered(run: Run) -> None:
    world, rng = run.world, run.world.rng
    world.evicts = run.may_misjudge = True
    world.network.faults.install(Loss(LOST))
    coalition = Coalition(world, SLANDERERS, Slander, to_all=True, grown=False)
    run.evictions.is_liar = coalition.__contains__
    run.grow()
    coalition.close()
    coalition.begin()
    churn = Churn(world, SESSION_MEDIAN_S)
    churn.begin()
    run.load()
    until_s = world.now_s + run.options.minutes * 60
    mishaps = 0
    while world.now_s < until_s:
        honest = [peer for peer in coalition.honest() if peer in world.live and peer not in world.leaving]
        if honest:
            pick(rng, (_pause, _restart, _step, _twin))(world, pick(rng, honest))
            mishaps += 1
        world.run(2 * MISHAPS_APART_S * rng.random())
    run.notes["mishaps"] = mishaps
    churn.stop()
    coalition.awake = False
    for host in list(world.live.values()):
        host.link.resume()
    run.finish()


def _pause(world: World, peer: Peer) -> None:
    link = world.live[peer].link
    link.pause()
    world.after(PAUSED_S, link.resume)


def _restart(world: World, peer: Peer) -> None:
    world.crash(peer)
    world.after(RESTARTED_WITHIN_S * world.rng.random(), lambda: peer in world.live or world.start(peer))


def _step(world: World, peer: Peer) -> None:
    world.live[peer].skew_ms += CLOCK_STEP_MS * (2 * below(world.rng, 2) - 1)


def _twin(world: World, peer: Peer) -> None:
    world.live[peer].twin(TWIN_S)
