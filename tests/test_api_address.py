"""API addresses as people write them become endpoints, or an error that says what would be right."""

from __future__ import annotations

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.net.api_address import BACKLOG, PATH_BYTES_MAX, dialling_endpoint, listening_endpoint


class AddressTests(SynchronousTestCase):
    def test_listening(self) -> None:
        """A node listens on the one interface that its address names."""
        reactor = MemoryReactorClock()
        factory = Factory.forProtocol(Protocol)
        for address in "127.0.0.5:7401", "[::1]:7402":
            self.successResultOf(listening_endpoint(reactor, address).listen(factory))
        made = [(port, backlog, interface) for port, _, backlog, interface in reactor.tcpServers]
        self.assertEqual(made, [(7401, BACKLOG, "127.0.0.5"), (7402, BACKLOG, "::1")])

    def test_dialling(self) -> None:
        """A client dials host, port and path as they are written."""
        reactor = MemoryReactorClock()
        factory = Factory.forProtocol(Protocol)
        for address in "127.0.0.5:7401", "[::1]:7402", "localhost:7403", "unix:/run/chordtwist/api.sock":
            dialling_endpoint(reactor, address).connect(factory)
        expected = [("127.0.0.5", 7401), ("::1", 7402), ("127.0.0.1", 7403)]  # what this reactor resolves names to
        self.assertEqual([client[:2] for client in reactor.tcpClients], expected)
        self.assertEqual([client[0] for client in reactor.unixClients], ["/run/chordtwist/api.sock"])

    def test_no_address(self) -> None:
        """What is no address is refused, and the words quote it and show one."""
        for address, expected in (
            ("localhost", "'localhost' is neither host:port nor unix:PATH"),
            (":7401", "':7401' is neither host:port nor unix:PATH"),
            ("localhost:0", "'localhost:0' is neither host:port nor unix:PATH"),
            ("localhost:65536", "'localhost:65536' is neither host:port nor unix:PATH"),
            ("localhost:seven", "'localhost:seven' is neither host:port nor unix:PATH"),
            ("::1:7401", "'::1:7401' is ambiguous; an IPv6 address stands in brackets, as in [::1]:7401"),
            ("[127.0.0.1]:7401", "'[127.0.0.1]:7401' has something other than an IPv6 address in its brackets"),
            ("[node]:7401", "'[node]:7401' has something other than an IPv6 address in its brackets"),
            ("unix:", "'unix:' names no path; one is unix:/run/chordtwist/api.sock"),
        ):
            for make in listening_endpoint, dialling_endpoint:
                error = self.assertRaises(ValueError, make, MemoryReactorClock(), address)
                self.assertEqual(str(error), expected)

    def test_long_path(self) -> None:
        """A path that no Unix socket can have is refused before anything is tried."""
        address = "unix:/" + "x" * PATH_BYTES_MAX
        error = self.assertRaises(ValueError, dialling_endpoint, MemoryReactorClock(), address)
        self.assertIn("longer than the 107 bytes", str(error))
