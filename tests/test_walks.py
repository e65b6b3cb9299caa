"""docs/walks.rst: each file and function that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import chordtwist
from tests import CHECKOUT

PACKAGE = Path(chordtwist.__file__).parent
PAGE = CHECKOUT / "docs" / "walks.rst"

HOP = re.compile(r"``([\w/]+\.py):\s+([\w.]+)``")


def names_in(path: Path) -> set[str]:
    """The functions, classes and methods of a module, dotted."""
    found = set()
    for top in ast.parse(path.read_text()).body:
        if isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(top.name)
        if isinstance(top, ast.ClassDef):
            inner = [one for one in top.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{top.name}.{one.name}" for one in inner}
    return found


class WalksTests(SynchronousTestCase):
    """The page, read as text."""

    def setUp(self) -> None:
        """Find the page."""
        self.page = PAGE.read_text()

    def test_names(self) -> None:
        """Every function is where the page says, and every line of a walk names one."""
        hops = HOP.findall(self.page)
        self.assertEqual(
            [],
            [
                (file, name)
                for file, name in hops
                if not (PACKAGE / file).exists() or name not in names_in(PACKAGE / file)
            ],
        )
        lines = re.findall(r"^ *- (.*)$", self.page, re.M)
        self.assertGreater(len(lines), 60)
        self.assertEqual([], [line for line in lines if not HOP.match(line)])
