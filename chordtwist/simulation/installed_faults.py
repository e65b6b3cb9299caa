"""Those faults that the simulated network has now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from chordtwist.core.peer import Peer
from chordtwist.simulation.clock import HeapClock
from chordtwist.simulation.faults import DROP, HOLD, PASS, TWICE, Deliver, Envelope, Path, Rule

Subject = TypeVar("Subject")


class InstalledFaults:
    """Every message is shown to all of them and to the path, each in its stage."""

    def __init__(self, clock: HeapClock, rng: Random, path: Path) -> None:
        self.installed: list[Rule] = []
        """In the order in which they were installed."""
        self._clock = clock
        self._rng = rng
        self._path = path
        self._rules: list[Rule] = [self._path]
        """The same and the path, in the order in which a message meets them."""
        self._held: dict[Rule, list[Callable[[], object]]] = {}

    def install(self, *faults: Rule) -> None:
        """Show every message to these rules as well, from now on."""
        self.installed += faults
        self._sort()

    def remove(self, *faults: Rule) -> None:
        """Take rules away, if they are installed; what they held arrives now, in order."""
        for fault in faults:
            if fault in self.installed:
                self.installed.remove(fault)
            for arrive in self._held.pop(fault, ()):
                arrive()
        self._sort()

    def heal(self) -> None:
        """Take every fault away, the last one first."""
        self.remove(*reversed(self.installed))

    def severs(self, source: Peer, target: Peer) -> bool:
        """Say whether nothing gets from one to the other, not even that a connection is refused."""
        return any(fault.severs(source, target) for fault in self.installed)

    def fates(self, envelope: Envelope) -> Iterator[tuple[int, Rule | None]]:
        """Show a message to the rules: how late each copy arrives that does, and the rule that holds it meanwhile."""
        return self._fates(envelope, self._rules)

    def post(self, late_us: int, holder: Rule | None, act: Callable[[Subject], object], subject: Subject) -> None:
        """Have a message arrive, ``act(subject)``, so late, or as soon as the rule that holds it is taken away."""
        if holder is None:
            self._clock.at(self._clock.now_us + late_us, act, subject)
        else:
            held = self._held.setdefault(holder, [])
            held.append(lambda: self._clock.at(self._clock.now_us, act, subject))

    def _fates(self, envelope: Envelope, rules: list[Rule]) -> Iterator[tuple[int, Rule | None]]:
        late_us, holder = 0, None
        for index, rule in enumerate(rules):
            verdict = rule.on_message(envelope, self._rng)
            if verdict is PASS:
                continue
            if verdict is DROP:
                return
            if verdict is TWICE:
                yield from self._fates(envelope, rules[index + 1 :])
            elif verdict is HOLD:
                holder = rule
            else:
                assert isinstance(verdict, Deliver)
                late_us += verdict.late_us
        yield late_us, holder

    def _sort(self) -> None:
        self._rules = sorted([self._path, *self.installed], key=lambda rule: rule.stage)
