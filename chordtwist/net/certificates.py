"""Certificates of nodes: made by themselves, or by a network's authority, which can take them back.

A node's certificate has its IP address as its one subject. Nothing else in it counts: ids follow from addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chordtwist.core.peer import canonical_ip

ALWAYS = datetime(1950, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""When a self-signed certificate begins and ends. It proves nothing but the key; and a machine without a clock makes
its in 1970, which others have to take once its time is right. The end is that of RFC 5280 for none (4.1.2.5)."""

AUTHORITY_FOR = timedelta(days=3650)
NODE_FOR = timedelta(days=365)
"""A year, so that a node that nobody looks after drops out of a closed network by itself."""

BACKDATED_BY = timedelta(days=1)
"""Certificates begin a day before they are made: clocks of nodes differ."""

RSA_BITS_MIN = 2048

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


def make_key() -> bytes:
    """Make a new private key (P-256), PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(pem: bytes) -> PrivateKey:
    """Read the private key in a PEM file.

    @raise ValueError: there is none that serves, and why.
    """
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise ValueError("the private key is locked with a password") from None
    except ValueError:
        raise ValueError("no private key in PEM") from None
    if not isinstance(key, PrivateKey):
        raise ValueError(f"a private key of a kind that TLS 1.3 has no use for: {type(key).__name__}")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < RSA_BITS_MIN:
        raise ValueError(f"an RSA key of {key.key_size} bits; {RSA_BITS_MIN} are the least")
    return key


def self_signed(key_pem: bytes, host: str) -> bytes:
    """Make a certificate for the node at an IP address, for all time, signed with its own key; PEM."""
    key = load_key(key_pem)
    name = _common_name(str(canonical_ip(host)))
    return _pem(_node(name, name, key, host, ALWAYS, issuer_key=key).sign(key, _digest(key)))


def make_authority(key_pem: bytes, network: str, now: datetime, lifetime: timedelta = AUTHORITY_FOR) -> bytes:
    """Make the certificate of a network's authority; PEM."""
    key = load_key(key_pem)
    name = _common_name(f"{network} authority"[:64])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = _begin(name, name, key, _from(now, lifetime))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return _pem(builder.add_extension(usage, critical=True).sign(key, _digest(key)))


def issue(
    authority_pem: bytes,
    authority_key_pem: bytes,
    key_pem: bytes,
    host: str,
    now: datetime,
    lifetime: timedelta = NODE_FOR,
) -> bytes:
    """Issue the authority's certificate for the node at an IP address, which has the key; PEM.

    @raise ValueError: the authority's key is not that of its certificate.
    """
    authority, authority_key = _authority(authority_pem, authority_key_pem)
    name = _common_name(str(canonical_ip(host)))
    builder = _node(name, authority.subject, load_key(key_pem), host, _from(now, lifetime), issuer_key=authority_key)
    return _pem(builder.sign(authority_key, _digest(authority_key)))


def revocation_list(
    authority_pem: bytes,
    authority_key_pem: bytes,
    serials: Iterable[int],
    now: datetime,
    lifetime: timedelta = AUTHORITY_FOR,
) -> bytes:
    """Make the authority's list of certificates that are not to be taken any more, by serial number; PEM.

    @raise ValueError: the authority's key is not that of its certificate.
    """
    authority, authority_key = _authority(authority_pem, authority_key_pem)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(now)
        .next_update(now + lifetime)
    )
    for serial in sorted(set(serials)):
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(authority_key, _digest(authority_key)).public_bytes(Encoding.PEM)


def revoked_serials(list_pem: bytes, authorities: Iterable[x509.Certificate]) -> frozenset[int]:
    """Read the serial numbers on a revocation list of one of the authorities.

    @raise ValueError: it is no revocation list, or none of theirs.
    """
    try:
        listed = x509.load_pem_x509_crl(list_pem)
    except ValueError:
        raise ValueError("no revocation list in PEM") from None
    if not any(listed.is_signature_valid(authority.public_key()) for authority in authorities):  # type: ignore[arg-type]
        raise ValueError("a revocation list that the network's authority has not signed")
    return frozenset(revoked.serial_number for revoked in listed)


def subject_address(certificate: x509.Certificate) -> IPv4Address | IPv6Address:
    """Find the one IP address a node's certificate is for, in the one form that it has.

    @raise ValueError: it names none or several, a whole network, or an IPv4 address dressed as IPv6.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        addresses = []
    else:
        addresses = names.get_values_for_type(x509.IPAddress)
    if len(addresses) != 1:
        raise ValueError(f"a certificate for {len(addresses) or 'no'} addresses instead of one")
    address = addresses[0]
    if not isinstance(address, IPv4Address | IPv6Address):
        raise ValueError(f"a certificate for the network {address} instead of an address")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError(f"a certificate for {address.ipv4_mapped} dressed as the IPv6 address {address}")
    return address


def _authority(certificate_pem: bytes, key_pem: bytes) -> tuple[x509.Certificate, PrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise ValueError("no certificate in PEM") from None
    key = load_key(key_pem)
    if certificate.public_key() != key.public_key():
        raise ValueError("the authority's certificate is not for this key")
    return certificate, key


def _node(
    name: x509.Name,
    issuer: x509.Name,
    key: PrivateKey,
    host: str,
    valid: tuple[datetime, datetime],
    issuer_key: PrivateKey,
) -> x509.CertificateBuilder:
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        _begin(name, issuer, key, valid)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(canonical_ip(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(authority_id, critical=False)
    )


def _begin(
    name: x509.Name, issuer: x509.Name, key: PrivateKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _from(now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
    return now - BACKDATED_BY, now + lifetime


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
