"""`tls_of`: which key and certificate a node shows, by its configuration and its state directory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config_file import read_text
from chordtwist.app.tls import tls_of
from chordtwist.core.errors import StateUnusable
from chordtwist.net.certificates import ALWAYS, issue, load_key, make_authority, make_key, self_signed, subject_address
from chordtwist.net.tls import Tls
from chordtwist.storage.state import StateDirectory
from tests import certificates

HOST = "127.0.0.1"


class TlsOfTests(SynchronousTestCase):
    """The TLS of a node."""

    def setUp(self) -> None:
        """An empty folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def tls(self, text: str = "", state: StateDirectory | None = None, hostkey: str = "") -> Tls | None:
        config = read_text(f"{hostkey}\n[dht]\n[tls]\n{text}", "node.ini", self.folder)
        return tls_of(config, HOST, Clock(), state)

    def state(self) -> StateDirectory:
        state = StateDirectory(self.folder / "state")
        self.addCleanup(state.close)
        return state

    def reason(self, text: str = "", hostkey: str = "") -> str:
        return str(self.assertRaises(ValueError, self.tls, text, hostkey=hostkey))

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def test_off(self) -> None:
        """With mode = off there is none."""
        self.assertIsNone(self.tls("mode = off"))

    def test_in_memory(self) -> None:
        """Without a state directory key and certificate are made at each start."""
        self.assertIsInstance(self.tls(), Tls)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_first_start(self) -> None:
        """The first start makes a key, which only the owner may read, and a certificate; the next one keeps both."""
        state = self.state()
        self.tls(state=state)
        self.assertEqual(state.tls_key.stat().st_mode & 0o777, 0o600)
        kept = state.tls_key.read_bytes(), state.tls_certificate.read_bytes()
        self.assertEqual(str(subject_address(x509.load_pem_x509_certificate(kept[1]))), HOST)
        self.tls(state=state)
        self.assertEqual((state.tls_key.read_bytes(), state.tls_certificate.read_bytes()), kept)

    def test_for_all_time(self) -> None:
        """A certificate made in 1970 serves when the clock is right: it neither begins nor ends."""
        state = self.state()
        self.tls(state=state)
        made = x509.load_pem_x509_certificate(state.tls_certificate.read_bytes())
        self.assertEqual(ALWAYS, (made.not_valid_before_utc, made.not_valid_after_utc))
        self.assertLess(made.not_valid_before_utc, datetime.fromtimestamp(0, UTC))

    def test_corrupt_key(self) -> None:
        """A key that makes no sense is set aside, and the node starts with a new one."""
        state = self.state()
        state.write(state.tls_key, b"rubbish")
        self.assertIsInstance(self.tls(state=state), Tls)
        load_key(state.tls_key.read_bytes())
        self.assertTrue((state.path / "tls-key.pem.corrupt-1").exists())

    def test_unreadable(self) -> None:
        """A key or certificate that is there and cannot be read fails the start, and is named."""
        for name in "tls_key", "tls_certificate":
            state = StateDirectory(self.folder / name)
            self.addCleanup(state.close)
            path: Path = getattr(state, name)
            path.mkdir()
            with self.assertRaises(StateUnusable) as caught:
                self.tls(state=state)
            self.assertEqual(str(caught.exception), f"{path}: cannot be read: Is a directory")

    def test_certificate_made_again(self) -> None:
        """A kept certificate for another address or key, that ends, or without sense, is made again."""
        state, key = self.state(), make_key()
        state.write(state.tls_key, key)
        now = datetime.now(UTC)
        for unfit in (
            self_signed(key, "127.0.0.9"),
            self_signed(make_key(), HOST),
            certificates.dated(key, HOST, now),
            b"rubbish",
        ):
            state.write(state.tls_certificate, unfit)
            self.tls(state=state)
            self.assertNotEqual(state.tls_certificate.read_bytes(), unfit)

    def test_hostkey(self) -> None:
        """The course's RSA hostkey serves the certificate."""
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        self.write("hostkey.pem", pem)
        state = self.state()
        config = read_text("hostkey = hostkey.pem\n[dht]", "node.ini", self.folder)
        self.assertIsInstance(tls_of(config, HOST, Clock(), state), Tls)
        self.assertFalse(state.tls_key.exists())
        made = x509.load_pem_x509_certificate(state.tls_certificate.read_bytes())
        self.assertEqual(made.public_key(), key.public_key())

    def test_closed(self) -> None:
        """A closed network's files are read; one that is missing or does not serve is named."""
        now = datetime.now(UTC)
        authority_key, key = make_key(), make_key()
        authority = make_authority(authority_key, "test", now)
        self.write("authority.pem", authority)
        self.write("node.pem", issue(authority, authority_key, key, HOST, now))
        self.write("node.key", key)
        text = "mode = closed\nauthority = authority.pem\ncertificate = node.pem\nkey = node.key"
        self.assertIsInstance(self.tls(text), Tls)
        missing = self.reason(f"{text}\nrevoked = revoked.pem")
        self.assertEqual(missing, f"{self.folder / 'revoked.pem'}: cannot be read: No such file or directory")
        certificate = self.write("node.pem", issue(authority, authority_key, key, "127.0.0.9", now))
        self.assertEqual(self.reason(text), f"{certificate}: the certificate is for 127.0.0.9 and not for {HOST}")

    def test_bad_key(self) -> None:
        """A configured key that does not serve is named."""
        path = self.write("host.pem", b"rubbish")
        self.assertEqual(self.reason(hostkey="hostkey = host.pem"), f"{path}: no private key in PEM")
        missing = self.reason("key = none.pem")
        self.assertEqual(missing, f"{self.folder / 'none.pem'}: cannot be read: No such file or directory")
        short = rsa.generate_private_key(65537, 1024)
        path = self.write("host.pem", short.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.assertEqual(
            self.reason(hostkey="hostkey = host.pem"), f"{path}: an RSA key of 1024 bits; 2048 are the least"
        )
