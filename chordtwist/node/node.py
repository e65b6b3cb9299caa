"""One participant of the ring over time: it answers, joins, stabilizes, rectifies, leaves.

The rules are in `core.routing`; here they are applied as answers come and time passes. Nothing is decided across an
``await``: what was read before it is looked at again behind it. What takes a node several questions has a module of its
own, behind this one: `joining`, `stabilizing`, `rectifying`, `search`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.bounded import Bounded
from chordtwist.core.conduct import Conduct
from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.events import Events
from chordtwist.core.evidence import WORDS
from chordtwist.core.liveness import Liveness
from chordtwist.core.lookup import Quality, Route
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.records import PutResult, Record, Seal
from chordtwist.core.ring import RingId, between
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status, unpack_table
from chordtwist.core.small_ring import Successors
from chordtwist.node.environment import Environment, NodeOptions
from chordtwist.node.inspection import Inspection
from chordtwist.node.interfaces import IAnswer, IDht, IPeerLink, IRecordStore, IRing
from chordtwist.node.lifetime import EndingClock
from chordtwist.node.records.auditing import Auditor
from chordtwist.node.records.hash_table import HashTable
from chordtwist.node.ring.admission import LIVE, Admission
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.bootstrap import Bootstrap
from chordtwist.node.ring.comparing import Comparing
from chordtwist.node.ring.dial_limits import RELAYED_WEIGHT, DialLimits
from chordtwist.node.ring.fingers import Fingers
from chordtwist.node.ring.joining import Joining
from chordtwist.node.ring.judgement import Judgement
from chordtwist.node.ring.member_checks import MemberChecks
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.merging import Merging
from chordtwist.node.ring.neighbours_time import NeighboursTime
from chordtwist.node.ring.probing import Probing
from chordtwist.node.ring.rectifying import Rectifying
from chordtwist.node.ring.searches import Searches
from chordtwist.node.ring.self_check import SelfCheck
from chordtwist.node.ring.self_lookup import SelfLookup
from chordtwist.node.ring.stabilizing import Stabilizing
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import FIRST_QUESTION, NoMember, Tables
from chordtwist.node.ring.uniting import Uniting
from chordtwist.node.ring.walking import Walker
from chordtwist.node.ring.watch import Watch
from chordtwist.wire.peer_messages import (
    Accuse,
    Announce,
    Answer,
    AskConvicted,
    AskLease,
    AskProof,
    Audit,
    Changed,
    GetTable,
    Holding,
    JoinRequest,
    Leave,
    Noted,
    Notify,
    NotMember,
    OtherRing,
    Ping,
    PingFor,
    Pong,
    Question,
    Relay,
    Same,
    Silent,
    TableIs,
)

HAND_OVER_WITHIN_S = 3.0
"""Leaving gives up what is not handed over by then; neighbours are told in any case: the process ends within 5 s."""

DEATHS_TOLD_AFTER_S = 2.0
"""Deaths within this time share a line in the log: members that die together are noticed within a second or two."""

DEATH_TOLD_AGAIN_S = 60.0
"""A predecessor stays until somebody else notifies, and is found dead again and again meanwhile."""

DEAD_MAX = 64
"""So many are remembered for that."""

DEATHS_NAMED_MAX = 5
"""So many of them are named in that line."""


AUDITS_SHARE = 0.2
"""Of what watching may cost; the rest is for probes of tables."""

DEFAULTS = NodeOptions()


@implementer(IAnswer, IRing, IDht)
class Node:
    """The participant that one process runs; the network, the simulator and the service build this very class.

    `start` makes it join, for ever if need be; `leave` takes it out of the ring in good order; `stop` ends every timer
    at once, as a crash does.
    """

    _log = Logger()

    def __init__(
        self,
        me: Peer,
        identity: Identity,
        parameters: Parameters,
        link: IPeerLink,
        store: IRecordStore,
        environment: Environment,
        options: NodeOptions = DEFAULTS,
    ) -> None:
        clock, wall_ms, rng = environment.clock, environment.wall_ms, environment.rng
        self.me = me
        self.identity = identity
        self.events = Events()
        """What happened to it lately, its neighbours' coming and going included."""
        self.left = 0
        """How many neighbours said that they leave, since it started."""
        self._wall_ms = wall_ms
        self._dead: list[Peer] = []
        self._told_dead: Bounded[Peer, float] = Bounded(DEAD_MAX)
        self._near: set[Peer] = set()
        self._leaving: list[Deferred[None]] = []
        # Records end their own timers; everything else is over where it waits.
        ending = self._clock = EndingClock(clock)

        # What it knows, and says of itself.
        routing = self.routing = Routing(me, parameters.successors, options.spreads_fingers)
        liveness = self.liveness = Liveness(parameters.dead_after_s)
        statements = self.statements = Statements(
            identity,
            routing,
            environment.signer,
            wall_ms,
            link.key_of,
            environment.next_epoch(),
            lambda: int(clock.seconds() * 1000),
        )

        # What it asks.
        dial_limits = self.dial_limits = DialLimits(lambda peer: link.key_of(peer) is not None, ending)
        asking = self.asking = Asking(link, liveness, dial_limits, self._hear_status, clock.seconds)
        tables = self.tables = Tables(
            identity,
            asking.ask,
            link.key_of,
            environment.verify,
            clock.seconds,
            parameters.successors,
            options.spreads_fingers,
            me,
        )
        tables.book.remember(environment.remembered())
        self._time = NeighboursTime(
            routing.neighbours, tables.clock_ahead_ms, tables.fetch_anew, clock.seconds, wall_ms
        )
        probing = self.probing = Probing(asking.ask, liveness, routing.everybody, self._died, ending, rng)

        # How it comes to a ring, and others to its own.
        conduct = self.conduct = Conduct(clock.seconds)
        searches = self.searches = Searches(
            lambda: self.is_member,
            routing,
            statements,
            tables,
            conduct,
            dial_limits,
            ending,
            rng,
            parameters.replication,
        )
        joining = Joining(
            identity,
            routing,
            statements,
            tables,
            asking.ask,
            searches.find_place,
            probing.is_dead,
            ending,
            rng,
        )
        bootstrap = self.bootstrap = Bootstrap(
            me,
            environment.seeds,
            tables,
            joining,
            environment.remembered,
            dial_limits.expected,
            lambda contacts: self.judgement.unconvicted(contacts),
            ending,
            rng,
        )
        membership = self.membership = Membership(
            routing, statements, asking, tables, bootstrap, environment.next_epoch, ending, self.note
        )
        admission = self.admission = Admission(routing, asking.ask, 2 * parameters.dead_after_s, ending)

        # Its duties.
        comparing = Comparing(routing, statements, tables, ending, environment.public_rng)
        merging = self.merging = Merging(
            membership, routing, statements, tables, asking, bootstrap, joining, comparing, ending, rng
        )
        member_checks = self.member_checks = MemberChecks(
            membership, routing, tables, admission, probing, dial_limits.is_known, merging.look_at, ending
        )
        uniting = self.uniting = Uniting(
            membership, routing, tables, probing, admission, member_checks, dial_limits.is_known, ending
        )
        self.stabilizing = Stabilizing(
            membership,
            routing,
            asking,
            tables,
            probing,
            admission,
            member_checks,
            uniting,
            bootstrap,
            ending,
            rng,
            options.stabilize_interval_s,
        )
        self.self_check = SelfCheck(routing, tables, liveness.is_silent)
        self.rectifying = Rectifying(membership, routing, tables, admission, member_checks, clock.seconds)
        self.fingers = Fingers(
            membership,
            routing,
            tables,
            searches.find,
            liveness.is_silent,
            ending,
            rng,
            options.stabilize_interval_s,
        )
        self.self_lookup = SelfLookup(membership, routing, searches.find_place, uniting, conduct, ending, rng)
        self.walker = Walker(membership, routing, tables, asking, ending, rng, options.walk_bytes_per_s)
        judgement = self.judgement = Judgement(
            identity,
            membership,
            routing,
            tables,
            asking,
            liveness,
            dial_limits.may_look,
            environment.verify,
            environment.signer.public,
            options.evicts,
            ending,
            environment.public_rng,
        )
        watch = self.watch = Watch(
            identity,
            membership,
            routing,
            tables,
            asking,
            environment.verify,
            judgement.accuse,
            (1 - AUDITS_SHARE) * options.watch_bytes_per_s,
            ending,
            rng,
        )
        tables.when_shown = watch.shown
        self.records = HashTable(
            self,
            store,
            clock,
            environment.life_ms or (lambda: int(clock.seconds() * 1000)),
            rng,
            parameters,
            options.default_ttl_s,
            options.max_ttl_s,
            options.quota,
            lambda peer: dial_limits.is_known(peer) and routing.is_near(peer),
            environment.costs,
        )

        self.auditor = Auditor(
            self,
            self.records.local_records,
            tables.book,
            conduct,
            link.key_of,
            environment.verify,
            judgement.accuse,
            AUDITS_SHARE * options.watch_bytes_per_s,
            ending,
            environment.public_rng,
        )
        self.inspection = Inspection(routing, statements, tables, asking, self.searches, self.records, ending, wall_ms)
        """What people ask to see."""

        # Who is told what.
        chores = (
            self.fingers.chore,
            merging.chore,
            self.walker.chore,
            self.self_lookup.chore,
            judgement.chore,
            *watch.chores,
            *self.auditor.chores,
        )
        membership.duties = [self.stabilizing, *chores]
        repair = self.records.repair
        self._chores = (self.stabilizing.chore, *chores, repair.chore, repair.stray_records.chore)
        membership.when_live = [self.records.joined, self.walker.begin_anew]
        membership.when_changed = [self.stabilizing.ring_changed, self.records.ring_changed, self._note_neighbours]
        membership.when_dropped = [self.stabilizing.dropped]

        self._answers: dict[type[Question], Callable[..., Answer | Deferred[Answer]]] = {
            Ping: lambda peer, question: Pong(),
            PingFor: self._ping_for,
            GetTable: self._show_table,
            Notify: self._hear_notify,
            JoinRequest: self._admit,
            Announce: self._take_in,
            Changed: self._hear_changed,
            Leave: self._hear_leave,
            OtherRing: self._hear_other_ring,
            AskLease: self._give_lease,
            Audit: self._audited,
            Relay: self._relay,
            AskConvicted: lambda peer, question: judgement.told(question),
            AskProof: lambda peer, question: judgement.proof(self._named(question.culprit)),
            Accuse: lambda peer, question: judgement.hear(peer, question),
        }

    # What it is

    @property
    def is_member(self) -> bool:
        return self.membership.is_member

    @property
    def predecessor(self) -> Peer | None:
        return self.routing.predecessor

    @property
    def successors(self) -> Successors:
        return self.routing.successors

    def neighbours_time_ms(self) -> int:
        return self._time.now_ms()

    def clock_ahead_ms(self) -> int | None:
        """By how much our wall clock is ahead of most neighbours'; None with too few to say whose is wrong."""
        self._time.now_ms()
        return self._time.ahead_ms

    def members_estimate(self) -> float:
        """How many members our ring seems to have."""
        return self.statements.table.members_estimate()

    # Its life

    def start(self) -> None:
        """Join the ring, trying for ever; from then on every duty is done until `stop`."""
        self.records.start()
        self.membership.enter()

    def stop(self) -> None:
        """End every timer at once, tell nobody."""
        self.membership.end()
        self.records.stop()
        self._clock.end()

    def leave(self) -> Deferred[None]:
        """Hand the records over, tell the neighbours, stop. Never fails; takes `HAND_OVER_WITHIN_S` and 1 s at most."""

        def ended(result: object) -> None:
            if isinstance(result, Failure) and not result.check(CancelledError):  # stopped meanwhile
                self._log.failure("leaving failed", result)
            self.stop()
            waiting, self._leaving = self._leaving, []
            for left in waiting:
                left.callback(None)

        if self.membership.status is Status.LEAVING and not self._leaving:
            return succeed(None)
        left: Deferred[None] = Deferred()
        self._leaving.append(left)
        if len(self._leaving) == 1:
            Deferred.fromCoroutine(self._leave()).addBoth(ended)
        return left

    async def _leave(self) -> None:
        if self.is_member:
            try:
                await self.records.hand_over().addTimeout(HAND_OVER_WITHIN_S, self._clock)
            except TimeoutError:
                self._log.warn("left before every record was handed over")
        await self.membership.leave()
        self._log.info("{me} has left the ring", me=str(self.me))

    # Asking and answering

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        if peer == self.me:
            return self.records.replica.answer(peer, question)
        return self.asking.ask(peer, question)

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        """Answer one question, from the present state, also in the middle of a step of our own."""
        self.dial_limits.called(peer)
        answer = self._answers.get(type(question))
        if answer is not None:
            return answer(peer, question)
        if not self.is_member and not self.membership.was_member:
            return self.statements.not_member(self.membership.status)
        return self.records.replica.answer(peer, question)

    def link_lost(self, peer: Peer, reason: str) -> None:
        """Perhaps it crashed: look, if it is one of ours."""
        if self.is_member and (peer == self.predecessor or peer in self.successors):
            self.probing.check_all((peer,))
            if peer == self.routing.head:
                # It may be back already, as another run: only its table tells.
                self.stabilizing.hurry()

    def breach(self, peer: Peer, reason: str) -> None:
        """Note a peer's breach of the protocol, and say so in the log."""
        self.note(f"{peer} broke the protocol: {reason}")
        self._log.warn("{peer} broke the protocol: {reason}", peer=str(peer), reason=reason)

    def _ping_for(self, peer: Peer, question: PingFor) -> Answer | Deferred[Answer]:
        target = self._named(question.target)
        if target == self.me:
            return Pong()
        if not self.dial_limits.may_look(peer, target):
            return Silent()
        return self.probing.answers_now(target).addCallback(self._tried, target)

    def _tried(self, alive: bool, target: Peer) -> Answer:
        """Tell whether a peer lives that somebody else gets no answer from."""
        if alive:
            return Pong()
        if target in self.routing.successors:
            # All who list it look now: otherwise each would begin only when the member behind has given it up.
            self.probing.check_all((target,))
        return Silent()

    def _show_table(self, peer: Peer, question: GetTable) -> Answer:
        if not self.is_member:
            self.bootstrap.asked_by(peer)
            return self.statements.not_member(self.membership.status)
        self.watch.asked_by(peer)
        head = self.routing.head
        if head is None:
            # Whoever asks a ring of one may belong to another ring: perhaps we were its first node, and restarted.
            self.merging.look_at(peer)
        elif between(self.me.id, peer.id, head.id):
            # Somebody between us and our head: the next round of stabilize will meet it.
            self.stabilizing.hurry()
        if self.statements.is_present(question.epoch, question.seq):
            return Same()
        return self.statements.signed_table()

    def _hear_notify(self, peer: Peer, question: Notify) -> Answer:
        if not self.is_member:
            return self.statements.not_member(self.membership.status)
        if peer != self.predecessor:
            self.rectifying.notified(peer)
        return Noted()

    def _give_lease(self, peer: Peer, question: AskLease) -> Answer:
        if not self.is_member:
            return self.statements.not_member(self.membership.status)
        lease = self.statements.leased(peer)
        if lease is None:
            self.uniting.hear_of(peer)
        return lease or Noted()

    def _audited(self, peer: Peer, question: Audit) -> Answer:
        if not self.is_member:
            return self.statements.not_member(self.membership.status)
        records = self.records.local_records
        kept = records.get(question.key)
        left_ms = 0 if kept is None else kept.expiry_ms - records.now_ms()
        return self.statements.holding(question.key, kept, left_ms, question.nonce) or Noted()

    def _relay(self, peer: Peer, question: Relay) -> Answer | Deferred[Answer]:
        target = self._named(question.target)
        if target == self.me or not self.dial_limits.may_look(peer, target, RELAYED_WEIGHT):
            return Silent()

        def shown(answer: Answer) -> Answer:
            if question.audit is not None:
                return answer if isinstance(answer, Holding) else Silent()
            if not isinstance(answer, TableIs):
                return answer
            try:
                return answer if unpack_table(self.identity, answer.body).leaves_out(peer) else Same()
            except Malformed:
                return Silent()

        def not_shown(failure: Failure) -> Answer:
            failure.trap(Unreachable)
            return Silent()

        return self.asking.ask(target, question.audit or FIRST_QUESTION).addCallbacks(shown, not_shown)

    def _hear_changed(self, peer: Peer, question: Changed) -> Answer:
        self.stabilizing.peer_changed(peer)
        return Noted()

    def _admit(self, peer: Peer, question: JoinRequest) -> Answer | Deferred[Answer]:
        if not self.is_member:
            return self.statements.not_member(self.membership.status)
        return Deferred.fromCoroutine(self.admission.request(peer, question))

    def _take_in(self, peer: Peer, question: Announce) -> Answer | Deferred[Answer]:
        if not self.is_member:
            return self.statements.not_member(self.membership.status)
        return Deferred.fromCoroutine(self._announced(peer, question))

    async def _announced(self, peer: Peer, question: Announce) -> Answer:
        answer, changed = await self.admission.announcement(peer, question)
        if self.admission.awaits(peer, question.epoch) and self.tables.epoch_of(peer) != question.epoch:
            # What we know of its earlier run would make its first table look like another's.
            self.tables.forget(peer)
        if changed:
            self.membership.changed()
        if question.step == LIVE and self.routing.whole and peer not in self.routing.successors:
            await self._take_in_member(peer)
        return answer

    async def _take_in_member(self, peer: Peer) -> None:
        """Add a member that our whole list skips: it joined by the rules of a larger ring, or nobody heard of it."""
        try:
            table = await self.tables.fetch(peer)
        except Unreachable:
            return
        if self.member_checks.is_elsewhere(table) or not await self.member_checks.is_shown(peer):
            return
        if self.is_member and self.routing.whole and peer not in self.routing.successors:
            changed = self.routing.take_in(peer)
            self.routing.gone_live(peer)
            if changed:
                self.membership.changed()

    def _hear_leave(self, peer: Peer, question: Leave) -> Answer | Deferred[Answer]:
        news = self.tables.status_said(peer, question)
        if news is None:
            if peer == self.routing.head:
                # Not believed: signed with another key than we know, or of an earlier epoch. Its own table will tell.
                self.stabilizing.hurry()
            return Noted()
        return Deferred.fromCoroutine(self._left(peer, *news))

    async def _left(self, peer: Peer, epoch: int, status: Status) -> Answer:
        """Look at a peer that says, unasked, that it is no member: its word may be late, and another run of it be one.

        Whoever leaves waits for our answer, so it tells us the same again when we ask.
        """
        if peer in self.routing.neighbours():
            try:
                if not self.member_checks.is_elsewhere(await self.tables.fetch(peer)):
                    return Noted()
            except NoMember:
                return Noted()  # heard as every such answer
            except Unreachable:
                pass
        self._is_outside(peer, epoch, status)
        return Noted()

    def _hear_status(self, peer: Peer, said: NotMember) -> None:
        """Hear a peer's answer that it is no member."""
        news = self.tables.status_said(peer, said)
        if news is not None:
            self._is_outside(peer, *news)

    def _is_outside(self, peer: Peer, epoch: int, status: Status) -> None:
        """Let a peer go that is no member by its own word: that ends its older run here, as a death would."""
        known = self.tables.epoch_of(peer)
        self.tables.forget(peer)
        if status is Status.JOINING and self.admission.awaits(peer, epoch):
            return
        self.admission.gone(peer)
        self.rectifying.status_said(peer, status)
        # Never a member as far as we know: it was only named, and a list without it is as whole as before.
        if known is None and status is Status.JOINING and self.routing.take_back(peer):
            self.membership.changed()
        # Whoever goes on asking it hears of it again.
        if status is Status.LEAVING and known is not None and peer in self.routing.neighbours():
            self.left += 1
        self.membership.drop(peer, "left" if status is Status.LEAVING else "joins afresh")

    def _hear_other_ring(self, peer: Peer, question: OtherRing) -> Answer:
        member = self._named(question.member)
        if self.is_member and self.dial_limits.may_look(peer, member):
            self.merging.look_at(member)
        return Noted()

    def _named(self, packed: bytes) -> Peer:
        try:
            return self.identity.unpack(packed)
        except ValueError as error:
            raise Malformed(f"a question names an impossible peer: {error}") from None

    # Death

    def _died(self, peer: Peer) -> None:
        """Drop a peer that is dead by the rule of `core.liveness`."""
        now_s = self._clock.seconds()
        is_news = not self.liveness.is_condemned(peer)  # that was told when it was convicted
        if is_news and now_s - self._told_dead.get(peer, -DEATH_TOLD_AGAIN_S) >= DEATH_TOLD_AGAIN_S:
            if not self._dead:
                self._clock.callLater(DEATHS_TOLD_AFTER_S, self._tell_of_deaths)
            self._dead.append(peer)
            self._told_dead[peer] = now_s
        self.admission.gone(peer)
        self.membership.drop(peer, "is dead: it does not answer")

    def _tell_of_deaths(self) -> None:
        dead, self._dead = self._dead, []
        more = len(dead) - DEATHS_NAMED_MAX
        self._log.info(
            "dead: {peers}{more}; {left} of our successors live",
            peers=", ".join(str(peer) for peer in dead[:DEATHS_NAMED_MAX]),
            more=f" and {more} more" if more > 0 else "",
            left=len(self.successors),
        )

    # What happened

    def note(self, text: str) -> None:
        """Note an event, for people who ask afterwards."""
        self.events.note(self._wall_ms(), text)

    def note_refusal(self, text: str) -> None:
        """Note that something was refused."""
        self.events.note_refusal(self._wall_ms(), text)

    def _note_neighbours(self) -> None:
        near = set(self.routing.neighbours())
        if self.is_member:
            for peer in self.routing.neighbours():
                if peer not in self._near:
                    self.note(f"{peer} is a neighbour now")
        self._near = near

    # Lookups

    def known_route(self, position: RingId) -> Route | None:
        replicas = self.routing.replicas(position)[: self.routing.entries_max]
        return Route(position, replicas) if replicas else None

    def find(self, position: RingId, quality: Quality = Quality.VERIFIED) -> Deferred[Route]:
        return self.searches.find(position, quality)

    # IDht

    def put(
        self, key: bytes, value: bytes, ttl_s: float | None = None, copies: int | None = None, seal: Seal | None = None
    ) -> Deferred[PutResult]:
        return self.records.put(key, value, ttl_s, copies, seal)

    def get(self, key: bytes) -> Deferred[Record | None]:
        return self.records.get(key)

    def delete(self, key: bytes, seal: Seal | None = None) -> Deferred[PutResult]:
        return self.records.delete(key, seal)

    def status(self) -> dict[str, object]:
        routing = self.routing
        return {
            "id": f"{self.me.id:064x}",
            "address": str(self.me),
            "epoch": self.membership.epoch,
            "network": self.identity.network,
            "member": self.is_member,
            "joining": {} if self.is_member else self.bootstrap.obstacles(),
            "tried_next": None if self.is_member else self.bootstrap.next_try(),
            "predecessor": None if routing.predecessor is None else str(routing.predecessor),
            "successors": [str(peer) for peer in routing.successors],
            "whole": routing.whole,
            "live_successor": self.self_check.has_live_successor,
            "ordered": self.self_check.is_ordered,
            "skipped_by": [str(peer) for peer in self.self_check.skipped_by()],
            "fingers": {str(k): str(peer) for k, peer in sorted(routing.fingers.items())},
            "silent": [str(peer) for peer in routing.everybody() if self.liveness.is_silent(peer)],
            "suspected": [{"address": str(peer), "why": why} for peer, why in self.conduct.suspected().items()],
            "convicted": [
                {"address": str(conviction.verdict.culprit), "why": WORDS[conviction.verdict.charge]}
                for conviction in self.judgement.convictions
            ],
            "leases": self.watch.leases,
            "audits": self.auditor.audits,
            "members_estimate": round(self.members_estimate()),
            "known": len(self.tables.book),
            "met": self.tables.book.met_count,
            "lookups": self.searches.counted(),
            "late_s": round(self.liveness.excused_s, 3),
            "chores": {chore.name: chore.told() for chore in self._chores},
        }
