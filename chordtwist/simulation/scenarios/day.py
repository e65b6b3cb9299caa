"""A day of a ring at work: what its nodes keep and remember must level off."""

from __future__ import annotations

from collections.abc import Collection

from chordtwist.simulation.footprint import Footprint
from chordtwist.simulation.run import Run
from chordtwist.simulation.scenarios.catalogue import scenario
from chordtwist.simulation.workload import Churn
from chordtwist.simulation.world import Host

FILLED_WITHIN_S = 1_800
"""A load shorter than this only fills a ring: nothing can have levelled off."""

LEVEL = 1.1
"""What levels off may be so much more in the second half of a day than before, by chance."""

PUTS_PER_SECOND = 1.0


@scenario(
    "A ring at work, to be run for a day: what nodes keep and remember levels off (bittorrent-dht#46, flow- "
    "go#5799). Half of the nodes stay, and are watched; the others come and go, every second time at an address "
    "never seen before. Records live for a twenty-fourth of the time on average, some of the newer ones for less "
    "than those they replace."
)
def day(run: Run) -> None:
    world, options = run.world, run.options
    staying = dict.fromkeys(run.grow()[::2])
    run.records.ttl_s = lambda: options.minutes * 60 / 12 * world.rng.random()
    churn = Churn(world, options.session_median_s or 3600)
    churn.begin(staying)
    run.watch = lambda: _kept_per_node([world.live[peer] for peer in staying])
    run.load()
    if options.records is None:
        run.records.begin(PUTS_PER_SECOND, 2 * PUTS_PER_SECOND)
    run.minutes()
    churn.stop()
    run.notes["sessions_ended"] = churn.ended
    _expect_level(run)
    run.finish()


def _kept_per_node(hosts: Collection[Host]) -> dict[str, float]:
    """Count what some nodes keep and remember, on average."""
    footprint = Footprint(host.node for host in hosts)
    counted = footprint.objects
    totals = {
        "records": sum(host.store.records() for host in hosts),
        "bytes of values": sum(host.store.record_bytes() for host in hosts),
        "tombstones": counted["Tombstone"],
        "tables of others, and silences": counted["Known"] + counted["_Silence"],
        "routes": counted["Route"],
        "puts looked after": counted["Publication"],
        "objects": footprint.objects.total(),
        "KiB of memory": footprint.bytes / 1024,
    }
    return {f"{what} per node": total / len(hosts) for what, total in totals.items()}


def _expect_level(run: Run) -> None:
    """Of everything watched: the mean of the second half of the load is at most `LEVEL` of that of the second quarter.

    What grows without end, from nothing, doubles between the two.
    """
    assert run.load_began is not None
    began_s, took_s = run.load_began[0], run.options.minutes * 60
    if took_s < FILLED_WITHIN_S:
        return
    quarter = [sample for sample in run.samples if took_s / 4 <= sample.at_s - began_s < took_s / 2]
    half = [sample for sample in run.samples if took_s / 2 <= sample.at_s - began_s < took_s]
    for title in half[-1].watched:
        before = sum(sample.watched[title] for sample in quarter) / len(quarter)
        after = sum(sample.watched[title] for sample in half) / len(half)
        run.notes[title] = f"{before:,.1f}, then {after:,.1f}"
        run.expect(after <= LEVEL * before + 1, f"{title}: {before:,.1f} in the second quarter, then {after:,.1f}")
