"""What a busy node asks of strangers: a little work before it does more for them than answering from memory.

Two wrappers, so that nodes and links know nothing of it: `PuzzleChallenger` round what a node answers, `PuzzleSolver`
round the links that it asks over. Off unless `[limits] puzzle_bits` says how much. Nobody is asked while strangers
together cost no more than one of them may; who has worked is not asked again for some minutes. A peer that we have
dialled is no stranger.
"""

from __future__ import annotations

import secrets
from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from chordtwist.core.bounded import Bounded
from chordtwist.core.costs import Costs
from chordtwist.core.errors import ChordtwistError, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.puzzles import BITS_MAX, WINDOW_S, good_until, puzzle, solve, solves
from chordtwist.core.ring import RingId
from chordtwist.net.refusals import Because, Refusals
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.wire.peer_messages import (
    Announce,
    Answer,
    JoinRequest,
    Noted,
    Puzzle,
    Question,
    Solution,
    Store,
    StoreAll,
)

CHALLENGED = frozenset((JoinRequest, Announce, Store, StoreAll))
"""Questions of strangers that leave something behind, or make this node ask others."""

BUSY_S = 10.0
"""So long it asks for work after strangers cost too much: otherwise as many as before would be free each second."""

PAID_MAX = 4096
"""Places whose work is remembered; who is forgotten works again."""

WORKED_FOR_MAX = 4096
"""Peers that we remember to have worked for."""

SLICE_TRIES, PAUSE_S = 2000, 0.001
"""Work is done in slices of a millisecond, with as long a pause between two: nobody waits noticeably, and half of the
processor is left."""

TRIES_PER_SOLUTION = 16
"""A search takes 2**bits tries on average; one that takes so many times as many is given up, one in ten million."""

WORK_AGAIN_AFTER_S = WINDOW_S / 2
"""Nobody honest asks one peer for work more often, and more is not done for it."""


@implementer(IAnswer)
class PuzzleChallenger:
    """A node's answers; to strangers, while they ask much, a `Puzzle` instead."""

    def __init__(
        self,
        node: IAnswer,
        links: IPeerLink,
        refusals: Refusals,
        bits: int,
        costs: Costs,
        clock: IReactorTime,
    ) -> None:
        """
        @param links: who has no key there is a stranger.
        @param bits: how hard the puzzles are; 0: none are set.
        @param costs: what strangers have cost.
        """
        self._node = node
        self._links = links
        self._refusals = refusals
        self._bits = bits
        self._clock = clock
        self._costs = costs
        self._busy_until = 0.0
        self._secret = secrets.token_bytes(32)
        self._paid_until: Bounded[RingId, float] = Bounded(PAID_MAX)

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        """`IAnswer.answer`."""
        if type(question) in CHALLENGED:
            if self._bits and self._links.key_of(peer) is None and self._has_to_work(peer):
                reason = "strangers ask much, and it has to work first"
                self._refusals.tell(str(peer), reason, Because.COSTS, str(peer.id))
                return self._puzzle_for(peer)
        elif type(question) is Solution:
            return self._check(peer, question)
        return self._node.answer(peer, question)

    def link_lost(self, peer: Peer, reason: str) -> None:
        """`IAnswer.link_lost`."""
        self._node.link_lost(peer, reason)

    def breach(self, peer: Peer, reason: str) -> None:
        """`IAnswer.breach`."""
        self._node.breach(peer, reason)

    def _has_to_work(self, stranger: Peer) -> bool:
        now = self._clock.seconds()
        if self._paid_until.get(stranger.id, 0.0) > now:
            return False
        if self._costs.do_strangers_owe():
            self._busy_until = now + BUSY_S
        return now < self._busy_until

    def _check(self, peer: Peer, shown: Solution) -> Answer:
        # A solution is good once, however often it is shown. Who shows another one hears of the present puzzle.
        if not self._bits:
            return Noted()
        until = good_until(self._secret, peer.id, shown.puzzle, self._clock.seconds())
        if not until or not solves(shown.puzzle, self._bits, shown.number):
            return self._puzzle_for(peer)
        self._paid_until[peer.id] = until
        return Noted()

    def _puzzle_for(self, peer: Peer) -> Puzzle:
        return Puzzle(self._bits, puzzle(self._secret, peer.id, self._clock.seconds()))


@implementer(IPeerLink)
class PuzzleSolver:
    """A node's links; whoever answers with a `Puzzle` gets its solution, and is asked again.

    Puzzles are solved one after another, a slice at a time.
    """

    def __init__(self, links: IPeerLink, clock: IReactorTime) -> None:
        self._links = links
        self._clock = clock
        self._work_again_at: Bounded[Peer, float] = Bounded(WORKED_FOR_MAX)
        # What waits for each peer's solution.
        self._waiting: dict[Peer, list[Deferred[None]]] = {}
        self._puzzles: deque[tuple[Peer, Puzzle]] = deque()
        self._next = 0
        self._slice: IDelayedCall | None = None

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask`: within the question's own time, work included."""
        answered = self._links.ask(peer, question)
        if type(question) in CHALLENGED:
            answered.addCallback(self._take, peer, question, self._clock.seconds() + question.answer_within_s)
        return answered

    def ask_once(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask_once`. Who asks only once does no work for it."""
        return self._links.ask_once(peer, question)

    def key_of(self, peer: Peer) -> bytes | None:
        """`IPeerLink.key_of`."""
        return self._links.key_of(peer)

    def stop(self) -> None:
        """Solve nothing more; what waits for a solution fails."""
        self._puzzles.clear()
        if self._slice is not None:
            self._slice.cancel()
            self._slice = None
        for peer in list(self._waiting):
            self._fail(peer, "this node has stopped")

    def _take(self, answer: Answer, peer: Peer, question: Question, ends_at: float) -> Answer | Deferred[Answer]:
        if type(answer) is not Puzzle:
            return answer

        def too_late(result: object, timeout_s: float) -> Answer:
            words = f"no answer to {type(question).__name__} within {question.answer_within_s:g} s"
            raise Unreachable(peer, words)

        again = Deferred.fromCoroutine(self._ask_again(peer, question, answer))
        return again.addTimeout(max(0.0, ends_at - self._clock.seconds()), self._clock, too_late)

    async def _ask_again(self, peer: Peer, question: Question, work: Puzzle) -> Answer:
        await self._work(peer, work)
        answer = await self._links.ask(peer, question)
        if type(answer) is Puzzle:
            raise Unreachable(peer, "it asks for more work than we do for a peer")
        return answer

    def _work(self, peer: Peer, work: Puzzle) -> Deferred[None]:
        """Solve a peer's puzzle and show it the solution, once for all questions that wait for it."""
        now = self._clock.seconds()
        waiting = self._waiting.get(peer)
        if work.bits > BITS_MAX or (waiting is None and now < self._work_again_at.get(peer, 0.0)):
            raise Unreachable(peer, "it asks for more work than we do for a peer")
        if waiting is None:
            waiting = self._waiting[peer] = []
            self._work_again_at[peer] = now + WORK_AGAIN_AFTER_S
            self._puzzles.append((peer, work))
            if self._slice is None:
                self._slice = self._clock.callLater(0, self._go_on)
        solved: Deferred[None] = Deferred()
        waiting.append(solved)
        return solved

    def _go_on(self) -> None:
        peer, work = self._puzzles[0]
        number = solve(work.puzzle, work.bits, self._next, SLICE_TRIES)
        self._next += SLICE_TRIES
        is_over = number is not None or self._next > TRIES_PER_SOLUTION << work.bits
        if is_over:
            self._puzzles.popleft()
            self._next = 0
        self._slice = self._clock.callLater(PAUSE_S, self._go_on) if self._puzzles else None
        if number is not None:
            self._show(peer, Solution(work.puzzle, number))
        elif is_over:
            self._work_again_at.pop(peer, None)
            self._fail(peer, "no solution of its puzzle was found")

    def _show(self, peer: Peer, solution: Solution) -> None:
        # What is asked over the link behind it is answered behind it.
        self._links.ask(peer, solution).addErrback(lambda failure: failure.trap(ChordtwistError))
        for solved in self._waiting.pop(peer):
            solved.callback(None)

    def _fail(self, peer: Peer, reason: str) -> None:
        for solved in self._waiting.pop(peer):
            solved.errback(Unreachable(peer, reason))
