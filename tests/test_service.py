"""The parts that make a node one service: what starts, listens and stops, in which order and how long."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, MemoryReactor, MemoryReactorClock, RaisingMemoryReactor
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chordtwist.app.config import NodeConfig
from chordtwist.app.config_file import read_text
from chordtwist.app.service import (
    CLOSE_WITHIN_S,
    LEAVE_WITHIN_S,
    Listener,
    NodeService,
    OrderedService,
    StartError,
    build,
    dial_from,
    own_endpoint,
    own_ip,
    own_peer,
    parameters_of,
    quota_of,
)
from chordtwist.core.address import Address, UnixAddress
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.quotas import Quota


class Part(Service):
    """A service that tells when it starts and stops; it has stopped when its Deferred fires."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.stopped: Deferred[None] = Deferred(lambda _: told.append(f"{name} given up"))
        self._told = told

    def startService(self) -> None:
        """Tell."""
        super().startService()
        self._told.append(f"{self.name} starts")

    def stopService(self) -> Deferred[None]:
        """Tell."""
        super().stopService()
        self._told.append(f"{self.name} stops")
        return self.stopped


class OrderedServiceTests(SynchronousTestCase):
    """Starting and stopping in order."""

    def setUp(self) -> None:
        """A store, links and an API, started."""
        self.clock = Clock()
        self.told: list[str] = []
        self.parts = [Part(name, self.told) for name in ("store", "links", "api")]
        self.service = OrderedService(self.clock)
        for part in self.parts:
            part.setServiceParent(self.service)
        self.service.startService()

    def test_start(self) -> None:
        """Parts start in the order in which they were added."""
        self.assertEqual(["store starts", "links starts", "api starts"], self.told)

    def test_stop_in_reverse(self) -> None:
        """Each part stops when the one that was added after it has stopped."""
        store, links, api = self.parts
        self.told.clear()
        stopped = self.service.stopService()
        self.assertEqual(["api stops"], self.told)
        api.stopped.callback(None)
        self.assertEqual(["api stops", "links stops"], self.told)
        links.stopped.callback(None)
        self.assertEqual(["api stops", "links stops", "store stops"], self.told)
        self.assertNoResult(stopped)
        store.stopped.callback(None)
        self.successResultOf(stopped)

    def test_stopped_again(self) -> None:
        """Who stops it while it stops, or afterwards, waits for the same end; no part is stopped twice."""
        self.told.clear()
        stopped = [self.service.stopService(), self.service.stopService()]
        for part in reversed(self.parts):
            self.assertEqual([self.assertNoResult(one) for one in stopped], [None, None])
            part.stopped.callback(None)
        stopped.append(self.service.stopService())
        self.assertEqual([self.successResultOf(one) for one in stopped], [None, None, None])
        self.assertEqual(["api stops", "links stops", "store stops"], self.told)

    def test_bounded(self) -> None:
        """A part that never stops is given up in time for those before it; all is over after `LEAVE_WITHIN_S`."""
        links = self.parts[1]
        self.told.clear()
        stopped = self.service.stopService()
        self.clock.advance(LEAVE_WITHIN_S - 2 * CLOSE_WITHIN_S)
        self.assertEqual(["api stops", "api given up", "links stops"], self.told)
        links.stopped.callback(None)
        self.clock.advance(2 * CLOSE_WITHIN_S)
        self.assertEqual("store given up", self.told[-1])
        self.successResultOf(stopped)

    def test_failure(self) -> None:
        """A part that fails to stop is logged, and the others stop all the same."""
        store, links, api = self.parts
        stopped = self.service.stopService()
        api.stopped.errback(ZeroDivisionError())
        links.stopped.callback(None)
        store.stopped.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))


class ListenerTests(SynchronousTestCase):
    """Listening ports."""

    def test_refused(self) -> None:
        """A port that cannot be had fails the start with one line that names the option and the address."""
        refusal = CannotListenError("127.0.0.1", 7401, OSError(98, "Address already in use"))
        reactor = RaisingMemoryReactor(listenException=refusal)
        address = Address("127.0.0.1", 7401)
        listener = Listener(own_endpoint(reactor, address), Factory.forProtocol(Protocol), "api_address", address)
        error = self.assertRaises(StartError, listener.privilegedStartService)
        expected = "cannot listen on api_address 127.0.0.1:7401: Address already in use; a node may run here already:"
        self.assertEqual(f"{expected} chordtwist status shows it", str(error))

    def test_listens(self) -> None:
        """The port is had when the service starts, on the one interface that was asked for."""
        reactor = MemoryReactor()
        address = Address("127.0.0.3", 7401)
        listener = Listener(own_endpoint(reactor, address), Factory.forProtocol(Protocol), "api_address", address)
        listener.privilegedStartService()
        ((port, _, _, interface),) = reactor.tcpServers
        self.assertEqual((7401, "127.0.0.3"), (port, interface))

    def test_named(self) -> None:
        """Where the API's address has a name, its IP address is listened on."""
        reactor = MemoryReactor()
        own_endpoint(reactor, Address("localhost", 7401)).listen(Factory.forProtocol(Protocol))
        self.assertEqual("127.0.0.1", reactor.tcpServers[0][3])

    def test_unix(self) -> None:
        """A Unix socket is listened on at its path, with the rights of the configuration."""
        reactor = MemoryReactor()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "api.sock"
            own_endpoint(reactor, UnixAddress(path), 0o600).listen(Factory.forProtocol(Protocol))
        address, _, _, mode, _ = reactor.unixServers[0]
        self.assertEqual((str(path), 0o600), (address, mode))


class Reactor(MemoryReactorClock):
    """One in memory that the thread of a store can call, which has nothing to say while no record is written."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        """Do nothing: the process that could not start would be over."""


class BuildTests(TestCase):
    """A whole node on a reactor in memory."""

    def setUp(self) -> None:
        """A node with a configuration as short as can be."""
        self.reactor = Reactor()
        self.ended: list[str] = []

    def build(self, text: str = "") -> NodeService:
        """Build, with TLS off."""
        config = read_text(f"[tls]\nmode = off\n[dht]\n{text}", "node.ini", Path("/"))
        return build(config, self.reactor, lambda: self.ended.append("shut down"))

    def test_life(self) -> None:
        """Started, a node listens on both addresses; stopped, it leaves no timer behind."""
        node = self.build("api_address = 127.0.0.2:7401\np2p_address = 127.0.0.3:6401")
        node.privilegedStartService()
        self.assertEqual(
            [(6401, "127.0.0.3"), (7401, "127.0.0.2")],
            sorted((port, interface) for port, _, _, interface in self.reactor.tcpServers),
        )
        node.startService()
        self.reactor.advance(0)
        self.successResultOf(node.stopService())
        self.assertEqual([], [call for call in self.reactor.getDelayedCalls() if call.active()])

    def test_status(self) -> None:
        """The state of a node has the fields that scripts rely on."""
        node = self.build()
        node.privilegedStartService()
        node.startService()
        self.addCleanup(node.stopService)
        expected = (
            "health alarms ready events"
            " id address key epoch network member predecessor successors whole fingers links records bytes tombstones"
            " silent suspected convicted lookups reactor"
        )
        state = json.loads(json.dumps(node.dht.status()))
        self.assertEqual([], [name for name in expected.split() if name not in state])
        self.assertEqual(("127.0.0.1:6401", []), (state["address"], state["convicted"]))
        self.assertEqual((0, 0, 0), (state["records"], state["bytes"], state["tombstones"]))

    def test_announcement(self) -> None:
        """The first line names both addresses; the next say that links are open to all, and nothing is on disk."""
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        node = self.build()
        node.startService()
        self.addCleanup(node.stopService)
        first, open_links, second = [event for event in events if event["log_namespace"] == "chordtwist.app.service"]
        self.assertEqual(("127.0.0.1:6401", "127.0.0.1:7401"), (first["address"], first["api"]))
        self.assertIn("mode = off", formatEvent(open_links))
        self.assertIn("nothing is written to disk", formatEvent(second))

    def test_unreadable_epoch(self) -> None:
        """A file of the state directory that cannot be read fails the start in one line."""
        folder = Path(self.mktemp()).absolute()
        (folder / "epoch").mkdir(parents=True)
        config = read_text(f"[dht]\nstate_dir = {folder}", "node.ini", Path("/"))
        error = self.assertRaises(StartError, build, config, self.reactor, lambda: None)
        self.assertEqual(str(error), f"[dht] state_dir {folder}/epoch: cannot be read: Is a directory")

    def test_tls(self) -> None:
        """Without a word about TLS links are encrypted; credentials that do not serve fail the start in one line."""
        node = build(read_text("[dht]", "node.ini", Path("/")), self.reactor, lambda: None)
        node.startService()
        self.successResultOf(node.stopService())
        config = read_text("hostkey = /nothing.pem\n[dht]", "node.ini", Path("/"))
        error = self.assertRaises(StartError, build, config, self.reactor, lambda: None)
        self.assertEqual(str(error), "[tls] /nothing.pem: cannot be read: No such file or directory")


class OwnAddressTests(SynchronousTestCase):
    """Who this node is."""

    def test_ip_stays(self) -> None:
        """An IP address is taken as it is."""
        self.assertEqual("2001:db8::1", own_ip(Address("2001:db8::1", 6401)))

    def test_localhost(self) -> None:
        """A name is resolved when the node is built."""
        self.assertEqual("127.0.0.1", own_ip(Address("localhost", 6401)))

    def test_unknown_name(self) -> None:
        """A name that does not resolve fails the start with one line that names it."""
        error = self.assertRaises(StartError, own_ip, Address("nobody.invalid", 6401))
        self.assertIn("nobody.invalid:6401: the name nobody.invalid cannot be resolved", str(error))

    def test_place(self) -> None:
        """The place follows from the public address where there is one, under the network's policy."""
        config = read_text("[dht]\npublic_address = 192.0.2.7:7000\nidentity = address", "node.ini", Path("/"))
        identity = Identity("chordtwist", Policy.ADDRESS)
        self.assertEqual(identity.peer("192.0.2.7", 7000), own_peer(config, identity))

    def test_quota(self) -> None:
        """What one address may leave here is a share of what the node keeps, and never nothing."""
        limits = read_text("[dht]\n[limits]\nstored_mib = 8\nstored_records = 10\n", "node.ini", Path("/")).limits
        self.assertEqual(Quota(5, 4 << 20), quota_of(limits))
        self.assertEqual(Quota(1, 83886), quota_of(replace(limits, stored_records=1, stored_percent_per_address=1)))

    def test_dial_from(self) -> None:
        """Links are dialled from the address that others know; behind a translated one the system chooses."""
        for text, expected in {
            "p2p_address = 127.0.0.2:6401": "127.0.0.2",
            "p2p_address = 192.0.2.1:6401\npublic_address = 192.0.2.1:7000": "192.0.2.1",
            "p2p_address = 10.0.0.1:6401\npublic_address = 192.0.2.1:6401": "",
            "p2p_address = 0.0.0.0:6401\npublic_address = 192.0.2.1:6401": "",
        }.items():
            self.assertEqual(expected, dial_from(read_text(f"[dht]\n{text}", "node.ini", Path("/"))), text)

    def test_agreement(self) -> None:
        """What the network's nodes must agree on comes from the configuration."""
        text = "[dht]\nnetwork = test\nsuccessors = 8\nreplication = 2\nidentity = address"
        parameters = parameters_of(read_text(text, "node.ini", Path("/")))
        expected = ("test", 8, 2, Policy.ADDRESS)
        found = (parameters.network, parameters.successors, parameters.replication, parameters.policy)
        self.assertEqual(expected, found)
        self.assertEqual("chordtwist", parameters_of(NodeConfig()).network)

    def test_identity(self) -> None:
        """Where nothing is said, ports make places on loopback; on real addresses they do not. Others' way to the node
        decides.
        """
        for text, expected in {
            "": Policy.ADDRESS,
            "p2p_address = 127.9.9.9:6402": Policy.ADDRESS,
            "p2p_address = [::1]:6401": Policy.ADDRESS,
            "p2p_address = [::ffff:127.0.0.1]:6401": Policy.ADDRESS,
            "p2p_address = localhost:6401": Policy.ADDRESS,
            "p2p_address = 0.0.0.0:6401\npublic_address = 127.0.0.1:6401": Policy.ADDRESS,
            "p2p_address = 127.0.0.1:6401\npublic_address = 192.0.2.7:6401": Policy.IP,
            "p2p_address = 192.0.2.7:6401\npublic_address = 127.0.0.1:6401": Policy.ADDRESS,
            "p2p_address = 192.0.2.7:6401": Policy.IP,
            "p2p_address = 10.0.0.7:6401": Policy.IP,
            "p2p_address = [2001:db8::7]:6401": Policy.IP,
            "identity = ip": Policy.IP,
            "identity =\np2p_address = 10.0.0.7:6401": Policy.IP,
            "p2p_address = 10.0.0.7:6401\nidentity = address": Policy.ADDRESS,
        }.items():
            found = parameters_of(read_text(f"[dht]\n{text}", "node.ini", Path("/"))).policy
            self.assertIs(expected, found, text)
