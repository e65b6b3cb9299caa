"""Every question of a node goes through here: that a peer answers, or does not, tells of its life."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail
from twisted.python.failure import Failure

from chordtwist.core.errors import ChordtwistError, Malformed, NotDialled, Unreachable, Untruthful
from chordtwist.core.liveness import Liveness
from chordtwist.core.peer import Peer
from chordtwist.node.interfaces import IPeerLink
from chordtwist.node.ring.dial_limits import DialLimits
from chordtwist.wire.peer_messages import Answer, NotMember, Question

T = TypeVar("T")

CONVICTED = "it is convicted"


async def answers_to(asked: Iterable[Deferred[T]]) -> list[T | None]:
    """Wait for what all of those asked say, in their order; None stands for one that cannot be reached."""
    reached = [answer.addErrback(lambda failure: failure.trap(Unreachable) and None) for answer in asked]
    return [answer for _, answer in await DeferredList(reached)]


class Asking:
    """Asks for one node."""

    def __init__(
        self,
        link: IPeerLink,
        liveness: Liveness,
        dial_limits: DialLimits,
        no_member: Callable[[Peer, NotMember], None],
        seconds: Callable[[], float],
    ) -> None:
        """@param no_member: told of a peer that answers so. @param seconds: the steady clock."""
        self._link = link
        self._liveness = liveness
        self._dial_limits = dial_limits
        self._no_member = no_member
        self._seconds = seconds

    def is_known(self, peer: Peer) -> bool:
        """Whether a peer has ever answered us."""
        return self._dial_limits.is_known(peer)

    def ask_once(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask_once`, in the same way as `ask`."""
        return self.ask(peer, question, is_once=True)

    def ask(self, peer: Peer, question: Question, is_once: bool = False) -> Deferred[Answer]:
        """`IPeerLink.ask`, with every failure as `Unreachable`; what it says of the peer's life is noted.

        A peer that has never answered is not dialled when that would be too often, which says nothing of its life. One
        that is convicted is not asked at all, nor heard any more.
        """
        if self._liveness.is_condemned(peer):
            return fail(Unreachable(peer, CONVICTED))
        if self._dial_limits.is_known(peer):
            return self._ask(peer, question, is_once)
        reason = self._dial_limits.why_not_dial(peer)
        if reason is not None:
            return fail((Unreachable if self._dial_limits.has_failed(peer) else NotDialled)(peer, reason))
        self._dial_limits.dialled(peer)
        return self._ask(peer, question, is_once).addBoth(self._met, peer)

    def _ask(self, peer: Peer, question: Question, is_once: bool) -> Deferred[Answer]:
        ask = self._link.ask_once if is_once else self._link.ask
        return ask(peer, question).addCallbacks(
            self._answered, self._unanswered, callbackArgs=(peer,), errbackArgs=(peer,)
        )

    def tell(self, peers: Iterable[Peer], question: Question) -> Deferred[None]:
        """Tell all of them at once; fires when each has answered or is known to be silent."""
        asked = [self.ask(peer, question) for peer in dict.fromkeys(peers)]
        return DeferredList(asked, consumeErrors=True).addCallback(lambda _: None)

    def _met(self, answer: Answer | Failure, peer: Peer) -> Answer | Failure:
        error = answer.value if isinstance(answer, Failure) else None
        self._dial_limits.ended(peer, error.reason if isinstance(error, Unreachable) else "it did not answer")
        return answer

    def _answered(self, answer: Answer, peer: Peer) -> Answer:
        if self._liveness.is_condemned(peer):
            raise Unreachable(peer, CONVICTED)
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
