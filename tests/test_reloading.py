"""Reading the configuration again while a node runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app import config_file
from chordtwist.app.config import NodeConfig
from chordtwist.app.reloading import Reloading


class AtOnce:
    """Does in this thread what the real one does in another."""

    def call(self, function: Any, *args: object) -> Deferred[Any]:
        return maybeDeferred(function, *args)


class ReloadingTests(SynchronousTestCase):
    """`Reloading` of a file."""

    def setUp(self) -> None:
        """A node that runs with it."""
        self.path = Path(self.mktemp())
        self.path.write_text("[dht]\n")
        self.taken: list[NodeConfig] = []
        node: Any = SimpleNamespace(take_up=self.taken.append, operations=SimpleNamespace())
        self.reloading = Reloading(self.path, config_file.read_file(self.path), node, lambda: None, Clock())
        self.reloading._threads = AtOnce()  # type: ignore[assignment]
        self.node = node

    def test_taken_up(self) -> None:
        """What the file says now is given to the node."""
        self.path.write_text("[dht]\n[limits]\nprocessor_percent = 7\n")
        self.reloading()
        self.assertEqual([config.limits.processor_percent for config in self.taken], [7])

    def test_unreadable(self) -> None:
        """Of a file that says what cannot be, nothing is taken up."""
        self.path.write_text("[dht]\n[limits]\nprocessor_percent = many\n")
        self.reloading()
        self.assertEqual(self.taken, [])

    def test_a_bug_is_told(self) -> None:
        """An error of ours while something is taken up stands in the log."""

        def broken(config: NodeConfig) -> None:
            raise RuntimeError("a bug")

        self.node.take_up = broken
        self.reloading()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
