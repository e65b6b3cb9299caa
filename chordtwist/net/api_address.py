"""From the address of an API, host and port or a Unix socket, to the endpoint that listens or dials."""

from __future__ import annotations

import os
import socket
import stat
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

from chordtwist.core.address import SOCKET_MODE, ApiAddress, UnixAddress

BACKLOG = 511
"""Connections that wait to be accepted: programs, or fifty nodes, that are started in one second all call at once."""

DIAL_WITHIN_S = 10.0
"""The API is on this machine or near it; a dial that takes longer has failed."""


def listening_endpoint(reactor: Any, address: ApiAddress, socket_mode: int = SOCKET_MODE) -> IStreamServerEndpoint:
    """Make the endpoint on which a node listens for clients of its API; the host is an IP address."""
    if isinstance(address, UnixAddress):
        return UnixSocketEndpoint(reactor, str(address.path), socket_mode)
    kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
    endpoint: IStreamServerEndpoint = kind(reactor, address.port, BACKLOG, address.host)
    return endpoint


def dialling_endpoint(reactor: Any, address: ApiAddress) -> IStreamClientEndpoint:
    """Make the endpoint by which a client reaches the API of a node."""
    if isinstance(address, UnixAddress):
        return UNIXClientEndpoint(reactor, str(address.path), DIAL_WITHIN_S)
    # An IP address needs no resolver, whose thread would be most of a short command's time.
    by_ip = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
    kind = by_ip if address.is_ip else HostnameEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, address.host, address.port, DIAL_WITHIN_S)
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
