"""What others test their stores with: the names and threads of their tests stand in the docstrings."""

from __future__ import annotations

from chordtwist.simulation.chance import pick_some
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario


@scenario('A public "DHT Init" list: nodes and blocks; 3/5 as many again join; two stop; then two every 5 s, 7 times.')
def dht_init(run: Run) -> None:
    world = run.world
    run.grow()
    run.records.value_bytes = 1024
    blocks = run.options.records if run.options.records is not None else 5 * run.options.nodes
    for _ in range(blocks):
        run.records.put_once()
        world.run(0.05)
    world.run(10)
    run.grow(run.options.nodes * 3 // 5)
    world.run(40)
    run.read_everything("after the others joined")
    _stop_two(run)
    world.run(140)
    run.read_everything("after two had stopped")
    for _ in range(7):
        _stop_two(run)
        world.run(5)
    world.run(240)
    run.finish()


@scenario("egroh/dht_chord's own test, but with the values stored before two of the nodes leave.")
def first_leavers(run: Run) -> None:
    run.grow()
    for _ in range(16):
        run.records.put_once()
    run.world.run(5)
    for peer in pick_some(run.world.rng, run.world.members(), 2):
        run.world.leave(peer)
    run.world.run(10)
    run.finish()


@scenario("sit/dht's maintenance test: a batch at one node; a second joins and the first is killed, again and again.")
def second_takes_over(run: Run) -> None:
    world = run.world
    world.start()
    world.run(1)
    for _ in range(50):
        run.records.put_once()
    world.run(5)
    for _ in range(5):
        first = world.members()[0]
        second = world.start().peer
        run.until_members(second)
        world.run(30)
        world.power_off(first)
        world.run(30)
    run.finish()


@scenario('OpenDHT\'s persistence test "delete": a share of the nodes is killed, as many as copies less one at once.')
def share_killed(run: Run) -> None:
    run.grow()
    run.load()
    run.minutes(0.5)
    at_once = run.options.replication - 1
    for _ in range(max(1, run.options.nodes // 3 // at_once)):
        run.world.crash(*pick_some(run.world.rng, run.world.members(), at_once))
        run.world.run(30)
    run.minutes(0.5)
    run.finish()
    run.expect(not run.gone, f"{run.gone} records died, with never more than {at_once} nodes at once")


@scenario('OpenDHT\'s persistence test "replace": nodes are killed and as many added, until none of the first is left.')
def replaced(run: Run) -> None:
    first = run.grow()
    run.load()
    run.minutes(0.5)
    for peer in first:
        run.world.crash(peer)
        run.world.start()
        run.world.run(15)
    run.minutes(0.5)
    run.finish()
    run.expect(not run.gone, f"{run.gone} records died, with one node at a time")


def _stop_two(run: Run) -> None:
    for peer in pick_some(run.world.rng, run.world.members(), 2):
        run.world.leave(peer)
