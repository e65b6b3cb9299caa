"""A peer that says whatever it likes, over real sockets: the other side of everything a node refuses."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from OpenSSL import SSL, crypto

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.certificates import make_key, self_signed
from chordtwist.net.introduction import Introduction
from chordtwist.net.tls import EXPORTER_BYTES, EXPORTER_LABEL
from chordtwist.wire.frames import OPENING_BYTES, FrameReader, pack_frame
from chordtwist.wire.peer_messages import BODY_BYTES_MAX, Answer, Goodbye, Hello, Message, Question, decode, encode

P2P_PORT = 6401
WITHIN_S = 10.0
"""For whatever a node does at once; a read that takes longer fails."""


class Ended(Exception):
    """The node ended the connection."""


class Papers:
    """A key and a certificate for it, both PEM: self-signed for an address unless others are given."""

    def __init__(self, host: str, certificate: bytes | None = None, key: bytes | None = None) -> None:
        self.key = make_key() if key is None else key
        self.certificate = self_signed(self.key, host) if certificate is None else certificate

    def context(self, newest: int = SSL.TLS1_3_VERSION) -> SSL.Context:
        """A context that shows them and believes everybody."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(newest)
        context.use_certificate(crypto.X509.from_cryptography(_first(self.certificate)))
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, self.key))
        return context


def _first(pem: bytes) -> Any:
    from cryptography.x509 import load_pem_x509_certificates

    return load_pem_x509_certificates(pem)[0]


def stranger(node: str, comes_from: str = "", port: int = P2P_PORT) -> socket.socket:
    """A plain connection to a node, from an address."""
    return socket.create_connection((node, port), WITHIN_S, (comes_from, 0) if comes_from else None)


class HostilePeer:
    """One connection to a node's port for peers: Hello with whatever claims, then any frame.

    @ivar claimed: the peer it says it is.
    """

    def __init__(
        self,
        node: str,
        comes_from: str,
        claimed: str | None = None,
        port: int = P2P_PORT,
        parameters: Parameters | None = None,
        context: SSL.Context | None = None,
        signer_seed: int = 7,
    ) -> None:
        """@param claimed: the address it claims, where that is not the one it comes from.
        @param context: TLS is spoken with it; None speaks plain text.
        """
        parameters = parameters or Parameters()
        identity = Identity(parameters.network, parameters.policy)
        self.node: Peer = identity.peer(node, P2P_PORT)
        self.claimed = identity.peer(claimed or comes_from, port)
        signer = Ed25519Signer(signer_seed.to_bytes(32, "big"))
        self._introduction = Introduction(
            self.claimed, identity, parameters, signer, verify_ed25519, 1, lambda: time.time_ns() // 1_000_000
        )
        self.socket = stranger(node, comes_from)
        # A time limit of the kernel's, since OpenSSL cannot deal with that of Python.
        self.socket.settimeout(None)
        limit = struct.pack("ll", int(WITHIN_S), 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._reader = FrameReader(BODY_BYTES_MAX)
        self._frames: list[tuple[int, int, bytes]] = []
        self._next_id = 0
        self._channel = b""
        self._tls: SSL.Connection | None = None
        if context is not None:
            self._tls = SSL.Connection(context, self.socket)
            self._tls.set_connect_state()
            self._tls.do_handshake()
            self._channel = self._tls.export_keying_material(EXPORTER_LABEL, EXPORTER_BYTES, b"")

    @property
    def tls_version(self) -> str:
        """The version both speak, in OpenSSL's words."""
        return "" if self._tls is None else self._tls.get_protocol_version_name()

    def hello(self, **claims: object) -> Hello:
        """A good Hello, but for `claims`."""
        good = self._introduction.hello(self.node, self._channel)
        return msgspec.structs.replace(good, **claims)

    def introduce(self, **claims: object) -> Hello:
        """Say Hello and hear the node's. @raise Ended: it says Goodbye instead."""
        self.say(self.hello(**claims))
        heard = self.hear()
        if isinstance(heard, Goodbye):
            raise Ended(heard.reason)
        assert isinstance(heard, Hello), heard
        return heard

    def say(self, message: Message, request_id: int = 0) -> None:
        """Write one frame."""
        self.write(pack_frame(message.kind, request_id, encode(message)))

    def write(self, raw: bytes) -> None:
        """Write any bytes. @raise Ended: nobody is there any more."""
        try:
            if self._tls is None:
                self.socket.sendall(raw)
            else:
                self._tls.sendall(raw)
        except (OSError, SSL.Error) as error:
            raise Ended(repr(error)) from None

    def hear(self) -> Message:
        """The next message of the node. @raise Ended: there is none."""
        while not self._frames:
            self._reader.feed(self._read())
            self._frames = list(self._reader.frames())
        kind, _, body = self._frames.pop(0)
        return decode(kind, body)

    def ask(self, question: Question) -> Answer:
        """The node's answer to one question; questions of its own are left alone."""
        return self.ask_all([question])[0]

    def ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to several questions that are asked at once, in whatever order they come."""
        first = self._next_id
        self._next_id += len(questions)
        frames = (pack_frame(asked.kind, first + n, encode(asked)) for n, asked in enumerate(questions))
        self.write(b"".join(frames))
        answers: list[Answer] = []
        while len(answers) < len(questions):
            heard = self.hear()
            if isinstance(heard, Goodbye):
                raise Ended(heard.reason)
            if isinstance(heard, Answer):
                answers.append(heard)
        return answers

    def goodbye(self) -> str:
        """Read until the node ends the connection: the reason that it gave, or nothing."""
        reason = ""
        with suppress(Ended):
            while True:
                heard = self.hear()
                if isinstance(heard, Goodbye):
                    reason = heard.reason
        return reason

    def close(self) -> None:
        """End it from here."""
        self.socket.close()

    def _read(self) -> bytes:
        try:
            raw: bytes = self.socket.recv(65_536) if self._tls is None else self._tls.recv(65_536)
        except SSL.WantReadError:
            raise TimeoutError(f"the node said nothing for {WITHIN_S:g} s") from None
        except BlockingIOError:
            raise TimeoutError(f"the node said nothing for {WITHIN_S:g} s") from None
        except (OSError, SSL.Error) as error:
            raise Ended(repr(error)) from None
        if not raw:
            raise Ended("end of the stream")
        return raw


def claimed_length(kind: int, length: int) -> bytes:
    """The opening of a frame that claims any length."""
    return struct.pack(">IBI", length, kind, 0)


assert len(claimed_length(1, 0)) == OPENING_BYTES
