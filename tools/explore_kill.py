"""Kill a process at random moments of a stream of confirmed puts, and look what the next one finds.

``python -m tools.explore_kill store|node [--rounds N] [--seed S]`` goes on for ever, or for N rounds, and prints a JSON
object every 20 rounds; a loss ends it with status 1, the seed, and the folder as it was found. ``store`` kills a
process that has nothing but a record store, ``node`` a whole node, written to and read through its API.

In each round a child is forked, puts records under a few hundred keys with 32 of them on their way, and is killed with
SIGKILL some milliseconds later, often before the first of them is safe. Then this process opens the directory: what
was confirmed is there, in that version or a newer one, with its life; and every value there is whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

from chordtwist.app.cli.run import command as run_command
from chordtwist.core.records import Record, RecordKind, Version
from chordtwist.core.ring import Arc
from chordtwist.storage.lmdb import LmdbRecordStore, WorkerThread
from chordtwist.storage.state import StateDirectory
from chordtwist.wire.api_messages import AnswerReader, Failure, Get, Outcome, PutConfirmed, ResultCode, Success
from tests.workers import InlineWorker, ReactorTurns

ROOT = Path(__file__).parent.parent
"""Where to start this."""

KEYS = [sha256(b"key %d" % n).digest() for n in range(300)]
IN_FLIGHT = 32
VALUE_BYTES_MAX = 65_495
START_S = 60.0
"""A node that does not answer by then does not start."""

STORE_SLACK_MS = 3
"""Both clocks are read twice, and the wall clock may be slewed."""

NODE_SLACK_MS = 3_000
"""From when the life was computed to when its answer was read, on a machine with better things to do."""


def wall_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def make_value(rng: random.Random, key: bytes) -> bytes:
    """A value that says itself whether it is whole: a number, and what follows from it and the key."""
    return value_of(key, rng.getrandbits(64).to_bytes(8, "big"))


def value_of(key: bytes, number: bytes) -> bytes:
    """The one value with this number under this key; most are small, some as large as the API carries."""
    digest = sha256(key + number).digest()
    length = 40 + digest[0] if digest[1] < 230 else 1 + int.from_bytes(digest[2:4], "big") % (VALUE_BYTES_MAX - 8)
    return number + (digest * (length // len(digest) + 1))[:length]


@dataclass(frozen=True)
class Confirmed:
    """What was promised of one put. `expiry_ms` is wall time."""

    version: Version
    number: bytes
    expiry_ms: int


class Lost(Exception):
    """A promise that was not kept."""


def put_for_ever(folder: Path, seed: int, writing: int) -> NoReturn:
    """What the child does of which nothing is left but a store: puts, and one line for each that is confirmed."""
    rng = random.Random(seed)
    begun_s = time.monotonic()

    def now_ms() -> int:
        # Each process has a steady clock of its own.
        return int((time.monotonic() - begun_s) * 1000) + seed % 1_000_000

    turns = ReactorTurns()
    state = StateDirectory(folder)
    store = LmdbRecordStore(state.records, WorkerThread(turns), now_ms, wall_ms)
    under_way = 0

    def put() -> None:
        nonlocal under_way
        under_way += 1
        key, ttl_ms = rng.choice(KEYS), rng.randrange(60_000, 3_600_000)
        # The version of a key grows over all processes, whatever their clocks.
        before = store.get(key)
        version = Version(1 if before is None else before.version.ms + 1, b"\x7f\0\0\1\x19\1")
        value = make_value(rng, key)
        # Both clocks at one time: when the wall clock has not moved meanwhile.
        at_ms = expiry_ms = 0
        while at_ms != wall_ms():
            at_ms, expiry_ms = wall_ms(), now_ms() + ttl_ms
        line = f"{key.hex()} {version.ms} {value[:8].hex()} {at_ms + ttl_ms}\n".encode()
        record = Record(key, value, RecordKind.PLAIN, version, expiry_ms, 4, tombstone_until_ms=expiry_ms + 5)
        store.put(record).addCallback(confirmed, line)
        if rng.random() < 0.1:
            store.remove(rng.choice(REMOVED_KEYS))
            store.put(
                Record(rng.choice(REMOVED_KEYS), value_of(b"", bytes(8)), RecordKind.PLAIN, version, expiry_ms, 4)
            )

    def confirmed(ignored: None, line: bytes) -> None:
        nonlocal under_way
        under_way -= 1
        os.write(writing, line)

    while True:
        while under_way < IN_FLIGHT:
            put()
        turns.turn()


REMOVED_KEYS = [sha256(b"removed %d" % n).digest() for n in range(50)]
"""Nothing is promised of these: they come and go, to make the file's life more interesting."""


def store_round(folder: Path, rng: random.Random, promised: dict[bytes, Confirmed]) -> int:
    """One child, one kill; answers how many puts were confirmed."""
    reading, writing = os.pipe()
    seed = rng.getrandbits(32)
    with child(lambda: put_for_ever(folder, seed, writing)) as pid:
        os.close(writing)
        first = os.read(reading, 1) if rng.random() < 0.8 else b""
        time.sleep(rng.random() ** 2 * 0.1)
        os.kill(pid, signal.SIGKILL)
        with open(reading, "rb") as lines:
            text = first + lines.read()
    confirmed = [line.split() for line in text.splitlines(keepends=True) if line.endswith(b"\n")]
    for key, version_ms, number, expiry_ms in confirmed:
        version = Version(int(version_ms), b"\x7f\0\0\1\x19\1")
        promise(promised, bytes.fromhex(key.decode()), version, bytes.fromhex(number.decode()), int(expiry_ms))
    check(folder, promised, STORE_SLACK_MS)
    return len(confirmed)


class NodeRounds:
    """A node on a loopback address that nobody else uses, started again and again on one directory."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._host = f"127.{rng.randrange(1, 255)}.{rng.randrange(255)}.{rng.randrange(1, 255)}"
        self._log = folder.with_name("node.log")
        self._config = folder.with_name("node.ini")
        self._config.write_text(
            f"[dht]\napi_address = {self._host}:7401\np2p_address = {self._host}:6401\nstate_dir = {folder}\n"
            "[tls]\nmode = off\n"
        )

    def round(self, folder: Path, rng: random.Random, promised: dict[bytes, Confirmed]) -> int:
        """One node, one kill; answers how many puts were confirmed."""
        with child(self._run) as pid:
            connection = self._connect()
            self._check_served(connection, promised)
            confirmed = self._put(connection, rng, rng.random() ** 2 * 0.2, pid)
        for key, outcome, number, answered_ms in confirmed:
            promise(promised, key, outcome.result.version, number, answered_ms + outcome.result.ttl_ms)
        check(folder, promised, NODE_SLACK_MS)
        return len(confirmed)

    def _run(self) -> None:
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        run_command.main(["-c", str(self._config)])

    def _connect(self) -> socket.socket:
        ends = time.monotonic() + START_S
        while True:
            try:
                return socket.create_connection((self._host, 7401), START_S)
            except OSError:
                if time.monotonic() > ends:
                    raise Lost(f"the node does not start again; see {self._log}") from None
                time.sleep(0.01)

    def _check_served(self, connection: socket.socket, promised: dict[bytes, Confirmed]) -> None:
        """The node itself has everything that was promised, as soon as it answers."""
        reader = AnswerReader()
        found: dict[bytes, bytes] = {}
        missing = set(promised)
        connection.sendall(b"".join(Get(key).pack() for key in promised))
        while missing:
            reader.feed(connection.recv(1 << 16) or no_more(self._log))
            while (answer := reader.take()) is not None:
                assert isinstance(answer, Success | Failure), answer
                missing.discard(answer.key)
                if isinstance(answer, Success):
                    found[answer.key] = answer.value
        for key, promise in promised.items():
            if promise.expiry_ms - NODE_SLACK_MS > wall_ms() and key not in found:
                raise Lost(f"the node does not have {key.hex()}, confirmed as {promise}")
        for key, value in found.items():
            if value != value_of(key, value[:8]):
                raise Lost(f"the node gave {len(value)} bytes for {key.hex()} that nobody put there")

    def _put(
        self, connection: socket.socket, rng: random.Random, seconds: float, pid: int
    ) -> list[tuple[bytes, Outcome, bytes, int]]:
        """Puts with many on their way, until the node is killed; what was answered, and when."""
        reader = AnswerReader()
        confirmed: list[tuple[bytes, Outcome, bytes, int]] = []
        asked: dict[int, tuple[bytes, bytes]] = {}
        count, ends, is_alive = 0, time.monotonic() + seconds, True
        waiting = bytearray()
        connection.setblocking(False)
        selector = selectors.DefaultSelector()
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while True:
            if is_alive and time.monotonic() >= ends:
                os.kill(pid, signal.SIGKILL)
                is_alive = False
            while is_alive and len(asked) < IN_FLIGHT and len(waiting) < 1 << 20:
                key = rng.choice(KEYS)
                value = make_value(rng, key)
                count += 1
                asked[count] = (key, value[:8])
                waiting += PutConfirmed(count, rng.randrange(60, 3_600), 0, key, value).pack()
            selector.select(0.01)
            with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                if waiting and is_alive:
                    del waiting[: connection.send(waiting)]
            try:
                raw = connection.recv(1 << 16)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                raw = b""
            if not raw:
                connection.close()
                if is_alive:
                    no_more(self._log)
                return confirmed
            reader.feed(raw)
            while (outcome := reader.take()) is not None:
                assert isinstance(outcome, Outcome), outcome
                key, number = asked.pop(outcome.request_id)
                if outcome.code is ResultCode.DONE:
                    confirmed.append((key, outcome, number, wall_ms()))


def no_more(log: Path) -> NoReturn:
    """The node ended a connection that it should have gone on serving."""
    raise Lost(f"the node ended the connection; see {log}")


def promise(promised: dict[bytes, Confirmed], key: bytes, version: Version, number: bytes, expiry_ms: int) -> None:
    """Note what was confirmed; of one key the newest counts."""
    if key not in promised or promised[key].version <= version:
        promised[key] = Confirmed(version, number, expiry_ms)


def check(folder: Path, promised: dict[bytes, Confirmed], slack_ms: int) -> None:
    """Open the directory that a killed process left, and compare.

    @raise Lost: a promise was not kept.
    """
    state = StateDirectory(folder)
    corrupt = [path.name for path in folder.rglob("*.corrupt-*")]
    if corrupt:
        raise Lost(f"set aside: {corrupt}")
    # On this clock, expiries are wall time.
    store = LmdbRecordStore(state.records, InlineWorker(), wall_ms, wall_ms)
    now_ms = wall_ms()
    for key, confirmed in promised.items():
        versioned = store.get(key)
        if versioned is None:
            if confirmed.expiry_ms + slack_ms > now_ms:
                raise Lost(f"{key.hex()} is gone: {confirmed}")
        elif versioned.version < confirmed.version:
            raise Lost(f"{key.hex()} is back at {versioned.version}: {confirmed}")
        elif versioned.version == confirmed.version and isinstance(versioned, Record):
            if versioned.value[:8] != confirmed.number:
                raise Lost(f"{key.hex()} has another value under its version: {confirmed}")
            if abs(versioned.expiry_ms - confirmed.expiry_ms) > slack_ms:
                raise Lost(f"{key.hex()} ends {versioned.expiry_ms - confirmed.expiry_ms} ms late: {confirmed}")
    for entry in store.scan(Arc(0, 0)):
        versioned = store.get(entry.key)
        if versioned is None:
            raise Lost(f"{entry.key.hex()} cannot be read")
        if (
            isinstance(versioned, Record)
            and entry.key in KEYS
            and versioned.value != value_of(entry.key, versioned.value[:8])
        ):
            raise Lost(f"{entry.key.hex()} is only half there: {len(versioned.value)} bytes")
    store.close()
    state.close()


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A forked process that works; dead when the block is left."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def main() -> None:
    """Round after round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["store", "node"])
    parser.add_argument("--rounds", type=int, default=0, help="0, the default: for ever")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one")
    arguments = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    rng = random.Random(seed)
    root = Path(tempfile.mkdtemp(prefix="explore-kill-"))
    folder = root / "state"
    promised: dict[bytes, Confirmed] = {}
    one_round = store_round if arguments.what == "store" else NodeRounds(folder, rng).round
    count, confirmed, begun_s = 0, 0, time.monotonic()
    while count < arguments.rounds or not arguments.rounds:
        try:
            confirmed += one_round(folder, rng, promised)
        except Lost as lost:
            sys.exit(f"round {count} of seed {seed}: {lost}\n{root} is as it was found")
        count += 1
        if count % 20 == 0 or count == arguments.rounds:
            took_s = round(time.monotonic() - begun_s, 1)
            line = {"what": arguments.what, "seed": seed, "rounds": count, "confirmed": confirmed, "lost": 0}
            print(json.dumps({**line, "took_s": took_s}), flush=True)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
