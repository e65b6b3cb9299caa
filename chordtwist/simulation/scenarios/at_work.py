"""A ring at work, with one lasting trouble or none."""

from __future__ import annotations

from chordtwist.simulation.chance import pick
from chordtwist.simulation.faults import Loss, SlowHost
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario
from chordtwist.simulation.workload import Churn


@scenario("A ring at work for the given minutes; with --session-median its nodes come and go all the while.")
def steady(run: Run) -> None:
    _churn(run, run.options.session_median_s)


def _churn(run: Run, median_s: float | None) -> None:
    run.grow()
    churn = None if median_s is None else Churn(run.world, median_s)
    if churn is not None:
        churn.begin()
    run.load()
    run.minutes()
    if churn is not None:
        churn.stop()
        run.notes["sessions_ended"] = churn.ended
    run.finish()


@scenario("Half of all nodes stay for less than an hour.")
def churn_60(run: Run) -> None:
    _churn(run, 3600)


@scenario("Half of all nodes stay for less than ten minutes.")
def churn_10(run: Run) -> None:
    _churn(run, 600)


@scenario("Half of all nodes stay for less than 84 seconds: what Bamboo was measured with (USENIX 2004).")
def churn_1_4(run: Run) -> None:
    _churn(run, 84)


@scenario("Every fifth segment is lost and sent again, from the first join on.")
def loss_20(run: Run) -> None:
    run.may_misjudge = True
    run.world.network.faults.install(Loss(0.2))
    run.grow()
    run.load()
    run.minutes()
    run.finish()


@scenario("One node is slow by 400 ms each way: nobody may give it up, and nobody may wait for it twice.")
def slow_node(run: Run) -> None:
    peers = run.grow()
    run.world.network.faults.install(SlowHost(pick(run.world.rng, peers), 400_000))
    run.load()
    run.minutes()
    run.finish()


@scenario("One node after another stands still for 2 s, as a loaded host does: too short to be dead.")
def paused_node(run: Run) -> None:
    peers = run.grow()
    run.load()
    for _ in range(max(1, int(run.options.minutes * 6))):
        link = run.world.live[pick(run.world.rng, peers)].link
        link.pause()
        run.world.run(2)
        link.resume()
        run.world.run(8)
    run.finish()


@scenario("One node crashes and starts again every few seconds, all the time.")
def flapping_node(run: Run) -> None:
    peers = run.grow()
    flapping = pick(run.world.rng, peers)
    run.load()
    for _ in range(max(1, int(run.options.minutes * 10))):
        run.world.crash(flapping)
        run.world.run(0.2 + 2 * run.world.rng.random())
        run.world.start(flapping)
        run.world.run(3 * run.world.rng.random())
    run.finish()


@scenario("Every node leaves and starts again on its address, one after another, with writes going on.")
def rolling_restart(run: Run) -> None:
    peers = run.grow()
    run.load()
    for peer in peers:
        run.world.leave(peer)
        run.until(lambda peer=peer: peer not in run.world.live, 10, "left")  # type: ignore[misc]
        run.world.start(peer)
        run.until_members(peer)
        run.world.run(2)
    run.finish()
