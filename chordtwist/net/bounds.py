"""How many connections others may make to a node, and from where."""

from __future__ import annotations

import resource
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from twisted.internet.interfaces import IReactorTime

from chordtwist.core.allowance import Allowance
from chordtwist.core.peer import HOSTS_CACHED, canonical_ip
from chordtwist.core.prefixes import one_owner, prefix_group

PENDING_MAX = 256
"""Accepted connections without a Hello yet, in all."""

PENDING_OF_KNOWN_MAX = 64
"""The same besides, where a peer lives that we have dialled: sixteen addresses that say nothing keep no member out."""

PENDING_PER_ADDRESS_MAX = 16
"""The same from one IP address; a node needs one, two when both dial at once."""

PENDING_PER_PREFIX_MAX = 64
"""The same from one IPv4 /24 or IPv6 /48; loopback and private ranges count by address only."""

ACCEPTED_PER_ADDRESS_MAX = 24
"""Accepted links from one IP address where one node lives there, which needs one, two when both dial at once: each may
bring 64 KiB in one turn of the reactor."""

LINKS_PER_NODE = 2
"""Of each further node that lives at an address: one, two when both dial at once."""

AT_ONCE_S = 5.0
"""After a quiet time, as much may come at once as else in so many seconds."""

JOINED_BYTES_MAX = 1 << 16
"""Answers are joined into one write until they are this long: what Twisted's transports hold before they say stop. A
chunk of small questions for large values would else have all of them in memory at once."""

DESCRIPTORS_FOR_OTHERS = 128
LINKS_MAX = 2048
"""Links of one node at most: about 90 MiB with TLS."""


def links_bound(nodes: int = 1) -> int:
    """Compute how many links each of `nodes` nodes of this process may have: half of its descriptors are theirs.

    The other half is for clients of the API, the store and the log. Of several nodes each may have four times its
    share: the one that all others begin with needs more than most will ever use.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return LINKS_MAX
    share = (soft - DESCRIPTORS_FOR_OTHERS) // 2 // nodes
    return max(8, min(LINKS_MAX, share if nodes == 1 else 4 * share))


@dataclass(frozen=True, slots=True)
class Limits:
    """What others may cost (`[limits]` of the configuration)."""

    connections_per_s: float = 10.0
    """Taken from one address: a TLS handshake costs 2 ms, so that is a fiftieth of one processor."""

    nodes_per_address: int = 1
    """Nodes that one address has room for: under policy `ip` one, else as many as the operator says."""


class Bounds:
    """Keeps count of the connections that others made to one node, by IP address.

    @ivar pending: accepted connections whose other side has not said Hello.
    """

    def __init__(self, limits: Limits, clock: IReactorTime) -> None:
        self.pending = 0
        self._clock = clock
        self._from: Counter[str] = Counter()
        self._pending_from: Counter[str] = Counter()  # IP addresses, and their prefixes
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Let others cost so much from now on; what they owe is forgotten."""
        self._limits = limits
        self._room = LINKS_PER_NODE * (limits.nodes_per_address - 1)
        self._new = Allowance(limits.connections_per_s, limits.connections_per_s * AT_ONCE_S + self._room)

    def why_not_accept(self, host: str, is_known: bool = False) -> str | None:
        """Say what stands against one more connection from `host`; None when nothing does.

        @param is_known: whether a peer lives there that we have dialled: for those there is room that no crowd takes.
        """
        try:
            address, *prefix = _groups(host)
        except ValueError as error:
            return str(error)
        if self._from[address] >= ACCEPTED_PER_ADDRESS_MAX + self._room:
            return f"more than {ACCEPTED_PER_ADDRESS_MAX + self._room} connections from one address"
        if self.pending >= PENDING_MAX + (PENDING_OF_KNOWN_MAX if is_known else 0):
            return f"more than {PENDING_MAX} connections without a Hello"
        if self._pending_from[address] >= PENDING_PER_ADDRESS_MAX + self._room:
            return f"more than {PENDING_PER_ADDRESS_MAX + self._room} connections without a Hello from one address"
        if not is_known and any(self._pending_from[group] >= PENDING_PER_PREFIX_MAX for group in prefix):
            return f"more than {PENDING_PER_PREFIX_MAX} connections without a Hello from {prefix[0]}"
        if self._new.wait_s(address, self._clock.seconds()) > 0:
            return f"more than {self._limits.connections_per_s:g} connections a second from one address"
        self._new.spend(address, 1, self._clock.seconds())
        return None

    def accepted(self, host: str) -> None:
        """Count a connection from `host`."""
        self.pending += 1
        groups = _groups(host)
        self._pending_from.update(groups)
        self._from[groups[0]] += 1

    def no_longer_pending(self, host: str) -> None:
        """Count it as no longer pending: it has said Hello, or has ended without one."""
        self.pending -= 1
        self._pending_from -= Counter(_groups(host))

    def closed(self, host: str) -> None:
        """Forget a connection from `host`: it is gone."""
        self._from -= Counter(_groups(host)[:1])


@lru_cache(HOSTS_CACHED)
def _groups(host: str) -> tuple[str, ...]:
    # The address, which is a whole /64 of IPv6, and its prefix where it has an owner.
    ip = canonical_ip(host)
    address = one_owner(ip)
    prefix = prefix_group(ip)
    return (address,) if prefix is None else (address, prefix)
