"""``chordtwist certify``: what the authority's folder holds after each command, and that nodes take it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner, Result
from cryptography import x509
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli.commands import main
from chordtwist.core.errors import Refused
from chordtwist.net.certificates import subject_address
from chordtwist.net.tls import CredentialFiles, Tls


class CertifyTests(SynchronousTestCase):
    """An operator and a folder."""

    def setUp(self) -> None:
        """A folder that is not there yet."""
        self.folder = Path(self.mktemp())

    def run_certify(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["certify", *words, "-d", str(self.folder)])

    def done(self, *words: str) -> str:
        result = self.run_certify(*words)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output

    def refused(self, *words: str) -> str:
        result = self.run_certify(*words)
        self.assertEqual(result.exit_code, 1, result.output)
        return result.output

    def tls(self, address: str, revoked: bool = False) -> Tls:
        """The TLS of the node that was given what it needs."""
        name = address.replace(":", "_")
        files = CredentialFiles(
            self.folder / f"{name}.pem",
            self.folder / f"{name}.key",
            self.folder / "authority.pem",
            self.folder / "revoked.pem" if revoked else None,
        )
        return Tls(files.read(), address, lambda: datetime.now(UTC), Clock(), files)

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / f"{name}.pem").read_bytes())

    def test_nodes(self) -> None:
        """An authority, and nodes that it admits, in both families; keys are for their owner's eyes."""
        self.assertIn("authority.pem", self.done("authority"))
        for address in ("127.0.0.1", "2001:db8::1"):
            self.done("node", address)
            name = address.replace(":", "_")
            self.assertEqual(str(subject_address(self.certificate(name))), address)
            self.assertEqual((self.folder / f"{name}.key").stat().st_mode & 0o777, 0o600)
            self.tls(address)
        self.assertEqual((self.folder / "authority.key").stat().st_mode & 0o777, 0o600)

    def test_once(self) -> None:
        """Nothing that exists is overwritten."""
        self.done("authority")
        self.done("node", "127.0.0.1")
        before = {path: path.read_bytes() for path in self.folder.iterdir()}
        self.assertIn("made once", self.refused("authority"))
        self.assertIn("keeps the key", self.refused("node", "127.0.0.1"))
        self.assertEqual({path: path.read_bytes() for path in self.folder.iterdir()}, before)

    def test_renew(self) -> None:
        """A renewed certificate is for the same key, and lives longer."""
        self.done("authority")
        self.done("node", "127.0.0.1", "--days", "10")
        first = self.certificate("127.0.0.1")
        self.done("renew", "127.0.0.1", "--days", "20")
        second = self.certificate("127.0.0.1")
        self.assertEqual(first.public_key(), second.public_key())
        self.assertGreater(second.not_valid_after_utc, first.not_valid_after_utc)
        self.tls("127.0.0.1")
        self.assertIn("chordtwist certify node 127.0.0.2 does that", self.refused("renew", "127.0.0.2"))

    def test_revoke(self) -> None:
        """All certificates of an address are taken back, renewed ones as well, and nobody else's."""
        self.done("authority")
        for address in ("127.0.0.1", "127.0.0.2"):
            self.done("node", address)
        early = self.certificate("127.0.0.1")
        self.done("renew", "127.0.0.1")
        self.assertIn("revoked 2", self.done("revoke", "127.0.0.1"))
        other = self.tls("127.0.0.2", revoked=True)
        for certificate in (early, self.certificate("127.0.0.1")):
            self.assertRaises(Refused, other._terms.check, certificate, datetime.now(UTC))
        self.assertIn("no certificate was ever issued", self.refused("revoke", "127.0.0.9"))

    def test_issued(self) -> None:
        """What was issued can be listed."""
        self.done("authority")
        for address in ("127.0.0.1", "127.0.0.2"):
            self.done("node", address)
        self.done("revoke", "127.0.0.2")
        shown = self.done("issued").splitlines()
        self.assertEqual([line.split()[:2] for line in shown], [["127.0.0.1", "until"], ["127.0.0.2", "revoked"]])
        entries = json.loads(self.done("issued", "--json"))["issued"]
        self.assertEqual([entry["revoked"] for entry in entries], [False, True])
        self.assertEqual(int(entries[0]["serial"]), self.certificate("127.0.0.1").serial_number)

    def test_json(self) -> None:
        """What was made can be read by programs."""
        self.done("authority", "--json")
        made = json.loads(self.done("node", "127.0.0.1", "--json"))
        self.assertEqual(made["address"], "127.0.0.1")
        self.assertTrue(Path(made["certificate"]).exists())
        self.assertTrue(Path(made["key"]).exists())

    def test_no_authority(self) -> None:
        """Without an authority nothing is issued."""
        for words in (("node", "127.0.0.1"), ("renew", "127.0.0.1"), ("revoke", "127.0.0.1"), ("issued",)):
            self.assertIn("there is no authority", self.refused(*words))

    def test_bad_address(self) -> None:
        """A name is no address, and nobody can dial every address of a host: bad usage."""
        self.done("authority")
        for address, reason in (
            ("example.org", "is no IP address"),
            ("0.0.0.0", "every address"),
            ("255.255.255.255", "reserved"),
        ):
            result = self.run_certify("node", address)
            self.assertEqual(result.exit_code, 2)
            self.assertIn(reason, result.output)

    def test_spoilt_folder(self) -> None:
        """Where the list of what was issued makes no sense, or the key is another's, nothing is issued."""
        self.done("authority")
        (self.folder / "issued.json").write_text("[1]")
        self.assertIn("makes no sense", self.refused("node", "127.0.0.1"))
        (self.folder / "issued.json").unlink()
        (self.folder / "authority.key").write_bytes(b"rubbish")
        self.assertIn("no private key", self.refused("node", "127.0.0.1"))
        self.assertFalse((self.folder / "127.0.0.1.key").exists())

    def test_revoked_or_not(self) -> None:
        """What cannot be revoked, since the authority's certificate is spoilt, is not listed as revoked."""
        self.done("authority")
        self.done("node", "127.0.0.1")
        (self.folder / "authority.pem").write_bytes(b"rubbish")
        self.assertIn("nothing is revoked", self.refused("revoke", "127.0.0.1"))
        self.assertIn("until", self.done("issued"))

    def test_no_folder(self) -> None:
        """A folder that cannot be made is named in one line."""
        self.folder = Path("/proc/authority")
        self.assertIn("/proc/authority: cannot be made", self.refused("authority"))
