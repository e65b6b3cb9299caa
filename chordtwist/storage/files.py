"""A node's own files: no links, and replaced as a whole: after a crash there is either the old one or the new one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EISDIR, ELOOP, ENXIO
from pathlib import Path
from typing import BinaryIO


def open_own(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file that is ours; answers with its descriptor. Whoever put a link, or a pipe, in its place gets nothing
    read, written or waited for.

    @raise OSError: the system refuses, or it is no ordinary file, in words for ``strerror``.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno == ELOOP:
            raise OSError(ELOOP, "it is a symbolic link", str(path)) from None
        raise
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    raise OSError(ENXIO, "it is no ordinary file", str(path))


def read_own(path: Path, bytes_max: int) -> bytes:
    """Read such a file, `bytes_max` of it at most. @raise OSError: as `open_own`."""
    with open(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read(bytes_max)


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file anew; it is on disk when this returns. As `replacing`."""
    with replacing(path, mode) as file:
        file.write(content)
    sync_directory(path.parent)


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Give a file to write, which takes the place of `path` when all of it is on disk. Who reads that meanwhile has the
    old one or the new one; where writing fails, the old one stands, and nothing else.

    Two processes that write the same file have to take turns.

    @param mode: its rights, less those that the process gives no file.
    @raise OSError: the system refuses.
    """
    # One name for all times: what a crash left behind goes first, with whatever rights it has.
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def sync_directory(path: Path) -> None:
    """Make renames in a directory last: they are in the directory's own file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
