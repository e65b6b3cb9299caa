"""All links of one node: one for each pair, dialled on demand, proved, reused, bounded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.bounded import Bounded
from chordtwist.core.costs import Costs, Payer, unmetered
from chordtwist.core.errors import ChordtwistError, Malformed, Refused, Unreachable
from chordtwist.core.histogram import SECONDS, Histogram
from chordtwist.core.peer import Peer, canonical_ip
from chordtwist.core.prefixes import can_be_neighbours, owner_of
from chordtwist.net.bounds import Bounds, Limits, links_bound
from chordtwist.net.dialling import DIAL_AGAIN_LAST_S, DIALS_MAX, Dialling
from chordtwist.net.introduction import Introduction, Met
from chordtwist.net.known_peers import KnownPeers
from chordtwist.net.outstanding import Asked
from chordtwist.net.peer_protocol import End, PeerFactory, PeerProtocol
from chordtwist.net.refusals import Because, Refusals
from chordtwist.net.tls import REFUSES_US, Tls
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.wire.peer_messages import Answer, Ping, Question

IDLE_S = 120.0
"""A link on which no frame came for so long is closed; neighbours on the ring are heard every second, fingers less."""

FRAME_WITHIN_S = 10.0
"""A frame that has begun ends within this time: the longest, 512 KiB of records, at 420 kbit/s."""

LINK_QUIET_S = 1.0
"""A link that is not needed any more ends when nothing was under way on it for so long: the other side has noticed the
better one by then."""

LOOK_AT_LINKS_EVERY_S = 5.0
"""Pause between two looks at all links, for those that idle, dawdle or are to end: each second it was the half of what
an idle node of a large ring took of its processor."""

STOOD_STILL_S = 1.0
"""A look that comes so much too late is left out: what the others did meanwhile has not been read yet."""

SPARE_IDLE_S = 5.0
"""Only a link unused for so long makes room for another: newcomers cannot push out what is in use."""

LINKS_HELD_BYTES_MAX = 1 << 26
"""What all links together may make us hold: frames that are not complete, questions that wait, answers that are not
taken. Beyond it links end, those with strangers first, the one that holds most first."""

REFUSERS_MAX = 64
"""Nodes that refuse us are remembered; the latest."""

REFUSED_FOR_S = 120.0
"""Who refused us counts so long: whoever is cut off tries each of its ring again at least so often."""

CHECK_AGAIN_EVERY_LOOKS = 720
"""Certificates end while links stand: every hour they are looked at again, and whenever a revocation list changes."""

IDLE, DUPLICATE, NO_ROOM = "idle", "duplicate", "no room"
LEAVING = "leaving"

MOVED_ON = frozenset((IDLE, DUPLICATE, NO_ROOM))
"""Reasons of a Goodbye that say nothing against another link: what was asked meanwhile is asked again over that. A link
that we dialled a moment ago is not yet any of that: else the other side could make us dial without pause."""


@dataclass(slots=True)
class Counts:
    """What the links of a node did so far."""

    bytes_written: int = 0
    """Before encryption."""

    accepted: int = 0
    breaches: int = 0


@implementer(IPeerLink)
class PeerPool:
    """The links of one node. The listening port is given its `factory`.

    @ivar counts: what the links did.
    @ivar refusals: what was refused.
    @ivar answered: for each kind of question, how long the node took to answer it, in seconds.
    """

    def __init__(
        self,
        reactor: Any,
        introduction: Introduction,
        tls: Tls | None = None,
        dial_from: str = "",
        links_max: int | None = None,
        limits: Limits | None = None,
        costs: Costs | None = None,
    ) -> None:
        """
        @param reactor: provides `IReactorTCP` and `IReactorTime`.
        @param dial_from: the local IP address that links are dialled from; empty where the system may choose, behind a
            translated address. Others only talk to a node that comes from the address its id follows from.
        @param costs: the accounts of those who ask; without them nobody pays.
        """
        self.counts = Counts()
        self.refusals = Refusals(reactor)
        self.answered: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(SECONDS))
        self.costs = costs or unmetered()
        self.factory = PeerFactory(self, introduction, tls, reactor)
        self._clock: IReactorTime = reactor
        self._me = introduction.me
        self._tls = tls
        self._links_max = links_bound() if links_max is None else links_max
        self._node: IAnswer | None = None
        self._links: dict[PeerProtocol, str] = {}  # every one that has a descriptor; its IP address when accepted
        self._pending: set[PeerProtocol] = set()  # those accepted that have not said Hello
        self._known_peers: KnownPeers[PeerProtocol] = KnownPeers(self._me, introduction.parameters.dead_after_s)
        self._dialling = Dialling(reactor, self.factory, dial_from, self._dialled)
        self._bounds = Bounds(limits or Limits(), reactor)
        self._refused_by: Bounded[str, tuple[float, str]] = Bounded(REFUSERS_MAX)
        self._held_bytes = 0
        self._to_flush: list[PeerProtocol] = []
        self._turn_ends: IDelayedCall | None = None
        self._behind: dict[PeerProtocol, None] = {}  # in the order in which they go on with the next turn
        self._turn_begins: IDelayedCall | None = None
        self._look: IDelayedCall | None = None
        self._looks = 0
        self._looked_at = 0.0
        self._stopped: Deferred[None] | None = None

    # The service's side

    def start(self, node: IAnswer) -> None:
        """Answer with what `node` says. Comes before the first question, either way."""
        self._node = node
        self._looked_at = self._clock.seconds()
        self._look = self._clock.callLater(LOOK_AT_LINKS_EVERY_S, self._look_after_links)

    def stop(self) -> Deferred[None]:
        """Say Goodbye on every link; fires when all are closed, within about a second. Nothing is asked after it."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._stop()
        stopped: Deferred[None] = Deferred()
        self._stopped.chainDeferred(stopped)
        return stopped

    def _stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
        self._dialling.stop()
        for link in list(self._links):
            link.end(LEAVING)
        if self._turn_begins is not None:
            self._turn_begins.cancel()
        if self._turn_ends is not None:
            self._turn_ends.cancel()
            self._flush_all()
        self._fire_when_closed()

    def abort(self) -> None:
        """Cut every link without a word, as the end of a killed process does."""
        for link in list(self._links):
            link.give_up("this node was killed")

    def set_limits(self, limits: Limits) -> None:
        """Let others cost so much from now on."""
        self._bounds.set_limits(limits)

    def look_at_certificates(self) -> None:
        """Look whether the files of our certificates have changed, now instead of within seconds."""
        if self._tls is not None:
            self._tls.look_soon()
            if self._look is not None and self._look.active():
                self._look.reset(0)

    def status(self) -> dict[str, int]:
        """Show the state of the links, as plain values."""
        return {
            "open": sum(link.is_open for link in self._links),
            "pending": self._bounds.pending,
            "proved": len(self._known_peers),
            "dialled": self._dialling.dialled,
            "dials_failed": self._dialling.failed,
            "accepted": self.counts.accepted,
            "refused": self.refusals.count,
            "breaches": self.counts.breaches,
            "bytes_written": self.counts.bytes_written,
        }

    @property
    def has_refusals(self) -> bool:
        """Whether anybody has refused us, and was not met since."""
        return bool(self._refused_by)

    def refused_by(self) -> dict[str, str]:
        """Say who refused us lately, and why, in words about us."""
        since = self._clock.seconds() - REFUSED_FOR_S
        return {peer: why for peer, (at, why) in self._refused_by.items() if at >= since}

    # IPeerLink

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask`."""
        link = self._known_peers.asking.get(peer.packed)
        if link is not None:
            return link.ask(question)
        answered: Deferred[Answer] = Deferred()
        asked = (self._clock.seconds() + question.answer_within_s, question, answered, self.costs.payer)
        self._ask_when_dialled(peer, asked)
        return answered

    def ask_once(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask_once`."""
        is_linked = peer.packed in self._known_peers.asking
        answered = self.ask(peer, question)
        return answered if is_linked else answered.addBoth(self._end_unused, peer)

    def _end_unused(self, result: Answer | Failure, peer: Peer) -> Answer | Failure:
        link = self._known_peers.asking.get(peer.packed)
        if link is not None and link.dialled is not None and not link.under_way:
            link.end(IDLE)
        return result

    def key_of(self, peer: Peer) -> bytes | None:
        """`IPeerLink.key_of`."""
        return self._known_peers.key_of(peer)

    # Dialling and accepting

    def _ask_when_dialled(self, peer: Peer, asked: Asked) -> None:
        reason = self._why_not_dial(peer)
        if reason is None:
            self._dialling.ask(peer, asked)
        else:
            self._clock.callLater(0, asked[2].errback, Unreachable(peer, reason))

    def _why_not_dial(self, peer: Peer) -> str | None:
        if self._stopped is not None:
            return "this node has stopped"
        if peer == self._me:
            return "it is this node itself"
        if not can_be_neighbours(self._me, peer):
            return "its address cannot be reached from the network of this node's"
        cannot = self._dialling.why_not_from_here(peer)
        if cannot is not None:
            return cannot
        if peer in self._dialling:
            return self._dialling.why_not_wait(peer)
        refused = self.refusals.why_refused(str(peer))
        if refused is not None:
            return f"refused for a while: {refused}"
        reason = self._dialling.why_not_wait(peer)
        if reason is None and (len(self._dialling) >= DIALS_MAX or not self._has_room()):
            return "too many links are open or being dialled"
        return reason

    def _dialled(self, link: PeerProtocol) -> None:
        self._links[link] = ""

    def accepts(self, link: PeerProtocol, host: str) -> bool:
        """Say whether a connection from `host` may become a link."""
        reason = self._why_not_accept(host)
        if reason is not None:
            self.refusals.tell(host, reason, Because.CROWD)
            return False
        self._links[link] = host
        self._pending.add(link)
        self._bounds.accepted(host)
        self.counts.accepted += 1
        return True

    def _why_not_accept(self, host: str) -> str | None:
        if self._stopped is not None:
            return "this node is leaving"
        refused = self.refusals.why_refused(host)
        if refused is not None:
            return f"refused for a while: {refused}"
        reason = self._bounds.why_not_accept(host, self._known_peers.is_home(str(canonical_ip(host))))
        if reason is None and not self._has_room():
            return f"all of {self._links_max} links are in use"
        return reason

    def _has_room(self) -> bool:
        # One link over the bound is ended for each that comes; its descriptor is free within a second.
        if len(self._links) + len(self._dialling) < self._links_max:
            return True
        spare_since = self._clock.seconds() - SPARE_IDLE_S
        spare = [link for link in self._links if link.is_open and not link.under_way and link.used_at <= spare_since]
        if not spare:
            return False
        min(spare, key=lambda link: link.used_at).end(NO_ROOM)
        return True

    # What links tell (LinkOwner)

    def handshaken(self, link: PeerProtocol) -> None:
        """Take in a link whose other side has said a good Hello.

        @raise Refused: it shows another key than the one its address was proved with, or broke the protocol before.
        """
        peer = cast(Met, link.handshaken).peer
        self._no_longer_pending(link)
        if link.dialled is None:
            refused = self.refusals.why_refused(str(peer))
            if refused is not None:
                raise Refused(f"refused for a while: {refused}")
        self._known_peers.add(link, self._clock.seconds())
        self._refused_by.pop(str(peer), None)
        self._dialling.end_pause(peer)
        asking = self._known_peers.asking.get(peer.packed)
        if asking is not None:
            for asked in self._dialling.reached(peer, link):
                asking.send(asked)

    def answer(self, link: PeerProtocol, question: Question) -> Answer | Deferred[Answer]:
        """Pass on the node's answer."""
        began_s = self._clock.seconds()
        answer = cast(IAnswer, self._node).answer(cast(Met, link.handshaken).peer, question)
        taken = self.answered[type(question).__name__]
        if isinstance(answer, Deferred):
            return answer.addBoth(self._answered, taken, began_s)
        taken.observe(self._clock.seconds() - began_s)
        return answer

    def _answered(self, answer: Any, taken: Histogram, began_s: float) -> Any:
        taken.observe(self._clock.seconds() - began_s)
        return answer

    def payer(self, link: PeerProtocol, is_upkeep: bool) -> Payer:
        """Say who pays for a question of the node at the other end: its address, whatever port it claims."""
        return self.costs.payer_of(owner_of(cast(Met, link.handshaken).peer), link.is_proved, is_upkeep)

    def wait_s(self, link: PeerProtocol, payer: Payer) -> float:
        """Say how long the node at the other end has to wait, since its address owes."""
        wait_s = self.costs.wait_s(payer)
        if wait_s > 0:
            peer = cast(Met, link.handshaken).peer
            if not self._dials_back(peer):
                self.refusals.tell(str(peer), "it costs more than it may, and waits", Because.COSTS, payer.address)
        return wait_s

    def next_turn(self, link: PeerProtocol) -> None:
        """Have a link go on when this turn of the reactor is over."""
        self._behind[link] = None
        if self._turn_begins is None:
            self._turn_begins = self._clock.callLater(0, self._begin_turn)

    def _begin_turn(self) -> None:
        self._turn_begins = None
        self.costs.begin_turn()
        links, self._behind = self._behind, {}
        for link in links:
            link.go_on()

    def _dials_back(self, peer: Peer) -> bool:
        # Whoever is where it says may ask more; that is found out when it matters, and not known to be false so far.
        if self._known_peers.key_of(peer) is not None:
            return False
        if peer not in self._dialling and self._dialling.why_not_wait(peer) is None:
            self.ask(peer, Ping()).addErrback(lambda failure: failure.trap(ChordtwistError))
        return not self._dialling.has_failed(peer)

    def holding(self, more_bytes: int) -> None:
        """Count what links hold; end those that hold most while all together hold too much."""
        self._held_bytes += more_bytes
        while self._held_bytes > LINKS_HELD_BYTES_MAX:
            most = max(self._links, key=lambda link: (bool(link.held_bytes), not link.is_proved, link.held_bytes))
            reason = "it makes this node hold more than any other, and all together are beyond the bound"
            self.refusals.tell(most.name, reason, Because.MEMORY)
            most.give_up(reason)

    def flush_later(self, link: PeerProtocol) -> None:
        """Have a link flush when this turn of the reactor is over."""
        self._to_flush.append(link)
        if self._turn_ends is None:
            # One call for all links: when a commit ends, a node answers on many of them.
            self._turn_ends = self._clock.callLater(0, self._flush_all)

    def _flush_all(self) -> None:
        self._turn_ends = None
        links, self._to_flush = self._to_flush, []
        for link in links:
            link.flush()

    def wrote(self, length: int) -> None:
        """Count bytes that were written."""
        self.counts.bytes_written += length

    def ended(self, link: PeerProtocol, end: End, reason: str, unanswered: list[Asked]) -> None:
        """See to what follows from the end of a link: refusals, pauses, and the questions that were under way on it."""
        self._no_longer_pending(link)
        peer = link.peer
        if peer is not None and link in self._known_peers and link.heard_at - link.made_at > DIAL_AGAIN_LAST_S:
            self._dialling.forgive(peer)
        was_proved = self._known_peers.remove(link)
        self._refuse(link, end, reason, was_proved)
        if peer is None:
            return
        if end is End.HEARD and reason not in MOVED_ON and reason != LEAVING and (link.dialled or was_proved):
            self._note_refusal(peer, reason)
        elif end is End.LOST and reason.startswith(REFUSES_US):
            self._note_refusal(peer, f"our {reason.removeprefix(REFUSES_US)}")
        self._go_on_without(link, peer, end, reason, unanswered)
        is_gone = end is End.LOST and was_proved and peer.packed not in self._known_peers.asking
        if is_gone and self._stopped is None:
            cast(IAnswer, self._node).link_lost(peer, reason)

    def _go_on_without(self, link: PeerProtocol, peer: Peer, end: End, reason: str, unanswered: list[Asked]) -> None:
        has_another = peer.packed in self._known_peers.asking
        is_young = link.dialled is not None and self._clock.seconds() - link.made_at < LINK_QUIET_S
        has_moved_on = reason in MOVED_ON and (has_another or not is_young)
        why = f"it said Goodbye: {reason}" if end is End.HEARD else reason
        if self._dialling.is_for(peer, link):
            self._dialling.fail(peer, why)
        elif end is End.HEARD and not has_moved_on:
            self._dialling.pause(peer, why)
        for asked in unanswered:
            if end is End.BROKEN:
                asked[2].errback(Malformed(f"{peer}: {reason}"))
            elif has_moved_on:
                self._ask_again(peer, asked)
            else:
                asked[2].errback(Unreachable(peer, why))

    def _ask_again(self, peer: Peer, asked: Asked) -> None:
        link = self._known_peers.asking.get(peer.packed)
        if link is not None:
            link.send(asked)
        else:
            self._ask_when_dialled(peer, asked)

    def _no_longer_pending(self, link: PeerProtocol) -> None:
        if link in self._pending:
            self._pending.remove(link)
            self._bounds.no_longer_pending(self._links[link])

    def closed(self, link: PeerProtocol) -> None:
        """Count a descriptor as free."""
        host = self._links.pop(link)
        if host:
            self._bounds.closed(host)
        self._fire_when_closed()

    def _fire_when_closed(self) -> None:
        if self._stopped is not None and not self._stopped.called and not self._links:
            self._stopped.callback(None)

    # Refusals

    def _refuse(self, link: PeerProtocol, end: End, reason: str, was_proved: bool) -> None:
        said_no_hello = end is End.LOST and link.connected and link.peer is None
        if end in (End.REFUSED, End.BROKEN) or said_no_hello:
            self.refusals.tell(link.name, reason, Because.FOREIGN if end is End.REFUSED else Because.BROKEN)
        if end is End.BROKEN:
            self.counts.breaches += 1
            for address in self._culprits(link, was_proved):
                self.refusals.refuse(address, reason)
            if was_proved:
                cast(IAnswer, self._node).breach(cast(Peer, link.peer), reason)

    def _culprits(self, link: PeerProtocol, was_proved: bool) -> list[str]:
        # Whom a breach is held against: addresses, with a port or for every port.
        if was_proved:
            # Other nodes may live at its address: they are not refused for it.
            own = [str(link.peer)]
            return own if self._is_home_of_proved(link.came_from) else [*own, link.came_from]
        if link.dialled is not None:
            # Something else than a node may listen beside one.
            return [str(link.dialled)]
        # Anybody on a peer's machine can connect from its address: that must not cost the peer its links.
        return [] if self._is_home_of_proved(link.came_from) else [link.came_from]

    def _is_home_of_proved(self, host: str) -> bool:
        ip = str(canonical_ip(host))
        peers = (link.peer for link in self._links if link.is_open)
        return any(peer is not None and peer.host == ip and peer.packed in self._known_peers.asking for peer in peers)

    def _note_refusal(self, peer: Peer, reason: str) -> None:
        # Whoever refuses us speaks of us as "it".
        why = f"our {reason.removeprefix('its ')}" if reason.startswith("its ") else reason
        self._refused_by[str(peer)] = self._clock.seconds(), why

    # Looking after links

    def _look_after_links(self) -> None:
        now = self._clock.seconds()
        stood_still = now - self._looked_at > LOOK_AT_LINKS_EVERY_S + STOOD_STILL_S
        self._looked_at = now
        self._look = self._clock.callLater(LOOK_AT_LINKS_EVERY_S, self._look_after_links)
        if stood_still:
            return
        for link in list(self._links):
            if link.is_open:
                self._look_at(link, now - link.used_at)
        self._looks += 1
        if self._tls is not None and (self._tls.look_again() or self._looks % CHECK_AGAIN_EVERY_LOOKS == 0):
            for link in list(self._links):
                link.check_again()

    def _look_at(self, link: PeerProtocol, unused_s: float) -> None:
        if link.partial_bytes and unused_s >= FRAME_WITHIN_S:
            link.give_up(f"a frame that did not end within {FRAME_WITHIN_S:g} s")
        elif not link.under_way:
            if unused_s >= IDLE_S:
                link.end(IDLE)
            elif unused_s >= LINK_QUIET_S and self._known_peers.is_duplicate(link):
                link.end(DUPLICATE)
