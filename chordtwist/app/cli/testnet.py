"""``chordtwist testnet``: a whole ring in one process, to try things with."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address
from random import Random
from typing import Any, TextIO

import click
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from chordtwist.app import config_file
from chordtwist.app.cli import talking
from chordtwist.app.cli.testnet_view import Keys, LiveView, PlainView, first_words, is_in_front
from chordtwist.app.config import API_PORT_ABOVE, Level, NodeConfig
from chordtwist.app.line_writer import to_standard_error
from chordtwist.app.log_lines import LogLines, Stream
from chordtwist.app.process import choose_reactor, make_ready, stop
from chordtwist.app.service import StartError
from chordtwist.app.testnet import Testnet, loopback_addresses, node_config
from chordtwist.app.testnet_load import Load
from chordtwist.app.testnet_story import Story
from chordtwist.app.testnet_words import Mistyped, Words
from chordtwist.core.address import Address

WEB_PORT_ABOVE = 2000
"""And the page is at the first node's address, at port 8401 by habit."""

NODES_MAX = 2000
LOOK_EVERY_S, LOOK_SLOWEST_S = 0.2, 2.0
"""Between two looks at all nodes: 5 ms of each node are in between at least, so that looking takes little."""

LOOK_PER_NODE_S = 0.005
WAITING_AFTER_S = 5.0
"""When nobody is a member by then it says what stands in the way."""

STEP_WITHIN_S = 120.0
"""A step of a script that waits for the ring gives up then."""


def _ip_address(context: click.Context, parameter: click.Parameter, written: str | None) -> str | None:
    try:
        return None if written is None else str(ip_address(written))
    except ValueError:
        raise click.BadParameter(f"{written!r} is no IP address; its port is that of --base-port") from None


@click.command(
    help="""Run N nodes on loopback addresses of their own, 127.0.0.1 and up, in one process.

    Every node has its own API, links and records, as N processes would have. SHUTDOWN at one of them lets that node
    leave; Ctrl-C lets all of them leave. A page, http://127.0.0.1:8401/ by habit, shows the ring as it changes, and
    adds, pauses and kills nodes.

    On a terminal a live table shows them, and takes words: kill 3, pause 3, resume 3, leave 3, add 2, load 50 (puts and
    gets a second), quit. With --script they stand in a file, a line each; there "ring" waits until all
    that run are one ring, and "wait 2" for so many seconds.

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
@click.option(
    "--script",
    metavar="FILE",
    type=click.File(encoding="utf-8"),
    help="Do what its lines say, one after another, then quit; - is standard input.",
)
@click.option("--trace", type=click.File("w", lazy=False), metavar="FILE", help="Write each change of the ring.")
def command(
    nodes: int, base_port: int, first: str, join: str | None, path: str | None, script: Any, trace: TextIO | None
) -> None:
    """Run ``chordtwist testnet``."""
    try:
        addresses = loopback_addresses(first, nodes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    common = NodeConfig() if path is None else config_file.read_file(path)
    if path is None:
        # Hundreds of nodes that each say when they joined say nothing.
        common = replace(common, log=replace(common.log, level=Level.WARN))
    steps = None if script is None else [line.strip() for line in script]
    logged = Logged(to_standard_error())
    lines = LogLines(common.log, logged, os.environ)
    globalLogBeginner.beginLoggingTo([lines], redirectStandardIO=False)
    choose_reactor()
    from twisted.internet import reactor

    make_ready(reactor)
    page = Address(first, base_port + WEB_PORT_ABOVE)
    testnet = Testnet(reactor, lambda address: node_config(common, address, base_port, join or first), nodes, trace)
    try:
        for address in addresses:
            testnet.add(address)
        testnet.show_at(page)
        testnet.privilegedStartService()
        testnet.startService()
    except StartError as error:
        raise click.ClickException(str(error)) from None
    show = Show(testnet, base_port, addresses, page, logged, reactor)
    reactor.addSystemEventTrigger("before", "shutdown", show.end)
    reactor.addSystemEventTrigger("before", "shutdown", testnet.stopService)
    reactor.callWhenRunning(show.start, steps)
    reactor.run()
    if show.has_failed:
        raise SystemExit(1)


class Logged:
    """Where lines of the log go: to standard error, or below a live table, which they would tear."""

    def __init__(self, stream: Stream | None) -> None:
        self.say: Callable[[str], None] | None = None
        self._stream = stream

    def fileno(self) -> int:
        """Give the descriptor of standard error."""
        return 2

    def write(self, text: str) -> None:
        """Write a line, or several."""
        if self.say is not None:
            self.say(text.rstrip())
        elif self._stream is not None:
            self._stream.write(text)


class Show:
    """What is seen of a testnet, and what is done with it, from its start to its end.

    @ivar has_failed: whether a script had a step that could not be done.
    """

    _log = Logger()

    def __init__(
        self,
        testnet: Testnet,
        base_port: int,
        addresses: list[str],
        page: Address,
        logged: Logged,
        reactor: Any,
    ) -> None:
        self.has_failed = False
        self._testnet = testnet
        self._reactor = reactor
        self._logged = logged
        self._page = page
        self._addresses = addresses
        self._api = f"{addresses[min(2, len(addresses) - 1)]}:{base_port + API_PORT_ABOVE}"
        self._base_port = base_port
        self._began_s = reactor.seconds()
        self._story = Story(testnet, self._began_s)
        self._load = Load(lambda: [place.service.dht for place in testnet.at_work], reactor, Random())
        self._words = Words(testnet, self._load)
        self._steps: deque[str] | None = None
        self._step_until_s: float | None = None
        self._waits_for_ring = False
        self._is_followed = False
        self._keys: Keys | None = None
        self._view: PlainView | LiveView = PlainView(self._load)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def start(self, steps: Iterable[str] | None) -> None:
        """Begin: with a script, at a terminal, or neither."""
        if steps is not None:
            self._steps = deque(step for step in steps if step and not step.startswith("#"))
        elif is_in_front():
            self._view = LiveView(self._testnet, self._story, self._load, len(self._addresses))
            self._keys = Keys(self._do, self._typed, self._no_more_keys)
            self._reactor.addReader(self._keys)
            self._logged.say = self._view.say
        self._is_followed = self._steps is not None or self._keys is not None
        self._reactor.callLater(WAITING_AFTER_S, self._say_why)
        self._schedule_looks()

    def end(self) -> None:
        """Leave the terminal as it was; nodes may take some seconds more to leave."""
        self._load.set(0)
        self._no_more_keys()
        if self._looking.running:
            self._looking.stop()
        self._logged.say = None
        self._view.end()

    def _schedule_looks(self) -> None:
        every_s = min(LOOK_SLOWEST_S, max(LOOK_EVERY_S, LOOK_PER_NODE_S * len(self._testnet.places)))
        self._looking.start(every_s).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("looking at the nodes failed", failure)
        self._give_up("an error of this program")

    def _say_why(self) -> None:
        is_forming = self._looking.running and self._testnet.nodes and not self._story.has_formed
        if is_forming and not self._testnet.members:
            self._view.say(f"no node is a member yet: {self._testnet.obstacle}; trying on")

    def _look(self) -> None:
        had_formed = self._story.has_formed
        for line in self._story.look(self._reactor.seconds()):
            self._view.say(line)
        if self._story.has_formed and not had_formed:
            self._formed()
        self._view.refresh()
        if self._steps is not None and self._story.has_formed:
            self._next_step()

    def _formed(self) -> None:
        nodes, took_s = len(self._addresses), self._reactor.seconds() - self._began_s
        self._view.say(
            f"{nodes} nodes on {self._addresses[0]} to {self._addresses[-1]}, formed in {took_s:.1f} s;"
            f" APIs at port {self._base_port + API_PORT_ABOVE}; the ring: http://{self._page}/"
        )
        if self._keys is not None:
            for line in first_words(self._api, f"http://{self._page}/"):
                self._view.say(line)
        if not self._is_followed:
            # Nobody looks on: from here on it costs nothing.
            self._looking.stop()

    # What is typed

    def _typed(self, line: str) -> None:
        if isinstance(self._view, LiveView):
            self._view.typed = line
            self._view.refresh()

    def _no_more_keys(self) -> None:
        if self._keys is not None:
            self._reactor.removeReader(self._keys)
            self._keys = None

    def _do(self, line: str) -> bool:
        try:
            said = self._words.do(line)
        except Mistyped as error:
            self._view.say(str(error))
            return False
        if self._words.has_touched:
            self._story.touched(self._reactor.seconds())
        if said:
            self._view.say(said)
        if self._words.is_over:
            stop(self._reactor)
        return True

    # A script

    def _next_step(self) -> None:
        """Do what comes next in the script, when what it waits for has come."""
        now_s = self._reactor.seconds()
        if self._step_until_s is not None:
            is_whole = self._waits_for_ring and self._story.is_one_ring
            if now_s < self._step_until_s and not is_whole:
                return
            if self._waits_for_ring and not is_whole:
                self._give_up(f"no ring within {STEP_WITHIN_S:g} s: {self._story.in_words()}")
                return
            self._step_until_s = None
        assert self._steps is not None
        if not self._steps:
            stop(self._reactor)
            return
        step = self._steps.popleft()
        words = step.split()
        self._waits_for_ring = words == ["ring"]
        if self._waits_for_ring:
            self._step_until_s = now_s + STEP_WITHIN_S
        elif words[0] == "wait" and len(words) == 2 and words[1].replace(".", "", 1).isdecimal():
            self._step_until_s = now_s + float(words[1])
        elif not self._do(step):
            self._give_up(f"{step!r} could not be done")

    def _give_up(self, reason: str) -> None:
        self.has_failed = True
        talking.show(reason, err=True)
        self._steps = deque()
        self._step_until_s = None
        stop(self._reactor)
