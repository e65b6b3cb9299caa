"""A node's page whose every name, key and reason was chosen by somebody who wants it to run: ``... PORT``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from chordtwist.app.config import WebSection
from chordtwist.app.config_file import read_text
from chordtwist.app.service import build
from chordtwist.app.web import web_of_node
from chordtwist.core.address import Address

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>&quot;'`${title}\u202e"


def hostile(value: Any) -> Any:
    """The same, each text in it replaced, names of groups included."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list):
        return [hostile(element) for element in value]
    if isinstance(value, dict):
        return {name: hostile(element) for name, element in value.items()}
    return value


def main(port: int) -> None:
    """Serve it until the process is killed."""
    here: Any = reactor
    text = f"[tls]\nmode = off\n[dht]\np2p_address = 127.0.0.1:{port + 1}\napi_address = 127.0.0.1:{port + 2}"
    node = build(read_text(text, "node.ini", Path("/")), here, lambda: None)
    node.startService()
    view, measured = node.shown
    true, picture = view.status, view.picture

    def status() -> dict[str, Any]:
        state = {name: hostile(value) for name, value in true().items() if name != "alarms"}
        state["alarms"] = [{"cause": HOSTILE, "text": HOSTILE, "since_s": 1}]
        state |= {"address": HOSTILE, "successors": [HOSTILE], "fingers": {"1": HOSTILE}, "joining": {HOSTILE: HOSTILE}}
        state["events"] = [{"at_ms": 1, "text": HOSTILE}]
        return state

    def shown() -> dict[str, object]:
        nodes = [{"address": HOSTILE, "place": 0.3, "role": HOSTILE, "silent": True}]
        return {**picture(), "network": HOSTILE, "me": HOSTILE, "nodes": nodes}

    view.address = HOSTILE
    view.status = status
    view.picture = shown  # type: ignore[method-assign]
    view.config = {HOSTILE: {HOSTILE: HOSTILE}}
    web = web_of_node(WebSection(address=Address("127.0.0.1", port)), view, measured, here)
    here.listenTCP(port, web.site, interface="127.0.0.1")
    here.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
