"""Commands that talk to a node, at a real one on the simulated network."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet.defer import Deferred

from chordtwist.app.cli import get, put
from chordtwist.app.operations import Operations
from chordtwist.net.operating import Tell
from chordtwist.simulation.world import World
from tests.memory_door import CommandTestCase, MemoryDoor


class WorldClock:
    """The time of a world, which passes while a command waits."""

    def __init__(self, world: World, clock: Any) -> None:
        self._world = world
        self._clock = clock
        self.seconds = clock.seconds
        self.callLater = clock.callLater

    def advance(self, seconds: float) -> None:
        # Not further than the next answer: whoever waits is told as soon as there is one.
        self._world.run(min(seconds, 0.05))


class RingCommandsTests(CommandTestCase):
    """Six members; commands talk to the first."""

    def setUp(self) -> None:
        """Nothing is stored."""
        self.world = World(seed=1)
        self.addCleanup(self.world.close)
        self.world.grow(6)
        self.assertIsNotNone(self.world.settle(60.0), self.world.wrong())
        node = self.world.node(self.world.members()[0])
        clock = WorldClock(self.world, node.inspection._clock)
        operations = Operations(node, node.inspection._clock, node._wall_ms, "", "", {})
        self.door = MemoryDoor(node, clock, operate=operations)

    def test_get_as_json(self) -> None:
        """With --json a value is shown with all that is known of it."""
        nothing = self.shown(get.command, "greeting")
        self.assertEqual(
            (False, None, "not found"), (nothing["found"], nothing["value_base64"], nothing["error"]["kind"])
        )
        self.assertEqual(0, self.command(put.command, "greeting", "good morning", "--ttl", "10m").exit_code)
        shown = self.shown(get.command, "greeting")
        self.assertTrue(590 < shown.pop("ttl_s") <= 600)
        self.assertRegex(shown.pop("version"), r"^\d+-[0-9a-f]+$")
        expected = {
            "key": sha256(b"greeting").hexdigest(),
            "found": True,
            "value_base64": b64encode(b"good morning").decode(),
            "text": "good morning",
            "kind": "plain",
            "copies": 4,
            "bytes": 12,
        }
        self.assertEqual(expected, shown)
        self.command(put.command, "greeting", typed=b"\xff")
        self.assertIsNone(self.shown(get.command, "greeting")["text"])

    def test_signed(self) -> None:
        """What an owner has signed is read with the key file, the public one as well, or with the public key."""
        keyfile = self.keyfile()
        public = self.key.public_key()
        public_file = Path(self.mktemp())
        public_file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        self.assertEqual(0, self.command(put.command, "news", "v1", "--signed", keyfile, "--seq", "7").exit_code)
        for words in (
            ["--signed", keyfile],
            ["--signed", str(public_file)],
            ["--owner", public.public_bytes_raw().hex()],
        ):
            result = self.command(get.command, "news", *words)
            self.assertEqual((0, "v1"), (result.exit_code, result.output), words)
        shown = self.shown(get.command, "news", "--signed", keyfile)
        self.assertEqual((7, public.public_bytes_raw().hex()), (shown["seq"], shown["public_key"]))
        self.assertEqual(1, self.command(get.command, "news").exit_code)

    def test_copies(self) -> None:
        """With --copies a put waits until so many nodes have it."""
        result = self.command(put.command, "greeting", "value", "--copies", "4")
        self.assertEqual((0, True), (result.exit_code, "): 4 of 4 nodes have it" in result.output), result.output)
        result = self.command(put.command, "greeting", "value", "--copies", "6", "--replication", "6")
        self.assertEqual((0, True), (result.exit_code, "): 6 of 6 nodes have it" in result.output), result.output)
        result = self.command(put.command, "greeting", "value", "--copies", "7", "--replication", "7")
        self.assertEqual(4, result.exit_code, result.output)


class LyingNodeTests(CommandTestCase):
    """A node that gives what nobody has signed."""

    def test_not_signed(self) -> None:
        """It is not believed: the signature is checked by whoever asks."""
        keyfile = self.keyfile()
        public = self.key.public_key().public_bytes_raw().hex()
        told: dict[str, object] = {}

        def operate(text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]:
            return tell(json.dumps(told).encode())

        self.door = MemoryDoor(self.dht, self.clock, operate=operate)
        found: dict[str, object] = {"found": True, "value_base64": b64encode(b"v1").decode()}
        lies: list[tuple[dict[str, object], str]] = [
            (found, "without its signature"),
            (found | {"salt": 1, "seq": [], "signature": 1}, "without its signature"),
            (found | {"salt": b"news".hex(), "seq": 1, "signature": "00" * 64}, "that its owner has not signed"),
            ({"found": True, "value_base64": 5}, "tells of no value"),
            ({"found": True}, "tells of no value"),
            ({"error": {"kind": "refused", "reason": "no"}}, "no"),
        ]
        for told, said in lies:
            result = self.command(get.command, "news", "--owner", public)
            self.assertNotEqual(0, result.exit_code)
            self.assertEqual("", result.stdout)
            self.assertIn(said, result.stderr, str(told))
        self.assertIn("choose one", self.command(get.command, "a", "--owner", public, "--signed", keyfile).stderr)
        self.assertIn("hexadecimal digits", self.command(get.command, "a", "--owner", "me").stderr)
