"""Faults of the simulated network: rules that every message is shown to, installed and taken away one by one.

A rule lets a message pass, delivers it later or twice, drops it, or holds it until the rule is taken away. It sees who
sends what to whom, so an adversary on the network is such a rule as well. Each instance is a fault of its own: two cuts
of one path end when both have been taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from random import Random

from chordtwist.core.peer import Peer
from chordtwist.simulation.chance import QUANTILES_BITS, Delays, below
from chordtwist.wire.peer_messages import Answer, Question

RETRY_US = 200_000
"""A lost segment is sent again after this time, then after twice as long each (RFC 6298 as Linux does it)."""

RETRIES_MAX = 6


@dataclass(slots=True)
class Envelope:
    """One message on its way."""

    source: Peer
    target: Peer
    message: Question | Answer


class Verdict(Enum):
    """What a rule says of a message, unless it is `Deliver`."""

    PASS = "nothing happens to it"
    DROP = "it never arrives"
    TWICE = "it arrives a second time"
    HOLD = "it waits until this rule is taken away"


@dataclass(slots=True)
class Deliver:
    """It arrives so much later."""

    late_us: int


PASS, DROP, TWICE, HOLD = Verdict


class Stage(IntEnum):
    """When on its way a message meets a rule; those of one stage in the order in which they were installed."""

    LEAVING = 0
    COPYING = 1
    TRAVELLING = 2
    ARRIVING = 3


class Rule:
    """While it is installed every message is shown to it, each copy by itself."""

    stage = Stage.ARRIVING

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Say what happens to a message.

        @param rng: the network's; whatever a rule leaves to chance comes from there.
        """
        raise NotImplementedError

    def severs(self, source: Peer, target: Peer) -> bool:
        """Say whether nothing gets from one host to the other: not even that a connection was refused or reset."""
        return False


class Severing(Rule):
    """While it is installed some paths do not exist."""

    stage = Stage.LEAVING

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Drop what would take such a path."""
        return DROP if self.severs(envelope.source, envelope.target) else PASS


class Cut(Severing):
    """Nothing that one host sends reaches another; the other way it still does."""

    def __init__(self, source: Peer, target: Peer) -> None:
        self._path = source, target

    def __str__(self) -> str:
        return f"{self._path[0]} no longer reaches {self._path[1]}"

    def severs(self, source: Peer, target: Peer) -> bool:
        """See `Rule.severs`."""
        return (source, target) == self._path


class Partition(Severing):
    """Only hosts of one group reach each other; those that are not named are one more group."""

    def __init__(self, groups: Iterable[Iterable[Peer]]) -> None:
        self._groups = {peer.packed: number for number, group in enumerate(groups, 1) for peer in group}

    def severs(self, source: Peer, target: Peer) -> bool:
        """See `Rule.severs`."""
        return self._groups.get(source.packed, 0) != self._groups.get(target.packed, 0)


class Dropping(Rule):
    """A share of all messages never arrives: a middle box forgot the link."""

    stage = Stage.LEAVING

    def __init__(self, share: float) -> None:
        self._share = share

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Drop some."""
        return DROP if rng.random() < self._share else PASS


class Duplicating(Rule):
    """A share of all questions arrives a second time."""

    stage = Stage.COPYING

    def __init__(self, share: float) -> None:
        self._share = share

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Deliver some questions twice."""
        return TWICE if isinstance(envelope.message, Question) and rng.random() < self._share else PASS


class Path(Rule):
    """The time that messages take of themselves, one way: no fault, but the rule that is always there."""

    stage = Stage.TRAVELLING

    def __init__(self, delays: Delays) -> None:
        self.delays = delays

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Draw a delay."""
        return Deliver(self.delays[rng.getrandbits(QUANTILES_BITS)])


class Loss(Rule):
    """A share of all segments is lost and sent again by TCP: the message comes 200 ms late, and doubling."""

    def __init__(self, share: float) -> None:
        self._share = share

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Lose it and its repetitions, some times."""
        late_us, retry_us = 0, RETRY_US
        for _ in range(RETRIES_MAX):
            if rng.random() >= self._share:
                break
            late_us += retry_us
            retry_us *= 2
        return Deliver(late_us)


class Overtaking(Rule):
    """A share of all messages is held back by anything up to `most_us`, and overtaken by others."""

    def __init__(self, share: float, most_us: int) -> None:
        self._share = share
        self._most_us = most_us

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Hold some back."""
        return Deliver(below(rng, self._most_us)) if rng.random() < self._share else PASS


class SlowHost(Rule):
    """Everything to and from one host takes so much longer."""

    def __init__(self, peer: Peer, late_us: int) -> None:
        self._peer = peer
        self._late_us = late_us

    def __str__(self) -> str:
        return f"{self._peer} is slow, by {self._late_us / 1000:.0f} ms"

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Delay what it sends and what it is sent."""
        return Deliver(self._late_us) if self._peer in (envelope.source, envelope.target) else PASS


class Clog(Rule):
    """What one host sends to another waits until the link is free again; then it arrives at once, in order."""

    def __init__(self, source: Peer, target: Peer) -> None:
        self._path = source, target

    def __str__(self) -> str:
        return f"what {self._path[0]} sends to {self._path[1]} waits"

    def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
        """Hold what would take that path."""
        return HOLD if (envelope.source, envelope.target) == self._path else PASS
