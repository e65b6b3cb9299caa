"""Behaviour of a member towards the entries of its list that it asks in turn."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from chordtwist.node.ring.uniting import ENTRY_TURN_S
from chordtwist.wire.peer_messages import GetTable, Ping, Pong
from tests.builders import not_member
from tests.test_node_answers import OneNodeTestCase


class EntriesTests(OneNodeTestCase):
    """The node at 50, whose list is 60, 70 and 80."""

    def setUp(self) -> None:
        super().setUp()
        self.be_member()

    def test_joins_afresh(self) -> None:
        """One that says that it joins is let go at once, though it answers: also as a run before the one that was
        met, as after a restart with a clock that was set back.
        """
        for place in (70, 80):
            word = not_member(place, epoch=0)
            self.scene.reply(place, lambda question, word=word: word if isinstance(question, GetTable) else Pong())  # type: ignore[misc]
        self.scene.advance(3 * ENTRY_TURN_S)
        self.assertEqual(self.state(), (40, [60]))

    def ask_next(self) -> None:
        """Each entry but the head holds its table back, and one of them is asked for it."""
        for place in (70, 80):
            self.scene.reply(place, lambda question: Deferred() if isinstance(question, GetTable) else Pong())
        self.scene.advance(ENTRY_TURN_S)
        self.node.uniting.ask_others()
        self.scene.advance(0.1)

    def pings(self) -> int:
        return sum(question == Ping() for place in (70, 80) for question in self.scene.asked(place))

    def test_silent(self) -> None:
        """An entry that shows no table is looked at."""
        self.ask_next()
        self.scene.advance(10)
        self.assertGreater(self.pings(), 0)

    def test_silent_after_the_end(self) -> None:
        """When its member has come to its end meanwhile it is asked nothing more."""
        self.ask_next()
        self.node.membership.end()
        before = self.pings()
        self.scene.advance(10)
        self.assertEqual(self.pings(), before)

    def test_stops_meanwhile(self) -> None:
        """A question that is under way when the node stops is no error."""
        self.ask_next()
        self.node.stop()
        self.scene.advance(30)
        self.assertEqual([event for event in self.observer if event["log_level"].name in ("error", "critical")], [])
