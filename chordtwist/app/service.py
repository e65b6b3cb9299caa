"""`build`: the one place where configuration, store, links, node and API become one service."""

from __future__ import annotations

import random
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger

from chordtwist.app.addresses import Address, UnixAddress
from chordtwist.app.config import NodeConfig
from chordtwist.core.errors import ChordtwistError
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.api import ApiFactory
from chordtwist.net.api_address import listening_endpoint
from chordtwist.net.introduction import Introduction
from chordtwist.net.names import Names, resolver
from chordtwist.net.peer_pool import PeerPool
from chordtwist.node.interfaces import IRecordStore
from chordtwist.node.node import Node
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.storage.state import StateDirectory

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
    identity = Identity(config.dht.network, config.dht.identity)
    parameters = parameters_of(config)
    me = own_peer(config, identity)
    state = None if config.dht.state_dir is None else StateDirectory(config.dht.state_dir)
    if state is None:
        Logger().info("no state_dir: nothing is written to disk")
    signer = Ed25519Signer(secrets.token_bytes(32) if state is None else state.node_key())
    epochs = Epochs(state)
    store = _store(state, reactor)
    pool = PeerPool(
        reactor,
        Introduction(me, identity, parameters, signer, verify_ed25519, epochs.next(), wall_ms),
        dial_from="" if config.dht.p2p_address.is_wildcard else own_ip(config.dht.p2p_address),
    )
    names = Names(
        resolver(reactor), identity, [(address.host, address.port) for address in config.dht.bootstrap_node], reactor
    )
    node = Node(
        me=me,
        identity=identity,
        parameters=parameters,
        link=pool,
        store=store,
        clock=reactor,
        wall_ms=wall_ms,
        rng=random.Random(secrets.randbits(64)),
        signer=signer,
        verify=verify_ed25519,
        next_epoch=epochs.next,
        seeds=names.peers,
        stabilize_interval_s=config.dht.stabilize_interval,
        default_ttl_s=config.dht.default_store_duration,
        max_ttl_s=config.dht.max_store_duration,
    )
    api = ApiFactory(node, reactor, on_shutdown, config.dht.shutdown_beyond_loopback)
    p2p = config.dht.p2p_address
    p2p_host = own_ip(p2p)
    listen = TCP6ServerEndpoint if ":" in p2p_host else TCP4ServerEndpoint
    service = OrderedService(reactor)
    for part in (
        StoreService(store, state),
        LinksService(pool, node),
        Listener(listen(reactor, p2p.port, interface=p2p_host), pool.factory, "p2p_address", p2p),
        NodeService(node),
        ApiService(api),
        Listener(api_endpoint(reactor, config.dht.api_address), api, "api_address", config.dht.api_address),
    ):
        part.setServiceParent(service)
    return service


def wall_ms() -> int:
    """The time of day, for versions, epochs and signed times; never for timers."""
    return time.time_ns() // 1_000_000


class Epochs:
    """Numbers the runs of one node on the ring, each above all before it; across restarts with a state directory."""

    def __init__(self, state: StateDirectory | None) -> None:
        self._state = state
        self._last = 0

    def next(self) -> int:
        """A number that was never given before; on disk, where there is one, before it is used."""
        if self._state is not None:
            return self._state.next_epoch(wall_ms())
        self._last = max(wall_ms(), self._last + 1)
        return self._last


class StoreService(Service):
    """The record store and the state directory; closed last of all."""

    name = "the record store"

    def __init__(self, store: IRecordStore, state: StateDirectory | None) -> None:
        self._store = store
        self._state = state

    async def _close(self) -> None:
        await self._store.close()
        if self._state is not None:
            self._state.close()

    def stopService(self) -> Deferred[None]:
        """Make everything safe, and let another process have the directory."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())


class LinksService(Service):
    """The links to other nodes."""

    name = "the links"

    def __init__(self, pool: PeerPool, node: Node) -> None:
        self._pool = pool
        self._node = node

    def privilegedStartService(self) -> None:
        """Be ready before anybody listens."""
        self._pool.start(self._node)

    def stopService(self) -> Deferred[None]:
        """Say Goodbye on every link."""
        super().stopService()
        return self._pool.stop()


class NodeService(Service):
    """The node itself: joins when started, leaves when stopped."""

    name = "the node"

    def __init__(self, node: Node) -> None:
        self._node = node

    def startService(self) -> None:
        """Join, trying for ever."""
        super().startService()
        self._node.start()

    def stopService(self) -> Deferred[None]:
        """Leave; nothing is left to do when a client's SHUTDOWN has done it already."""
        super().stopService()
        return self._node.leave()


class ApiService(Service):
    """The connections of clients."""

    name = "the API"

    def __init__(self, factory: ApiFactory) -> None:
        self._factory = factory

    def stopService(self) -> Deferred[None]:
        """Let clients read what is written for them."""
        super().stopService()
        return self._factory.close()


def _store(state: StateDirectory | None, clock: IReactorTime) -> IRecordStore:
    return MemoryRecordStore()


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
