"""The commands that show a ring, replicas, searches, events: against answers that the test gives."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
from click.testing import Result
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli import asking, events, inspect, ping, reload, ring, showing, trace
from chordtwist.app.cli.shapes import SHAPES
from chordtwist.core.records import key_of
from chordtwist.net.api import ApiFactory
from chordtwist.net.operating import Tell
from chordtwist.storage.state import TOKEN_FILE
from tests import CHECKOUT
from tests.memory_door import CommandTestCase

SCHEMAS = CHECKOUT / "docs" / "schemas"
TOKEN = "ab" * 32


def member(number: int, **changes: object) -> dict[str, object]:
    """One of four members, a quarter of the circle each."""
    quarter = (1 << 256) // 4
    return {
        "address": f"10.0.0.{number}:6401",
        "id": f"{quarter * (number - 1) + 1:064x}",
        "share": 0.25,
        "predecessor": f"10.0.0.{(number - 2) % 4 + 1}:6401",
        "successor": f"10.0.0.{number % 4 + 1}:6401",
        "listed": 3,
        "whole": True,
        "age_s": 90.0,
        "round_trip_ms": 0.25,
        **changes,
    }


RING: dict[str, Any] = {
    "from": "10.0.0.1:6401",
    "members": [member(number) for number in (1, 2, 3, 4)],
    "silent": [],
    "closes": True,
    "faults": [],
    "complete": True,
}
KEPT: dict[str, Any] = {"version_ms": 1_800_000_000_000, "publisher": "", "ttl_ms": 60_000, "copies": 4, "seq": None}
VALUE: dict[str, Any] = {"kind": "plain", "bytes": 12, "sha256": "cd" * 32}


def replica(rank: int, state: str = "has", **changes: object) -> dict[str, object]:
    return {
        "rank": rank,
        "address": f"10.0.0.{rank + 1}:6401",
        "state": state,
        "behind": False,
        "round_trip_ms": 0.5,
        **changes,
    }


INSPECTED: dict[str, Any] = {
    "key": key_of("greeting").hex(),
    "position": "a7" * 32,
    "owner": "10.0.0.1:6401",
    "hops": 0,
    "questions": 1,
    "found_ms": 0.5,
    "replicas": [
        replica(0, **KEPT, **VALUE),
        replica(1, **KEPT, **VALUE, behind=True),
        replica(2, "nothing", behind=True),
        replica(3, "did not answer within 1 s"),
    ],
    "reader": {"found": True, "why": "so it is", **KEPT, **VALUE},
}
TRACED: dict[str, Any] = {
    "key": key_of("greeting").hex(),
    "position": "a7" * 32,
    "from": "10.0.0.1:6401",
    "owner": "10.0.0.3:6401",
    "replicas": ["10.0.0.3:6401"],
    "hops": 1,
    "questions": 2,
    "took_ms": 1001.5,
    "steps": [
        {"address": "10.0.0.2:6401", "hop": 0, "at_ms": 0.1, "took_ms": 1000.0, "outcome": "it did not answer"},
        {"address": "10.0.0.3:6401", "hop": 1, "at_ms": 200.0, "took_ms": 0.5, "outcome": "table"},
        {"address": "10.0.0.4:6401", "hop": 1, "at_ms": 201.0, "took_ms": None, "outcome": "not waited for"},
    ],
}
PINGED = {"as": ["successor 1"], "asked": 5, "answered": 5, "median_ms": 0.5, "worst_ms": 2.0, "reason": None}


class ToolsTestCase(CommandTestCase):
    """A node that answers what the test says, by what is asked for."""

    def setUp(self) -> None:
        super().setUp()
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[dict[str, Any]] = []
        self.door._door = ApiFactory(self.dht, self.clock, lambda: None, operate=self.operate)

    def operate(self, text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]:
        request = json.loads(text)
        self.requests.append(request)
        for line in self.answers[request["do"]]:
            tell(json.dumps(line).encode())
        return succeed(None)

    def shape(self, name: str, shown: str) -> None:
        """What is shown has the shape that is published."""
        msgspec.convert(json.loads(shown), SHAPES[name])

    def lines(self, result: Result) -> list[str]:
        return [line.rstrip() for line in result.stdout.splitlines()]


class RingTests(ToolsTestCase):
    def ring(self, *words: str, **changes: object) -> Result:
        self.answers["ring"] = [RING | changes]
        return self.command(ring.command, *words)

    def test_table(self) -> None:
        """Every member has a line, and the last line is the verdict."""
        shown = self.ring()
        self.assertEqual(
            self.lines(shown),
            [
                "ADDRESS        PLACE     SHARE   AGE  LISTED   TIME",
                "10.0.0.1:6401  00000000  25.0%  90 s  3 (all)  asked",
                "10.0.0.2:6401  40000000  25.0%  90 s  3 (all)  0.25 ms",
                "10.0.0.3:6401  80000000  25.0%  90 s  3 (all)  0.25 ms",
                "10.0.0.4:6401  c0000000  25.0%  90 s  3 (all)  0.25 ms",
                "4 members: one ring, and all agree",
            ],
        )
        self.assertEqual(shown.exit_code, 0)

    def test_check(self) -> None:
        """Status 1 when the walk does not close, members disagree, or not all were asked; else 0."""
        self.assertEqual(self.ring("--check").exit_code, 0)
        for changes, verdict in (
            ({"closes": False}, "4 members: the walk does not close"),
            ({"faults": ["1 lists 3 where 2 stands"]}, "4 members: the walk closes, but not all agree"),
            ({"complete": False}, "4 members were asked, and there are more: a larger ring is only estimated"),
        ):
            shown = self.ring("--check", **changes)
            self.assertEqual((shown.exit_code, self.lines(shown)[-1]), (1, verdict))
            self.assertEqual(self.ring(**changes).exit_code, 0)
            self.assertEqual(self.ring("--check", "--json", **changes).exit_code, 1)

    def test_silent(self) -> None:
        """Who does not answer is named with the reason; of very many faults some are shown, and the rest is counted."""
        shown = self.ring(
            silent=[{"address": "10.0.0.9:6401", "reason": "connection refused"}],
            faults=[f"fault {number}" for number in range(30)],
            closes=False,
        )
        self.assertIn("10.0.0.9:6401", shown.stdout)
        self.assertIn("connection refused", shown.stdout)
        self.assertIn("fault 19", shown.stdout)
        self.assertIn("and 10 more such", shown.stdout)

    def test_json(self) -> None:
        """The whole answer, in the published shape."""
        shown = self.ring("--json")
        self.assertEqual(json.loads(shown.stdout), RING)
        self.shape("ring", shown.stdout)

    def test_estimate(self) -> None:
        """The size alone; a guess says that it is one."""
        for members, exact, said in ((25, True, "25 members\n"), (812.4, False, "about 812 members\n")):
            self.answers["estimate"] = [{"members": members, "exact": exact, "listed": 16}]
            self.assertEqual(self.command(ring.command, "--estimate").stdout, said)
        self.shape("ring-estimate", self.command(ring.command, "--estimate", "--json").stdout)
        self.assertEqual(self.command(ring.command, "--estimate", "--check").exit_code, 2)

    def test_picture(self) -> None:
        """A file with a dot and an arc for every member; what a peer calls itself stands in it escaped."""
        path = Path(self.mktemp())
        shown = self.ring("--svg", str(path), members=[member(1, address="<script>"), *RING["members"][1:]])
        self.assertEqual((shown.exit_code, shown.stdout), (0, ""))
        picture = path.read_text()
        self.assertEqual((picture.count("<path"), picture.count('class="member"')), (4, 4))
        self.assertNotIn("<script", picture)
        self.ring("--svg", str(path), members=[member(1, share=1.0)])
        self.assertIn("<title>A Chord ring: 1 member</title>", path.read_text())

    def test_escaped(self) -> None:
        """What peers say steers no terminal, and no markup is read in it."""
        shown = self.ring(faults=["\x1b[31mred [bold]fault[/bold]"])
        self.assertIn("\\x1b[31mred [bold]fault[/bold]", shown.stdout)

    def test_narrow(self) -> None:
        """At 40 columns some are left out, and what is shown is whole."""
        self.patch(showing, "UNLIMITED_COLUMNS", 40)
        shown = self.lines(self.ring())
        self.assertLessEqual(max(map(len, shown)), 40)
        self.assertEqual(shown[:2], ["ADDRESS        PLACE     SHARE  TIME", "10.0.0.1:6401  00000000  25.0%  asked"])


class InspectTests(ToolsTestCase):
    def test_table(self) -> None:
        """Every replica has a line: what it keeps, whether it is behind, or why it did not speak."""
        self.answers["inspect"] = [INSPECTED]
        shown = self.command(inspect.command, "greeting")
        self.assertEqual(self.requests, [{"do": "inspect", "key": key_of("greeting").hex()}])
        self.assertEqual(shown.exit_code, 0)
        states = [line.split("6401")[1].split("  ")[1].strip() for line in self.lines(shown)[2:6]]
        self.assertEqual(states, ["has", "behind", "nothing", "did not answer within 1 s"])
        self.assertEqual(self.lines(shown)[-1], "a reader gets 12 bytes: so it is")

    def test_nothing(self) -> None:
        """Status 1 when a reader would get nothing."""
        self.answers["inspect"] = [INSPECTED | {"reader": {"found": False, "why": "nobody keeps it"}}]
        shown = self.command(inspect.command, "greeting")
        self.assertEqual((shown.exit_code, self.lines(shown)[-1]), (1, "a reader gets nothing: nobody keeps it"))

    def test_json(self) -> None:
        """The whole answer, in the published shape."""
        self.answers["inspect"] = [INSPECTED]
        shown = self.command(inspect.command, "greeting", "--json")
        self.assertEqual(json.loads(shown.stdout), INSPECTED)
        self.shape("inspect", shown.stdout)

    def test_odd_versions(self) -> None:
        """A version that no calendar has is shown as it is."""
        kept = KEPT | {"version_ms": 1 << 62}
        self.answers["inspect"] = [INSPECTED | {"replicas": [replica(0, **kept, **VALUE)]}]
        self.assertIn(str(1 << 62), self.command(inspect.command, "greeting").stdout)


class TraceTests(ToolsTestCase):
    def test_table(self) -> None:
        """Every question has a line with its time and what came of it; then the owner, and how many were in vain."""
        self.answers["trace"] = [TRACED]
        shown = self.command(trace.command, "greeting")
        said = [line.split("6401")[1].split("  ")[-1] for line in self.lines(shown)[2:5]]
        self.assertEqual(said, ["it did not answer", "its table: it is the owner", "not waited for"])
        self.assertEqual(
            self.lines(shown)[-1], "owner 10.0.0.3:6401 after 1.0 s, 2 questions, 1 of them in vain, 1 hop"
        )
        self.shape("trace", self.command(trace.command, "greeting", "--json").stdout)

    def test_nobody(self) -> None:
        """Status 1 when nobody could be asked."""
        self.answers["trace"] = [TRACED | {"owner": None, "steps": [], "questions": 0}]
        shown = self.command(trace.command, "greeting")
        self.assertEqual((shown.exit_code, self.lines(shown)[-1]), (1, "nobody could be asked"))


class PingTests(ToolsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.answers["estimate"] = [{"members": 4, "exact": True, "listed": 3}]

    def test_table(self) -> None:
        """The way to the API, then to each neighbour; status 1 when one does not answer at all."""
        self.answers["ping"] = [{"address": "10.0.0.2:6401", **PINGED}]
        shown = self.command(ping.command)
        self.assertEqual(shown.exit_code, 0)
        self.assertIn("127.0.0.1:7401  the API      5 of 5", shown.stdout)
        self.assertIn("10.0.0.2:6401   successor 1  5 of 5", shown.stdout)
        lost = {"answered": 0, "median_ms": None, "worst_ms": None, "reason": "connection refused"}
        self.answers["ping"].append({"address": "10.0.0.3:6401", **PINGED, **lost})
        shown = self.command(ping.command, "--count", "3")
        self.assertEqual(shown.exit_code, 1)
        self.assertIn("connection refused", shown.stdout)
        self.assertEqual(self.requests[-1], {"do": "ping", "times": 3})

    def test_peers(self) -> None:
        """Those who are named are pinged, and nobody else."""
        self.answers["ping"] = [{"address": "10.0.0.2:6401", **PINGED}]
        shown = self.command(ping.command, "10.0.0.2:6401", "--json")
        self.assertEqual(self.requests[-1], {"do": "ping", "times": 5, "peers": ["10.0.0.2:6401"]})
        self.shape("ping", shown.stdout)

    def test_no_address(self) -> None:
        """What is no address is bad usage, and nobody is asked."""
        shown = self.command(ping.command, "10.0.0.2")
        self.assertEqual((shown.exit_code, self.requests), (2, []))
        self.assertIn("'10.0.0.2' is not host:port", shown.stderr)


class OperatorTests(ToolsTestCase):
    """The token, which a command reads by itself, and only where that is safe."""

    def operate(self, text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]:
        request = json.loads(text)
        self.requests.append(request)
        if request.get("token") == TOKEN:
            for line in self.answers[request["do"]]:
                tell(json.dumps(line).encode())
        else:
            error = {"kind": "refused", "reason": "for the operator", "token_file": self.token_file}
            tell(json.dumps({"error": error}).encode())
        return succeed(None)

    def setUp(self) -> None:
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertEqual(asking.OPERATOR_TOKEN_FILE, TOKEN_FILE)
        self.path = folder / TOKEN_FILE
        self.path.write_text(TOKEN + "\n")
        self.path.chmod(0o600)
        self.token_file = str(self.path.absolute())
        self.answers["reload"] = [{"file": "node.ini", "waiting": ["[dht] replication"]}]
        self.answers["events"] = [
            {"at_ms": 1_800_000_000_000, "text": "somebody came"},
            {"alive": True},
            {"at_ms": 1_800_000_000_500, "level": "warn", "namespace": "a.b", "text": "\x1b[31m"},
        ]

    def test_token(self) -> None:
        """What is refused without the token is asked again with the one that stands where the node says."""
        shown = self.command(reload.command)
        self.assertEqual([request.get("token") for request in self.requests], [None, TOKEN])
        self.assertEqual((shown.exit_code, self.lines(shown)[-1]), (0, "a restart is needed for [dht] replication"))
        self.shape("reload", self.command(reload.command, "--json").stdout)

    def assert_not_told(self, *words: str) -> None:
        shown = self.command(reload.command, *words)
        self.assertEqual((shown.exit_code, shown.stderr), (1, "Error: for the operator\n"))
        self.assertEqual([request.get("token") for request in self.requests], [None])
        self.requests.clear()

    def test_not_any_file(self) -> None:
        """Whoever listens there gets nothing read but a token: no file of another name, that others may read, that is
        a link, or that holds anything else.
        """
        other = self.path.with_name("id_rsa")
        other.write_text(TOKEN)
        other.chmod(0o600)
        self.token_file = str(other.absolute())
        self.assert_not_told()
        self.token_file = str(self.path.absolute())
        self.path.chmod(0o644)
        self.assert_not_told()
        self.path.unlink()
        self.assert_not_told()
        self.path.symlink_to(other)
        self.assert_not_told()
        self.path.unlink()
        self.path.write_text("a secret of another program\n")
        self.path.chmod(0o600)
        self.assert_not_told()
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        self.assert_not_told()

    def test_told_to_this_machine_only(self) -> None:
        """The token does not travel over a network."""
        self.assert_not_told("--api", "192.0.2.1:7401")

    def test_events(self) -> None:
        """Each event is a line, escaped; that there is still somebody is no event."""
        shown = self.command(events.command)
        self.assertEqual(
            [line.split("  ", 1)[1] for line in self.lines(shown)], ["somebody came", "warn  a.b: \\x1b[31m"]
        )
        for line in self.command(events.command, "--json").stdout.splitlines():
            self.shape("events", line)
        self.command(events.command, "--log", "warn")
        self.assertEqual(self.requests[-1], {"do": "events", "follow": True, "log": "warn", "token": TOKEN})


class ErrorTests(ToolsTestCase):
    def test_errors(self) -> None:
        """A node that refuses, or cannot, ends a command with status 1 and the reason in one line; one of another
        version, which knows no such request, with status 2.
        """
        for kind, status in ("refused", 1), ("unreachable", 1), ("bad request", 2):
            self.answers["ring"] = [{"error": {"kind": kind, "reason": "no\nway"}}]
            shown = self.command(ring.command)
            self.assertEqual((shown.exit_code, len(shown.stderr.splitlines())), (status, 1))
            self.assertIn("no\\nway", shown.stderr)

    def test_bug_of_the_node(self) -> None:
        """An answer without a line is told as what it is."""
        self.answers["ring"] = []
        shown = self.command(ring.command)
        self.assertEqual(shown.exit_code, 3)
        self.assertIn("answered with nothing", shown.stderr)


class SchemaTests(SynchronousTestCase):
    """docs/schemas: what other people's programs lean on."""

    def test_published(self) -> None:
        """Each file is the schema of what its command shows, field by field: write them with python -m tools.schemas,
        and take no field away.
        """
        from tools.schemas import schema

        shown = {path.stem: path.read_text() for path in SCHEMAS.glob("*.json")}
        self.assertEqual(shown, {name: schema(name) for name in SHAPES})
