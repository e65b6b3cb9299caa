"""What a busy node asks of strangers: a little work before it does more for them than answering from memory.

Off unless `[limits] puzzle_bits` says how much. Nobody is asked while strangers together ask for no more than one of
them may; who has worked is not asked again for some minutes. A peer that we have dialled is no stranger.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chordtwist.core.allowance import Allowance
from chordtwist.core.peer import Peer
from chordtwist.core.puzzles import WINDOW_S, good_until, puzzle, solve, solves
from chordtwist.core.ring import RingId
from chordtwist.net.bounds import AT_ONCE_S
from chordtwist.net.peer_protocol import COSTS
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
"""So long it asks for work after strangers asked too much: otherwise as many as before would be free each second."""

PAID_MAX = 4096
"""Places whose work is remembered; who is forgotten works again."""

SLICE_TRIES, PAUSE_S = 2000, 0.001
"""Work is done in slices of a millisecond, with as long a pause between two: nobody waits noticeably, and half of the
processor is left."""

TRIES_PER_SOLUTION = 16
"""A search takes 2**bits tries on average; one that takes so many times as many is given up, one in ten million."""

WORK_AGAIN_AFTER_S = WINDOW_S / 2
"""Nobody honest asks one peer for work more often, and more is not done for it."""


class PuzzleChallenger:
    """The side that asks for work."""

    def __init__(self, bits: int, questions_per_s: float, clock: IReactorTime) -> None:
        self._bits = bits
        self._clock = clock
        self._of_strangers = Allowance(questions_per_s, questions_per_s * AT_ONCE_S)
        self._busy_until = 0.0
        self._secret = secrets.token_bytes(32)
        self._paid_until: OrderedDict[RingId, float] = OrderedDict()

    def due(self, stranger: Peer, question: Question) -> Puzzle | None:
        """What a stranger has to do first, if anything."""
        if type(question) not in CHALLENGED:
            return None
        now = self._clock.seconds()
        if self._paid_until.get(stranger.id, 0.0) > now:
            return None
        if self._of_strangers.wait_s("", now) > 0:
            self._busy_until = now + BUSY_S
        if now < self._busy_until:
            return Puzzle(self._bits, puzzle(self._secret, stranger.id, now))
        self._of_strangers.spend("", COSTS.get(question.kind, 1), now)
        return None

    def paid(self, stranger: Peer, worked: Solution) -> Answer:
        """Whether it did: a solution is good once, however often it is shown. Otherwise it hears of the next puzzle."""
        now = self._clock.seconds()
        until = good_until(self._secret, stranger.id, worked.puzzle, now)
        if not until or not solves(worked.puzzle, self._bits, worked.number):
            return Puzzle(self._bits, puzzle(self._secret, stranger.id, now))
        self._paid_until[stranger.id] = until
        self._paid_until.move_to_end(stranger.id)
        if len(self._paid_until) > PAID_MAX:
            self._paid_until.popitem(last=False)
        return Noted()


class PuzzleSolver:
    """The side that works: one puzzle after another, a slice at a time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Puzzle, Callable[[int | None], object]]] = deque()
        self._next = 0
        self._slice: IDelayedCall | None = None

    def work(self, work: Puzzle, done: Callable[[int | None], object]) -> None:
        """Solve a puzzle; `done` is called with the solution, or with None if there seems to be none."""
        self._waiting.append((work, done))
        if self._slice is None:
            self._slice = self._clock.callLater(0, self._go_on)

    def stop(self) -> None:
        """Nothing more is solved, and nobody called."""
        self._waiting.clear()
        if self._slice is not None:
            self._slice.cancel()
            self._slice = None

    def _go_on(self) -> None:
        work, done = self._waiting[0]
        found = solve(work.puzzle, work.bits, self._next, SLICE_TRIES)
        self._next += SLICE_TRIES
        is_over = found is not None or self._next > TRIES_PER_SOLUTION << work.bits
        if is_over:
            self._waiting.popleft()
            self._next = 0
        self._slice = self._clock.callLater(PAUSE_S, self._go_on) if self._waiting else None
        if is_over:
            done(found)
