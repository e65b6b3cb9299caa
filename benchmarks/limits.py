"""This machine's own ceilings: how often small messages go there and back between two processes, with nothing behind.

``python -m benchmarks.limits [--seconds S] [--in-flight N] [--rounds R] [--frame-value-bytes B]`` prints one JSON
object per line, with the median over all rounds, in each of which they are measured in turn, and its ratio to ``echo``:

- ``echo``: 40 bytes over plain TCP, Twisted at both ends, as many under way as asked for;
- ``echo_one``: the same with one under way, which shows the wait for a wake-up instead;
- ``frames``: frames of the peer protocol with msgspec bodies, decoded and answered, a Deferred for each; answers bring
  a value of ``--frame-value-bytes``, or none;
- ``api``: GETs of the course API for a value that is there, through the real protocol at the server.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from benchmarks._forked import Forked
from chordtwist.core.records import PutResult, Record, RecordKind, Seal, Version
from chordtwist.net.api import ApiFactory
from chordtwist.node.interfaces import IDht
from chordtwist.wire.api_messages import Get, Success
from chordtwist.wire.frames import FrameReader, pack_frame
from chordtwist.wire.peer_messages import BODY_BYTES_MAX, Answer, Fetch, Found, NotFound, RecordBody, decode, encode

HOST = "127.0.0.1"
KEY = b"k" * 32
VALUE = b"v" * 100


class Counting(Protocol):
    """The asking side: keeps `in_flight` questions under way and counts the answers."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.count = 0

    def begin(self) -> None:
        """Ask the first questions."""
        raise NotImplementedError


class Echo(Protocol):
    """Sends back what it gets."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]


class CountingBytes(Counting):
    """Questions and answers of known lengths, one for one."""

    def __init__(self, in_flight: int, question: bytes, answer_bytes: int) -> None:
        super().__init__(in_flight)
        self._question = question
        self._answer_bytes = answer_bytes
        self._rest = 0

    def begin(self) -> None:
        self.transport.write(self._question * self.in_flight)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        answers, self._rest = divmod(self._rest + len(data), self._answer_bytes)
        if answers:
            self.count += answers
            self.transport.write(self._question * answers)  # type: ignore[union-attr]


class AnsweringFrames(Protocol):
    """Decodes every question, and answers it; the answers to what came together leave together."""

    value = b""

    def connectionMade(self) -> None:
        self._reader = FrameReader(BODY_BYTES_MAX)

    def dataReceived(self, data: bytes) -> None:
        answers = []
        self._reader.feed(data)
        for kind, request_id, body in self._reader.frames():
            decode(kind, body)
            value = self.value
            answer: Answer = Found(RecordBody(KEY, value, 1, 1, b"", 60_000, 3)) if value else NotFound()
            answers.append(pack_frame(answer.kind, request_id, encode(answer)))
        self.transport.write(b"".join(answers))  # type: ignore[union-attr]


class AskingFrames(Counting):
    """Encodes questions, decodes answers, and has a Deferred for each; questions made together leave together."""

    def __init__(self, in_flight: int) -> None:
        super().__init__(in_flight)
        self._reader = FrameReader(BODY_BYTES_MAX)
        self._waiting: dict[int, Deferred[object]] = {}
        self._asked = 0
        self._made: list[bytes] = []

    def begin(self) -> None:
        for _ in range(self.in_flight):
            self._ask()
        self._send()

    def dataReceived(self, data: bytes) -> None:
        self._reader.feed(data)
        for kind, request_id, body in self._reader.frames():
            self._waiting.pop(request_id).callback(decode(kind, body))
        self._send()

    def _ask(self) -> None:
        self._asked += 1
        self._made.append(pack_frame(Fetch.kind, self._asked, encode(Fetch(KEY, 0, True))))
        answered = self._waiting[self._asked] = Deferred[object]()
        answered.addCallback(self._answered)

    def _answered(self, answer: object) -> None:
        self.count += 1
        self._ask()

    def _send(self) -> None:
        self.transport.write(b"".join(self._made))  # type: ignore[union-attr]
        self._made.clear()


@implementer(IDht)
class OneValue:
    """A hash table with the same value under every key; what a door costs without a node behind it."""

    def __init__(self, value: bytes) -> None:
        self._record = Record(KEY, value, RecordKind.PLAIN, Version(1, b""), 1 << 60, 1)
        self._result = PutResult(1, 1, Version(1, b""), 60_000)

    def put(
        self,
        key: bytes,
        value: bytes,
        ttl_s: float | None = None,
        copies: int | None = None,
        seal: Seal | None = None,
    ) -> Deferred[PutResult]:
        return succeed(self._result)

    def get(self, key: bytes) -> Deferred[Record | None]:
        return succeed(self._record)

    def delete(self, key: bytes, seal: Seal | None = None) -> Deferred[PutResult]:
        return succeed(self._result)

    def status(self) -> dict[str, object]:
        return {}

    def leave(self) -> Deferred[None]:
        return succeed(None)


def main() -> None:
    """Measure one after another, print each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=1, help="for each measurement in one round (1)")
    options.add_argument("--in-flight", type=int, default=64, help="under way at a time (64)")
    options.add_argument("--rounds", type=int, default=3, help="of all measurements in turn (3)")
    options.add_argument("--port", type=int, default=17_401, help=f"the first of four ports on {HOST} (17401)")
    options.add_argument("--frame-value-bytes", type=int, default=0, help="of the value in each frame that answers (0)")
    given = options.parse_args()

    def serve(reactor: Any) -> None:
        AnsweringFrames.value = bytes(given.frame_value_bytes)
        api = ApiFactory(OneValue(VALUE), reactor, reactor.stop)
        echo, frames = Factory.forProtocol(Echo), Factory.forProtocol(AnsweringFrames)
        for offset, factory in enumerate((echo, frames, api)):
            reactor.listenTCP(given.port + offset, factory, 50, HOST)

    get, success = Get(KEY).pack(), Success(KEY, VALUE).pack()
    measured: list[tuple[str, int, int, Callable[[], Counting]]] = [
        ("echo", given.in_flight, 0, lambda: CountingBytes(given.in_flight, b"e" * 40, 40)),
        ("echo_one", 1, 0, lambda: CountingBytes(1, b"e" * 40, 40)),
        ("frames", given.in_flight, 1, lambda: AskingFrames(given.in_flight)),
        ("api", given.in_flight, 2, lambda: CountingBytes(given.in_flight, get, len(success))),
    ]

    async def measure(reactor: Any) -> None:
        rates: dict[str, list[float]] = {name: [] for name, *_ in measured}
        for name, _, offset, make in measured * given.rounds:
            asking: Counting = await connectProtocol(TCP4ClientEndpoint(reactor, HOST, given.port + offset), make())
            began = time.perf_counter()
            asking.begin()
            await deferLater(reactor, given.seconds)
            rates[name].append(asking.count / (time.perf_counter() - began))
            asking.transport.abortConnection()  # type: ignore[union-attr]
        for name, in_flight, *_ in measured:
            per_s = median(rates[name])
            ratio = round(per_s / median(rates["echo"]), 3)
            line = {"limit": name, "in_flight": in_flight, "per_s": round(per_s), "ratio": ratio}
            print(json.dumps(line), flush=True)

    with Forked(serve):
        from twisted.internet import reactor as installed

        reactor: Any = installed
        reactor.callWhenRunning(
            lambda: Deferred.fromCoroutine(measure(reactor)).addErrback(print).addBoth(lambda done: reactor.stop())
        )
        reactor.run()


if __name__ == "__main__":
    main()
