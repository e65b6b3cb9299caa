"""Records of TLS 1.3 by hand: what a hostile peer can send over a session, and OpenSSL never does (RFC 8446)."""

from __future__ import annotations

import struct
from hashlib import sha384
from hmac import digest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

HANDSHAKE, APPLICATION_DATA = 22, 23
_NEW_SESSION_TICKET, _KEY_UPDATE = 4, 24
IV_BYTES, TAG_BYTES = 12, 16


class Secrets:
    """What the sessions of a context encrypt with; to be made before its first connection."""

    def __init__(self, context: SSL.Context) -> None:
        self._of: dict[bytes, bytes] = {}
        # Left to themselves both ends may choose ChaCha20.
        context.set_tls13_ciphersuites(b"TLS_AES_256_GCM_SHA384")
        context.set_keylog_callback(self._keep)

    def _keep(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.split()
        self._of[label] = bytes.fromhex(secret.decode())

    def writer(self, is_client: bool, written: int = 0) -> RecordWriter:
        """Whoever goes on writing as one side of the newest session, after so many records."""
        return RecordWriter(self._of[b"CLIENT_TRAFFIC_SECRET_0" if is_client else b"SERVER_TRAFFIC_SECRET_0"], written)


class RecordWriter:
    """One side of a session, from some record on."""

    def __init__(self, secret: bytes, written: int) -> None:
        self._change_keys(secret)
        self._written = written

    def record(self, kind: int, content: bytes) -> bytes:
        """One record."""
        opening = bytes((APPLICATION_DATA, 3, 3)) + struct.pack(">H", len(content) + 1 + TAG_BYTES)
        nonce = (self._iv ^ self._written).to_bytes(IV_BYTES, "big")
        self._written += 1
        return opening + self._key.encrypt(nonce, content + bytes((kind,)), opening)

    def key_update(self, asks_for_one: bool = True) -> bytes:
        """New keys from the next record on, and a demand for new ones of the other side."""
        record = self.record(HANDSHAKE, bytes((_KEY_UPDATE, 0, 0, 1, asks_for_one)))
        self._change_keys(_expand(self._secret, b"traffic upd", 48))
        return record

    def tickets(self, count: int) -> bytes:
        """Session tickets, in one record."""
        body = struct.pack(">IIBHBH", 3600, 7, 0, 1, 0, 0)
        return self.record(HANDSHAKE, (bytes((_NEW_SESSION_TICKET, 0, 0, len(body))) + body) * count)

    def _change_keys(self, secret: bytes) -> None:
        self._secret = secret
        self._key = AESGCM(_expand(secret, b"key", 32))
        self._iv = int.from_bytes(_expand(secret, b"iv", IV_BYTES), "big")
        self._written = 0


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    # HKDF-Expand-Label, for lengths of one block at most.
    label = b"tls13 " + label
    return digest(secret, struct.pack(">HB", length, len(label)) + label + b"\0\1", sha384)[:length]
