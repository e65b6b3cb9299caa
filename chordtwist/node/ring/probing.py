"""Asking whether a silent peer still lives, until it answers or is dead by the rule of `core.liveness`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chordtwist.core.errors import Unreachable
from chordtwist.core.liveness import Liveness
from chordtwist.core.peer import Peer
from chordtwist.wire.peer_messages import Answer, Ping, PingFor, Pong, Question

OTHERS_ASKED = 2
"""Peers asked to try on our behalf: a broken path between two nodes is no death (SWIM, section 4.1, takes 3)."""

TRIES_PER_LIMIT = 4
"""Tries are spread over `dead_after_s`: an address that refuses at once is not tried in a hurry."""

TRIES_MAX = 100
"""Bounds a check whatever the clocks do; the rule of death ends it long before."""


class Probing:
    """Checks peers, each at most once at a time, and tells `died` of those that are dead."""

    _log = Logger()

    def __init__(
        self,
        ask: Callable[[Peer, Question], Deferred[Answer]],
        liveness: Liveness,
        others: Callable[[], list[Peer]],
        died: Callable[[Peer], None],
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param others: peers that may be asked to ping on our behalf."""
        self.liveness = liveness
        self._ask = ask
        self._others = others
        self._died = died
        self._clock = clock
        self._rng = rng
        self._waiting: dict[Peer, list[Deferred[bool]]] = {}

    def check(self, peer: Peer) -> Deferred[bool]:
        """Whether `peer` lives. Fires at its first answer with True, or with False when it is dead."""
        waiting: Deferred[bool] = Deferred()
        if peer in self._waiting:
            self._waiting[peer].append(waiting)
        else:
            self._waiting[peer] = [waiting]
            Deferred.fromCoroutine(self._verdict(peer)).addBoth(self._tell, peer).addErrback(
                lambda failure: self._log.failure("checking {peer} failed", failure, peer=str(peer))
            )
        return waiting

    def check_all(self, peers: Iterable[Peer]) -> None:
        """Check several in parallel, so that neighbours that died together are noticed together."""
        for peer in peers:
            if peer not in self._waiting:
                self.check(peer)

    def is_dead(self, peer: Peer) -> bool:
        """Whether a peer that has not answered is dead; while that is open a check goes on."""
        dead = self.liveness.is_dead(peer, self._clock.seconds())
        if not dead:
            self.check_all((peer,))
        return dead

    def answers_now(self, peer: Peer) -> Deferred[bool]:
        """Whether one question to `peer` is answered."""
        return self._ask(peer, Ping()).addCallbacks(lambda _: True, lambda failure: failure.trap(Unreachable) is None)

    def _tell(self, verdict: object, peer: Peer) -> object:
        for waiting in self._waiting.pop(peer, ()):
            waiting.callback(verdict is not False)
        return verdict

    async def _verdict(self, peer: Peer) -> bool:
        pause_s = self.liveness.dead_after_s / TRIES_PER_LIMIT
        for attempt in range(TRIES_MAX):
            began = self._clock.seconds()
            others = self._others_reach(peer) if attempt else None
            if await self.answers_now(peer):
                return True
            if others is not None:
                if await others:
                    # The path is broken, not the peer. Whoever asked tries again in its own time.
                    return True
                self.liveness.others_tried(peer)
            if self.liveness.is_dead(peer, self._clock.seconds()):
                self._died(peer)
                return False
            rest_s = pause_s - (self._clock.seconds() - began)
            if rest_s > 0:
                await deferLater(self._clock, rest_s)
        return True

    def _others_reach(self, peer: Peer) -> Deferred[bool]:
        others = [other for other in self._others() if other != peer and not self.liveness.is_silent(other)]
        asked: list[Deferred[bool]] = []
        while others and len(asked) < OTHERS_ASKED:
            other = others.pop(int(self._rng.random() * len(others)))
            asked.append(
                self._ask(other, PingFor(peer.packed)).addCallbacks(
                    lambda answer: isinstance(answer, Pong), lambda failure: failure.trap(Unreachable) is None
                )
            )
        return DeferredList(asked, consumeErrors=True).addCallback(lambda results: (True, True) in results)
