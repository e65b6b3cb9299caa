"""``chordtwist import``: records of a backup, brought back to the ring."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

import click

from chordtwist.app.cli import asking, talking
from chordtwist.app.cli.talking import BadValue, Caller, Connect

BACKUP_FORMAT_READ = 1
BATCH_RECORDS, BATCH_BYTES = 64, 180_000
"""Of one request, which has 262,144 bytes at most."""

REFUSALS_SHOWN = 10


@dataclass
class Outcome:
    """What became of the records of a backup."""

    restored: int = 0
    newer: int = 0
    ended: int = 0
    refused: list[dict[str, str]] = field(default_factory=list)
    complete: bool = False
    """Whether each backup that opens has its last line."""

    def add(self, told: dict[str, Any]) -> None:
        """Count what a node told of a batch."""
        self.restored += told["restored"]
        self.newer += told["newer"]
        self.ended += told["ended"]
        self.refused += told["refused"]


@click.command(
    "import",
    help="""Bring the records of each backup FILE (of chordtwist export; - is standard input) back to the ring.

    Each goes to its replicas with the version and the signature it had. Nothing newer is replaced: where a later put
    stands, or the record was deleted later, the backup's is left out, and counted as newer. What would have ended by
    now is left out too.

    It is for the operator: over a Unix socket, or by the user who may read the node's state_dir. Status 1 when a
    record was refused, or the backup is cut short.

    \b
    Examples:
        chordtwist import backup-*.ndjson
        zcat own-*.ndjson.gz | chordtwist import -
    """,
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.File(encoding="utf-8"))
@talking.asks_a_node
def command(caller: Caller, files: tuple[TextIO, ...]) -> None:
    """Run ``chordtwist import``."""
    outcome = Outcome()

    def conversation(connect: Connect) -> None:
        client = connect(member=True)
        for batch in _batches(files, outcome):
            for told in asking.lines(caller, client, {"do": "import", "records": batch}):
                outcome.add(told)

    caller.talk(conversation)
    if caller.as_json:
        talking.show_json(vars(outcome))
    else:
        _show(outcome)
    if outcome.refused or not outcome.complete:
        raise SystemExit(1)


def _batches(files: Iterable[TextIO], outcome: Outcome) -> Iterator[list[dict[str, Any]]]:
    """Read the records, some for each request. In one file several backups may stand one behind another.

    @raise BadValue: it is no backup, or one of a newer build.
    """
    batch: list[dict[str, Any]] = []
    length = 0
    outcome.complete = True
    for file in files:
        is_open = ended = cut = False
        for number, line in enumerate(file, 1):
            record = _read(file.name, number, line)
            if "backup" in record:
                if record["backup"] != BACKUP_FORMAT_READ:
                    raise BadValue(
                        f"{file.name}, line {number}: a backup of format {record['backup']}: of a newer build"
                    )
                cut, is_open = cut or is_open, True
            elif not is_open:
                raise BadValue(f"{file.name}, line {number}: no backup opens here")
            elif "key" not in record:
                is_open, ended = False, True
            else:
                if batch and (len(batch) >= BATCH_RECORDS or length + len(line) > BATCH_BYTES):
                    yield batch
                    batch, length = [], 0
                batch.append(record)
                length += len(line)
        if is_open or cut or not ended:
            outcome.complete = False
    if batch:
        yield batch


def _read(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise BadValue(f"{name}, line {number}: is no line of a backup")
    return record


def _show(outcome: Outcome) -> None:
    talking.show(
        f"{outcome.restored} restored, {outcome.newer} left out since something newer stands,"
        f" {outcome.ended} ended by now, {len(outcome.refused)} refused"
    )
    for refusal in outcome.refused[:REFUSALS_SHOWN]:
        talking.show(f"{refusal['key']}: {refusal['reason']}", err=True)
    if len(outcome.refused) > REFUSALS_SHOWN:
        talking.show(f"and {len(outcome.refused) - REFUSALS_SHOWN} more", err=True)
    if not outcome.complete:
        talking.show("a backup is cut short: its last line is missing", err=True)
