"""TLS around one link, at what it has to cost: each record that comes is read once, each write is one record.

Twisted's own way reads until OpenSSL has no more, and then asks it whether it wants to write: two exceptions for every
message that comes, which cost more than to decrypt it. This one sees in the openings of records how many have come, so
it knows when there is no more (``docs/decisions/links.rst`` has the figures).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import cast

from OpenSSL import SSL
from twisted.internet.interfaces import ITransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

OPENING_BYTES = 5
"""Kind, version, and in the last two the length (RFC 8446, 5.1)."""

RECORD_BYTES_MAX = 1 << 14
"""What one record holds at most."""

SEALED_BYTES_AT_ONCE = 1 << 15
"""Taken from OpenSSL in one piece: a record as it is sent, and what mostly stands before it."""


class TlsLink(TLSMemoryBIOProtocol):
    """What a transport is given for a link that is wrapped in TLS.

    @ivar dialled: the address that was dialled; None on the side that was dialled.
    @ivar why: our verdict on the other side's certificate, where it is bad: OpenSSL's own words do not tell.
    """

    why = ""
    dialled: tuple[str, int] | None = None
    _opening = b""  # held back: of a record, as long as its length is not here
    _lacking = 0  # bytes of a record that has begun

    def dataReceived(self, received: bytes) -> None:
        """The link is given what all whole records hold, in one piece."""
        records, received = self._count_records(received)
        if not received:
            return
        if not self._handshakeDone or self._appSendBuffer:
            super().dataReceived(received)
            return
        connection = self._tlsConnection
        connection.bio_write(received)
        texts: list[bytes] = []
        then: Callable[[], object] | None = None
        try:
            for _ in range(records):
                texts.append(connection.recv(RECORD_BYTES_MAX))
        # A record may hold nothing for the link: a ticket, new keys, the end. Then there are fewer to be read than were
        # counted, and what Twisted does about that is to be done.
        except SSL.WantReadError:
            then = self._flushSendBIO
        except SSL.ZeroReturnError:
            then = self._ended
        except SSL.Error:
            then = partial(self._tlsShutdownFinished, Failure())
        if texts and not self._aborted and not self._lostTLSConnection:
            self.wrappedProtocol.dataReceived(texts[0] if len(texts) == 1 else b"".join(texts))
        if then is not None and not self._lostTLSConnection:
            then()

    def write(self, data: bytes) -> None:
        """Send it as one record, where one holds it."""
        is_ready = self._handshakeDone and not (self._appSendBuffer or self.disconnecting or self._lostTLSConnection)
        if not is_ready or not 0 < len(data) <= RECORD_BYTES_MAX:
            super().write(data)
            return
        connection = self._tlsConnection
        try:
            connection.send(data)
        except SSL.WantReadError:
            self._bufferedWrite(data)
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        else:
            self._flushSendBIO()

    def _flushSendBIO(self) -> None:  # noqa: N802 -- Twisted's takes 32 KiB of it, and leaves the rest until later
        connection = self._tlsConnection
        sealed: list[bytes] = []
        with suppress(SSL.WantReadError):  # nothing is there
            while not sealed or len(sealed[-1]) == SEALED_BYTES_AT_ONCE:
                sealed.append(connection.bio_read(SEALED_BYTES_AT_ONCE))
        if sealed:
            cast(ITransport, self.transport).write(sealed[0] if len(sealed) == 1 else b"".join(sealed))

    def _ended(self) -> None:
        self._shutdownTLS()
        self._tlsShutdownFinished(None)

    def _count_records(self, received: bytes) -> tuple[int, bytes]:
        # How many records `received` completes, and what of it OpenSSL may have: all but an opening without length.
        end = len(received)
        if not (self._lacking or self._opening) and end > OPENING_BYTES:
            if end == OPENING_BYTES + (received[3] << 8 | received[4]):
                return 1, received
        elif self._opening:
            received, self._opening = self._opening + received, b""
            end = len(received)
        at = self._lacking
        records = int(0 < at <= end)
        while at + OPENING_BYTES <= end:
            at += OPENING_BYTES + (received[at + 3] << 8 | received[at + 4])
            records += at <= end
        self._lacking = max(0, at - end)
        if at < end:
            self._opening, received = received[at:], received[:at]
        return records, received
