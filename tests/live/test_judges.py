"""The HTTP door, the metrics and their rules, as programs of others judge them; ``make web`` gets those."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest import SkipTest
from urllib.request import Request, urlopen

from twisted.trial.unittest import SynchronousTestCase

from tests import CHECKOUT, SOAK
from tests.fleet import BIN, free_port
from tests.web_client import need

PROMETHEUS = CHECKOUT / "etc" / "prometheus"


class JudgeCase(SynchronousTestCase):
    """One node, with its web side, and somebody who judges."""

    def start(self) -> str:
        """Start a node; where its web side is."""
        ports = {"web.address": free_port(), "dht.api_address": free_port(), "dht.p2p_address": free_port()}
        words = [word for name, port in ports.items() for word in ("--set", f"{name}=127.0.0.1:{port}")]
        command = [str(BIN / "chordtwist"), "run", *words]
        process = subprocess.Popen(command, cwd=self.mktemp_folder(), stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        api = f"127.0.0.1:{ports['dht.api_address']}"
        self.judge(str(BIN / "chordtwist"), "status", "--wait", "60", "--timeout", "60", "--api", api)
        return f"http://127.0.0.1:{ports['web.address']}"

    def mktemp_folder(self) -> Path:
        """A folder that goes with the test."""
        return Path(self.enterContext(tempfile.TemporaryDirectory()))

    def judge(self, *words: str, told: bytes = b"") -> str:
        """Run a program that has to be content; what it says."""
        ran = subprocess.run(words, input=told, capture_output=True, cwd=self.mktemp_folder())
        said = (ran.stdout + ran.stderr).decode()
        self.assertEqual(0, ran.returncode, said)
        return said


class SchemathesisTests(JudgeCase):
    """The door, asked for everything that its OpenAPI file allows, and for what it does not."""

    def test_door(self) -> None:
        """Every answer is one that the file has; nothing is a fault of ours, and what is read is what was written."""
        need("schemathesis", "web")
        config = CHECKOUT / "tests" / "schemathesis.toml"
        said = self.judge(
            str(BIN / "schemathesis"),
            f"--config-file={config}",
            "run",
            f"{self.start()}/v1/openapi.json",
            f"--max-examples={20 * SOAK}",
            "--generation-deterministic" if "CI" in os.environ else "--generation-database=none",
        )
        self.assertIn("Tested: 3", said)
        self.assertIn("No issues found", said)


class PromtoolTests(JudgeCase):
    """Prometheus' own tool, of Debian's package."""

    def setUp(self) -> None:
        """Find it."""
        found = shutil.which("promtool", path=f"{BIN}:{os.environ['PATH']}")
        if found is None:
            raise SkipTest("there is no promtool here: make web")
        self.promtool = found

    def test_metrics(self) -> None:
        """It takes the metrics of a node that has been at work, and has nothing to say about their names or words."""
        at = self.start()
        urlopen(Request(f"{at}/v1/keys/greeting", b"good morning", method="PUT")).close()
        with urlopen(f"{at}/metrics") as reply:
            metrics = reply.read()
        self.assertEqual("", self.judge(self.promtool, "check", "metrics", told=metrics))
        refused = subprocess.run(
            [self.promtool, "check", "metrics"], input=metrics + metrics, capture_output=True, check=False
        )
        self.assertNotEqual(0, refused.returncode, "whatever it is told, it takes")

    def test_rules(self) -> None:
        """It takes the rules, and both examples of a configuration with the rules beside them."""
        folder = self.mktemp_folder()
        for path in (*PROMETHEUS.iterdir(), CHECKOUT / "etc" / "container" / "prometheus.yaml"):
            # Of the containers' network there is none here.
            text = path.read_text().replace("/network/", f"{folder}/")
            (folder / path.name).write_text(text)
        for name in "authority.pem", "web.token":
            (folder / name).touch()
        said = self.judge(self.promtool, "check", "rules", str(folder / "chordtwist.rules.yml"))
        self.assertRegex(said, r"SUCCESS: [1-9]\d* rules found")
        for name in "prometheus.yml", "prometheus.yaml":
            self.judge(self.promtool, "check", "config", str(folder / name))
