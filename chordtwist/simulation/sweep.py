"""A sweep: one scenario under many seeds, in other processes or on other machines, and one digest of all outcomes.

The jobs go to any `concurrent.futures.Executor`: a pool of processes here, or the workers of a Dask cluster.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from twisted.logger import globalLogBeginner

from chordtwist.core.parameters import Parameters
from chordtwist.node.node import Node
from chordtwist.node.ring.ring_trace import Step
from chordtwist.simulation.byzantine import under_attack
from chordtwist.simulation.run import Options, Run
from chordtwist.simulation.scenarios import SCENARIOS
from chordtwist.simulation.world import World

TWICE_EVERY = 100
"""Each seed that is a multiple of it is run twice, and both have to come out alike."""

JOBS_AT_ONCE = 256
"""Jobs that an executor has at a time."""

POOLS_MAX = 5
"""An executor that broke, as when one of its processes was killed, is replaced so often at most."""

SIMULATION_COLLECTS_AFTER = 1_000_000
"""Objects made before Python looks for cycles: with thousands of nodes the default spends a third of the time on it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed. `problems`: in words; none: all is well."""

    seed: int
    digest: str
    problems: tuple[str, ...]
    wall_s: float

    def line(self) -> str:
        """Tell it in one line."""
        if not self.problems:
            return f"seed {self.seed}: good, trace {self.digest}, {self.wall_s:.1f} s"
        more = f", and {len(self.problems) - 1} more" if len(self.problems) > 1 else ""
        return f"seed {self.seed}: FAILED: {self.problems[0]}{more}"


Job = Callable[[Options], Outcome]


def play(options: Options, build: type[Node] = Node, trace: Callable[[Step], object] | None = None) -> Run:
    """Run one scenario to its end, in a world of nodes of that class.

    @param trace: told each step of the trace of the ring.
    """
    parameters = Parameters("simulation", successors=options.successors, replication=options.replication)
    world = World(options.seed, parameters, stabilize_interval_s=options.stabilize_interval_s, build=build)
    world.trace_ring = trace
    run = Run(options, world=world)
    try:
        (under_attack if options.byzantine else SCENARIOS[options.scenario])(run)
    finally:
        world.close()
    return run


def outcome(options: Options, build: type[Node] = Node) -> Outcome:
    """Run one seed and tell what became of it."""
    run = play(options, build)
    return Outcome(options.seed, run.world.trace.digest(), tuple(run.problems()), round(run.wall_s, 3))


def work(options: Options) -> Outcome:
    """Do the job of a worker, which is a process that does nothing else."""
    set_up()
    return outcome(options)


@cache
def set_up() -> None:
    """Set this process up for simulations, without a log: once."""
    gc.set_threshold(SIMULATION_COLLECTS_AFTER, 20, 50)
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)


class Sweep:
    """The outcomes of many seeds under the same options, as they come in; a file may keep them, to go on from there."""

    def __init__(self, options: Options, seeds: Iterable[int], job: Job = work, kept: Path | None = None) -> None:
        """@param kept: a file of one JSON object a line, the options first, then each outcome.

        @raise ValueError: the file is that of a sweep with other options, or none.
        """
        self.outcomes: dict[int, Outcome] = {}
        self._options = options
        self._job = job
        self._kept = kept
        self._seeds = list(dict.fromkeys(seeds))
        self._firsts: dict[int, Outcome] = {}
        if kept is not None:
            self._read(kept)

    @property
    def seeds(self) -> int:
        """Count the seeds in all."""
        return len(self._seeds)

    def options_of(self, seed: int) -> Options:
        """Give the options under which a seed is run."""
        return replace(self._options, seed=seed)

    @property
    def failed(self) -> list[int]:
        """List the seeds that did not come out well; one that was not run is among them."""
        return [seed for seed in self._seeds if seed not in self.outcomes or self.outcomes[seed].problems]

    def digest(self) -> str:
        """Hash what became of every seed, in the order of the seeds: the same wherever they ran, in whatever order."""
        hashed = blake2b(digest_size=16)
        for seed in self._seeds:
            found = self.outcomes.get(seed)
            hashed.update(f"{seed} {found and (found.digest, found.problems)}\n".encode())
        return hashed.hexdigest()

    def run(self, executor: Callable[[], AbstractContextManager[Executor]]) -> Iterator[Outcome]:
        """Run every seed that is missing, and give each outcome as it comes.

        @param executor: makes one; another is asked for when the one before broke.
        """
        for _ in range(POOLS_MAX):
            with suppress(BrokenExecutor), executor() as pool:
                yield from self._run(pool)
                return

    def _run(self, pool: Executor) -> Iterator[Outcome]:
        ahead = iter([seed for seed in self._seeds if seed not in self.outcomes for _ in self._runs(seed)])
        pending: dict[Future[Outcome], int] = {}
        self._firsts.clear()
        try:
            while True:
                for seed in islice(ahead, JOBS_AT_ONCE - len(pending)):
                    pending[pool.submit(self._job, self.options_of(seed))] = seed
                if not pending:
                    return
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=_is_broken):  # what is done counts, whatever broke beside it
                    found = self._outcome(pending.pop(future), future)
                    if found is not None:
                        self._keep(found)
                        yield found
        finally:
            for future in pending:
                future.cancel()

    def _runs(self, seed: int) -> range:
        return range(2 if seed % TWICE_EVERY == 0 else 1)

    def _outcome(self, seed: int, future: Future[Outcome]) -> Outcome | None:
        """Tell what became of a seed; None while one of its two runs is not over."""
        try:
            found = future.result()
        except BrokenExecutor:
            raise
        except (CancelledError, Exception) as error:
            found = Outcome(seed, "", (f"not run: {type(error).__name__}: {error}",), 0.0)
        first = self._firsts.pop(seed, None)
        if first is None and len(self._runs(seed)) > 1:
            self._firsts[seed] = found
            return None
        if first is not None and (first.digest, first.problems) != (found.digest, found.problems):
            problem = f"not the same again: traces {' and '.join(sorted((first.digest, found.digest)))}"
            found = replace(found, problems=(problem, *first.problems, *found.problems))
        return found

    def _keep(self, found: Outcome) -> None:
        self.outcomes[found.seed] = found
        if self._kept is not None and found.digest:  # what was not run is tried again
            with self._kept.open("a") as file:
                file.write(f"{json.dumps(asdict(found))}\n")

    def _opening(self) -> str:
        return json.dumps({"sweep": asdict(replace(self._options, seed=0))})

    def _read(self, path: Path) -> None:
        text = path.read_text() if path.exists() else ""
        lines = text[: text.rfind("\n") + 1].splitlines()
        if lines and lines[0] != self._opening():
            raise ValueError(f"{path} is no sweep with these options")
        for line in lines[1:]:
            try:
                found = Outcome(**json.loads(line))
            except (TypeError, ValueError):
                raise ValueError(f"{path} has a line that is no outcome: {line[:80]}") from None
            if found.seed in self._seeds:
                self.outcomes[found.seed] = replace(found, problems=tuple(found.problems))
        # What a kill left of a last line goes.
        path.write_text("".join(f"{line}\n" for line in lines or [self._opening()]))


def _is_broken(future: Future[Outcome]) -> bool:
    return not future.cancelled() and isinstance(future.exception(), BrokenExecutor)
