"""What one node is on the ring: how it becomes a member, loses neighbours, and is a member no more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.peer import Peer
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.bootstrap import Bootstrap
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.wire.peer_messages import Notify

ENTER_AGAIN_S = 5.0
"""Wait after an error of ours while joining: an operator sees it in the log, and the node does not give up."""


class Duty(Protocol):
    """What a member does again and again."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Membership:
    """The status of one node on its ring, and who has to know when that, or a neighbour, changes: `Node` lists them."""

    _log = Logger()

    def __init__(
        self,
        routing: Routing,
        statements: Statements,
        asking: Asking,
        tables: Tables,
        bootstrap: Bootstrap,
        next_epoch: Callable[[], int],
        clock: IReactorTime,
        note: Callable[[str], None],
    ) -> None:
        """@param next_epoch: a number for another run of this node on the ring, above all it has given.
        @param note: told in words what happens to the node.
        """
        self.status = Status.JOINING
        self.was_member = False
        """Whether it has been a member since its process began; it has its records still when it joins afresh."""
        self.duties: list[Duty] = []
        """Begun when it has become a member, ended when it is one no more."""
        self.when_live: list[Callable[[Peer | None], None]] = []
        """Called when it has become a member, with the old owner of its arc; None where it began a ring."""
        self.when_changed: list[Callable[[], None]] = []
        """Called after every change of a ring pointer or of the status."""
        self.when_dropped: list[Callable[[Peer, bool], None]] = []
        """Called with a peer that was dropped, and whether it was our head."""
        self._routing = routing
        self._statements = statements
        self._asking = asking
        self._tables = tables
        self._bootstrap = bootstrap
        self._next_epoch = next_epoch
        self._clock = clock
        self._note = note

    @property
    def is_member(self) -> bool:
        """Whether it is a member now."""
        return self.status is Status.MEMBER

    @property
    def epoch(self) -> int:
        """The number of this run of the node on the ring."""
        return self._statements.epoch

    def enter(self, through: Iterable[Peer] = ()) -> None:
        """Join the ring of `through` or of whoever is listed, or begin one; try until that is done or it is to end."""
        Deferred.fromCoroutine(self._enter(through)).addErrback(self._not_entered)

    async def _enter(self, through: Iterable[Peer]) -> None:
        old_owner = await self._bootstrap.enter(lambda: self.status is Status.JOINING, through)
        if self.status is not Status.JOINING:
            return
        routing = self._routing
        if old_owner is None:
            routing.begin()
        self.was_member = True
        self._become(Status.MEMBER)
        for told in self.when_live:
            told(old_owner)
        if routing.head is not None:
            # Not only after a round: until it knows us, our head answers for our arc.
            self._asking.tell((routing.head,), Notify(self.epoch))
        if routing.head is None:
            where = "the first of it"
        else:
            where = f"between {routing.predecessor or routing.me} and {routing.head}"
        self._log.info("member of the ring: {me}, {where}", me=str(routing.me), where=where)
        self._note(f"became a member, {where}")
        self._begin_duties()

    def _not_entered(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return  # its node stops
        if self._bootstrap.failed(failure.getErrorMessage() or repr(failure.value)):
            self._log.failure("joining failed; it goes on", failure)
        if self.is_member:
            self._begin_duties()
        else:
            self._clock.callLater(ENTER_AGAIN_S, self.enter)

    def rejoin(self, through: Iterable[Peer] = ()) -> None:
        """Stop being a member, as another run of this node, and join the ring of `through`, or any, afresh."""
        if not self.is_member:
            return
        self._note("joins the ring afresh")
        self._statements.begin_epoch(self._next_epoch())
        self._become(Status.JOINING)
        self._end_duties()
        neighbours = self._routing.everybody()
        told = self._asking.tell(neighbours, self._statements.leave(Status.JOINING))
        for peer in reversed(neighbours):
            self._bootstrap.lost(peer)
        told.addCallback(lambda _: self.enter(through))

    async def leave(self) -> None:
        """Stop being a member, or becoming one, for good, and tell the neighbours."""
        neighbours = self._routing.neighbours() if self.is_member else []
        self._note("leaves the ring")
        self._become(Status.LEAVING)
        await self._asking.tell(neighbours, self._statements.leave(Status.LEAVING))

    def end(self) -> None:
        """End every duty at once, and tell nobody."""
        self.status = Status.LEAVING
        self._end_duties()

    def drop(self, peer: Peer, why: str) -> None:
        """Forget a peer, since it died, left or is another run of itself; `why` is said of it in the events."""
        was_head = peer == self._routing.head
        known = self._asking.is_known(peer)
        self._tables.forget(peer)
        if self._routing.drop(peer):
            self._log.debug("lost {peer}: it {why}", peer=str(peer), why=why)
            self._note(f"{peer} {why}")
            if known:
                self._bootstrap.lost(peer)
            self.changed()
        for told in self.when_dropped:
            told(peer, was_head)

    def changed(self) -> None:
        """Tell all who have to know that a ring pointer, or the status, is another."""
        for told in self.when_changed:
            told()

    def _become(self, status: Status) -> None:
        self.status = status
        self.changed()

    def _begin_duties(self) -> None:
        for duty in self.duties:
            duty.start()

    def _end_duties(self) -> None:
        for duty in self.duties:
            duty.stop()
