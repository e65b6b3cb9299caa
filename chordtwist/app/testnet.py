"""A whole ring in one process: nodes that can be killed, frozen, added, and put under load while somebody looks on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import ip_address
from typing import Any, TextIO

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred

from chordtwist.app.config import API_PORT_ABOVE, NodeConfig
from chordtwist.app.node_reactor import NodeReactor
from chordtwist.app.process import stop
from chordtwist.app.service import Listener, NodeService, Part, StartError, build, life_ms, own_endpoint
from chordtwist.app.web import Measured, web_of_testnet
from chordtwist.app.web_view import NodeView
from chordtwist.core.address import Address
from chordtwist.core.errors import Refused
from chordtwist.core.peer import Policy
from chordtwist.node.node import Node
from chordtwist.node.ring.ring_trace import RingTrace, line_of


def loopback_addresses(first: str, count: int) -> list[str]:
    """`count` loopback addresses from `first` on.

    @raise ValueError: that is no loopback address, or there are not so many behind it.
    """
    start = ip_address(first)
    last = int(start) + count - 1
    if start.version != 4 or not start.is_loopback or last >> 24 != int(start) >> 24:
        raise ValueError(f"{first} and the {count - 1} addresses behind it are not all IPv4 loopback addresses")
    return [str(start + number) for number in range(count)]


def node_config(common: NodeConfig, address: str, port: int, bootstrap: str) -> NodeConfig:
    """Configure one of the nodes."""
    state = common.dht.state_dir
    dht = replace(
        common.dht,
        # An address each, and all limits by address, as nodes on machines of their own have it.
        identity=common.dht.identity or Policy.IP,
        api_address=Address(address, port + API_PORT_ABOVE),
        p2p_address=Address(address, port),
        public_address=None,
        bootstrap_node=(Address(bootstrap, port),),
        state_dir=None if state is None else state / address,
    )
    return replace(common, dht=dht)


class Standing(Enum):
    """What became of a node."""

    RUNS = "runs"
    PAUSED = "paused"
    KILLED = "killed"
    LEFT = "left"


@dataclass(slots=True)
class Place:
    """One node of the testnet, by its number, from 1 on; `address` is where others dial it."""

    number: int
    address: str
    service: NodeService
    reactor: NodeReactor
    standing: Standing = Standing.RUNS
    status: dict[str, Any] = field(default_factory=dict)
    """What it said of itself when it was looked at last."""

    @property
    def is_member(self) -> bool:
        """Whether it runs and was a member then."""
        return self.standing is Standing.RUNS and self.status.get("member") is True


class Testnet(MultiService):
    """The nodes of one process. A node that was told to leave is gone; the others stay, and the process ends with the
    last.
    """

    def __init__(
        self, reactor: Any, config_at: Callable[[str], NodeConfig], nodes_here: int, trace: TextIO | None = None
    ) -> None:
        """@param config_at: configures the node of an IP address. @param trace: where each change of the ring goes."""
        super().__init__()
        self._reactor = reactor
        self._config_at = config_at
        self._nodes_here = nodes_here
        self._trace = trace
        self._traces: dict[str, RingTrace] = {}
        self._last = ""
        self.nodes: dict[str, NodeService] = {}
        """Those that live, by the address that others dial."""
        self.places: dict[int, Place] = {}
        """All that there ever were, by number."""

    def add(self, host: str) -> str:
        """One more node, at an IP address; say where others dial it.

        @raise StartError: as `build`.
        """
        reactor = NodeReactor(self._reactor)
        node = build(
            self._config_at(host),
            reactor,
            lambda: self._end(place, Standing.LEFT),
            self._nodes_here,
            self._follow,
        )
        self._last = host
        number = len(self.places) + 1
        place = self.places[number] = Place(number, node.shown[0].address, node, reactor)
        self.nodes[place.address] = node
        try:
            node.setServiceParent(self)
        except StartError:
            node.crash()
            self._end(place, Standing.KILLED)
            raise
        return place.address

    def _follow(self, node: Node) -> None:
        if self._trace is not None:
            self._traces[str(node.me)] = RingTrace(node, life_ms, line_of(self._trace))

    def _trace_ended(self, address: str) -> None:
        if (trace := self._traces.pop(address, None)) is not None:
            trace.ended()

    def _end(self, place: Place, standing: Standing) -> None:
        place.standing = standing
        self.nodes.pop(place.address, None)
        place.service.stopService().addCallback(self._gone, place)

    def _gone(self, _: None, place: Place) -> None:
        self._trace_ended(place.address)
        place.service.disownServiceParent()
        if not self.nodes:
            stop(self._reactor)

    # What can be done with them

    def show_at(self, address: Address) -> None:
        """Show all of them on one page."""
        web = web_of_testnet(address, self, self._reactor)
        Part("connections of the page", stop=web.close).setServiceParent(self)
        Listener(own_endpoint(self._reactor, address), web.factory, "page", address).setServiceParent(self)

    def shown(self) -> dict[str, tuple[NodeView, Measured]]:
        """`ITestnet.shown`."""
        return {address: node.shown for address, node in self.nodes.items()}

    def add_one(self) -> str:
        """`ITestnet.add_one`."""
        try:
            return f"{self.add(str(ip_address(self._last) + 1))} joins"
        except (StartError, ValueError) as error:
            raise Refused(f"no node more: {error}") from None

    def kill(self, address: str) -> str:
        """`ITestnet.kill`: as SIGKILL does."""
        place = self._to_end(address)
        place.service.crash()
        self._trace_ended(address)
        self._end(place, Standing.KILLED)
        return f"{address} is dead"

    def let_leave(self, address: str) -> str:
        """`ITestnet.let_leave`."""
        self._end(self._to_end(address), Standing.LEFT)
        return f"{address} leaves"

    def pause(self, address: str) -> str:
        """Freeze a node as SIGSTOP does: its sockets stay open, and it answers nobody; say so.

        @raise Refused: it does not run.
        """
        place = self._at(address)
        if place.standing is not Standing.RUNS:
            raise Refused(f"{address} is {place.standing.value} already")
        place.reactor.freeze()
        place.standing = Standing.PAUSED
        return f"{address} is paused: its sockets stand, and it says nothing"

    def resume(self, address: str) -> str:
        """Let a frozen node go on; say so.

        @raise Refused: it is not frozen.
        """
        place = self._at(address)
        if place.standing is not Standing.PAUSED:
            raise Refused(f"{address} is not paused")
        place.standing = Standing.RUNS
        place.reactor.thaw()
        return f"{address} goes on"

    def paused(self) -> set[str]:
        """`ITestnet.paused`."""
        return {place.address for place in self.places.values() if place.standing is Standing.PAUSED}

    def address_of(self, number: int) -> str:
        """Find the address of a node by its number. @raise Refused: there is none, or it is gone."""
        place = self.places.get(number)
        if place is None:
            raise Refused(f"there is no node {number}; they are numbered from 1 to {len(self.places)}")
        if place.standing in (Standing.KILLED, Standing.LEFT):
            raise Refused(f"{number} is gone already")
        return place.address

    def _at(self, address: str) -> Place:
        for place in reversed(self.places.values()):
            if place.address == address:
                return place
        raise Refused(f"there is no node at {address}")

    def _to_end(self, address: str) -> Place:
        # Any but the last. A frozen node would never be done with its end: it goes on for that.
        if address not in self.nodes or len(self.nodes) < 2:
            raise Refused("the last node stays: with it the process would end")
        place = self._at(address)
        if place.standing is Standing.PAUSED:
            place.reactor.thaw()
        return place

    # How they are

    @property
    def at_work(self) -> list[Place]:
        """The nodes that run, and are not frozen."""
        return [place for place in self.places.values() if place.standing is Standing.RUNS]

    @property
    def members(self) -> int:
        """How many nodes are members of the ring."""
        return sum(node.shown[0].is_member for node in self.nodes.values())

    def look(self) -> None:
        """Ask every node that runs how it is."""
        for place in self.at_work:
            place.status = place.service.dht.status()

    def disagreeing(self) -> list[Place]:
        """Find the running nodes that are no members, or whose neighbours are not the members beside them, by what all
        said when they were looked at last. Whoever is paused is no member: the others take it for dead. Members that do
        not run here, of a ring that was joined, are passed over.
        """
        here = {place.address for place in self.places.values()}
        ring = sorted((place for place in self.at_work if place.is_member), key=lambda place: str(place.status["id"]))
        addresses = [place.address for place in ring]
        wrong = [place for place in self.at_work if not place.is_member]
        for index, place in enumerate(ring):
            after, before = addresses[(index + 1) % len(ring)], addresses[index - 1]
            successors, predecessor = place.status["successors"], place.status["predecessor"]
            here_after = [peer for peer in successors if peer in here]
            if len(ring) == 1:
                is_right = not here_after
            else:
                # As many of the others may stand in between as a list has entries.
                is_right = here_after[:1] == [after] if here_after else bool(successors)
                is_right &= predecessor == before if predecessor in here else predecessor is not None
            if not is_right:
                wrong.append(place)
        return wrong

    @property
    def obstacle(self) -> str:
        """What keeps the first node from joining, in its own words."""
        told: Any = next(iter(self.nodes.values())).dht.status()["joining"]
        return "; ".join(f"{address}: {reason}" for address, reason in told.items()) or "nobody has answered"

    def stopService(self) -> Deferred[None]:
        """Let all of them leave at once; fires when they have."""
        for place in self.places.values():
            if place.standing is Standing.PAUSED:
                place.reactor.thaw()
        return DeferredList([maybeDeferred(part.stopService) for part in list(self)]).addCallback(lambda _: None)
