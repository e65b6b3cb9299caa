"""export, import, watch, completion and doctor against answers that the test gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from click.testing import CliRunner
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app import checkup
from chordtwist.app.cli import doctor, export, import_, watch
from chordtwist.app.cli.commands import main
from chordtwist.app.cli.shapes import SHAPES
from chordtwist.app.config_file import read_text
from chordtwist.core.records import key_of
from chordtwist.net.operating import Tell
from tests.test_cli_tools import PINGED, RING, ToolsTestCase

HEAD = {"backup": 1, "network": "test", "node": "10.0.0.1:6401", "at_ms": 1, "own": False}


NOTHING = "answered with nothing: its log has the reason"


def record(number: int, value: str = "dmFsdWU=") -> dict[str, Any]:
    """A line of a backup."""
    return {"key": f"{number:064x}", "kind": "plain", "value": value}


class ExportTests(ToolsTestCase):
    def test_file(self) -> None:
        """A backup stands in its file as a whole, for its owner alone; standard output gets it line by line."""
        self.answers["export"] = [HEAD, record(1), record(2), {"records": 2}]
        path = Path(self.mktemp())
        shown = self.command(export.command, str(path))
        self.assertEqual((shown.exit_code, shown.stdout), (0, f"{path}: 2 records\n"))
        self.assertEqual([json.loads(line) for line in path.read_text().splitlines()], self.answers["export"])
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        piped = self.command(export.command, "--own")
        self.assertEqual(piped.stdout, path.read_text())
        self.assertEqual(self.requests[-1], {"do": "export", "own": True})
        msgspec.convert(json.loads(self.command(export.command, str(path), "--json").stdout), SHAPES["export"])

    def test_cut_short(self) -> None:
        """A node that ends in the midst leaves the file that was there, and nothing else."""
        path = Path(self.mktemp())
        path.write_text("yesterday")
        self.answers["export"] = [HEAD, record(1)]
        shown = self.command(export.command, str(path))
        self.assertEqual(shown.exit_code, 3)
        self.assertIn("the backup is not whole", shown.stderr)
        self.assertEqual((path.read_text(), list(path.parent.glob(f"{path.name}*"))), ("yesterday", [path]))

    def test_remains(self) -> None:
        """What a crash left behind is not written to, wherever it leads."""
        self.answers["export"] = [HEAD, {"records": 0}]
        path, other = Path(self.mktemp()), Path(self.mktemp())
        other.write_text("of somebody else")
        path.with_name(f"{path.name}.new").symlink_to(other.absolute())
        self.assertEqual(self.command(export.command, str(path)).exit_code, 0)
        self.assertEqual((other.read_text(), path.is_symlink()), ("of somebody else", False))


class ImportTests(ToolsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: dict[str, Any] = {"restored": 1, "newer": 0, "ended": 0, "refused": []}
        self.answers["import"] = [self.told]

    def file(self, *lines: object) -> str:
        path = Path(self.mktemp())
        path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
        return str(path)

    def test_batches(self) -> None:
        """Records go out in batches that fit into a request; what became of all of them is summed up."""
        long = b64encode(bytes(65_000)).decode()
        records = [record(number, long) for number in range(5)] + [record(number) for number in range(5, 200)]
        path = self.file(HEAD, *records, {"records": 200})
        shown = self.command(import_.command, path, "--json")
        outcome = json.loads(shown.stdout)
        msgspec.convert(outcome, SHAPES["import"])
        sent = [request["records"] for request in self.requests]
        self.assertEqual([line for batch in sent for line in batch], records)
        self.assertLess(max(len(json.dumps(batch)) for batch in sent), 250_000)
        self.assertLessEqual(max(map(len, sent)), 64)
        self.assertEqual((shown.exit_code, outcome["restored"], outcome["complete"]), (0, len(sent), True))

    def test_several_behind_one_another(self) -> None:
        """The backups of several nodes may be joined."""
        path = self.file(HEAD, record(1), {"records": 1}, HEAD, record(2), {"records": 1})
        self.assertEqual(self.command(import_.command, path).exit_code, 0)
        self.assertEqual(len(self.requests[0]["records"]), 2)

    def test_several_files(self) -> None:
        """Several backups may be named; each needs its last line."""
        first, second = self.file(HEAD, record(1), {"records": 1}), self.file(HEAD, record(2), {"records": 1})
        self.assertEqual(self.command(import_.command, first, second).exit_code, 0)
        self.assertEqual(self.requests[0]["records"], [record(1), record(2)])
        for cut in self.file(HEAD, record(3)), self.file():
            shown = self.command(import_.command, cut, first)
            self.assertEqual(shown.exit_code, 1)
            self.assertIn("cut short", shown.stderr)

    def test_refused(self) -> None:
        """Status 1 when a record was refused; its key and the reason are told."""
        self.told["refused"] = [{"key": f"{number:064x}", "reason": "wrong"} for number in range(12)]
        shown = self.command(import_.command, self.file(HEAD, record(1), {"records": 1}))
        self.assertEqual(shown.exit_code, 1)
        self.assertIn(f"{0:064x}: wrong", shown.stderr)
        self.assertIn("and 2 more", shown.stderr)

    def test_cut_short(self) -> None:
        """A backup without its last line is restored as far as it goes, and that is said, with status 1."""
        shown = self.command(import_.command, self.file(HEAD, record(1)))
        self.assertEqual((shown.exit_code, len(self.requests)), (1, 1))
        self.assertIn("cut short", shown.stderr)

    def test_first_part_cut_short(self) -> None:
        """Of backups behind one another each needs its last line."""
        path = self.file(HEAD, record(1), HEAD, record(2), {"records": 1})
        shown = self.command(import_.command, path, "--json")
        self.assertEqual((shown.exit_code, json.loads(shown.stdout)["complete"]), (1, False))
        self.assertEqual(self.requests[0]["records"], [record(1), record(2)])
        self.assertIn("cut short", self.command(import_.command, path).stderr)

    def test_no_backup(self) -> None:
        """What is no backup is refused with its line, before anything of it is sent."""
        for lines, said in (
            (("hello\n",), "line 1: is no line of a backup"),
            ((record(1),), "line 1: no backup opens here"),
            ((HEAD | {"backup": 2},), "line 1: a backup of format 2: of a newer build"),
            ((HEAD, record(1), "[" * 100_000 + "\n"), "line 3: is no line of a backup"),
        ):
            shown = self.command(import_.command, self.file(*lines))
            self.assertEqual(shown.exit_code, 2)
            self.assertIn(said, shown.stderr)
        self.assertEqual(self.requests, [])


class WatchTests(ToolsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.versions: list[dict[str, Any]] = []

    def operate(self, text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]:
        self.requests.append(json.loads(text))
        found = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        tell(json.dumps({"key": key_of("greeting").hex(), **found}).encode())
        return succeed(None)

    def found(self, version: str, value: bytes) -> dict[str, Any]:
        return {
            "found": True,
            "version": version,
            "ttl_ms": 60_000,
            "kind": "plain",
            "copies": 4,
            "bytes": len(value),
            "value_base64": b64encode(value).decode(),
        }

    def test_changes(self) -> None:
        """What stands there is told first, then each change, once; the version that is known is told to the node."""
        one, two = self.found("1-aa", b"one"), self.found("2-aa", b"three")
        self.versions = [one, one, two, two, {"found": False}, two]
        shown = self.command(watch.command, "greeting", "--count", "4", "--json")
        events = [json.loads(line) for line in shown.stdout.splitlines()]
        for event in events:
            msgspec.convert(event, SHAPES["watch"])
        self.assertEqual(
            [(event["event"], event.get("version")) for event in events],
            [("is", "1-aa"), ("put", "2-aa"), ("gone", None), ("put", "2-aa")],
        )
        self.assertEqual([request["known"] for request in self.requests], ["", "1-aa", "1-aa", "2-aa", "2-aa", ""])
        self.assertEqual(self.clock.seconds(), 5.0)

    def test_told_to_people(self) -> None:
        """A line says how much is there, and for how long."""
        self.versions = [{"found": False}, self.found("1-aa", b"one"), {"found": False}]
        shown = self.command(watch.command, "greeting", "--count", "3")
        words = [line.split(")  ", 1)[1] for line in self.lines(shown)]
        self.assertEqual(
            words, ["nothing stands there", "put: 3 bytes, for 60 s", "gone: it was deleted, or has ended"]
        )

    def test_command(self) -> None:
        """A command of the shell runs at each change, with the value on its input; what is put is never part of it."""
        out = Path(self.mktemp())
        self.versions = [self.found("1-aa", b"$(touch hacked); one\n"), {"found": False}]
        run = f'(echo "$CHORDTWIST_EVENT $CHORDTWIST_VERSION"; cat) >> {out}; exit 3'
        shown = self.command(watch.command, "greeting", "--count", "2", "--exec", run)
        self.assertEqual(out.read_text(), "is 1-aa\n$(touch hacked); one\ngone \n")
        self.assertFalse(Path("hacked").exists())
        self.assertEqual(shown.stderr.count("the command ended with status 3"), 2)

    def test_goes_on(self) -> None:
        """Each look has its whole time, however far apart they are, and however long a command runs."""
        self.versions = [self.found("1-aa", b"one"), self.found("2-aa", b"two"), {"found": False}]

        def run(*words: object, **given: object) -> SimpleNamespace:
            self.clock.advance(40)
            return SimpleNamespace(returncode=0)

        self.patch(subprocess, "run", run)
        shown = self.command(watch.command, "greeting", "--count", "3", "--every", "20", "--timeout", "10")
        self.assertEqual((shown.exit_code, shown.stderr, len(self.lines(shown))), (0, "", 3))
        self.versions = [self.found("1-aa", b"one"), {"found": False}]
        shown = self.command(watch.command, "greeting", "--count", "2", "--exec", "true")
        self.assertEqual((shown.exit_code, shown.stderr, len(self.lines(shown))), (0, "", 2))

    def test_node_gone_meanwhile(self) -> None:
        """A node that goes away is tried again, and said so; one that was never there ends it with status 3."""
        self.versions = [self.found("1-aa", b"one"), self.found("2-aa", b"two")]
        asked = self.operate
        turns = iter([True, False, True])

        def operate(text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]:
            if not next(turns):
                for connection in list(self.door._door._connections):
                    connection.abort()
                return Deferred()
            return asked(text, is_operators, tell)

        self.door._door.operate = operate
        shown = self.command(watch.command, "greeting", "--count", "2")
        self.assertEqual(shown.exit_code, 0)
        self.assertIn("trying on", shown.stderr)
        self.door.is_there = False
        self.assertEqual(self.command(watch.command, "greeting").exit_code, 3)


class CompletionTests(SynchronousTestCase):
    def script(self, shell: str) -> str:
        return CliRunner().invoke(main, ["completion", shell]).stdout

    def completed(self, *words: str) -> set[str]:
        """What bash offers for the last word."""
        bash = shutil.which("bash")
        if bash is None:
            self.skipTest("needs bash")
        typed = " ".join(f"'{word}'" for word in words)
        call = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _chordtwist"
        program = f"{self.script('bash')}\n{call}; echo ${{COMPREPLY[@]}}"
        ran = subprocess.run([bash, "-c", program], capture_output=True, text=True, check=True)
        return set(ran.stdout.split())

    def test_bash(self) -> None:
        """Commands, words behind groups, and options are completed."""
        self.assertLessEqual({"ring", "run"}, self.completed("chordtwist", "r"))
        self.assertEqual(self.completed("chordtwist", "config", "ch"), {"check"})
        self.assertEqual(self.completed("chordtwist", "ring", "--sv"), {"--svg"})
        self.assertEqual(self.completed("chordtwist", "ring", "--check", "--js"), {"--json"})
        self.assertEqual(self.completed("chordtwist", "config", "show", "--con"), {"--config"})
        self.assertEqual(self.completed("chordtwist", "nonsense", "--he"), {"--help"})

    def test_other_shells(self) -> None:
        """zsh reads the same list; fish gets a line for each option."""
        self.assertTrue(self.script("zsh").startswith("#compdef chordtwist\n"))
        fish = self.script("fish")
        self.assertIn("complete -c chordtwist -n '__fish_seen_subcommand_from ring' -l svg -d", fish)
        self.assertIn("-a import -d", fish)


class DoctorTests(ToolsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dht.state = {"member": True, "health": "well", "alarms": []}
        self.answers = {
            "ring": [RING],
            "ping": [{"address": "10.0.0.2:6401", **PINGED}],
            "bundle": [{"versions": {}, "configuration": {"dht": {}}}],
        }

    def findings(self, *words: str) -> dict[str, tuple[str, str]]:
        shown = json.loads(self.command(doctor.command, *words, "--json").stdout)
        msgspec.convert(shown, SHAPES["doctor"])
        return {finding["check"]: (finding["state"], finding["found"]) for finding in shown["findings"]}

    def test_well(self) -> None:
        """Of a node that is well nothing is bad."""
        found = self.findings()
        self.assertEqual(found["health"], ("good", "well"))
        self.assertEqual(found["ring"], ("good", "4 members, and all agree"))
        self.assertEqual(found["neighbours"][0], "good")
        self.assertEqual(self.command(doctor.command).exit_code, 0)

    def test_unwell(self) -> None:
        """Alarms are bad; a ring in change and a silent neighbour are worth a look, all silent are bad."""
        self.dht.state["alarms"] = [{"cause": "disk", "text": "No space left on device", "since_s": 1.0}]
        self.answers["ring"] = [RING | {"faults": ["one", "two", "three", "four"]}]
        lost = PINGED | {"answered": 0, "median_ms": None, "worst_ms": None, "reason": "refused"}
        self.answers["ping"] = [{"address": f"10.0.0.{n}:6401", **(lost if n == 2 else PINGED)} for n in (2, 3, 4)]
        found = self.findings()
        self.assertEqual(found["disk"], ("bad", "No space left on device"))
        self.assertEqual(found["ring"], ("look", "4 members; one; two; three, and 1 more such"))
        self.assertEqual(found["neighbours"], ("look", "1 of 3 are silent: 10.0.0.2:6401 (refused)"))
        self.assertEqual(self.command(doctor.command).exit_code, 1)
        self.answers["ping"] = [{"address": "10.0.0.2:6401", **lost}]
        self.assertEqual(self.findings()["neighbours"][0], "bad")

    def test_in_no_ring(self) -> None:
        """A node that is in no ring says what stands in the way."""
        self.dht.state |= {"member": False, "joining": {"10.0.0.9:6401": "connection refused"}}
        self.assertEqual(self.findings()["ring"][0], "bad")
        self.assertIn("10.0.0.9:6401: connection refused", self.findings()["ring"][1])

    def test_no_node(self) -> None:
        """Without a node it is bad; with a file to look at, worth a look."""
        self.door.is_there = False
        self.assertEqual(self.findings()["node"][0], "bad")
        path = Path(self.mktemp())
        path.write_text("[dht]\nreplicaton = 3\n")
        found = self.findings("-c", str(path))
        self.assertEqual((found["node"][0], found["configuration"][0]), ("look", "bad"))
        self.assertIn("did you mean replication?", found["configuration"][1])

    def test_node_of_the_file(self) -> None:
        """The file says where its node is, unless --api does, before or behind the command."""
        path = Path(self.mktemp())
        path.write_text("[dht]\np2p_address = 127.0.0.5:6402\n")
        self.findings("-c", str(path))
        self.findings("-c", str(path), "--api", "127.0.0.1:7401")
        self.chordtwist("--api", "127.0.0.2:7401", "doctor", "-c", str(path))
        self.assertEqual(self.door.asked, ["127.0.0.5:7402", "127.0.0.1:7401", "127.0.0.2:7401"])

    def test_answered_with_nothing(self) -> None:
        """A node that answers with nothing has an error: that is a finding, and its log is where to look."""
        self.answers["ring"] = []
        self.assertEqual(self.findings()["node"], ("bad", f"the node at 127.0.0.1:7401 {NOTHING}"))
        shown = self.command(doctor.command)
        self.assertEqual(shown.exit_code, 1)
        self.assertNotIn("start it", shown.stdout)

    def test_bundle(self) -> None:
        """All that was found goes to a file that only its owner may read."""
        path = Path(self.mktemp())
        shown = self.command(doctor.command, "--bundle", str(path))
        self.assertEqual(shown.exit_code, 0)
        self.assertEqual(
            set(json.loads(path.read_text())), {"findings", "status", "ring", "neighbours", "versions", "configuration"}
        )
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_bundle_over_something(self) -> None:
        """A file that others could read is its owner's alone from then on; a pipe stays what it is."""
        path = Path(self.mktemp())
        path.write_text("x" * 100_000)
        path.chmod(0o644)
        self.assertEqual(self.command(doctor.command, "--bundle", str(path)).exit_code, 0)
        self.assertIn("findings", json.loads(path.read_text()))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        pipe = Path(self.mktemp())
        os.mkfifo(pipe)
        pipe.chmod(0o644)
        with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
            self.assertEqual(self.command(doctor.command, "--bundle", str(pipe)).exit_code, 0)
            self.assertIn("findings", json.loads(reader.read()))
        self.assertEqual(pipe.stat().st_mode & 0o777, 0o644)


class CheckupTests(SynchronousTestCase):
    """A configuration against this machine."""

    def found(self, text: str, is_running: bool = False) -> dict[str, checkup.Finding]:
        config = read_text(text, "node.ini", Path.cwd())
        return {finding.check: finding for finding in checkup.configured(config, is_running)}

    def test_ports(self) -> None:
        """An address that is taken, or not of this machine, is bad; taken by the node that runs it is good."""
        import socket

        with socket.create_server(("127.0.0.1", 0)) as server:
            taken = server.getsockname()[1]
            text = f"[dht]\np2p_address = 127.0.0.1:{taken}\napi_address = unix:/nowhere/api.sock\n"
            self.assertEqual(self.found(text)["p2p_address"].state, "bad")
            self.assertEqual(self.found(text, is_running=True)["p2p_address"].state, "good")
            self.assertEqual(self.found(text)["api_address"].state, "bad")
        found = self.found("[dht]\np2p_address = 192.0.2.1:6401\n")["p2p_address"]
        self.assertEqual(found.state, "bad")
        self.assertIn("0.0.0.0, and public_address", found.todo)

    def test_state(self) -> None:
        """A folder that can be written is measured; a file in its place, and a key that others may read, are bad."""
        folder = Path(self.mktemp())
        folder.mkdir()
        text = f"[dht]\nstate_dir = {folder.absolute()}\n"
        self.assertEqual(self.found(text)["disk"].state, "good")
        self.assertEqual(list(folder.iterdir()), [])
        (folder / "node-key").write_text("secret")
        (folder / "node-key").chmod(0o644)
        self.assertEqual(self.found(text)["state_dir"].state, "bad")
        file = Path(self.mktemp())
        file.write_text("")
        self.assertEqual(
            self.found(f"[dht]\nstate_dir = {file.absolute()}")["state_dir"].found, f"{file.absolute()} is a file"
        )
        self.assertEqual(self.found("[dht]")["state_dir"].state, "look")

    def test_files(self) -> None:
        """A file that is named and not there is bad, and so is a certificate for another address."""
        from chordtwist.net.certificates import make_key, self_signed

        key = make_key()
        path, pem = Path(self.mktemp()), Path(self.mktemp())
        path.write_bytes(self_signed(key, "10.9.9.9"))
        pem.write_bytes(key)
        pem.chmod(0o644)
        text = f"[dht]\n[tls]\ncertificate = {path.absolute()}\nkey = {pem.absolute()}\n"
        found = self.found(text)
        self.assertEqual((found["certificate"].state, found["key"].state), ("bad", "look"))
        self.assertIn("is for 10.9.9.9, the node is 127.0.0.1", found["certificate"].found)
        os.unlink(pem)
        self.assertEqual(self.found(text)["key"].state, "bad")

    def test_bootstrap(self) -> None:
        """A bootstrap node that takes no connection is worth a look."""
        self.assertEqual(self.found("[dht]\nbootstrap_node = 127.0.0.1:1\n")["bootstrap"].state, "look")
        self.assertEqual(self.found("[dht]")["bootstrap"].state, "good")

    def test_machine(self) -> None:
        """The machine is looked at: descriptors and Python at least."""
        self.assertLessEqual({"descriptors", "python"}, {finding.check for finding in checkup.machine()})

    def test_python(self) -> None:
        """A Python built at home without optimizations is told; the distribution's own is not."""
        self.patch(sysconfig, "get_config_var", lambda name: "'--enable-shared'")
        for prefix, state in ("/usr", checkup.GOOD), ("/root/.pyenv/versions/3.11.7", checkup.LOOK):
            self.patch(sys, "base_prefix", prefix)
            (found,) = [finding for finding in checkup.machine() if finding.check == "python"]
            self.assertEqual(state, found.state)
