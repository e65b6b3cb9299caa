"""``chordtwist status``: a node's own view of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import click

from chordtwist.app.cli import showing, talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.counted import counted
from chordtwist.core.durations import duration_in_words
from chordtwist.core.health import WELL

ID_DIGITS = 8
"""Of an id, as shown: more than a ring of millions needs to tell its members apart."""

LISTED = 4
"""Neighbours that are named; --long names all."""


@click.command(
    help="""Show how a node is: well or not and why, its place, its neighbours, what it keeps.

    \b
    Examples:
        chordtwist status
        chordtwist status --long
        chordtwist status --events
        chordtwist status --wait 30 --json --api 127.0.0.2:7401
        chordtwist status --check && echo the node is well

    With --wait it waits until the node is a member of its ring.
    """
)
@click.option("--check", is_flag=True, help="End with status 1 unless the node is a member of its ring and well.")
@click.option("--events", "show_events", is_flag=True, help="Show instead what happened to the node lately.")
@click.option("--long", "is_long", is_flag=True, help="Show whole ids, and all that the node tells.")
@talking.asks_a_node
def command(caller: Caller, check: bool, show_events: bool, is_long: bool) -> None:
    """Run ``chordtwist status``."""

    def conversation(connect: Connect) -> dict[str, Any]:
        return connect(member=caller.wait_s is not None).status()

    state = caller.talk(conversation)
    events = state.get("events", [])
    if caller.as_json:
        talking.show_json(events if show_events else state)
    elif show_events:
        for event in events:
            talking.show(f"{_time(event['at_ms'])}  {event['text']}")
    else:
        _show(state, is_long)
    if check and not (state.get("ready") and state.get("health") == WELL):
        raise SystemExit(1)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000).astimezone().isoformat(" ", timespec="seconds")


def _show(state: Mapping[str, Any], is_long: bool) -> None:
    from rich.table import Table

    health = _word(state.get("health"))
    style = "bold green" if health == WELL else "bold yellow"
    showing.show(showing.text(health if health == WELL or not state.get("member") else f"not well: {health}", style))
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, told in _rows(state, is_long):
        rows.add_row(showing.text(name), showing.text(told))
    showing.show(rows)


def _rows(state: Mapping[str, Any], is_long: bool) -> Iterator[tuple[str, str]]:
    # Only what the node tells: another version may tell less.
    yield from _who(state, is_long)
    yield from _place(state, is_long)
    yield from _keeps(state)
    yield from _does(state)
    if is_long:
        shown = ("health", "alarms", "events", "id", "address", "network", "version")
        yield from ((name, line) for name, value in state.items() if name not in shown for line in _lines(value))


def _who(state: Mapping[str, Any], is_long: bool) -> Iterator[tuple[str, str]]:
    known = _word(state.get("id"))
    if "id" in state:
        network, version = _word(state.get("network")), _word(state.get("version"))
        yield "node", f"{known if is_long else known[:ID_DIGITS]}, network {network}, version {version}"
    if "address" in state:
        yield "address", _word(state["address"])
    if _number(state, "uptime_s"):
        yield "up", duration_in_words(_number(state, "uptime_s"))


def _place(state: Mapping[str, Any], is_long: bool) -> Iterator[tuple[str, str]]:
    if "member" not in state:
        return
    if not state["member"]:
        yield "ring", "no member yet"
        joining = state.get("joining")
        for address, reason in joining.items() if isinstance(joining, Mapping) else ():
            yield "", f"{address}: {_word(reason)}"
        if state.get("tried_next"):
            yield "tried next", _word(state["tried_next"])
        return
    successors = state.get("successors")
    others = successors if isinstance(successors, list) else []
    if state.get("whole"):
        yield "ring", "the only member" if not others else f"member of {len(others) + 1}, all of them known"
    else:
        yield "ring", f"member of about {_number(state, 'members_estimate'):.0f}, {_number(state, 'known'):.0f} known"
    if others:
        yield "before it", _word(state.get("predecessor"))
        listed = others if is_long else others[:LISTED]
        more = f" and {len(others) - len(listed)} more" if len(others) > len(listed) else ""
        yield "behind it", f"{_word(listed)}{more}"
    fingers = state.get("fingers")
    if isinstance(fingers, Mapping) and fingers:
        yield "fingers", str(len(fingers))
    for name in "silent", "suspected", "convicted":
        if state.get(name):
            yield name, _word(state[name])


def _keeps(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "records" in state:
        records, size = _number(state, "records"), showing.size(int(_number(state, "bytes")))
        yield "keeps", f"{counted(records, 'record')}, {size}; {counted(_number(state, 'tombstones'), 'tombstone')}"
        if _number(state, "published"):
            yield "", f"{_number(state, 'published'):.0f} put here, and again where copies are lost"
    if state.get("pulling"):
        yield "", "still fetches its part of the records"
    repair = state.get("repair")
    if isinstance(repair, Mapping):
        told = (f"{_number(repair, name):.0f} {name}" for name in ("sent", "fetched", "dropped"))
        yield "repair", f"{counted(_number(repair, 'rounds'), 'round')}; {', '.join(told)}"


def _does(state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    up_s = _number(state, "uptime_s")
    links = state.get("links")
    if isinstance(links, Mapping):
        written = _number(links, "bytes_written")
        rate = f", {showing.size(round(written / up_s))}/s" if up_s else ""
        yield "links", f"{_number(links, 'open'):.0f} open; {showing.size(int(written))} written{rate}"
    refusals = state.get("refusals")
    if isinstance(refusals, Mapping):
        told = [f"{_number(refusals, cause):.0f} {cause}" for cause in refusals if _number(refusals, cause)]
        yield "refused", ", ".join(told) or "nobody"
    clients = state.get("clients")
    if isinstance(clients, Mapping) and clients:
        yield "clients", ", ".join(f"{_number(clients, name):.0f} {name.replace('_', ' ')}" for name in clients)
    lookups = state.get("lookups")
    if isinstance(lookups, Mapping):
        asked = _number(lookups, "asked")
        each = (f"{_number(lookups, name) / asked:.1f} {name}" for name in ("hops", "questions")) if asked else ()
        rate = f"; {asked / up_s:.2g} per second" if asked and up_s else ""
        means = " and ".join(each)
        yield "lookups", f"{asked:.0f}{f', {means} each' if means else ''}{rate}"


def _number(told: Mapping[str, Any], name: str) -> float:
    value = told.get(name)
    return value if isinstance(value, int | float) else 0


def _lines(value: object) -> Iterator[str]:
    # A list, or a group of groups, takes a line for each of its elements; a group of values is one line.
    if isinstance(value, list):
        for element in value:
            yield from _lines(element)
    elif isinstance(value, Mapping):
        if value and all(isinstance(part, str) for part in value.values()):
            # Sentences, such as what is in the way at each address.
            yield from (f"{name}: {part}" for name, part in value.items())
        elif value and all(isinstance(part, Mapping) for part in value.values()):
            yield from (f"{name}: {line}" for name, part in value.items() for line in _lines(part))
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
