"""Behaviour of the simulated network: the contract of every network, and each of its faults."""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.costs import Shares
from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.simulation.chance import Delays, constant, exponential
from chordtwist.simulation.clock import HeapClock
from chordtwist.simulation.faults import (
    DROP,
    PASS,
    Clog,
    Cut,
    Deliver,
    Dropping,
    Duplicating,
    Envelope,
    Loss,
    Overtaking,
    Partition,
    Rule,
    SlowHost,
    Verdict,
)
from chordtwist.simulation.link import SimulatedLink
from chordtwist.simulation.network import SimulatedNetwork
from chordtwist.simulation.prices import price_s
from chordtwist.simulation.signer import SimulatedSigner
from chordtwist.simulation.trace import Trace
from chordtwist.wire.peer_messages import (
    Announced,
    Answer,
    GetTable,
    Notify,
    Ping,
    Pong,
    Question,
    RecordBody,
    Same,
    StoreAll,
)
from tests import contracts

IDENTITY = Identity("test", Policy.IP)

TEN_MS = constant(10_000)


class TwoSimulatedNodes:
    """Two hosts 10 ms apart."""

    def __init__(self, delays: Delays = TEN_MS, seed: int = 1) -> None:
        self.clock = HeapClock()
        self.trace = Trace()
        self.network = SimulatedNetwork(self.clock, Random(seed), self.trace, delays)
        self.our_peer, self.their_peer, self.nobody = (IDENTITY.peer(f"10.0.0.{n}", 6401) for n in (1, 2, 3))
        self.their_key = SimulatedSigner(b"theirs").public
        self.our_answers, self.their_answers = contracts.ScriptedAnswers(), contracts.ScriptedAnswers()
        self.ours = self.network.link(self.our_peer, SimulatedSigner(b"ours").public)
        self.ours.listen(self.our_answers)
        self.theirs = self.start_theirs()

    def start_theirs(self) -> SimulatedLink:
        link = self.network.link(self.their_peer, self.their_key)
        link.listen(self.their_answers)
        return link

    def advance(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now_us + int(seconds * 1e6))

    def crash_theirs(self) -> None:
        self.theirs.crash()


class SimulatedLinkTests(contracts.PeerLinkContract):
    """A simulated link is a link."""

    def two_nodes(self) -> contracts.TwoNodes:
        return TwoSimulatedNodes()


class CostTests(SynchronousTestCase):
    """Whoever costs more than its share waits, by a list of prices."""

    def test_batches(self) -> None:
        """Large batches are answered at the pace of the share; upkeep does not wait behind them."""
        nodes = TwoSimulatedNodes()
        nodes.theirs.ask(nodes.our_peer, Ping())  # now we are no stranger to them
        nodes.advance(0.1)
        batch = StoreAll([RecordBody(bytes(32), b"v", 0, 1, b"", 1, 4)] * 1024)
        nodes.their_answers.asked.clear()
        for _ in range(20):
            nodes.ours.ask(nodes.their_peer, batch).addErrback(lambda failure: failure.trap(Unreachable))
        nodes.advance(0.5)
        at_once = len(nodes.their_answers.asked)
        self.assertLess(at_once, 10)
        pinged = nodes.ours.ask(nodes.their_peer, Ping())
        nodes.advance(0.05)
        self.assertEqual(Pong(), self.successResultOf(pinged))
        nodes.advance(2)
        share = Shares().peer
        expected = at_once + 1 + 2.05 * share / price_s(batch)
        self.assertLess(abs(expected - len(nodes.their_answers.asked)), 1.5)


class SimulatedLinkThroughWireTests(contracts.PeerLinkContract):
    """So it is when every message really becomes bytes."""

    def two_nodes(self) -> contracts.TwoNodes:
        nodes = TwoSimulatedNodes()
        nodes.network.through_wire = True
        return nodes


class SimulatedLinkBesideFaultsTests(contracts.PeerLinkContract):
    """So it is when the network has faults that happen to spare these two."""

    def two_nodes(self) -> contracts.TwoNodes:
        nodes = TwoSimulatedNodes()
        nodes.network.faults.install(Cut(nodes.nobody, nodes.their_peer))
        return nodes


class FaultsTests(SynchronousTestCase):
    """What the network can do to messages, links and hosts."""

    def setUp(self) -> None:
        """Two hosts whose link is open."""
        self.nodes = TwoSimulatedNodes()
        self.network = self.nodes.network
        self.answered(self.ask())

    def ask(self, question: Question | None = None) -> Deferred[Answer]:
        return self.nodes.ours.ask(self.nodes.their_peer, question or Ping())

    def answered(self, asked: Deferred[Answer], seconds: float = 0.95) -> Answer:
        self.nodes.advance(seconds)
        return self.successResultOf(asked)

    def unanswered(self, asked: Deferred[Answer], seconds: float = 1.0) -> str:
        self.nodes.advance(seconds - 0.001)
        self.assertNoResult(asked)
        self.nodes.advance(0.002)
        reason: str = self.failureResultOf(asked, Unreachable).value.reason
        return reason

    def asked_times(self) -> int:
        return len(self.nodes.their_answers.asked)

    def test_delay(self) -> None:
        """A message takes the delay of the path each way; a new link takes two round trips more."""
        asked = self.ask()
        self.nodes.advance(0.019_999)
        self.assertNoResult(asked)
        self.answered(asked, 0.000_001)
        fresh = TwoSimulatedNodes()
        asked = fresh.ours.ask(fresh.their_peer, Ping())
        fresh.advance(0.059_999)
        self.assertNoResult(asked)
        fresh.advance(0.000_001)
        self.successResultOf(asked)

    def test_answer_slower_than_the_limit(self) -> None:
        """A question whose answer cannot come in time fails at its limit, and still has its effect."""
        self.network.path.delays = constant(700_000)
        before = self.asked_times()
        self.unanswered(self.ask())
        self.assertEqual(self.asked_times(), before + 1)

    def test_partition_and_heal(self) -> None:
        """A partition swallows what crosses it, in both directions, until it is healed."""
        self.network.faults.install(Partition([[self.nodes.our_peer]]))
        before = self.asked_times()
        self.unanswered(self.ask())
        self.assertEqual(self.asked_times(), before)
        self.network.faults.heal()
        self.answered(self.ask())

    def test_one_way_cut(self) -> None:
        """With a cut one way questions arrive and answers do not."""
        cut = Cut(self.nodes.their_peer, self.nodes.our_peer)
        self.network.faults.install(cut)
        before = self.asked_times()
        self.unanswered(self.ask())
        self.assertEqual(self.asked_times(), before + 1)
        self.network.faults.remove(cut)
        self.answered(self.ask())

    def test_cut_from_the_dead(self) -> None:
        """Behind a cut nobody is told that a process is not there, or ended."""
        self.network.faults.install(Cut(self.nodes.our_peer, self.nodes.their_peer))
        self.nodes.crash_theirs()
        self.assertEqual(self.unanswered(self.ask()), "no answer in time")

    def test_each_by_itself(self) -> None:
        """Faults are taken away one by one: of two alike the other one stays; one that is gone may be taken away."""
        cuts = [Cut(self.nodes.our_peer, self.nodes.their_peer) for _ in range(2)]
        self.network.faults.install(*cuts)
        self.network.faults.remove(cuts[0])
        self.network.faults.remove(cuts[0])
        self.unanswered(self.ask())
        self.network.faults.remove(cuts[1])
        self.answered(self.ask())

    def test_delays_add_up(self) -> None:
        """A message is as late as all rules say together, and the path besides."""
        self.network.faults.install(SlowHost(self.nodes.our_peer, 100_000), SlowHost(self.nodes.their_peer, 50_000))
        asked = self.ask()
        self.nodes.advance(0.319)
        self.assertNoResult(asked)
        self.answered(asked, 0.001)

    def test_clog(self) -> None:
        """What is sent over a clogged link arrives, in order and long after its time, when it is unclogged."""
        clog = Clog(self.nodes.our_peer, self.nodes.their_peer)
        self.network.faults.install(clog)
        before = self.asked_times()
        first, second = self.ask(Notify(1)), self.ask(Notify(2))
        self.unanswered(first)
        self.failureResultOf(second, Unreachable)
        self.assertEqual(self.asked_times(), before)
        self.network.faults.remove(clog)
        self.nodes.advance(0)
        self.assertEqual([q for _, q in self.nodes.their_answers.asked[before:]], [Notify(1), Notify(2)])

    def test_clogged_answer(self) -> None:
        """An answer that waits in a clogged link counts when it comes in time."""
        self.network.faults.install(Clog(self.nodes.their_peer, self.nodes.our_peer))
        asked = self.ask()
        self.nodes.advance(0.5)
        self.assertNoResult(asked)
        self.network.faults.heal()
        self.answered(asked, 0)

    def test_put_before_faults_ended(self) -> None:
        """A question that was put while there were faults is answered as any other one when there are none any more."""
        cut = Cut(self.nodes.nobody, self.nodes.our_peer)
        self.network.faults.install(cut)
        asked = self.ask()
        self.network.faults.remove(cut)
        self.answered(asked, 0.020)

    def test_dropped(self) -> None:
        """A dropped message never arrives."""
        self.network.faults.install(Dropping(1.0))
        before = self.asked_times()
        self.unanswered(self.ask())
        self.assertEqual(self.asked_times(), before)

    def test_duplicated(self) -> None:
        """A duplicated question is answered twice, and the asker hears one answer; each copy takes its own time."""
        self.network.faults.install(Duplicating(1.0), Overtaking(1.0, 500_000))
        before = self.asked_times()
        self.answered(self.ask(), 2)
        self.assertEqual(self.asked_times(), before + 2)

    def test_adversary(self) -> None:
        """A rule of one's own sees who sends what to whom, and may do with it what it likes."""
        seen: list[Envelope] = []

        class Censor(Rule):
            def on_message(self, envelope: Envelope, rng: Random) -> Verdict | Deliver:
                seen.append(envelope)
                return DROP if isinstance(envelope.message, Notify) else PASS

        self.network.faults.install(Censor())
        self.unanswered(self.ask(Notify(1)))
        self.answered(self.ask())
        ours, theirs = self.nodes.our_peer, self.nodes.their_peer
        self.assertEqual(
            seen, [Envelope(ours, theirs, Notify(1)), Envelope(ours, theirs, Ping()), Envelope(theirs, ours, Pong())]
        )

    def test_paused_process(self) -> None:
        """A paused process answers nothing, without being refused; when it resumes it answers what waited."""
        before = self.asked_times()
        self.nodes.theirs.pause()
        self.assertEqual(self.unanswered(self.ask()), "no answer in time")
        self.assertEqual(self.asked_times(), before)
        self.nodes.theirs.resume()
        self.nodes.advance(0)
        self.assertEqual(self.asked_times(), before + 1)
        self.answered(self.ask())

    def test_paused_asker(self) -> None:
        """A process that is paused while its answer arrives finds it when it resumes."""
        asked = self.ask()
        self.nodes.ours.pause()
        self.nodes.advance(5)
        self.assertNoResult(asked)
        self.nodes.ours.resume()
        self.answered(asked, 0)

    def test_power_loss(self) -> None:
        """A host without power is silent: nobody is told, and questions wait for their limit."""
        self.nodes.theirs.power_off()
        self.assertEqual(self.unanswered(self.ask()), "no answer in time")
        self.assertEqual(self.nodes.our_answers.lost, [])

    def test_crash_while_the_question_travels(self) -> None:
        """A question that reaches a host whose process has just died fails as the reset comes back."""
        asked = self.ask()
        self.nodes.advance(0.005)
        self.nodes.crash_theirs()
        self.nodes.advance(0.016)
        self.assertEqual(self.failureResultOf(asked, Unreachable).value.reason, "the link was lost")

    def test_answer_of_the_dead(self) -> None:
        """An answer that left before its sender died arrives."""
        asked = self.ask()
        self.nodes.advance(0.015)
        self.nodes.crash_theirs()
        self.answered(asked, 0.005)

    def test_graceful_end(self) -> None:
        """A process that closes its links is refused afterwards, and is not reported as lost."""
        self.nodes.theirs.close()
        asked = self.ask()
        self.nodes.advance(0.1)
        self.assertEqual(self.failureResultOf(asked, Unreachable).value.reason, "connection refused")
        self.assertEqual(self.nodes.our_answers.lost, [])

    def test_restart_on_the_same_address(self) -> None:
        """A process that starts again at its address is asked over a new link; the old one's answers are lost."""
        slow: Deferred[Answer] = Deferred()
        self.nodes.their_answers.reply = lambda peer, question: slow
        asked = self.ask()
        self.nodes.advance(0.1)
        self.nodes.crash_theirs()
        self.nodes.start_theirs()
        slow.callback(Same())
        self.nodes.their_answers.reply = lambda peer, question: Pong()
        self.nodes.advance(0.1)
        self.failureResultOf(asked, Unreachable)
        self.assertEqual(self.answered(self.ask()), Pong())

    def test_the_dead_hear_nothing(self) -> None:
        """Nothing fires in a process that has died, and its timers are over."""
        asked = self.ask()
        self.nodes.ours.clock.callLater(0.01, self.fail, "a timer of the dead")
        self.nodes.ours.crash()
        never = self.ask()
        self.nodes.advance(5)
        self.assertNoResult(asked)
        self.assertNoResult(never)

    def test_breach(self) -> None:
        """Who puts a malformed question is named to the node that was asked, and to the simulation."""
        told: list[tuple[Peer, Peer]] = []
        self.network.misled = lambda asker, to, reason: told.append((asker, to))

        def complain(peer: Peer, question: Question) -> Answer:
            raise Malformed("that makes no sense")

        self.nodes.their_answers.reply = complain
        asked = self.ask()
        self.nodes.advance(0.1)
        self.failureResultOf(asked, Unreachable)
        self.assertEqual(told, [(self.nodes.our_peer, self.nodes.their_peer)])
        self.assertEqual(self.nodes.their_answers.breaches, [self.nodes.our_peer])

    def test_bytes(self) -> None:
        """Bytes are those of the frames: nine of opening, then the body; a new link costs two Hellos."""
        before = self.network.bytes_by_kind[:]
        self.answered(self.ask(GetTable(1, 2)))
        written = {k: n - before[k] for k, n in enumerate(self.network.bytes_by_kind) if n != before[k]}
        self.assertEqual(written, {GetTable.kind: 9 + 3, Pong.kind: 9 + 1})
        self.assertTrue(2 * 150 < before[1] < 2 * 250)

    def test_through_wire(self) -> None:
        """With `through_wire` an answer that no frame may carry is found out."""
        self.network.through_wire = True
        self.nodes.their_answers.reply = lambda peer, question: Announced([bytes(6)] * 256)
        self.ask()
        self.assertRaises(Malformed, self.nodes.advance, 0.1)

    def test_same_seed_same_trace(self) -> None:
        """The hash of the trace tells one seed from another, and nothing else."""

        def run(seed: int) -> str:
            nodes = TwoSimulatedNodes(exponential(1_000, 50_000), seed)
            nodes.network.faults.install(Loss(0.3), Duplicating(0.1))
            for number in range(100):
                nodes.ours.ask(nodes.their_peer, Notify(number)).addErrback(lambda failure: None)
                nodes.advance(0.05)
            return nodes.trace.digest()

        self.assertEqual(run(1), run(1))
        self.assertNotEqual(run(1), run(2))
        self.assertEqual(run(1), "fab22205a4a30df3ad77393c1fbcec85")
