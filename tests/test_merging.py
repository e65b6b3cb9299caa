"""Behaviour of a member that looks for other rings of its network, and meets one."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.liveness import Liveness
from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status
from chordtwist.core.table import Table
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.bootstrap import Bootstrap
from chordtwist.node.ring.comparing import Comparing
from chordtwist.node.ring.dial_limits import DialLimits
from chordtwist.node.ring.merging import (
    HINTS_AT_ONCE,
    HINTS_PER_S,
    LOOK_AGAIN_S,
    LOOKERS,
    LOOKERS_SHARING_MAX,
    LOOKS_AT_OTHER_RING,
    Merging,
    gives_way,
)
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.simulation.signer import verify_simulated
from chordtwist.wire.peer_messages import GetTable, Noted, OtherRing, Question
from tests.builders import (
    IDENTITY,
    Neighbourhood,
    ScriptedMembership,
    large_ring,
    newcomer,
    peer,
    peers,
    signer,
    table,
    whole_ring,
)


async def all_of(contacts: list[Peer]) -> list[Peer]:
    return contacts


class MergingCase(SynchronousTestCase):
    """One member, and others that are silent until a test shows their tables."""

    def stand(self, me: int, *others: int) -> None:
        """Nobody is listed; our ring is up to the test."""
        self.scene = Neighbourhood(me, *others)
        self.seeds: Deferred[list[Peer]] = succeed([])
        self.membership = ScriptedMembership()
        link = self.scene.link
        self.routing = Routing(self.scene.me, 3)
        self.routing.begin()
        self.statements = Statements(
            IDENTITY, self.routing, signer(self.scene.me), lambda: 0, link.key_of, 4, lambda: 0
        )
        tables = Tables(IDENTITY, link.ask, link.key_of, verify_simulated, link.clock.seconds, 3)
        joining = newcomer(self.scene, self.routing, self.statements, tables)
        self.bootstrap = Bootstrap(
            self.scene.me, lambda: self.seeds, tables, joining, tuple, lambda peer: None, all_of, link.clock, Random(1)
        )
        limits = DialLimits(lambda peer: True, link.clock)
        asking = Asking(link, Liveness(3.0), limits, lambda peer, said: None, link.clock.seconds)
        self.merging = Merging(
            self.membership,
            self.routing,
            self.statements,
            tables,
            asking,
            self.bootstrap,
            joining,
            Comparing(self.routing, self.statements, tables, link.clock, Random(1)),
            link.clock,
            Random(1),
        )
        self.silence(*others)

    def silence(self, *silent: int) -> None:
        """They take note of other rings, and never answer a question."""
        for place in silent:
            self.scene.reply(place, lambda question: Noted() if isinstance(question, OtherRing) else Deferred())

    def told(self) -> list[tuple[int, Question]]:
        """Who was told of which other ring."""
        return [
            (place, question)
            for place in self.scene.others
            for question in self.scene.asked(place)
            if isinstance(question, OtherRing)
        ]

    def listed(self, *places: int) -> None:
        self.seeds = succeed([*peers(*places)])

    def look(self, seconds: float = 5) -> None:
        """Look, and let time pass."""
        looked = maybeDeferred(self.merging.look)
        self.scene.advance(seconds)
        self.successResultOf(looked)

    def assert_own_ring(self) -> None:
        """Nothing came of it."""
        self.assertEqual((self.told(), self.membership.rejoined), ([], []))

    def asked(self, place: int) -> list[Question]:
        return [question for question in self.scene.asked(place) if isinstance(question, GetTable)]


class MergingTests(MergingCase):
    """We stand at 35, in a whole ring with 80."""

    def setUp(self) -> None:
        self.stand(35, 10, 30, 50, 60, 80)
        self.routing.join(peer(80), peers(80), whole=True)

    def test_hints_without_end(self) -> None:
        """However often it is told of another ring, it looks a few times, and again a while later."""
        for _ in range(200):
            self.merging.look_at(peer(10))
            self.scene.advance(0.1)
        first = len(self.scene.asked(10))
        self.assertLessEqual(first, LOOKS_AT_OTHER_RING * (1 + HINTS_AT_ONCE + 20 * HINTS_PER_S))
        self.scene.advance(30)
        self.merging.look_at(peer(10))
        self.scene.advance(5)
        self.assertGreater(len(self.scene.asked(10)), first)

    def test_nobody_outside(self) -> None:
        """Nobody is asked while everybody known is in our table."""
        self.listed(35, 80)
        self.look()
        self.assertEqual(self.asked(80), [])

    def test_silent(self) -> None:
        """A lost member that is silent is no ring."""
        self.bootstrap.lost(peer(50))
        self.look()
        self.assert_own_ring()

    def test_joins_the_larger(self) -> None:
        """A ring that does not hold us, and says so twice, some seconds apart, is another one. Where it is the larger
        our neighbours are told of it, and we join it through its member before our place.
        """
        self.listed(50)
        self.scene.show(*whole_ring(10, 50, 60).values())
        looked = maybeDeferred(self.merging.look)
        self.scene.advance(LOOK_AGAIN_S - 0.1)
        self.assertNoResult(looked)
        self.scene.advance(2)
        self.successResultOf(looked)
        self.assertEqual(self.told(), [(80, OtherRing(peer(10).packed))])
        self.assertEqual(self.membership.rejoined, [[10]])

    def test_nobody_but_its_word(self) -> None:
        """A ring that is larger only by the word of one stranger, who names members that show no tables, is none: a
        message to one of us must not dissolve our ring.
        """
        self.scene.show(whole_ring(10, 30, 50, 60)[50])
        self.merging.look_at(peer(50))
        self.scene.advance(60)
        self.assertGreater(len(self.asked(50)), 1)
        self.assert_own_ring()

    def test_our_own_members_do_not_count(self) -> None:
        """Who lists members of our ring as those of another one has not shown one more: they name us."""
        self.scene.show(table(80, (35,), 35, whole=True), whole_ring(30, 50, 60, 80)[30])
        self.merging.look_at(peer(30))
        self.scene.advance(60)
        self.assertNotEqual(self.asked(80), [])
        self.assert_own_ring()

    def test_tells_the_smaller(self) -> None:
        """The smaller ring is told of ours, and comes by itself."""
        self.listed(50)
        self.scene.show(*whole_ring(50).values())
        self.look()
        self.assertEqual((self.told(), self.membership.rejoined), ([(50, OtherRing(peer(35).packed))], []))

    def test_no_member_any_more(self) -> None:
        """Nothing comes of a look that ends when we are no member, and none begins then."""
        self.listed(50)
        self.scene.show(*whole_ring(10, 50, 60).values())
        looked = maybeDeferred(self.merging.look)
        self.membership.status = Status.JOINING
        self.scene.advance(5)
        self.successResultOf(looked)
        self.assert_own_ring()
        asked = len(self.asked(50))
        self.look()
        self.assertEqual(len(self.asked(50)), asked)

    def test_one_at_a_time(self) -> None:
        """Of many hints that come while a look is under way nothing comes."""
        self.scene.show(*whole_ring(10, 50, 60).values())
        for _ in range(5):
            self.merging.look_at(peer(50))
        self.merging.look_at(peer(60))
        self.scene.advance(5)
        self.assertEqual(self.membership.rejoined, [[10]])
        self.assertEqual(self.asked(60), [])

    def test_linked_in_meanwhile(self) -> None:
        """One that holds us at the second look is our own: we were not linked in yet."""
        self.listed(50)
        self.scene.show(*whole_ring(10, 50).values())
        looked = maybeDeferred(self.merging.look)
        self.scene.advance(1)
        self.scene.show(table(10, (35, 50), 50, whole=True, seq=2), table(50, (10, 35), 35, whole=True, seq=2))
        self.scene.advance(3)
        self.successResultOf(looked)
        self.assert_own_ring()

    def test_own_ring(self) -> None:
        """A large ring that names us is our own."""
        self.routing.join(peer(30), peers(50, 80, 90), whole=False)
        ring = large_ring(3, 10, 30, 35, 50, 80)
        self.scene.show(*[ring[place] for place in (10, 30, 50, 80)])
        self.merging.look_at(peer(10))
        self.scene.advance(5)
        self.assert_own_ring()

    def test_alone(self) -> None:
        """A ring of one believes at once, also one that lists us: that is an older run of ours."""
        self.routing.begin()
        self.scene.show(table(10, (35, 50), 50, whole=True), table(50, (10, 35), 35, whole=True))
        self.listed(50)
        self.look(1)
        self.assertEqual(self.membership.rejoined, [[10]])

    def test_unresolved(self) -> None:
        """Without the list, lost members are looked at."""
        self.seeds = fail(Unreachable(None, "no name can be resolved"))
        self.bootstrap.lost(peer(50))
        self.scene.show(*whole_ring(10, 50, 60).values())
        self.look()
        self.assertEqual(self.membership.rejoined, [[10]])

    def test_vanishes(self) -> None:
        """A ring that is not there at the second look is none."""
        self.listed(50)
        self.scene.show(*whole_ring(10, 50, 60).values())
        looked = maybeDeferred(self.merging.look)
        self.scene.advance(1)
        self.silence(10, 50, 60)
        self.scene.advance(5)
        self.successResultOf(looked)
        self.assert_own_ring()

    def test_found_again(self) -> None:
        """A lost member that answered is not looked for any more."""
        self.bootstrap.lost(peer(50))
        self.scene.show(table(50, (35,), 35, whole=True))
        self.look()
        asked = len(self.asked(50))
        self.look()
        self.assertEqual(len(self.asked(50)), asked)

    def test_large_ring(self) -> None:
        """In a large ring most looks are left to others."""
        self.routing.join(peer(34), peers(36, 37, 38), whole=False)
        self.assertGreater(self.statements.table.members_estimate(), LOOKERS * LOOKERS_SHARING_MAX)
        self.bootstrap.lost(peer(50))
        for _ in range(10 * LOOKERS_SHARING_MAX):
            self.look()
        self.assertTrue(3 < len(self.asked(50)) < 30)


EVEN = 1 << 16
"""Places on the circle."""


def spread(count: int, start: int) -> list[int]:
    """Places of a ring of so many, evenly from `start`."""
    return sorted((start + n * EVEN // count) % EVEN for n in range(count))


class LargeRingsTests(MergingCase):
    """We stand in a ring whose list, of three, is not whole; another ring shows itself."""

    def meet(self, ours: list[int], theirs: list[int], me: int, shown: Iterable[Table] = ()) -> None:
        """Be told of a ring through each of its members, for a minute."""
        self.stand(me, *sorted({*ours, *theirs} - {me}))
        own = large_ring(3, *ours)
        mine = own.pop(me)
        assert mine.predecessor is not None
        self.routing.join(mine.predecessor, mine.successors, whole=False)
        self.scene.show(*own.values())
        self.scene.show(*(shown or large_ring(3, *theirs).values()))
        for place in theirs[:8]:
            self.merging.look_at(peer(place))
            self.scene.advance(30)

    def test_larger(self) -> None:
        """A ring of twice as many, all of whom answer, is joined."""
        ours = spread(12, 100)
        self.meet(ours, spread(24, 777), ours[4])
        self.assertNotEqual(self.membership.rejoined, [])

    def test_smaller(self) -> None:
        """One of half as many is told of ours."""
        ours = spread(24, 100)
        self.meet(ours, spread(12, 777), ours[4])
        self.assertEqual(self.membership.rejoined, [])
        self.assertNotEqual(self.told(), [])

    def test_alike(self) -> None:
        """Of two of one size, the one without the smallest id joins the other, whoever of it looks."""
        low, high = spread(16, 100), spread(16, 777)
        for me in (0, 5, 11):
            self.meet(high, low, high[me])
            self.assertNotEqual(self.membership.rejoined, [], me)
            self.meet(low, high, low[me])
            self.assertEqual(self.membership.rejoined, [], me)

    def test_invented(self) -> None:
        """A stranger before us leaves us out, and lists addresses dense behind itself where nobody is, as fingers the
        members of our own ring: nobody leaves a ring for that.
        """
        ours = spread(24, 100)
        me = ours[4]
        liar = me - 9
        invented = [liar + n for n in range(1, 4)]
        lie = table(liar, invented, ours[2], fingers=[place for place in ours if place != me])
        self.meet(ours, [liar, *invented], me, [lie])
        self.assert_own_ring()

    def test_dense_in_one_place(self) -> None:
        """A ring whose members answer, and stand dense before us and behind us and nowhere else, is no large one."""
        ours = spread(24, 100)
        me = ours[4]
        self.meet(ours, [me - 30, me - 20, me - 10, me + 10, me + 20, me + 30], me)
        self.assertEqual(self.membership.rejoined, [])

    def test_others_have_gone_over(self) -> None:
        """Where all but our own neighbours have joined the other ring, so that our searches lead there, we follow."""
        theirs = spread(24, 777)
        ours = spread(8, 100)
        me = ours[4]
        self.stand(me, *sorted({*ours, *theirs} - {me}))
        self.routing.join(peer(ours[3]), peers(*ours[5:8]), whole=False)
        self.scene.show(*(table(place, (), theirs[0], fingers=theirs) for place in ours if place != me))
        self.scene.show(*large_ring(3, *theirs).values())
        for k in range(250, 256):
            self.routing.fingers[k] = peer(theirs[(k * 5) % 24])
        self.merging.look_at(peer(theirs[0]))
        self.scene.advance(30)
        self.assertNotEqual(self.membership.rejoined, [])

    def test_compared_seldom(self) -> None:
        """However often it is told of another ring, it compares the two a few times."""
        ours = spread(24, 100)
        theirs = spread(20, 777)
        self.meet(ours, theirs, ours[4])
        asked = sum(len(self.scene.asked(place)) for place in ours if place != ours[4])
        for place in theirs * 3:
            self.merging.look_at(peer(place))
            self.scene.advance(2)
        again = sum(len(self.scene.asked(place)) for place in ours if place != ours[4])
        self.assertLess(again - asked, 1000)


class GivesWayTests(SynchronousTestCase):
    """`gives_way`: which of two rings joins the other."""

    def assert_gives_way(self, smaller: Table, larger: Table) -> None:
        """Both sides come to the same verdict."""
        self.assertTrue(gives_way(smaller, larger))
        self.assertFalse(gives_way(larger, smaller))

    def test_smaller(self) -> None:
        """The smaller ring joins the larger."""
        self.assert_gives_way(whole_ring(10, 20)[10], whole_ring(30, 40, 50)[40])

    def test_alike(self) -> None:
        """Of two of one size, the one without the smallest id joins the other, whichever members meet."""
        ring, other = whole_ring(10, 40), whole_ring(20, 30)
        for one in other.values():
            for another in ring.values():
                self.assert_gives_way(one, another)

    def test_by_density(self) -> None:
        """Large rings are compared by density."""
        self.assert_gives_way(table(0, (1000, 2000, 3000)), table(10, (500, 1000, 1500)))
        self.assert_gives_way(whole_ring(10, 20)[10], table(10, (500, 1000, 1500)))
