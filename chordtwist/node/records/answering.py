"""What others are told who reconcile an arc with ours."""

from __future__ import annotations

from collections.abc import Iterator

from chordtwist.core.digests import SHORT_MARK_BYTES, Summary, is_listed, mark_bytes, short_mark, split_arc
from chordtwist.core.peer import Peer
from chordtwist.core.ring import Arc, position_bytes, position_from_bytes
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.record_bodies import batches
from chordtwist.node.records.served_arcs import ServedArcs
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.peer_messages import (
    BATCH_RECORDS_MAX,
    Digest,
    HandedOver,
    HandOver,
    HaveList,
    InStep,
    Missing,
    Parts,
    RecordBody,
)


class Answering:
    """Answers for one node."""

    def __init__(self, local_records: LocalRecords, served_arcs: ServedArcs) -> None:
        self._local_records = local_records
        self._served_arcs = served_arcs

    async def compare(self, peer: Peer, question: Digest) -> InStep | Parts:
        """How an arc here differs from what the asker has in it."""
        arc = Arc(position_from_bytes(question.after), position_from_bytes(question.upto))
        theirs = Summary(question.summary.count, int.from_bytes(question.summary.total, "big"))
        if question.as_owner:
            self._served_arcs.note(peer, arc, question.copies_above)
            self._local_records.sweep()
        ours = await self._local_records.summary(arc, question.copies_above)
        if ours == theirs:
            return InStep()
        if is_listed(arc, ours.count, theirs.count):
            return Parts([wire.Summary(ours.count, mark_bytes(ours.total))])
        parts = []
        for part in split_arc(arc):
            summary = await self._local_records.summary(part, question.copies_above)
            parts.append(wire.Summary(summary.count, mark_bytes(summary.total)))
        return Parts(parts)

    async def list_missing(self, question: HaveList) -> Missing:
        """Which of the listed records are not here, and which here are not listed."""
        arc = Arc(position_from_bytes(question.after), position_from_bytes(question.upto))
        size = SHORT_MARK_BYTES
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

    async def hand_out(self, question: HandOver) -> HandedOver:
        """The next batch of an arc, or of the keys named; then `reached` is the first key that comes in none so far."""
        if question.keys:
            named = iter(question.keys)
            batch = self._next_batch(named)
            more = next(named, None)
            return HandedOver(batch, question.upto if more is None else more)
        after, upto = position_from_bytes(question.after), position_from_bytes(question.upto)
        while True:
            entries = await self._local_records.entries(
                Arc(after, upto), question.copies_above, at_most=BATCH_RECORDS_MAX
            )
            left = iter(entries)
            batch = self._next_batch(entry.key for entry in left)
            behind = next(left, None)
            if behind is not None:
                after = entries[entries.index(behind) - 1].position
            elif len(entries) < BATCH_RECORDS_MAX or entries[-1].position == upto:
                return HandedOver(batch, question.upto)
            else:
                after = entries[-1].position
            if batch:
                return HandedOver(batch, position_bytes(after))

    def _next_batch(self, keys: Iterator[bytes]) -> list[RecordBody]:
        things = (versioned for key in keys if (versioned := self._local_records.get(key)) is not None)
        return next(batches(things, self._local_records.now_ms), [])
