"""The tool that runs the model checkers: what it asks them, and what it makes of their words. No checker runs here."""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.model import (
    FORMAL,
    TLC,
    Case,
    Found,
    NotRun,
    as_expected,
    check,
    fetched,
    parse_alloy,
    parse_tlc,
    read_cases,
)

HOLDS = """\
Progress(9) at 2026-11-29 07:01:21: 7,002 states generated, 550 distinct states found, 196 states left on queue.
Model checking completed. No error has been found.
186882 states generated, 8646 distinct states found, 0 states left on queue.
The depth of the complete state graph search is 33.
"""

VIOLATED = """\
Error: Invariant SufficientPrincipals is violated.
Error: The behavior up to this point is:
State 1: <Initial predicate>
/\\ member = {0, 1, 2, 3}
State 2: <End line 300, col 5 to line 310, col 30 of module Ring>
/\\ member = {1, 2, 3}
State 3: <Drop line 280, col 5 to line 287, col 63 of module Ring>
/\\ member = {1, 2, 3}
27 states generated, 15 distinct states found, 12 states left on queue.
The depth of the complete state graph search is 3.
"""

NEVER = """\
Error: Temporal properties were violated.
12390 states generated, 1330 distinct states found, 0 states left on queue.
"""

UNREADABLE = """\
***Parse Error***

  Precedence conflict between ops
Error: Parsing or semantic analysis failed.
"""


class ParseTests(SynchronousTestCase):
    """What the checker says is read for what it means."""

    def test_holds(self) -> None:
        """A completed search is told with its distinct states and its depth."""
        self.assertEqual(parse_tlc(HOLDS), Found("holds", 8646, 33))

    def test_violated(self) -> None:
        """A violation is told by the invariant's name, with the actions that lead there."""
        self.assertEqual(parse_tlc(VIOLATED), Found("SufficientPrincipals", 15, 3, ("End", "Drop")))

    def test_action_property(self) -> None:
        """A step that must not be is told by the property's name as well."""
        said = VIOLATED.replace("Invariant SufficientPrincipals", "Action property LateWordsAreHarmless")
        self.assertEqual(parse_tlc(said).outcome, "LateWordsAreHarmless")

    def test_temporal_property(self) -> None:
        """A temporal property that fails has no name in the output."""
        self.assertEqual(parse_tlc(NEVER), Found("a temporal property", 1330, 0))

    def test_anything_else_is_an_error(self) -> None:
        """A specification that cannot be read, a search cut short, or silence never counts as success."""
        for said in (UNREADABLE, HOLDS.replace("completed", "interrupted"), "", "Error: not done within 5 s"):
            self.assertTrue(parse_tlc(said).outcome.startswith("error: "), said)


class AlloyTests(SynchronousTestCase):
    """Alloy's answers are laid beside what its model expects."""

    def test_every_command_is_answered(self) -> None:
        """An answer counts for the command of its name; a command without one has none."""
        model = (
            "check Join2 for exactly 7 Node expect 0\n"
            "check Worse for 7 expect 1\n"
            "run Some { some Node } for 7 expect 1\n"
        )
        said = "00. check Join2                    0       UNSAT\n01. check Worse       0    1/1     SAT\n"
        self.assertEqual(
            parse_alloy(said, model),
            [
                ("check Join2 for exactly 7 Node", "nothing", "nothing"),
                ("check Worse for 7", "an instance", "an instance"),
                ("run Some for 7", "an instance", "no answer"),
            ],
        )

    def test_every_command_says_what_it_expects(self) -> None:
        """No command of our model is passed over, for want of an expectation or by its layout."""
        model = (FORMAL / "Ring.als").read_text()
        commands = re.findall(r"^(?:check|run)\b", model, re.M)
        self.assertEqual(len(parse_alloy("", model)), len(commands))


class ExpectationTests(SynchronousTestCase):
    """A case is good only when it finds exactly what it is to find."""

    def judge(self, expect: str, found: str, properties: tuple[str, ...] = ()) -> bool:
        """Whether `found` is good."""
        return as_expected(Case("a case", "Ring", expect=expect, properties=properties), Found(found))

    def test_only_what_is_expected_is_good(self) -> None:
        """A counter-example that is not found fails its case, and so does another one."""
        self.assertTrue(self.judge("holds", "holds"))
        self.assertTrue(self.judge("OneLiveSuccessor", "OneLiveSuccessor"))
        self.assertTrue(self.judge("Converges", "a temporal property", ("Converges",)))
        self.assertFalse(self.judge("OneLiveSuccessor", "holds"))
        self.assertFalse(self.judge("OneLiveSuccessor", "WellFormed"))
        self.assertFalse(self.judge("holds", "a temporal property", ("Converges",)))
        self.assertFalse(self.judge("holds", "error: TLC ended early"))

    def test_failed_cases_are_counted(self) -> None:
        """The answer counts all cases, and those that found another thing, each with a line."""
        cases = [Case("one", "Ring"), Case("two", "Ring", expect="OneLiveSuccessor")]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            counted = check(cases, lambda case: Found("holds", 7, 3), False)
        self.assertEqual(counted, (2, 1))
        self.assertIn("holds, not OneLiveSuccessor", printed.getvalue())


class CasesTests(SynchronousTestCase):
    """``formal/cases.toml`` asks for all there is."""

    def setUp(self) -> None:
        """All cases."""
        self.cases = read_cases()

    def test_names_are_different(self) -> None:
        """Each case can be told by its name."""
        self.assertEqual(len({case.name for case in self.cases}), len(self.cases))

    def test_every_broken_rule_is_asked_for(self) -> None:
        """Each rule that a specification can leave out has a case that expects a counter-example, and no case names a
        rule that there is not."""
        for module in {case.module for case in self.cases}:
            text = (FORMAL / f"{module}.tla").read_text()
            offered = set(re.findall(r'Broken [=#] "([^"]+)"', text)) - {"nothing"}
            asked = {
                dict(case.constants).get("Broken", '"nothing"')[1:-1] for case in self.cases if case.module == module
            }
            self.assertEqual(asked - {"nothing"}, offered, module)

    def test_broken_rules_are_expected_to_fail(self) -> None:
        """A case that leaves a rule out and expects that all holds would say that the rule is not needed."""
        for case in self.cases:
            if dict(case.constants).get("Broken", '"nothing"') != '"nothing"':
                self.assertNotEqual(case.expect, "holds", case.name)

    def test_expected_violations_are_checked_for(self) -> None:
        """What a case expects to be violated is among what it has checked."""
        for case in self.cases:
            if case.expect != "holds":
                self.assertIn(case.expect, case.invariants + case.properties, case.name)

    def test_defaults_are_completed_by_the_case(self) -> None:
        """A case's own constants replace those of its module, one by one."""
        case = next(case for case in self.cases if case.name == "plain copy")
        lines = case.configuration.splitlines()
        self.assertIn('CONSTANT Rule = "plain"', lines)
        self.assertIn("CONSTANT Places = 5", lines)
        self.assertIn("INVARIANT OneLiveSuccessor", lines)


class FetchedTests(SynchronousTestCase):
    """The checkers are run only as the very bytes that were looked at when they were chosen."""

    def test_other_bytes_are_refused(self) -> None:
        """A jar in the cache with another SHA-256 is not run."""
        cache = Path(self.mktemp())
        (cache / "chordtwist").mkdir(parents=True)
        (cache / "chordtwist" / TLC.name).write_bytes(b"another program")
        self.patch(os, "environ", {"XDG_CACHE_HOME": str(cache)})
        error = self.assertRaises(NotRun, fetched, TLC)
        self.assertIn("SHA-256", str(error))
