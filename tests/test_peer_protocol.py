"""`PeerProtocol`: what one link accepts, answers and ends for. The other side is played by hand."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.costs import TURN_S, Costs, Payer, Shares
from chordtwist.core.errors import Refused, Unreachable, Untruthful
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.introduction import Introduction
from chordtwist.net.outstanding import Asked
from chordtwist.net.peer_protocol import (
    ANSWERING_MAX,
    ASKED_MAX,
    BLOCKED_BYTES_MAX,
    HELD_BACK_BYTES_MAX,
    HELD_QUESTION_BYTES,
    HELLO_WITHIN_S,
    LINK_CLOSES_WITHIN_S,
    MUTE,
    OWED_MAX,
    STALLED_S,
    End,
    PeerFactory,
    PeerProtocol,
)
from chordtwist.wire.frames import FrameReader, pack_frame
from chordtwist.wire.peer_messages import (
    BODY_BYTES_MAX,
    Answer,
    AskLease,
    GetTable,
    Goodbye,
    Message,
    Noted,
    Notify,
    Ping,
    PingFor,
    Pong,
    Question,
    decode,
    encode,
)

PARAMETERS = Parameters(network="test")
IDENTITY = Identity("test", PARAMETERS.policy)
OURS, THEIRS = IDENTITY.peer("127.0.0.1", 6401), IDENTITY.peer("127.0.0.2", 6401)


def introduction_of(peer: Peer, seed: int, parameters: Parameters = PARAMETERS) -> Introduction:
    signer = Ed25519Signer(bytes([seed]) * 32)
    return Introduction(peer, IDENTITY, parameters, signer, verify_ed25519, 1, lambda: 1_700_000_000_000)


class Transport(StringTransport):
    """Keeps how it was ended; `registerProducer` as real transports have it."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    def unregisterProducer(self) -> None:
        self.producer = None


class Owner:
    """Keeps what a link tells it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.accepting = True
        self.links: list[PeerProtocol] = []
        self.ends: list[tuple[End, str]] = []
        self.unanswered: list[Asked] = []
        self.closings = 0
        self.written = 0
        self.unwanted = ""
        self.processor_s = 0.0
        self.costs = Costs(lambda: self.processor_s, clock.seconds, Shares(0.1, 0.5, 0.2), at_once_s=1.0)
        self.turns = 0
        self.held_bytes = 0
        self.asked: list[Question] = []
        self.reply: Callable[[Question], Answer | Deferred[Answer]] = lambda question: Pong()

    def accepts(self, link: PeerProtocol, host: str) -> bool:
        return self.accepting

    def handshaken(self, link: PeerProtocol) -> None:
        if self.unwanted:
            raise Refused(self.unwanted)
        self.links.append(link)

    def payer(self, link: PeerProtocol, is_upkeep: bool) -> Payer:
        return self.costs.payer_of("them", link.is_proved, is_upkeep)

    def wait_s(self, link: PeerProtocol, payer: Payer) -> float:
        return self.costs.wait_s(payer)

    def next_turn(self, link: PeerProtocol) -> None:
        self.turns += 1
        self.clock.callLater(0, self._begin_turn, link)

    def _begin_turn(self, link: PeerProtocol) -> None:
        self.costs.begin_turn()
        link.go_on()

    def holding(self, more_bytes: int) -> None:
        self.held_bytes += more_bytes

    def flush_later(self, link: PeerProtocol) -> None:
        self.clock.callLater(0, link.flush)

    def answer(self, link: PeerProtocol, question: Question) -> Answer | Deferred[Answer]:
        self.asked.append(question)
        return self.reply(question)

    def ended(self, link: PeerProtocol, end: End, reason: str, unanswered: list[Asked]) -> None:
        self.ends.append((end, reason))
        self.unanswered += unanswered

    def closed(self, link: PeerProtocol) -> None:
        self.closings += 1

    def wrote(self, length: int) -> None:
        self.written += length


class LinkTestCase(SynchronousTestCase):
    """A link that the other side dialled, or that we did, and the other side's hand."""

    dialled: Peer | None = None

    def setUp(self) -> None:
        """A link whose transport just stands."""
        self.clock = Clock()
        self.owner = Owner(self.clock)
        factory = PeerFactory(self.owner, introduction_of(OURS, 1), None, self.clock)
        self.link = factory.link(self.dialled)
        self.transport = Transport(peerAddress=IPv4Address("TCP", THEIRS.host, 50_000))
        self.link.makeConnection(self.transport)
        self.reader = FrameReader(BODY_BYTES_MAX)
        self.them = introduction_of(THEIRS, 2)

    def said(self) -> list[tuple[int, Message]]:
        """What the link wrote since the last time: request ids and messages."""
        self.clock.advance(0)
        self.reader.feed(self.transport.value())
        frames = list(self.reader.frames())
        self.transport.clear()
        return [(request_id, decode(kind, body)) for kind, request_id, body in frames]

    def say(self, *messages: tuple[int, Message]) -> None:
        """The other side writes messages, all at once."""
        self.link.dataReceived(b"".join(pack_frame(m.kind, request_id, encode(m)) for request_id, m in messages))

    def meet(self) -> None:
        """The other side says a good Hello."""
        self.say((0, self.them.hello(OURS if self.dialled is None else None, b"")))
        self.said()

    def last_said(self) -> Message:
        return self.said()[-1][1]


class GreetingTests(LinkTestCase):
    """How a link begins."""

    def test_hello_at_once(self) -> None:
        """Both sides say Hello without waiting for the other's."""
        ((_, hello),) = self.said()
        handshaken = self.them.meet(hello, OURS.host, OURS, b"")  # type: ignore[arg-type]
        self.assertEqual(handshaken.peer, OURS)

    def test_met(self) -> None:
        """After a good Hello the owner is told who it is, by address, key and epoch."""
        self.meet()
        self.assertEqual(self.owner.links, [self.link])
        assert self.link.handshaken is not None
        self.assertEqual((self.link.handshaken.peer, self.link.handshaken.epoch), (THEIRS, 1))
        self.assertTrue(self.link.is_open)

    def test_nothing_before_hello(self) -> None:
        """Anything but Hello, as the first message, ends the link."""
        self.say((0, Ping()))
        self.assertEqual(self.owner.ends, [(End.BROKEN, "Ping before Hello")])
        self.assertEqual(self.owner.asked, [])
        self.assertIsInstance(self.last_said(), Goodbye)
        self.assertTrue(self.transport.disconnecting)

    def test_second_hello(self) -> None:
        """Hello comes once."""
        self.meet()
        self.say((0, self.them.hello(OURS, b"")))
        self.assertEqual(self.owner.ends, [(End.BROKEN, "Hello for the second time")])

    def test_no_hello(self) -> None:
        """Who does not say Hello in time is let go."""
        self.clock.advance(HELLO_WITHIN_S)
        self.assertEqual(self.owner.ends, [(End.LOST, f"no Hello within {HELLO_WITHIN_S:g} s")])
        self.assertTrue(self.transport.disconnecting)

    def test_slow_hello(self) -> None:
        """Single bytes do not make the time longer."""
        hello = self.them.hello(OURS, b"")
        raw = pack_frame(hello.kind, 0, encode(hello))
        for byte in raw[:-1]:
            self.clock.advance(HELLO_WITHIN_S / (len(raw) - 2))
            self.link.dataReceived(bytes([byte]))
        self.assertEqual([end for end, _ in self.owner.ends], [End.LOST])

    def test_flood_before_hello(self) -> None:
        """Of somebody who has not said Hello no more is kept than a Hello needs."""
        self.link.dataReceived(pack_frame(40, 0, bytes(60_000))[:2000])
        self.assertEqual([end for end, _ in self.owner.ends], [End.BROKEN])

    def test_other_network(self) -> None:
        """A difference in what must agree is refused with a Goodbye that names it."""
        other = Parameters(network="test", successors=8)
        self.them = introduction_of(THEIRS, 2, other)
        self.say((0, self.them.hello(OURS, b"")))
        difference = "successors is 8 there and 16 here"
        self.assertEqual(self.owner.ends, [(End.REFUSED, difference)])
        self.assertEqual(self.last_said(), Goodbye(difference))
        self.assertFalse(self.link.is_open)

    def test_unwanted(self) -> None:
        """The owner may refuse somebody whose Hello is good."""
        self.owner.unwanted = "we met before"
        self.meet()
        self.assertEqual(self.owner.ends, [(End.REFUSED, "we met before")])
        self.assertFalse(self.link.is_open)

    def test_refused_by_them(self) -> None:
        """The other side's Goodbye before its Hello is the reason of the end."""
        self.said()
        self.say((0, Goodbye("no room")))
        self.assertEqual(self.owner.ends, [(End.HEARD, "no room")])
        self.assertEqual(self.said(), [])
        self.assertTrue(self.transport.disconnecting)

    def test_factory(self) -> None:
        """The factory makes a link of a connection that the owner accepts, and none of another."""
        factory = PeerFactory(self.owner, introduction_of(OURS, 1), None, self.clock)
        address = IPv4Address("TCP", "127.0.0.3", 5)
        self.assertIsInstance(factory.buildProtocol(address), PeerProtocol)
        self.owner.accepting = False
        self.assertIsNone(factory.buildProtocol(address))


class AskingTests(LinkTestCase):
    """Our questions."""

    dialled = THEIRS

    def setUp(self) -> None:
        """A link that is open."""
        super().setUp()
        self.meet()

    def test_coalesced(self) -> None:
        """All that is asked in one turn of the reactor is one write."""
        for _ in range(3):
            self.link.ask(Ping())
        self.assertEqual(self.transport.value(), b"")
        self.clock.advance(0)
        self.assertEqual(len(self.said()), 3)

    def test_coalesced_with_answers(self) -> None:
        """What is answered in a turn in which something was asked goes with it."""
        self.link.ask(Ping())
        self.say((7, Ping()))
        self.assertEqual(self.transport.value(), b"")
        self.clock.advance(0)
        self.assertEqual(len(self.said()), 2)

    def test_answered(self) -> None:
        """Answers find their questions by request id."""
        one, two = self.link.ask(Ping()), self.link.ask(GetTable(1, 2))
        (id_one, _), (id_two, _) = self.said()
        self.say((id_two, Noted()), (id_one, Pong()))
        self.assertEqual((self.successResultOf(one), self.successResultOf(two)), (Pong(), Noted()))
        self.assertEqual(self.link.under_way, 0)

    def test_each_has_its_time(self) -> None:
        """Every question has the time limit of its kind, whatever the order."""
        slow, quick = self.link.ask(PingFor(THEIRS.packed)), self.link.ask(Ping())
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(quick, Unreachable).value.reason, "no answer to Ping within 1 s")
        self.assertNoResult(slow)
        self.clock.advance(0.99)
        self.assertNoResult(slow)
        self.clock.advance(0.02)
        self.failureResultOf(slow, Unreachable)

    def test_one_timer(self) -> None:
        """A thousand questions need one timer."""
        before = len(self.clock.getDelayedCalls())
        asked = [self.link.ask(Ping()) for _ in range(1000)]
        self.said()
        self.assertEqual(len(self.clock.getDelayedCalls()), before + 1)
        self.clock.advance(1.0)
        for deferred in asked:
            self.failureResultOf(deferred, Unreachable)
        self.assertEqual(len(self.clock.getDelayedCalls()), before)

    def test_ask_while_giving_up(self) -> None:
        """Whoever hears that a question was given up may ask the next one."""
        again: list[Deferred[Answer]] = []
        self.link.ask(Ping()).addErrback(lambda failure: again.append(self.link.ask(Ping())))
        self.clock.advance(1.0)
        self.assertNoResult(again[0])
        self.clock.advance(1.0)
        self.failureResultOf(again[0], Unreachable)

    def test_late_answer(self) -> None:
        """The answer to a question that was given up is dropped once, silently."""
        self.failed = self.link.ask(Ping())
        ((request_id, _),) = self.said()
        self.clock.advance(1.0)
        self.failureResultOf(self.failed, Unreachable)
        self.say((request_id, Pong()))
        self.assertEqual(self.owner.ends, [])
        self.say((request_id, Pong()))
        self.assertEqual(self.owner.ends, [(End.BROKEN, "Pong for no question")])

    def test_answer_to_nothing(self) -> None:
        """An answer that belongs to no question ends the link."""
        self.say((99, Pong()))
        self.assertEqual(self.owner.ends, [(End.BROKEN, "Pong for no question")])

    def test_malformed_answer(self) -> None:
        """An answer that cannot be read ends the link."""
        asked = self.link.ask(Ping())
        ((request_id, _),) = self.said()
        self.link.dataReceived(pack_frame(31, request_id, b"\xc1"))
        ((end, reason),) = self.owner.ends
        self.assertEqual(end, End.BROKEN)
        self.assertIn("TableIs", reason)
        self.assertEqual([unanswered[2] for unanswered in self.owner.unanswered], [asked])

    def test_silent(self) -> None:
        """A peer that is silent for as long as makes it dead, with questions unanswered, loses its link."""
        for _ in range(3):
            self.link.ask(Ping()).addErrback(lambda failure: None)
            self.clock.advance(1.0)
        self.assertEqual(self.owner.ends, [(End.LOST, "silent for 3 s")])
        self.assertIsInstance(self.last_said(), Goodbye)

    def test_heard_meanwhile(self) -> None:
        """A peer that only does not answer is not silent: it has its link as long as it speaks."""
        for number in range(5):
            self.link.ask(Ping()).addErrback(lambda failure: None)
            self.say((number, Ping()))
            self.clock.advance(1.0)
        self.assertEqual(self.owner.ends, [])

    def test_owes_too_much(self) -> None:
        """A peer that leaves too many questions unanswered loses its link."""
        for _ in range(3):
            for _ in range(ASKED_MAX // 2):
                self.link.ask(Ping()).addErrback(lambda failure: None)
            self.clock.advance(1.0)
            self.say((0, Ping())) if not self.owner.ends else None
        self.assertEqual(self.owner.ends, [(End.LOST, f"it left {OWED_MAX} questions unanswered")])

    def test_too_many(self) -> None:
        """There is a bound on questions under way; a refused one fails after `ask` returned."""
        for _ in range(ASKED_MAX):
            self.link.ask(Ping()).addErrback(lambda failure: None)
        refused = self.link.ask(Ping())
        self.assertNoResult(refused)
        self.clock.advance(0)
        self.failureResultOf(refused, Unreachable)
        self.assertEqual(self.owner.ends, [])

    def test_too_much_waits(self) -> None:
        """There is a bound on bytes that wait for a transport which takes none."""
        self.link.pauseProducing()
        for _ in range(BLOCKED_BYTES_MAX // 100_000 + 1):
            self.link._write(bytes(100_000))
            self.clock.advance(0)
        refused = self.link.ask(Ping())
        self.clock.advance(0)
        self.failureResultOf(refused, Unreachable)
        self.link.resumeProducing()
        self.assertNoResult(accepted := self.link.ask(Ping()))
        self.clock.advance(0)
        self.assertNoResult(accepted)
        accepted.addErrback(lambda failure: None)

    def test_cancelled(self) -> None:
        """A question that its asker gave up may be answered; nobody hears of it."""
        asked = self.link.ask(Ping())
        ((request_id, _),) = self.said()
        asked.cancel()
        self.failureResultOf(asked)
        self.say((request_id, Pong()))
        self.assertEqual(self.owner.ends, [])

    def test_lost(self) -> None:
        """When the transport is lost the owner gets the questions back, and hears of the end before the closing."""
        asked = self.link.ask(Ping())
        self.link.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.owner.ends, [(End.LOST, "Connection was closed cleanly")])
        self.assertEqual([unanswered[2] for unanswered in self.owner.unanswered], [asked])
        self.assertEqual(self.owner.closings, 1)
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_request_ids_wrap(self) -> None:
        """Request ids are 32 bits and start again from 0."""
        self.link._next_id = 0xFFFFFFFF
        last, first = self.link.ask(Ping()), self.link.ask(Ping())
        self.assertEqual([request_id for request_id, _ in self.said()], [0xFFFFFFFF, 0])
        self.say((0xFFFFFFFF, Pong()), (0, Noted()))
        self.assertEqual((self.successResultOf(last), self.successResultOf(first)), (Pong(), Noted()))


class AnsweringTests(LinkTestCase):
    """Their questions."""

    def setUp(self) -> None:
        """A link that is open."""
        super().setUp()
        self.meet()

    def test_one_write(self) -> None:
        """The answers to all that arrived together are one write, in the order of the questions."""
        writes: list[bytes] = []
        self.transport.write = writes.append  # type: ignore[method-assign]
        self.say((5, Ping()), (6, GetTable(1, 1)))
        (write,) = writes
        self.reader.feed(write)
        one, two = self.reader.frames()
        self.assertEqual((one[:2], two[:2]), ((Pong.kind, 5), (Pong.kind, 6)))
        self.assertEqual(self.owner.asked, [Ping(), GetTable(1, 1)])

    def test_pays_for_reading(self) -> None:
        """Whoever asks is charged for what we read for it, until the answers are written, from the right account."""

        def read(received: bytes) -> None:
            self.owner.processor_s += 2.0
            self.link.dataReceived(received)

        for is_proved, message, is_upkeep in (
            (False, Ping(), False),
            (True, Ping(), True),
            (True, AskLease(), False),
        ):
            self.owner.costs.begin_turn()
            self.link.is_proved = is_proved
            payer = self.owner.payer(self.link, is_upkeep)
            self.assertEqual(0, self.owner.costs.wait_s(payer))
            self.link.charged(read, pack_frame(message.kind, 1, encode(message)))
            self.assertGreater(self.owner.costs.wait_s(payer), 1.0)
            self.assertTrue(self.owner.costs.is_turn_over)

    def test_answers_are_read_for_nothing(self) -> None:
        """Nobody pays for it that we read what we have asked for; it is a part of the turn all the same."""
        asked = self.link.ask(GetTable(0, 0))
        self.said()

        def read(received: bytes) -> None:
            self.owner.processor_s += 2.0
            self.link.dataReceived(received)

        self.link.charged(read, pack_frame(Noted.kind, 0, encode(Noted())))
        self.assertEqual(Noted(), self.successResultOf(asked))
        self.assertEqual(0, self.owner.costs.wait_s(self.owner.payer(self.link, False)))
        self.assertTrue(self.owner.costs.is_turn_over)

    def test_read_in_the_next_turn(self) -> None:
        """What comes when others have had their part of a turn is read in the next one, nothing more until then; to
        read counts, also where nobody pays for it.
        """

        def read(received: bytes) -> None:
            self.owner.processor_s += TURN_S
            self.link.dataReceived(received)

        first, second = (pack_frame(Ping.kind, number, encode(Ping())) for number in (1, 2))
        self.link.is_proved = True
        self.link.charged(read, first)
        self.link.charged(read, second)
        self.assertEqual(([Ping()], "paused"), (self.owner.asked, self.transport.producerState))
        self.assertEqual(len(second), self.link.held_bytes)
        self.clock.advance(0)
        self.assertEqual(([Ping(), Ping()], "producing"), (self.owner.asked, self.transport.producerState))
        self.assertEqual(0, self.link.held_bytes)
        self.assertEqual([(1, Pong()), (2, Pong())], self.said())

    def test_greet_in_the_next_turn(self) -> None:
        """So it is for a link that is no link yet: a handshake costs more than most questions."""
        factory = PeerFactory(self.owner, introduction_of(OURS, 1), None, self.clock)
        link = factory.link(None)
        link.makeConnection(Transport(peerAddress=IPv4Address("TCP", THEIRS.host, 50_001)))
        self.owner.costs.is_turn_over = True
        hello = self.them.hello(OURS, b"")
        link.charged(link.dataReceived, pack_frame(hello.kind, 0, encode(hello)))
        self.assertFalse(link.is_open)
        self.clock.advance(0)
        self.assertTrue(link.is_open)

    def test_ends_with_something_unread(self) -> None:
        """A link that ends meanwhile forgets it."""
        self.owner.costs.is_turn_over = True
        self.link.charged(self.link.dataReceived, pack_frame(Ping.kind, 1, encode(Ping())))
        self.link.give_up("why not")
        self.clock.advance(0)
        self.assertEqual(([], 0), (self.owner.asked, self.link.held_bytes))

    def test_later(self) -> None:
        """An answer may come later; meanwhile others are answered."""
        later: Deferred[Answer] = Deferred()
        self.owner.reply = lambda question: later if isinstance(question, Notify) else Pong()
        self.say((1, Notify(3)), (2, Ping()))
        self.assertEqual(self.said(), [(2, Pong())])
        later.callback(Noted())
        self.assertEqual(self.said(), [(1, Noted())])

    def test_untruthful(self) -> None:
        """A question that the node calls untruthful ends the link, at once or later."""
        later: Deferred[Answer] = Deferred()
        self.owner.reply = lambda question: later
        self.say((1, Ping()))
        later.errback(Untruthful("a forged signature"))
        self.assertEqual(self.owner.ends, [(End.BROKEN, "a forged signature")])

    def test_untruthful_at_once(self) -> None:
        """The rest of what arrived together is not looked at any more."""

        def reply(question: Question) -> Answer:
            raise Untruthful("a forged signature")

        self.owner.reply = reply
        self.say((1, Ping()), (2, Ping()))
        self.assertEqual(self.owner.ends, [(End.BROKEN, "a forged signature")])
        self.assertEqual(len(self.owner.asked), 1)

    def test_our_bug(self) -> None:
        """A bug of our own is logged; the question stays unanswered and the link stands."""

        def reply(question: Question) -> Answer:
            raise ZeroDivisionError

        self.owner.reply = reply
        self.say((1, Ping()))
        self.owner.reply = lambda question: Deferred()
        failing: Deferred[Answer] = Deferred()
        self.owner.reply = lambda question: failing
        self.say((2, Ping()))
        failing.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual((self.said(), self.owner.ends), ([], []))

    def test_answer_after_the_end(self) -> None:
        """An answer that comes after the end goes nowhere."""
        later: Deferred[Answer] = Deferred()
        self.owner.reply = lambda question: later
        self.say((1, Ping()))
        self.link.end("leaving")
        self.said()
        later.callback(Pong())
        self.assertEqual(self.said(), [])

    def test_blocked(self) -> None:
        """While the transport takes nothing no question is answered; then they are, in order."""
        self.link.pauseProducing()
        self.say((1, Ping()), (2, Notify(1)))
        self.assertEqual(self.owner.asked, [])
        self.assertEqual(self.link.under_way, 2)
        self.link.resumeProducing()
        self.assertEqual(self.said(), [(1, Pong()), (2, Pong())])

    def test_reading_stops(self) -> None:
        """With too many questions held back nothing is read any more, until they are answered."""
        self.link.pauseProducing()
        self.say(*((number, Ping()) for number in range(HELD_BACK_BYTES_MAX // HELD_QUESTION_BYTES + 1)))
        self.clock.pump([0] * 100)
        self.assertEqual(self.transport.producerState, "paused")
        self.link.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")

    def test_answers_pass(self) -> None:
        """Answers to our own questions are taken while theirs are held back: two full links cannot lock each other."""
        asked = self.link.ask(Ping())
        ((request_id, _),) = self.said()
        self.link.pauseProducing()
        self.say((1, Ping()), (request_id, Noted()))
        self.assertEqual(self.successResultOf(asked), Noted())

    def test_stalled(self) -> None:
        """A peer that takes nothing for long loses its link."""
        self.link.pauseProducing()
        self.clock.advance(STALLED_S)
        self.assertEqual(self.owner.ends, [(End.LOST, f"it took nothing for {STALLED_S:g} s")])

    def test_answers_under_way_are_bounded(self) -> None:
        """With too many answers outstanding, further questions wait for them."""
        waiting: list[Deferred[Answer]] = []

        def reply(question: Question) -> Deferred[Answer]:
            waiting.append(Deferred())
            return waiting[-1]

        self.owner.reply = reply
        self.say(*((number, Ping()) for number in range(ANSWERING_MAX + 2)))
        self.assertEqual(len(waiting), ANSWERING_MAX)
        waiting[0].callback(Pong())
        self.assertEqual(len(waiting), ANSWERING_MAX + 1)

    def test_held_while_it_is_read(self) -> None:
        """Those held back are answered as well when what comes over the link itself makes the other answers ready."""
        waiting: list[Deferred[Answer]] = []

        def reply(question: Question) -> Deferred[Answer]:
            waiting.append(Deferred())
            return waiting[-1]

        def answer_all(answer: Answer) -> None:
            for answered in list(waiting):
                answered.callback(Noted())

        self.owner.reply = reply
        self.link.ask(Ping()).addCallback(answer_all)
        (asked_id, _), *_ = self.said()
        self.say(*((number, Ping()) for number in range(ANSWERING_MAX + 2)))
        self.say((asked_id, Pong()))
        self.assertEqual(len(waiting), ANSWERING_MAX + 2)

    def test_held_and_answered_at_once(self) -> None:
        """However many are held back, and answered at once, each is answered, and none from within another."""
        self.owner.reply = lambda question: succeed(Pong())
        self.link.pauseProducing()
        self.say(*((number, Ping()) for number in range(HELD_BACK_BYTES_MAX // 10)))
        self.link.resumeProducing()
        self.assertEqual([(number, Pong()) for number in range(HELD_BACK_BYTES_MAX // 10)], self.said())

    def test_held_question_breaks(self) -> None:
        """A question that was held back and breaks the protocol ends the link when its turn comes."""
        self.link.pauseProducing()
        self.link.dataReceived(pack_frame(GetTable.kind, 1, b"\xc1"))
        self.assertEqual(self.owner.ends, [])
        self.link.resumeProducing()
        self.assertEqual([end for end, _ in self.owner.ends], [End.BROKEN])

    def test_unknown_kind(self) -> None:
        """A kind that nobody knows ends the link."""
        self.link.dataReceived(pack_frame(200, 1, b""))
        self.assertEqual(self.owner.ends, [(End.BROKEN, "a frame of the unknown kind 200")])

    def test_oversize(self) -> None:
        """A length above the limit of its kind ends the link before the body comes."""
        self.link.dataReceived(pack_frame(Ping.kind, 1, bytes(1000))[:9])
        self.assertEqual([end for end, _ in self.owner.ends], [End.BROKEN])

    def test_input_ignored_after_the_end(self) -> None:
        """What arrives after the end is not looked at."""
        self.link.end("idle")
        self.say((1, Ping()))
        self.assertEqual(self.owner.asked, [])


class EndingTests(LinkTestCase):
    """How a link ends."""

    dialled = THEIRS

    def test_goodbye(self) -> None:
        """Goodbye is the last frame, and its reason is cut to what the wire carries."""
        self.meet()
        self.link.ask(Ping())
        self.link.end("x" * 300)
        self.assertEqual([message for _, message in self.said()], [Ping(), Goodbye("x" * 200)])
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNone(self.transport.producer)
        self.assertEqual([end for end, _ in self.owner.ends], [End.SAID])

    def test_mute(self) -> None:
        """Whom we dial and who goes without a Hello is mostly no node's port, and the operator is told so."""
        self.link.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.owner.ends, [(End.LOST, MUTE)])

    def test_once(self) -> None:
        """A link ends once, for the first reason."""
        self.meet()
        self.link.end("one")
        self.link.give_up("two")
        self.link.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.owner.ends, [(End.SAID, "one")])
        self.assertEqual(self.owner.closings, 1)

    def test_closing_is_bounded(self) -> None:
        """Who does not let the transport close is cut off."""
        self.meet()
        self.link.end("leaving")
        self.assertFalse(self.transport.aborted)
        self.clock.advance(LINK_CLOSES_WITHIN_S)
        self.assertTrue(self.transport.aborted)

    def test_they_say_goodbye(self) -> None:
        """Their Goodbye ends the link; our questions go back to the owner."""
        self.meet()
        asked = self.link.ask(Ping())
        self.say((0, Goodbye("idle")))
        self.assertEqual(self.owner.ends, [(End.HEARD, "idle")])
        self.assertEqual([unanswered[2] for unanswered in self.owner.unanswered], [asked])

    def test_counted(self) -> None:
        """Every byte that is written is counted."""
        length = len(self.transport.value())
        self.assertEqual(self.owner.written, length)
        self.meet()
        self.link.ask(Ping())
        self.clock.advance(0)
        self.assertEqual(self.owner.written, length + len(self.transport.value()))
