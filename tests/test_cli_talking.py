"""The commands that talk to a node, against a hash table in memory: what they show, and with which status they end."""

from __future__ import annotations

import json
import os
from errno import ENOSPC, EPIPE
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

from click.testing import CliRunner
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli import delete, get, put, shutdown, status
from chordtwist.app.cli.commands import main
from chordtwist.app.cli.talking import TRY_EVERY_S, UP_WITHIN_S, Caller, Connect, NotReachable
from chordtwist.core.address import Address, ApiAddress
from chordtwist.core.errors import IN_NO_RING, Malformed, Unreachable
from chordtwist.core.records import PutResult, signed_key
from chordtwist.net.blocking_client import BlockingClient, Deadline
from tests.memory_dht import MemoryDht
from tests.memory_door import CommandTestCase, MemoryDoor, MemorySocket

GREETING = sha256(b"greeting").hexdigest()


class PutTests(CommandTestCase):
    def test_value(self) -> None:
        """A value from the command line is stored under the SHA-256 of its name, and the copies are told."""
        result = self.command(put.command, "greeting", "good morning", "--ttl", "90", "--replication", "3")
        told = f"greeting ({GREETING}): 3 of 3 nodes have it, for 1 min 30 s\n"
        self.assertEqual((0, told), (result.exit_code, result.output))
        self.assertEqual(self.dht.puts, [(bytes.fromhex(GREETING), b"good morning", 90, 3)])

    def test_standard_input(self) -> None:
        """A value that is left out is read from standard input, byte for byte, up to the longest."""
        value = bytes(range(256)) * 255 + b"x" * 215
        self.assertEqual(self.command(put.command, "greeting", typed=value).exit_code, 0)
        self.assertEqual([stored for _, stored, *_ in self.dht.puts], [value])
        self.assertEqual(len(value), 65_495)

    def test_dash_and_file(self) -> None:
        """A dash is standard input, as everywhere; a file is read where it is named, whatever is in it."""
        path = Path(self.mktemp())
        path.write_bytes(b"-\xff\n")
        self.assertEqual(0, self.command(put.command, "greeting", "-", typed=b"good morning").exit_code)
        self.assertEqual(0, self.command(put.command, "greeting", "--file", str(path), typed=b"no").exit_code)
        self.assertEqual(0, self.command(put.command, "--content", "-", typed=b"typed").exit_code)
        self.assertEqual(0, self.command(put.command, "--content", "--file", "-", typed=b"typed as well").exit_code)
        expected = [b"good morning", b"-\xff\n", b"typed", b"typed as well"]
        self.assertEqual(expected, [value for _, value, *_ in self.dht.puts])

    def test_hexadecimal_key(self) -> None:
        """64 hexadecimal digits are the key itself."""
        self.command(put.command, "AB" * 32, "value")
        self.assertEqual([key for key, *_ in self.dht.puts], [b"\xab" * 32])

    def test_json(self) -> None:
        """With --json the outcome is one object."""
        shown = self.shown(put.command, "greeting", "value", "--ttl", "60")
        version_ms = shown.pop("version_ms")
        self.assertIsInstance(version_ms, int)
        self.assertEqual(shown, {"key": GREETING, "done": True, "copies": 4, "wanted": 4, "ttl_s": 60.0})

    def test_life(self) -> None:
        """A life may have a unit; that it was cut is said."""
        for typed, said in (
            ("5m", "for 5 min\n"),
            ("2d", "for 1 d (cut from 2 d: max_store_duration of the node)\n"),
            ("0", "for 1 h\n"),
        ):
            self.assertTrue(self.command(put.command, "greeting", "value", "--ttl", typed).output.endswith(said), typed)
        self.assertEqual([300, 172_800, None], [ttl_s for *_, ttl_s, _ in self.dht.puts])
        for typed in "soon", "0.5", "-5m", "1000000d":
            self.assertEqual(2, self.command(put.command, "greeting", "value", "--ttl", typed).exit_code, typed)

    def test_small_ring(self) -> None:
        """A node that knows its whole ring is believed when that has fewer nodes than the copies wanted."""
        self.dht.state = {"member": True, "whole": True, "successors": ["127.0.0.2:6401", "127.0.0.3:6401"]}
        self.dht.copies_confirmed = 2
        self.assertIn("): 2 of 3 nodes have it", self.command(put.command, "greeting", "value").output)
        self.dht.state |= {"successors": []}
        self.dht.copies_confirmed = 1
        self.assertIn("): 1 of 1 node has it", self.command(put.command, "greeting", "value").output)

    def test_too_few_copies(self) -> None:
        """With --copies the status is 4 where fewer nodes will have it, and that is said."""
        result = self.command(put.command, "greeting", "value", "--copies", "9")
        self.assertEqual(4, result.exit_code)
        self.assertIn("only 4 nodes of 9 have it; 4 nodes will have it, --replication asks for more", result.stderr)
        shown = self.shown(put.command, "greeting", "value", "--copies", "9")
        self.assertEqual(("too few copies", 4, True), (shown["error"]["kind"], shown["copies"], shown["done"]))
        self.assertEqual(0, self.command(put.command, "greeting", "value", "--copies", "4").exit_code)

    def test_in_no_ring(self) -> None:
        """A put that fails at a node that is in no ring says what keeps it out."""
        failed = Unreachable(None, IN_NO_RING)
        self.dht.put = lambda *arguments: fail(failed)  # type: ignore[method-assign]
        self.dht.state = {"member": False, "joining": {"1.2.3.4:5": "connection refused"}}
        result = self.command(put.command, "greeting", "value")
        self.assertIn("failed: this node is in no ring yet: 1.2.3.4:5: connection refused\n", result.stderr)

    def test_impossible_values(self) -> None:
        """An empty value, and one of 65,496 bytes, are refused with one line and status 2, and nobody is asked."""
        for typed, expected in (
            (b"", "Error: the value is empty; it has 1 to 65,495 bytes\n"),
            (b"x" * 65_496, "Error: the value has more than 65,495 bytes\n"),
        ):
            result = self.command(put.command, "greeting", typed=typed)
            self.assertEqual((result.exit_code, result.output), (2, expected))
        self.assertEqual(self.command(put.command, "greeting", "").exit_code, 2)
        self.assertEqual(self.door.asked, [])

    def test_content(self) -> None:
        """With --content the key is the value's own SHA-256, and afterwards nothing else can stand there."""
        key = sha256(b"for ever").hexdigest()
        self.assertEqual(self.shown(put.command, "--content", "for ever")["key"], key)
        self.assertEqual(self.shown(put.command, "--content", typed=b"for ever")["key"], key)
        refused = self.command(put.command, key, "something else")
        self.assertEqual((refused.exit_code, refused.stdout), (1, ""))
        self.assertEqual(refused.stderr, f"Error: {key}: refused: a better record stands there\n")

    def test_signed(self) -> None:
        """With --signed only the owner of the key file writes under its name, each time with a higher number."""
        keyfile = self.keyfile()
        key = signed_key(self.key.public_key().public_bytes_raw(), b"news").hex()
        first = self.shown(put.command, "news", "one", "--signed", keyfile, "--seq", "5")
        self.assertEqual((first["key"], first["seq"]), (key, 5))
        self.assertEqual(self.command(put.command, "news", "two", "--signed", keyfile, "--expect", "5").exit_code, 0)
        for words in (
            ("news", "old", "--signed", keyfile, "--seq", "4"),
            ("news", "unexpected", "--signed", keyfile, "--expect", "5"),
            (key, "plain"),
        ):
            self.assertEqual(self.command(put.command, *words).exit_code, 1, words)
        self.assertEqual(self.command(get.command, key).output, "two")

    def test_refused_as_json(self) -> None:
        """A refusal is shown as JSON as well, where that was asked for."""
        key = sha256(b"for ever").hexdigest()
        self.command(put.command, "--content", "for ever")
        reason = f"{key}: refused: a better record stands there"
        expected = {"key": key, "done": False, "error": {"kind": "refused", "reason": reason}}
        self.assertEqual(self.shown(put.command, key, "something else"), expected)

    def test_failed(self) -> None:
        """A put that too few nodes confirmed ends with status 1 and says so."""

        def nobody(*arguments: object) -> Deferred[PutResult]:
            return fail(Unreachable(None, "1 of 4 copies confirmed"))

        self.dht.put = nobody  # type: ignore[method-assign,assignment]
        result = self.command(put.command, "greeting", "value")
        self.assertEqual(
            (1, "Error: greeting (18f6b020...): failed: 1 of 4 copies confirmed\n"), (result.exit_code, result.output)
        )

    def test_bad_usage(self) -> None:
        """Words that contradict one another are bad usage, and say what they are about."""
        keyfile, no_key = self.keyfile(), Path(self.mktemp())
        no_key.write_text("nothing")
        for words, about in (
            ((), "Missing argument 'KEY'"),
            (("--content", "one", "two"), "with --content there is no KEY"),
            (("--content", "one", "--signed", keyfile), "two kinds of record"),
            (("name", "value", "--seq", "5"), "--seq and --expect are for --signed"),
            (("name", "value", "--ttl", "-1"), "-1 is not from 0"),
            (("name", "value", "--api", "nowhere"), "'nowhere' is neither host:port nor unix:PATH"),
            (("name", "value", "--signed", str(no_key)), "holds no Ed25519 private key"),
            (("name", "value", "--signed", "missing.pem"), "No such file"),
            (("n" * 65, "value", "--signed", keyfile), "a name of at most 64 bytes"),
            (("name", "value", "--file", str(no_key)), "VALUE and --file are two values"),
            (("name", "-", "--file", str(no_key)), "VALUE and --file are two values"),
            (("name", "--file", "missing"), "No such file"),
            (("name", "--file", "/"), "Is a directory"),
        ):
            result = self.command(put.command, *words)
            self.assertEqual(result.exit_code, 2, words)
            self.assertIn(about, result.output)
        self.assertEqual(self.door.asked, [])


class KeyTests(CommandTestCase):
    """What all three commands make of the KEY that was typed."""

    def test_empty(self) -> None:
        """An empty name is a script's mistake: nothing is stored, read or ended under the hash of nothing."""
        keyfile = self.keyfile()
        for command, *words in (
            (put.command, "", "value"),
            (put.command, "", "value", "--signed", keyfile),
            (get.command, ""),
            (delete.command, ""),
            (delete.command, "", "--signed", keyfile),
        ):
            result = self.command(command, *words)
            self.assertEqual(2, result.exit_code, words)
            self.assertIn("'KEY': it is empty", result.output)
        self.assertEqual([], self.door.asked)

    def test_nearly_a_key(self) -> None:
        """A digit too few or too many, 0x or a blank in front: said on standard error, and taken as a name."""
        for name in ("a" * 63, "A1" * 32 + "f", "0x" + "a" * 64, "0x" + "a" * 62, " " + "a" * 64, " " + "a" * 63):
            for command, *words in (put.command, name, "value"), (get.command, name), (delete.command, name):
                result = self.command(command, *words)
                self.assertEqual(0, result.exit_code, result.output)
                self.assertEqual(f"{name} is taken as a name; a key has 64 digits\n", result.stderr)
        self.assertEqual(sha256(b"a" * 63).digest(), self.dht.puts[0][0])

    def test_others(self) -> None:
        """A key, and a name that nobody takes for one, are used without a word."""
        for name in ("a" * 64, "AB" * 32, "a" * 40, "0xdead", "a" * 72, "greeting", "g" * 64):
            self.assertEqual("", self.command(put.command, name, "value").stderr, name)


class GetTests(CommandTestCase):
    def test_exact_bytes(self) -> None:
        """The value is written byte for byte, and nothing besides."""
        value = bytes(range(256))
        self.dht.put(bytes.fromhex(GREETING), value)
        result = self.command(get.command, "greeting")
        self.assertEqual((result.exit_code, result.stdout_bytes, result.stderr), (0, value, ""))

    def test_nothing(self) -> None:
        """Where there is nothing the status is 1, and standard output stays empty."""
        result = self.command(get.command, "greeting")
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        self.assertEqual(result.stderr, "Error: there is no value under greeting (18f6b020...)\n")

    def test_in_no_ring(self) -> None:
        """A node that is in no ring could not look: that is another answer than nothing."""
        self.dht.state = {"member": False, "joining": {"1.2.3.4:5": "busy"}}
        result = self.command(get.command, "greeting")
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(
            result.stderr, "Error: greeting (18f6b020...): not found: this node is in no ring yet: 1.2.3.4:5: busy\n"
        )

    def test_answered_with_nothing(self) -> None:
        """A node that answers with nothing has an error, which is another thing than no value."""
        self.door = MemoryDoor(self.dht, self.clock, operate=lambda text, is_operators, tell: succeed(None))
        result = self.command(get.command, "greeting", "--json")
        self.assertEqual(result.exit_code, 3)
        self.assertIn("answered with nothing: its log has the reason", result.stderr)

    def test_output_fails(self) -> None:
        """Whoever has read enough of the value is told nothing; a full disk ends it with one line."""
        self.dht.put(bytes.fromhex(GREETING), b"good morning")
        for number, said in (EPIPE, ""), (ENOSPC, "Error: standard output: No space left on device\n"):

            def write(*given: object, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            buffer = SimpleNamespace(write=write, flush=write)
            self.patch(get, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: False, buffer=buffer)))
            result = self.command(get.command, "greeting")
            self.assertEqual((result.exit_code, result.stderr), (1, said))


class DeleteTests(CommandTestCase):
    def test_plain(self) -> None:
        """What was deleted is gone, and the nodes that know are told."""
        self.command(put.command, "greeting", "value")
        result = self.command(delete.command, "greeting")
        self.assertEqual((result.exit_code, result.output), (0, "greeting (18f6b020...): ended, confirmed by 4 of 4\n"))
        self.assertEqual(self.command(get.command, "greeting").exit_code, 1)

    def test_signed(self) -> None:
        """A signed record is ended by its owner only."""
        keyfile = self.keyfile()
        key = self.shown(put.command, "news", "one", "--signed", keyfile)["key"]
        self.assertEqual(self.command(delete.command, key).exit_code, 1)
        self.assertEqual(self.command(get.command, key).output, "one")
        later = str(2**62)
        shown = self.shown(delete.command, "news", "--signed", keyfile, "--seq", later)
        self.assertEqual(shown, {"key": key, "done": True, "copies": 4, "wanted": 4, "seq": int(later)})
        self.assertEqual(self.command(get.command, key).exit_code, 1)

    def test_bad_usage(self) -> None:
        """A number without a key file is bad usage."""
        self.assertEqual(self.command(delete.command, "greeting", "--seq", "4").exit_code, 2)


STATE: dict[str, object] = {
    "schema": 1,
    "health": "well",
    "alarms": [],
    "ready": True,
    "version": "0.1.0",
    "uptime_s": 7500.0,
    "id": "337746b4" + "0" * 56,
    "address": "127.0.0.1:6401",
    "epoch": 5,
    "network": "lab",
    "member": True,
    "joining": {},
    "predecessor": "127.0.0.9:6401",
    "successors": [f"127.0.0.{number}:6401" for number in range(2, 9)],
    "whole": True,
    "fingers": {"255": "127.0.0.5:6401"},
    "silent": ["127.0.0.3:6401"],
    "suspected": [],
    "convicted": [],
    "lookups": {"asked": 150, "hops": 300, "questions": 450},
    "links": {"open": 3, "bytes_written": 7_680_000},
    "refusals": {"bad_proof": 0, "too_busy": 2},
    "clients": {"connections": 1},
    "records": 12,
    "bytes": 3500,
    "tombstones": 1,
    "published": 3,
    "pulling": False,
    "repair": {"rounds": 1, "sent": 2, "fetched": 3, "dropped": 4},
    "events": [{"at_ms": 5, "text": "left"}],
}


class StatusTests(CommandTestCase):
    def test_for_people(self) -> None:
        """The first line says how it is; behind it stands what it is, where it stands, what it keeps and does."""
        self.dht.state = STATE
        expected = """\
well
node       337746b4, network lab, version 0.1.0
address    127.0.0.1:6401
up         2 h 5 min
ring       member of 8, all of them known
before it  127.0.0.9:6401
behind it  127.0.0.2:6401, 127.0.0.3:6401, 127.0.0.4:6401, 127.0.0.5:6401 and 3 more
fingers    1
silent     127.0.0.3:6401
keeps      12 records, 3.4 KiB; 1 tombstone
           3 put here, and again where copies are lost
repair     1 round; 2 sent, 3 fetched, 4 dropped
links      3 open; 7.3 MiB written, 1.0 KiB/s
refused    2 too_busy
clients    1 connections
lookups    150, 2.0 hops and 3.0 questions each; 0.02 per second
"""
        self.assertEqual(expected.splitlines(), self.lines())

    def lines(self, *words: str) -> list[str]:
        return [line.rstrip() for line in self.command(status.command, *words).output.splitlines()]

    def test_long(self) -> None:
        """With --long ids are whole, and all that the node tells is shown."""
        self.dht.state = STATE | {"new": {"deep": [1, 2]}}
        shown = "\n".join(self.lines("--long"))
        self.assertIn(str(STATE["id"]), shown)
        self.assertIn("127.0.0.8:6401", shown)
        self.assertRegex(shown, r"\nnew +deep 1, 2")
        self.dht.state = STATE | {"chores": {"walk": {"rounds": 2}, "merge": {"rounds": 1}}}
        self.assertRegex("\n".join(self.lines("--long")), r"\nchores +walk: rounds 2\nchores +merge: rounds 1")

    def test_not_well(self) -> None:
        """A node that is not well says why first; one that is no member says what keeps it out."""
        self.dht.state = STATE | {"health": "this machine's clock says 1970"}
        self.assertEqual("not well: this machine's clock says 1970", self.lines()[0])
        joining = {"192.0.2.1:6401": "connection refused", "192.0.2.2:6401": "busy"}
        self.dht.state = STATE | {
            "health": "in no ring yet",
            "member": False,
            "joining": joining,
            "tried_next": "192.0.2.3:1",
        }
        shown = self.lines()
        self.assertEqual("in no ring yet", shown[0])
        words = [" ".join(line.split()) for line in shown]
        at = words.index("ring no member yet")
        told = ["192.0.2.1:6401: connection refused", "192.0.2.2:6401: busy", "tried next 192.0.2.3:1"]
        self.assertEqual(told, words[at + 1 : at + 4])

    def test_wait(self) -> None:
        """With --wait it waits until the node is a member."""
        self.dht.state = {"member": False}
        self.clock.callLater(20, self.dht.state.update, STATE)
        self.assertEqual("well", self.lines("--wait", "30")[0])

    def test_json(self) -> None:
        """With --json the state is shown as the node tells it."""
        self.assertEqual(self.shown(status.command), self.dht.state)

    def test_hostile(self) -> None:
        """What strangers have told the node, and names that a node makes up, stay on their line and steer nothing."""
        said = "busy\x1b[2J\nmember      yes\u2028\u202e"
        self.dht.state = STATE | {"member": False, "joining": {"192.0.2.1:6401": said, said: 1}, said: [{said: [said]}]}
        for words in [], ["--long"]:
            shown = self.command(status.command, *words).output
            self.assertTrue(shown.replace("\n", "").isprintable(), shown)
        self.assertEqual(self.dht.state, self.shown(status.command))
        self.assertTrue(self.command(status.command, "--json").output.strip().isprintable())
        odd: tuple[object, ...] = (said, 5, None, [said], {said: said})
        for value in odd:
            self.dht.state = {name: value for name in STATE if name != "events"} | {"member": True}
            result = self.command(status.command, "--long")
            self.assertEqual((0, None), (result.exit_code, result.exception), value)
            self.assertTrue(result.output.replace("\n", "").isprintable(), result.output)

    def test_hostile_reason(self) -> None:
        """So does the reason why a put failed."""
        reason = "the owner said no\x1b[2J\nstored\u202e"
        self.dht.put = lambda *arguments: fail(Unreachable(None, reason))  # type: ignore[method-assign]
        result = self.command(put.command, "greeting", "value")
        self.assertEqual((1, 1), (result.exit_code, result.stderr.count("\n")))
        self.assertTrue(result.stderr.strip().isprintable(), result.stderr)
        self.assertTrue(self.command(put.command, "greeting", "value", "--json").stdout.strip().isprintable())

    def test_check(self) -> None:
        """With --check the status is 0 for a member that is well, and 1 for any other."""
        for state, expected in (
            ({"health": "well", "ready": True}, 0),
            ({"health": "well", "ready": False}, 1),
            ({"health": "this machine's clock says 1970", "ready": True}, 1),
            ({}, 1),
        ):
            self.dht.state = state
            self.assertEqual(expected, self.command(status.command, "--check").exit_code, state)

    def test_events(self) -> None:
        """With --events the last events are shown instead, each with its time; without, none."""
        self.dht.state = {"health": "well", "events": [{"at_ms": 86_400_000, "text": "10.0.0.2:6401 left"}]}
        self.assertEqual(["well"], [line for line in self.lines() if line])
        self.assertRegex(
            self.command(status.command, "--events").output, r"1970-01-0[12] \d\d:00:00\S+  10.0.0.2:6401 left\n"
        )
        self.assertEqual(self.dht.state["events"], self.shown(status.command, "--events"))


class ShutdownTests(CommandTestCase):
    def test_gone(self) -> None:
        """The node leaves, and the command says so when it is gone."""
        result = self.command(shutdown.command)
        self.assertEqual((result.exit_code, result.output), (0, "the node at 127.0.0.1:7401 has left\n"))
        self.assertEqual(self.dht.left, 1)

    def test_json(self) -> None:
        """With --json too."""
        self.assertEqual(self.shown(shutdown.command), {"api": "127.0.0.1:7401", "shut_down": True})

    def test_not_allowed(self) -> None:
        """A node that takes no SHUTDOWN from here goes on, and the status is 1."""
        self.door = MemoryDoor(self.dht, self.clock, shutdown_allowed=False)
        result = self.command(shutdown.command)
        self.assertEqual((result.exit_code, self.dht.left), (1, 0))
        self.assertIn("takes no SHUTDOWN from here", result.output)
        shown = self.shown(shutdown.command)
        self.assertEqual((shown["shut_down"], shown["error"]["kind"]), (False, "failed"))


class ReachingTests(CommandTestCase):
    def test_nobody_there(self) -> None:
        """Every command ends with status 3 where no node is reached, and one line that names the address."""
        self.door.is_there = False
        for command, *words in (
            (put.command, "greeting", "value"),
            (get.command, "greeting"),
            (delete.command, "greeting"),
            (status.command,),
            (shutdown.command,),
        ):
            result = self.command(command, *words, "--json")
            reason = "127.0.0.1:7401: no node answers there: Connection refused"
            self.assertEqual((3, f"Error: {reason}\n"), (result.exit_code, result.stderr), words)
            self.assertEqual({"error": {"kind": "unreachable", "reason": reason}}, json.loads(result.stdout))

    def test_silent(self) -> None:
        """A node that does not answer in time is not reachable either."""
        self.door.is_silent = True
        result = self.command(get.command, "greeting")
        self.assertEqual(result.exit_code, 3)
        self.assertEqual(result.stderr, "Error: the node at 127.0.0.1:7401 did not answer within 30 s\n")

    def test_somebody_else(self) -> None:
        """A server that speaks otherwise is no node, in one line."""

        def dial(api: ApiAddress, deadline: Deadline) -> BlockingClient:
            raise Malformed("the node sent rubbish\x1b[2J\n\u202e")

        self.patch(self.door, "dial", dial)
        result = self.command(get.command, "greeting")
        self.assertEqual(result.exit_code, 3)
        told = "127.0.0.1:7401 is no API of a chordtwist node: the node sent rubbish\\x1b[2J\\n\\u202e"
        self.assertEqual(f"Error: {told}\n", result.stderr)

    def test_address(self) -> None:
        """The address comes from --api, else from the environment, else it is the course's habitual one."""
        runner = CliRunner(env={"CHORDTWIST_API": "[::1]:7402"})
        runner.invoke(get.command, ["greeting"], obj=self.door)
        runner.invoke(get.command, ["greeting", "--api", "unix:/run/api.sock"], obj=self.door)
        self.command(get.command, "greeting")
        self.assertEqual(self.door.asked, ["[::1]:7402", "unix:/run/api.sock", "127.0.0.1:7401"])

    def test_address_before(self) -> None:
        """It may stand before the command as well, where it counts more than the environment, and less than behind."""
        self.chordtwist("--api", "127.0.0.2:7401", "get", "greeting")
        self.chordtwist("--api", "127.0.0.2:7401", "get", "greeting", "--api", "127.0.0.3:7401")
        CliRunner(env={"CHORDTWIST_API": "[::1]:7402"}).invoke(
            main, ["--api", "127.0.0.2:7401", "get", "greeting"], obj=self.door
        )
        self.assertEqual(["127.0.0.2:7401", "127.0.0.3:7401", "127.0.0.2:7401"], self.door.asked)

    def test_bad_address(self) -> None:
        """An address that is none is told what is near it, and where it was given."""
        for typed, said in (
            ("http://127.0.0.1:7401", "'--api': 'http://127.0.0.1:7401' is a URL; an address is host:port alone"),
            ("http://127.0.0.1:7401/", "host:port alone: 127.0.0.1:7401\n"),
            ("127.0.0.1", "did you mean 127.0.0.1:7401?"),
            ("::1", "stands in brackets, as in [::1]:6401"),
            ("127.0.0.1:x", "port 'x' is not a whole number"),
            ("", "''"),
        ):
            result = self.command(get.command, "greeting", "--api", typed)
            self.assertEqual(2, result.exit_code)
            self.assertIn(said, result.stderr)
            self.assertNotIn("CHORDTWIST_API", result.stderr)
        told = CliRunner(env={"CHORDTWIST_API": "x:y"}).invoke(main, ["status"], obj=self.door).stderr
        self.assertIn("CHORDTWIST_API of the environment: port 'y' is not", told)

    def test_timeout(self) -> None:
        """With --timeout it is given up earlier, or later."""
        self.door.is_silent = True
        for typed, said in ("5", "5 s"), ("2m", "2 min"):
            began_s = self.clock.seconds()
            result = self.command(get.command, "greeting", "--timeout", typed, "--wait", "0")
            told = f"Error: the node at 127.0.0.1:7401 did not answer within {said}\n"
            self.assertEqual((3, told), (result.exit_code, result.stderr))
            self.assertEqual({"5": 5, "2m": 120}[typed], self.clock.seconds() - began_s)
        self.assertEqual(2, self.command(get.command, "greeting", "--timeout", "soon").exit_code)

    def test_bad_usage_as_json(self) -> None:
        """Bad usage is shown as JSON as well, where that was asked for; not where --json is a value."""
        result = self.chordtwist("get", "--json")
        self.assertEqual({"kind": "bad usage", "reason": "Missing argument 'KEY'."}, json.loads(result.stdout)["error"])
        self.assertEqual("bad usage", self.shown(put.command, "greeting", "")["error"]["kind"])
        self.assertEqual("", self.chordtwist("get", "--", "--json", "more").stdout)


class PatienceTests(SynchronousTestCase):
    """A node that may still be starting is waited for, for a while."""

    def setUp(self) -> None:
        """A place where nobody listens."""
        self.clock = Clock()
        self.dht = MemoryDht(self.clock)
        self.door = MemoryDoor(self.dht, self.clock)
        self.door.is_there = False

    def waited_s(self, host: str = "127.0.0.1", member: bool = False) -> float:
        """How long it takes until somebody is connected to, or nobody."""
        caller = Caller(self.door, Address(host, 7401), False)
        began_s = self.clock.seconds()
        try:
            caller.talk(lambda connect: connect(member=member))
        except NotReachable:
            self.assertFalse(self.door.is_there)
        return self.clock.seconds() - began_s

    def test_comes_up(self) -> None:
        """Who listens in time is connected to."""
        self.clock.callLater(2, setattr, self.door, "is_there", True)
        self.assertAlmostEqual(2, self.waited_s(), delta=TRY_EVERY_S + 0.01)
        self.assertTrue(self.door.is_there)

    def test_somebody_else(self) -> None:
        """Whoever listens and ends the connection, as a node's port for other nodes does, is not tried again."""
        self.door.is_there = True
        dialled: list[ApiAddress] = []

        def dial(api: ApiAddress, deadline: Deadline) -> BlockingClient:
            dialled.append(api)
            end = MemorySocket(self.clock)
            end.connectionLost()
            return BlockingClient(end, deadline)

        self.patch(self.door, "dial", dial)
        self.assertRaises(NotReachable, Caller(self.door, Address("127.0.0.1", 6401), False).talk, lambda c: c(True))
        self.assertEqual((1, 0), (len(dialled), self.clock.seconds()))

    def test_never_comes_up(self) -> None:
        """After that time, or at once where it is no node of this machine, nobody is there."""
        self.assertAlmostEqual(UP_WITHIN_S, self.waited_s(), delta=TRY_EVERY_S + 0.01)
        self.assertEqual(0, self.waited_s("192.0.2.1"))

    def test_gone_after_it_was_there(self) -> None:
        """A node that was there and is gone is not waited for."""

        def conversation(connect: Connect) -> None:
            connect()
            self.door.is_there = False
            connect()

        self.door.is_there = True
        caller = Caller(self.door, Address("127.0.0.1", 7401), False)
        self.assertRaises(NotReachable, caller.talk, conversation)
        self.assertEqual(0, self.clock.seconds())

    def test_member(self) -> None:
        """A node that is asked for records gets the time to join its ring."""
        self.door.is_there = True
        self.dht.state = {"member": False}
        self.clock.callLater(2, self.dht.state.update, {"member": True})
        self.assertAlmostEqual(2, self.waited_s(member=True), delta=TRY_EVERY_S + 0.01)

    def test_never_a_member(self) -> None:
        """One that is in no ring by then is asked all the same; so is one from elsewhere, without a question before."""
        self.door.is_there = True
        self.dht.state = {"member": False}
        self.assertAlmostEqual(UP_WITHIN_S, self.waited_s(member=True), delta=TRY_EVERY_S + 0.01)
        self.assertEqual(0, self.waited_s("192.0.2.1", member=True))
