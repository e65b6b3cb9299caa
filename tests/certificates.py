"""Certificates that `chordtwist.net.certificates` never makes: signed by themselves, with any names, at any time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from chordtwist.net.certificates import load_key


def for_names(key_pem: bytes, names: Iterable[x509.GeneralName], *extensions: x509.ExtensionType) -> x509.Certificate:
    """A certificate for exactly these names, of today, signed by its own key."""
    key = load_key(key_pem)
    begins = datetime.now(UTC) - timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256())


def dated(key_pem: bytes, host: str, begins: datetime) -> bytes:
    """A certificate for one IP address that was good for ten years; PEM."""
    key = load_key(key_pem)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(6)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=3651))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def long(key_pem: bytes, host: str, others: int) -> x509.Certificate:
    """A certificate for one IP address and so many other names, 20 bytes each."""
    names = (x509.DNSName(f"n{number:05}.example.org") for number in range(others))
    return for_names(key_pem, [x509.IPAddress(ip_address(host)), *names])
