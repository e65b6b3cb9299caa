"""Nothing that was confirmed is lost by kill -9: twenty rounds of what `tools.explore_kill` does for ever."""

from __future__ import annotations

import json
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tools import explore_kill

ROUNDS = 20


class KillTests(SynchronousTestCase):
    """Processes that are killed at random moments of a stream of confirmed puts."""

    def explore(self, what: str) -> None:
        """Rounds in a process of its own, since it forks: this one has a reactor."""
        command = [sys.executable, "-m", explore_kill.__name__, what, "--rounds", str(ROUNDS)]
        explored = subprocess.run(command, capture_output=True, text=True, cwd=explore_kill.ROOT)
        self.assertEqual(explored.returncode, 0, explored.stdout + explored.stderr)
        told = json.loads(explored.stdout.splitlines()[-1])
        self.assertEqual((told["rounds"], told["lost"]), (ROUNDS, 0))
        self.assertGreater(told["confirmed"], ROUNDS)

    def test_store(self) -> None:
        """After each kill of a process with a record store, every confirmed put is there with its version and its life
        to the millisecond, none is half there, and the directory is free.
        """
        self.explore("store")

    def test_node(self) -> None:
        """After each kill of a node, its next run serves every confirmed put, and has it with its version and life."""
        self.explore("node")
