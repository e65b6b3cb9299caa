"""A whole ring in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from click.testing import CliRunner
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli.commands import main
from chordtwist.app.config import DhtSection, NodeConfig, TlsMode, TlsSection
from chordtwist.app.testnet import Testnet, loopback_addresses, node_config
from chordtwist.core.address import Address
from chordtwist.core.peer import Policy
from chordtwist.wire.api_messages import Shutdown


class TestnetTests(SynchronousTestCase):
    """What the nodes of a testnet are."""

    def test_addresses_follow_one_another(self) -> None:
        """The nodes have the addresses from the first on, across the last number of an address too."""
        self.assertEqual(["127.0.0.254", "127.0.0.255", "127.0.1.0"], loopback_addresses("127.0.0.254", 3))

    def test_loopback_only(self) -> None:
        """An address that is not loopback, or a run of them that leaves it, is refused."""
        for first, count in (("10.0.0.1", 1), ("127.255.255.255", 2), ("::1", 1)):
            self.assertRaises(ValueError, loopback_addresses, first, count)

    def test_config(self) -> None:
        """A node has its own address, API and state; the rest is as the common configuration says."""
        common = NodeConfig(dht=DhtSection(successors=8, state_dir=Path("/state")))
        config = node_config(common, "127.0.0.7", 6500, "127.0.0.1")
        self.assertEqual(
            DhtSection(
                identity=Policy.IP,
                api_address=Address("127.0.0.7", 7500),
                p2p_address=Address("127.0.0.7", 6500),
                bootstrap_node=(Address("127.0.0.1", 6500),),
                successors=8,
                state_dir=Path("/state/127.0.0.7"),
            ),
            config.dht,
        )
        chosen = NodeConfig(dht=DhtSection(identity=Policy.ADDRESS))
        self.assertIs(Policy.ADDRESS, node_config(chosen, "127.0.0.7", 6500, "127.0.0.1").dht.identity)

    def test_obstacle(self) -> None:
        """While nobody is a member the first node's own words say why."""
        testnet = self.start(2)
        for node, told in zip(testnet.nodes.values(), ({"127.0.0.9:6401": "connection refused"}, {}), strict=True):
            state = {"member": False, "joining": told}
            node.dht = SimpleNamespace(status=lambda state=state: state)  # type: ignore[assignment]
            node.shown = (SimpleNamespace(is_member=False), node.shown[1])  # type: ignore[assignment]
        self.assertEqual((testnet.members, testnet.obstacle), (0, "127.0.0.9:6401: connection refused"))

    def start(self, nodes: int) -> Testnet:
        """A testnet of so many nodes, from 127.0.0.1 on."""
        self.reactor = MemoryReactorClock()
        common = NodeConfig(tls=TlsSection(mode=TlsMode.OFF))
        testnet = Testnet(self.reactor, lambda host: node_config(common, host, 6401, "127.0.0.1"), nodes)
        for address in loopback_addresses("127.0.0.1", nodes):
            testnet.add(address)
        testnet.privilegedStartService()
        testnet.startService()
        return testnet

    def shut_down(self, address: str) -> Callable[[], None]:
        """Send SHUTDOWN to the node at that address; answers what to call when the client hangs up."""
        (door,) = [factory for port, factory, _, host in self.reactor.tcpServers if (port, host) == (7401, address)]
        here = IPv4Address("TCP", "127.0.0.1", 50_000)
        client = door.buildProtocol(here)
        assert client is not None
        client.makeConnection(StringTransport(peerAddress=here))
        self.reactor.advance(0)
        client.dataReceived(Shutdown().pack())

        def hang_up() -> None:
            client.connectionLost(Failure(ConnectionDone()))
            self.reactor.advance(0)

        return hang_up

    def test_told_to_leave(self) -> None:
        """A node that was told to leave is gone once it has stopped; the others stay, and stop with the testnet."""
        testnet = self.start(2)
        one, other = testnet.services
        hang_up = self.shut_down("127.0.0.2")
        self.assertEqual((testnet.services, other.running), ([one, other], False))
        hang_up()
        self.assertEqual((testnet.services, one.running), ([one], True))
        self.assertFalse(self.reactor.hasStopped)
        self.successResultOf(testnet.stopService())
        self.assertFalse(one.running)

    def test_all_told_to_leave(self) -> None:
        """The process ends with its last node."""
        testnet = self.start(1)
        self.shut_down("127.0.0.1")()
        self.assertEqual((testnet.services, self.reactor.hasStopped), ([], True))

    def test_bad_usage(self) -> None:
        """Too many nodes, or an address that will not do, end it with status 2 before anything listens."""
        for arguments in (
            ["0"],
            ["3000"],
            ["2", "--first", "10.0.0.1"],
            ["2", "--first", "here"],
            ["2", "--join", "127.0.0.9:6401"],
            ["3", "--first", "127.255.255.254"],
        ):
            self.assertEqual(2, CliRunner().invoke(main, ["testnet", *arguments]).exit_code)
