"""What every implementer of a seam does: one test class per interface of `node.interfaces`.

Import the module, not the classes (``from tests import contracts``), else trial runs a contract without an implementer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.wire.peer_messages import Answer, GetTable, Noted, NotFound, Notify, Ping, Pong, Question


@implementer(IAnswer)
class ScriptedAnswers:
    """An `IAnswer` that answers as told, and keeps what it was asked and told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Peer, Question]] = []
        self.lost: list[Peer] = []
        self.breaches: list[Peer] = []
        self.reply: Callable[[Peer, Question], Answer | Deferred[Answer]] = lambda peer, question: Pong()

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        self.asked.append((peer, question))
        return self.reply(peer, question)

    def link_lost(self, peer: Peer, reason: str) -> None:
        self.lost.append(peer)

    def breach(self, peer: Peer, reason: str) -> None:
        self.breaches.append(peer)


class TwoNodes(Protocol):
    """Two ends of a network, `ours` and `theirs`, and the means to let time pass and to kill the other end."""

    @property
    def ours(self) -> IPeerLink: ...

    @property
    def theirs(self) -> IPeerLink: ...

    our_answers: ScriptedAnswers
    our_peer: Peer
    their_answers: ScriptedAnswers
    their_peer: Peer
    their_key: bytes
    nobody: Peer
    """An address at which nobody listens, on a host that says so."""

    def advance(self, seconds: float) -> None: ...

    def crash_theirs(self) -> None: ...


class PeerLinkContract(SynchronousTestCase):
    """What every `IPeerLink` does. A test case inherits from it and says how two nodes are connected."""

    def two_nodes(self) -> TwoNodes:
        raise NotImplementedError

    def setUp(self) -> None:
        """Two nodes that have not spoken yet."""
        self.nodes = self.two_nodes()

    def ask(self, question: Question | None = None) -> Deferred[Answer]:
        return self.nodes.ours.ask(self.nodes.their_peer, Ping() if question is None else question)

    def test_interface(self) -> None:
        """It is an `IPeerLink`."""
        verifyObject(IPeerLink, self.nodes.ours)

    def test_answer(self) -> None:
        """A question reaches the other node, under our address, and its answer comes back."""
        question = GetTable(3, 4)
        asked = self.ask(question)
        self.nodes.advance(0.9)
        self.assertEqual(self.successResultOf(asked), Pong())
        self.assertEqual(self.nodes.their_answers.asked, [(self.nodes.our_peer, question)])

    def test_nothing_before_ask_returned(self) -> None:
        """No Deferred has fired when `ask` returns: neither with an answer nor with a refusal."""
        self.assertNoResult(self.ask())
        self.nodes.advance(0.9)
        self.assertNoResult(again := self.ask())
        self.assertNoResult(refused := self.nodes.ours.ask(self.nodes.nobody, Ping()))
        self.nodes.advance(0.9)
        self.successResultOf(again)
        self.failureResultOf(refused, Unreachable)

    def test_both_ways(self) -> None:
        """Both ends may ask."""
        ours, theirs = self.ask(), self.nodes.theirs.ask(self.nodes.our_peer, Ping())
        self.nodes.advance(0.9)
        self.assertEqual((self.successResultOf(ours), self.successResultOf(theirs)), (Pong(), Pong()))

    def test_each_gets_its_own_answer(self) -> None:
        """Many questions are under way at once; each gets the answer to itself, in whatever order answers come."""
        waiting: list[tuple[int, Deferred[Answer]]] = []

        def later(peer: Peer, question: Question) -> Deferred[Answer]:
            assert isinstance(question, Notify)
            waiting.append((question.epoch, Deferred()))
            return waiting[-1][1]

        self.nodes.their_answers.reply = later
        asked = [self.ask(Notify(number)) for number in range(20)]
        self.nodes.advance(0.5)
        self.assertEqual(len(waiting), 20)
        for number, answer in reversed(waiting):
            answer.callback(NotFound(number))
        self.nodes.advance(0.4)
        self.assertEqual([self.successResultOf(d) for d in asked], [NotFound(number) for number in range(20)])

    def test_silence(self) -> None:
        """Without an answer the Deferred fails with `Unreachable` after the question's own time, and not before."""
        self.ask()
        self.nodes.advance(0.9)
        self.nodes.their_answers.reply = lambda peer, question: Deferred()
        asked = self.ask()
        self.nodes.advance(Ping.answer_within_s - 0.01)
        self.assertNoResult(asked)
        self.nodes.advance(0.02)
        self.assertEqual(self.failureResultOf(asked, Unreachable).value.peer, self.nodes.their_peer)

    def test_late_answer(self) -> None:
        """An answer that comes after its time is nobody's, and the link goes on."""
        late: Deferred[Answer] = Deferred()
        self.nodes.their_answers.reply = lambda peer, question: late
        asked = self.ask()
        self.nodes.advance(1.1)
        self.failureResultOf(asked, Unreachable)
        late.callback(Pong())
        self.nodes.their_answers.reply = lambda peer, question: Noted()
        asked = self.ask()
        self.nodes.advance(0.9)
        self.assertEqual(self.successResultOf(asked), Noted())

    def test_refused_at_once(self) -> None:
        """Where nobody listens the failure does not wait for the time limit."""
        asked = self.nodes.ours.ask(self.nodes.nobody, Ping())
        self.nodes.advance(0.5)
        self.assertEqual(self.failureResultOf(asked, Unreachable).value.peer, self.nodes.nobody)

    def test_crash(self) -> None:
        """When the other process dies, questions under way fail at once, and the loss of the link is told once."""
        self.ask()
        self.nodes.advance(0.9)
        self.nodes.their_answers.reply = lambda peer, question: Deferred()
        asked = [self.ask(), self.ask()]
        self.nodes.advance(0.3)
        self.nodes.crash_theirs()
        self.nodes.advance(0.3)
        for deferred in asked:
            self.failureResultOf(deferred, Unreachable)
        self.assertEqual(self.nodes.our_answers.lost, [self.nodes.their_peer])

    def test_cancel(self) -> None:
        """Cancelling gives up waiting; the answer, when it comes, is nobody's."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.nodes.advance(1.1)
        self.nodes.advance(0.1)

    def test_proof(self) -> None:
        """A peer's key is known once it has answered a question of ours, and not before."""
        self.assertIsNone(self.nodes.ours.key_of(self.nodes.their_peer))
        self.ask()
        self.nodes.advance(0.9)
        self.assertEqual(self.nodes.ours.key_of(self.nodes.their_peer), self.nodes.their_key)

    def test_broken_question(self) -> None:
        """A question that the other node calls malformed ends the link: the asker gets no answer."""

        def complain(peer: Peer, question: Question) -> Answer:
            raise Malformed("that makes no sense")

        self.nodes.their_answers.reply = complain
        asked = self.ask()
        self.nodes.advance(1.1)
        self.failureResultOf(asked, Unreachable)
