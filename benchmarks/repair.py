"""What repair costs, in a simulated ring of the very same nodes: bytes of a quiet round, and for one replaced node.

``python -m benchmarks.repair [--nodes N] [--replication R] [--records K] [--value-bytes B] [--seed S]`` prints one JSON
object per line:

- ``quiet``: bytes that one replica costs its owner per round with nothing to repair, and per node and second;
- ``replaced``: one node crashes and another one starts at a new address; `ratio` is repair traffic beyond that of quiet
  rounds over the bytes of the records that had to move (Carbonite, NSDI 2006: 1.44 times an oracle).
"""

from __future__ import annotations

import argparse
import json
import time
from hashlib import sha256
from random import Random

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.records import KEY_BYTES, Record, position_of
from chordtwist.core.ring import distance
from chordtwist.simulation.world import World
from chordtwist.wire.peer_messages import Digest, StoredAll

REPAIR_KINDS = range(Digest.kind, StoredAll.kind + 1)

QUIET_S = 300.0
NOTICED_S = 30.0
MINUTES_MAX = 15


class Versioned:
    """A settled ring with records in it."""

    def __init__(self, nodes: int, replication: int, records: int, value_bytes: int, seed: int) -> None:
        self.value_bytes = value_bytes
        self.replication = replication
        self.world = World(seed, Parameters(network="simulation", successors=16, replication=replication))
        self.world.grow(nodes)
        self.world.settle(120)
        self.keys = [sha256(b"%d" % number).digest() for number in range(records)]
        rng = Random(seed)
        for number, key in enumerate(self.keys):
            self.world.node(rng.choice(self.world.members())).put(key, rng.randbytes(value_bytes), 80_000)
            if number % 100 == 99:
                self.world.run(0.5)
        self.world.run(150)

    def replicas(self, key: bytes) -> set[Peer]:
        """Who should keep it."""
        position = position_of(key)
        members = sorted(self.world.members(), key=lambda peer: distance(position, peer.id))
        return set(members[: self.replication])

    def holders(self, key: bytes) -> set[Peer]:
        """Who keeps it."""
        return {peer for peer, host in self.world.live.items() if isinstance(host.store.get(key), Record)}

    def misplaced(self) -> int:
        """Of how many records the copies do not lie exactly where they belong."""
        return sum(self.replicas(key) != self.holders(key) for key in self.keys)

    def repair_bytes(self) -> int:
        """Plaintext bytes that repair has written up to now, all nodes together."""
        return sum(self.world.network.bytes_by_kind[kind] for kind in REPAIR_KINDS)

    def quiet(self) -> dict[str, float | str]:
        """Watch it do nothing."""
        began, rounds = self.repair_bytes(), self._rounds()
        self.world.run(QUIET_S)
        spent = self.repair_bytes() - began
        members = len(self.world.members())
        neighbours = (self._rounds() - rounds) * min(self.replication - 1, members - 1)
        return {
            "bench": "quiet",
            "nodes": members,
            "bytes_per_neighbour": round(spent / max(1, neighbours), 1),
            "bytes_per_node_s": round(spent / members / QUIET_S, 2),
        }

    def replaced(self) -> dict[str, float | str]:
        """Replace one node, and wait until every copy lies where it belongs."""
        world = self.world
        quiet_began = self.repair_bytes()
        world.run(QUIET_S)
        quiet_per_s = (self.repair_bytes() - quiet_began) / QUIET_S
        began, began_s = self.repair_bytes(), world.now_s
        at_first = {key: self.replicas(key) for key in self.keys}
        world.crash(Random(world.seed).choice(world.members()))
        world.run(NOTICED_S)
        between = {key: self.replicas(key) for key in self.keys}
        world.start()
        world.run(NOTICED_S)
        at_last = {key: self.replicas(key) for key in self.keys}
        missing = sum(len(at_last[key] - self.holders(key)) for key in self.keys)
        for _ in range(MINUTES_MAX):
            if not self.misplaced():
                break
            world.run(60)
        spent = self.repair_bytes() - began - quiet_per_s * (world.now_s - began_s)
        moved = sum(len(between[key] - at_first[key]) + len(at_last[key] - between[key]) for key in self.keys)
        moved_bytes = moved * (KEY_BYTES + self.value_bytes)
        return {
            "bench": "replaced",
            "nodes": len(world.members()),
            "copies_moved": moved,
            "moved_bytes": moved_bytes,
            "repair_bytes": round(spent),
            "ratio": round(spent / max(1, moved_bytes), 3),
            "missing_after_30_s": missing,
            "misplaced_at_last": self.misplaced(),
        }

    def _rounds(self) -> int:
        return sum(host.node.records.repair.rounds for host in self.world.live.values())


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.repair", description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--replication", type=int, default=4)
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--value-bytes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began_s = time.monotonic()
    versioned = Versioned(options.nodes, options.replication, options.records, options.value_bytes, options.seed)
    print(json.dumps(versioned.quiet()), flush=True)
    print(json.dumps({**versioned.replaced(), "wall_s": round(time.monotonic() - began_s, 1)}), flush=True)
    versioned.world.close()


if __name__ == "__main__":
    main()
