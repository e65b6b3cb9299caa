"""The tool that makes mutants: what it changes, and that it changes one thing only. No tests are run on them here."""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tools.mutants import ROOT, changed, drawn, places, tests_of


class MutantTests(SynchronousTestCase):
    """One change each."""

    if not (ROOT / "chordtwist").exists():
        skip = "the installed wheel is under test, which the tool does not change"

    def test_changes(self) -> None:
        """A comparison, a condition, a number or a call is changed; what people are told is not."""
        for was, now in (
            ("a < b", "a <= b"),
            ("a not in b", "a in b"),
            ("a and b", "a or b"),
            ("not a", "a"),
            ("a + 1", "a - 1"),
            ("7", "8"),
            ("True", "False"),
            ("a < b < c", None),
            ("'text' + a", None),
            ("a", None),
        ):
            node = changed(ast.parse(was, mode="eval").body)
            self.assertEqual(None if node is None else ast.unparse(node), now, was)
        for was, now in (("self.drop(peer)", "pass"), ("self._log.info('it left')", None), ("self._note('x')", None)):
            node = changed(ast.parse(was).body[0])
            self.assertEqual(None if node is None else ast.unparse(node), now, was)

    def test_one_thing(self) -> None:
        """Each mutant differs from its module in one place, can be compiled, and has tests that matter."""
        for made in drawn(6, seed=7):
            before = ast.unparse(ast.parse((ROOT / made.path).read_text())).splitlines()
            after = made.source.splitlines()
            self.assertEqual(len(before), len(after))
            self.assertGreaterEqual(sum(one != other for one, other in zip(before, after, strict=True)), 1)
            compile(made.source, made.path, "exec")
            self.assertTrue(any(names for _, names in tests_of(made)))

    def test_drawn(self) -> None:
        """The same seed draws the same; another one others."""
        self.assertEqual(drawn(2, 1), drawn(2, 1))
        self.assertNotEqual(drawn(2, 1), drawn(2, 2))

    def test_within_functions(self) -> None:
        """What stands outside of functions, such as the limits at the head of a module, is left alone."""
        path = ROOT / "chordtwist/core/ring.py"
        nodes = list(ast.walk(ast.parse(path.read_text())))
        lines = [getattr(nodes[number], "lineno", 0) for number in places(path)]
        first = min(node.lineno for node in nodes if isinstance(node, ast.FunctionDef))
        self.assertGreater(min(lines), first)
