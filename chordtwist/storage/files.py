"""Files that are replaced as a whole: after a crash there is either the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file anew; it is on disk when this returns. Who reads it meanwhile has the old one or the new one.

    Two processes that write the same file have to take turns.

    @param mode: its rights, less those that the process gives no file.
    @raise OSError: the system refuses; the old file stands.
    """
    # One name for all times: what a crash left behind goes first, with whatever rights it has.
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames in a directory last: they are in the directory's own file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
