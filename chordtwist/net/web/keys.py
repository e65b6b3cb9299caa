"""``/v1/keys/KEY``: the hash table over HTTP. Values are bodies as they are; the rest of a record is in headers."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib.resources import files
from typing import IO, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.resource import IResource
from twisted.web.server import Request

from chordtwist.core.errors import Refused, StoreFull, Unreachable
from chordtwist.core.records import (
    SALT_BYTES_MAX,
    VALUE_BYTES_MAX,
    PutResult,
    Record,
    Seal,
    Version,
    is_sealed,
    key_of,
    version_text,
)
from chordtwist.core.signed import KEY_LENGTH, SIGNATURE_LENGTH, verify_ed25519
from chordtwist.net.web.answers import Page, failed, json_text, show, show_problem
from chordtwist.net.web.pages import KEY_TEXT_MAX
from chordtwist.net.web.streams import STREAMS_MAX, Stream
from chordtwist.node.interfaces import IDht

WATCHED_AGAIN_S = 1.0
"""A key that is watched is read so often, once for all who watch it."""

KEYS_WATCHED_MAX = 64
"""Different keys watched at once: each costs a read a second."""

TTL_MOST_S = (1 << 32) - 1
SEQ_MOST = (1 << 63) - 1

_COPIES = re.compile(r"\s*copies\s*=\s*\"?([0-9]{1,3})\"?\s*", re.IGNORECASE)

_SEAL = re.compile(
    rf"public-key=(?P<key>[0-9a-f]{{{2 * KEY_LENGTH}}}); ?seq=(?P<seq>[1-9][0-9]{{0,18}});"
    rf" ?signature=(?P<sig>[0-9a-f]{{{2 * SIGNATURE_LENGTH}}})"
    rf"(; ?salt=(?P<salt>([0-9a-f]{{2}}){{1,{SALT_BYTES_MAX}}}))?"
)


class BadHeader(Exception):
    """A header of a request cannot be used; says which, and what would be right."""


class BadSeal(BadHeader):
    """What should be a seal is none."""


class Keys(Page):
    """All keys."""

    def __init__(self, dht: IDht, now_ms: Callable[[], int], clock: IReactorTime) -> None:
        """@param now_ms: reads the clock that the lives of records are counted on."""
        super().__init__()
        self._dht = dht
        self._now_ms = now_ms
        self._watches = Watches(dht.get, clock)

    def getChild(self, path: bytes, request: Request) -> IResource:
        """Find the page of a key: 64 hexadecimal digits are the key itself, of anything else it is the SHA-256."""
        if not 0 < len(path) <= KEY_TEXT_MAX:
            return super().getChild(path, request)
        return cast(
            IResource, KeyPage(key_of(path.decode("utf-8", "surrogateescape")), self._dht, self._now_ms, self._watches)
        )

    def stop(self) -> None:
        """Watch nothing more."""
        self._watches.stop()


class KeyPage(Page):
    """One key."""

    def __init__(self, key: bytes, dht: IDht, now_ms: Callable[[], int], watches: Watches) -> None:
        super().__init__()
        self._key = key
        self._now_ms = now_ms
        self._dht = dht
        self._watches = watches

    def render_GET(self, request: Request) -> Deferred[None] | None:
        """Show the value, or, to whoever accepts events, each value that it has from now on."""
        accepted = b",".join(request.requestHeaders.getRawHeaders(b"accept", []))
        if b"text/event-stream" in accepted.lower():
            self._watches.watch(self._key, request)
            return None
        return self._dht.get(self._key).addCallback(self._show, request)

    def _show(self, record: Record | None, request: Request) -> None:
        if record is None:
            show_problem(request, 404, f"there is no value under {self._key.hex()}")
            return
        tag = tag_of(record.version, record.seal)
        request.setHeader(b"etag", tag)
        request.setHeader(b"chord-kind", record.kind.name.lower().encode())
        request.setHeader(b"chord-version", version_text(record.version).encode())
        request.setHeader(b"chord-ttl", str(max(0, record.expiry_ms - self._now_ms()) // 1000).encode())
        request.setHeader(b"chord-copies", str(record.copies).encode())
        if record.seal is not None:
            request.setHeader(b"chord-seal", seal_text(record.seal))
        if request.setETag(tag) is not None:
            request.finish()  # 304
            return
        # Whatever the value is, a browser neither runs nor shows it.
        request.setHeader(b"content-disposition", b"attachment")
        show(request, record.value, b"application/octet-stream")

    def render_PUT(self, request: Request) -> Deferred[None] | None:
        """Put the body under the key; answer when a majority of its copies is confirmed."""
        value = cast(IO[bytes], request.content).read()
        try:
            if not 0 < len(value) <= VALUE_BYTES_MAX:
                raise BadHeader(f"the body is the value, of 1 to {VALUE_BYTES_MAX} bytes")
            ttl_s = _number(request, b"chord-ttl", 1, TTL_MOST_S)
            copies = _copies(request)
            seal = _seal(request)
        except BadHeader as error:
            show_problem(request, 403 if isinstance(error, BadSeal) else 400, str(error))
            return None
        if not self._may_write(seal, value, request):
            return None
        put = self._dht.put(self._key, value, None if ttl_s is None else float(ttl_s), copies, seal)
        return put.addCallbacks(self._done, self._refused, (request, seal, copies), errbackArgs=(request, seal))

    def render_DELETE(self, request: Request) -> Deferred[None] | None:
        """End the record; of a signed one the seal is over an empty value."""
        try:
            seal = _seal(request)
        except BadHeader as error:
            show_problem(request, 403 if isinstance(error, BadSeal) else 400, str(error))
            return None
        if not self._may_write(seal, b"", request):
            return None
        deleting = self._dht.delete(self._key, seal)
        return deleting.addCallbacks(self._done, self._refused, (request, seal, None), errbackArgs=(request, seal))

    def _may_write(self, seal: Seal | None, value: bytes, request: Request) -> bool:
        # Every replica looks for itself; here it is for a status that says what is wrong.
        if seal is None or is_sealed(self._key, seal, sha256(value).digest(), verify_ed25519):
            return True
        show_problem(request, 403, "the key is not that of the public key and salt, or the signature is wrong")
        return False

    def _done(self, result: PutResult, request: Request, seal: Seal | None, copies: int | None) -> None:
        request.setHeader(b"etag", tag_of(result.version, seal))
        if copies is not None and result.wanted == copies:
            request.setHeader(b"preference-applied", b"copies=%d" % copies)
        said = {
            "key": self._key.hex(),
            "version": version_text(result.version),
            "copies": result.copies,
            "wanted": result.wanted,
            "ttl_ms": result.ttl_ms,
        }
        show(request, json_text(said))

    def _refused(self, failure: object, request: Request, seal: Seal | None) -> None:
        error = failure.value  # type: ignore[attr-defined]
        if isinstance(error, StoreFull):
            show_problem(request, 507, str(error))
        elif isinstance(error, Refused) and seal is not None and seal.expected_seq is not None:
            show_problem(request, 412, str(error))
        else:
            failed(failure, request)  # type: ignore[arg-type]


# Headers


def tag_of(version: Version, seal: Seal | None) -> bytes:
    """Write the ETag of a record: of a signed one its number, which If-Match then compares."""
    return f'"{version_text(version) if seal is None else seal.seq}"'.encode()


def seal_text(seal: Seal) -> bytes:
    """Write a seal as Chord-Seal has it."""
    parts = {"public-key": seal.public_key.hex(), "seq": seal.seq, "signature": seal.signature.hex()}
    salted = {**parts, "salt": seal.salt.hex()} if seal.salt else parts
    return "; ".join(f"{name}={value}" for name, value in salted.items()).encode()


def _header(request: Request, name: bytes) -> str | None:
    given = request.requestHeaders.getRawHeaders(name, [])
    if len(given) > 1:
        raise BadHeader(f"{name.decode().title()} stands there more than once")
    return given[0].decode("latin-1").strip() if given else None


def _number(request: Request, name: bytes, least: int, most: int) -> int | None:
    written = _header(request, name)
    if written is None:
        return None
    if not (written.isascii() and written.isdigit() and len(written) < 20 and least <= int(written) <= most):
        raise BadHeader(f"{name.decode().title()} is a whole number from {least} to {most}")
    return int(written)


def _copies(request: Request) -> int | None:
    # RFC 7240: what is preferred and not known here is no mistake.
    for given in request.requestHeaders.getRawHeaders(b"prefer", []):
        for preference in given.decode("latin-1").split(","):
            matched = _COPIES.fullmatch(preference)
            if matched is not None and 0 < int(matched[1]) < 256:
                return int(matched[1])
    return None


def _seal(request: Request) -> Seal | None:
    written = _header(request, b"chord-seal")
    expected = _expected(request)
    if written is None:
        if expected is not None:
            raise BadHeader("If-Match and If-None-Match are for signed records: anybody writes plain ones")
        return None
    matched = _SEAL.fullmatch(written)
    if matched is None or int(matched["seq"]) > SEQ_MOST:
        raise BadSeal("Chord-Seal is public-key=HEX; seq=NUMBER; signature=HEX, and salt=HEX where there is one")
    salt = bytes.fromhex(matched["salt"] or "")
    return Seal(bytes.fromhex(matched["key"]), salt, int(matched["seq"]), bytes.fromhex(matched["sig"]), expected)


def _expected(request: Request) -> int | None:
    match, none_match = _header(request, b"if-match"), _header(request, b"if-none-match")
    if none_match is not None:
        if none_match != "*" or match is not None:
            raise BadHeader("where something is written, If-None-Match is * and stands without If-Match")
        return 0
    if match is None:
        return None
    number = re.fullmatch(r'"?([0-9]{1,19})"?', match)
    if number is None or int(number[1]) > SEQ_MOST:
        raise BadHeader('If-Match is the ETag of a signed record: its number, as in "5"')
    return int(number[1])


# Watching


class _Watched:
    # One key, and who watches it.
    def __init__(self) -> None:
        self.streams: dict[Stream, None] = {}
        self.shown: bytes | None = None
        self.reading: Deferred[None] | None = None


class Watches:
    """Reads the keys that are watched, once a second each, and tells those who watch what has changed."""

    def __init__(self, get: Callable[[bytes], Deferred[Record | None]], clock: IReactorTime) -> None:
        self._get = get
        self._clock = clock
        self._watched: dict[bytes, _Watched] = {}
        self._streams = 0
        self._next: IDelayedCall | None = None

    def watch(self, key: bytes, request: Request) -> None:
        """Tell over `request` from now on: an event ``value`` or ``none`` at once, and one with each change."""
        if self._streams >= STREAMS_MAX or (key not in self._watched and len(self._watched) >= KEYS_WATCHED_MAX):
            show_problem(request, 503, f"{self._streams} watch already, {len(self._watched)} keys")
            return
        request.setHeader(b"content-type", b"text/event-stream")
        stream = Stream(request, self._clock.seconds())
        request.registerProducer(stream, True)
        request.notifyFinish().addBoth(self._gone, key, stream)
        watched = self._watched.setdefault(key, _Watched())
        watched.streams[stream] = None
        self._streams += 1
        stream.write(b"retry: 2000\n\n" + (watched.shown or b""), self._clock.seconds())
        if watched.shown is None:
            self._read(key, watched)
        if self._next is None:
            self._next = self._clock.callLater(WATCHED_AGAIN_S, self._beat)

    def stop(self) -> None:
        """Read nothing more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _beat(self) -> None:
        self._next = self._clock.callLater(WATCHED_AGAIN_S, self._beat)
        now_s = self._clock.seconds()
        for key, watched in list(self._watched.items()):
            self._read(key, watched)
            for stream in list(watched.streams):
                stream.tend(watched.shown or b"", now_s)

    def _read(self, key: bytes, watched: _Watched) -> None:
        if watched.reading is None:
            reading = watched.reading = Deferred()
            self._get(key).addCallbacks(
                self._have_read, lambda failure: failure.trap(Unreachable) and None, callbackArgs=(watched,)
            ).chainDeferred(reading)

            def over(_: object) -> None:
                watched.reading = None

            reading.addBoth(over)

    def _have_read(self, record: Record | None, watched: _Watched) -> None:
        shown = b"event: none\ndata: {}\n\n"
        if record is not None:
            said = {
                "version": version_text(record.version),
                "seq": None if record.seal is None else record.seal.seq,
                "value_base64": b64encode(record.value).decode(),
            }
            shown = b"event: value\ndata: " + json_text(said) + b"\n"
        if shown != watched.shown:
            watched.shown = shown
            for stream in watched.streams:
                stream.write(shown, self._clock.seconds())

    def _gone(self, result: object, key: bytes, stream: Stream) -> None:
        self._streams -= 1
        watched = self._watched[key]
        del watched.streams[stream]
        if not watched.streams:
            del self._watched[key]
        if not self._watched:
            self.stop()


class Described(Page):
    """``/v1/openapi.json``: what all this is, for programs."""

    def render_GET(self, request: Request) -> None:
        """Show it."""
        show(request, OPENAPI)


OPENAPI = files("chordtwist.net.web").joinpath("openapi.json").read_bytes()
