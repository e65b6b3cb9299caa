"""Behaviour of each rule by itself: what it says of one message."""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Identity, Policy
from chordtwist.simulation.chance import QUANTILES
from chordtwist.simulation.faults import (
    DROP,
    HOLD,
    PASS,
    RETRY_US,
    TWICE,
    Clog,
    Cut,
    Deliver,
    Dropping,
    Duplicating,
    Envelope,
    Loss,
    Overtaking,
    Partition,
    Path,
    Rule,
    SlowHost,
    Verdict,
)
from chordtwist.wire.peer_messages import Ping, Pong

A, B, C = (Identity("test", Policy.IP).peer(f"10.0.0.{number}", 6401) for number in (1, 2, 3))


class CertainRulesTests(SynchronousTestCase):
    """Rules that leave nothing to chance."""

    def test_verdicts(self) -> None:
        """Each says of every message whether it takes the path that the rule is about."""
        late = Deliver(7)
        cases: list[tuple[Rule, dict[str, Verdict | Deliver]]] = [
            (Cut(A, B), {"AB": DROP, "BA": PASS, "AC": PASS, "CB": PASS}),
            (Partition([[A], [B]]), {"AB": DROP, "BA": DROP, "AC": DROP, "CB": DROP, "AA": PASS}),
            (Partition([[A, B]]), {"AB": PASS, "BA": PASS, "AC": DROP, "CB": DROP}),
            (SlowHost(A, 7), {"AB": late, "BA": late, "AC": late, "CB": PASS}),
            (Clog(A, B), {"AB": HOLD, "BA": PASS, "AC": PASS}),
        ]
        peers = {"A": A, "B": B, "C": C}
        for rule, expected in cases:
            for path, verdict in expected.items():
                source, target = (peers[name] for name in path)
                for message in (Ping(), Pong()):
                    said = rule.on_message(Envelope(source, target, message), Random(1))
                    self.assertEqual(said, verdict, (rule, path, message))
                self.assertIs(rule.severs(source, target), verdict is DROP, (rule, path))


class ChanceTests(SynchronousTestCase):
    """Rules for a share of all messages."""

    def said(self, rule: Rule, message: Ping | Pong, times: int = 4000) -> Counter[object]:
        """How often a rule says what of a message: a verdict, or by how many microseconds it comes late."""
        rng = Random(1)
        verdicts = [rule.on_message(Envelope(A, B, message), rng) for _ in range(times)]
        return Counter(said.late_us if isinstance(said, Deliver) else said for said in verdicts)

    def assert_share(self, count: int, share: float, times: int = 4000) -> None:
        self.assertTrue(abs(count / times - share) < 0.03, f"{count} of {times} are not {share}")

    def test_dropping(self) -> None:
        """The share named is dropped."""
        said = self.said(Dropping(0.3), Pong())
        self.assert_share(said[DROP], 0.3)
        self.assert_share(said[PASS], 0.7)

    def test_duplicating(self) -> None:
        """The share named is doubled, of questions only."""
        said = self.said(Duplicating(0.3), Ping())
        self.assert_share(said[TWICE], 0.3)
        self.assert_share(said[PASS], 0.7)
        self.assertEqual(set(self.said(Duplicating(1.0), Pong())), {PASS})

    def test_loss(self) -> None:
        """A lost segment is sent again after 200 ms, and again after 400: the message comes late, and never not."""
        said = self.said(Loss(0.5), Pong())
        for times, late_us in enumerate((0, RETRY_US, 3 * RETRY_US, 7 * RETRY_US), 1):
            self.assert_share(said[late_us], 0.5**times)
        self.assertEqual(set(self.said(Loss(1.0), Pong())), {63 * RETRY_US})

    def test_overtaking(self) -> None:
        """The share named is held back by anything up to the longest."""
        said = self.said(Overtaking(0.3, 900), Ping())
        self.assert_share(said.pop(PASS), 0.7)
        self.assertTrue(0 <= min(said) < 20 and 880 < max(said) < 900)  # type: ignore[type-var,operator]

    def test_path(self) -> None:
        """The path itself takes any of its delays."""
        self.assertEqual(set(self.said(Path((10, 20) * (QUANTILES // 2)), Ping())), {10, 20})
