"""Work that strangers do for a busy node: who is asked, what is taken for it, and what an asker does at most."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.puzzles import BITS_MAX, WINDOW_S, solve
from chordtwist.net.bounds import AT_ONCE_S, Limits
from chordtwist.net.client_puzzles import (
    BUSY_S,
    PAID_MAX,
    SLICE_TRIES,
    WORK_AGAIN_AFTER_S,
    PuzzleChallenger,
    PuzzleSolver,
)
from chordtwist.net.peer_protocol import COSTS
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
from tests.test_peer_pool import Host, PoolTestCase

IDENTITY = Identity("test", Policy.IP)
BITS = 6
JOIN = JoinRequest(1)
STORE = Store(RecordBody(bytes(32), b"value", 0, 1, b"", 1000, 4), 1)


def peer(number: int, port: int = 6401) -> Peer:
    """A peer at an address of its own."""
    return IDENTITY.peer(f"198.18.{number // 256}.{number % 256}", port)


def worked(work: Puzzle) -> Solution:
    """The puzzle's solution."""
    number = solve(work.puzzle, work.bits, 0, 1 << 20)
    assert number is not None
    return Solution(work.puzzle, number)


class PuzzleChallengerTests(SynchronousTestCase):
    """The side that asks."""

    def setUp(self) -> None:
        """Nobody asked anything yet."""
        self.clock = Clock()
        self.clock.advance(10 * WINDOW_S)
        self.challenger = PuzzleChallenger(BITS, 100, self.clock)

    def be_busy(self) -> None:
        """Many strangers ask more than one of them might."""
        for number in range(int(100 * AT_ONCE_S / COSTS[JoinRequest.kind]) + 1):
            self.assertIsNone(self.challenger.due(peer(1000 + number), JOIN))

    def work_of(self, stranger: Peer, question: Question = JOIN) -> Puzzle:
        """What it has to do."""
        work = self.challenger.due(stranger, question)
        assert work is not None
        return work

    def test_quiet(self) -> None:
        """While strangers ask little nobody has to work."""
        for _ in range(100):
            self.assertIsNone(self.challenger.due(peer(1), JOIN))
            self.clock.advance(1)

    def test_busy(self) -> None:
        """When they ask much, whoever joins or stores works first; what is answered from memory is free."""
        self.be_busy()
        for question in (JOIN, Announce(1, 0), STORE, StoreAll([])):
            self.assertEqual(BITS, self.work_of(peer(1), question).bits)
        self.clock.advance(BUSY_S - 1)
        self.assertIsNotNone(self.challenger.due(peer(1), JOIN))
        for free in (Ping(), GetTable(0, 0)):
            self.assertIsNone(self.challenger.due(peer(1), free))

    def test_quiet_again(self) -> None:
        """Some seconds later nobody has to work any more."""
        self.be_busy()
        self.work_of(peer(1))
        self.clock.advance(BUSY_S)
        self.assertIsNone(self.challenger.due(peer(1), JOIN))

    def test_paid(self) -> None:
        """Who has worked is not asked again while its work is good, from any port of its address."""
        self.be_busy()
        self.assertEqual(Noted(), self.challenger.paid(peer(1), worked(self.work_of(peer(1)))))
        for _ in range(1000):
            self.assertIsNone(self.challenger.due(peer(1, port=7000), JOIN))
        self.assertIsNotNone(self.challenger.due(peer(2), JOIN))
        self.clock.advance(WINDOW_S - 1)
        self.be_busy()
        self.assertIsNone(self.challenger.due(peer(1), JOIN))
        self.clock.advance(WINDOW_S + 1)
        self.be_busy()
        self.assertIsNotNone(self.challenger.due(peer(1), JOIN))

    def test_of_another(self) -> None:
        """The work of another address is no work."""
        self.be_busy()
        theirs = worked(self.work_of(peer(1)))
        self.assertEqual(self.work_of(peer(2)), self.challenger.paid(peer(2), theirs))
        self.assertIsNotNone(self.challenger.due(peer(2), JOIN))

    def test_shown_again(self) -> None:
        """A solution that is shown again is good for no longer than it was."""
        self.be_busy()
        mine = worked(self.work_of(peer(1)))
        for _ in range(3):
            self.challenger.paid(peer(1), mine)
            self.clock.advance(WINDOW_S - 1)
        self.be_busy()
        self.assertIsInstance(self.challenger.paid(peer(1), mine), Puzzle)
        self.assertIsNotNone(self.challenger.due(peer(1), JOIN))

    def test_wrong(self) -> None:
        """What is no solution, and puzzles that were never set, are answered with one that is."""
        self.be_busy()
        work = self.work_of(peer(1))
        wrong = next(n for n in range(1000) if solve(work.puzzle, BITS, n, 1) is None)
        for claimed in (Solution(work.puzzle, wrong), worked(Puzzle(BITS, bytes(20))), Solution(b"\xff" * 20, 0)):
            self.assertEqual(work, self.challenger.paid(peer(1), claimed))
        self.assertIsNotNone(self.challenger.due(peer(1), JOIN))

    def test_memory(self) -> None:
        """To set puzzles costs no memory, to remember who worked a bounded one: who did so first works again."""
        self.be_busy()
        for number in range(PAID_MAX + 1):
            self.challenger.paid(peer(number), worked(self.work_of(peer(number))))
        self.be_asked_again(peer(0))
        self.assertIsNone(self.challenger.due(peer(PAID_MAX), JOIN))

    def be_asked_again(self, stranger: Peer) -> None:
        """It has to work."""
        self.assertIsNotNone(self.challenger.due(stranger, JOIN))


class PuzzleSolverTests(SynchronousTestCase):
    """The side that works."""

    def setUp(self) -> None:
        """Nothing to do."""
        self.clock = Clock()
        self.solver = PuzzleSolver(self.clock)
        self.found: list[int | None] = []

    def test_slices(self) -> None:
        """A puzzle is solved a slice at a time, with pauses between them, one after another."""
        hard = next(work for work in (Puzzle(14, bytes(19) + bytes((n,))) for n in range(256)) if self.tries(work) > 5)
        easy = Puzzle(1, bytes(20))
        self.solver.work(hard, self.found.append)
        self.solver.work(easy, self.found.append)
        slices = 0
        while self.clock.getDelayedCalls():
            self.assertEqual(1, len(self.clock.getDelayedCalls()))
            self.clock.advance(0.001)
            slices += 1
        self.assertEqual(self.tries(hard) + 1, slices)
        self.assertEqual([worked(hard).number, worked(easy).number], self.found)

    def tries(self, work: Puzzle) -> int:
        """Slices that the search takes."""
        return worked(work).number // SLICE_TRIES + 1

    def test_stop(self) -> None:
        """Stopped, it leaves no timer and calls nobody."""
        self.solver.work(Puzzle(BITS_MAX, bytes(20)), self.found.append)
        self.clock.advance(0)
        self.solver.stop()
        self.assertEqual(([], []), (self.clock.getDelayedCalls(), self.found))


class WorkingTests(PoolTestCase):
    """Two nodes of which one is busy."""

    def setUp(self) -> None:
        """Strangers ask it more than it likes."""
        super().setUp()
        self.busy = self.host(1, limits=Limits(questions_per_s=10, puzzle_bits=BITS))
        self.busy.answers.reply = lambda asker, question: Pong()
        challenger = self.busy.pool._challenger
        assert challenger is not None
        challenger._of_strangers.spend("", 10_000, self.network.clock.seconds())

    def ask(self, asker: Host, question: Question = JOIN, seconds: float = 0.3) -> Deferred[Answer]:
        """A question of a node to the busy one."""
        asked = asker.pool.ask(self.busy.peer, question)
        self.network.pass_time(seconds, 0.005)
        return asked

    def heard(self, question: Question) -> int:
        """How often the busy node itself was asked that."""
        return [told for _, told in self.busy.answers.asked].count(question)

    def test_works(self) -> None:
        """A stranger that joins a busy node works for it without being told to, and is answered."""
        newcomer = self.host(2)
        before = self.heard(JOIN)
        self.assertEqual(Pong(), self.successResultOf(self.ask(newcomer)))
        self.assertEqual(before + 1, self.heard(JOIN))
        self.assertEqual(Pong(), self.successResultOf(self.ask(newcomer, STORE)))

    def test_all_that_waits(self) -> None:
        """Several questions wait for the same work, and are asked in their order."""
        newcomer = self.host(2)
        asked = [newcomer.pool.ask(self.busy.peer, question) for question in (JOIN, STORE, Ping())]
        self.network.pass_time(0.5, 0.005)
        self.assertEqual([Pong()] * 3, [self.successResultOf(one) for one in asked])

    def test_proved(self) -> None:
        """A peer that the busy node has dialled does not work."""
        friend = self.host(2)
        self.meet(self.busy, friend)
        jobs = self.jobs_of(friend)
        self.assertEqual(Pong(), self.successResultOf(self.ask(friend)))
        self.assertEqual([], jobs)

    def test_too_hard(self) -> None:
        """Nobody works for who asks too much work, for what costs nothing, or again and again."""
        newcomer, greedy = self.host(2), self.host(3)
        asks: list[tuple[Question, int]] = [(JOIN, BITS_MAX + 1), (JOIN, 255), (Ping(), 1)]
        for question, bits in asks:
            reply = Puzzle(bits, bytes(20))
            greedy.answers.reply = lambda asker, question, reply=reply: reply  # type: ignore[misc]
            failed = newcomer.pool.ask(greedy.peer, question)
            self.network.pass_time(0.3, 0.005)
            self.assertEqual("it asks for more work than we do for a peer", self.failed(failed))
        greedy.answers.reply = lambda asker, question: Puzzle(BITS, bytes(20))
        jobs = self.jobs_of(newcomer)
        for times in range(5):
            failed = newcomer.pool.ask(greedy.peer, JOIN)
            self.network.pass_time(0.1, 0.005)
            if not times:
                jobs[0][1](0)
            self.network.pass_time(0.1, 0.005)
            self.failed(failed)
        self.assertEqual(1, len(jobs))
        self.network.pass_time(WORK_AGAIN_AFTER_S, 1)
        newcomer.pool.ask(greedy.peer, JOIN).addErrback(lambda failure: None)
        self.network.pass_time(0.3, 0.005)
        self.assertEqual(2, len(jobs))

    def jobs_of(self, host: Host) -> list[tuple[Puzzle, Callable[[int | None], object]]]:
        """What a node is to work, from now on; nobody does it."""
        jobs: list[tuple[Puzzle, Callable[[int | None], object]]] = []
        host.pool._solver.work = lambda work, done: jobs.append((work, done))  # type: ignore[method-assign]
        return jobs

    def test_not_asked_for(self) -> None:
        """A solution that nobody asked for is noted by who asks for no work, and harms nobody."""
        one, other = self.host(2), self.host(3)
        asked = one.pool.ask(other.peer, Solution(bytes(20), 1))
        self.network.pass_time(0.3)
        self.assertEqual(Noted(), self.successResultOf(asked))

    def test_link_ends_meanwhile(self) -> None:
        """When the link ends while it works, what waited fails, and the next question may work again."""
        newcomer = self.host(2)
        jobs = self.jobs_of(newcomer)
        failed = self.ask(newcomer)
        self.assertEqual(1, len(jobs))
        self.assertNoResult(failed)
        for link in list(newcomer.pool._links):
            link.give_up("cut")
        self.network.pass_time(0.1)
        jobs[0][1](5)
        self.assertIn("the link ended", self.failed(failed))
        self.ask(newcomer).addErrback(lambda failure: None)
        self.assertEqual(2, len(jobs))

    def test_time(self) -> None:
        """What waits for work has its time limit all the same, and a pool that stops leaves nothing behind."""
        newcomer = self.host(2)
        self.jobs_of(newcomer)
        late = self.ask(newcomer, seconds=JOIN.answer_within_s + 0.1)
        self.assertIn("no answer to JoinRequest within 5 s", self.failed(late))
        stopped = self.ask(newcomer)
        newcomer.pool.stop()
        self.assertEqual("this node has stopped", self.failed(stopped))
