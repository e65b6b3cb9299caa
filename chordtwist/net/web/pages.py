"""What programs look at: whether the node is alive, whether it is ready, and its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.web.server import Request

from chordtwist.net.web.answers import Page, json_text, show, show_problem


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
