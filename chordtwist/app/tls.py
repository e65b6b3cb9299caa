"""The TLS of a node as its configuration has it: which key, which certificate, whose authority."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.app.config import NodeConfig, TlsMode
from chordtwist.core.peer import canonical_ip
from chordtwist.net.certificates import ALWAYS, load_key, make_key, self_signed, subject_address
from chordtwist.net.tls import CredentialFiles, Credentials, Tls
from chordtwist.storage.state import StateDirectory, set_aside


def tls_of(
    config: NodeConfig,
    host: str,
    clock: IReactorTime,
    state: StateDirectory | None,
    call: Callable[..., Deferred[Any]] = maybeDeferred,
) -> Tls | None:
    """Set up TLS for the node that others dial at the IP address `host`; None with ``mode = off``.

    Key and certificate are the configured ones. Where there are none, `hostkey` is the key, or one that is made at the
    first start and kept in the state directory, and the node signs its certificate itself.

    @param call: calls what reads files while the node runs.
    @raise ValueError: what is configured does not serve; says which file, and why.
    @raise StateUnusable: the state directory does not give or take key and certificate.
    """
    tls = config.tls
    if tls.mode is TlsMode.OFF:
        return None
    key_path = tls.key or config.hostkey
    if tls.certificate is not None and key_path is not None:
        closed = tls.mode is TlsMode.CLOSED
        files = CredentialFiles(tls.certificate, key_path, tls.authority if closed else None, tls.revoked)
        try:
            return Tls(files.read(), host, _now, clock, files, call)
        except OSError as error:
            raise ValueError(f"{error.filename}: cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{tls.certificate}: {error}") from None
    key = _kept_key(state) if key_path is None else _given_key(key_path)
    return Tls(Credentials(_own_certificate(key, host, state), key), host, _now, clock)


def _given_key(path: Path) -> bytes:
    pem = _read(path)
    try:
        load_key(pem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return pem


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None


def _kept_key(state: StateDirectory | None) -> bytes:
    if state is None:
        return make_key()
    pem = state.read(state.tls_key)
    if pem is not None:
        try:
            load_key(pem)
        except ValueError as error:
            set_aside(state.tls_key, str(error))
        else:
            return pem
    pem = make_key()
    state.write(state.tls_key, pem)
    return pem


def _own_certificate(key: bytes, host: str, state: StateDirectory | None) -> bytes:
    kept = None if state is None else state.read(state.tls_certificate)
    if kept is not None and _serves(kept, key, host):
        return kept
    made = self_signed(key, host)
    if state is not None:
        state.write(state.tls_certificate, made)
    return made


def _serves(pem: bytes, key: bytes, host: str) -> bool:
    # Whether a certificate of an earlier start is still ours: another key or address is an ordinary reason for a new
    # one, and so is a file that makes no sense.
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        return (
            subject_address(certificate) == canonical_ip(host)
            and certificate.public_key() == load_key(key).public_key()
            and (certificate.not_valid_before_utc, certificate.not_valid_after_utc) == ALWAYS
        )
    except ValueError:
        return False


def _now() -> datetime:
    return datetime.now(UTC)
