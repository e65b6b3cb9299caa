"""``chordtwist ring``: the ring walked, from any of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from chordtwist.app.cli import asking, showing, talking
from chordtwist.app.cli.talking import Caller
from chordtwist.core.counted import counted

SHOWN_FAULTS_MAX = 20
"""Sentences about who disagrees; the rest is counted."""


@click.command(
    help="""Show every member of the ring, walked from one of its nodes.

    Each member is asked for its own table. SHARE is the part of the circle that it owns, LISTED how many successors
    it knows, AGE how long this run of it lasts, TIME how long its answer took. Below the table stands who is named and
    does not answer, and who says something else than the others: so it is for some seconds when members come or go.

    \b
    Examples:
        chordtwist ring
        chordtwist ring --check && echo one ring
        chordtwist ring --svg ring.svg
        chordtwist ring --estimate
        chordtwist ring --json | jq '.members | length'
    """
)
@click.option("--check", is_flag=True, help="End with status 1 unless the walk closes and all members agree.")
@click.option("--estimate", is_flag=True, help="Only estimate how many members there are, without a question.")
@click.option("--svg", metavar="FILE", type=click.Path(dir_okay=False), help="Write a picture of the ring to FILE.")
@talking.asks_a_node
def command(caller: Caller, check: bool, estimate: bool, svg: str | None) -> None:
    """Run ``chordtwist ring``."""
    if estimate:
        if check or svg is not None:
            raise click.UsageError("--estimate asks nobody: there is nothing to check, and nothing to draw.")
        _show_estimate(caller, asking.one(caller, {"do": "estimate"}))
        return
    ring = asking.one(caller, {"do": "ring"})
    if svg is not None:
        from chordtwist.app.ring_picture import picture

        Path(svg).write_text(picture(ring), "utf-8")
    if caller.as_json:
        talking.show_json(ring)
    elif svg is None:
        _show(ring)
    if check and not (ring["closes"] and not ring["faults"] and ring["complete"]):
        raise SystemExit(1)


def _show_estimate(caller: Caller, told: Mapping[str, Any]) -> None:
    if caller.as_json:
        talking.show_json(dict(told))
        return
    about = "" if told["exact"] else "about "
    count = round(told["members"])
    talking.show(f"{about}{counted(count, 'member')}")


def _show(ring: Mapping[str, Any]) -> None:
    rows = [
        [
            member["address"],
            member["id"][:8],
            f"{member['share']:.1%}",
            showing.duration(member["age_s"]),
            f"{member['listed']}{' (all)' if member['whole'] else ''}",
            "asked" if member["address"] == ring["from"] else showing.milliseconds(member["round_trip_ms"]),
        ]
        for member in ring["members"]
    ]
    rows += [[silent["address"], "", "", "", "", showing.text(silent["reason"], "red")] for silent in ring["silent"]]
    columns = ("ADDRESS", "PLACE", "SHARE", "AGE", "LISTED", "TIME")
    showing.show(showing.table(columns, rows, right=("SHARE", "AGE"), spare=("LISTED", "AGE", "PLACE", "TIME")))
    faults = ring["faults"]
    for fault in faults[:SHOWN_FAULTS_MAX]:
        showing.show(showing.text(fault, "yellow"))
    if len(faults) > SHOWN_FAULTS_MAX:
        showing.show(showing.text(f"and {len(faults) - SHOWN_FAULTS_MAX} more such", "yellow"))
    count = len(ring["members"])
    words = counted(count, "member")
    if not ring["complete"]:
        verdict = showing.text(f"{words} were asked, and there are more: a larger ring is only estimated", "yellow")
    elif ring["closes"] and not faults:
        verdict = showing.text(f"{words}: one ring, and all agree", "green")
    elif ring["closes"]:
        verdict = showing.text(f"{words}: the walk closes, but not all agree", "yellow")
    else:
        verdict = showing.text(f"{words}: the walk does not close", "red")
    showing.show(verdict)
