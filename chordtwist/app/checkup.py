"""What can be seen of a machine and of a configuration file without a node: is a node going to be well here."""

from __future__ import annotations

import os
import resource
import socket
import stat
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from chordtwist.app.config import NodeConfig, TlsMode
from chordtwist.core.address import Address, UnixAddress
from chordtwist.core.health import DISK_FREE_BYTES_MIN, YEAR_MIN

GOOD: Literal["good"] = "good"
LOOK: Literal["look"] = "look"
BAD: Literal["bad"] = "bad"

FLUSH_SLOW_S, FLUSH_BAD_S = 0.1, 2.0
"""A disk that takes longer slows every confirmed put; one that takes two seconds is broken, or far too busy."""

DESCRIPTORS_FEW = 1024
CERTIFICATE_LOOK_DAYS = 30
BOOTSTRAP_WITHIN_S = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, what was found, and what to do about it."""

    check: str
    state: Literal["good", "look", "bad"]
    found: str
    todo: str = ""


def machine() -> Iterator[Finding]:
    """Look at the machine and at Python."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = "without bound" if hard == resource.RLIM_INFINITY else str(hard)
    is_few = hard not in (resource.RLIM_INFINITY,) and hard < DESCRIPTORS_FEW
    todo = "raise the limit: ulimit -Hn, or LimitNOFILE= in the unit" if is_few else ""
    yield Finding("descriptors", LOOK if is_few else GOOD, f"a process may open {count}", todo)
    year = datetime.now(UTC).year
    if year < YEAR_MIN:
        yield Finding("clock", BAD, f"this machine's clock says {year}", "set it: timedatectl, chrony")
    # Distributions optimize theirs in ways of their own, which do not stand there.
    if sys.base_prefix != "/usr" and "--enable-optimizations" not in str(sysconfig.get_config_var("CONFIG_ARGS")):
        todo = "a distribution's Python does a fifth more puts a second"
        yield Finding("python", LOOK, f"Python {_python()} was built without optimizations", todo)
    else:
        yield Finding("python", GOOD, f"Python {_python()}")


def configured(config: NodeConfig, is_running: bool) -> Iterator[Finding]:
    """Look at what a configuration names. @param is_running: whether its node answers, so that its ports are taken."""
    yield from _ports(config, is_running)
    yield from _state(config)
    yield from _tls(config)
    yield from _bootstrap(config)
    yield from _doors(config)


def _ports(config: NodeConfig, is_running: bool) -> Iterator[Finding]:
    named = [("p2p_address", config.dht.p2p_address), ("api_address", config.api_address)]
    if config.web.address is not None:
        named.append(("[web] address", config.web.address))
    for name, address in named:
        if isinstance(address, UnixAddress):
            yield _socket_folder(name, address)
        else:
            yield _port(name, address, is_running)


def _socket_folder(name: str, address: UnixAddress) -> Finding:
    folder = address.path.parent
    if os.access(folder, os.W_OK | os.X_OK):
        return Finding(name, GOOD, f"{address}")
    return Finding(name, BAD, f"{folder} cannot be written by this user", "make it, or run this as the node's user")


def _port(name: str, address: Address, is_running: bool) -> Finding:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except PermissionError:
            return Finding(name, BAD, f"{address}: this user may not listen there", "take a port above 1023")
        except OSError as error:
            import errno

            if error.errno == errno.EADDRINUSE:
                if is_running:
                    return Finding(name, GOOD, f"{address} is taken, and the node runs")
                return Finding(name, BAD, f"{address} is taken by another program", "ss -ltnp says by which")
            if error.errno == errno.EADDRNOTAVAIL:
                todo = "behind NAT or in a container take 0.0.0.0, and public_address for what others dial"
                return Finding(name, BAD, f"{address} is no address of this machine", todo)
            return Finding(name, BAD, f"{address}: {error.strerror or error}")
    return Finding(name, GOOD, f"{address} is free")


def _state(config: NodeConfig) -> Iterator[Finding]:
    path = config.dht.state_dir
    if path is None:
        yield Finding("state_dir", LOOK, "none: what the node holds ends with it", "set state_dir to keep it")
        return
    if not path.exists():
        yield Finding("state_dir", LOOK, f"{path} is not there yet: the node makes it")
        return
    if not path.is_dir():
        yield Finding("state_dir", BAD, f"{path} is a file", "name a folder")
        return
    yield from _disk(path)
    for name in "node-key", "tls-key.pem", "operator-token":
        with suppress(OSError):
            if (path / name).stat().st_mode & 0o077:
                yield Finding("state_dir", BAD, f"{path / name} can be read by others", f"chmod 600 {path / name}")


def _disk(path: Path) -> Iterator[Finding]:
    try:
        free = os.statvfs(path)
        free_bytes = free.f_bavail * free.f_frsize
        took_s = _flushed(path)
    except OSError as error:
        todo = "make room, or give the node's user the right to write there"
        yield Finding("disk", BAD, f"{path}: {error.strerror}", todo)
        return
    if free_bytes < DISK_FREE_BYTES_MIN:
        yield Finding("disk", BAD, f"{free_bytes >> 20} MiB are left on the disk of {path}", "make room")
    elif took_s > FLUSH_SLOW_S:
        state = BAD if took_s > FLUSH_BAD_S else LOOK
        yield Finding("disk", state, f"writing to {path} took {took_s:.1f} s", "a confirmed put waits for that")
    else:
        yield Finding("disk", GOOD, f"{free_bytes >> 20} MiB free, a write is safe after {took_s * 1000:.0f} ms")


def _flushed(path: Path) -> float:
    began_s = time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-") as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began_s


def _tls(config: NodeConfig) -> Iterator[Finding]:
    tls = config.tls
    named = [("authority", tls.authority), ("certificate", tls.certificate), ("key", tls.key), ("revoked", tls.revoked)]
    for name, path in (*named, ("hostkey", config.hostkey)):
        if path is None:
            continue
        try:
            path.read_bytes()
        except OSError as error:
            yield Finding(name, BAD, f"{path}: {error.strerror}", "the node needs it to start")
            continue
        if name in ("key", "hostkey") and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield Finding(name, LOOK, f"{path} can be read by others", f"chmod 600 {path}")
    if tls.certificate is not None and tls.certificate.exists():
        yield _certificate(tls.certificate, config.announced_address)


def _certificate(path: Path, announced: Address) -> Finding:
    from cryptography import x509

    from chordtwist.net.certificates import subject_address

    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        address = subject_address(certificate)
    except (OSError, ValueError) as error:
        return Finding("certificate", BAD, f"{path}: {error}", "chordtwist certify node makes one")
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    renew = f"chordtwist certify renew {announced.host}"
    if announced.is_ip and str(address) != announced.host:
        return Finding("certificate", BAD, f"{path} is for {address}, the node is {announced.host}", renew)
    if left.total_seconds() <= 0:
        return Finding("certificate", BAD, f"{path} has ended", renew)
    state = LOOK if left.days < CERTIFICATE_LOOK_DAYS else GOOD
    return Finding("certificate", state, f"it ends in {left.days} days", renew if state == LOOK else "")


def _bootstrap(config: NodeConfig) -> Iterator[Finding]:
    own = config.announced_address
    others = [address for address in config.dht.bootstrap_node if address != own]
    if not others:
        yield Finding("bootstrap", GOOD, "no other node is listed: this one is the first of its ring")
    for address in others:
        try:
            with socket.create_connection((address.host, address.port), BOOTSTRAP_WITHIN_S):
                yield Finding("bootstrap", GOOD, f"{address} takes a connection")
        except OSError as error:
            todo = "look whether it runs, and at firewalls between; one that answers is enough"
            yield Finding("bootstrap", LOOK, f"{address}: {error.strerror or error}", todo)


def _doors(config: NodeConfig) -> Iterator[Finding]:
    api = config.api_address
    if isinstance(api, Address) and not api.is_loopback:
        todo = "whoever reaches it may read and write: a firewall, or loopback"
        yield Finding("security", LOOK, f"the API is open beyond this machine: {api}", todo)
    if config.tls.mode is TlsMode.OPEN and not config.tls.secret and not config.announced_address.is_loopback:
        todo = "for a ring of your own: [tls] secret, or mode = closed"
        yield Finding("security", LOOK, "everybody who proves an address may join this network", todo)


def _python() -> str:
    import platform

    return platform.python_version()
