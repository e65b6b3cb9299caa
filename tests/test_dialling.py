"""`Dialling`: one dial for each peer, what waits for it, and pauses after failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionRefusedError, TimeoutError
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Identity, Policy
from chordtwist.net.dialling import (
    ASKED_PER_DIAL_MAX,
    CONNECT_WITHIN_S,
    DIAL_AGAIN_FIRST_S,
    DIAL_AGAIN_LAST_S,
    FAILED_MAX,
    Dialling,
)
from chordtwist.net.failures import TOO_FEW_DESCRIPTORS
from chordtwist.wire.peer_messages import Answer, Ping
from tests import builders

PEER, OTHER = builders.peer(5), builders.peer(6)


class Links:
    """A factory whose links are only names."""

    def link(self, dialled: object) -> str:
        return f"link to {dialled}"

    def wrapped(self, link: object) -> Protocol:
        return Protocol()


class DiallingTests(SynchronousTestCase):
    """The dials of one node."""

    def setUp(self) -> None:
        """Nobody is dialled."""
        self.reactor = MemoryReactorClock()
        self.made: list[Any] = []
        links: Any = Links()
        self.dialling = Dialling(self.reactor, links, "127.0.0.9", self.made.append)

    def ask(self, peer: Any = PEER) -> Deferred[Answer]:
        """A question that waits for a dial."""
        answered: Deferred[Answer] = Deferred()
        self.dialling.ask(peer, (self.reactor.seconds() + Ping.answer_within_s, Ping(), answered, None))
        return answered

    def dials(self) -> Sequence[tuple[str, int, Any, float, Any]]:
        """What the reactor was asked for: host, port, factory, time limit, address to bind to."""
        return self.reactor.tcpClients

    def test_raised(self) -> None:
        """A dial that raises instead of failing fails, and may be tried again after the pause."""

        def connect(*arguments: object) -> None:
            raise TypeError("AF_INET address must be a pair (host, port)")

        self.patch(self.reactor, "connectTCP", connect)
        asked = self.ask()
        self.assertNoResult(asked)
        self.reactor.advance(0)
        self.assertIn("AF_INET address", str(self.failureResultOf(asked, Unreachable).value))
        self.assertEqual(0, len(self.dialling))
        self.assertIn("AF_INET address", self.dialling.why_not_wait(PEER) or "")

    def test_not_from_here(self) -> None:
        """Another family, and another machine from loopback, cannot be dialled; anything where the system chooses."""
        identity = Identity("test", Policy.IP)
        links: Any = Links()
        for ours, theirs, expected in (
            ("::1", "127.0.0.1", "an IPv4 address cannot be dialled from ::1"),
            ("2001:db8::1", "192.0.2.1", "an IPv4 address cannot be dialled from 2001:db8::1"),
            ("192.0.2.1", "2001:db8::1", "an IPv6 address cannot be dialled from 192.0.2.1"),
            ("127.0.0.1", "192.0.2.1", "another machine cannot be reached from 127.0.0.1"),
            ("127.0.0.1", "127.9.9.9", None),
            ("::1", "::1", None),
            ("192.0.2.1", "10.0.0.1", None),
            ("", "2001:db8::1", None),
        ):
            dialling = Dialling(self.reactor, links, ours, self.made.append)
            found = dialling.why_not_from_here(identity.peer(theirs, 6401))
            self.assertEqual(expected, found and found.partition(",")[0])

    def refuse(self, error: Exception | None = None) -> None:
        """The last dial comes to nothing."""
        self.dials()[-1][2].clientConnectionFailed(None, Failure(error or ConnectionRefusedError()))

    def reason(self, asked: Deferred[Answer]) -> str:
        error = self.failureResultOf(asked, Unreachable).value
        assert isinstance(error, Unreachable)
        return error.reason

    def test_one_dial(self) -> None:
        """Questions to one peer wait for one dial, from the given address."""
        for _ in range(3):
            self.ask().addErrback(lambda failure: None)
        ((host, port, _, within_s, bind),) = self.dials()
        self.assertEqual((PEER.host, PEER.port, CONNECT_WITHIN_S), (host, port, within_s))
        self.assertEqual((("127.0.0.9", 0), 1), (bind, len(self.dialling)))
        self.assertTrue(PEER in self.dialling and OTHER not in self.dialling)

    def test_anywhere(self) -> None:
        """Without an address the system chooses."""
        links: Any = Links()
        self.dialling = Dialling(self.reactor, links, "", self.made.append)
        self.ask()
        self.assertIsNone(self.dials()[0][4])

    def test_reached(self) -> None:
        """Over the dial's own link all that waits is handed out, in its order, and the dial is over."""
        asked = [self.ask() for _ in range(3)]
        self.dials()[0][2].buildProtocol(None)
        (link,) = self.made
        self.assertTrue(self.dialling.is_for(PEER, link))
        self.assertEqual(asked, [waiting[2] for waiting in self.dialling.reached(PEER, link)])
        self.assertEqual((0, 1, 0), (len(self.dialling), self.dialling.dialled, self.dialling.failed))
        self.assertEqual([], self.dialling.reached(PEER, link))

    def test_reached_otherwise(self) -> None:
        """Over another link, since the peer called, what waits is handed out as well; the dial goes on."""
        asked = self.ask()
        other: Any = "their link"
        self.assertEqual([asked], [waiting[2] for waiting in self.dialling.reached(PEER, other)])
        self.assertIn(PEER, self.dialling)
        self.refuse()
        self.assertNoResult(asked)

    def test_failures(self) -> None:
        """What waits for a dial that fails, fails in the words of the cause."""
        for error, words in (
            (ConnectionRefusedError(), "connection refused"),
            (TimeoutError(), "no connection within 3 s"),
            (ConnectError(osError=24), TOO_FEW_DESCRIPTORS),
            (ConnectError(string="something else."), "An error occurred while connecting: something else"),
        ):
            asked = self.ask()
            self.refuse(error)
            self.assertEqual(words, self.reason(asked))
            self.assertEqual(words, self.dialling.why_not_wait(PEER))
            self.reactor.advance(DIAL_AGAIN_LAST_S)
        self.assertEqual((0, 4), (len(self.dialling), self.dialling.failed))

    def test_pauses(self) -> None:
        """After each failure the pause is twice as long, up to a bound; then one may dial again."""
        for pause_s in (DIAL_AGAIN_FIRST_S, 0.2, 0.4, 0.8, 1.6, DIAL_AGAIN_LAST_S, DIAL_AGAIN_LAST_S):
            self.ask().addErrback(lambda failure: None)
            self.refuse()
            self.reactor.advance(pause_s - 0.01)
            self.assertIsNotNone(self.dialling.why_not_wait(PEER))
            self.reactor.advance(0.02)
            self.assertIsNone(self.dialling.why_not_wait(PEER))

    def test_heard(self) -> None:
        """A peer that was heard may be dialled at once; one more failure is as bad as it would have been."""
        for _ in range(3):
            self.dialling.pause(PEER, "no")
        self.dialling.end_pause(PEER)
        self.assertIsNone(self.dialling.why_not_wait(PEER))
        self.assertTrue(self.dialling.has_failed(PEER))
        self.dialling.pause(PEER, "no")
        self.reactor.advance(0.79)
        self.assertEqual("no", self.dialling.why_not_wait(PEER))

    def test_forgiven(self) -> None:
        """Once a link has lasted, the next failure is the first again."""
        for _ in range(3):
            self.dialling.pause(PEER, "no")
        self.dialling.forgive(PEER)
        self.assertFalse(self.dialling.has_failed(PEER))
        self.dialling.pause(PEER, "no")
        self.reactor.advance(DIAL_AGAIN_FIRST_S)
        self.assertIsNone(self.dialling.why_not_wait(PEER))

    def test_waiting_is_bounded(self) -> None:
        """So many questions may wait for one dial."""
        for _ in range(ASKED_PER_DIAL_MAX):
            self.assertIsNone(self.dialling.why_not_wait(PEER))
            self.ask().addErrback(lambda failure: None)
        self.assertIn("wait already", self.dialling.why_not_wait(PEER) or "")
        self.assertIsNone(self.dialling.why_not_wait(OTHER))

    def test_own_time(self) -> None:
        """A question that waits is given up when its own time is over, before the dial is."""
        asked = self.ask()
        self.reactor.advance(Ping.answer_within_s)
        self.assertEqual("no answer to Ping within 1 s", self.reason(asked))
        self.assertIn(PEER, self.dialling)

    def test_memory(self) -> None:
        """Of peers that could not be reached so many are remembered."""
        for number in range(FAILED_MAX + 1):
            self.dialling.pause(builders.peer(number + 1), "no")
        self.assertFalse(self.dialling.has_failed(builders.peer(1)))
        self.assertTrue(self.dialling.has_failed(builders.peer(2)))
