"""What a healthy ring writes to its log: its members' coming, and no more."""

from __future__ import annotations

from collections import Counter

from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.records import Record, key_of
from chordtwist.simulation.world import World

NODES = 10
INFO_LINES_MAX = 20
"""Of one node, in an hour: fewer than somebody would read."""


class QuietTests(SynchronousTestCase):
    def test_healthy_hour(self) -> None:
        """A ring of ten that is used for an hour logs nothing above info, and next to nothing at info."""
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        world = World(7)
        self.addCleanup(world.close)
        world.grow(NODES)
        read: list[Record | None] = []
        while world.now_s < 3600:
            one, other = world.rng.sample(world.members(), 2)
            key = key_of(f"key {world.rng.randrange(100)}")
            world.node(one).put(key, b"value", 60.0)
            world.node(other).get(key).addCallback(lambda record: read.append(record))
            world.run(10)
        self.assertGreater(len(read), 300)
        lines = [event for event in observer if str(event.get("log_namespace")).startswith("chordtwist.")]
        above = [formatEvent(event) for event in lines if event["log_level"] > LogLevel.info]
        self.assertEqual([], above)
        of_node = Counter(event.get("me") for event in lines if event["log_level"] == LogLevel.info)
        self.assertEqual(NODES, len(of_node))
        self.assertLess(max(of_node.values()), INFO_LINES_MAX)
