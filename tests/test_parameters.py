"""`Parameters`: what a network agrees on, and differences in words."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Policy

OURS = Parameters(network="test")


class DifferencesTests(SynchronousTestCase):
    """What stands against talking to one another."""

    def test_none(self) -> None:
        """Equal agreements differ in nothing."""
        self.assertEqual(OURS.differences(Parameters(network="test")), [])

    def test_each(self) -> None:
        """Each difference is one phrase that names both sides."""
        for theirs, phrase in (
            (replace(OURS, network="other"), "network is 'other' there and 'test' here"),
            (
                replace(OURS, policy=Policy.ADDRESS),
                "identity is address there and ip here, of which the default goes by the address:"
                " it has to be said in words, the same at both",
            ),
            (replace(OURS, successors=8), "successors is 8 there and 16 here"),
            (replace(OURS, replication=2), "replication is 2 there and 4 here"),
            (replace(OURS, dead_after_s=5.0), "dead_after_s is 5.0 there and 3.0 here"),
        ):
            self.assertEqual(OURS.differences(theirs), [phrase])

    def test_several(self) -> None:
        """All of them are told."""
        self.assertEqual(len(OURS.differences(Parameters(network="other", successors=8))), 2)


class ImpossibleTests(SynchronousTestCase):
    """Agreements that no network can keep."""

    def test_refused(self) -> None:
        """Too short a list, more copies than successors or none, no time to answer: each is told in words."""
        for wrong, word in (
            ({"successors": 1}, "successors = 1"),
            ({"successors": 127}, "successors = 127"),
            ({"replication": 0}, "replication = 0"),
            ({"replication": 17}, "replication = 17"),
            ({"dead_after_s": 0.0}, "dead_after = 0.0"),
        ):
            error = self.assertRaises(ValueError, lambda wrong=wrong: Parameters(**wrong))
            self.assertIn(word, str(error))
