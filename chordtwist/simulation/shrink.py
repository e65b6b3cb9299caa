"""Shrinking a run that fails: fewer nodes, less time, fewer events, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from chordtwist.simulation.run import Options, Run

RUNS_MAX = 300
"""Runs that are spent on shrinking one; each is as long as the run itself, or shorter."""

NODES_MIN = 3


def kind_of(problem: str) -> str:
    """Name the way in which a run fails: an invariant, or the first words of what was expected, without numbers."""
    words = [word for word in problem.split(":")[0].split() if not any(char.isdigit() for char in word)]
    return " ".join(words[:3])


class Shrinking:
    """Looks for the smallest run that fails as a given one does."""

    def __init__(self, play: Callable[[Options], Run]) -> None:
        self._play = play
        self.runs_left = RUNS_MAX

    def shrink(self, options: Options) -> Run:
        """Find the smallest run that fails as that of `options` does, which it may be itself."""
        smallest = self._play(options)
        kind = kind_of(smallest.problems()[0])
        shrunk = True
        while shrunk and self.runs_left > 0:
            shrunk = False
            for candidate in self._smaller(smallest):
                if self.runs_left <= 0:
                    break
                self.runs_left -= 1
                run = self._play(candidate)
                if any(kind_of(problem) == kind for problem in run.problems()) and self._size(run) < self._size(
                    smallest
                ):
                    smallest, shrunk = run, True
                    break
        return smallest

    def _size(self, run: Run) -> tuple[int, int, float]:
        return len(run.world.trace.acts), run.options.nodes, run.options.minutes

    def _smaller(self, run: Run) -> Iterator[Options]:
        """Name smaller runs, those first that would save most."""
        options = run.options
        if options.lookups != 0 or options.records != 0:
            yield replace(options, lookups=0, records=0)
        for minutes in (options.minutes / 2, options.minutes * 0.8):
            if minutes * 60 >= 1:
                yield replace(options, minutes=round(minutes, 3))
        for nodes in dict.fromkeys((options.nodes // 2, options.nodes - 1)):
            if nodes >= NODES_MIN:
                yield replace(options, nodes=nodes)
        left = [number for number in range(run.events) if number not in options.without]
        size = len(left)
        while size >= 1:
            for at in range(len(left) - size, -1, -size):  # the last ones first: they come behind what went wrong
                yield replace(options, without=tuple(sorted({*options.without, *left[at : at + size]})))
            size //= 2
