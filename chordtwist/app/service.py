"""`build`: the one place where configuration, store, links, node and API become one service."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from errno import EADDRINUSE, EADDRNOTAVAIL
from random import Random, SystemRandom
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, TimeoutError, fail, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist import __version__
from chordtwist.app.config import LimitsSection, NodeConfig, TlsMode, policy_at
from chordtwist.app.config_text import in_force
from chordtwist.app.health_watch import HealthWatch
from chordtwist.app.operations import Operations
from chordtwist.app.persistence import Persistence
from chordtwist.app.seed_list import REMEMBER_FIRST_S, REMEMBER_SLOWEST_S, SeedList
from chordtwist.app.systemd import API, WEB, handed_over
from chordtwist.app.tls import tls_of
from chordtwist.app.web import Measured, WebSide, web_of_node
from chordtwist.app.web_view import NodeView
from chordtwist.core.address import SOCKET_MODE, Address, ApiAddress
from chordtwist.core.costs import Costs, Shares
from chordtwist.core.errors import ChordtwistError, StateUnusable, Unreachable
from chordtwist.core.events import Event
from chordtwist.core.fitting import fitted
from chordtwist.core.health import YEAR_MIN, Alarm
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.quotas import Quota
from chordtwist.core.records import PutResult, Record, Seal
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.api import ApiFactory
from chordtwist.net.api_address import listening_endpoint
from chordtwist.net.bounds import Limits as LinkLimits
from chordtwist.net.bounds import links_bound
from chordtwist.net.client_puzzles import PuzzleChallenger, PuzzleSolver
from chordtwist.net.connection_filter import ConnectionFilter
from chordtwist.net.daemon_threads import DaemonThreads
from chordtwist.net.introduction import Introduction
from chordtwist.net.names import Names, Resolver
from chordtwist.net.peer_pool import PeerPool
from chordtwist.net.refusals import Because
from chordtwist.node.chores import Chore
from chordtwist.node.environment import Environment, NodeOptions
from chordtwist.node.interfaces import IDht
from chordtwist.node.node import Node
from chordtwist.storage.state import PEERS_REMEMBERED_MAX

LEAVE_WITHIN_S = 5.0
"""Time to leave the ring, from the signal to the end: what systemd, a container or a person waits for gladly."""

CLOSE_WITHIN_S = 0.25
"""Kept back of it for each part that closes after the one that is closing: it takes milliseconds, but has to happen."""

MANY_NODES_FACTOR = 2.0
"""Where ports make places, as many nodes as there may be share an address: it may take so much more of a processor."""

STATUS_SCHEMA = 1
"""Of the status: changes when a field goes or means something else; new ones may come without."""

_log = Logger()


class StartError(ChordtwistError):
    """The node cannot start, for a reason that its operator can mend and that stands here in one line."""


def build(
    config: NodeConfig,
    reactor: Any,
    on_shutdown: Callable[[], object],
    nodes_here: int = 1,
    follow: Callable[[Node], object] = lambda node: None,
) -> NodeService:
    """Build the service that is one node; started, it joins its ring, stopped, it leaves it.

    `on_shutdown` is called when a client of the API asks for SHUTDOWN, after the node has left; it is to stop the
    service and then the process.

    @param reactor: its clock must be monotonic.
    @param nodes_here: how many nodes this process runs, which share its file descriptors.
    @param follow: given the node before it starts.
    @raise StartError: the configuration asks for something that this machine or this build does not have.
    """
    limits = config.limits
    parameters = parameters_of(config)
    identity = Identity(parameters.network, parameters.policy)
    me = own_peer(config, identity)
    try:
        persistence = Persistence(
            config.dht.state_dir,
            reactor,
            life_ms,
            wall_ms,
            limits.stored_records,
            limits.stored_mib << 20,
            config.dht.max_store_duration * 1000,
        )
    except StateUnusable as error:
        raise StartError(f"[dht] state_dir {error}") from None
    signer = Ed25519Signer(persistence.seed)
    files = DaemonThreads(reactor, 1, "certificates")
    try:
        tls = tls_of(config, me.host, reactor, persistence.directory, files.call)
    except ValueError as error:
        persistence.close()
        raise StartError(f"[tls] {error}") from None
    except StateUnusable as error:
        persistence.close()
        raise StartError(f"[dht] state_dir {error}") from None
    secret = config.tls.secret.encode()
    try:
        epoch = persistence.next_epoch()
    except StateUnusable as error:
        persistence.close()
        raise StartError(f"[dht] state_dir {error}") from None
    introduction = Introduction(me, identity, parameters, signer, verify_ed25519, epoch, wall_ms, secret)
    p2p = config.dht.p2p_address
    endpoint = ConnectionFilter(own_endpoint(reactor, p2p), reactor)
    costs = Costs(time.thread_time, reactor.seconds, shares_of(limits, identity.policy))
    of_links = link_limits(limits, identity.policy)
    pool = PeerPool(reactor, introduction, tls, dial_from(config), links_bound(nodes_here), of_links, costs)
    solver = PuzzleSolver(pool, reactor)
    bootstrap = [(address.host, address.port) for address in config.dht.bootstrap_node]
    resolver = Resolver(reactor)
    seed_list = SeedList(
        me,
        Names(resolver, identity, bootstrap, reactor, dial_from(config)).peers,
        not bootstrap,
        persistence.remembered_peers(identity),
        persistence.remember_peers,
    )
    # Asking the system for each pause anew took a busy node a twentieth of its time.
    system = SystemRandom()
    rng = Random(system.getrandbits(256))
    node = Node(
        me,
        identity,
        parameters,
        solver,
        persistence.store,
        Environment(
            reactor,
            wall_ms,
            rng,
            system,
            signer,
            verify_ed25519,
            persistence.next_epoch,
            seed_list.seeds,
            seed_list.remembered,
            life_ms,
            costs,
        ),
        NodeOptions(
            config.dht.stabilize_interval,
            config.dht.default_store_duration,
            config.dht.max_store_duration,
            config.tls.mode is not TlsMode.CLOSED,
            quota_of(limits),
            evicts=config.watch.evict,
            watch_bytes_per_s=config.watch.bytes_per_s,
        ),
    )
    follow(node)
    answers = PuzzleChallenger(node, pool, pool.refusals, limits.puzzle_bits, costs, reactor)
    watch = HealthWatch(node, pool, tls, persistence, parameters.replication, reactor, wall_ms, rng)
    dht = LocalDht(node, pool, watch, signer.public, getattr(reactor, "kind", type(reactor).__name__))
    view = NodeView(node, dht, in_force(config), reactor)
    measured = Measured(watch.unready, node.searches.measured, pool.answered)
    dht.asked = view.asked
    try:
        web = None if config.web.address is None else web_of_node(config.web, view, measured, reactor)
    except ValueError as error:
        persistence.close()
        raise StartError(f"[web] {error}") from None
    directory = persistence.directory
    operations = Operations(
        node,
        reactor,
        wall_ms,
        persistence.operator_token,
        "" if directory is None else str(directory.token_file.absolute()),
        in_force(config),
    )
    api = ApiFactory(dht, reactor, on_shutdown, config.dht.shutdown_beyond_loopback, operate=operations)
    dht.clients = api.status
    for refusals in (pool.refusals, api.refusals):
        refusals.note = node.note_refusal

    def remember() -> bool:
        seed_list.remember(node.routing.everybody(), node.tables.book.met_ones(PEERS_REMEMBERED_MAX))
        persistence.keep_again()
        return False  # less and less often

    remembering = Chore("remember peers", remember, reactor, rng, REMEMBER_FIRST_S, REMEMBER_SLOWEST_S)

    def stop_remembering() -> None:
        remembering.stop()
        remember()

    def take_up(changed: NodeConfig) -> None:
        pool.set_limits(link_limits(changed.limits, identity.policy))
        costs.set_shares(shares_of(changed.limits, identity.policy))
        pool.look_at_certificates()
        if web is not None:
            files.call(web.renewed, changed.web).addCallbacks(web.take, _not_renewed)

    def crash() -> None:
        node.stop()
        pool.abort()

    shown = (view, measured)
    whole = NodeService(reactor, dht, watch.alarms, node.events, take_up, operations, shown, crash)
    for part in (
        Part("store", stop=persistence.close),
        Part("names", stop=resolver.stop),
        Part("certificates", stop=files.stop),
        Part("puzzles", stop=solver.stop),
        Part("links", start=lambda: pool.start(answers), stop=pool.stop),
        Part("announcement", start=lambda: _announce(me, config)),
        Part("node", start=node.start, stop=node.leave),
        Part("health", start=watch.start, stop=watch.stop),
        Part("memory of peers", start=remembering.start, stop=stop_remembering),
        Listener(endpoint, pool.factory, "p2p_address", p2p),
        Part("connections of the API", stop=api.close),
        Listener(
            handed_over(reactor, API, config.api_address)
            or own_endpoint(reactor, config.api_address, config.dht.api_socket_mode),
            api,
            "api_address",
            config.api_address,
        ),
        *_web_parts(config, web, reactor),
    ):
        part.setServiceParent(whole)
    return whole


def _web_parts(config: NodeConfig, web: WebSide | None, reactor: Any) -> Iterator[Service]:
    address = config.web.address
    if web is not None and address is not None:
        yield Part("connections of the web side", stop=web.close)
        endpoint = handed_over(reactor, WEB, address) or own_endpoint(reactor, address)
        yield Listener(endpoint, web.factory, "[web] address", address)


def _not_renewed(failure: Failure) -> None:
    if failure.check(ValueError):
        _log.error("[web] {error}; what was read before stays in use", error=failure.value)
    else:
        _log.failure("reading the files of [web] again failed", failure)


def _announce(me: Peer, config: NodeConfig) -> None:
    _log.info(
        "node {id} of network {network} at {address}, API at {api}",
        id=f"{me.id:064x}"[:8],
        network=config.dht.network,
        address=str(me),
        api=str(config.api_address),
    )
    if (year := datetime.now(UTC).year) < YEAR_MIN:
        _log.warn("this machine's clock says {year}: set it; until then versions go by the neighbours'", year=year)
    if config.tls.mode is TlsMode.OFF:
        _log.warn("[tls] mode = off: everybody on this machine can read and forge what nodes tell one another")
    if config.dht.state_dir is None:
        _log.info("no state_dir: nothing is written to disk, and what this node holds ends with it")


def wall_ms() -> int:
    """Read the wall clock in milliseconds, for versions, epochs and signed times only."""
    return time.time_ns() // 1_000_000


_LIVES = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux the steady clock stands still while the machine is suspended; where it is the only one, as on macOS, not."""


def life_ms() -> int:
    """Read the clock that lives are counted on: nobody sets it, and it goes on while the machine is suspended."""
    return time.clock_gettime_ns(_LIVES) // 1_000_000


@implementer(IDht)
class LocalDht:
    """What doors see of this process: the hash table of its node, and the state of node, links and records in one."""

    def __init__(self, node: Node, pool: PeerPool, watch: HealthWatch, key: bytes, reactor: str) -> None:
        self.leave = node.leave
        self._node = node
        self._pool = pool
        self._watch = watch
        self._key = key
        self._reactor = reactor
        self.asked: Callable[[str, bytes], None] = lambda what, key: None
        """Told of what clients ask."""
        self.clients: Callable[[], dict[str, int]] = dict
        """Tells of the clients of the API."""

    def get(self, key: bytes) -> Deferred[Record | None]:
        """`IDht.get`."""
        self.asked("get", key)
        return self._node.get(key)

    def put(
        self, key: bytes, value: bytes, ttl_s: float | None = None, copies: int | None = None, seal: Seal | None = None
    ) -> Deferred[PutResult]:
        """`IDht.put`; refused while all others refuse this node, since nobody would ever see it."""
        self.asked("put", key)
        return self._unless_cut_off() or self._node.put(key, value, ttl_s, copies, seal)

    def delete(self, key: bytes, seal: Seal | None = None) -> Deferred[PutResult]:
        """`IDht.delete`, likewise."""
        self.asked("delete", key)
        return self._unless_cut_off() or self._node.delete(key, seal)

    def _unless_cut_off(self) -> Deferred[PutResult] | None:
        reason = self._watch.cut_off()
        return fail(Unreachable(None, reason)) if reason else None

    def status(self) -> dict[str, object]:
        """`IDht.status`."""
        state = {
            "schema": STATUS_SCHEMA,
            "version": __version__,
            **self._watch.status(),
            **self._node.status(),
            "key": self._key.hex(),
            "links": self._pool.status(),
            "refusals": {because.value: self._pool.refusals.counts[because] for because in Because},
            "clients": self.clients(),
            **self._node.records.status(),
            "reactor": self._reactor,
            "events": [{"at_ms": event.at_ms, "text": event.text} for event in self._node.events],
        }
        return fitted(state)


class Part(Service):
    """A part of the node that is started and stopped by a call; `name` is for the log."""

    def __init__(
        self,
        name: str,
        start: Callable[[], object] = lambda: None,
        stop: Callable[[], Deferred[None] | None] = lambda: None,
    ) -> None:
        self.name = name
        self._start = start
        self._stop = stop

    def startService(self) -> None:
        """Start it."""
        super().startService()
        self._start()

    def stopService(self) -> Deferred[None] | None:
        """Stop it; fires when it has stopped."""
        super().stopService()
        return self._stop()


class OrderedService(MultiService):
    """Services that start in the order in which they were added, and stop one after another in the reverse order.

    Twisted's `MultiService` stops all at once, but a node has to hand its records over while it still has links.
    Stopping takes `LEAVE_WITHIN_S` at most: what is not done by then is given up, and the rest is closed all the same.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, shown_as: str = "the node") -> None:
        super().__init__()
        self.shown_as = shown_as
        self._clock = clock
        self._stopped: Deferred[None] | None = None

    def stopService(self) -> Deferred[None]:
        """Stop for good; fires when all have stopped or their time is over, never fails.

        A second call, while it stops or later, waits for the first.
        """
        if self._stopped is None:
            Service.stopService(self)
            self._stopped = Deferred.fromCoroutine(self._stop())
        told: Deferred[None] = Deferred()
        self._stopped.addCallback(told.callback)
        return told

    async def _stop(self) -> None:
        ends_at_s = self._clock.seconds() + LEAVE_WITHIN_S
        services = list(self)
        for following in reversed(range(len(services))):
            service = services[following]
            within_s = max(ends_at_s - self._clock.seconds() - following * CLOSE_WITHIN_S, CLOSE_WITHIN_S)
            try:
                await maybeDeferred(service.stopService).addTimeout(within_s, self._clock)
            except TimeoutError:
                self._log.warn(
                    "{part} of {node}: not stopped within {within_s:.1f} s",
                    part=service.name,
                    node=self.shown_as,
                    within_s=within_s,
                )
            except Exception:
                # A bug in one part must not keep the store behind it from being closed.
                self._log.failure("{part}: stopping failed", part=service.name)


class NodeService(OrderedService):
    """One whole node.

    @ivar dht: what a program in the same process puts to it and gets from it.
    @ivar health: call it for what is wrong with the node now, a list of `Alarm`; empty while it is well.
    @ivar unready: call it for why nobody should be sent to it now, a line each; empty when it is ready.
    @ivar events: what happened to it lately, oldest first.
    @ivar operations: what its API answers to people's tools.
    @ivar shown: what a page shows of it.
    @ivar crash: call it to have it end as a killed process does, without a word to anybody; then stop the service.
    @ivar take_up: call it with another configuration: its limits, and what the certificate files hold, are in use.
    """

    def __init__(
        self,
        clock: IReactorTime,
        dht: IDht,
        health: Callable[[], list[Alarm]],
        events: Iterable[Event],
        take_up: Callable[[NodeConfig], object],
        operations: Operations,
        shown: tuple[NodeView, Measured],
        crash: Callable[[], None],
    ) -> None:
        super().__init__(clock, shown[0].address)
        self.shown = shown
        self.unready = shown[1].unready
        self.crash = crash
        self.operations = operations
        self.dht = dht
        self.health = health
        self.events = events
        self.take_up = take_up


LISTEN_HINTS = {
    EADDRINUSE: "; a node may run here already: chordtwist status shows it",
    EADDRNOTAVAIL: ", since it is no address of this machine; behind NAT or in a container it is 0.0.0.0 or [::], and"
    " public_address what others dial",
}
"""What to do, by the error of the system."""


class Listener(StreamServerEndpointService):
    """A listening port; when it cannot be had, the start fails with the reason in one line."""

    _raiseSynchronously = True

    def __init__(self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory, name: str, shown: object) -> None:
        super().__init__(endpoint, factory)
        self.name = name
        self._shown = shown

    def privilegedStartService(self) -> None:
        """Listen.

        @raise StartError: somebody else listens there, or this machine has no such address.
        """
        try:
            super().privilegedStartService()
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            hint = LISTEN_HINTS.get(getattr(error.socketError, "errno", 0) or 0, "")
            raise StartError(f"cannot listen on {self.name} {self._shown}: {reason}{hint}") from None

    def stopService(self) -> Deferred[None] | None:
        """Stop listening, where it began to."""
        return None if self._waitingForPort is None else super().stopService()


def own_endpoint(reactor: Any, address: ApiAddress, socket_mode: int = SOCKET_MODE) -> IStreamServerEndpoint:
    """Make the endpoint to listen on one of this node's own addresses.

    @raise StartError: the host name cannot be resolved.
    """
    if isinstance(address, Address):
        address = Address(own_ip(address), address.port)
    return listening_endpoint(reactor, address, socket_mode)


def dial_from(config: NodeConfig) -> str:
    """Say which IP address links are dialled from: other nodes talk to those only that come from where they say.

    Empty behind a translated address, where the system has to choose.
    """
    own, public = config.dht.p2p_address, config.dht.public_address
    if own.is_wildcard or (public is not None and public.host != own.host):
        return ""
    return own_ip(own)


def own_ip(address: Address) -> str:
    """Find the IP address of one of this node's own addresses; a name is resolved here, before the node runs.

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
    """Take what the nodes of a network agree on from the configuration.

    @raise StartError: the name of the node's own address cannot be resolved.
    """
    return Parameters(
        network=config.dht.network,
        policy=config.dht.identity or policy_at(own_ip(config.announced_address)),
        successors=config.dht.successors,
        replication=config.dht.replication,
    )


def link_limits(limits: LimitsSection, policy: Policy) -> LinkLimits:
    """Take from the configuration what others may cost over links."""
    room = limits.nodes_per_address if policy is Policy.ADDRESS else 1
    return LinkLimits(limits.connections_per_second, room)


def shares_of(limits: LimitsSection, policy: Policy) -> Shares:
    """Take from the configuration what one address may take of a processor."""
    usual = Shares()
    shares = usual.times(limits.processor_percent / 100 / usual.stranger)
    return shares if policy is Policy.IP else shares.times(MANY_NODES_FACTOR)


def quota_of(limits: LimitsSection) -> Quota:
    """Take what one address may leave here from the configuration."""
    share = limits.stored_percent_per_address / 100
    return Quota(max(1, int(limits.stored_records * share)), max(1, int((limits.stored_mib << 20) * share)))


def own_peer(config: NodeConfig, identity: Identity) -> Peer:
    """Make the peer that this node is to the others.

    @raise StartError: its name cannot be resolved, or to nothing that others can dial.
    """
    address = config.announced_address
    try:
        return identity.peer(own_ip(address), address.port)
    except ValueError as error:
        raise StartError(f"{address}: {error}") from None
