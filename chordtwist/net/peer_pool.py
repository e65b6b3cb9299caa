"""All links of one node: one for each pair, dialled on demand, proved, reused, bounded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IReactorTime
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.errors import ChordtwistError, Malformed, Refused, Unreachable
from chordtwist.core.peer import Peer, Policy, canonical_ip
from chordtwist.core.prefixes import can_be_neighbours
from chordtwist.net.bounds import Bounds, Limits, links_bound
from chordtwist.net.introduction import Introduction, Met
from chordtwist.net.outstanding import Asked, Outstanding
from chordtwist.net.peer_protocol import End, PeerFactory, PeerProtocol
from chordtwist.net.refusals import Refusals
from chordtwist.net.tls import Tls
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.wire.peer_messages import Answer, Ping, Question

CONNECT_WITHIN_S = 3.0
"""From the dial to the connection: one retransmission of TCP. Questions that wait for it have shorter times."""

DIAL_AGAIN_FIRST_S, DIAL_AGAIN_LAST_S = 0.1, 2.0
"""Pause after a failed dial, doubled each time up to the second figure: a restarted peer is met within seconds, a dead
one costs next to nothing. Questions in the pause fail at once."""

DIALS_MAX = 256
"""Dials under way."""

WAITING_MAX = 1024
"""Questions that wait for one dial."""

IDLE_S = 120.0
"""A link on which no frame came for so long is closed; neighbours on the ring are heard every second, fingers less."""

FRAME_WITHIN_S = 10.0
"""A frame that has begun ends within this time: the longest, 512 KiB of records, at 420 kbit/s."""

QUIET_S = 1.0
"""A link that is not needed any more ends when nothing was under way on it for so long: the other side has noticed the
better one by then."""

LOOK_EVERY_S = 1.0
"""Pause between two looks at all links, for those that idle, dawdle or are to end."""

SPARE_IDLE_S = 5.0
"""Only a link unused for so long makes room for another: newcomers cannot push out what is in use."""

ALL_HELD_BYTES_MAX = 1 << 26
"""What all links together may make us hold: frames that are not complete, questions that wait, answers that are not
taken. Beyond it links end, those with strangers first, the one that holds most first."""

PROOFS_MAX = 16_384
"""Peers whose proof is remembered while there is no link to them."""

CHECK_AGAIN_EVERY_LOOKS = 3600
"""Certificates end while links stand: every hour they are looked at again, and whenever a revocation list changes."""

FORGET_EVERY_LOOKS = 60
"""Peers that nothing is known of are forgotten once in so many looks."""

IDLE, DUPLICATE, NO_ROOM = "idle", "duplicate", "no room"
MOVED_ON = frozenset((IDLE, DUPLICATE, NO_ROOM))
"""Reasons of a Goodbye that say nothing against another link: what was asked meanwhile is asked again over that. A link
that we dialled less than `QUIET_S` ago is not yet any of that: else the other side could make us dial without pause."""


@dataclass(slots=True)
class Counts:
    """What the links of a node did so far."""

    bytes_written: int = 0
    """Before encryption."""

    dialled: int = 0
    accepted: int = 0
    dials_failed: int = 0
    breaches: int = 0


class KnownPeer:
    # What we know of one peer. `key` and `epoch` are what it was last proved with, if ever.

    __slots__ = (
        "asking",
        "dial",
        "dial_again_at",
        "dials_failed",
        "epoch",
        "failure",
        "heard_at",
        "key",
        "links",
        "peer",
    )

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.key: bytes | None = None
        self.epoch = 0
        self.heard_at = 0.0  # from the process with that key, on links that are over
        self.links: list[PeerProtocol] = []
        self.asking: PeerProtocol | None = None  # the one of them to ask over
        self.dial: _Dial | None = None
        self.dials_failed = 0
        self.dial_again_at = 0.0
        self.failure = ""

    def proved_links(self) -> list[PeerProtocol]:
        return [link for link in self.links if cast(Met, link.handshaken).key == self.key]


class _Dial(ClientFactory):
    # One attempt to reach a peer, and the questions that wait for it.

    noisy = False

    def __init__(self, pool: PeerPool, known_peer: KnownPeer, clock: IReactorTime) -> None:
        self.waiting = Outstanding(known_peer.peer, clock, lambda request_id: None)
        self.asked = 0
        self.link: PeerProtocol | None = None
        self.connector: IConnector | None = None
        self._pool = pool
        self._known_peer = known_peer

    def wait(self, asked: Asked) -> None:
        self.waiting.add(self.asked, asked)
        self.asked += 1

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self.link = self._pool.factory.link(self._known_peer.peer)
        return self._pool.connected(self.link)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._pool.dial_failed(self._known_peer, _shown(reason.value))


@implementer(IPeerLink)
class PeerPool:
    """The links of one node. The listening port is given its `factory`.

    @ivar counts: what the links did.
    @ivar refusals: what was refused.
    """

    def __init__(
        self,
        reactor: Any,
        introduction: Introduction,
        tls: Tls | None = None,
        dial_from: str = "",
        links_max: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        """
        @param reactor: provides `IReactorTCP` and `IReactorTime`.
        @param dial_from: the local IP address that links are dialled from; empty where the system may choose, behind a
            translated address. Others only talk to a node that comes from the address its id follows from.
        """
        self.counts = Counts()
        self.refusals = Refusals(reactor)
        self.factory = PeerFactory(self, introduction, tls, reactor)
        self._reactor = reactor
        self._clock: IReactorTime = reactor
        self._me = introduction.me
        self._tls = tls
        self._policy = introduction.identity.policy
        self._dead_after_s = introduction.parameters.dead_after_s
        self._bind = (dial_from, 0) if dial_from else None
        self._links_max = links_bound() if links_max is None else links_max
        self._node: IAnswer | None = None
        self._known_peers: dict[bytes, KnownPeer] = {}
        self._links: dict[PeerProtocol, str] = {}  # every one that has a descriptor; its IP address when accepted
        self._pending: set[PeerProtocol] = set()  # those accepted that have not said Hello
        self._bounds = Bounds(self._policy, limits or Limits(), reactor)
        self._held_bytes = 0
        self._dials: dict[_Dial, None] = {}
        self._to_flush: list[PeerProtocol] = []
        self._turn_ends: IDelayedCall | None = None
        self._look: IDelayedCall | None = None
        self._looks = 0
        self._looked_at = 0.0
        self._stopped: Deferred[None] | None = None

    # The service's side

    def start(self, node: IAnswer) -> None:
        """Answer with what `node` says. Comes before the first question, either way."""
        self._node = node
        self._looked_at = self._clock.seconds()
        self._look = self._clock.callLater(LOOK_EVERY_S, self._look_after_links)

    def stop(self) -> Deferred[None]:
        """Say Goodbye on every link; fires when all are closed, within about a second. Nothing is asked after it."""
        if self._stopped is None:
            self._stopped = Deferred()
            if self._look is not None:
                self._look.cancel()
            for dial in list(self._dials):
                if dial.link is None and dial.connector is not None:
                    dial.connector.stopConnecting()
            for link in list(self._links):
                link.end("leaving")
            if self._turn_ends is not None:
                self._turn_ends.cancel()
                self._turn_ended()
            self._all_closed()
        stopped: Deferred[None] = Deferred()
        self._stopped.chainDeferred(stopped)
        return stopped

    def status(self) -> dict[str, int]:
        """The state of the links, as plain values."""
        return {
            "open": sum(link.is_open for link in self._links),
            "pending": self._bounds.pending,
            "proved": sum(known.key is not None for known in self._known_peers.values()),
            "dialled": self.counts.dialled,
            "dials_failed": self.counts.dials_failed,
            "accepted": self.counts.accepted,
            "refused": self.refusals.count,
            "breaches": self.counts.breaches,
            "bytes_written": self.counts.bytes_written,
        }

    # IPeerLink

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask`."""
        known = self._known_peers.get(peer.packed)
        if known is not None and known.asking is not None:
            return known.asking.ask(question)
        answered: Deferred[Answer] = Deferred()
        self._ask_when_dialled(peer, (self._clock.seconds() + question.answer_within_s, question, answered))
        return answered

    def key_of(self, peer: Peer) -> bytes | None:
        """`IPeerLink.key_of`."""
        known = self._known_peers.get(peer.packed)
        return None if known is None else known.key

    # Dialling

    def _ask_when_dialled(self, peer: Peer, asked: Asked) -> None:
        known = self._known_peer(peer)
        reason = self._why_not_dial(known)
        if reason is not None:
            self._clock.callLater(0, asked[2].errback, Unreachable(peer, reason))
            return
        if known.dial is None:
            known.dial = _Dial(self, known, self._clock)
            self._dials[known.dial] = None
            known.dial.connector = self._reactor.connectTCP(
                peer.host, peer.port, known.dial, CONNECT_WITHIN_S, self._bind
            )
        known.dial.wait(asked)

    def _why_not_dial(self, known: KnownPeer) -> str | None:
        if self._stopped is not None:
            return "this node has stopped"
        if known.peer == self._me:
            return "it is this node itself"
        if not can_be_neighbours(self._me, known.peer):
            return "its address cannot be reached from the network of this node's"
        if known.dial is not None:
            return None if len(known.dial.waiting) < WAITING_MAX else f"{WAITING_MAX} questions to it wait already"
        refused = self.refusals.status(str(known.peer))
        if refused is not None:
            return f"refused for a while: {refused}"
        if self._clock.seconds() < known.dial_again_at:
            return known.failure
        if len(self._dials) >= DIALS_MAX or not self._has_room():
            return "too many links are open or being dialled"
        return None

    def connected(self, link: PeerProtocol) -> Protocol:
        """A dial has its connection."""
        self._links[link] = ""
        self.counts.dialled += 1
        return self.factory.wrapped(link)

    def dial_failed(self, known: KnownPeer, reason: str) -> None:
        """A dial has come to nothing."""
        dial = cast(_Dial, known.dial)
        known.dial = None
        del self._dials[dial]
        self.counts.dials_failed += 1
        self._pause_dials(known, reason)
        dial.waiting.fail(reason)

    # Accepting

    def accepts(self, link: PeerProtocol, host: str) -> bool:
        """Whether a connection from `host` may become a link."""
        reason = self._why_not_accept(host)
        if reason is not None:
            self.refusals.tell(host, reason)
            return False
        self._links[link] = host
        self._pending.add(link)
        self._bounds.accepted(host)
        self.counts.accepted += 1
        return True

    def _why_not_accept(self, host: str) -> str | None:
        if self._stopped is not None:
            return "this node is leaving"
        refused = self.refusals.status(host)
        if refused is not None:
            return f"refused for a while: {refused}"
        reason = self._bounds.why_not_accept(host)
        if reason is None and not self._has_room():
            return f"all of {self._links_max} links are in use"
        return reason

    # What links tell (LinkOwner)

    def handshaken(self, link: PeerProtocol) -> None:
        """The other side has said a good Hello.

        @raise Refused: it shows another key than the one its address was proved with, or broke the protocol before.
        """
        handshaken = cast(Met, link.handshaken)
        self._no_longer_pending(link)
        known = self._known_peer(handshaken.peer)
        if link.dialled is None:
            refused = self.refusals.status(str(handshaken.peer))
            if refused is not None:
                raise Refused(f"refused for a while: {refused}")
        else:
            self._prove(known, handshaken)
        known.dial_again_at = 0.0
        known.links.append(link)
        self._choose(known)
        dial = known.dial
        if dial is not None and known.asking is not None:
            if dial.link is link:
                known.dial = None
                del self._dials[dial]
            for asked in dial.waiting.take_all():
                known.asking.send(asked)

    def answer(self, link: PeerProtocol, question: Question) -> Answer | Deferred[Answer]:
        """The node's answer."""
        return cast(IAnswer, self._node).answer(cast(Met, link.handshaken).peer, question)

    def wait_s(self, link: PeerProtocol) -> float:
        """How long the node at the other end has to wait, since it asked too much."""
        peer = cast(Met, link.handshaken).peer
        wait_s = self._bounds.wait_s(peer.id, self._is_proved(link))
        if wait_s > 0 and not self._dials_back(peer):
            self.refusals.tell(str(peer), "it asks more than it may, and waits", who=str(peer.id))
        return wait_s

    def _dials_back(self, peer: Peer) -> bool:
        # Whoever is where it says may ask more; that is found out when it matters, and not known to be false so far.
        known = self._known_peers[peer.packed]
        if known.key is not None:
            return False
        if known.dial is None and self._clock.seconds() >= known.dial_again_at:
            self.ask(peer, Ping()).addErrback(lambda failure: failure.trap(ChordtwistError))
        return not known.dials_failed

    def spent(self, link: PeerProtocol, cost: float) -> None:
        """What it asked cost something."""
        self._bounds.spend(cast(Met, link.handshaken).peer.id, self._is_proved(link), cost)

    def _is_proved(self, link: PeerProtocol) -> bool:
        handshaken = link.handshaken
        known = None if handshaken is None else self._known_peers.get(handshaken.peer.packed)
        return known is not None and handshaken is not None and known.key == handshaken.key

    def holding(self, more_bytes: int) -> None:
        """The links hold so many bytes more, or less."""
        self._held_bytes += more_bytes
        while self._held_bytes > ALL_HELD_BYTES_MAX:
            most = max(self._links, key=lambda link: (not self._is_proved(link), link.held_bytes))
            if not most.held_bytes:
                most = max(self._links, key=lambda link: link.held_bytes)
            reason = "it makes this node hold more than any other, and all together are beyond the bound"
            self.refusals.tell(str(most.came_from if most.handshaken is None else most.handshaken.peer), reason)
            most.give_up(reason)

    def flush_later(self, link: PeerProtocol) -> None:
        """A link has something to write."""
        self._to_flush.append(link)
        if self._turn_ends is None:
            # One call for all links: when a commit ends, a node answers on many of them.
            self._turn_ends = self._clock.callLater(0, self._turn_ended)

    def _turn_ended(self) -> None:
        self._turn_ends = None
        links, self._to_flush = self._to_flush, []
        for link in links:
            link.flush()

    def ended(self, link: PeerProtocol, end: End, reason: str, unanswered: list[Asked]) -> None:
        """Nothing comes or goes over a link any more."""
        self._no_longer_pending(link)
        why = f"it said Goodbye: {reason}" if end is End.HEARD else reason
        peer = link.dialled if link.handshaken is None else link.handshaken.peer
        known = None if peer is None else self._known_peers.get(peer.packed)
        was_proved = known is not None and self._part(known, link)
        if end is End.REFUSED or (end is End.LOST and link.connected and peer is None):
            self.refusals.tell(link.came_from if peer is None else str(peer), reason)
        elif end is End.BROKEN:
            self._breach(link, peer, was_proved, reason)
        if known is None or peer is None:
            return
        is_young = link.dialled is not None and self._clock.seconds() - link.made_at < QUIET_S
        has_moved_on = reason in MOVED_ON and (known.asking is not None or not is_young)
        if known.dial is not None and known.dial.link is link:
            self.dial_failed(known, why)
        elif end is End.HEARD and not has_moved_on:
            self._pause_dials(known, why)
        for asked in unanswered:
            if end is End.BROKEN:
                asked[2].errback(Malformed(f"{peer}: {reason}"))
            elif not has_moved_on:
                asked[2].errback(Unreachable(peer, why))
            elif known.asking is not None:
                known.asking.send(asked)
            else:
                self._ask_when_dialled(peer, asked)
        if end is End.LOST and was_proved and known.asking is None and self._stopped is None:
            cast(IAnswer, self._node).link_lost(peer, reason)

    def _no_longer_pending(self, link: PeerProtocol) -> None:
        if link in self._pending:
            self._pending.remove(link)
            self._bounds.no_longer_pending(self._links[link])

    def closed(self, link: PeerProtocol) -> None:
        """A link's descriptor is free."""
        host = self._links.pop(link)
        if host:
            self._bounds.closed(host)
        self._all_closed()

    def wrote(self, length: int) -> None:
        """So many bytes were written."""
        self.counts.bytes_written += length

    # What we know of peers

    def _known_peer(self, peer: Peer) -> KnownPeer:
        known = self._known_peers.get(peer.packed)
        if known is None:
            known = self._known_peers[peer.packed] = KnownPeer(peer)
        return known

    def _prove(self, known: KnownPeer, handshaken: Met) -> None:
        # Our own dial to the peer's address has met this key. Another key than before is believed once the link to the
        # process with the old one is gone and this is a later run, or that process was silent for as long as makes a
        # peer dead: restarts without a state directory are ordinary, but nobody takes a live peer's place.
        if known.key is not None and known.key != handshaken.key:
            silent_s = self._clock.seconds() - known.heard_at
            is_later = handshaken.epoch > known.epoch or silent_s >= self._dead_after_s
            if known.proved_links() or not is_later:
                raise Refused(f"another key than that of the node heard there {silent_s:.1f} s ago")
        known.key, known.epoch = handshaken.key, handshaken.epoch

    def _choose(self, known: KnownPeer) -> None:
        # Both sides keep the link that the lower id dialled, so they agree without a word; the newest, where the other
        # side lost one that we still hold.
        proved = known.proved_links() if known.key is not None else []
        we_dial = (self._me.id, self._me.packed) < (known.peer.id, known.peer.packed)
        kept = [link for link in proved if (link.dialled is not None) is we_dial] or proved
        known.asking = kept[-1] if kept else None

    def _part(self, known: KnownPeer, link: PeerProtocol) -> bool:
        # Whether the link was with the peer as it was proved.
        if link not in known.links:
            return False
        known.links.remove(link)
        was_proved = cast(Met, link.handshaken).key == known.key
        if was_proved:
            known.heard_at = max(known.heard_at, link.heard_at)
        if link.heard_at - link.made_at > DIAL_AGAIN_LAST_S:
            known.dials_failed = 0
        self._choose(known)
        return was_proved

    def _pause_dials(self, known: KnownPeer, reason: str) -> None:
        known.dial_again_at = self._clock.seconds() + min(DIAL_AGAIN_FIRST_S * 2**known.dials_failed, DIAL_AGAIN_LAST_S)
        known.dials_failed = min(known.dials_failed + 1, 16)
        known.failure = reason

    def _breach(self, link: PeerProtocol, peer: Peer | None, was_proved: bool, reason: str) -> None:
        self.counts.breaches += 1
        self.refusals.tell(link.came_from if peer is None else str(peer), reason)
        if was_proved and peer is not None:
            self.refusals.refuse(str(peer), reason)
            if self._policy is Policy.IP:
                self.refusals.refuse(link.came_from, reason)
            cast(IAnswer, self._node).breach(peer, reason)
        elif link.dialled is not None:
            # Something else than a node may listen beside one.
            self.refusals.refuse(str(link.dialled), reason)
        elif not self._is_home_of_proved(link.came_from):
            # Anybody on a peer's machine can connect from its address: that must not cost the peer its links.
            self.refusals.refuse(link.came_from, reason)

    def _is_home_of_proved(self, host: str) -> bool:
        ip = str(canonical_ip(host))
        peers = (link.handshaken.peer for link in self._links if link.is_open and link.handshaken is not None)
        return any(peer.host == ip and self._known_peers[peer.packed].asking is not None for peer in peers)

    # Bounds

    def _has_room(self) -> bool:
        # One link over the bound is ended for each that comes; its descriptor is free within a second.
        if len(self._links) + len(self._dials) < self._links_max:
            return True
        spare_since = self._clock.seconds() - SPARE_IDLE_S
        spare = [link for link in self._links if link.is_open and not link.under_way and link.used_at <= spare_since]
        if not spare:
            return False
        min(spare, key=lambda link: link.used_at).end(NO_ROOM)
        return True

    def _look_after_links(self) -> None:
        now = self._clock.seconds()
        stood_still = now - self._looked_at > 2 * LOOK_EVERY_S
        self._looked_at = now
        self._look = self._clock.callLater(LOOK_EVERY_S, self._look_after_links)
        if stood_still:
            return  # what the others did meanwhile has not been read yet
        for link in list(self._links):
            unused_s = now - link.used_at
            if not link.is_open or unused_s < QUIET_S:
                continue
            if link.partial_bytes and unused_s >= FRAME_WITHIN_S:
                link.give_up(f"a frame that did not end within {FRAME_WITHIN_S:g} s")
            elif not link.under_way:
                if unused_s >= IDLE_S:
                    link.end(IDLE)
                elif self._is_surplus(link):
                    link.end(DUPLICATE)
        self._looks += 1
        if self._tls is not None and (self._tls.look_again() or self._looks % CHECK_AGAIN_EVERY_LOOKS == 0):
            for link in list(self._links):
                link.check_again()
        if self._looks % FORGET_EVERY_LOOKS == 0:
            self._forget_strangers(now)

    def _is_surplus(self, link: PeerProtocol) -> bool:
        # Its dialler ends it: the other side cannot know what for it was dialled.
        handshaken = cast(Met, link.handshaken)
        known = self._known_peers[handshaken.peer.packed]
        return link.dialled is not None and known.asking not in (None, link) and handshaken.key == known.key

    def _forget_strangers(self, now: float) -> None:
        spare = [known for known in self._known_peers.values() if not known.links and known.dial is None]
        proofs = sum(known.key is not None for known in spare)
        for known in spare:
            if known.key is None and known.dial_again_at <= now:
                del self._known_peers[known.peer.packed]
            elif known.key is not None and proofs > PROOFS_MAX:
                del self._known_peers[known.peer.packed]
                proofs -= 1

    def _all_closed(self) -> None:
        if self._stopped is not None and not self._stopped.called and not self._links:
            self._stopped.callback(None)


def _shown(error: BaseException | None) -> str:
    # A dial's failure in the words of its cause.
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return f"no connection within {CONNECT_WITHIN_S:g} s"
    number = getattr(error, "osError", None)
    return os.strerror(number) if isinstance(number, int) else str(error).rstrip(".")
