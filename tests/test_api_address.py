"""The addresses of an API become endpoints."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.address import Address, UnixAddress
from chordtwist.net.api_address import BACKLOG, dialling_endpoint, listening_endpoint


class EndpointTests(SynchronousTestCase):
    """What a reactor is asked for."""

    def test_listening(self) -> None:
        """A node listens on the one interface that its address names."""
        reactor = MemoryReactorClock()
        factory = Factory.forProtocol(Protocol)
        for address in Address("127.0.0.5", 7401), Address("::1", 7402):
            self.successResultOf(listening_endpoint(reactor, address).listen(factory))
        made = [(port, backlog, interface) for port, _, backlog, interface in reactor.tcpServers]
        self.assertEqual(made, [(7401, BACKLOG, "127.0.0.5"), (7402, BACKLOG, "::1")])

    def test_dialling(self) -> None:
        """A client dials host, port and path as they are written."""
        reactor = MemoryReactorClock()
        factory = Factory.forProtocol(Protocol)
        for address in Address("127.0.0.5", 7401), Address("::1", 7402), Address("localhost", 7403):
            dialling_endpoint(reactor, address).connect(factory)
        dialling_endpoint(reactor, UnixAddress(Path("/run/chordtwist/api.sock"))).connect(factory)
        expected = [("127.0.0.5", 7401), ("::1", 7402), ("127.0.0.1", 7403)]  # what this reactor resolves names to
        self.assertEqual([client[:2] for client in reactor.tcpClients], expected)
        self.assertEqual([client[0] for client in reactor.unixClients], ["/run/chordtwist/api.sock"])
