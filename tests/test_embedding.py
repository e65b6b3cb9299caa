"""`chordtwist.Node`: what a program of one's own asks of its node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.embedding import Node
from chordtwist.app.service import StartError
from chordtwist.core.errors import NodeGone
from chordtwist.core.records import VALUE_BYTES_MAX


class KeysTests(SynchronousTestCase):
    def test_what_is_no_key_is_asked_of_nobody(self) -> None:
        """Other nodes would refuse the address of one that sends them such a question."""
        node = Node(MemoryReactorClock(), values={"tls.mode": "off"})
        for key in (b"k" * 31, b"k" * 33, b"", ""):
            self.assertRaises(ValueError, node.get, key)
            self.assertRaises(ValueError, node.put, key, b"value")
            self.assertRaises(ValueError, node.delete, key)

    def test_what_is_no_value_or_no_life(self) -> None:
        """It is an error of the program, as it is to the clients."""
        node = Node(MemoryReactorClock(), values={"tls.mode": "off"})
        for value in (b"", b"x" * (VALUE_BYTES_MAX + 1)):
            self.assertRaises(ValueError, node.put, "key", value)
        self.assertRaises(ValueError, node.put, "key", b"value", -1)


class Taken(MemoryReactorClock):
    """Some other program has the port of the API."""

    def listenTCP(self, port: int, *args: Any, **kwargs: Any) -> Any:
        """Refuse that one."""
        if port == 7401:
            raise CannotListenError("127.0.0.1", port, OSError("taken"))
        return super().listenTCP(port, *args, **kwargs)


class OneRunTests(SynchronousTestCase):
    """A node starts once, and is asked while it runs."""

    def refused(self, node: Node) -> None:
        for asked in (node.get("key"), node.put("key", b"value"), node.delete("key")):
            self.failureResultOf(asked, NodeGone)

    def test_asked_when_it_does_not_run(self) -> None:
        """Nobody is told that there is nothing under a key by a node that asks nobody."""
        reactor = MemoryReactorClock()
        node = Node(reactor, values={"tls.mode": "off"})
        self.refused(node)
        joined = node.start()
        reactor.advance(1)
        self.successResultOf(joined)
        self.assertEqual(self.successResultOf(node.put("key", b"value")).copies, 1)
        stopped = node.stop()
        self.refused(node)
        reactor.pump([0.5] * 20)
        self.successResultOf(stopped)

    def test_started_again(self) -> None:
        """A second start says what to do instead, also of a node that was stopped before it ever ran."""
        reactor = MemoryReactorClock()
        node = Node(reactor, values={"tls.mode": "off"})
        joined = node.start()
        self.assertRaises(StartError, node.start)
        reactor.advance(1)
        self.successResultOf(joined)
        node.stop()
        reactor.pump([0.5] * 20)
        self.assertRaises(StartError, node.start)
        other = Node(reactor, values={"tls.mode": "off"})
        other.stop()
        reactor.pump([0.5] * 20)
        self.assertRaises(StartError, other.start)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_start_that_fails(self) -> None:
        """What it has by then is given back: its state directory serves the next one."""
        reactor = Taken()
        values = {"tls.mode": "off", "dht.state_dir": str(Path(self.mktemp()))}
        self.assertRaises(StartError, Node(reactor, values=values).start)
        reactor.pump([0.5] * 20)
        Node(reactor, values=values).stop()
        self.assertEqual(self.flushLoggedErrors(), [])
