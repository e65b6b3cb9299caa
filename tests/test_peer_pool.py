"""`PeerPool`: one link for each pair, proved peers, bounds. On sockets in memory; real ones in tests.live."""

from __future__ import annotations

from zope.interface.verify import verifyClass

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.introduction import Introduction
from chordtwist.net.peer_pool import PeerPool
from chordtwist.node.interfaces import IPeerLink
from tests import contracts
from tests.memory_network import MemoryNetwork, MemoryReactor

PORT = 6401


class Host:
    """One node's links and answers on a network in memory."""

    def __init__(
        self,
        network: MemoryNetwork,
        host: str,
        port: int = PORT,
        seed: int | None = None,
        epoch: int = 1,
        parameters: Parameters | None = None,
        links_max: int = 64,
        listens: bool = True,
    ) -> None:
        parameters = parameters or Parameters(network="test")
        self.network = network
        identity = Identity(parameters.network, parameters.policy)
        self.peer = identity.peer(host, port)
        self.signer = Ed25519Signer((sum(self.peer.packed) if seed is None else seed).to_bytes(32, "big"))
        introduction = Introduction(
            self.peer, identity, parameters, self.signer, verify_ed25519, epoch, lambda: 1_700_000_000_000
        )
        reactor = MemoryReactor(network)
        self.pool = PeerPool(reactor, introduction, dial_from=host, links_max=links_max)
        self.answers = contracts.ScriptedAnswers()
        self.pool.start(self.answers)
        self.port = reactor.listenTCP(port, self.pool.factory, interface=host) if listens else None

    def crash(self) -> None:
        """The process dies: its port and its connections are gone, and it never does anything again."""
        if self.port is not None:
            self.port.stopListening()
        mine = [end for end in self.network.transports if end.host.host == self.peer.host and end.is_up]
        for end in mine:
            end.protocol = None
            end.crash()


class TwoHosts:
    """What the contract needs."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self._ours, self._theirs = Host(self.network, "127.0.0.1"), Host(self.network, "127.0.0.2")
        self.ours, self.theirs = self._ours.pool, self._theirs.pool
        self.our_answers, self.our_peer = self._ours.answers, self._ours.peer
        self.their_answers, self.their_peer = self._theirs.answers, self._theirs.peer
        self.their_key = self._theirs.signer.public
        self.nobody = Identity("test", Policy.IP).peer("127.0.0.9", PORT)

    def advance(self, seconds: float) -> None:
        self.network.pass_time(seconds)

    def crash_theirs(self) -> None:
        self._theirs.crash()


class PeerPoolContractTests(contracts.PeerLinkContract):
    """`PeerPool` is an `IPeerLink` like any other."""

    def two_nodes(self) -> contracts.TwoNodes:
        return TwoHosts()

    def test_class(self) -> None:
        """The class says what it implements."""
        verifyClass(IPeerLink, PeerPool)
