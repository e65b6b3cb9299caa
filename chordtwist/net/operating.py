"""What people's tools ask of a node over its API (OPERATE), as one connection carries it: lines, cut into pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from chordtwist.wire.api_messages import Piece, parts

Tell = Callable[[bytes], Deferred[None]]
"""Tells one line of an answer; fires when the next one may be told: at once unless the client reads too slowly."""


class CarryOut(Protocol):
    """Carries out the request in `text`, telling the lines of its answer; fires when all are told. Cancelling it stops.

    `is_operators`: whether the request came over a Unix socket, so from whom the operator lets in.
    """

    def __call__(self, text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]: ...


class Telling:
    """The answer to one request, on its way."""

    def __init__(self, request_id: int, write: Callable[[bytes], None], is_blocked: Callable[[], bool]) -> None:
        """@param is_blocked: whether the client does not read what was written."""
        self._request_id = request_id
        self._write = write
        self._is_blocked = is_blocked
        self._until_read: Deferred[None] | None = None

    def tell(self, line: bytes) -> Deferred[None]:
        """Send a line, one JSON object without its end, at once: what follows may be long in coming."""
        for part, _ in parts(line + b"\n"):
            self._write(Piece(self._request_id, False, part).pack())
        if not self._is_blocked():
            return succeed(None)
        self._until_read = Deferred()
        return self._until_read

    def go_on(self) -> None:
        """Let the next line be told: the client has read everything."""
        until_read, self._until_read = self._until_read, None
        if until_read is not None and not until_read.called:
            until_read.callback(None)

    def end(self) -> None:
        """Say that nothing follows."""
        self._write(Piece(self._request_id, True, b"").pack())
