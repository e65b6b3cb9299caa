"""Reading a record from its replicas: `core.reading` decides, here questions are put and time passes."""

from __future__ import annotations

from enum import Enum, auto

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.bounded import Bounded
from chordtwist.core.claims import Claim
from chordtwist.core.errors import IN_NO_RING, STOPPED, TOO_FEW, Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.reading import AS_PUBLISHER, Ask, Reading
from chordtwist.core.records import Record, position_of
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.incoming import Incoming, forgotten_by
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.record_bodies import body_of
from chordtwist.wire.peer_messages import Answer, Fetch, Found, NotFound, NotMine, Store

HEDGE_AFTER_S = 0.25
"""After so long without enough answers the next replica is asked as well: a slow one, or one that died a moment ago and
is not known to be dead, holds nothing up (Dean and Barroso, "The Tail at Scale": a hedge beyond the usual latency)."""

HEDGES_MAX = 20
"""5 s in all: longer than a death takes to be noticed, no longer than a person waits. Clients of the course API have no
limit of their own."""

GUESS_HEDGES = 2
"""A quick search that takes longer asks somebody who is silent: one that hears others as well begins beside it."""

UNVERIFIED_HEDGES_MAX = 80
"""20 s while nothing is lacking but the verdict on whether the right ones were asked: a search meets peers that died a
moment ago one behind another, and to say meanwhile that there is nothing would be wrong."""

SLOW_FOR_S = 5.0
"""Whoever kept a read waiting until it was hedged has the next replica asked along with it for so long: a peer that is
silent on purpose delays its readers once, not with each read."""

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
        locating: Locating,
        incoming: Incoming,
        clock: IReactorTime,
        copies: int,
    ) -> None:
        self.ring = ring
        self.local_records = local_records
        self.locating = locating
        self.incoming = incoming
        self.clock = clock
        self.copies = copies
        self._repaired: Bounded[tuple[bytes, bytes], float] = Bounded(REPAIRS_REMEMBERED)
        self._slow: Bounded[Peer, float] = Bounded(SLOW_REMEMBERED)
        self.open: dict[_Read, None] = {}
        """Reads under way that have a timer."""

    def read(self, key: bytes) -> Deferred[Record | None]:
        """Find the live record under `key` as a majority of its replicas has it; None when there is none. Fails with
        `Unreachable` when nobody could tell in `HEDGES_MAX` hedges, or `UNVERIFIED_HEDGES_MAX`.
        """
        return _Read(self, key).begin()

    def judge(self, key: bytes) -> Deferred[Claim | None]:
        """Read a plain record for what is believed to stand there, also its end; None of nothing, and when nobody could
        tell, or it was cancelled. Never fails.
        """
        read = _Read(self, key)
        return read.begin().addCallbacks(
            lambda _: read.claim,
            lambda failure: read.claim if failure.trap(Unreachable, CancelledError) is Unreachable else None,
        )

    def stop(self) -> None:
        """End what is under way: it fails."""
        for read in list(self.open):
            read.fail(STOPPED)

    def kept_waiting_by(self, peer: Peer) -> None:
        """Remember a peer that did not answer until the read was hedged."""
        self._slow[peer] = self.clock.seconds()

    def is_slow(self, peer: Peer) -> bool:
        """Whether it kept a read waiting a moment ago."""
        return bool(self._slow) and self.clock.seconds() - self._slow.get(peer, -SLOW_FOR_S) < SLOW_FOR_S

    def repair(self, record: Record, behind: list[tuple[int, Peer]]) -> None:
        """Send the newest to those that have an older one or none."""
        now_s = self.clock.seconds()
        if record.expiry_ms <= self.local_records.now_ms():
            return  # it has ended while it was read
        for rank, peer in behind:
            which = (record.key, peer.packed)
            if rank >= record.copies or now_s - self._repaired.get(which, -REPAIR_AGAIN_S) < REPAIR_AGAIN_S:
                continue
            self._repaired[which] = now_s
            store = Store(body_of(record, self.local_records.now_ms()), rank)
            self.ring.ask(peer, store).addErrback(lambda failure: None)  # the owner's next round repairs it then


class _Stage(Enum):
    """What a read is at."""

    SEARCHING = auto()
    """The way to the replicas is searched for."""

    ASKING = auto()
    """Questions are out."""

    SILENT = auto()
    """Nobody is left to be asked, and the ring may not have noticed yet: the next hedge searches again."""

    OVER = auto()


class _Read:
    """One read under way."""

    _log = Logger()

    def __init__(self, reader: Reader, key: bytes) -> None:
        self._reader = reader
        self._key = key
        self._position = position_of(key)
        self._stage = _Stage.SEARCHING
        self._route: Route | None = None
        self._reading: Reading | None = None
        self._has_searched = False
        """Whether its replicas were searched for, since what was known of them may have been stale."""
        self._is_guess = False
        """Whether they are those of a quick search: enough for a record that proves itself."""
        self._is_verifying = False
        self._hedges = 0
        self._timer: IDelayedCall | None = None
        self._result: Deferred[Record | None] = Deferred(lambda _: self._stop())

    def begin(self) -> Deferred[Record | None]:
        """Ask the replicas, or search for them first."""
        route = self._reader.locating.known(self._position, self._reader.copies)
        if route is None:
            self._reader.locating.guess(self._position).addCallbacks(self._guessed, self._lost)
        else:
            self._follow(route)
        if self._stage is not _Stage.OVER:
            self._timer = self._reader.clock.callLater(HEDGE_AFTER_S, self._hedge)
            self._reader.open[self] = None
        return self._result

    @property
    def claim(self) -> Claim | None:
        """What it has come to believe of a plain record."""
        return None if self._reading is None else self._reading.believed_claim

    def _guessed(self, route: Route) -> None:
        if self._stage is _Stage.SEARCHING:
            self._is_guess = True
            self._follow(route)

    def _follow(self, route: Route) -> None:
        self._route = route
        self._stage = _Stage.ASKING
        if self._reading is None or not self._reading.is_of(route):
            reader = self._reader
            reading = self._reading = Reading(route, reader.copies, reader.ring.me, reader.incoming.publisher_of)
            asks = reading.begin()
            slow = sum(self._reader.is_slow(ask.peer) for ask in asks)
            self._put(reading, asks)
            for _ in range(slow):
                self._put(reading, reading.hedge())
        else:
            self._put(self._reading, self._reading.renew(route))

    def _put(self, reading: Reading, asks: list[Ask]) -> None:
        for ask in asks:
            if reading.done:
                break
            answer = self._reader.ring.ask(ask.peer, Fetch(self._key, ask.rank, ask.value))
            answer.addCallbacks(
                self._answered, self._unanswered, callbackArgs=(ask, reading), errbackArgs=(ask, reading)
            )
        if reading.done and self._stage is _Stage.ASKING:
            self._judge(reading)

    def _answered(self, answer: Answer, ask: Ask, reading: Reading) -> None:
        if reading is not self._reading or self._stage is not _Stage.ASKING:
            return
        if self._reader.incoming.is_stale():
            self._begin_again()
            return
        if isinstance(answer, (Found, NotFound)):
            said = self._reader.incoming.said(self._key, answer, ask.value)
            asks = reading.out(ask) if said is None else reading.said(ask, said)
        elif isinstance(answer, NotMine):
            asks = self._disowned(reading, ask)
        elif ask.rank == AS_PUBLISHER and (forgotten := forgotten_by(answer)) is not None:
            asks = reading.forgotten(ask, forgotten)
        else:
            asks = reading.out(ask)
        if self._is_guess and not reading.proves_itself:
            self._verify()
        self._put(reading, asks)

    def _begin_again(self) -> None:
        """Forget what was said: what arrives now may have waited for long, and those who told it are not silent. The
        next hedge searches again.
        """
        self._reading, self._is_guess, self._stage = None, False, _Stage.SILENT

    def _unanswered(self, failure: Failure, ask: Ask, reading: Reading) -> None:
        if reading is self._reading and self._stage is _Stage.ASKING:
            self._put(reading, reading.out(ask))

    def _disowned(self, reading: Reading, ask: Ask) -> list[Ask]:
        """Go on though one says that it is no replica. Only whoever is taken for the owner can know of newcomers before
        it: whether there are any a search finds out, and not who is named; meanwhile it is asked as one behind them.
        """
        if ask.rank:
            return reading.out(ask)
        if not self._has_searched:
            self._is_guess = True
            if self._route is not None:
                self._reader.locating.stale(self._route)
        return [replace(ask, rank=1)]

    def _judge(self, reading: Reading) -> None:
        """Decide what follows, since the answers are enough, or nobody is left to be asked."""
        if self._is_guess and not reading.proves_itself:
            self._verify()
            return
        record = reading.record
        has_answer = record is not None or reading.ended
        if not self._has_searched and not (has_answer and reading.believed):
            # Those that were asked may be the replicas of a while ago: so nothing is said on the word of few.
            self._search()
        elif has_answer or reading.certain:
            if record is not None and reading.believed:
                self._reader.repair(record, reading.behind)
            self.finish(record)
        else:
            self._stage = _Stage.SILENT

    def _verify(self) -> None:
        """Find out, beside a guess, who the right replicas are."""
        if not self._is_verifying:
            self._is_verifying = self._has_searched = True
            self._reader.locating.find(self._position).addCallbacks(self._verified, self._lost)

    def _verified(self, route: Route) -> None:
        reading = self._reading
        if self._stage is not _Stage.ASKING or reading is None:
            self._found(route)
            return
        self._is_guess = False
        if not reading.is_of(route):
            self._follow(route)
        elif reading.done:
            self._judge(reading)

    def _search(self) -> None:
        self._stage = _Stage.SEARCHING
        self._has_searched = True
        self._reader.locating.find(self._position).addCallbacks(self._found, self._lost)

    def _found(self, route: Route) -> None:
        if self._stage in (_Stage.SEARCHING, _Stage.SILENT):
            self._follow(route)

    def _lost(self, failure: Failure) -> None:
        if self._stage is _Stage.SEARCHING:
            self._stage = _Stage.SILENT
        elif self._is_guess:  # it cannot be verified now; the next hedge searches again
            self._begin_again()
        if not failure.check(Unreachable):
            self._log.failure("a search failed", failure)

    def _hedge(self) -> None:
        self._hedges += 1
        if self._hedges >= (UNVERIFIED_HEDGES_MAX if self._lacks_verdict else HEDGES_MAX):
            self._end_late()
            return
        self._timer = self._reader.clock.callLater(HEDGE_AFTER_S, self._hedge)
        reading = self._reading
        if self._stage is _Stage.SILENT:
            self._search()
        elif self._stage is _Stage.SEARCHING and self._hedges >= GUESS_HEDGES and not self._has_searched:
            self._verify()
        elif self._stage is _Stage.ASKING and reading is not None:
            for peer in reading.awaited:
                self._reader.kept_waiting_by(peer)
            self._put(reading, reading.hedge())

    @property
    def _lacks_verdict(self) -> bool:
        """Whether a majority has spoken, and a search is under way for whether it is of the right replicas."""
        return self._is_guess and self._is_verifying and self._reading is not None and self._reading.certain

    def _end_late(self) -> None:
        """End it with the best that is known when time is up: what a replica has sent, or what lies here. Where that is
        nothing, nobody knows whether there is something.
        """
        reading = self._reading
        is_sure = reading is not None and (reading.proves_itself or reading.has_publishers_word)
        if reading is not None and (is_sure or not self._is_guess):
            reading.give_up()
            if reading.record is not None or reading.ended:
                self.finish(reading.record)
                return
        versioned = self._reader.local_records.get(self._key)
        if versioned is None:
            self.fail(TOO_FEW if self._reader.ring.is_member else IN_NO_RING)
        else:
            self.finish(versioned if isinstance(versioned, Record) else None)

    def finish(self, record: Record | None) -> None:
        """End it with this outcome, if it had none before."""
        if self._stage is not _Stage.OVER:
            self._stop()
            self._result.callback(record)

    def fail(self, reason: str) -> None:
        """End it without an outcome, if it had none before."""
        if self._stage is not _Stage.OVER:
            self._stop()
            self._result.errback(Unreachable(None, reason))

    def _stop(self) -> None:
        self._stage = _Stage.OVER
        timer, self._timer = self._timer, None
        if timer is not None:
            del self._reader.open[self]
            if timer.active():
                timer.cancel()
