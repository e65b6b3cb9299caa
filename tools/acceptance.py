"""Put whole rings of processes through the failures that users meet, and print a JSON object for each.

``python -m tools.acceptance [--tls MODE] [SCENARIO ...]``; without a name, all of them: 10 minutes on two cores.
Times are reported; what decides is that every value is right and that there is one ring.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable

from tests.fleet import Client, Fleet, Herd, Key, value_of

KEYS = 200
VALUE_BYTES_MAX = 65_495
SMALL_BYTES = 64

Result = dict[str, object]


def write(fleet: Fleet, count: int, lengths: Callable[[int], int], seed: int = 1) -> dict[Key, bytes]:
    """PUT `count` keys at random nodes; returns what was put."""
    rng = random.Random(seed)
    clients = {number: fleet.client(number) for number in fleet.numbers}
    stored = {}
    for index in range(count):
        key = rng.randbytes(32)
        stored[key] = value_of(seed * 1_000_000 + index, lengths(index))
        clients[rng.choice(list(clients))].put(key, stored[key])
    for client in clients.values():
        # A GET behind the PUTs of its connection: when it is answered, they have been read.
        client.get(bytes(32))
        client.close()
    return stored


def wrong_reads(fleet: Fleet, stored: dict[Key, bytes]) -> int:
    """Reads that are not right, over all keys at all nodes."""
    wrong = 0
    for number in fleet.numbers:
        client = fleet.client(number)
        keys = list(stored)
        for start in range(0, len(keys), 50):
            found = client.get_many(keys[start : start + 50])
            wrong += sum(found[key] != stored[key] for key in keys[start : start + 50])
        client.close()
    return wrong


def until_right(fleet: Fleet, stored: dict[Key, bytes], within_s: float) -> tuple[float, int]:
    """Seconds until every key is read right at every node, and how many reads are wrong in the end."""
    began = time.monotonic()
    while True:
        wrong = wrong_reads(fleet, stored)
        passed = time.monotonic() - began
        if not wrong or passed > within_s:
            return passed, wrong


def any_length(index: int) -> int:
    """1 to 65,495 bytes, both ends among them."""
    return (1, VALUE_BYTES_MAX, 1024)[index] if index < 3 else random.Random(index).randrange(1, VALUE_BYTES_MAX + 1)


def five(tls: str) -> Result:
    """Five nodes; 200 keys of 1 to 65,495 bytes put at random nodes, each read at every node."""
    with Fleet(tls=tls) as fleet:
        fleet.start(range(1, 6))
        formed_s = fleet.wait_for_ring(20)
        stored = write(fleet, KEYS, any_length)
        return {"formed_s": formed_s, "wrong": wrong_reads(fleet, stored), "reads": KEYS * 5}


def twentyfive(tls: str) -> Result:
    """The same in a ring of 25 with successors = 8, which is not small."""
    with Fleet({"successors": 8}, tls) as fleet:
        fleet.start(range(1, 26))
        formed_s = fleet.wait_for_ring(30)
        stored = write(fleet, KEYS, any_length)
        return {"formed_s": formed_s, "wrong": wrong_reads(fleet, stored), "reads": KEYS * 25}


def killed(tls: str) -> Result:
    """kill -9 of the bootstrap node, then of two neighbours at once: every key is read right at every node again."""
    with Fleet(tls=tls) as fleet:
        fleet.start(range(1, 26))
        fleet.wait_for_ring(30)
        stored = write(fleet, KEYS, lambda index: SMALL_BYTES)
        time.sleep(2)
        fleet.kill([1])
        began = time.monotonic()
        bootstrap_s, bootstrap_wrong = until_right(fleet, stored, 10)
        ring_s = fleet.wait_for_ring(max(0.1, 10 - (time.monotonic() - began)))
        time.sleep(10)
        states = sorted(fleet.statuses().items(), key=lambda item: str(item[1]["id"]))
        fleet.kill([states[5][0], states[6][0]])
        began = time.monotonic()
        neighbours_s, neighbours_wrong = until_right(fleet, stored, 10)
        fleet.wait_for_ring(max(0.1, 10 - (time.monotonic() - began)))
        return {
            "after_bootstrap_s": bootstrap_s,
            "ring_after_bootstrap_s": ring_s,
            "after_neighbours_s": neighbours_s,
            "ring_after_neighbours_s": time.monotonic() - began,
            "wrong": bootstrap_wrong + neighbours_wrong,
        }


def fifty(tls: str) -> Result:
    """Fifty nodes started at once: with one bootstrap address, with the bootstrap node last, with three seeds."""
    formed = {}
    for name, order, seeds in (
        ("one_bootstrap_s", range(1, 51), (1,)),
        ("bootstrap_last_s", (*range(2, 51), 1), (1,)),
        ("three_seeds_s", range(1, 51), (1, 2, 3)),
    ):
        with Fleet(tls=tls) as fleet:
            fleet.start(order, seeds)
            formed[name] = fleet.wait_for_ring(60)
    return {**formed, "wrong": sum(formed_s > 20 for formed_s in formed.values())}


def growing(tls: str) -> Result:
    """With successors = 8 a ring goes from 12 to 40 to 12 nodes and loses no key."""
    with Fleet({"successors": 8}, tls) as fleet:
        fleet.start(range(1, 13))
        fleet.wait_for_ring(30)
        stored = write(fleet, KEYS, lambda index: 1024)
        fleet.start(range(13, 41))
        fleet.wait_for_ring(40)
        wrong_at_40 = wrong_reads(fleet, stored)
        stored |= write(fleet, KEYS, lambda index: 1024, seed=2)
        for number in range(13, 41):
            leave(fleet, number)
        fleet.wait_for_ring(20)
        return {"wrong_at_40": wrong_at_40, "wrong": wrong_at_40 + wrong_reads(fleet, stored)}


def restarted(tls: str) -> Result:
    """A node killed and restarted at once on the same address is a member again; first any node, then the bootstrap."""
    results: Result = {}
    with Fleet(tls=tls) as fleet:
        fleet.start(range(1, 9))
        fleet.wait_for_ring(20)
        stored = write(fleet, KEYS, lambda index: SMALL_BYTES)
        time.sleep(2)
        for number in (5, 1):
            fleet.kill([number])
            fleet.start([number])
            began = time.monotonic()
            client = fleet.client(number)
            while not client.status()["member"] or not client.status()["successors"]:
                time.sleep(0.05)
            results[f"member_again_{number}_s"] = time.monotonic() - began
            results[f"ring_again_{number}_s"] = fleet.wait_for_ring(40)
        results["wrong"] = wrong_reads(fleet, stored)
    return results


def merging(tls: str) -> Result:
    """Two rings of one network become one when a node of the second gets to know one of the first."""
    with Fleet({"network": "merging"}, tls) as fleet:
        fleet.start(range(1, 7))
        fleet.wait_for_ring(20)
        fleet.start([11], (11,))
        fleet.client(11).close()
        fleet.start(range(12, 15), (11,))
        time.sleep(3)
        stored = write(fleet, 50, lambda index: SMALL_BYTES)
        fleet.start([15], (11, 1))
        merged_s = fleet.wait_for_ring(120)
        _, wrong = until_right(fleet, stored, 20)
        return {"merged_s": merged_s, "wrong": wrong}


def shut_down(tls: str) -> Result:
    """SHUTDOWN of four bytes: status 0 within 5 s, the keys at the others with their remaining life."""
    with Fleet(tls=tls) as fleet:
        fleet.start(range(1, 6))
        fleet.wait_for_ring(20)
        client = fleet.client(3)
        mortal, lasting = bytes([1]) * 32, bytes([2]) * 32
        put_at = time.monotonic()
        client.put(mortal, b"mortal", ttl_s=8, replication=1)
        client.put(lasting, b"lasting", replication=1)
        client.get(mortal)
        took_s, status = leave(fleet, 3)
        fleet.wait_for_ring(10)
        others = [fleet.client(number) for number in fleet.numbers]
        wrong = sum(other.get(mortal) != b"mortal" or other.get(lasting) != b"lasting" for other in others)
        time.sleep(max(0.0, put_at + 8.1 - time.monotonic()))
        wrong += sum(other.get(mortal) is not None or other.get(lasting) != b"lasting" for other in others)
        return {"took_s": took_s, "status": status, "wrong": wrong + (status != 0) + (took_s > 5)}


def short_lived(tls: str) -> Result:
    """A PUT with TTL 1 is read half a second later on another connection, and is FAILURE 1.1 s after it everywhere."""
    with Fleet(tls=tls) as fleet:
        fleet.start(range(1, 6))
        fleet.wait_for_ring(20)
        clients: dict[int, Client] = {number: fleet.client(number) for number in fleet.numbers}
        early = late = 0
        rng = random.Random(3)
        for _ in range(10):
            key, writer = rng.randbytes(32), rng.randrange(1, 6)
            put_at = time.monotonic()
            clients[writer].put(key, b"briefly", ttl_s=1)
            time.sleep(max(0.0, put_at + 0.5 - time.monotonic()))
            other = fleet.client(writer)
            early += other.get(key) != b"briefly"
            other.close()
            time.sleep(max(0.0, put_at + 1.1 - time.monotonic()))
            late += sum(client.get(key) is not None for client in clients.values())
        return {"missing_at_0.5_s": early, "alive_at_1.1_s": late, "wrong": early + late}


def copies_of(fleet: Fleet, stored: dict[Key, bytes]) -> int:
    """How many records all nodes hold together."""
    return sum(int(str(state["records"])) for state in fleet.statuses().values())


def hundred(tls: str) -> Result:
    """100 nodes in ten processes, 2,000 keys with 8 copies; kill -9 of three processes, 30 nodes, at once."""
    with Herd(10, {"replication": 8}, tls) as fleet:
        fleet.start(range(10))
        formed_s = fleet.wait_for_ring(120)
        stored = write(fleet, 2000, lambda index: 100)
        settle_s = until_copies(fleet, stored, 8, 60)
        fleet.kill([3, 5, 8])
        began = time.monotonic()
        reader = random.Random(1)
        readers = [fleet.client(number) for number in reader.sample(fleet.numbers, 8)]
        result: Result = {"formed_s": formed_s, "settled_s": settle_s}
        for after_s in (0, 10):
            time.sleep(max(0.0, began + after_s - time.monotonic()))
            wrong = 0
            for index, key in enumerate(stored):
                wrong += readers[index % len(readers)].get(key) != stored[key]
            result[f"right_at_{after_s}_s"] = round(1 - wrong / len(stored), 5)
        result["copies_restored_s"] = until_copies(fleet, stored, 8, 60, began)
        result["wrong"] = wrong + (result["right_at_0_s"] < 0.999) + (result["copies_restored_s"] > 60)  # type: ignore[operator]
        return result


def until_copies(
    fleet: Fleet, stored: dict[Key, bytes], copies: int, within_s: float, began: float | None = None
) -> float:
    """Seconds until the nodes hold `copies` of every key together; more than `within_s` when they did not."""
    start = time.monotonic() if began is None else began
    while copies_of(fleet, stored) < copies * len(stored):
        if time.monotonic() - start > within_s:
            return time.monotonic() - start
        time.sleep(0.5)
    return time.monotonic() - start


def rolling(tls: str) -> Result:
    """Every one of 20 nodes is restarted, one after another, while keys are written: nothing lost, nothing stale."""
    with Fleet({"state_dir": "yes"}, tls) as fleet:
        fleet.start(range(1, 21), (1, 2, 3))
        fleet.wait_for_ring(40)
        stored = write(fleet, KEYS, lambda index: 100)
        rng = random.Random(5)
        for number in range(1, 21):
            changed = rng.sample(list(stored), 5)
            writer = fleet.client(rng.choice([other for other in fleet.numbers if other != number]))
            for key in changed:
                stored[key] = value_of(rng.getrandbits(32), 100)
                writer.put(key, stored[key])
            status = leave(fleet, number)[1]
            assert status == 0, fleet.log(number)
            stored |= write(fleet, 5, lambda index: 100, seed=100 + number)
            fleet.start([number], (1, 2, 3))
            fleet.wait_for_ring(20)
            writer.close()
        return {"keys": len(stored), "wrong": wrong_reads(fleet, stored)}


def halving(tls: str) -> Result:
    """Half of 40 nodes leave one by one, with one copy of each key: nothing is lost."""
    with Fleet({"replication": 1}, tls) as fleet:
        fleet.start(range(1, 41))
        fleet.wait_for_ring(60)
        stored = write(fleet, KEYS, lambda index: 1024)
        time.sleep(1)
        took_s = max(leave(fleet, number)[0] for number in range(2, 41, 2))
        fleet.wait_for_ring(20)
        return {"longest_leave_s": took_s, "wrong": wrong_reads(fleet, stored)}


def upgraded(tls: str) -> Result:
    """Five nodes are replaced one by one by a build that speaks the next protocol version; the ring serves on."""
    with Fleet(tls=tls) as fleet:
        seeds = (1, 2, 3)
        fleet.start(range(1, 6), seeds)
        fleet.wait_for_ring(20)
        stored = write(fleet, KEYS, lambda index: 1024)
        wrong = 0
        for number in range(1, 6):
            assert leave(fleet, number)[1] == 0, fleet.log(number)
            wrong += wrong_reads(fleet, stored)
            stored |= write(fleet, 20, lambda index: 1024, seed=200 + number)
            fleet.start([number], seeds, next_build=True)
            fleet.wait_for_ring(20)
            wrong += wrong_reads(fleet, stored)
        return {"keys": len(stored), "wrong": wrong}


def leave(fleet: Fleet, number: int) -> tuple[float, int]:
    """SHUTDOWN one node: seconds until its process ended, and its status."""
    began = time.monotonic()
    fleet.client(number).shutdown()
    status = fleet.processes.pop(number).wait(60)
    return time.monotonic() - began, status


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        five,
        twentyfive,
        killed,
        fifty,
        growing,
        restarted,
        merging,
        shut_down,
        short_lived,
        hundred,
        rolling,
        halving,
        upgraded,
    )
}


def main(arguments: Iterable[str]) -> int:
    """Run the scenarios that are named; 1 when any value was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tls", default="open", help="[tls] mode of all nodes")
    parser.add_argument("scenario", nargs="*", help=f"some of {', '.join(SCENARIOS)}")
    options = parser.parse_args(list(arguments))
    failed = 0
    for name in options.scenario or SCENARIOS:
        began = time.monotonic()
        try:
            result = SCENARIOS[name](options.tls)
        except (AssertionError, OSError) as error:
            result = {"wrong": 1, "error": str(error)[:2000]}
        failed += bool(result["wrong"])
        shown = {key: round(value, 2) if isinstance(value, float) else value for key, value in result.items()}
        print(json.dumps({"scenario": name, "took_s": round(time.monotonic() - began, 1), **shown}), flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
