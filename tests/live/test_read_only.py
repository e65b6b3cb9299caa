"""A state directory that cannot be written any more while its node runs: another file system is mounted over it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.fleet import API_PORT, BIN, Fleet, value_of

WITHIN_S = 60.0


class ReadOnlyTests(SynchronousTestCase):
    """Two nodes, and a third one that comes later, since only other peers than before are kept."""

    def setUp(self) -> None:
        """A ring of two; whoever mounts has to be root."""
        if os.geteuid() != 0:
            raise SkipTest("only root may mount")
        self.fleet = Fleet({"state_dir": "yes"})
        self.addCleanup(self.fleet.close)
        self.fleet.module = ["tests.hasty_build"]
        self.is_mounted = False
        self.state = self.fleet.folder / "state-1"
        self.empty = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.fleet.start([1, 2])
        self.fleet.wait_for_ring(WITHIN_S)

    def mount(self) -> None:
        for arguments in (["--bind", str(self.empty), str(self.state)], ["-o", "remount,ro,bind", str(self.state)]):
            done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
            if done.returncode:
                raise SkipTest(f"nothing can be mounted here: {done.stderr.strip()}")
            if not self.is_mounted:
                self.is_mounted = True
                self.addCleanup(self.unmount)

    def unmount(self) -> None:
        if self.is_mounted:
            self.is_mounted = False
            subprocess.run(["umount", str(self.state)], check=True)

    def wait_for(self, what: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        self.fleet.wait_until(what, within_s)

    def health(self) -> str:
        shown = subprocess.run(
            [f"{BIN}/chordtwist", "status", "--json", "--api", f"{self.fleet.host(1)}:{API_PORT}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return str(json.loads(shown.stdout)["health"])

    def test_while_running(self) -> None:
        """The node goes on and stores; one line a minute says what is not kept, its health says so as well, and both
        are over when the disk takes files again.
        """
        began = time.monotonic()
        self.mount()
        self.fleet.start([3])
        self.fleet.wait_for_ring(WITHIN_S)
        line = f"not kept for the next start: {self.state}/peers.json: cannot be written: "
        self.wait_for(lambda: line in self.fleet.log(1))
        key, value = sha256(b"key").digest(), value_of(1, 500)
        client = self.fleet.client(1)
        client.put(key, value)
        self.wait_for(lambda: client.get(key) == value)
        self.wait_for(lambda: self.health().startswith(f"{self.state}/peers.json: cannot be written: "))
        self.assertLessEqual(self.fleet.log(1).count("not kept"), 1 + (time.monotonic() - began) // 60)
        self.assertNotIn("Traceback", self.fleet.log(1))
        self.unmount()
        self.fleet.kill([3])
        self.wait_for(lambda: self.health() == "well")
