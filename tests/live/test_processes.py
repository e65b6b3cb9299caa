"""Nodes as operators run them: processes, started by command or by twistd, ended by signal or by SHUTDOWN."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import free_port

BIN = Path(sys.executable).parent
HANGS_AFTER_S = 60
"""Far beyond anything that a node takes: what still runs then would run for ever."""

SHUTDOWN = struct.pack(">HH", 4, 654)


class NodeProcess:
    """One node in a process of its own, on loopback, with ports that were free a moment ago."""

    def __init__(
        self,
        case: SynchronousTestCase,
        *,
        twistd: bool = False,
        p2p_port: int | None = None,
        state_dir: str = "",
        api: str = "",
        options: str = "",
    ) -> None:
        """@param api: the address of its API, where it is no port. @param options: further lines of [dht]."""
        folder = tempfile.TemporaryDirectory()
        case.addCleanup(folder.cleanup)
        self.api_port = free_port()
        self.p2p_port = p2p_port or free_port()
        self.api = api or f"127.0.0.1:{self.api_port}"
        config = Path(folder.name) / "node.ini"
        config.write_text(
            f"[dht]\napi_address = {self.api}\np2p_address = 127.0.0.1:{self.p2p_port}\n"
            f"state_dir = {state_dir}\n{options}\n"
            "[tls]\nmode = off\n"
        )
        run = [f"{BIN}/chordtwist", "run", "-c", str(config)]
        daemon = [f"{BIN}/twistd", "-n", "--pidfile=", "chord", "--config", str(config)]
        self.process = subprocess.Popen(
            daemon if twistd else run, cwd=folder.name, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        case.addCleanup(self._end)

    def first_line(self) -> str:
        """The first line of its log: it comes once the node listens."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def wait_until_member(self) -> None:
        """Read its log until it says that it has joined its ring, or begun it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "member of the ring" in line:
                return

    def command(self, name: str, *arguments: str) -> str:
        """What ``chordtwist NAME ...`` prints, asked of this node."""
        ran = subprocess.run(
            [f"{BIN}/chordtwist", name, *arguments, "--api", self.api],
            capture_output=True,
            text=True,
            check=True,
            timeout=HANGS_AFTER_S,
        )
        return ran.stdout

    def ended(self) -> tuple[int, str]:
        """Wait for its end: status, and what it wrote since it was last read."""
        _, written = self.process.communicate(timeout=HANGS_AFTER_S)
        return self.process.returncode, written

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()


class ProcessTests(SynchronousTestCase):
    """The life of a process."""

    def ask(self, node: NodeProcess, message: bytes) -> bytes:
        """What the node answers to one message on a connection of its own."""
        with socket.create_connection(("127.0.0.1", node.api_port), HANGS_AFTER_S) as connection:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()

    def test_life(self) -> None:
        """Under either command a node says first where it is, stores and finds, leaves on a signal, ends with 0."""
        key = sha256(b"greeting").digest()
        get = struct.pack(">HH", 36, 651) + key
        put = struct.pack(">HHHBB", 40 + 12, 650, 60, 1, 0) + key + b"good morning"
        for twistd, number in ((False, signal.SIGINT), (True, signal.SIGTERM)):
            node = NodeProcess(self, twistd=twistd)
            line = node.first_line()
            self.assertIn(f"127.0.0.1:{node.p2p_port}", line)
            self.assertIn(f"127.0.0.1:{node.api_port}", line)
            self.assertIn(" info     chordtwist.", line)
            self.assertEqual(struct.pack(">HH", 36, 653) + key, self.ask(node, get))
            self.assertEqual(struct.pack(">HH", 36 + 12, 652) + key + b"good morning", self.ask(node, put + get))
            node.process.send_signal(number)
            status, written = node.ended()
            self.assertEqual(0, status, written)
            self.assertNotIn("Traceback", written)

    def test_shutdown(self) -> None:
        """SHUTDOWN lets it leave, and it ends with status 0."""
        for twistd in (False, True):
            node = NodeProcess(self, twistd=twistd)
            node.first_line()
            with socket.create_connection(("127.0.0.1", node.api_port), HANGS_AFTER_S) as connection:
                connection.sendall(SHUTDOWN)
                self.assertEqual(b"", connection.recv(1))
            status, written = node.ended()
            self.assertEqual(0, status, written)
            self.assertNotIn("Traceback", written)

    def test_port_in_use(self) -> None:
        """A port that is taken ends the start with status 1 and one line that names it."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            taken = server.getsockname()[1]
            for twistd in (False, True):
                node = NodeProcess(self, twistd=twistd, p2p_port=taken)
                status, written = node.ended()
                hint = "a node may run here already: chordtwist status shows it"
                expected = f"Error: cannot listen on p2p_address 127.0.0.1:{taken}: Address already in use; {hint}\n"
                self.assertEqual((1, expected), (status, written))

    def test_killed(self) -> None:
        """What was confirmed is there again after kill -9 and a restart, at a node with the same key."""
        state_dir = self.enterContext(tempfile.TemporaryDirectory())
        first = NodeProcess(self, state_dir=state_dir)
        first.first_line()
        first.wait_until_member()
        self.assertIn("1 of 1 node has it", first.command("put", "greeting", "good morning", "--ttl", "600"))
        before = json.loads(first.command("status", "--json"))
        first.process.kill()
        first.ended()
        second = NodeProcess(self, state_dir=state_dir, p2p_port=first.p2p_port)
        second.first_line()
        second.wait_until_member()
        self.assertEqual("good morning", second.command("get", "greeting"))
        after = json.loads(second.command("status", "--json"))
        self.assertEqual((before["key"], before["id"]), (after["key"], after["id"]))
        self.assertGreater(after["epoch"], before["epoch"])

    def test_unix_socket(self) -> None:
        """A node behind a Unix socket gives it the rights of its configuration, is reached there by every command, and
        starts again after kill -9, which leaves the socket behind; a second node does not take it meanwhile.
        """
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "api.sock"
        for mode in (0o600, 0o660):
            node = NodeProcess(self, api=f"unix:{path}", options=f"api_socket_mode = {mode:o}")
            self.assertIn(f"unix:{path}", node.first_line())
            node.wait_until_member()
            self.assertEqual(mode, stat.S_IMODE(path.stat().st_mode))
            node.command("put", "greeting", "good morning")
            self.assertEqual("good morning", node.command("get", "greeting"))
            status, written = NodeProcess(self, api=f"unix:{path}").ended()
            expected = f"Error: cannot listen on api_address unix:{path}: another process listens there\n"
            self.assertEqual((1, expected), (status, written))
            node.process.kill()
            node.ended()
            self.assertTrue(path.is_socket())

    def test_state_in_use(self) -> None:
        """Two nodes do not share a state directory: the second ends with one line that says who has it."""
        state_dir = self.enterContext(tempfile.TemporaryDirectory())
        first = NodeProcess(self, state_dir=state_dir)
        first.first_line()
        status, written = NodeProcess(self, state_dir=state_dir).ended()
        expected = f"Error: [dht] state_dir {state_dir}: in use by process {first.process.pid}\n"
        self.assertEqual((1, expected), (status, written))

    def test_second_signal(self) -> None:
        """A second signal ends a process at once that is stuck in its leaving."""
        program = (
            "import sys, time\n"
            "from twisted.internet import reactor\n"
            "from chordtwist.app.process import EndingSignals\n"
            "EndingSignals(reactor).install()\n"
            "def leave():\n"
            "    print('leaving', file=sys.stderr, flush=True)\n"
            "    while True: time.sleep(1)\n"
            "reactor.addSystemEventTrigger('before', 'shutdown', leave)\n"
            "reactor.callWhenRunning(print, 'running', file=sys.stderr, flush=True)\n"
            "reactor.run()\n"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stderr is not None
        self.assertEqual("running\n", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual("leaving\n", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, process.wait(HANGS_AFTER_S))
