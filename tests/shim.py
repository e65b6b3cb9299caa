"""What `shim.c` does to a process: a disk that takes its time, a machine that was suspended, a clock that is wrong."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from unittest import SkipTest


class Shim:
    """Builds the library in `folder`; the processes that are started with `environment` do as its numbers say.

    @raise SkipTest: there is no C compiler.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise SkipTest("needs a C compiler")
        library, self._knobs = folder / "shim.so", folder / "shim.knobs"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        self._flush_ms = self._behind_ns = self._wall_behind_s = 0
        self._write()
        self.environment = {"LD_PRELOAD": str(library), "SHIM_KNOBS": str(self._knobs)}

    def flush_takes(self, seconds: float) -> None:
        """Let each flush of a file take so long from now on."""
        self._flush_ms = int(seconds * 1000)
        self._write()

    def slept(self, seconds: float) -> None:
        """Let the steady clock have stood still for so long, as while a machine is suspended."""
        self._behind_ns += int(seconds * 1e9)
        self._write()

    def wall_clock_is_behind(self, seconds: int) -> None:
        """Let the wall clock be behind the machine's by so much from now on."""
        self._wall_behind_s = seconds
        self._write()

    def _write(self) -> None:
        # In place: the processes have it mapped.
        with open(self._knobs, "r+b" if self._knobs.exists() else "wb") as file:
            file.write(struct.pack("qqq", self._flush_ms, self._behind_ns, self._wall_behind_s))
