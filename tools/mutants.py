"""Mutants: change one thing in the rules, and see whether a test refuses it.

``python -m tools.mutants --count 100 --seed 1`` draws that many places of ``core/`` and ``node/ring/`` where a
comparison, a condition, a number or a call stands, changes one at a time in a copy of the tree, and runs the tests that
matter: those of its module first, then those that name it, then rings in the simulator, then all unit tests. One line a
mutant; those that no test refuses come last. ``--kept FILE`` keeps what became of each, and goes on from there. The
exit status is 1 when fewer than ``--at-least`` percent are refused, 2 when the tests fail without any change.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]

FOLDERS = ("chordtwist/core", "chordtwist/node/ring")

WITHIN_S = 400
"""A run of tests that takes longer has refused the mutant: it loops, or waits for ever."""

RINGS = (
    "tests.simulation.test_node",
    "tests.simulation.test_six_scenarios",
    "tests.simulation.test_repair",
    "tests.simulation.test_faults",
    "tests.simulation.test_inspection",
    "tests.simulation.test_conviction",
)

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}

OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """One change: the module as a path, the line, what stood there and what stands there now, and the new text."""

    path: str
    line: int
    was: str
    now: str
    source: str

    @property
    def module(self) -> str:
        return Path(self.path).stem

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.was} -> {self.now}"


def changed(node: ast.AST) -> ast.AST | None:
    """The node with one thing changed, None where it has nothing to change."""
    new = copy.deepcopy(node)
    if isinstance(new, ast.Compare) and len(new.ops) == 1 and type(new.ops[0]) in COMPARISONS:
        new.ops = [COMPARISONS[type(new.ops[0])]()]
    elif isinstance(new, ast.BoolOp):
        new.op = ast.Or() if isinstance(new.op, ast.And) else ast.And()
    elif isinstance(new, ast.UnaryOp) and isinstance(new.op, ast.Not):
        return new.operand
    elif isinstance(new, ast.BinOp) and type(new.op) in OPERATIONS and not _is_text(new):
        new.op = OPERATIONS[type(new.op)]()
    elif isinstance(new, ast.Constant) and isinstance(new.value, bool):
        new.value = not new.value
    elif isinstance(new, ast.Constant) and type(new.value) is int:
        new.value += 1
    elif isinstance(new, ast.Expr) and isinstance(new.value, ast.Call | ast.Await) and not _is_said(new):
        return ast.Pass()
    else:
        return None
    return new


def _is_text(node: ast.AST) -> bool:
    return any(isinstance(part, ast.JoinedStr) or isinstance(getattr(part, "value", 0), str) for part in ast.walk(node))


def _is_said(node: ast.AST) -> bool:
    """Whether a statement only tells people something."""
    return re.match(r"(self\.)?_?(log|note|raises)\b|self\._note|self\._log", ast.unparse(node)) is not None


@cache
def places(path: Path) -> list[int]:
    """The places of a module that can be changed, within functions: numbers of nodes in the order of `ast.walk`."""
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for statement in function.body for node in ast.walk(statement)}
    texts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    fit = inside - texts
    return [at for at, node in enumerate(ast.walk(tree)) if id(node) in fit and changed(node) is not None]


class _Change(ast.NodeTransformer):
    def __init__(self, target: ast.AST, new: ast.AST) -> None:
        self._target, self._new = target, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._target:
            return self._new
        return super().generic_visit(node)


def mutant(path: Path, number: int, root: Path = ROOT) -> Mutant:
    """Make the mutant of that place."""
    tree = ast.parse(path.read_text())
    target = list(ast.walk(tree))[number]
    new = changed(target)
    assert new is not None
    was, now = ast.unparse(target), ast.unparse(new)
    made = ast.fix_missing_locations(_Change(target, new).visit(tree))
    return Mutant(str(path.relative_to(root)), getattr(target, "lineno", 0), was, now, ast.unparse(made))


def drawn(count: int, seed: int) -> list[Mutant]:
    """Draw so many, no two of one place."""
    everywhere = [
        (path, number) for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py")) for number in places(path)
    ]
    rng = Random(seed)
    chosen = sorted(everywhere, key=lambda place: rng.random())[:count]
    return [mutant(path, number) for path, number in chosen]


def tests_of(made: Mutant) -> Iterator[tuple[str, list[str]]]:
    """The tests that matter, nearest first, and their name."""
    dotted = made.path.removesuffix(".py").replace("/", ".")
    units = {f"tests.{path.stem}": path for path in sorted((ROOT / "tests").glob("test_*.py"))}
    own = [name for name in units if name == f"tests.test_{made.module}"]
    others = [name for name, path in units.items() if name not in own and dotted in path.read_text()]
    yield "its tests", own
    yield "who names it", others
    yield "rings", list(RINGS)
    yield "a unit test", [name for name in units if name not in own and name not in others]


def refused_by(made: Mutant) -> str | None:
    """What refused a mutant: None when nothing did."""
    with tempfile.TemporaryDirectory() as name:
        copied = Path(name, "tree")
        shutil.copytree(ROOT, copied, ignore=shutil.ignore_patterns(".git", ".venv", "_trial_temp*", "__pycache__"))
        (copied / made.path).write_text(made.source)
        for stage, names in tests_of(made):
            if names and not _passes(names, copied):
                return stage
    return None


class Kept:
    """What became of each mutant, a line each: the stage that refused it, or nothing; a tab; which."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self._stages = {which: stage for stage, _, which in (line.partition("\t") for line in lines)}

    def refused_by(self, made: Mutant) -> str | None:
        """Run it, unless it is kept, and tell of it."""
        which = str(made)
        if which not in self._stages:
            stage = self._stages[which] = refused_by(made) or ""
            print(f"{'refused by ' + stage if stage else 'SURVIVED':<24} {which}", flush=True)
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(f"{stage}\t{which}\n")
        return self._stages[which] or None


def _passes(names: list[str], folder: Path) -> bool:
    command = [sys.executable, "-m", "twisted.trial", "-x", *names]
    environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    """Make them, and tell of each."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--at-least", type=int, default=85, metavar="PERCENT", help="of them have to be refused")
    parser.add_argument(
        "--kept", type=Path, help="what became of each, a line each; those that stand there are not run"
    )
    options = parser.parse_args()
    made = drawn(options.count, options.seed)
    kept = Kept(options.kept)
    if fault := refused_by(replace(made[0], source=(ROOT / made[0].path).read_text())):
        print(f"mutants: without any change {fault} fails")
        return 2
    with ThreadPoolExecutor(options.jobs) as pool:
        stages = list(pool.map(kept.refused_by, made))
    survivors = [one for one, stage in zip(made, stages, strict=True) if not stage]
    refused = len(made) - len(survivors)
    print(f"mutants: {refused} of {len(made)} refused; survivors:", *map(str, survivors), sep="\n  ")
    return 0 if made and 100 * refused >= options.at_least * len(made) else 1


if __name__ == "__main__":
    sys.exit(main())
