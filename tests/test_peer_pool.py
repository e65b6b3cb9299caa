"""`PeerPool`: one link for each pair, proved peers, bounds. On sockets in memory; real ones in tests.live."""

from __future__ import annotations

import errno
import resource
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectBindError
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from chordtwist.core.costs import Costs, Shares
from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.bounds import (
    ACCEPTED_PER_ADDRESS_MAX,
    PENDING_MAX,
    PENDING_PER_ADDRESS_MAX,
    PENDING_PER_PREFIX_MAX,
    Limits,
    links_bound,
)
from chordtwist.net.dialling import CONNECT_WITHIN_S, DIAL_AGAIN_LAST_S
from chordtwist.net.failures import TOO_FEW_DESCRIPTORS
from chordtwist.net.introduction import Introduction
from chordtwist.net.peer_pool import IDLE_S, LINK_QUIET_S, LOOK_AT_LINKS_EVERY_S, SPARE_IDLE_S, PeerPool
from chordtwist.net.peer_protocol import HELLO_WITHIN_S
from chordtwist.net.refusals import REFUSE_FOR_S
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.wire.frames import pack_frame
from chordtwist.wire.peer_messages import Answer, Noted, Ping, Pong, Question, Store, encode
from tests import contracts
from tests.memory_network import MemoryNetwork, MemoryReactor, MemoryTransport

PORT = 6401
DEAD_AFTER_S = Parameters().dead_after_s


QUESTION_S = 0.001


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
        limits: Limits | None = None,
        shares: Shares | None = None,
    ) -> None:
        """Each question that it answers takes `QUESTION_S` of its processor."""
        parameters = parameters or Parameters(network="test")
        self.network = network
        identity = Identity(parameters.network, parameters.policy)
        self.peer = identity.peer(host, port)
        self.signer = Ed25519Signer((sum(self.peer.packed) if seed is None else seed).to_bytes(32, "big"))
        self.introduction = introduction = Introduction(
            self.peer, identity, parameters, self.signer, verify_ed25519, epoch, lambda: 1_700_000_000_000
        )
        self.reactor = reactor = MemoryReactor(network)
        self.answers = contracts.ScriptedAnswers()
        costs = Costs(lambda: QUESTION_S * len(self.answers.asked), reactor.seconds, shares)
        self.pool = PeerPool(reactor, introduction, dial_from=host, links_max=links_max, limits=limits, costs=costs)
        self.pool.start(self.answering())
        self.port = reactor.listenTCP(port, self.pool.factory, interface=host) if listens else None

    def answering(self) -> IAnswer:
        """Who answers for it."""
        return self.answers

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


class PoolTestCase(SynchronousTestCase):
    """Hosts on one network in memory."""

    def setUp(self) -> None:
        """An empty network."""
        self.network = MemoryNetwork()

    def host(self, number: int, **options: Any) -> Host:
        return Host(self.network, f"127.0.0.{number}", **options)

    def asked(self, one: Host, other: Host, question: Question | None = None) -> Deferred[Answer]:
        """A question from one to the other, with time for its answer."""
        deferred = one.pool.ask(other.peer, question or Ping())
        self.network.pass_time(0.3)
        return deferred

    def meet(self, one: Host, other: Host) -> None:
        """The one asks the other, who answers."""
        self.assertEqual(self.successResultOf(self.asked(one, other)), Pong())

    def failed(self, deferred: Deferred[Answer]) -> str:
        error = self.failureResultOf(deferred, Unreachable).value
        assert isinstance(error, Unreachable)
        return error.reason

    def lower_first(self, one: Host, other: Host) -> tuple[Host, Host]:
        return (one, other) if one.peer.id < other.peer.id else (other, one)


class OneLinkTests(PoolTestCase):
    """Of two links between one pair, one is kept."""

    def kept(self, first: Host, second: Host) -> list[tuple[str, str]]:
        self.network.pass_time(LINK_QUIET_S + 3 * LOOK_AT_LINKS_EVERY_S)
        return self.network.links()

    def test_reused(self) -> None:
        """All questions to a peer go over one link."""
        one, other = self.host(1), self.host(2)
        for _ in range(3):
            self.meet(one, other)
        self.assertEqual(len(self.network.dials), 1)

    def test_dialled_once(self) -> None:
        """Questions that come while a link is dialled wait for it together."""
        one, other = self.host(1), self.host(2)
        asked = [one.pool.ask(other.peer, Ping()) for _ in range(3)]
        self.network.settle()
        self.assertEqual([self.successResultOf(deferred) for deferred in asked], [Pong()] * 3)
        self.assertEqual(len(self.network.dials), 1)

    def test_own_address(self) -> None:
        """A node dials from the address that its place follows from."""
        self.meet(self.host(1), self.host(2))
        self.assertEqual(self.network.dials, [("127.0.0.2", PORT, "127.0.0.1")])

    def test_both_dial_one_after_another(self) -> None:
        """Whoever dials first, in the end the link is left that the lower id dialled, and both ask over it."""
        for pair in ((1, 2), (1, 3), (1, 4), (2, 3)):
            for turned in (False, True):
                self.network = MemoryNetwork()
                lower, higher = self.lower_first(*(self.host(number) for number in pair))
                first, second = (higher, lower) if turned else (lower, higher)
                self.meet(first, second)
                self.meet(second, first)
                self.assertEqual(self.kept(first, second), [(lower.peer.host, higher.peer.host)])
                self.meet(first, second)
                self.meet(second, first)
                self.assertEqual(len(self.network.dials), 2)
                self.assertEqual(first.answers.lost + second.answers.lost, [])

    def test_both_dial_at_once(self) -> None:
        """The same when both dial in the same moment; no question is lost on the way."""
        lower, higher = self.lower_first(self.host(1), self.host(2))
        asked = [lower.pool.ask(higher.peer, Ping()), higher.pool.ask(lower.peer, Ping())]
        for _ in range(60):
            self.network.pass_time(0.1)
            asked += [lower.pool.ask(higher.peer, Ping()), higher.pool.ask(lower.peer, Ping())]
        self.network.pass_time(0.5)
        self.assertEqual([self.successResultOf(deferred) for deferred in asked], [Pong()] * len(asked))
        self.assertEqual(self.kept(lower, higher), [(lower.peer.host, higher.peer.host)])

    def test_equal_ids(self) -> None:
        """Two nodes of one IP address have one id under policy ip; then the lower port's dial is kept."""
        one, other = self.host(1, port=7000), self.host(1, port=6000)
        self.assertEqual(one.peer.id, other.peer.id)
        self.meet(one, other)
        self.meet(other, one)
        self.network.pass_time(LINK_QUIET_S + 3 * LOOK_AT_LINKS_EVERY_S)
        self.assertEqual((one.pool.status()["open"], other.pool.status()["open"]), (1, 1))
        (dialled_port,) = {end.getPeer().port for end in self.network.transports[::2] if end.is_up}
        self.assertEqual(dialled_port, 7000)


class ProofTests(PoolTestCase):
    """A peer is proved once our own dial has met its key."""

    def test_accepted_proves_nothing(self) -> None:
        """A peer that dialled us is answered, but not believed; to ask it, we dial ourselves."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        self.assertEqual(other.answers.asked, [(one.peer, Ping())])
        self.assertIsNone(other.pool.key_of(one.peer))
        self.meet(other, one)
        self.assertEqual(other.pool.key_of(one.peer), one.signer.public)
        self.assertEqual(len(self.network.dials), 2)

    def test_unreachable_from_outside(self) -> None:
        """A peer that dialled us and cannot be dialled never becomes proved."""
        one, other = self.host(1, listens=False), self.host(2)
        self.meet(one, other)
        self.assertEqual(self.failed(self.asked(other, one)), "connection refused")
        self.assertIsNone(other.pool.key_of(one.peer))

    def test_outlives_the_link(self) -> None:
        """A proved peer that comes back with the same key is asked over its own link, without a dial."""
        one, other = self.host(1), self.host(2)
        self.meet(other, one)
        one.crash()
        self.network.pass_time(5)
        again = self.host(1)
        self.meet(again, other)
        dials = len(self.network.dials)
        self.meet(other, again)
        self.assertEqual(len(self.network.dials), dials)

    def test_another_address(self) -> None:
        """Who claims an address that it does not come from is refused, with a line that names both."""
        one, other = self.host(1), self.host(2)
        liar = Host(self.network, "127.0.0.3", seed=7)
        liar.introduction.me = one.peer
        events = self.events()
        self.assertEqual(
            self.failed(self.asked(liar, other)),
            "it said Goodbye: it claims the address 127.0.0.1:6401 and comes from 127.0.0.3",
        )
        self.assertIn("it claims the address 127.0.0.1:6401 and comes from 127.0.0.3", events)
        self.assertEqual((other.answers.asked, other.pool.key_of(one.peer)), ([], None))

    def test_other_address_behind_a_dial(self) -> None:
        """A node that calls itself something else than what we dialled is not that peer."""
        one, other = self.host(1), self.host(2)
        alias = self.host(3)
        self.network.ports["127.0.0.3", PORT] = other.pool.factory
        self.assertIn("says that its address is 127.0.0.2:6401", self.failed(self.asked(one, alias)))

    def test_new_key_of_a_later_run(self) -> None:
        """When the old link is gone and our dial meets a new key with a higher epoch, it is taken at once."""
        one, other = self.host(1), self.host(2)
        self.meet(other, one)
        one.crash()
        again = self.host(1, seed=99, epoch=2)
        self.network.pass_time(0.3)
        self.meet(other, again)
        self.assertEqual(other.pool.key_of(one.peer), again.signer.public)

    def test_new_key_of_no_later_run(self) -> None:
        """A new key without a higher epoch has to wait until the old one was silent long enough."""
        one, other = self.host(1), self.host(2)
        self.meet(other, one)
        one.crash()
        self.host(1, seed=99, epoch=1)
        self.network.pass_time(0.3)
        self.assertIn("another key than that of the node heard there", self.failed(self.asked(other, one)))
        self.assertEqual(other.pool.key_of(one.peer), one.signer.public)
        self.network.pass_time(DEAD_AFTER_S)
        self.meet(other, one)
        self.assertNotEqual(other.pool.key_of(one.peer), one.signer.public)

    def test_new_key_beside_a_live_one(self) -> None:
        """While the old key is heard, somebody else who calls from its address changes nothing."""
        one, other = self.host(1), self.host(2)
        self.meet(other, one)
        thief = self.host(1, seed=99, epoch=9, listens=False)
        self.meet(thief, other)
        self.meet(other, one)
        self.assertEqual(other.pool.key_of(one.peer), one.signer.public)
        self.assertEqual(len(one.answers.asked), 2)

    def test_silent_old_key(self) -> None:
        """When the old process is silent, the link to it is given up and our own dial finds the new one."""
        one, other = self.host(1), self.host(2)
        self.meet(other, one)
        self.network.silent.add("127.0.0.1")
        for _ in range(4):
            other.pool.ask(one.peer, Ping()).addErrback(lambda failure: None)
            self.network.pass_time(1)
        one.crash()
        self.network.silent.clear()
        again = self.host(1, seed=99, epoch=2)
        self.network.pass_time(2)
        self.meet(other, again)
        self.assertEqual(other.pool.key_of(one.peer), again.signer.public)

    def events(self) -> list[str]:
        """Reasons of the refusals that are logged from now on."""
        return reasons_logged(self)


class DialTests(PoolTestCase):
    """Dials that fail."""

    def test_other_family(self) -> None:
        """A peer whose address cannot be dialled from ours is not dialled, and the question fails at once."""
        one = self.host(1)
        for host, reason in (("2606:4700::1", "an IPv6 address cannot be"), ("192.0.2.1", "another machine cannot be")):
            peer = Identity("test", Policy.IP).peer(host, 6401)
            self.assertIn(reason, self.failed(self.asked_of(one, peer)))
        self.assertEqual([], self.network.transports)
        self.assertEqual(0, one.pool.status()["dials_failed"])

    def asked_of(self, one: Host, peer: Peer) -> Deferred[Answer]:
        """A question to a peer, of which nothing but the address is known."""
        deferred = one.pool.ask(peer, Ping())
        self.network.settle()
        return deferred

    def test_itself(self) -> None:
        """A node does not ask itself over the network."""
        one = self.host(1)
        self.assertEqual(self.failed(self.asked(one, one)), "it is this node itself")

    def test_back(self) -> None:
        """A peer that comes back is reached within two seconds."""
        one, other = self.host(1), self.host(2, listens=False)
        for _ in range(60):
            self.failed(self.asked(one, other))
        MemoryReactor(self.network).listenTCP(PORT, other.pool.factory, interface="127.0.0.2")
        self.network.pass_time(DIAL_AGAIN_LAST_S)
        self.meet(one, other)

    def test_it_calls(self) -> None:
        """The pause ends when the peer calls."""
        one, other = self.host(1), self.host(2, listens=False)
        for _ in range(60):
            self.failed(self.asked(one, other))
        MemoryReactor(self.network).listenTCP(PORT, other.pool.factory, interface="127.0.0.2")
        self.meet(other, one)
        self.meet(one, other)

    def test_nobody_there(self) -> None:
        """A question to a host that says nothing fails after its own time, the dial after its own."""
        one, other = self.host(1), self.host(2)
        self.network.silent.add("127.0.0.2")
        asked = one.pool.ask(other.peer, Ping())
        self.network.pass_time(1.01)
        self.assertEqual(self.failed(asked), "no answer to Ping within 1 s")
        self.network.pass_time(CONNECT_WITHIN_S - 1.2)
        self.assertEqual(self.failed(self.asked(one, other)), f"no connection within {CONNECT_WITHIN_S:g} s")

    def test_no_descriptors(self) -> None:
        """Without a free descriptor a dial fails like any other, in the system's words, and nothing else happens."""
        one, other = self.host(1), self.host(2)
        self.network.dial_errors.append(ConnectBindError(errno.EMFILE, "Too many open files"))
        self.assertEqual(self.failed(self.asked(one, other)), TOO_FEW_DESCRIPTORS)
        self.network.pass_time(0.3)
        self.meet(one, other)

    def test_other_network(self) -> None:
        """A peer of another network is refused by name, on both sides."""
        one, other = self.host(1), self.host(2, parameters=Parameters(network="other"))
        logged = reasons_logged(self)
        self.assertIn("network is 'other' there and 'test' here", self.failed(self.asked(one, other)))
        self.assertIn("network is 'test' there and 'other' here", logged)
        self.assertIsNone(one.pool.key_of(other.peer))

    def test_no_node(self) -> None:
        """An address where something else listens is told as such."""
        one, other = self.host(1), self.host(2, listens=False)
        greeter = Factory.forProtocol(Greeter)
        MemoryReactor(self.network).listenTCP(PORT, greeter, interface="127.0.0.2")
        asked = self.asked(one, other)
        self.assertIn("unknown kind", str(self.failureResultOf(asked).value))

    def test_out_of_reach(self) -> None:
        """A public node does not dial loopback or private addresses: what others name there is not theirs to name."""
        one = Host(self.network, "8.8.8.8")
        self.assertIn("cannot be reached", self.failed(self.asked(one, self.host(2))))
        self.assertEqual(self.network.dials, [])

    def test_told_to_go(self) -> None:
        """A peer that says Goodbye is not dialled again at once."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        other.pool.stop()
        self.network.settle()
        self.assertEqual(self.failed(self.asked(one, other)), "it said Goodbye: leaving")
        self.assertEqual((one.answers.lost, len(self.network.dials)), ([], 1))

    def test_idle_at_once(self) -> None:
        """A peer that calls each new link idle is not dialled without pause: the question fails."""
        one, other = self.host(1), self.host(2)

        def goodbye(peer: Peer, question: Question) -> Deferred[Answer]:
            for link in list(other.pool._links):
                link.end("idle")
            return Deferred()

        other.answers.reply = goodbye
        asked = one.pool.ask(other.peer, Ping())
        self.network.settle()
        self.assertEqual(self.failed(asked), "it said Goodbye: idle")
        self.assertEqual(self.failed(self.asked(one, other)), "it said Goodbye: idle")
        self.assertEqual(len(self.network.dials), 1)


class BreachTests(PoolTestCase):
    """Peers that break the protocol."""

    def breaking(self) -> tuple[Host, Host]:
        """A pair of which the second has just sent an answer to nothing over the link that the first dialled."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        accepted = next(end for end in self.network.transports if end.host.host == "127.0.0.2" and end.is_up)
        accepted.write(pack_frame(Pong.kind, 77, encode(Pong())))
        return one, other

    def test_proved(self) -> None:
        """A proved peer's breach is told to the node, ends the link and has its address refused for a while."""
        one, other = self.breaking()
        self.network.settle()
        self.assertEqual(one.answers.breaches, [other.peer])
        self.assertEqual(one.answers.lost, [])
        self.assertIn("refused for a while: Pong for no question", self.failed(self.asked(one, other)))
        refused = self.asked(other, one)
        self.failed(refused)
        self.assertEqual(len(one.answers.asked), 0)

    def test_over_some_day(self) -> None:
        """After that while the peer is dialled again."""
        one, other = self.breaking()
        self.network.pass_time(REFUSE_FOR_S + 1, step_s=1)
        self.meet(one, other)

    def test_questions_under_way(self) -> None:
        """Questions under way fail with `Malformed`."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        other.answers.reply = lambda peer, question: Deferred()
        asked = one.pool.ask(other.peer, Ping())
        self.network.settle()
        accepted = next(end for end in self.network.transports if end.host.host == "127.0.0.2" and end.is_up)
        accepted.write(pack_frame(Pong.kind, 77, encode(Pong())))
        self.network.settle()
        self.assertIn("Pong for no question", str(self.failureResultOf(asked, Malformed).value))

    def test_stranger(self) -> None:
        """A stranger's breach has its IP address refused, and nobody else's."""
        one, other = self.host(1), self.host(2)
        stranger = self.stranger("127.0.0.9", one)
        stranger.write(b"GET / HTTP/1.1\r\n\r\n")
        self.network.settle()
        self.assertFalse(stranger.is_up)
        self.assertFalse(self.stranger("127.0.0.9", one).is_up)
        self.meet(other, one)
        self.assertEqual(one.answers.breaches, [])

    def test_every_port_of_it(self) -> None:
        """A peer is refused by address and port only where another proved one lives at its address."""
        parameters = Parameters(network="test", policy=Policy.ADDRESS)
        one = self.host(1, parameters=parameters)
        bad, good = (self.host(2, port=port, seed=port, parameters=parameters) for port in (7001, 7002))
        self.meet(one, bad)
        self.meet(one, good)
        accepted = next(end for end in self.network.transports if end.host.port == 7001 and end.is_up)
        accepted.write(pack_frame(Pong.kind, 77, encode(Pong())))
        self.network.settle()
        self.assertIn("refused for a while", self.failed(self.asked(one, bad)))
        self.assertIn("refused for a while", self.failed(self.asked(bad, one)))
        self.meet(one, good)
        self.meet(good, one)

    def test_every_node_of_it(self) -> None:
        """Where nobody else of it is proved, the whole address is refused, under policy address too."""
        parameters = Parameters(network="test", policy=Policy.ADDRESS)
        one = self.host(1, parameters=parameters)
        bad, other = (self.host(2, port=port, seed=port, parameters=parameters) for port in (7001, 7002))
        self.meet(one, bad)
        accepted = next(end for end in self.network.transports if end.host.port == 7001 and end.is_up)
        accepted.write(pack_frame(Pong.kind, 77, encode(Pong())))
        self.network.settle()
        self.failureResultOf(self.asked(other, one), Unreachable)
        self.meet(self.host(3, parameters=parameters), one)

    def test_stranger_on_a_peers_machine(self) -> None:
        """A stranger that comes from a proved peer's address costs the peer nothing."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        stranger = self.stranger("127.0.0.2", one)
        stranger.write(b"GET / HTTP/1.1\r\n\r\n")
        self.network.settle()
        self.assertFalse(stranger.is_up)
        self.meet(one, other)
        self.meet(other, one)

    def test_unfinished_frame(self) -> None:
        """A frame that begins and does not end, byte by byte, ends the link after a while."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        dialled = next(end for end in self.network.transports if end.host.host == "127.0.0.1" and end.is_up)
        for byte in pack_frame(Store.kind, 5, bytes(60_000))[:14]:
            dialled.write(bytes([byte]))
            self.network.pass_time(1, step_s=0.5)
        self.assertEqual(self.network.links(), [])
        self.meet(one, other)

    def stranger(self, host: str, to: Host) -> MemoryTransport:
        """A connection of no node."""
        MemoryReactor(self.network).connectTCP(
            to.peer.host, to.peer.port, ClientFactory.forProtocol(Protocol), bindAddress=(host, 0)
        )
        self.network.settle()
        return self.network.transports[-2]


class BoundTests(PoolTestCase):
    """What may cost how much."""

    def stranger(self, host: str, to: Host) -> MemoryTransport:
        return BreachTests.stranger(self, host, to)  # type: ignore[arg-type]

    def test_unmet_per_address(self) -> None:
        """One address may have so many connections without a Hello; another is accepted all the same."""
        one, other = self.host(1), self.host(2)
        strangers = [self.stranger("127.0.0.9", one) for _ in range(PENDING_PER_ADDRESS_MAX + 3)]
        self.assertEqual(sum(end.is_up for end in strangers), PENDING_PER_ADDRESS_MAX)
        self.meet(other, one)
        self.network.pass_time(HELLO_WITHIN_S + 1)
        self.assertEqual(sum(end.is_up for end in strangers), 0)
        self.assertTrue(self.stranger("127.0.0.9", one).is_up)

    def test_unmet_per_prefix(self) -> None:
        """So may the addresses of one public prefix together."""
        one = self.host(1, links_max=1000)
        strangers = [self.stranger(f"8.8.8.{number}", one) for number in range(PENDING_PER_PREFIX_MAX + 3)]
        self.assertEqual(sum(end.is_up for end in strangers), PENDING_PER_PREFIX_MAX)
        self.assertTrue(self.stranger("8.8.9.1", one).is_up)

    def test_unmet_per_ipv6_prefix(self) -> None:
        """IPv6 addresses are counted by their /48."""
        one = self.host(1, links_max=1000)
        strangers = [
            self.stranger(f"2a00:1450:4001:{number:x}::1", one) for number in range(PENDING_PER_PREFIX_MAX + 3)
        ]
        self.assertEqual(sum(end.is_up for end in strangers), PENDING_PER_PREFIX_MAX)
        self.assertTrue(self.stranger("2a00:1450:4002::1", one).is_up)

    def test_unmet_in_all(self) -> None:
        """So may all together."""
        one = self.host(1, links_max=1000)
        strangers = [self.stranger(f"127.1.{number >> 8}.{number & 255}", one) for number in range(PENDING_MAX + 3)]
        self.assertEqual(sum(end.is_up for end in strangers), PENDING_MAX)

    def test_accepted_per_address(self) -> None:
        """Under policy ip one address has one node, and so many links."""
        one = self.host(1, links_max=1000)
        hosts = [self.host(2, port=7000 + number, seed=number + 5) for number in range(ACCEPTED_PER_ADDRESS_MAX + 1)]
        for host in hosts[:-1]:
            self.meet(host, one)
        self.failureResultOf(self.asked(hosts[-1], one), Unreachable)

    def test_least_recently_used(self) -> None:
        """At the bound, the link that was unused the longest makes room, for dials and for callers."""
        one, others = self.host(1, links_max=3), [self.host(number) for number in range(2, 8)]
        for other in others[:3]:
            self.meet(one, other)
        self.network.pass_time(SPARE_IDLE_S)
        self.meet(one, others[0])
        self.meet(one, others[3])
        hosts = sorted(pair[1] for pair in self.network.links())
        self.assertEqual(hosts, ["127.0.0.2", "127.0.0.4", "127.0.0.5"])
        self.meet(others[4], one)
        hosts = sorted(pair[1] if pair[0] == "127.0.0.1" else pair[0] for pair in self.network.links())
        self.assertEqual(hosts, ["127.0.0.2", "127.0.0.5", "127.0.0.6"])
        self.assertEqual(one.answers.lost + others[1].answers.lost, [])

    def test_none_spare(self) -> None:
        """Links in use are not ended for newcomers."""
        one, others = self.host(1, links_max=2), [self.host(number) for number in range(2, 6)]
        self.meet(one, others[0])
        self.meet(one, others[1])
        self.assertIn("too many links", self.failed(self.asked(one, others[2])))
        self.failureResultOf(self.asked(others[3], one), Unreachable)
        self.meet(one, others[0])

    def test_idle(self) -> None:
        """A link that nobody uses is closed, which is no loss; the next question dials again."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        self.network.pass_time(IDLE_S + 2, step_s=1)
        self.assertEqual(self.network.links(), [])
        self.assertEqual(one.answers.lost + other.answers.lost, [])
        self.meet(one, other)

    def test_asked_while_it_closes(self) -> None:
        """A question that crosses such a Goodbye is asked again over another link."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        self.network.pass_time(LINK_QUIET_S)
        other.answers.reply = lambda peer, question: Noted()
        (accepted,) = other.pool._links
        accepted.end("idle")
        asked = one.pool.ask(other.peer, Ping())
        self.network.settle()
        self.assertEqual(self.successResultOf(asked), Noted())
        self.assertEqual(len(self.network.dials), 2)

    def test_bound_from_descriptors(self) -> None:
        """The bound follows from what the process may open, shared among its nodes."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        self.assertEqual((links_bound(), links_bound(100)), (448, 16))


class StopTests(PoolTestCase):
    """The end."""

    def test_goodbye(self) -> None:
        """Every link ends with a Goodbye; `stop` fires when all are closed, and is not a loss for the others."""
        one, others = self.host(1), [self.host(number) for number in range(2, 6)]
        for other in others:
            self.meet(other, one)
        stopped = one.pool.stop()
        self.assertNoResult(stopped)
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual(self.network.links(), [])
        self.assertEqual([other.answers.lost for other in others], [[]] * 4)

    def test_in_the_turn_of_a_question(self) -> None:
        """What was asked in the same turn fails, and no timer is left."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        asked = one.pool.ask(other.peer, Ping())
        stopped = one.pool.stop()
        self.failureResultOf(asked, Unreachable)
        self.network.settle()
        self.successResultOf(stopped)
        other.pool.stop()
        self.network.settle()
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_without_links(self) -> None:
        """Without links there is nothing to wait for; and stopping twice is stopping once."""
        one = self.host(1)
        self.successResultOf(one.pool.stop())
        self.successResultOf(one.pool.stop())
        self.network.settle()
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_silent_peer(self) -> None:
        """A peer that does not let its link close does not hold the end up for long."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        self.network.silent.add("127.0.0.2")
        stopped = one.pool.stop()
        self.network.pass_time(1.1)
        self.successResultOf(stopped)

    def test_while_dialling(self) -> None:
        """A dial under way is given up; its questions fail."""
        one, other = self.host(1), self.host(2)
        self.network.silent.add("127.0.0.2")
        asked = one.pool.ask(other.peer, Ping())
        self.network.settle()
        self.successResultOf(one.pool.stop())
        self.failed(asked)

    def test_afterwards(self) -> None:
        """After the end nothing is asked, and nobody accepted."""
        one, other = self.host(1), self.host(2)
        one.pool.stop()
        self.assertEqual(self.failed(self.asked(one, other)), "this node has stopped")
        self.failureResultOf(self.asked(other, one), Unreachable)

    def test_status(self) -> None:
        """The state of the links can be read, bytes before encryption included."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        status = one.pool.status()
        self.assertEqual((status["open"], status["dialled"], status["proved"]), (1, 1, 1))
        sent = sum(len(data) for end in self.network.transports[1::2] for data in end.received)
        self.assertEqual(status["bytes_written"], sent)


class Greeter(Protocol):
    """No node: it greets whoever connects."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"220 mail.example.org ESMTP\r\n")


def reasons_logged(case: SynchronousTestCase) -> list[str]:
    """Reasons of the refusals that are logged from now on; filled as they come."""
    reasons: list[str] = []

    def keep(event: LogEvent) -> None:
        if "reason" in event:
            reasons.append(event["reason"])

    observer = cast(ILogObserver, keep)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return reasons
