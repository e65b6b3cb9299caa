"""One process of nodes that `versus` measures: ``python -m benchmarks._herd SYSTEM FIRST COUNT OF COPIES JOINING``.

It does what each line of standard input says, a JSON object, and answers with one line each:

- ``{"do": "look"}``: processor seconds and memory so far, and what is wrong in its ring;
- ``{"do": "warm", "asking": A}``: the first A nodes learn what nodes know that have run for hours;
- ``{"do": "put" | "get", ...}``: an `Order`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from asyncio import CancelledError
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineOnlyReceiver

from benchmarks._systems import Nodes, nodes_of, rss_kib

VALUE_BYTES = 100
OPERATION_WITHIN_S = 30.0
"""What has not been answered by then has failed."""


def key_of(number: int) -> bytes:
    """Keys are numbered, so that nobody has to tell anybody what was put."""
    return sha256(b"key %d" % number).digest()


def value_of(number: int) -> bytes:
    """The value that belongs under it."""
    return (sha256(b"value %d" % number).digest() * 4)[:VALUE_BYTES]


@dataclass(frozen=True)
class Order:
    """So many puts, or so many gets of what was put, at the first nodes in turn, within a time."""

    do: str
    asking: int
    in_flight: int
    seconds: float
    first: int = 0
    step: int = 1
    """Puts take the numbers from `first` on by steps."""

    most: int = sys.maxsize
    numbers: list[int] = field(default_factory=list)
    """Gets take them from these: at random, or each once, with `each`."""

    each: bool = False

    def keys(self) -> Iterator[int]:
        """Choose the numbers of the keys, one after another."""
        if self.do == "put":
            yield from range(self.first, self.first + min(self.most, 1 << 32) * self.step, self.step)
        elif self.each:
            yield from self.numbers
        else:
            rng = random.Random(self.first)
            for _ in range(self.most):
                yield rng.choice(self.numbers)


class Work:
    """One order under way."""

    def __init__(self, nodes: Nodes, order: Order) -> None:
        self._nodes = nodes
        self._order = order
        self._under_way: dict[Deferred[Any], float] = {}
        self._latencies_s: list[float] = []
        self._bad: dict[str, list[int]] = {"missing": [], "wrong": [], "failed": []}

    async def done(self) -> dict[str, object]:
        """Do it, and say what became of it."""
        order = self._order
        ahead = enumerate(order.keys())
        late = LoopingCall(self._cancel_late)
        late.start(1.0)
        began_s = time.perf_counter()
        ends_s = began_s + order.seconds
        await gatherResults([Deferred.fromCoroutine(self._again(ahead, ends_s)) for _ in range(order.in_flight)])
        took_s = time.perf_counter() - began_s
        late.stop()
        return {"took_s": took_s, "latencies_s": [round(took, 5) for took in self._latencies_s], **self._bad}

    async def _again(self, ahead: Iterator[tuple[int, int]], ends_s: float) -> None:
        for turn, number in ahead:
            began_s = time.perf_counter()
            index = turn % self._order.asking
            asked: Deferred[Any] = (
                self._nodes.put(index, key_of(number), value_of(number))
                if self._order.do == "put"
                else self._nodes.get(index, key_of(number))
            )
            self._under_way[asked] = began_s
            answer: object
            try:
                answer = await asked
            except (Exception, CancelledError):  # whatever went wrong in whichever system
                answer = False
            del self._under_way[asked]
            now_s = time.perf_counter()
            self._latencies_s.append(now_s - began_s)
            if answer is not True and answer != value_of(number):
                name = "missing" if answer is None else "failed" if answer is False else "wrong"
                self._bad[name].append(number)
            if now_s >= ends_s:
                return

    def _cancel_late(self) -> None:
        since_s = time.perf_counter() - OPERATION_WITHIN_S
        for asked in [asked for asked, began_s in self._under_way.items() if began_s < since_s]:
            asked.cancel()


class Orders(LineOnlyReceiver):
    """Takes orders, and answers."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 25

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def lineReceived(self, line: bytes) -> None:
        Deferred.fromCoroutine(self._obey(json.loads(line))).addErrback(complain)

    async def _obey(self, said: dict[str, Any]) -> None:
        if said["do"] == "look":
            told: dict[str, object] = {"cpu_s": time.process_time(), "kib": rss_kib(), "wrong": self._nodes.wrong()}
        elif said["do"] == "warm":
            await self._nodes.warm(said["asking"])
            told = {}
        else:
            told = await Work(self._nodes, Order(**said)).done()
        self.tell(told)

    def tell(self, what: object) -> None:
        """Answer with one line; not by print, which gives up in the middle of what a pipe does not take at once."""
        self.sendLine(json.dumps(what).encode())

    def connectionLost(self, reason: object = None) -> None:
        os._exit(0)


def complain(failure: Any) -> None:
    """End, since something is wrong with the benchmark itself."""
    print(failure.getTraceback(), file=sys.stderr, flush=True)
    os._exit(1)


def main() -> None:
    """Start the nodes, then obey until standard input ends."""
    system, first, count, of, copies, joining = sys.argv[1], *map(int, sys.argv[2:])
    nodes = nodes_of(system, copies, joining)
    from twisted.internet import reactor

    running: Any = reactor

    async def run() -> None:
        before = {"kib": rss_kib(), "cpu_s": time.process_time()}
        await nodes.start(first, count, of)
        orders = Orders(nodes)
        StandardIO(orders)
        orders.tell(before)

    running.callWhenRunning(lambda: Deferred.fromCoroutine(run()).addErrback(complain))
    running.run()


if __name__ == "__main__":
    main()
