"""What the documents say to type with curl, and the examples in other languages, against a ring of three."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests import CHECKOUT
from tests.fleet import BIN

WITHIN_S = 120.0
TOKEN = "a token of sixteen bytes or more".replace(" ", "-")


def blocks(page: str) -> Iterator[str]:
    """The literal blocks of a page, whatever their language."""
    for match in re.finditer(r"(?:^ *\.\. code-block:: sh|::)\n\n((?:[ ]{3,}.*\n|\n)+)", page, re.M):
        yield textwrap.dedent(match[1]).strip()


class RingCase(SynchronousTestCase):
    """Nodes of one ring, each a process with an address of its own."""

    def setUp(self) -> None:
        """Have the first one started, with its door for HTTP."""
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.prefix = f"127.{random.randrange(1, 255)}.{random.randrange(255)}."
        self.start(1, **{"web.address": f"{self.prefix}1:8401"})

    def start(self, number: int, **settings: str) -> None:
        """Start a node, which joins the first one, and wait until it is a member."""
        here, first = f"{self.prefix}{number}", f"{self.prefix}1:6401"
        settings |= {"dht.p2p_address": f"{here}:6401", "dht.api_address": f"{here}:7401", "dht.bootstrap_node": first}
        words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        log = self.enterContext((self.folder / f"{number}.log").open("wb"))
        process = subprocess.Popen([str(BIN / "chordtwist"), "run", *words], stderr=log, cwd=self.folder)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        self.run_line(f"{BIN}/chordtwist status --wait 60 --timeout 60 --api {here}:7401")

    def run_line(self, line: str, status: int = 0) -> str:
        """Run a line in a shell; what it prints."""
        ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=self.folder, timeout=WITHIN_S)
        self.assertEqual(status, ran.returncode, f"{line}: {ran.stdout}{ran.stderr}")
        return ran.stdout

    def lines_of(self, page: str) -> list[str]:
        """Every curl line of a page, with the addresses of this ring."""
        lines = "\n".join(blocks((CHECKOUT / "docs" / page).read_text())).splitlines()
        return [line.replace("127.0.0.1:", f"{self.prefix}1:") for line in lines if line.startswith("curl ")]


class CurlTests(RingCase):
    """docs/use.rst and docs/operate.rst."""

    def setUp(self) -> None:
        """Have curl."""
        if shutil.which("curl") is None:
            raise SkipTest("there is no curl here")
        super().setUp()

    def test_keys(self) -> None:
        """A value is put, for three copies, read and deleted; the stream of a key begins with what is there."""
        put, get, delete, watch = self.lines_of("use.rst")
        for number in 2, 3:
            self.start(number)
        self.assertIn('"wanted":3', self.run_line(put.replace("curl", "curl -f")))
        self.assertEqual("good morning", self.run_line(get))
        # It goes on for ever: 28 is what curl ends with when its time is over.
        self.assertIn("event: value", self.run_line(watch.replace("curl", "curl --max-time 2"), status=28))
        self.run_line(delete.replace("curl", "curl -f"))
        self.run_line(get.replace("curl", "curl -f"), status=22)

    def test_operating(self) -> None:
        """A probe is answered; beyond loopback the token opens what is closed without it."""
        ready, status = self.lines_of("operate.rst")
        self.run_line(ready)
        here = f"{self.prefix}9"
        self.run_line(f"{BIN}/chordtwist certify authority && {BIN}/chordtwist certify node {here}")
        (self.folder / "web.token").write_text(TOKEN)
        self.start(
            9,
            **{
                "web.address": f"{here}:8401",
                "web.beyond_loopback": "yes",
                "web.certificate": f"authority/{here}.pem",
                "web.key": f"authority/{here}.key",
                "web.token": "web.token",
            },
        )
        for old, new in (
            ("/etc/chordtwist/web.token", "web.token"),
            ("https://node.example:8401", f"https://{here}:8401"),
            ("curl", "curl -f --cacert authority/authority.pem"),
        ):
            self.assertIn(old, status)
            status = status.replace(old, new)
        self.assertIn('"member":true', self.run_line(status).replace(" ", ""))
        self.run_line(status.replace("web.token", "/dev/null"), status=22)


class LanguageTests(RingCase):
    """examples/client.*, each where its language is at hand."""

    def test_go(self) -> None:
        """Go."""
        self.check_prints("go", "go run {}/client.go {}")

    def test_rust(self) -> None:
        """Rust."""
        self.check_prints("rustc", "rustc --edition 2021 -D warnings -o client {}/client.rs && ./client {}")

    def test_javascript(self) -> None:
        """JavaScript."""
        self.check_prints("node", "node {}/client.mjs {}")

    def check_prints(self, program: str, line: str) -> None:
        if shutil.which(program) is None:
            raise SkipTest(f"there is no {program} here")
        examples = CHECKOUT / "examples"
        self.assertEqual("good morning\n", self.run_line(line.format(examples, f"{self.prefix}1:7401")))
