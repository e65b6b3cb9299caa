"""What ``chordtwist simulate --seeds`` does: it runs the sweep, shows how far it is, and shrinks what failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chordtwist.core.printable import printable, printable_lines
from chordtwist.simulation.run import Options
from chordtwist.simulation.shrink import Shrinking
from chordtwist.simulation.sweep import Sweep, play, set_up

FAILED_NAMED_MAX = 100
"""Seeds that failed, named in a line."""

Executors = Callable[[], AbstractContextManager[Executor]]

RETRIES = 2
"""Times that Dask runs a job again whose worker has died."""


def seeds_of(words: str) -> range:
    """Read ``FROM:TO``, the last one excluded.

    @raise ValueError: it is none.
    """
    first, _, last = words.partition(":")
    seeds = range(int(first), int(last))
    if not seeds:
        raise ValueError
    return seeds


def processes(workers: int) -> Executors:
    """Make pools of so many processes here, each a Python of its own."""
    return lambda: ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def cluster(address: str) -> Executors:
    """Connect to the Dask cluster whose scheduler is at that address, which needs chordtwist on every worker.

    @raise click.ClickException: Dask is not installed here; later, that no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise click.ClickException("--on needs Dask: pip install 'chordtwist[sweep]'") from None

    @contextmanager
    def executor() -> Iterator[Executor]:
        try:
            client = Client(address)
        except (OSError, ValueError) as error:
            raise click.ClickException(f"no Dask scheduler at {address}: {error}") from None
        with client:
            # Not pure: Dask would take the two runs of one seed for one, whose outcome it knows.
            yield client.get_executor(retries=RETRIES, pure=False)

    return executor


def sweep(options: Options, seeds: range, executor: Executors, kept: Path | None, as_json: bool) -> bool:
    """Run a sweep and tell of each seed as it comes in, and of all at the end; answers whether all is well."""
    try:
        run = Sweep(options, seeds, kept=kept)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.FileError(str(kept), error.strerror) from None
    set_up()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(options.scenario, total=run.seeds, completed=len(run.outcomes))
        for found in run.run(executor):
            click.echo(json.dumps(asdict(found)) if as_json else printable(found.line()))
            bar.update(task, completed=len(run.outcomes))
    failed = run.failed
    if as_json:
        click.echo(json.dumps({"seeds": run.seeds, "failed": failed, "digest": run.digest()}))
    else:
        click.echo(printable(f"{run.seeds} seeds, {len(failed)} failed, digest {run.digest()}"))
    if failed:
        _show(run, failed)
    return not failed


def _show(run: Sweep, failed: list[int]) -> None:
    """Show the smallest run that fails as the first one of those does, and name all."""
    more = " and more" if len(failed) > FAILED_NAMED_MAX else ""
    click.echo(printable(f"failed: {' '.join(map(str, failed[:FAILED_NAMED_MAX]))}{more}"), err=True)
    first = next((seed for seed in failed if seed in run.outcomes and run.outcomes[seed].digest), None)
    if first is None:
        return
    shown = Shrinking(play).shrink(run.options_of(first))
    trace, problems = shown.world.trace, shown.problems()
    if not problems:
        click.echo(printable(f"seed {first} does not fail here"), err=True)
        return
    page = [f"seed {first}, shrunk to {len(trace.acts)} events:", trace.acts_page(), *problems[:3]]
    click.echo(printable_lines("\n".join([*page, "", "The same again:", f"  {shown.options.command()}"])), err=True)
