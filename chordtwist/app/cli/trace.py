"""``chordtwist trace``: one search of the ring, question by question."""

from __future__ import annotations

from typing import Any

import click

from chordtwist.app.cli import asking, showing, talking
from chordtwist.app.cli.talking import Caller
from chordtwist.core.counted import counted
from chordtwist.core.records import key_of

SHOWN = ("table", "table at hand")


@click.command(
    help="""Search the ring once for the owner of KEY, and show every question: to whom, when, and what came of it.

    HOP counts the tables that stood one behind another up to the one that named this member; 0 are those that the node
    knew already. Where its own list of successors reaches to the key, only the owner itself is asked. Members that have
    shown their tables within the last minute need not be asked again: "table at hand".

    \b
    Examples:
        chordtwist trace greeting
        chordtwist trace greeting --json | jq '.steps[] | select(.outcome != "table")'
    """
)
@talking.key_argument
@talking.asks_a_node
def command(caller: Caller, key: str) -> None:
    """Run ``chordtwist trace``."""
    trace = asking.one(caller, {"do": "trace", "key": key_of(key).hex()})
    if caller.as_json:
        talking.show_json(trace)
    else:
        _show(key, trace)
    if trace["owner"] is None:
        raise SystemExit(1)


def _show(key: str, trace: dict[str, Any]) -> None:
    rows = [
        [
            showing.milliseconds(step["at_ms"]),
            step["hop"],
            step["address"],
            showing.milliseconds(step["took_ms"]),
            _outcome(step["outcome"], step["address"] == trace["owner"]),
        ]
        for step in trace["steps"]
    ]
    shown: list[Any] = [showing.text(f"{key}  at place {trace['position'][:8]}, asked from {trace['from']}")]
    if rows:
        shown.append(
            showing.table(
                ("AT", "HOP", "ASKED", "TOOK", "SAID"), rows, right=("AT", "HOP", "TOOK"), spare=("AT", "HOP")
            )
        )
    if trace["owner"] is None:
        shown.append(showing.text("nobody could be asked", "red"))
    else:
        silent = sum(step["outcome"] not in (*SHOWN, "not waited for") for step in trace["steps"])
        words = counted(trace["questions"], "question") + (f", {silent} of them in vain" if silent else "")
        words += f", {counted(trace['hops'], 'hop')}"
        shown.append(
            showing.text(f"owner {trace['owner']} after {showing.milliseconds(trace['took_ms'])}, {words}", "green")
        )
    showing.show(*shown)


def _outcome(outcome: str, is_owner: bool) -> Any:
    if outcome == "table":
        return showing.text("its table: it is the owner" if is_owner else "its table", "green" if is_owner else "")
    return showing.text(outcome, "" if outcome in (*SHOWN, "not waited for") else "red")
