"""Addresses as people write them: host and port, IPv6 in brackets, or the path of a Unix socket."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

NAME_LENGTH_MAX = 253
"""Characters of a host name, at most (RFC 1035, section 2.3.4, less the root's dot)."""

PATH_BYTES_MAX = 107
"""Linux keeps the path of a Unix socket in 108 bytes, one of them for its end (unix(7))."""

PORT_MAX = 65_535

SOCKET_MODE = 0o660
"""Rights of a Unix socket where nothing else is asked for: the node's user and group."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by IP address or name, and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        @raise ValueError: it is none; the words say how one is written.
        """
        if "://" in text:
            raise ValueError(f"{text!r} is a URL; an address is host:port alone")
        if len(text.split()) > 1 or "," in text:
            raise ValueError(f"{text!r} is more than one host:port; where several may stand, commas stand between")
        host, colon, port = text.rpartition(":")
        if not colon or not host or text.endswith("]"):
            raise ValueError(f"{text!r} is not host:port")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if "%" in host:
                raise ValueError(f"{text!r} has a zone, which means something else on every host")
            ip = _ip(host)
            if not isinstance(ip, IPv6Address):
                raise ValueError(f"{text!r} has something other than an IPv6 address in its brackets")
            # An IPv4 address that is written as IPv6 has one form only.
            host = host if ip.ipv4_mapped is None else str(ip.ipv4_mapped)
        elif ":" in host:
            raise ValueError(f"{text!r} is ambiguous; an IPv6 address stands in brackets, as in [::1]:6401")
        elif _ip(host) is None and not _is_name(host):
            raise ValueError(f"{host!r} is neither an IP address nor a host name")
        if not (port.isascii() and port.isdigit() and len(port) < 10 and 0 < int(port) <= PORT_MAX):
            raise ValueError(f"port {port!r} is not a whole number from 1 to {PORT_MAX}")
        return cls(host, int(port))

    @property
    def is_ip(self) -> bool:
        """Tell whether the host is an IP address, rather than a name that has to be resolved."""
        return _ip(self.host) is not None

    @property
    def is_wildcard(self) -> bool:
        """Tell whether it means every interface: something to listen on, nothing to dial."""
        ip = _ip(self.host)
        return ip is not None and ip.is_unspecified

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it; of names, only ``localhost`` is believed."""
        ip = _ip(self.host)
        return self.host.lower() == "localhost" if ip is None else ip.is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a Unix socket.

    @raise ValueError: no socket can have a path of that length.
    """

    path: Path

    def __post_init__(self) -> None:
        if len(os.fsencode(self.path)) > PATH_BYTES_MAX:
            raise ValueError(f"{self.path} is longer than the {PATH_BYTES_MAX} bytes of a Unix socket's path")

    def __str__(self) -> str:
        return f"unix:{self.path}"


ApiAddress = Address | UnixAddress
"""Where the API of a node is."""


def parse_api_address(text: str) -> ApiAddress:
    """Read where an API is: host:port, or unix: and a path.

    @raise ValueError: it is neither.
    """
    if not text.startswith("unix:"):
        if ":" not in text:
            raise ValueError(f"{text!r} is neither host:port nor unix:PATH")
        return Address.parse(text)
    path = text.removeprefix("unix:")
    if not path:
        raise ValueError("unix: is followed by the path of the socket, as in unix:/run/chordtwist/api.sock")
    return UnixAddress(Path(path).absolute())


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    # Digits and dots alone are a mistyped IPv4 address, which a resolver would ask the whole world for.
    labels = host.removesuffix(".").split(".")
    letters = host.replace("-", "").replace("_", "").replace(".", "")
    return (
        len(host) <= NAME_LENGTH_MAX
        and all(0 < len(label) < 64 for label in labels)
        and letters.isascii()
        and letters.isalnum()
        and not letters.isdigit()
    )
