"""The configuration file: what is read, what is refused and in which words, and that etc/node.ini tells the truth."""

from __future__ import annotations

import re
import tempfile
import textwrap
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import chordtwist
from chordtwist.app.config import (
    SECTIONS,
    ConfigurationError,
    Level,
    LogFormat,
    NodeConfig,
    TlsMode,
    options,
    read_file,
    read_text,
)
from chordtwist.core.address import Address, UnixAddress
from chordtwist.core.peer import Policy

CHECKOUT = Path(chordtwist.__file__).parent.parent
FOLDER = Path("/etc/chordtwist")


def read(text: str) -> NodeConfig:
    """The configuration in `text`, which may be indented."""
    return read_text(textwrap.dedent(text), "node.ini", FOLDER)


class ReadTests(SynchronousTestCase):
    """Files that are right."""

    def test_defaults(self) -> None:
        """What is not given has its default: a node of its own on loopback, with the course's ports and with TLS."""
        config = read("[dht]")
        self.assertEqual(NodeConfig(), config)
        self.assertEqual(Address("127.0.0.1", 7401), config.dht.api_address)
        self.assertEqual(Address("127.0.0.1", 6401), config.dht.p2p_address)
        self.assertEqual((), config.dht.bootstrap_node)
        self.assertIs(TlsMode.OPEN, config.tls.mode)

    def test_course_file(self) -> None:
        """A file as the course writes it is read: hostkey before any section, other modules' sections, comments."""
        config = read(
            """
            hostkey = /keys/hostkey.pem
            ; other modules
            [onion]
            api_address = 127.0.0.1:7301
            not even a key
            [dht]
            api_address = 127.0.0.1:7001   ; for local programs
            listen_address = [::1]:6001    # for peers
            bootstrapper = peer.example.org:6001, 192.0.2.1:6001
            default_store_duration = 60
            """
        )
        self.assertEqual(Path("/keys/hostkey.pem"), config.hostkey)
        self.assertEqual(Address("127.0.0.1", 7001), config.dht.api_address)
        self.assertEqual(Address("::1", 6001), config.dht.p2p_address)
        expected = (Address("peer.example.org", 6001), Address("192.0.2.1", 6001))
        self.assertEqual(expected, config.dht.bootstrap_node)
        self.assertEqual(60, config.dht.default_store_duration)

    def test_hostkey_places(self) -> None:
        """The hostkey may stand before any section, in [DEFAULT] and in [dht]."""
        for text in ("hostkey = k.pem\n[dht]", "[DEFAULT]\nhostkey = k.pem\n[dht]", "[dht]\nhostkey = k.pem"):
            self.assertEqual(FOLDER / "k.pem", read(text).hostkey, text)

    def test_aliases(self) -> None:
        """The habitual other names of the bootstrap list and of the peers' address mean the same."""
        for alias in ("bootstrap_node", "bootstrapper", "bootstrap_address", "bootstrap"):
            config = read(f"[dht]\n{alias} = 127.0.0.9:6401")
            self.assertEqual((Address("127.0.0.9", 6401),), config.dht.bootstrap_node)
        self.assertEqual(Address("127.0.0.9", 6401), read("[dht]\nlisten_address = 127.0.0.9:6401").dht.p2p_address)

    def test_without_case(self) -> None:
        """Sections and keys are without case, as in Windows."""
        self.assertEqual("Test", read("[DHT]\nNetwork = Test").dht.network)

    def test_windows_file(self) -> None:
        """A byte order mark and carriage returns are no part of the text."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "node.ini"
            path.write_bytes(b"\xef\xbb\xbf[dht]\r\nnetwork = test\r\n")
            self.assertEqual("test", read_file(path).dht.network)

    def test_comment_signs_in_values(self) -> None:
        """A sign that opens a comment only does so at the start of a line or after a blank."""
        self.assertEqual(Path("/srv/a#b;c"), read("[dht]\nstate_dir = /srv/a#b;c ; d").dht.state_dir)

    def test_paths(self) -> None:
        """A relative path starts at the file's folder."""
        self.assertEqual(FOLDER / "state", read("[dht]\nstate_dir = state").dht.state_dir)
        self.assertEqual(UnixAddress(FOLDER / "api.sock"), read("[dht]\napi_address = unix:api.sock").dht.api_address)

    def test_socket_mode(self) -> None:
        """Rights are written as for chmod, with or without the zero that some write in front."""
        self.assertEqual(0o660, read("[dht]").dht.api_socket_mode)
        for written in ("600", "0600", "0o600"):
            self.assertEqual(0o600, read(f"[dht]\napi_socket_mode = {written}").dht.api_socket_mode)

    def test_empty_values(self) -> None:
        """An option that may be absent is so when its value is empty."""
        config = read("[dht]\nbootstrap_node =\nstate_dir =\npublic_address =\n[web]\naddress =")
        self.assertEqual(NodeConfig(), config)

    def test_announced_address(self) -> None:
        """Others dial public_address where there is one."""
        config = read("[dht]\np2p_address = 0.0.0.0:6401\npublic_address = 192.0.2.7:7000")
        self.assertEqual(Address("192.0.2.7", 7000), config.announced_address)
        self.assertEqual(Address("127.0.0.1", 6401), NodeConfig().announced_address)

    def test_choices(self) -> None:
        """Words choose among what there is."""
        config = read("[dht]\nidentity = address\n[log]\nlevel = warn\nformat = JSON\n[tls]\nmode = off")
        self.assertEqual(
            (Policy.ADDRESS, Level.WARN, LogFormat.JSON, TlsMode.OFF),
            (config.dht.identity, config.log.level, config.log.format, config.tls.mode),
        )


class RefusalTests(SynchronousTestCase):
    """Files that are wrong: the error names file, line, key and what would be right."""

    def assert_refused(self, text: str, *, line: int | None, words: str) -> None:
        """Reading `text` fails at `line` with all of `words` in the message."""
        error = self.assertRaises(ConfigurationError, read_text, text, "node.ini", FOLDER)
        self.assertEqual(line, error.line, error)
        self.assertEqual([], [word for word in words.split() if word not in str(error)], error)
        self.assertNotIn("\n", str(error))

    def test_unknown_key(self) -> None:
        """A key that is not known is named together with the nearest that is."""
        error = self.assertRaises(ConfigurationError, read, "[dht]\n\nreplicaton = 3")
        expected = "node.ini, line 3: replicaton: is no key of [dht]; the nearest known one is replication"
        self.assertEqual(expected, str(error))

    def test_unknown_key_of_an_empty_section(self) -> None:
        """A section that has no keys yet says so."""
        self.assert_refused("[dht]\n[limits]\nx = 1", line=3, words="no key of [limits]")

    def test_values(self) -> None:
        """A value that cannot be used is answered with what would be right."""
        for text, words in {
            "api_address = 7401": "api_address host:port",
            "api_address = 127.0.0.1:0": "port 1 65535",
            "api_address = 127.0.0.1:65536": "port 1 65535",
            "api_address = 127.0.0.1:x": "port 1 65535",
            "api_address = unix:": "unix: path",
            f"api_address = unix:/{'x' * 107}": "107 bytes",
            "api_socket_mode = rw-rw----": "three octal digits 660",
            "api_socket_mode = 669": "three octal digits",
            "api_socket_mode = 66": "three octal digits",
            "api_socket_mode = 4660": "three octal digits",
            "api_socket_mode = 060": "three octal digits",
            "api_socket_mode = 0060": "own user",
            "p2p_address = ::1:6401": "brackets [::1]:6401",
            "p2p_address = [localhost]:6401": "IPv6 brackets",
            "p2p_address = 127.0.0.1.9:6401": "neither IP address nor host name",
            "bootstrap_node = 127.0.0.1:6401, 127.0.0.2": "'127.0.0.2' host:port",
            "replication = 0": "whole number 1 255",
            "replication = 2.5": "whole number",
            "successors = 7": "whole number 8",
            "successors = 127": "whole number 126",
            "default_store_duration = an hour": "whole number",
            "default_store_duration = 0": "from 1 to",
            "stabilize_interval = soon": "number of seconds",
            "stabilize_interval = nan": "number of seconds",
            "stabilize_interval = -1": "0.05 or more",
            "identity = name": "ip, address",
            "network =": "1 to 255",
            "api_beyond_loopback = perhaps": "yes no",
            "state_dir = ~nobody-of-that-name/x": "home",
        }.items():
            self.assert_refused(f"[dht]\n{text}\n", line=2, words=words)

    def test_wildcard_without_public_address(self) -> None:
        """Nobody can dial a wildcard: with one, public_address must say what can be dialled."""
        self.assert_refused(
            "[dht]\np2p_address = 0.0.0.0:6401", line=2, words="p2p_address 0.0.0.0:6401 public_address"
        )
        self.assert_refused("[dht]\nlisten_address = [::]:6401", line=2, words="listen_address public_address")

    def test_public_address_that_nobody_dials(self) -> None:
        """The public address is an IP address: the node's place follows from it."""
        for host in ("0.0.0.0", "node.example.org"):
            self.assert_refused(f"[dht]\npublic_address = {host}:6401", line=2, words="public_address IP")

    def test_open_api(self) -> None:
        """The API is opened beyond loopback by two words, never by one."""
        for host in ("0.0.0.0", "192.0.2.1", "node.example.org", "[::]"):
            self.assert_refused(f"[dht]\napi_address = {host}:7401", line=2, words="loopback api_beyond_loopback")
        opened = read("[dht]\napi_address = 192.0.2.1:7401\napi_beyond_loopback = yes")
        self.assertEqual(Address("192.0.2.1", 7401), opened.dht.api_address)
        self.assertEqual(Address("localhost", 7401), read("[dht]\napi_address = localhost:7401").dht.api_address)

    def test_without_tls_only_on_loopback(self) -> None:
        """mode = off refuses addresses that others could reach."""
        text = "[dht]\np2p_address = 192.0.2.1:6401\n[tls]\nmode = off"
        self.assert_refused(text, line=2, words="p2p_address loopback mode")
        text = "[dht]\npublic_address = 192.0.2.1:6401\n[tls]\nmode = off"
        self.assert_refused(text, line=2, words="public_address loopback mode")

    def test_closed_needs_its_papers(self) -> None:
        """A closed network's node has the authority's certificate and its own with its key."""
        self.assert_refused("[dht]\n[tls]\nmode = closed", line=None, words="authority closed")
        self.assert_refused("[dht]\n[tls]\nauthority = a.pem", line=3, words="authority mode closed")
        self.assert_refused("[dht]\n[tls]\nmode = closed\nauthority = a.pem", line=None, words="certificate closed")
        self.assert_refused("[dht]\n[tls]\ncertificate = c.pem", line=3, words="key hostkey")
        papers = "[tls]\nmode = closed\nauthority = a.pem\ncertificate = c.pem\nkey = k.pem"
        self.assertEqual(FOLDER / "k.pem", read(f"[dht]\n{papers}").tls.key)
        self.assertIs(TlsMode.CLOSED, read(f"[dht]\nhostkey=h.pem\n{papers[:-12]}").tls.mode)

    def test_options_that_contradict(self) -> None:
        """Two options that cannot both hold are named together."""
        self.assert_refused("[dht]\nreplication = 17", line=2, words="17 16 successors")
        text = "[dht]\nmax_store_duration = 60"
        self.assert_refused(text, line=None, words="default_store_duration 3600 max_store_duration 60")
        text = "[dht]\np2p_address = 127.0.0.1:7401"
        self.assert_refused(text, line=None, words="api_address p2p_address 127.0.0.1:7401")

    def test_twice(self) -> None:
        """A key given twice, by whatever name, is refused with both lines."""
        self.assert_refused("[dht]\nnetwork = a\nnetwork = b", line=3, words="network line 2")
        text = "[dht]\nbootstrap = 127.0.0.1:1\nbootstrapper = 127.0.0.1:1"
        self.assert_refused(text, line=3, words="bootstrapper line 2 bootstrap")

    def test_form(self) -> None:
        """What is neither a section, nor key = value, nor a comment is refused in our sections."""
        self.assert_refused("[dht]\nnetwork", line=2, words="'network' key = value")
        self.assert_refused("[dht]\n= value", line=2, words="key = value")
        self.assert_refused("[dht\n", line=1, words="closing ]")

    def test_no_section(self) -> None:
        """A file without [dht] is not taken for a node's; keys that belong there are told so."""
        self.assert_refused("[onion]\nx = 1", line=None, words="no section [dht]")
        self.assert_refused("api_address = 127.0.0.1:7401\n", line=1, words="api_address before [dht]")

    def test_unreadable(self) -> None:
        """A file that cannot be read is named with the system's reason, one that is no text with the line."""
        error = self.assertRaises(ConfigurationError, read_file, "/nowhere/node.ini")
        self.assertEqual("/nowhere/node.ini: cannot be read: No such file or directory", str(error))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "node.ini"
            path.write_bytes(b"[dht]\nnetwork = \xff\n")
            error = self.assertRaises(ConfigurationError, read_file, path)
            self.assertEqual((2, "is no UTF-8 text"), (error.line, error.reason))

    @given(
        st.text(alphabet=st.characters(codec="utf-8")) | st.lists(st.sampled_from("[dht]=;#:,.07\n \tkey")).map("".join)
    )
    def test_any_text(self, text: str) -> None:
        """Any text gives a configuration or a ConfigurationError of one line, nothing else."""
        try:
            read_text("[dht]\n" + text, "node.ini", FOLDER)
        except ConfigurationError as error:
            self.assertEqual(1, len(str(error).splitlines()), str(error))


class ExampleTests(SynchronousTestCase):
    """etc/node.ini, the page where operators look options up."""

    def setUp(self) -> None:
        """Read the file as text: comment, key, value."""
        path = CHECKOUT / "etc" / "node.ini"
        if not path.exists():
            self.skipTest("the installed wheel is under test")  # it holds no etc/
        self.config = read_file(path)
        self.text = path.read_text()

    def test_sentences(self) -> None:
        """Above each option stands its sentence from config.py, and behind it its default or what is chosen here."""
        wrong = []
        for section in SECTIONS:
            if not options(section):
                continue
            body = self.text.split(f"\n[{section}]\n")[1].split("\n[")[0]
            shown = {
                match[3]: (re.sub(r"\n# ", " ", match[1]).removeprefix("# "), match[2], match[4])
                for match in re.finditer(r"((?:# .*\n)+)^(# )?(\w+) = ?(.*)$", _joined(body), re.M)
            }
            for name, reading in options(section).items():
                sentence, commented, value = shown.get(name, ("", "", ""))
                if sentence.strip() != reading.sentence:
                    wrong.append(f"[{section}] {name}: {sentence!r} is not {reading.sentence!r}")
                elif commented and reading.read(value, FOLDER) != getattr(SECTIONS[section](), name):
                    wrong.append(f"[{section}] {name}: {value!r} is commented out but is not the default")
            if set(shown) != set(options(section)):
                wrong.append(f"[{section}] shows {sorted(set(shown) ^ set(options(section)))}")
        self.assertEqual([], wrong)

    def test_starts_the_first_node(self) -> None:
        """It describes the first node of a ring on this machine, as the README says."""
        expected = (Address("127.0.0.1", 7401), Address("127.0.0.1", 6401), ())
        dht = self.config.dht
        self.assertEqual(expected, (dht.api_address, dht.p2p_address, dht.bootstrap_node))

    def test_guide(self) -> None:
        """The three nodes of the README's guide have an address each, and the others join the first."""
        folder = CHECKOUT / "etc" / "guide"
        one, two, three = (read_file(folder / f"{name}.ini").dht for name in ("one", "two", "three"))
        self.assertEqual(3, len({one.p2p_address, two.p2p_address, three.p2p_address}))
        self.assertEqual([(one.p2p_address,)] * 2, [two.bootstrap_node, three.bootstrap_node])


def _joined(body: str) -> str:
    return body.replace("\n\n", "\n\n\n")
