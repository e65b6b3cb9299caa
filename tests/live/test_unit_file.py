"""The unit file that is shipped, as systemd sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

UNIT = Path(__file__).parents[2] / "etc" / "systemd" / "chordtwist.service"
EXPOSURE_MAX = 2.0
"""systemd calls 10 unsafe and 0 fully locked away; a service without any of its options has 9.6."""


class UnitFileTests(SynchronousTestCase):
    """Read by ``systemd-analyze``, without a systemd that runs."""

    def test_exposure(self) -> None:
        """A node can do little besides what a node does."""
        if shutil.which("systemd-analyze") is None or not UNIT.exists():
            self.skipTest("needs systemd-analyze and a checkout")
        ran = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(UNIT)],
            capture_output=True,
            text=True,
            check=True,
        )
        found = re.search(r"Overall exposure level for chordtwist.service: ([0-9.]+)", ran.stdout)
        assert found is not None, ran.stdout
        self.assertLess(float(found[1]), EXPOSURE_MAX)
