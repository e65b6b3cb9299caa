"""`chordtwist.Node`: what a program of one's own asks of its node."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.embedding import Node


class KeysTests(SynchronousTestCase):
    def test_what_is_no_key_is_asked_of_nobody(self) -> None:
        """Other nodes would refuse the address of one that sends them such a question."""
        node = Node(MemoryReactorClock(), values={"tls.mode": "off"})
        for key in (b"k" * 31, b"k" * 33, b"", ""):
            self.assertRaises(ValueError, node.get, key)
            self.assertRaises(ValueError, node.put, key, b"value")
            self.assertRaises(ValueError, node.delete, key)
