"""Behaviour of the simulated world: hosts, its judgement of lookups, and of records."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.lookup import Route
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.records import Record, RecordKind, Version
from chordtwist.core.ring import RingId
from chordtwist.simulation.clock import microseconds
from chordtwist.simulation.records import Records
from chordtwist.simulation.workload import Churn, Lookups
from chordtwist.simulation.world import Failures, LookupResult, World


class WorldTests(SynchronousTestCase):
    """A ring of six."""

    def setUp(self) -> None:
        """Six members, ideal."""
        self.world = World(1, Parameters(network="simulation", successors=4, replication=2))
        self.addCleanup(self.world.close)
        self.world.grow(6)
        self.assertIsNotNone(self.world.settle(60))

    def judge(self, position: RingId, answer: Peer | None, meanwhile: object = None) -> str:
        """What the world says of a lookup that takes a second and ends with `answer`."""
        world = self.world
        asker = next(peer for peer in world.members() if peer != answer and peer != meanwhile)
        asked: Deferred[Route] = Deferred()
        world.node(asker).find = lambda position, quality=None: asked  # type: ignore[method-assign]
        told: list[LookupResult] = []
        world.find(asker, position, told.append)
        world.run(0.5)
        if isinstance(meanwhile, Peer):
            world.crash(meanwhile)
        world.run(0.5)
        if answer is None:
            asked.errback(ValueError("nobody"))
        else:
            asked.callback(Route(position, (answer,)))
        return told[0].verdict

    def test_right(self) -> None:
        """The owner at the moment of the answer is right."""
        self.assertEqual(self.judge(5, self.world.check.owner(5)), "right")

    def test_wrong(self) -> None:
        """Another member is wrong, and so is no answer."""
        _, second, *_ = self.world.check.followers(5)
        self.assertEqual(self.judge(5, second), "wrong")
        self.assertEqual(self.judge(5, None), "wrong")

    def test_explained(self) -> None:
        """Who was the owner until it died during the lookup is explained by that."""
        owner = self.world.check.owner(5)
        self.assertEqual(self.judge(5, owner, meanwhile=owner), "explained")

    def test_not_explained(self) -> None:
        """A change elsewhere explains nothing."""
        _, second, third, *_ = self.world.check.followers(5)
        self.assertEqual(self.judge(5, second, meanwhile=third), "wrong")

    def test_unreached(self) -> None:
        """Who comes next behind an owner that did not answer the asker is told apart, but not who comes after that."""
        owner, second, third, *_ = self.world.check.followers(5)
        for node in (host.node for host in self.world.live.values()):
            node.liveness.unanswered(owner, self.world.now_s)
        self.assertEqual([self.judge(5, answer) for answer in (second, third)], ["unreached", "wrong"])

    def test_restart(self) -> None:
        """A node that starts again at its address has a higher epoch and an empty store, and becomes a member again."""
        peer = self.world.members()[2]
        before = self.world.node(peer).membership.epoch
        self.world.crash(peer)
        self.world.start(peer)
        self.assertGreater(self.world.node(peer).membership.epoch, before)
        self.world.run(30)
        self.assertIn(peer, self.world.members())

    def test_running_already(self) -> None:
        """Two nodes cannot run at one address."""
        self.assertRaises(ValueError, self.world.start, self.world.members()[0])

    def test_leaving(self) -> None:
        """A node that leaves is no member at once and gone soon; the ring is ideal without it."""
        peer = self.world.members()[1]
        self.world.leave(peer)
        self.world.run(10)
        self.assertNotIn(peer, self.world.live)
        self.assertIsNotNone(self.world.settle(60))
        self.assertEqual(len(self.world.members()), 5)

    def test_stopped_nodes_leave_no_timers(self) -> None:
        """A node that is stopped waits for nothing any more."""
        self.world.crash(*self.world.members()[:3])
        self.assertEqual(self.world.timers_left, 0)

    def test_logged_failures(self) -> None:
        """What a node logs as a failure is a bug, and is kept."""
        try:
            raise ValueError("a bug")
        except ValueError:
            Logger().failure("it goes on")
        self.flushLoggedErrors(ValueError)
        self.assertIn("a bug", self.world.errors[0])

    def test_logged_failures_elsewhere(self) -> None:
        """What is told of them is the same on a machine where the package lies in another folder."""
        with self.assertRaises(ValueError) as caught:
            Identity("", Policy.IP)
        Failures(self.world)({"log_failure": Failure(caught.exception)})
        self.assertIn('File "chordtwist/core/peer.py"', self.world.errors[0])

    def test_churn(self) -> None:
        """Under churn nodes end and others start: their number stays about what it was."""
        churn = Churn(self.world, 30)
        churn.begin()
        self.world.run(120)
        churn.stop()
        self.world.run(30)
        self.assertGreater(churn.ended, 5)
        self.assertTrue(4 <= len(self.world.live) <= 8, len(self.world.live))

    def test_lookups(self) -> None:
        """Lookups come at the rate asked for and are counted by verdict."""
        lookups = Lookups(self.world)
        lookups.begin(5.0)
        self.world.run(60)
        lookups.stop()
        self.world.run(5)
        self.assertTrue(240 < lookups.asked < 360)
        self.assertEqual((lookups.right, lookups.wrong), (lookups.asked, 0))


class RecordsTests(SynchronousTestCase):
    """What the world holds a read record against."""

    def setUp(self) -> None:
        """A ring of four and one confirmed record."""
        self.world = World(2, Parameters(network="simulation", successors=4, replication=2))
        self.addCleanup(self.world.close)
        self.world.grow(4)
        self.records = Records(self.world)
        self.records.ttl_s = lambda: 300.0
        self.records.put_once()
        self.world.run(5)
        ((self.key, self.first),) = self.records.newest.items()

    def read(self, value: bytes | None, version: Version | None = None, began_s: float = 0.0) -> list[str]:
        """What a read of this, begun so many seconds ago, says in violations."""
        record = value and Record(self.key, value, RecordKind.PLAIN, version or self.first.version, 1 << 60, 2)
        self.records.judge(self.key, self.world.clock.now_us - microseconds(began_s), record or None, True)
        return self.records.violations

    def test_right(self) -> None:
        """What was confirmed may be read."""
        self.assertEqual(self.read(self.first.value), [])
        self.assertEqual(self.records.read_right, 1)

    def test_lost(self) -> None:
        """Not to find what a living member keeps is a violation at the end of a run."""
        self.assertIn("is not read though", self.read(None)[0])

    def test_all_copies_dead(self) -> None:
        """Not to find what nobody keeps any more is none."""
        for host in self.world.live.values():
            host.store.remove(self.key)
        self.assertEqual(self.read(None), [])

    def test_invented(self) -> None:
        """To read what nobody put is a violation."""
        self.assertIn("nobody put", self.read(b"invented")[0])

    def test_expired(self) -> None:
        """To read a record after its end is a violation, not to find it is none."""
        self.world.run(310)
        self.assertEqual(self.read(None), [])
        self.assertIn("after its expiry", self.read(self.first.value)[0])

    def test_old_version(self) -> None:
        """To read an older version a round of repair after a newer one was confirmed is a violation."""
        self.records.put_once(key=self.key)
        self.world.run(5)
        self.assertIsNot(self.records.newest[self.key], self.first)
        self.assertEqual(self.read(self.first.value), [])
        self.world.run(70)
        self.assertIn("an older value", self.read(self.first.value)[0])

    def test_old_version_that_alone_was_left(self) -> None:
        """When all copies of a newer one were lost it is none, whatever is being put meanwhile."""
        self.records.put_once(key=self.key)
        self.world.run(75)
        for host in self.world.live.values():
            host.store.remove(self.key)
        self.records.put_once(key=self.key)
        self.world.run(5)
        self.assertEqual(self.read(self.first.value, began_s=5), [])

    def test_read_everything(self) -> None:
        """At the end everything that was confirmed and lives is read."""
        self.assertEqual(self.records.read_everything(), (1, 1, 0))

    def test_brought_back_while_it_is_read(self) -> None:
        """What nobody kept when its reading began was gone, though its writer brings it back before that ends."""
        hosts = list(self.world.live.values())
        versioned = [(host.node, record) for host in hosts if (record := host.node.records.local_records.get(self.key))]
        for node, _ in versioned:
            node.records.local_records.remove(self.key)

        def bring_back() -> None:
            for node, record in versioned:
                node.records.local_records.take(record, None, None)

        for host in hosts:
            host.node.get = lambda key: succeed(None).addCallback(lambda _: bring_back())  # type: ignore[method-assign]
        self.assertEqual(self.records.read_everything(), (1, 0, 1))
        self.assertEqual((self.records.violations, bool(versioned)), ([], True))
