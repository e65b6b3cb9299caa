"""``chordtwist run``: one node in the foreground."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click
from twisted.logger import globalLogBeginner

from chordtwist.app import config_file
from chordtwist.app.line_writer import to_standard_error
from chordtwist.app.log_lines import LogLines
from chordtwist.app.process import make_ready, stop
from chordtwist.app.reloading import Reloading
from chordtwist.app.service import StartError, build


@click.command(
    help="""Run a node in the foreground, until it is told to leave.

    Writes its log to standard error, and no pid file. SHUTDOWN over the API, SIGTERM or Ctrl-C let it leave its ring:
    it hands its values over, which takes 5 seconds at most, and ends with status 0. A second signal ends it at once.
    SIGHUP lets it read the log level, limits and certificates again, or leave when its terminal is gone.

    The same node as ``twistd -n chord --config FILE``.
    """
)
@click.option(
    "-c",
    "--config",
    "path",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="The configuration file; etc/node.ini of the source shows every option.",
)
def command(path: str) -> None:
    """Run ``chordtwist run``."""
    config = config_file.read_file(path)
    lines = LogLines(config.log, to_standard_error(), os.environ)
    globalLogBeginner.beginLoggingTo([lines], redirectStandardIO=False)
    from twisted.internet import reactor

    hangups = make_ready(reactor)
    try:
        node = build(config, reactor, partial(stop, reactor))
        node.privilegedStartService()
        node.startService()
    except StartError as error:
        raise click.ClickException(str(error)) from None
    hangups.reload = Reloading(Path(path), config, node, lambda: lines, reactor)
    reactor.addSystemEventTrigger("before", "shutdown", node.stopService)
    reactor.run()
