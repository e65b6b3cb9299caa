"""What must hold of the ring after every step, checked after every step: the two invariants of Zave's proof.

*OneLiveSuccessor*: every member has a live entry in its successor list, unless it is alone. *SufficientPrincipals*: at
least ``min(members, r + 1)`` members are principal, that is, skipped by no member's extended list. They imply one
ordered ring that every member reaches. Newcomers that nobody has linked yet are not counted.

The proof assumes that no burst of failures takes every live entry of a list, and that no live member is judged dead;
`core.small_ring`, that a ring does not shrink out of its large size before whoever joined that is known.
The simulation can break all of these on purpose. `RingCheck` counts that apart, and from then on until the ring is
ideal again also what follows from it: a violation always means a wrong rule.

Costs microseconds per change: it keeps count of every pair of neighbours that any list names, and of whom each skips.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RingId, distance
from chordtwist.core.small_ring import closing_max
from chordtwist.simulation.trace import Trace

NOTICED_US = 4_000_000
"""Nobody can have noticed a death without a sound that is younger: what a list loses within that time is one burst."""

KNOWN_US = 20_000_000
"""A member that was linked has come into every list by then, also where messages are lost."""

VIOLATIONS_KEPT = 20
"""Violations told in words; further ones are counted."""

Pair = tuple[RingId, RingId]


class Pointers:
    """What one member points at, as far as the ring's rules are concerned."""

    __slots__ = (
        "head_since_us",
        "joined_large",
        "linked",
        "linked_since_us",
        "live_since_us",
        "pairs",
        "peer",
        "preceded",
        "preceded_since_us",
        "predecessor",
        "successors",
        "whole",
    )

    def __init__(self, peer: Peer, now_us: int, joined_large: bool) -> None:
        self.peer = peer
        self.joined_large = joined_large
        """Whether it joined by the rules of a large ring."""
        self.predecessor: Peer | None = None
        self.successors: tuple[Peer, ...] = ()
        self.whole = False
        self.linked = False
        """Whether any member has had it as its head; from then on it counts."""
        self.linked_since_us = now_us
        self.preceded = False
        """Whether any member has had it as its predecessor."""
        self.preceded_since_us = now_us
        self.live_since_us = now_us
        self.head_since_us = now_us
        self.pairs: dict[Pair, None] = {}

    def settled_by(self, at_us: int) -> bool:
        """Whether both its neighbours knew it at that time: its predecessor as head, its successor as predecessor."""
        return self.linked and self.linked_since_us <= at_us and self.preceded and self.preceded_since_us <= at_us


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant was broken, by whose change."""

    at_us: int
    invariant: str
    what: str


class RingCheck:
    """The ring as it is, told of every change; `violations` says which of them broke it."""

    def __init__(self, entries_max: int, trace: Trace) -> None:
        self.entries_max = entries_max
        self.trace = trace
        self.checked = 0
        """Steps after which the invariants were looked at."""
        self.violated = 0
        self.violated_apart = 0
        """Violations after an assumption was broken, before the ring was ideal again."""
        self.excused = False
        self.violations: list[Violation] = []
        self.page = ""
        """The last page of the trace, as it was at the first violation."""
        self.bursts = 0
        """Times that failures took every live entry of a list, or too many principal members, at once."""
        self.misjudged = 0
        """Times that a live head or predecessor was given up for somebody farther away."""
        self.suspended = False
        """While set nothing is asserted: there is more than one ring, and the scenario means it."""
        self.members: dict[Peer, Pointers] = {}
        self.ids: list[RingId] = []
        """Of all members, in order."""
        self._by_id: dict[RingId, Peer] = {}
        self._holders: dict[Peer, dict[Pointers, None]] = {}
        self._ended_us: dict[Peer, int] = {}
        self._pairs: dict[Pair, int] = {}
        self._skips: dict[RingId, int] = {}
        self._linked = 0
        self._linked_principals = 0
        self._short = False

    # What it is told

    def went_live(
        self, now_us: int, peer: Peer, predecessor: Peer | None, successors: tuple[Peer, ...], whole: bool
    ) -> None:
        """`peer` became a member with these pointers."""
        pointers = self.members[peer] = Pointers(peer, now_us, not whole)
        self._by_id[peer.id] = peer
        insort(self.ids, peer.id)
        self._skips[peer.id] = sum(1 for a, b in self._pairs if _inside(a, peer.id, b))
        if len(self.members) == 1 or any(holder.successors[0] == peer for holder in self._holders.get(peer, ())):
            self._link(now_us, pointers)
        self._point(now_us, pointers, predecessor, successors, whole)
        if not self.suspended:
            self._assert(now_us, pointers, "joined")

    def changed(
        self, now_us: int, peer: Peer, predecessor: Peer | None, successors: tuple[Peer, ...], whole: bool
    ) -> None:
        """Check what a member points at now."""
        pointers = self.members[peer]
        self._judge(now_us, pointers, predecessor, successors)
        self._point(now_us, pointers, predecessor, successors, whole)
        if not self.suspended:
            self._assert(now_us, pointers, "changed")

    def ended(self, now_us: int, peers: Sequence[Peer]) -> None:
        """Members died or left, all at this moment."""
        affected: dict[Pointers, None] = {}
        for peer in peers:
            pointers = self.members.pop(peer, None)
            if pointers is None:
                continue
            self._point(now_us, pointers, None, (), False)
            del self.ids[bisect_left(self.ids, peer.id)]
            del self._by_id[peer.id]
            skips = self._skips.pop(peer.id)
            if pointers.linked:
                self._linked -= 1
                self._linked_principals -= not skips
            affected.update(self._holders.get(peer, ()))
            self._ended_us[peer] = now_us
        for pointers in affected:
            if pointers.peer in self.members and not self.has_live_entry(pointers):
                self.bursts += 1
                self._excuse(now_us, "{} has no live entry left", pointers.peer)
        # Who has joined by the rules of a large ring counts on r + 1 principals, though nobody has linked it yet.
        relying = sum(1 for pointers in self.members.values() if not pointers.linked and not pointers.whole)
        few = self._linked_principals < min(self._linked + relying, self.entries_max + 1)
        if few and not self._short and not self.suspended:
            self.bursts += 1
            self._excuse(now_us, "failures left {} principals", self._linked_principals)
        self._short = self._linked_principals < min(self._linked, self.entries_max + 1)

    def resume(self) -> None:
        """There is one ring again: its invariants are asserted from here on."""
        self.suspended = False
        self.bursts = self.misjudged = 0

    # What it knows

    def owner(self, position: RingId) -> Peer | None:
        """Find the member that keeps a position: the first at or behind it."""
        if not self.ids:
            return None
        index = bisect_left(self.ids, position)
        return self._by_id[self.ids[index if index < len(self.ids) else 0]]

    def followers(self, position: RingId) -> Iterator[Peer]:
        """All members, from the owner of `position` on."""
        begin = bisect_left(self.ids, position)
        for index in range(len(self.ids)):
            yield self._by_id[self.ids[(begin + index) % len(self.ids)]]

    def has_live_entry(self, pointers: Pointers) -> bool:
        """OneLiveSuccessor, of one member."""
        if len(self.members) == 1:
            return True
        return any(peer in self.members for peer in pointers.successors)

    def principals(self) -> int:
        """Members that no list skips, newcomers not yet linked left out."""
        return self._linked_principals

    def linked(self) -> int:
        """Members, newcomers not yet linked left out."""
        return self._linked

    def wrong_pointers(self) -> list[str]:
        """List what is not ideal, in words: each wrong head, predecessor, list. Empty: stabilizing changes nothing."""
        ring = [self._by_id[id] for id in self.ids]
        around, others = ring * 2, len(ring) - 1
        wrong = []
        for index, peer in enumerate(ring):
            pointers = self.members[peer]
            expected = others if pointers.whole else min(self.entries_max, others)
            held, following = pointers.successors, tuple(around[index + 1 : index + 1 + expected])
            if held[:1] != following[:1]:
                wrong.append(f"head of {peer}: {_name(held[:1])}")
            elif held != following:
                wrong.append(f"list of {peer}: {len(held)} entries, {expected} expected")
            before = ring[index - 1]
            if others and pointers.predecessor != before:
                wrong.append(f"predecessor of {peer}: {pointers.predecessor}, not {before}")
        return wrong

    def skipped(self) -> list[Peer]:
        """Members that are not principal, newcomers not yet linked left out."""
        return [self._by_id[id] for id in self.ids if self._skips[id] and self.members[self._by_id[id]].linked]

    def told_skipped(self) -> list[str]:
        """Who is skipped by whose list, in words."""
        return [
            f"{peer} is skipped by {holder.peer}"
            for peer in self.skipped()
            for holder in self.members.values()
            if any(_inside(a, peer.id, b) for a, b in holder.pairs)
        ]

    def recount(self) -> None:
        """Count everything again from the lists, the slow and plain way; a difference is a bug of this checker."""
        pairs: dict[Pair, None] = {}
        for pointers in self.members.values():
            pairs.update(dict.fromkeys(_pairs(pointers.peer, pointers.successors, pointers.whole)))
        skipped = {id for id in self.ids for a, b in pairs if _inside(a, id, b)}
        linked = [pointers for pointers in self.members.values() if pointers.linked]
        principals = sum(1 for pointers in linked if pointers.peer.id not in skipped)
        if (len(linked), principals, len(pairs)) != (self._linked, self._linked_principals, len(self._pairs)):
            raise AssertionError(
                f"the checker lost count: {len(linked)} linked, {principals} principal, {len(pairs)} pairs, "
                f"not {self._linked}, {self._linked_principals}, {len(self._pairs)}"
            )

    # How it counts

    def _point(
        self,
        now_us: int,
        pointers: Pointers,
        predecessor: Peer | None,
        successors: tuple[Peer, ...],
        whole: bool,
    ) -> None:
        pointers.predecessor = predecessor
        if predecessor is not None:
            behind = self.members.get(predecessor)
            if behind is not None and not behind.preceded:
                behind.preceded = True
                behind.preceded_since_us = now_us
        if successors is pointers.successors and whole == pointers.whole:
            return
        before, after = pointers.pairs, dict.fromkeys(_pairs(pointers.peer, successors, whole))
        if not successors and pointers.peer not in self.members:
            after = {}
        for pair in after:
            if pair not in before:
                self._add(pair)
        for pair in before:
            if pair not in after:
                self._remove(pair)
        for peer in pointers.successors:
            self._holders[peer].pop(pointers, None)
        for peer in successors:
            self._holders.setdefault(peer, {})[pointers] = None
        if successors[:1] != pointers.successors[:1]:
            pointers.head_since_us = now_us
        pointers.successors, pointers.whole, pointers.pairs = successors, whole, after
        if successors:
            head = self.members.get(successors[0])
            if head is not None and not head.linked:
                self._link(now_us, head)

    def _link(self, now_us: int, pointers: Pointers) -> None:
        pointers.linked = True
        pointers.linked_since_us = now_us
        self._linked += 1
        self._linked_principals += not self._skips[pointers.peer.id]

    def _add(self, pair: Pair) -> None:
        count = self._pairs.get(pair, 0)
        self._pairs[pair] = count + 1
        if not count:
            for id in self._between(pair):
                self._skips[id] += 1
                if self._skips[id] == 1 and self.members[self._by_id[id]].linked:
                    self._linked_principals -= 1

    def _remove(self, pair: Pair) -> None:
        count = self._pairs[pair]
        if count > 1:
            self._pairs[pair] = count - 1
            return
        del self._pairs[pair]
        for id in self._between(pair):
            self._skips[id] -= 1
            if not self._skips[id] and self.members[self._by_id[id]].linked:
                self._linked_principals += 1

    def _between(self, pair: Pair) -> list[RingId]:
        """List the members strictly inside a pair; those that have just ended are gone already."""
        a, b = pair
        ids = self.ids
        if a < b:
            between = ids[bisect_right(ids, a) : bisect_left(ids, b)]
        else:
            between = ids[bisect_right(ids, a) :] + ids[: bisect_left(ids, b)]
        return [id for id in between if self._by_id[id] in self.members]

    def _assert(self, now_us: int, pointers: Pointers, how: str) -> None:
        self.checked += 1
        if not self.has_live_entry(pointers):
            if not self.excused and self._died_at_once(now_us, pointers.successors):
                # Read from a head that has died since, like all it names.
                self.bursts += 1
                self._excuse(now_us, "the list of {} died at once", pointers.peer)
            self._violate(now_us, "OneLiveSuccessor", f"{pointers.peer} {how} and has no live entry")
        short = self._linked_principals < min(self._linked, self.entries_max + 1)
        if short and not self._short and not self.excused and self._shrank_at_once(now_us):
            self.bursts += 1
            self._excuse(now_us, "the ring shrank before all who had joined it were known")
        if short and not self._short:
            self._violate(
                now_us,
                "SufficientPrincipals",
                f"{pointers.peer} {how}: {self._linked_principals} of {self._linked} members are principal; "
                + "; ".join(self.told_skipped()),
            )
        self._short = short

    def judged_dead(self, now_us: int, judge: Peer, peer: Peer) -> None:
        """`judge` let go of `peer` since it is dead, as it thinks: one that was a member all the time was misjudged."""
        known = self.members.get(peer)
        if known is not None and now_us - known.live_since_us >= NOTICED_US:
            self.misjudged += 1
            self._excuse(now_us, "{} judged {} dead, which lives", judge, peer)

    def _died_at_once(self, now_us: int, peers: Sequence[Peer]) -> bool:
        """Whether all of them were members until so lately that nobody can know."""
        return bool(peers) and all(now_us - self._ended_us.get(peer, -NOTICED_US) < NOTICED_US for peer in peers)

    def _shrank_at_once(self, now_us: int) -> bool:
        """Whether no more are skipped than lately joined a ring that was large, and of which so many have ended since
        as such a newcomer has to count on to stay (`closing_max`).
        """
        unknown = 0
        for peer in self.skipped():
            pointers = self.members[peer]
            since_us = pointers.live_since_us
            if pointers.joined_large and now_us - since_us < KNOWN_US:
                ended = sum(ended_us >= since_us for ended_us in self._ended_us.values())
                unknown += ended >= closing_max(self.entries_max) - self.entries_max
        return self._linked_principals + unknown >= min(self._linked, self.entries_max + 1)

    def forgive(self) -> None:
        """Look whether the ring is ideal again: then a broken assumption excuses nothing any more."""
        if self.excused and not self.wrong_pointers():
            self.excused = False

    def _excuse(self, now_us: int, what: str, *subjects: object) -> None:
        self.excused = True
        self.trace.line(now_us, "-- assumption broken: " + what, *subjects)

    def _violate(self, now_us: int, invariant: str, what: str) -> None:
        if self.excused:
            self.violated_apart += 1
            return
        self.violated += 1
        self.trace.line(now_us, "!! {}: {}", invariant, what)
        if not self.page:
            self.page = self.trace.last_page()
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(Violation(now_us, invariant, what))

    def _judge(self, now_us: int, pointers: Pointers, predecessor: Peer | None, successors: tuple[Peer, ...]) -> None:
        me = pointers.peer
        head = pointers.successors[0] if pointers.successors else None
        if head is not None and head != (successors[0] if successors else None):
            farther = not successors or distance(me.id, successors[0].id) > distance(me.id, head.id)
            known = self.members.get(head)
            if farther and known is not None and known.live_since_us <= pointers.head_since_us:
                self.misjudged += 1
                self._excuse(now_us, "{} gave up its live head {}", me, head)


def _pairs(peer: Peer, successors: tuple[Peer, ...], whole: bool) -> list[Pair]:
    ids = [peer.id, *(entry.id for entry in successors)]
    if whole:
        ids.append(peer.id)
    return list(pairwise(ids))


def _inside(a: RingId, x: RingId, b: RingId) -> bool:
    """Strictly between; a pair of one member with itself skips everybody else."""
    return a < x < b if a < b else x > a or x < b


def _name(peers: Sequence[Peer]) -> str:
    return str(peers[0]) if peers else "none"
