"""Much that happens in one instant: to a whole ring, or to neighbours on it."""

from __future__ import annotations

from chordtwist.simulation.chance import pick_some
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario

ROUNDS_AFTER_HALF_DIED = 90
"""So many stabilizations, at their fastest pace, and the half that lives is an ideal ring: mostly within thirty, but
whom a list lacks then says so when it looks its own place up, once a minute at most."""


@scenario("All nodes start within one second, all with the same three bootstrap addresses (hivemind#624).")
def join_storm(run: Run) -> None:
    _start_all(run)
    run.settle("the storm is over")
    run.world.seed_peers = None
    run.load()
    run.minutes()
    run.finish()


@scenario("As join-storm, but all who are members look up, put and read from the first moment on.")
def young(run: Run) -> None:
    run.load()
    _start_all(run)
    run.minutes()
    denied = run.records.denied
    run.expect(not denied, f"{denied} reads said that there is nothing, though a copy lived")
    run.finish()


def _start_all(run: Run) -> None:
    world, options = run.world, run.options
    addresses = [world.address() for _ in range(options.nodes)]
    world.seed_peers = addresses[:3]
    for peer in addresses:
        world.after(world.rng.random(), lambda peer=peer: world.start(peer))  # type: ignore[misc]
    world.run(1)
    began_s = world.now_s
    run.until(lambda: len(world.members()) == options.nodes, 600, "everybody became a member")
    run.notes["all_members_after_s"] = round(world.now_s - began_s, 1)


@scenario("As many consecutive nodes as a list may lose vanish at once, without a sound (chord-grpc#156).")
def neighbours_vanish(run: Run) -> None:
    run.grow()
    run.load()
    run.minutes(0.5)
    world = run.world
    position = world.rng.getrandbits(256)
    count = min(run.options.successors - 1, len(world.check.ids) - 1)
    followers = world.check.followers(position)
    world.power_off(*[next(followers) for _ in range(count)])
    run.minutes(0.5)
    run.finish()


@scenario("Half of all nodes lose power in one instant; lookups begin in the next (Chord paper, theorem 6, figure 11).")
def half_dies(run: Run) -> None:
    run.grow()
    world = run.world
    run.load()
    run.lookups.stop()
    run.minutes(0.5)
    peers = world.members()
    died_s = world.now_s
    world.power_off(*pick_some(world.rng, peers, len(peers) // 2))
    lost = [p.peer for p in world.check.members.values() if not world.check.has_live_entry(p)]
    run.notes["members_without_living_entry"] = len(lost)
    lookups = run.lookups
    silent = world.network.failed
    for _ in range(200):
        lookups.once()
        world.run(0.005)
    asked_s = world.now_s - died_s
    took_s = world.settle(ROUNDS_AFTER_HALF_DIED * run.options.stabilize_interval_s)
    run.expect(took_s is not None, f"not ideal within {ROUNDS_AFTER_HALF_DIED} rounds")
    if took_s is not None:
        run.notes["rounds_to_ideal"] = round((asked_s + took_s) / run.options.stabilize_interval_s, 1)
    run.notes["first_200_lookups"] = {
        "right": lookups.right,
        "explained": lookups.explained,
        "wrong": lookups.wrong,
        "s_mean": round(lookups.took_us / 1e6 / max(1, lookups.answered), 3),
        "s_most": round(lookups.took_us_max / 1e6, 3),
    }
    run.notes["timeouts_per_lookup"] = round(lookups.silent / max(1, lookups.answered), 2)
    run.notes["questions_failed"] = world.network.failed - silent
    run.minutes(0.5)
    run.finish()
