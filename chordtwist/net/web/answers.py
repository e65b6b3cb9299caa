"""Answers of the web side: JSON, problem details (RFC 9457), and the page that all pages derive from."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.printable import printable

JSON = b"application/json"
PROBLEM = b"application/problem+json"

_log = Logger()


def json_text(value: object) -> bytes:
    """Write `value` as JSON for people and programs, with a newline at its end."""
    return msgspec.json.encode(value) + b"\n"


def show(request: Request, body: bytes, kind: bytes = JSON, status: int = 200) -> None:
    """Answer a request, once, with a whole body."""
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())
    request.setHeader(b"content-type", kind)
    request.setHeader(b"content-length", str(len(body)).encode())
    request.write(body)
    request.finish()


def show_problem(request: Request, status: int, detail: str, **more: object) -> None:
    """Answer with problem details; `more` are members of their own."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    show(request, json_text(problem), PROBLEM, status)


class Page(Resource):
    """A resource that answers in problem details where it has nothing else to say.

    Subclasses have ``render_GET`` and the like, which answer by `show` or return a Deferred that fires when they have.
    """

    def getChild(self, path: bytes, request: Request) -> IResource:
        """Know nothing below what was put there."""
        return cast(IResource, Missing())

    def render(self, request: Request) -> int:
        """Answer by the method's own ``render_``."""
        method = "GET" if request.method == b"HEAD" else request.method.decode("ascii", "replace")
        answer = getattr(self, f"render_{method}", None)
        if answer is None or not method.isupper():
            allowed = sorted(name.removeprefix("render_") for name in dir(self) if name.startswith("render_"))
            request.setHeader(b"allow", ", ".join(name for name in allowed if name != "HEAD").encode())
            show_problem(request, 405, "this method is not for this place")
            return NOT_DONE_YET
        answering = answer(request)
        if isinstance(answering, Deferred):
            gone = request.notifyFinish()
            gone.addErrback(lambda _: answering.cancel())
            answering.addErrback(failed, request)
        return NOT_DONE_YET


class Missing(Page):
    """Where nothing is."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """Say so."""
        show_problem(request, 404, "nothing is here")
        return NOT_DONE_YET


def failed(failure: Failure, request: Request) -> None:
    """Answer a request that failed by a fault of ours; who asked may be gone already."""
    if failure.check(CancelledError):
        return
    if failure.check(Refused, Unreachable):
        if not request.startedWriting:
            status = 503 if failure.check(Unreachable) else 409
            show_problem(request, status, printable(str(failure.value)))
        return
    _log.failure("answering {path} failed", failure, path=printable_path(request))
    if not request.startedWriting:
        show_problem(request, 500, "the node failed to answer; its log has more")


def printable_path(request: Any) -> str:
    """Show the path of a request, escaped."""
    return ascii(request.path.decode("latin-1")[:200])
