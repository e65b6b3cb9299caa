"""``chordtwist reload``: a running node reads its configuration again."""

from __future__ import annotations

import click

from chordtwist.app.cli import asking, talking
from chordtwist.app.cli.talking import Caller


@click.command(
    help="""Let the node read its configuration file again, as SIGHUP does, and say what waits for a restart.

    Log level, limits and certificates are in use at once. A file with a mistake changes nothing, and is answered with
    the mistake. It is for the operator: over a Unix socket, or by the user who may read the node's state_dir.

    \b
    Example:
        chordtwist config check node.ini && chordtwist reload
    """
)
@talking.asks_a_node
def command(caller: Caller) -> None:
    """Run ``chordtwist reload``."""
    told = asking.one(caller, {"do": "reload"})
    if caller.as_json:
        talking.show_json(told)
        return
    talking.show(f"{told['file']}: log level, limits and certificates are in use as they stand there now")
    if told["waiting"]:
        talking.show(f"a restart is needed for {', '.join(told['waiting'])}")
