"""Every question of a node goes through here: that a peer answers, or does not, tells of its life."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from chordtwist.core.errors import ChordtwistError, Malformed, Unreachable, Untruthful
from chordtwist.core.liveness import Liveness
from chordtwist.core.peer import Peer
from chordtwist.node.interfaces import IPeerLink
from chordtwist.wire.peer_messages import Answer, NotMember, Question


class Asking:
    """Asks for one node."""

    def __init__(
        self,
        link: IPeerLink,
        liveness: Liveness,
        no_member: Callable[[Peer, NotMember], None],
        seconds: Callable[[], float],
    ) -> None:
        """@param no_member: told of a peer that answers so. @param seconds: the steady clock."""
        self._link = link
        self._liveness = liveness
        self._no_member = no_member
        self._seconds = seconds

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask`, with every failure as `Unreachable`; what it says of the peer's life is noted."""
        return self._link.ask(peer, question).addCallbacks(
            self._answered, self._unanswered, callbackArgs=(peer,), errbackArgs=(peer,)
        )

    def tell(self, peers: Iterable[Peer], question: Question) -> Deferred[None]:
        """Tell all of them at once; fires when each has answered or is known to be silent."""
        asked = [self.ask(peer, question) for peer in dict.fromkeys(peers)]
        return DeferredList(asked, consumeErrors=True).addCallback(lambda _: None)

    def _answered(self, answer: Answer, peer: Peer) -> Answer:
        self._liveness.answered(peer, self._seconds())
        if isinstance(answer, NotMember):
            with suppress(Malformed, Untruthful):  # whoever asked is told
                self._no_member(peer, answer)
        return answer

    def _unanswered(self, failure: Failure, peer: Peer) -> Failure:
        if failure.check(CancelledError):
            return failure
        self._liveness.unanswered(peer, self._seconds())
        if failure.check(ChordtwistError) and not failure.check(Unreachable):
            return Failure(Unreachable(peer, failure.getErrorMessage()))
        return failure
