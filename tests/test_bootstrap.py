"""Behaviour of a node's contacts: bootstrap, who is first, and members that were lost."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status
from chordtwist.core.table import Table
from chordtwist.node.ring.bootstrap import FIRST_AFTER_S, LOST_MAX, RETRY_MAX_S, TOGETHER_AFTER_S, Bootstrap
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.simulation.signer import verify_simulated
from chordtwist.wire.peer_messages import (
    Announce,
    Announced,
    Answer,
    GetTable,
    JoinFailure,
    JoinSuccess,
    Pong,
    Question,
)
from tests.builders import (
    IDENTITY,
    Neighbourhood,
    lines,
    newcomer,
    not_member,
    peer,
    peers,
    signed,
    signer,
    whole_ring,
)


class BootstrapTestCase(SynchronousTestCase):
    """We are to stand at 35; others are silent until a test shows their tables."""

    def setUp(self) -> None:
        """Nobody is listed."""
        self.observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        self.scene = Neighbourhood(35, 10, 30, 50, 80)
        self.me = self.scene.me
        self.seeds: Deferred[list[Peer]] | list[Peer] = []
        self.resolved = 0
        self.wanted = True
        link = self.scene.link
        self.routing = Routing(self.me, 3)
        statements = Statements(IDENTITY, self.routing, signer(self.me), lambda: 0, link.key_of, 4, lambda: 0)
        tables = Tables(IDENTITY, link.ask, link.key_of, verify_simulated, link.clock.seconds, 3)
        joining = newcomer(self.scene, self.routing, statements, tables)
        self.expected: list[Peer] = []
        self.remembered = peers(30, 50, 80)
        self.convicted: list[Peer] = []
        self.bootstrap = Bootstrap(
            self.me,
            self.resolve,
            tables,
            joining,
            lambda: self.remembered,
            self.expected.append,
            self.unconvicted,
            link.clock,
            Random(1),
        )
        self.silence(10, 30, 50, 80)

    def resolve(self) -> Deferred[list[Peer]]:
        self.resolved += 1
        return self.seeds if isinstance(self.seeds, Deferred) else succeed(self.seeds)

    async def unconvicted(self, contacts: list[Peer]) -> list[Peer]:
        return [peer for peer in contacts if peer not in self.convicted]

    def silence(self, *silent: int) -> None:
        """They take questions and never answer."""
        for place in silent:
            self.scene.reply(place, lambda question: Deferred())

    def answer(self, *tables: Table) -> None:
        """Their owners are one ring, which takes everybody in."""
        members = Announced([shown.peer.packed for shown in tables])
        for shown in tables:
            self.scene.others[shown.peer.id >> 240].reply = self.answering(shown, members)

    def answering(self, shown: Table, members: Announced):  # type: ignore[no-untyped-def]
        def reply(asker: Peer, question: Question) -> Answer:
            if isinstance(question, GetTable):
                return signed(shown)
            return members if isinstance(question, Announce) else JoinSuccess()

        return reply

    def told(self) -> list[str]:
        return lines(self.observer)


class EnterTests(BootstrapTestCase):
    """`enter`: come into a ring, or find that we are the first."""

    def enter(self, through: Iterable[Peer] = ()) -> Deferred[Peer | None]:
        return Deferred.fromCoroutine(self.bootstrap.enter(lambda: self.wanted, through))

    def test_nobody_listed(self) -> None:
        """With nobody listed and nobody lost we begin a ring at once."""
        self.assertIsNone(self.successResultOf(self.enter()))

    def test_only_ourselves_listed(self) -> None:
        """So we do when the list holds our own address alone."""
        self.seeds = [self.me]
        self.assertIsNone(self.successResultOf(self.enter()))

    def test_join(self) -> None:
        """Through whoever answers as a member, we join; the answer is who owned our arc."""
        self.seeds = [*peers(10, 50)]
        self.answer(*whole_ring(50, 80).values())
        for _ in range(2):
            entered = self.enter()
            self.scene.advance(3)
            self.assertEqual(self.successResultOf(entered), peer(50))
        self.assertEqual(self.told(), ["bootstrap: 10.0.0.10:6401: no answer in time; trying on"] * 2)

    def test_convicted(self) -> None:
        """We do not join through those who are convicted, while they are."""
        self.seeds = self.convicted = [*peers(10)]
        self.answer(*whole_ring(10, 30).values())
        entered = self.enter()
        self.scene.advance(RETRY_MAX_S)
        self.assertNoResult(entered)
        self.convicted = []
        self.scene.advance(2 * RETRY_MAX_S)
        self.assertEqual(self.successResultOf(entered), peer(10))

    def wait_too(self, *waiting: int) -> None:
        """They answer that they wait for a ring as well."""
        for place in waiting:
            self.scene.reply(place, not_member(place))

    def begins_after(self, *asking: int) -> float | None:
        """After how many seconds we begin a ring when these ask us all the while; None: not within two minutes."""
        entered = self.enter()
        for second in range(120):
            for place in asking:
                self.bootstrap.asked_by(peer(place))
            self.scene.advance(1)
            if entered.called:
                self.assertIsNone(self.successResultOf(entered))
                return second
        self.wanted = False
        self.scene.advance(2 * RETRY_MAX_S)
        self.wanted = True
        return None

    def test_first_of_the_list_is_gone(self) -> None:
        """Nodes that were in a ring together, wait, and ask one another, begin one without it: the one with the
        smallest id soon, the others later each, should that one not.
        """
        self.seeds = [*peers(10, 30, 50, 80)]
        self.wait_too(30, 50, 80)
        for asking, rank in (((50, 80), 0), ((30, 50), 1)):
            after_s = self.begins_after(*asking)
            assert after_s is not None
            self.assertLess(abs(after_s - TOGETHER_AFTER_S * (1 + rank)), 2 * RETRY_MAX_S)

    def test_who_does_not_know_us(self) -> None:
        """Whoever waits and does not ask us would not find the ring that we began, nor would who asks and is silent."""
        self.seeds = [*peers(10, 30, 50, 80)]
        self.wait_too(50, 80)
        self.assertIsNone(self.begins_after())
        self.silence(50)
        self.assertIsNone(self.begins_after(50))

    def test_listed_alone(self) -> None:
        """Nor does anybody begin one with those that are listed, and were in no ring with us."""
        self.remembered = ()
        self.seeds = [*peers(10, 30, 50, 80)]
        self.wait_too(30, 50, 80)
        self.assertIsNone(self.begins_after(50, 80))

    def test_who_leaves(self) -> None:
        """Nor whoever leaves."""
        self.seeds = [*peers(10, 50)]
        self.scene.reply(50, not_member(50, Status.LEAVING))
        self.assertIsNone(self.begins_after(50))

    def test_in_parallel(self) -> None:
        """All listed addresses are tried at the same time."""
        self.seeds = [*peers(10, 30, 50, 80)]
        self.enter()
        self.scene.advance(0.1)
        self.assertEqual([len(self.scene.asked(place)) for place in (10, 30, 50, 80)], [1, 1, 1, 1])

    def test_each_once(self) -> None:
        """An address that is listed twice is tried once, our own never."""
        self.seeds = [*peers(10, 10), self.me]
        self.enter()
        self.scene.advance(0.1)
        self.assertEqual((len(self.scene.asked(10)), self.scene.ours.asked), (1, []))

    def test_for_ever(self) -> None:
        """Whoever is not first tries for ever, ever more slowly, up to every few seconds, and resolves names afresh."""
        self.seeds = [*peers(10)]
        entered = self.enter()
        self.scene.advance(600)
        self.assertNoResult(entered)
        tries = self.resolved
        self.assertTrue(600 / (RETRY_MAX_S * 1.5 + 1) < tries < 600 / (RETRY_MAX_S * 0.5 + 1) + 10)
        self.assertEqual(len(self.scene.asked(10)), tries)
        self.answer(*whole_ring(10).values())
        self.scene.advance(RETRY_MAX_S * 1.5 + 2)
        self.assertEqual(self.successResultOf(entered), peer(10))

    def test_one_line_each(self) -> None:
        """What stands in the way of an address is told in one line, and again only when it is something else."""
        self.seeds = [*peers(10, 50)]
        self.scene.reply(50, not_member(50))
        self.enter()
        self.scene.advance(60)
        expected = [
            "bootstrap: 10.0.0.50:6401: not a member of a ring yet; trying on",
            "bootstrap: 10.0.0.10:6401: no answer in time; trying on",
        ]
        self.assertEqual(self.told(), expected)
        self.scene.reply(10, Pong())
        self.scene.advance(60)
        expected.append("bootstrap: 10.0.0.10:6401: it answered GetTable with Pong; trying on")
        self.assertEqual(self.told(), expected)

    def test_refused(self) -> None:
        """A ring that refuses us is told in its own words, and tried again: its reason may pass."""
        self.seeds = [*peers(50)]
        shown = whole_ring(50)[50]
        self.scene.reply(
            50,
            lambda question: (
                signed(shown) if isinstance(question, GetTable) else JoinFailure("10.0.0.35:7000 holds that place")
            ),
        )
        entered = self.enter()
        self.scene.advance(30)
        self.assertNoResult(entered)
        expected = "10.0.0.50:6401 does not admit us: 10.0.0.35:7000 holds that place"
        self.assertEqual(self.told(), [f"joining: 10.0.0.35:6401: {expected}; trying on"])
        self.answer(shown)
        self.scene.advance(10)
        self.successResultOf(entered)

    def test_first_of_the_list(self) -> None:
        """First of the list, we begin a ring when nobody else has answered for 5 s: not before, and soon after."""
        self.seeds = [self.me, *peers(10, 50)]
        entered = self.enter()
        self.scene.advance(FIRST_AFTER_S - 0.1)
        self.assertNoResult(entered)
        self.scene.advance(3)
        self.assertIsNone(self.successResultOf(entered))

    def test_first_of_the_list_but_not_alone(self) -> None:
        """First of the list, we join the ring that is there."""
        self.seeds = [self.me, *peers(10, 50)]
        entered = self.enter()
        self.scene.advance(3)
        self.answer(*whole_ring(50).values())
        self.scene.advance(3)
        self.assertEqual(self.successResultOf(entered), peer(50))

    def test_members_lost(self) -> None:
        """Members that were lost are tried beside the list."""
        self.seeds = [*peers(10)]
        self.bootstrap.lost(peer(50))
        self.answer(*whole_ring(50).values())
        entered = self.enter()
        self.scene.advance(3)
        self.assertEqual(self.successResultOf(entered), peer(50))

    def test_only_members_lost(self) -> None:
        """Without a list, we begin when no lost member has answered for 5 s: they may be waiting for us."""
        self.bootstrap.lost(peer(50))
        entered = self.enter()
        self.scene.advance(FIRST_AFTER_S - 0.1)
        self.assertNoResult(entered)
        self.scene.advance(3)
        self.assertIsNone(self.successResultOf(entered))

    def test_through(self) -> None:
        """The ring that is to be joined is tried alone before all others: a lost member may be of the ring we leave."""
        self.bootstrap.lost(peer(10))
        self.answer(*whole_ring(10).values())
        self.answer(*whole_ring(50, 80).values())
        entered = self.enter(peers(50))
        self.scene.advance(3)
        self.assertEqual(self.successResultOf(entered), peer(50))
        self.assertEqual(self.scene.asked(10), [])

    def test_through_somebody_silent(self) -> None:
        """When that ring is not there any more the others are tried."""
        self.bootstrap.lost(peer(10))
        self.answer(*whole_ring(10).values())
        entered = self.enter(peers(50))
        self.scene.advance(3)
        self.assertEqual(self.successResultOf(entered), peer(10))

    def test_names_unresolved(self) -> None:
        """While the list cannot be resolved nobody is first, and whoever is known is tried."""
        self.seeds = fail(Unreachable(None, "no name can be resolved"))
        entered = self.enter()
        self.scene.advance(60)
        self.assertNoResult(entered)
        self.seeds = [self.me]
        self.scene.advance(10)
        self.assertIsNone(self.successResultOf(entered))

    def test_not_wanted(self) -> None:
        """It ends when it is not wanted any more."""
        self.seeds = [*peers(10)]
        entered = self.enter()
        self.scene.advance(3)
        self.wanted = False
        self.scene.advance(10)
        self.assertIsNone(self.successResultOf(entered))


class AnybodyTests(BootstrapTestCase):
    """`anybody`: whoever may still be reached."""

    def anybody(self) -> list[Peer]:
        return self.successResultOf(Deferred.fromCoroutine(self.bootstrap.anybody()))

    def test_anybody(self) -> None:
        """The list and the lost members, each once, without ourselves."""
        self.seeds = [*peers(10, 35)]
        for place in (50, 10, 80):
            self.bootstrap.lost(peer(place))
        self.assertEqual(self.anybody(), [*peers(10, 50, 80)])

    def test_unresolved(self) -> None:
        """Without the list, the lost members."""
        self.seeds = fail(Unreachable(None, "no name can be resolved"))
        self.bootstrap.lost(peer(50))
        self.assertEqual(self.anybody(), [peer(50)])

    def test_bounded(self) -> None:
        """Only so many lost members are remembered: the last ones."""
        for place in (*range(1000, 1000 + LOST_MAX), 1000, 2000):
            self.bootstrap.lost(peer(place))
        known = self.anybody()
        self.assertEqual(len(known), LOST_MAX)
        self.assertNotIn(peer(1001), known)
        self.assertEqual(known[-2:], [*peers(1000, 2000)])
