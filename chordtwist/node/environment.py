"""What a node is built with: what its process lends it, and what its operator chose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.costs import Costs
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.signed import Signer, Verify


@dataclass(frozen=True)
class Environment:
    """What the process around a node lends it: clocks, chance, a key, and what outlives a run."""

    clock: IReactorTime
    """Monotonic."""

    wall_ms: Callable[[], int]
    """Wall time, for versions, epochs and signed times only."""

    rng: Random

    public_rng: Random
    """For what others are shown: points, salts, nonces. In a process that strangers reach it is the system's, since six
    hundred words of the Mersenne Twister tell all that it draws afterwards, witnesses included."""

    signer: Signer
    verify: Verify

    next_epoch: Callable[[], int]
    """A number for a run of this node on the ring, above all it has given, kept before it is used."""

    seeds: Callable[[], Deferred[list[Peer]]]
    """The bootstrap list, resolved afresh at every call, our own address included where it is listed. Fails with
    `Unreachable` while there is a list but none of its names can be resolved."""

    remembered: Callable[[], Iterable[Peer]] = tuple
    """Peers that an earlier run was in a ring with, best first."""

    life_ms: Callable[[], int] | None = None
    """The clock that lives are counted on, which goes on while the machine is suspended; None: `clock`, of a machine
    that never is."""

    costs: Costs | None = None
    """Who pays for what is done in later turns; without them nobody does."""


@dataclass(frozen=True)
class NodeOptions:
    """What the operator of one node chose; other nodes need not agree."""

    stabilize_interval_s: float = 1.0
    default_ttl_s: float = 3600
    max_ttl_s: float = 86400

    spreads_fingers: bool = True
    """As in `Routing`; not needed where an authority says who may join."""

    quota: Quota | None = None
    """What one address may leave here."""

    walk_bytes_per_s: float = 30.0
    """What it may cost, on average, to keep the address book: of a ring of a thousand a node meets a tenth in an hour,
    and hears of all."""

    evicts: bool = True
    """Whether those who are convicted are taken for dead."""

    watch_bytes_per_s: float = 50.0
    """What looking at the tables that others are shown, and audits, may cost."""
