"""The lines of the cheat sheet, as somebody types them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import free_port

ROOT = Path(__file__).parents[2]
LINE_WITHIN_S = 120
"""On any machine that is not stuck."""


class CheatsTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Each line does what it is there for: it ends with status 0, and complains of nothing."""
        page = (ROOT / "docs" / "cheats.rst").read_text()
        first, *lines = [line.strip() for line in page.splitlines() if line.startswith("    ")]
        self.assertGreaterEqual(len(lines), 20)
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        command = folder / "chordtwist"
        command.write_text(f"#!{sys.executable}\nfrom chordtwist.app.cli import main\nmain()\n")
        command.chmod(0o700)
        api = f"127.0.0.1:{free_port()}"
        here = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CHORDTWIST_API": api,
            "CHORDTWIST_DHT_API_ADDRESS": api,
            "CHORDTWIST_DHT_P2P_ADDRESS": f"127.0.0.1:{free_port()}",
        }
        node = subprocess.Popen(first.split(), cwd=folder, env=here, stderr=subprocess.PIPE, text=True)
        self.addCleanup(node.wait)
        self.addCleanup(node.kill)
        for line in lines:
            ran = subprocess.run(
                ["bash", "-c", line], cwd=folder, env=here, capture_output=True, text=True, timeout=LINE_WITHIN_S
            )
            self.assertEqual((0, ""), (ran.returncode, ran.stderr), f"{line}: {ran.stdout}")
        _, log = node.communicate(timeout=LINE_WITHIN_S)
        self.assertEqual(0, node.returncode, log)
