"""``chordtwist watch``: a key, looked at again and again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from base64 import b64decode
from datetime import datetime
from typing import Any

import click

from chordtwist.app.cli import asking, showing, talking
from chordtwist.app.cli.talking import Caller, Connect, Key, No, NotReachable
from chordtwist.core.counted import counted

TRY_AGAIN_S = 1.0


@click.command(
    help="""Show the value under KEY, and then each change of it, until Ctrl-C.

    The node reads the key every second, from a majority of its replicas, and tells when another version stands there.
    Two changes within that time are one. With --exec a command of the shell runs at each change, the value on its
    standard input; CHORDTWIST_EVENT says what happened (is, put or gone), CHORDTWIST_KEY and CHORDTWIST_VERSION to
    what.

    \b
    Examples:
        chordtwist watch greeting
        chordtwist watch config --exec 'cat > app.conf && systemctl reload app'
        chordtwist watch greeting --json --count 1
    """
)
@talking.key_argument
@click.option("--exec", "run", metavar="CMD", help="Run CMD at each change, with the value on its standard input.")
@click.option(
    "--every",
    "every_s",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 20),
    default=1.0,
    show_default=True,
    help="Time between two looks.",
)
@click.option(
    "--count", metavar="N", type=click.IntRange(1), help="End after N events; the first is what stands there."
)
@talking.asks_a_node
def command(caller: Caller, key: str, run: str | None, every_s: float, count: int | None) -> None:
    """Run ``chordtwist watch``."""
    watch = Watch(caller, Key.of(key), run, every_s, count)
    while not watch.is_over:
        try:
            caller.talk(watch.look)
        except (NotReachable, No) as error:
            if not watch.has_looked:
                raise
            talking.show(f"{error.format_message()}; trying on", err=True)
            caller.door.sleep(TRY_AGAIN_S)


class Watch:
    """Knows which version was told last."""

    def __init__(self, caller: Caller, key: Key, run: str | None, every_s: float, count: int | None) -> None:
        self.has_looked = False
        self.is_over = False
        self._caller = caller
        self._key = key
        self._run = run
        self._every_s = every_s
        self._left = count
        self._version: str | None = None

    def look(self, connect: Connect) -> None:
        """Look again and again over one connection."""
        client = connect(member=True)
        while not self.is_over:
            client.begin_anew()
            request = {"do": "read", "key": self._key.raw.hex(), "known": self._version or ""}
            # The whole answer first: what runs at a change may take its time.
            for found in list(asking.lines(self._caller, client, request)):
                self._seen(found)
            if not self.is_over:
                self._caller.door.sleep(self._every_s)

    def _seen(self, found: dict[str, Any]) -> None:
        version = str(found.get("version", "")) if found["found"] else ""
        if self.has_looked and version == self._version:
            return
        event = ("put" if version else "gone") if self.has_looked else "is"
        self.has_looked, self._version = True, version
        value = b64decode(found.get("value_base64") or "") if version else b""
        self._tell(event, found)
        if self._run is not None:
            self._execute(event, version, value)
        if self._left is not None:
            self._left -= 1
            self.is_over = self._left <= 0

    def _tell(self, event: str, found: dict[str, Any]) -> None:
        if self._caller.as_json:
            talking.show(json.dumps({"at_ms": int(time.time() * 1000), "event": event, **found}))
            return
        at = datetime.now().isoformat(" ", timespec="seconds")
        if not found["found"]:
            what = "nothing stands there" if event == "is" else "gone: it was deleted, or has ended"
        else:
            life = showing.duration(found["ttl_ms"] / 1000)
            what = f"{'' if event == 'is' else 'put: '}{counted(found['bytes'], 'byte')}, for {life}"
        talking.show(f"{at}  {self._key}  {what}")

    def _execute(self, event: str, version: str, value: bytes) -> None:
        about = {
            "CHORDTWIST_EVENT": event,
            "CHORDTWIST_KEY": self._key.raw.hex(),
            "CHORDTWIST_VERSION": version,
        }
        # What it is told by strangers never is part of the command.
        done = subprocess.run(self._run or "", shell=True, input=value, env={**os.environ, **about}, check=False)
        if done.returncode:
            talking.show(f"the command ended with status {done.returncode}", err=True)
