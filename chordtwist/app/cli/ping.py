"""``chordtwist ping``: how far away the node and its neighbours are."""

from __future__ import annotations

import time
from typing import Any

import click

from chordtwist.app.cli import asking, showing, talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.address import Address


def _addresses(context: click.Context, parameter: click.Parameter, peers: tuple[str, ...]) -> tuple[str, ...]:
    for peer in peers:
        try:
            Address.parse(peer)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None
    return peers


@click.command(
    help="""Measure the way to the node, and from there to its neighbours and fingers, or to each PEER.

    The first line is this command's own way to the node's API. A PEER is HOST:PORT of a node that this one has met; it
    dials nobody else for others. Status 1 when one of those asked does not answer.

    \b
    Examples:
        chordtwist ping
        chordtwist ping 192.0.2.2:6401 --count 20
    """
)
@click.argument("peers", metavar="[PEER]...", nargs=-1, callback=_addresses)
@click.option("--count", metavar="N", type=click.IntRange(1, 20), default=5, show_default=True, help="Pings for each.")
@talking.asks_a_node
def command(caller: Caller, peers: tuple[str, ...], count: int) -> None:
    """Run ``chordtwist ping``."""
    request: dict[str, object] = {"do": "ping", "times": count}
    if peers:
        request["peers"] = list(peers)

    def conversation(connect: Connect) -> tuple[list[float], list[dict[str, Any]]]:
        client = connect()
        took_ms = []
        for _ in range(count):
            began_s = time.perf_counter()
            list(asking.lines(caller, client, {"do": "estimate"}))
            took_ms.append((time.perf_counter() - began_s) * 1000)
        return sorted(took_ms), list(asking.lines(caller, client, request))

    api_ms, rows = caller.talk(conversation)
    api = {"address": str(caller.api), "median_ms": round(api_ms[count // 2], 3), "worst_ms": round(api_ms[-1], 3)}
    if caller.as_json:
        talking.show_json({"api": api, "peers": rows})
    else:
        _show(api, count, rows)
    if any(not row["answered"] for row in rows):
        raise SystemExit(1)


def _show(api: dict[str, Any], count: int, rows: list[dict[str, Any]]) -> None:
    shown: list[list[Any]] = [
        [
            api["address"],
            "the API",
            f"{count} of {count}",
            showing.milliseconds(api["median_ms"]),
            showing.milliseconds(api["worst_ms"]),
            "",
        ]
    ]
    for row in rows:
        is_lost = row["answered"] < row["asked"]
        shown.append(
            [
                row["address"],
                ", ".join(row["as"]) or "met",
                showing.text(f"{row['answered']} of {row['asked']}", "red" if is_lost else ""),
                showing.milliseconds(row["median_ms"]),
                showing.milliseconds(row["worst_ms"]),
                row["reason"] or "",
            ]
        )
    columns = ("ADDRESS", "IT IS", "ANSWERED", "MEDIAN", "WORST", "WHY NOT")
    showing.show(showing.table(columns, shown, right=("MEDIAN", "WORST"), spare=("WHY NOT", "WORST", "IT IS")))
