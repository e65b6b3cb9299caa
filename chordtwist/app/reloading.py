"""What a running node takes up of its configuration when an operator asks for it (SIGHUP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.app import config_file
from chordtwist.app.config import NodeConfig
from chordtwist.app.log_lines import LogLines
from chordtwist.app.service import NodeService
from chordtwist.app.settings import Setting
from chordtwist.core.errors import ConfigurationError
from chordtwist.net.daemon_threads import DaemonThreads

LIMITS_TAKEN_UP = ("processor_percent", "connections_per_second", "nodes_per_address")

TAKEN_UP = {("log", "level"), *(("limits", key) for key in LIMITS_TAKEN_UP)}
"""Section and key of what a node takes up while it runs, besides what its certificate files hold."""


class Reloading:
    """Reads one node's configuration again, each time it is called."""

    _log = Logger()

    def __init__(
        self,
        path: Path,
        config: NodeConfig,
        node: NodeService,
        lines: Callable[[], LogLines | None],
        reactor: Any,
        settings: Sequence[Setting] = (),
    ) -> None:
        """@param config: what the node runs with. @param lines: its log, where it is ours. @param settings: what stands
        over the file.
        """
        self._path = path.absolute()
        self._settings = settings
        self._config = config
        self._node = node
        self._lines = lines
        self._threads = DaemonThreads(reactor, 1, "configuration")
        node.operations.reload = self.reload

    def __call__(self) -> None:
        """Read the file and take up what it says now; what stands against it is logged."""
        self.reload().addErrback(self._failed)

    def reload(self) -> Deferred[dict[str, object]]:
        """Read the file, in a thread since its disk may hang, and take up what it says now.

        Fires with `file`, and `waiting`: the options that differ and need a restart. Fails with `ConfigurationError`.
        """
        return self._threads.call(config_file.read_file, self._path, self._settings).addCallback(self._read)

    def _read(self, config: NodeConfig) -> dict[str, object]:
        lines = self._lines()
        if lines is not None:
            lines.set_level(config.log.level)
        self._node.take_up(config)
        differ = changed(self._config, config)
        waiting = [f"[{section}] {key}" for section, key in differ if (section, key) not in TAKEN_UP]
        self._log.info(
            "{path}: log level, limits and certificates are in use as they stand there now{waiting}",
            path=str(self._path),
            waiting=f"; a restart is needed for {', '.join(waiting)}" if waiting else "",
        )
        return {"file": str(self._path), "waiting": waiting}

    def _failed(self, failure: Failure) -> None:
        if not failure.check(ConfigurationError):
            self._log.failure("reading the configuration again failed", failure)
            return
        self._log.error("nothing of the configuration is taken up: {error}", error=failure.value)


def changed(before: NodeConfig, now: NodeConfig) -> list[tuple[str, str]]:
    """Section and key of every option that differs; outside of sections the section is empty."""
    found = []
    for section in fields(NodeConfig):
        old, new = getattr(before, section.name), getattr(now, section.name)
        if old == new:
            continue
        if hasattr(old, "__dataclass_fields__"):
            keys = [key.name for key in fields(old) if getattr(old, key.name) != getattr(new, key.name)]
            found += [(section.name, key) for key in keys]
        else:
            found.append(("", section.name))
    return found
