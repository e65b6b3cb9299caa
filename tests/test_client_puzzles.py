"""Work that strangers do for a busy node: who is asked, what is taken for it, and what an asker does at most."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chordtwist.core.costs import Costs
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.prefixes import owner_of
from chordtwist.core.puzzles import BITS_MAX, WINDOW_S, solve
from chordtwist.net.client_puzzles import (
    BUSY_S,
    PAID_MAX,
    PAUSE_S,
    SLICE_TRIES,
    TRIES_PER_SOLUTION,
    WORK_AGAIN_AFTER_S,
    PuzzleChallenger,
    PuzzleSolver,
)
from chordtwist.net.refusals import Refusals
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.wire.peer_messages import (
    Announce,
    Answer,
    GetTable,
    JoinRequest,
    Noted,
    Ping,
    Pong,
    Puzzle,
    Question,
    RecordBody,
    Solution,
    Store,
    StoreAll,
)
from tests import contracts
from tests.test_peer_pool import Host, PoolTestCase, TwoHosts

IDENTITY = Identity("test", Policy.IP)
BITS = 6
JOIN = JoinRequest(1)
STORE = Store(RecordBody(bytes(32), b"value", 0, 1, b"", 1000, 4), 1)
EASY = Puzzle(1, bytes(20))
HARD = Puzzle(14, bytes(19) + b"\x02")
"""Takes some slices."""

TOO_MUCH = "it asks for more work than we do for a peer"


def peer(number: int, port: int = 6401) -> Peer:
    """A peer at an address of its own."""
    return IDENTITY.peer(f"198.18.{number // 256}.{number % 256}", port)


def spend(costs: Costs, stranger: Peer, seconds: float) -> None:
    """A stranger's questions take so much processor time."""
    costs.charge(costs.payer_of(owner_of(stranger), is_proved=False, is_upkeep=False), seconds)


def solution_of(puzzle: Puzzle) -> Solution:
    """The puzzle's solution."""
    number = solve(puzzle.puzzle, puzzle.bits, 0, 1 << 20)
    assert number is not None
    return Solution(puzzle.puzzle, number)


@implementer(IPeerLink)
class ScriptedLinks:
    """An `IPeerLink` whose questions the test answers, and whose proofs it makes up."""

    def __init__(self) -> None:
        self.asked: list[tuple[Peer, Question]] = []
        self.answered: list[Deferred[Answer]] = []
        self.keys: dict[Peer, bytes] = {}

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        self.asked.append((peer, question))
        self.answered.append(Deferred())
        return self.answered[-1]

    ask_once = ask

    def key_of(self, peer: Peer) -> bytes | None:
        return self.keys.get(peer)


class PuzzleChallengerTests(SynchronousTestCase):
    """The side that asks for work."""

    def setUp(self) -> None:
        """Nobody asked anything yet."""
        self.clock = Clock()
        self.clock.advance(10 * WINDOW_S)
        self.links = ScriptedLinks()
        self.node = contracts.ScriptedAnswers()
        self.refusals = Refusals(self.clock)
        self.costs = Costs(lambda: 0.0, self.clock.seconds)
        self.challenger = self.challenger_of(BITS)

    def challenger_of(self, bits: int) -> PuzzleChallenger:
        return PuzzleChallenger(self.node, self.links, self.refusals, bits, self.costs, self.clock)

    def be_busy(self) -> None:
        """Many strangers ask more than one of them might."""
        for number in range(110):
            spend(self.costs, peer(1000 + number), 0.001)

    def is_free(self, stranger: Peer, question: Question = JOIN) -> None:
        """The node answers itself."""
        self.assertEqual(Pong(), self.challenger.answer(stranger, question))
        self.assertEqual((stranger, question), self.node.asked[-1])

    def puzzle_of(self, stranger: Peer, question: Question = JOIN) -> Puzzle:
        """What it has to solve; the node hears nothing of its question."""
        before = len(self.node.asked)
        puzzle = self.challenger.answer(stranger, question)
        assert isinstance(puzzle, Puzzle), puzzle
        self.assertEqual(before, len(self.node.asked))
        return puzzle

    def test_interface(self) -> None:
        """It is an `IAnswer`, and what happened to links is told to the node."""
        verifyObject(IAnswer, self.challenger)
        self.challenger.link_lost(peer(1), "gone")
        self.challenger.breach(peer(2), "rude")
        self.assertEqual(([peer(1)], [peer(2)]), (self.node.lost, self.node.breaches))

    def test_quiet(self) -> None:
        """While strangers ask little nobody has to work."""
        for _ in range(100):
            self.is_free(peer(1))
            self.clock.advance(1)

    def test_busy(self) -> None:
        """When they ask much, whoever joins or stores works first; what is answered from memory is free."""
        self.be_busy()
        for question in (JOIN, Announce(1, 0), STORE, StoreAll([])):
            self.assertEqual(BITS, self.puzzle_of(peer(1), question).bits)
        self.clock.advance(BUSY_S - 1)
        self.puzzle_of(peer(1))
        for free in (Ping(), GetTable(0, 0)):
            self.is_free(peer(1), free)
        self.assertEqual(5, self.refusals.count)

    def test_quiet_again(self) -> None:
        """Some seconds later nobody has to work any more."""
        self.be_busy()
        self.puzzle_of(peer(1))
        self.clock.advance(BUSY_S)
        self.is_free(peer(1))

    def test_proved(self) -> None:
        """A peer that this node has dialled does not work."""
        self.be_busy()
        self.links.keys[peer(1)] = bytes(32)
        self.is_free(peer(1))

    def test_off(self) -> None:
        """With no bits nobody works, and a solution that nobody asked for is noted."""
        self.challenger = self.challenger_of(0)
        for number in range(1000):
            self.is_free(peer(number))
        self.assertEqual(Noted(), self.challenger.answer(peer(1), Solution(bytes(20), 1)))

    def test_paid(self) -> None:
        """Who has worked is not asked again while its work is good, from any port of its address."""
        self.be_busy()
        self.assertEqual(Noted(), self.challenger.answer(peer(1), solution_of(self.puzzle_of(peer(1)))))
        for _ in range(1000):
            self.is_free(peer(1, port=7000))
        self.puzzle_of(peer(2))
        self.clock.advance(WINDOW_S - 1)
        self.be_busy()
        self.is_free(peer(1))
        self.clock.advance(WINDOW_S + 1)
        self.be_busy()
        self.puzzle_of(peer(1))

    def test_of_another(self) -> None:
        """The work of another address is no work."""
        self.be_busy()
        theirs = solution_of(self.puzzle_of(peer(1)))
        self.assertEqual(self.puzzle_of(peer(2)), self.challenger.answer(peer(2), theirs))
        self.puzzle_of(peer(2))

    def test_shown_again(self) -> None:
        """A solution that is shown again is good for no longer than it was."""
        self.be_busy()
        mine = solution_of(self.puzzle_of(peer(1)))
        for _ in range(3):
            self.challenger.answer(peer(1), mine)
            self.clock.advance(WINDOW_S - 1)
        self.be_busy()
        self.assertIsInstance(self.challenger.answer(peer(1), mine), Puzzle)
        self.puzzle_of(peer(1))

    def test_wrong(self) -> None:
        """What is no solution, and puzzles that were never set, are answered with one that is."""
        self.be_busy()
        puzzle = self.puzzle_of(peer(1))
        wrong = next(n for n in range(1000) if solve(puzzle.puzzle, BITS, n, 1) is None)
        for claimed in (
            Solution(puzzle.puzzle, wrong),
            solution_of(Puzzle(BITS, bytes(20))),
            Solution(b"\xff" * 20, 0),
        ):
            self.assertEqual(puzzle, self.challenger.answer(peer(1), claimed))
        self.puzzle_of(peer(1))

    def test_memory(self) -> None:
        """To set puzzles costs no memory, to remember who worked a bounded one: who did so first works again."""
        self.be_busy()
        for number in range(PAID_MAX + 1):
            self.challenger.answer(peer(number), solution_of(self.puzzle_of(peer(number))))
        self.puzzle_of(peer(0))
        self.is_free(peer(PAID_MAX))


class PuzzleSolverContractTests(contracts.PeerLinkContract):
    """`PuzzleSolver` is an `IPeerLink` like any other."""

    def two_nodes(self) -> contracts.TwoNodes:
        nodes: Any = TwoHosts()
        nodes.ours = PuzzleSolver(nodes.ours, nodes.network.clock)
        return nodes  # type: ignore[no-any-return]


class PuzzleSolverTests(SynchronousTestCase):
    """The side that works; the test answers for its peers."""

    def setUp(self) -> None:
        """Nothing to do."""
        self.clock = Clock()
        self.links = ScriptedLinks()
        self.solver = PuzzleSolver(self.links, self.clock)

    def ask(self, number: int, answer: Answer, question: Question = JOIN) -> Deferred[Answer]:
        """A question, and what it is answered with at once."""
        asked = self.solver.ask(peer(number), question)
        self.links.answered[-1].callback(answer)
        return asked

    def work(self) -> int:
        """Let it solve all there is to solve; how many slices that took."""
        slices = 0
        while self.solver._slice is not None:
            self.clock.advance(PAUSE_S)
            slices += 1
        return slices

    def is_worked_for(self, number: int) -> None:
        """A puzzle of that peer is solved."""
        asked = self.ask(number, EASY)
        self.assertNoResult(asked)
        self.work()
        self.links.answered[-1].callback(Noted())
        self.assertEqual(Noted(), self.successResultOf(asked))

    def reason(self, asked: Deferred[Answer]) -> str:
        error = self.failureResultOf(asked, Unreachable).value
        assert isinstance(error, Unreachable)
        return error.reason

    def test_asks_again(self) -> None:
        """A puzzle is solved, its solution shown, and the question put again; all that waits goes in its order."""
        asked = [self.ask(1, EASY, question) for question in (JOIN, STORE)]
        self.work()
        expected = [JOIN, STORE, solution_of(EASY), JOIN, STORE]
        self.assertEqual([(peer(1), question) for question in expected], self.links.asked)
        for answered in self.links.answered[2:]:
            answered.callback(Noted())
        self.assertEqual([Noted()] * 2, [self.successResultOf(one) for one in asked])

    def test_slices(self) -> None:
        """Puzzles are solved one after another, each a slice at a time, with pauses between."""
        self.ask(1, HARD).addErrback(lambda failure: None)
        self.ask(2, EASY).addErrback(lambda failure: None)
        self.assertEqual(solution_of(HARD).number // SLICE_TRIES + 2, self.work())
        solutions = [question for _, question in self.links.asked if isinstance(question, Solution)]
        self.assertEqual([solution_of(HARD), solution_of(EASY)], solutions)

    def test_too_much(self) -> None:
        """Nobody works for who asks too much work, or again and again; a while later it does."""
        for bits in (BITS_MAX + 1, 255):
            self.assertEqual(TOO_MUCH, self.reason(self.ask(1, Puzzle(bits, bytes(20)))))
        again = self.ask(1, EASY)
        self.work()
        self.links.answered[-1].callback(EASY)
        self.assertEqual(TOO_MUCH, self.reason(again))
        self.assertEqual(TOO_MUCH, self.reason(self.ask(1, EASY)))
        self.clock.advance(WORK_AGAIN_AFTER_S)
        self.is_worked_for(1)

    def test_free(self) -> None:
        """For an answer that nobody may ask work for nothing is worked: it is passed on like any odd answer."""
        self.assertEqual(EASY, self.successResultOf(self.ask(1, EASY, Ping())))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_no_solution(self) -> None:
        """A search that goes on for too long is given up; the next question may work again."""
        tried = TRIES_PER_SOLUTION << 12
        vain = next(Puzzle(12, bytes(19) + bytes((n,))) for n in range(256) if not self.is_solved(n, tried))
        failed = self.ask(1, vain)
        self.solver._next = tried
        self.clock.advance(0)
        self.assertEqual("no solution of its puzzle was found", self.reason(failed))
        self.is_worked_for(1)

    def is_solved(self, n: int, tried: int) -> bool:
        """Whether the first slice behind so many tries has a solution."""
        return solve(bytes(19) + bytes((n,)), 12, tried, SLICE_TRIES) is not None

    def test_time(self) -> None:
        """What waits for work has its own time all the same."""
        late = self.ask(1, Puzzle(BITS_MAX, bytes(20)))
        self.clock.advance(JOIN.answer_within_s - 0.1)
        self.assertNoResult(late)
        self.clock.advance(0.1)
        self.assertEqual("no answer to JoinRequest within 5 s", self.reason(late))
        self.solver.stop()

    def test_stop(self) -> None:
        """Stopped, it leaves no timer, and what waits fails."""
        failed = self.ask(1, Puzzle(BITS_MAX, bytes(20)))
        self.clock.advance(0)
        self.solver.stop()
        self.assertEqual("this node has stopped", self.reason(failed))
        self.assertEqual([], self.clock.getDelayedCalls())


class PuzzledHost(Host):
    """A node whose links and answers are wrapped as in a service."""

    def answering(self) -> IAnswer:
        """Its answers, behind the challenger."""
        self.solver = PuzzleSolver(self.pool, self.reactor)
        pool, clock = self.pool, self.reactor
        self.challenger = PuzzleChallenger(self.answers, pool, pool.refusals, BITS, pool.costs, clock)
        return self.challenger


class WorkingTests(PoolTestCase):
    """Two nodes of which one is busy."""

    def setUp(self) -> None:
        """Strangers ask it more than it likes."""
        super().setUp()
        self.busy = self.host(1)
        spend(self.busy.pool.costs, peer(1), 1_000.0)

    def host(self, number: int, **options: Any) -> PuzzledHost:
        return PuzzledHost(self.network, f"127.0.0.{number}", **options)

    def ask(self, asker: PuzzledHost, question: Question = JOIN, seconds: float = 0.3) -> Deferred[Answer]:
        """A question of a node to the busy one."""
        asked = asker.solver.ask(self.busy.peer, question)
        self.network.pass_time(seconds, 0.005)
        return asked

    def test_works(self) -> None:
        """A stranger that joins a busy node works for it without being told to, and is answered."""
        newcomer = self.host(2)
        self.assertEqual(Pong(), self.successResultOf(self.ask(newcomer)))
        self.assertEqual([(newcomer.peer, JOIN)], self.busy.answers.asked)
        self.assertEqual(Pong(), self.successResultOf(self.ask(newcomer, STORE)))

    def test_proved(self) -> None:
        """A peer that the busy node has dialled does not work."""
        friend = self.host(2)
        self.meet(self.busy, friend)
        self.assertEqual(Pong(), self.successResultOf(self.ask(friend)))
        self.assertEqual({}, friend.solver._work_again_at)

    def test_too_hard(self) -> None:
        """Nobody works for who asks too much work, whatever it is asked."""
        newcomer, greedy = self.host(2), self.host(3)
        greedy.answers.reply = lambda asker, question: Puzzle(BITS_MAX + 1, bytes(20))
        failed = newcomer.solver.ask(greedy.peer, JOIN)
        self.network.pass_time(0.3, 0.005)
        self.assertEqual(TOO_MUCH, self.failed(failed))
        self.assertEqual([(newcomer.peer, JOIN)], greedy.answers.asked)

    def test_link_ends_meanwhile(self) -> None:
        """When the link ends while it works, the solution is shown over another: it is the address that has worked."""
        newcomer, other = self.host(2), self.host(3)
        replies: list[Answer] = [HARD, Pong()]
        other.answers.reply = lambda asker, question: replies.pop(0)
        asked = newcomer.solver.ask(other.peer, JOIN)
        self.network.settle()
        for link in list(newcomer.pool._links):
            link.end("idle")
        self.network.pass_time(0.5, 0.005)
        self.assertEqual(Pong(), self.successResultOf(asked))
        self.assertEqual(2, len(self.network.dials))
