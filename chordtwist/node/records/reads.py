"""Reading a record from its replicas: `core.reading` decides, here questions are put and time passes."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.reading import NOTHING_KEPT, Ask, Reading, Said
from chordtwist.core.records import Record, RecordKind, is_right, position_of, precedence, precedence_of
from chordtwist.core.ring import RingId
from chordtwist.core.routes import Routes
from chordtwist.core.signed import verify_ed25519
from chordtwist.core.versions import VersionClock
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.record_bodies import body_of, versioned_from, without_ttl
from chordtwist.wire.peer_messages import Answer, Fetch, Found, NotFound, NotMine, Store

HEDGE_AFTER_S = 0.25
"""After so long without enough answers the next replica is asked as well: a slow one, or one that died a moment ago and
is not known to be dead, holds nothing up (Dean and Barroso, "The Tail at Scale": a hedge beyond the usual latency)."""

HEDGES_MAX = 20
"""5 s in all: longer than a death takes to be noticed, no longer than a person waits. Clients of the course API have no
limit of their own."""

SLOW_FOR_S = 5.0
"""Whoever kept a read waiting for a beat has the next replica asked along with it for so long: a peer that is silent on
purpose costs its readers one beat, not one with each read."""

SLOW_REMEMBERED = 256

REPAIRS_REMEMBERED = 1_024
REPAIR_AGAIN_S = 10.0
"""A replica that was just sent what it lacked is not sent it again by every read of a hot key."""


class Reader:
    """Reads records for one node; repairs what it finds behind."""

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        versions: VersionClock,
        clock: IReactorTime,
        ask: Callable[[Peer, Fetch | Store], Answer | Deferred[Answer]],
        copies: int,
        ttl_ms_max: int,
    ) -> None:
        """@param ask: asks a peer, or this node itself, which answers without a Deferred."""
        self.ring = ring
        self.local_records = local_records
        self.routes = Routes()
        self.clock = clock
        self.copies = copies
        self.ask = ask
        self._versions = versions
        self._ttl_ms_max = ttl_ms_max
        self._repaired: dict[tuple[bytes, bytes], float] = {}
        self._slow: dict[Peer, float] = {}
        self.open: dict[_Read, None] = {}
        """Reads under way that have a timer."""

    def read(self, key: bytes) -> Deferred[Record | None]:
        """The live record under `key` as a majority of its replicas has it; None when there is none, or when none could
        be had in `HEDGES_MAX` hedges. Never fails.
        """
        return _Read(self, key).begin()

    def stop(self) -> None:
        """End what is under way: with None."""
        for read in list(self.open):
            read.finish(None)

    def route(self, position: RingId, copies: int) -> Route | None:
        """Who keeps a position, if that is known without asking anybody, with so many replicas as far as there are.

        Where our own list of successors ends it names the owner, and too few of those behind it.
        """
        route = self.ring.known_route(position)
        if route is not None and len(route.replicas) >= min(copies, len(self.ring.successors) + 1):
            return route
        return self.routes.known(position, self.clock.seconds())

    def find(self, position: RingId) -> Deferred[Route]:
        """Who keeps a position, searched for afresh."""

        def found(route: Route) -> Route:
            self.routes.learn(route, self.clock.seconds())
            return route

        return self.ring.find(position).addCallback(found)

    def judged(self, key: bytes, answer: Found | NotFound, value: bool) -> Said | None:
        """What a replica's answer is worth; None when it cannot be true."""
        body = answer.record if isinstance(answer, Found) else answer.tombstone
        if body is None:
            return NOTHING_KEPT
        is_live = isinstance(answer, Found)
        if body.key != key or bool(body.ttl_ms) != is_live:
            return None
        try:
            # Without its value a record is judged by what its tombstone would have to prove.
            whole = body if value or not is_live else without_ttl(body)
            versioned = versioned_from(whole, self.local_records.now_ms(), self._ttl_ms_max)
            kind = RecordKind(body.record_kind)
        except (Malformed, ValueError):
            return None
        if not is_right(versioned, verify_ed25519):
            return None
        # What storers took is read, also by a node whose time is far behind; its clock follows within limits only.
        self._versions.see(versioned.version, self.ring.neighbours_time_ms(), key)
        if isinstance(versioned, Record):
            return Said(precedence(versioned), versioned)
        if not is_live:
            return Said(precedence(versioned), ended=True)
        return Said(precedence_of(kind, versioned.version, versioned.seal, versioned.digest))

    def kept_waiting_by(self, peer: Peer) -> None:
        """It did not answer within a beat."""
        self._slow.pop(peer, None)
        self._slow[peer] = self.clock.seconds()
        if len(self._slow) > SLOW_REMEMBERED:
            del self._slow[next(iter(self._slow))]

    def is_slow(self, peer: Peer) -> bool:
        """Whether it kept a read waiting a moment ago."""
        return bool(self._slow) and self.clock.seconds() - self._slow.get(peer, -SLOW_FOR_S) < SLOW_FOR_S

    def repair(self, record: Record, behind: list[tuple[int, Peer]]) -> None:
        """Send the newest to those that have an older one or none."""
        now_s = self.clock.seconds()
        if record.expiry_ms <= self.local_records.now_ms():
            return  # it has ended while it was read
        for rank, peer in behind:
            if rank >= record.copies:
                continue
            which = (record.key, peer.packed)
            if now_s - self._repaired.get(which, -REPAIR_AGAIN_S) < REPAIR_AGAIN_S:
                continue
            if len(self._repaired) >= REPAIRS_REMEMBERED:
                self._repaired.clear()
            self._repaired[which] = now_s
            sent = self.ask(peer, Store(body_of(record, self.local_records.now_ms()), rank))
            if isinstance(sent, Deferred):
                sent.addErrback(lambda failure: None)  # the owner's next round repairs it then


class _Read:
    """One read under way."""

    _log = Logger()

    __slots__ = (
        "_fresh",
        "_hedges",
        "_key",
        "_position",
        "_reader",
        "_reading",
        "_result",
        "_route",
        "_searching",
        "_timer",
    )

    def __init__(self, reader: Reader, key: bytes) -> None:
        self._reader = reader
        self._key = key
        self._position = position_of(key)
        self._route: Route | None = None
        self._reading: Reading | None = None
        self._fresh = False
        self._searching = False
        self._hedges = 0
        self._timer: IDelayedCall | None = None
        self._result: Deferred[Record | None] | None = None
        """None again when it has fired."""

    def begin(self) -> Deferred[Record | None]:
        result: Deferred[Record | None] = Deferred(lambda _: self._stop())
        self._result = result
        route = self._reader.route(self._position, self._reader.copies)
        if route is None:
            self._search()
        else:
            self._follow(route)
        if self._result is not None:
            self._timer = self._reader.clock.callLater(HEDGE_AFTER_S, self._hedge)
            self._reader.open[self] = None
        return result

    def _follow(self, route: Route) -> None:
        self._route = route
        if self._reading is None:
            self._reading = Reading(route.replicas, self._reader.copies, self._reader.ring.me)
            asks = self._reading.begin()
            slow = sum(self._reader.is_slow(ask.peer) for ask in asks)
            self._put(self._reading, asks)
            for _ in range(slow):
                self._put(self._reading, self._reading.hedge())
        else:
            self._put(self._reading, self._reading.renew(route.replicas))

    def _put(self, reading: Reading, asks: list[Ask]) -> None:
        for ask in asks:
            if reading.done:
                return
            answer = self._reader.ask(ask.peer, Fetch(self._key, ask.rank, ask.value))
            if isinstance(answer, Deferred):
                answer.addCallbacks(self._answered, self._silent, callbackArgs=(ask,), errbackArgs=(ask,))
            else:
                self._answered(answer, ask)
        if reading.done and not asks and self._result is not None:
            self._judge(reading)

    def _answered(self, answer: Answer, ask: Ask) -> None:
        reading = self._reading
        if self._result is None or reading is None or reading.done:
            return
        if isinstance(answer, (Found, NotFound)):
            said = self._reader.judged(self._key, answer, ask.value)
            asks = reading.out(ask) if said is None else reading.said(ask, said)
        elif isinstance(answer, NotMine):
            asks = self._redirected(reading, ask, answer)
        else:
            asks = reading.out(ask)
        self._put(reading, asks)

    def _silent(self, failure: Failure, ask: Ask) -> None:
        reading = self._reading
        if self._result is not None and reading is not None and not reading.done:
            self._put(reading, reading.out(ask))

    def _redirected(self, reading: Reading, ask: Ask, answer: NotMine) -> list[Ask]:
        if self._route is not None:
            self._reader.routes.forget(self._route)
        try:
            predecessor = self._reader.ring.identity.unpack(answer.predecessor)
        except ValueError:
            return reading.out(ask)
        return reading.not_mine(ask, predecessor)

    def _judge(self, reading: Reading) -> None:
        """The answers are enough, or nobody is left to be asked."""
        record = reading.record
        if record is not None:
            behind = reading.behind
            if behind:
                self._reader.repair(record, behind)
            self.finish(record)
        elif reading.ended or (self._fresh and reading.certain):
            self.finish(None)
        elif not self._fresh:
            self._search()
        # Else they were silent, and the ring may not have noticed yet: a later beat searches again.

    def _search(self) -> None:
        self._fresh = self._searching = True
        self._reader.find(self._position).addCallbacks(self._found, self._lost)

    def _found(self, route: Route) -> None:
        self._searching = False
        if self._result is not None:
            self._follow(route)

    def _lost(self, failure: Failure) -> None:
        """Nobody can be asked for the way: a later beat tries again."""
        self._searching = False
        if not failure.check(Unreachable):
            self._log.failure("a search failed", failure)

    def _hedge(self) -> None:
        self._hedges += 1
        reading = self._reading
        if self._hedges >= HEDGES_MAX:
            self.finish(self._at_last(reading))
            return
        self._timer = self._reader.clock.callLater(HEDGE_AFTER_S, self._hedge)
        if reading is not None and not reading.done:
            for peer in reading.awaited:
                self._reader.kept_waiting_by(peer)
            self._put(reading, reading.hedge())
        elif not self._searching:
            self._search()

    def _at_last(self, reading: Reading | None) -> Record | None:
        """The best that is known when time is up: what a replica has sent, or what lies here."""
        if reading is not None and (reading.record is not None or reading.ended):
            return reading.record
        versioned = self._reader.local_records.get(self._key)
        return versioned if isinstance(versioned, Record) else None

    def finish(self, record: Record | None) -> None:
        """This is the outcome, if there was none before."""
        result = self._result
        self._stop()
        if result is not None:
            result.callback(record)

    def _stop(self) -> None:
        self._result = None
        timer, self._timer = self._timer, None
        if timer is not None:
            del self._reader.open[self]
            if timer.active():
                timer.cancel()
