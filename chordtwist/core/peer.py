"""Peers, and the ids that follow from their addresses.

An id is computed from an address and never read from a message: nobody can choose its place on the ring
(byzantine resistance starts here).
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_ntop

from chordtwist.core.ring import RingId

IPAddress = IPv4Address | IPv6Address

PEERS_CACHED_MAX = 65_536
"""Peers one `Identity` remembers, so that a table is turned into peers without hashing; then it starts afresh."""

HOSTS_CACHED = 4096
"""Addresses that have been read lately: each link asks a dozen times for its two, which took a sixth of a dial."""

IPV4_LENGTH, IPV6_LENGTH = 6, 18
"""Bytes of a packed address: the address, big-endian, then the port as u16."""


class Policy(Enum):
    """What of an address makes the id. All nodes of one network use the same policy; the value is the hashed byte."""

    IP = b"\x01"
    """The IPv4 address, or the /64 of an IPv6 address: one place per address."""

    ADDRESS = b"\x02"
    """Address and port, for many nodes on one host. Weaker: whoever owns one address owns 65,535 places."""


class Peer:
    """Another participant as we know it: a value, never a connection. Two are equal when their addresses are.

    `id` its place on the ring; `host` its canonical IP address; `port` its peer protocol port; `packed` both as they
    travel (4 or 16 bytes and a u16).
    """

    # A node holds up to some ten thousand: with slots each takes 80 bytes, without 120.
    __slots__ = ("_hash", "host", "id", "packed", "port")

    def __init__(self, id: RingId, host: str, port: int, packed: bytes) -> None:
        self.id = id
        self.host = host
        self.port = port
        self.packed = packed
        # An int's hash is the same in every process, that of bytes is not: runs of the simulator must repeat.
        self._hash = hash(id)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Peer) and self.packed == other.packed)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Peer {self} {self.id >> 232:06x}>"


@lru_cache(HOSTS_CACHED)
def canonical_ip(text: str) -> IPAddress:
    """Read the address that `text` names; an IPv4-mapped IPv6 address is the IPv4 address.

    @raise ValueError: it is no IP address, or carries a zone.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text}: an address with a zone means something else on every host")
        return address.ipv4_mapped or address
    return address


def why_no_host(address: IPAddress) -> str | None:
    """Say why no node can have an address, wherever it is; None when one can.

    This is the rule for configurations, for certificates, and for peers that others tell of.
    """
    if address.is_unspecified:
        return f"{address} means every address of a host"
    if address.is_multicast:
        return f"{address} is a multicast address"
    if address.version == 4:
        if address.packed[0] == 0:
            return f"{address} is in 0.0.0.0/8, which means a network's own hosts"
        return f"{address} is reserved" if address.is_reserved else None
    if address.is_link_local:
        return f"{address} is a link-local address, which means something else on every link"
    return f"{address} is reserved" if address.is_reserved and not address.is_loopback else None


_PLAIN_IPV4 = frozenset(range(1, 224))
_PLAIN_IPV6 = frozenset((*range(0x20, 0x40), 0xFC, 0xFD))
"""First bytes behind which every address is that of a host: unicast, and for IPv6 global or a site's own."""


class Identity:
    """The rule that gives the peers of one network their places.

    ``id = SHA-256("chordtwist-node" || policy || length of the network's name, u8 || name || address [|| port, u16])``
    """

    def __init__(self, network: str, policy: Policy) -> None:
        name = network.encode()
        if not 0 < len(name) < 256:
            raise ValueError(f"a network's name has 1 to 255 bytes of UTF-8, not {len(name)}")
        self.network = network
        self.policy = policy
        self._prefix = b"chordtwist-node" + policy.value + bytes([len(name)]) + name
        self._peers: dict[bytes, Peer] = {}

    def peer(self, host: str, port: int) -> Peer:
        """Make the peer at an IP address and port; its id follows from them.

        @raise ValueError: `host` is no IP address of a host, or `port` is not in 1 .. 65535.
        """
        if not 0 < port < 65_536:
            raise ValueError(f"port {port} is not in 1 to 65535")
        return self.unpack(canonical_ip(host).packed + port.to_bytes(2, "big"))

    def unpack(self, packed: bytes) -> Peer:
        """Make the peer whose address travelled as `packed`.

        @raise ValueError: the length is neither 6 nor 18, the port is 0, no host has the address (`why_no_host`), or an
            IPv4 address is dressed as IPv6 (every address has one form only, else one node would have two places).
        """
        peer = self._peers.get(packed)
        if peer is None:
            peer = self._unpack(packed)
            if len(self._peers) >= PEERS_CACHED_MAX:
                self._peers.clear()
            self._peers[packed] = peer
        return peer

    def _unpack(self, packed: bytes) -> Peer:
        raw, port = packed[:-2], packed[-2:]
        if len(packed) == IPV4_LENGTH:
            placed, host = raw, inet_ntop(AF_INET, raw)
        elif len(packed) == IPV6_LENGTH:
            placed, host = raw[:8] if self.policy is Policy.IP else raw, inet_ntop(AF_INET6, raw)
        else:
            raise ValueError(f"a packed address has {IPV4_LENGTH} or {IPV6_LENGTH} bytes, not {len(packed)}")
        if port == b"\0\0":
            raise ValueError(f"{host} with port 0")
        # A table names hundreds of peers, and `ipaddress` takes ten times as long for each.
        if raw[0] not in (_PLAIN_IPV4 if len(raw) == 4 else _PLAIN_IPV6):
            address = ip_address(raw)
            if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
                raise ValueError(f"{address} is an IPv4 address dressed as IPv6")
            reason = why_no_host(address)
            if reason is not None:
                raise ValueError(reason)
            host = str(address)
        if self.policy is Policy.ADDRESS:
            placed += port
        digest = sha256(self._prefix + placed).digest()
        return Peer(int.from_bytes(digest, "big"), host, int.from_bytes(port, "big"), packed)
