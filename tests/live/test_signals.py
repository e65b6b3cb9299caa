"""What happens around a process: nobody reads its log, its terminal goes away, signals of other programs' habits."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import free_port
from tests.live.test_processes import BIN, HANGS_AFTER_S

KEY = sha256(b"greeting").digest()
PUT = struct.pack(">HHHBB", 40 + 12, 650, 60, 1, 0) + KEY + b"good morning"
GET = struct.pack(">HH", 36, 651) + KEY
FOUND = struct.pack(">HH", 36 + 12, 652) + KEY + b"good morning"

COMMANDS = (["chordtwist", "run", "-c"], ["twistd", "-n", "--pidfile=", "chord", "--config"])

TAKEN_UP = (
    "node.ini: log level, limits and certificates are in use as they stand there now; a restart is needed for [limits]"
    " stored_mib"
)
REFUSED = "nothing of the configuration is taken up: "


class SignalTests(SynchronousTestCase):
    """One node in a process of its own, without a terminal or with one that a test has."""

    def setUp(self) -> None:
        """A configuration."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.config = self.folder / "node.ini"
        self.log = self.folder / "log.txt"
        self.api_port, self.p2p_port = free_port(), free_port()
        self.configure("info")

    def configure(self, level: str, further: str = "") -> None:
        self.config.write_text(
            f"[dht]\napi_address = 127.0.0.1:{self.api_port}\np2p_address = 127.0.0.1:{self.p2p_port}\n"
            f"[tls]\nmode = off\n[log]\nlevel = {level}\n{further}"
        )

    def start(
        self, command: list[str], stderr: int, prepare: Callable[[], object] = os.setsid
    ) -> subprocess.Popen[bytes]:
        """Start a node in a session of its own."""
        process = subprocess.Popen(
            [f"{BIN}/{command[0]}", *command[1:], str(self.config)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            preexec_fn=prepare,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, what: Callable[[], bool]) -> None:
        ends = time.monotonic() + HANGS_AFTER_S
        while not what():
            self.assertLess(time.monotonic(), ends, self.log.read_text() if self.log.exists() else "")
            time.sleep(0.05)

    def ask(self, message: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.api_port), HANGS_AFTER_S) as connection:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()

    def is_up(self) -> bool:
        try:
            self.ask(b"")
        except OSError:
            return False
        return True

    def with_terminal(self, slave: int) -> Callable[[], object]:
        """What makes a terminal that of a process."""

        def prepare() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        return prepare

    def test_nobody_reads(self) -> None:
        """A pipe that is full, and a terminal that was stopped, hold up nothing: the node serves, and leaves."""
        for command in COMMANDS:
            reading, writing = os.pipe()
            self.addCleanup(os.close, reading)
            os.set_blocking(writing, False)
            try:
                while True:
                    os.write(writing, b"." * 4096)
            except BlockingIOError:
                os.set_blocking(writing, True)
            self.check_serves(self.start(command, writing))
            os.close(writing)
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        termios.tcflow(slave, termios.TCOOFF)
        self.check_serves(self.start(COMMANDS[0], slave))
        os.close(slave)

    def check_serves(self, process: subprocess.Popen[bytes]) -> None:
        self.wait_for(self.is_up)
        self.assertEqual(FOUND, self.ask(PUT + GET))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(0, process.wait(HANGS_AFTER_S))

    def test_terminal_gone(self) -> None:
        """When its terminal goes away a node leaves its ring and ends with status 0."""
        for command in COMMANDS:
            master, slave = pty.openpty()
            with open(self.log, "wb") as log:
                process = self.start(command, log.fileno(), self.with_terminal(slave))
            os.close(slave)
            self.wait_for(lambda: "member of the ring" in self.log.read_text())
            os.close(master)
            self.assertEqual(0, process.wait(HANGS_AFTER_S), self.log.read_text())
            self.assertIn("SIGHUP, the terminal is gone: leaving the ring", self.log.read_text())

    def test_read_again(self) -> None:
        """Without a terminal SIGHUP lets a node read log level and limits again, and say what needs a restart; a file
        with a mistake changes nothing; SIGUSR1 and SIGUSR2 end nothing.
        """
        for command in COMMANDS:
            self.configure("error")
            with open(self.log, "wb") as log:
                process = self.start(command, log.fileno())
            self.wait_for(self.is_up)
            self.assertEqual("", self.log.read_text())
            self.configure("info", "[limits]\nprocessor_percent = 7\nstored_mib = 99\n")
            process.send_signal(signal.SIGHUP)
            self.wait_for(lambda: TAKEN_UP in self.log.read_text())
            self.config.write_text("[dht]\np2p_address = nowhere\n")
            process.send_signal(signal.SIGHUP)
            self.wait_for(
                lambda: f"nothing of the configuration is taken up: {self.config}, line 2" in self.log.read_text()
            )
            for number in (signal.SIGUSR1, signal.SIGUSR2):
                process.send_signal(number)
            for name in ("SIGUSR1", "SIGUSR2"):
                self.wait_for(lambda: self.log.read_text().count(": nothing is done for it") == 2)
                self.assertIn(f"{name}: nothing is done for it", self.log.read_text())
            self.assertEqual(FOUND, self.ask(PUT + GET))
            process.send_signal(signal.SIGTERM)
            self.assertEqual(0, process.wait(HANGS_AFTER_S))
