"""Behaviour of a node over time: rings of real nodes on a simulated network, and what happens to them.

Rings of up to 5 members are small here (4 successors; whole lists up to 9 members), rings of 20 are large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.ring import finger_start
from chordtwist.core.small_ring import closing_max
from chordtwist.core.versions import TIME_MS_MAX
from chordtwist.node.node import Node
from chordtwist.node.records.hash_table import HashTable
from chordtwist.node.ring.admission import taken_by
from chordtwist.simulation.chance import Delays, exponential
from chordtwist.simulation.faults import Cut, Loss, Partition
from chordtwist.simulation.network import CONTINENT
from chordtwist.simulation.world import World
from tests.builders import is_alone, lines
from tests.simulation.apart import grow_apart

SUCCESSORS = 4


class RingTestCase(SynchronousTestCase):
    """A world of nodes. No test may end with a failure in a node's log."""

    def setUp(self) -> None:
        """Nobody is there yet."""
        self.observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        self.world = self.new_world()

    def new_world(self, seed: int = 1, successors: int = SUCCESSORS, delays: Delays = CONTINENT) -> World:
        parameters = Parameters(network="test", successors=successors, replication=2)
        world = World(seed, parameters, delays)
        self.addCleanup(self.close, world)
        return world

    def close(self, world: World) -> None:
        world.close()
        self.assertEqual(world.errors, [])

    def ring(self, count: int) -> list[Peer]:
        """A settled ring of `count` nodes, in the order of the circle."""
        self.world.grow(count)
        self.assertIsNotNone(self.world.settle(120))
        return sorted(self.world.live, key=lambda peer: peer.id)

    def node(self, peer: Peer) -> Node:
        return self.world.node(peer)

    def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Let time pass until something holds; how long it took."""
        began_s = self.world.now_s
        while not condition():
            if self.world.now_s - began_s > within_s:
                self.fail(f"not within {within_s} s: {self.world.wrong()}\n{self.world.trace.last_page()}")
            self.world.run(0.05)
        return self.world.now_s - began_s

    def is_ideal(self) -> bool:
        return not self.world.wrong()

    def assert_safe(self) -> None:
        """No rule of the ring was broken, and no live node judged dead."""
        check = self.world.check
        self.assertEqual((check.violations, check.misjudged), ([], 0), self.world.trace.last_page())

    def assert_one_ring(self, count: int) -> None:
        self.assertEqual((len(self.world.check.members), self.world.wrong()), (count, []))


class AllDownTests(RingTestCase):
    """Every node ends, and the first of the list is gone for good."""

    def setUp(self) -> None:
        """A ring of five whose nodes remember one another."""
        super().setUp()
        ring = self.ring(5)
        self.first, self.others = ring[2], [*ring[:2], *ring[3:]]
        self.world.crash(*ring)
        self.world.seed_peers = [self.first, *self.others]
        self.world.remembered = ring

    def test_heard_of_again(self) -> None:
        """What a run remembers is its address book until it has met them: heard of, itself left out."""
        book = self.world.start(self.first).node.tables.book
        self.assertEqual((set(book), book.met_count), (set(self.others), 0))

    def test_form_it_again(self) -> None:
        """The others form the ring again, without being told anything."""
        for peer in self.others:
            self.world.start(peer)
        self.until(self.is_ideal, 40)
        self.assert_one_ring(4)

    def test_one_after_another(self) -> None:
        """So they do when they come back one after another, and so does the first one, late."""
        for peer in reversed(self.others):
            self.world.start(peer)
            self.world.run(20)
        self.until(self.is_ideal, 40)
        self.world.start(self.first)
        self.until(self.is_ideal, 40)
        self.assert_one_ring(5)

    def test_two_halves(self) -> None:
        """Two halves that do so apart become one ring when they meet."""
        halves = self.others[:2], self.others[2:]
        partition = Partition([halves[0]])
        self.world.network.faults.install(partition)
        for peer in self.others:
            self.world.start(peer)
        self.until(lambda: all(self.node(peer).is_member for peer in self.others), 90)
        self.assertEqual(halves[0][1:], [*self.node(halves[0][0]).successors])
        self.world.network.faults.remove(partition)
        self.until(self.is_ideal, 120)
        self.assert_one_ring(4)


class NeighboursTimeTests(RingTestCase):
    """`neighbours_time_ms`: what most clocks show."""

    def hostile(self, count: int, ahead_ms: int) -> list[Peer]:
        """A ring of 8 of which so many show such a time; answers with the others."""
        ring = self.ring(8)
        for peer in ring[:count]:
            self.world.hosts[peer].skew_ms = ahead_ms
        for peer in ring:
            for other in ring:
                if other != peer:
                    self.node(peer).tables.fetch_anew(other).addErrback(lambda failure: failure.trap(Unreachable))
        self.world.run(5)
        return ring[count:]

    def test_three_of_eight_show_any_time(self) -> None:
        """Three of eight that show whatever time they like change nothing."""
        for ahead_ms in (86_400_000, TIME_MS_MAX, 1 << 62):
            self.world = self.new_world()
            for peer in self.hostile(3, ahead_ms):
                self.assertEqual(self.world.hosts[peer].wall_ms(), self.node(peer).neighbours_time_ms())

    def test_five_of_eight_show_any_time(self) -> None:
        """Nor do five whose time no clock has; whatever they show, what the others stamp can be sent and is taken."""
        for ahead_ms in (86_400_000, 1 << 47, TIME_MS_MAX, 1 << 62, (1 << 63) + 5):
            self.world = self.new_world()
            first, second, third = self.hostile(5, ahead_ms)
            key = bytes(range(32))
            put = self.node(first).put(key, b"value")
            self.world.run(10)
            self.successResultOf(put)
            got = self.node(second).get(key)
            self.world.run(10)
            record = self.successResultOf(got)
            assert record is not None
            self.assertLessEqual(record.version.ms, TIME_MS_MAX)
            if ahead_ms >= TIME_MS_MAX:
                self.assertEqual(self.world.hosts[third].wall_ms(), self.node(third).neighbours_time_ms())

    def test_own_clock_is_wrong(self) -> None:
        """A node whose wall clock is an hour behind knows the time from its neighbours' tables, to some seconds."""
        wrong = self.ring(5)[0]
        right_ms = self.world.hosts[wrong].wall_ms()
        self.world.hosts[wrong].skew_ms = -3_600_000
        self.assertLess(abs(self.node(wrong).neighbours_time_ms() - right_ms), 15_000)

    def test_a_neighbours_clock_is_wrong(self) -> None:
        """It follows no single neighbour."""
        self.world.skew_ms = lambda: 3_600_000 if len(self.world.hosts) == 2 else 0
        for peer in self.ring(5):
            host = self.world.hosts[peer]
            if not host.skew_ms:
                self.assertLess(abs(host.node.neighbours_time_ms() - host.wall_ms()), 15_000)

    def test_all_clocks_are_set(self) -> None:
        """Where all machines had the wrong time, or were suspended, nobody keeps to what the others had before."""
        ring = self.ring(5)
        for peer in ring:
            self.world.hosts[peer].skew_ms = 3_600_000
            self.node(peer).neighbours_time_ms()
        self.world.run(2)
        for peer in ring:
            self.assertLess(abs(self.node(peer).neighbours_time_ms() - self.world.hosts[peer].wall_ms()), 15_000)

    def test_a_right_clock_is_its_own(self) -> None:
        """What the neighbours' tables tell is a second or two off: two puts would be stamped in the wrong order."""
        for peer in self.ring(5):
            self.assertEqual(self.node(peer).neighbours_time_ms(), self.world.hosts[peer].wall_ms())

    def test_puts_by_wrong_clocks(self) -> None:
        """A node whose wall clock is minutes fast or slow stamps and judges puts by the time of its neighbours: it
        takes them as anybody does, also as an owner, and what is put after it is read after it.
        """
        ring = self.ring(5)
        keys = [bytes([51 * number + 1]) * 32 for number in range(5)]
        for ahead_ms in (240_000, -240_000):
            wrong = ring[0]
            self.world.hosts[wrong].skew_ms = ahead_ms
            self.world.run(2)
            for key in keys:
                for by, value in ((ring[2], b"first"), (wrong, b"second"), (ring[3], b"third")):
                    put = self.node(by).put(key, value)
                    self.world.run(1)
                    self.successResultOf(put)
                    got = self.node(ring[1]).get(key)
                    self.world.run(1)
                    self.assertEqual(getattr(self.successResultOf(got), "value", None), value)

    def test_a_wrong_clock_is_told(self) -> None:
        """The operator of such a node reads it in the log, once."""
        wrong = self.ring(5)[0]
        self.world.hosts[wrong].skew_ms = 240_000
        for _ in range(3):
            self.world.run(10)
            self.node(wrong).neighbours_time_ms()
        told = [formatEvent(event) for event in self.observer if "wrong_s" in event]
        self.assertEqual(
            told, ["this machine's clock is 240 s ahead of those of its neighbours: versions go by theirs"]
        )

    def test_alone(self) -> None:
        """Who is alone has its own clock only."""
        (only,) = self.ring(1)
        self.world.hosts[only].skew_ms = 60_000
        self.assertEqual(self.node(only).neighbours_time_ms(), self.world.hosts[only].wall_ms())


class FirstNodeTests(RingTestCase):
    """Who begins a ring, and who waits."""

    def test_nobody_listed(self) -> None:
        """A node with an empty bootstrap list is a ring of one at once."""
        self.world.seed_peers = []
        host = self.world.start()
        self.world.run(0.01)
        self.assertTrue(host.node.is_member)
        self.assertTrue(is_alone(host.node.routing))

    def test_only_itself_listed(self) -> None:
        """So is one whose list holds its own address alone."""
        self.world.seed_peers = [self.world.address(1)]
        host = self.world.start(self.world.address(1))
        self.world.run(0.01)
        self.assertTrue(host.node.is_member)

    def test_first_of_the_list(self) -> None:
        """The node whose own address stands first begins a ring when nobody else listed answered for 5 s."""
        self.world.seed_peers = [self.world.address(n) for n in (1, 2, 3)]
        host = self.world.start(self.world.address(1))
        self.world.run(4.9)
        self.assertFalse(host.node.is_member)
        self.world.run(3)
        self.assertTrue(host.node.is_member)

    def test_not_the_first_of_the_list(self) -> None:
        """Everybody else waits for ever: two rings would be worse than none."""
        self.world.seed_peers = [self.world.address(n) for n in (1, 2)]
        waiting = [self.world.start(self.world.address(n)) for n in (2, 7)]
        self.world.run(300)
        self.assertEqual([host.node.is_member for host in waiting], [False, False])

    def test_first_seed_missing(self) -> None:
        """When the first of the list never starts, nobody begins a ring in its place; when it does, all join it."""
        self.world.seed_peers = [self.world.address(n) for n in (0, 1, 2)]
        for number in (1, 2, 3):
            self.world.start(self.world.address(number))
        self.world.run(60)
        self.assertEqual(self.world.members(), [])
        self.world.start(self.world.address(0))
        self.until(self.is_ideal, 25)
        self.assert_one_ring(4)

    def test_silence_until_then(self) -> None:
        """What stands in the way of a bootstrap address is told once, in one line, not at every try."""
        self.world.seed_peers = [self.world.address(0)]
        self.world.start(self.world.address(1))
        self.world.run(60)
        told = [line for line in lines(self.observer, "info") if line.startswith("bootstrap")]
        self.assertEqual(told, ["bootstrap: 10.0.0.0:6401: connection refused; trying on"])


class StormTests(RingTestCase):
    """Fifty nodes with default lists of 16 entries that start within one second, some milliseconds apart on a LAN."""

    def setUp(self) -> None:
        """Nobody has started."""
        super().setUp()
        self.world = self.new_world(successors=16, delays=exponential(500, 1_500))

    def start(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.world.start(self.world.address(number))
            self.world.run(0.02)

    def test_one_bootstrap_node(self) -> None:
        """With one bootstrap address they are one ring, in order, within 20 s."""
        self.world.seed_peers = [self.world.address(0)]
        self.start(range(50))
        self.until(self.is_ideal, 20)
        self.assert_one_ring(50)
        self.assert_safe()

    def test_bootstrap_node_last(self) -> None:
        """So they are when the bootstrap node starts last, half a minute after the others."""
        self.world.seed_peers = [self.world.address(0)]
        self.start(range(1, 50))
        self.world.run(30)
        self.start([0])
        self.until(self.is_ideal, 20)
        self.assert_one_ring(50)
        self.assert_safe()

    def test_three_seeds(self) -> None:
        """So they are when every node lists the same three of them, whose order of starting is another than listed."""
        self.world.seed_peers = [self.world.address(number) for number in (20, 40, 3)]
        self.start(range(50))
        self.until(self.is_ideal, 20)
        self.assert_one_ring(50)
        self.assert_safe()


class GrowthTests(RingTestCase):
    """Rings that grow and shrink, across the switch between small and large."""

    def test_one_by_one(self) -> None:
        """At every size, from one to a large ring, a newcomer is linked in and the ring is ideal again within 20 s."""
        self.world.start()
        for _ in range(2 * SUCCESSORS + 4):
            self.until(self.is_ideal, 20)
            self.world.start()
        self.until(self.is_ideal, 20)
        self.assert_one_ring(2 * SUCCESSORS + 5)
        self.assert_safe()

    def test_an_error_of_ours(self) -> None:
        """A node that meets one when it is a member already has its duties all the same."""
        ring = self.ring(3)
        joined = HashTable.joined
        self.patch(HashTable, "joined", lambda records, old_owner: joined(records, old_owner) or 1 // 0)
        late = self.world.start()
        self.until(lambda: late.is_member, 20)
        self.world.crash(ring[0])
        self.until(lambda: self.is_ideal() and len(self.world.check.members) == 3, 20)
        self.assertEqual(len(self.world.errors), 1)
        self.assertIn("ZeroDivisionError", self.world.errors.pop())
        self.flushLoggedErrors(ZeroDivisionError)

    def test_small_ring_knows_itself(self) -> None:
        """Up to r + 1 members everybody knows everybody; behind 2 r + 1 members lists have r entries."""
        for more, whole in ((SUCCESSORS + 1, True), (SUCCESSORS + 1, False)):
            for peer in self.ring(more):
                routing = self.node(peer).routing
                self.assertEqual((routing.whole, len(routing.successors)), (whole, SUCCESSORS))

    def test_back_again(self) -> None:
        """A ring that shrinks below r + 1 members by leaving and dying is ideal at every size, down to one."""
        ring = self.ring(2 * SUCCESSORS + 4)
        while len(ring) > 1:
            peer = ring.pop(len(ring) // 2)
            if len(ring) % 2:
                self.world.leave(peer)
            else:
                self.world.crash(peer)
            self.until(lambda: self.is_ideal() and len(self.world.live) == len(ring), 25)
            self.assert_one_ring(len(ring))
        self.assertTrue(is_alone(self.node(ring[0]).routing))
        self.assert_safe()

    def test_whole_again(self) -> None:
        """A ring that shrinks becomes whole while it is larger than lists are long, so that newcomers announce
        themselves well before each member counts.
        """
        ring = self.ring(2 * SUCCESSORS + 4)
        while len(ring) > closing_max(SUCCESSORS) + 2:
            self.world.crash(ring.pop(3))
            self.until(self.is_ideal, 25)
        self.assertFalse(any(self.node(peer).routing.whole for peer in ring))
        self.world.crash(ring.pop(3))
        self.until(lambda: self.is_ideal() and all(self.node(peer).routing.whole for peer in ring), 25)
        self.assert_safe()

    def test_two_at_once(self) -> None:
        """Two newcomers at the same moment, side by side on the circle, both become members."""
        for size in (1, 2, 4, 8, 12):
            with self.subTest(size=size):
                self.world = self.new_world(seed=size)
                self.ring(size)
                self.world.start()
                self.world.start()
                self.until(self.is_ideal, 15)
                self.assert_one_ring(size + 2)
                self.assert_safe()

    def test_two_become_a_large_ring(self) -> None:
        """So they do where taking the second in makes the lists of the ring ordinary ones. (When it waited for one
        that was whole, it tried on for up to two minutes.)
        """
        for seed in (608, 708, 908, 1208):
            with self.subTest(seed=seed):
                self.world = self.new_world(seed)
                self.ring(2 * SUCCESSORS)
                self.world.start()
                self.world.start()
                self.until(self.is_ideal, 15)
                self.assert_one_ring(2 * SUCCESSORS + 2)
                self.assert_safe()

    def test_restart_within_a_second(self) -> None:
        """A node that is killed and started again on its address within one second is a member again within 5 s."""
        for size in (2, 5, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                ring = self.ring(size)
                self.world.run(60)
                self.world.crash(ring[1])
                self.world.run(0.5)
                self.world.start(ring[1])
                self.until(lambda: self.node(ring[1]).is_member, 5)  # noqa: B023
                self.until(self.is_ideal, 15)
                self.assert_one_ring(size)

    def test_restart_without_a_sound(self) -> None:
        """So it is when its neighbours' links were not reset, whatever became of its key and its clock: it may have
        kept no state, so that its key is new, and its epoch lower than before if the wall clock was set back.
        """
        for size, keeps_key, set_back_ms in ((5, True, 200_000), (5, False, 200_000), (20, False, 0), (20, True, 0)):
            with self.subTest(size=size, keeps_key=keeps_key, set_back_ms=set_back_ms):
                self.world = self.new_world()
                ring = self.ring(size)
                self.world.run(60)
                self.world.power_off(ring[1])
                self.world.run(0.2)
                host = self.world.hosts[ring[1]]
                if set_back_ms:
                    host._epoch, host.skew_ms = 0, -set_back_ms
                if not keeps_key:
                    host._seed += 1
                self.world.start(ring[1])
                self.until(lambda: self.node(ring[1]).is_member, 6)  # noqa: B023
                self.until(self.is_ideal, 15)
                self.assert_one_ring(size)

    def test_newcomer_dies(self) -> None:
        """A newcomer that dies anywhere between its first question and going live leaves no trace, and the next one is
        taken in.
        """
        for moment in range(12):
            with self.subTest(moment=moment):
                self.world = self.new_world(seed=moment)
                ring = self.ring(4)
                newcomer = self.world.start()
                self.world.run(0.06 * (moment + 1))
                self.world.crash(newcomer.peer)
                self.until(self.is_ideal, 15)
                self.assertEqual(sorted(self.world.check.members, key=lambda peer: peer.id), ring)
                self.world.start()
                self.until(self.is_ideal, 15)
                self.assert_one_ring(5)
                self.assert_safe()

    def test_unreachable_from_one(self) -> None:
        """A newcomer that one member of a small ring cannot reach is not taken in while it is so, harms nobody, and is
        a member soon after.
        """
        ring = self.ring(5)
        newcomer = self.world.address()
        for one, other in ((newcomer, ring[2]), (ring[2], newcomer)):
            self.world.network.faults.install(Cut(one, other))
        self.world.start(newcomer)
        self.world.run(60)
        self.assertFalse(self.node(newcomer).is_member)
        self.assert_safe()
        self.world.network.faults.heal()
        self.until(self.is_ideal, 40)
        self.assert_one_ring(6)


class DeathTests(RingTestCase):
    """Members that die, and such as only seem dead."""

    def test_neighbours_die_together(self) -> None:
        """Two neighbours killed at once, in a small and in a large ring: ideal again within 10 s."""
        for size in (6, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                ring = self.ring(size)
                self.world.run(60)
                self.world.crash(ring[2], ring[3])
                self.until(self.is_ideal, 10)
                self.assert_one_ring(size - 2)
                self.assert_safe()

    def test_power_failure(self) -> None:
        """Hosts that vanish without resetting their links are healed within 20 s, two neighbours as fast as one."""
        for gone in (1, 2, 3):
            with self.subTest(gone=gone):
                self.world = self.new_world()
                ring = self.ring(20)
                self.world.run(60)
                self.world.power_off(*ring[4 : 4 + gone])
                self.until(self.is_ideal, 20)
                self.assert_safe()

    def test_power_failure_in_a_small_ring(self) -> None:
        """Where all know all, all notice a silent death at about one time, not one behind another."""
        self.world = self.new_world(successors=16)
        ring = self.ring(20)
        self.world.run(60)
        self.world.power_off(ring[7])
        self.until(self.is_ideal, 25)
        self.assert_safe()

    def test_told(self) -> None:
        """Members that die together are one line in the log of each that knew them, and an event each; one that leaves
        is an event, and counted.
        """
        ring = self.ring(6)
        self.world.run(60)
        dead, leaving = ring[2:4], ring[1]
        self.world.crash(*dead)
        self.until(self.is_ideal, 10)
        self.world.run(3)
        self.world.leave(leaving)
        self.world.run(5)
        said = [formatEvent(event) for event in self.observer if event["log_format"].startswith("dead: ")]
        self.assertEqual(4, len(said), said)
        for peer in dead:
            self.assertEqual([], [line for line in said if str(peer) not in line])
        for peer in (ring[0], ring[4], ring[5]):
            texts = [event.text for event in self.node(peer).events]
            self.assertEqual([], [gone for gone in dead if f"{gone} is dead: it does not answer" not in texts])
            self.assertIn(f"{leaving} left", texts)
            self.assertEqual(1, self.node(peer).left)

    def test_last_survivor(self) -> None:
        """When all others of a small ring die at once, what is left is a ring of one, which serves on."""
        ring = self.ring(5)
        self.world.crash(*ring[1:])
        self.until(self.is_ideal, 10)
        self.assertTrue(is_alone(self.node(ring[0]).routing))
        self.assertTrue(self.node(ring[0]).is_member)

    def test_first_node_comes_back(self) -> None:
        """A first node that is killed, and begins a ring of its own on its return, is back in the old ring within a
        minute; nobody else leaves it.
        """
        first = self.world.address(0)
        self.world.seed_peers = []
        self.world.start(first)
        self.world.run(1)
        self.world.seed_peers = [first]
        self.ring(5)
        self.world.crash(first)
        self.until(self.is_ideal, 10)
        self.world.check.suspended = True
        self.world.start(first)
        self.until(lambda: is_alone(self.node(first).routing), 5)
        self.until(self.is_ideal, 40)
        self.assert_one_ring(6)

    def test_broken_path(self) -> None:
        """A path that is broken between two neighbours only is no death: nobody is dropped, however long it lasts."""
        ring = self.ring(20)
        one, other = ring[4], ring[5]
        self.world.network.faults.install(Cut(one, other))
        self.world.network.faults.install(Cut(other, one))
        successors = self.node(one).successors
        self.world.run(60)
        self.assertEqual(self.node(one).successors, successors)
        self.assertEqual(self.node(other).predecessor, one)
        self.assert_safe()

    def test_paused(self) -> None:
        """A process that stands still for 2 s is not given up; it gives up nobody when it goes on."""
        ring = self.ring(20)
        self.world.live[ring[4]].link.pause()
        self.world.run(2)
        self.world.live[ring[4]].link.resume()
        self.world.run(20)
        self.assert_one_ring(20)
        self.assert_safe()

    def test_paused_for_long(self) -> None:
        """A process that stood still for a minute was given up by others; it doubts itself, and is linked in again."""
        for size in (5, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                ring = self.ring(size)
                self.world.check.suspended = True
                node = self.node(ring[4])
                known = node.successors
                self.world.live[ring[4]].link.pause()
                self.world.run(60)
                self.world.live[ring[4]].link.resume()
                self.world.run(0.5)
                self.assertTrue(set(known) <= {*node.successors})
                self.until(self.is_ideal, 20)
                self.assert_one_ring(size)

    def test_wall_clock_is_stepped(self) -> None:
        """Wall clocks that are set a minute ahead or back change no pointer of anybody."""
        ring = self.ring(8)
        changes = [self.node(peer).routing.changes for peer in ring]
        for number, peer in enumerate(ring):
            self.world.hosts[peer].skew_ms = 60_000 if number % 2 else -60_000
        self.world.run(60)
        for peer in ring:
            self.world.hosts[peer].skew_ms = 0
        self.world.run(60)
        self.assertEqual([self.node(peer).routing.changes for peer in ring], changes)
        self.assert_one_ring(8)


class PlaceTests(RingTestCase):
    """Two nodes that want one place."""

    def test_two_on_one_place(self) -> None:
        """The second node on one address is refused, and told by whom; the first is not disturbed. When the first has
        died the second takes its place.
        """
        for size in (1, 5, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                ring = self.ring(size)
                changes = [self.node(peer).routing.changes for peer in ring]
                first = ring[0]
                second = self.world.identity.peer(first.host, 7000)
                heard = len(lines(self.observer))
                self.world.start(second)
                self.world.run(30)
                self.assertFalse(self.node(second).is_member)
                told = f"joining: {second}: {first} does not admit us: {taken_by(first)}; trying on"
                self.assertEqual(lines(self.observer)[heard:], [told])
                self.assertEqual([self.node(peer).routing.changes for peer in ring], changes)
                self.world.crash(first)
                self.until(self.is_ideal, 20)
                self.assert_one_ring(size)


class UpkeepTests(RingTestCase):
    """A ring that is left alone."""

    def test_quiet(self) -> None:
        """Nothing changes in a quiet ring, and upkeep costs less than 100 bytes a second and node."""
        for size in (5, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                ring = self.ring(size)
                self.world.run(120)
                changes = [self.node(peer).routing.changes for peer in ring]
                before = self.world.network.traffic_bytes()
                self.world.run(120)
                self.assertEqual([self.node(peer).routing.changes for peer in ring], changes)
                self.assertLess((self.world.network.traffic_bytes() - before) / 120 / size, 100)
                self.assert_safe()

    def test_fingers(self) -> None:
        """After some minutes every finger of a large ring points to the member that it should, or nowhere where that is
        ourselves, and lookups from anywhere end at the owner.
        """
        ring = self.ring(30)
        self.world.run(300)
        for peer in ring:
            routing = self.node(peer).routing
            wanted = routing.fingers_wanted()
            self.assertTrue(wanted)
            for k in wanted:
                owner = self.world.check.owner(finger_start(peer.id, k))
                self.assertEqual(routing.fingers.get(k), None if owner == peer else owner)
        verdicts: list[str] = []
        for peer in ring:
            self.world.find(peer, self.world.rng.getrandbits(256), lambda result: verdicts.append(result.verdict))
        self.world.run(3)
        self.assertEqual(verdicts, ["right"] * 30)

    def test_far_head(self) -> None:
        """A member whose head stands far off walks back to the nearest member in one round: after two rings have become
        one there are whole runs of members between the two.
        """
        peers = self.ring(20)
        node = self.node(peers[0])
        node.stabilizing.stop()
        node.routing.join(peers[-1], peers[15:19], whole=False)
        round = Deferred.fromCoroutine(node.stabilizing.round())
        self.until(lambda: bool(round.called), within_s=10)
        self.assertEqual(node.routing.head, peers[1])

    def test_lost_segments(self) -> None:
        """One segment in five that is lost, and sent again by TCP, kills nobody."""
        for size in (6, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                self.world.network.faults.install(Loss(0.2))
                self.ring(size)
                self.world.run(200)
                self.assert_one_ring(size)
                self.assert_safe()


class CutOffTests(RingTestCase):
    """Nodes that lose their ring, and rings that meet."""

    def test_rejoins(self) -> None:
        """A member whose whole list died at once is cut off; it comes back by itself as soon as anybody it knew, or the
        bootstrap node, is back.
        """
        ring = self.ring(20)
        self.world.check.suspended = True
        self.world.seed_peers = [ring[0]]
        survivor = ring[10]
        self.world.crash(*[peer for peer in ring if peer is not survivor])
        self.until(lambda: not self.node(survivor).is_member, 20)
        self.world.run(120)
        self.assertFalse(self.node(survivor).is_member)
        self.world.seed_peers = []
        self.world.start(ring[0])
        self.world.seed_peers = [ring[0]]
        self.until(self.is_ideal, 20)
        self.assert_one_ring(2)

    def test_other_epoch(self) -> None:
        """Whoever rejoins does so as another incarnation: its epoch is a later one."""
        ring = self.ring(20)
        self.world.check.suspended = True
        survivor = ring[10]
        epoch = self.node(survivor).membership.epoch
        self.world.crash(*[peer for peer in ring if peer is not survivor])
        self.until(lambda: not self.node(survivor).is_member, 20)
        self.assertGreater(self.node(survivor).membership.epoch, epoch)

    def test_partition(self) -> None:
        """Two halves of a ring that did not see one another for two minutes are one ring within a minute and a half
        after they do.
        """
        for size in (6, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                self.ring(size)
                self.world.check.suspended = True
                peers = list(self.world.live)
                self.world.network.faults.install(Partition([peers[: size // 2], peers[size // 2 :]]))
                self.world.run(120)
                self.world.network.faults.heal()
                self.until(self.is_ideal, 90)
                self.assert_one_ring(size)

    def test_two_rings_meet(self) -> None:
        """Two rings of one network become one when members of the one are listed as bootstrap nodes of the other: the
        smaller one joins the larger, whose members stay.
        """
        large = [self.world.address(n) for n in range(6)]
        small = [self.world.address(n) for n in range(6, 9)]
        grow_apart(self.world, large, small)
        epochs = {peer: self.node(peer).membership.epoch for peer in (*large, *small)}
        self.world.seed_peers = [large[0], small[0]]
        self.until(self.is_ideal, 120)
        self.assert_one_ring(9)
        moved = [peer for peer in epochs if self.node(peer).membership.epoch != epochs[peer]]
        self.assertEqual(moved, small)


class LeaveTests(RingTestCase):
    """Leaving in good order."""

    def test_leave(self) -> None:
        """Neighbours are told, others notice: the ring is ideal again within 5 s after the end of whoever left, and
        nothing of its process goes on.
        """
        for size in (2, 5, 20):
            with self.subTest(size=size):
                self.world = self.new_world()
                ring = self.ring(size)
                self.world.run(60)
                left = self.world.leave(ring[1])
                self.until(lambda: left.called, 5)  # noqa: B023
                self.until(self.is_ideal, 5)
                self.assert_one_ring(size - 1)
                self.assertEqual(self.world.timers_left, 0)
                self.assert_safe()

    def test_twice(self) -> None:
        """Asked again while it leaves, or after, it leaves once, and both are told."""
        ring = self.ring(3)
        node = self.node(ring[1])
        first, second = node.leave(), node.leave()
        self.world.run(5)
        self.assertIsNone(self.successResultOf(first))
        self.assertIsNone(self.successResultOf(second))
        self.assertIsNone(self.successResultOf(node.leave()))

    def test_alone(self) -> None:
        """A ring of one may be left at once."""
        ring = self.ring(1)
        left = self.node(ring[0]).leave()
        self.world.run(0.1)
        self.successResultOf(left)

    def test_nobody_takes_over(self) -> None:
        """A node whose neighbours cannot be reached leaves without them, within 5 s, and says that records are lost to
        them.
        """
        ring = self.ring(5)
        for number in range(8):
            self.node(ring[1]).put(bytes([number]) * 32, b"value")
        self.world.run(5)
        self.world.network.faults.install(Partition([[ring[1]]]))
        left = self.world.leave(ring[1])
        self.until(lambda: left.called, 5)
        self.assertEqual(lines(self.observer, "warn"), ["left before every record was handed over"])
        self.assertEqual(self.world.timers_left, 0)

    def test_while_joining(self) -> None:
        """A node that still joins leaves at once, and never becomes a member."""
        for moment in range(8):
            with self.subTest(moment=moment):
                self.world = self.new_world(seed=moment)
                self.ring(4)
                host = self.world.start()
                self.world.run(0.08 * (moment + 1))
                member = host.node.is_member
                left = self.world.leave(host.peer)
                self.until(lambda: left.called, 5)  # noqa: B023
                self.assertFalse(host.node.is_member)
                self.until(self.is_ideal, 15)
                self.assertEqual(self.world.timers_left, 0)
                self.assertTrue(member or len(self.world.check.members) == 4)

    def test_killed_while_leaving(self) -> None:
        """A node that is stopped while it waits for its last puts, before it goes, takes that for no error."""
        ring = self.ring(5)
        for peer in (ring[0], *ring[3:]):
            self.world.network.faults.install(Cut(ring[1], peer))
        for number in range(8):
            self.node(ring[1]).put(bytes([32 * number]) * 32, b"value").addErrback(lambda _: None)
        self.world.leave(ring[1])
        self.world.run(0.5)
        self.world.crash(ring[1])
        self.assertNotIn(ring[1], self.world.check.members)
        self.assertEqual(self.world.errors, [])

    def test_stop(self) -> None:
        """Stopped, at whatever moment of its life, a node leaves no timer behind."""
        self.world.seed_peers = [self.world.address(0)]
        waiting = self.world.start(self.world.address(1))
        self.world.run(10)
        self.world.crash(waiting.peer)
        self.assertEqual(self.world.timers_left, 0)
        self.world.seed_peers = None
        for moment in range(10):
            self.ring(1)
            host = self.world.start()
            self.world.run(0.1 * (moment + 1))
            self.world.crash(host.peer)
            self.world.run(0.1 * (moment + 1))
        peers = list(self.world.live)
        for peer in peers:
            self.world.crash(peer)
            self.world.run(0.7)
        self.assertEqual(self.world.timers_left, 0)
