"""One put on its way: stored at its replicas, stamped again where clocks disagree, and reported."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from msgspec.structs import replace
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core import errors
from chordtwist.core.bounded import Bounded
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.records import Version, position_of
from chordtwist.core.versions import AHEAD_MS_MAX, VersionClock, is_ahead
from chordtwist.core.writing import Send, Writing
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.publication import EXPIRED, OVERWRITTEN, Publication
from chordtwist.node.records.record_bodies import body_of
from chordtwist.wire.peer_messages import Answer, NotMine, Refused, Store, Stored

SKEW_REPORTED_EVERY_S = 60.0
OWNER_WITHIN_S = 1.0
"""So long a put waits for the owner that a route of earlier names, while the others have confirmed: it alone would say
that others have come before it. Longer than an answer takes on a busy machine; a silent one costs a put that much."""

OWNERS_MAX = 4
"""So often one put searches for the owner since another has come before it: while many join at once."""

LATE_FOR_S = 5.0
"""An owner that let a put wait so long is not waited for by others for a while."""

LATE_REMEMBERED = 256

AHEAD_REPORTED_MS = 1_000
"""A clock that is wrong is wrong for every put: one line a minute says so."""


class Outcomes(Protocol):
    """Whoever is told what became of an attempt."""

    def confirmed(self, publication: Publication, copies: int) -> None:
        """Hear that so many replicas keep it, a majority among them; again as more of them say so."""

    def refused(self, publication: Publication, reason: str) -> None:
        """Hear that too many refuse; `reason` is a word of `peer_messages.Refused`."""

    def try_again(self, publication: Publication) -> None:
        """Hear that too few answered, or nobody could be asked for the way."""


class Puts:
    """Brings the puts of one node to their replicas."""

    _log = Logger()

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        locating: Locating,
        versions: VersionClock,
        clock: IReactorTime,
        outcomes: Outcomes,
    ) -> None:
        self.ring = ring
        self.local_records = local_records
        self.locating = locating
        self.versions = versions
        self.clock = clock
        self.outcomes = outcomes
        self.stopped = False
        self.waiting: dict[IDelayedCall, None] = {}
        """The timers of those that wait for an owner."""
        self._late: Bounded[Peer, float] = Bounded(LATE_REMEMBERED)
        self._skew_again_s = clock.seconds()

    def begin(self, publication: Publication, route: Route | None) -> None:
        """Bring it to the replicas that `route` names; with None they are searched for first."""
        _Put(self, publication).begin(route)

    def stop(self) -> None:
        """End every timer; nothing is sent any more."""
        self.stopped = True
        for timer in self.waiting:
            timer.cancel()
        self.waiting.clear()

    def is_late(self, peer: Peer) -> None:
        """Remember an owner that let a put wait."""
        self._late[peer] = self.clock.seconds()

    def was_late(self, peer: Peer) -> bool:
        """Whether an owner let a put wait a moment ago."""
        return bool(self._late) and self.clock.seconds() - self._late.get(peer, -LATE_FOR_S) < LATE_FOR_S

    def now_ms(self) -> int:
        """Read the steady clock that expiries are counted on."""
        return self.local_records.now_ms()

    def report_ahead(self, there: Version) -> None:
        """Log, now and then, that a version is from our future. Where puts of one key follow one another closely it is
        so by some milliseconds, and nobody's clock is wrong.
        """
        ahead_ms = there.ms - self.ring.neighbours_time_ms()
        if ahead_ms >= AHEAD_REPORTED_MS and self._is_time_to_report():
            self._log.info(
                "a version of {publisher} is ahead of our time by {ahead_ms} ms: a put was stamped again behind it",
                publisher=self._named(there.publisher),
                ahead_ms=ahead_ms,
            )

    def report_behind(self, peer: Peer, theirs_ms: int) -> None:
        """Log, now and then, that our clock is so far ahead that others refuse what is stamped here."""
        if self._is_time_to_report():
            self._log.warn(
                "{peer} refuses what is stamped here: our clock is ahead of its by {ahead_ms} ms, "
                "{most_ms} are allowed",
                peer=str(peer),
                ahead_ms=self.ring.neighbours_time_ms() - theirs_ms,
                most_ms=AHEAD_MS_MAX,
            )

    def _is_time_to_report(self) -> bool:
        now_s = self.clock.seconds()
        if now_s < self._skew_again_s:
            return False
        self._skew_again_s = now_s + SKEW_REPORTED_EVERY_S
        return True

    def _named(self, publisher: bytes) -> str:
        try:
            return str(self.ring.identity.unpack(publisher))
        except ValueError:
            return publisher.hex() or "somebody"


def told(writing: Writing, peer: Peer, answer: Answer) -> list[Send]:
    """Count what a replica answered to a `Store`; gives whom else to send it to."""
    if isinstance(answer, Stored):
        writing.stored(peer)
    elif not isinstance(answer, Refused) or answer.reason in ("leaving", "stale"):
        return writing.out(peer)
    elif answer.reason == "full":
        return writing.full(peer)
    else:
        writing.refused(peer, answer.reason)
    return []


class _Put:
    """One attempt to bring a publication to its replicas."""

    _log = Logger()

    def __init__(self, puts: Puts, publication: Publication) -> None:
        self._puts = puts
        self._publication = publication
        self._writing: Writing | None = None
        """What the replicas say to the present version; None before they are asked, and when it is over."""
        self._route: Route | None = None
        """Where it goes, if that was not searched for just now."""
        self._timer: IDelayedCall | None = None
        """Runs while nothing but the owner's answer is waited for."""
        self._overtaken_at: dict[Peer, None] = {}
        """Replicas that say to have a later put."""
        self._disowning: Counter[Peer] = Counter()
        """How often whoever was taken for the owner has said that it is none."""

    def begin(self, route: Route | None) -> None:
        """Ask the replicas, or search for them first."""
        self._route = route
        if route is None:
            position = position_of(self._publication.versioned.key)
            self._puts.locating.find(position).addCallbacks(self._follow, self._not_found)
        else:
            self._follow(route)

    def _follow(self, route: Route) -> None:
        publication = self._publication
        if not publication.is_current:
            publication.fail(errors.Refused(OVERWRITTEN))
        elif not publication.is_over(self._puts.now_ms()):
            awaits_owner = self._route is not None and not self._puts.was_late(route.owner)
            writing = self._writing = Writing(route, publication.versioned.copies, awaits_owner)
            publication.is_on_its_way = True
            for send in writing.begin():
                self._store(writing, send)

    def _not_found(self, failure: Failure) -> None:
        if not failure.check(errors.Unreachable):
            self._log.failure("a search failed", failure)
        self._puts.outcomes.try_again(self._publication)

    def _store(self, writing: Writing, send: Send) -> None:
        publication, now_ms = self._publication, self._puts.now_ms()
        if publication.is_over(now_ms):
            publication.fail(errors.Unreachable(None, EXPIRED))
            return
        peer, rank = send
        versioned = publication.versioned
        self._puts.ring.ask(peer, Store(body_of(versioned, now_ms), rank, publication.expected_seq)).addCallbacks(
            self._answered,
            self._unanswered,
            callbackArgs=(writing, peer, versioned.version),
            errbackArgs=(writing, peer),
        )

    def _unanswered(self, failure: Failure, writing: Writing, peer: Peer) -> None:
        if not failure.check(errors.ChordtwistError):
            self._log.failure("storing at {peer} failed", failure, peer=str(peer))
        if writing is self._writing:
            self._go_on(writing, writing.out(peer))

    def _answered(self, answer: Answer, writing: Writing, peer: Peer, version: Version) -> None:
        if writing is not self._writing:
            return  # it was stamped again, or is over
        there = None
        if isinstance(answer, Refused) and answer.reason == "newer":
            there = Version(answer.version_ms, answer.publisher)
            if self._was_overtaken(there, version):
                self._overtaken_at[peer] = None
                # One replica may say so of anything: then this put would not be looked after.
                self._publication.overtaken = len(self._overtaken_at) >= writing.quorum
                writing.stored(peer)
                self._go_on(writing, [])
                return
        is_none = isinstance(answer, NotMine) and peer == writing.owner
        sends = self._disowned(writing, peer) if is_none else told(writing, peer, answer)
        if there is not None:
            self._stamp_again(writing, there)
        elif isinstance(answer, Refused) and answer.reason == "clock":
            self._puts.report_behind(peer, answer.version_ms)
        self._go_on(writing, sends)

    def _go_on(self, writing: Writing, sends: list[Send]) -> None:
        publication, outcomes = self._publication, self._puts.outcomes
        if self._puts.stopped:
            publication.fail(errors.Unreachable(None, errors.STOPPED))
            return
        if writing is not self._writing:
            return
        for send in sends:
            self._store(writing, send)
        if writing is not self._writing:
            return  # we are a replica ourselves, and our own answer was the last
        if writing.lacks_owner:
            if self._timer is None:
                self._timer = self._puts.clock.callLater(OWNER_WITHIN_S, self._owner_is_late, writing)
                self._puts.waiting[self._timer] = None
            return
        self._stop_waiting()
        if writing.done:
            outcomes.confirmed(publication, len(writing.stored_at))
            if writing.over:
                self._end()
        elif writing.refusal is not None:
            self._end()
            outcomes.refused(publication, writing.refusal)
        elif writing.over:
            self._end()
            if not publication.confirmed:
                outcomes.try_again(publication)

    def _disowned(self, writing: Writing, peer: Peer) -> list[Send]:
        """Go on though whoever was taken for the owner says that it is none. Whether others have come before it a
        search finds out, and not who is named. Where it is named again it keeps the record as a replica behind
        somebody: it may know of one that is no member yet.
        """
        self._disowning[peer] += 1
        if self._disowning[peer] == 1 and len(self._disowning) <= OWNERS_MAX:
            if self._route is not None:
                self._puts.locating.stale(self._route)
            self._end()
            self.begin(None)
            return []
        return [(peer, 1)] if self._disowning[peer] <= 2 else writing.out(peer)

    def _owner_is_late(self, writing: Writing) -> None:
        if self._route is not None:
            self._puts.is_late(self._route.owner)
        writing.awaits_owner = False
        self._stop_waiting()
        self._go_on(writing, [])

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer in self._puts.waiting:
            del self._puts.waiting[timer]
            if timer.active():
                timer.cancel()

    def _end(self) -> None:
        self._stop_waiting()
        self._writing = None
        self._publication.is_on_its_way = False

    # Versions

    def _was_overtaken(self, there: Version, version: Version) -> bool:
        """Whether the newer version that stands there came after this put: another put of this node, or one that
        somebody else took while this one was on its way. Then this one was stored for a moment, as it were.
        """
        publication = self._publication
        if not publication.is_plain or there <= version:
            return False
        if there.publisher == self._puts.ring.me.packed and not publication.is_current:
            return True
        return there.ms <= self._puts.ring.neighbours_time_ms()

    def _stamp_again(self, writing: Writing, there: Version) -> None:
        """Put it once more behind a version that our clock has not reached, once: our clock is slow, or that of its
        publisher is fast, and the put came later all the same.
        """
        publication, puts = self._publication, self._puts
        is_fresh = publication.is_current and puts.clock.seconds() <= publication.fresh_until_s
        if publication.stamped_again or not is_fresh or not publication.is_plain:
            return
        versioned = publication.versioned
        version = None if there <= versioned.version else self._version_behind(there, writing)
        if version is None:
            return
        puts.report_ahead(there)
        publication.stamped_again = True
        publication.confirmed = False
        publication.versioned = replace(versioned, version=version)
        self._stop_waiting()
        self._writing = None
        self.begin(puts.locating.known(position_of(versioned.key), versioned.copies))

    def _version_behind(self, there: Version, writing: Writing) -> Version | None:
        key, now_ms = self._publication.versioned.key, self._puts.ring.neighbours_time_ms()
        if not is_ahead(there, now_ms):
            self._puts.versions.see(there, now_ms, key)
            return self._puts.versions.next(now_ms, key)
        # Not on the word of one: a liar could claim the far future, and all others would refuse what follows it.
        if sum(reason == "newer" for reason in writing.refusals.values()) < writing.quorum:
            return None
        return self._puts.versions.after(there)
