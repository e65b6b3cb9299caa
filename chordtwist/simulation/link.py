"""The simulated network as one run of one process sees it: its questions, its links, its end."""

from __future__ import annotations

import sys
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.costs import Costs
from chordtwist.core.peer import Peer
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.simulation.clock import HeapClock, HostClock
from chordtwist.wire.peer_messages import Answer, Question

LINK_IDLE_US = 120_000_000
"""An unused link is closed after this time, as the real pool's `IDLE_S` says; the next question greets again."""

SIMULATED_LINKS_MAX = 256
"""Links of one host that are remembered before the idle ones are forgotten."""


PASSING_ON = frozenset(("asking", "lifetime", "locating", "node", "search", "tables"))
"""Modules of a node that ask for others."""


def asking_part() -> str:
    """Name the module of a node that puts a question: the nearest on the stack that asks for itself.

    A search goes on when an answer comes, and then stands for whoever began it.
    """
    frame = sys._getframe(2)
    passing = "tests"
    while frame is not None:
        name: str = frame.f_globals["__name__"]
        if name.startswith("chordtwist.node."):
            passing = name.rpartition(".")[2]
            if passing not in PASSING_ON:
                break
        frame = frame.f_back  # type: ignore[assignment]
    return passing


class Carrier(Protocol):
    """What a link needs of its network."""

    clock: HeapClock

    def opened(self, link: SimulatedLink) -> None:
        """Take up a process that listens from now on."""

    def send(self, asked: Asked) -> None:
        """Put a question on its way."""

    def greeted(self, part: str) -> None:
        """Count the two Hellos of a new link."""

    def is_linked(self, link: SimulatedLink, peer: Peer) -> bool:
        """Say whether a link to `peer` stands."""

    def end_link(self, link: SimulatedLink, peer: Peer) -> None:
        """End the link to `peer`, since nobody needs it."""

    def ended(self, link: SimulatedLink, crashed: bool, dark: bool) -> None:
        """Tell the peers of a process that ended, as their hosts learn of it."""


class Asked:
    """A question under way. `deferred` is None once it has fired, or when nobody waits."""

    __slots__ = ("answer", "asker", "back_us", "deferred", "limit_us", "part", "peer", "question", "timed", "to")

    def __init__(
        self, deferred: Deferred[Answer] | None, asker: SimulatedLink, peer: Peer, question: Question, part: str
    ) -> None:
        """@param part: of the node that asks, as its bytes are to be counted."""
        self.part = part
        self.deferred = deferred
        self.asker = asker
        self.peer = peer
        self.question = question
        self.to: SimulatedLink | None = None
        self.answer: Answer | None = None
        self.back_us = 0
        self.limit_us = 0
        self.timed = False
        """Whether its failure is scheduled."""

    def echo(self) -> Asked:
        """Copy the question, as one whose answer nobody waits for."""
        copy = Asked(None, self.asker, self.peer, self.question, self.part)
        copy.to = self.to
        copy.limit_us = self.limit_us
        return copy


@implementer(IPeerLink)
class SimulatedLink:
    """The network as one run of one process sees it; `clock` is the time of that process, held and ended with it."""

    def __init__(self, network: Carrier, me: Peer, public: bytes, index: int) -> None:
        self._network = network
        self.me = me
        self.public = public
        self.index = index
        self.clock = HostClock(network.clock)
        self.ended = False
        self.links: dict[SimulatedLink, int] = {}
        """Open links: the other end, and when they were last used, to a second."""
        self.links_max = SIMULATED_LINKS_MAX
        self.keys: dict[bytes, bytes] = {}
        self.answering: dict[Asked, None] = {}
        """Questions whose answer takes its time."""
        self.answerer: IAnswer
        self.costs = Costs(lambda: self.spent_s, self.clock.seconds)
        self.spent_s = 0.0
        """What has been answered so far, by the price list."""

    def listen(self, answerer: IAnswer) -> None:
        """Questions are taken from now on."""
        self.answerer = answerer
        self._network.opened(self)

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """See `IPeerLink.ask`. What a dead process asks is never answered."""
        deferred: Deferred[Answer] = Deferred()
        if not self.ended:
            self._network.send(Asked(deferred, self, peer, question, asking_part()))
        return deferred

    def ask_once(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """See `IPeerLink.ask_once`."""
        is_linked = self._network.is_linked(self, peer)
        answered = self.ask(peer, question)
        return answered if is_linked else answered.addBoth(self._end_link, peer)

    def _end_link(self, result: Answer | Failure, peer: Peer) -> Answer | Failure:
        if not self.ended:
            self._network.end_link(self, peer)
        return result

    def key_of(self, peer: Peer) -> bytes | None:
        """See `IPeerLink.key_of`."""
        return self.keys.get(peer.packed)

    def pause(self) -> None:
        """Stop the process, as SIGSTOP does; links stay, and what arrives waits."""
        self.clock.hold()

    def resume(self) -> None:
        """Let it go on, and find everything that happened meanwhile at once."""
        self.clock.resume()

    def crash(self) -> None:
        """Kill the process, as SIGKILL does: its host resets its links, and refuses new ones."""
        self._end(True, False)

    def power_off(self) -> None:
        """Power the host off: nobody says anything."""
        self._end(True, True)

    def close(self) -> None:
        """End the process as it should: every link with a Goodbye."""
        self._end(False, False)

    def _end(self, crashed: bool, dark: bool) -> None:
        if not self.ended:
            self.ended = True
            self.clock.end()
            self._network.ended(self, crashed, dark)

    def greet(self, other: SimulatedLink, part: str) -> None:
        """Open a link: both ends remember it; its Hellos are counted."""
        now_us = self._network.clock.now_us
        self._network.greeted(part)
        for mine, theirs in ((self, other), (other, self)):
            mine.links[theirs] = now_us
            if len(mine.links) > mine.links_max:
                mine.links = {link: last for link, last in mine.links.items() if now_us - last <= LINK_IDLE_US}
                mine.links_max = max(SIMULATED_LINKS_MAX, 2 * len(mine.links))

    def tell_lost(self, peer: Peer) -> None:
        """Tell the node that the network saw a reset from `peer`."""
        if self.ended:
            return
        if self.clock.held is not None:
            self.clock.held.append((self.tell_lost, peer))
            return
        if peer.packed in self.keys:
            self.answerer.link_lost(peer, "connection reset")
            if self.clock.after is not None:
                self.clock.after()
