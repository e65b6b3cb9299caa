"""Bringing records of a backup back to their replicas, with the versions they had: nothing newer is ever replaced."""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from chordtwist.core.errors import TOO_FEW, Unreachable
from chordtwist.core.records import position_of
from chordtwist.core.writing import Send, Writing
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.incoming import Incoming
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.puts import told
from chordtwist.wire.peer_messages import Answer, RecordBody, Store

RESTORED = "restored"
"""A majority of the replicas keeps it."""

NEWER = "newer"
"""A newer version stands there, or its end."""


class Restoring:
    """Restores for one node."""

    def __init__(self, ring: IRing, locating: Locating, incoming: Incoming) -> None:
        self._ring = ring
        self._locating = locating
        self._incoming = incoming

    def restore(self, body: RecordBody) -> Deferred[str]:
        """Store a record, or a tombstone, as it was. Fires with `RESTORED`, `TOO_FEW`, or with the word for why most of
        its replicas refuse it (`peer_messages.Refused`): ``newer`` where a newer version stands. Fails with
        `Malformed` when its kind is unknown.
        """
        return Deferred.fromCoroutine(self._restore(body))

    async def _restore(self, body: RecordBody) -> str:
        _, fault = self._incoming.judge(body, self._ring.me)
        if fault is not None:
            return fault
        try:
            route = await self._locating.find(position_of(body.key))
        except Unreachable:
            return TOO_FEW
        writing = Writing(route, max(1, body.copies))
        sends = writing.begin()
        while sends:
            # All that these lead to is waited for: a backup has time.
            further: list[Send] = []
            await DeferredList([self._store(writing, body, send, further) for send in sends])
            sends = further
        return RESTORED if writing.done else writing.refusal or TOO_FEW

    def _store(self, writing: Writing, body: RecordBody, send: Send, further: list[Send]) -> Deferred[None]:
        peer, rank = send

        def unanswered(failure: Failure) -> None:
            failure.trap(Unreachable)
            further.extend(writing.out(peer))

        def answered(answer: Answer) -> None:
            further.extend(told(writing, peer, answer))

        return self._ring.ask(peer, Store(body, rank)).addCallbacks(answered, unanswered)
