"""`TlsLink`: whatever way the bytes of a TLS connection arrive, the link is given what was written at the other end."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from datetime import UTC, datetime

from OpenSSL import SSL, crypto
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.net.certificates import load_key, make_key, self_signed
from chordtwist.net.tls import Credentials, Tls, explain
from chordtwist.net.tls_link import (
    HANDSHAKE_BYTES_MAX,
    MEASURED_BYTES_MIN,
    RECORDS_AT_ONCE,
    SILENT_RECORDS_MAX,
    TLS_RECORD_BYTES_MAX,
)
from tests import certificates
from tests.tls_end import End, carry
from tests.tls_records import APPLICATION_DATA, RecordWriter, Secrets

KEY = make_key()


def tls(host: str) -> Tls:
    """The TLS of a node of an open network."""
    now = datetime.now(UTC)
    return Tls(Credentials(self_signed(KEY, host), KEY), host, lambda: now, Clock())


class TlsLinkTests(SynchronousTestCase):
    """Both ends of a connection."""

    def setUp(self) -> None:
        """Not a byte has been carried over."""
        self.one, self.other = End(tls("127.0.0.1"), ("127.0.0.2", 6401)), End(tls("127.0.0.2"), None)

    def carry(self, longest: int = 1 << 20) -> None:
        """Carry over all there is."""
        carry(self.one, self.other, longest)

    def test_byte_by_byte(self) -> None:
        """Handshake and messages arrive in single bytes."""
        self.carry(1)
        self.assertEqual((self.one.listener.is_safe, self.other.listener.is_safe), (True, True))
        self.one.link.write(b"good morning")
        self.other.link.write(b"good evening")
        self.carry(1)
        self.assertEqual(self.other.listener.pieces, [b"good morning"])
        self.assertEqual(self.one.listener.pieces, [b"good evening"])

    def test_charged(self) -> None:
        """To decrypt more than a little is charged to whoever sent it, as far as the link says so."""
        self.carry()
        text = bytes(MEASURED_BYTES_MIN)
        paid: list[int] = []

        def charged(read: Callable[[bytes], None], received: bytes) -> None:
            self.assertEqual([], self.other.listener.pieces)
            read(received)
            paid.append(len(received))

        self.other.link.charged = charged
        self.one.link.write(text)
        self.carry()
        self.assertEqual(([text], 1), (self.other.listener.pieces, len(paid)))
        self.one.link.write(b"good morning")
        self.carry()
        self.assertEqual(([text, b"good morning"], 1), (self.other.listener.pieces, len(paid)))

    def test_handshake_is_charged(self) -> None:
        """Until its handshake is done, whatever the other side sends is charged to it, however little it is."""
        paid: list[int] = []

        def charged(read: Callable[[bytes], None], received: bytes) -> None:
            paid.append(len(received))
            read(received)

        self.other.link.charged = charged
        self.carry(MEASURED_BYTES_MIN - 1)
        self.assertGreater(sum(paid), MEASURED_BYTES_MIN)

    def test_anyhow(self) -> None:
        """Records are cut and glued at any place."""
        rng = random.Random(1)
        self.carry()
        written = b""
        for _ in range(200):
            text = rng.randbytes(rng.choice((1, 40, 300, 5000)))
            written += text
            self.one.link.write(text)
            if rng.random() < 0.5:
                self.carry(rng.choice((1, 3, 7, 100, 4096, 1 << 20)))
        self.carry()
        self.assertEqual(b"".join(self.other.listener.pieces), written)

    def test_glued(self) -> None:
        """Whole records that arrive together are handed on together."""
        self.carry()
        for text in (b"one", b"two", b"three"):
            self.one.link.write(text)
        self.carry()
        self.assertEqual(self.other.listener.pieces, [b"onetwothree"])

    def test_incomplete(self) -> None:
        """What has not wholly come is not handed on; what was whole before it is."""
        self.carry()
        for text in (b"one", b"two"):
            self.one.link.write(text)
        sent = self.one.sent()
        self.other.link.dataReceived(sent[:-1])
        self.assertEqual(self.other.listener.pieces, [b"one"])
        self.other.link.dataReceived(sent[-1:])
        self.assertEqual(self.other.listener.pieces, [b"one", b"two"])

    def test_longest(self) -> None:
        """What fits into one record is sent in one, anything longer in several."""
        self.carry()
        for length in (TLS_RECORD_BYTES_MAX, TLS_RECORD_BYTES_MAX + 1, 100_000):
            self.one.link.write(b"x" * length)
            self.carry()
            self.assertEqual(sum(map(len, self.other.listener.pieces)), length)
            self.other.listener.pieces.clear()

    def test_behind_much_else(self) -> None:
        """What is written is sent at once, however much OpenSSL had to send before it."""
        self.carry()
        for _ in range(10):
            self.one.link.getHandle().send(b"x" * TLS_RECORD_BYTES_MAX)
        self.one.link.write(b"y")
        self.carry()
        self.assertEqual(b"".join(self.other.listener.pieces), b"x" * 10 * TLS_RECORD_BYTES_MAX + b"y")

    def test_ends_behind_much_else(self) -> None:
        """So is the end of the connection."""
        self.carry()
        for _ in range(10):
            self.one.link.getHandle().send(b"x" * TLS_RECORD_BYTES_MAX)
        self.one.link.loseConnection()
        self.other.link.dataReceived(self.one.sent())
        self.assertEqual(b"".join(self.other.listener.pieces), b"x" * 10 * TLS_RECORD_BYTES_MAX)
        self.assertTrue(self.other.transport.disconnecting)

    def test_written_too_soon(self) -> None:
        """What is written before the handshake is over is sent after it."""
        self.one.link.write(b"early")
        self.other.link.write(b"bird")
        self.carry()
        self.assertEqual(self.other.listener.pieces, [b"early"])
        self.assertEqual(self.one.listener.pieces, [b"bird"])

    def test_end(self) -> None:
        """The last words before the end arrive with it, and it is answered with an end."""
        self.carry()
        self.one.link.write(b"last words")
        self.one.link.loseConnection()
        self.other.link.dataReceived(self.one.sent())
        self.assertEqual(self.other.listener.pieces, [b"last words"])
        self.assertTrue(self.other.transport.disconnecting)
        self.assertNotEqual(self.other.sent(), b"")

    def test_nothing_after_the_end(self) -> None:
        """What is written after the end was begun is not sent."""
        self.carry()
        self.one.link.loseConnection()
        self.one.sent()
        self.one.link.write(b"too late")
        self.assertEqual(self.one.sent(), b"")

    def test_forged(self) -> None:
        """A record that was changed on its way ends the connection, after those before it were handed on; what follows
        it is not looked at.
        """
        self.carry()
        self.one.link.write(b"right")
        right = self.one.sent()
        self.one.link.write(b"wrong")
        forged = bytearray(self.one.sent())
        forged[-1] ^= 1
        self.one.link.write(b"more")
        self.other.link.dataReceived(right + forged + self.one.sent())
        self.assertEqual(self.other.listener.pieces, [b"right"])
        self.assertTrue(self.other.transport.disconnecting)
        self.assertIn("bad record mac", str(self.other.lose().value))

    def test_ends_while_it_reads(self) -> None:
        """A link that ends the connection over what it was given is given no more, although the end came with it."""
        self.carry()
        self.one.link.write(b"something")
        self.one.link.loseConnection()
        end = self.one.sent()
        self.other.listener.dataReceived = lambda data: self.other.link.abortConnection()  # type: ignore[method-assign]
        self.other.link.dataReceived(end)
        self.other.link.dataReceived(end)
        self.assertTrue(self.other.transport.disconnecting)
        self.assertEqual(self.other.listener.pieces, [])


TICKETS = 2
"""OpenSSL's server sends so many after a handshake, one in each record."""


class StrangerTests(SynchronousTestCase):
    """One end, and somebody at the other who writes records by hand."""

    def meet(self, is_dialled: bool, others: int = 0) -> RecordWriter:
        """Carry the handshake over, with a stranger whose certificate has so many names too many."""
        self.end = End(tls("127.0.0.1"), ("127.0.0.2", 6401) if is_dialled else None)
        context = SSL.Context(SSL.TLS_METHOD)
        secrets = Secrets(context)
        context.use_certificate(crypto.X509.from_cryptography(certificates.long(KEY, "127.0.0.2", others)))
        context.use_privatekey(crypto.PKey.from_cryptography_key(load_key(KEY)))
        context.set_verify(SSL.VERIFY_PEER, lambda *of: True)
        context.set_session_id(b"stranger")
        stranger = SSL.Connection(context, None)
        (stranger.set_accept_state if is_dialled else stranger.set_connect_state)()
        for _ in range(3):
            if sent := self.end.sent():
                stranger.bio_write(sent)
            with contextlib.suppress(SSL.WantReadError):
                stranger.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                while True:
                    self.end.link.dataReceived(stranger.bio_read(1 << 16))
        self.end.sent()
        return secrets.writer(not is_dialled, TICKETS if is_dialled else 0)

    def assert_refused(self, reason: str) -> None:
        """The connection is at its end, for a reason that is ours."""
        self.assertTrue(self.end.transport.disconnecting)
        self.assertEqual(explain(self.end.lose(), self.end.link), (True, reason))

    def test_long_handshake(self) -> None:
        """A handshake with an overlong certificate is not read to its end, whoever dialled."""
        for is_dialled in (False, True):
            self.meet(is_dialled, others=3000)
            self.assertFalse(self.end.listener.is_safe)
            self.assert_refused(f"its handshake has more than {HANDSHAKE_BYTES_MAX} bytes")

    def test_new_keys(self) -> None:
        """Somebody who takes new keys a few times is read on; without end, no further: each costs us far more."""
        for is_dialled in (False, True):
            writer = self.meet(is_dialled)
            few = SILENT_RECORDS_MAX - (TICKETS if is_dialled else 0)
            for _ in range(few):
                self.end.link.dataReceived(writer.key_update())
            self.end.link.dataReceived(writer.record(APPLICATION_DATA, b"hello"))
            self.assertEqual(self.end.listener.pieces, [b"hello"])
            self.assertFalse(self.end.transport.disconnecting)
            self.end.link.dataReceived(writer.key_update())
            self.assert_refused(f"more than {SILENT_RECORDS_MAX} of its records hold nothing")

    def test_new_keys_in_one_piece(self) -> None:
        """Two thousand changes of keys that arrive together are not all made, nor answered."""
        writer = self.meet(False)
        one = writer.key_update()
        self.end.link.dataReceived(one + b"".join(writer.key_update() for _ in range(2000)))
        self.assertLessEqual(len(self.end.sent()), RECORDS_AT_ONCE * len(one))
        self.assert_refused(f"more than {SILENT_RECORDS_MAX} of its records hold nothing")

    def test_new_keys_between(self) -> None:
        """What else is sent between them makes no difference."""
        writer = self.meet(False)
        for _ in range(SILENT_RECORDS_MAX + 1):
            self.end.link.dataReceived(writer.key_update() + writer.record(APPLICATION_DATA, b"x"))
        self.assertEqual(b"".join(self.end.listener.pieces), b"x" * (SILENT_RECORDS_MAX + 1))
        self.assert_refused(f"more than {SILENT_RECORDS_MAX} of its records hold nothing")

    def test_tickets(self) -> None:
        """Nor are tickets taken without end."""
        writer = self.meet(True)
        for _ in range(SILENT_RECORDS_MAX - TICKETS):
            self.end.link.dataReceived(writer.tickets(800))
        self.assertFalse(self.end.transport.disconnecting)
        self.end.link.dataReceived(writer.tickets(1))
        self.assert_refused(f"more than {SILENT_RECORDS_MAX} of its records hold nothing")
