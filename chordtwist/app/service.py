"""`build`: the one place where configuration, store, links, node and API become one service."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger

from chordtwist.app.addresses import Address, UnixAddress
from chordtwist.app.config import NodeConfig
from chordtwist.core.errors import ChordtwistError
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.net.api_address import listening_endpoint

LEAVE_WITHIN_S = 5.0
"""Time to leave the ring, from the signal to the end: what systemd, a container or a person waits for gladly."""

CLOSE_WITHIN_S = 0.25
"""Kept back of it for each part that closes after the one that is closing: it takes milliseconds, but has to happen."""


class StartError(ChordtwistError):
    """The node cannot start, for a reason that its operator can mend and that stands here in one line."""


def build(config: NodeConfig, reactor: Any, on_shutdown: Callable[[], object]) -> MultiService:
    """The service that is one node; started, it joins its ring, stopped, it leaves it.

    `on_shutdown` is called when a client of the API asks for SHUTDOWN; it is to stop the service, and then the process.

    @raise StartError: the configuration asks for something that this machine or this build does not have.
    """
    raise NotImplementedError


class OrderedService(MultiService):
    """Services that start in the order in which they were added, and stop one after another in the reverse order.

    Twisted's `MultiService` stops all at once, but a node has to hand its records over while it still has links.
    Stopping takes `LEAVE_WITHIN_S` at most: what is not done by then is given up, and the rest is closed all the same.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock

    def stopService(self) -> Deferred[None]:
        """Stop; fires when all have stopped or their time is over, never fails."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        ends_at_s = self._clock.seconds() + LEAVE_WITHIN_S
        services = list(self)
        for following in reversed(range(len(services))):
            service = services[following]
            within_s = max(ends_at_s - self._clock.seconds() - following * CLOSE_WITHIN_S, CLOSE_WITHIN_S)
            try:
                await maybeDeferred(service.stopService).addTimeout(within_s, self._clock)
            except TimeoutError:
                self._log.warn("{service} did not stop within {within_s:.1f} s", service=service, within_s=within_s)
            except Exception:
                # A bug in one part must not keep the store behind it from being closed.
                self._log.failure("while {service} stopped", service=service)


class Listener(StreamServerEndpointService):
    """A listening port; when it cannot be had, the start fails with the reason in one line."""

    _raiseSynchronously = True

    def __init__(self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory, name: str, shown: object) -> None:
        super().__init__(endpoint, factory)
        self._name = name
        self._shown = shown

    def privilegedStartService(self) -> None:
        """Listen.

        @raise StartError: somebody else listens there, or this machine has no such address.
        """
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise StartError(f"cannot listen on {self._name} {self._shown}: {reason}") from None


def api_endpoint(reactor: Any, address: Address | UnixAddress) -> IStreamServerEndpoint:
    """Where to listen for clients of the API.

    @raise StartError: the host name cannot be resolved.
    """
    if isinstance(address, Address):
        address = Address(own_ip(address), address.port)
    return listening_endpoint(reactor, str(address))


def own_ip(address: Address) -> str:
    """The IP address of one of this node's own addresses; a name is resolved here, before the node runs.

    @raise StartError: the name cannot be resolved.
    """
    if address.is_ip:
        return address.host
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"{address}: the name {address.host} cannot be resolved: {error.strerror}") from None
    # IPv4 first: who writes localhost connects to 127.0.0.1.
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return str(found[0][4][0])


def parameters_of(config: NodeConfig) -> Parameters:
    """What the configuration says about the agreement of the network."""
    return Parameters(
        network=config.dht.network,
        policy=config.dht.identity,
        successors=config.dht.successors,
        replication=config.dht.replication,
    )


def own_peer(config: NodeConfig, identity: Identity) -> Peer:
    """This node as the others know it.

    @raise StartError: its name cannot be resolved.
    """
    address = config.announced_address
    return identity.peer(own_ip(address), address.port)
