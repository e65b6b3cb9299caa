"""top, state check and bench: what they show of numbers, and of a disk."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli import bench, top
from chordtwist.app.cli.commands import main
from chordtwist.app.cli.shapes import SHAPES
from chordtwist.core.records import Record, RecordKind, Tombstone, Version
from chordtwist.storage.lmdb import LmdbRecordStore
from chordtwist.storage.state import StateDirectory
from tests.test_cli_tools import ToolsTestCase
from tests.workers import InlineWorker

ENDS_MS = 3_600_000
"""An hour from the time of the store, which is ten seconds ago."""


def before_now_ms() -> int:
    """Read the wall clock of a store that was written a moment ago."""
    return time.time_ns() // 1_000_000 - 10_000


class TopTests(ToolsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dht.state = {
            "member": True,
            "health": "well",
            "address": "10.0.0.1:6401",
            "successors": ["10.0.0.2:6401"],
            "silent": [],
            "records": 3,
            "bytes": 2048,
            "lookups": {"asked": 10, "hops": 20, "questions": 30},
            "links": {"bytes": 1000, "oldest_s": 1.5},
            "repair": {"rounds": 7},
            "events": [{"at_ms": 1, "text": "somebody came"}],
        }

    def test_lines(self) -> None:
        """Without a terminal there is a line for each look; counters are told with what they grow by in a second."""
        asked = iter([10, 14, 14])
        status = self.dht.status

        def state() -> dict[str, object]:
            self.dht.state["lookups"] = {"asked": next(asked), "hops": 20, "questions": 30}
            return status()

        self.dht.status = state  # type: ignore[method-assign]
        shown = self.command(top.command, "--count", "3", "--json")
        looks = [json.loads(line) for line in shown.stdout.splitlines()]
        for look in looks:
            msgspec.convert(look, SHAPES["top"])
        self.assertEqual([look["per_second"].get("lookups asked") for look in looks], [None, 2.0, 0.0])
        self.assertEqual(looks[0]["counters"]["repair rounds"], 7)
        self.assertNotIn("links oldest_s", looks[0]["counters"])

    def test_goes_on(self) -> None:
        """Each look has its whole time: it goes on for longer than one may take."""
        shown = self.command(top.command, "--count", "20", "--every", "2", "--timeout", "30")
        self.assertEqual((shown.exit_code, len(shown.stdout.splitlines())), (0, 20))
        self.assertEqual(self.clock.seconds(), 38.0)

    def test_plain(self) -> None:
        """A line for people says how it is, what it keeps, and how many are silent."""
        shown = self.command(top.command, "--count", "1")
        self.assertEqual(shown.stdout, "well; 3 records, 2.0 KiB; 0 lookups/s; 0 silent\n")

    def test_picture(self) -> None:
        """On a terminal all counters stand in a table, with the last events below."""
        from chordtwist.app.cli import showing

        seen = top._seen(self.dht.state, self.dht.state, 2.0)
        to = showing.console()
        with to.capture() as captured:
            to.print(top._picture(seen, self.dht.state))
        self.assertIn("10.0.0.1:6401  well", captured.get())
        self.assertIn("lookups asked", captured.get())
        self.assertIn("somebody came", captured.get())


class StateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        directory = StateDirectory(self.path)
        directory.node_key()
        directory.operator_token()
        directory.next_epoch(before_now_ms())
        store = LmdbRecordStore(directory.records, InlineWorker(), lambda: 0, before_now_ms)
        for number in range(5):
            store.put(self.record(number))
        store.put(Tombstone(b"t" * 32, Version(1, b""), ENDS_MS, 4))
        store.put(Record(b"e" * 32, b"over", RecordKind.PLAIN, Version(1, b""), 1, 4))
        self.successResultOf(store.close())
        directory.close()

    def record(self, number: int) -> Record:
        return Record(sha256(b"%d" % number).digest(), b"value", RecordKind.PLAIN, Version(1, b""), ENDS_MS, 4)

    def check(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["state", "check", str(self.path), *words])

    def shown(self) -> dict[str, Any]:
        shown = json.loads(self.check("--json").stdout)
        msgspec.convert(shown, SHAPES["state-check"])
        return dict(shown)

    def test_right(self) -> None:
        """All that stands there is counted, and nothing is changed."""
        before = {path: path.read_bytes() for path in self.path.rglob("*") if path.is_file()}
        shown = self.shown()
        self.assertEqual((shown["records"], shown["bytes"], shown["tombstones"], shown["ended"]), (5, 25, 1, 1))
        self.assertEqual(set(shown["files"]), {"format", "epoch", "node-key", "operator-token", "records"})
        self.assertEqual((shown["right"], self.check().exit_code), (True, 0))
        self.assertEqual({path: path.read_bytes() for path in self.path.rglob("*") if path.is_file()}, before)

    def test_in_use(self) -> None:
        """While a node uses it nothing is looked at: it is named."""
        directory = StateDirectory(self.path)
        self.addCleanup(directory.close)
        shown = self.check()
        self.assertEqual(shown.exit_code, 1)
        self.assertIn("in use by process", shown.stderr)

    def test_none(self) -> None:
        """A folder that is no state directory is told as such, and nothing is made in it."""
        self.path = Path(self.mktemp())
        self.path.mkdir()
        shown = self.check()
        self.assertEqual((shown.exit_code, list(self.path.iterdir())), (1, []))
        self.assertIn("is no state directory of a node", shown.stderr)

    def test_faults(self) -> None:
        """A small file that makes no sense, and a key that others may read, are told; so is a file that was cut."""
        (self.path / "epoch").write_text("soon")
        (self.path / "node-key").chmod(0o644)
        faults = self.shown()["faults"]
        self.assertEqual(faults, ["epoch: no number that was ever written", "node-key: others can read it"])
        data = self.path / "records" / "data.mdb"
        data.write_bytes(data.read_bytes()[:8192])
        self.assertIn("are only the beginning of it", self.shown()["faults"][-1])
        data.write_bytes(b"\xff" * 65_536)
        self.assertTrue(self.shown()["faults"][-1].startswith("records: "))
        self.assertEqual(self.check().exit_code, 1)

    def test_damaged(self) -> None:
        """A record whose hash does not fit is named."""
        directory = StateDirectory(self.path)
        store = LmdbRecordStore(directory.records, InlineWorker(), lambda: 0, before_now_ms)
        store.put(Record(b"c" * 32, b"other", RecordKind.CONTENT, Version(1, b""), ENDS_MS, 4))
        self.successResultOf(store.close())
        directory.close()
        shown = self.shown()
        self.assertEqual(shown["damaged"], [{"key": (b"c" * 32).hex(), "reason": "its hash or signature does not fit"}])
        self.assertEqual((shown["records"], shown["right"]), (5, False))


class BenchTests(ToolsTestCase):
    """What is shown; what is measured is asked of a process, in tests/live."""

    def result(self, p50_ms: float, **changes: object) -> dict[str, Any]:
        measured = {"done": 9, "per_second": 90.0, "p50_ms": p50_ms, "p99_ms": 5.0, "p999_ms": 9.0}
        measured |= {"failed": 0, "wrong": 0}
        return {
            "api": "127.0.0.1:7401",
            "seconds": 0.1,
            "clients": 8,
            "value_bytes": 100,
            "puts": measured,
            "gets": measured | changes,
            "right_percent": 100.0,
        }

    def shown_of(self, now: dict[str, Any], before: dict[str, Any] | None) -> str:
        from chordtwist.app.cli import showing

        to = showing.console()
        self.patch(showing, "console", lambda err=False: to)
        with to.capture() as captured:
            bench._show(now, before)
        return captured.get()

    def test_compared(self) -> None:
        """Beside an earlier result it is said whether it is slower, faster, or as before within the noise."""
        for before_ms, said in (1.0, "slower, 2.00"), (1.9, "as before, 1.05"), (4.0, "faster, 0.50"):
            self.assertIn(said, self.shown_of(self.result(2.0), self.result(before_ms)))
        other = self.result(2.0) | {"clients": 1}
        self.assertIn("were not measured alike", self.shown_of(self.result(2.0), other))
        self.assertNotIn("before", self.shown_of(self.result(2.0), None))

    def test_no_result(self) -> None:
        """A file that holds no result is bad usage."""
        path = Path(self.mktemp())
        for text in ("", "[]", "{}", '{"puts": {}, "gets": 1}'):
            path.write_text(text)
            shown = self.command(bench.command, "--compare", str(path))
            self.assertEqual(shown.exit_code, 2)
            self.assertIn("is no result that --save has kept", shown.stderr)

    def test_percentiles(self) -> None:
        """The median, and what one in a hundred and one in a thousand exceeds."""
        tally = bench.Tally([number / 1000 for number in range(1000, 0, -1)], wrong=1, failed=2)
        summed = tally.summary(10.0)
        self.assertEqual((summed["p50_ms"], summed["p99_ms"], summed["p999_ms"]), (501.0, 991.0, 1000.0))
        self.assertEqual((summed["done"], summed["per_second"]), (1002, 100.2))
        self.assertIsNone(bench.Tally().summary(1.0)["p50_ms"])
