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

RECORD_OPENING_BYTES = 5
"""Kind, version, and in the last two the length (RFC 8446, 5.1)."""

TLS_RECORD_BYTES_MAX = 1 << 14
"""What one record holds at most."""

HANDSHAKE_BYTES_MAX = 1 << 14
"""What the other side may send before its handshake is done: the greeting, 2 KiB, a certificate and a ticket that holds
another of `CERTIFICATE_BYTES_MAX`, and the Hello right behind them. OpenSSL would take certificates of 100 KiB, keep
them a dozen times over, and send them back in its tickets."""

RECORDS_AT_ONCE = 16
"""OpenSSL is given so many together: which of them hold nothing for the link shows only when it has read them all."""

SILENT_RECORDS_MAX = 4
"""Records of the other side that hold nothing for the link, in its whole life. An honest one sends two tickets. To take
new keys costs 25 µs, and to demand that 27 bytes."""

MEASURED_BYTES_MIN = 512
"""What arrives in fewer bytes, behind the handshake, is read as without TLS: to decrypt it takes about as long as to
measure that and to book it. What it asks is charged all the same, and of a stranger that owes nothing is read."""

SEALED_BYTES_AT_ONCE = 1 << 15
"""Taken from OpenSSL in one piece: a record as it is sent, and what mostly stands before it."""


class TlsLink(TLSMemoryBIOProtocol):
    """What a transport is given for a link that is wrapped in TLS.

    @ivar dialled: the address that was dialled; None on the side that was dialled.
    @ivar charged: calls what reads records with what has come, and charges whoever sent it, where that are
        `MEASURED_BYTES_MIN` or more; None: nobody is charged.
    @ivar why: our verdict on the other side's certificate, where it is bad: OpenSSL's own words do not tell.
    """

    why = ""
    charged: Callable[[Callable[[bytes], None], bytes], None] | None = None
    dialled: tuple[str, int] | None = None
    _opening = b""  # held back: of a record, as long as its length is not here
    _lacking = 0  # bytes of a record that has begun
    _handshake_bytes = 0
    _silent_records = 0

    def dataReceived(self, received: bytes) -> None:
        """Give the link what all whole records hold, `RECORDS_AT_ONCE` in one piece."""
        if self.charged is None or (len(received) < MEASURED_BYTES_MIN and self._handshakeDone):
            self._take(received)
        else:
            self.charged(self._take, received)

    def _take(self, received: bytes) -> None:
        while received and not (self._aborted or self._lostTLSConnection):
            records, portion, received = self._count_records(received)
            if not portion:
                return
            if not self._handshakeDone:
                self._handshake_bytes += len(portion)
                if self._handshake_bytes > HANDSHAKE_BYTES_MAX:
                    self._refuse(f"its handshake has more than {HANDSHAKE_BYTES_MAX} bytes")
                    return
            if self._handshakeDone and not self._appSendBuffer:
                self._read_records(records, portion)
            else:
                super().dataReceived(portion)

    def _read_records(self, records: int, received: bytes) -> None:
        connection = self._tlsConnection
        connection.bio_write(received)
        texts: list[bytes] = []
        then: Callable[[], object] | None = None
        try:
            for _ in range(records):
                texts.append(connection.recv(TLS_RECORD_BYTES_MAX))
        # A record may hold nothing for the link: a ticket, new keys, the end. Then there are fewer to be read than were
        # counted, and what Twisted does about that is to be done.
        except SSL.WantReadError:
            self._silent_records += records - len(texts)
            then = self._flushSendBIO
            if self._silent_records > SILENT_RECORDS_MAX:
                then = partial(self._refuse, f"more than {SILENT_RECORDS_MAX} of its records hold nothing")
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
        if not is_ready or not 0 < len(data) <= TLS_RECORD_BYTES_MAX:
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

    def _refuse(self, why: str) -> None:
        # Ends the connection, and says so to the link as if OpenSSL had found it out.
        self.why = why
        self._tlsShutdownFinished(Failure(SSL.Error([("chordtwist", "", why)])))

    def _count_records(self, received: bytes) -> tuple[int, bytes, bytes]:
        # How many records the beginning of `received` completes, this beginning, and what is to come later. An opening
        # without length is in neither: it is held back.
        end = len(received)
        if not (self._lacking or self._opening) and end > RECORD_OPENING_BYTES:
            if end == RECORD_OPENING_BYTES + (received[3] << 8 | received[4]):
                return 1, received, b""
        elif self._opening:
            received, self._opening = self._opening + received, b""
            end = len(received)
        at = self._lacking
        records = int(0 < at <= end)
        while at + RECORD_OPENING_BYTES <= end and records < RECORDS_AT_ONCE:
            at += RECORD_OPENING_BYTES + (received[at + 3] << 8 | received[at + 4])
            records += at <= end
        self._lacking = max(0, at - end)
        if at >= end:
            return records, received, b""
        if end - at < RECORD_OPENING_BYTES:
            self._opening = received[at:]
            return records, received[:at], b""
        return records, received[:at], received[at:]
