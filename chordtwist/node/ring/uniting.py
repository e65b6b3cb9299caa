"""Lists by union: whoever tables name is dialled, and comes into our successor list when he answers himself.

A copied list is a liar's from the first liar on (Zave's proof is about members that tell the truth). So an entry of
ours stays until it is dead, has left, or stands farther away than r others, whatever others say; and nobody comes in
that our own dial has not reached. `Routing.unite` has the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.ring import between
from chordtwist.core.routing import Routing
from chordtwist.core.table import Table
from chordtwist.node.ring.admission import Admission
from chordtwist.node.ring.member_checks import MemberChecks
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.probing import Probing
from chordtwist.node.ring.tables import NoMember, Tables

ENTRY_TURN_S = 4.0
"""One entry besides the head is asked for its table so often at most: all of a list of 16 within a minute while the
ring changes, two in a quiet one. So a member finds out that an entry has died, whatever the head says of it."""

AGAIN_S = 5.0
"""A name that did not answer is dialled again so much later at least; one that never did, later and later
(`DialLimits`). No time is the last: he may be back at his old address, and would be skipped."""

NAMES_MAX = 1024
"""Names remembered that did not answer."""


class Before(NamedTuple):
    """What was known of an entry when it was asked for its table: the one it showed last, and who of those named there
    was dead then.
    """

    table: Table | None
    dead: frozenset[Peer]


class Uniting:
    """Makes the list of one member, while that is not whole, of what its entries show."""

    _log = Logger()

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        tables: Tables,
        probing: Probing,
        admission: Admission,
        member_checks: MemberChecks,
        is_known: Callable[[Peer], bool],
        clock: IReactorTime,
    ) -> None:
        """@param is_known: whether a peer has ever answered us."""
        self.hurry: Callable[[], None] = lambda: None
        """Called when somebody has answered whom only a table that is asked for now may bring in."""
        self._membership = membership
        self._routing = routing
        self._tables = tables
        self._probing = probing
        self._admission = admission
        self._member_checks = member_checks
        self._is_known = is_known
        self._clock = clock
        self._turn: Peer | None = None
        self._turn_s = 0.0
        self._dialled: Bounded[Peer, float] = Bounded(NAMES_MAX)
        self._under_way: dict[Peer, None] = {}

    def is_met(self, peer: Peer) -> bool:
        """Whether our own dial has met a peer as a member, and since then not with silence."""
        return self._tables.at_hand(peer) is not None and not self._probing.liveness.is_silent(peer)

    def before(self, peer: Peer) -> Before:
        """Note what is known of an entry that is about to be asked for its table."""
        table = self._tables.at_hand(peer)
        return Before(table, frozenset() if table is None else self._dead(table.successors))

    def is_settled(self, table: Table) -> bool:
        """Whether our ordinary list waits for nobody whom a table names, nor to be cut, since it was whole before."""
        routing = self._routing
        return len(routing.successors) <= routing.entries_max and not routing.unmet(table, self.is_met)

    def merge(self, table: Table, before: Before) -> None:
        """Add what an entry has just shown, and dial whom it names and we have not met."""
        routing = self._routing
        if before.table is not None and table is not before.table:
            for peer in routing.missed(table, before.table):
                self._look_at_entry(peer)
        # Dead before it was asked for, and dead still: who died since hides those that the table is too old to name,
        # and who is back since would be skipped.
        passed = before.dead & self._dead(table.successors)
        if routing.unite(table, self.is_met, passed):
            self._membership.changed()
        self._probing.check_all(peer for peer in routing.successors if not self._is_known(peer))
        for peer in routing.unmet(table, self.is_met):
            self._dial(peer)

    def ask_others(self) -> None:
        """Ask the next entry in turn for its table, and the last one where our list is short."""
        routing, now = self._routing, self._clock.seconds()
        entries = routing.successors[1:]
        if routing.whole or not entries or now - self._turn_s < ENTRY_TURN_S:
            return
        self._turn_s = now
        at = entries.index(self._turn) + 1 if self._turn in entries else 0
        self._turn = entries[at % len(entries)]
        self._look_at_entry(self._turn)
        if len(routing.successors) < routing.entries_max and entries[-1] != self._turn:
            self._look_at_entry(entries[-1])

    def is_missing(self, peer: Peer) -> bool:
        """Whether a peer, if it is a member, belongs inside our ordinary list, and is not there."""
        routing = self._routing
        return not routing.whole and peer not in routing.successors and self._is_inside(peer)

    def hear_of(self, peer: Peer) -> None:
        """Dial somebody whom others name, or who says himself that he stands there, where our list lacks him."""
        if self._membership.is_member and self.is_missing(peer):
            self._dial(peer)

    def _dead(self, peers: Iterable[Peer]) -> frozenset[Peer]:
        now, liveness = self._clock.seconds(), self._probing.liveness
        return frozenset(peer for peer in peers if liveness.is_dead(peer, now))

    def _look_at_entry(self, peer: Peer) -> None:
        self._ask(peer, self._entry_silent)

    def _dial(self, peer: Peer) -> None:
        now = self._clock.seconds()
        if now - self._dialled.get(peer, -AGAIN_S) >= AGAIN_S:
            self._dialled[peer] = now
            self._ask(peer, self._name_silent)

    def _ask(self, peer: Peer, silent: Callable[[Peer], None]) -> None:
        if peer in self._under_way:
            return
        self._under_way[peer] = None
        before, epoch = self.before(peer), self._tables.epoch_of(peer)
        self._tables.fetch(peer).addBoth(self._ended, peer).addCallbacks(
            self._shown, self._refused, callbackArgs=(before,), errbackArgs=(peer, epoch, silent)
        ).addErrback(lambda failure: self._log.failure("asking {peer} failed", failure, peer=str(peer)))

    def _ended(self, result: Table | Failure, peer: Peer) -> Table | Failure:
        del self._under_way[peer]
        return result

    def _shown(self, table: Table, before: Before) -> None:
        routing, peer = self._routing, table.peer
        self._dialled.pop(peer, None)
        if not self._membership.is_member or routing.whole or len(routing.successors) > routing.entries_max:
            return  # a list that ceases to be whole is cut by the table of a head that lives
        if self._member_checks.is_elsewhere(table):
            self._membership.drop(peer, "is in another ring")
            return
        if peer not in routing.successors and not routing.is_named(table):
            return  # who knows none of us is no member of our ring, as far as we can see
        self._admission.gone_live(peer)
        if peer in routing.successors or self._is_inside(peer):
            self.merge(table, before)
        else:
            self.hurry()
        before_it = table.predecessor
        if before_it is not None and before_it not in routing.successors and self._is_inside(before_it):
            self._dial(before_it)

    def _is_inside(self, peer: Peer) -> bool:
        entries = self._routing.successors
        return bool(entries) and between(self._routing.me.id, peer.id, entries[-1].id)

    def _refused(self, failure: Failure, peer: Peer, epoch: int | None, silent: Callable[[Peer], None]) -> None:
        if failure.check(CancelledError) or not self._membership.is_member:
            return  # its node stops
        failure.trap(Unreachable)
        if isinstance(failure.value, NoMember):
            self._member_checks.is_newcomer(peer, failure.value, epoch)
        else:
            silent(peer)

    def _entry_silent(self, peer: Peer) -> None:
        self._probing.check_all((peer,))

    def _name_silent(self, peer: Peer) -> None:
        if not self._is_inside(peer):
            # Who stands behind it has to wait for a verdict.
            self._probing.check_all((peer,))
