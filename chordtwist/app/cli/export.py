"""``chordtwist export``: a backup of what a node keeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import click

from chordtwist.app.cli import asking, talking
from chordtwist.app.cli.talking import Caller, Connect, NotReachable
from chordtwist.core.counted import counted
from chordtwist.storage.files import replacing


@click.command(
    help="""Write what the node keeps to FILE, or to standard output: a line of JSON for each record.

    Versions, signatures and the ends of lives are kept, and the ends of what was deleted, so that an old backup
    restored later replaces nothing that is newer (chordtwist import). A node keeps its own part of the ring and copies
    of others': the backups of some nodes hold the same records, which does no harm. With --own only the node's own
    part is written: the backups of all nodes together are the ring's.

    It is for the operator: over a Unix socket, or by the user who may read the node's state_dir.

    \b
    Examples:
        chordtwist export backup.ndjson
        chordtwist export --own | gzip > own.ndjson.gz
    """
)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False))
@click.option("--own", is_flag=True, help="Only records of the part of the ring that the node owns.")
@talking.asks_a_node
def command(caller: Caller, file: str | None, own: bool) -> None:
    """Run ``chordtwist export``."""

    def conversation(connect: Connect) -> int:
        client = connect()
        with _written(file) as out:
            for line in asking.lines(caller, client, {"do": "export", "own": own}):
                out.write(json.dumps(line) + "\n")
                if "records" in line and "key" not in line:
                    return int(line["records"])
            raise NotReachable(f"the node at {caller.api} ended its answer too early: the backup is not whole")

    count = caller.talk(conversation)
    if file is None:
        return
    if caller.as_json:
        talking.show_json({"file": file, "records": count})
    else:
        talking.show(f"{file}: {counted(count, 'record')}")


@contextmanager
def _written(file: str | None) -> Iterator[TextIO]:
    """Write a file that is there as a whole or not at all; with None, standard output."""
    if file is None:
        yield sys.stdout
        return
    # For its owner alone: what others have stored may be nobody else's business.
    with replacing(Path(file)) as raw:
        out = TextIOWrapper(raw, encoding="ascii")
        yield out
        out.detach()
