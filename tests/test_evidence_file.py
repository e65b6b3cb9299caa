"""Behaviour of proofs that people keep in files, and of ``chordtwist evidence``, which reads them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app import evidence_file
from chordtwist.app.cli import evidence
from chordtwist.app.cli.shapes import SHAPES
from chordtwist.core.errors import Malformed
from chordtwist.core.evidence import Charge, Conviction, Evidence, judge
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.signed import Ed25519Signer, Stamp, fingerprint, pack_lease, verify_ed25519
from chordtwist.core.table import Table
from tests.builders import pack_table

IDENTITY = Identity("chordtwist", Policy.IP)
KEY, OTHER_KEY = Ed25519Signer(bytes(32)), Ed25519Signer(bytes(31) + b"1")
BY_PLACE = sorted((IDENTITY.peer(f"192.0.2.{n}", 6401) for n in range(1, 5)), key=lambda peer: peer.id)
BEFORE, LIAR, VICTIM, BEHIND = BY_PLACE


def proof(network: Identity = IDENTITY) -> dict[str, Any]:
    """What a node tells of a conviction by a broken lease, which the member before the liar attests."""
    lease = pack_lease(network, Stamp(LIAR, 1, 2, 3), VICTIM, 1000)
    lie = pack_table(network, Table(LIAR, 1, 3, 3, KEY.public, False, None, (BEHIND,), (), (bytes(8),), (), 999))
    convicts = Evidence(Charge.BROKEN_LEASE, lease, KEY.sign(lease), lie, KEY.sign(lie))
    named = (fingerprint(KEY.public),)
    shown = pack_table(network, Table(BEFORE, 1, 1, 3, OTHER_KEY.public, False, None, (LIAR,), (), named))
    verdict = judge(network, convicts, verify_ed25519)
    return evidence_file.as_json(network, Conviction(verdict, convicts, 0.0, ((shown, OTHER_KEY.sign(shown)),)))


def changed(**changes: object) -> bytes:
    return json.dumps(proof() | changes).encode()


class EvidenceFileTests(SynchronousTestCase):
    """What is proved by a file alone."""

    def test_proved(self) -> None:
        """It names the culprit, its key, and whose tables name that key."""
        checked = evidence_file.check(changed())
        self.assertEqual((checked.verdict.culprit, checked.verdict.key), (LIAR, KEY.public))
        self.assertEqual((checked.verdict.victim, checked.attested_by), (VICTIM, (BEFORE,)))

    def test_attested_once(self) -> None:
        """The same table twice is one."""
        self.assertEqual(1, len(evidence_file.check(changed(attested=proof()["attested"] * 2)).attested_by))

    def test_nothing_proved(self) -> None:
        """What was altered anywhere, or is of another network, proves nothing."""
        whole = proof()
        for name, text in {
            "no JSON": b"{",
            "no object": b"[]",
            "another format": changed(format="chordtwist evidence 2"),
            "another network": changed(network="other"),
            "no network": changed(network=""),
            "another charge": changed(charge="equivocation"),
            "no base64": changed(first={"body": "*", "signature": whole["first"]["signature"]}),
            "signatures exchanged": changed(
                first={"body": whole["first"]["body"], "signature": whole["second"]["signature"]}
            ),
            "order exchanged": changed(first=whole["second"], second=whole["first"]),
            "attested by the liar": changed(attested=[whole["second"]]),
        }.items():
            with self.subTest(name):
                self.assertRaises(Malformed, evidence_file.check, text)


class CommandTests(SynchronousTestCase):
    """``chordtwist evidence verify``."""

    def verify(self, text: bytes, *options: str) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "proof.json"
            file.write_bytes(text)
            return CliRunner().invoke(evidence.command, ["verify", str(file), *options])

    def test_words(self) -> None:
        """It says under which key the contradiction is proved, who attests it, and what could not be checked."""
        done = self.verify(changed())
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn(f"contradiction proved under key {KEY.public.hex()},", done.output)
        self.assertIn(f"attested by the tables of {BEFORE}\n", done.output)
        self.assertIn("not checked", done.output)

    def test_json(self) -> None:
        """With --json it is of the shape that stays."""
        shown: Mapping[str, Any] = msgspec.json.decode(
            self.verify(changed(), "--json").stdout, type=SHAPES["evidence-verify"]
        )
        self.assertEqual((shown["address"], shown["attested_by"]), (str(LIAR), [str(BEFORE)]))

    def test_refused(self) -> None:
        """What proves nothing ends with status 1 and one line."""
        done = self.verify(changed(network="other"))
        self.assertEqual(1, done.exit_code)
        self.assertIn("of another network", done.output)
        self.assertEqual(1, len(done.output.splitlines()), done.output)

    def test_no_file(self) -> None:
        """So does a file that is not there."""
        done = CliRunner().invoke(evidence.command, ["verify", "/nowhere/proof.json"])
        self.assertNotEqual(0, done.exit_code)
        self.assertIn("/nowhere/proof.json", done.output)
