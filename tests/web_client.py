"""A browser in memory: what a web site answers to the bytes of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from unittest import SkipTest

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from chordtwist.net.web.site import WebSite


def need(module: str, target: str = ".venv/.dev") -> None:
    """Skip a test where an environment lacks what ``make`` puts there for `target`."""
    if find_spec(module) is None:
        raise SkipTest(f"{module} is not installed: make {target}")


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def open_connection(site: WebSite) -> tuple[Any, StringTransport]:
    """A connection to `site`: its channel, and what it writes to."""
    channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000))
    transport = StringTransport()
    channel.makeConnection(transport)
    return channel, transport


def request_bytes(path: str, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A request as a client writes it; a Host of None in `headers` leaves that out."""
    given = {"Host": "127.0.0.1:8401", **(headers or {})}
    if body:
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def ask(site: WebSite, path: str, method: str = "GET", body: bytes = b"", **headers: Any) -> Reply:
    """Ask `site` over a connection of its own; underscores in names of headers stand for dashes."""
    channel, transport = open_connection(site)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    channel.dataReceived(request_bytes(path, method, body, named))
    return reply_of(transport.value())


def reply_of(written: bytes) -> Reply:
    """Read one answer."""
    head, _, body = written.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return Reply(int(first.split()[1]), headers, body)
