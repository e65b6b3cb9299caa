"""What commands show of a ring of processes in trouble: one was killed, one is paused, one has a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import SkipTest

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli.shapes import SHAPES
from chordtwist.wire.api_messages import ResultCode
from tests.fleet import API_PORT, BIN, P2P_PORT
from tests.live.test_processes import NodeProcess
from tests.nursery import ForkedFleet

NODES = 25
KILLED, PAUSED, FULL = 7, 12, 19
ASKED = 3
"""Whom the commands ask."""

DISK_KIB = 600
WITHIN_S = 180.0
"""Far beyond what any step takes: a busy machine decides no test."""

KEYS = [b"key %d" % number for number in range(40)]


class TroubleTests(SynchronousTestCase):
    """Twenty-five processes. All in one test: to form the ring takes most of the time."""

    def setUp(self) -> None:
        self.fleet = ForkedFleet({"successors": 8, "stabilize_interval": 0.5}, tls="off")
        self.addCleanup(self.fleet.close)
        state = self.fleet.folder / f"state-{FULL}"
        self.fleet.start(number for number in range(1, NODES + 1) if number not in (FULL, ASKED))
        self.start_with_state(ASKED, self.fleet.folder / f"state-{ASKED}")
        self.mount(state)
        self.start_with_state(FULL, state)
        self.fleet.wait_for_ring(WITHIN_S)

    def start_with_state(self, number: int, state: Path) -> None:
        self.fleet._dht["state_dir"] = True
        self.fleet.start([number])
        del self.fleet._dht["state_dir"]

    def mount(self, state: Path) -> None:
        """A small disk of its own for one node."""
        state.mkdir()
        mount = shutil.which("mount")
        size = f"size={DISK_KIB}k,mode=700"
        if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", size, "tmpfs", state], check=False).returncode:
            raise SkipTest("a disk cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(state)], check=True)

    def fill(self, number: int) -> None:
        """Leave not a byte on the disk of a node."""
        path = self.fleet.folder / f"state-{number}" / "filler"
        with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def address(self, number: int) -> str:
        return f"{self.fleet.host(number)}:{P2P_PORT}"

    def command(self, *words: str, number: int = ASKED, typed: str | None = None) -> subprocess.CompletedProcess[str]:
        """What a command says when it asks a node."""
        api = f"{self.fleet.host(number)}:{API_PORT}"
        asked = [f"{BIN}/chordtwist", *words, "--api", api]
        return subprocess.run(asked, capture_output=True, text=True, timeout=60, input=typed)

    def shown(self, shape: str, *words: str, number: int = ASKED) -> Any:
        shown = json.loads(self.command(*words, "--json", number=number).stdout)
        msgspec.convert(shown, SHAPES[shape])
        return shown

    def test_each_shows_what_is_true(self) -> None:
        """ring, trace, inspect, doctor, export, import and watch tell of the dead, the silent and the full what is so,
        while it is so and when the ring has healed.
        """
        # Neighbours are right by now; lists are so down to their ends a moment later.
        self.fleet.wait_until(lambda: self.command("ring", "--check").returncode == 0, WITHIN_S)
        whole = self.shown("ring", "ring")
        self.assertEqual((len(whole["members"]), whole["closes"], whole["faults"]), (NODES, True, []))
        for name in KEYS:
            self.put(name, b"before")
        watching = self.watch(KEYS[0].decode())
        old = self.exported("old")

        self.fleet.processes[PAUSED].send_signal(signal.SIGSTOP)
        self.addCleanup(self.go_on)
        self.fleet.kill([KILLED])
        self.fill(FULL)
        gone = {self.address(KILLED), self.address(PAUSED)}

        broken = self.shown("ring", "ring")
        living = {member["address"] for member in broken["members"]}
        self.assertEqual(len(living), NODES - 2)
        # On a busy machine the others may have found one out by now.
        silent = {silent["address"] for silent in broken["silent"]}
        self.assertLessEqual(silent, gone)
        if silent:
            self.assertEqual({fault.split()[0] for fault in broken["faults"][: len(silent)]}, silent)
        self.see_the_silent(gone)
        self.see_the_full_disk()

        for name in KEYS:
            self.put(name, b"after")
        self.fleet.wait_until(lambda: self.is_healed(), WITHIN_S)
        self.fleet.wait_until(lambda: self.see_replicas(gone), WITHIN_S)
        self.restore_old(old)
        self.assertEqual(self.events_of(watching), ["is", "put"])

    def put(self, name: bytes, value: bytes) -> None:
        client = self.fleet.client(ASKED)
        outcome = client.put_confirmed(sha256(name).digest(), value, 600)
        client.close()
        self.assertIs(outcome.code, ResultCode.DONE, outcome.reason)

    def is_healed(self) -> bool:
        ring = self.shown("ring", "ring")
        return bool(ring["closes"] and not ring["faults"]) and len(ring["members"]) == NODES - 2

    def see_the_silent(self, gone: set[str]) -> None:
        """Of those who are gone no question comes back with a table."""
        for name in KEYS[:12]:
            trace = self.shown("trace", "trace", name.decode())
            showed = {step["address"] for step in trace["steps"] if step["outcome"] == "table"}
            self.assertFalse(showed & gone, trace)

    def see_the_full_disk(self) -> None:
        """The doctor of the full one says so; that of another finds nothing of the kind on its own disk."""
        full = self.shown("doctor", "doctor", "-c", str(self.fleet.folder / f"{FULL}.ini"), number=FULL)
        states = {finding["check"]: finding for finding in full["findings"]}
        self.assertEqual(states["disk"]["state"], "bad", full)
        self.assertIn("No space left on device", states["disk"]["found"])
        self.assertEqual(
            self.command("doctor", "-c", str(self.fleet.folder / f"{FULL}.ini"), number=FULL).returncode, 1
        )
        well = self.shown("doctor", "doctor", "-c", str(self.fleet.folder / f"{ASKED}.ini"))
        self.assertEqual({f["state"] for f in well["findings"] if f["check"] == "disk"}, {"good"})
        self.assertEqual({f["state"] for f in well["findings"] if f["check"].endswith("_address")}, {"good"})
        dead = self.command("doctor", number=KILLED)
        self.assertEqual(dead.returncode, 1)
        self.assertIn("no node answers there", dead.stdout)

    def see_replicas(self, gone: set[str]) -> bool:
        """A reader gets the new value of every key, and nobody who is gone is a replica; whether all living replicas
        have it but, perhaps, the full one, for which others stand in.
        """
        others = []
        for name in KEYS[:12]:
            seen = self.shown("inspect", "inspect", name.decode())
            self.assertTrue(seen["reader"]["found"], seen)
            self.assertEqual(seen["reader"]["sha256"], sha256(b"after").hexdigest())
            self.assertFalse(gone & {replica["address"] for replica in seen["replicas"]}, seen)
            others += [replica for replica in seen["replicas"] if replica["address"] != self.address(FULL)]
        self.assertGreater(len(others), 30)
        return all((replica["state"], replica["behind"]) == ("has", False) for replica in others)

    def exported(self, name: str) -> Path:
        path = self.fleet.folder / f"{name}.ndjson"
        shown = self.shown("export", "export", str(path))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        records = [line for line in map(json.loads, path.read_text().splitlines()) if "key" in line]
        self.assertEqual(shown["records"], len(records))
        keys = {sha256(key).hexdigest() for key in KEYS}
        mine = [record for record in records if record["key"] in keys]
        self.assertGreater(len(mine), 0)
        return path

    def restore_old(self, path: Path) -> None:
        """An old backup changes nothing; over plain TCP, from a node without a token, nothing is told or taken."""
        restored = self.command("import", str(path), "--json")
        told = json.loads(restored.stdout)
        msgspec.convert(told, SHAPES["import"])
        self.assertEqual((restored.returncode, told["refused"], told["complete"]), (0, [], True), restored)
        records = [line for line in map(json.loads, path.read_text().splitlines()) if "key" in line]
        self.assertEqual(told["newer"] + told["restored"] + told["ended"], len(records))
        ours = {sha256(key).hexdigest() for key in KEYS}
        self.assertGreaterEqual(told["newer"], sum(record["key"] in ours for record in records))
        for name in KEYS[:5]:
            self.assertEqual(self.command("get", name.decode(), number=5).stdout, "after")
        refused = self.command("export", number=5)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn("this is for the operator: it needs a Unix socket", refused.stderr)

    def watch(self, name: str) -> subprocess.Popen[str]:
        """A watch in a process of its own, until it has told two events."""
        asked = ["watch", name, "--json", "--every", "0.2", "--count", "2", "--api", f"{self.fleet.host(5)}:{API_PORT}"]
        watching = subprocess.Popen([f"{BIN}/chordtwist", *asked], stdout=subprocess.PIPE, text=True)
        self.addCleanup(watching.communicate)
        self.addCleanup(watching.kill)
        time.sleep(1.0)
        return watching

    def events_of(self, watching: subprocess.Popen[str]) -> list[str]:
        lines = [json.loads(line) for line in watching.communicate(timeout=30)[0].splitlines()]
        for line in lines:
            msgspec.convert(line, SHAPES["watch"])
        return [line["event"] for line in lines]

    def go_on(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.fleet.processes[PAUSED].pid, signal.SIGCONT)


class NumbersTests(SynchronousTestCase):
    """One node, in a process of its own."""

    def test_bench(self) -> None:
        """A node is measured by several clients at once; what they read is right, and a saved result is compared."""
        node = NodeProcess(self)
        node.first_line()
        node.wait_until_member()
        saved = Path(self.mktemp())
        words = "--seconds", "0.5", "--clients", "3", "--value-bytes", "2000"
        measured = json.loads(node.command("bench", *words, "--save", str(saved), "--json"))
        msgspec.convert(measured, SHAPES["bench"])
        self.assertEqual(measured["right_percent"], 100.0)
        self.assertGreater(measured["puts"]["done"], 5)
        self.assertGreater(measured["gets"]["done"], 5)
        self.assertEqual(json.loads(saved.read_text()), measured)
        self.assertIn("the median", node.command("bench", *words, "--compare", str(saved)))
        looks = [
            json.loads(line) for line in node.command("top", "--count", "2", "--every", "0.2", "--json").splitlines()
        ]
        for look in looks:
            msgspec.convert(look, SHAPES["top"])
        self.assertGreater(looks[1]["records"], 0)

    def test_operator_over_a_unix_socket(self) -> None:
        """Whoever may use the Unix socket is the operator: no token is needed, nor is there one without a state_dir."""
        path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "api.sock"
        node = NodeProcess(self, api=f"unix:{path}")
        node.first_line()
        node.wait_until_member()
        node.command("put", "greeting", "good morning")
        lines = [json.loads(line) for line in node.command("export").splitlines()]
        self.assertEqual([line["key"] for line in lines if "key" in line], [sha256(b"greeting").hexdigest()])
        backup = path.with_name("backup.ndjson")
        backup.write_text("".join(json.dumps(line) + "\n" for line in lines))
        restored = json.loads(node.command("import", str(backup), "--json"))
        self.assertEqual((restored["restored"], restored["newer"], restored["complete"]), (1, 0, True))
        self.assertIn("are in use as they stand there now", node.command("reload"))
        self.assertIsInstance(node.command("events"), str)
