"""How a member receives newcomers: it admits them to their place, and takes them in where the ring is small."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.allowance import Allowance
from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.wire.peer_messages import (
    REASON_MAX,
    Announce,
    Announced,
    Answer,
    JoinFailure,
    JoinRequest,
    JoinSuccess,
    Ping,
    Question,
)

ANNOUNCE, LIVE, WITHDRAW, PROBE = range(4)
"""The steps of an `Announce`."""

HELD_S = 1.0
"""So long an answer waits for another newcomer to go live: the turn goes on at once then, and nobody has to ask again
and again. Short against the time that an `Announce` may take, dialling back included."""

LOOKS_AGAIN_S = 0.001
"""Whoever waits does not look sooner whether the time of another is over: it may be by a rounding."""

REACHED_S = 30.0
"""A newcomer that was dialled back so lately is not dialled again when its turn comes."""

SLOTS_AWAITED = 2
"""A newcomer is awaited for so many times as long as it keeps others waiting: it asks twice before it goes live."""

FORGIVEN_PER_S = 0.01
"""For how long a newcomer kept others waiting and did not go live is forgotten by so much: those that owe less come
before it. To have the slot all the time, six seconds each, takes a hundred addresses."""

WAITING_MAX = 6
"""Newcomers that wait for the slot to be free. Whoever stands in line keeps up with all who are there: a hundred of
them take all the time."""

PLACE_KEPT_S = 2.0
"""Whoever has waited for a moment in vain finds its place in line kept for so long, in which it keeps up with all who
are there: else all take turns in standing there, and each of them has to. Who does not come back has kept others
waiting."""

REACHED_MAX = 64
"""Newcomers whose dialling back is remembered."""

STRANGERS_PER_S = 0.5
"""Members of a whole ring that come into it without the slot, one behind another: they joined while it was large, or
their word was lost."""

WENT_LIVE_MAX = 64
"""Newcomers whose going live is remembered, until whatever they said before it must have arrived."""


class Admission:
    """Answers `JoinRequest` and `Announce` for one member.

    A small ring takes in one newcomer at a time, which has the slot. Meanwhile the answer to another waits a moment,
    then it is busy. Those that have kept others waiting for least, and never went live, come first.
    """

    def __init__(
        self,
        routing: Routing,
        ask: Callable[[Peer, Question], Deferred[Answer]],
        slot_free_after_s: float,
        clock: IReactorTime,
    ) -> None:
        """@param slot_free_after_s: a newcomer that has not gone live by then no longer keeps others waiting."""
        self._routing = routing
        self._ask = ask
        self._slot_free_after_s = slot_free_after_s
        self._clock = clock
        self._slot: tuple[Peer, int] | None = None
        self._since = 0.0
        self._in_vain = Allowance(FORGIVEN_PER_S, 0.0)
        self._strangers = Allowance(STRANGERS_PER_S, 0.0)
        self._taken_in: dict[Peer, tuple[int, float]] = {}
        self._went_live: Bounded[Peer, tuple[int, float]] = Bounded(WENT_LIVE_MAX)
        """In which epoch, and since when."""
        self._reached: Bounded[Peer, float] = Bounded(REACHED_MAX)
        """When newcomers were dialled back."""
        self._waiting: dict[Peer, Deferred[bool]] = {}
        """For the slot to be free: told whether to try, or to go."""
        self._line: dict[Peer, float] = {}
        """Those and others that come back soon, in the order they came: for how long their places are kept."""

    def awaits(self, peer: Peer, epoch: int) -> bool:
        """Whether `peer` in that epoch was taken in: that it joins is no news then, and may be overtaken by its going
        live; it counts as alive. Not for ever: our own stabilizing waits for it where it is our head.
        """
        earliest_s = self._clock.seconds() - SLOTS_AWAITED * self._slot_free_after_s
        found = (self._taken_in.get(peer), self._went_live.get(peer))
        return any(known is not None and known[0] == epoch and known[1] > earliest_s for known in found)

    def is_overdue(self, peer: Peer) -> bool:
        """Whether `peer` was taken in, and has had the time to go live: whoever only answers pings is no member."""
        return peer in self._taken_in and not self.awaits(peer, self._taken_in[peer][0])

    def lets_pass(self, peer: Peer) -> bool:
        """Whether a peer that shows the table of a member may come into our pointers: in a whole ring not more than one
        in a while of those that never had the slot, whatever they say they are.
        """
        routing = self._routing
        if not routing.whole or peer in routing.successors:
            return True
        now = self._clock.seconds()
        if self._strangers.wait_s("", now) > 0:
            return False
        self._strangers.spend("", 1, now)
        return True

    def gone_live(self, peer: Peer) -> None:
        """Forget a newcomer that answers as a member now, or whose place is another's."""
        self._taken_in.pop(peer, None)
        self._leave_line(peer)
        self._routing.gone_live(peer)
        if self._slot is not None and self._slot[0] == peer:
            self._free_slot()

    def gone(self, peer: Peer) -> None:
        """Forget a newcomer that will not become a member: it withdrew, cannot be reached, or joins as another run."""
        if self._slot is not None and self._slot[0] == peer:
            self._take_back_slot()
        self.gone_live(peer)

    def _take_back_slot(self) -> None:
        """Free the slot of a newcomer that kept others waiting for nothing, and note how long."""
        if self._slot is not None:
            now = self._clock.seconds()
            self._in_vain.spend(self._slot[0].id, min(now - self._since, self._slot_free_after_s), now)
            self._free_slot()

    def _free_slot(self) -> None:
        self._slot = None
        self._clock.callLater(0, self._pass_on)

    def _pass_on(self) -> None:
        """Give the turn to whoever owes least, and of those to whoever waits for longest."""
        if self._slot is None and self._waiting:
            self._waiting[min(filter(self._waiting.__contains__, self._line), key=self._owes)].callback(True)

    def _owes(self, peer: Peer) -> float:
        """How long a newcomer has kept others waiting lately, and not gone live."""
        return FORGIVEN_PER_S * self._in_vain.wait_s(peer.id, self._clock.seconds())

    async def request(self, peer: Peer, question: JoinRequest) -> Answer:
        """Whether the place of `peer` is its to take. Changes no pointer."""
        refusal = self._misplaced(peer)
        if refusal is not None:
            return refusal
        return await self._dial_back(peer) or self._misplaced(peer) or JoinSuccess()

    async def announcement(self, peer: Peer, question: Announce) -> tuple[Answer, bool]:
        """Take a newcomer into a whole list, step by step. Answers also whether the list changed."""
        routing = self._routing
        newcomer = (peer, question.epoch)
        if question.step == LIVE:
            self.gone_live(peer)
            self._went_live[peer] = (question.epoch, self._clock.seconds())
            return self._members(), False
        if question.step == WITHDRAW:
            awaited = self.awaits(*newcomer)
            self.gone(peer)
            return self._members(), awaited and routing.take_back(peer)
        if peer.id == routing.me.id:
            return JoinFailure(taken_by(routing.me)), False
        if question.step == ANNOUNCE and self._slot == newcomer and self._has_answered(newcomer):
            return self._members(), False  # it makes sure; taking it in may have ended wholeness, and have cut it off
        if not routing.whole:
            return self._busy("the ring is changing"), False
        if question.step == PROBE:
            return await self._dial_back(peer) or self._members(), False
        if not await self._has_slot(newcomer):
            # Others line up at the member with the smallest id; whoever has stood in line here goes on doing so.
            first = min((routing.me, *routing.successors), key=lambda member: member.id)
            return self._busy("another newcomer has the slot", b"" if peer in self._line else first.packed), False
        if self._is_taken_in(newcomer):
            return self._members(), False
        refusal = await self._unfit(newcomer)
        if self._is_taken_in(newcomer):
            return self._members(), False  # told twice, and reached by the other dial
        if refusal is not None:
            return refusal, False
        self._taken_in[peer] = (question.epoch, self._clock.seconds())
        members = self._members()
        return members, routing.take_in(peer)

    async def _unfit(self, newcomer: tuple[Peer, int]) -> JoinFailure | None:
        """Say why one that has the slot is not taken in: nobody answers there, or somebody live holds its place."""
        peer, routing = newcomer[0], self._routing
        if not self._is_reached(peer) and (unreachable := await self._dial_back(peer)) is not None:
            if not self._is_taken_in(newcomer):
                self.gone(peer)
            return unreachable
        holder = next((member for member in routing.successors if member.id == peer.id and member != peer), None)
        if holder is not None and await self._dial_back(holder) is None:
            # Another port of one address: whoever else runs programs there does not take a live node's place.
            self.gone_live(peer)
            return JoinFailure(taken_by(holder))
        if self._slot != newcomer or not routing.whole:
            return self._busy("the ring is changing")
        return None

    def _busy(self, reason: str, better: bytes = b"") -> JoinFailure:
        return JoinFailure(reason, busy=True, better=better)

    async def _has_slot(self, newcomer: tuple[Peer, int]) -> bool:
        """Whether the slot is its now, or within a moment."""
        peer, until_s = newcomer[0], self._clock.seconds() + HELD_S
        while not self._takes(newcomer):
            left_s = until_s - self._clock.seconds()
            if left_s <= 0 or not self._may_wait(peer):
                return False
            freed = self._waiting[peer] = Deferred()
            try:
                if not await freed.addTimeout(max(LOOKS_AGAIN_S, min(left_s, self._ends_in_s())), self._clock):
                    return False
            except TimeoutError:
                pass
            finally:
                del self._waiting[peer]
                if peer in self._line:
                    self._line[peer] = self._clock.seconds() + PLACE_KEPT_S
        self._leave_line(peer)
        return True

    def _leave_line(self, peer: Peer) -> None:
        """Keep the place of a newcomer no longer, unless it waits there: it has asked twice."""
        if peer not in self._waiting:
            self._line.pop(peer, None)

    def _may_wait(self, peer: Peer) -> bool:
        """Whether a newcomer may stand in line, once; where the line is full it is for one that owes more to go."""
        if peer in self._waiting:
            return False
        now = self._clock.seconds()
        for other, until_s in [*self._line.items()]:
            if until_s <= now:
                del self._line[other]
                self._in_vain.spend(other.id, PLACE_KEPT_S, until_s)
        if peer not in self._line and len(self._line) >= WAITING_MAX:
            last = max(reversed(self._line), key=self._owes)
            if self._owes(last) <= self._owes(peer):
                return False
            del self._line[last]
            if last in self._waiting:
                self._waiting[last].callback(False)
        self._line[peer] = inf
        return True

    def _takes(self, newcomer: tuple[Peer, int]) -> bool:
        peer = newcomer[0]
        if self._ends_in_s(peer) <= 0:
            self._take_back_slot()
        if self._slot is not None:
            return self._slot == newcomer  # whose time runs on
        if any(self._owes(other) < self._owes(peer) for other in self._waiting):
            self._pass_on()
            return False
        self._slot, self._since = newcomer, self._clock.seconds()
        return True

    def _ends_in_s(self, *asking: Peer) -> float:
        """How long the slot is still taken: no longer than a moment where one waits, or asks, that owes less."""
        if self._slot is None:
            return 0.0
        owed = self._owes(self._slot[0])
        is_last = any(self._owes(other) < owed for other in (*self._waiting, *asking))
        return self._since + (HELD_S if is_last else self._slot_free_after_s) - self._clock.seconds()

    def _is_taken_in(self, newcomer: tuple[Peer, int]) -> bool:
        """Whether it counts on a first answer already, whether or not it can be reached again just now."""
        return self._has_answered(newcomer) and newcomer[0] in self._routing.successors

    def _has_answered(self, newcomer: tuple[Peer, int]) -> bool:
        peer, epoch = newcomer
        return self._taken_in.get(peer, (0, 0.0))[0] == epoch

    def _members(self) -> Announced:
        return Announced([self._routing.me.packed, *(peer.packed for peer in self._routing.successors)])

    def _misplaced(self, peer: Peer) -> JoinFailure | None:
        routing = self._routing
        if peer.id == routing.me.id:
            return JoinFailure(taken_by(routing.me))
        if routing.predecessor in (None, peer):
            return None  # the place of its own earlier run is free
        if not routing.owns(peer.id):
            return JoinFailure("that place is not mine to give", better=routing.predecessor.packed)
        return None

    async def _dial_back(self, peer: Peer) -> JoinFailure | None:
        """Reach the newcomer where it says it is; None when it answers there."""
        try:
            await self._ask(peer, Ping())
        except Unreachable as error:
            return JoinFailure(f"{peer} cannot be reached from {self._routing.me}: {error.reason}"[:REASON_MAX])
        self._reached[peer] = self._clock.seconds()
        return None

    def _is_reached(self, peer: Peer) -> bool:
        return self._clock.seconds() - self._reached.get(peer, -REACHED_S) < REACHED_S


def taken_by(holder: Peer) -> str:
    """Say that a place is taken, and what that means for nodes that share an address."""
    return f"{holder} holds that place; where identity = ip, one address is one place"
