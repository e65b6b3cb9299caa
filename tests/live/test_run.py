"""``chordtwist run`` as a process: with and without a file, and what stands over it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import free_port

ROOT = Path(__file__).parents[2]
PROGRAM = "from chordtwist.app.cli import main; main()"


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two free addresses, and an empty folder."""
        self.p2p, self.api = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def ran(self, *words: str, **environment: str) -> tuple[int, str]:
        """Start a node, end it with Ctrl-C when it is a member: its status and its log."""
        command = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "run", *words],
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        )
        assert command.stderr is not None
        said = ""
        for line in command.stderr:
            said += line
            if "member of the ring" in line:
                command.send_signal(signal.SIGINT)
        command.stderr.close()
        return command.wait(60), said

    def test_without_file(self) -> None:
        """Without a file it runs with the defaults and what was set, and says so."""
        status, said = self.ran("--set", f"dht.p2p_address={self.p2p}", "--set", f"dht.api_address={self.api}")
        self.assertEqual(0, status, said)
        self.assertIn("no file: every option has its default", said)
        self.assertIn(self.api, said)

    def test_file_and_environment(self) -> None:
        """A file may stand without an option; the environment stands over it, and the command line over both."""
        file = self.folder / "node.ini"
        file.write_text("[dht]\np2p_address = 127.0.0.1:1\napi_address = 127.0.0.1:1\nnetwork = lab\n")
        over = {"CHORDTWIST_DHT_P2P_ADDRESS": self.p2p, "CHORDTWIST_DHT_API_ADDRESS": "127.0.0.1:2"}
        status, said = self.ran("node.ini", "--set", f"dht.api_address={self.api}", **over)
        self.assertEqual(0, status, said)
        self.assertIn(self.p2p, said)
        self.assertNotIn("no file", said)

    def test_bad_usage(self) -> None:
        """What cannot be used ends it with status 2 and one line."""
        for words, told in (
            (["--set", "dht.replicaton=3"], "did you mean dht.replication?"),
            (["a.ini", "-c", "b.ini"], "choose one"),
            (["missing.ini"], "missing.ini: cannot be read: No such file or directory"),
        ):
            status, said = self.ran(*words)
            self.assertEqual(2, status)
            self.assertIn(told, said)

    def test_no_address_of_this_machine(self) -> None:
        """An address that is not this machine's is told what to do about it."""
        status, said = self.ran("--set", "dht.p2p_address=192.0.2.7:6401", "--set", f"dht.api_address={self.api}")
        self.assertEqual(1, status)
        self.assertIn("no address of this machine", said)
