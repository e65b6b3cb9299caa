"""A closed network as its operator has it: ``chordtwist certify`` and nodes in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import ClosedFleet, value_of

WITHIN_S = 30.0


class ClosedNetworkTests(SynchronousTestCase):
    """Three nodes, admitted one by one."""

    def setUp(self) -> None:
        """An authority in a folder of its own."""
        self.fleet = ClosedFleet()
        self.addCleanup(self.fleet.close)

    def wait_for(self, what: Callable[[], bool]) -> None:
        self.fleet.wait_until(what, WITHIN_S)

    def test_life(self) -> None:
        """Admitted nodes are one ring; whose certificate is taken back is put out of it, whose is renewed stays."""
        for number in (1, 2, 3):
            self.fleet.admit(number)
        self.fleet.wait_for_ring(WITHIN_S)
        key, value = sha256(b"key").digest(), value_of(1, 500)
        one, two, three = (self.fleet.client(number) for number in (1, 2, 3))
        one.put(key, value)
        self.wait_for(lambda: three.get(key) == value)

        self.fleet.certify("renew", self.fleet.host(2))
        self.fleet.certify("revoke", self.fleet.host(3))
        out = f"refused {self.fleet.host(3)}:6401: its certificate was revoked"
        self.wait_for(lambda: all(out in self.fleet.log(number) for number in (1, 2)))
        self.wait_for(lambda: one.status()["successors"] == [f"{self.fleet.host(2)}:6401"])
        self.assertEqual(two.get(key), value)
        self.wait_for(lambda: "the changed TLS files are in use" in self.fleet.log(2))
        for client in (one, two, three):
            client.close()

    def test_stranger(self) -> None:
        """A node with another authority's certificate does not get in, and its log says why."""
        self.fleet.admit(1)
        self.fleet.client(1).close()
        self.fleet.office = self.fleet.folder / "other"
        self.fleet.certify("authority")
        self.fleet.admit(2)
        reason = "its certificate is not of this network's authority"
        self.wait_for(lambda: reason in self.fleet.log(2))
        client = self.fleet.client(1)
        self.assertEqual(client.status()["successors"], [])
        client.close()
