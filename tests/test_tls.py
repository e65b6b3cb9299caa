"""`Tls`: who is talked to, and why not, in words. On sockets in memory; real ones in tests.live."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.certificates import (
    issue,
    load_key,
    make_authority,
    make_key,
    revocation_list,
    revoked_serials,
    self_signed,
    subject_address,
)
from chordtwist.net.introduction import Introduction
from chordtwist.net.peer_pool import CHECK_AGAIN_EVERY_LOOKS, LOOK_AT_LINKS_EVERY_S, PeerPool
from chordtwist.net.tls import (
    CANNOT_BE_READ,
    CERTIFICATE_BYTES_MAX,
    LOOK_AGAIN_EVERY_S,
    SESSIONS_MAX,
    CredentialFiles,
    Credentials,
    Tls,
)
from chordtwist.net.tls_link import HANDSHAKE_BYTES_MAX
from chordtwist.wire.peer_messages import Answer, Ping, Pong
from tests import certificates, contracts
from tests.memory_network import MemoryNetwork, MemoryReactor
from tests.test_peer_pool import reasons_logged

PORT = 6401
NOW = datetime.now(UTC).replace(microsecond=0)
"""OpenSSL looks at the system's clock, so certificates have to be of today."""

TOMORROW = f"{NOW + timedelta(days=1):%Y-%m-%d %H:%M} UTC"
KEY, AUTHORITY_KEY = make_key(), make_key()
AUTHORITY = make_authority(AUTHORITY_KEY, "test", NOW)


def own(host: str, key: bytes = KEY, now: datetime | None = None) -> Credentials:
    """What a node of an open network shows; with `now`, one of another program, whose certificates end."""
    made = self_signed(key, host) if now is None else certificates.dated(key, host, now - timedelta(days=1))
    return Credentials(made, key)


def issued(host: str, now: datetime = NOW, revoked: bytes = b"") -> Credentials:
    """What a node of the closed network shows and demands."""
    return Credentials(issue(AUTHORITY, AUTHORITY_KEY, KEY, host, now), KEY, AUTHORITY, revoked)


class Host:
    """One node's links, with TLS."""

    def __init__(
        self,
        network: MemoryNetwork,
        host: str,
        credentials: Credentials,
        secret: bytes = b"",
        shown_as: str | None = None,
        now: Callable[[], datetime] = lambda: NOW,
        files: CredentialFiles | None = None,
    ) -> None:
        parameters = Parameters(network="test")
        identity = Identity("test", parameters.policy)
        self.peer = identity.peer(host, PORT)
        self.signer = Ed25519Signer(sha256(self.peer.packed).digest())
        reactor = MemoryReactor(network)
        self.tls = Tls(credentials, shown_as or host, now, reactor, files)
        introduction = Introduction(self.peer, identity, parameters, self.signer, verify_ed25519, 1, lambda: 0, secret)
        self.pool = PeerPool(reactor, introduction, self.tls, dial_from=host, links_max=64)
        self.answers = contracts.ScriptedAnswers()
        self.pool.start(self.answers)
        self.port = reactor.listenTCP(PORT, self.pool.factory, interface=host)


class TwoHosts:
    """What the contract needs."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self._ours = Host(self.network, "127.0.0.1", own("127.0.0.1"))
        self._theirs = Host(self.network, "127.0.0.2", own("127.0.0.2"))
        self.ours, self.theirs = self._ours.pool, self._theirs.pool
        self.our_answers, self.our_peer = self._ours.answers, self._ours.peer
        self.their_answers, self.their_peer = self._theirs.answers, self._theirs.peer
        self.their_key = self._theirs.signer.public
        self.nobody = Identity("test", Policy.IP).peer("127.0.0.9", PORT)

    def advance(self, seconds: float) -> None:
        self.network.pass_time(seconds)

    def crash_theirs(self) -> None:
        self._theirs.port.stopListening()
        for end in self.network.transports:
            if end.host.host == self.their_peer.host and end.is_up:
                end.protocol = None
                end.crash()


class TlsContractTests(contracts.PeerLinkContract):
    """`PeerPool` is an `IPeerLink` with TLS as well."""

    def two_nodes(self) -> contracts.TwoNodes:
        return TwoHosts()


class TlsTestCase(SynchronousTestCase):
    """Hosts with TLS on one network in memory, and what their logs say."""

    def setUp(self) -> None:
        """An empty network."""
        self.network = MemoryNetwork()
        self.logged = reasons_logged(self)
        self.now = NOW

    def host(self, number: int, credentials: Credentials | None = None, **options: Any) -> Host:
        host = f"127.0.0.{number}"
        return Host(self.network, host, credentials or own(host), now=lambda: self.now, **options)

    def asked(self, one: Host, other: Host) -> Deferred[Answer]:
        deferred = one.pool.ask(other.peer, Ping())
        self.network.pass_time(0.5)
        return deferred

    def meet(self, one: Host, other: Host) -> None:
        self.assertEqual(self.successResultOf(self.asked(one, other)), Pong())

    def refuse(self, one: Host, other: Host, reason: str) -> None:
        """Neither side gets an answer, and one of them logs why; neither has proved the other."""
        self.failureResultOf(self.asked(one, other), Unreachable)
        self.assertEqual(other.answers.asked, [])
        self.failureResultOf(self.asked(other, one), Unreachable)
        self.assertEqual(one.answers.asked, [])
        self.assertTrue([said for said in self.logged if reason in said], self.logged)
        self.assertEqual((one.pool.key_of(other.peer), other.pool.key_of(one.peer)), (None, None))


class OpenTests(TlsTestCase):
    """An open network: whoever proves its address."""

    def test_both_ways(self) -> None:
        """Nodes with certificates of their own talk, and nothing readable crosses the wire."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        self.meet(other, one)
        crossed = b"".join(data for end in self.network.transports for data in end.received)
        self.assertNotIn(b"test", crossed)
        self.assertNotIn(one.signer.public, crossed)
        self.assertEqual(self.logged, [])

    def test_version(self) -> None:
        """It is TLS 1.3."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        (link,) = one.pool._links
        self.assertEqual(cast(Any, link.transport).getHandle().get_protocol_version_name(), "TLSv1.3")

    def test_certificate_for_another_address(self) -> None:
        """A certificate for another address than that at the other end of the connection is refused."""
        thief = self.host(3, own("127.0.0.9"), shown_as="127.0.0.9")
        self.refuse(self.host(1), thief, "its certificate is for 127.0.0.9 and not for 127.0.0.3")

    def test_expired(self) -> None:
        """So is one that has expired."""
        late = self.host(2, own("127.0.0.2", now=NOW - timedelta(days=3649)))
        self.now = NOW + timedelta(days=5)
        self.refuse(self.host(1), late, f"its certificate expired on {TOMORROW}")

    def test_expired_by_the_system_clock(self) -> None:
        """Also when it is OpenSSL that finds out, by the clock of the system."""
        old = datetime.now(UTC) - timedelta(days=4000)
        late = Host(self.network, "127.0.0.2", own("127.0.0.2", now=old), now=lambda: old)
        self.refuse(self.host(1), late, "its certificate expired on")

    def test_not_yet(self) -> None:
        """So is one that begins later."""
        early = Host(
            self.network,
            "127.0.0.2",
            own("127.0.0.2", now=NOW + timedelta(days=3)),
            now=lambda: NOW + timedelta(days=3),
        )
        self.refuse(self.host(1), early, f"its certificate begins on {NOW + timedelta(days=2):%Y-%m-%d %H:%M} UTC")

    def test_not_yet_by_the_system_clock(self) -> None:
        """Also when it is OpenSSL that finds out."""
        then = datetime.now(UTC) + timedelta(days=3)
        early = Host(self.network, "127.0.0.2", own("127.0.0.2", now=then), now=lambda: then)
        self.refuse(self.host(1), early, "its certificate begins on")

    def test_subjects(self) -> None:
        """A certificate for no address, or for two, is for nobody."""
        for hosts in ((), ("127.0.0.2", "127.0.0.3")):
            self.network, self.logged[:] = MemoryNetwork(), []
            one, other = self.host(1), self.host(2)
            names = [x509.IPAddress(ip_address(host)) for host in hosts]
            self.shows(other, certificates.for_names(KEY, names or [x509.DNSName("node.example.org")]))
            self.refuse(one, other, f"it shows a certificate for {len(hosts) or 'no'} addresses instead of one")

    def test_odd_addresses(self) -> None:
        """One for an IPv4 address dressed as IPv6, or for a whole network, is refused in words that say so."""
        dressed, network = IPv6Address("::ffff:127.0.0.2"), ip_network("127.0.0.0/8")
        for subject, words in (
            (dressed, f"127.0.0.2 dressed as the IPv6 address {dressed}"),
            (network, "the network 127.0.0.0/8 instead of an address"),
        ):
            self.network, self.logged[:] = MemoryNetwork(), []
            one, other = self.host(1), self.host(2)
            self.shows(other, certificates.for_names(KEY, [x509.IPAddress(subject)]))
            self.refuse(one, other, f"it shows a certificate for {words}")

    def test_purpose(self) -> None:
        """Nor does one serve that is for servers alone: each node is both sides."""
        one, other = self.host(1), self.host(2)
        names = [x509.IPAddress(ip_address("127.0.0.2"))]
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        self.shows(other, certificates.for_names(KEY, names, purpose))
        self.failureResultOf(self.asked(other, one), Unreachable)
        reason = "its certificate is not meant for both sides of a link (serverAuth and clientAuth)"
        self.assertEqual(self.logged, [reason])

    def shows(self, host: Host, certificate: x509.Certificate) -> None:
        for context in (host.tls._terms.dialling, host.tls._terms.accepting):
            context.use_certificate(certificate)

    def test_long(self) -> None:
        """A certificate is read up to a length, at either end; a longer one is refused, and its owner is told why."""
        one, other = self.host(1), self.host(2)
        certificate = certificates.long(KEY, "127.0.0.2", 200)
        self.shows(other, certificate)
        length = len(certificate.public_bytes(Encoding.DER))
        self.assertGreater(length, CERTIFICATE_BYTES_MAX)
        reason = f"its certificate has {length} bytes; {CERTIFICATE_BYTES_MAX} are the most"
        self.refuse(one, other, reason)
        self.assertIn(reason, self.failureResultOf(self.asked(other, one), Unreachable).getErrorMessage())

    def test_nearly_too_long(self) -> None:
        """One that just fits is that of any node."""
        one, other = self.host(1), self.host(2)
        certificate = certificates.long(KEY, "127.0.0.2", 185)
        self.assertGreater(len(certificate.public_bytes(Encoding.DER)), CERTIFICATE_BYTES_MAX * 0.9)
        self.shows(other, certificate)
        self.meet(one, other)
        self.meet(other, one)

    def test_far_too_long(self) -> None:
        """Of one that would cost much OpenSSL is not even given the end."""
        one, other = self.host(1), self.host(2)
        self.shows(other, certificates.long(KEY, "127.0.0.2", 3000))
        self.refuse(one, other, f"its handshake has more than {HANDSHAKE_BYTES_MAX} bytes")

    def test_sessions_are_bounded(self) -> None:
        """So many sessions are kept; the oldest goes first."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        ((_, session),) = one.tls._sessions.items()
        for port in range(SESSIONS_MAX - 1):
            one.tls._sessions["127.0.0.9", port] = session
        self.meet(one, self.host(3))
        self.assertEqual(len(one.tls._sessions), SESSIONS_MAX)
        self.assertNotIn((other.peer.host, PORT), one.tls._sessions)

    def test_ipv4_dressed_as_ipv6(self) -> None:
        """An IPv4 peer that comes to a socket of both families is known by its IPv4 address."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        (link,) = other.pool._links
        connection = cast(Any, link.transport).getHandle()
        channel = other.tls.check(connection, "127.0.0.1")
        self.assertEqual(other.tls.check(connection, "::ffff:127.0.0.1"), channel)
        error = self.assertRaises(Refused, other.tls.check, connection, "::ffff:127.0.0.3")
        self.assertEqual(str(error), "its certificate is for 127.0.0.1 and not for 127.0.0.3")

    def test_ipv6(self) -> None:
        """All this with IPv6 addresses."""
        one, other = (Host(self.network, host, own(host)) for host in ("fd00::1", "fd00::2"))
        self.meet(one, other)
        self.meet(other, one)

    def test_plain_text_peer(self) -> None:
        """Who speaks plain text is refused, by a line that says so."""
        one = self.host(1)
        self.connect("127.0.0.9", one, Shouting)
        self.assertEqual(self.logged, ["it speaks no TLS"])

    def test_dialled_plain_text_peer(self) -> None:
        """Also when we dialled it."""
        one, other = self.host(1), self.host(2)
        self.network.ports["127.0.0.2", PORT] = ClientFactory.forProtocol(Shouting)
        self.failureResultOf(self.asked(one, other), Unreachable)
        self.assertEqual(self.logged, ["it speaks no TLS"])

    def test_no_certificate(self) -> None:
        """Who shows no certificate is refused."""
        one = self.host(1)
        self.connect_tls("127.0.0.9", one, SSL.Context(SSL.TLS_METHOD))
        self.assertEqual(self.logged, ["it shows no certificate"])

    def test_unreadable_certificate(self) -> None:
        """A certificate that OpenSSL takes, and of which nobody else makes sense, is refused; nothing breaks."""
        mail = x509.RFC822Name("a@b.example")
        names = [x509.IPAddress(ip_address("127.0.0.9")), mail]
        der = certificates.for_names(KEY, names).public_bytes(Encoding.DER)
        for number, (written, instead) in enumerate(
            (
                (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06"),  # version 7
                (b"a@b.example", b"\xff@b.example"),  # an e-mail address of odd bytes
            ),
            1,
        ):
            self.assertEqual(1, der.count(written), written)
            context = SSL.Context(SSL.TLS_METHOD)
            context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, der.replace(written, instead)))
            context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, KEY))
            self.connect_tls("127.0.0.9", self.host(number), context)
            self.assertEqual([CANNOT_BE_READ] * number, self.logged)
            self.assertEqual(self.network.links(), [])

    def test_older_tls(self) -> None:
        """Who speaks TLS 1.2 is refused."""
        one = self.host(1)
        older = SSL.Context(SSL.TLS_METHOD)
        older.set_max_proto_version(SSL.TLS1_2_VERSION)
        self.connect_tls("127.0.0.9", one, older)
        self.assertEqual(self.logged, ["it speaks a TLS older than 1.3"])

    def test_half_a_handshake(self) -> None:
        """A connection that closes in the middle of a handshake is nothing to talk about."""
        one = self.host(1)
        self.connect("127.0.0.9", one, Protocol)
        self.network.transports[-2].crash()
        self.network.settle()
        self.assertEqual(self.logged, [])

    def test_no_handshake(self) -> None:
        """One that never begins is ended."""
        one = self.host(1)
        self.connect("127.0.0.9", one, Protocol)
        self.network.pass_time(6, step_s=1)
        self.assertEqual(self.logged, ["no Hello within 5 s"])
        self.assertEqual(self.network.links(), [])

    def test_bound_to_the_session(self) -> None:
        """A Hello belongs to one TLS session: in the middle between two nodes it cannot be passed on."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        self.meet(other, one)
        channels = {link._channel for link in (*one.pool._links, *other.pool._links)}
        self.assertEqual(len(channels), 2)
        self.assertEqual({len(channel) for channel in channels}, {32})

    def connect(self, host: str, to: Host, protocol: type[Protocol]) -> None:
        MemoryReactor(self.network).connectTCP(
            to.peer.host, PORT, ClientFactory.forProtocol(protocol), bindAddress=(host, 0)
        )
        self.network.settle()

    def connect_tls(self, host: str, to: Host, context: SSL.Context) -> None:
        factory = TLSMemoryBIOFactory(Fixed(context), True, ClientFactory.forProtocol(Shouting), self.network.clock)
        MemoryReactor(self.network).connectTCP(to.peer.host, PORT, factory, bindAddress=(host, 0))
        self.network.settle()


@implementer(IOpenSSLClientConnectionCreator)
class Fixed:
    """TLS links out of one context."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class ClosedTests(TlsTestCase):
    """A closed network: whom its authority names."""

    def test_members(self) -> None:
        """Nodes with certificates of the authority talk."""
        one, other = self.host(1, issued("127.0.0.1")), self.host(2, issued("127.0.0.2"))
        self.meet(one, other)
        self.meet(other, one)
        self.assertEqual(self.logged, [])

    def test_self_signed(self) -> None:
        """A certificate of the node's own is refused."""
        self.refuse(
            self.host(1, issued("127.0.0.1")), self.host(2), "its certificate is not of this network's authority"
        )

    def test_open_node(self) -> None:
        """A node of an open network says what it would take to join the closed one that it has met."""
        self.refuse(self.host(1, issued("127.0.0.1")), self.host(2), "(chordtwist certify node) this node could join")

    def test_another_authority(self) -> None:
        """So is one of another authority, even of the same name."""
        key = make_key()
        other = make_authority(key, "test", NOW)
        stranger = Credentials(issue(other, key, KEY, "127.0.0.2", NOW), KEY, other)
        self.refuse(
            self.host(1, issued("127.0.0.1")),
            self.host(2, stranger),
            "its certificate is not of this network's authority",
        )

    def test_certificate_for_another_address(self) -> None:
        """So is one of the authority for another address."""
        self.refuse(
            self.host(1, issued("127.0.0.1")),
            self.host(2, issued("127.0.0.7"), shown_as="127.0.0.7"),
            "its certificate is for 127.0.0.7 and not for 127.0.0.2",
        )

    def test_revoked(self) -> None:
        """So is one on the authority's revocation list."""
        other = issued("127.0.0.2")
        serial = x509.load_pem_x509_certificate(other.certificate).serial_number
        revoked = revocation_list(AUTHORITY, AUTHORITY_KEY, [serial, 5], NOW)
        self.refuse(
            self.host(1, issued("127.0.0.1", revoked=revoked)), self.host(2, other), "its certificate was revoked"
        )

    def test_told_why(self) -> None:
        """Whoever is refused knows by whom and why, in words about itself, until it is met again."""
        brief = issue(AUTHORITY, AUTHORITY_KEY, KEY, "127.0.0.2", NOW, timedelta(days=1))
        third = issued("127.0.0.3")
        serial = x509.load_pem_x509_certificate(third.certificate).serial_number
        revoked = revocation_list(AUTHORITY, AUTHORITY_KEY, [serial], NOW)
        one = self.host(1, issued("127.0.0.1", revoked=revoked))
        for number, credentials, why in (
            (2, Credentials(brief, KEY, AUTHORITY), "our certificate expired on"),
            (3, third, "our certificate was revoked"),
        ):
            self.now = NOW
            refused = self.host(number, credentials)
            self.now = NOW + timedelta(days=2)
            refused.pool.ask(one.peer, Ping()).addErrback(lambda failure: failure.trap(Unreachable))
            self.network.pass_time(2)
            (told,) = refused.pool.refused_by().items()
            self.assertEqual(str(one.peer), told[0])
            self.assertTrue(told[1].startswith(why), told[1])

    def test_two_authorities(self) -> None:
        """While an authority is replaced, certificates of both serve."""
        key = make_key()
        newer = make_authority(key, "test", NOW)
        both = AUTHORITY + newer
        one = self.host(1, Credentials(issued("127.0.0.1").certificate, KEY, both))
        other = self.host(2, Credentials(issue(newer, key, KEY, "127.0.0.2", NOW), KEY, both))
        self.meet(one, other)
        self.meet(other, one)

    def test_expired_authority(self) -> None:
        """What an authority signed ends with it."""
        brief = make_authority(AUTHORITY_KEY, "test", NOW, timedelta(days=1))
        one, other = (
            self.host(number, Credentials(issue(brief, AUTHORITY_KEY, KEY, f"127.0.0.{number}", NOW), KEY, brief))
            for number in (1, 2)
        )
        self.now = NOW + timedelta(days=2)
        self.refuse(one, other, "its certificate is not of this network's authority")

    def test_renewal(self) -> None:
        """Changed files are read again without a restart; one that does not serve leaves the old ones in use."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = CredentialFiles(
            folder / "node.pem", folder / "node.key", folder / "authority.pem", folder / "revoked.pem"
        )

        def write(credentials: Credentials) -> None:
            files.certificate.write_bytes(credentials.certificate)
            files.key.write_bytes(credentials.key)
            cast(Path, files.authority).write_bytes(credentials.authority)
            cast(Path, files.revoked).write_bytes(
                credentials.revoked or revocation_list(AUTHORITY, AUTHORITY_KEY, [], NOW)
            )

        write(issued("127.0.0.1"))
        one = self.host(1, files.read(), files=files)
        others = [self.host(number, issued(f"127.0.0.{number}")) for number in (2, 3, 4, 5)]
        self.meet(one, others[0])
        first = one.tls._terms
        files.certificate.write_bytes(b"half a certificate")
        self.network.pass_time(LOOK_AGAIN_EVERY_S, step_s=1)
        self.meet(one, others[1])
        self.assertIs(one.tls._terms, first)
        write(issued("127.0.0.1", now=NOW + timedelta(hours=1)))
        self.network.pass_time(LOOK_AGAIN_EVERY_S, step_s=1)
        self.meet(one, others[2])
        self.assertIsNot(one.tls._terms, first)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        second = one.tls._terms
        self.network.pass_time(LOOK_AGAIN_EVERY_S, step_s=1)
        self.meet(one, others[3])
        self.assertIs(one.tls._terms, second)

    def test_revoked_while_linked(self) -> None:
        """When the revocation list changes, links that stand with whom it names now are ended."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = CredentialFiles(
            folder / "node.pem", folder / "node.key", folder / "authority.pem", folder / "revoked.pem"
        )
        mine, theirs = issued("127.0.0.1"), issued("127.0.0.2")
        for path, content in (
            (files.certificate, mine.certificate),
            (files.key, mine.key),
            (files.authority, mine.authority),
            (files.revoked, revocation_list(AUTHORITY, AUTHORITY_KEY, [], NOW)),
        ):
            cast(Path, path).write_bytes(content)
        one = self.host(1, files.read(), files=files)
        bad, good = self.host(2, theirs), self.host(3, issued("127.0.0.3"))
        self.meet(one, bad)
        self.meet(one, good)
        serial = x509.load_pem_x509_certificate(theirs.certificate).serial_number
        cast(Path, files.revoked).write_bytes(revocation_list(AUTHORITY, AUTHORITY_KEY, [serial], NOW))
        self.network.pass_time(LOOK_AGAIN_EVERY_S + LOOK_AT_LINKS_EVERY_S, step_s=0.5)
        self.assertEqual(self.logged, ["its certificate was revoked"])
        self.assertEqual(self.network.links(), [("127.0.0.1", "127.0.0.3")])
        self.assertEqual(one.answers.lost, [])

    def test_expired_while_linked(self) -> None:
        """So are links with whom a certificate has ended, within an hour."""
        one, other = self.host(1), self.host(2, own("127.0.0.2", now=NOW - timedelta(days=3649)))
        self.meet(one, other)
        self.now = NOW + timedelta(days=2)
        while self.network.links():
            one.pool.ask(other.peer, Ping()).addErrback(lambda failure: None)
            self.network.pass_time(60, step_s=1)
        self.assertLess(self.network.clock.seconds(), (CHECK_AGAIN_EVERY_LOOKS + 60) * LOOK_AT_LINKS_EVERY_S)
        self.assertEqual(self.logged[:1], [f"its certificate expired on {TOMORROW}"])

    def test_vanished_files(self) -> None:
        """Files that are gone for a moment change nothing."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = CredentialFiles(folder / "node.pem", folder / "node.key")
        files.certificate.write_bytes(own("127.0.0.1").certificate)
        files.key.write_bytes(KEY)
        one, others = self.host(1, files.read(), files=files), [self.host(number) for number in (2, 3)]
        self.meet(one, others[0])
        first = one.tls._terms
        files.key.unlink()
        self.network.pass_time(LOOK_AGAIN_EVERY_S, step_s=1)
        self.meet(one, others[1])
        self.assertIs(one.tls._terms, first)


class SecretTests(TlsTestCase):
    """A network with a secret."""

    def test_members(self) -> None:
        """Nodes that know the secret talk."""
        one, other = self.host(1, secret=b"open sesame"), self.host(2, secret=b"open sesame")
        self.meet(one, other)
        self.meet(other, one)

    def test_stranger(self) -> None:
        """Another secret, or none, is refused."""
        self.refuse(self.host(1, secret=b"one"), self.host(2, secret=b"other"), "does not know the network's secret")

    def test_none(self) -> None:
        """None where one is demanded is refused, and so is one where none is."""
        self.refuse(self.host(1, secret=b"one"), self.host(2), "does not know the network's secret")
        self.assertTrue([said for said in self.logged if "expects a secret" in said])


class ResumptionTests(TlsTestCase):
    """Sessions that are taken up again."""

    def again(self, one: Host, other: Host) -> None:
        """End the link between two hosts and wait until it is gone."""
        for link in list(one.pool._links):
            link.end("idle")
        self.network.pass_time(0.5)
        self.assertEqual(self.network.links(), [])

    def handshake_bytes(self) -> int:
        """How much both ends of the newest link have received."""
        return sum(len(data) for end in self.network.transports[-2:] for data in end.received)

    def test_resumed(self) -> None:
        """The next dial to a peer resumes its session: no certificates travel, and the peer is proved all the same."""
        one, other = self.host(1), self.host(2)
        self.meet(one, other)
        first = self.handshake_bytes()
        self.again(one, other)
        self.meet(one, other)
        self.assertLess(self.handshake_bytes(), first - len(own("127.0.0.1").certificate))

    def test_expired_meanwhile(self) -> None:
        """A certificate that has expired since is refused on a resumed session, at either end."""
        one, other = self.host(1), self.host(2, own("127.0.0.2", now=NOW - timedelta(days=3649)))
        self.meet(one, other)
        self.again(one, other)
        self.now = NOW + timedelta(days=5)
        self.failureResultOf(self.asked(one, other), Unreachable)
        self.assertIn(f"its certificate expired on {TOMORROW}", self.logged)

    def test_revoked_meanwhile(self) -> None:
        """So is one that was revoked since, by the side that was dialled."""
        one, other = self.host(1, issued("127.0.0.1")), self.host(2, issued("127.0.0.2"))
        self.meet(one, other)
        self.again(one, other)
        serial = x509.load_pem_x509_certificate(issued_certificate(one)).serial_number
        revoked = revocation_list(AUTHORITY, AUTHORITY_KEY, [serial], NOW)
        # The tickets of the old contexts would not be taken any more; the list alone changes here.
        other.tls._terms._revoked = revoked_serials(revoked, [x509.load_pem_x509_certificate(AUTHORITY)])
        self.failureResultOf(self.asked(one, other), Unreachable)
        self.assertEqual(self.logged, ["its certificate was revoked"])

    def test_another_node_with_the_ticket(self) -> None:
        """A session is resumed only towards the address it was made with."""
        one, other, third = self.host(1), self.host(2), self.host(3)
        self.meet(one, other)
        self.again(one, other)
        first = self.handshake_bytes()
        self.meet(one, third)
        self.assertGreater(self.handshake_bytes(), first - len(own("127.0.0.1").certificate))


def issued_certificate(host: Host) -> bytes:
    """The certificate that a host shows."""
    return host.tls._terms._certificate.public_bytes(Encoding.PEM)


class CredentialTests(SynchronousTestCase):
    """Credentials that do not serve are found out before they are used."""

    def reason(self, credentials: Credentials, host: str = "127.0.0.1") -> str:
        clock = MemoryNetwork().clock
        return str(self.assertRaises(ValueError, Tls, credentials, host, lambda: NOW, cast(Any, clock)))

    def test_no_key(self) -> None:
        """A file without a key."""
        self.assertEqual(self.reason(Credentials(own("127.0.0.1").certificate, b"")), "no private key in PEM")

    def test_no_certificate(self) -> None:
        """A file without a certificate."""
        self.assertEqual(self.reason(Credentials(b"hello", KEY)), "no certificate in PEM")

    def test_long(self) -> None:
        """A certificate that all others would refuse for its length."""
        pem = certificates.long(KEY, "127.0.0.1", 200).public_bytes(Encoding.PEM)
        self.assertIn(f"{CERTIFICATE_BYTES_MAX} are the most", self.reason(Credentials(pem, KEY)))

    def test_other_key(self) -> None:
        """A key of another certificate."""
        self.assertEqual(
            self.reason(Credentials(own("127.0.0.1").certificate, make_key())), "the certificate is not for this key"
        )

    def test_other_address(self) -> None:
        """A certificate for another address than ours."""
        self.assertEqual(self.reason(own("127.0.0.2")), "the certificate is for 127.0.0.2 and not for 127.0.0.1")

    def test_expired(self) -> None:
        """A certificate of our own that has expired."""
        self.assertIn("expired on", self.reason(own("127.0.0.1", now=NOW - timedelta(days=5000))))

    def test_other_authority(self) -> None:
        """A certificate of another authority than the one we demand."""
        self.assertIn(
            "is not of this network's authority",
            self.reason(Credentials(own("127.0.0.1").certificate, KEY, AUTHORITY)),
        )

    def test_revocation_list(self) -> None:
        """A revocation list that the authority has not signed, or that is none."""
        key = make_key()
        theirs = revocation_list(make_authority(key, "test", NOW), key, [], NOW)
        self.assertIn("has not signed", self.reason(issued("127.0.0.1", revoked=theirs)))
        self.assertEqual(self.reason(issued("127.0.0.1", revoked=b"hello")), "no revocation list in PEM")


class CertificateTests(SynchronousTestCase):
    """Certificates as they are made."""

    def test_subject(self) -> None:
        """A node's certificate has its address, in its one form, as its one subject."""
        for host, address in (
            ("127.0.0.1", "127.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:DB8::1", "2001:db8::1"),
        ):
            certificate = x509.load_pem_x509_certificate(self_signed(KEY, host))
            self.assertEqual(str(subject_address(certificate)), address)

    def test_no_subject(self) -> None:
        """An authority's certificate is for no address."""
        self.assertRaises(ValueError, subject_address, x509.load_pem_x509_certificate(AUTHORITY))

    def test_unfit_keys(self) -> None:
        """Locked keys, and keys that TLS 1.3 cannot sign with, are refused in words."""
        locked = load_key(KEY).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
        exchange = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for pem, words in ((locked, "locked with a password"), (exchange, "no use for"), (b"", "no private key")):
            self.assertIn(words, str(self.assertRaises(ValueError, load_key, pem)))

    def test_other_kinds_of_keys(self) -> None:
        """Ed25519 keys and RSA keys serve like those we make."""
        for key in (Ed25519PrivateKey.generate(), generate_private_key(65537, 2048)):
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            network = MemoryNetwork()
            one, other = Host(network, "127.0.0.1", own("127.0.0.1", pem)), Host(network, "127.0.0.2", own("127.0.0.2"))
            asked = one.pool.ask(other.peer, Ping())
            network.pass_time(0.5)
            self.assertEqual(self.successResultOf(asked), Pong())

    def test_authority_key(self) -> None:
        """Nothing is issued with a key that is not the authority's."""
        self.assertRaises(ValueError, issue, AUTHORITY, KEY, KEY, "127.0.0.1", NOW)
        self.assertRaises(ValueError, issue, b"nothing", KEY, KEY, "127.0.0.1", NOW)


class Shouting(Protocol):
    """Speaks plain text at once."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"EHLO example.org\r\n")
