"""What a node says of its health, and of what happened: processes, some killed, some refused by all others."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import API_PORT, BIN, ClosedFleet
from tests.hasty_build import QUIET_S

WITHIN_S = 60.0


class HealthTests(SynchronousTestCase):
    """A closed network of four."""

    def setUp(self) -> None:
        """An authority in a folder of its own."""
        self.fleet = ClosedFleet()
        self.addCleanup(self.fleet.close)
        self.fleet.module = ["tests.hasty_build"]

    def command(self, number: int, *words: str) -> subprocess.CompletedProcess[str]:
        """What a command says when it asks a node."""
        return subprocess.run(
            [f"{BIN}/chordtwist", *words, "--api", f"{self.fleet.host(number)}:{API_PORT}"],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def wait_for(self, what: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        self.fleet.wait_until(what, within_s)

    def test_cut_off(self) -> None:
        """A neighbour's death is one line and an event. Whose certificate is taken back says that it is cut off, by
        whom and why: in log, status, exit status and to whoever puts. Who finds no ring says what it tries.
        """
        began_s = time.monotonic()
        for number in (1, 2, 3, 4):
            self.fleet.admit(number)
        self.fleet.wait_for_ring(WITHIN_S)
        self.fleet.admit(5, bootstrap=9)

        dead = f"{self.fleet.host(4)}:6401"
        self.fleet.kill([4])
        self.wait_for(lambda: f"dead: {dead}; 2 of our successors live" in self.fleet.log(1))
        self.assertIn(f"{dead} is dead: it does not answer", self.command(1, "status", "--events").stdout)
        self.assertEqual(1, self.fleet.log(1).count("dead: "))

        self.fleet.client(5).close()
        nowhere = f"{self.fleet.host(9)}:6401"
        self.wait_for(lambda: f"{nowhere}: connection refused" in self.command(5, "status").stdout)
        shown = self.command(5, "status", "--check")
        self.assertEqual(1, shown.returncode)
        self.assertRegex(shown.stdout, rf"tried next +{nowhere} (again within [0-9.]+ s|now) *\n")

        self.fleet.certify("revoke", self.fleet.host(3))
        why = "cut off: all of 2 refuse us: our certificate was revoked"
        self.wait_for(lambda: why in self.fleet.log(3), WITHIN_S)
        self.assertGreater(time.monotonic() - began_s, QUIET_S)
        shown = self.command(3, "status", "--check")
        self.assertEqual(1, shown.returncode)
        self.assertEqual(f"not well: {why}", shown.stdout.splitlines()[0])
        state = json.loads(self.command(3, "status", "--json").stdout)
        self.assertFalse(state["ready"], state)
        put = self.command(3, "put", "greeting", "good morning")
        self.assertEqual(1, put.returncode)
        self.assertIn(why, put.stderr)

        well = self.command(1, "status", "--check")
        self.assertEqual((0, "well"), (well.returncode, well.stdout.splitlines()[0]))
        self.wait_for(lambda: f"in no ring: {nowhere}: connection refused" in self.fleet.log(5), WITHIN_S)
