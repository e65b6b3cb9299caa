"""The node under twistd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.application.reactors import getReactorTypes
from twisted.application.service import Application, MultiService, Service
from twisted.logger import ILogObserver
from twisted.python.usage import Options as TwistdOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import NodeConfig
from chordtwist.app.plugin import Options, TwistdNode, twistd_logs_elsewhere
from chordtwist.app.service import StartError


class ReactorTests(SynchronousTestCase):
    """``twistd --reactor chord``."""

    def test_offered(self) -> None:
        """twistd finds the reactor that ``chordtwist run`` chooses, and says in a sentence what it is."""
        offered: dict[str, Any] = {kind.shortName: kind for kind in getReactorTypes()}
        self.assertEqual(offered["chord"].moduleName, "chordtwist.app.event_loop")
        self.assertEqual(offered["chord"].description[-1], ".")


class OptionsTests(SynchronousTestCase):
    """The options of ``twistd chord``."""

    def test_config(self) -> None:
        """The configuration is given as --config or -c."""
        for spelling in (["--config", "node.ini"], ["--config=node.ini"], ["-c", "node.ini"]):
            options = Options()
            options.parseOptions(spelling)
            self.assertEqual("node.ini", options["config"])

    def test_no_config(self) -> None:
        """Without a configuration it is bad usage."""
        self.assertRaises(UsageError, Options().parseOptions, [])

    def test_pid_file(self) -> None:
        """Where twistd could not write its pid file, and would show a traceback, it is bad usage that says why."""
        options = Options()
        options.parent = TwistdOptions()
        options.parent.update({"pidfile": "/nowhere/twistd.pid"})
        error = self.assertRaises(UsageError, options.parseOptions, ["-c", "node.ini"])
        self.assertIn("twistd --pidfile= -n chord", str(error))
        options.parent.update({"pidfile": ""})
        options.parseOptions(["-c", "node.ini"])


class LogTests(SynchronousTestCase):
    """Who writes the log."""

    def options(self, **twistd: object) -> Options:
        """Our options below those of twistd."""
        options = Options()
        options.parent = TwistdOptions()
        options.parent.update({"nodaemon": True, "logfile": None, "syslog": False, "logger": None, **twistd})
        return options

    def test_foreground(self) -> None:
        """In the foreground the node's own observer writes, with the configured level."""
        self.assertFalse(twistd_logs_elsewhere(self.options()))
        application = Application("chord")
        TwistdNode(NodeConfig(), logs_elsewhere=False).setServiceParent(application)
        self.assertTrue(ILogObserver.providedBy(application.getComponent(ILogObserver)))

    def test_elsewhere(self) -> None:
        """What twistd was told about the log, or a background without standard error, is left to twistd."""
        for twistd in ({"nodaemon": False}, {"logfile": "node.log"}, {"syslog": True}, {"logger": print}):
            self.assertTrue(twistd_logs_elsewhere(self.options(**twistd)), twistd)
        application = Application("chord")
        TwistdNode(NodeConfig(), logs_elsewhere=True).setServiceParent(application)
        self.assertIsNone(application.getComponent(ILogObserver, None))


class Refused(Service):
    """A part of a node that cannot start."""

    def privilegedStartService(self) -> None:
        """Say why."""
        raise StartError("cannot listen on p2p_address 127.0.0.1:6401: Address already in use")


class TwistdNodeTests(SynchronousTestCase):
    """The service that twistd starts."""

    def test_start_refused(self) -> None:
        """A node that cannot start ends twistd with status 1, without a traceback, and leaves no pid file."""
        pidfile = Path(self.mktemp())
        pidfile.write_text("1")
        node = TwistdNode(NodeConfig(), logs_elsewhere=True, pidfile=str(pidfile))
        node.setServiceParent(MultiService())
        Refused().setServiceParent(node)
        ended = self.assertRaises(SystemExit, node.privilegedStartService)
        self.assertEqual(1, ended.code)
        self.assertFalse(pidfile.exists())
