"""A machine whose clock says 1970 until somebody sets it, as one without a battery: a process with its own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from tests.fleet import Fleet, value_of
from tests.shim import Shim

WITHIN_S = 30.0


class ClockTests(SynchronousTestCase):
    """Three nodes whose clocks are right, and one."""

    def setUp(self) -> None:
        """The clock, and a ring."""
        self.fleet = Fleet({"state_dir": "yes"})
        self.addCleanup(self.fleet.close)
        self.shim = Shim(self.fleet.folder)
        self.fleet.start([1, 2, 3])
        self.fleet.wait_for_ring(60)

    def wait_for(self, what: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        self.fleet.wait_until(what, within_s)

    def test_1970(self) -> None:
        """A node that started in 1970 says so at once, and is a member within half a minute of its clock's being set,
        without a restart; what is put there then is read everywhere.
        """
        self.shim.wall_clock_is_behind(int(time.time()))
        self.fleet.environment = self.shim.environment
        self.fleet.start([4])
        self.wait_for(lambda: "this machine's clock says 1970" in self.fleet.log(4))
        self.shim.wall_clock_is_behind(0)
        self.fleet.wait_for_ring(WITHIN_S)
        key, value = sha256(b"key").digest(), value_of(1, 500)
        self.fleet.client(4).put(key, value)
        one = self.fleet.client(1)
        self.wait_for(lambda: one.get(key) == value)
        for number in self.fleet.numbers:
            self.assertNotIn("expired", self.fleet.log(number))
