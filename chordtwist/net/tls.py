"""TLS 1.3 between nodes: our certificate, and what we demand of another's."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure


class Tls:
    def wrap(self, protocol: Protocol, dialled: bool) -> Protocol:
        raise NotImplementedError

    def check(self, connection: Any, host: str) -> bytes:
        raise NotImplementedError

    def refusal(self, reason: Failure) -> str | None:
        raise NotImplementedError
