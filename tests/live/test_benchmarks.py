"""Benchmarks and tools: each runs, here with the smallest numbers, and tells its options."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import benchmarks
import tools
from benchmarks.page import CHROMIUM

ROOT = Path(__file__).parents[2]

SMALLEST = {
    "api": "--nodes 4 --clients 2 --seconds 0.3 --elsewhere --turns",
    "limits": "--seconds 0.1 --rounds 2",
    "links": "--seconds 0.2 --rounds 2",
    "page": "--nodes 6 --minutes 0.2",
    "ratios": "disk --nodes 1 --clients 2 --seconds 0.2 --rounds 2 --warm-s 0.2",
    "repair": "--nodes 8 --replication 2 --records 20",
    "ring": "--nodes 3 --idle 0.2 --rounds 2",
    "store": "--seconds 0.1 --value-bytes 64 --in-flight 8 --folder /tmp",
    "versus": "--systems chordtwist --nodes 2 --passes 1 --seconds 0.2 --idle 0.2",
}
"""What each benchmark is told to do."""

RIGHT = {
    "api": "right",
    "links": "questions_per_s",
    "page": "updates",
    "ratios": "right",
    "repair": "ratio",
    "ring": "correct",
    "versus": "warm_get_32_right",
}
"""The figure of each that is neither 0 nor missing where something was measured, and right; else ``per_s``."""


def begun(*words: str) -> subprocess.Popen[str]:
    """A process of its own: each has a reactor, and ports."""
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


class BenchmarksTests(SynchronousTestCase):
    """What is run by hand."""

    def test_each_runs(self) -> None:
        """Every benchmark prints JSON objects, and what it measured was right."""
        self.assertEqual(SMALLEST.keys(), tools.purposes(benchmarks).keys())
        for name, words in SMALLEST.items():
            if name == "page" and (CHROMIUM is None or find_spec("playwright") is None):
                continue  # make web
            with begun(f"benchmarks.{name}", *words.split()) as process:
                said, complained = process.communicate()
            self.assertEqual(process.returncode, 0, f"{name}: {said}{complained}")
            lines = [json.loads(line) for line in said.splitlines()]
            self.assertTrue(any(line.get(RIGHT.get(name, "per_s")) for line in lines), f"{name}: {said}{complained}")

    def test_help(self) -> None:
        """All of them, and the tools, tell their options."""
        names = [f"{package.__name__}.{name}" for package in (benchmarks, tools) for name in tools.purposes(package)]
        for name, process in [(name, begun(name, "--help")) for name in names]:
            with process:
                said, complained = process.communicate()
            self.assertEqual(process.returncode, 0, complained)
            self.assertIn("options:", said, name)
