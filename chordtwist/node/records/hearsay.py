"""Asking about what somebody brings that another has put, before it replaces anything: first whoever has put it, then
the replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore

from chordtwist.core.claims import Forgotten, Said, is_denied_by
from chordtwist.core.errors import ChordtwistError, Malformed, Refused
from chordtwist.core.peer import Peer
from chordtwist.core.reading import AS_PUBLISHER
from chordtwist.core.records import Record, RecordKind, Tombstone, Versioned, precedence
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.incoming import DOUBTED, Incoming, Taken
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.records.reads import Reader
from chordtwist.wire.peer_messages import Fetch, RecordBody

AT_ONCE = 8
"""Records that are asked about at one time."""

BATCH_MAX = 64
"""Records of one batch that are asked about; the next round brings the others. Whoever compares sends no more in one
piece, and a liar makes us ask no more."""

LOOKED_AT_MAX = 8
"""Of the copies that a peer does not take, so many are asked about here."""


class Doubts:
    """Settles for one node."""

    def __init__(self, ring: IRing, local_records: LocalRecords, incoming: Incoming, reader: Reader) -> None:
        self._ring = ring
        self._local_records = local_records
        self._incoming = incoming
        self._reader = reader
        self._turns = DeferredSemaphore(AT_ONCE)

    def settle(self, versioned: Versioned) -> Deferred[bool]:
        """Whether something plain was put by whom it names, or most replicas keep it; where nothing stands here, also
        whether nobody can tell.
        """
        return self._turns.run(lambda: Deferred.fromCoroutine(self._settle(versioned)))

    async def _settle(self, versioned: Versioned) -> bool:
        word = await self._word_of(versioned)
        said = _said(versioned)
        if isinstance(word, Said) and word.precedence == said.precedence:
            return word.ended == said.ended and word.digest == said.digest
        if word is not None and is_denied_by(word, said):
            return False
        if self._local_records.get(versioned.key) is None:
            return True
        claim = await self._reader.judge(versioned.key)
        return claim is not None and claim.fits(said) and claim.ended == said.ended

    async def _word_of(self, versioned: Versioned) -> Said | Forgotten | None:
        """Ask the publisher; None when it says nothing."""
        publisher = self._incoming.publisher_of(versioned.version.publisher)
        if publisher is None:
            return None
        try:
            answer = await self._ring.ask(publisher, Fetch(versioned.key, AS_PUBLISHER, False))
        except (ChordtwistError, CancelledError):
            return None
        return self._incoming.word(versioned.key, answer)

    async def keep_all(
        self, bodies: Sequence[RecordBody], peer: Peer, pauses: Pauses, was_asked_for: bool = True
    ) -> Taken:
        """Keep what another replica sent as `Incoming.keep_all` does, and what is doubtful once that is settled."""
        taken = await self._incoming.keep_all(bodies, peer, pauses, was_asked_for)
        doubted = [index for index, why in taken.refused.items() if why == DOUBTED][:BATCH_MAX]
        await DeferredList([Deferred.fromCoroutine(self._keep(bodies[index], peer, index, taken)) for index in doubted])
        return taken

    async def _keep(self, body: RecordBody, peer: Peer, index: int, taken: Taken) -> None:
        versioned, _ = self._incoming.judge(body, peer)
        if not await self.settle(versioned):
            return
        try:
            written = self._incoming.keep(body, peer, is_settled=True)
            if written is not None:
                await written
        except (Refused, Malformed):
            return
        del taken.refused[index]
        if written is not None:
            taken.changed.append(index)

    def refused(self, keys: Sequence[bytes]) -> None:
        """Look at our own copies of what a peer does not take: what was put by nobody goes."""
        for key in keys[:LOOKED_AT_MAX]:
            here = self._local_records.get(key)
            if here is not None and here.kind is RecordKind.PLAIN:
                self._turns.run(self._looked_at, here)

    def _looked_at(self, here: Versioned) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look_at(here))

    async def _look_at(self, here: Versioned) -> None:
        word = await self._word_of(here)
        still = self._local_records.get(here.key)
        if word is not None and is_denied_by(word, _said(here)) and still is not None and still.version == here.version:
            self._local_records.remove(here.key)


def _said(versioned: Versioned) -> Said:
    is_ended = isinstance(versioned, Tombstone)
    digest = sha256(versioned.value).digest() if isinstance(versioned, Record) else b""
    return Said(precedence(versioned), ended=is_ended, digest=digest)
