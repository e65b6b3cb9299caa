"""Measure what each question costs a node at most: all of its processor time, and the longest slice of it.

``python -m tools.prices --records 30000`` asks one node of a ring of five, in one process without sockets, every
question there is, each with the arguments that make it dearest (`tests.flooding.dearest_questions`), and prints one
JSON object a question. What an answer costs to be written is not in it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from chordtwist.core.costs import Costs, Payer
from chordtwist.core.peer import Identity
from chordtwist.core.records import Record, RecordKind, Version
from chordtwist.core.signed import verify_ed25519
from chordtwist.node.node import Node
from chordtwist.simulation.signer import verify_simulated
from chordtwist.simulation.world import World
from tests.fleet import value_of
from tests.flooding import LARGE_VALUES, dearest_questions, filled_key

TIMES = 5


class Slices(Costs):
    """Accounts that remember each piece of work that one address paid for."""

    def __init__(self) -> None:
        super().__init__(time.thread_time, lambda: 0.0)
        self.slices: list[float] = []

    def charge(self, payer: Payer | None, spent_s: float) -> None:
        self.slices.append(spent_s)


def verify(public: bytes, signature: bytes, body: bytes) -> bool:
    """Verify what simulated nodes sign at no cost, and anything else as a real node does."""
    return verify_simulated(public, signature, body) or verify_ed25519(public, signature, body)


def measured(records: int, times: int = TIMES) -> None:
    """Print a line for each question."""
    costs = Slices()

    def build(*parts: Any) -> Node:
        me, identity, parameters, link, store, environment, options = parts
        metered = replace(environment, costs=costs, verify=verify)
        return Node(me, identity, parameters, link, store, metered, options)

    world = World(1, build=build)
    world.grow(5)
    world.settle(60)
    asker, asked = list(world.live.values())[:2]
    local_records = asked.node.records.local_records
    for number in range(records):
        value = value_of(number, 60_000 if number < LARGE_VALUES else 100)
        version = Version(1, asker.peer.packed)
        record = Record(filled_key(number), value, RecordKind.PLAIN, version, local_records.now_ms() + 3_600_000, 4)
        local_records.take(record, None, None)
    payer = costs.payer_of(asker.peer.host, is_proved=True, is_upkeep=False)
    members = asked.node.routing.everybody()
    # An identity of its own: what a stranger names is nothing that the node has read before.
    strange = Identity(world.identity.network, world.identity.policy)
    for name, question in dearest_questions(strange, asker.peer, bytes(32), members).items():
        totals, longest = [], []
        for _ in range(times):
            costs.slices.clear()
            kind = question()
            answer: Any = None
            try:
                answer = costs.charged(payer, asked.node.answer, asker.peer, kind)
            except Exception as error:
                answer = error
            if isinstance(answer, Deferred):
                answered: list[object] = []
                answer.addBoth(answered.append)
                for _ in range(2000):
                    if answered:
                        break
                    world.run(0.005)
                answer = answered[0] if answered else None
            totals.append(sum(costs.slices))
            longest.append(max(costs.slices))
        print(
            json.dumps(
                {
                    "name": name,
                    "question": type(kind).__name__,
                    "records": records,
                    "ms": round(max(totals) * 1000, 2),
                    "ms_median": round(sorted(totals)[times // 2] * 1000, 2),
                    "slice_ms": round(max(longest) * 1000, 2),
                    "slice_ms_median": round(sorted(longest)[times // 2] * 1000, 2),
                    "answer": str(getattr(answer, "value", None) or type(answer).__name__)[:60],
                }
            ),
            flush=True,
        )
    world.close()


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tools.prices", description=__doc__)
    parser.add_argument("--records", type=int, default=30_000)
    measured(parser.parse_args().records)


if __name__ == "__main__":
    main()
