"""A node under a service manager: sockets handed over, ready after joining, restarts that refuse nobody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import SOAK
from tests.fleet import BIN, Client, free_port, value_of

RESTARTS = 10 * min(SOAK, 10)
WITHIN_S = 600.0

HAND_OVER = """
import os, sys
descriptor = int(sys.argv[1])
os.dup2(descriptor, 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "api"}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    """As much of a service manager as a node has to do with."""

    def __init__(self, folder: Path) -> None:
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(folder / "notify"))
        self.notices.settimeout(WITHIN_S)
        self.api = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.api.set_inheritable(True)
        self.port: int = self.api.getsockname()[1]
        self._folder = folder
        (folder / "node.ini").write_text(
            f"[dht]\np2p_address = 127.0.0.1:{free_port()}\napi_address = 127.0.0.1:{self.port}\nstate_dir = state\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node."""
        command = [str(BIN / "chordtwist"), "run", "-c", str(self._folder / "node.ini")]
        self.process = subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, str(self.api.fileno()), *command],
            pass_fds=[self.api.fileno()],
            env={**os.environ, "NOTIFY_SOCKET": str(self._folder / "notify"), "WATCHDOG_USEC": "1000000"},
            stderr=subprocess.DEVNULL,
        )

    def wait_for(self, word: str) -> None:
        """Until the node has told that."""
        while word not in self.notices.recv(4096).decode():
            pass

    def end(self, number: int) -> None:
        """End the node, and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """End everything."""
        self.end(signal.SIGKILL)
        self.api.close()
        self.notices.close()


class ActivationTests(SynchronousTestCase):
    """A manager, and its node."""

    def setUp(self) -> None:
        """Have a folder of their own."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.manager = Manager(Path(folder.name))
        self.addCleanup(self.manager.close)

    def test_life(self) -> None:
        """It is ready when it is a member, says that it lives and leaves; after kill -9 its records are there."""
        self.manager.start()
        self.manager.wait_for("READY=1")
        self.manager.wait_for("WATCHDOG=1")
        client = Client("127.0.0.1", port=self.manager.port)
        client.put_confirmed(b"k" * 32, value_of(1, 100), 600)
        client.close()
        self.manager.end(signal.SIGKILL)
        self.manager.start()
        self.manager.wait_for("READY=1")
        client = Client("127.0.0.1", port=self.manager.port)
        self.assertEqual(value_of(1, 100), client.get(b"k" * 32))
        client.close()
        assert self.manager.process is not None
        self.manager.process.send_signal(signal.SIGTERM)
        self.manager.wait_for("STOPPING=1")
        self.assertEqual(0, self.manager.process.wait())

    def test_nobody_refused(self) -> None:
        """While it restarts, killed or in good order, every connection is taken: it waits in the manager's socket."""
        refused: list[OSError] = []
        taken = 0
        over = threading.Event()

        def connect() -> None:
            nonlocal taken
            while not over.wait(0.01):
                try:
                    socket.create_connection(("127.0.0.1", self.manager.port), WITHIN_S).close()
                    taken += 1
                except TimeoutError:
                    pass  # the machine has no time for the node to start: it waited, and was not refused
                except OSError as error:
                    refused.append(error)

        connecting = threading.Thread(target=connect)
        self.addCleanup(over.set)  # also where a restart fails: the thread would keep the process
        self.manager.start()
        self.manager.wait_for("READY=1")
        connecting.start()
        for number in range(RESTARTS):
            self.manager.end(signal.SIGKILL if number % 2 else signal.SIGTERM)
            self.manager.start()
            self.manager.wait_for("READY=1")
        over.set()
        connecting.join()
        self.assertEqual(([], True), (refused, taken > RESTARTS))
