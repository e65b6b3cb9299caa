"""Questions under way, and the moment at which each is given up: one timer for all of a link's, not one for each."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chordtwist.core.costs import Payer
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.wire.peer_messages import Answer, Question

SWEEP_EVERY_S = 0.02
"""Least time between two sweeps: under load, a question may be given up this much late."""

SWEEP_LATE_S = 0.1
"""A sweep that comes so late means that this process stood still: answers may have come that nobody read."""

Asked = tuple[float, Question, "Deferred[Answer]", Payer | None]
"""When it is given up, by the clock; the question; what fires with its answer; who pays for what follows from it."""


class Outstanding:
    """The questions to one peer that have no answer yet, by request id."""

    __slots__ = ("_asked", "_clock", "_given_up", "_peer", "_sweeps_at", "_timer")

    def __init__(self, peer: Peer, clock: IReactorTime, given_up: Callable[[int], object]) -> None:
        """@param given_up: called with the request id of a question whose time is over, before its Deferred fails."""
        self._peer = peer
        self._clock = clock
        self._given_up = given_up
        self._asked: dict[int, Asked] = {}
        self._timer: IDelayedCall | None = None
        self._sweeps_at = inf

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, request_id: int, asked: Asked) -> None:
        """Wait for the answer to a question."""
        self._asked[request_id] = asked
        if asked[0] < self._sweeps_at:
            self._sweep_at(asked[0])

    def take(self, request_id: int) -> Asked | None:
        """Take the question of that id, which is not waited for any longer; None when there is none."""
        return self._asked.pop(request_id, None)

    def take_all(self) -> list[Asked]:
        """Take all questions, in the order in which they were asked; none is waited for any longer."""
        asked = list(self._asked.values())
        self._asked.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._sweeps_at = None, inf
        return asked

    def fail(self, reason: str) -> None:
        """Give up all questions: the peer is unreachable."""
        for asked in self.take_all():
            asked[2].errback(Unreachable(self._peer, reason))

    def _sweep_at(self, at: float) -> None:
        self._sweeps_at = at
        wait_s = max(at - self._clock.seconds(), 0)
        if self._timer is None:
            self._timer = self._clock.callLater(wait_s, self._sweep)
        else:
            self._timer.reset(wait_s)

    def _sweep(self) -> None:
        now = self._clock.seconds()
        late_s = now - self._sweeps_at
        self._timer, self._sweeps_at = None, inf
        if late_s > SWEEP_LATE_S:
            # Doubt oneself first: every question has as much more time as this process lost, or all of its own again.
            for request_id, (gives_up_at, question, answered, payer) in self._asked.items():
                more_s = min(late_s, question.answer_within_s)
                self._asked[request_id] = (max(gives_up_at, now) + more_s, question, answered, payer)
        due = [request_id for request_id, asked in self._asked.items() if asked[0] <= now]
        for request_id in due:
            asked = self._asked.pop(request_id, None)
            if asked is None:
                continue  # what an earlier one's end led to took it away
            self._given_up(request_id)
            limit_s = asked[1].answer_within_s
            asked[2].errback(Unreachable(self._peer, f"no answer to {type(asked[1]).__name__} within {limit_s:g} s"))
        if self._asked:
            earliest = min(asked[0] for asked in self._asked.values())
            if earliest < self._sweeps_at:
                self._sweep_at(max(earliest, now + SWEEP_EVERY_S))
