"""How a member receives newcomers: it admits them to their place, and takes them in where the ring is small."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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

REACHED_S = 30.0
"""A newcomer that was dialled back so lately is not dialled again when its turn comes."""

SLOTS_AWAITED = 2
"""A newcomer is awaited for so many times as long as it keeps others waiting: it asks twice before it goes live."""

WAITED_AT_ONCE_S, WAITED_PER_S = 30.0, 0.1
"""So long one newcomer may keep others waiting and not go live, and a tenth of the time from then on: a join takes tens
of milliseconds, and whoever crashes in the middle of five of them may wait a minute."""

WAITING_MAX = 64
"""Announcements that wait for the slot to be free, and as many for their turn to probe."""

PROBING_MAX = 4
"""Newcomers that make sure at one time that they reach all members of a small ring, and these them, before one of them
takes the slot: enough that it need not wait for them. In a crowd each that waits would else dial everybody, for nothing
once the ring is a large one."""

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
    then it is busy.
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
        self._in_vain = Allowance(WAITED_PER_S, WAITED_AT_ONCE_S)
        self._strangers = Allowance(STRANGERS_PER_S, 0.0)
        self._taken_in: dict[Peer, tuple[int, float]] = {}
        self._went_live: Bounded[Peer, tuple[int, float]] = Bounded(WENT_LIVE_MAX)
        """In which epoch, and since when."""
        self._reached: Bounded[Peer, float] = Bounded(REACHED_MAX)
        """When newcomers were dialled back."""
        self._for_slot = _Queue(lambda: self._slot is None, clock)
        self._for_probing = _Queue(lambda: len(self._probing) < PROBING_MAX, clock)
        self._probing: dict[Peer, float] = {}
        """Since when newcomers may probe that have not taken the slot."""

    def awaits(self, peer: Peer, epoch: int) -> bool:
        """Whether `peer` in that epoch was taken in: that it joins is no news then, and may be overtaken by its going
        live; it counts as alive. Not for ever: our own stabilizing waits for it where it is our head.
        """
        earliest_s = self._clock.seconds() - SLOTS_AWAITED * self._slot_free_after_s
        found = (self._taken_in.get(peer), self._went_live.get(peer))
        return any(known is not None and known[0] == epoch and known[1] > earliest_s for known in found)

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
        self._routing.gone_live(peer)
        self._probes_no_more(peer)
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
        self._clock.callLater(0, self._for_slot.pass_on)

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
            if self._is_first and not await self._for_probing.has_turn(partial(self._may_probe, peer)):
                return self._busy("other newcomers came before"), False
            return await self._dial_back(peer) or self._members(), False
        if not await self._has_slot(newcomer):
            return self._busy("another newcomer has the slot"), False
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

    def _busy(self, reason: str) -> JoinFailure:
        return JoinFailure(reason, busy=True)

    async def _has_slot(self, newcomer: tuple[Peer, int]) -> bool:
        """Whether the slot is its now, or within a moment."""
        if not await self._for_slot.has_turn(partial(self._takes, newcomer)):
            return False
        self._probes_no_more(newcomer[0])
        return True

    @property
    def _is_first(self) -> bool:
        """Whether ours is the smallest id: a crowd lines up here."""
        routing = self._routing
        return all(routing.me.id < peer.id for peer in routing.successors)

    def _may_probe(self, peer: Peer, now: float) -> bool:
        for late in [one for one, since in self._probing.items() if now - since >= self._slot_free_after_s]:
            # It kept others waiting for nothing, as one does that has the slot.
            self._in_vain.spend(late.id, self._slot_free_after_s, now)
            del self._probing[late]
        if peer not in self._probing:
            if len(self._probing) >= PROBING_MAX or self._in_vain.wait_s(peer.id, now) > 0:
                return False
            self._probing[peer] = now
        return True

    def _probes_no_more(self, peer: Peer) -> None:
        if self._probing.pop(peer, None) is not None:
            self._clock.callLater(0, self._for_probing.pass_on)

    def _takes(self, newcomer: tuple[Peer, int], now: float) -> bool:
        if self._slot is not None and now - self._since >= self._slot_free_after_s:
            self._take_back_slot()
        if self._slot is not None:
            return self._slot == newcomer  # whose time runs on
        if self._in_vain.wait_s(newcomer[0].id, now) > 0:
            return False
        self._slot, self._since = newcomer, now
        return True

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


class _Queue:
    """Newcomers that wait for their turn, in the order they came, each no longer than `HELD_S`."""

    def __init__(self, is_free: Callable[[], bool], clock: IReactorTime) -> None:
        """@param is_free: whether there is a turn to be had."""
        self._is_free = is_free
        self._clock = clock
        self._waiting: dict[Deferred[None], None] = {}

    async def has_turn(self, takes: Callable[[float], bool]) -> bool:
        """Whether it is a newcomer's turn now, or within a moment.

        @param takes: called with the time: takes the turn where there is one and it may have it, and says whether.
        """
        until_s = self._clock.seconds() + HELD_S
        while not takes(now := self._clock.seconds()):
            if self._is_free():
                self.pass_on()  # this one has kept others waiting often enough
                return False
            if len(self._waiting) >= WAITING_MAX:
                return False
            freed: Deferred[None] = Deferred()
            self._waiting[freed] = None
            try:
                await freed.addTimeout(max(0.0, until_s - now), self._clock)
            except TimeoutError:
                return False
            finally:
                del self._waiting[freed]
        return True

    def pass_on(self) -> None:
        """Give the turn, where there is one, to whoever waits for longest."""
        if self._waiting and self._is_free():
            next(iter(self._waiting)).callback(None)


def taken_by(holder: Peer) -> str:
    """Say that a place is taken, and what that means for nodes that share an address."""
    return f"{holder} holds that place; where identity = ip, one address is one place"
