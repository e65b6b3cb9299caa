"""Several nodes on one loopback address, told apart by their ports: what people try first, with the least of files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import API_PORT_ABOVE
from tests.fleet import BIN, Client, free_port

WITHIN_S = 90.0
"""For what takes seconds; far beyond it on any machine that is not stuck."""


class Node:
    """A node in a process of its own, with a file of as few lines as it takes."""

    def __init__(self, case: SynchronousTestCase, folder: Path, host: str, *lines: str, port: int = 0) -> None:
        port = port or free_port()
        self.p2p = f"{host}:{port}"
        self.api_host, self.api_port = host.strip("[]"), port + API_PORT_ABOVE
        self._log = folder / f"{self.api_port}.log"
        self._config = folder / f"{self.api_port}.ini"
        self._config.write_text("\n".join(("[dht]", f"p2p_address = {self.p2p}", *lines)))
        self.start()
        case.addCleanup(self.end)

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([BIN / "chordtwist", "run", "-c", self._config], stderr=log)

    def end(self) -> None:
        """End it, if it still runs, without a goodbye."""
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    def client(self) -> Client:
        """A client as the course writes it."""
        return Client(self.api_host, port=self.api_port)

    def neighbours(self) -> int:
        """How many others are in its list; -1 while it is no member, or does not listen."""
        try:
            client = self.client()
        except OSError:
            return -1
        try:
            status = client.status()
        finally:
            client.close()
        successors = status["successors"]
        assert isinstance(successors, list)
        return len(successors) if status["member"] is True else -1


class OneAddressTests(SynchronousTestCase):
    """Nodes that nobody has told how places are made."""

    def setUp(self) -> None:
        """A folder for their files."""
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def node(self, host: str, *lines: str, port: int = 0) -> Node:
        """Start a node at a host of this machine, at some port or this one."""
        return Node(self, self.folder, host, *lines, port=port)

    def ring(self, hosts: Sequence[str]) -> list[Node]:
        """Start nodes that all list the first, and wait until they are one ring."""
        port = free_port()
        joins = f"bootstrap_node = {hosts[0]}:{port}"
        nodes = [self.node(hosts[0], joins, port=port), *(self.node(host, joins) for host in hosts[1:])]
        self.wait(lambda: all(node.neighbours() == len(nodes) - 1 for node in nodes), nodes)
        return nodes

    def wait(self, reached: Callable[[], bool], nodes: Sequence[Node]) -> None:
        """Wait for a state."""
        ends_at = time.monotonic() + WITHIN_S
        while not reached():
            if time.monotonic() > ends_at:
                self.fail("\n".join(node.log for node in nodes))
            time.sleep(0.1)

    def assert_shares_values(self, nodes: Sequence[Node]) -> None:
        """What is put at each is read at all the others, over the course's messages."""
        clients = [node.client() for node in nodes]
        values = {bytes([number]) * 32: b"value %d" % number for number in range(1, 2 * len(nodes))}
        for number, (key, value) in enumerate(values.items()):
            clients[number % len(clients)].put(key, value)
        for client in clients:
            self.wait(lambda client=client: client.get_many(list(values)) == values, nodes)  # type: ignore[misc]
            client.close()

    def test_five_nodes(self) -> None:
        """Five nodes of one address, with two lines each, where it listens and whom it joins, are a hash table; it
        survives that one of them leaves and one dies.
        """
        nodes = self.ring(["127.0.0.1"] * 5)
        self.assert_shares_values(nodes)
        leaving = nodes[1].client()
        leaving.shutdown()
        leaving.close()
        nodes[1].process.wait(WITHIN_S)
        nodes[2].end()
        rest = [nodes[0], nodes[3], nodes[4]]
        self.wait(lambda: all(node.neighbours() == 2 for node in rest), rest)
        self.assert_shares_values(rest)
        self.assertEqual([], [line for node in rest for line in node.log.splitlines() if "Traceback" in line])

    def test_other_loopback_addresses(self) -> None:
        """So it is on the address of IPv6, and by name."""
        for host in "[::1]", "localhost":
            self.assert_shares_values(self.ring([host] * 3))

    def test_first_by_name(self) -> None:
        """A first node that lists itself as localhost, as a file for all nodes does, begins the ring."""
        port = free_port()
        line = f"bootstrap_node = localhost:{port}"
        first = self.node("localhost", line, port=port)
        self.wait(lambda: first.neighbours() == 0, [first])
        second = self.node("localhost", line)
        self.wait(lambda: first.neighbours() == second.neighbours() == 1, [first, second])
        self.assertNotIn("[::1]", first.log + second.log)

    def test_mixed_list(self) -> None:
        """A list that names other machines and other families as well is gone through; each that cannot be dialled from
        here is passed over at once, in one line.
        """
        first = self.node("127.0.0.1")
        listed = f"192.0.2.1:6401, [::1]:6401, {first.p2p}, [2001:db8::1]:6401"
        second = self.node("127.0.0.1", f"bootstrap_node = {listed}")
        self.wait(lambda: first.neighbours() == second.neighbours() == 1, [first, second])
        for address, reason in (
            ("192.0.2.1:6401", "another machine cannot be reached from 127.0.0.1"),
            ("[::1]:6401", "an IPv6 address cannot be dialled from 127.0.0.1"),
            ("[2001:db8::1]:6401", "an IPv6 address cannot be dialled from 127.0.0.1"),
        ):
            told = [line for line in second.log.splitlines() if f"bootstrap: {address}" in line]
            self.assertEqual((1, True), (len(told), reason in told[0]), second.log)

    def test_other_family(self) -> None:
        """A node of IPv6 that lists one of IPv4 only says so, goes on, and takes in who comes."""
        first = self.node("127.0.0.1")
        node = self.node("[::1]", f"bootstrap_node = {first.p2p}")
        self.wait(lambda: "an IPv4 address cannot be dialled from ::1" in node.log, [node])
        self.assertEqual(-1, node.neighbours())
        self.assertNotIn("Traceback", node.log)
        self.assertEqual(1, node.log.count(f"bootstrap: {first.p2p}"))

    def test_different_defaults(self) -> None:
        """A node that says ip where the others say nothing is refused, in words that name the option."""
        first = self.node("127.0.0.1")
        other = self.node("127.0.0.1", f"bootstrap_node = {first.p2p}", "identity = ip")
        self.wait(lambda: "identity is address there and ip here" in other.log, [first, other])

    def test_same_place(self) -> None:
        """Where identity = ip in words, a second node of an address is told what that means."""
        first = self.node("127.0.0.1", "identity = ip")
        other = self.node("127.0.0.1", f"bootstrap_node = {first.p2p}", "identity = ip")
        self.wait(lambda: "where identity = ip, one address is one place" in other.log, [first, other])

    def test_copied_state(self) -> None:
        """A node that was given the folder of another one says that two run with one key, and what to do."""
        first = self.node("127.0.0.1", "state_dir = first")
        self.wait(lambda: first.neighbours() == 0, [first])
        shutil.copytree(self.folder / "first", self.folder / "second")
        other = self.node("127.0.0.1", f"bootstrap_node = {first.p2p}", "state_dir = second")
        expected = f"{first.p2p} runs with this node's key: state_dir was copied, and one of the two needs an empty one"
        self.wait(lambda: expected in other.log, [first, other])
        client = other.client()
        self.addCleanup(client.close)
        self.wait(lambda: expected in str(client.status()["joining"]), [first, other])
