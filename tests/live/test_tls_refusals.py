"""Who is refused by TLS, over real sockets: each with one line in the log, and no table changed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.net.certificates import issue, make_authority, make_key, self_signed
from chordtwist.net.tls import CERTIFICATE_BYTES_MAX
from chordtwist.net.tls_link import HANDSHAKE_BYTES_MAX
from tests import certificates
from tests.fleet import Fleet
from tests.hostile import P2P_PORT, Ended, HostilePeer, Papers

PREFIX = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}."
"""Addresses of this process: tests run in several at once."""

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=5000)
"""A self-signed certificate of that time has expired."""


class RefusalTestCase(SynchronousTestCase):
    """Nodes, and strangers at other addresses."""

    def fleet_of(self, *numbers: int) -> Fleet:
        fleet = Fleet(prefix=PREFIX)
        self.addCleanup(fleet.close)
        fleet.start(numbers)
        return fleet

    def tables(self, fleet: Fleet) -> dict[int, list[object]]:
        shown = ("member", "predecessor", "successors", "whole", "fingers")
        return {number: [state[name] for name in shown] for number, state in fleet.statuses().items()}

    def calls(self, number: int, context: SSL.Context | None) -> None:
        """Somebody at the address of that number dials the first node, speaks TLS, and says Hello, if it comes to that;
        None speaks no TLS.
        """
        try:
            peer = HostilePeer(f"{PREFIX}1", f"{PREFIX}{number}", context=context)
        except SSL.Error:
            return  # refused within the handshake
        try:
            peer.introduce()
        except Ended:
            return
        finally:
            peer.close()
        self.fail(f"{PREFIX}{number} was let in")

    def the_line(self, fleet: Fleet, number: int, node: int = 1) -> str:
        """The one line of a node's log that names the address of that number."""
        host = f"{PREFIX}{number}"
        ends_at = time.monotonic() + 20
        while True:
            lines = [line for line in fleet.log(node).splitlines() if f" {host}:" in line and "refused" in line]
            if lines:
                break
            self.assertLess(time.monotonic(), ends_at, fleet.log(node))
            time.sleep(0.05)
        self.assertEqual(1, len(lines), lines)
        self.assertNotIn("Traceback", fleet.log(node))
        return lines[0]


class OpenTests(RefusalTestCase):
    """The default."""

    def test_refused(self) -> None:
        """A certificate for another address, an expired one, one that is too long, none, no TLS, and TLS 1.2: each is
        refused with one line that names the address and the reason.
        """
        fleet = self.fleet_of(1, 2)
        fleet.wait_for_ring(30)
        before = self.tables(fleet)
        key = make_key()
        expired = Papers(f"{PREFIX}102", certificates.dated(key, f"{PREFIX}102", LONG_AGO), key)
        callers: dict[int, tuple[SSL.Context | None, str]] = {
            101: (Papers(f"{PREFIX}2").context(), f"its certificate is for {PREFIX}2 and not for {PREFIX}101"),
            102: (expired.context(), "its certificate expired on "),
            103: (SSL.Context(SSL.TLS_METHOD), "it shows no certificate"),
            104: (None, "it speaks no TLS"),
            105: (Papers(f"{PREFIX}105").context(SSL.TLS1_2_VERSION), "it speaks a TLS older than 1.3"),
            107: (self.long(107, 200).context(), f"{CERTIFICATE_BYTES_MAX} are the most"),
            108: (self.long(108, 4000).context(), f"its handshake has more than {HANDSHAKE_BYTES_MAX} bytes"),
        }
        for number, (context, reason) in callers.items():
            self.calls(number, context)
            self.assertIn(reason, self.the_line(fleet, number))
        self.assertEqual(before, self.tables(fleet))

    def long(self, number: int, others: int) -> Papers:
        key = make_key()
        certificate = certificates.long(key, f"{PREFIX}{number}", others)
        return Papers(f"{PREFIX}{number}", certificate.public_bytes(Encoding.PEM), key)

    def test_only_tls_1_3(self) -> None:
        """What a node speaks to whoever calls is TLS 1.3."""
        fleet = self.fleet_of(1)
        fleet.wait_for_ring(30)
        peer = HostilePeer(f"{PREFIX}1", f"{PREFIX}106", context=Papers(f"{PREFIX}106").context())
        self.addCleanup(peer.close)
        peer.introduce()
        self.assertEqual("TLSv1.3", peer.tls_version)

    def test_refused_when_dialled(self) -> None:
        """A bootstrap node with another address's certificate, or an expired one, is refused by whoever dials it."""
        key = make_key()
        dialled = {
            51: Papers(f"{PREFIX}51", self_signed(key, f"{PREFIX}52"), key),
            52: Papers(f"{PREFIX}52", certificates.dated(key, f"{PREFIX}52", LONG_AGO), key),
        }
        for number, papers in dialled.items():
            self.listen(number, papers)
        fleet = Fleet(tls="open", prefix=PREFIX)
        self.addCleanup(fleet.close)
        fleet.start((1,), bootstrap=tuple(dialled))
        self.assertIn(f"its certificate is for {PREFIX}52 and not for {PREFIX}51", self.the_line(fleet, 51))
        self.assertIn("its certificate expired on ", self.the_line(fleet, 52))
        self.assertIs(False, fleet.statuses()[1]["member"])

    def listen(self, number: int, papers: Papers) -> None:
        """Answer whoever dials with these papers."""
        server = socket.create_server((f"{PREFIX}{number}", P2P_PORT))
        self.addCleanup(server.close)
        context = papers.context()
        Thread(target=_answer, args=(server, context), daemon=True).start()


def _answer(server: socket.socket, context: SSL.Context) -> None:
    while True:
        try:
            connection = SSL.Connection(context, server.accept()[0])
        except OSError:
            return  # the test is over
        connection.set_accept_state()
        try:
            connection.do_handshake()
            while connection.recv(4096):
                pass
        except (SSL.Error, OSError):
            connection.close()


class ClosedTests(RefusalTestCase):
    """A network with an authority."""

    def test_another_authority(self) -> None:
        """Two nodes of the authority are a ring; who is certified by another one, or by itself, is refused."""
        ours, theirs = (self.authority() for _ in range(2))
        fleet = Fleet(tls="closed", prefix=PREFIX)
        self.addCleanup(fleet.close)
        folder = fleet.folder
        (folder / "authority.pem").write_bytes(ours[0])
        for number in (1, 2):
            key = make_key()
            (folder / f"{number}.key").write_bytes(key)
            (folder / f"{number}.pem").write_bytes(issue(*ours, key, fleet.host(number), NOW))
            fleet.tls_options = {
                "authority": folder / "authority.pem",
                "certificate": folder / f"{number}.pem",
                "key": folder / f"{number}.key",
            }
            fleet.start((number,))
        fleet.wait_for_ring(30)
        before = self.tables(fleet)
        key = make_key()
        strangers: dict[int, Callable[[], Papers]] = {
            101: lambda: Papers(f"{PREFIX}101", issue(*theirs, key, f"{PREFIX}101", NOW), key),
            102: lambda: Papers(f"{PREFIX}102"),
        }
        for number, papers in strangers.items():
            self.calls(number, papers().context())
            self.assertIn("its certificate is not of this network's authority", self.the_line(fleet, number))
        self.assertEqual(before, self.tables(fleet))

    def authority(self) -> tuple[bytes, bytes]:
        key = make_key()
        return make_authority(key, "chordtwist", NOW), key
