"""Conviction: a proof of misbehaviour is checked, acted on as on a death, and made known.

Nothing but a proof convicts (`core.evidence`): suspicion harms the honest, and a proof needs nobody to be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from random import Random
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.backoff import backoff_s
from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Malformed, Unreachable
from chordtwist.core.evidence import (
    NOBODY,
    SALT_LENGTH,
    SEEN_MAX,
    SENTENCE_S,
    WORDS,
    Charge,
    Convictions,
    Evidence,
    Statement,
    Verdict,
    attesting,
    judge,
)
from chordtwist.core.liveness import Liveness
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Verify, fingerprint
from chordtwist.node.chores import Chore
from chordtwist.node.ring.asking import Asking, answers_to
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.tables import FIRST_QUESTION, Tables
from chordtwist.wire.peer_messages import (
    Accuse,
    Answer,
    AskConvicted,
    AskProof,
    Contradiction,
    Convicted,
    Noted,
    Ping,
    Proof,
    Same,
    Silent,
    TableIs,
)

S = TypeVar("S", Proof, Accuse)

COMPARE_EVERY_S, COMPARE_SLOWEST_S = 5.0, 20.0
"""Another member is asked whom it convicts so often: while there is news each round doubles those who know of it."""

PROOFS_AT_ONCE = 16
"""Proofs fetched in one round."""

FETCHED_AGAIN_S = 60.0
"""A proof that came to nothing here is fetched again so much later, twice as late each time: by then it may show whose
key it is. What others were shown, and we are not, stands in no other proof's way."""

ATTESTED_MAX = 6
"""Tables gathered, by who found a proof and by the culprit's neighbours on both sides, for those who read it later."""

EVICTED_APART_S = 1.0
"""Members that we list are evicted so far apart: a list mends itself between two deaths."""


class Judgement:
    """Judges for one node."""

    _log = Logger()

    def __init__(
        self,
        identity: Identity,
        membership: Membership,
        routing: Routing,
        tables: Tables,
        asking: Asking,
        liveness: Liveness,
        may_look: Callable[[Peer, Peer], bool],
        verify: Verify,
        public: bytes,
        evicts: bool,
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param may_look: `DialLimits.may_look`. @param public: our own key.
        @param evicts: whether a conviction has consequences here, or is only shown.
        """
        self.convictions = Convictions(liveness.acquit)
        self._identity = identity
        self._membership = membership
        self._routing = routing
        self._tables = tables
        self._asking = asking
        self._liveness = liveness
        self._may_look = may_look
        self._verify = verify
        self._public = public
        self._evicts = evicts
        self._clock = clock
        self._rng = rng
        self._evicts_at_s = 0.0
        """When the next one of those that we list may be evicted."""
        self._in_vain: Bounded[tuple[Peer | None, Peer], tuple[int, float]] = Bounded(SEEN_MAX)
        """How often a proof against somebody was fetched and came to nothing, and when it may be fetched again: from
        anybody, while its culprit was never reached; else from whoever showed it, who may have made it up.
        """
        self._contacts: Collection[Peer] = ()
        """Through whom we joined last: each had answered."""
        self._being_convicted: set[Peer] = set()
        """Those proved guilty, while tables that name their keys are gathered: once, however often they are accused."""
        self._is_operator_told = False
        """That others convict this very node."""
        self.chore = Chore(
            "convictions",
            lambda: Deferred.fromCoroutine(self._compare()),
            clock,
            rng,
            COMPARE_EVERY_S,
            COMPARE_SLOWEST_S,
        )

    # What is proved

    def accuse(self, evidence: Evidence) -> None:
        """Convict by what we found ourselves, if it is a proof, and show it to those who live near the culprit."""
        with suppress(Malformed):
            self._judge(evidence, is_found=True).addErrback(self._failed)

    def hear(self, teller: Peer, question: Accuse) -> Answer:
        """Take a proof that somebody shows us.

        @raise Malformed: it proves nothing; whoever is honest has checked it.
        """
        self._judge(_evidence(question), teller=teller).addErrback(self._failed)
        return Noted()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("judging failed", failure)

    def _judge(
        self, evidence: Evidence, teller: Peer | None = None, is_found: bool = False, against: Peer | None = None
    ) -> Deferred[bool]:
        """Convict whom a proof convicts; answers whether it does so here.

        @param teller: who showed it unasked, and pays for the dial that it takes. @param is_found: that we found it.
        @param against: whom it was asked for.
        @raise Malformed: it proves nothing, or not that.
        """
        verdict = judge(self._identity, evidence, self._verify)
        if against is not None and verdict.culprit != against:
            raise Malformed(f"a proof against {verdict.culprit}, asked for one against {against}")
        return Deferred.fromCoroutine(self._convict(verdict, evidence, teller, is_found))

    async def _convict(self, verdict: Verdict, evidence: Evidence, teller: Peer | None, is_found: bool) -> bool:
        culprit, now = verdict.culprit, self._clock.seconds()
        if culprit == self._routing.me:
            self._tell_operator(verdict)
            return False
        if not self.convictions.is_wanted(culprit, now) or (teller is not None and not self._may_look(teller, culprit)):
            return False
        if not await self._is_key_of(culprit, verdict.key):
            return False
        if culprit in self._being_convicted:
            return False
        self._being_convicted.add(culprit)
        is_near = culprit in (self._routing.head, self._routing.predecessor)
        try:
            attested = await self._attested(verdict) if is_found or is_near else ()
        finally:
            self._being_convicted.discard(culprit)
        if not self.convictions.add(verdict, evidence, now, attested):
            return False
        victim = "" if verdict.victim is None else f" ({verdict.victim})"
        why = WORDS[verdict.charge]
        self._log.warn("{peer} is convicted: {why}{victim}", peer=str(culprit), why=why, victim=victim)
        if is_found:
            near = self._tables.book
            count = self._routing.entries_max
            told = (*near.before(culprit.id, count), *near.behind(culprit.id, count), *self._routing.neighbours())
            self._asking.tell([peer for peer in told if peer != culprit], _said(Accuse, evidence))
        if self._evicts:
            self._liveness.condemn(culprit, self._met_beside(culprit))
            self._tables.book.forget(culprit)
            self._evict(culprit, f"is convicted: {why}")
        self.chore.hurry()
        return True

    async def _is_key_of(self, peer: Peer, key: bytes) -> bool:
        """Whether a key is that of a peer: by our own dial. Anybody can make up a key and what it signs in the name of
        any address, and name that key in tables of his own: nobody's tables stand for that dial, which is on the
        account of who showed the proof. A key that we have met is asked for again: addresses change hands.
        """
        if self._tables.key_of(peer) not in (None, key):
            return False
        with suppress(Unreachable):
            await self._asking.ask(peer, Ping())
        return self._tables.key_of(peer) == key

    def _met_beside(self, culprit: Peer) -> Peer | None:
        """Find whom we had met in the culprit's place, on another port: who shares an address with a liar, as behind
        one NAT, and was there first, is not put out for it; unless it is convicted itself.
        """
        book = self._tables.book
        met = (*self._routing.everybody(), *filter(book.is_met, book.behind(culprit.id, 1)), *self._contacts)
        beside = (peer for peer in met if peer.id == culprit.id and peer != culprit)
        return next((peer for peer in beside if peer not in self.convictions), None)

    async def _attested(self, verdict: Verdict) -> tuple[Statement, ...]:
        """Gather signed tables that name its key, while they still do: for people who were not there."""
        tellers = self._tables.attesting(verdict.culprit, fingerprint(verdict.key))[:ATTESTED_MAX]
        said = await answers_to([self._asking.ask(teller, FIRST_QUESTION) for teller in tellers])
        statements = [(table.body, table.signature) for table in said if isinstance(table, TableIs)]
        return tuple(statement for statement in statements if self._attests(statement, verdict))

    def _attests(self, statement: Statement, verdict: Verdict) -> bool:
        try:
            teller = attesting(self._identity, statement, verdict, self._verify)
        except Malformed:
            return False
        key = self._tables.key_of(teller)
        return key is not None and self._verify(key, statement[1], statement[0])

    def _tell_operator(self, verdict: Verdict) -> None:
        if verdict.key != self._public or self._is_operator_told:
            return
        self._is_operator_told = True
        why = WORDS[verdict.charge]
        self._log.error("others convict this node: {why}; does a second one run with its key?", why=why)

    # What follows

    def _evict(self, peer: Peer, why: str) -> None:
        if peer not in self._routing.everybody():
            self._membership.drop(peer, why)
            return
        now = self._clock.seconds()
        at_s = max(now, self._evicts_at_s)
        self._evicts_at_s = at_s + EVICTED_APART_S
        self._clock.callLater(at_s - now, self._evict_now, peer, why)

    def _evict_now(self, peer: Peer, why: str) -> None:
        if peer in self.convictions:
            self._membership.drop(peer, why)

    # What others know

    def told(self, question: AskConvicted) -> Answer:
        """Name whom we convict, of the parts in which the asker convicts others, by its sums."""
        digest, convictions = question.digest, self.convictions
        if digest == convictions.digest():
            return Same()
        if not question.sums and digest != NOBODY:
            return Noted()
        return Convicted([culprit.packed for culprit in convictions.unlike(question.salt, question.sums)])

    def proof(self, culprit: Peer) -> Answer:
        """Show the proof against somebody."""
        conviction = self.convictions.of(culprit)
        return Silent() if conviction is None else _said(Proof, conviction.evidence)

    async def unconvicted(self, contacts: Collection[Peer]) -> list[Peer]:
        """List those of the contacts of a newcomer that we do not convict, after each was asked for proofs against the
        others: whoever begins at convicted ones would stand among them. Sentences end while we wait for a ring, too.
        """
        self.convictions.expire(self._clock.seconds())
        self._contacts = contacts
        if self._evicts and len(contacts) > 1:
            await answers_to(Deferred.fromCoroutine(self._hear_of(contacts, other)) for other in contacts)
        return [peer for peer in contacts if not self._liveness.is_condemned(peer)]

    async def _hear_of(self, some: Collection[Peer], other: Peer) -> None:
        culprits = [peer for peer in await self._convicted_by(other) if peer in some][:PROOFS_AT_ONCE]
        # All at once: each that is late, or whose culprit is, would hold a newcomer up for a second.
        await answers_to(Deferred.fromCoroutine(self._fetch(other, [culprit])) for culprit in culprits)

    async def _compare(self) -> bool:
        """Ask another member whom it convicts, and for proofs that we have not: first against those that we list."""
        self.convictions.expire(self._clock.seconds())
        other = self._tables.book.any_met(self._rng)
        if other is None:
            return False
        listed = {*self._routing.everybody()}
        try:
            culprits = await self._convicted_by(other)
            return await self._fetch(other, sorted(culprits, key=lambda peer: peer not in listed))
        except Unreachable:
            return False

    async def _convicted_by(self, other: Peer) -> list[Peer]:
        """Ask a member whom it convicts, and we may not."""
        answer = await self._asking.ask(other, AskConvicted(self.convictions.digest()))
        if isinstance(answer, Noted):
            salt = self._rng.randbytes(SALT_LENGTH)
            question = AskConvicted(self.convictions.digest(), salt, self.convictions.sums(salt))
            answer = await self._asking.ask(other, question)
        if not isinstance(answer, Convicted):
            return []
        culprits: dict[Peer, None] = {}
        for packed in answer.culprits:
            try:
                culprits[self._identity.unpack(packed)] = None
            except ValueError:
                break
        return [*culprits]

    async def _fetch(self, other: Peer, culprits: Iterable[Peer]) -> bool:
        """Have proofs against some shown by a member; answers whether one of them convicted."""
        news, asked = False, 0
        for culprit in culprits:
            now = self._clock.seconds()
            if asked >= PROOFS_AT_ONCE or not self.convictions.is_wanted(culprit, now):
                continue
            # Nobody was there when it came to nothing for everybody; now somebody may be.
            in_vain = (None, other) if self._tables.key_of(culprit) is None else (other,)
            if any(now < self._in_vain.get((teller, culprit), (0, 0.0))[1] for teller in in_vain):
                continue
            if not self._may_look(other, culprit):
                continue  # its proof is fetched when it can be looked at
            asked += 1
            said = await self._asking.ask(other, AskProof(culprit.packed))
            if not isinstance(said, Proof):
                continue
            try:
                is_convicted = await self._judge(_evidence(said), against=culprit)
            except Malformed:
                break  # whoever shows what proves nothing has nothing else to say
            if is_convicted:
                news = True
            elif culprit not in self.convictions:
                teller = None if self._tables.key_of(culprit) is None else other
                times = self._in_vain.get((teller, culprit), (0, 0.0))[0]
                self._in_vain[teller, culprit] = times + 1, now + backoff_s(times, FETCHED_AGAIN_S, SENTENCE_S)
        return news


def _evidence(said: Contradiction) -> Evidence:
    try:
        charge = Charge(said.charge)
    except ValueError:
        raise Malformed(f"a proof of an unknown charge, {said.charge}") from None
    return Evidence(charge, said.first, said.first_signature, said.second, said.second_signature)


def _said(kind: type[S], evidence: Evidence) -> S:
    return kind(evidence.charge, evidence.first, evidence.first_signature, evidence.second, evidence.second_signature)
