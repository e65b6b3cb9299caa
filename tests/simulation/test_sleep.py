"""A machine that is suspended while values end: none of them comes back with it."""

from __future__ import annotations

from hashlib import sha256

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.records import Record
from chordtwist.simulation.world import World

ASLEEP_S = 90.0
TTL_S = 60.0
VALUES = 40


class SleepTests(SynchronousTestCase):
    """Four nodes that keep four copies of everything; the steady clock of one stands still for 90 s."""

    def setUp(self) -> None:
        self.world = World(1, Parameters(network="simulation"))
        self.addCleanup(self.world.close)
        self.world.grow(4)
        self.assertIsNotNone(self.world.settle(60))
        self.others = self.world.members()
        self.asleep = self.others.pop()

    def put(self, prefix: bytes, ttl_s: float, by: Peer) -> None:
        for number in range(VALUES):
            self.world.node(by).put(key(number), prefix + b"%d" % number, ttl_s)
        self.world.run(2)

    def read(self) -> list[bytes]:
        """Every value that any node reads under any of the keys."""
        found: list[bytes] = []

        def note(record: Record | Failure | None) -> None:
            if isinstance(record, Record):
                found.append(record.value)

        for member in self.world.members():
            for number in range(VALUES):
                self.world.node(member).get(key(number)).addBoth(note)
        self.world.run(6)
        return found

    def sleep(self) -> None:
        """Suspend the machine, and wake it again; the others go on."""
        link = self.world.live[self.asleep].link
        link.pause()
        self.world.run(ASLEEP_S)
        link.clock.wake()

    def watch(self, seconds: float) -> list[bytes]:
        """What is read from now on, while the one that slept comes back to its ring."""
        seen: list[bytes] = []
        ends_s = self.world.now_s + seconds
        while self.world.now_s < ends_s:
            seen += self.read()
        return seen

    def test_ended_values_stay_ended(self) -> None:
        """What ended meanwhile is read nowhere afterwards, through whichever node it was put."""
        for by in (self.others[0], self.asleep):
            self.put(b"value", TTL_S, by)
            self.assertEqual(len(self.read()), 4 * VALUES)
            self.sleep()
            self.assertEqual(self.watch(150), [])
            self.assertEqual(sum(host.store.records() for host in self.world.live.values()), 0)

    def test_what_was_put_meanwhile_ends_in_time(self) -> None:
        """What the others sent to the one that slept has waited for it: it reads neither the newer value, whose life is
        over, nor the older one that the newer has replaced.
        """
        self.put(b"older", 150, self.others[0])
        link = self.world.live[self.asleep].link
        link.pause()
        self.put(b"newer", TTL_S, self.others[0])
        self.world.run(ASLEEP_S - 2)
        link.clock.wake()
        self.assertEqual(self.watch(200), [])


def key(number: int) -> bytes:
    return sha256(b"%d" % number).digest()
