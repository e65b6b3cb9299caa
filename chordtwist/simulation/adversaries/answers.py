"""Attacks by refusing, waiting, or lying about records: what a node says besides its table."""

from __future__ import annotations

from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from chordtwist.core.peer import Peer
from chordtwist.core.records import Record, RecordKind
from chordtwist.core.ring import Arc
from chordtwist.node.records.record_bodies import body_of
from chordtwist.simulation.adversaries.attack import Attack
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.wire.peer_messages import (
    Answer,
    Fetch,
    Found,
    GetTable,
    NotFound,
    NotMine,
    Ping,
    Pong,
    Question,
    RecordBody,
    Refused,
    Store,
    StoreAll,
    Stored,
    StoredAll,
)

if TYPE_CHECKING:
    from chordtwist.simulation.adversaries.coalition import Coalition

RAISED_MS = 1
"""By how much an altered value is newer than the true one."""

ALTERED = b"altered"

TOMBSTONE_MS = 600_000

REMEMBERED = 4096
"""Records whose first value a liar with stale values remembers."""

PLANTED = 8
"""Every eighth record that a planting liar keeps is planted in one second."""

PLANTED_AT = 8
"""Members behind a key that are brought what is planted."""

FLOOD_PER_S = 20
"""Questions that each flooding liar puts every second."""


class SilentNode(Attack):
    name = "silent"
    sentence = "Answer pings, and nothing else."

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        return None if isinstance(question, Ping) else Deferred()


class Slow(Attack):
    name = "slow"
    sentence = "Answer everything just before the time for it is over."

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        late_s = 0.8 * question.answer_within_s
        return deferLater(liar.clock, late_s).addCallback(lambda _: liar.honest_later(asker, question))


class Refuse(Attack):
    name = "refuse"
    sentence = "Refuse every record, as if there were no room."

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        return Refused("full") if isinstance(question, Store) else None


class NotMineLiar(Attack):
    name = "not-mine"
    sentence = "Send whoever brings or wants a record to a colluder."

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        if not isinstance(question, Store | Fetch) or question.rank:
            return None
        return NotMine(self.coalition.last_before(liar.me.id).packed)


class Forgery(Attack):
    """Answers something else where a plain record was found, in a version that is newer than the true one."""

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        if not isinstance(question, Fetch):
            return None

        def forged(honest: Answer) -> Answer:
            if not isinstance(honest, Found) or honest.record.record_kind != RecordKind.PLAIN:
                return honest
            return self.forged(honest.record, honest.record.version_ms + RAISED_MS, question.value)

        return liar.honest_later(asker, Fetch(question.key, 1, question.value)).addCallback(forged)

    def forged(self, record: RecordBody, version_ms: int, value: bool) -> Answer:
        """Make the lie of that version; `value`: whether the value was asked for too."""
        raise NotImplementedError


class Alter(Forgery):
    name = "alter"
    sentence = "Answer with another value, in a version that is newer than the true one."

    def forged(self, record: RecordBody, version_ms: int, value: bool) -> Answer:
        return Found(_changed(record, ALTERED if value else sha256(ALTERED).digest(), version_ms, record.ttl_ms))


class Swap(Alter):
    name = "swap"
    sentence = "Answer with another value, as if it were the true version."

    def forged(self, record: RecordBody, version_ms: int, value: bool) -> Answer:
        return super().forged(record, record.version_ms, value)


class Stale(Attack):
    name = "stale"
    sentence = "Answer with the first value that one was ever given, as if nothing had been put since."

    def __init__(self, coalition: Coalition) -> None:
        super().__init__(coalition)
        self._first: dict[bytes, RecordBody] = {}

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        brought: tuple[RecordBody, ...] = (question.record,) if isinstance(question, Store) else ()
        if isinstance(question, StoreAll):
            brought = tuple(question.records)
        for record in brought:
            if len(self._first) < REMEMBERED:
                self._first.setdefault(record.key, record)
        if isinstance(question, Fetch) and (old := self._first.get(question.key)) is not None:
            digest = b"" if old.record_kind == RecordKind.CONTENT else sha256(old.value).digest()
            return Found(old if question.value else _changed(old, digest, old.version_ms, old.ttl_ms))
        return None


class FalseEnded(Forgery):
    name = "false-ended"
    sentence = "Say of every plain record that it was deleted just now."

    def forged(self, record: RecordBody, version_ms: int, value: bool) -> Answer:
        return NotFound(_changed(record, b"", version_ms, 0, TOMBSTONE_MS))


class StoreThenDrop(Attack):
    name = "store-then-drop"
    sentence = "Confirm every record, and keep none."

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        if isinstance(question, Store):
            return Stored()
        if isinstance(question, StoreAll):
            return StoredAll([])
        return NotFound() if isinstance(question, Fetch) else None


class Plant(Alter):
    name = "plant"
    sentence = "Alter, and bring other replicas newer values, other values and early ends in the publisher's name."

    def each_second(self) -> None:
        for liar in self.coalition.live():
            kept = liar.records.local_records
            entries = liar.store.scan(Arc(liar.me.id, liar.me.id))
            for entry in islice(entries, int(liar.clock.seconds()) % PLANTED, None, PLANTED):
                record = liar.store.get(entry.key)
                if not isinstance(record, Record) or record.kind is not RecordKind.PLAIN or record.value == ALTERED:
                    continue
                body = body_of(record, kept.now_ms())
                forged = [
                    _changed(body, ALTERED, body.version_ms + RAISED_MS, body.ttl_ms),
                    _changed(body, ALTERED, body.version_ms, body.ttl_ms),
                    _changed(body, body.value, body.version_ms, 1),
                    _changed(body, b"", body.version_ms + RAISED_MS, 0, TOMBSTONE_MS),
                ]
                members = islice(self.coalition.members(entry.position), PLANTED_AT)
                for peer in [peer for peer in members if peer not in self.coalition]:
                    liar.asking.ask(peer, StoreAll(forged)).addErrback(lambda failure: None)


class Flood(Attack):
    name = "flood"
    sentence = "Ask honest members for their tables all the time, and for whatever else is cheap to ask."

    def each_second(self) -> None:
        honest = self.coalition.honest()
        if not honest:
            return
        for number, liar in enumerate(self.coalition.live()):
            for n in range(FLOOD_PER_S):
                peer = honest[(number * 31 + n * 17 + int(liar.clock.seconds())) % len(honest)]
                question = GetTable(0, 0) if n % 2 else Fetch(bytes(32), 1, True)
                liar.asking.ask(peer, question).addErrback(lambda failure: None)

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        return Pong() if isinstance(question, Ping) else None


def _changed(record: RecordBody, value: bytes, version_ms: int, ttl_ms: int, tombstone_ttl_ms: int = 0) -> RecordBody:
    """Forge a record of the same key and publisher."""
    kind, publisher, copies = record.record_kind, record.publisher, record.copies
    return RecordBody(record.key, value, kind, version_ms, publisher, ttl_ms, copies, record.seal, tombstone_ttl_ms)
