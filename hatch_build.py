"""Takes into the wheel what ``python -m tools.share`` has written, where it was called before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShareHook(BuildHookInterface[Any]):
    """Adds the folder share, which is made of the commands: no build environment has all that they load."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add its files, if there are any: git ignores the folder, so hatch would too."""
        for path in (Path(self.root) / "share").rglob("*"):
            if path.is_file():
                build_data["shared_data"][str(path)] = str(path.relative_to(self.root))
