"""The unit file that is shipped, as systemd sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

UNIT = Path(__file__).parents[2] / "etc" / "systemd" / "chordtwist.service"
EXPOSURE_MAX = 1.1
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
        self.assertLessEqual(float(found[1]), EXPOSURE_MAX)

    def test_units(self) -> None:
        """systemd understands every unit that is shipped, once its program is where the units have it."""
        if shutil.which("systemd-analyze") is None or not UNIT.exists():
            self.skipTest("needs systemd-analyze and a checkout")
        with tempfile.TemporaryDirectory() as folder:
            for unit in sorted(UNIT.parent.iterdir()):
                text = unit.read_text().replace("/opt/chordtwist/bin/chordtwist", "/bin/true")
                (Path(folder) / unit.name.replace("@", "@one")).write_text(text)
            units = sorted(Path(folder).iterdir())
            ran = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
            )
            said = [line for line in ran.stderr.splitlines() if "chordtwist" in line]
            self.assertEqual((3, [], 0), (len(units), said, ran.returncode), ran.stderr)
