"""Chance for a simulation that must repeat to the bit: integers drawn from tables, and no libm.

`math.log` may differ in its last bit from one C library to the next, and one bit is another run. So only ``random()``
and ``getrandbits()`` of a passed generator are used (their algorithm is documented and has never changed), and whatever
needs a logarithm takes it from `decimal`, which is correctly rounded everywhere. Delays are drawn from 1,024 quantiles
computed once: any distribution then costs one ``getrandbits``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from random import Random
from typing import TypeVar

QUANTILES_BITS = 10
QUANTILES = 1 << QUANTILES_BITS

Delays = tuple[int, ...]
"""A distribution of delays: its `QUANTILES` quantiles in microseconds, smallest first."""

_EXACT = Context(prec=24)
_T = TypeVar("_T")


def constant(delay_us: int) -> Delays:
    """Make delays that are always the same."""
    return (delay_us,) * QUANTILES


def uniform(least_us: int, most_us: int) -> Delays:
    """Anything between the two, alike often."""
    return tuple(least_us + (most_us - least_us) * n // (QUANTILES - 1) for n in range(QUANTILES))


def exponential(least_us: int, mean_us: int) -> Delays:
    """`least_us` and an exponential tail behind it, with the mean `mean_us` in all; at most 8.6 times the mean."""
    tail = Decimal(mean_us - least_us)
    half = Decimal(2 * QUANTILES)
    return tuple(
        least_us + int(-tail * _EXACT.ln((half - 2 * n - 1) / half) + Decimal("0.5")) for n in range(QUANTILES)
    )


def heavy(median_us: int) -> Delays:
    """Log-logistic with shape 3, as delays between continents are: one in a hundred is 4.6 medians late."""
    third = Decimal(1) / 3
    return tuple(
        int(median_us * _EXACT.power(Decimal(2 * n + 1) / Decimal(2 * (QUANTILES - n) - 1), third) + Decimal("0.5"))
        for n in range(QUANTILES)
    )


def waiting_us(rng: Random, mean_us: int) -> int:
    """How long until the next of events that come independently of one another, every `mean_us` on average."""
    drawn = Decimal(2 * rng.getrandbits(53) + 1) / Decimal(1 << 54)
    return int(-mean_us * _EXACT.ln(drawn))


def session_us(rng: Random, median_us: int) -> int:
    """How long a node stays, when half of all nodes stay for less than `median_us` and age tells nothing."""
    return waiting_us(rng, int(median_us / _EXACT.ln(Decimal(2))))


def below(rng: Random, limit: int) -> int:
    """Any integer from 0, below `limit`. Unlike ``randrange`` it draws the same in every version of Python."""
    return rng.getrandbits(limit.bit_length() + 32) % limit


def pick(rng: Random, choices: Sequence[_T]) -> _T:
    """Any one of them."""
    return choices[below(rng, len(choices))]


def pick_some(rng: Random, choices: Sequence[_T], count: int) -> list[_T]:
    """`count` different ones, or all when there are fewer, in random order."""
    rest = list(choices)
    return [rest.pop(below(rng, len(rest))) for _ in range(min(count, len(rest)))]
