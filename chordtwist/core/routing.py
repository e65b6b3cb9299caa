"""What one node knows of the ring, and the rules by which that changes.

This is the corrected Chord of P. Zave, "Reasoning about identifier spaces: How to make Chord correct" (IEEE TSE
43(12), 2017): every method is one step that has read one other node's state and now writes only its own. Who was asked,
and what silence means, is decided elsewhere; nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from chordtwist.core.peer import Peer
from chordtwist.core.prefixes import is_crowded
from chordtwist.core.ring import ID_BITS, RING_SIZE, Arc, RingId, between, distance, finger_start
from chordtwist.core.small_ring import Successors, closed, copied, fitted, in_order, reached
from chordtwist.core.table import Table


class Routing:
    """The routing state of one member: successors, predecessor, whole, fingers.

    The successor list is ordered clockwise, free of duplicates and of its owner. Fingers only shorten lookups;
    correctness never rests on them. Every method that changes something answers whether it did, and counts it in
    `changes`.
    """

    def __init__(self, me: Peer, entries_max: int, spreads_fingers: bool = True) -> None:
        """@param entries_max: r, the entries of a successor list; twice as many while the list is whole.
        @param spreads_fingers: whether only a few of them may be in one prefix: so in networks that anybody may join.
        """
        self.me = me
        self.entries_max = entries_max
        self._spreads_fingers = spreads_fingers
        self.predecessor: Peer | None = None
        self.successors: Successors = ()
        self.whole = False
        self.fingers: dict[int, Peer] = {}
        self.changes = 0
        self._knew_everybody = False
        self._newcomers: dict[Peer, None] = {}
        self.removed: dict[Peer, None] = {}
        """Who was taken out of the list since somebody cleared this; who was merely cut off its end does not count."""

    # What it says

    @property
    def head(self) -> Peer | None:
        """The first successor."""
        return self.successors[0] if self.successors else None

    @property
    def cut_off(self) -> bool:
        """Whether every successor died in a ring too large to know all its members."""
        return not self.whole and not self.successors

    def owns(self, position: RingId) -> bool:
        """Whether the position lies between the predecessor and ourselves."""
        if self.predecessor is None:
            return self.whole and not self._live()
        return position in Arc(self.predecessor.id, self.me.id)

    def neighbours(self) -> list[Peer]:
        """List the successors, nearest first, and the predecessor, each once."""
        known = dict.fromkeys(self.successors)
        if self.predecessor is not None:
            known[self.predecessor] = None
        return list(known)

    def everybody(self) -> list[Peer]:
        """All peers this node knows by its routing state, each once, nearest successor first."""
        return list(dict.fromkeys((*self.neighbours(), *self.fingers.values())))

    @property
    def span(self) -> int:
        """How much of the circle the list of successors spans."""
        return distance(self.me.id, self.successors[-1].id) if self.successors else 0

    def is_near(self, peer: Peer) -> bool:
        """Whether a peer stands no farther from us, either way, than our last successor: those who have records for us
        that are not their own clients' do. In a small ring that is everybody.
        """
        if self.whole or not self.successors:
            return True
        return min(distance(self.me.id, peer.id), distance(peer.id, self.me.id)) <= self.span

    def replicas(self, position: RingId) -> Successors:
        """List the owner of a position and the members behind it, where our own list already tells: empty when it does
        not.

        Never more than there are members.
        """
        successors = self._live()
        if self.owns(position):
            return (self.me, *successors)
        before = self.me.id
        for index, peer in enumerate(successors):
            if position in Arc(before, peer.id):
                behind = successors[index:]
                return (*behind, self.me, *successors[:index]) if self.whole else behind
            before = peer.id
        return (self.me, *successors) if self.whole else ()

    @property
    def live_successors(self) -> Successors:
        """The successors without newcomers that were taken in and have not gone live: what others are shown.

        A newcomer must not get into lists by being copied, since nobody would take it out again when it withdraws.
        """
        # A ring of one shows its newcomer: else it would say that it is alone, which ends a ring of two.
        return self._live() or self.successors

    # Zave's operations

    def begin(self) -> bool:
        """Be the first member of a ring, which owns the whole circle."""
        return self._write(predecessor=None, successors=(), whole=True)

    def join(self, predecessor: Peer, successors: Iterable[Peer], whole: bool) -> bool:
        """Become a member between `predecessor` and the first of `successors`: the predecessor's list, in one go."""
        entries, whole = fitted(in_order(self.me, successors), whole, self.entries_max)
        return self._write(predecessor=predecessor, successors=entries, whole=whole)

    def stabilize(self, table: Table, members: Iterable[Peer]) -> bool:
        """Make the list whole by that of a head that has just answered with `table`, always, also when nothing seems
        new.

        @param members: all that belongs into it: whoever we or the head name and that answers as a member now.
        """
        everybody = in_order(self.me, self._keeping_places((table.peer, *members)))
        entries, whole = fitted(everybody, True, self.entries_max)
        if not whole:
            entries = everybody[: self._ordinary_max]
        return self._take(table, entries, whole)

    def unite(self, table: Table, is_met: Callable[[Peer], bool], passed: Collection[Peer] = ()) -> bool:
        """Add to an ordinary list what the `table` of our head, of a better one, or of another entry names, which has
        just answered. No entry of ours goes but off the end.

        @param is_met: whether our own dial has reached a peer as a member, and has not met with silence since. Who lies
            inside our list waits for that and harms nobody; behind its end nothing is taken beyond him.
        @param passed: the names that may be passed over there: dead before the table was asked for, and still so.
        """
        entries, _ = self._united(table, is_met, passed)
        return self._take(table, entries[: self._ordinary_max], False)

    def unmet(self, table: Table, is_met: Callable[[Peer], bool]) -> list[Peer]:
        """List whom a table names and our ordinary list waits for: those inside it, and as many behind as it lacks."""
        return self._united(table, is_met, ())[1]

    def _united(
        self, table: Table, is_met: Callable[[Peer], bool], passed: Collection[Peer]
    ) -> tuple[Successors, list[Peer]]:
        me = self.me
        mine = {peer.id: peer for peer in (table.peer, *self.successors)}
        end = max([distance(me.id, id) for id in mine])
        unmet: list[Peer] = []
        lacking = 0
        waits = False
        for peer in reached(me, table.extended):
            if peer.id in mine:
                continue
            behind = distance(me.id, peer.id) > end
            if behind and len(mine) + lacking >= self.entries_max:
                break
            if is_met(peer):
                if not (behind and waits):
                    mine[peer.id] = peer
                continue
            unmet.append(peer)
            if behind and peer not in passed:
                waits = True
                lacking += 1
        return in_order(me, mine.values()), unmet

    @property
    def _ordinary_max(self) -> int:
        """Count the entries to which an ordinary list is cut. What ends wholeness cuts nothing, as in `take_in`: all of
        the first r may be dead. The next copy does.
        """
        return 2 * self.entries_max if self._knew_everybody else self.entries_max

    def _take(self, table: Table, entries: Successors, whole: bool) -> bool:
        self.removed.clear()
        # Whoever a member shows is a member: that a newcomer went live may not have been heard here.
        for peer in [peer for peer in self._newcomers if peer in table.successors or peer not in entries]:
            self.gone_live(peer)
        return self._write(self.predecessor, entries, whole)

    def missed(self, table: Table, before: Table) -> list[Peer]:
        """List the entries of ours that the owner of `table` named `before`, and does not name any more: to be looked
        at, since they may have died or left.
        """
        names = reached(self.me, table.extended)
        end = distance(self.me.id, names[-1].id) if names else 0
        gone = [peer for peer in self.successors if peer in before.successors and peer not in table.successors]
        return [peer for peer in gone if table.whole or distance(self.me.id, peer.id) < end]

    def last_of(self, table: Table) -> Peer | None:
        """Name the last entry of our list as the head's `table` makes it, when it is worth looking whether it closes
        there.

        In a ring that is small enough at least one list spans half of the circle: each entry's gap counts in r lists.
        Not while the head names another predecessor: with members between the two a list would come round too soon.
        """
        if table.predecessor != self.me:
            return None
        entries, whole = copied(self.me, table.extended, self.entries_max)
        if whole or 2 * distance(self.me.id, entries[-1].id) < RING_SIZE:
            return None
        return entries[-1]

    def close(self, table: Table, last: Table) -> bool:
        """Make the list whole where those of the head and of its `last` entry together reach round to us; answers
        whether they do. No entry of ours goes: whom we have taken in nobody shows us.
        """
        entries, _ = copied(self.me, table.extended, self.entries_max)
        whole = closed(self.me, entries, last.extended, self.entries_max) if entries[-1] == last.peer else None
        if whole is None:
            return False
        everybody = in_order(self.me, self._keeping_places((*whole, *self.successors)))
        self._write(self.predecessor, *fitted(everybody, True, self.entries_max))
        return True

    def displaced(self, table: Table) -> list[Peer]:
        """List the entries of ours in whose place the head's `table` names somebody else: to be looked at."""
        theirs = {peer.id: peer for peer in table.successors}
        return [peer for peer in self.successors if theirs.get(peer.id, peer) != peer]

    def _keeping_places(self, peers: Successors) -> Successors:
        """`peers`, with our own entry where one names another peer in its place: an address that has several ports, and
        perhaps several owners. Ours goes when it is dead, and nobody's word moves it.
        """
        held = {peer.id: peer for peer in self.successors}
        return tuple([held.get(peer.id, peer) for peer in peers])

    def becomes_whole(self, table: Table) -> bool:
        """Whether the head's `table` makes our list whole."""
        return copied(self.me, table.extended, self.entries_max)[1]

    def follows(self, table: Table) -> bool:
        """Whether our whole list is what the head's `table` makes it, with nobody more and nobody less."""
        entries, whole = copied(self.me, table.extended, self.entries_max)
        return (self.successors, self.whole) == (self._keeping_places(entries), whole)

    def is_foreign(self, table: Table) -> bool:
        """Whether a whole table shows a ring that is not ours: it holds neither us nor any other of our neighbours.

        Its owner may be listed here all the same: as an older run, which was killed and began a ring of its own.
        """
        return table.whole and bool(self.successors) and not self.is_named(table)

    def is_named(self, table: Table) -> bool:
        """Whether a table names us or one of our neighbours, other than its owner, as its own."""
        theirs = {*table.successors, table.predecessor} - {table.peer, None}
        return not theirs.isdisjoint((self.me, self.predecessor, *self.successors))

    def better_head(self, table: Table) -> Peer | None:
        """Name the predecessor that our head shows, when it lies between the two: to be reached, then adopted."""
        candidate = table.predecessor
        if candidate is not None and between(self.me.id, candidate.id, table.peer.id):
            return candidate
        return None

    def next_to(self, peer: Peer) -> tuple[Peer, Peer]:
        """Find the members before and behind the place of a peer in our whole list, ourselves among them."""
        around = in_order(peer, (self.me, *self._live()))
        return around[-1], around[0]

    def wants_predecessor(self, notifier: Peer) -> bool:
        """Whether a peer that notifies us lies closer than our predecessor. Reach it, then `rectify`."""
        if notifier.id == self.me.id:
            return False
        return self.predecessor is None or between(self.predecessor.id, notifier.id, self.me.id)

    def rectify(self, notifier: Peer, predecessor_is_dead: bool) -> bool:
        """Take a notifier that was just reached as predecessor: it is closer, or the one we had is dead."""
        if notifier == self.predecessor or notifier.id == self.me.id:
            return False
        if not predecessor_is_dead and not self.wants_predecessor(notifier):
            return False
        self.predecessor = notifier
        self.changes += 1
        return True

    def drop(self, peer: Peer) -> bool:
        """Forget a peer that died or left. The list gets shorter, and is never topped up from anywhere: that loses
        principal members. The predecessor stays until somebody closer, or somebody else, notifies.
        """
        for k in [k for k, finger in self.fingers.items() if finger == peer]:
            del self.fingers[k]
            self.changes += 1
        if peer not in self.successors:
            return False
        self.removed[peer] = None
        knew_everybody = self.whole or self._knew_everybody
        entries = tuple(entry for entry in self.successors if entry != peer)
        if not entries and knew_everybody:
            # The last of all the members we knew: what is left is a ring of one.
            return self._write(None, (), True)
        changed = self._write(self.predecessor, entries, False)
        self._knew_everybody = knew_everybody
        return changed

    def take_in(self, newcomer: Peer) -> bool:
        """Add a newcomer that announced itself, and was reached, to a whole list."""
        entries = in_order(self.me, (newcomer, *(entry for entry in self.successors if entry.id != newcomer.id)))
        self._newcomers[newcomer] = None
        # One too many ends wholeness, but cuts nothing: that is left to the next copy from a head that lives. Those in
        # front may be dead, or newcomers themselves.
        return self._write(self.predecessor, entries, self.whole and len(entries) <= 2 * self.entries_max)

    def gone_live(self, newcomer: Peer) -> None:
        """Treat a newcomer that was taken in as any entry: it is a member now, or will never be one."""
        if newcomer in self._newcomers:
            del self._newcomers[newcomer]
            self.changes += 1

    def take_back(self, newcomer: Peer) -> bool:
        """Remove a newcomer that was taken in and withdrew: a whole list stays whole, it never was a member."""
        self.gone_live(newcomer)
        self.removed[newcomer] = None
        entries = tuple(entry for entry in self.successors if entry != newcomer)
        return self._write(self.predecessor, entries, self.whole)

    # Fingers (Chord paper, section 4.3)

    def fingers_wanted(self) -> range:
        """Choose the fingers, by number, that begin behind the last successor, nearest first; the list itself covers
        the others.
        """
        if self.whole or not self.successors:
            return range(0)
        return range(self.span.bit_length(), ID_BITS)

    def finger_is_right(self, k: int, table: Table) -> bool:
        """Whether the peer that shows `table` is the successor of where finger `k` begins."""
        return table.predecessor is not None and finger_start(self.me.id, k) in Arc(table.predecessor.id, table.peer.id)

    def nearer_finger(self, k: int, peer: Peer) -> bool:
        """Point finger `k` to a peer that was just reached, where it stands nearer than the one that we have."""
        start, present = finger_start(self.me.id, k), self.fingers.get(k)
        if present is not None and distance(start, present.id) <= distance(start, peer.id):
            return False
        return self.set_finger(k, peer)

    def set_finger(self, k: int, peer: Peer | None) -> bool:
        """Point finger `k` to a peer that was just reached, or nowhere.

        One whose prefix has its share of the fingers is not taken: who owns a prefix shall not own our way to the rest
        of the ring. Fingers only; who keeps a record must come out alike everywhere.
        """
        if peer == self.me:
            peer = None
        if self.fingers.get(k) == peer:
            return False
        if peer is None:
            del self.fingers[k]
        elif self._spreads_fingers and is_crowded(peer, [other for at, other in self.fingers.items() if at != k]):
            return False
        else:
            self.fingers[k] = peer
        self.changes += 1
        return True

    def trim_fingers(self) -> None:
        """Let go of fingers that the successor list covers by now."""
        wanted = self.fingers_wanted()
        for k in [k for k in self.fingers if k not in wanted]:
            self.set_finger(k, None)

    def _live(self) -> Successors:
        if not self._newcomers:
            return self.successors
        return tuple(peer for peer in self.successors if peer not in self._newcomers)

    def _write(self, predecessor: Peer | None, successors: Successors, whole: bool) -> bool:
        self._knew_everybody = whole
        if predecessor == self.predecessor and successors == self.successors and whole == self.whole:
            return False
        self.predecessor, self.successors, self.whole = predecessor, successors, whole
        self.changes += 1
        return True
