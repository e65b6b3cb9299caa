"""Records that are overwritten or end, on hosts whose wall clocks are wrong."""

from __future__ import annotations

from random import Random

from chordtwist.simulation.chance import below
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario
from chordtwist.simulation.workload import Churn

OVERWRITES = 5
KEYS_OVERWRITTEN = 20
READS_PER_SECOND = 2.0


@scenario(
    "bmuller/kademlia#107: keys overwritten five times while nodes come and go; no old value may come back. Every "
    "other newer value has a shorter life than the one it replaces. Half of the clocks are wrong by up to 30 s, "
    "one in sixteen by minutes."
)
def overwritten(run: Run) -> None:
    world, records, rng = run.world, run.records, run.world.rng
    world.skew_ms = lambda: _clock_error_ms(rng)
    run.grow()
    churn = Churn(world, run.options.session_median_s or 600)
    churn.begin()
    between_s = run.options.minutes * 60 / (OVERWRITES + 1)
    long_s = 2 * run.options.minutes * 60 + 600
    records.ttl_s = lambda: between_s * rng.random() if rng.getrandbits(1) else long_s
    for _ in range(KEYS_OVERWRITTEN):
        records.put_once(ttl_s=long_s)
    world.run(5)
    keys = list(records.newest)
    records.begin(0, READS_PER_SECOND)
    for _ in range(OVERWRITES):
        world.run(between_s)
        for key in keys:
            records.put_once(key)
            world.run(0.1)
    world.run(between_s)
    churn.stop()
    run.expect(not records.unreadable, f"{records.unreadable} reads found nothing, though a copy lived")
    run.finish()


@scenario("Short-lived records, nodes coming and going, wall clocks wrong by up to 30 s: nothing outlives its end.")
def expiry(run: Run) -> None:
    world, records = run.world, run.records
    world.skew_ms = lambda: below(world.rng, 60_000) - 30_000
    run.grow()
    records.ttl_s = lambda: 20.0
    churn = Churn(world, run.options.session_median_s or 600)
    churn.begin()
    run.load()
    run.minutes()
    churn.stop()
    run.finish()


def _clock_error_ms(rng: Random) -> int:
    """By how much a host's wall clock is wrong: mostly by what two hosts may differ, sometimes by much more."""
    draw = below(rng, 16)
    if draw == 0:
        return below(rng, 1_200_000) - 600_000
    return below(rng, 60_000) - 30_000 if draw < 8 else 0
