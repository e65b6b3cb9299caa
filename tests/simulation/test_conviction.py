"""Conviction in whole rings: whoever breaks a signed promise is convicted by everybody, and nobody else is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core import evidence
from chordtwist.core.conduct import BLAMED_AGAIN_S
from chordtwist.core.errors import Malformed
from chordtwist.core.evidence import Charge, Evidence, Verdict
from chordtwist.core.leases import LEASE_MS
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.ring import Arc
from chordtwist.core.signed import fingerprint, unpack_table
from chordtwist.core.small_ring import in_order
from chordtwist.core.table import Table
from chordtwist.node.node import Node
from chordtwist.node.ring.judgement import COMPARE_SLOWEST_S, EVICTED_APART_S, PROOFS_AT_ONCE
from chordtwist.node.ring.watch import ASK_AGAIN_S
from chordtwist.simulation.adversaries.attack import Attack, Lie
from chordtwist.simulation.adversaries.coalition import Coalition
from chordtwist.simulation.adversaries.judged import (
    EvidenceFlood,
    LeaseBreaker,
    ReceiptBreaker,
    Restarter,
    Slander,
    _forged,
)
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.simulation.adversaries.tables import ColludersOnly, Equivocate
from chordtwist.simulation.world import LookupResult, World
from chordtwist.wire.peer_messages import (
    Accuse,
    Answer,
    AskConvicted,
    AskLease,
    AskProof,
    Audit,
    Convicted,
    GetTable,
    Holding,
    Leased,
    Noted,
    Notify,
    Ping,
    Proof,
    Question,
    Silent,
    TableIs,
)
from tests.builders import pack_table
from tests.simulation.stranger import Stranger

NODES = 24
"""Three times as many as a list has entries: nobody knows everybody."""

NEWCOMERS = 40

NOBODY_THERE = "10.200.0.1"

SHIELDED, *SHIELDS = (
    Identity("simulation", Policy.IP).peer(*address)
    for address in (("10.0.0.9", 6401), ("10.200.0.1", 4674), ("10.200.0.4", 11877))
)
"""A member, and two that were looked for in three seconds: a hash of all three and of the two begins alike."""

WITHIN_S = 600
"""Who leaves out one neighbour is seen by whoever happens to look there."""


class FalseKey(Attack):
    """List an honest member with a key of one's own, and have everybody look."""

    name = "false-key"
    sentence = "Name a key of ours as that of an honest member, in tables that everybody fetches."

    def begin(self) -> None:
        self.victim = min(self.coalition.honest(), key=lambda one: len(self.met_by(one)))
        self.liar = self.coalition.live()[0]
        true = self.coalition.fingerprints
        self.coalition.fingerprints = lambda peers: tuple(  # type: ignore[method-assign]
            fingerprint(self.liar.statements._signer.public) if peer == self.victim else true((peer,))[0]
            for peer in peers
        )

    def met_by(self, peer: Peer) -> list[Peer]:
        """List the honest members that have met somebody."""
        world = self.coalition.world
        return [one for one in self.coalition.honest() if world.node(one).tables.key_of(peer) is not None]

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        successors = tuple(dict.fromkeys((*true.successors, self.victim)))
        return None if asker == self.victim else Lie(true.predecessor, successors, true.fingers, true.whole)

    def each_second(self) -> None:
        told = self.coalition.honest()[int(self.coalition.world.now_s) % 10 :: 10]
        for liar in self.coalition.live():
            liar.asking.tell(told, Notify(liar.membership.epoch))


class OldPromises(Attack):
    """Be honest, but for promises: the first one to each asker is given again and again."""

    name = "old-promises"
    sentence = "Give everybody the lease that it was given first."

    def __init__(self, coalition: Coalition) -> None:
        super().__init__(coalition)
        self._given: dict[Peer, Leased | None] = {}

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | None:
        if not isinstance(question, AskLease):
            return None
        if asker not in self._given:
            self._given[asker] = liar.statements.leased(asker)
        return self._given[asker]


class ConvictionTestCase(SynchronousTestCase):
    """A ring, some of which may lie."""

    def grow(self, attack: type[Attack], share: float = 0.25, to_all: bool = True, nodes: int = NODES) -> None:
        """Let a ring grow and rest until everybody has its leases; the liars lie from then on."""
        self.world = World(1, Parameters(network="simulation", successors=8))
        self.addCleanup(self.world.close)
        self.world.evicts = True
        self.coalition = Coalition(self.world, share, attack, to_all, grown=False)
        self.world.grow(nodes)
        self.wait(lambda: all(node.watch.leases >= 8 for node in self.honest()))
        self.coalition.close()
        self.coalition.begin()

    def fill(self) -> None:
        """Let every honest member put a record."""
        for number, node in enumerate(self.honest()):
            node.put(number.to_bytes(32, "big"), b"value").addErrback(lambda failure: None)
        self.world.run(10)

    def honest(self) -> list[Node]:
        return [host.node for peer, host in self.world.live.items() if peer not in self.coalition]

    def convicted(self) -> list[set[Peer]]:
        """Whom each of the honest convicts."""
        return [{one.verdict.culprit for one in node.judgement.convictions} for node in self.honest()]

    def liars(self) -> set[Peer]:
        return {node.me for node in self.coalition.live()}

    def wait(self, reached: Callable[[], bool]) -> None:
        """Let time pass until a state is reached."""
        for _ in range(WITHIN_S):
            if reached():
                return
            self.world.run(1)
        self.fail("not within the time")


class ConductTests(ConvictionTestCase):
    """A quarter of the members leave others out, and have promised nothing: nothing can be proved of them."""

    def test_others_are_asked(self) -> None:
        """Those who meet them suspect them, nobody suspects anybody else, and the suspected are asked last."""
        self.grow(ColludersOnly)
        for node in self.honest():
            self.addCleanup(setattr, node.judgement, "accuse", node.judgement.accuse)
            node.watch._accuse = lambda evidence: None
        self.wait(lambda: all(node.conduct.suspected() for node in self.honest()[:3]))
        for node in self.honest():
            suspected = set(node.conduct.suspected())
            self.assertLessEqual(suspected, self.liars())
            for liar in suspected:
                near, _, farther = node.searches._met_before(liar.id + 1)
                self.assertNotIn(liar, near)
                self.assertIn(liar, farther[-len(suspected) :])


class AloofTests(ConvictionTestCase):
    """Somebody shows a table as members do, but answers nobody near it; liars list it."""

    def test_nobody_is_suspected(self) -> None:
        """Whoever finds it time and again does not suspect those who leave it out."""
        self.grow(ListingAloof, share=0.2)
        attack = self.coalition.attack
        assert isinstance(attack, ListingAloof)
        aloof = Aloof(self.world, self.world.identity.peer("10.200.0.1", 6401))
        ring = [*self.coalition.members(aloof.me.id)]
        aloof.ring, aloof.near, attack.aloof = ring, {*ring[:2], *ring[-10:]} - self.liars(), aloof.me
        node = next(node for node in self.honest() if node.me not in aloof.near)
        found: list[LookupResult] = []
        for _ in range(6):
            self.world.find(node.me, aloof.me.id, found.append)
            self.world.run(BLAMED_AGAIN_S + 1)
        owners = [result.route.owner for result in found if result.route is not None]
        self.assertGreater(owners.count(aloof.me), len(found) // 2)
        self.assertEqual(node.conduct.suspected(), {})


class BrokenLeaseTests(ConvictionTestCase):
    """A quarter of the members promise to list their neighbours, and then show nobody but one another."""

    def test_all_are_convicted(self) -> None:
        """Every honest member convicts all of them and nobody else, drops them, and stays a member."""
        self.grow(ColludersOnly)
        self.wait(lambda: all(convicted == self.liars() for convicted in self.convicted()))
        self.world.run(30)
        for node in self.honest():
            self.assertTrue(node.is_member)
            self.assertFalse(self.liars() & set(node.routing.everybody()))
            why = node.status()["convicted"]
            assert isinstance(why, list)
            self.assertEqual({one["address"] for one in why}, {str(peer) for peer in self.liars()})
        self.assertEqual([], self.world.errors)

    def test_one_after_another(self) -> None:
        """However many of those that it lists are convicted at one time, a member drops one a second."""
        self.grow(Attack, share=0.0)
        node = self.honest()[0]
        listed = node.routing.successors[1:4]
        for peer in listed:
            verdict = Verdict(peer, b"", 1, Charge.EQUIVOCATION)
            evidence = Evidence(Charge.EQUIVOCATION, peer.packed, b"", b"", b"")
            node.judgement.convictions.add(verdict, evidence, self.world.now_s)
        for peer in listed:
            node.judgement._evict(peer, "is convicted")
            self.world.run(0.1)
        self.world.run(5)
        dropped = [event.at_ms for event in node.events if event.text.endswith("is convicted")]
        self.assertEqual(3, len(dropped))
        self.assertGreaterEqual(min(b - a for a, b in pairwise(dropped)), EVICTED_APART_S * 1000)

    def test_accused_often(self) -> None:
        """However often a proof is shown at once, tables that name the key are gathered once."""
        self.grow(Attack, share=0.05)
        liar = self.coalition.live()[0]
        node = next(node for node in self.honest() if liar.me in node.routing.successors)
        before = self.world.network.bytes_by_kind[TableIs.kind]
        for _ in range(100):
            liar.asking.tell([node.me], _forged(liar, liar.me, 1))
        self.world.run(1)
        self.assertIn(liar.me, node.judgement.convictions)
        self.assertLess(self.world.network.bytes_by_kind[TableIs.kind] - before, 30_000)

    def test_late_answer(self) -> None:
        """What a peer had been asked before it was convicted, and answers afterwards, brings it back into no list."""
        self.grow(Attack, share=0.0)
        node = self.honest()[0]
        entry = node.routing.successors[4]
        node.uniting._look_at_entry(entry)
        node.liveness.condemn(entry)
        node.membership.drop(entry, "is convicted")
        self.world.run(1)
        self.assertNotIn(entry, node.routing.successors)

    def test_far(self) -> None:
        """Those who tell their neighbours the truth are seen by whoever looks in a neighbour's place."""
        self.grow(ColludersOnly, to_all=False)
        self.wait(lambda: any(self.convicted()))
        for convicted in self.convicted():
            self.assertTrue(convicted <= self.liars())

    def test_one_left_out(self) -> None:
        """So are those who leave out one neighbour and lie in nothing else, and whoever begins run after run."""
        for attack in (LeaseBreaker, Restarter):
            self.grow(attack, share=0.1)
            self.wait(lambda: all(convicted == self.liars() for convicted in self.convicted()))

    def test_two_tables_of_one_number(self) -> None:
        """So are those who sign two tables as one."""
        self.grow(Equivocate, share=0.1)
        self.wait(lambda: all(convicted == self.liars() for convicted in self.convicted()))


class OldPromiseTests(ConvictionTestCase):
    """A member promises what binds it to nothing."""

    def test_not_taken(self) -> None:
        """A lease of another run than that of the table at hand, or that is over by it, counts for none."""
        for is_of_another_run in (True, False):
            self.grow(OldPromises, share=0.05)
            liar = self.coalition.live()[0]
            self.wait(lambda liar=liar: bool(self.bound(liar)))  # type: ignore[misc]
            self.world.run(2 * LEASE_MS / 1000)
            if is_of_another_run:
                liar.statements.begin_epoch(liar.statements.epoch + 1)
            for node in self.honest():
                node.tables.fetch_anew(liar.me).addErrback(lambda failure: None)
            self.world.run(LEASE_MS / 1000 + ASK_AGAIN_S)
            self.assertEqual([], self.bound(liar))

    def bound(self, liar: Liar) -> list[Node]:
        """List the honest members that count on a promise of the liar."""
        now_s = self.world.now_s
        lessors = [(node, node.watch._lessors.get(liar.me)) for node in self.honest()]
        return [node for node, lessor in lessors if lessor is not None and node.watch._is_bound(lessor, now_s)]


class Elsewhere(Stranger):
    """A process that has signed two tables as one, which proves it guilty."""

    def __init__(self, world: World, me: Peer) -> None:
        super().__init__(world, me)
        key = self.signer.public
        tables = [Table(self.me, 1, 1, at, key, False, None, (), (), ()) for at in (1, 2)]
        bodies = [pack_table(world.identity, table) for table in tables]
        first, second = [(body, self.signer.sign(body)) for body in bodies]
        self.proof = Accuse(Charge.EQUIVOCATION, *first, *second)


def noting(ask: Callable[..., Any], note: Callable[..., object]) -> Callable[..., Any]:
    """Have what is asked noted."""

    def noted(*asked: Any) -> Any:
        note(*asked)
        return ask(*asked)

    return noted


def shown(proof: Accuse) -> Proof:
    return Proof(proof.charge, proof.first, proof.first_signature, proof.second, proof.second_signature)


class Aloof(Elsewhere):
    """Shows the table of a member in its place, and answers nothing to those near it."""

    ring: list[Peer]
    near: set[Peer]

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        if peer in self.near:
            return Deferred()
        if not isinstance(question, GetTable):
            return super().answer(peer, question)
        key, before, behind = self.signer.public, self.ring[-1], tuple(self.ring[:8])
        body = pack_table(self.world.identity, Table(self.me, 1, 3, 3, key, False, before, behind, (), (bytes(8),) * 9))
        return TableIs(body, self.signer.sign(body))


class ListingAloof(Attack):
    """List somebody besides the true members."""

    aloof: Peer | None = None

    def table(self, liar: Liar, asker: Peer, true: Table) -> Lie | None:
        if self.aloof is None:
            return None
        return Lie(true.predecessor, in_order(liar.me, (*true.successors, self.aloof)), true.fingers, true.whole)


class BesideContact(Elsewhere):
    """Shows a table as if it were a member, later than others, and proves itself guilty."""

    listed: Peer

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        if isinstance(question, AskConvicted):
            return Convicted([self.me.packed])
        if isinstance(question, AskProof):
            return shown(self.proof)
        if not isinstance(question, GetTable):
            return super().answer(peer, question)
        table = Table(self.me, 1, 3, 3, self.signer.public, False, None, (self.listed,), (), (bytes(8),), ())
        body = pack_table(self.world.identity, table)
        late: Deferred[Answer] = Deferred()
        self.world.after(0.4, lambda: late.callback(TableIs(body, self.signer.sign(body))))
        return late


class SpreadTests(ConvictionTestCase):
    """Half of the members convict processes that are gone before the others hear of it."""

    def test_nothing_is_held_up(self) -> None:
        """The others do not ask for those proofs again and again, and learn of a true one behind them."""
        self.grow(Equivocate, share=0.05)
        liar, honest = self.coalition.live()[0], self.honest()
        self.coalition.awake = False
        half, others = honest[::2], honest[1::2]
        hosts = [f"10.200.0.{number}" for number in range(PROOFS_AT_ONCE + 4)]
        made_up = [Elsewhere(self.world, self.world.identity.peer(host, 6401)) for host in hosts]
        for one in made_up:
            liar.asking.tell([node.me for node in half], one.proof)
        self.world.run(1)
        for one in made_up:
            one.link.crash()
        names = {one.me for one in made_up}
        self.assertEqual([names] * len(half), [set(node.judgement.convictions._held) for node in half])
        before = self.world.network.bytes_by_kind[Proof.kind]
        self.world.run(300)
        fetched = self.world.network.bytes_by_kind[Proof.kind] - before
        size = sum(len(one.proof.first) + len(one.proof.second) + 150 for one in made_up)
        self.assertLess(fetched, 4 * size * len(others))
        liar.asking.tell([half[0].me], _forged(liar, liar.me, 1))
        self.world.run(240)
        self.assertTrue(all(liar.me in node.judgement.convictions for node in honest))

    def test_chosen_ports(self) -> None:
        """Two of a liar's friends whose ports were chosen, so that three bytes of a hash are the same with and without
        the liar, do not keep it from being convicted when everybody convicts them.
        """
        self.grow(Attack, share=0.1)
        self.coalition.awake = False
        other, liar = sorted(self.coalition.live(), key=lambda one: one.me == SHIELDED)
        friends = [Elsewhere(self.world, friend) for friend in SHIELDS]
        sums = [sha256(b"".join(peer.packed for peer in some)).digest()[:3] for some in ((liar.me, *SHIELDS), SHIELDS)]
        self.assertEqual(*sums)
        honest = self.honest()
        for friend in friends:
            other.asking.tell([node.me for node in honest], friend.proof)
        other.asking.tell([node.me for node in honest[::2]], _forged(liar, liar.me, 1))
        self.world.run(5 * COMPARE_SLOWEST_S)
        self.assertEqual(self.convicted(), [{liar.me, *SHIELDS}] * len(honest))

    def test_shielded(self) -> None:
        """Liars that have shown everybody made-up proofs against one another shield none from a true one."""
        self.grow(Shielding)
        self.world.run(300)
        guilty, honest = self.coalition.live()[0], self.honest()
        self.coalition.live()[1].asking.tell([honest[0].me], _forged(guilty, guilty.me, 1))
        self.wait(lambda: all(guilty.me in node.judgement.convictions for node in honest))

    def test_shielded_before(self) -> None:
        """Nor do made-up proofs shield one that were shown before it came, so that nobody could look at it."""
        absent = ShieldingAbsent.absent = Identity("simulation", Policy.IP).peer(NOBODY_THERE, 6401)
        self.grow(ShieldingAbsent)
        self.world.run(700)
        self.coalition.awake = False
        self.coalition.enlist(absent)
        guilty, honest = self.world.start(absent).node, self.honest()
        assert isinstance(guilty, Liar)
        self.wait(lambda: guilty.is_member)
        guilty.asking.tell([node.me for node in honest], Ping())
        self.world.run(1)
        for node in honest:
            node.tables.fetch(absent)
        self.world.run(1)
        guilty.asking.tell([node.me for node in honest[::2]], _forged(guilty, absent, 1))
        self.world.run(8 * COMPARE_SLOWEST_S)
        self.assertEqual(self.convicted(), [{absent}] * len(honest))

    def test_asked_for_one(self) -> None:
        """Who shows a proof against somebody else than was asked for has nobody dialled."""
        self.grow(Naming, share=0.05)
        dialled: list[str] = []
        for node in self.honest():
            self.patch(
                node.asking._link, "ask", noting(node.asking._link.ask, lambda peer, _: dialled.append(peer.host))
            )
        self.world.run(60)
        self.assertNotIn(NOBODY_THERE, dialled)


class Shielding(Attack):
    """Say that one convicts the others, and show proofs against them that a key of one's own has signed."""

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        if isinstance(question, AskConvicted):
            return Convicted([one.me.packed for one in self.coalition.live() if one is not liar])
        if isinstance(question, AskProof):
            return shown(_forged(liar, self.coalition.world.identity.unpack(question.culprit), 1))
        return None


class ShieldingAbsent(Shielding):
    """Say so of somebody who is not there yet."""

    absent: Peer

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        said = super().answer(liar, asker, question)
        return Convicted([self.absent.packed]) if isinstance(said, Convicted) else said


class ShieldingColluders(Shielding, ColludersOnly):
    """Show nobody but colluders besides, which convicts them."""


class Confessing(Attack):
    """Say that one is convicted, and prove it."""

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        if isinstance(question, AskConvicted):
            return Convicted([liar.me.packed])
        return shown(_forged(liar, liar.me, 1)) if isinstance(question, AskProof) else None


class Naming(Attack):
    """Name an honest member as convicted, and show a proof against an address where nobody lives."""

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        world = self.coalition.world
        if isinstance(question, AskConvicted):
            return Convicted([self.coalition.honest()[0].packed])
        proof = _forged(liar, world.identity.peer(NOBODY_THERE, 25), 1)
        return shown(proof) if isinstance(question, AskProof) else None


class Late(Attack):
    """Say that all contacts of newcomers are convicted, and show no proof, each time just before the time is over."""

    def answer(self, liar: Liar, asker: Peer, question: Question) -> Answer | Deferred[Answer] | None:
        if not isinstance(question, AskConvicted | AskProof):
            return None
        named = [peer.packed for peer in self.coalition.world.seeds(liar.me)]
        said = Convicted(named) if isinstance(question, AskConvicted) else Silent()
        late: Deferred[Answer] = Deferred()
        self.coalition.world.after(0.8, lambda: None if late.called else late.callback(said))
        return late


class NewcomerTests(ConvictionTestCase):
    """Others are told of three who are convicted, and of one honest member."""

    def test_shielded(self) -> None:
        """Nobody's made-up proofs keep a newcomer from true ones against the same."""
        self.grow(ShieldingColluders)
        self.wait(lambda: all(convicted == self.liars() for convicted in self.convicted()))
        begun: list[Peer] = []
        for member in self.honest()[:8]:
            self.world.seed_peers = [*(node.me for node in self.coalition.live()[:3]), member.me]
            joining = self.world.start().node.bootstrap._joining
            self.patch(joining, "join", noting(joining.join, lambda contacts, _: begun.extend(contacts)))
            self.world.run(5)
        self.assertEqual({*begun} & self.liars(), set())
        self.assertGreaterEqual(len(begun), 8)

    def test_held_up(self) -> None:
        """A dozen contacts that answer late hold a newcomer up for two seconds in all, not for one each."""
        self.grow(Late, share=0.3, nodes=40)
        self.world.seed_peers = [*(node.me for node in self.coalition.live()), self.honest()[0].me]
        host = self.world.start()
        self.world.run(5)
        self.assertTrue(host.is_member)

    def test_never_among_them(self) -> None:
        """None of them stands on a ring of the convicted for a moment, nor asks them whom to believe."""
        self.grow(ColludersOnly)
        self.wait(lambda: all(convicted == self.liars() for convicted in self.convicted()))
        self.world.run(COMPARE_SLOWEST_S)
        check = self.world.check
        violated, honest = len(check.violations), self.honest()
        for number in range(NEWCOMERS):
            told = [node.me for node in (*self.coalition.live()[:3], honest[number % len(honest)])]
            turn = number % len(told)
            self.world.seed_peers = [*told[turn:], *told[:turn]]
            self.world.start()
            self.world.run(1)
        self.world.run(60)
        self.assertEqual(len(self.honest()), len(honest) + NEWCOMERS)
        self.assertTrue(all(node.me in check.members for node in self.honest()))
        self.assertEqual(check.violations[violated:], [])


class PlaceTests(ConvictionTestCase):
    """An address is a place: who is convicted there, and who is not."""

    SENTENCE_S = 60.0

    def setUp(self) -> None:
        """Patch how long a sentence lasts."""
        self.patch(evidence, "SENTENCE_S", self.SENTENCE_S)

    def convict(self, peer: Peer, proof: Accuse) -> None:
        """Show a proof to everybody, and wait until all convict."""
        judges = [node for node in self.honest() if node.me != peer]
        self.coalition.live()[0].asking.tell([node.me for node in judges], proof)
        self.wait(lambda: all(peer in node.judgement.convictions for node in judges))

    def test_other_port(self) -> None:
        """Whoever is convicted does not come back on another port of its address before its sentence is over."""
        self.grow(Attack, share=0.1)
        guilty = self.coalition.live()[1]
        self.coalition.awake = False
        self.convict(guilty.me, _forged(guilty, guilty.me, 1))
        self.world.crash(guilty.me)
        again = self.world.start(self.world.identity.peer(guilty.me.host, guilty.me.port + 1))
        self.world.run(self.SENTENCE_S / 2)
        self.assertFalse(again.is_member)
        self.assertFalse(
            any(again.peer in node.routing.everybody() for node in self.honest() if node is not again.node)
        )
        self.wait(lambda: again.is_member)

    def test_beside_a_contact(self) -> None:
        """Who shares the address of a member, and proves itself guilty to newcomers that join through both, takes that
        member along for none of them.
        """
        self.grow(Attack, share=0.0)
        member = self.honest()[3]
        beside = BesideContact(self.world, self.world.identity.peer(member.me.host, member.me.port + 1))
        beside.listed = member.me
        self.world.seed_peers = [member.me, beside.me]
        host = self.world.start()
        self.wait(lambda: host.is_member)
        self.assertIn(beside.me, host.node.judgement.convictions)
        self.assertFalse(host.node.liveness.is_condemned(member.me))

    def test_newcomer_waits(self) -> None:
        """Sentences end, too, while a newcomer waits all of whose contacts are convicted."""
        self.grow(Confessing, share=0.1)
        self.world.seed_peers = [one.me for one in self.coalition.live()[:2]]
        host = self.world.start()
        self.wait(lambda: len(host.node.judgement.convictions) == 2)
        self.coalition.awake = False
        self.world.run(self.SENTENCE_S / 2)
        self.assertFalse(host.is_member)
        self.wait(lambda: host.is_member)

    def test_beside_a_member(self) -> None:
        """Whoever shares an address with a member, as behind one NAT, and is convicted, takes it along for nobody that
        had met it; nor does he shield it, when it is guilty itself.
        """
        self.grow(Attack, share=0.1)
        member = self.coalition.live()[1]
        self.coalition.awake = False
        listing = [node for node in self.honest() if member.me in node.routing.everybody()]
        beside = Elsewhere(self.world, self.world.identity.peer(member.me.host, member.me.port + 1))
        self.convict(beside.me, beside.proof)
        self.world.run(self.SENTENCE_S / 2)
        self.assertTrue(member.is_member)
        self.assertTrue(all(member.me in node.routing.everybody() for node in listing))
        self.convict(member.me, _forged(member, member.me, 1))
        self.wait(lambda: not any(member.me in node.routing.everybody() for node in listing))


class BrokenReceiptTests(ConvictionTestCase):
    """A tenth of the members sign to keep what somebody asks about, and that there is nothing when others ask."""

    def test_all_are_convicted(self) -> None:
        """Every honest member convicts all of them and nobody else."""
        self.grow(ReceiptBreaker, share=0.1)
        self.fill()
        self.wait(lambda: all(convicted == self.liars() for convicted in self.convicted()))
        self.assertEqual([], self.world.errors)


class HonestTests(ConvictionTestCase):
    """Nobody lies in its table."""

    def test_slander(self) -> None:
        """Whatever somebody makes of what honest members signed, it convicts nobody."""
        self.grow(Attack, share=0.05)
        slanderer = self.coalition.live()[0]
        victims = [node for node in self.honest() if slanderer.me in node.routing.successors]
        said: list[tuple[Node, Leased | TableIs | Holding]] = []

        def told(answer: Answer, node: Node) -> None:
            assert isinstance(answer, Leased | TableIs | Holding)
            said.append((node, answer))

        def refused(answer: Answer) -> None:
            self.assertEqual(answer, Noted())

        self.fill()
        for node in victims:
            kept = next(node.records.local_records.store.scan(Arc(0, 0)))
            for question in (AskLease(), GetTable(0, 0), Audit(kept.key, bytes(16))):
                slanderer.ask(node.me, question).addCallback(told, node)
            self.world.run(5)
            node.records.local_records.remove(kept.key)
            slanderer.ask(node.me, Audit(kept.key, bytes(16))).addCallback(refused)
        self.world.run(5)
        self.world.leave(slanderer.me)
        self.assertEqual(3 * len(victims), len(said))
        # From now on their tables leave the slanderer out, and say so.
        self.world.run(2)
        for node, one in said:
            for other in (one, node.statements.signed_table(), *(answer for _, answer in said)):
                for charge in Charge:
                    for first, second in ((one, other), (other, one)):
                        proof = Accuse(charge, first.body, first.signature, second.body, second.signature)
                        for judging in self.honest():
                            with contextlib.suppress(Malformed):
                                judging.answer(node.me, proof)
        shown = [unpack_table(self.world.identity, node.statements.signed_table().body) for node in victims]
        self.assertTrue(any(slanderer.me in table.gone for table in shown))
        self.world.run(60)
        self.assertEqual([set()] * len(self.honest()), self.convicted())

    def test_accusers(self) -> None:
        """Who brings ten made-up proofs a second convicts nobody, and puts nobody out."""
        for attack in (Slander, EvidenceFlood):
            self.grow(attack, share=0.1)
            self.world.run(60)
            self.assertEqual([set()] * len(self.honest()), self.convicted())
            self.assertEqual([], self.world.errors)
            self.assertTrue(all(node.is_member for node in self.honest()))

    def test_false_key(self) -> None:
        """Members whom an honest one has never met do not convict it, whatever key liars list it with."""
        self.grow(FalseKey, share=0.2, nodes=40)
        attack = self.coalition.attack
        assert isinstance(attack, FalseKey)
        self.world.run(60)
        victim, liar = attack.victim, attack.liar
        strangers = [node for node in self.honest() if node.me not in (victim, *attack.met_by(victim))]
        key = fingerprint(liar.statements._signer.public)
        self.assertTrue(any(len(node.tables.attesting(victim, key)) >= 5 for node in strangers))
        liar.asking.tell([node.me for node in self.honest()], _forged(liar, victim, 1))
        self.world.run(30)
        self.assertEqual(set(), set().union(*self.convicted()) - self.liars())

    def test_address_that_changed_hands(self) -> None:
        """What the one before at an address has signed convicts nobody there, where its key is remembered either."""
        self.grow(Attack, share=0.1, nodes=40)
        before, teller = self.coalition.live()[:2]
        proof, key = _forged(before, before.me, 1), before.statements._signer.public
        self.world.crash(before.me)
        self.world.run(30)
        self.world.hosts[before.me]._seed += 1
        self.world.start(before.me)
        self.world.run(30)
        self.assertTrue([node for node in self.honest() if node.tables.key_of(before.me) == key])
        teller.asking.tell([node.me for node in self.honest()], proof)
        self.world.run(30)
        self.assertEqual([set()] * len(self.honest()), self.convicted())

    def test_comings_and_goings(self) -> None:
        """Deaths, pauses, restarts and departures within the time of a lease convict nobody."""
        self.grow(Attack, share=0.0)
        self.fill()
        peers = list(self.world.live)
        self.world.crash(peers[3], peers[4])
        self.world.run(1)
        self.world.start(peers[3])
        self.world.leave(peers[8])
        self.world.run(40)
        self.world.start(peers[8])
        self.world.power_off(peers[11])
        self.world.run(120)
        self.assertEqual([set()] * len(self.honest()), self.convicted())
        self.assertEqual([], self.world.errors)


class TwinTests(ConvictionTestCase):
    """Two machines run with one state and one address, as where a disk was copied."""

    SENTENCE_S = 30.0

    def setUp(self) -> None:
        """Start a second machine beside one member of a ring."""
        self.grow(Attack, share=0.0)
        self.fill()
        self.patch(evidence, "SENTENCE_S", self.SENTENCE_S)
        self.host = self.world.live[self.honest()[3].me]
        self.twin = self.host.twin(60.0)

    def test_not_convicted(self) -> None:
        """Each run of a node has a number of its own, so that what one says is no lie of the other: nobody is
        convicted, whoever else comes and goes, and the ring is right when there is one of them again.
        """
        self.world.run(10)
        self.world.crash(self.host.node.routing.successors[1])
        self.world.run(60)
        self.assertEqual([set()] * len(self.honest()), self.convicted())
        self.assertEqual([], self.world.errors)
        self.assertIsNotNone(self.world.settle(60))

    def test_comes_back(self) -> None:
        """Where memory was copied too, the two speak as one and contradict one another: their place is convicted by
        everybody, and a member again when the sentence is over.
        """
        self.world.run(3)
        one, other = self.host.node.statements, self.twin.node.statements
        first = one.signed_table()
        other.begin_epoch(one.epoch)
        other.seq = one.table.seq - 1
        second = other.signed_table()
        proof = Evidence(Charge.EQUIVOCATION, first.body, first.signature, second.body, second.signature)
        others = [node for node in self.honest() if node is not self.host.node]
        others[0].judgement.accuse(proof)
        self.wait(lambda: all(self.host.peer in node.judgement.convictions for node in others))
        self.wait(lambda: not any(self.host.peer in node.routing.everybody() for node in others))
        self.assertEqual({self.host.peer}, set().union(*self.convicted()))
        self.wait(lambda: not any(self.convicted()))
        self.assertIsNotNone(self.world.settle(90), self.world.wrong()[:3])
        self.assertTrue(self.host.is_member)
