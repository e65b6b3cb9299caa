"""A machine whose clock says 1970 until somebody sets it, as one without a battery: a process with its own time."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.fleet import ROOT, Fleet, value_of

WITHIN_S = 30.0

SOURCE = Path(__file__).parents[1] / "clock_shim.c"


class OffsetFleet(Fleet):
    """A fleet in which a node may have a wall clock of its own: that of the machine and its `offset`."""

    shim: Path

    def offset(self, number: int, seconds: int) -> None:
        """Set a node's clock, which may run or not."""
        new = self.folder / f"{number}.offset.new"
        new.write_text(f"{seconds}\n")
        new.replace(self.folder / f"{number}.offset")

    def _run(self, number: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
        shim = {"LD_PRELOAD": str(self.shim), "CLOCK_SHIM": str(self.folder / f"{number}.offset")}
        with open(self.folder / f"{number}.log", "ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **shim, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)},
            )


class ClockTests(SynchronousTestCase):
    """Three nodes whose clocks are right, and one."""

    def setUp(self) -> None:
        """The clock, and a ring."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise SkipTest("no C compiler here, which makes a process its own clock")
        self.fleet = OffsetFleet({"state_dir": "yes"})
        self.addCleanup(self.fleet.close)
        self.fleet.shim = self.fleet.folder / "clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self.fleet.shim, SOURCE, "-ldl"], check=True)
        self.fleet.start([1, 2, 3])
        self.fleet.wait_for_ring(60)

    def wait_for(self, what: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        ends = time.monotonic() + within_s
        while not what():
            self.assertLess(time.monotonic(), ends, [self.fleet.log(number) for number in self.fleet.numbers])
            time.sleep(0.2)

    def test_1970(self) -> None:
        """A node that started in 1970 says so at once, and is a member within half a minute of its clock's being set,
        without a restart; what is put there then is read everywhere.
        """
        self.fleet.offset(4, -int(time.time()))
        self.fleet.start([4])
        self.wait_for(lambda: "this machine's clock says 1970" in self.fleet.log(4))
        self.fleet.offset(4, 0)
        self.fleet.wait_for_ring(WITHIN_S)
        key, value = sha256(b"key").digest(), value_of(1, 500)
        self.fleet.client(4).put(key, value)
        one = self.fleet.client(1)
        self.wait_for(lambda: one.get(key) == value)
        for number in self.fleet.numbers:
            self.assertNotIn("expired", self.fleet.log(number))
