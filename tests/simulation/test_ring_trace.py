"""The trace of a ring, and what `tools.traces` makes of it for the model checker. No checker runs here."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.node.ring.ring_trace import Step
from chordtwist.simulation.run import Options
from chordtwist.simulation.sweep import play
from tools.traces import LATE_MS, as_tla, falsified, places_of


class RingTraceTests(SynchronousTestCase):
    """What a run under mixed faults writes."""

    def setUp(self) -> None:
        self.steps: list[Step] = []
        options = Options(8, 5, 0.5, "mixed", lookups=0, records=0, successors=3, replication=2)
        self.run_ = play(options, trace=self.steps.append)

    def test_comes_to_the_end(self) -> None:
        """The steps, one after another, come to the ring that there was at the end, and to nobody who is no member."""
        members: dict[str, Step] = {}
        running = set()
        for step in self.steps:
            if step["action"] == "start":
                running.add(step["node"])
            elif step["action"] in ("live", "changed"):
                self.assertEqual(step["action"] == "changed", step["node"] in members)
                members[step["node"]] = step
            else:
                members.pop(step["node"], None)
                running -= {step["node"]} if step["action"] == "end" else set()
            self.assertLessEqual(set(members), running)
        there = self.run_.world.check.members
        self.assertEqual(set(members), set(map(str, there)))
        for peer, pointers in there.items():
            self.assertEqual(members[str(peer)]["successors"], [str(other) for other in pointers.successors])
            self.assertEqual(members[str(peer)]["predecessor"], str(pointers.predecessor))

    def test_order(self) -> None:
        """They come in the order of their times."""
        times = [step["at_ms"] for step in self.steps]
        self.assertEqual(times, sorted(times))

    def test_same_run(self) -> None:
        """A run that is traced is the same run."""
        self.assertEqual(play(self.run_.options).world.trace.digest(), self.run_.world.trace.digest())

    def test_falsified(self) -> None:
        """One value of one step is another: a living member that was long in the list, or before, is missing."""
        changed, number = falsified(self.steps, Random(1))
        differing = [at for at, pair in enumerate(zip(self.steps, changed, strict=True)) if pair[0] != pair[1]]
        self.assertEqual(differing, [number])
        was, now = self.steps[number], changed[number]
        self.assertEqual(sum(was[name] != now[name] for name in was), 1)
        self.assertGreater(was["at_ms"], LATE_MS)

    def test_as_tla(self) -> None:
        """A trace is a sequence of records, in which nodes are numbers in the order of their places."""
        steps: list[Step] = [
            {"at_ms": 0, "node": "b", "action": "start", "id": "07"},
            {"at_ms": 1, "node": "a", "action": "start", "id": "09"},
            {
                "at_ms": 2,
                "node": "a",
                "action": "live",
                "predecessor": None,
                "successors": ["b"],
                "whole": True,
                "gone": [],
            },
        ]
        places = places_of(steps)
        self.assertEqual(places, {"b": 0, "a": 1})
        self.assertEqual(
            as_tla(steps, places, 2).split(",\n  ")[2],
            '[at |-> 2, node |-> 1, action |-> "live", pred |-> 2, succ |-> {0}, whole |-> TRUE, gone |-> {}]>>',
        )
