"""Sentences of the papers, one test each, with the section they stand in.

*Chord*: I. Stoica et al., "Chord: a scalable peer-to-peer lookup protocol for Internet applications", IEEE/ACM ToN
11(1), 2003. *Zave*: P. Zave, "Reasoning about identifier spaces: How to make Chord correct", IEEE TSE 43(12), 2017.
Where we deviate the test says so; ``docs/decisions`` has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from math import log

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.lookup import Lookup
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.ring import RING_SIZE, RingId, between, distance, finger_start
from chordtwist.simulation.workload import Lookups
from chordtwist.simulation.world import LookupResult, World
from chordtwist.wire.peer_messages import Answer, GetTable, JoinRequest, Notify, Question
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
        """When a node joins, certain keys previously assigned to its successor become assigned to it, and no other
        assignment changes (Chord, IV-B).
        """
        world = ring(8, successors=3)
        self.addCleanup(world.close)
        positions = [at(place) for place in range(0, 1 << 16, 1 << 9)]
        before = owners(world, positions)
        newcomer = world.start().peer
        self.assertIsNotNone(world.settle(60))
        after = owners(world, positions)
        moved = [position for position in positions if after[position] != before[position]]
        self.assertTrue(moved)
        self.assertEqual({after[position] for position in moved}, {newcomer})
        self.assertEqual({before[position] for position in moved}, {world.node(newcomer).successors[0]})

    def test_leaving_moves_only_keys_of_the_leaver(self) -> None:
        """When a node leaves, all of its assigned keys are reassigned to its successor (Chord, IV-B)."""
        world = ring(9, successors=3)
        self.addCleanup(world.close)
        positions = [at(place) for place in range(0, 1 << 16, 1 << 9)]
        before = owners(world, positions)
        leaver = before[positions[0]]
        heir = world.node(leaver).successors[0]
        world.leave(leaver)
        self.assertIsNotNone(world.settle(60))
        self.assertEqual(
            owners(world, positions), {key: heir if owner == leaver else owner for key, owner in before.items()}
        )

    def test_load_balance(self) -> None:
        """With high probability each of N nodes keeps at most (1 + O(log N)) K/N of K keys (Chord, IV-B, theorem 1).

        Of 100 rings of 1,000 members no arc is larger than 2 ln N times the mean, with the ids that addresses give.
        """
        for network in range(100):
            identity = Identity(f"ring {network}", Policy.IP)
            ids = sorted(identity.peer(f"10.0.{member >> 8}.{member & 255}", 6401).id for member in range(1000))
            widest = max(distance(before, behind) for before, behind in pairwise([ids[-1], *ids]))
            self.assertLess(widest * 1000 / RING_SIZE, 2 * log(1000))

    def test_fingers(self) -> None:
        """The i-th finger is the first node that succeeds n by at least 2^(i-1) (Chord, IV-D; counted from 0 here)."""
        self.assertEqual(finger_start(at(10), 250), (at(10) + 2**250) % 2**256)
        state = routing(10, (20,))
        self.assertTrue(state.finger_is_right(250, table(1100, predecessor=900)))
        self.assertFalse(state.finger_is_right(250, table(1100, predecessor=1050)))

    def test_nodes_know_few_others(self) -> None:
        """Each node stores information about only a small number of other nodes, O(log N), and knows more about nodes
        closely following it than about nodes farther away (Chord, IV-D).
        """
        world = ring(64, successors=4)
        self.addCleanup(world.close)
        world.run(300)
        for me, host in world.live.items():
            known = sorted(distance(me.id, other.id) for other in host.node.routing.everybody())
            self.assertLessEqual(len(known), 4 + 2 * 6 + 1, "the list, twice log2 of 64, the predecessor")
            self.assertGreaterEqual(sum(gap < RING_SIZE // 4 for gap in known), len(known) / 2)

    def test_correctness_needs_no_fingers(self) -> None:
        """Even if fingers are out of date, lookups are right while successors are (Chord, IV-E.2)."""
        world = ring(12, successors=2)
        self.addCleanup(world.close)
        for host in world.live.values():
            host.node.fingers.chore.stop()
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
        lookups = looked_up(world, 150)
        self.assertEqual(lookups.right, 150)
        self.assertLess(lookups.hops / 150, 6 / 2 + 0.5)

    def test_lookups_while_fingers_lag(self) -> None:
        """Lookups in a stable network take O(log N) hops also after as many nodes again have joined, while successor
        pointers are right and fingers are not (Chord, IV-E.2, theorem 5).
        """
        world = ring(32, successors=4)
        self.addCleanup(world.close)
        world.run(200)
        for host in world.live.values():
            host.node.fingers.chore.stop()
        for _ in range(32):
            world.start().node.fingers.chore.start = lambda: None  # type: ignore[method-assign]
            world.run(1)
        self.assertIsNotNone(world.settle(120))
        lookups = looked_up(world, 100)
        self.assertEqual(lookups.right, 100)
        self.assertLess(lookups.hops / 100, 2 * 6)

    def test_joins_interleaved(self) -> None:
        """If any sequence of joins is executed interleaved with stabilizations, then at some time after the last join
        the successor pointers form a cycle on all nodes (Chord, IV-E.1, theorem 4).
        """
        world = ring(10, successors=3)
        self.addCleanup(world.close)
        for number in range(20):
            world.start()
            world.run(0.01 * (number % 4))
        self.assertIsNotNone(world.settle(120))
        first = world.members()[0]
        cycle = [world.node(first).successors[0]]
        while cycle[-1] != first:
            cycle.append(world.node(cycle[-1]).successors[0])
        self.assertEqual(sorted(map(str, cycle)), sorted(map(str, world.live)))

    def test_failed_finger_is_passed_by(self) -> None:
        """When a finger does not answer, the lookup proceeds with the next best: the finger, or the entry of the list,
        that precedes it (Chord, IV-E.3).
        """
        lookup = Lookup(at(1000))
        lookup.know(table(10, (20, 30), predecessor=5, fingers=(300, 900)))
        self.assertEqual(lookup.next_peer(), peer(900))
        lookup.unreachable(peer(900))
        self.assertEqual(lookup.next_peer(), peer(300))
        lookup.unreachable(peer(300))
        self.assertEqual(lookup.next_peer(), peer(30))

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
        after it was admitted.
        """
        world = ring(12, successors=2)
        self.addCleanup(world.close)
        asked: list[tuple[Peer, type[Question]]] = []
        for member in world.members():
            listen(world, member, partial(lambda to, asker, question: asked.append((to, type(question))), member))
        newcomer = world.start()
        while not newcomer.is_member:
            world.run(0.01)
        before, behind = newcomer.node.predecessor, newcomer.node.successors[0]
        assert before is not None
        admitted = asked.index((behind, JoinRequest))
        self.assertIn((before, GetTable), asked[:admitted])
        self.assertIn((before, GetTable), asked[admitted:])

    def test_stabilize_copies_always(self) -> None:
        """Stabilizing, a member's list becomes the successor followed by the successor's list but its last entry,
        whether or not anything seems new (Zave, 5, STABILIZE FROM SUCCESSOR). Ours differs where a name has not
        answered us itself, or the successor leaves out an entry that lives (`Routing.unite`).
        """
        state = routing(10, (20, 30, 50))
        state.unite(table(20, (30, 40, 50)), lambda peer: True)
        self.assertEqual(places(state.successors), [20, 30, 40])

    def test_closer_predecessor_of_the_successor(self) -> None:
        """If the successor's predecessor lies between, it is contacted before it is adopted (Zave, 5; the original
        adopts it unseen).
        """
        state = routing(10, (30, 40))
        self.assertEqual(state.better_head(table(30, (40, 50), predecessor=20)), peer(20))
        self.assertEqual(state.head, peer(30), "nothing changes before it has answered")
        state.unite(table(20, (30, 40)), lambda peer: True)
        self.assertEqual(state.head, peer(20))

    def test_closer_predecessor_that_is_dead(self) -> None:
        """... and if it does not answer, the list stays what the successor's made it (Zave, 5)."""
        world = ring(12, successors=3)
        self.addCleanup(world.close)
        members = sorted(world.members(), key=lambda member: member.id)
        before, between_them, behind = members[3:6]
        world.power_off(between_them)
        world.node(before).routing.drop(between_them)
        self.assertEqual(world.node(behind).predecessor, between_them, "it has not heard yet")
        world.run(0.2)
        self.assertEqual(world.node(before).successors[0], behind)

    def test_notifies_once(self) -> None:
        """Every stabilization ends with one notification of the successor (Zave, 5). Ours leaves it out where the
        successor has just shown that it knows: there it would change nothing.
        """
        world = ring(12, successors=3)
        self.addCleanup(world.close)
        before, behind = world.members()[3], world.node(world.members()[3]).successors[0]
        told: list[Peer] = []
        listen(world, behind, lambda asker, question: told.append(asker) if isinstance(question, Notify) else None)
        world.node(before).stabilizing.stop()
        for known in (True, False):
            if not known:
                world.node(behind).routing.predecessor = None
                world.node(behind).routing.changes += 1
            Deferred.fromCoroutine(world.node(before).stabilizing.round())
            world.run(1)
            self.assertEqual(told, [] if known else [before])
        self.assertEqual(world.node(behind).predecessor, before)

    def test_answers_amid_its_own_steps(self) -> None:
        """Every member answers at once from its present state, also in the middle of a step of its own (Zave, 5: reads
        are of one member's state and never wait for another's): two that ask each other do not block.
        """
        world = ring(2, successors=3)
        self.addCleanup(world.close)
        one, two = (world.node(member) for member in world.members())
        rounds = [Deferred.fromCoroutine(node.stabilizing.round()) for node in (one, two)]
        self.assertFalse(any(done.called for done in rounds), "both have asked, and wait")
        world.run(1)
        self.assertTrue(all(done.called for done in rounds))

    def test_failure_is_final(self) -> None:
        """A member that failed ceases to respond to queries from other members, and its pointers are gone (Zave, 4):
        who comes back at its place is a new run, which others tell apart.
        """
        world = ring(8, successors=3)
        self.addCleanup(world.close)
        again = world.members()[4]
        epoch = world.node(again).membership.epoch
        world.crash(again)
        run = world.start(again)
        self.assertEqual((run.node.successors, run.node.predecessor), ((), None))
        self.assertGreater(run.node.membership.epoch, epoch)

    def test_leaving_is_failing(self) -> None:
        """A member that leaves is to the others as one that failed (Zave, 4): the ring heals alike, with less delay."""
        world = ring(12, successors=3)
        self.addCleanup(world.close)
        world.leave(world.members()[5])
        world.power_off(world.members()[8])
        self.assertIsNotNone(world.settle(60))
        self.assertEqual((len(world.members()), world.check.violated), (10, 0))

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
        state.unite(table(20, (30, 10, 20)), lambda peer: True)
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


def owners(world: World, positions: Iterable[RingId]) -> dict[RingId, Peer]:
    """Who keeps each position, as a member finds it."""
    found: dict[RingId, Peer] = {}

    def told(position: RingId, result: LookupResult) -> None:
        assert result.route is not None
        found[position] = result.route.owner

    for position in positions:
        world.find(world.members()[0], position, partial(told, position))
        world.run(0.1)
    world.run(5)
    return found


def looked_up(world: World, count: int) -> Lookups:
    """So many lookups, ten a second, and time for the last of them to end."""
    lookups = Lookups(world)
    for _ in range(count):
        lookups.once()
        world.run(0.1)
    world.run(5)
    return lookups


def listen(world: World, member: Peer, heard: Callable[[Peer, Question], object]) -> None:
    """Hear every question that is put to a member."""
    node = world.node(member)
    answer = node.answer

    def answered(asker: Peer, question: Question) -> Answer | Deferred[Answer]:
        heard(asker, question)
        return answer(asker, question)

    node.answer = answered  # type: ignore[method-assign,assignment]


def ring(count: int, successors: int) -> World:
    """An ideal ring of real nodes, simulated."""
    world = World(1, Parameters(network="paper", successors=successors, replication=min(2, successors)))
    world.grow(count)
    if world.settle(120) is None:
        raise AssertionError(f"no ring: {world.wrong()}")
    return world
