"""From an API address as people write it (host:port, [v6]:port, unix:PATH) to the endpoint that listens or dials."""

from __future__ import annotations

import os
import socket
import stat
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ClientEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

BACKLOG = 511
"""Connections that wait to be accepted; programs that start together all call at once."""

SOCKET_MODE = 0o660
"""Rights of a Unix socket where nothing else is asked for: the node's user and group."""

DIAL_WITHIN_S = 10.0
"""The API is on this machine or near it; a dial that takes longer has failed."""

PATH_BYTES_MAX = 107
"""Linux keeps the path of a Unix socket in 108 bytes, one of them for its end (unix(7))."""

_UNIX = "unix:"


def listening_endpoint(reactor: Any, address: str, socket_mode: int = SOCKET_MODE) -> IStreamServerEndpoint:
    """Where a node listens for clients of its API.

    @raise ValueError: `address` is none.
    """
    if address.startswith(_UNIX):
        return UnixSocketEndpoint(reactor, _path(address), socket_mode)
    host, port = _host_and_port(address)
    kind = TCP6ServerEndpoint if isinstance(_ip(host), IPv6Address) else TCP4ServerEndpoint
    endpoint: IStreamServerEndpoint = kind(reactor, port, BACKLOG, host)
    return endpoint


def dialling_endpoint(reactor: Any, address: str) -> IStreamClientEndpoint:
    """Where a client finds the API of a node.

    @raise ValueError: `address` is none.
    """
    if address.startswith(_UNIX):
        return UNIXClientEndpoint(reactor, _path(address), DIAL_WITHIN_S)
    host, port = _host_and_port(address)
    ip = _ip(host)
    # An IP address needs no resolver, whose thread would be most of a short command's time.
    kind = HostnameEndpoint if ip is None else TCP6ClientEndpoint if ip.version == 6 else TCP4ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, host, port, DIAL_WITHIN_S)
    return endpoint


@implementer(IStreamServerEndpoint)
class UnixSocketEndpoint:
    """Listens on a Unix socket, also where a killed process left one behind; never takes one that is in use."""

    def __init__(self, reactor: Any, path: str, mode: int) -> None:
        self._path = path
        self._endpoint = UNIXServerEndpoint(reactor, path, BACKLOG, mode)

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; fails with `CannotListenError`."""
        try:
            _remove_stale(self._path)
        except OSError as error:
            return fail(CannotListenError(None, self._path, error))
        listening: Deferred[IListeningPort] = self._endpoint.listen(protocolFactory)
        return listening


def _remove_stale(path: str) -> None:
    # Twisted's lock file goes by the process id, and in a container every run of the node has the same one. Whether
    # anybody listens is what matters: only a socket that refuses a connection is stale.
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(None, "something that is no socket is in its place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # somebody listens who has no time at the moment
    raise OSError(None, "another process listens there")


def _path(address: str) -> str:
    path = address.removeprefix(_UNIX)
    if not path:
        raise ValueError(f"{address!r} names no path; one is unix:/run/chordtwist/api.sock")
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise ValueError(f"{address!r} has a path longer than the {PATH_BYTES_MAX} bytes of a Unix socket")
    return path


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not isinstance(_ip(host), IPv6Address):
            raise ValueError(f"{address!r} has something other than an IPv6 address in its brackets")
    elif ":" in host:
        raise ValueError(f"{address!r} is ambiguous; an IPv6 address stands in brackets, as in [::1]:7401")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"{address!r} is neither host:port nor unix:PATH")
    return host, int(port)


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
