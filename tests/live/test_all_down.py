"""What a ring of processes comes through without anybody's help: all down, the first gone, a disk that went away."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import Fleet, value_of

KEYS = [bytes([number]) * 32 for number in range(20)]
WITHIN_S = 120.0
"""Far beyond what it takes."""


class AllDownTests(SynchronousTestCase):
    """Nodes that keep their state, on addresses of their own."""

    def setUp(self) -> None:
        """None runs yet."""
        self.fleet = Fleet({"state_dir": "yes", "stabilize_interval": 0.5})
        self.addCleanup(self.fleet.close)

    def wait_until(self, condition: Callable[[], object]) -> None:
        self.fleet.wait_until(lambda: bool(condition()), WITHIN_S)

    def test_first_is_gone(self) -> None:
        """All nodes are killed, and the one that all others list never comes back: the others are a ring again, with
        the records that they kept.
        """
        fleet = self.fleet
        fleet.start([1], bootstrap=[])
        fleet.start([2, 3, 4])
        fleet.wait_for_ring(WITHIN_S)
        client = fleet.client(1)
        for number, key in enumerate(KEYS):
            client.put(key, value_of(number, 1000), ttl_s=3600)
        values = {key: value_of(number, 1000) for number, key in enumerate(KEYS)}
        self.wait_until(lambda: values == fleet.client(3).get_many(KEYS))
        for number in (2, 3, 4):
            peers = fleet.folder / f"state-{number}" / "peers.json"
            self.wait_until(lambda peers=peers: peers.exists() and peers.read_text().count(":") == 3)  # type: ignore[misc]
        fleet.kill([1, 2, 3, 4])
        fleet.start([2, 3, 4])
        fleet.wait_for_ring(WITHIN_S)
        self.wait_until(lambda: values == fleet.client(4).get_many(KEYS))

    def test_disk_goes_away(self) -> None:
        """Two rings of one that meet become one though the state of neither can be written any more, and neither is
        busy with it.
        """
        fleet = self.fleet
        fleet.start([1], bootstrap=[1, 2])
        self.wait_until(lambda: fleet.statuses()[1]["member"])
        os.kill(fleet.processes[1].pid, signal.SIGSTOP)
        fleet.start([2], bootstrap=[2, 1])
        state = fleet.client(2)
        self.wait_until(lambda: state.status()["member"])
        for number in (1, 2):
            folder = fleet.folder / f"state-{number}"
            folder.rename(folder.with_name(f"gone-{number}"))
        os.kill(fleet.processes[1].pid, signal.SIGCONT)
        fleet.wait_for_ring(WITHIN_S)
        logs = fleet.log(1) + fleet.log(2)
        self.assertNotIn("Traceback", logs)
        self.assertLess(logs.count("\n"), 100)
