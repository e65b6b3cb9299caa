"""The web side as a configuration has it: where it listens, for whom, and with which files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import WebSection
from chordtwist.app.config_file import read_text
from chordtwist.app.service import StartError, build
from chordtwist.app.web import WebSide
from chordtwist.core.address import Address
from chordtwist.core.errors import ConfigurationError
from chordtwist.net.certificates import make_key, self_signed
from chordtwist.net.web.answers import Page
from chordtwist.net.web.pages import Alive
from chordtwist.net.web.site import WebSite
from tests.test_service import Reactor
from tests.web_client import ask, need

TOKEN = "0123456789abcdef"


def section(text: str, folder: Path) -> WebSection:
    """What a file says in ``[web]``."""
    return read_text(f"[dht]\n[web]\n{text}", "node.ini", folder).web


class RuleTests(SynchronousTestCase):
    """What may stand in ``[web]``."""

    def test_nowhere(self) -> None:
        """Without a word about it the node is shown nowhere."""
        self.assertIsNone(section("", Path("/")).address)

    def test_refused(self) -> None:
        """Beyond loopback nothing goes without being asked for, without TLS or without a token."""
        for text, words in {
            "address = 0.0.0.0:8401": "0.0.0.0:8401 is not loopback; that needs beyond_loopback = yes",
            "address = node.example:8401": "is not loopback; that needs beyond_loopback = yes",
            "address = 10.0.0.1:8401\nbeyond_loopback = yes": "that needs certificate, key and token",
            "address = 10.0.0.1:8401\nbeyond_loopback = yes\ntoken = t": "that needs certificate, key and token",
            "address = 10.0.0.1:8401\nbeyond_loopback = yes\ncertificate = c\nkey = k": "needs certificate, key and",
            "address = 127.0.0.1:8401\ncertificate = c": "certificate: and key are needed both, or neither",
            "address = 127.0.0.1:8401\nkey = c": "certificate: and key are needed both, or neither",
            "address = 127.0.0.1:7401": "127.0.0.1:7401 is an address of [dht] as well",
            "address = 127.0.0.1:6401": "127.0.0.1:6401 is an address of [dht] as well",
            "address = 127.0.0.1": "is not host:port",
            "names = 127.0.0.1": "is an IP address; those are known without being named",
            "names = a b": "is more than one",
        }.items():
            error = self.assertRaises(ConfigurationError, section, text, Path("/"))
            self.assertIn(words, str(error), text)

    def test_taken(self) -> None:
        """Loopback needs nothing more; with certificate, key and token any address will do."""
        self.assertEqual(Address("127.0.0.1", 8401), section("address = 127.0.0.1:8401", Path("/")).address)
        text = "address = 0.0.0.0:8401\nbeyond_loopback = yes\ncertificate = c\nkey = k\ntoken = t\nnames = a.ex, b"
        self.assertEqual(("a.ex", "b"), section(text, Path("/")).names)


class FileTests(SynchronousTestCase):
    """Certificate, key and token."""

    def setUp(self) -> None:
        """A folder with files that serve."""
        need("prometheus_client")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.key = make_key()
        self.write("key", self.key)
        self.write("certificate", self_signed(self.key, "127.0.0.1"))
        self.write("token", f"{TOKEN}\n".encode())
        self.text = "address = 127.0.0.1:8401\ncertificate = certificate\nkey = key\ntoken = token"
        self.reactor = MemoryReactorClock()

    def write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def web(self) -> WebSide:
        """The web side."""
        web = section(self.text, self.folder)
        root = Page()
        root.putChild(b"healthz", Alive())
        return WebSide(web, root, self.reactor)

    def test_bad_files(self) -> None:
        """A file that does not serve is named, with what is wrong."""
        for name, content, words in (
            ("token", b"short", "token: needs one word of ASCII, of 16 bytes or more"),
            ("token", b"two words of sixteen", "token: needs one word"),
            ("certificate", b"nothing", "certificate: does not serve"),
            ("key", b"nothing", "key: does not serve"),
            ("key", make_key(), "key: does not serve"),
        ):
            before = (self.folder / name).read_bytes()
            self.write(name, content)
            self.assertIn(words, str(self.assertRaises(ValueError, self.web)), (name, content[:9]))
            (self.folder / name).unlink()
            self.assertIn(f"{name}: cannot be read: No such file", str(self.assertRaises(ValueError, self.web)))
            self.write(name, before)
        self.web()

    def test_start_fails(self) -> None:
        """A node whose files do not serve does not start, and says in one line why."""
        config = read_text("[tls]\nmode = off\n[dht]\n[web]\naddress = 127.0.0.1:8401\ntoken = no", "n", self.folder)
        error = self.assertRaises(StartError, build, config, Reactor(), lambda: None)
        self.assertEqual(f"[web] {self.folder}/no: cannot be read: No such file or directory", str(error))

    def test_files_read_again(self) -> None:
        """What the files hold later is used from then on; a connection of before goes on with its own certificate."""
        web = self.web()
        context = web.contexts.getContext() if web.contexts else None
        self.write("token", b"another-token-of-some-length")
        web.take(web.renewed(section(self.text, self.folder)))
        assert web.contexts is not None
        self.assertIsNot(context, web.contexts.getContext())
        self.assertEqual(401, ask(web.site, "/healthz", Authorization=f"Bearer {TOKEN}").status)
        self.assertEqual(200, ask(web.site, "/healthz", Authorization="Bearer another-token-of-some-length").status)


class NodeTests(SynchronousTestCase):
    """The web side of a whole node."""

    def test_node(self) -> None:
        """A node listens where it is told, and shows its own state: the one that doors of the same process see."""
        need("prometheus_client")
        reactor = Reactor()
        config = read_text("[tls]\nmode = off\n[dht]\n[web]\naddress = 127.0.0.1:8401", "node.ini", Path("/"))
        node = build(config, reactor, lambda: None)
        node.privilegedStartService()
        node.startService()
        self.addCleanup(node.stopService)
        (site,) = [cast(WebSite, listening[1]) for listening in reactor.tcpServers if listening[0] == 8401]
        self.assertEqual(200, ask(site, "/healthz").status)
        shown = ask(site, "/status.json").json
        self.assertEqual((1, "127.0.0.1:6401"), (shown["schema"], shown["address"]))
        self.assertEqual(set(node.dht.status()), set(shown))
        ready = ask(site, "/readyz")
        self.assertEqual(shown["ready"], ready.status == 200)
