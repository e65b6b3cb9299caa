"""Records in rings of real nodes that come and go: nothing lost, nothing old, little spent."""

from __future__ import annotations

from hashlib import sha256
from random import Random

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.repair import Versioned
from chordtwist.core.parameters import Parameters
from chordtwist.core.records import Record
from chordtwist.simulation.world import World


class RingOfNodes(SynchronousTestCase):
    """A world, closed at the end, in which nothing may have gone wrong unnoticed."""

    def world(self, seed: int, nodes: int, **parameters: int) -> World:
        world = World(seed, Parameters(network="simulation", **parameters))  # type: ignore[arg-type]
        self.addCleanup(world.close)
        world.grow(nodes)
        self.assertIsNotNone(world.settle(120))
        self.rng = Random(seed)
        self.values: dict[bytes, bytes] = {}
        return world

    def put(self, world: World, count: int) -> None:
        """So many new keys, at random members, and the time to confirm them."""
        for _ in range(count):
            number = b"%d" % len(self.values)
            key = sha256(number).digest()
            self.values[key] = number
            put = world.node(self.rng.choice(world.members())).put(key, number, 3600)
            put.addErrback(lambda failure: None)
        world.run(2)

    def right(self, world: World) -> int:
        """How many of all keys are read right at a random member."""
        found: list[Record | None] = []
        for key, value in self.values.items():

            def read(record: Record | Failure | None, value: bytes = value) -> None:
                if isinstance(record, Record) and record.value == value:
                    found.append(record)

            world.node(self.rng.choice(world.members())).get(key).addBoth(read)
        world.run(6)
        return len(found)

    def assertNothingWrong(self, world: World) -> None:
        self.assertEqual((world.errors, world.timers_left), ([], 0))


class LeavingTests(RingOfNodes):
    """Members that leave in good order."""

    def test_half_of_a_ring_with_one_copy_each(self) -> None:
        """Sixteen of 32 leave one after another while more is put: nothing is lost, and nothing needs a second copy."""
        world = self.world(1, 32, successors=8, replication=1)
        self.put(world, 100)
        for leaver in self.rng.sample(world.members(), 16):
            world.leave(leaver)
            self.put(world, 3)
        self.assertEqual(len(world.members()), 16)
        self.assertEqual(self.right(world), len(self.values))
        self.assertNothingWrong(world)

    def test_many_at_once(self) -> None:
        """Eight of 24 leave in the same instant, neighbours among them."""
        world = self.world(2, 24, successors=8, replication=1)
        self.put(world, 100)
        for leaver in self.rng.sample(world.members(), 8):
            world.leave(leaver)
        world.run(20)
        self.assertEqual(self.right(world), len(self.values))
        self.assertNothingWrong(world)


class DyingTests(RingOfNodes):
    """Members that die."""

    def test_a_third_at_once(self) -> None:
        """Ten of 30 die in one instant, with eight copies: all is read right from the first read on, and soon every
        record has its eight copies again.
        """
        world = self.world(3, 30, replication=8)
        self.put(world, 150)
        world.power_off(*self.rng.sample(world.members(), 10))
        self.assertEqual(self.right(world), len(self.values))
        world.run(60)
        copies = [sum(isinstance(host.store.get(key), Record) for host in world.live.values()) for key in self.values]
        self.assertGreaterEqual(min(copies), 8)
        self.assertEqual(self.right(world), len(self.values))
        self.assertNothingWrong(world)

    def test_one_after_another_until_none_of_the_first_is_left(self) -> None:
        """Each dead one is replaced by another one; what the first ring was told the last one knows."""
        world = self.world(4, 12)
        self.put(world, 60)
        for victim in world.members():
            world.crash(victim)
            world.start()
            world.run(15)
        self.assertEqual(self.right(world), len(self.values))
        self.assertNothingWrong(world)


class CostTests(SynchronousTestCase):
    """What it costs."""

    def test_repair_traffic(self) -> None:
        """A quiet round costs less than 200 bytes per neighbour; one replaced node of 40 less than 1.5 times the bytes
        of the records that had to move. Afterwards every copy lies where it belongs.
        """
        versioned = Versioned(nodes=40, replication=4, records=600, value_bytes=500, seed=1)
        self.addCleanup(versioned.world.close)
        self.assertEqual(versioned.misplaced(), 0)
        quiet = versioned.quiet()
        replaced = versioned.replaced()
        self.assertLess(float(quiet["bytes_per_neighbour"]), 200)
        self.assertGreater(float(replaced["copies_moved"]), 50)
        self.assertLess(float(replaced["ratio"]), 1.5)
        self.assertEqual((replaced["missing_after_30_s"], replaced["misplaced_at_last"]), (0, 0))
