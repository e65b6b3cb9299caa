"""Behaviour of a sweep, and of shrinking: many seeds, one digest, and the smallest run that fails."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.simulation.run import Options
from chordtwist.simulation.shrink import Shrinking, kind_of
from chordtwist.simulation.sweep import POOLS_MAX, Outcome, Sweep, outcome, play
from chordtwist.simulation.sweep_command import processes, seeds_of
from tests.simulation import broken_rules

EVENTS_MAX = 30


class InTurn(Executor):
    """Runs each job in its own time: the last one that was handed in first."""

    def __init__(self) -> None:
        self.jobs: list[Options] = []

    def submit(self, job: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.jobs.append(args[0])
        future: Future[Any] = Future()
        try:
            future.set_result(job(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def good(options: Options) -> Outcome:
    return Outcome(options.seed, f"digest of {options.seed}", (), 1.0)


class SweepTests(SynchronousTestCase):
    """Jobs that are scripted, in an executor in this process."""

    def setUp(self) -> None:
        self.executor = InTurn()
        self.kept = Path(self.mktemp())

    def swept(self, seeds: range, job: Callable[[Options], Outcome] = good, kept: Path | None = None) -> Sweep:
        sweep = Sweep(Options(), seeds, job, kept)
        for _ in sweep.run(lambda: self.executor):
            pass
        return sweep

    def test_all_good(self) -> None:
        """Every seed is run under the same options, each hundredth one twice."""
        sweep = self.swept(range(99, 102))
        self.assertEqual([options.seed for options in self.executor.jobs], [99, 100, 100, 101])
        self.assertEqual({replace(options, seed=0) for options in self.executor.jobs}, {Options(seed=0)})
        self.assertEqual(sweep.failed, [])

    def test_digest(self) -> None:
        """The digest tells what became of each seed, and not in which order they came in."""
        digest = self.swept(range(1, 4)).digest()
        backwards = Sweep(Options(), range(1, 4), good)
        backwards.outcomes = {seed: good(Options(seed=seed)) for seed in (3, 1, 2)}
        self.assertEqual(backwards.digest(), digest)
        backwards.outcomes[2] = Outcome(2, "another", (), 1.0)
        self.assertNotEqual(backwards.digest(), digest)

    def test_not_the_same_again(self) -> None:
        """A seed that comes out otherwise the second time has failed."""
        digests = iter(("one", "two"))
        sweep = self.swept(range(100, 101), lambda options: Outcome(100, next(digests), (), 1.0))
        self.assertEqual(sweep.outcomes[100].problems, ("not the same again: traces one and two",))

    def test_not_run(self) -> None:
        """A job that was cancelled, or ended in an error, has failed, and its line says so."""

        def job(options: Options) -> Outcome:
            raise OSError("no room")

        self.assertEqual(self.swept(range(1, 2), job).outcomes[1].line(), "seed 1: FAILED: not run: OSError: no room")
        cancelled: Future[Outcome] = Future()
        cancelled.cancel()
        self.patch(self.executor, "submit", lambda job, options: cancelled)
        cancelled.set_running_or_notify_cancel()
        self.assertEqual(self.swept(range(1, 2)).failed, [1])

    def test_executor_breaks(self) -> None:
        """When an executor breaks another one does what is left; when all do, what is missing has failed.

        What was done when it broke counts, in whatever order the futures come.
        """
        left = [2, *[3] * POOLS_MAX]

        def job(options: Options) -> Outcome:
            if options.seed == left[0]:
                left.pop(0)
                raise BrokenExecutor("a process was killed")
            return good(options)

        sweep = self.swept(range(1, 4), job)
        self.assertEqual((sorted(sweep.outcomes), sweep.failed), ([1, 2], [3]))
        self.assertEqual([options.seed for options in self.executor.jobs[:6]], [1, 2, 3, 2, 3, 3])

    def test_kept(self) -> None:
        """A sweep goes on from its file, also when a kill cut its last line short; what was not run is run again."""

        def job(options: Options) -> Outcome:
            if options.seed == 3:
                raise OSError
            return good(options)

        self.swept(range(1, 4), job, self.kept)
        with self.kept.open("a") as file:
            file.write('{"seed": 3, "dig')
        self.executor = InTurn()
        sweep = self.swept(range(1, 5), good, self.kept)
        self.assertEqual([options.seed for options in self.executor.jobs], [3, 4])
        self.assertEqual(sweep.digest(), self.swept(range(1, 5)).digest())
        self.assertEqual(Sweep(Options(), range(1, 5), good, self.kept).failed, [])

    def test_kept_of_another(self) -> None:
        """The file of a sweep with other options, or any other file, is refused and not written to."""
        self.swept(range(1, 2), good, self.kept)
        self.assertRaises(ValueError, Sweep, Options(nodes=7), range(1, 2), good, self.kept)
        for text in ("a poem\n", self.kept.read_text() + "{}\n"):
            self.kept.write_text(text)
            self.assertRaises(ValueError, Sweep, Options(), range(1, 2), good, self.kept)
            self.assertEqual(self.kept.read_text(), text)

    def test_seeds(self) -> None:
        """A range names its first seed, and the one behind its last."""
        self.assertEqual(seeds_of("3:7"), range(3, 7))
        for words in ("7:3", "7", "a:b", ":", "3:3"):
            self.assertRaises(ValueError, seeds_of, words)


class ShrinkTests(SynchronousTestCase):
    """A node with a broken rule, in real runs."""

    def test_broken_rule(self) -> None:
        """A sweep finds who is broken, and shrinks the run until at most 30 things are done to the ring; it fails still
        for the same reason, and without the broken rule not at all.
        """
        broken = broken_rules.IgnoresSmallRings
        options = Options(9, 0, 0.6, "mixed", successors=3, replication=2, lookups=0, records=0)
        sweep = Sweep(options, range(20), partial(outcome, build=broken))
        for _ in sweep.run(InTurn):
            if sweep.failed != list(range(20)) and any(found.problems for found in sweep.outcomes.values()):
                break
        seed = next(seed for seed, found in sweep.outcomes.items() if found.problems)
        shrunk = Shrinking(partial(play, build=broken)).shrink(sweep.options_of(seed))
        self.assertLessEqual(len(shrunk.world.trace.acts), EVENTS_MAX, shrunk.options.command())
        kinds = {kind_of(problem) for problem in shrunk.problems()}
        self.assertIn(kind_of(sweep.outcomes[seed].problems[0]), kinds)
        self.assertEqual(play(shrunk.options).problems(), [])
        self.flushLoggedErrors()

    def test_kinds(self) -> None:
        """Runs fail in the same way when it is the same invariant, whenever and at whomever."""
        one, two = "3.141593 OneLiveSuccessor: 10.0.0.1:6401 has none", "2.718 OneLiveSuccessor: 10.0.0.2:6401 has none"
        self.assertEqual(kind_of(one), kind_of(two))
        self.assertNotEqual(kind_of(one), kind_of("3.141593 SufficientPrincipals: 2 of 3"))


class ProcessesTests(SynchronousTestCase):
    """Real processes."""

    def test_same_digest(self) -> None:
        """Two processes come to the digest that one comes to."""
        options = Options(3, 0, 0.1, "steady", successors=4, replication=2, lookups=5, records=1)
        digests = []
        for executor in (InTurn, processes(2)):
            sweep = Sweep(options, range(3), outcome)
            for _ in sweep.run(executor):
                pass
            self.assertEqual(sweep.failed, [])
            digests.append(sweep.digest())
        self.assertEqual(digests[0], digests[1])
