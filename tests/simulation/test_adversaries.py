"""The adversaries: what each says, to whom, and that it does the harm it is named for to a ring that believes it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.signed import unpack_table
from chordtwist.core.table import Table
from chordtwist.core.witnesses import WitnessedLookup
from chordtwist.simulation.adversaries import ATTACKS
from chordtwist.simulation.adversaries.aimed import Burst
from chordtwist.simulation.adversaries.coalition import Coalition
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.simulation.adversaries.tables import InventAnew, InventDense, InventSpread
from chordtwist.simulation.byzantine import Figures, under_attack
from chordtwist.simulation.run import Options, Run
from chordtwist.simulation.shares import Share, interval
from chordtwist.simulation.world import LookupResult, World
from chordtwist.wire.peer_messages import GetTable, Notify, Same, TableIs

NODES = 24

ASKED_S = 0.5
"""Time for a question and its answer, and not for much besides."""


def measured(attack: str, how: str = "far", **more: Any) -> tuple[Figures, Run]:
    """Run one attack in a ring of a few nodes with short lists."""
    options = Options(
        nodes=NODES,
        minutes=0.1,
        successors=4,
        replication=3,
        lookups=40,
        records=8,
        byzantine=0.25,
        attack=attack,
        how=how,
    )
    run = Run(replace(options, **more))
    under_attack(run)
    run.world.close()
    assert run.figures is not None
    return run.figures, run


def right_of(share: Share) -> tuple[int, int]:
    """How many were right, of how many."""
    return share.right, share.of


class Shown(SynchronousTestCase):
    """Tables of liars, in a ring of two dozen with lists of four."""

    def setUp(self) -> None:
        self.world = World(7, Parameters(network="simulation", successors=4, replication=3))
        self.addCleanup(self.world.close)

    def lie(self, name: str, to_all: bool = False) -> Coalition:
        coalition = Coalition(self.world, 0.25, ATTACKS[name], to_all, grown=False)
        self.world.grow(NODES)
        self.world.settle(60)
        coalition.close()
        coalition.begin()
        return coalition

    def shown(self, liar: Liar, asker: Any) -> Table:
        answer = liar.answer(asker, GetTable(0, 0))
        assert isinstance(answer, TableIs)
        return unpack_table(self.world.identity, answer.body)

    def far_and_near(self, coalition: Coalition, liar: Liar) -> tuple[Any, Any]:
        honest = coalition.honest()
        far = next(peer for peer in honest if not liar.routing.is_near(peer))
        near = next(peer for peer in honest if liar.routing.is_near(peer))
        return far, near

    def test_neighbours_are_told_the_truth(self) -> None:
        """Lying *far*, a colluder shows its ring neighbours its true table, and colluders to everybody else."""
        coalition = self.lie("colluders")
        liar = coalition.live()[0]
        far, near = self.far_and_near(coalition, liar)
        self.assertEqual(self.shown(liar, near).successors, liar.routing.live_successors)
        self.assertTrue(all(peer in coalition for peer in self.shown(liar, far).successors))

    def test_all_are_lied_to(self) -> None:
        """Lying to *all*, it shows its neighbours the same lie; a fellow colluder is told the truth."""
        coalition = self.lie("colluders", to_all=True)
        liar, fellow = coalition.live()[:2]
        _, near = self.far_and_near(coalition, liar)
        self.assertTrue(all(peer in coalition for peer in self.shown(liar, near).successors))
        self.assertEqual(self.shown(liar, fellow.me).successors, liar.routing.live_successors)

    def test_a_lie_is_told_once(self) -> None:
        """Who holds the lie already is told that it is the same: two bodies of one seq would be evidence."""
        coalition = self.lie("colluders")
        liar = coalition.live()[0]
        far, _ = self.far_and_near(coalition, liar)
        table = self.shown(liar, far)
        self.assertIsInstance(liar.answer(far, GetTable(table.epoch, table.seq)), Same)

    def test_budget(self) -> None:
        """A budgeted liar leaves out three honest members in one place at most."""
        coalition = self.lie("budgeted")
        ring = list(coalition.members(0))
        for liar in coalition.live():
            far, _ = self.far_and_near(coalition, liar)
            before = liar.me
            for peer in self.shown(liar, far).successors:
                gap = (ring.index(peer) - ring.index(before)) % len(ring)
                self.assertLessEqual(gap, 4)
                before = peer

    def test_victims_are_hidden(self) -> None:
        """Nobody is told of a victim."""
        coalition = self.lie("hide")
        self.assertEqual(len(coalition.attack.victims), 10)
        for liar in coalition.live():
            far, _ = self.far_and_near(coalition, liar)
            self.assertFalse(set(self.shown(liar, far).everybody()) & set(coalition.attack.victims))

    def test_two_tables_of_one_number(self) -> None:
        """An equivocator shows two askers two tables; others learn of one only."""
        coalition = self.lie("equivocate", to_all=True)
        liar = coalition.live()[0]
        askers: dict[int, Any] = {peer.id % 2: peer for peer in coalition.honest()}
        shown = {self.shown(liar, peer).successors for peer in askers.values()}
        self.assertEqual(len(shown), 2)


class Harm(SynchronousTestCase):
    """Every attack, for a few seconds: no honest node breaks by an error, and what it is named for happens."""

    def test_one_liar(self) -> None:
        """One liar of any kind, lying to all, takes nobody out of the ring, and makes no list, lookup or put wrong."""
        nodes = 16  # with lists of four no small ring, and there are two dozen attacks
        for name in ATTACKS:
            figures, run = measured(name, "all", nodes=nodes, byzantine=1 / nodes)
            self.assertEqual(run.problems(), [], name)
            honest = nodes if name == "burst" else nodes - 1
            counted = (figures.honest_members, figures.lists_right, figures.lookups, figures.joiners.at_place)
            self.assertEqual([(honest,) * 2, (honest,) * 2, (40, 40), (4, 4)], [*map(right_of, counted)], name)
            self.assertEqual(nodes, figures.principals, name)
            for kind, kept in figures.values.items():
                put = 8 if kind == "content" else 16
                self.assertEqual([(put, put), (16, 16)], [right_of(kept.puts), right_of(kept.gets)], f"{name} {kind}")
            for host in run.world.live.values():
                self.assertNotIn("joins the ring afresh", [event.text for event in host.node.events], name)

    def test_values(self) -> None:
        """Three members lie about records, so never most of eight replicas: what is put is read, and nothing else."""
        for name in ("alter", "swap", "plant", "stale", "false-ended", "store-then-drop", "refuse", "not-mine"):
            figures, run = measured(name, "all", successors=8, replication=8, lookups=0, records=4, byzantine=3 / NODES)
            self.assertEqual(run.problems(), [], name)
            for kind, kept in figures.values.items():
                put = 4 if kind == "content" else 8
                right = [right_of(kept.puts), right_of(kept.gets), kept.altered, kept.rolled_back]
                self.assertEqual([(put, put), (8, 8), 0, 0], right, f"{name} {kind}")

    def test_altered_values_are_counted(self) -> None:
        """Where liars are most of the replicas values that nobody put count apart from those that were not found."""
        figures, _ = measured("alter", "all", byzantine=0.7)
        self.assertGreater(figures.values["plain"].altered, 0)
        self.assertEqual(figures.values["signed"].altered + figures.values["content"].altered, 0)

    def test_nobody_leaves_for_a_larger_ring(self) -> None:
        """A quarter of the members shows a ring that looks larger, and tells others of it: nobody leaves for it."""
        for how in ("far", "all"):
            figures, run = measured("larger-ring", how, lookups=0, records=0)
            honest = figures.honest_members
            self.assertEqual((honest.right, figures.principals), (honest.of, NODES), how)
            for host in run.world.live.values():
                events = [event.text for event in host.node.events]
                self.assertNotIn("joins the ring afresh", events, f"{how}: {host.peer}")

    def test_lists_stay_right(self) -> None:
        """Colluders that lie to all, and liars who name nobody's addresses, move no honest list."""
        for attack in ("colluders", "budgeted", "invent-dense", "invent-spread"):
            figures, run = measured(attack, "all", lookups=0, records=0)
            self.assertEqual((figures.lists_right.right, figures.principals), (figures.lists_right.of, NODES), attack)
            self.assertEqual(run.problems(), [])

    def test_grown(self) -> None:
        """Liars may lie while the ring grows."""
        figures, run = measured("budgeted", "all", grown=True)
        self.assertEqual(run.problems(), [])
        self.assertEqual(figures.lookups.of, 40)

    def test_grown_small(self) -> None:
        """So may those to all: a ring too small for ordinary lists takes everybody in, whatever few of them say."""
        figures, _ = measured("colluders", "all", grown=True, nodes=12, successors=8)
        self.assertEqual(right_of(figures.honest_members), (9, 9))
        self.assertEqual(right_of(figures.lists_right), (9, 9))

    def test_same_seed_same_trace(self) -> None:
        """Two runs of one attack are one run."""
        first, second = (measured("colluders")[1].world.trace.digest() for _ in range(2))
        self.assertEqual(first, second)

    def test_plain_chord_believes(self) -> None:
        """Lookups that colluders mislead in plain Chord are right in ours; where nobody lies both are."""
        figures, _ = measured("colluders", "all")
        self.assertEqual((40, 40), right_of(figures.lookups))
        self.assertLess(figures.plain_chord.right, 40)
        figures, _ = measured("refuse", "all")  # which is about records alone
        self.assertEqual((40, 40), right_of(figures.plain_chord))
        self.assertGreater(figures.plain_chord_questions, 40)


class PushedTables(SynchronousTestCase):
    """Who makes others look at itself gains nothing by it."""

    def setUp(self) -> None:
        self.world = World(7, Parameters(network="simulation", successors=16, replication=3))
        self.addCleanup(self.world.close)
        self.world.grow(2 * NODES)
        self.world.settle(60)

    def test_callers_are_not_noted(self) -> None:
        """Whoever notifies a member from far away is looked at, and not met by that as far as the address book goes."""
        pairs = 0
        for peer in self.world.members():
            for other in self.world.members():
                tables = self.world.node(other).tables
                if other != peer and tables.at_hand(peer) is None and not tables.book.is_met(peer):
                    node = self.world.node(peer)
                    node.asking.tell([other], Notify(node.membership.epoch))
                    self.world.run(ASKED_S)
                    self.assertIsNotNone(tables.at_hand(peer))
                    self.assertFalse(tables.book.is_met(peer))
                    pairs += 1
                    break
        self.assertGreater(pairs, NODES)

    def test_witnesses_are_drawn_by_chance(self) -> None:
        """A table at hand makes nobody a witness more often."""
        node = self.world.node(self.world.members()[0])
        members = list(self.world.check.followers(node.me.id))
        position = members[24].id
        near, now = members[16:24], node.asking._seconds()
        for peer in [*node.tables.book]:
            node.tables.book.forget(peer)
        for peer in near:
            node.tables.book.met(peer, now)
        for peer in near[4:]:
            node.tables.fetch(peer)
        self.world.run(1)
        begun: Counter[Peer] = Counter()
        for _ in range(300):
            lookup = node.searches._witnessed(position, None)
            assert isinstance(lookup, WitnessedLookup)
            begun.update(peer for peer in lookup.at_once() if peer in near)
            begun.update(table.peer for table in lookup.witnesses)
        counts = [begun[peer] for peer in near]
        self.assertLess(abs(sum(counts[4:]) - sum(counts[:4])), 0.2 * sum(counts), counts)


class DialsUsedUp(SynchronousTestCase):
    """What inventions cost those who dial them."""

    def test_unmet_owner(self) -> None:
        """Who has no dial left for strangers still reaches owners that it has not met: two witnesses name them."""
        world = World(7, Parameters(network="simulation", successors=8, replication=3))
        self.addCleanup(world.close)
        world.grow(2 * NODES)
        world.settle(60)
        verdicts: list[str] = []
        for peer, host in world.live.items():
            limits = host.node.dial_limits
            for number in range(100):
                invented = world.address(1000 + number)
                limits.dialled(invented)
                limits.ended(invented, "connection refused")
            for owner in world.members():
                if owner != peer and not limits.is_known(owner):
                    world.find(peer, owner.id, lambda result: verdicts.append(result.verdict))
        world.run(10)
        self.assertGreater(len(verdicts), 100)
        self.assertGreaterEqual(verdicts.count("right"), 0.99 * len(verdicts))


class ReplicasUnderLies(SynchronousTestCase):
    """Whom members take for the replicas of a key, while a quarter names inventions to all."""

    def test_no_invention_is_one(self) -> None:
        """They are the true ones, wherever the key stands: beyond all lists of the asker, in the midst of its own, and
        where its own names the owner alone, who may lie.
        """
        world = World(2, Parameters(network="simulation", successors=8, replication=4))
        self.addCleanup(world.close)
        coalition = Coalition(world, 0.25, InventDense, to_all=True, grown=False)
        world.grow(20)
        world.settle(60)
        coalition.close()
        for attack in (InventDense, InventSpread, InventAnew):
            coalition.attack = attack(coalition)
            coalition.begin()
            world.run(20)
            wrong: list[str] = []
            askers = coalition.honest()

            def told(result: LookupResult, owner: Peer, wrong: list[str] = wrong) -> None:
                true = tuple(islice(world.check.followers(owner.id), 4))
                if result.route is None or result.route.replicas[:4] != true:
                    wrong.append(f"of {owner}: {result.route}")

            for number, asker in enumerate(askers):
                for owner in world.members()[number % 2 :: 2]:
                    world.find(asker, owner.id, partial(told, owner=owner))
                world.run(1)
            world.run(10)
            self.assertEqual([], wrong, f"{len(wrong)} wrong under {attack.name}")


class QuickBurst(Burst):
    """It lasts a minute."""

    burst_s, gone_after_s = 20, 60


class Bursts(SynchronousTestCase):
    """As many newcomers as members, who come together, lie, and go together."""

    def test_burst(self) -> None:
        """They come from 20 prefixes; lookups between those who were there before are right, during it and after it."""
        world = World(7, Parameters(network="simulation", successors=8, replication=3))
        self.addCleanup(world.close)
        coalition = Coalition(world, 0.5, QuickBurst, True, False)
        world.grow(NODES)
        world.settle(60)
        old = coalition.honest()
        self.assertEqual(NODES, len(old))
        coalition.begin()
        verdicts: list[str] = []

        def look_up() -> None:
            for peer, owner in pairwise(old):
                world.find(peer, owner.id, lambda result: verdicts.append(result.verdict))
            world.run(20)

        world.run(30)
        came = [liar.me for liar in coalition.live()]
        self.assertEqual((NODES, 20), (len(came), len({peer.host.rpartition(".")[0] for peer in came})))
        look_up()
        world.run(20)
        self.assertEqual([], coalition.live())
        world.run(20)
        look_up()
        self.assertEqual(["right"] * 2 * (NODES - 1), verdicts)
        self.assertEqual(old, coalition.honest())


class Intervals(SynchronousTestCase):
    """Shares of samples."""

    def test_wilson(self) -> None:
        """The interval of Wilson (1927), by hand: 8 of 10 is 49 to 94 %; nothing known is anything."""
        self.assertEqual(interval(8, 10), (0.49016, 0.94332))
        self.assertEqual(interval(0, 0), (0.0, 1.0))
        self.assertEqual(interval(1000, 1000)[1], 1.0)
