"""The state directory: what outlives a node's process, for one process at a time."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from errno import EAGAIN, EEXIST, ELOOP, EWOULDBLOCK
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import count
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from chordtwist.core.address import Address
from chordtwist.core.errors import StateUnusable
from chordtwist.core.peer import Identity, Peer
from chordtwist.storage.files import open_own, read_own, replace_file, sync_directory

T = TypeVar("T")

STATE_FORMAT = 1
"""Of the directory: raised when a file of it changes so that an older node would misread it."""

SEED_BYTES = 32
"""An Ed25519 seed (RFC 8032, section 5.1.5)."""

TOKEN_FILE = "operator-token"
"""The name of the file with the operator's token; commands read no other."""

PEERS_REMEMBERED_MAX = 1024
"""Peers kept for the next start, whose address book they become: all of a ring of a thousand."""

NUMBER_MAX = 1 << 62
"""Epochs travel as u64 and grow."""

FILE_BYTES_MAX = 65_536
"""Of each small file here: 1,024 peers take 52 KiB at most. A larger one is corrupt and is not read into memory."""


class StateDirectory:
    """Opens and locks the directory at `path`, making it where there is none. Never waits.

    Every file is replaced whole: after a crash there is either the old one or the new one. A file that makes no sense
    is set aside beside it as ``NAME.corrupt-N`` with one line in the log, and the node goes on without it.

    @raise StateUnusable: another process uses it, its format is newer, or the system refuses.
    """

    log = Logger()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = path / "records"
        """Folder of the record store."""
        self.tls_key = path / "tls-key.pem"
        self.token_file = path / TOKEN_FILE
        self.tls_certificate = path / "tls-certificate.pem"
        self._lock = self._locked()
        self._is_closed = False
        try:
            self._name_owner()
            self._check_format()
        except BaseException:
            os.close(self._lock)
            raise

    @staticmethod
    def readers() -> dict[str, Callable[[bytes], object]]:
        """Name the small files, each with what reads it, or raises `ValueError`."""
        return {
            "format": _number,
            "epoch": _number,
            "node-key": _seed,
            TOKEN_FILE: _seed,
            "peers.json": _addresses,
        }

    def next_epoch(self, now_ms: int, runs: int = 1) -> int:
        """Give this run of the node a number above that of every run before it: `now_ms` (wall time) unless the clock
        went back. It is on disk when this returns, so that no two runs ever sign as the same one. With `runs` the
        numbers behind it are this process's too, so many in all.
        """
        # A daemon has gone into the background since it took the lock: this is the process that others are to name.
        self._name_owner()
        path = self.path / "epoch"
        epoch = max(now_ms, self._read(path, _number, default=0) + 1)
        content = b"%-19d\n" % (epoch + runs - 1)
        try:
            self.write(path, content)
        except StateUnusable as error:
            # On a full disk a node still starts, to serve what it has: these few bytes have their place already, and
            # no disk writes fewer of them at once.
            try:
                _overwrite(path, content)
            except OSError:
                raise error from None
        return epoch

    def node_key(self) -> bytes:
        """Get the seed of the node's Ed25519 key; made on the first start. Only its owner may read the file."""
        path = self.path / "node-key"
        seed = self._read(path, _seed, default=b"")
        if not seed:
            seed = secrets.token_bytes(SEED_BYTES)
            self.write(path, seed.hex().encode() + b"\n")
        elif path.stat().st_mode & 0o077:
            try:
                path.chmod(0o600)
            except OSError as error:
                raise StateUnusable(f"{path}: others can read this node's key: {error.strerror}") from error
            self.log.warn("{path}: others could read this node's key; now they cannot", path=path)
        return seed

    def operator_token(self) -> str:
        """Get what the operator proves himself with over the API, as hexadecimal digits; made on the first start. Only
        the owner of the file may read it.
        """
        token = self._read(self.token_file, _seed, default=b"")
        if not token:
            token = secrets.token_bytes(SEED_BYTES)
            self.write(self.token_file, token.hex().encode() + b"\n")
        elif self.token_file.stat().st_mode & 0o077:
            # Others may have read it: that one serves no longer.
            self.token_file.unlink()
            return self.operator_token()
        return token.hex()

    def remembered_peers(self, identity: Identity) -> list[Peer]:
        """List peers that an earlier run knew, best first; only addresses: each must prove itself again."""
        return self._read(self.path / "peers.json", lambda raw: _peers(raw, identity), default=[])

    def remember_peers(self, peers: Iterable[Peer]) -> None:
        """Keep these for the next start, best first, the first `PEERS_REMEMBERED_MAX` of them. In any thread.

        @raise StateUnusable: the system refuses; the older list stands.
        """
        addresses = [str(peer) for peer, _ in zip(peers, range(PEERS_REMEMBERED_MAX), strict=False)]
        self.write(self.path / "peers.json", json.dumps(addresses, indent=0).encode() + b"\n")

    def read(self, path: Path) -> bytes | None:
        """Read a file of the directory; None where there is none.

        @raise StateUnusable: it cannot be read, or is a link.
        """
        return self._read(path, lambda raw: raw, default=None)

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file of the directory as a whole, readable by its owner only; it is on disk when this returns.

        @raise StateUnusable: the system refuses; the old file stands.
        """
        try:
            replace_file(path, content)
        except OSError as error:
            raise StateUnusable(f"{path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let another process have the directory; a second time, nothing."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._lock)

    def _locked(self) -> int:
        """Open the descriptor that holds the lock. It ends with the process, however the process ends."""
        path = self.path / "lock"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.stat().st_mode & stat.S_IWOTH:
                # Whoever may write here may put a file of his own in the place of each of ours.
                raise StateUnusable(f"{self.path}: everybody may write to it: take that right away (chmod o-w)")
            descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            where = path if error.errno == ELOOP else self.path
            reason = "it is a file" if error.errno == EEXIST else error.strerror
            raise StateUnusable(f"{where}: cannot be used as state directory: {reason}") from error
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if error.errno in (EAGAIN, EWOULDBLOCK):
                raise StateUnusable(f"{self.path}: in use by process {owner or 'unknown'}") from None
            raise StateUnusable(f"{self.path}: cannot be locked: {error.strerror}") from error
        return descriptor

    def _name_owner(self) -> None:
        """Name this process in the locked file, in as many bytes as any number has: a full disk is no matter."""
        try:
            os.pwrite(self._lock, b"%-19d\n" % os.getpid(), 0)
        except OSError as error:
            raise StateUnusable(f"{self.path}: cannot be written: {error.strerror}") from error

    def _check_format(self) -> None:
        path = self.path / "format"
        written = self._read(path, _number, default=0)
        if written > STATE_FORMAT:
            raise StateUnusable(
                f"{self.path}: written by a newer chordtwist (format {written}; this one reads up to {STATE_FORMAT})"
            )
        if written < STATE_FORMAT:
            self.write(path, b"%d\n" % STATE_FORMAT)

    def _read(self, path: Path, parse: Callable[[bytes], T], default: T) -> T:
        """Read what `parse` makes of the file; `default` when there is none, or none that makes sense."""
        try:
            raw = read_own(path, FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return default
        except OSError as error:
            raise StateUnusable(f"{path}: cannot be read: {error.strerror}") from error
        try:
            if len(raw) > FILE_BYTES_MAX:
                raise ValueError(f"more than {FILE_BYTES_MAX} bytes")
            return parse(raw)
        except ValueError as error:
            set_aside(path, str(error))
            return default


def set_aside(path: Path, reason: str) -> None:
    """Rename a file that makes no sense to the first free ``NAME.corrupt-N``, and say so in one line of the log.

    @raise StateUnusable: the system refuses.
    """
    aside = next(aside for n in count(1) if not (aside := path.with_name(f"{path.name}.corrupt-{n}")).exists())
    try:
        path.rename(aside)
        sync_directory(path.parent)
    except OSError as error:
        raise StateUnusable(f"{path}: cannot be set aside: {error.strerror}") from error
    StateDirectory.log.warn(
        "{path} is corrupt and was set aside as {aside}: {reason}", path=path, aside=aside.name, reason=reason
    )


def _overwrite(path: Path, content: bytes) -> None:
    """Write over the beginning of a file that is there; on disk when this returns."""
    with open(open_own(path, os.O_RDWR), "r+b") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _number(raw: bytes) -> int:
    if not raw.strip().isdigit() or (number := int(raw)) > NUMBER_MAX:
        raise ValueError("no number that was ever written")
    return number


def _seed(raw: bytes) -> bytes:
    seed = bytes.fromhex(raw.decode("ascii"))
    if len(seed) != SEED_BYTES:
        raise ValueError(f"{len(seed)} bytes instead of {SEED_BYTES}")
    return seed


def _peers(raw: bytes, identity: Identity) -> list[Peer]:
    return [identity.peer(address.host, address.port) for address in _addresses(raw)]


def _addresses(raw: bytes) -> list[Address]:
    try:
        addresses = json.loads(raw)
    except RecursionError:
        raise ValueError("nested without end") from None
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise ValueError("not a list of addresses")
    return [Address.parse(address) for address in addresses[:PEERS_REMEMBERED_MAX]]
