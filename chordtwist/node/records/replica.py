"""What other nodes ask one that keeps records: a record, a store, how an arc differs, and what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from chordtwist.core import errors
from chordtwist.core.digests import SHORT_MARK_BYTES, is_listed, short_mark, split_arc
from chordtwist.core.peer import Peer
from chordtwist.core.reading import AS_PUBLISHER
from chordtwist.core.records import Record, Versioned, position_of, refusal
from chordtwist.core.ring import Arc, position_bytes, position_from_bytes
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.hearsay import Doubts
from chordtwist.node.records.incoming import DOUBTED, Incoming
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.publishing import Publisher
from chordtwist.node.records.record_bodies import (
    FORGOTTEN,
    TOO_MANY,
    Batch,
    body_of,
    summary_body,
    summary_from,
    version_body_of,
)
from chordtwist.node.records.repair import Repair
from chordtwist.node.records.served_arcs import ServedArcs
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import (
    BATCH_RECORDS_MAX,
    Answer,
    Digest,
    Fetch,
    Found,
    HandedOver,
    HandOver,
    HaveList,
    InStep,
    Missing,
    Noted,
    NotFound,
    NotMine,
    Parts,
    Pulling,
    Question,
    RecordBody,
    Refused,
    Release,
    Store,
    StoreAll,
    Stored,
    StoredAll,
)

LISTED_BESIDES_MAX = BATCH_RECORDS_MAX
"""Records in the arc of a `HaveList` besides as many as it lists: honest lists are of pieces that both sides keep a few
records in, and looking through more than a thousand would be dear."""

HANDED_OUT_PER_TURN = 128
"""Records of a hand-over read before others get the reactor: a millisecond or two."""


class Replica:
    """Answers for one node."""

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        incoming: Incoming,
        served_arcs: ServedArcs,
        repair: Repair,
        publisher: Publisher,
        doubts: Doubts,
        pauses: Pauses,
    ) -> None:
        self._ring = ring
        self._local_records = local_records
        self._incoming = incoming
        self._served_arcs = served_arcs
        self._repair = repair
        self._publisher = publisher
        self._doubts = doubts
        self._pauses = pauses
        self._answers: dict[type[Question], Callable[..., Deferred[Answer]]] = {
            Fetch: lambda peer, question: succeed(self._fetch(question)),
            Store: self._store,
            StoreAll: lambda peer, question: Deferred.fromCoroutine(self._store_all(peer, question.records)),
            Digest: lambda peer, question: Deferred.fromCoroutine(self._compare(peer, question)),
            HaveList: lambda peer, question: Deferred.fromCoroutine(self._list_missing(question)),
            Release: lambda peer, question: succeed(self._released(peer, question)),
            HandOver: lambda peer, question: Deferred.fromCoroutine(self._hand_out(question)),
        }

    def answer(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """Answer a question about records; most answers are there at once.

        @raise Malformed: it is none.
        """
        answer = self._answers.get(type(question))
        if answer is None:
            raise errors.Malformed(f"a {type(question).__name__} is no question for a node")
        return answer(peer, question)

    # One record

    def _fetch(self, question: Fetch) -> Answer:
        if question.rank == AS_PUBLISHER:
            return self._tell_put(question)
        not_mine = self._not_mine(question.key, question.rank)
        if not_mine is not None:
            return not_mine
        versioned = self._local_records.get(question.key)
        if versioned is not None:
            return self._tell(versioned, question.value)
        return Pulling() if self._repair.pulling and self._is_mine(question.key) else NotFound()

    def _tell_put(self, question: Fetch) -> Answer:
        put = self._publisher.published(question.key)
        return Refused(FORGOTTEN, self._publisher.forgotten_ms()) if put is None else self._tell(put, question.value)

    def _tell(self, versioned: Versioned, value: bool) -> Answer:
        now_ms = self._local_records.now_ms()
        if isinstance(versioned, Record):
            return Found(body_of(versioned, now_ms) if value else version_body_of(versioned, now_ms))
        return NotFound(body_of(versioned, now_ms))

    def _store(self, peer: Peer, question: Store) -> Deferred[Answer]:
        if self._repair.leaving:
            return succeed(Refused("leaving"))
        not_mine = self._not_mine(question.record.key, question.rank)
        if not_mine is not None:
            return succeed(not_mine)
        versioned, fault = self._incoming.judge(question.record, peer)
        if fault is not None:
            return succeed(Refused(fault, max(0, self._ring.neighbours_time_ms()) if fault == "clock" else 0))
        here = self._local_records.get(versioned.key)
        if not self._incoming.doubts(versioned, here, peer):
            return self._keep(peer, question, versioned, here)

        def settled(is_right: bool) -> Answer | Deferred[Answer]:
            if not is_right:
                return Refused(DOUBTED)
            return self._keep(peer, question, versioned, self._local_records.get(versioned.key))

        return self._doubts.settle(versioned).addCallback(settled)

    def _keep(self, peer: Peer, question: Store, versioned: Versioned, here: Versioned | None) -> Deferred[Answer]:
        reason = refusal(versioned, here, question.expected_seq)
        if reason == "seq":
            return succeed(Refused(reason))
        if here is not None and reason is not None:
            return succeed(Refused(reason, here.version.ms, here.version.publisher))
        if not self._incoming.has_room(versioned, peer):
            return succeed(Refused("full"))
        written = self._incoming.take(versioned, here, peer)
        return succeed(Stored()) if written is None else written.addCallbacks(lambda _: Stored(), _full)

    def _is_mine(self, key: bytes) -> bool:
        arc = self._repair.arc
        return arc is None or position_of(key) in arc

    def _not_mine(self, key: bytes, rank: int) -> NotMine | None:
        """Answer whoever takes us for the owner of `key`, when we know that we are not."""
        before = self._ring.predecessor
        if rank or before is None or self._is_mine(key):
            return None
        return NotMine(before.packed)

    # Many

    async def _store_all(self, peer: Peer, records: list[RecordBody]) -> Answer:
        if self._repair.leaving:
            return Refused("leaving")
        taken = await self._doubts.keep_all(records, peer, self._pauses, was_asked_for=False)
        if self._repair.arc is not None and any(self._is_mine(records[index].key) for index in taken.changed):
            self._repair.soon()  # a former keeper brings what our replicas lack as well
        return StoredAll(sorted(taken.refused))

    async def _compare(self, peer: Peer, question: Digest) -> InStep | Parts | Pulling:
        """Tell how an arc here differs from what the asker has in it."""
        arc = Arc(position_from_bytes(question.after), position_from_bytes(question.upto))
        if not question.as_owner and self._repair.awaits(arc):
            return Pulling()  # a newcomer that came behind us gets it from whoever we get it from
        theirs = summary_from(question.summary)
        if question.as_owner:
            self._served_arcs.note(peer, arc, question.copies_above)
            self._local_records.sweep()
        ours = await self._local_records.summary(arc, question.copies_above)
        if ours == theirs:
            return InStep()
        if is_listed(arc, ours.count, theirs.count):
            return Parts([summary_body(ours)])
        parts = [await self._local_records.summary(part, question.copies_above) for part in split_arc(arc)]
        return Parts([summary_body(part) for part in parts])

    def _released(self, peer: Peer, question: Release) -> Noted:
        arc = Arc(position_from_bytes(question.after), position_from_bytes(question.upto))
        self._served_arcs.release(peer, arc)
        return Noted()

    async def _list_missing(self, question: HaveList) -> Missing | Refused:
        """Tell which of the listed records are not here, and which here are not listed."""
        if self._repair.leaving and not question.both:
            # Whoever asks wants to drop what is here: it may be the one that was just handed it.
            return Refused("leaving")
        arc = Arc(position_from_bytes(question.after), position_from_bytes(question.upto))
        size = SHORT_MARK_BYTES
        listed = len(question.marks) // size
        if (await self._local_records.summary(arc, question.copies_above)).count > listed + LISTED_BESIDES_MAX:
            return Refused(TOO_MANY)
        theirs = {question.marks[at : at + size]: at // size for at in range(0, len(question.marks), size)}
        here: set[bytes] = set()
        besides: list[wire.Held] = []
        for entry in await self._local_records.entries(arc, question.copies_above):
            found = short_mark(entry.key, entry.version)
            if found in theirs:
                here.add(found)
            elif question.both and len(besides) < BATCH_RECORDS_MAX:
                besides.append(wire.Held(entry.key, entry.version.ms, entry.version.publisher))
        return Missing([index for found, index in theirs.items() if found not in here], besides)

    async def _hand_out(self, question: HandOver) -> HandedOver:
        """Hand out the next batch of an arc, or of the keys named; then `reached` is the first key that comes in none
        so far.
        """
        if question.keys:
            named = iter(question.keys)
            batch = await self._next_batch(named)
            more = next(named, None)
            return HandedOver(batch, question.upto if more is None else more)
        after, upto = position_from_bytes(question.after), position_from_bytes(question.upto)
        while True:
            entries = await self._local_records.entries(
                Arc(after, upto), question.copies_above, at_most=BATCH_RECORDS_MAX
            )
            left = iter(entries)
            batch = await self._next_batch(entry.key for entry in left)
            behind = next(left, None)
            if behind is not None:
                after = entries[entries.index(behind) - 1].position
            elif len(entries) < BATCH_RECORDS_MAX or entries[-1].position == upto:
                return HandedOver(batch, question.upto)
            else:
                after = entries[-1].position
            if batch:
                return HandedOver(batch, position_bytes(after))

    async def _next_batch(self, keys: Iterator[bytes]) -> list[RecordBody]:
        batch = Batch(self._local_records.now_ms, self._local_records.payer)
        for looked, key in enumerate(keys, 1):
            versioned = self._local_records.get(key)
            if versioned is not None and batch.add(versioned):
                break
            if looked % HANDED_OUT_PER_TURN == 0:
                await self._pauses.pause()
        return batch.bodies


def _full(failure: Failure) -> Answer:
    failure.trap(errors.StoreFull)
    return Refused("full")
