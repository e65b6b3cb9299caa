"""How often strangers make a node dial where they like."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.node.ring.dial_limits import IN_ALL_PER_MIN, PER_TELLER_PER_MIN, DialLimits

IDENTITY = Identity("test", Policy.IP)


def peer(number: int, port: int = 6401) -> Peer:
    """A peer at an address of its own."""
    return IDENTITY.peer(f"198.18.{number // 256}.{number % 256}", port)


class DialLimitsTests(SynchronousTestCase):
    """Addresses that somebody names."""

    def setUp(self) -> None:
        """One of them is known."""
        self.clock = Clock()
        self.dial_limits = DialLimits(lambda named: named == peer(1), self.clock)

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

    def test_known(self) -> None:
        """Whom we have met may be asked at any time, and counts for nothing."""
        self.assertTrue(all(self.dial_limits.may_look(peer(10), peer(1)) for _ in range(1000)))
        self.assertEqual(PER_TELLER_PER_MIN + 1, self.looked(peer(10)))
        self.assertTrue(self.dial_limits.may_look(peer(10), peer(1)))
