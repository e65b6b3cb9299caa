"""What each stranger may cost: so much at once, so much again with every second (`now` is an argument)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

KEPT_MAX = 4096
"""Those who spent something lately; beyond it whoever did so longest ago is forgotten, which gives it a new start."""


class Allowance:
    """Something that everybody has a share of. Debts are possible, since what a thing costs shows when it is done."""

    def __init__(self, per_s: float, at_once: float) -> None:
        """@param at_once: what may be spent after a quiet time; comes back at `per_s`."""
        self._per_s = per_s
        self._at_once = at_once
        # No `Bounded`, which would add 0.7 us to the 0.6 of `spend`: that is called with every question.
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait_s(self, who: Hashable, now: float) -> float:
        """How long `who` has to wait before anything may be spent; 0 when nothing stands against it."""
        known = self._left.get(who)
        if known is None:
            return 0.0
        left, at = known
        return max(0.0, -left / self._per_s - (now - at))

    def spend(self, who: Hashable, cost: float, now: float) -> None:
        """Charge `who` with what something cost."""
        left, at = self._left.pop(who, (self._at_once, now))
        left = min(self._at_once, left + (now - at) * self._per_s) - cost
        self._left[who] = (left, now)
        longest = next(iter(self._left))  # since it last spent
        left, at = self._left[longest]
        if left + (now - at) * self._per_s >= self._at_once or len(self._left) > KEPT_MAX:
            del self._left[longest]
