"""Looking after what was put through this node, until its life ends.

A put is stamped when it arrives and lives from then on. Until its replicas have confirmed it this node serves it
itself; afterwards it asks the owner now and then whether it is still there, and stores the very same version again when
it is not, unless somebody has a newer one. How it gets to its replicas is told in `puts`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chordtwist.core import errors
from chordtwist.core.backoff import backoff_s, jittered
from chordtwist.core.claims import Claim
from chordtwist.core.lookup import Route
from chordtwist.core.records import GRACE_MS, PutResult, Record, Versioned, position_of, precedence
from chordtwist.core.versions import FOLLOWED_MS_MAX, VersionClock
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.incoming import Incoming
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.locating import Locating
from chordtwist.node.records.publication import EXPIRED, OVERWRITTEN, PUT_WITHIN_S, Publication
from chordtwist.node.records.puts import Puts
from chordtwist.wire.peer_messages import Answer, Fetch, Found, NotFound, NotMine

RETRY_S, RETRY_SLOWEST_S = 0.5, 60.0
"""A write that could not be done is tried again after so long, then after twice as long each."""

LOOK_AFTER_S = (15.0, 60.0, 240.0)
LOOK_AFTER_SLOWEST_S = 600.0
"""When a replica is asked whether a published record is still there, one after another, the owner first: soon after it
was put, when a ring in trouble may have lost it, then every ten minutes. Repair keeps it; this is for the case that all
its replicas went at once, or that an owner repairs nothing."""

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

REASONS = {
    "newer": "a newer record stands under that key",
    "higher seq": "a record with a higher seq stands there, or another value with this one",
    "kind": "a record that proves its key stands there: nothing else may replace it",
    "clock": "this node's clock is ahead of the others by more than a minute",
    "full": "too few nodes have room for it",
    "seq": "another seq stands there than the one to be replaced",
    "wrong": "it is not what its kind demands: the key, or the signature, does not fit",
}
"""What a refusal means, in words."""

FINAL = ("newer", "kind", "seq", "wrong", "clock")
"""Reasons that another attempt would not change."""


class Publisher:
    """Everything this node has put, by key: at most one each."""

    def __init__(
        self,
        ring: IRing,
        local_records: LocalRecords,
        locating: Locating,
        incoming: Incoming,
        versions: VersionClock,
        judge: Callable[[bytes], Deferred[Claim | None]],
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param judge: see `Reader.judge`."""
        self._ring = ring
        self._locating = locating
        self._incoming = incoming
        self._local_records = local_records
        self._judge = judge
        self._clock = clock
        self._rng = rng
        self._puts = Puts(ring, local_records, locating, versions, clock, self)
        # A plain dictionary takes the longer to find its oldest the more of the older ones are gone.
        self._publications: OrderedDict[bytes, Publication] = OrderedDict()
        self._started_s = clock.seconds()
        self._forgotten_ms = 0
        """The newest version of those that were forgotten before their lives ended."""
        self._bytes = 0
        self._due: list[tuple[float, int, bytes]] = []
        """When to look at which key; of each publication only its last place counts. Keys, not publications: a key
        that is overwritten again and again would keep all its values here.
        """
        self._serial = 0
        self._timer: IDelayedCall | None = None

    # What the node asks

    def publish(self, versioned: Versioned, expected_seq: int | None) -> Deferred[PutResult]:
        """Bring it to its replicas. Fires with a `PutResult` when it is confirmed; fails with `Refused` or
        `Unreachable`.
        """
        if self._puts.stopped:
            return fail(errors.Unreachable(None, errors.STOPPED))
        if not self._make_room(versioned):
            return fail(errors.Refused(CROWDED))
        publication = Publication(versioned, expected_seq, self._clock.seconds())
        result = publication.result
        assert result is not None
        self._remember(publication)
        self._schedule(PUT_WITHIN_S, publication)
        self._puts.begin(publication, self._locating.known(position_of(versioned.key), versioned.copies))
        return result

    def forgotten_ms(self) -> int:
        """Say up to which version puts may be forgotten: those of another run are, whose clock may have been ahead of
        ours, and those that had to make room, or that others have refused or replaced.
        """
        run_ms = int((self._clock.seconds() - self._started_s) * 1000)
        return max(0, self._forgotten_ms, self._ring.neighbours_time_ms() - run_ms + FOLLOWED_MS_MAX)

    def published(self, key: bytes) -> Versioned | None:
        """Name what was put here under `key`, while it lives."""
        publication = self._publications.get(key)
        if publication is None or publication.is_over(self._local_records.now_ms()):
            return None
        return publication.versioned

    def unconfirmed(self, key: bytes) -> Versioned | None:
        """Name what was put here under `key` and is not confirmed yet, while it lives."""
        publication = self._publications.get(key)
        return None if publication is None or publication.confirmed else self.published(key)

    def on_their_way(self) -> list[Versioned]:
        """List everything that was put here, lives, and is not confirmed yet."""
        now_ms = self._local_records.now_ms()
        return [
            publication.versioned
            for publication in self._publications.values()
            if not publication.confirmed and not publication.is_over(now_ms)
        ]

    def ended(self, record: Record) -> bool:
        """Whether a record that a replica still has was put here and has lived its life."""
        publication = self._publications.get(record.key)
        return publication is not None and publication.has_ended(record, self._local_records.now_ms())

    def exact(self, record: Record) -> Record:
        """Give a record the exact end of its life, where it was put here."""
        publication = self._publications.get(record.key)
        return record if publication is None else publication.exact(record)

    def stop(self) -> None:
        """End every timer; results that are awaited fail."""
        self._puts.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        publications, self._publications = list(self._publications.values()), OrderedDict()
        for publication in publications:
            publication.is_current = False
            publication.fail(errors.Unreachable(None, errors.STOPPED))

    def __len__(self) -> int:
        return len(self._publications)

    # What becomes of a put

    def confirmed(self, publication: Publication, copies: int) -> None:
        """Look after it from now on, and tell whoever waits."""
        if not publication.confirmed:
            publication.confirmed = True
            publication.expected_seq = None  # it stands; looking after it swaps nothing
            publication.retries = 0
            if publication.overtaken:
                self._forget(publication)
            else:
                self._look_later(publication)
        publication.succeed(copies, self._local_records.now_ms())

    def refused(self, publication: Publication, reason: str) -> None:
        """Forget it, or try it again where that may help, and tell whoever waits."""
        versioned = publication.versioned
        if reason == "clock":
            # To our clock it was right. When theirs get there it would take the place of what was put meanwhile.
            here = self._local_records.get(versioned.key)
            if here is not None and here.version == versioned.version:
                self._local_records.remove(versioned.key)
        if reason in FINAL:
            self._forget(publication)
        elif not publication.confirmed:
            self.try_again(publication)
        if reason == "newer" and versioned.seal is not None:
            reason = "higher seq"
        publication.fail(errors.Refused(REASONS.get(reason, reason)))

    def try_again(self, publication: Publication) -> None:
        """Try it again after a while, longer each time."""
        if not publication.is_current:
            publication.fail(errors.Refused(OVERWRITTEN))
            return
        wait_s = backoff_s(publication.retries, RETRY_S, RETRY_SLOWEST_S)
        publication.retries += 1
        self._schedule(jittered(wait_s, self._rng), publication)

    # Looking after it

    def _look_later(self, publication: Publication) -> None:
        looks = publication.looks
        publication.looks += 1
        wait_s = LOOK_AFTER_S[looks] if looks < len(LOOK_AFTER_S) else LOOK_AFTER_SLOWEST_S
        self._schedule(jittered(wait_s, self._rng), publication)

    def _attend(self, publication: Publication) -> None:
        """Forget it, give it up, try it again, or look after it: its time has come."""
        now_ms = self._local_records.now_ms()
        if publication.give_up_s <= self._clock.seconds():
            why = errors.TOO_FEW if self._ring.is_member else errors.IN_NO_RING
            publication.fail(errors.Unreachable(None, why))
        if publication.is_over(now_ms):
            publication.fail(errors.Unreachable(None, EXPIRED))
            grace_ms = publication.versioned.expiry_ms + GRACE_MS - now_ms
            if grace_ms > 0:
                self._schedule(grace_ms / 1000, publication)
            else:
                self._forget(publication)
        elif publication.confirmed:
            self._look(publication, self._locating.known(position_of(publication.versioned.key), 1))
        else:
            self._schedule(RETRY_SLOWEST_S, publication)
            if not publication.is_on_its_way:
                self._puts.begin(publication, None)

    def _look(self, publication: Publication, route: Route | None) -> None:
        self._look_later(publication)
        if route is None:
            self._locating.find(position_of(publication.versioned.key)).addCallbacks(
                lambda found: self._ask_replica(publication, found), lambda failure: None
            )
        else:
            self._ask_replica(publication, route)

    def _ask_replica(self, publication: Publication, route: Route) -> None:
        if not publication.is_current or publication.is_over(self._local_records.now_ms()):
            return
        me = self._ring.me
        rank = (publication.looks - 2) % min(publication.versioned.copies, len(route.replicas))
        peer = route.replicas[rank]
        # An owner compares with the others in its rounds.
        if me in (route.owner, peer) and self._is_here(publication):
            return
        self._ring.ask(peer, Fetch(publication.versioned.key, rank, False)).addCallbacks(
            self._replica_said, lambda failure: None, callbackArgs=(publication, route)
        )

    def _is_here(self, publication: Publication) -> bool:
        versioned = publication.versioned
        if publication.is_plain:
            # Its version says it all; the value may stay where it is, on the disk.
            entry, now_ms = self._local_records.store.entry(versioned.key), self._local_records.now_ms()
            return entry is not None and entry.version == versioned.version and entry.expiry_ms > now_ms
        here = self._local_records.get(versioned.key)
        return here is not None and precedence(here) == precedence(versioned)

    def _replica_said(self, answer: Answer, publication: Publication, route: Route) -> None:
        if not publication.is_current or publication.is_over(self._local_records.now_ms()):
            return
        if isinstance(answer, NotMine):
            self._locating.stale(route)
            self._puts.begin(publication, None)
        elif isinstance(answer, (Found, NotFound)):
            said = self._incoming.said(publication.versioned.key, answer, value=False)
            ours = precedence(publication.versioned)
            if said is None or said.precedence is None or said.precedence < ours:
                self._puts.begin(publication, route)
            elif said.precedence > ours and said.is_plain:
                self._judge(publication.versioned.key).addCallback(self._forget_if_older, publication)
            elif said.precedence > ours:
                self._forget(publication)

    def _forget_if_older(self, claim: Claim | None, publication: Publication) -> None:
        """Leave it to another publisher that is believed to have put something newer: one replica says anything."""
        if claim is not None and claim.precedence > precedence(publication.versioned):
            self._forget(publication)

    # How many there are

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
            before.is_current = False
            if not before.is_on_its_way:
                before.fail(errors.Refused(OVERWRITTEN))
        self._publications[publication.versioned.key] = publication
        self._bytes += publication.versioned.value_bytes

    def _forget(self, publication: Publication) -> None:
        if publication.is_current:
            publication.is_current = False
            del self._publications[publication.versioned.key]
            self._bytes -= publication.versioned.value_bytes
            if not publication.is_over(self._local_records.now_ms()):
                self._forgotten_ms = max(self._forgotten_ms, publication.versioned.version.ms)

    def _schedule(self, wait_s: float, publication: Publication) -> None:
        if self._puts.stopped:
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
