"""``chordtwist run``: one node in the foreground."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click
from twisted.logger import Logger, globalLogBeginner

from chordtwist.app import config_file, settings
from chordtwist.app.line_writer import to_standard_error
from chordtwist.app.log_lines import LogLines
from chordtwist.app.process import choose_reactor, make_ready, stop
from chordtwist.app.reloading import Reloading
from chordtwist.app.service import StartError, build
from chordtwist.app.systemd import notices_of
from chordtwist.core.printable import printable

log = Logger()


@click.command(
    help="""Run a node in the foreground, until it is told to leave: with the defaults, or as FILE says.

    \b
    Examples:
        chordtwist run
        chordtwist run node.ini
        chordtwist run --set dht.bootstrap_node=192.0.2.7:6401

    Writes its log to standard error, and no pid file. SHUTDOWN over the API, SIGTERM or Ctrl-C let it leave its ring:
    it hands its values over, which takes 5 seconds at most, and ends with status 0. A second signal ends it at once.
    SIGHUP lets it read the log level, limits and certificates again, or leave when its terminal is gone.

    The same node as twistd --pidfile= -n chord --config FILE.
    """
)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path())
@click.option("-c", "--config", "path", metavar="FILE", type=click.Path(), help="The same.")
@click.option(
    "--set",
    "written",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    help="An option that stands over the file, as --set dht.replication=3; what the environment's"
    " CHORDTWIST_DHT_REPLICATION says stands between the two.",
)
def command(file: str | None, path: str | None, written: tuple[str, ...]) -> None:
    """Run ``chordtwist run``."""
    if file is not None and path is not None:
        raise click.UsageError("FILE and --config name two files; choose one")
    path = path or file
    over = [*settings.from_environment(os.environ), *settings.from_options(written)]
    config = config_file.read_file(path, over)
    lines = LogLines(config.log, to_standard_error(), os.environ)
    globalLogBeginner.beginLoggingTo([lines], redirectStandardIO=False)
    choose_reactor()
    from twisted.internet import reactor

    hangups = make_ready(reactor)
    if path is None:
        log.info("no file: every option has its default; chordtwist config init shows them all")
        log.info("in another terminal: chordtwist put greeting hello --api {api}", api=str(config.api_address))
    try:
        node = build(config, reactor, partial(stop, reactor))
        notices = notices_of(node.dht.status, reactor)
        if notices is not None:
            notices.setServiceParent(node)
        node.privilegedStartService()
        node.startService()
    except StartError as error:
        raise click.ClickException(printable(str(error))) from None
    if path is not None:
        hangups.reload = Reloading(Path(path), config, node, lambda: lines, reactor, over)
    reactor.addSystemEventTrigger("before", "shutdown", node.stopService)
    reactor.run()
