"""``chordtwist events``: what happened to a node, and what happens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from chordtwist.app.cli import asking, talking
from chordtwist.app.cli.talking import Caller, Connect


@click.command(
    help="""Show what happened to the node lately: members that came, died or left, refusals, alarms.

    With --follow it goes on until Ctrl-C. With --log it also shows the lines of the node's log from LEVEL on (debug,
    info, warn, error), whatever the node itself writes down: no restart is needed. It is for the operator: over a Unix
    socket, or by the user who may read the node's state_dir.

    \b
    Examples:
        chordtwist events
        chordtwist events --follow --log debug
        chordtwist events --follow --json | jq -r .text
    """
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl-C.")
@click.option(
    "--log", metavar="LEVEL", type=click.Choice(["debug", "info", "warn", "error"]), help="Also lines of the log."
)
@talking.asks_a_node
def command(caller: Caller, follow: bool, log: str | None) -> None:
    """Run ``chordtwist events``."""
    request = {"do": "events", "follow": follow or log is not None, "log": log or ""}

    def conversation(connect: Connect) -> None:
        for event in asking.lines(caller, connect(), request):
            if "alive" not in event:
                talking.show(json.dumps(event) if caller.as_json else _line(event))

    caller.talk(conversation)


def _line(event: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(event["at_ms"] / 1000).isoformat(" ", timespec="milliseconds")
    place = f"{event['level']:<5} {event['namespace']}: " if "level" in event else ""
    return f"{at}  {place}{event['text']}"
