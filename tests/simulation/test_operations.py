"""What a node answers to people's tools: requests as bytes, answers as lines, on the simulated network."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import NodeConfig
from chordtwist.app.config_text import in_force
from chordtwist.app.operations import Operations
from chordtwist.core.peer import Peer
from chordtwist.core.records import Tombstone, position_of, signed_key
from chordtwist.core.signed import Ed25519Signer
from chordtwist.net.client import seal
from chordtwist.simulation.world import World

TOKEN = "ab" * 32
KEY = sha256(b"greeting").digest()


class OperationsTestCase(SynchronousTestCase):
    """Six members, and the tools' door of one of them."""

    def setUp(self) -> None:
        self.world, self.operations = self.make_ring(1)

    def make_ring(self, seed: int) -> tuple[World, Operations]:
        world = World(seed=seed)
        self.addCleanup(world.close)
        world.grow(6)
        self.assertIsNotNone(world.settle(60.0), world.wrong())
        node = world.node(world.members()[0])
        clock = node.inspection._clock
        wall_ms = node._wall_ms
        config = in_force(NodeConfig())
        return world, Operations(node, clock, wall_ms, TOKEN, "/state/operator-token", config)

    @property
    def first(self) -> Peer:
        return self.world.members()[0]

    def ask(
        self,
        request: object,
        is_operators: bool = False,
        operations: Operations | None = None,
        world: World | None = None,
        within_s: float = 5.0,
    ) -> list[Any]:
        """The lines that are told."""
        lines: list[Any] = []

        def tell(line: bytes) -> Deferred[None]:
            lines.append(json.loads(line))
            return succeed(None)

        text = request if isinstance(request, bytes) else json.dumps(request).encode()
        done = (operations or self.operations)(text, is_operators, tell)
        (world or self.world).run(within_s)
        self.successResultOf(done)
        return lines

    def put(self, key: bytes, value: bytes, **options: Any) -> None:
        stored = self.world.node(self.first).put(key, value, **options)
        self.world.run(2.0)
        self.successResultOf(stored)

    def kept(self, world: World, key: bytes) -> object:
        found = world.node(world.members()[0]).get(key)
        world.run(2.0)
        record = self.successResultOf(found)
        return None if record is None else (record.value, record.version)


class RequestTests(OperationsTestCase):
    def test_nonsense(self) -> None:
        """What is no request is answered with one line that says what is wrong with it."""
        for text, said in (
            (b"", "Input data was truncated"),
            (b"[1]", "Expected `object`, got `array`"),
            (b"{}", "Object missing required field `do`"),
            (b'{"do": "dance"}', "Invalid value 'dance'"),
            (b'{"do": "inspect"}', "Object missing required field `key`"),
            (b'{"do": "inspect", "key": "ab"}', "Expected `str` of length >= 64"),
            (b'{"do": "ring", "fast": true}', "Object contains unknown field `fast`"),
            (b'{"do": "ping", "times": 1000000}', "Expected `int` <= 20"),
            (b'{"do":' + b"[" * 100_000, ""),
            (b'"\xff"', ""),
        ):
            (line,) = self.ask(text)
            self.assertEqual(line["error"]["kind"], "bad request", line)
            self.assertIn(said, line["error"]["reason"])

    def test_for_operators_only(self) -> None:
        """What lists or changes a node needs a Unix socket or the token, and names where that stands."""
        for request in (
            {"do": "export"},
            {"do": "import", "records": []},
            {"do": "events"},
            {"do": "reload"},
            {"do": "bundle"},
        ):
            (line,) = self.ask(request)
            self.assertEqual(
                line["error"],
                {
                    "kind": "refused",
                    "reason": "this is for the operator: over a Unix socket,"
                    " or with the token in /state/operator-token",
                    "token_file": "/state/operator-token",
                },
            )
            (line,) = self.ask(request | {"token": "cd" * 32})
            self.assertEqual(line["error"]["reason"], "that is not the token in /state/operator-token")
            self.assertNotIn("this is for the operator", str(self.ask(request | {"token": TOKEN})))
            self.assertNotIn("this is for the operator", str(self.ask(request, is_operators=True)))

    def test_no_place_for_a_token(self) -> None:
        """Without a state directory only a Unix socket will do; an empty token opens nothing."""
        self.operations._token = ""
        for request in {"do": "export"}, {"do": "export", "token": ""}:
            (line,) = self.ask(request)
            self.assertIn("it needs a Unix socket (api_address = unix:PATH), or a state_dir", line["error"]["reason"])

    def test_inspection(self) -> None:
        """Ring, estimate, inspect, trace and ping are answered to everybody who reaches the API."""
        self.put(KEY, b"good morning")
        (ring,) = self.ask({"do": "ring"})
        self.assertEqual((len(ring["members"]), ring["closes"]), (6, True))
        self.assertEqual(self.ask({"do": "estimate"}), [{"members": 6, "exact": True, "listed": 5}])
        (seen,) = self.ask({"do": "inspect", "key": KEY.hex()})
        self.assertEqual(seen["reader"]["bytes"], 12)
        (trace,) = self.ask({"do": "trace", "key": KEY.hex()})
        self.assertEqual(trace["owner"], seen["owner"])
        self.assertEqual(len(self.ask({"do": "ping", "times": 1})), 5)

    def test_strangers_are_not_pinged(self) -> None:
        """Nobody makes a node dial an address that it has never met."""
        (line,) = self.ask({"do": "ping", "peers": ["192.0.2.77:6401"]})
        self.assertEqual(line["error"]["kind"], "refused")
        self.assertIn("this node has never met it", line["error"]["reason"])

    def test_read(self) -> None:
        """A record comes with all that belongs to it, and without its value where its version is known."""
        self.assertEqual(self.ask({"do": "read", "key": KEY.hex()}), [{"key": KEY.hex(), "found": False}])
        self.put(KEY, b"hi", ttl_s=600)
        (found,) = self.ask({"do": "read", "key": KEY.hex()})
        self.assertEqual((found["kind"], found["bytes"], found["value_base64"]), ("plain", 2, "aGk="))
        self.assertTrue(0 < found["ttl_ms"] <= 600_000)
        (known,) = self.ask({"do": "read", "key": KEY.hex(), "known": found["version"]})
        self.assertEqual(known["version"], found["version"])
        self.assertNotIn("value_base64", known)


class BackupTests(OperationsTestCase):
    def backup(self) -> list[dict[str, Any]]:
        """The records of every member, as their backups say."""
        records: dict[str, dict[str, Any]] = {}
        for line in self.ask({"do": "export"}, is_operators=True):
            if "key" in line:
                records[line["key"]] = line
        return list(records.values())

    def restore(self, records: list[dict[str, Any]], world: World, operations: Operations) -> dict[str, Any]:
        request = {"do": "import", "records": records}
        (outcome,) = self.ask(request, is_operators=True, operations=operations, world=world)
        return dict(outcome)

    def near_keys(self, count: int) -> list[bytes]:
        """Keys that the first member keeps a copy of."""
        node = self.world.node(self.first)
        keys = (sha256(b"key %d" % number).digest() for number in range(1000))
        near = (key for key in keys if self.first in node.routing.replicas(position_of(key))[:4])
        return [key for _, key in zip(range(count), near, strict=False)]

    def test_there_and_back(self) -> None:
        """A backup brings values, versions and signatures to another ring, with what is left of their lives."""
        writer = Ed25519Signer(b"\1" * 32)
        one, two = self.near_keys(2)
        self.put(one, b"plain")
        self.put(two, b"\0\xff" * 30_000)
        content = next(bytes([n]) * 3 for n in range(99) if self.is_near(sha256(bytes([n]) * 3).digest()))
        self.put(sha256(content).digest(), content)
        salt = next(b"%d" % n for n in range(99) if self.is_near(signed_key(writer.public, b"%d" % n)))
        sealed = signed_key(writer.public, salt)
        self.put(sealed, b"signed", seal=seal(writer, b"signed", 7, salt))
        lines = self.ask({"do": "export"}, is_operators=True)
        self.assertEqual((lines[0]["backup"], lines[-1]), (1, {"records": 4}))
        other, there = self.make_ring(2)
        outcome = self.restore(self.backup(), other, there)
        self.assertEqual(outcome, {"restored": 4, "newer": 0, "ended": 0, "refused": []})
        for key in one, two, sha256(content).digest(), sealed:
            self.assertEqual(self.kept(other, key), self.kept(self.world, key))
            self.assertIsNotNone(self.kept(other, key))

    def is_near(self, key: bytes) -> bool:
        return self.first in self.world.node(self.first).routing.replicas(position_of(key))[:4]

    def test_older_never_replaces_newer(self) -> None:
        """An old backup changes nothing where something newer stands: a later put, or the end of a record."""
        changed, ended, same = self.near_keys(3)
        for key in changed, ended, same:
            self.put(key, b"old")
        records = self.backup()
        self.put(changed, b"new")
        deleted = self.world.node(self.first).delete(ended)
        self.world.run(2.0)
        self.successResultOf(deleted)
        outcome = self.restore(records, self.world, self.operations)
        self.assertEqual(outcome, {"restored": 1, "newer": 2, "ended": 0, "refused": []})
        self.assertEqual([self.kept(self.world, key)[:1] for key in (changed, same)], [(b"new",), (b"old",)])  # type: ignore[index]
        self.assertIsNone(self.kept(self.world, ended))

    def test_tombstones_go_along(self) -> None:
        """The end of a record is part of a backup: an older backup restored later does not bring it back."""
        (key,) = self.near_keys(1)
        self.put(key, b"old")
        older = self.backup()
        deleted = self.world.node(self.first).delete(key)
        self.world.run(2.0)
        self.successResultOf(deleted)
        newer = self.backup()
        other, there = self.make_ring(2)
        self.assertEqual(self.restore(newer, other, there)["restored"], 1)
        self.assertEqual(self.restore(older, other, there)["newer"], 1)
        self.assertIsNone(self.kept(other, key))
        holders = [other.node(peer).records.local_records.get(key) for peer in other.members()]
        self.assertTrue(any(isinstance(kept, Tombstone) for kept in holders))

    def test_lives_go_on(self) -> None:
        """What has ended since the backup was made is not brought back."""
        (key,) = self.near_keys(1)
        self.put(key, b"short", ttl_s=60)
        records = self.backup()
        self.world.run(90.0)
        outcome = self.restore(records, self.world, self.operations)
        self.assertEqual((outcome["ended"], outcome["restored"]), (1, 0))

    def test_forged(self) -> None:
        """A line that is none, or whose signature does not fit, is refused by name; the others are restored."""
        writer = Ed25519Signer(b"\1" * 32)
        (key,) = self.near_keys(1)
        self.put(key, b"value")
        salt = next(b"%d" % n for n in range(99) if self.is_near(signed_key(writer.public, b"%d" % n)))
        sealed = signed_key(writer.public, salt)
        self.put(sealed, b"signed", seal=seal(writer, b"signed", 7, salt))
        records = {record["key"]: record for record in self.backup()}
        records[sealed.hex()]["value"] = "Zm9yZ2Vk"
        broken = records[key.hex()] | {"version_ms": "soon"}
        strange = {"key": "zz", "kind": "odd", "ends_ms": 1 << 60, "remembered_until_ms": 0, "value": "aGk="}
        outcome = self.restore([*records.values(), broken, {}, strange], self.world, self.operations)
        self.assertEqual(outcome["restored"], 1)
        self.assertEqual(
            [refusal["reason"] for refusal in outcome["refused"]],
            [
                "wrong",
                "no line of a backup: version_ms is no number that a record has",
                "no line of a backup: kind is missing",
                "no line of a backup: non-hexadecimal number found in fromhex() arg at position 0",
            ],
        )

    def test_sliced(self) -> None:
        """Of many records some are told in each turn of the reactor."""
        for key in self.near_keys(40):
            self.world.node(self.first).put(key, b"value")
        self.world.run(5.0)
        told: list[bytes] = []

        def tell(line: bytes) -> Deferred[None]:
            told.append(line)
            return succeed(None)

        done = self.operations(b'{"do": "export"}', True, tell)
        self.assertLess(len(told), 20)
        self.world.run(1.0)
        self.successResultOf(done)
        self.assertEqual(len(told), 42)


class FollowTests(OperationsTestCase):
    def follow(self, request: dict[str, object]) -> tuple[list[Any], Deferred[None]]:
        lines: list[Any] = []

        def tell(line: bytes) -> Deferred[None]:
            lines.append(json.loads(line))
            return succeed(None)

        return lines, self.operations(json.dumps(request).encode(), True, tell)

    def test_events(self) -> None:
        """What happened is told; with follow also what happens then, each thing once, until it is cancelled."""
        node = self.world.node(self.first)
        before = [event.text for event in node.events]
        self.assertEqual([line["text"] for line in self.ask({"do": "events"}, True)], before)
        lines, following = self.follow({"do": "events", "follow": True})
        node.note("the sky falls")
        self.world.run(1.0)
        node.note("the sky falls")
        self.world.run(1.0)
        self.assertEqual([line["text"] for line in lines], [*before, "the sky falls", "the sky falls (2 times)"])
        following.cancel()
        self.failureResultOf(following)

    def test_log(self) -> None:
        """The log is told from the level that was asked for on; what strangers wrote is escaped. At the end nobody
        listens to it any more.
        """
        lines, following = self.follow({"do": "events", "follow": True, "log": "warn"})
        lines.clear()
        log = Logger(namespace="a.place")
        log.info("quiet")
        log.warn("loud {who}", who="\x1b[31m")
        self.world.run(1.0)
        shown = [(line["level"], line["namespace"], line["text"]) for line in lines]
        self.assertEqual(shown, [("warn", "a.place", "loud \\x1b[31m")])
        following.cancel()
        self.failureResultOf(following)
        log.warn("unheard")
        self.world.run(1.0)
        self.assertEqual(len(lines), 1)

    def test_no_such_level(self) -> None:
        """A level that there is not is refused, with those that there are."""
        (line,) = self.ask({"do": "events", "log": "loud"}, True)
        self.assertIn("they are debug, info, warn, error", line["error"]["reason"])


class ProcessTests(OperationsTestCase):
    def test_reload(self) -> None:
        """The configuration is read again; where there is none that is told."""
        (line,) = self.ask({"do": "reload"}, True)
        self.assertIn("without a configuration file", line["error"]["reason"])
        self.operations.reload = lambda: succeed({"file": "node.ini", "waiting": []})
        self.assertEqual(self.ask({"do": "reload"}, True), [{"file": "node.ini", "waiting": []}])

    def test_bundle(self) -> None:
        """Versions and every option in force are told; secrets never."""
        (bundle,) = self.ask({"do": "bundle"}, True)
        self.assertEqual(bundle["configuration"]["dht"]["replication"], "4")
        self.assertEqual(set(bundle["versions"]), {"chordtwist", "python", "twisted", "openssl", "msgspec", "system"})
