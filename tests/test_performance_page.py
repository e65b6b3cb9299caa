"""The page about performance shows what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks._versus_shown import plot, tables

DOCS = Path(__file__).parents[1] / "docs"


class PerformancePageTests(SynchronousTestCase):
    """docs/performance.rst and its parts."""

    def test_made_of_measurements(self) -> None:
        """Tables and picture are what ``benchmarks.versus`` makes of the figures beside them."""
        results = [json.loads(line) for line in (DOCS / "versus.jsonl").read_text().splitlines()]
        self.assertEqual((DOCS / "versus.txt").read_text(), tables(results) + "\n")
        self.assertEqual((DOCS / "versus.svg").read_text(), plot(results))
