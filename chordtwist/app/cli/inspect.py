"""``chordtwist inspect``: what every replica of a key keeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from chordtwist.app.cli import asking, showing, talking
from chordtwist.app.cli.talking import Caller
from chordtwist.core.records import key_of


@click.command(
    help="""Show what every replica of KEY keeps, who is behind, and which value a reader would get.

    Nothing is changed by it, and nothing mended. A replica is behind when it keeps an older version than another one,
    or nothing; the ring mends that by itself within some seconds.

    \b
    Examples:
        chordtwist inspect greeting
        chordtwist inspect greeting --json | jq .reader
    """
)
@talking.key_argument
@talking.asks_a_node
def command(caller: Caller, key: str) -> None:
    """Run ``chordtwist inspect``."""
    seen = asking.one(caller, {"do": "inspect", "key": key_of(key).hex()})
    if caller.as_json:
        talking.show_json(seen)
    else:
        _show(key, seen)
    if not seen["reader"]["found"]:
        raise SystemExit(1)


def _show(key: str, seen: dict[str, Any]) -> None:
    rows = []
    for replica in seen["replicas"]:
        keeps = replica["state"] in ("has", "tombstone")
        state = "behind" if replica["behind"] and keeps else replica["state"]
        style = "green" if state == "has" else "yellow" if replica["behind"] or state == "tombstone" else "red"
        rows.append(
            [
                "owner" if replica["rank"] == 0 else f"copy {replica['rank']}",
                replica["address"],
                showing.text(state, style if state != "nothing" or replica["behind"] else ""),
                _time(replica["version_ms"]) if keeps else "-",
                showing.duration(replica["ttl_ms"] / 1000) if keeps else "-",
                showing.size(replica.get("bytes")),
                replica.get("sha256", "-")[:8],
                showing.milliseconds(replica["round_trip_ms"]),
            ]
        )
    columns = ("", "ADDRESS", "KEEPS", "VERSION", "LIFE", "SIZE", "SHA-256", "TIME")
    reader = seen["reader"]
    found = f"a reader gets {reader.get('bytes')} bytes" if reader["found"] else "a reader gets nothing"
    showing.show(
        showing.text(f"{key}  key {seen['key'][:8]}, at place {seen['position'][:8]}"),
        showing.table(columns, rows, right=("LIFE", "SIZE"), spare=("TIME", "SHA-256", "VERSION", "SIZE")),
        showing.text(f"{found}: {reader['why']}", "green" if reader["found"] else "yellow"),
    )


def _time(version_ms: int) -> str:
    try:
        return datetime.fromtimestamp(version_ms / 1000).isoformat(" ", timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return str(version_ms)
