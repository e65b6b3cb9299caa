"""Scenarios by name: what happens to a ring, and what is expected of it afterwards.

Each is a function of a `Run`; its docstring says what it is. All end with `Run.finish`: faults are healed, then the
ring must become ideal and every record that has a living copy must be read. Where a scenario comes from another
project's list of tests, its name and the thread stand in the docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from random import Random

from chordtwist.core.peer import Peer
from chordtwist.simulation.chance import below, pick, pick_some
from chordtwist.simulation.faults import Clog, Cut, Duplicating, Loss, Overtaking, Partition, Rule, SlowHost
from chordtwist.simulation.footprint import Footprint
from chordtwist.simulation.run import Run
from chordtwist.simulation.workload import Churn
from chordtwist.simulation.world import Host

Scenario = Callable[[Run], None]

SCENARIOS: dict[str, Scenario] = {}

ONE_RING_WITHIN_S = 60
"""A healed partition has become one ring by then, each of its two halves having found the other."""

ROUNDS_AFTER_HALF_DIED = 30
"""So many stabilizations, at their fastest pace, and the half that lives is an ideal ring."""

FILLED_WITHIN_S = 1_800
"""A load shorter than this only fills a ring: nothing can have levelled off."""

LEVEL = 1.1
"""What levels off may be so much more in the second half of a day than before, by chance."""

OVERWRITES = 5
KEYS_OVERWRITTEN = 20
READS_PER_SECOND = 2.0

PUTS_PER_SECOND = 1.0


def scenario(function: Scenario) -> Scenario:
    """Give a scenario its name: that of its function, with hyphens."""
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


# The ring at work


@scenario
def steady(run: Run) -> None:
    """A ring at work for the given minutes; with --session-median its nodes come and go all the while."""
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


@scenario
def churn_60(run: Run) -> None:
    """Half of all nodes stay for less than an hour."""
    _churn(run, 3600)


@scenario
def churn_10(run: Run) -> None:
    """Half of all nodes stay for less than ten minutes."""
    _churn(run, 600)


@scenario
def churn_1_4(run: Run) -> None:
    """Half of all nodes stay for less than 84 seconds: what Bamboo was measured with (USENIX 2004)."""
    _churn(run, 84)


@scenario
def loss_20(run: Run) -> None:
    """Every fifth segment is lost and sent again, from the first join on."""
    run.may_misjudge = True
    run.world.network.install(Loss(0.2))
    run.grow()
    run.load()
    run.minutes()
    run.finish()


@scenario
def slow_node(run: Run) -> None:
    """One node is slow by 400 ms each way: nobody may give it up, and nobody may wait for it twice."""
    peers = run.grow()
    run.world.network.install(SlowHost(pick(run.world.rng, peers), 400_000))
    run.load()
    run.minutes()
    run.finish()


@scenario
def paused_node(run: Run) -> None:
    """One node after another stands still for 2 s, as a loaded host does: too short to be dead."""
    peers = run.grow()
    run.load()
    for _ in range(max(1, int(run.options.minutes * 6))):
        link = run.world.live[pick(run.world.rng, peers)].link
        link.pause()
        run.world.run(2)
        link.resume()
        run.world.run(8)
    run.finish()


@scenario
def flapping_node(run: Run) -> None:
    """One node crashes and starts again every few seconds, all the time."""
    peers = run.grow()
    flapping = pick(run.world.rng, peers)
    run.load()
    for _ in range(max(1, int(run.options.minutes * 10))):
        run.world.crash(flapping)
        run.world.run(0.2 + 2 * run.world.rng.random())
        run.world.start(flapping)
        run.world.run(3 * run.world.rng.random())
    run.finish()


@scenario
def rolling_restart(run: Run) -> None:
    """Every node leaves and starts again on its address, one after another, with writes going on."""
    peers = run.grow()
    run.load()
    for peer in peers:
        run.world.leave(peer)
        _until(run, lambda peer=peer: peer not in run.world.live, 10, "left")  # type: ignore[misc]
        run.world.start(peer)
        _until(run, lambda peer=peer: run.world.live[peer].is_member, 30, "came back")  # type: ignore[misc]
        run.world.run(2)
    run.finish()


# Many at once


@scenario
def join_storm(run: Run) -> None:
    """All nodes start within one second, all with the same three bootstrap addresses (hivemind#624)."""
    world, options = run.world, run.options
    addresses = [world.address() for _ in range(options.nodes)]
    world.seed_peers = addresses[:3]
    for peer in addresses:
        world.after(world.rng.random(), lambda peer=peer: world.start(peer))  # type: ignore[misc]
    world.run(1)
    began_s = world.now_s
    _until(run, lambda: len(world.members()) == options.nodes, 600, "everybody became a member")
    run.notes["all_members_after_s"] = round(world.now_s - began_s, 1)
    run.settle("the storm is over")
    world.seed_peers = None
    run.load()
    run.minutes()
    run.finish()


@scenario
def neighbours_vanish(run: Run) -> None:
    """As many consecutive nodes as a list may lose vanish at once, without a sound (chord-grpc#156)."""
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


@scenario
def half_dies(run: Run) -> None:
    """Half of all nodes lose power in one instant; lookups begin in the next (Chord paper, theorem 6, figure 11)."""
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


@scenario
def partition_and_merge(run: Run) -> None:
    """The network falls into two halves, with writes on both sides; then it is healed (stacks-core#164)."""
    run.grow()
    world = run.world
    run.load()
    run.minutes(0.1)
    peers = world.members()
    run.may_misjudge = world.check.suspended = True
    world.network.install(Partition([pick_some(world.rng, peers, len(peers) // 2)]))
    run.minutes(0.8)
    run.rest()
    took_s = world.settle(600)
    run.notes["one_ring_after_s"] = took_s
    run.expect(took_s is not None and took_s <= ONE_RING_WITHIN_S, f"one ring only {took_s} s after it was healed")
    _resume(run)
    run.load(0.1)
    run.minutes(0.1)
    run.finish()


@scenario
def two_rings(run: Run) -> None:
    """Two rings of one network grow apart; then each learns of the other's bootstrap addresses, and they become one."""
    world, options = run.world, run.options
    run.may_misjudge = world.check.suspended = True
    addresses = [world.address() for _ in range(options.nodes)]
    cut = max(1, options.nodes * 2 // 5)
    for group in (addresses[:cut], addresses[cut:]):
        world.seed_peers = group[:1]
        for peer in group:
            world.start(peer)
            _until(run, lambda peer=peer: world.live[peer].is_member, 60, "joined its ring")  # type: ignore[misc]
    run.load()
    run.minutes(0.2)
    run.lookups.stop()
    world.seed_peers = [addresses[0], addresses[cut]]
    took_s = world.settle(600)
    run.notes["one_ring_after_s"] = took_s
    run.expect(took_s is not None, "the two rings did not become one in 600 s")
    _resume(run)
    run.load(0.5)
    run.minutes(0.5)
    run.finish()


# The six ways the original protocol breaks (ring.md, after Zave 2012): four nodes in order, lists of two entries


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
    _until(run, lambda: all(run.world.live[peer].is_member for peer in peers), 30, "joined")


@scenario
def zave_two_rings(run: Run) -> None:
    """At most one ring: n1 and n3 join n0, n2 and die before lists are copied again."""
    n0, n1, n2, n3 = _four(run)
    _join(run, n2)
    run.world.run(3)
    _join(run, n1)
    _join(run, n3)
    _until(run, lambda: run.world.check.linked() == 4, 10, "linked in")
    run.world.power_off(n1, n3)
    run.world.run(30)
    run.world.seed_peers = [n0, n2]
    run.finish()


@scenario
def zave_no_ring(run: Run) -> None:
    """At least one ring: n1 joins n0, n2, notifies n2, and dies."""
    n0, n1, n2, _ = _four(run)
    _join(run, n2)
    run.world.run(3)
    _join(run, n1)
    _until(run, lambda: run.world.node(n2).predecessor == n1, 10, "known to its successor")
    run.world.power_off(n1)
    run.world.run(30)
    run.world.seed_peers = [n0, n2]
    run.finish()


@scenario
def zave_lost_appendage(run: Run) -> None:
    """Connected appendages: n2 dies just as n1 joins in front of it."""
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


@scenario
def zave_wrong_list(run: Run) -> None:
    """Valid successor lists: n1's second entry is old when n2 dies, and jumps over n3."""
    n0, n1, n2, n3 = _four(run)
    _join(run, n2)
    _join(run, n1)
    run.world.run(3)
    _join(run, n3)
    run.world.power_off(n2)
    run.world.run(30)
    run.world.seed_peers = [n0, n1, n3]
    run.finish()


@scenario
def zave_disordered_merge(run: Run) -> None:
    """Ordered merges: n1 and n2 join in front of n3 at once, and notify in order."""
    n0, n1, n2, n3 = _four(run)
    _join(run, n3)
    run.world.run(3)
    _join(run, n1, n2)
    run.world.run(30)
    run.world.seed_peers = [n0, n1, n2, n3]
    run.finish()


@scenario
def zave_disordered_appendages(run: Run) -> None:
    """Ordered appendages: n1, n2 and n3 join n0 at once, which then dies."""
    n0, n1, n2, n3 = _four(run)
    _join(run, n1, n2, n3)
    run.world.power_off(n0)
    run.world.run(30)
    run.world.seed_peers = [n1, n2, n3]
    run.finish()


# What others test their stores with (users.md)


@scenario
def dht_init(run: Run) -> None:
    """A public "DHT Init" list: nodes and blocks; 3/5 as many again join; two stop; then two every 5 s, 7 times."""
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


@scenario
def first_leavers(run: Run) -> None:
    """egroh/dht_chord's own test, but with the values stored before two of the nodes leave."""
    run.grow()
    for _ in range(16):
        run.records.put_once()
    run.world.run(5)
    for peer in pick_some(run.world.rng, run.world.members(), 2):
        run.world.leave(peer)
    run.world.run(10)
    run.finish()


@scenario
def second_takes_over(run: Run) -> None:
    """sit/dht's maintenance test: a batch at one node; a second joins and the first is killed, again and again."""
    world = run.world
    world.start()
    world.run(1)
    for _ in range(50):
        run.records.put_once()
    world.run(5)
    for _ in range(5):
        first = world.members()[0]
        second = world.start().peer
        _until(run, lambda second=second: world.live[second].is_member, 30, "joined")  # type: ignore[misc]
        world.run(30)
        world.power_off(first)
        world.run(30)
    run.finish()


@scenario
def share_killed(run: Run) -> None:
    """OpenDHT's persistence test "delete": a share of the nodes is killed, as many as copies less one at once."""
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


@scenario
def replaced(run: Run) -> None:
    """OpenDHT's persistence test "replace": nodes are killed and as many added, until none of the first is left."""
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


@scenario
def overwritten(run: Run) -> None:
    """bmuller/kademlia#107: keys overwritten five times while nodes come and go; no old value may come back.

    Every other newer value has a shorter life than the one it replaces. Half of the clocks are wrong by up to 30 s, one
    in sixteen by minutes.
    """
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


@scenario
def day(run: Run) -> None:
    """A ring at work, to be run for a day: what nodes keep and remember levels off (bittorrent-dht#46, flow-go#5799).

    Half of the nodes stay, and are watched; the others come and go, every second time at an address never seen before.
    Records live for a twenty-fourth of the time on average, some of the newer ones for less than those they replace.
    """
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


@scenario
def expiry(run: Run) -> None:
    """Short-lived records, nodes coming and going, wall clocks wrong by up to 30 s: nothing outlives its end."""
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


# Everything at random


MOST_WAITING = 6
"""Newcomers that wait to become members: a small ring takes in one at a time, and none while a path to it is broken."""


@scenario
def mixed(run: Run) -> None:
    """Everything at random: ebbing and flooding across the small-ring switch, every fault there is, then peace.

    Each ebb and flood goes to a random size on the other side of the switch; newcomers, ends and faults come in both.
    """
    world, rng = run.world, run.world.rng
    run.may_misjudge = True
    run.grow(max(2, run.options.nodes >> rng.getrandbits(1)))
    run.load()
    away: list[Peer] = []
    storm: list[Rule] = []
    turns = {"ebbs": 0, "floods": 0}
    ebbs = len(world.live) > run.options.successors + 1
    target = _turn(run, ebbs)
    until_s = world.now_s + run.options.minutes * 60
    while world.now_s < until_s:
        _something(run, away, storm, ebbs)
        world.run(rng.random() * rng.random() * 4)
        members = len(world.check.members)
        if members <= target if ebbs else members >= target:
            turns["ebbs" if ebbs else "floods"] += 1
            ebbs = not ebbs
            target = _turn(run, ebbs)
    run.notes.update(turns)
    for host in list(world.live.values()):
        host.link.resume()
    run.rest()
    for peer in away:
        if peer not in world.live:
            world.start(peer)
    run.finish()


def _turn(run: Run, ebbs: bool) -> int:
    """At how many members the ring stops ebbing, or flooding: on the other side of the switch where it can be."""
    r, most = run.options.successors, run.options.nodes
    return 2 + below(run.world.rng, r) if ebbs else most - below(run.world.rng, max(1, most - 2 * r - 1))


@scenario
def crowd(run: Run) -> None:
    """Nodes join three at a time and end one at a time, all the while, in a ring little larger than a list is long."""
    world, rng = run.world, run.world.rng
    run.grow(2 * run.options.successors + 4)
    run.load()
    until_s = world.now_s + run.options.minutes * 60
    while world.now_s < until_s:
        for _ in range(3):
            if len(world.live) < run.options.nodes:
                world.start()
        world.run(1.5 * rng.random())
        staying = [p for p in world.check.members.values() if p.linked and p.peer not in world.leaving]
        peer = pick(rng, staying).peer
        if len(staying) > run.options.successors + 3 and _survivable(run, [peer]):
            (world.leave if rng.getrandbits(1) else world.crash)(peer)
        world.run(rng.random())
    run.finish()


def _something(run: Run, away: list[Peer], storm: list[Rule], ebbs: bool) -> None:
    """One random event. Most are small; bursts stay below what a list can lose, so that the assumptions can hold."""
    world, rng = run.world, run.world.rng
    network, members = world.network, world.members()
    draw = below(rng, 100)
    most = max(1, run.options.successors // 2)
    starts, ends, restarts = (15, 60, 65) if ebbs else (50, 53, 56)
    if len(members) < 3 or draw < starts:
        for _ in range(1 + below(rng, 1 + run.options.successors // 4)):
            if len(world.live) < min(run.options.nodes, len(members) + MOST_WAITING):
                back = [peer for peer in away if peer not in world.live]
                world.start(pick(rng, back) if back and rng.getrandbits(1) else None)
    elif draw < ends:
        count = 1 if rng.getrandbits(2) else 1 + below(rng, min(most, len(members) // 3))
        ending = _run_of(run, count) if rng.getrandbits(1) else pick_some(rng, members, count)
        if not _may_end(run, ending):
            return
        away += ending
        way = below(rng, 3)
        if way == 0:
            world.crash(*ending)
        elif way == 1:
            world.power_off(*ending)
        else:
            for peer in ending:
                world.leave(peer)
    elif draw < restarts:
        peer = pick(rng, members)  # a restart within a second, often before anybody has noticed
        if not _may_end(run, [peer]):
            return
        world.crash(peer)
        world.run(rng.random())
        world.start(peer)
    elif draw < 72:
        link = world.live[pick(rng, members)].link
        link.pause()
        world.after(1.5 * rng.random(), link.resume)
    elif draw < 79:
        source, target = pick_some(rng, members, 2)
        clog = Clog(source, target)
        network.install(clog)
        world.after(2 * rng.random(), lambda: network.remove(clog))
    elif draw < 86:
        source, target = pick_some(rng, members, 2)
        cut = Cut(source, target)
        network.install(cut)
        # Where hardly anybody is left to ask on one's behalf a broken path must not last until it looks like death.
        world.after((6 if len(members) > 4 else 2) * rng.random(), lambda: network.remove(cut))
    elif draw < 90:
        peer = pick(rng, members)
        slow = SlowHost(peer, below(rng, 250_000))
        network.install(slow)
        world.after(5 * rng.random(), lambda: network.remove(slow))
    elif draw < 95:
        network.remove(*storm)
        storm[:] = Loss(0.15 * rng.random()), Duplicating(0.1 * rng.random()), Overtaking(0.1 * rng.random(), 400_000)
        network.install(*storm)
    else:
        network.remove(*storm)


# Small things


def _kept_per_node(hosts: Collection[Host]) -> dict[str, float]:
    """What some nodes keep and remember, on average."""
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


def _clock_error_ms(rng: Random) -> int:
    """By how much a host's wall clock is wrong: mostly by what two hosts may differ, sometimes by much more."""
    draw = below(rng, 16)
    if draw == 0:
        return below(rng, 1_200_000) - 600_000
    return below(rng, 60_000) - 30_000 if draw < 8 else 0


def _may_end(run: Run, peers: list[Peer]) -> bool:
    """Whether the proof's assumptions survive their end: everybody else keeps a living entry, and enough members are
    principal. Otherwise nearly every run would break them, and check little.
    """
    check = run.world.check
    gone = dict.fromkeys((*peers, *run.world.leaving))
    skipped = dict.fromkeys(check.skipped())
    staying = [p.peer for p in check.members.values() if p.linked and p.peer not in gone]
    principals = len(staying) - sum(1 for peer in staying if peer in skipped)
    return principals >= min(len(staying), run.options.successors + 1) and _survivable(run, peers)


def _survivable(run: Run, peers: list[Peer]) -> bool:
    """Whether every member that stays keeps a living entry in its list."""
    members = run.world.check.members
    gone = dict.fromkeys((*peers, *run.world.leaving))
    rest = [pointers for peer, pointers in members.items() if peer not in gone]
    return len(rest) == 1 or all(any(p in members and p not in gone for p in q.successors) for q in rest)


def _run_of(run: Run, count: int) -> list[Peer]:
    """`count` consecutive members, from a random place on."""
    followers = run.world.check.followers(run.world.rng.getrandbits(256))
    return [next(followers) for _ in range(count)]


def _stop_two(run: Run) -> None:
    for peer in pick_some(run.world.rng, run.world.members(), 2):
        run.world.leave(peer)


def _until(run: Run, true: Callable[[], bool], within_s: float, what: str) -> None:
    """Let time pass until something is true; it is expected to become so."""
    for _ in range(int(within_s * 20)):
        if true():
            return
        run.world.run(0.05)
    run.expect(true(), f"not within {within_s:g} s: {what}")


def _resume(run: Run) -> None:
    """There is one ring again: from here on its invariants are asserted."""
    check = run.world.check
    check.suspended = False
    check.bursts = check.misjudged = 0
