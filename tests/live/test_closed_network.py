"""A closed network as its operator has it: ``chordtwist certify`` and nodes in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli.commands import main
from tests.fleet import Fleet, value_of

WITHIN_S = 30.0


class ClosedNetworkTests(SynchronousTestCase):
    """Three nodes, admitted one by one."""

    def setUp(self) -> None:
        """An authority in a folder of its own."""
        self.fleet = Fleet(tls="closed")
        self.addCleanup(self.fleet.close)
        self.office = self.fleet.folder / "authority"
        self.certify("authority")

    def certify(self, *words: str) -> None:
        done = CliRunner().invoke(main, ["certify", *words, "-d", str(self.office)])
        self.assertEqual(done.exit_code, 0, done.output)

    def start(self, number: int) -> None:
        """Start a node with the files that it was given."""
        host = self.fleet.host(number)
        names = {"authority": "authority.pem", "certificate": f"{host}.pem", "key": f"{host}.key"}
        self.fleet.tls_options = {
            name: self.office / file for name, file in {**names, "revoked": "revoked.pem"}.items()
        }
        self.fleet.start([number])

    def wait_for(self, what: Callable[[], bool]) -> None:
        ends = time.monotonic() + WITHIN_S
        while not what():
            self.assertLess(time.monotonic(), ends, [self.fleet.log(number) for number in self.fleet.numbers])
            time.sleep(0.1)

    def test_life(self) -> None:
        """Admitted nodes are one ring; whose certificate is taken back is put out of it, whose is renewed stays."""
        for number in (1, 2, 3):
            self.certify("node", self.fleet.host(number))
            self.start(number)
        self.fleet.wait_for_ring(WITHIN_S)
        key, value = sha256(b"key").digest(), value_of(1, 500)
        one, two, three = (self.fleet.client(number) for number in (1, 2, 3))
        one.put(key, value)
        self.wait_for(lambda: three.get(key) == value)

        self.certify("renew", self.fleet.host(2))
        self.certify("revoke", self.fleet.host(3))
        out = f"refused {self.fleet.host(3)}:6401: its certificate was revoked"
        self.wait_for(lambda: all(out in self.fleet.log(number) for number in (1, 2)))
        self.wait_for(lambda: one.status()["successors"] == [f"{self.fleet.host(2)}:6401"])
        self.assertEqual(two.get(key), value)
        self.wait_for(lambda: "the changed TLS files are in use" in self.fleet.log(2))
        for client in (one, two, three):
            client.close()

    def test_stranger(self) -> None:
        """A node with another authority's certificate does not get in, and its log says why."""
        self.certify("node", self.fleet.host(1))
        self.start(1)
        self.fleet.client(1).close()
        self.office = self.fleet.folder / "other"
        self.certify("authority")
        self.certify("node", self.fleet.host(2))
        self.start(2)
        reason = "its certificate is not of this network's authority"
        self.wait_for(lambda: reason in self.fleet.log(2))
        client = self.fleet.client(1)
        self.assertEqual(client.status()["successors"], [])
        client.close()
