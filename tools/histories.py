"""Histories of clients, under faults, held against what a register promises, key by key.

``python -m tools.histories --faults kills`` lets clients put and get a few keys, each at a node of its own, in a
simulated ring of which nodes are killed, stand still or are parted, and records when each operation began and ended,
and what it said. Versions order the puts of a key. What is counted:

missing    a get that found nothing, though a put was confirmed before it began
stale      a get of an older version than one that was confirmed before it began
back       a client that saw a newer version before
crossed    a get of an older version than another get had read before it began
unordered  a put that began when one of a newer version was confirmed
invented   a get of what nobody had begun to put

Without any of them each key is a linearizable register. A ring that is parted is two, each of which goes on: what was
under way while it was, or in the `MERGED_WITHIN_S` after, is counted apart. The exit status is 1 when anything else is
wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from twisted.python.failure import Failure

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.records import PutResult, Record, Version
from chordtwist.simulation.chance import below, pick, pick_some
from chordtwist.simulation.faults import Partition
from chordtwist.simulation.sweep import set_up
from chordtwist.simulation.world import World

NEVER_US = 1 << 62
MERGED_WITHIN_S = 20
"""Two rings that can reach each other again are one, and have each other's records, after so long."""


@dataclass(slots=True)
class Operation:
    """One put or get. `ended_us`: when it was confirmed, or answered; `NEVER_US` when it never was, and may have worked
    all the same. `version`: of what was put or found; None while it is not known, and where nothing was found.
    """

    client: int
    key: int
    is_put: bool
    value: bytes
    began_us: int
    ended_us: int = NEVER_US
    version: Version | None = None


def judged(operations: Iterable[Operation], parted: Sequence[tuple[int, int]] = ()) -> Counter[str]:
    """Count what is wrong with a history. `parted`: between which times, in microseconds, there were two rings; what
    was under way in them is counted under names of its own.
    """
    wrong: Counter[str] = Counter()
    keys: dict[int, list[Operation]] = {}
    for operation in operations:
        keys.setdefault(operation.key, []).append(operation)
    for of_key in keys.values():
        for kind, operation in _judge(of_key):
            in_two = any(from_us <= operation.ended_us and operation.began_us < to_us for from_us, to_us in parted)
            wrong[f"{kind} while parted" if in_two else kind] += 1
    return wrong


def _judge(operations: list[Operation]) -> Iterator[tuple[str, Operation]]:
    began: dict[bytes, int] = {operation.value: operation.began_us for operation in operations if operation.is_put}
    moments = sorted(
        [(operation.began_us, 0, index) for index, operation in enumerate(operations)]
        + [
            (operation.ended_us, 1, index)
            for index, operation in enumerate(operations)
            if operation.ended_us < NEVER_US
        ]
    )
    confirmed: Version | None = None
    read: Version | None = None
    seen: dict[int, Version | None] = {}
    before: dict[int, tuple[Version | None, Version | None, Version | None]] = {}
    for at_us, has_ended, index in moments:
        operation = operations[index]
        if not has_ended:
            before[index] = confirmed, read, seen.get(operation.client)
            continue
        known, shown, own = before.pop(index)
        version = operation.version
        wrong: dict[str, bool] = {}
        if operation.is_put:
            wrong["unordered"] = _is_older(version, known)
            confirmed = _newer(confirmed, version)
        elif version is None:
            wrong["missing"] = known is not None
        else:
            wrong["stale"] = _is_older(version, known)
            wrong["crossed"] = _is_older(version, shown)
            wrong["back"] = _is_older(version, own)
            wrong["invented"] = began.get(operation.value, NEVER_US) > at_us
            read = _newer(read, version)
        yield from ((kind, operation) for kind, is_wrong in wrong.items() if is_wrong)
        seen[operation.client] = _newer(seen.get(operation.client), version)


def _is_older(version: Version | None, known: Version | None) -> bool:
    return known is not None and version is not None and version < known


def _newer(one: Version | None, other: Version | None) -> Version | None:
    return other if one is None or (other is not None and one < other) else one


class Clients:
    """Some clients at a simulated ring, each with one operation at a time."""

    def __init__(self, world: World, count: int, keys: int) -> None:
        self.history: list[Operation] = []
        self.parted: list[tuple[int, int]] = []
        self.world = world
        self._keys = [world.rng.getrandbits(256).to_bytes(32, "big") for _ in range(keys)]
        self._at: dict[int, Peer] = {}
        self._stopped = False
        for client in range(count):
            world.after(world.rng.random(), lambda client=client: self._next(client))  # type: ignore[misc]

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def _next(self, client: int) -> None:
        world, rng = self.world, self.world.rng
        members = world.members()
        if self._stopped:
            return
        if self._at.get(client) not in members and members:
            self._at[client] = pick(rng, members)
        peer = self._at[client]
        key = below(rng, len(self._keys))
        is_put = bool(rng.getrandbits(1))
        value = rng.getrandbits(128).to_bytes(16, "big") if is_put else b""
        operation = Operation(client, key, is_put, value, world.clock.now_us)
        self.history.append(operation)
        host = world.live[peer]
        over: list[None] = []

        def again() -> None:
            if not over:
                over.append(None)
                world.after(0.2 * rng.random(), lambda: self._next(client))

        def put(result: PutResult) -> None:
            if world.live.get(peer) is host and not over:  # what a node says while it is killed reaches nobody
                operation.ended_us, operation.version = world.clock.now_us, result.version
            again()

        def got(found: Record | None) -> None:
            if world.live.get(peer) is host and not over:
                operation.ended_us = world.clock.now_us
                if found is not None:
                    operation.value, operation.version = found.value, found.version
            again()

        def failed(failure: Failure) -> None:
            again()

        def ask() -> None:
            if is_put:
                host.node.put(self._keys[key], value).addCallbacks(put, failed)
            else:
                host.node.get(self._keys[key]).addCallbacks(got, failed)

        host.link.clock.callLater(0, ask)  # when it goes on, if it stands still
        world.after(30, again)  # whoever is dead, or stands still, does not answer


def kills(world: World, clients: Clients) -> None:
    """One node is killed, and another one, or the same again, comes."""
    peer = pick(world.rng, world.members())
    world.crash(peer)
    world.run(5 * world.rng.random())
    world.start(peer if world.rng.getrandbits(1) else None)
    world.run(25)


def pauses(world: World, clients: Clients) -> None:
    """One node stands still, for less time than it takes to be given up, or for longer."""
    link = world.live[pick(world.rng, world.members())].link
    link.pause()
    world.run(8 * world.rng.random())
    link.resume()
    world.run(10)


def partitions(world: World, clients: Clients) -> None:
    """A third of the ring is parted from the others for a while, and found again."""
    members = world.members()
    fault = Partition([pick_some(world.rng, members, len(members) // 3)])
    began_us = world.clock.now_us
    world.network.faults.install(fault)
    world.run(5 + 20 * world.rng.random())
    world.network.faults.remove(fault)
    clients.parted.append((began_us, world.clock.now_us + MERGED_WITHIN_S * 1_000_000))
    world.run(60)


FAULTS: dict[str, Callable[[World, Clients], None]] = {"kills": kills, "pauses": pauses, "partitions": partitions}


def recorded(seed: int, fault: Callable[[World, Clients], None], operations: int, nodes: int = 12) -> Clients:
    """Eight clients with ten keys, after so many operations."""
    world = World(seed, Parameters("simulation", successors=8, replication=4))
    try:
        world.grow(nodes)
        world.settle(120)
        clients = Clients(world, 8, 10)
        while len(clients.history) < operations:
            world.run(5)
            fault(world, clients)
        clients.stop()
        world.run(31)
        return clients
    finally:
        world.close()


def main() -> int:
    """Record and judge."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.histories", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", choices=[*FAULTS], default="kills")
    parser.add_argument("--operations", type=int, default=5000, help="of each seed")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    options = parser.parse_args()
    set_up()
    wrong: Counter[str] = Counter()
    count = ended = 0
    for seed in range(options.first, options.first + options.seeds):
        clients = recorded(seed, FAULTS[options.faults], options.operations)
        count += len(clients.history)
        ended += sum(operation.ended_us < NEVER_US for operation in clients.history)
        found = judged(clients.history, clients.parted)
        wrong += found
        if found:
            print(f"seed {seed}: {dict(found)}", flush=True)
    print(f"{options.faults}: {count:,} operations, {ended:,} of them answered; {dict(wrong) or 'nothing wrong'}")
    return 1 if any("parted" not in kind for kind in wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
