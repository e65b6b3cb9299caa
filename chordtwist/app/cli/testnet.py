"""``chordtwist testnet``: a whole ring in one process, to try things with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import click
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import globalLogBeginner

from chordtwist.app import config_file
from chordtwist.app.cli import talking
from chordtwist.app.config import Level, NodeConfig
from chordtwist.app.line_writer import to_standard_error
from chordtwist.app.log_lines import LogLines
from chordtwist.app.process import make_ready, stop
from chordtwist.app.service import Listener, NodeService, Part, StartError, build, own_endpoint
from chordtwist.app.web import Measured, web_of_testnet
from chordtwist.app.web_view import NodeView
from chordtwist.core.address import Address
from chordtwist.core.errors import Refused
from chordtwist.core.peer import Policy

API_PORT_ABOVE = 1000
"""The habitual ports are 6401 for nodes and 7401 for the API."""

WEB_PORT_ABOVE = 2000
"""And the page is at the first node's address, at port 8401 by habit."""

NODES_MAX = 2000
LOOK_EVERY_S = 0.2
WAITING_AFTER_S = 5.0
"""When nobody is a member by then it says what stands in the way."""


def _ip_address(context: click.Context, parameter: click.Parameter, written: str | None) -> str | None:
    try:
        return None if written is None else str(ip_address(written))
    except ValueError:
        raise click.BadParameter(f"{written!r} is no IP address; its port is that of --base-port") from None


@click.command(
    help="""Run N nodes on loopback addresses of their own, 127.0.0.1 and up, in one process.

    Every node has its own API, links and records, as N processes would have. SHUTDOWN at one of them lets that node
    leave; Ctrl-C lets all of them leave. A page, http://127.0.0.1:8401/ by habit, shows the ring as it changes, and
    adds and kills nodes.

    \b
    chordtwist testnet 10
    chordtwist put greeting hello --api 127.0.0.3:7401
    chordtwist get greeting --api 127.0.0.8:7401
    """
)
@click.argument("nodes", metavar="N", type=click.IntRange(1, NODES_MAX))
@click.option(
    "--base-port",
    metavar="P",
    type=click.IntRange(1, 65_535 - WEB_PORT_ABOVE),
    default=6401,
    show_default=True,
    help=f"Port of the nodes among each other; their APIs are at P + {API_PORT_ABOVE}, a page at P + {WEB_PORT_ABOVE}.",
)
@click.option("--first", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address of the first node.")
@click.option(
    "--join",
    metavar="ADDRESS",
    callback=_ip_address,
    help="A node of another testnet, with the same base port, to join instead of beginning a ring.",
)
@click.option(
    "-c",
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(),
    help="A configuration for all of them; addresses and bootstrap nodes in it are replaced.",
)
def command(nodes: int, base_port: int, first: str, join: str | None, path: str | None) -> None:
    """Run ``chordtwist testnet``."""
    try:
        addresses = loopback_addresses(first, nodes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    common = NodeConfig() if path is None else config_file.read_file(path)
    if path is None:
        # Hundreds of nodes that each say when they joined say nothing.
        common = replace(common, log=replace(common.log, level=Level.WARN))
    lines = LogLines(common.log, to_standard_error(), os.environ)
    globalLogBeginner.beginLoggingTo([lines], redirectStandardIO=False)
    from twisted.internet import reactor

    make_ready(reactor)
    page = Address(first, base_port + WEB_PORT_ABOVE)
    testnet = Testnet(reactor, lambda address: node_config(common, address, base_port, join or first), nodes)
    try:
        for address in addresses:
            testnet.add(address)
        testnet.show_at(page)
        testnet.privilegedStartService()
        testnet.startService()
    except StartError as error:
        raise click.ClickException(str(error)) from None
    reactor.addSystemEventTrigger("before", "shutdown", testnet.stopService)
    began = reactor.seconds()

    def say_why() -> None:
        if looking.running and testnet.nodes and not testnet.members:
            talking.show(f"no node is a member yet: {testnet.obstacle}; trying on", err=True)

    def look() -> None:
        if testnet.members < nodes:
            return
        looking.stop()
        talking.show(
            f"{nodes} nodes on {addresses[0]} to {addresses[-1]}, formed in {reactor.seconds() - began:.1f} s;"
            f" APIs at port {base_port + API_PORT_ABOVE}; the ring: http://{page}/"
        )

    looking = LoopingCall(look)
    looking.clock = reactor
    reactor.callWhenRunning(looking.start, LOOK_EVERY_S)
    reactor.callLater(WAITING_AFTER_S, say_why)
    reactor.run()


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


class Testnet(MultiService):
    """The nodes of one process. A node that was told to leave is gone; the others stay, and the process ends with the
    last.
    """

    def __init__(self, reactor: Any, config_at: Callable[[str], NodeConfig], nodes_here: int) -> None:
        """@param config_at: configures the node of an IP address."""
        super().__init__()
        self._reactor = reactor
        self._config_at = config_at
        self._nodes_here = nodes_here
        self._last = ""
        self.nodes: dict[str, NodeService] = {}
        """Those that live, by the address that others dial."""

    def add(self, host: str) -> str:
        """One more node, at an IP address; say where others dial it.

        @raise StartError: as `build`.
        """
        node = build(self._config_at(host), self._reactor, lambda: self._end(node), self._nodes_here)
        self._last = host
        self.nodes[node.shown[0].address] = node
        try:
            node.setServiceParent(self)
        except StartError:
            node.crash()
            self._end(node)
            raise
        return node.shown[0].address

    def _end(self, node: NodeService) -> None:
        self.nodes.pop(node.shown[0].address, None)
        node.stopService().addCallback(self._gone, node)

    def _gone(self, _: None, node: NodeService) -> None:
        node.disownServiceParent()
        if not self.nodes:
            stop(self._reactor)

    # For the page

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
        """`ITestnet.kill`."""
        node = self._but_the_last(address)
        node.crash()
        self._end(node)
        return f"{address} is dead"

    def let_leave(self, address: str) -> str:
        """`ITestnet.let_leave`."""
        self._end(self._but_the_last(address))
        return f"{address} leaves"

    def _but_the_last(self, address: str) -> NodeService:
        if address not in self.nodes or len(self.nodes) < 2:
            raise Refused("the last node stays: with it the process would end")
        return self.nodes[address]

    @property
    def members(self) -> int:
        """How many nodes are members of the ring."""
        return sum(node.shown[0].is_member for node in self.nodes.values())

    @property
    def obstacle(self) -> str:
        """What keeps the first node from joining, in its own words."""
        told: Any = next(iter(self.nodes.values())).dht.status()["joining"]
        return "; ".join(f"{address}: {reason}" for address, reason in told.items()) or "nobody has answered"

    def stopService(self) -> Deferred[None]:
        """Let all of them leave at once; fires when they have."""
        return DeferredList([maybeDeferred(part.stopService) for part in list(self)]).addCallback(lambda _: None)
