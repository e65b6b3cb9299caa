"""TLS 1.3 between nodes: both sides show a certificate, and each looks at the other's for itself.

OpenSSL's own verdict does not suffice: it cannot know the address we dialled, and on a resumed session it gives none at
all. So every connection, new or resumed, goes through `Tls.check` before a byte of it is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Refused
from chordtwist.core.health import YEAR_MIN
from chordtwist.core.peer import canonical_ip
from chordtwist.net.certificates import load_key, revoked_serials, subject_address
from chordtwist.net.tls_link import TlsLink

EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
EXPORTER_BYTES = 32
"""RFC 9266: what both ends of a TLS 1.3 session can derive, and nobody between them."""

LOOK_AGAIN_EVERY_S = 5.0
"""The files of certificates are looked at again so often: a renewal needs no restart."""

SESSIONS_MAX = 1024
"""Sessions that may be resumed, one for each peer. Each holds the peer's certificate: 5 KiB, 27 with the longest."""

CERTIFICATE_BYTES_MAX = 4096
"""Of a node's certificate: one for the longest keys (RSA of 8,192 bits) has 2,500."""

_SELF_SIGNED, _EXPIRED, _NOT_YET = 18, 10, 9
_UNKNOWN_ISSUER = frozenset((18, 19, 20, 21))
"""OpenSSL's numbers (X509_V_ERR_...)."""

_UNFIT = {
    26: "its certificate is not meant for both sides of a link (serverAuth and clientAuth)",
    66: "the key of its certificate is too short",
    68: "the hash that its certificate is signed with is too weak",
}
"""What OpenSSL's other numbers mean, as far as anybody has met them."""

UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises, when it is asked for some part, at certificates that OpenSSL lets pass. Nobody signs those
of an open network but their owners, so strangers show whatever bytes they like."""

REFUSES_US = "it refuses us: "
"""Before the other side's alert, in the reason why a link is lost."""

CANNOT_BE_READ = "its certificate cannot be read"
NOT_THE_AUTHORITYS = "its certificate is not of this network's authority"
OF_A_CLOSED_NETWORK = (
    "its certificate is not signed by itself, as in a closed network: with [tls] mode = closed and a certificate of its"
    " authority (chordtwist certify node) this node could join that"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a node shows, and whom it believes; all PEM."""

    certificate: bytes
    key: bytes
    authority: bytes = b""
    """Certificates of the authority, or of several while one is replaced. Empty in an open network."""

    revoked: bytes = b""
    """The authority's revocation list, where there is one."""


Stamp = tuple[tuple[int, int, int] | None, ...]
"""Of files: changes when one of them does."""

_Found = tuple[Stamp, Credentials | OSError] | None


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Where credentials are kept, for those that an operator makes."""

    certificate: Path
    key: Path
    authority: Path | None = None
    revoked: Path | None = None

    def read(self) -> Credentials:
        """Read what the files hold. @raise OSError: one cannot be read."""
        paths = (self.certificate, self.key, self.authority, self.revoked)
        return Credentials(*(b"" if path is None else path.read_bytes() for path in paths))

    def changed(self, stamp: Stamp) -> _Found:
        """Read them if they have changed since `stamp`: the stamp of now, and what they hold or why not; else None."""
        now = self.stamp()
        if now == stamp:
            return None
        try:
            return now, self.read()
        except OSError as error:
            return now, error

    def stamp(self) -> Stamp:
        """Make a stamp that changes when a file does."""
        paths = (self.certificate, self.key, self.authority, self.revoked)
        return tuple(_stamp(path) for path in paths if path is not None)


class Tls:
    """The TLS of one node."""

    _log = Logger()

    def __init__(
        self,
        credentials: Credentials,
        host: str,
        now: Callable[[], datetime],
        clock: IReactorTime,
        files: CredentialFiles | None = None,
        call: Callable[[Callable[[], _Found]], Deferred[_Found]] = maybeDeferred,
    ) -> None:
        """
        @param host: the IP address that other nodes dial; our certificate has to be for it.
        @param now: wall time, UTC.
        @param files: where the credentials come from, when they are to be read again.
        @param call: calls what reads them, where a disk that hangs holds nobody up.

        @raise ValueError: they do not serve, and why.
        """
        self._host = host
        self._now = now
        self._clock = clock
        self._files = files
        self._call = call
        self._is_looking = self._is_renewed = False
        self._stamp = () if files is None else files.stamp()
        self._looked_at = clock.seconds()
        self._sessions: Bounded[tuple[str, int], SSL.Session] = Bounded(SESSIONS_MAX)
        self._terms = _Terms(credentials, host, now())
        self._dialling = self._factory(True)
        self._accepting = self._factory(False)

    def wrap(
        self,
        link: Protocol,
        dialled: tuple[str, int] | None,
        charged: Callable[[Callable[[bytes], None], bytes], None] | None = None,
    ) -> Protocol:
        """Wrap TLS around a link: as the side that dialled an address, or as the one that was dialled.

        @param charged: as of `TlsLink`.
        """
        wrapped = TlsLink(self._accepting if dialled is None else self._dialling, link)
        wrapped.dialled = dialled
        wrapped.charged = charged
        return wrapped

    def check(self, connection: SSL.Connection, host: str) -> bytes:
        """Look at the certificate of whoever is at the other end, which has to be the node at the IP address `host`.

        Returns what only the two ends of this session can derive.

        @raise Refused: it is not to be talked to, and why.
        """
        try:
            certificate = connection.get_peer_certificate(as_cryptography=True)
            if certificate is None:
                raise Refused("it shows no certificate")
            self._terms.check(certificate, self._now())
            certificate.extensions  # noqa: B018 -- read here for the first time
        except UNREADABLE:
            raise Refused(CANNOT_BE_READ) from None
        try:
            address = subject_address(certificate)
        except ValueError as error:
            raise Refused(f"it shows {error}") from None
        # Where one socket listens for both families, IPv4 peers come dressed as IPv6; certificates know them undressed.
        expected = canonical_ip(host)
        if address != expected:
            raise Refused(f"its certificate is for {address} and not for {expected}")
        return connection.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, b"")

    def remember(self, connection: SSL.Connection, dialled: tuple[str, int]) -> None:
        """Keep the session of a link that we dialled, to be resumed by the next dial to that address.

        To be called once something has come over it: TLS 1.3 sends its tickets after the handshake.
        """
        session = connection.get_session()
        if session is not None:
            self._sessions[dialled] = session

    def renew(self, credentials: Credentials) -> None:
        """Show and demand something else from the next link on. @raise ValueError: it does not serve, and why."""
        self._terms = _Terms(credentials, self._host, self._now())
        self._sessions.clear()

    @property
    def ends(self) -> datetime:
        """When our certificate ends."""
        return self._terms.ends

    def look_again(self) -> bool:
        """Say whether the files have changed, and are in use: what stood before is to be checked again.

        Looks every `LOOK_AGAIN_EVERY_S`, however often it is called. Files that do not serve change nothing.
        """
        now = self._clock.seconds()
        files = self._files
        if files is not None and not self._is_looking and now - self._looked_at >= LOOK_AGAIN_EVERY_S:
            self._looked_at, self._is_looking = now, True
            self._call(lambda: files.changed(self._stamp)).addCallback(self._take).addBoth(self._looked)
        is_renewed, self._is_renewed = self._is_renewed, False
        return is_renewed

    def look_soon(self) -> None:
        """Have the next `look_again` look, however short it is since the last one."""
        self._looked_at = -LOOK_AGAIN_EVERY_S

    def _take(self, found: _Found) -> None:
        if found is None:
            return
        self._stamp, read = found
        if isinstance(read, OSError):
            raise read
        self.renew(read)
        self._log.info("the changed TLS files are in use")
        self._is_renewed = True

    def _looked(self, result: object) -> None:
        self._is_looking = False
        if isinstance(result, Failure):
            result.trap(OSError, ValueError)
            self._log.error(
                "the changed TLS files do not serve, the old ones stay in use: {error}", error=result.getErrorMessage()
            )

    def _factory(self, dials: bool) -> TLSMemoryBIOFactory:
        # What is wrapped is a `TlsLink`, not the protocol that buffers writes: a link writes once per turn anyway.
        return TLSMemoryBIOFactory(_Creator(self), dials, Factory(), self._clock)

    def connection(self, link: TlsLink, dials: bool) -> SSL.Connection:
        """Make OpenSSL's side of a new link."""
        connection = SSL.Connection(self._terms.dialling if dials else self._terms.accepting, None)
        connection.set_app_data(link)
        if dials and link.dialled is not None:
            session = self._sessions.get(link.dialled)
            if session is not None:
                connection.set_session(session)
        return connection


def explain(reason: Failure, transport: object) -> tuple[bool, str] | None:
    """Say why TLS over a transport failed, if that is what its connection was lost by: whether it was we who refused
    the other side, and the reason in words.
    """
    error = reason.value
    if not isinstance(error, SSL.Error):
        return None
    why = getattr(transport, "why", "")
    if why:
        return True, why
    words = error.args[0][-1][2] if error.args and error.args[0] else "it ended in the middle of a handshake"
    for sign, meaning in _MEANINGS:
        if sign in words:
            return True, meaning
    _, is_alert, alert = words.partition("alert ")
    return (False, REFUSES_US + alert) if is_alert else (True, f"TLS failed: {words}")


_MEANINGS = (
    ("peer did not return a certificate", "it shows no certificate"),
    ("unsupported protocol", "it speaks a TLS older than 1.3"),
    ("wrong ssl version", "it speaks a TLS older than 1.3"),
    ("alert protocol version", "it speaks no TLS 1.3"),
    ("wrong version number", "it speaks no TLS"),
    ("http request", "it speaks no TLS"),
    ("packet length too long", "it speaks no TLS"),
    ("record layer failure", "it speaks no TLS"),
    ("unexpected message", "it speaks no TLS"),
)
"""What OpenSSL's words for a failed handshake mean here."""


class _Terms:
    # Our credentials, made ready: contexts for both directions, shared by all links, and what we demand.

    def __init__(self, credentials: Credentials, host: str, now: datetime) -> None:
        key = load_key(credentials.key)
        self._certificate = _certificates(credentials.certificate, "certificate")[0]
        if self._certificate.public_key() != key.public_key():
            raise ValueError("the certificate is not for this key")
        if subject_address(self._certificate) != canonical_ip(host):
            raise ValueError(f"the certificate is for {subject_address(self._certificate)} and not for {host}")
        self._authorities = (
            _certificates(credentials.authority, "certificate of the authority") if credentials.authority else []
        )
        self._revoked = revoked_serials(credentials.revoked, self._authorities) if credentials.revoked else frozenset()
        try:
            self.check(self._certificate, now)
        except Refused as error:
            by = f"; this machine's clock says {now.year}" if now.year < YEAR_MIN else ""
            raise ValueError(f"our own certificate does not serve: {error}{by}") from None
        self.ends = self._certificate.not_valid_after_utc
        self.dialling, self.accepting = self._context(key), self._context(key)

    def check(self, certificate: x509.Certificate, now: datetime) -> None:
        # Raises Refused. The length comes first: to read the rest takes longer the more there is of it. Then all that
        # OpenSSL checks as well, since it checks nothing on a resumed session.
        length = len(certificate.public_bytes(Encoding.DER))
        if length > CERTIFICATE_BYTES_MAX:
            raise Refused(f"its certificate has {length} bytes; {CERTIFICATE_BYTES_MAX} are the most")
        if certificate.not_valid_after_utc < now:
            raise Refused(f"its certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        if certificate.not_valid_before_utc > now:
            raise Refused(f"its certificate begins on {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
        if self._authorities:
            if not any(_is_issued_by(certificate, authority, now) for authority in self._authorities):
                raise Refused(NOT_THE_AUTHORITYS)
            if certificate.serial_number in self._revoked:
                raise Refused("its certificate was revoked")

    def _context(self, key: Any) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_id(b"chordtwist")
        context.use_certificate(self._certificate)
        context.use_privatekey(key)
        store = cast(crypto.X509Store, context.get_cert_store())
        for authority in self._authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._judge)
        return context

    def _judge(self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
        # OpenSSL asks for each certificate of the chain. Strangers sign for themselves in an open network, where chains
        # have no meaning; in a closed one the chain is node and authority.
        if error == 0 and (depth == 0 or self._authorities):
            return True
        if error == _SELF_SIGNED and depth == 0 and not self._authorities:
            return True
        connection.get_app_data().why = words_for(error, shown, bool(self._authorities))
        return False


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class _Creator:
    def __init__(self, tls: Tls) -> None:
        self._tls = tls

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self._tls.connection(tlsProtocol, dials=True)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self._tls.connection(tlsProtocol, dials=False)


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"no {what} in PEM") from None


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate, now: datetime) -> bool:
    if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (*UNREADABLE, TypeError, InvalidSignature):
        return False
    return True


def words_for(error: int, shown: crypto.X509, is_closed: bool) -> str:
    """Say what OpenSSL has against a certificate, in a closed network or an open one."""
    try:
        if error == _EXPIRED:
            return f"its certificate expired on {shown.to_cryptography().not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if error == _NOT_YET:
            return f"its certificate begins on {shown.to_cryptography().not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    except UNREADABLE:
        return CANNOT_BE_READ
    if error in _UNKNOWN_ISSUER:
        return NOT_THE_AUTHORITYS if is_closed else OF_A_CLOSED_NETWORK
    return _UNFIT.get(error, f"its certificate does not serve (X.509 error {error})")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
