"""Nodes forked from one process that has loaded everything: many of them start in the time of a few."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.fleet import ROOT, Fleet


class Child:
    """A node's process, of which its parent's parent knows the number only; as much of `Popen` as fleets need."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is gone."""
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.01)
        return 0


class ForkedFleet(Fleet):
    """A fleet whose nodes are forked, and run by ``chordtwist run``."""

    def __init__(self, dht: Mapping[str, object] | None = None, tls: str = "open", prefix: str = "") -> None:
        super().__init__(dht, tls, prefix)
        here = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=here
        )

    def _run(self, number: int, command: Sequence[str]) -> Any:
        nursery = self._nursery
        assert nursery.stdin is not None and nursery.stdout is not None
        nursery.stdin.write(json.dumps([command[-1], str(self.folder / f"{number}.log")]).encode() + b"\n")
        nursery.stdin.flush()
        return Child(int(nursery.stdout.readline()))

    def close(self) -> None:
        """End everything."""
        super().close()
        self._nursery.communicate()


def main() -> None:
    """Fork a node for each line on standard input: its configuration and where it logs to."""
    from chordtwist.app.cli import run  # noqa: F401
    from chordtwist.app.cli.commands import main as commands

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    gc.freeze()
    for line in sys.stdin:
        config, log = json.loads(line)
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(Path(log).parent)
            commands(["run", "-c", config])
        print(pid, flush=True)


if __name__ == "__main__":
    main()
