"""Rectify: what a member does about whoever notifies it (Zave's corrected Chord, section 5; in the Chord paper, section
5.1, it believes the notifier unseen).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chordtwist.core.allowance import Allowance
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.ring import between
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status
from chordtwist.node.ring.admission import Admission
from chordtwist.node.ring.member_checks import MemberChecks
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.tables import Tables

LOOKS_PER_S, LOOKS_AT_ONCE = 1.0, 5.0
"""Looks at one notifier: a node notifies once in a round of stabilizing, 1 s, and some times more while the ring
changes. What it answers to our questions is charged to nobody."""


class Rectifying:
    """Looks at those that notify one member, and takes them as its predecessor where it should."""

    _log = Logger()

    def __init__(
        self,
        membership: Membership,
        routing: Routing,
        tables: Tables,
        admission: Admission,
        member_checks: MemberChecks,
        seconds: Callable[[], float],
    ) -> None:
        """@param seconds: the steady clock."""
        self._membership = membership
        self._routing = routing
        self._tables = tables
        self._admission = admission
        self._member_checks = member_checks
        self._seconds = seconds
        self._looks = Allowance(LOOKS_PER_S, LOOKS_AT_ONCE)
        self._notifiers: dict[bool, Peer | None] = {}
        """While one that is closer than our predecessor is looked at, and while one that is not: who is next."""
        self._left: Peer | None = None
        """The predecessor, once it has said that it is no member any more."""

    def status_said(self, peer: Peer, status: Status) -> None:
        """Hear that a peer is no member any more, by its own word."""
        if peer == self._routing.predecessor:
            # Who joins afresh answers for itself, as a member before long.
            self._left = peer if status is Status.LEAVING else None

    def notified(self, notifier: Peer) -> None:
        """Of those that notify while one is being looked at remember the closest.

        Who is closer than our predecessor does not wait for those that are not: their turn may take as long as a death.
        Whoever was looked at too often is not looked at: if it is our predecessor, it will notify us again.
        """
        if self._looks.wait_s(notifier.id, self._seconds()) > 0:
            return
        is_closer = self._routing.wants_predecessor(notifier)
        if is_closer not in self._notifiers:
            Deferred.fromCoroutine(self._rectify_all(is_closer, notifier)).addErrback(
                lambda failure: self._log.failure("rectify failed", failure)
            )
            return
        waiting = self._notifiers[is_closer]
        if waiting is None or between(waiting.id, notifier.id, self._routing.me.id):
            self._notifiers[is_closer] = notifier

    async def _rectify_all(self, is_closer: bool, notifier: Peer | None) -> None:
        try:
            while notifier is not None:
                self._notifiers[is_closer] = None
                await self._rectify(notifier, is_closer)
                notifier = self._notifiers[is_closer]
        finally:
            del self._notifiers[is_closer]

    async def _rectify(self, notifier: Peer, is_closer: bool) -> None:
        routing = self._routing
        self._looks.spend(notifier.id, 1, self._seconds())
        try:
            table = await self._tables.fetch(notifier, is_caller=True)
        except Unreachable:
            return
        if self._member_checks.is_elsewhere(table) or not self._admission.lets_pass(notifier):
            return
        self._admission.gone_live(notifier)
        dead = False
        present = routing.predecessor
        if present is not None and not routing.wants_predecessor(notifier):
            if notifier == present or is_closer:
                return  # one that is closer still came before it
            dead = present == self._left or not await self._member_checks.is_member_still(present)
        if self._membership.is_member and (not dead or present == routing.predecessor):
            if notifier == self._left:
                self._left = None  # it is back
            if routing.rectify(notifier, dead):
                self._membership.changed()
