"""A member whose disk takes two seconds for each flush: nobody waits for it, and it goes on answering."""

from __future__ import annotations

import time
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.wire.api_messages import ResultCode
from tests.fleet import Fleet
from tests.shim import Shim

FLUSH_S = 2.0
PUTS = 60


class SlowDiskTests(SynchronousTestCase):
    """Four nodes with four copies of everything; the disk of the last one is slow."""

    def setUp(self) -> None:
        self.fleet = Fleet({"state_dir": True})
        self.addCleanup(self.fleet.close)
        shim = Shim(self.fleet.folder)
        self.fleet.start((1, 2, 3))
        self.fleet.environment = shim.environment
        self.fleet.start((4,))
        self.fleet.wait_for_ring(60)
        shim.flush_takes(FLUSH_S)

    def test_nobody_waits_for_it(self) -> None:
        """Puts of any key through another node are confirmed by the others; all of them took 122 s when an owner was
        waited for.
        """
        client = self.fleet.client(1)
        self.addCleanup(client.close)
        begun = time.monotonic()
        for number in range(PUTS):
            outcome = client.put_confirmed(sha256(b"slow %d" % number).digest(), b"value")
            self.assertIs(outcome.code, ResultCode.DONE, outcome.reason)
        self.assertLess(time.monotonic() - begun, PUTS * FLUSH_S / 4)

    def test_it_answers_meanwhile(self) -> None:
        """Its reactor is never held by a flush: while puts wait for its disk it answers everything else at once."""
        slow = self.fleet.client(4)
        self.addCleanup(slow.close)
        for number in range(20):
            slow.put(sha256(b"slow %d" % number).digest(), b"value")
        worst = 0.0
        ends = time.monotonic() + 2 * FLUSH_S
        while time.monotonic() < ends:
            begun = time.monotonic()
            slow.status()
            worst = max(worst, time.monotonic() - begun)
            time.sleep(0.02)
        self.assertLess(worst, FLUSH_S / 2)
