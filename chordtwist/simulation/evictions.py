"""Who is convicted or suspected in a simulated ring, by how many, and how fast, against what is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from chordtwist.core.peer import Peer
from chordtwist.simulation.world import World

COUNTED_EVERY_S = 5

PERCENTS = (90, 99)

_JUDGING = "judgement"
"""The part of a node whose bytes those of judging are, Hellos of its dials included."""


class Evictions:
    """Counts the convictions of one world, every few seconds."""

    def __init__(self, world: World) -> None:
        self.is_liar: Callable[[Peer], bool] = lambda peer: False
        self.began_s: float | None = None
        """When liars began to lie."""
        self.half_s: float | None = None
        """How long after that half of them were convicted by half of the honest members."""
        self.all_s: dict[int, float | None] = dict.fromkeys(PERCENTS)
        """How long after that so many percent of them were convicted by every honest member."""
        self.bytes_before = 0
        """Those that judging had cost in all when liars began to lie."""
        self.all_bytes: dict[int, int | None] = dict.fromkeys(PERCENTS)
        """What it had cost a node since, by then."""
        self.honest_evicted: set[Peer] = set()
        """Honest nodes that anybody honest has convicted, at any time."""
        self.evicted: set[Peer] = set()
        """Liars that every honest member convicts now."""
        self.convicted_share = 0.0
        """Of all pairs of an honest member and a liar, those in which it convicts it now."""
        self.suspected_share = 0.0
        """The same of suspicion."""
        self.honest_suspected: set[tuple[Peer, Peer]] = set()
        """Pairs of honest nodes of which one suspected the other, at any time."""
        self.liars = self.honest = 0
        self._world = world
        self._seconds = 0
        world.each_second.append(self._each_second)

    def begin(self) -> None:
        """Count time and bytes from now on, when liars begin to lie."""
        self.began_s, self.bytes_before = self._world.now_s, self._bytes()

    def _bytes(self) -> int:
        return self._world.network.bytes_by_part[_JUDGING]

    def _each_second(self) -> None:
        self._seconds += 1
        if self._seconds % COUNTED_EVERY_S == 0:
            self.look()

    def look(self) -> None:
        """Count anew."""
        world = self._world
        liars = {peer for peer in world.live if self.is_liar(peer)}
        judges = [host.node for peer, host in world.live.items() if peer not in liars and host.is_member]
        convicted_by = Counter(one.verdict.culprit for node in judges for one in node.judgement.convictions)
        self.liars, self.honest = len(liars), len(world.live) - len(liars)
        self.honest_evicted |= convicted_by.keys() - liars
        self.evicted = {peer for peer in liars if judges and convicted_by[peer] == len(judges)}
        pairs = max(1, len(liars) * len(judges))
        self.convicted_share = sum(convicted_by[peer] for peer in liars) / pairs
        suspicions = [(node.me, suspect) for node in judges for suspect in node.conduct.suspected()]
        self.suspected_share = sum(suspect in liars for _, suspect in suspicions) / pairs
        self.honest_suspected.update(pair for pair in suspicions if pair[1] not in liars)
        by_half = {peer for peer, count in convicted_by.items() if 2 * count >= len(judges)}
        if world.evicts:
            for peer in by_half & world.live.keys():
                world.live[peer].put_out()
        if self.began_s is None or not liars:
            return
        since_s = world.now_s - self.began_s
        if self.half_s is None and 2 * len(by_half & liars) >= len(liars):
            self.half_s = since_s
        for percent, reached_s in self.all_s.items():
            if reached_s is None and 100 * len(self.evicted) >= percent * len(liars):
                self.all_s[percent] = since_s
                self.all_bytes[percent] = (self._bytes() - self.bytes_before) // len(world.live)

    def as_json(self) -> dict[str, object]:
        """Tell the figures."""
        return {
            "colluders": self.liars,
            "evicted": len(self.evicted),
            "convicted_share": round(self.convicted_share, 5),
            "honest": self.honest,
            "honest_evicted": len(self.honest_evicted),
            "half_evicted_s": self.half_s,
            **{f"evicted_{percent}_s": reached_s for percent, reached_s in self.all_s.items()},
            **{f"evicted_{percent}_bytes": cost for percent, cost in self.all_bytes.items()},
            "suspected_share": round(self.suspected_share, 5),
            "honest_suspected": len(self.honest_suspected),
        }
