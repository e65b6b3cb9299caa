"""``chordtwist certify``: the authority of a closed network, and the certificates of its nodes, in one folder.

The folder holds ``authority.pem`` and ``authority.key``, ``ADDRESS.pem`` and ``ADDRESS.key`` for each node,
``revoked.pem``, and ``issued.json``, what was ever issued to whom. It is the operator's, never a node's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from chordtwist.app.cli.talking import No, json_option, show, show_json
from chordtwist.storage.files import replace_file

F = TypeVar("F", bound=Callable[..., Any])

folder_option = click.option(
    "-d",
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("authority"),
    show_default=True,
    help="The authority's folder. Keep it away from the nodes: whoever has authority.key can admit anybody.",
)


def days_option(default: int) -> Callable[[F], F]:
    """How long a certificate is valid."""
    return click.option(
        "--days", type=click.IntRange(1, 36_500), default=default, show_default=True, help="How long it is valid."
    )


def _address(context: click.Context, parameter: click.Parameter, written: str) -> str:
    from chordtwist.core.peer import canonical_ip, why_no_host

    try:
        ip = canonical_ip(written)
    except ValueError:
        reason = f"{written!r} is no IP address; a certificate is for the address that other nodes dial"
        raise click.BadParameter(reason) from None
    against = why_no_host(ip)
    if against is not None:
        raise click.BadParameter(f"{against}; a certificate is for the address that other nodes dial")
    return str(ip)


address_argument = click.argument("address", callback=_address)


@click.group(
    help="""Make the authority of a closed network, and certificates for its nodes.

    \b
    An authority, once; then a certificate for each node, by the address that others dial:
        chordtwist certify authority
        chordtwist certify node 192.0.2.1
    What the node's configuration says then:
        [tls]
        mode = closed
        authority = authority.pem
        certificate = 192.0.2.1.pem
        key = 192.0.2.1.key
        revoked = revoked.pem

    Copy these four files to the node. A running node takes up changed files by itself.
    """
)
def command() -> None:
    """Do nothing: the work is in the commands of the group."""


@command.command(
    help="Make the network's authority: authority.pem and an empty revoked.pem for all nodes, authority.key for none."
)
@click.option("--network", default="chordtwist", show_default=True, help="The name of the network.")
@folder_option
@days_option(3650)
@json_option
def authority(network: str, folder: Path, days: int, as_json: bool) -> None:
    """Make the network's authority: authority.pem and an empty revoked.pem for all nodes, authority.key for none."""
    from chordtwist.net.certificates import make_authority, make_key, revocation_list

    if (folder / "authority.key").exists():
        raise No(f"{folder / 'authority.key'} is there already; an authority is made once")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise No(f"{folder}: cannot be made: {error.strerror}") from None
    key = make_key()
    certificate = make_authority(key, network, _now(), timedelta(days=days))
    # A list that is there from the first day can be named in every configuration.
    _write(folder / "revoked.pem", revocation_list(certificate, key, (), _now()))
    _write(folder / "authority.pem", certificate)
    _write(folder / "authority.key", key, secret=True)
    _tell(as_json, f"made {folder / 'authority.pem'}", authority=str(folder / "authority.pem"))


@command.command(help="Issue a certificate for the node at ADDRESS, with a new key.")
@address_argument
@folder_option
@days_option(365)
@json_option
def node(address: str, folder: Path, days: int, as_json: bool) -> None:
    """Issue a certificate for the node at ADDRESS, with a new key."""
    from chordtwist.net.certificates import make_key

    office = Office.opened(folder)
    if office.key_of(address).exists():
        raise No(f"{office.key_of(address)} is there already; chordtwist certify renew {address} keeps the key")
    key = make_key()
    until = office.issue(address, key, days)
    _write(office.key_of(address), key, secret=True)
    _told_of(office, address, until, as_json)


@command.command(
    help="Issue another certificate for the node at ADDRESS, with the key it has. The earlier one stays valid."
)
@address_argument
@folder_option
@days_option(365)
@json_option
def renew(address: str, folder: Path, days: int, as_json: bool) -> None:
    """Issue another certificate for the node at ADDRESS, with the key it has. The earlier one stays valid."""
    office = Office.opened(folder)
    if not office.key_of(address).exists():
        raise No(f"nothing was ever issued for {address}; chordtwist certify node {address} does that")
    until = office.issue(address, _read(office.key_of(address)), days)
    _told_of(office, address, until, as_json)


@command.command(
    help="Take back all certificates of the node at ADDRESS: the others refuse it once they have revoked.pem."
)
@address_argument
@folder_option
@json_option
def revoke(address: str, folder: Path, as_json: bool) -> None:
    """Take back all certificates of the node at ADDRESS: the others refuse it once they have revoked.pem."""
    office = Office.opened(folder)
    count = office.revoke(address)
    if not count:
        raise No(f"no certificate was ever issued for {address}")
    path = folder / "revoked.pem"
    _tell(as_json, f"revoked {count} of {address} in {path}", revoked=count, list=str(path), address=address)


@command.command(help="List what was issued, and what was revoked.")
@folder_option
@json_option
def issued(folder: Path, as_json: bool) -> None:
    """List what was issued, and what was revoked."""
    entries = Office.opened(folder).entries()
    if as_json:
        show_json({"issued": entries})
        return
    for entry in entries:
        state = "revoked" if entry["revoked"] else f"until {entry['until'][:10]}"
        show(f"{entry['address']:<40} {state:<17} serial {int(entry['serial']):x}")


@dataclass(frozen=True, slots=True)
class Office:
    """An authority at work in its folder."""

    folder: Path
    certificate: bytes
    key: bytes

    @classmethod
    def opened(cls, folder: Path) -> Office:
        """Open the authority in a folder; refuses where there is none."""
        if not (folder / "authority.key").exists():
            raise No(f"there is no authority in {folder}; chordtwist certify authority makes one")
        return cls(folder, _read(folder / "authority.pem"), _read(folder / "authority.key"))

    def key_of(self, address: str) -> Path:
        """Where the key of a node is kept."""
        return self.folder / f"{address.replace(':', '_')}.key"

    def certificate_of(self, address: str) -> Path:
        """Where its certificate is kept."""
        return self.folder / f"{address.replace(':', '_')}.pem"

    def entries(self) -> list[dict[str, Any]]:
        """List what was ever issued, in order."""
        path = self.folder / "issued.json"
        if not path.exists():
            return []
        try:
            entries: list[dict[str, Any]] = json.loads(_read(path))["issued"]
        except (ValueError, KeyError, TypeError):
            raise No(f"{path} makes no sense; without it nothing can be revoked, so nothing is issued") from None
        return entries

    def issue(self, address: str, key: bytes, days: int) -> datetime:
        """Issue a certificate, and remember it; until when it is valid."""
        from cryptography.x509 import load_pem_x509_certificate

        from chordtwist.net.certificates import issue

        entries = self.entries()
        try:
            made = issue(self.certificate, self.key, key, address, _now(), timedelta(days=days))
        except ValueError as error:
            raise No(f"{self.folder}: {error}") from None
        certificate = load_pem_x509_certificate(made)
        until = certificate.not_valid_after_utc
        # As text: other programs' numbers end before 160 bits.
        serial = str(certificate.serial_number)
        entries.append({"address": address, "serial": serial, "until": until.isoformat(), "revoked": False})
        # First remembered, then made: what exists can be revoked.
        self._keep(entries)
        _write(self.certificate_of(address), made)
        return until

    def revoke(self, address: str) -> int:
        """Take back whatever was issued for an address; how many certificates that were."""
        from chordtwist.net.certificates import revocation_list

        entries = self.entries()
        theirs = [entry for entry in entries if entry["address"] == address]
        for entry in theirs:
            entry["revoked"] = True
        if theirs:
            serials = [int(entry["serial"]) for entry in entries if entry["revoked"]]
            try:
                revoked = revocation_list(self.certificate, self.key, serials, _now())
            except ValueError as error:
                raise No(f"{self.folder}: {error}; nothing is revoked") from None
            # First made, then remembered: what is listed as revoked is.
            _write(self.folder / "revoked.pem", revoked)
            self._keep(entries)
        return len(theirs)

    def _keep(self, entries: list[dict[str, Any]]) -> None:
        _write(self.folder / "issued.json", json.dumps({"issued": entries}, indent=1).encode() + b"\n")


def _told_of(office: Office, address: str, until: datetime, as_json: bool) -> None:
    certificate, key = office.certificate_of(address), office.key_of(address)
    line = f"made {certificate}, valid until {until:%Y-%m-%d}; its key is {key}"
    _tell(as_json, line, certificate=str(certificate), key=str(key), address=address, until=until.isoformat())


def _tell(as_json: bool, line: str, **facts: object) -> None:
    if as_json:
        show_json(facts)
    else:
        show(line)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise No(f"{path}: cannot be read: {error.strerror}") from None


def _write(path: Path, content: bytes, secret: bool = False) -> None:
    try:
        replace_file(path, content, 0o600 if secret else 0o644)
    except OSError as error:
        raise No(f"{path}: cannot be written: {error.strerror}") from None


def _now() -> datetime:
    return datetime.now(UTC)
