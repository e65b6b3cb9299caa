"""The command ``chordtwist simulate``, which is ``python -m chordtwist.simulation``."""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from math import isnan
from pathlib import Path
from types import FrameType
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from twisted.logger import globalLogBeginner

from chordtwist.core.printable import printable, printable_lines
from chordtwist.node.ring.ring_trace import Step, line_of
from chordtwist.simulation import report, share_plot
from chordtwist.simulation.adversaries import ATTACKS
from chordtwist.simulation.byzantine import Figures, under_attack
from chordtwist.simulation.run import Interrupted, Options, Run
from chordtwist.simulation.scenarios import SCENARIOS, SENTENCES
from chordtwist.simulation.scenarios.catalogue import Scenario
from chordtwist.simulation.sweep import SIMULATION_COLLECTS_AFTER
from chordtwist.simulation.sweep_command import cluster, processes, seeds_of, sweep


class _Positive(click.FloatRange):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if isnan(number):  # which is in every range
            self.fail("that is no number", param, ctx)
        return number


INTERRUPTED = 128 + signal.SIGINT
"""The exit status of what Ctrl-C ended, as shells have it."""

POSITIVE = _Positive(0.001, 1_000_000)

LIARS_OPTIONS = "attack", "how", "grown"


def simulate(options: Options, shows_progress: bool = False, trace: Callable[[Step], object] | None = None) -> Run:
    """Run one scenario to its end, to the first error in a node, or to the simulated second in which Ctrl-C comes.

    @param trace: told each step of the trace of the ring.
    """
    with ExitStack() as stack:
        run = Run(options, stack.enter_context(_bar(options)) if shows_progress else None)
        run.world.trace_ring = trace

        def interrupt(number: int, frame: FrameType | None) -> None:
            run.interrupted = True
            signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once

        before = signal.getsignal(signal.SIGINT)
        if before is not signal.SIG_IGN:  # as it is for what a script starts behind an ampersand
            stack.callback(signal.signal, signal.SIGINT, before)
            signal.signal(signal.SIGINT, interrupt)
        with suppress(Interrupted):
            _scenario(options)(run)
    return run


@contextmanager
def _bar(options: Options) -> Iterator[Callable[[float], None]]:
    """Show a bar on the terminal, and give what moves it on to a simulated second.

    How long the ring takes to form and to come to rest is not known before: the bar shows the minutes asked for.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} s"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(options.scenario, total=options.minutes * 60)
        yield lambda now_s: bar.update(task, completed=now_s, refresh=False)


def _scenario(options: Options) -> Scenario:
    return under_attack if options.byzantine else SCENARIOS[options.scenario]


def _seeds(context: click.Context, param: click.Parameter, words: str | None) -> range | None:
    try:
        return None if words is None else seeds_of(words)
    except ValueError:
        raise click.BadParameter(f"{words!r} is no range such as 0:1000", context, param) from None


def _numbers(context: click.Context, param: click.Parameter, words: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(word) for word in words.split(",") if word}))
    except ValueError:
        raise click.BadParameter(f"{words!r} are no numbers such as 3,5,8", context, param) from None


def _names(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        _list(context, SENTENCES)


def _attacks(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        _list(context, {name: attack.sentence for name, attack in ATTACKS.items()})


def _list(context: click.Context, sentences: Mapping[str, str]) -> None:
    width = max(map(len, sentences)) + 2
    for name, sentence in sentences.items():
        click.echo(printable(f"{name:<{width}}{sentence}"))
    context.exit()


@click.command(
    "simulate",
    help="""Run the very same node, thousands of it, on a simulated network, and check the ring after every step.

    Exit status: 0 everything came right, 1 something did not; then the end of the trace and the command that shows it
    again are printed. Wrong lookups, and records that died with all of their copies, are counted and not judged: with
    enough deaths at once there are some. Ctrl-C ends a run early: what came of it so far is printed, and the exit
    status is 130.

    With --seeds it runs the scenario once for each seed, prints a line for each, and at the end one digest of all. The
    first one that failed is shrunk to fewer nodes and events before it is shown.
    """,
)
@click.option("--nodes", default=100, show_default=True, type=click.IntRange(1, 1_000_000), help="Nodes of the ring.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same run, to the bit, anywhere.")
@click.option("--minutes", default=10.0, show_default=True, type=POSITIVE, help="Simulated minutes under load.")
@click.option("--scenario", default="steady", show_default=True, type=click.Choice(list(SCENARIOS)), metavar="NAME")
@click.option("--scenarios", is_flag=True, expose_value=False, is_eager=True, callback=_names, help="List them.")
@click.option("--session-median", type=POSITIVE, metavar="S", help="Half of all nodes stay for less than S seconds.")
@click.option("--lookups", type=click.IntRange(0, 10**9), metavar="L", help="Lookups in all; 2 a second unless given.")
@click.option("--warm", is_flag=True, help="Those that look up have met the whole ring before.")
@click.option(
    "--records", type=click.IntRange(0, 10**9), metavar="R", help="Records put in all; one per node unless given."
)
@click.option("--successors", default=16, show_default=True, type=click.IntRange(2, 64), help="Length of lists, r.")
@click.option("--replication", default=4, show_default=True, type=click.IntRange(1, 64), help="Copies of a record.")
@click.option(
    "--stabilize-interval", default=1.0, show_default=True, type=POSITIVE, metavar="S", help="Fastest pace of upkeep."
)
@click.option(
    "--byzantine",
    multiple=True,
    type=click.FloatRange(0, 0.9),
    metavar="F",
    help="Share of the nodes that lie. May be given several times: one run after another, one plot of all.",
)
@click.option("--attack", default="budgeted", show_default=True, type=click.Choice(list(ATTACKS)), metavar="NAME")
@click.option("--attacks", is_flag=True, expose_value=False, is_eager=True, callback=_attacks, help="List them.")
@click.option(
    "--how", default="far", show_default=True, type=click.Choice(["far", "all"]), help="Lie to ring neighbours too?"
)
@click.option("--grown", is_flag=True, help="Liars lie from their first word, while the ring grows.")
@click.option("--evict", is_flag=True, help="Whoever is convicted counts as dead.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.svg", help="Draw the run.")
@click.option(
    "--trace", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write each change of the ring."
)
@click.option("--without", default="", callback=_numbers, metavar="N,N,...", help="Events of `mixed` left out.")
@click.option("--seeds", callback=_seeds, metavar="FROM:TO", help="Run each seed from FROM on and below TO.")
@click.option("--workers", type=click.IntRange(1, 1024), metavar="N", help="Processes of a sweep; one per processor.")
@click.option("--on", metavar="ADDRESS", help="Run a sweep on the Dask cluster of this scheduler: tcp://HOST:8786.")
@click.option(
    "--kept", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="A sweep goes on from it."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each run.")
def command(
    nodes: int,
    seed: int,
    minutes: float,
    scenario: str,
    session_median: float | None,
    lookups: int | None,
    warm: bool,
    records: int | None,
    successors: int,
    replication: int,
    stabilize_interval: float,
    byzantine: tuple[float, ...],
    attack: str,
    how: str,
    grown: bool,
    evict: bool,
    plot: Path | None,
    trace: Path | None,
    without: tuple[int, ...],
    seeds: range | None,
    workers: int | None,
    on: str | None,
    kept: Path | None,
    as_json: bool,
) -> None:
    """Run ``chordtwist simulate``."""
    options = Options(
        nodes=nodes,
        seed=seed,
        minutes=minutes,
        scenario=scenario,
        session_median_s=session_median,
        lookups=lookups,
        warm=warm,
        successors=successors,
        replication=min(replication, successors),
        stabilize_interval_s=stabilize_interval,
        records=records,
        attack=attack,
        how=how,
        grown=grown,
        evict=evict,
        without=without,
    )
    for name in LIARS_OPTIONS if not byzantine else ():
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name} says how liars lie, and there are none: give --byzantine SHARE")
    if any(byzantine) and scenario != "steady":
        raise click.UsageError("--byzantine has a scenario of its own: leave --scenario out")
    if seeds is not None:
        if len(byzantine) > 1:
            raise click.UsageError("a sweep has one share of liars: give --byzantine once")
        if plot is not None or trace is not None:
            raise click.UsageError("--plot and --trace tell of one run: a sweep prints a line for each seed")
        options = replace(options, byzantine=byzantine[0] if byzantine else 0.0)
        executor = cluster(on) if on is not None else processes(workers or len(os.sched_getaffinity(0)))
        try:
            sys.exit(0 if sweep(options, seeds, executor, kept, as_json) else 1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
    if workers is not None or on is not None or kept is not None:
        raise click.UsageError("--workers, --on and --kept belong to a sweep: give --seeds FROM:TO")
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    gc.set_threshold(SIMULATION_COLLECTS_AFTER, 20, 50)
    atexit.register(gc.freeze)  # else Python looks at everything once more: with a thousand nodes that takes 3 s
    with ExitStack() as stack:
        try:
            steps = None if trace is None else stack.enter_context(trace.open("w"))
        except OSError as error:
            raise click.FileError(str(trace), error.strerror) from None
        each = [replace(options, byzantine=share) for share in byzantine or (0.0,)]
        sys.exit(_run_each(each, None if steps is None else line_of(steps), plot, as_json))


def _run_each(
    each: Sequence[Options], traced: Callable[[Step], object] | None, plot: Path | None, as_json: bool
) -> int:
    """Run all of these one after another, tell of each, and draw them; answers with the exit status."""
    measured: list[tuple[Options, Figures]] = []
    status = 0
    for options in each:
        run = simulate(options, sys.stderr.isatty(), traced)
        click.echo(json.dumps(report.as_json(run)) if as_json else printable_lines(report.as_lines(run)))
        if run.figures is not None:
            measured.append((options, run.figures))
        if run.interrupted:
            status = INTERRUPTED
            break
        if run.problems():
            click.echo(printable_lines(report.failure_page(run)), err=True)
            status = 1
        run.world.close()
    if plot is not None:
        try:
            plot.write_text(share_plot.plot(measured) if measured else report.plot(run))
        except OSError as error:
            raise click.FileError(str(plot), error.strerror) from None
    return status
