"""Behaviour of a node whose status on the ring changes: who hears of it."""

from __future__ import annotations

from chordtwist.core.signed import Status
from tests.builders import peers
from tests.test_node_answers import OneNodeTestCase


class StatusTests(OneNodeTestCase):
    """The node at 50, and somebody who has to know."""

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[Status] = []
        self.node.membership.when_changed.append(lambda: self.seen.append(self.node.membership.status))

    def test_leaves(self) -> None:
        """That a member leaves is told, though none of its pointers is another."""
        self.be_member()
        self.seen.clear()
        self.node.leave()
        self.scene.advance(1)
        self.assertEqual(self.seen, [Status.LEAVING])

    def test_joins_afresh(self) -> None:
        """That a member joins afresh is told at once, before anybody has answered."""
        self.be_member()
        self.seen.clear()
        self.node.membership.rejoin(peers(90))
        self.assertEqual(self.seen, [Status.JOINING])

    def test_begins_a_ring(self) -> None:
        """That a node has become a member is told."""
        self.node.start()
        self.scene.advance(10)
        self.assertEqual(self.seen, [Status.MEMBER])
