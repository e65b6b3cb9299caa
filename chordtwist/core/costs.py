"""Who pays for what others make this node do: processor time, measured while it is spent, charged to their address.

What a question will cost shows only when it is answered, so nothing is guessed: whoever has used up its share owes, and
its next questions wait until the debt is paid. `now` and `meter` are passed in; the meter is the processor time of the
thread in a node, and a price list in the simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from chordtwist.core.allowance import Allowance

SPENT_AT_ONCE_S = 2.0
"""After a quiet time, as much may come at once as else in so many seconds."""

TURN_S = 0.005
"""Processor time that others together may take of one turn of the reactor; what is left of their work waits for the
next. One piece of work goes beyond it, and none is longer than this."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shares:
    """What one address may take of a processor, without end."""

    stranger: float = 0.05
    """For an address that we have not dialled: some thousand short questions a second."""

    peer: float = 0.25
    """For a peer that we have dialled: neighbours on the ring keep one another's records, and an address that listens
    for us can be refused for what it does."""

    upkeep: float = 0.05
    """For what keeps a peer in the ring (`Question.is_upkeep`), whatever else it owes."""

    def times(self, factor: float) -> Shares:
        """Compute shares that are so many times as large."""
        return Shares(self.stranger * factor, self.peer * factor, self.upkeep * factor)


class Payer(NamedTuple):
    """An address, and the share that it pays from."""

    share: Allowance
    address: str


class Costs:
    """The accounts of all addresses, and who pays for what is done at present.

    @ivar payer: who pays from now on; None while the node works for itself.
    @ivar is_turn_over: whether others have had of this turn of the reactor what they may.
    """

    def __init__(
        self,
        meter: Callable[[], float],
        now: Callable[[], float],
        shares: Shares | None = None,
        at_once_s: float = SPENT_AT_ONCE_S,
    ) -> None:
        """@param meter: seconds of processor time spent so far. @param now: seconds of a clock that never goes back."""
        self.payer: Payer | None = None
        self._at_once_s = at_once_s
        self._meter = meter
        self._now = now
        self._since_s = 0.0
        self._turn_s = 0.0
        self.is_turn_over = False
        self.set_shares(shares or Shares())

    def set_shares(self, shares: Shares) -> None:
        """Let others cost so much from now on; what they owe is forgotten."""
        self.strangers, self.peers, self.upkeep, self._all_strangers = (
            Allowance(share, share * self._at_once_s)
            for share in (shares.stranger, shares.peer, shares.upkeep, shares.stranger)
        )

    def payer_of(self, address: str, is_proved: bool, is_upkeep: bool) -> Payer:
        """Say from what share an address pays for a question; a stranger has but one."""
        if not is_proved:
            return Payer(self.strangers, address)
        return Payer(self.upkeep if is_upkeep else self.peers, address)

    def wait_s(self, payer: Payer) -> float:
        """Say how long `payer` has to wait before more is done for it; 0 when it owes nothing."""
        return payer.share.wait_s(payer.address, self._now())

    def switch(self, payer: Payer | None) -> Payer | None:
        """Charge what was done until now, and let `payer` pay from now on; say who paid until now."""
        metered_s = self._meter()
        before = self.payer
        if before is not None:
            self.charge(before, metered_s - self._since_s)
        self._since_s = metered_s
        self.payer = payer
        return before

    def charged(self, payer: Payer | None, work: Callable[..., T], *given: object) -> T:
        """Do some work that `payer` pays for."""
        before = self.switch(payer)
        try:
            return work(*given)
        finally:
            self.switch(before)

    def measured(self, work: Callable[..., object], *given: object) -> float:
        """Do some work of which it shows later who pays for it; say how much was spent that nobody was charged for."""
        began_s, charged_s = self._meter(), self._turn_s
        work(*given)
        return max(0.0, self._meter() - began_s - (self._turn_s - charged_s))

    def begin_turn(self) -> None:
        """Let others have their part of a new turn of the reactor."""
        self._turn_s = 0.0
        self.is_turn_over = False

    def do_strangers_owe(self) -> bool:
        """Say whether all strangers together have spent more than one of them may."""
        return self._all_strangers.wait_s("", self._now()) > 0

    def charge(self, payer: Payer | None, spent_s: float) -> None:
        """Count what was spent as part of what others have of this turn, and charge `payer`, where there is one."""
        self._turn_s += spent_s
        if self._turn_s >= TURN_S:
            self.is_turn_over = True
        if payer is None:
            return
        now = self._now()
        payer.share.spend(payer.address, spent_s, now)
        if payer.share is self.strangers:
            self._all_strangers.spend("", spent_s, now)


def unmetered() -> Costs:
    """Make accounts in which nothing costs anything: of a node that nobody but its own program asks."""
    return Costs(lambda: 0.0, lambda: 0.0)
