"""The configuration file: what is read, what is refused and in which words, and that etc/node.ini tells the truth."""

from __future__ import annotations

import re
import tempfile
import textwrap
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import SECTIONS, Level, LogFormat, NodeConfig, TlsMode, options
from chordtwist.app.config_file import read_file, read_text
from chordtwist.core.address import Address, UnixAddress
from chordtwist.core.errors import ConfigurationError
from chordtwist.core.peer import Policy
from tests import CHECKOUT

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
        self.assertEqual(Address("127.0.0.1", 7401), config.api_address)
        self.assertEqual(Address("127.0.0.1", 6401), config.dht.p2p_address)
        self.assertEqual((), config.dht.bootstrap_node)
        self.assertIs(TlsMode.OPEN, config.tls.mode)

    def test_api_beside_peers(self) -> None:
        """Without api_address, a node on loopback has its API beside its port for peers; any other where all do."""
        for written, expected in (
            ("127.0.0.1:6402", "127.0.0.1:7402"),
            ("127.0.0.3:6401", "127.0.0.3:7401"),
            ("[::1]:6402", "[::1]:7402"),
            ("localhost:6402", "localhost:7402"),
            ("127.0.0.1:64535", "127.0.0.1:65535"),
            ("127.0.0.1:64536", "127.0.0.1:7401"),
            ("192.0.2.2:6402", "127.0.0.1:7401"),
            ("node.example.org:6402", "127.0.0.1:7401"),
            ("0.0.0.0:6402\npublic_address = 192.0.2.2:6402", "127.0.0.1:7401"),
        ):
            self.assertEqual(expected, str(read(f"[dht]\np2p_address = {written}").api_address), written)
        given = read("[dht]\np2p_address = 127.0.0.1:6402\napi_address = unix:api.sock")
        self.assertEqual(UnixAddress(FOLDER / "api.sock"), given.api_address)

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
        config = read("[dht]\nbootstrap_node =\nstate_dir =\npublic_address =")
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

    def test_yes_and_no(self) -> None:
        """What other programs write for yes and no is taken as well; a word that is near one is named."""
        for written, expected in {"yes": True, "TRUE": True, "on": True, "1": True, "off": False, "0": False}.items():
            self.assertEqual(expected, read(f"[dht]\napi_beyond_loopback = {written}\n").dht.api_beyond_loopback)
        error = self.assertRaises(ConfigurationError, read, "[dht]\n[log]\nlevel = warning\n")
        self.assertEqual("'warning' is none of debug, info, warn, error; did you mean warn?", error.reason)

    def test_durations(self) -> None:
        """Durations may have units."""
        dht = read("[dht]\ndefault_store_duration = 90m\nmax_store_duration = 2d\nstabilize_interval = 2 s\n").dht
        self.assertEqual(
            (5400, 172_800, 2.0), (dht.default_store_duration, dht.max_store_duration, dht.stabilize_interval)
        )

    def test_open_api(self) -> None:
        """The API is at a loopback address, by number or name, or elsewhere where the file says so."""
        for text in ("localhost:7401", "[::1]:7401", "192.0.2.1:7401\napi_beyond_loopback = yes"):
            written = Address.parse(text.partition("\n")[0])
            self.assertEqual(written, read(f"[dht]\napi_address = {text}").dht.api_address)

    def test_closed(self) -> None:
        """A closed network's node has its papers; the key may be the course's."""
        papers = "[tls]\nmode = closed\nauthority = a.pem\ncertificate = c.pem"
        self.assertEqual(FOLDER / "k.pem", read(f"[dht]\n{papers}\nkey = k.pem").tls.key)
        self.assertIs(TlsMode.CLOSED, read(f"[dht]\nhostkey=h.pem\n{papers}").tls.mode)


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
        expected = "node.ini, line 3: replicaton: is no key of [dht]; did you mean replication?"
        self.assertEqual(expected, str(error))

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
            "default_store_duration = an hour": "no duration 1h30m",
            "default_store_duration = 0": "from 1 to",
            "default_store_duration = 1.5": "whole number of seconds",
            "api_address: 127.0.0.1:7401": "key = value colon",
            "stabilize_interval = soon": "no duration",
            "stabilize_interval = nan": "number of seconds",
            "stabilize_interval = -1": "from 0.05 to 60",
            "stabilize_interval = 1e30": "from 0.05 to 60",
            "stabilize_interval = inf": "from 0.05 to 60",
            f"replication = {'9' * 5000}": "whole number 1 255",
            # Who lists several has written no commas, or the address of a web page.
            "bootstrap_node = 127.0.0.1:6401 127.0.0.2:6401": "more than one commas",
            "bootstrap_node = tcp://127.0.0.1:6401": "URL host:port",
            "p2p_address = 127.0.0.1:6401, 127.0.0.2:6401": "more than one",
            # No node has these, and nobody can dial them.
            "p2p_address = 224.0.0.1:6401": "multicast",
            "p2p_address = 255.255.255.255:6401": "reserved",
            "public_address = 0.0.0.0:6401": "every address of a host",
            "public_address = [ff02::1]:6401": "multicast",
            "bootstrap_node = 127.0.0.1:6401, 0.0.0.0:6401": "0.0.0.0:6401 every address",
            "bootstrap_node = [fe80::1]:6401": "link-local",
            "api_address = 224.0.0.1:7401": "multicast",
            # Quotes would be part of the value; so would what nobody sees.
            'network = "lab"': "network quotes",
            "network = 'lab'": "network quotes",
            'state_dir = "/srv/a b"': "state_dir quotes",
            'network = "lab # my lab"': "network quotes",
            "hostkey = /keys/\0.pem": "hostkey control character U+0000",
            "network = a\u2028b": "network U+2028",
            "network = a\x1b[31m": "network U+001B",
            "identity = name": "ip, address",
            "network =": "1 to 255",
            "api_beyond_loopback = perhaps": "yes no",
            "state_dir = ~nobody-of-that-name/x": "home",
        }.items():
            self.assert_refused(f"[dht]\n{text}\n", line=2, words=words)

    def test_contradictions(self) -> None:
        """What no single value shows is refused at the line of one of them, in words that name the other."""
        wildcard, closed = "p2p_address = 0.0.0.0:6401", "[dht]\n[tls]\nmode = closed"
        for text, line, words in (
            # Nobody can dial a wildcard, nor does a place follow from a name.
            (f"[dht]\n{wildcard}", 2, "p2p_address 0.0.0.0:6401 public_address"),
            ("[dht]\nlisten_address = [::]:6401", 2, "listen_address public_address"),
            ("[dht]\npublic_address = node.example.org:6401", 2, "public_address IP"),
            ("[dht]\np2p_address = 127.0.0.1:7\napi_address = 127.0.0.1:7", 3, "api_address p2p_address 127.0.0.1:7"),
            # The API is opened beyond loopback by two words, never by one.
            *(
                (f"[dht]\napi_address = {host}:7401", 2, "loopback api_beyond_loopback")
                for host in ("0.0.0.0", "192.0.2.1", "node.example.org", "[::]")
            ),
            ("[dht]\nreplication = 17", 2, "17 16 successors"),
            ("[dht]\nmax_store_duration = 60", None, "default_store_duration 3600 max_store_duration 60"),
            # Without TLS, nobody else may be able to reach the node, and no proof can be bound to a session.
            ("[dht]\np2p_address = 192.0.2.1:6401\n[tls]\nmode = off", 2, "p2p_address loopback mode"),
            ("[dht]\npublic_address = 192.0.2.1:6401\n[tls]\nmode = off", 2, "public_address loopback mode"),
            (f"[dht]\n[tls]\nmode = off\nsecret = {'s' * 16}", 4, "secret mode open closed"),
            # Only a closed network has an authority; its nodes have the authority's certificate, and their own.
            (closed, None, "authority closed"),
            (f"{closed}\nauthority = a.pem", None, "certificate closed"),
            ("[dht]\n[tls]\nauthority = a.pem", 3, "authority mode closed"),
            ("[dht]\n[tls]\nrevoked = r.pem", 3, "revoked mode closed"),
            ("[dht]\n[tls]\ncertificate = c.pem", 3, "key hostkey"),
        ):
            self.assert_refused(text, line=line, words=words)

    def test_form(self) -> None:
        """In our sections, what is neither a section, nor key = value, nor a comment is refused; so is a key given
        twice, by whatever name, and a file without [dht].
        """
        bootstrap = "bootstrap = 127.0.0.1:1\nbootstrapper = 127.0.0.1:1"
        for text, line, words in (
            ("[dht]\nnetwork", 2, "key = value"),
            ("[dht]\n= value", 2, "key = value"),
            ("[dht\n", 1, "closing ]"),
            ("[dht]\nnetwork = a\nnetwork = b", 3, "network line 2"),
            (f"[dht]\n{bootstrap}", 3, "bootstrapper line 2 bootstrap"),
            ("[onion]\nx = 1", None, "no section [dht]"),
            ("api_address = 127.0.0.1:7401\n", 1, "api_address before [dht]"),
            ("hostkey = ~nobody-of-that-name/k.pem\n[dht]", 1, "hostkey home"),
        ):
            self.assert_refused(text, line=line, words=words)

    def test_near_misses(self) -> None:
        """A section or key of ours that is spelled wrong is refused, with the right one; others' are left alone."""
        for text, line, words in (
            ("[dht]\n[tsl]\nmode = closed", 2, "[tsl] did you mean [tls]?"),
            ("[dth]\n", 1, "[dth] did you mean [dht]?"),
            ("[dht]\n[limit]", 2, "[limit] did you mean [limits]?"),
            ("[dht]\n[ logs ]", 2, "[logs] did you mean [log]?"),
            ("[defualt]\nhostkey = k.pem\n[dht]", 1, "[defualt] did you mean [default]?"),
            ("hostkye = k.pem\n[dht]", 1, "hostkye did you mean hostkey?"),
            ("[default]\nhost_key = k.pem\n[dht]", 2, "host_key did you mean hostkey?"),
            ("[dht]\nhostkeys = k.pem", 2, "hostkeys did you mean hostkey?"),
            ("[dht]\n[tls]\nmoed = closed", 3, "moed did you mean mode?"),
        ):
            self.assert_refused(text, line=line, words=words)
        others = ("onion", "gossip", "auth", "nse", "rps", "global", "logging", "http", "ssl", "dhcp", "network")
        read("".join(f"[{section}]\nkey = 1\n" for section in others) + "[dht]")
        read("key = 1\nport = 2\n[default]\nhost = h\nkeyfile = k\n[dht]")

    def test_nothing_is_quoted(self) -> None:
        """What cannot be read is not shown: it may be a secret, in a line that went wrong in any way."""
        for line in (
            "secret S3cretS3cretS3cret",
            "secret S3cretS3cretS3cret==",
            "secret s3cret=",
            "    S3cretS3cretS3cret",
            "    S3cretS3cretS3cret==",
            "secret: S3cretS3cretS3cret",
            "[S3cretS3cretS3cret",
            "= S3cretS3cretS3cret",
            'secret = "S3cretS3cretS3cret"',
            "secret = S3cret",
            "secret = S3cretS3cretS3cret\x1b",
        ):
            error = self.assertRaises(ConfigurationError, read_text, f"[dht]\n[tls]\n{line}\n", "node.ini", FOLDER)
            self.assertEqual((3, False), (error.line, "s3cret" in str(error).lower()), error)

    def test_lines(self) -> None:
        """Only LF, CRLF and CR end a line, as in an editor: the line of an error is the one that is meant."""
        for sign in "\v\f\x1c\x1d\x1e\x85\u2028\u2029":
            self.assert_refused(f"[dht]\n# a{sign}b\nreplicaton = 3", line=3, words="replicaton")
            self.assertEqual(NodeConfig(), read(f"[dht]\n# a{sign}replication = 3"))
        self.assert_refused("[dht]\r\n\r\nreplicaton = 3", line=3, words="replicaton")
        self.assert_refused("[dht]\r\rreplicaton = 3", line=3, words="replicaton")

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
        self.config = read_file(path)
        self.text = path.read_text()

    def test_sentences(self) -> None:
        """Above each option stands its sentence from config.py, and behind it its default or what is chosen here."""
        wrong = []
        for section in SECTIONS:
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

    def test_readme(self) -> None:
        """The file that the README shows joins the node of this one."""
        text = (CHECKOUT / "README.rst").read_text().split(".. code-block:: ini\n")[1].split("\n\n")[0]
        self.assertEqual((self.config.dht.p2p_address,), read(text).dht.bootstrap_node)

    def test_starts_the_first_node(self) -> None:
        """It describes the first node of a ring on this machine, as the README says."""
        expected = (Address("127.0.0.1", 7401), Address("127.0.0.1", 6401), ())
        dht = self.config.dht
        self.assertEqual(expected, (dht.api_address, dht.p2p_address, dht.bootstrap_node))


def _joined(body: str) -> str:
    return body.replace("\n\n", "\n\n\n")
