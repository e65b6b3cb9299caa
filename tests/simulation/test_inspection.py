"""What people see of a ring through one node, on the simulated network: members that live, died, or are behind."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Peer
from chordtwist.core.records import Record, Tombstone, position_of
from chordtwist.node.inspection import Inspection
from chordtwist.simulation.world import World

MEMBERS = 24
KEY = sha256(b"greeting").digest()


class InspectionTests(SynchronousTestCase):
    """Twenty-four members that list eight each."""

    def setUp(self) -> None:
        self.world = World(seed=3)
        self.addCleanup(self.world.close)
        self.world.grow(MEMBERS)
        self.assertIsNotNone(self.world.settle(120.0), self.world.wrong())
        self.first = self.world.members()[0]

    @property
    def inspection(self) -> Inspection:
        return self.world.node(self.first).inspection

    def told(self, asked: Deferred[Any], within_s: float = 10.0) -> Any:
        self.world.run(within_s)
        return self.successResultOf(asked)

    def put(self, value: bytes = b"good morning") -> None:
        self.told(self.world.node(self.first).put(KEY, value))

    def replicas(self) -> list[Peer]:
        return list(self.told(self.world.node(self.first).find(position_of(KEY))).replicas[:4])

    def test_ring(self) -> None:
        """A walk meets everybody, by their places, with the share of each; it closes, and all agree."""
        ring = self.told(self.inspection.ring())
        there = sorted(self.world.members(), key=lambda peer: peer.id)
        self.assertEqual([member["address"] for member in ring["members"]], [str(peer) for peer in there])
        self.assertAlmostEqual(sum(member["share"] for member in ring["members"]), 1.0)
        self.assertEqual((ring["closes"], ring["faults"], ring["silent"], ring["complete"]), (True, [], [], True))
        self.assertEqual(
            [member["predecessor"] for member in ring["members"]], [str(p) for p in there[-1:] + there[:-1]]
        )

    def test_dead_member(self) -> None:
        """Who has just died is told, with the reason; the others are all there."""
        dead = next(peer for peer in self.world.members() if peer != self.first)
        self.world.crash(dead)
        ring = self.told(self.inspection.ring(), 2.0)
        self.assertEqual([silent["address"] for silent in ring["silent"]], [str(dead)])
        self.assertEqual((len(ring["members"]), ring["closes"]), (MEMBERS - 1, False))
        self.assertIn(f"{dead} does not answer as a member", ring["faults"][0])

    def test_estimate(self) -> None:
        """The size of the ring is estimated without a question."""
        estimate = self.inspection.estimate()
        self.assertTrue(MEMBERS / 3 < estimate["members"] < 3 * MEMBERS, estimate)  # type: ignore[operator]

    def test_replicas_agree(self) -> None:
        """Every replica of a record is shown with the version and the digest that all have; a reader gets it."""
        self.put()
        seen = self.told(self.inspection.inspect(KEY))
        self.assertEqual([row["address"] for row in seen["replicas"]], [str(peer) for peer in self.replicas()])
        self.assertEqual(
            [(row["state"], row["behind"], row["bytes"]) for row in seen["replicas"]], [("has", False, 12)] * 4
        )
        self.assertEqual({row["sha256"] for row in seen["replicas"]}, {sha256(b"good morning").hexdigest()})
        self.assertEqual((seen["reader"]["found"], seen["reader"]["bytes"]), (True, 12))
        self.assertEqual(seen["reader"]["why"], "4 of 4 replicas have the newest version; 4 speak, which is a majority")

    def test_replica_behind(self) -> None:
        """A replica with an older version, and one with nothing, are behind; one that is dead does not speak. To look
        changes nothing.
        """
        self.put(b"old")
        replicas = [peer for peer in self.replicas()]
        old = self.world.node(replicas[1]).records.local_records.get(KEY)
        assert isinstance(old, Record)
        self.put(b"new")
        behind = [peer for peer in replicas[1:] if peer != self.first][:2]
        for peer in behind:
            self.world.node(peer).records.local_records.store.remove(KEY)
        self.world.node(behind[0]).records.local_records.take(old, None, None)
        for _ in range(2):
            rows = {row["address"]: row for row in self.told(self.inspection.inspect(KEY), 0.5)["replicas"]}
            self.assertEqual((rows[str(behind[0])]["state"], rows[str(behind[0])]["behind"]), ("has", True))
            self.assertEqual((rows[str(behind[1])]["state"], rows[str(behind[1])]["behind"]), ("nothing", True))

    def test_dead_replica(self) -> None:
        """A replica that does not answer is shown with the reason, and is not called behind."""
        self.put()
        dead = next(peer for peer in self.replicas() if peer != self.first)
        self.world.crash(dead)
        rows = {row["address"]: row for row in self.told(self.inspection.inspect(KEY), 5.0)["replicas"]}
        if str(dead) in rows:  # the ring may have found it out already
            self.assertNotIn(rows[str(dead)]["state"], ("has", "nothing"))
            self.assertFalse(rows[str(dead)]["behind"])

    def test_deleted(self) -> None:
        """Of a record that was deleted the replicas have the tombstone, and a reader gets nothing."""
        self.put()
        self.told(self.world.node(self.first).delete(KEY))
        seen = self.told(self.inspection.inspect(KEY))
        self.assertEqual({row["state"] for row in seen["replicas"]}, {"tombstone"})
        self.assertFalse(seen["reader"]["found"])
        self.assertIsInstance(self.world.node(self.replicas()[0]).records.local_records.get(KEY), Tombstone)

    def test_never_put(self) -> None:
        """Of a key that nobody put all replicas have nothing."""
        seen = self.told(self.inspection.inspect(KEY))
        self.assertEqual([row["state"] for row in seen["replicas"]], ["nothing"] * 4)
        self.assertEqual(seen["reader"], {"found": False, "why": "none of the 4 replicas that speak keeps anything"})

    def test_trace(self) -> None:
        """Every question of a search is told, in order; the last ones lead to the owner that the ring has."""
        for number in range(20):
            key = sha256(b"%d" % number).digest()
            trace = self.told(self.inspection.trace(key))
            owner = self.told(self.world.node(self.first).find(position_of(key))).owner
            self.assertEqual(trace["owner"], str(owner))
            outcomes = [step["outcome"] for step in trace["steps"]]
            self.assertEqual(trace["questions"], len(outcomes) - outcomes.count("table at hand"))
            self.assertLessEqual(set(outcomes), {"table", "table at hand", "not waited for"})
            times = [step["at_ms"] for step in trace["steps"]]
            self.assertEqual(times, sorted(times))
            addresses = [step["address"] for step in trace["steps"]]
            self.assertNotIn(str(self.first), addresses)
            if owner != self.first:
                self.assertIn(str(owner), addresses)

    def test_trace_over_the_dead(self) -> None:
        """Who was asked and did not answer is named, with the reason."""
        outcomes: dict[str, str] = {}
        dead = [peer for peer in self.world.members() if peer != self.first][::3]
        self.world.power_off(*dead)
        traces = [self.inspection.trace(sha256(b"%d" % number).digest()) for number in range(20)]
        self.world.run(10.0)
        for asked in traces:
            trace: Any = self.successResultOf(asked)
            outcomes |= {step["address"]: step["outcome"] for step in trace["steps"]}
        silent = {
            address
            for address, outcome in outcomes.items()
            if outcome not in ("table", "table at hand", "not waited for")
        }
        self.assertTrue(silent)
        self.assertLessEqual(silent, {str(peer) for peer in dead})

    def test_ping(self) -> None:
        """Every neighbour and finger is measured, and told what it is to us; of one that is dead the reason is told."""
        node = self.world.node(self.first)
        rows = {row["address"]: row for row in self.told(self.inspection.ping(None, 3))}
        self.assertEqual(set(rows), {str(peer) for peer in node.routing.everybody()})
        head = rows[str(node.successors[0])]
        self.assertIn("successor 1", head["as"])
        self.assertEqual((head["asked"], head["answered"], head["reason"]), (3, 3, None))
        self.assertGreater(head["median_ms"], 0)
        dead = node.successors[0]
        self.world.crash(dead)
        (row,) = self.told(self.inspection.ping([dead], 2))
        self.assertEqual((row["answered"], row["median_ms"]), (0, None))
        self.assertTrue(row["reason"])
