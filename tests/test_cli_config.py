"""``chordtwist config``: every mistake at once, every option explained, every value with where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli.commands import main
from chordtwist.app.cli.shapes import SHAPES
from chordtwist.app.config import SECTIONS, NodeConfig, options
from chordtwist.app.config_file import read_text

TEN_MISTAKES = """\
replication = 3
[dth]
api_address = x
p2p_adress = 127.0.0.1:6401
network = "my ring"
identity
replication = 40
replication = 5
stabilize_interval = soon
[tls]
mode = closde
secret = short
[limits]
nothing_like_it = 1
"""

FOUND = [
    (1, "replication", "stands before any section; [dht] belongs above it"),
    (2, None, "[dth] is no section of this program; did you mean [dht]?"),
    (3, "api_address", "'x' is neither host:port nor unix:PATH"),
    (4, "p2p_adress", "is no key of [dht]; did you mean p2p_address?"),
    (5, "network", "stands in quotes, which would be part of it; none are needed"),
    (6, None, "is not of the form key = value"),
    (7, "replication", "40 copies do not fit 16 successors"),
    (8, "replication", "is already given in line 7"),
    (9, "stabilize_interval", "'soon' is no duration; one is written as 90, 45s, 5m, 1h30m or 2d"),
    (11, "mode", "'closde' is none of open, closed, off; did you mean closed?"),
    (12, "secret", "from 16 to 255 bytes of text, such as: openssl rand -hex 32"),
]


class ConfigTestCase(SynchronousTestCase):
    def config(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["config", *words])

    def shown(self, shape: str, *words: str) -> Any:
        shown = json.loads(self.config(*words, "--json").stdout)
        msgspec.convert(shown, SHAPES[shape])
        return shown

    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)


class CheckTests(ConfigTestCase):
    def test_ten_mistakes(self) -> None:
        """All mistakes of a file are told at once, in the order of its lines, with status 2."""
        path = self.file(TEN_MISTAKES)
        told = self.shown("config-check", "check", path)
        found = [(mistake["line"], mistake["key"], mistake["reason"]) for mistake in told["mistakes"]]
        self.assertEqual(found[: len(FOUND)], FOUND)
        (line, key, reason), *further = found[len(FOUND) :]
        self.assertEqual((line, key, further), (14, None, []))
        self.assertIn("no key of [limits] stands here", reason)
        self.assertFalse(told["right"])
        shown = self.config("check", path)
        self.assertEqual((shown.exit_code, len(shown.stdout.splitlines())), (2, len(found)))
        self.assertEqual(shown.stdout.splitlines()[1], f"{path}, line 2: {FOUND[1][2]}")
        self.assertEqual(shown.stderr, f"{len(found)} mistakes\n")

    def test_right(self) -> None:
        """A file that is right is said to be so, with status 0."""
        path = self.file("[dht]\n")
        shown = self.config("check", path)
        self.assertEqual((shown.exit_code, shown.stdout), (0, f"{path}: nothing is wrong with it\n"))

    def test_what_follows_from_a_mistake_is_none(self) -> None:
        """A value that makes no sense contradicts nothing: its default is not what the file says."""
        path = self.file("[dht]\np2p_address = 0.0.0.0:6401\npublic_address = here\n")
        told = self.shown("config-check", "check", path)
        self.assertEqual([mistake["key"] for mistake in told["mistakes"]], ["public_address"])

    def test_unreadable(self) -> None:
        """A file that is not there is one mistake."""
        shown = self.config("check", "/nowhere/node.ini")
        self.assertEqual(
            (shown.exit_code, shown.stdout), (2, "/nowhere/node.ini: cannot be read: No such file or directory\n")
        )


class ExplainTests(ConfigTestCase):
    def test_every_option(self) -> None:
        """All options of the one table are explained, with sentence, default and other names."""
        told = {(one["section"], one["key"]): one for one in self.shown("config-explain", "explain")["options"]}
        expected = {(section, key) for section in SECTIONS for key in options(section)} | {("", "hostkey")}
        self.assertEqual(set(told), expected)
        for section in SECTIONS:
            for key, reading in options(section).items():
                self.assertEqual(told[section, key]["sentence"], reading.sentence)
                self.assertEqual(told[section, key]["aliases"], list(reading.aliases))

    def test_chosen(self) -> None:
        """An option is found by section and key, by its key, by another name of it; a section by its name."""
        for words in "dht.replication", "replication", "[dht] replication", "DHT.Replication":
            found = [one["key"] for one in self.shown("config-explain", "explain", words)["options"]]
            self.assertEqual(found, ["replication"])
        self.assertEqual(self.shown("config-explain", "explain", "bootstrapper")["options"][0]["key"], "bootstrap_node")
        found = [one["key"] for one in self.shown("config-explain", "explain", "log")["options"]]
        self.assertEqual(found, ["level", "format"])
        self.assertIn("[dht] replication   default: 4\n    Copies", self.config("explain", "replication").stdout)

    def test_unknown(self) -> None:
        """An option that there is not is bad usage, with the nearest one."""
        shown = self.config("explain", "replicaton")
        self.assertEqual(shown.exit_code, 2)
        self.assertIn("did you mean replication?", shown.stderr)


class ShowTests(ConfigTestCase):
    def test_where_from(self) -> None:
        """Each value is shown with the line it comes from, under which name, or as a default; secrets are not shown."""
        path = self.file(
            "[dht]\nbootstrap = 10.0.0.1:6401, 10.0.0.2:6401\napi_socket_mode = 600\n[tls]\nsecret = " + "s" * 20
        )
        told = {
            one["key"]: (one["value"], one["from"]) for one in self.shown("config-show", "show", "-c", path)["options"]
        }
        self.assertEqual(told["bootstrap_node"], ("10.0.0.1:6401, 10.0.0.2:6401", "line 2, as bootstrap"))
        self.assertEqual(told["api_socket_mode"], ("600", "line 3"))
        self.assertEqual(told["replication"], ("4", "default"))
        self.assertEqual(told["secret"], ("(not shown)", "line 5"))
        changed = self.config("show", "-c", path, "--changed").stdout
        self.assertNotIn("ssss", changed)
        self.assertNotIn("replication", changed)
        self.assertIn("; line 3", changed)

    def test_follows_from_address(self) -> None:
        """What is empty and follows from p2p_address is shown as it is for the node that has this file."""
        for host, api, identity in (
            ("127.0.0.1", "127.0.0.1:7000", "address"),
            ("10.0.0.1", "127.0.0.1:7401", "ip"),
            ("ring.example", "127.0.0.1:7401", ""),
        ):
            path = self.file(f"[dht]\np2p_address = {host}:6000\n")
            told = self.told(path)
            beside = "p2p_address" if host == "127.0.0.1" else "default"
            self.assertEqual(told["api_address"], (api, beside))
            self.assertEqual(told["public_address"], (f"{host}:6000", "p2p_address"))
            self.assertEqual(told["identity"], (identity, "p2p_address" if identity else "default"))
            self.assertNotIn("identity", self.config("show", "-c", path, "--changed").stdout)

    def test_left_empty(self) -> None:
        """A file may leave such an option empty on purpose: then its line is named as well."""
        path = self.file("[dht]\np2p_address = 10.0.0.1:6000\nidentity =\n")
        self.assertEqual(self.told(path)["identity"], ("ip", "line 3: p2p_address"))

    def test_follows_from_public_address(self) -> None:
        """The place of a node follows from where others dial it."""
        path = self.file("[dht]\np2p_address = 127.0.0.1:6000\npublic_address = 192.0.2.1:6000\n")
        self.assertEqual(self.told(path)["identity"], ("ip", "public_address"))

    def told(self, path: str) -> dict[str, tuple[str, str]]:
        """The value of each option, and where it comes from."""
        options = self.shown("config-show", "show", "-c", path)["options"]
        return {one["key"]: (one["value"], one["from"]) for one in options}

    def test_defaults(self) -> None:
        """Without a file the defaults are shown; a file with a mistake is answered with it, and status 2."""
        places = {one["from"] for one in self.shown("config-show", "show")["options"]}
        self.assertEqual(places, {"default", "p2p_address"})
        self.assertEqual(self.config("show", "-c", self.file("[dht]\nx")).exit_code, 2)


class InitTests(ConfigTestCase):
    def test_defaults(self) -> None:
        """The file that it writes has every option, and says nothing but the defaults; so it does without its
        comments' signs.
        """
        text = self.config("init").stdout
        self.assertEqual(read_text(text, "node.ini", Path("/")), NodeConfig())
        given = "\n".join(
            line.removeprefix("# ") if " = " in line and line[2:].split(" = ")[0].isidentifier() else line
            for line in text.splitlines()
        )
        keys = [key for section in SECTIONS for key in options(section)]
        for key in keys:
            self.assertIn(f"# {key} =", text)
        self.assertEqual(read_text(given, "node.ini", Path("/")), NodeConfig())
        self.assertLessEqual(max(map(len, text.splitlines())), 118)
