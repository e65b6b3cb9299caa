"""How often strangers make a node dial where they like."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.node.ring.dial_limits import (
    AGAIN_FIRST_S,
    AGAIN_SLOWEST_S,
    IN_ALL_PER_MIN,
    KNOWN_PER_TELLER_AT_ONCE,
    KNOWN_PER_TELLER_PER_S,
    PER_TELLER_PER_MIN,
    RELAYED_WEIGHT,
    UNANSWERED_AT_ONCE,
    UNANSWERED_PER_S,
    UNDER_WAY_MAX,
    WORD_AT_ONCE,
    WORD_PER_S,
    DialLimits,
)

IDENTITY = Identity("test", Policy.IP)


def peer(number: int, port: int = 6401) -> Peer:
    """A peer at an address of its own."""
    return IDENTITY.peer(f"198.18.{number // 256}.{number % 256}", port)


class DialLimitsTests(SynchronousTestCase):
    """Addresses that somebody names."""

    def setUp(self) -> None:
        """One of them is known."""
        self.clock = Clock()
        self.known = {peer(1)}
        self.dial_limits = DialLimits(self.known.__contains__, self.clock)

    def looked(self, teller: Peer, times: int = 1000) -> int:
        """How many of so many strangers are dialled on the word of one peer."""
        return sum(self.dial_limits.may_look(teller, peer(2000 + number)) for number in range(times))

    def test_one_teller(self) -> None:
        """One peer has so many dialled at once, and as many again in a minute, whatever port it claims."""
        self.assertEqual(PER_TELLER_PER_MIN + 1, self.looked(peer(10)))
        self.assertEqual(0, self.looked(peer(10, port=7000)))
        self.clock.advance(30)
        self.assertAlmostEqual(PER_TELLER_PER_MIN / 2, self.looked(peer(10)), delta=1)

    def test_many_tellers(self) -> None:
        """All together have a bound too."""
        looked = sum(self.looked(peer(number)) for number in range(100, 200))
        self.assertEqual(IN_ALL_PER_MIN + 1, looked)

    def test_weight(self) -> None:
        """What costs those whom we have met more is asked of them less often."""
        asked = sum(self.dial_limits.may_look(peer(10), peer(1), RELAYED_WEIGHT) for _ in range(1000))
        self.assertEqual(KNOWN_PER_TELLER_AT_ONCE / RELAYED_WEIGHT + 1, asked)
        self.clock.advance(60)
        asked = sum(self.dial_limits.may_look(peer(10), peer(1), RELAYED_WEIGHT) for _ in range(1000))
        self.assertLessEqual(asked, 60 * KNOWN_PER_TELLER_PER_S / RELAYED_WEIGHT + 1)

    def test_known(self) -> None:
        """Whom we have met is asked more often, but not without end, and apart from strangers."""
        asked = sum(self.dial_limits.may_look(peer(10), peer(1)) for _ in range(1000))
        self.assertEqual(KNOWN_PER_TELLER_AT_ONCE + 1, asked)
        self.assertEqual(PER_TELLER_PER_MIN + 1, self.looked(peer(10)))
        self.assertTrue(self.dial_limits.may_look(peer(11), peer(1)))
        self.clock.advance(2)
        asked = sum(self.dial_limits.may_look(peer(10), peer(1)) for _ in range(1000))
        self.assertAlmostEqual(2 * KNOWN_PER_TELLER_PER_S, asked, delta=1)


class UnansweredTests(SynchronousTestCase):
    """Addresses that have never answered."""

    def setUp(self) -> None:
        """Nobody has."""
        self.clock = Clock()
        self.known: set[Peer] = set()
        self.dial_limits = DialLimits(self.known.__contains__, self.clock)
        self.named = 0

    def dial(self, *peers: Peer) -> list[Peer]:
        """Dial them where nothing stands against it, in vain; who was dialled."""
        dialled = []
        for one in peers:
            if self.dial_limits.why_not_dial(one) is None:
                self.dial_limits.dialled(one)
                self.dial_limits.ended(one, "connection refused")
                dialled.append(one)
        return dialled

    def fresh(self, count: int) -> list[Peer]:
        """Names that were not heard before."""
        self.named += count
        return [peer(number) for number in range(self.named - count, self.named)]

    def test_in_all(self) -> None:
        """Whoever names them, so many are dialled at once, and so many a second: less than 5 over a minute."""
        self.assertEqual(UNANSWERED_AT_ONCE + 1, len(self.dial(*self.fresh(1000))))
        dialled = 0
        for _ in range(60):
            self.clock.advance(1)
            dialled += len(self.dial(*self.fresh(100)))
        self.assertAlmostEqual(60 * UNANSWERED_PER_S, dialled, delta=2)
        self.assertLess(UNANSWERED_AT_ONCE + UNDER_WAY_MAX + 60 * UNANSWERED_PER_S, 5 * 60)
        self.assertEqual("too many addresses that never answered", self.dial_limits.why_not_dial(peer(50_000)))

    def test_under_way(self) -> None:
        """Only so many are dialled at a time; one that is being dialled may be asked more."""
        peers = self.fresh(UNDER_WAY_MAX)
        for one in peers:
            self.assertIsNone(self.dial_limits.why_not_dial(one))
            self.dial_limits.dialled(one)
        another = self.fresh(1)[0]
        self.assertIsNotNone(self.dial_limits.why_not_dial(another))
        self.assertIsNone(self.dial_limits.why_not_dial(peers[0]))
        self.known.add(peers[0])
        self.dial_limits.ended(peers[0], "")
        self.assertIsNone(self.dial_limits.why_not_dial(another))

    def test_answers(self) -> None:
        """Those that answer cost nothing: a ring of any size is met as fast as it answers."""
        for one in self.fresh(1000):
            self.assertIsNone(self.dial_limits.why_not_dial(one))
            self.dial_limits.dialled(one)
            self.known.add(one)
            self.dial_limits.ended(one, "")

    def test_later_each_time(self) -> None:
        """One of them is dialled again later each time, and never for the last time."""
        waits: list[float] = []
        began = 0.0
        while len(waits) < 12:
            if self.dial(peer(5)):
                waits.append(self.clock.seconds() - began)
                began = self.clock.seconds()
            else:
                self.assertEqual("connection refused", self.dial_limits.why_not_dial(peer(5)))
                self.clock.advance(0.5)
        self.assertEqual([0.0, AGAIN_FIRST_S, 2 * AGAIN_FIRST_S, 4 * AGAIN_FIRST_S], waits[:4])
        self.assertEqual([AGAIN_SLOWEST_S] * 2, waits[-2:])

    def test_expected(self) -> None:
        """The operator's own list does not wait, nor does who asks us something: it lives."""
        for told in (self.dial_limits.expected, self.dial_limits.called):
            self.assertEqual([], [*self.dial(peer(5)), *self.dial(peer(5))][1:])
            told(peer(5))
            self.assertIsNone(self.dial_limits.why_not_dial(peer(5)))

    def test_named(self) -> None:
        """What a member has named is dialled whatever others cost us, but not again at once when that was in vain."""
        self.dial(*self.fresh(1000))
        other = peer(50_000)
        self.assertEqual([], self.dial(other))
        self.dial_limits.named(other, [peer(1)])
        self.assertEqual([other], self.dial(other, other))
        self.dial_limits.named(other, [peer(1)])
        self.assertEqual("connection refused", self.dial_limits.why_not_dial(other))

    def test_word(self) -> None:
        """Who names only what does not answer is believed no more for a while, and others are."""
        self.dial(*self.fresh(1000))
        liar, honest = peer(1), peer(2)
        names = [peer(50_000 + number) for number in range(20)]
        for name in names:
            self.dial_limits.named(name, [liar])
            self.dial(name)
        self.assertLessEqual(len([name for name in names if self.dial_limits.has_failed(name)]), WORD_AT_ONCE + 1)
        self.dial_limits.named(names[-1], [liar])
        self.assertIsNotNone(self.dial_limits.why_not_dial(names[-1]))
        self.dial_limits.named(names[-1], [liar, honest])
        self.assertIsNone(self.dial_limits.why_not_dial(names[-1]))
        self.clock.advance(2 / WORD_PER_S)
        self.dial_limits.named(names[-2], [liar])
        self.assertIsNone(self.dial_limits.why_not_dial(names[-2]))

    def test_word_used_up_meanwhile(self) -> None:
        """An address that somebody has named whose word is used up by then is dialled as if he had not named it."""
        liar, member = peer(1), peer(50_000)
        self.dial_limits.named(member, [liar])
        for name in self.fresh(20):
            self.dial_limits.named(name, [liar])
            self.dial(name)
        self.assertIsNone(self.dial_limits.why_not_dial(member))

    def test_named_again_under_way(self) -> None:
        """What is dialled on the word of one is charged to that one, also when it is named again meanwhile."""
        liar = peer(1)
        names = self.fresh(UNDER_WAY_MAX)
        for name in names:
            self.dial_limits.named(name, [liar])
            self.assertIsNone(self.dial_limits.why_not_dial(name))
            self.dial_limits.dialled(name)
        for name in names:
            self.dial_limits.named(name, [liar])
            self.dial_limits.ended(name, "connection refused")
        self.assertIsNone(self.dial_limits.why_not_dial(peer(50_000)))

    def test_callers(self) -> None:
        """Who asks us is dialled back however many names others brought, and whatever callers elsewhere cost us."""
        self.dial(*self.fresh(1000))
        self.dial_limits.called(peer(3000))
        for port in range(7000, 7000 + 2 * int(UNANSWERED_AT_ONCE)):
            self.dial_limits.called(peer(4000, port))
            self.dial(peer(4000, port))
        self.assertIsNone(self.dial_limits.why_not_dial(peer(3000)))
        self.assertIsNotNone(self.dial_limits.why_not_dial(peer(4000, 6999)))
