"""Check traces of running rings by the model: ``formal/Traced.tla`` says of each whether the rules allow what was done.

``python -m tools.traces FILE...`` takes what ``chordtwist simulate --trace`` and ``chordtwist testnet --trace`` wrote;
``--simulate 10`` makes traces of mixed faults with as many seeds. Every trace is to be accepted; with ``--falsify`` one
value of each is changed before, and each is to be refused. The exit status is 1 when one was not, and 3 when nothing
could be checked here: it needs Java and Maven, as ``tools.model``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from ipaddress import ip_address
from multiprocessing import get_context
from pathlib import Path
from random import Random
from time import sleep
from typing import Any
from urllib.request import Request, urlopen

from chordtwist.node.ring.ring_trace import Step
from chordtwist.simulation.run import Options
from chordtwist.simulation.sweep import play, set_up
from tools.model import CASE_WITHIN_S, FORMAL, HEAP, NOT_RUN, TLC, NotRun, fetched

LATE_MS = 15_000
"""A table may be so old when it is used: an answer takes up to 3 s, and a node may stand still on the way."""


def read(path: Path) -> list[Step]:
    """The steps of a file, in the order of their times."""
    steps = sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda step: step["at_ms"])
    return [{**step, "at_ms": step["at_ms"] - steps[0]["at_ms"]} for step in steps]


def simulated(seed: int, nodes: int = 12, successors: int = 3, minutes: float = 0.6) -> list[Step]:
    """The steps of a simulated ring with mixed faults."""
    set_up()
    steps: list[Step] = []
    options = Options(nodes, seed, minutes, "mixed", lookups=0, records=0, successors=successors, replication=2)
    run = play(options, trace=steps.append)
    problems = run.problems()
    if problems:
        raise SystemExit(f"{options.command()}: {problems[0]}")
    return steps


def lived(nodes: int, folder: Path, successors: int = 8, kills: int = 4, first: str = "127.66.0.1") -> Path:
    """The trace of a testnet here, of which some nodes are killed, one leaves, and two come."""
    config, path = folder / "node.ini", folder / "trace.jsonl"
    config.write_text(f"[dht]\nsuccessors = {successors}\nreplication = 3\n[log]\nlevel = warn\n")
    command = [
        sys.executable,
        "-c",
        "from chordtwist.app.cli import main; main()",
        "testnet",
        str(nodes),
        "--first",
        first,
        "-c",
        str(config),
    ]
    process = subprocess.Popen([*command, "--trace", str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        print(process.stdout.readline().strip(), flush=True)
        base = f"http://{first}:{6401 + 2000}/nodes"

        def order(verb: str, node: str = "") -> None:
            body = json.dumps({"do": verb}).encode()
            urlopen(Request(base + node, body, {"Content-Type": "application/json"}), timeout=10).read()
            sleep(3)

        own = str(ip_address(first) + 1)
        for number in range(kills):
            order("kill", f"/{ip_address(first) + 3 + 2 * number}:6401/")
        order("leave", f"/{own}:6401/")
        for _ in range(2):
            order("add")
        sleep(10)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    return path


def falsified(steps: Sequence[Step], rng: Random) -> tuple[list[Step], int]:
    """The same with one value changed to what no rule can have made of it, and the number of that step.

    A member loses sight of a successor, not its last, or takes another predecessor, and the one before still lives.
    """
    fitting: list[tuple[int, str, object]] = []
    member_since: dict[str, int] = {}
    before: dict[str, Step] = {}
    for number, step in enumerate(steps):
        node = step["node"]
        if step["action"] in ("end", "out"):
            member_since.pop(node, None)
            before.pop(node, None)
        if step["action"] == "live":
            member_since[node] = step["at_ms"]
        if step["action"] == "changed":
            was = before[node]
            settled = {peer for peer, at in member_since.items() if step["at_ms"] - at > LATE_MS} - {*step["gone"]}
            kept = [peer for peer in was["successors"] if peer in step["successors"]]
            for peer in settled.intersection(kept[:-1]):
                rest = [other for other in step["successors"] if other != peer]
                fitting.append((number, "successors", rest))
            if was["predecessor"] in settled and len(kept) > 1 and kept[0] != was["predecessor"]:
                fitting.append((number, "predecessor", kept[0]))  # who stands behind it, farthest from before
        if step["action"] in ("live", "changed"):
            before[node] = step
    if not fitting:
        raise ValueError("no step has a value to falsify")
    number, name, value = sorted(fitting, key=str)[int(rng.random() * len(fitting))]
    return [{**step, name: value} if at == number else step for at, step in enumerate(steps)], number


def as_tla(steps: Sequence[Step], places: dict[str, int], nobody: int) -> str:
    """One trace as a sequence of records."""

    def names(peers: Any) -> str:
        return "{" + ", ".join(str(places[peer]) for peer in peers) + "}"

    records = []
    for step in steps:
        fields = [f"at |-> {step['at_ms']}", f"node |-> {places[str(step['node'])]}", f'action |-> "{step["action"]}"']
        if "successors" in step:
            before = step["predecessor"]
            fields.append(f"pred |-> {nobody if before is None else places[str(before)]}")
            fields.append(f"succ |-> {names(step['successors'])}")
            fields.append(f"whole |-> {str(step['whole']).upper()}")
            fields.append(f"gone |-> {names(step['gone'])}")
        records.append(f"[{', '.join(fields)}]")
    return "<<" + ",\n  ".join(records) + ">>"


def places_of(steps: Sequence[Step]) -> dict[str, int]:
    """A place for each node of a trace, in the order of their ids."""
    ids = {str(step["node"]): str(step["id"]) for step in steps if step["action"] == "start"}
    return {node: place for place, node in enumerate(sorted(ids, key=ids.__getitem__))}


def check(traces: Sequence[Sequence[Step]], successors: int, misjudges: bool, jar: Path) -> list[int | None]:
    """For each trace the number of the step that is refused, None where all are allowed."""
    refused: dict[int, int] = {}
    left = list(range(len(traces)))
    while left:
        said = _run([traces[index] for index in left], successors, misjudges, jar)
        if "Model checking completed. No error has been found." in said:
            break
        found = re.findall(r"^/\\ (trace|line) = (\d+)$", said, re.M)
        if "Error: Deadlock reached." not in said or len(found) < 2:
            raise SystemExit(f"TLC ended early:\n{said[:3000]}")
        last = dict(found[-2:])
        index = left[int(last["trace"]) - 1]
        refused[index] = int(last["line"]) - 1
        left.remove(index)
    return [refused.get(index) for index in range(len(traces))]


def _run(traces: Sequence[Sequence[Step]], successors: int, misjudges: bool, jar: Path) -> str:
    places = [places_of(steps) for steps in traces]
    most = max(map(len, places))
    given = [as_tla(steps, named, most) for steps, named in zip(traces, places, strict=True)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for module in ("Circle", "Traced"):
            shutil.copy(FORMAL / f"{module}.tla", folder)
        body = ",\n".join(given)
        (folder / "Given.tla").write_text(
            f"---- MODULE Given ----\nEXTENDS Integers, Sequences\nGiven == <<{body}>>\n====\n"
        )
        (folder / "case.cfg").write_text(
            f"SPECIFICATION Spec\nCONSTANT Places = {most}\nCONSTANT R = {successors}\nCONSTANT LateMs = {LATE_MS}\n"
            f"CONSTANT Misjudges = {str(misjudges).upper()}\n"
        )
        java = ["nice", "-n", "19", "java", HEAP, "-Xss64m", "-XX:+UseParallelGC", "-XX:ParallelGCThreads=1"]
        tlc = ["-cp", str(jar), "tlc2.TLC", "-workers", "1", "-nowarning", "-config", "case.cfg"]
        command = [*java, *tlc, "-metadir", str(folder / "states"), "Traced"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=CASE_WITHIN_S)
        return done.stdout + done.stderr


def main() -> int:
    """Check all that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tools.traces", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="traces that were written")
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="make N traces of mixed faults")
    parser.add_argument("--testnet", type=int, metavar="N", help="run a ring of N nodes here, and kill some")
    parser.add_argument("--seed", type=int, default=0, help="the first seed of these")
    parser.add_argument("--successors", type=int, default=3, help="the length of lists, r, in the files")
    parser.add_argument("--misjudges", action="store_true", help="a live node may have been judged dead in the files")
    parser.add_argument("--falsify", action="store_true", help="change one value of each, which is to be refused")
    options = parser.parse_args()
    try:
        if shutil.which("java") is None:
            raise NotRun("java is missing; on Debian: apt install default-jre-headless")
        jar = fetched(TLC)
    except NotRun as reason:
        print(f"traces: not run: {reason}", file=sys.stderr)
        return NOT_RUN
    names, traces = [str(path) for path in options.files], [read(path) for path in options.files]
    if options.simulate:
        seeds = range(options.seed, options.seed + options.simulate)
        names += [f"mixed, seed {seed}" for seed in seeds]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            traces += pool.map(simulated, seeds)
    if options.testnet:
        with tempfile.TemporaryDirectory() as name:
            traces.append(read(lived(options.testnet, Path(name), options.successors)))
        names.append(f"a testnet of {options.testnet}")
    expected: list[int | None] = [None] * len(traces)
    if options.falsify:
        for index, steps in enumerate(traces):
            traces[index], expected[index] = falsified(steps, Random(index))
    found = check(traces, options.successors, options.misjudges or bool(options.simulate), jar)
    wrong = 0
    for name, steps, at, meant in zip(names, traces, found, expected, strict=True):
        verdict = f"all {len(steps)} steps allowed" if at is None else f"step {at} refused: {json.dumps(steps[at])}"
        good = (at is None) == (meant is None) and (meant is None or at == meant)
        wrong += not good
        print(f"{name}: {verdict}" + ("" if good else ", which is wrong"))
    print(f"traces: {len(traces) - wrong} of {len(traces)} as expected, {sum(map(len, traces)):,} steps")
    return 1 if wrong or not traces else 0


if __name__ == "__main__":
    sys.exit(main())
