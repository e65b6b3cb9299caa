"""`Conduct`: what one node holds against others."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.conduct import BLAMED_AGAIN_S, BLAMED_MAX, HALF_LIFE_S, LEAVES_OUT, Conduct
from tests.builders import peer


class ConductTests(SynchronousTestCase):
    """Suspicion comes slowly and goes by itself."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.conduct = Conduct(self.clock.seconds)

    def blame(self, times: int, every_s: float = BLAMED_AGAIN_S) -> None:
        for _ in range(times):
            self.conduct.blame(peer(10), LEAVES_OUT)
            self.clock.advance(every_s)

    def test_three_faults(self) -> None:
        """Make suspected; two do not, nor somebody else's."""
        self.blame(2)
        self.conduct.blame(peer(20), LEAVES_OUT)
        self.assertEqual(self.conduct.suspected(), {})
        self.blame(1)
        self.assertEqual(self.conduct.suspected(), {peer(10): LEAVES_OUT})
        self.assertTrue(self.conduct.is_suspected(peer(10)))
        self.assertFalse(self.conduct.is_suspected(peer(20)))

    def test_at_once(self) -> None:
        """Many searches meet one fault: it counts once."""
        self.blame(20, BLAMED_AGAIN_S / 40)
        self.assertFalse(self.conduct.is_suspected(peer(10)))

    def test_far_apart(self) -> None:
        """A fault now and then is none of conduct."""
        self.blame(20, HALF_LIFE_S)
        self.assertFalse(self.conduct.is_suspected(peer(10)))

    def test_goes_by(self) -> None:
        """Nobody is suspected for long of what he does no more."""
        self.blame(3)
        self.assertTrue(self.conduct.is_suspected(peer(10)))
        self.clock.advance(HALF_LIFE_S)
        self.assertFalse(self.conduct.is_suspected(peer(10)))

    def test_bounded(self) -> None:
        """Whom something was held against longest ago is forgotten."""
        self.blame(3)
        for number in range(BLAMED_MAX):
            self.conduct.blame(peer(1_000 + number), LEAVES_OUT)
        self.assertFalse(self.conduct.is_suspected(peer(10)))
