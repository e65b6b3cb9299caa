"""A node whose state directory becomes read-only while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from hashlib import sha256
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.wire.api_messages import ResultCode
from tests.fleet import Fleet


class ReadOnlyTests(SynchronousTestCase):
    """Three nodes; a read-only mount lies over the directory of the last."""

    def setUp(self) -> None:
        if os.geteuid():
            raise SkipTest("needs to mount")
        self.fleet = Fleet({"state_dir": True})
        self.addCleanup(self.fleet.close)
        self.fleet.start((1, 2, 3))
        self.fleet.wait_for_ring(60)
        self.state = self.fleet.folder / "state-3"
        self.mount("--bind", self.state, self.state)
        self.addCleanup(lambda: subprocess.run(["umount", "--lazy", str(self.state)], check=True))
        self.mount("-o", "remount,bind,ro", self.state)

    def mount(self, *arguments: object) -> None:
        mounted = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
        if mounted.returncode:
            raise SkipTest(f"cannot mount here: {mounted.stderr.strip()}")

    def test_it_comes_back_to_its_ring(self) -> None:
        """After the others have dropped it, it is a member again without writing anything, keeps what is put, and
        its log stays short.
        """
        self.assertRaises(OSError, (self.state / "new").touch)
        process = self.fleet.processes.pop(3)
        process.send_signal(signal.SIGSTOP)
        self.fleet.wait_for_ring(60)  # of the other two
        process.send_signal(signal.SIGCONT)
        self.fleet.processes[3] = process
        self.fleet.wait_for_ring(60)
        client = self.fleet.client(3)
        self.addCleanup(client.close)
        key = sha256(b"read-only").digest()
        self.assertIs(client.put_confirmed(key, b"value").code, ResultCode.DONE)
        self.assertEqual(client.get(key), b"value")
        time.sleep(2)
        log = self.fleet.log(3)
        self.assertNotIn("Traceback", log)
        self.assertLessEqual(log.count("\n"), 20, log)
