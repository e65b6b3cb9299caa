"""Sentences of the papers, one test each, with the section they stand in.

*Chord*: I. Stoica et al., "Chord: a scalable peer-to-peer lookup protocol for Internet applications", IEEE/ACM ToN
11(1), 2003. *Zave*: P. Zave, "Reasoning about identifier spaces: How to make Chord correct", IEEE TSE 43(12), 2017.
Where we deviate the test says so; ``docs/decisions`` has the reasons.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.core.ring import Arc, between, finger_start
from chordtwist.simulation.workload import Lookups
from chordtwist.simulation.world import World
from tests.builders import at, peer, peers, places, routing, table


class ChordPaperTests(SynchronousTestCase):
    """What the Chord paper says of identifiers, successors and fingers."""

    def test_identifiers_are_ordered_on_a_circle(self) -> None:
        """Identifiers are ordered on an identifier circle modulo 2^m (Chord, section IV-B)."""
        self.assertTrue(between(at(65_000), at(10), at(20)))
        self.assertFalse(between(at(10), at(65_000), at(20)))

    def test_key_belongs_to_its_successor(self) -> None:
        """Key k is assigned to the first node whose identifier is equal to or follows k (Chord, IV-B)."""
        state = routing(30, (40,), predecessor=20)
        self.assertEqual([state.owns(at(place)) for place in (20, 21, 30, 31)], [False, True, True, False])

    def test_join_moves_only_keys_of_the_successor(self) -> None:
        """When a node joins, certain keys previously assigned to its successor become assigned to it (Chord, IV-B)."""
        before, newcomer = Arc(at(10), at(30)), Arc(at(10), at(20))
        moved = [place for place in range(1, 65) if at(place) in before and at(place) in newcomer]
        self.assertEqual(moved, list(range(11, 21)))

    def test_fingers(self) -> None:
        """The i-th finger is the first node that succeeds n by at least 2^(i-1) (Chord, IV-D; counted from 0 here)."""
        self.assertEqual(finger_start(at(10), 250), (at(10) + 2**250) % 2**256)
        state = routing(10, (20,))
        self.assertTrue(state.finger_is_right(250, table(1100, predecessor=900)))
        self.assertFalse(state.finger_is_right(250, table(1100, predecessor=1050)))

    def test_correctness_needs_no_fingers(self) -> None:
        """Even if fingers are out of date, lookups are right while successors are (Chord, IV-E.2)."""
        world = ring(12, successors=2)
        self.addCleanup(world.close)
        for host in world.live.values():
            host.node._fixing.stop()
        lookups = Lookups(world)
        for _ in range(30):
            lookups.once()
            for host in world.live.values():
                host.node.routing.fingers.clear()
            world.run(2)
        self.assertEqual((lookups.right, lookups.asked), (30, 30))

    def test_number_of_hops(self) -> None:
        """The number of nodes that must be contacted is O(log N), half of log2 N on average (Chord, V-C).

        Ours is an upper bound: successor lists of 16 entries take their share of the last hops.
        """
        world = ring(64, successors=4)
        self.addCleanup(world.close)
        world.run(300)
        lookups = Lookups(world)
        for _ in range(150):
            lookups.once()
            world.run(0.1)
        world.run(5)
        self.assertEqual(lookups.right, 150)
        self.assertLess(lookups.hops / 150, 6 / 2 + 0.5)

    def test_successor_list_replaces_a_failed_successor(self) -> None:
        """If the successor has failed, the node replaces it with the first live entry of its list (Chord, IV-E.3)."""
        state = routing(10, (20, 30, 40))
        state.drop(peer(20))
        self.assertEqual(state.head, peer(30))

    def test_simultaneous_failures(self) -> None:
        """With lists of length r = O(log N), lookups succeed although every node fails with probability 1/2, all at
        once (Chord, theorem 6).
        """
        world = ring(48, successors=16)
        self.addCleanup(world.close)
        world.power_off(*world.members()[::2])
        lookups = Lookups(world)
        for _ in range(60):
            lookups.once()
        world.run(15)
        self.assertEqual((lookups.wrong, lookups.answered), (0, 60))

    def test_departing_node_hands_over(self) -> None:
        """A node that leaves may transfer its keys, and notifies its predecessor and successor (Chord, IV-E.4)."""
        world = ring(6, successors=4)
        self.addCleanup(world.close)
        leaver = world.members()[3]
        before, after = world.node(leaver).predecessor, world.node(leaver).successors[0]
        assert before is not None
        world.leave(leaver)
        world.run(5)
        self.assertEqual(world.node(before).successors[0], after)
        self.assertNotIn(leaver, world.node(after).successors)


class ZaveTests(SynchronousTestCase):
    """What the corrected protocol says, step by step, and what follows."""

    def test_join_takes_over_the_whole_list(self) -> None:
        """A joining member gets its predecessor's entire successor list, in one step (Zave, section 5, JOIN)."""
        state = routing(15)
        state.join(peer(10), peers(20, 30, 40), whole=False)
        self.assertEqual((state.predecessor, places(state.successors)), (peer(10), [20, 30, 40]))

    def test_join_reads_twice(self) -> None:
        """A join uses one read, as atomic as any step (Zave, 5). Ours are messages: it reads again before it goes live,
        and starts over when the list has changed.
        """
        world = ring(12, successors=2)
        self.addCleanup(world.close)
        asked: list[str] = []
        newcomer = world.start()
        real = newcomer.node.joining._fetch
        newcomer.node.joining._fetch = lambda peer: asked.append("again") or real(peer)  # type: ignore
        world.run(10)
        self.assertTrue(newcomer.is_member)
        self.assertTrue(asked)

    def test_stabilize_copies_always(self) -> None:
        """Stabilizing, a member replaces its list by the successor followed by the successor's list but its last entry,
        whether or not anything seems new (Zave, 5, STABILIZE FROM SUCCESSOR).
        """
        state = routing(10, (20, 30, 50))
        state.stabilize(table(20, (30, 40, 50)))
        self.assertEqual(places(state.successors), [20, 30, 40])

    def test_closer_predecessor_of_the_successor(self) -> None:
        """If the successor's predecessor lies between, it is contacted before it is adopted (Zave, 5; the original
        adopts it unseen).
        """
        state = routing(10, (30, 40))
        self.assertEqual(state.better_head(table(30, (40, 50), predecessor=20)), peer(20))
        self.assertEqual(state.head, peer(30), "nothing changes before it has answered")
        state.stabilize(table(20, (30, 40)))
        self.assertEqual(state.head, peer(20))

    def test_rectify_closer(self) -> None:
        """A notified member adopts a notifier that is closer than its predecessor (Zave, 5, RECTIFY)."""
        state = routing(30, (40,), predecessor=10)
        self.assertTrue(state.rectify(peer(20), predecessor_is_dead=False))
        self.assertEqual(state.predecessor, peer(20))

    def test_rectify_dead(self) -> None:
        """... or any notifier when its predecessor is dead, which it finds out by asking (Zave, 5, RECTIFY)."""
        state = routing(30, (40,), predecessor=20)
        self.assertFalse(state.rectify(peer(10), predecessor_is_dead=False))
        self.assertTrue(state.rectify(peer(10), predecessor_is_dead=True))

    def test_dead_entry_is_only_removed(self) -> None:
        """A dead first entry is removed and nothing added (Zave, 5): topping up would skip live members."""
        state = routing(10, (20, 30, 40), predecessor=5)
        state.drop(peer(20))
        self.assertEqual(places(state.successors), [30, 40])

    def test_list_never_holds_its_owner(self) -> None:
        """Lists are ordered, without duplicates, and never include their owner (Zave, 6, theorem on lists)."""
        state = routing(10, (20,))
        state.stabilize(table(20, (30, 10, 20)))
        self.assertEqual(places(state.successors), [20, 30])

    def test_initial_ring(self) -> None:
        """The ring begins with r + 1 members (Zave, 4). Ours begins with one and is whole until it is large enough:
        both invariants hold all the way.
        """
        world = ring(14, successors=3)
        self.addCleanup(world.close)
        self.assertEqual((world.check.violated, world.check.wrong_pointers()), (0, []))

    def test_ideal_state_is_stable(self) -> None:
        """In the ideal state stabilization changes nothing (Zave, 6, convergence)."""
        world = ring(12, successors=3)
        self.addCleanup(world.close)
        changes = [host.node.routing.successors for host in world.live.values()]
        world.run(60)
        self.assertEqual([host.node.routing.successors for host in world.live.values()], changes)

    def test_convergence(self) -> None:
        """Without joins and failures the ring becomes ideal (Zave, 6, theorem 2)."""
        world = ring(20, successors=4)
        self.addCleanup(world.close)
        for _ in range(4):
            world.start()
        world.power_off(*world.members()[2:4])
        self.assertIsNotNone(world.settle(60))

    def test_rejoin_at_the_same_place(self) -> None:
        """A node that failed may rejoin, at the same identifier (Zave, 4)."""
        world = ring(8, successors=3)
        self.addCleanup(world.close)
        again = world.members()[4]
        world.crash(again)
        world.start(again)
        self.assertIsNotNone(world.settle(60))
        self.assertIn(again, world.members())


def ring(count: int, successors: int) -> World:
    """An ideal ring of real nodes, simulated."""
    world = World(1, Parameters(network="paper", successors=successors, replication=min(2, successors)))
    world.grow(count)
    if world.settle(120) is None:
        raise AssertionError(f"no ring: {world.wrong()}")
    return world
