"""Puts and gets at the nodes of a testnet, so many a second; of each is judged whether what is read is what was put."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from chordtwist.core.quantile import quantile
from chordtwist.core.records import PutResult, Record
from chordtwist.node.interfaces import IDht

STEP_S = 0.05
KEYS = 1_000
"""So many keys are put again and again."""

LIFE_S = 600.0
GIVEN_UP_S = 15.0
"""Longer than any put or get takes: its node was killed, or frozen, meanwhile."""

LATENCIES_KEPT = 2_000
OPERATIONS_MAX = 1_000
"""Beyond it nothing is asked any more until answers come: a ring in trouble must not fill the process."""


class Load:
    """The load, from its begin to its end.

    @ivar per_second: how many operations are begun in a second: a third of them puts. @ivar puts, gets: how many are
    done. @ivar failed: puts that too few confirmed. @ivar wrong: gets of another value than the last that was
    confirmed, or of none.
    """

    def __init__(self, nodes: Callable[[], Sequence[IDht]], clock: IReactorTime, rng: Random) -> None:
        """@param nodes: those that may be asked now."""
        self._nodes = nodes
        self._clock = clock
        self._rng = rng
        self.per_second = 0.0
        self.puts = self.gets = self.failed = self.wrong = 0
        self.latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._written: dict[bytes, bytes] = {}
        """The value last confirmed under each key that is not being put just now."""
        self._putting: set[bytes] = set()
        self._under_way = 0
        self._number = 0
        self._debt = 0.0
        self._step = LoopingCall(self._advance)
        self._step.clock = clock

    def set(self, per_second: float) -> None:
        """Begin so many operations a second from now on; 0 ends it."""
        self.per_second = per_second
        if per_second > 0 and not self._step.running:
            self._step.start(STEP_S)
        elif per_second <= 0 and self._step.running:
            self._step.stop()

    @property
    def right_percent(self) -> float | None:
        """How many of the gets and puts went right; None before the first."""
        done = self.gets + self.puts
        return 100.0 * (done - self.wrong - self.failed) / done if done else None

    def median_ms(self) -> float | None:
        """How long an operation takes."""
        return quantile(self.latencies_s, 0.5) * 1000 if self.latencies_s else None

    def _advance(self) -> None:
        nodes = self._nodes()
        self._debt = min(self._debt + self.per_second * STEP_S, self.per_second)
        while self._debt >= 1 and nodes and self._under_way < OPERATIONS_MAX:
            self._debt -= 1
            node = nodes[int(self._rng.random() * len(nodes))]
            if not self._written or self._rng.random() < 1 / 3:
                self._put(node)
            else:
                self._get(node)

    def _put(self, node: IDht) -> None:
        key = self._key()
        if key in self._putting:
            return  # which of two came last is not for us to say
        self._number += 1
        value = b"value %d" % self._number
        self._putting.add(key)
        self._written.pop(key, None)
        began_s = self._clock.seconds()
        self._under_way += 1

        def done(result: PutResult | Failure) -> None:
            self._putting.remove(key)
            if self._is_over(result, began_s):
                self.puts += 1
                if isinstance(result, Failure):
                    self.failed += 1
                else:
                    self._written[key] = value

        node.put(key, value, LIFE_S).addTimeout(GIVEN_UP_S, self._clock).addBoth(done)

    def _get(self, node: IDht) -> None:
        chosen = self._key()
        while chosen not in self._written:
            chosen = self._key() if len(self._written) > KEYS // 10 else next(iter(self._written))
        expected = self._written[chosen]
        began_s = self._clock.seconds()
        self._under_way += 1

        def done(result: Record | Failure | None) -> None:
            if self._is_over(result, began_s):
                self.gets += 1
                value = result.value if isinstance(result, Record) else None
                # What was put again meanwhile may be read either way.
                self.wrong += self._written.get(chosen) == expected != value

        found: Deferred[Record | None] = node.get(chosen)
        found.addTimeout(GIVEN_UP_S, self._clock).addBoth(done)

    def _key(self) -> bytes:
        return sha256(b"load %d" % int(self._rng.random() * KEYS)).digest()

    def _is_over(self, result: object, began_s: float) -> bool:
        """Note the end of an operation; whether it counts: not when its node was killed or frozen meanwhile."""
        self._under_way -= 1
        if isinstance(result, Failure) and result.check(TimeoutError):
            return False
        self.latencies_s.append(self._clock.seconds() - began_s)
        return True
