"""``chordtwist status``: a node's own view of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import click

from chordtwist.app.cli import talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.health import WELL


@click.command(
    help="""Show what the node knows of itself: how it is, its place, its neighbours, what it keeps.

    \b
    Examples:
        chordtwist status
        chordtwist status --events
        chordtwist status --json --api 127.0.0.2:7401
        chordtwist status --check && echo the node is well
    """
)
@click.option("--check", is_flag=True, help="End with status 1 unless the node is a member of its ring and well.")
@click.option("--events", "show_events", is_flag=True, help="Show instead what happened to the node lately.")
@talking.asks_a_node
def command(caller: Caller, check: bool, show_events: bool) -> None:
    """Run ``chordtwist status``."""

    def conversation(connect: Connect) -> dict[str, Any]:
        client = connect()
        return client.status()

    state = caller.talk(conversation)
    events = state.get("events", [])
    if caller.as_json:
        talking.show_json(events if show_events else state)
    elif show_events:
        for event in events:
            talking.show(f"{_time(event['at_ms'])}  {event['text']}")
    else:
        state.pop("events", None)
        state.pop("alarms", None)  # the first line says them in words
        width = max((len(name) for name in state), default=0) + 2
        for name, value in state.items():
            shown = list(_lines(value))
            for line, text in enumerate(shown or ["none"]):
                talking.show(f"{'' if line else name:{width}}{text}")
    if check and not (state.get("ready") and state.get("health") == WELL):
        raise SystemExit(1)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(" ", timespec="seconds")


def _lines(value: object) -> Iterator[str]:
    # A list takes a line for each of its elements; a group of values is one line.
    if isinstance(value, list):
        for element in value:
            yield from _lines(element)
    elif isinstance(value, Mapping):
        if value and all(isinstance(part, str) for part in value.values()):
            # Sentences, such as what is in the way at each address.
            yield from (f"{name}: {part}" for name, part in value.items())
        elif value:
            yield "  ".join(f"{name} {_word(part)}" for name, part in value.items())
    elif value is not None:
        yield _word(value)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_word(element) for element in value)
    return "none" if value is None else str(value)
