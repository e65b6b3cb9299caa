"""Watching those who have promised to list us: what they show, to us and to others, is held against their promise.

Who is left out of a table knows it best. So each member has leases from those whose lists reach over its place, and
compares them with every table of theirs that passes by, and with those that others fetch for it: a liar cannot tell for
whom somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.evidence import Charge, Evidence
from chordtwist.core.leases import LEASE_MS
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.ring import RING_SIZE
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Verify, unpack_lease, unpack_table
from chordtwist.core.table import Table
from chordtwist.node.chores import Chore
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.tables import Tables
from chordtwist.wire.peer_messages import AskLease, Leased, Relay, TableIs

LEASES_EVERY_S, LEASES_SLOWEST_S = 1.0, 4.0
"""One of those who list us is asked for a lease so often: all of 16 within half a minute while there are new ones."""

RENEW_S = LEASE_MS / 1000 * 0.75
"""A lease is renewed when it is so old."""

ASK_AGAIN_S = 30.0
"""Who gave none, or did not answer, is asked again so much later."""

LESSORS_MAX = 128

ASKERS_MAX = 64
"""Peers remembered that asked for our table: whoever lists us does, again and again."""

PROBE_BYTES = 700
"""What one probe costs in all: the question to the relay, the relay's, the table, and that it lists us."""


@dataclass(slots=True)
class Lessor:
    """One that lists us, as far as we know."""

    asked_s: float
    lease: Leased | None = None
    leased_s: float = 0.0
    table: Table | None = None
    """What it showed last, to whomever."""
    said: TableIs | None = None
    probed_s: float = 0.0


class Watch:
    """Watches for one member."""

    def __init__(
        self,
        identity: Identity,
        membership: Membership,
        routing: Routing,
        tables: Tables,
        asking: Asking,
        verify: Verify,
        accuse: Callable[[Evidence], None],
        bytes_per_s: float,
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param accuse: told of what may be a proof: in their order, at their time, an honest one may have said both.
        @param bytes_per_s: what probes may cost; 0: there are none.
        """
        self._identity = identity
        self._membership = membership
        self._routing = routing
        self._tables = tables
        self._asking = asking
        self._verify = verify
        self._accuse = accuse
        self._clock = clock
        self._rng = rng
        self._lessors: Bounded[Peer, Lessor] = Bounded(LESSORS_MAX)
        self._askers: Bounded[Peer, None] = Bounded(ASKERS_MAX)
        self.chores = [
            Chore(
                "leases",
                lambda: Deferred.fromCoroutine(self._ask_for_leases()),
                clock,
                rng,
                LEASES_EVERY_S,
                LEASES_SLOWEST_S,
            )
        ]
        if bytes_per_s > 0:
            probe_s = PROBE_BYTES / bytes_per_s
            self.chores.append(Chore("probes", lambda: Deferred.fromCoroutine(self._probe()), clock, rng, probe_s))

    @property
    def leases(self) -> int:
        """How many have promised to list us, and are bound now."""
        now = self._clock.seconds()
        return sum(self._is_bound(lessor, now) for lessor in self._lessors.values())

    def asked_by(self, peer: Peer) -> None:
        """Note that a peer asked for our table."""
        self._askers[peer] = None

    def shown(self, table: Table, said: TableIs) -> None:
        """Hold a table of one of them, which its key signed, against what it signed before."""
        lessor = self._lessors.get(table.peer)
        if lessor is None:
            return
        before, lessor.table = lessor.table, table
        said_before, lessor.said = lessor.said, said
        if lessor.lease is not None and table.leaves_out(self._routing.me):
            self._hold_against(Charge.BROKEN_LEASE, lessor.lease, said)
        is_one = before is not None and (before.epoch, before.seq) == (table.epoch, table.seq)
        if is_one and said_before is not None and said_before.body != said.body:
            self._hold_against(Charge.EQUIVOCATION, said_before, said)

    def _hold_against(self, charge: Charge, first: Leased | TableIs, second: TableIs) -> None:
        self._accuse(Evidence(charge, first.body, first.signature, second.body, second.signature))

    # Leases

    def _listing_us(self) -> list[Peer]:
        """Name those whose tables should name us, nearest first: our head, and the members before us, as far as we met
        them or they ask for our table.
        """
        routing, me = self._routing, self._routing.me
        near = {*self._tables.book.before(me.id, routing.entries_max), *self._askers}
        if routing.predecessor is not None:
            near.add(routing.predecessor)
        near.discard(me)
        before = sorted(near, key=lambda peer: (me.id - peer.id) % RING_SIZE)[: routing.entries_max]
        return before if routing.head is None or routing.head in before else [routing.head, *before]

    async def _ask_for_lease_of(self, peer: Peer) -> None:
        try:
            answer = await self._asking.ask(peer, AskLease())
        except Unreachable:
            return
        key, lessor = self._tables.key_of(peer), self._lessors.get(peer)
        if not isinstance(answer, Leased) or key is None or lessor is None:
            return
        try:
            stamp, neighbour, until_ms = unpack_lease(self._identity, answer.body)
        except Malformed:
            return
        shown = self._tables.at_hand(peer)
        if shown is not None and (shown.epoch != stamp.epoch or until_ms < shown.clock_ms + LEASE_MS // 2):
            return  # of another run, or over: it binds nobody to what is signed now
        if (stamp.peer, neighbour) == (peer, self._routing.me) and self._verify(key, answer.signature, answer.body):
            lessor.lease, lessor.leased_s = answer, self._clock.seconds()

    async def _ask_for_leases(self) -> bool:
        """Ask the nearest whose lease is due; answers whether it gave us its first one."""
        now = self._clock.seconds()
        for peer in self._listing_us():
            lessor = self._lessors.get(peer)
            if lessor is None:
                lessor = self._lessors[peer] = Lessor(now)
            elif now - lessor.asked_s < ASK_AGAIN_S or (lessor.lease and now - lessor.leased_s < RENEW_S):
                continue
            had_one, lessor.asked_s = lessor.lease is not None, now
            await self._ask_for_lease_of(peer)
            return not had_one and lessor.lease is not None
        return False

    # Probes

    def _is_bound(self, lessor: Lessor, now: float) -> bool:
        return lessor.lease is not None and now - lessor.leased_s < LEASE_MS / 1000

    async def _probe(self) -> None:
        now = self._clock.seconds()
        bound = [peer for peer, lessor in self._lessors.items() if self._is_bound(lessor, now)]
        if not bound or not self._membership.is_member:
            return
        target = min(bound, key=lambda peer: self._lessors[peer].probed_s)
        self._lessors[target].probed_s = now
        relay = self._tables.book.any_met(self._rng)
        if relay is None or relay == target:
            return
        try:
            said = await self._asking.ask(relay, Relay(target.packed))
        except Unreachable:
            return
        key = self._tables.key_of(target)
        if not isinstance(said, TableIs) or key is None or not self._verify(key, said.signature, said.body):
            return
        try:
            table = unpack_table(self._identity, said.body)
        except Malformed:
            return
        if table.peer == target:
            self.shown(table, said)
