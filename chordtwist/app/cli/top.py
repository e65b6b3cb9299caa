"""``chordtwist top``: the numbers of a node, as they change."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from chordtwist.app.cli import showing, talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.health import WELL

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

EVENTS_SHOWN = 5


@click.command(
    help="""Show the numbers of a node as they change, until Ctrl-C.

    A second column says how much each counter grows in a second. Without a terminal there is a line for each look.

    \b
    Examples:
        chordtwist top
        chordtwist top --every 5 --json >> numbers.ndjson
    """
)
@click.option(
    "--every",
    "every_s",
    metavar="SECONDS",
    type=click.FloatRange(0.2, 20),
    default=2.0,
    show_default=True,
    help="Time between two looks.",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after N looks.")
@talking.asks_a_node
def command(caller: Caller, every_s: float, count: int | None) -> None:
    """Run ``chordtwist top``."""

    def conversation(connect: Connect) -> None:
        client = connect()
        left, before, before_s = count, None, 0.0
        with _live(caller.as_json) as live:
            while True:
                client.begin_anew()
                status, now_s = client.status(), caller.door.clock()
                seen = _seen(status, before, now_s - before_s)
                if caller.as_json:
                    talking.show(json.dumps(seen))
                elif live is not None:
                    live.update(_picture(seen, status), refresh=True)
                else:
                    talking.show(_line(seen))
                before, before_s = status, now_s
                if left is not None:
                    left -= 1
                    if not left:
                        return
                caller.door.sleep(every_s)

    caller.talk(conversation)


def _live(as_json: bool) -> AbstractContextManager[Live | None]:
    to = showing.console()
    if as_json or not to.is_terminal:
        return nullcontext()
    from rich.live import Live

    return Live(console=to, auto_refresh=False)


def counters(status: Mapping[str, Any]) -> dict[str, float]:
    """Pick the numbers that only grow: lookups and what they took, bytes, what was refused, and repair."""
    found: dict[str, float] = {}
    for group in "lookups", "links", "repair":
        values = status.get(group)
        if isinstance(values, Mapping):
            found |= {f"{group} {name}": value for name, value in values.items() if type(value) is int}
    return found


def _seen(status: Mapping[str, Any], before: Mapping[str, Any] | None, passed_s: float) -> dict[str, Any]:
    now = counters(status)
    rates: dict[str, float] = {}
    if before is not None and passed_s > 0:
        earlier = counters(before)
        rates = {name: round((value - earlier.get(name, value)) / passed_s, 2) for name, value in now.items()}
    return {
        "at_ms": int(time.time() * 1000),
        "health": status.get("health", WELL),
        "member": status.get("member", False),
        "successors": len(status.get("successors", ())),
        "silent": list(status.get("silent", ())),
        "records": status.get("records", 0),
        "bytes": status.get("bytes", 0),
        "counters": now,
        "per_second": rates,
    }


def _line(seen: Mapping[str, Any]) -> str:
    rates = seen["per_second"]
    return (
        f"{seen['health']}; {seen['records']} records, {showing.size(seen['bytes'])};"
        f" {rates.get('lookups asked', 0):g} lookups/s; {len(seen['silent'])} silent"
    )


def _picture(seen: Mapping[str, Any], status: Mapping[str, Any]) -> RenderableType:
    from rich.console import Group

    style = "bold green" if seen["health"] == WELL and seen["member"] else "bold red"
    parts: list[RenderableType] = [
        showing.text(f"{status.get('address', '')}  {seen['health']}", style),
        showing.text(f"{seen['records']} records, {showing.size(seen['bytes'])}; {seen['successors']} successors"),
    ]
    if seen["silent"]:
        parts.append(showing.text(f"silent: {', '.join(seen['silent'][:6])}", "yellow"))
    rows = [[name, f"{value:,}", f"{seen['per_second'].get(name, 0):g}"] for name, value in seen["counters"].items()]
    parts += [showing.text(""), showing.table(("SINCE THE START", "", "A SECOND"), rows, right=("", "A SECOND"))]
    events = status.get("events", [])[-EVENTS_SHOWN:]
    if events:
        parts.append(showing.text(""))
    parts += [showing.text(event["text"], "dim") for event in events]
    return Group(*parts)
