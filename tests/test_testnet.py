"""What can be done with a testnet, and what is said of it: words, load, story, and the reactor that freezes a node."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from chordtwist.app.node_reactor import NodeReactor
from chordtwist.app.testnet import Place, Standing, Testnet
from chordtwist.app.testnet_load import GIVEN_UP_S, Load
from chordtwist.app.testnet_story import Story
from chordtwist.app.testnet_words import Mistyped, Words
from chordtwist.core.errors import Refused, Unreachable
from tests.memory_dht import MemoryDht


class NodeReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.node = NodeReactor(self.reactor)
        self.called: list[str] = []

    def test_passes_on(self) -> None:
        """A node that is not frozen has timers and time as any other."""
        timer = self.node.callLater(1, self.called.append, "one")
        self.assertTrue(verifyObject(IDelayedCall, timer))
        self.assertEqual((timer.getTime(), self.node.seconds()), (1.0, 0.0))
        self.assertEqual(self.node.kind, "MemoryReactorClock")
        timer.reset(2)
        self.reactor.advance(1)
        timer.delay(1)
        self.reactor.advance(1)
        self.assertEqual(self.called, [])
        self.reactor.advance(1)
        self.assertEqual((self.called, timer.active()), (["one"], False))
        self.assertRaises(AlreadyCalled, timer.cancel)

    def test_cancelled(self) -> None:
        """A timer that is cancelled is over, frozen or not."""
        for is_frozen in (False, True):
            timer = self.node.callLater(1, self.called.append, "one")
            if is_frozen:
                self.node.freeze()
                self.reactor.advance(2)
            timer.cancel()
            self.node.thaw()
            self.reactor.advance(2)
            self.assertRaises(AlreadyCancelled, timer.reset, 1)
        self.assertEqual(self.called, [])

    def test_frozen(self) -> None:
        """What is due while it is frozen happens when it goes on, in its order; also what was put off meanwhile."""
        for name in "one", "two":
            self.node.callLater(1, self.called.append, name)
        later = self.node.callLater(1, self.called.append, "later")
        self.node.freeze()
        self.reactor.advance(5)
        later.reset(3)
        self.assertEqual(self.called, [])
        self.node.thaw()
        self.reactor.advance(0)
        self.assertEqual(self.called, ["one", "two"])
        self.reactor.advance(3)
        self.assertEqual(self.called, ["one", "two", "later"])

    def test_loops_go_on(self) -> None:
        """A loop survives the frost."""
        loop = LoopingCall(self.called.append, "round")
        loop.clock = self.node  # type: ignore[assignment]
        loop.start(1)
        self.node.freeze()
        self.reactor.advance(10)
        self.node.thaw()
        self.reactor.pump([0, 1, 1])
        self.assertEqual(len(self.called), 4)
        loop.stop()

    def test_connections(self) -> None:
        """Nothing is read of connections that stand, nor of those that come, until it goes on."""
        self.node.listenTCP(1, Factory.forProtocol(Protocol))
        self.node.connectTCP("127.0.0.1", 2, ClientFactory.forProtocol(Protocol))
        watched: list[Any] = [self.reactor.tcpServers[0][1], self.reactor.tcpClients[0][2]]
        transports = []
        for factory in watched:
            protocol = factory.buildProtocol(None)
            transports.append(StringTransport())
            protocol.makeConnection(transports[-1])
            self.addCleanup(lambda kept: None, protocol)
        self.node.freeze()
        late = watched[0].buildProtocol(None)
        transports.append(StringTransport())
        late.makeConnection(transports[-1])
        self.reactor.advance(0)
        self.assertEqual([transport.producerState for transport in transports], ["paused"] * 3)
        self.node.thaw()
        self.assertEqual([transport.producerState for transport in transports], ["producing"] * 3)


class ScriptedTestnet:
    """Knows five nodes, and notes what is done with them."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def address_of(self, number: int) -> str:
        if number > 5:
            raise Refused(f"there is no node {number}")
        return f"n{number}"

    def add_one(self) -> str:
        return self._note("add", "")

    def __getattr__(self, name: str) -> Callable[[str], str]:
        return lambda address: self._note(name, address)

    def _note(self, name: str, address: str) -> str:
        self.done.append(f"{name} {address}".strip())
        return self.done[-1]


class WordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.testnet = ScriptedTestnet()
        self.load = Load(list, Clock(), Random(1))
        told: Any = self.testnet
        self.words = Words(told, self.load)

    def test_done(self) -> None:
        """Words, or their beginnings, with numbers, lists and ranges of nodes; behind a # stands a comment."""
        for typed, done in (
            ("kill 3", ["kill n3"]),
            ("k 3 4", ["kill n3", "kill n4"]),
            ("pause 1-3  # three", ["pause n1", "pause n2", "pause n3"]),
            ("RESUME 2,2", ["resume n2"]),
            ("leave 5", ["let_leave n5"]),
            ("add", ["add"]),
            ("a 2", ["add", "add"]),
            ("", []),
            ("# nothing", []),
        ):
            self.testnet.done.clear()
            self.assertEqual(self.words.do(typed), "; ".join(done))
            self.assertEqual(self.testnet.done, done, typed)

    def test_touching(self) -> None:
        """It is known whether what was done last concerns the ring."""
        for typed, touched in ("kill 1", True), ("load 5", False), ("add", True), ("help", False):
            self.words.do(typed)
            self.assertEqual(self.words.has_touched, touched)
        self.load.set(0)

    def test_load_and_quit(self) -> None:
        """The load is set, and taken away; quit is noted."""
        self.words.do("load 50/s")
        self.assertEqual(self.load.per_second, 50)
        self.words.do("load 0")
        self.assertEqual((self.load.per_second, self.words.is_over), (0, False))
        self.words.do("q")
        self.assertTrue(self.words.is_over)

    def test_mistyped(self) -> None:
        """Nonsense is answered with what would be right, and does nothing."""
        for typed, said in (
            ("dance", "'dance' is no word here; they are kill, pause, resume, leave, add, load, help, quit"),
            ("l 3", "'l' is no word here"),
            ("kill", "say which"),
            ("kill x", "'x' is no number of a node"),
            ("kill 3-", "'3-' is no number of a node"),
            ("kill 9", "there is no node 9"),
            ("kill 1-999999999", "say which"),
            ("add 1000", "say how many to add: a number up to 100"),
            ("load fast", "say how many a second"),
            ("load", "say how many a second"),
        ):
            error = self.assertRaises(Mistyped, self.words.do, typed)
            self.assertIn(said, str(error), typed)
        self.assertEqual(self.testnet.done, [])


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.dht = MemoryDht(self.clock)
        self.load = Load(lambda: [self.dht], self.clock, Random(1))

    def run_for(self, seconds: float, per_second: float = 100) -> None:
        self.load.set(per_second)
        self.clock.pump([0.05] * int(seconds / 0.05))
        self.load.set(0)

    def test_right(self) -> None:
        """So many a second are done, a third of them puts, and all that is read is what was put."""
        self.assertIsNone(self.load.right_percent)
        self.run_for(10)
        self.assertTrue(980 < self.load.puts + self.load.gets < 1020)
        self.assertTrue(250 < self.load.puts < 420)
        self.assertEqual(self.load.right_percent, 100.0)
        self.assertEqual(self.load.median_ms(), 0.0)

    def test_wrong(self) -> None:
        """A value that is not there, or is another, is counted; so is a put that is not confirmed."""
        self.run_for(2)
        self.dht._versioned.clear()
        self.dht.put = lambda *given, **named: fail(Unreachable(None, "no"))  # type: ignore[method-assign]
        self.run_for(2)
        self.assertGreater(self.load.wrong, 50)
        self.assertGreater(self.load.failed, 20)
        assert self.load.right_percent is not None
        self.assertLess(self.load.right_percent, 60)

    def test_killed_meanwhile(self) -> None:
        """What a node was doing when it was killed or frozen counts neither way, and is given up in time."""
        self.dht.get = lambda key: Deferred()  # type: ignore[method-assign]
        self.run_for(2)
        self.assertGreater(self.load._under_way, 50)
        self.clock.advance(GIVEN_UP_S + 1)
        self.assertEqual((self.load._under_way, self.load.gets, self.load.right_percent), (0, 0, 100.0))

    def test_overwritten_meanwhile(self) -> None:
        """A get of what is put again while it is under way may find either value."""
        self.run_for(1)
        self.dht.held = []
        self.run_for(1, 400)
        self.dht.release()
        self.assertEqual(self.load.wrong, 0)

    def test_nobody(self) -> None:
        """Without a node that runs nothing is asked."""
        self.load = Load(list, self.clock, Random(1))
        self.run_for(1)
        self.assertEqual((self.load.puts, self.load.gets), (0, 0))


class EndingTests(SynchronousTestCase):
    """Nodes that are told to end, and need time of their own for that."""

    def setUp(self) -> None:
        """Three nodes, and the second is frozen."""
        self.reactor = MemoryReactorClock()
        self.testnet = Testnet(self.reactor, lambda host: None, 3)  # type: ignore[arg-type, return-value]
        self.gone: list[int] = []
        for number in 1, 2, 3:
            reactor = NodeReactor(self.reactor)
            node: Any = SimpleNamespace(
                crash=lambda: None,
                stopService=lambda reactor=reactor: deferLater(reactor, 1, lambda: None),
                disownServiceParent=lambda number=number: self.gone.append(number),
            )
            self.testnet.places[number] = Place(number, f"n{number}", node, reactor)
            self.testnet.nodes[f"n{number}"] = node
        self.testnet.pause("n2")

    def test_frozen(self) -> None:
        """One that is frozen goes on for its end, whether it leaves or is killed."""
        for end, standing in (Testnet.let_leave, Standing.LEFT), (Testnet.kill, Standing.KILLED):
            end(self.testnet, "n2")
            self.assertEqual(self.testnet.places[2].standing, standing)
            self.reactor.advance(1)
            self.assertEqual(self.gone, [2])
            self.setUp()

    def test_last(self) -> None:
        """The last one stays as it is."""
        self.testnet.kill("n1")
        self.testnet.kill("n3")
        self.assertRaises(Refused, self.testnet.let_leave, "n2")
        self.assertEqual(self.testnet.places[2].standing, Standing.PAUSED)


def place(number: int, member: bool = True, standing: Standing = Standing.RUNS, **status: object) -> Any:
    """One of three nodes in the order of their places."""
    told = {
        "member": member,
        "id": f"{number:064x}",
        "predecessor": f"n{(number - 2) % 3 + 1}",
        "successors": [f"n{number % 3 + 1}"],
        **status,
    }
    return SimpleNamespace(
        number=number,
        address=f"n{number}",
        standing=standing,
        status=told,
        is_member=member and standing is Standing.RUNS,
        service=SimpleNamespace(dht=SimpleNamespace(status=lambda: told)),
    )


class StoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.testnet = Testnet(None, lambda host: None, 3)  # type: ignore[arg-type, return-value]
        self.story = Story(self.testnet, 0.0)

    def places(self, *places: Any) -> None:
        self.testnet.places = {place.number: place for place in places}

    def test_forms_breaks_heals(self) -> None:
        """It forms, is broken by a death, and is whole again when the others agree; that is said, with the time."""
        self.places(place(1), place(2, member=False), place(3))
        self.assertEqual(self.story.look(1.0), [])
        self.assertEqual(self.story.in_words(), "3 run: forming: 3 do not agree yet")
        self.places(place(1), place(2), place(3))
        self.assertEqual((self.story.look(2.0), self.story.has_formed), ([], True))
        self.assertEqual(self.story.in_words(), "3 run: one ring")
        self.places(place(1), place(2, standing=Standing.KILLED), place(3))
        self.story.touched(10.0)
        self.assertEqual(self.story.look(11.0), [])
        self.assertEqual(self.story.in_words(), "2 run, 1 killed: healing for 1 s: 2 do not agree yet")
        self.places(place(1, successors=["n3"]), place(2, standing=Standing.KILLED), place(3, predecessor="n1"))
        self.assertEqual(self.story.look(13.5), ["one ring of 2 again, after 3.5 s"])
        self.assertEqual(self.story.look(14.0), [])

    def test_one_left(self) -> None:
        """One node alone is a ring when it lists nobody."""
        ended = place(2, standing=Standing.KILLED), place(3, standing=Standing.KILLED)
        self.places(place(1), *ended)
        self.story.look(1.0)
        self.assertFalse(self.story.is_one_ring)
        self.places(place(1, successors=[], predecessor=None), *ended)
        self.story.look(2.0)
        self.assertTrue(self.story.is_one_ring)

    def test_joined(self) -> None:
        """Of a ring that it joined the nodes of others are passed over."""
        self.places(
            place(1, successors=["x1", "n2"]), place(2, predecessor="x1"), place(3, successors=["x2"], predecessor="x3")
        )
        self.story.look(1.0)
        self.assertTrue(self.story.is_one_ring)
        wrongs: list[dict[str, Any]]
        wrongs = [{"successors": ["x1", "n3"]}, {"successors": []}, {"predecessor": None}, {"predecessor": "n2"}]
        for wrong in wrongs:
            self.places(place(1, **wrong), place(2), place(3))
            self.story.look(2.0)
            self.assertFalse(self.story.is_one_ring, wrong)
