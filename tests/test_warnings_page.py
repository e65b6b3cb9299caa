"""docs/operate.rst says of every warning and error what it means and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import chordtwist
from tests import CHECKOUT
from tests.test_health import ILL

ROOT = Path(chordtwist.__file__).parent
PAGE = CHECKOUT / "docs" / "operate.rst"

LEVELS = frozenset(("warn", "error", "critical"))
ALARM = "{alarm}"
"""Stands for each of the alarms."""


def formats_of(source: str) -> Iterator[str]:
    """The format of each warning and error in a module; `Refusals` is given its own, and has one by default."""
    for node in ast.walk(ast.parse(source)):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            found = node.args[:1] if "log" in ast.unparse(node.func.value) else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Refusals":
            found = node.args
        elif isinstance(node, ast.FunctionDef) and any(argument.arg == "line" for argument in node.args.args):
            found = node.args.defaults
        for value in found:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def missing(formats: Iterator[str], page: str) -> list[str]:
    """Those that no text in double backquotes, at the beginning of a term of the page, is an example of."""
    terms = [line for line in page.splitlines() if line.startswith("``")]
    shown = [text for line in terms for text in re.findall(r"``(.+?)``", line)]
    return [
        format
        for format in formats
        if format != ALARM and not any(re.fullmatch(_pattern(format), text) for text in shown)
    ]


def _pattern(format: str) -> str:
    return ".*".join(re.escape(part) for part in re.split(r"\{[^}]*\}", format))


class WarningsPageTests(SynchronousTestCase):
    """The page and the code."""

    def setUp(self) -> None:
        """The page."""
        self.page = PAGE.read_text()

    def test_complete(self) -> None:
        """No warning and no error lacks its paragraph."""
        formats = [format for path in sorted(ROOT.rglob("*.py")) for format in formats_of(path.read_text())]
        self.assertGreater(len(formats), 16)
        self.assertEqual([], missing(iter(formats), self.page))

    def test_alarms(self) -> None:
        """No alarm lacks its paragraph."""
        said = [re.sub(r"\d+", "{}", text) for _, _, text in ILL]
        self.assertEqual([], missing(iter(said), self.page))

    def test_reading(self) -> None:
        """A format is found however it is written, and one that nobody explains is missed."""
        source = 'self._log.warn("lost {peer}" " again", peer=1)\nlog.info("no")\n_log.error("x")\nRefusals(c, "y {z}")'
        self.assertEqual(["lost {peer} again", "x", "y {z}"], list(formats_of(source)))
        self.assertEqual(["x"], missing(formats_of(source), "``lost 10.0.0.1 again``, ``y 5``\n    Whatever.\n"))
