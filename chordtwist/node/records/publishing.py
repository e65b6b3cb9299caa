"""What this node has taken for others: brought to the replicas, and looked after until its life ends.

A put is stamped when it arrives and lives from then on. Until its replicas have confirmed it this node serves it
itself; afterwards it asks the owner now and then whether it is still there, and stores the very same version again when
it is not, unless somebody has a newer one.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import heappop, heappush
from random import Random

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core import errors
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.records import PutResult, Record, RecordKind, Version, Versioned, position_of, precedence
from chordtwist.core.versions import AHEAD_MS_MAX, VersionClock, is_ahead
from chordtwist.core.writing import Writing
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.incoming import Incoming
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.record_bodies import body_of
from chordtwist.wire.peer_messages import Answer, Fetch, Found, NotFound, NotMine, Refused, Store, Stored

PUT_WITHIN_S = 10.0
"""A put that is not confirmed by then is reported as not confirmed; it is tried on until its life ends."""

STAMPED_AGAIN_WITHIN_S = 5.0
"""So long after its arrival a put may be stamped again behind a version from our future: it came later. One that is
only looked after, or tried once more after minutes, may well be older than that version."""

RETRY_S, RETRY_SLOWEST_S = 0.5, 60.0
"""A write that could not be done is tried again after so long, then after twice as long each."""

LOOK_AFTER_S = (15.0, 60.0, 240.0)
LOOK_AFTER_SLOWEST_S = 600.0
"""When the owner is asked whether a published record is still there: soon after it was put, when a ring in trouble may
have lost it, then every ten minutes. Repair keeps it; this is for the case that all its replicas went at once."""

GRACE_MS = 5_000
"""For so long after its end a publication is remembered: a replica's copy lives longer by the delay of its way, and
this node, which knows the exact end, must not serve it then."""

SKEW_REPORTED_EVERY_S = 60.0
"""A clock that is wrong is wrong for every put: one line a minute says so."""

DUE_AT_ONCE = 200
"""Publications attended to in one turn of the reactor: about a millisecond of its time."""

WAIT_S_MIN = 0.002
"""Clocks fire a hair early or late; ends are whole milliseconds."""

ATTENDED_EVERY_S = 0.05
"""What comes due one behind another is attended to together, so far apart: behind a stream of puts it is thousands in a
second, and a turn of the reactor for each cost more than they did."""

PUBLICATION_BYTES_MAX = 64 << 20
PUBLICATIONS_MAX = 100_000
"""Beyond this the oldest that are confirmed are no longer looked after by this node; their replicas keep them all the
same. While there is none, new puts are refused: the others would be lost."""

PASSED_OVER_MAX = 8
"""Unconfirmed ones that one put passes over in search of one that is confirmed; they are not looked at again soon."""

CROWDED = "this node has too many puts under way"


OVERWRITTEN = "a later put through this node has taken its place before it was confirmed"
EXPIRED = "it expired before enough replicas answered"
STOPPED = "this node stops"


class Publication:
    """One put of this node."""

    __slots__ = (
        "confirmed",
        "due",
        "expected_seq",
        "fresh_until_s",
        "give_up_s",
        "looks",
        "overtaken",
        "result",
        "retries",
        "stamped_again",
        "versioned",
        "writing",
    )

    def __init__(
        self, versioned: Versioned, expected_seq: int | None, began_s: float, result: Deferred[PutResult]
    ) -> None:
        self.versioned = versioned
        self.give_up_s = began_s + PUT_WITHIN_S
        self.fresh_until_s = began_s + STAMPED_AGAIN_WITHIN_S
        self.due = 0
        """Which of its places in the queue counts: the last one."""
        self.expected_seq = expected_seq
        self.result: Deferred[PutResult] | None = result
        self.writing: Writing | None = None
        """While somebody who was asked to keep it has not answered."""
        self.confirmed = False
        self.stamped_again = False
        self.overtaken = False
        self.retries = 0
        self.looks = 0


class Publisher:
    """Everything this node has put, by key: at most one each."""

    _log = Logger()

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        locating: Locating,
        incoming: Incoming,
        versions: VersionClock,
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        self._ring = ring
        self._me = ring.me
        self._locating = locating
        self._incoming = incoming
        self._local_records = local_records
        self._versions = versions
        self._clock = clock
        self._rng = rng
        self._now_ms = ring.neighbours_time_ms
        # A plain dictionary takes the longer to find its oldest the more of the older ones are gone.
        self._publications: OrderedDict[bytes, Publication] = OrderedDict()
        self._bytes = 0
        self._due: list[tuple[float, int, bytes]] = []
        """When to look at which key; of each publication only its last place counts. Keys, not publications: a key
        that is overwritten again and again would keep all its values here.
        """
        self._serial = 0
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self._skew_again_s = clock.seconds()

    # What the node asks

    def publish(self, versioned: Versioned, expected_seq: int | None) -> Deferred[PutResult]:
        """Bring it to its replicas. Fires with a `PutResult` when it is confirmed; fails with `Refused` or
        `Unreachable`.
        """
        if self._stopped:
            return fail(errors.Unreachable(None, STOPPED))
        if not self._make_room(versioned):
            return fail(errors.Refused(CROWDED))
        result: Deferred[PutResult] = Deferred()
        publication = Publication(versioned, expected_seq, self._clock.seconds(), result)
        self._remember(publication)
        self._schedule(PUT_WITHIN_S, publication)
        self._write(publication, self._locating.known(position_of(versioned.key), versioned.copies))
        return result

    def unconfirmed(self, key: bytes) -> Versioned | None:
        """What was put here under `key` and is not confirmed yet, while it lives."""
        publication = self._publications.get(key)
        if (
            publication is None
            or publication.confirmed
            or publication.versioned.expiry_ms <= self._local_records.now_ms()
        ):
            return None
        return publication.versioned

    def on_their_way(self) -> list[Versioned]:
        """Everything that was put here, lives, and is not confirmed yet."""
        now_ms = self._local_records.now_ms()
        return [
            publication.versioned
            for publication in self._publications.values()
            if not publication.confirmed and publication.versioned.expiry_ms > now_ms
        ]

    def ended(self, record: Record) -> bool:
        """Whether a record that a replica still has was put here and has lived its life."""
        publication = self._publications.get(record.key)
        return (
            publication is not None
            and publication.versioned.version == record.version
            and publication.versioned.expiry_ms <= self._local_records.now_ms()
            and not _outlives(record, publication.versioned)
        )

    def exact(self, record: Record) -> Record:
        """The record with the exact end of its life, where it was put here."""
        publication = self._publications.get(record.key)
        if publication is None or publication.versioned.version != record.version:
            return record
        exact_ms = publication.versioned.expiry_ms
        if record.expiry_ms <= exact_ms or _outlives(record, publication.versioned):
            return record
        return replace(record, expiry_ms=exact_ms)

    def stop(self) -> None:
        """End every timer; results that are awaited fail."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        publications, self._publications = list(self._publications.values()), OrderedDict()
        for publication in publications:
            self._fail(publication, errors.Unreachable(None, STOPPED))

    def __len__(self) -> int:
        return len(self._publications)

    # Bringing it there

    def _write(self, publication: Publication, route: Route | None) -> None:
        if route is None:
            self._locating.find(position_of(publication.versioned.key)).addCallbacks(
                lambda found: self._write(publication, found),
                self._not_found,
                errbackArgs=(publication,),
            )
            return
        if not self._is_current(publication):
            self._fail(publication, errors.Refused(OVERWRITTEN))
            return
        if self._is_over(publication):
            return
        writing = publication.writing = Writing(route.replicas, publication.versioned.copies)
        for peer, rank in writing.begin():
            self._store(publication, writing, peer, rank)

    def _not_found(self, failure: Failure, publication: Publication) -> None:
        if not failure.check(errors.Unreachable):
            self._log.failure("a search failed", failure)
        self._retry(publication)

    def _store(self, publication: Publication, writing: Writing, peer: Peer, rank: int) -> None:
        if self._is_over(publication):
            self._fail(publication, errors.Unreachable(None, EXPIRED))
            return
        body = body_of(publication.versioned, self._local_records.now_ms())
        self._ring.ask(peer, Store(body, rank, publication.expected_seq)).addCallbacks(
            self._answered,
            self._silent,
            callbackArgs=(publication, writing, peer, publication.versioned.version),
            errbackArgs=(publication, writing, peer),
        )

    def _silent(self, failure: Failure, publication: Publication, writing: Writing, peer: Peer) -> None:
        if not failure.check(errors.ChordtwistError):
            self._log.failure("storing at {peer} failed", failure, peer=str(peer))
        self._go_on(publication, writing, writing.out(peer))

    def _answered(
        self, answer: Answer, publication: Publication, writing: Writing, peer: Peer, version: Version
    ) -> None:
        sends: list[tuple[Peer, int]] = []
        if isinstance(answer, Stored):
            writing.stored(peer)
        elif isinstance(answer, Refused):
            if answer.reason == "newer" and self._may_be_ours(answer, publication, version):
                writing.stored(peer)
            elif answer.reason == "leaving":
                sends = writing.out(peer)
            else:
                writing.refused(peer, answer.reason)
                if answer.reason == "newer" and self._stamp_again(publication, writing, answer):
                    return
                if answer.reason == "clock":
                    self._report_skew(answer, peer)
        elif isinstance(answer, NotMine):
            try:
                sends = writing.not_mine(peer, self._ring.identity.unpack(answer.predecessor))
            except ValueError:
                sends = writing.out(peer)
        else:
            sends = writing.out(peer)
        self._go_on(publication, writing, sends)

    def _go_on(self, publication: Publication, writing: Writing, sends: list[tuple[Peer, int]]) -> None:
        if self._stopped:
            self._fail(publication, errors.Unreachable(None, STOPPED))
            return
        if publication.writing is not writing:
            return
        for peer, rank in sends:
            self._store(publication, writing, peer, rank)
        if writing.done:
            self._confirm(publication, writing)
        elif writing.refusal is not None:
            self._refuse(publication, writing.refusal)
        elif writing.over and not publication.confirmed:
            self._retry(publication)
        if writing.over and publication.writing is writing:
            publication.writing = None

    def _confirm(self, publication: Publication, writing: Writing) -> None:
        if not publication.confirmed:
            publication.confirmed = True
            publication.expected_seq = None  # it stands; looking after it swaps nothing
            publication.retries = 0
            if publication.overtaken:
                self._forget(publication)
            else:
                self._look_later(publication)
        result, publication.result = publication.result, None
        if result is not None:
            versioned = publication.versioned
            ttl_ms = versioned.expiry_ms - self._local_records.now_ms() if isinstance(versioned, Record) else 0
            result.callback(PutResult(len(writing.stored_at), versioned.copies, versioned.version, max(0, ttl_ms)))

    def _refuse(self, publication: Publication, reason: str) -> None:
        if reason == "clock":
            # To our clock it was right. When theirs get there it would take the place of what was put meanwhile.
            here = self._local_records.get(publication.versioned.key)
            if here is not None and here.version == publication.versioned.version:
                self._local_records.remove(publication.versioned.key)
        if reason in ("newer", "kind", "seq", "wrong", "clock"):
            self._forget(publication)
        elif not publication.confirmed:
            self._retry(publication)
        if reason == "newer" and publication.versioned.seal is not None:
            reason = "higher seq"
        self._fail(publication, errors.Refused(_REASONS.get(reason, reason)))

    def _may_be_ours(self, answer: Refused, publication: Publication, version: Version) -> bool:
        """Whether the newer version that stands there came after this put: another put of this node, or one that
        somebody else took while this one was on its way. Then this one was stored for a moment, as it were.
        """
        if not _is_plain(publication.versioned):
            return False
        there = Version(answer.version_ms, answer.publisher)
        if there <= version:
            return False
        if there.publisher == self._me.packed and not self._is_current(publication):
            return True
        if there.ms <= self._now_ms():
            publication.overtaken = True
            return True
        return False

    def _stamp_again(self, publication: Publication, writing: Writing, answer: Refused) -> bool:
        """A version stands there that our clock has not reached: it is slow, or that of its publisher is fast. The put
        came later all the same, so it is stamped again, behind that version, once.
        """
        versioned = publication.versioned
        if publication.stamped_again or not self._is_current(publication) or publication.writing is not writing:
            return False
        if not _is_plain(versioned) or self._clock.seconds() > publication.fresh_until_s:
            return False
        there, now_ms = Version(answer.version_ms, answer.publisher), self._now_ms()
        if there <= versioned.version:
            return False  # the tombstone of this very put, which has ended there
        if is_ahead(there, now_ms):
            # Not on the word of one: a liar could claim the far future, and all others would refuse what follows it.
            if sum(reason == "newer" for reason in writing.refusals.values()) < writing.quorum:
                return False
            version = self._versions.after(there)
        else:
            self._versions.see(there, now_ms, versioned.key)
            version = self._versions.next(now_ms, versioned.key)
        if self._clock.seconds() >= self._skew_again_s:
            self._skew_again_s = self._clock.seconds() + SKEW_REPORTED_EVERY_S
            self._log.info(
                "the clock of {publisher} is ahead of ours by {ahead_ms} ms: a put was stamped again",
                publisher=self._named(there.publisher),
                ahead_ms=there.ms - now_ms,
            )
        publication.stamped_again = True
        publication.confirmed = False
        publication.versioned = replace(versioned, version=version)
        self._write(publication, self._locating.known(position_of(versioned.key), versioned.copies))
        return True

    def _named(self, publisher: bytes) -> str:
        try:
            return str(self._ring.identity.unpack(publisher))
        except ValueError:
            return publisher.hex() or "somebody"

    def _report_skew(self, answer: Refused, peer: Peer) -> None:
        now_s = self._clock.seconds()
        if now_s < self._skew_again_s:
            return
        self._skew_again_s = now_s + SKEW_REPORTED_EVERY_S
        self._log.warn(
            "{peer} refuses what is stamped here: our clock is ahead of its by {ahead_ms} ms, {most_ms} are allowed",
            peer=str(peer),
            ahead_ms=self._now_ms() - answer.version_ms,
            most_ms=AHEAD_MS_MAX,
        )

    # Looking after it

    def _retry(self, publication: Publication) -> None:
        if not self._is_current(publication):
            self._fail(publication, errors.Refused(OVERWRITTEN))
            return
        wait_s = min(RETRY_SLOWEST_S, RETRY_S * (1 << min(publication.retries, 10)))
        publication.retries += 1
        publication.writing = None
        self._schedule(wait_s * (0.5 + self._rng.random()), publication)

    def _look_later(self, publication: Publication) -> None:
        looks = publication.looks
        publication.looks += 1
        wait_s = LOOK_AFTER_S[looks] if looks < len(LOOK_AFTER_S) else LOOK_AFTER_SLOWEST_S
        self._schedule(wait_s * (0.5 + self._rng.random()), publication)

    def _attend(self, publication: Publication) -> None:
        """Its time has come: to be forgotten, given up, tried again, or looked after."""
        now_ms = self._local_records.now_ms()
        if publication.give_up_s <= self._clock.seconds():
            is_in_ring = self._ring.is_member
            why = "too few replicas answered" if is_in_ring else errors.IN_NO_RING
            self._fail(publication, errors.Unreachable(None, why))
        if publication.versioned.expiry_ms <= now_ms:
            self._fail(publication, errors.Unreachable(None, EXPIRED))
            grace_ms = publication.versioned.expiry_ms + GRACE_MS - now_ms
            if grace_ms > 0:
                self._schedule(grace_ms / 1000, publication)
            else:
                self._forget(publication)
        elif publication.confirmed:
            self._look(publication, self._locating.known(position_of(publication.versioned.key), 1))
        else:
            self._schedule(RETRY_SLOWEST_S, publication)
            if publication.writing is None:
                self._write(publication, None)

    def _look(self, publication: Publication, route: Route | None) -> None:
        self._look_later(publication)
        if route is None:
            self._locating.find(position_of(publication.versioned.key)).addCallbacks(
                lambda found: self._ask_owner(publication, found), lambda failure: None
            )
        else:
            self._ask_owner(publication, route)

    def _ask_owner(self, publication: Publication, route: Route) -> None:
        if not self._is_current(publication) or self._is_over(publication):
            return
        if route.owner == self._me and self._is_here(publication.versioned):
            return
        self._ring.ask(route.owner, Fetch(publication.versioned.key, 0, False)).addCallbacks(
            self._owner_said, lambda failure: None, callbackArgs=(publication, route)
        )

    def _is_here(self, versioned: Versioned) -> bool:
        if _is_plain(versioned):
            # Its version says it all; the value may stay where it is, on the disk.
            entry = self._local_records.store.entry(versioned.key)
            return (
                entry is not None
                and entry.version == versioned.version
                and entry.expiry_ms > self._local_records.now_ms()
            )
        here = self._local_records.get(versioned.key)
        return here is not None and precedence(here) == precedence(versioned)

    def _owner_said(self, answer: Answer, publication: Publication, route: Route) -> None:
        if not self._is_current(publication) or self._is_over(publication):
            return
        if isinstance(answer, NotMine):
            self._locating.stale(route)
            self._write(publication, None)
        elif isinstance(answer, (Found, NotFound)):
            said = self._incoming.said(publication.versioned.key, answer, value=False)
            ours = precedence(publication.versioned)
            if said is None or said.precedence is None or said.precedence < ours:
                self._write(publication, route)
            elif said.precedence > ours:
                self._forget(publication)

    # Persistence count

    def _is_current(self, publication: Publication) -> bool:
        return self._publications.get(publication.versioned.key) is publication

    def _is_over(self, publication: Publication) -> bool:
        return publication.versioned.expiry_ms <= self._local_records.now_ms()

    def _make_room(self, versioned: Versioned) -> bool:
        """Whether one more may be remembered; the oldest confirmed ones go for it."""
        publications, passed_over = self._publications, 0
        while (
            self._bytes + versioned.value_bytes > PUBLICATION_BYTES_MAX or len(publications) >= PUBLICATIONS_MAX
        ) and not self._replaces(versioned):
            oldest = next(iter(publications.values()))
            if oldest.confirmed:
                self._forget(oldest)
            elif passed_over == PASSED_OVER_MAX:
                return False
            else:
                passed_over += 1
                publications.move_to_end(oldest.versioned.key)
        return True

    def _replaces(self, versioned: Versioned) -> bool:
        """Whether it takes no more room than what it overwrites."""
        before = self._publications.get(versioned.key)
        return before is not None and before.versioned.value_bytes >= versioned.value_bytes

    def _remember(self, publication: Publication) -> None:
        before = self._publications.pop(publication.versioned.key, None)
        if before is not None:
            self._bytes -= before.versioned.value_bytes
            if before.writing is None:
                self._fail(before, errors.Refused(OVERWRITTEN))
        self._publications[publication.versioned.key] = publication
        self._bytes += publication.versioned.value_bytes

    def _forget(self, publication: Publication) -> None:
        if self._is_current(publication):
            del self._publications[publication.versioned.key]
            self._bytes -= publication.versioned.value_bytes

    def _fail(self, publication: Publication, error: errors.ChordtwistError) -> None:
        result, publication.result = publication.result, None
        if result is not None:
            result.errback(error)

    def _schedule(self, wait_s: float, publication: Publication) -> None:
        if self._stopped:
            return
        now_s = self._clock.seconds()
        left_s = (publication.versioned.expiry_ms - self._local_records.now_ms()) / 1000
        if left_s > 0:
            # A little later, so that the end has come for certain in whole milliseconds.
            wait_s = min(wait_s, left_s + WAIT_S_MIN)
        due_s = now_s + wait_s
        if publication.result is not None:
            due_s = min(due_s, publication.give_up_s)
        # Never at once: what comes a hair too early would come again and again in the same instant.
        due_s = max(due_s, now_s + WAIT_S_MIN)
        self._serial += 1
        publication.due = self._serial
        heappush(self._due, (due_s, self._serial, publication.versioned.key))
        if self._due[0][1] == self._serial:
            self._set_timer()

    def _set_timer(self, wait_s_min: float = WAIT_S_MIN) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            wait_s = max(wait_s_min, self._due[0][0] - self._clock.seconds())
            self._timer = self._clock.callLater(wait_s, self._come_due)

    def _come_due(self) -> None:
        self._timer = None
        now_s = self._clock.seconds()
        for _ in range(DUE_AT_ONCE):
            if not self._due or self._due[0][0] > now_s:
                break
            _, serial, key = heappop(self._due)
            publication = self._publications.get(key)
            if publication is not None and serial == publication.due:
                self._attend(publication)
        if self._timer is None:
            is_behind = bool(self._due) and self._due[0][0] <= now_s
            self._set_timer(WAIT_S_MIN if is_behind else ATTENDED_EVERY_S)


_REASONS = {
    "newer": "a newer record stands under that key",
    "higher seq": "a record with a higher seq stands there, or another value with this one",
    "kind": "a record that proves its key stands there: nothing else may replace it",
    "clock": "this node's clock is ahead of the others by more than a minute",
    "full": "the owner has no room for it",
    "seq": "another seq stands there than the one to be replaced",
    "wrong": "it is not what its kind demands: the key, or the signature, does not fit",
}


def _is_plain(versioned: Versioned) -> bool:
    return versioned.seal is None and not (isinstance(versioned, Record) and versioned.kind is RecordKind.CONTENT)


def _outlives(record: Record, put: Versioned) -> bool:
    """Whether a replica rightly has `record` for longer than it was put for here: of content and signed records the
    longest life wins, which an earlier put has given it. What the way adds to a life is less than the grace.
    """
    return not _is_plain(record) and record.expiry_ms > put.expiry_ms + GRACE_MS
