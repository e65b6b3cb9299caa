"""Behaviour of ``chordtwist simulate``: its options, what it prints, the plot."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.dom.minidom import parseString

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli.commands import Commands, main
from chordtwist.simulation import report
from chordtwist.simulation.byzantine import Figures
from chordtwist.simulation.command import command
from chordtwist.simulation.run import Options, Run
from chordtwist.simulation.scenarios import SCENARIOS
from chordtwist.simulation.values import Kept

SMALL = ["--nodes", "5", "--minutes", "0.5", "--successors", "4", "--lookups", "20"]


def run_small(**changes: object) -> Run:
    """A finished run."""
    run = Run(Options(**({"nodes": 5, "minutes": 0.5, "successors": 4, "lookups": 20} | changes)))  # type: ignore[arg-type]
    SCENARIOS[run.options.scenario](run)
    run.world.close()
    return run


class CommandTests(SynchronousTestCase):
    """The command, in a process of its own: it sets up Python's memory and Twisted's log for a long run."""

    def simulate(self, *arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
        """``python -m chordtwist.simulation``."""
        return subprocess.run(
            [sys.executable, "-m", "chordtwist.simulation", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            check=False,
        )

    def test_json(self) -> None:
        """It prints one JSON object with the fields other people's scripts lean on; the same under any hash seed."""
        first, second = (self.simulate("--json", *SMALL, hash_seed=seed) for seed in ("1", "2"))
        self.assertEqual((first.returncode, first.stderr), (0, ""))
        shown, again = json.loads(first.stdout), json.loads(second.stdout)
        self.assertEqual(shown["trace_hash"], again["trace_hash"])
        self.assertLessEqual(
            {
                "nodes": 0,
                "seed": 0,
                "simulated_s": 0,
                "wall_s": 0,
                "trace_hash": 0,
                "invariants": 0,
                "converged_s": 0,
                "lookups": 0,
                "records": 0,
                "traffic": 0,
                "evictions": 0,
            }.keys(),
            shown.keys(),
        )
        self.assertLessEqual({"checked", "violated"}, shown["invariants"].keys())
        self.assertLessEqual({"asked", "right", "hops_mean", "questions_mean"}, shown["lookups"].keys())
        self.assertLessEqual({"stored", "readable", "lost"}, shown["records"].keys())
        traffic = shown["traffic"]
        self.assertAlmostEqual(sum(traffic["by_part"].values()), traffic["bytes_per_node_s"], 1)
        self.assertIn("stabilizing", traffic["by_part"])
        self.assertLessEqual({"entries_mean", "met_mean", "bytes_max"}, shown["book"].keys())
        for quality in ("quick", "verified"):
            self.assertLessEqual({"of", "questions_mean", "widened"}, shown["lookups"][quality].keys())
        self.assertEqual((shown["invariants"]["violated"], shown["records"]["lost"]), (0, 0))
        self.assertEqual(shown["lookups"]["right"], shown["lookups"]["asked"])

    def test_interrupted(self) -> None:
        """On a terminal a bar shows how far a run is; Ctrl-C ends it with status 130, and tells what ran so far."""
        program = "from chordtwist.app.cli import main; main()"
        arguments = [sys.executable, "-c", program, "simulate", "--json", *SMALL, "--minutes", "3000"]
        ours, its = pty.openpty()
        environment = os.environ | {"TERM": "xterm"}
        with (
            os.fdopen(ours, "rb", 0) as terminal,
            subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=its, env=environment) as process,
        ):
            self.addCleanup(process.kill)
            os.close(its)
            shown = b""
            while not re.search(rb"[1-9]\d* s", shown):
                shown += terminal.read(1024)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # which is how a terminal that nobody has any more ends
                while terminal.read(1024):
                    pass
            told = json.loads(process.communicate()[0])
        self.assertEqual((process.returncode, told["interrupted"]), (130, True))
        self.assertGreater(told["simulated_s"], 0)

    def test_warm(self) -> None:
        """--warm lets those that look up meet the whole ring before: then hardly anybody else is asked."""
        shown = json.loads(self.simulate("--json", "--warm", *SMALL, "--nodes", "30", "--records", "0").stdout)
        self.assertGreater(shown["book"]["met_mean"], 27)
        lookups = shown["lookups"]
        self.assertEqual(lookups["right"], lookups["asked"])
        self.assertLess(lookups["quick"]["questions_mean"], 1.5)

    def test_plot(self) -> None:
        """--plot writes an SVG."""
        path = Path(self.mktemp())
        self.assertEqual(self.simulate("--plot", str(path), *SMALL).returncode, 0)
        self.assertIn("<svg", path.read_text())

    def test_plot_of_shares(self) -> None:
        """With several shares of liars each is a run, and the plot has a point of each, ours and plain Chord's."""
        path = Path(self.mktemp())
        shares = ("--byzantine", "0.2", "--byzantine", "0.4", "--attack", "refuse")
        done = self.simulate("--plot", str(path), "--json", *SMALL, *shares, "--records", "2")
        self.assertEqual(done.returncode, 0, done.stderr)
        told = [json.loads(line)["byzantine"] for line in done.stdout.splitlines()]
        self.assertEqual([0.2, 0.4], [figures["share_lying"] for figures in told])
        self.assertTrue(all(figures["plain_chord"]["of"] == 20 for figures in told))
        drawn = parseString(path.read_text())
        self.assertEqual(4, len(drawn.getElementsByTagName("polyline")))
        self.assertEqual(8, len(drawn.getElementsByTagName("circle")))
        self.assertIn("Halo", path.read_text())

    def test_bad_numbers(self) -> None:
        """What is no time is refused before anything runs."""
        for words in (
            ("--minutes", "nan"),
            ("--minutes", "-1"),
            ("--session-median", "-5"),
            ("--stabilize-interval", "0"),
        ):
            self.assertEqual(CliRunner().invoke(command, words).exit_code, 2, words)

    def test_sweep_as_json(self) -> None:
        """With --json each seed of a sweep is one object, and all of them are in the last one."""
        shown = self.simulate("--nodes", "2", "--minutes", "0.01", "--seeds", "1:3", "--workers", "1", "--json")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        *each, last = map(json.loads, shown.stdout.splitlines())
        self.assertEqual([(found["seed"], found["problems"]) for found in each], [(1, []), (2, [])])
        self.assertEqual((last["seeds"], last["failed"]), (2, []))

    def test_options_for_nothing(self) -> None:
        """What would be passed over in silence is refused: how liars lie where none do, outputs of one run for many."""
        sweep = ("--seeds", "1:3")
        for words in (
            ("--attack", "refuse"),
            ("--how", "all"),
            ("--grown",),
            (*sweep, "--plot", "plot.svg"),
            (*sweep, "--trace", "trace.txt"),
        ):
            shown = CliRunner().invoke(command, words)
            self.assertEqual(shown.exit_code, 2, words)
            self.assertIn("--byzantine" if sweep[0] not in words else "a line for each seed", shown.stderr)

    def test_unknown_scenario(self) -> None:
        """An unknown scenario is bad usage."""
        self.assertEqual(self.simulate("--scenario", "picnic").returncode, 2)

    def test_list(self) -> None:
        """--scenarios lists all of them, each with what it is."""
        lines = self.simulate("--scenarios").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines], list(SCENARIOS))
        self.assertTrue(all(len(line.split()) > 4 for line in lines))

    def test_part_of_chordtwist(self) -> None:
        """It is ``chordtwist simulate``."""
        assert isinstance(main, Commands)
        self.assertIs(main.get_command(None, "simulate"), command)  # type: ignore[arg-type]


class ReportTests(SynchronousTestCase):
    """How a run is told."""

    def test_command(self) -> None:
        """The command that repeats a run names everything that is not the default."""
        options = Options(7, 3, 2.5, "mixed", session_median_s=60, lookups=9, successors=4, replication=2)
        self.assertEqual(
            options.command(),
            "chordtwist simulate --scenario mixed --nodes 7 --seed 3 --minutes 2.5 --session-median 60 --lookups 9 "
            "--successors 4 --replication 2",
        )

    def test_lines(self) -> None:
        """For people the figures stand in lines; nothing is called a problem."""
        told = report.as_lines(run_small())
        self.assertIn("lookups: ", told)
        self.assertNotIn("PROBLEM", told)

    def test_figures(self) -> None:
        """So does what liars achieved: shares with their interval, of each kind of record and of newcomers as well."""
        run = run_small()
        run.figures = Figures(values={"plain": Kept()}, principals=5)
        told = report.as_lines(run)
        for line in "lookups: 0 of 0, ", "values, plain, gets: 0 of 0, ", "values, plain, altered: 0", "principals: 5":
            self.assertIn(f"  {line}", told)

    def test_interrupted(self) -> None:
        """A run that ended early says so."""
        run = run_small()
        run.interrupted = True
        self.assertIn("interrupted", report.as_lines(run))

    def test_problems(self) -> None:
        """What went wrong is named, with the end of the trace and the command that shows it again."""
        run = run_small()
        run.expect(False, "the sky is up")
        self.assertIn("PROBLEM the sky is up", report.as_lines(run))
        page = report.failure_page(run)
        self.assertIn("!! the sky is up", page)
        self.assertTrue(page.endswith(run.options.command()))

    def test_plot(self) -> None:
        """The plot is well-formed XML with one line per strip."""
        drawn = parseString(report.plot(run_small()))
        self.assertEqual(len(drawn.getElementsByTagName("polyline")), len(report.STRIPS))
