"""``chordtwist state``: what a node keeps on disk, while it does not run."""

from __future__ import annotations

import time
from pathlib import Path

import click

from chordtwist.app.cli import showing, talking
from chordtwist.app.cli.talking import Denied
from chordtwist.core.counted import counted
from chordtwist.core.errors import StateUnusable

DAMAGED_SHOWN = 20


@click.group(
    help="""Look at the state directory of a node that does not run.

    \b
    Example:
        chordtwist state check /var/lib/chordtwist
    """
)
def command() -> None:
    """Do nothing: the work is in the commands."""


@command.command(
    help="""Look a state directory through: every small file, and every record, its hash or signature included.

    Nothing is changed. A node must not use it meanwhile. Status 1 when something is wrong: of the small files a node
    sets aside what makes no sense, and damaged records come back from other replicas.
    """
)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@talking.json_option
def check(directory: Path, as_json: bool) -> None:
    """Run ``chordtwist state check``."""
    from chordtwist.storage.state_check import check_state

    try:
        report = check_state(directory, time.time_ns() // 1_000_000)
    except StateUnusable as error:
        raise Denied(str(error)) from None
    if as_json:
        shown = vars(report) | {
            "damaged": [{"key": key, "reason": reason} for key, reason in report.damaged],
            "right": report.is_right,
        }
        talking.show_json(shown)
    else:
        for name, found in report.files.items():
            talking.show(f"{name}: {found}")
        talking.show(
            f"{counted(report.records, 'record')} of {showing.size(report.bytes)}, "
            f"{counted(report.tombstones, 'end')} remembered, {report.ended} past their time"
        )
        for fault in report.faults:
            talking.show(fault, err=True)
        for key, reason in report.damaged[:DAMAGED_SHOWN]:
            talking.show(f"{key}: {reason}", err=True)
        if len(report.damaged) > DAMAGED_SHOWN:
            talking.show(f"and {len(report.damaged) - DAMAGED_SHOWN} more", err=True)
    if not report.is_right:
        raise SystemExit(1)
