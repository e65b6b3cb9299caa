"""Both ends of a TLS connection, `TlsLink` in memory; the test carries the bytes from one to the other."""

from __future__ import annotations

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.net.tls import Tls
from chordtwist.net.tls_link import TlsLink


@implementer(IHandshakeListener)
class Listener(Protocol):
    """Keeps what it is given, in the pieces in which it is given it."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lost: Failure | None = None
        self.is_safe = False

    def handshakeCompleted(self) -> None:
        self.is_safe = True

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class End:
    """One end of a connection whose bytes the test carries over."""

    def __init__(self, tls: Tls, dialled: tuple[str, int] | None) -> None:
        self.listener = Listener()
        self.transport = StringTransport()
        link = tls.wrap(self.listener, dialled)
        assert isinstance(link, TlsLink)
        self.link = link
        link.makeConnection(self.transport)

    def sent(self) -> bytes:
        """What it has sent since this was last asked."""
        sent: bytes = self.transport.value()
        self.transport.clear()
        return sent

    def lose(self) -> Failure:
        """The transport ends; why, as the listener hears it."""
        self.link.connectionLost(Failure(ConnectionResetError()))
        assert self.listener.lost is not None
        return self.listener.lost


def carry(one: End, other: End, longest: int = 1 << 20) -> None:
    """Carry over all there is, both ways, in pieces of at most so many bytes."""
    while True:
        ways = [(one.sent(), other), (other.sent(), one)]
        if not any(raw for raw, _ in ways):
            return
        for raw, end in ways:
            for begin in range(0, len(raw), longest):
                end.link.dataReceived(raw[begin : begin + longest])
