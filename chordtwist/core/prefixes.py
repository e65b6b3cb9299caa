"""What an address says about who may own it, and about from where it can be reached.

All of it is judged locally: a rule that every node had to follow could be used to lock a victim out.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, ip_network

from chordtwist.core.peer import HOSTS_CACHED, IPV6_LENGTH, IPAddress, Peer, canonical_ip, why_no_host

IPV4_PREFIX_BITS, IPV6_PREFIX_BITS = 24, 48
"""The least that is routed on its own in the Internet, and what a customer of an IPv6 provider is given at most."""

IPV6_OWNER_BITS = 64
"""One network segment: whoever has one IPv6 address has all of these."""

PER_PREFIX_MAX = 2
"""Entries of one prefix where many are listed: two neighbours in one data centre are common, more are one owner."""


class Reach(IntEnum):
    """From how far away an address can be dialled; a greater one from farther."""

    NOWHERE = 0
    """No host's address: unspecified, multicast, reserved."""

    LOOPBACK = 1
    PRIVATE = 2
    """Private, link-local, shared and documentation ranges: another host elsewhere, or nobody."""

    PUBLIC = 3


def reach(address: IPAddress) -> Reach:
    """From how far away `address` can be dialled."""
    if why_no_host(address) is not None:
        return Reach.NOWHERE
    if address.is_loopback:
        return Reach.LOOPBACK
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


def can_be_neighbours(ours: Peer, theirs: Peer) -> bool:
    """Whether a node with our address has any business with an address: one in the public Internet that is told of
    10.0.0.1 or 127.0.0.1 would knock, on a stranger's word, at its own operator's doors.
    """
    return _reach_of(theirs.host) >= max(_reach_of(ours.host), Reach.LOOPBACK)


@lru_cache(HOSTS_CACHED)
def _reach_of(host: str) -> Reach:
    return reach(canonical_ip(host))


def prefix_group(address: IPAddress) -> str | None:
    """Name the prefix that one customer of a provider may well own; None for what is not public: nobody owns any."""
    if reach(address) is not Reach.PUBLIC:
        return None
    bits = IPV4_PREFIX_BITS if isinstance(address, IPv4Address) else IPV6_PREFIX_BITS
    return str(ip_network((address, bits), strict=False))


def one_owner(address: IPAddress) -> str:
    """Name what one owner has at least, wherever `address` is: an IPv4 address, or the /64 of an IPv6 address."""
    return (
        str(address) if isinstance(address, IPv4Address) else str(ip_network((address, IPV6_OWNER_BITS), strict=False))
    )


def owner_of(peer: Peer) -> str:
    """`one_owner` of a peer's address, in fewer steps and other letters."""
    return peer.packed[:8].hex() if len(peer.packed) == IPV6_LENGTH else peer.host


def prefix_of(peer: Peer) -> str | None:
    """`prefix_group` of a peer's address."""
    return _prefix_of(peer.host)


@lru_cache(HOSTS_CACHED)
def _prefix_of(host: str) -> str | None:
    return prefix_group(canonical_ip(host))


def is_crowded(peer: Peer, listed: Iterable[Peer]) -> bool:
    """Whether the prefix of `peer` has its share among those listed already; `peer` itself counts for nothing there."""
    group = prefix_of(peer)
    if group is None:
        return False
    others = dict.fromkeys(other for other in listed if other != peer)
    return sum(prefix_of(other) == group for other in others) >= PER_PREFIX_MAX
