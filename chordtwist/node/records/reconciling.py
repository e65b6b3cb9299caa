"""Bringing one arc into step with one peer: what differs is found by comparing, what is missing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.bounded import Bounded
from chordtwist.core.digests import is_listed, short_mark, split_arc
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.records import Entry, Version, Versioned, position_of
from chordtwist.core.ring import RING_SIZE, Arc, distance, position_bytes, position_from_bytes
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.hearsay import Doubts
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.record_bodies import HEAD_BYTES, TOO_MANY, batches, summary_body, summary_from
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import (
    BATCH_RECORDS_MAX,
    MARKS_MAX,
    Digest,
    HandedOver,
    HandOver,
    HaveList,
    InStep,
    Missing,
    Parts,
    Question,
    StoreAll,
    StoredAll,
)

T = TypeVar("T")

NOWHERE = position_bytes(0)

PROGRESS_S = 15.0
PROGRESS_BYTES = 64 << 10
"""A peer that does not bring us on by so much in so long is given up: a link of 35 kbit/s is as slow."""

MOVED_MAX = 1_024

ANSWER_BYTES = 8 << 10
"""What an answer counts for besides the records it moves: in step or not, some of the arc has been compared."""


class Reconciling:
    """Compares for one node."""

    _log = Logger()

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        doubts: Doubts,
        clock: IReactorTime,
        pauses: Pauses,
    ) -> None:
        self._ring = ring
        self._clock = clock
        self._local_records = local_records
        self._doubts = doubts
        self._moved: Bounded[Peer, int] = Bounded(MOVED_MAX)
        """Bytes that answers and records of each peer were worth."""
        self._pauses = pauses
        self.sent = self.fetched = 0
        """Records sent to others, fetched from others."""
        self.not_taken = 0
        """Records that a peer refused to keep."""
        self.refused = 0
        """What was handed over and not taken, lies or what a slow clock takes for the future: it is missing here."""

    def reconcile(
        self, peer: Peer, arc: Arc, copies_above: int, as_owner: bool = False, both: bool = True
    ) -> Deferred[None]:
        """Make both keep the same records of `arc` with more than `copies_above` copies: send what is missing there
        and, where `both`, fetch what is missing here.

        Fails with a `ChordtwistError` when the peer stops answering, or refuses, or brings us on too slowly, or when
        there is no room here.
        """
        work = Deferred.fromCoroutine(self._reconcile(peer, arc, copies_above, as_owner, both))
        self._moved.setdefault(peer, 0)
        return _Watch(self._clock, work, lambda: self._moved[peer]).outcome(peer)

    async def _reconcile(self, peer: Peer, arc: Arc, copies_above: int, as_owner: bool, both: bool) -> None:
        pieces = [arc]
        while pieces:
            piece = pieces.pop()
            mine = await self._local_records.summary(piece, copies_above)
            after, upto = position_bytes(piece.after), position_bytes(piece.upto)
            answer = await self._ask(peer, Digest(after, upto, copies_above, summary_body(mine), as_owner))
            as_owner = False
            if isinstance(answer, InStep):
                continue
            if not isinstance(answer, Parts):
                raise Unreachable(peer, f"it answered a digest with {type(answer).__name__}")
            if len(answer.parts) == 1:
                await self._level(peer, piece, copies_above, mine.count, answer.parts[0].count, both)
                continue
            parts = split_arc(piece)
            if len(parts) != len(answer.parts):
                raise Unreachable(peer, "it cuts arcs into other parts")
            for part, theirs in zip(parts, answer.parts, strict=True):
                ours = await self._local_records.summary(part, copies_above)
                if summary_from(theirs) == ours:
                    continue
                if is_listed(part, ours.count, theirs.count):
                    await self._level(peer, part, copies_above, ours.count, theirs.count, both)
                else:
                    pieces.append(part)

    async def give(self, peer: Peer, arc: Arc, copies_max: int) -> None:
        """Send what `peer` lacks of the records in `arc` with so many copies at most."""
        held = await self._local_records.entries(arc, 0, copies_max)
        for start in range(0, len(held), MARKS_MAX):
            await self.send(peer, await self.lacking(peer, arc, 0, held[start : start + MARKS_MAX]))

    async def lacking(self, peer: Peer, arc: Arc, copies_above: int, entries: list[Entry]) -> list[bytes]:
        """List the keys of those among `entries`, in `arc` with more than `copies_above` copies, that `peer` has not
        confirmed. Where `peer` keeps far more in `arc` than is listed, it is asked for less at once.
        """
        if len(entries) == 1:
            arc = Arc((entries[0].position - 1) % RING_SIZE, entries[0].position)
        answer = await self._ask_missing(peer, arc, copies_above, entries, both=False)
        if isinstance(answer, wire.Refused) and answer.reason == TOO_MANY and len(entries) > 1:
            half = len(entries) // 2
            middle = entries[half - 1].position
            first = await self.lacking(peer, Arc(arc.after, middle), copies_above, entries[:half])
            return first + await self.lacking(peer, Arc(middle, arc.upto), copies_above, entries[half:])
        missing = _missing(peer, answer)
        return [entries[index].key for index in missing.lacks if index < len(entries)]

    async def send(self, peer: Peer, keys: Iterable[bytes]) -> None:
        """Send what is kept here under `keys` when its turn comes."""
        await self.send_all(
            peer, (versioned for key in keys if (versioned := self._local_records.get(key)) is not None)
        )

    async def send_all(self, peer: Peer, things: Iterable[Versioned]) -> None:
        """Send these, kept here or not."""
        for batch in batches(things, self._local_records.now_ms, self._local_records.payer):
            answer = await self._ask(peer, StoreAll(batch))
            if not isinstance(answer, StoredAll):
                raise Unreachable(peer, f"it answered records with {type(answer).__name__}")
            self.sent += len(batch) - len(answer.refused)
            self.not_taken += len(answer.refused)
            self._doubts.refused([batch[index].key for index in answer.refused if index < len(batch)])
            self._moved[peer] += sum(HEAD_BYTES + len(body.value) for body in batch)

    async def _level(self, peer: Peer, arc: Arc, copies_above: int, mine: int, theirs: int, both: bool) -> None:
        """Even out a piece that is not worth cutting."""
        if not theirs:
            await self.send(peer, [entry.key for entry in await self._local_records.entries(arc, copies_above)])
        elif not mine:
            if both:
                await self._fetch_arc(peer, arc, copies_above)
        else:
            await self._level_by_list(peer, arc, copies_above, both)

    async def _level_by_list(self, peer: Peer, arc: Arc, copies_above: int, both: bool) -> None:
        entries = await self._local_records.entries(arc, copies_above)
        for start in range(0, max(1, len(entries)), MARKS_MAX):
            listed = entries[start : start + MARKS_MAX]
            is_last = start + MARKS_MAX >= len(entries)
            after = arc.after if not start else entries[start - 1].position
            piece = Arc(after, arc.upto if is_last else listed[-1].position)
            missing = _missing(peer, await self._ask_missing(peer, piece, copies_above, listed, both))
            besides = {held.key: Version(held.version_ms, held.publisher) for held in missing.besides}
            lacking = [listed[index] for index in missing.lacks if index < len(listed)]
            # Of what both have the newer goes to the other side: ours unless theirs is, and the other way round.
            await self.send(
                peer, [entry.key for entry in lacking if besides.get(entry.key, entry.version) <= entry.version]
            )
            here = {entry.key: entry.version for entry in listed}
            wanted = [key for key, version in besides.items() if key not in here or here[key] < version]
            if wanted:
                await self._fetch_keys(peer, wanted)

    async def _ask_missing(
        self, peer: Peer, arc: Arc, copies_above: int, entries: list[Entry], both: bool
    ) -> wire.Answer:
        marks = b"".join([short_mark(entry.key, entry.version) for entry in entries])
        question = HaveList(position_bytes(arc.after), position_bytes(arc.upto), copies_above, marks, both)
        return await self._ask(peer, question)

    async def _fetch_arc(self, peer: Peer, arc: Arc, copies_above: int) -> None:
        after, upto = position_bytes(arc.after), position_bytes(arc.upto)
        while True:
            answer = await self._ask(peer, HandOver(after, upto, copies_above))
            fetched, piece = self.fetched, Arc(position_from_bytes(after), arc.upto)
            reached = await self._take(peer, answer, partial(_lies_in, piece))
            if reached.records and self.fetched <= fetched:
                raise Unreachable(peer, "nothing of what it hands over can be kept")
            if reached.reached == upto:
                return
            left = distance(position_from_bytes(after), arc.upto)
            if not reached.records or not 0 < distance(position_from_bytes(reached.reached), arc.upto) < (
                left or 1 << 256
            ):
                raise Unreachable(peer, "its hand-over does not move on")
            after = reached.reached

    async def _fetch_keys(self, peer: Peer, keys: list[bytes]) -> None:
        while keys:
            asked, keys = keys[:BATCH_RECORDS_MAX], keys[BATCH_RECORDS_MAX:]
            answer = await self._ask(peer, HandOver(NOWHERE, NOWHERE, 0, asked))
            got = await self._take(peer, answer, set(asked).__contains__)
            if got.reached in asked[1:]:
                # The batch was full: `reached` is the first key that had no place in it.
                keys = asked[asked.index(got.reached) :] + keys

    async def _ask(self, peer: Peer, question: Question) -> wire.Answer:
        answer = await self._ring.ask(peer, question)
        self._moved[peer] = self._moved.get(peer, 0) + ANSWER_BYTES
        return answer

    async def _take(self, peer: Peer, answer: wire.Answer, is_wanted: Callable[[bytes], bool]) -> HandedOver:
        """Keep what was handed over, charged to the peer that did, who has room for so much as if it had sent it
        unasked.

        @raise Unreachable: it is no hand-over, or holds what was not asked for.
        """
        if not isinstance(answer, HandedOver):
            raise Unreachable(peer, f"it answered a hand-over with {type(answer).__name__}")
        wanted = [body for body in answer.records if is_wanted(body.key)]
        taken = await self._doubts.keep_all(wanted, peer, self._pauses)
        for index, why in taken.refused.items():
            key = wanted[index].key.hex()[:8]
            self._log.debug("{peer} handed over {key}, which is refused: {why}", peer=str(peer), key=key, why=why)
        kept = [body for index, body in enumerate(wanted) if index not in taken.refused]
        self.refused += len(taken.refused)
        self.fetched += len(kept)
        self._moved[peer] += sum(HEAD_BYTES + len(body.value) for body in kept)
        if len(wanted) < len(answer.records):
            raise Unreachable(peer, "it handed over what it was not asked for")
        return answer


def _missing(peer: Peer, answer: wire.Answer) -> Missing:
    if not isinstance(answer, Missing):
        raise Unreachable(peer, f"it answered a list with {type(answer).__name__}")
    return answer


def _lies_in(arc: Arc, key: bytes) -> bool:
    return position_of(key) in arc


class _Watch:
    """Gives up some work with a peer that makes too little progress."""

    def __init__(self, clock: IReactorTime, work: Deferred[None], moved: Callable[[], int]) -> None:
        """@param moved: how many bytes were moved so far; only grows."""
        self._clock = clock
        self._work = work
        self._moved = moved
        self._last = moved()
        self._has_stalled = False
        self._timer = clock.callLater(PROGRESS_S, self._look)

    def outcome(self, peer: Peer) -> Deferred[None]:
        """Hand on what becomes of the work; `Unreachable` when it was given up."""

        def ended(result: T) -> T:
            if self._timer.active():
                self._timer.cancel()
            if self._has_stalled and isinstance(result, Failure) and result.check(CancelledError):
                raise Unreachable(peer, f"it moved less than {PROGRESS_BYTES} bytes in {PROGRESS_S:.0f} s")
            return result

        return self._work.addBoth(ended)

    def _look(self) -> None:
        if self._moved() - self._last < PROGRESS_BYTES:
            self._has_stalled = True
            self._work.cancel()
        else:
            self._last = self._moved()
            self._timer = self._clock.callLater(PROGRESS_S, self._look)
