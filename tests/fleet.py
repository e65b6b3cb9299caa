"""Many nodes as processes on loopback addresses of their own, and a client that knows nothing but sockets."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from click.testing import CliRunner

from chordtwist.app.cli.commands import main
from chordtwist.wire.api_messages import HEADER_BYTES, AnswerReader, Outcome, PutConfirmed

API_PORT, P2P_PORT = 7401, 6401
PUT, GET, SUCCESS, FAILURE, SHUTDOWN, STATUS, STATUS_PIECE = 650, 651, 652, 653, 654, 659, 660
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]

Key = bytes


def value_of(seed: int, length: int) -> bytes:
    """A value of `length` bytes that no two seeds share."""
    block = sha256(b"value %d" % seed).digest()
    return (block * (length // len(block) + 1))[:length]


class Client:
    """The course API over one plain socket."""

    def __init__(self, host: str, within_s: float = 60.0, port: int = API_PORT) -> None:
        self._socket = socket.create_connection((host, port), within_s)
        self._file = self._socket.makefile("rb")

    def put(self, key: Key, value: bytes, ttl_s: int = 0, replication: int = 0) -> None:
        """PUT; nothing is answered."""
        self._socket.sendall(struct.pack(">HHHBx", 40 + len(value), PUT, ttl_s, replication) + key + value)

    def put_confirmed(self, key: Key, value: bytes, ttl_s: int = 0) -> Outcome:
        """PUT CONFIRMED: what became of it."""
        self._socket.sendall(PutConfirmed(1, ttl_s, 0, key, value).pack())
        head = self._read(HEADER_BYTES)
        reader = AnswerReader()
        reader.feed(head + self._read(int.from_bytes(head[:2], "big") - HEADER_BYTES))
        outcome = reader.take()
        assert isinstance(outcome, Outcome), outcome
        return outcome

    def get(self, key: Key) -> bytes | None:
        """GET: the value, or None for FAILURE."""
        return self.get_many([key])[key]

    def get_many(self, keys: Sequence[Key]) -> dict[Key, bytes | None]:
        """Pipelined GETs; each key is answered exactly once."""
        self._socket.sendall(b"".join(struct.pack(">HH", 36, GET) + key for key in keys))
        found: dict[Key, bytes | None] = {}
        for _ in keys:
            size, kind = struct.unpack(">HH", self._read(4))
            body = self._read(size - 4)
            assert kind in (SUCCESS, FAILURE), kind
            assert body[:32] not in found, "answered twice"
            found[body[:32]] = body[32:] if kind == SUCCESS else None
        return found

    def shutdown(self) -> None:
        """SHUTDOWN: four bytes."""
        self._socket.sendall(struct.pack(">HH", 4, SHUTDOWN))

    def status(self) -> dict[str, object]:
        """The node's own state."""
        self._socket.sendall(struct.pack(">HHI", 8, STATUS, 1))
        text = b""
        last = False
        while not last:
            size, kind, _, last = struct.unpack(">HHI?", self._read(9))
            assert kind == STATUS_PIECE, kind
            text += self._read(size - 9)
        state: dict[str, object] = json.loads(text)
        return state

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def _read(self, length: int) -> bytes:
        raw = self._file.read(length)
        if len(raw) != length:
            raise ConnectionError("the node ended the connection")
        return raw


class Fleet:
    """Nodes started by ``twistd -n chord --config`` in processes of their own; all are ended on `close`.

    @ivar tls_options: of the nodes that are started from now on, besides the mode.
    @ivar limits, watch: of the same. @ivar prepare: called in their processes before they begin.
    @ivar environment: variables of their processes besides ours.
    @ivar measures_turns: whether nodes that are started from now on measure their turns (`tests.turns`).
    @ivar reactor: that of twistd for them; "": what twistd chooses.
    @ivar module: what runs those in place of ``twistd``, with its arguments.
    """

    def __init__(self, dht: Mapping[str, object] | None = None, tls: str = "open", prefix: str = "") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fleet-")
        self.folder = Path(self._folder.name)
        self._dht = dict(dht or {})
        self._tls = tls
        self.tls_options: dict[str, object] = {}
        self.limits: Mapping[str, object] = {}
        self.watch: Mapping[str, object] = {}
        self.environment: Mapping[str, str] = {}
        self.prepare: Callable[[], object] | None = None
        self.measures_turns = False
        self.reactor = ""
        self.module: Sequence[str] = ()
        # Fleets that run at the same time stay out of each other's way.
        self._prefix = prefix or f"127.{random.randrange(1, 255)}.{random.randrange(255)}."
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def numbers(self) -> list[int]:
        """The nodes that run."""
        return list(self.processes)

    def host(self, number: int) -> str:
        """The address of one node."""
        return f"{self._prefix}{number}"

    def log(self, number: int) -> str:
        """What a node wrote to standard error so far."""
        return (self.folder / f"{number}.log").read_text()

    def turns(self, number: int) -> Path:
        """Where a node writes how long its turns took."""
        return self.folder / f"{number}.turns"

    def start(self, numbers: Iterable[int], bootstrap: Sequence[int] = (1,), next_build: bool = False) -> None:
        """Start nodes that list the nodes `bootstrap`, of this build or of the next one."""
        for number in numbers:
            options: dict[str, object] = {
                "api_address": f"{self.host(number)}:{API_PORT}",
                "p2p_address": f"{self.host(number)}:{P2P_PORT}",
                "identity": "ip",
                "bootstrap_node": ", ".join(f"{self.host(other)}:{P2P_PORT}" for other in bootstrap),
                **self._dht,
            }
            config = self._config(number, options)
            chosen = ["--reactor", self.reactor] if self.reactor else []
            this = [str(BIN / "twistd"), *chosen, "-n", "--pidfile=", "chord", "--config", str(config)]
            upcoming = [sys.executable, "-m", "tests.next_build", "run", "-c", str(config)]
            if self.module:
                this = [sys.executable, "-m", *self.module, "run", "-c", str(config)]
            if self.measures_turns:
                this = [sys.executable, "-m", "tests.turns", str(self.turns(number)), "run", "-c", str(config)]
            self.processes[number] = self._run(number, upcoming if next_build else this)

    def _config(self, number: int, options: Mapping[str, object]) -> Path:
        config = self.folder / f"{number}.ini"
        lines = [f"{key} = {value}" for key, value in options.items() if key != "state_dir"]
        if options.get("state_dir"):
            lines.append(f"state_dir = {self.folder / f'state-{number}'}")
        tls = [f"{key} = {value}" for key, value in self.tls_options.items()]
        limits = [f"{key} = {value}" for key, value in self.limits.items()]
        watch = [f"{key} = {value}" for key, value in self.watch.items()]
        sections = ["[dht]", *lines, "[tls]", f"mode = {self._tls}", *tls, "[limits]", *limits, "[watch]", *watch, ""]
        config.write_text("\n".join(sections))
        return config

    def _run(self, number: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{number}.log", "ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self.prepare,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT), **self.environment},
            )

    def kill(self, numbers: Iterable[int]) -> None:
        """SIGKILL, all at once."""
        dead = [self.processes.pop(number) for number in numbers]
        for process in dead:
            process.send_signal(signal.SIGKILL)
        for process in dead:
            process.wait()

    def close(self) -> None:
        """End everything."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()
        self._folder.cleanup()

    def client(self, number: int, within_s: float = 30.0) -> Client:
        """A connection to the API of one node, waited for while its process starts."""
        ends = time.monotonic() + within_s
        while True:
            try:
                return Client(self.host(number))
            except OSError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)

    def statuses(self) -> dict[int, dict[str, object]]:
        """The state of every node."""
        states = {}
        for number in self.numbers:
            client = self.client(number)
            states[number] = client.status()
            client.close()
        return states

    def is_one_ring(self) -> bool:
        """Whether walking the first successors of all living nodes gives one ring of them, in the order of their ids,
        and every predecessor agrees.
        """
        states = list(self.statuses().values())
        if not all(state["member"] for state in states):
            return False
        states.sort(key=lambda state: str(state["id"]))
        addresses = [state["address"] for state in states]
        for index, state in enumerate(states):
            successors = state["successors"]
            assert isinstance(successors, list)
            if len(states) == 1:
                return not successors
            after, before = addresses[(index + 1) % len(states)], addresses[index - 1]
            if not successors or successors[0] != after or state["predecessor"] != before:
                return False
        return True

    def wait_for_ring(self, within_s: float) -> float:
        """Seconds until the living nodes are one ring; raises after `within_s`."""
        for number in self.numbers:
            self.client(number, within_s=60).close()
        answering = time.monotonic()
        while not self.is_one_ring():
            if time.monotonic() - answering > within_s:
                raise AssertionError(f"no ring after {within_s} s: {self.statuses()}")
            time.sleep(0.1)
        return time.monotonic() - answering

    def wait_until(self, is_so: Callable[[], bool], within_s: float) -> None:
        """Wait for a state of the nodes; raises with all that they wrote when it does not come."""
        ends_s = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > ends_s:
                raise AssertionError([self.log(number) for number in self.numbers])
            time.sleep(0.1)


class ClosedFleet(Fleet):
    """Nodes of a closed network, with the authority (``chordtwist certify``) that admits them."""

    def __init__(self) -> None:
        super().__init__(tls="closed")
        self.office = self.folder / "authority"
        self.certify("authority")

    def certify(self, *words: str) -> None:
        """Have the authority do something."""
        done = CliRunner().invoke(main, ["certify", *words, "-d", str(self.office)])
        assert done.exit_code == 0, done.output

    def admit(self, number: int, bootstrap: int = 1) -> None:
        """Give a node its certificate, and start it."""
        host = self.host(number)
        self.certify("node", host)
        files = {
            "authority": "authority.pem",
            "certificate": f"{host}.pem",
            "key": f"{host}.key",
            "revoked": "revoked.pem",
        }
        self.tls_options = {name: self.office / file for name, file in files.items()}
        self.start([number], [bootstrap])


class Herd(Fleet):
    """The same, with `per_process` nodes in each process (``chordtwist testnet``); killing ends a whole process."""

    def __init__(self, per_process: int, dht: Mapping[str, object] | None = None, tls: str = "open") -> None:
        super().__init__(dht, tls)
        self._per_process = per_process

    @property
    def numbers(self) -> list[int]:
        """The nodes that run."""
        return [
            group * self._per_process + node for group in self.processes for node in range(1, self._per_process + 1)
        ]

    def start(self, numbers: Iterable[int], bootstrap: Sequence[int] = (1,), next_build: bool = False) -> None:
        """Start processes, numbered from 0."""
        for group in numbers:
            config = self._config(group, self._dht)
            first, join = group * self._per_process + 1, self.host(bootstrap[0])
            here = ["--first", self.host(first), "--join", join, "-c", str(config)]
            self.processes[group] = self._run(
                group, [str(BIN / "chordtwist"), "testnet", str(self._per_process), *here]
            )


def free_port() -> int:
    """Draw a port that nobody listens on now, below those that the kernel gives to connections: it stays free."""
    given_out_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = secrets.choice(range(10_000, given_out_from))
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        return port
