"""A process of a simulated network that is no member, and answers what it is asked."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from chordtwist.core.peer import Peer
from chordtwist.node.interfaces import IAnswer
from chordtwist.simulation.signer import SimulatedSigner
from chordtwist.simulation.world import World
from chordtwist.wire.peer_messages import Answer, Pong, Question


@implementer(IAnswer)
class Stranger:
    """A process with a key of its own, at an address that nobody else has, or at a given one."""

    def __init__(self, world: World, me: Peer | None = None) -> None:
        self.world = world
        self.me = world.address() if me is None else me
        self.signer = SimulatedSigner(self.me.packed)
        self.link = world.network.link(self.me, self.signer.public)
        self.link.listen(self)

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        return Pong()

    def link_lost(self, peer: Peer, reason: str) -> None:
        """Pass it over."""

    def breach(self, peer: Peer, reason: str) -> None:
        """Pass it over."""

    def tell(self, others: Iterable[Peer], *questions: Question) -> None:
        """Ask all of them all that, whatever comes of it."""
        for other in others:
            for question in questions:
                self.link.ask(other, question).addErrback(lambda failure: None)
