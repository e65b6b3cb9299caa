"""The node under twistd: ``twistd -n chord --config FILE``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, NoReturn

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized

from chordtwist.app import config_file, settings
from chordtwist.app.config import NodeConfig
from chordtwist.app.line_writer import to_standard_error
from chordtwist.app.log_lines import LogLines
from chordtwist.app.process import make_ready, stop
from chordtwist.app.reloading import Reloading
from chordtwist.app.service import StartError, build
from chordtwist.app.systemd import notices_of
from chordtwist.core.errors import ConfigurationError
from chordtwist.core.printable import printable


class Options(usage.Options):
    """The options of ``twistd chord``."""

    optParameters: ClassVar = [
        ["config", "c", None, "The configuration file; etc/node.ini of the source shows every option."]
    ]

    def postOptions(self) -> None:
        """There is no node without a configuration."""
        if self["config"] is None:
            raise usage.UsageError("a configuration is needed: --config FILE")
        pidfile = (getattr(self, "parent", None) or {}).get("pidfile")
        if pidfile and not os.access(Path(pidfile).absolute().parent, os.W_OK):
            raise usage.UsageError(f"{pidfile} cannot be written here; twistd --pidfile= -n chord ... writes none")


def makeService(options: Options) -> IService:
    """Make the service of the node that `options` ask for; a bad configuration ends the process with status 2."""
    from twisted.internet import reactor

    hangups = make_ready(reactor)
    try:
        over = settings.from_environment(os.environ)
        config = config_file.read_file(options["config"], over)
    except ConfigurationError as error:
        _end(str(error), 2)
    try:
        node = build(config, reactor, partial(stop, reactor))
    except StartError as error:
        _end(str(error), 1)
    pidfile = (getattr(options, "parent", None) or {}).get("pidfile")
    service = TwistdNode(config, twistd_logs_elsewhere(options), pidfile)
    notices = notices_of(node.dht.status, reactor)
    if notices is not None:
        notices.setServiceParent(node)
    node.setServiceParent(service)
    hangups.reload = Reloading(Path(options["config"]), config, node, lambda: service.lines, reactor, over)
    return service


def twistd_logs_elsewhere(options: Options) -> bool:
    """Whether twistd was told where to log, or goes to the background, where standard error leads nowhere."""
    twistd = getattr(options, "parent", None) or {}
    return not twistd.get("nodaemon") or any(twistd.get(name) for name in ("logfile", "syslog", "logger"))


class TwistdNode(MultiService):
    """A node as twistd holds it: brings its own log along, and says in one line why it cannot start."""

    def __init__(self, config: NodeConfig, logs_elsewhere: bool, pidfile: str | None = None) -> None:
        """@param pidfile: twistd's, which it removes itself only after a run."""
        super().__init__()
        self._pidfile = pidfile
        self._config = config
        self._logs_elsewhere = logs_elsewhere
        self.lines: LogLines | None = None

    def setServiceParent(self, parent: object) -> None:
        """Besides its place, give the application our log observer, which twistd then prefers to its own."""
        super().setServiceParent(parent)
        if isinstance(parent, Componentized) and not self._logs_elsewhere:
            self.lines = LogLines(self._config.log, to_standard_error(), os.environ)
            parent.setComponent(ILogObserver, self.lines)

    def privilegedStartService(self) -> None:
        """Listen."""
        try:
            super().privilegedStartService()
        except StartError as error:
            self._end(error)

    def startService(self) -> None:
        """Start the node."""
        try:
            super().startService()
        except StartError as error:
            self._end(error)

    def _end(self, error: StartError) -> NoReturn:
        if self._pidfile:
            with suppress(OSError):
                os.unlink(self._pidfile)
        _end(str(error), 1)


def _end(reason: str, status: int) -> NoReturn:
    # Not sys.stderr, which twistd turns into log events before a node starts.
    print(f"Error: {printable(reason)}", file=sys.__stderr__)
    raise SystemExit(status)
