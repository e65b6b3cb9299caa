"""The pages of a node: whether it is alive and ready, its state, what it finds out, and the page for people."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import IO, Any, TypeVar, cast

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.resource import IResource
from twisted.web.server import Request

from chordtwist.core.errors import Refused
from chordtwist.core.records import key_of
from chordtwist.net.web.answers import JSON, Page, json_text, show, show_problem

T = TypeVar("T")
R = TypeVar("R")

KEY_TEXT_MAX = 1024
"""Bytes of a key as people write it."""


class Alive(Page):
    """``/healthz``: the process answers. Whoever gets no answer within seconds may restart it."""

    def render_GET(self, request: Request) -> None:
        """Say so."""
        show(request, json_text({"status": "alive"}))


class Ready(Page):
    """``/readyz``: whether to send anybody here."""

    def __init__(self, unready: Callable[[], list[str]]) -> None:
        """@param unready: tells what stands against it; nothing when the node is ready."""
        super().__init__()
        self._unready = unready

    def render_GET(self, request: Request) -> None:
        """Say ready, or why not."""
        reasons = self._unready()
        if reasons:
            show_problem(request, 503, "; ".join(reasons), reasons=reasons)
        else:
            show(request, json_text({"status": "ready"}))


class State(Page):
    """``/status.json``: the state that ``chordtwist status --json`` shows."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._status = status

    def render_GET(self, request: Request) -> None:
        """Show it."""
        show(request, json_text(self._status()))


INQUIRIES_MAX = 32
"""Answers under way at once for which a node asks others: a walk round a ring of a thousand is a thousand questions."""


class Slots:
    """Bounds the answers that are under way for some pages."""

    def __init__(self, most: int = INQUIRIES_MAX) -> None:
        self._most = most
        self._taken = 0

    def take(self, request: Request, start: Callable[[], Deferred[T]]) -> Deferred[T] | None:
        """Start an answer; None, and the request is told so, where too many are under way."""
        if self._taken >= self._most:
            show_problem(request, 503, f"{self._most} such answers are under way already")
            return None
        self._taken += 1

        def over(result: R) -> R:
            self._taken -= 1
            return result

        return maybeDeferred(start).addBoth(over)


class Asked(Page):
    """A page whose answer takes time, and perhaps a key: ``?key=`` as the command line takes it."""

    def __init__(self, answer: Callable[[bytes], Deferred[Any]], slots: Slots, needs_key: bool = True) -> None:
        """@param answer: is given the key; empty where none is needed. @param slots: bound it, with others."""
        super().__init__()
        self._answer = answer
        self._slots = slots
        self._needs_key = needs_key

    def render_GET(self, request: Request) -> Deferred[None] | None:
        """Ask, and show the answer when it comes."""
        asked: Mapping[bytes, list[bytes]] = request.args or {}
        given = asked.get(b"key", [b""])[0] if self._needs_key else b""
        if self._needs_key and not 0 < len(given) <= KEY_TEXT_MAX:
            show_problem(request, 400, f"needs ?key=KEY, of at most {KEY_TEXT_MAX} bytes")
            return None
        key = key_of(given.decode("utf-8", "surrogateescape")) if given else b""
        answering = self._slots.take(request, lambda: self._answer(key))
        return None if answering is None else answering.addCallback(lambda shown: show(request, json_text(shown)))


class Drawn(Page):
    """``/ring.svg``: the whole ring as a picture of this moment, made by a walk round it."""

    def __init__(self, draw: Callable[[], Deferred[str]], slots: Slots) -> None:
        super().__init__()
        self._draw = draw
        self._slots = slots

    def render_GET(self, request: Request) -> Deferred[None] | None:
        """Draw it."""

        def drawn(picture: str) -> None:
            # Its style stands in it; nothing else of it may do anything.
            request.setHeader(b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")
            show(request, picture.encode(), b"image/svg+xml")

        drawing = self._slots.take(request, self._draw)
        return None if drawing is None else drawing.addCallback(drawn)


class Orders(Page):
    """Takes orders, which change something: ``{"do": VERB}``, as JSON, from our own page or a program."""

    def __init__(self, verbs: Mapping[str, Callable[[], str]]) -> None:
        """@param verbs: what each does; says in words what was done. @raise Refused: from them, why it was not."""
        super().__init__()
        self._verbs = verbs

    def render_POST(self, request: Request) -> None:
        """Carry one out."""
        kinds = request.requestHeaders.getRawHeaders(b"content-type", [b""])
        # Of the kinds that a page of another origin may send without being asked whether it may, this is none.
        if kinds[0].partition(b";")[0].strip().lower() != JSON:
            show_problem(request, 415, "needs Content-Type: application/json")
            return
        try:
            order = msgspec.json.decode(cast(IO[bytes], request.content).read(), type=dict[str, str])
            done = self._verbs[order["do"]]()
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
            show_problem(request, 400, f'needs {{"do": VERB}}, one of {", ".join(self._verbs)}')
        except Refused as error:
            show_problem(request, 409, str(error))
        else:
            show(request, json_text({"done": done}))


class Front(Page):
    """``/``: the page for people, with facts for those whose browser runs no scripts."""

    def __init__(self, facts: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """@param facts: names, and what is to be said of each; from wherever, they are escaped here."""
        super().__init__()
        self._facts = facts

    def getChild(self, path: bytes, request: Request) -> IResource:
        """Be at ``/`` itself."""
        return self if path == b"" and request.prepath == [b""] else super().getChild(path, request)

    def render_GET(self, request: Request) -> None:
        """Show it."""
        rows = "".join(f"<tr><th scope=row>{escape(name)}<td>{escape(said)}" for name, said in self._facts())
        request.setHeader(b"content-security-policy", POLICY)
        show(request, PAGE.replace("<!--facts-->", rows).encode(), b"text/html; charset=utf-8")


def _source(element: str) -> str:
    # What a browser may run of our own page, and nothing else: by its digest.
    (text,) = re.findall(f"<{element}>(.*?)</{element}>", PAGE, re.DOTALL)
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


PAGE = files("chordtwist.net.web").joinpath("page.html").read_text("utf-8")
POLICY = (
    f"default-src 'none'; script-src {_source('script')}; style-src {_source('style')}; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()
