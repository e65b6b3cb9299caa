"""Dials of one node: one for each peer at a time, with the questions that wait for it, and pauses after failures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IAddress, IConnector
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.python.failure import Failure

from chordtwist.core.bounded import Bounded
from chordtwist.core.peer import Peer, canonical_ip
from chordtwist.net.failures import in_words
from chordtwist.net.outstanding import Asked, Outstanding
from chordtwist.net.peer_protocol import PeerFactory, PeerProtocol

CONNECT_WITHIN_S = 3.0
"""From the dial to the connection: one retransmission of TCP. Questions that wait for it have shorter times."""

DIAL_AGAIN_FIRST_S, DIAL_AGAIN_LAST_S = 0.1, 2.0
"""Pause after a failed dial, doubled each time up to the second figure: a restarted peer is met within seconds, a dead
one costs next to nothing. Questions in the pause fail at once."""

DIALS_MAX = 256
"""Dials under way."""

ASKED_PER_DIAL_MAX = 1024
"""Questions that wait for one dial."""

FAILED_MAX = 4096
"""Peers that could not be reached and are remembered; whoever is forgotten is dialled again at once."""


@dataclass(slots=True)
class _Failed:
    # Dials of one peer that came to nothing.
    times: int = 0
    again_at: float = 0.0
    reason: str = ""


class _Dial(ClientFactory):
    # One attempt to reach a peer.

    noisy = False

    def __init__(self, dialling: Dialling, peer: Peer, waiting: Outstanding) -> None:
        self.peer = peer
        self.waiting = waiting
        self.asked = 0
        self.link: PeerProtocol | None = None
        self.connector: IConnector | None = None
        self._dialling = dialling

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self.link, protocol = self._dialling.connected(self.peer)
        return protocol

    def clientConnectionFailed(self, connector: IConnector | None, reason: Failure) -> None:
        error = reason.value
        if isinstance(error, ConnectionRefusedError):
            words = "connection refused"
        elif isinstance(error, TimeoutError):
            words = f"no connection within {CONNECT_WITHIN_S:g} s"
        else:
            words = in_words(error)
        self._dialling.fail(self.peer, words)


class Dialling:
    """Dials for one node. Every question that waits is sent, or fails, and nobody is dialled twice at a time.

    @ivar dialled: connections that dials led to.
    @ivar failed: dials that came to nothing, those included whose link ended before it could be asked over.
    """

    def __init__(
        self, reactor: Any, factory: PeerFactory, dial_from: str, on_link: Callable[[PeerProtocol], object]
    ) -> None:
        """
        @param dial_from: the local IP address; empty where the system may choose.
        @param on_link: told of each link whose connection stands, before it says anything.
        """
        self.dialled = 0
        self.failed = 0
        self._reactor = reactor
        self._factory = factory
        self._from = canonical_ip(dial_from) if dial_from else None
        self._on_link = on_link
        self._dials: dict[bytes, _Dial] = {}
        self._failed: Bounded[bytes, _Failed] = Bounded(FAILED_MAX)

    def __len__(self) -> int:
        """How many dials are under way."""
        return len(self._dials)

    def __contains__(self, peer: Peer) -> bool:
        """Say whether a peer is being dialled."""
        return peer.packed in self._dials

    def why_not_from_here(self, peer: Peer) -> str | None:
        """Say why a peer can never be dialled from the address that this node has; None when it can."""
        ours, theirs = self._from, canonical_ip(peer.host)
        if ours is None:
            return None
        if ours.version != theirs.version:
            return f"an IPv{theirs.version} address cannot be dialled from {ours}"
        if ours.is_loopback and not theirs.is_loopback:
            return f"another machine cannot be reached from {ours}, which is this machine's own"
        return None

    def why_not_wait(self, peer: Peer) -> str | None:
        """Say what stands against one more question that waits for a dial; None when nothing does."""
        dial = self._dials.get(peer.packed)
        if dial is not None:
            full = len(dial.waiting) >= ASKED_PER_DIAL_MAX
            return f"{ASKED_PER_DIAL_MAX} questions to it wait already" if full else None
        failed = self._failed.get(peer.packed)
        return failed.reason if failed is not None and self._reactor.seconds() < failed.again_at else None

    def ask(self, peer: Peer, asked: Asked) -> None:
        """Let a question wait for the dial of its peer, which begins when there is none."""
        dial = self._dials.get(peer.packed)
        if dial is None:
            dial = _Dial(self, peer, Outstanding(peer, self._reactor, lambda request_id: None))
            self._dials[peer.packed] = dial
            self._begin(dial)
        dial.waiting.add(dial.asked, asked)
        dial.asked += 1

    def _begin(self, dial: _Dial) -> None:
        host, port = dial.peer.host, dial.peer.port
        bind = None if self._from is None else (str(self._from), 0)
        try:
            dial.connector = self._reactor.connectTCP(host, port, dial, CONNECT_WITHIN_S, bind)
        except Exception:
            # Twisted has most errors of a dial fail it, but not those of the socket module itself.
            failure = Failure()
            self._reactor.callLater(0, lambda: dial.clientConnectionFailed(None, failure))

    def connected(self, peer: Peer) -> tuple[PeerProtocol, Protocol]:
        """Make the link for a dial that has its connection, and what its transport is given."""
        self.dialled += 1
        link = self._factory.link(peer)
        self._on_link(link)
        return link, self._factory.wrapped(link)

    def is_for(self, peer: Peer, link: PeerProtocol) -> bool:
        """Say whether a link is what the dial of its peer has led to, and nothing was asked over it so far."""
        dial = self._dials.get(peer.packed)
        return dial is not None and dial.link is link

    def reached(self, peer: Peer, link: PeerProtocol) -> list[Asked]:
        """Hand out the questions that waited for a peer that can be asked now; if over the dial's own link, it ends."""
        dial = self._dials.get(peer.packed)
        if dial is None:
            return []
        if dial.link is link:
            del self._dials[peer.packed]
        return dial.waiting.take_all()

    def fail(self, peer: Peer, reason: str) -> None:
        """End a dial that has come to nothing; what waits for it fails."""
        dial = self._dials.pop(peer.packed)
        self.failed += 1
        self.pause(peer, reason)
        dial.waiting.fail(reason)

    def pause(self, peer: Peer, reason: str) -> None:
        """Have questions to a peer fail for a while, a longer one each time."""
        before = self._failed.get(peer.packed)
        times = 0 if before is None else before.times
        pause_s = min(DIAL_AGAIN_FIRST_S * 2**times, DIAL_AGAIN_LAST_S)
        self._failed[peer.packed] = _Failed(min(times + 1, 16), self._reactor.seconds() + pause_s, reason)

    def end_pause(self, peer: Peer) -> None:
        """Dial a peer when it is next asked, since it was heard; another failure is as bad as it would have been."""
        failed = self._failed.get(peer.packed)
        if failed is not None:
            failed.again_at = 0.0

    def forgive(self, peer: Peer) -> None:
        """Forget that a peer could not be reached, since a link to it has lasted."""
        self._failed.pop(peer.packed, None)

    def has_failed(self, peer: Peer) -> bool:
        """Say whether the last dial of a peer came to nothing."""
        return peer.packed in self._failed

    def stop(self) -> None:
        """Give up the dials that have no connection yet; the links of the others are their owner's to end."""
        for dial in list(self._dials.values()):
            if dial.link is None and dial.connector is not None:
                dial.connector.stopConnecting()
