"""``chordtwist get``: a value, byte for byte."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Any, BinaryIO

import click

from chordtwist.app.cli import asking, signing, talking
from chordtwist.app.cli.talking import Caller, Connect, Key
from chordtwist.core.records import signed_key


@click.command(
    help="""Read the value under KEY and write it to standard output, exactly its bytes.

    KEY is a name, whose SHA-256 is the key, or the key itself as 64 hexadecimal digits.

    \b
    Examples:
        chordtwist get greeting
        chordtwist get backup > backup.tar
        chordtwist get news --signed owner.pem
        chordtwist get greeting --json

    What was put with --signed is read with the same key file and name, or with the owner's public key; the signature
    is checked here once more. On a terminal a text gets an end of line, and what is no text is not shown. Where there
    is nothing the exit status is 1.
    """
)
@talking.key_argument
@signing.read_keyfile_option
@signing.owner_option
@click.option("--force", is_flag=True, help="Write it to a terminal also when it is no text.")
@talking.asks_a_node
def command(caller: Caller, key: str, keyfile: BinaryIO | None, owner: bytes | None, force: bool) -> None:
    """Run ``chordtwist get``."""
    if keyfile is not None and owner is not None:
        raise click.UsageError("--signed and --owner both name an owner; choose one")
    if keyfile is not None:
        owner = signing.owner_of(keyfile)
    place = Key.of(key) if owner is None else Key(signed_key(owner, signing.salt_of(key)), key)

    def conversation(connect: Connect) -> dict[str, Any]:
        client = connect(member=True)
        if caller.as_json or owner is not None:
            found = asking.first(caller, client, {"do": "read", "key": place.raw.hex()})
        else:
            value = client.get(place.raw)
            found = {"found": value is not None, "value": value}
        # A node that is in no ring finds nothing either.
        return found if found.get("found") else found | {"why": talking.why_in_no_ring(client.status())}

    found = caller.talk(conversation)
    if not found.get("found"):
        fields = place.fields | {"found": False, "value_base64": None}
        if found["why"]:
            raise talking.NotFound(f"{place}: not found: {found['why']}", fields)
        raise talking.NotFound(f"there is no value under {place}", fields)
    value = found.get("value", b"") if "value" in found else _decoded(caller, found)
    if owner is not None:
        _check_signature(caller, place, owner, value, found)
    if caller.as_json:
        talking.show_json(_fields(place, value, found))
    else:
        _write(value, found, owner, force)


def _decoded(caller: Caller, found: dict[str, Any]) -> bytes:
    try:
        return b64decode(found["value_base64"], validate=True)
    except (KeyError, ValueError, TypeError):
        raise talking.NotReachable(f"{caller.api} is no API of a chordtwist node: it tells of no value") from None


def _check_signature(caller: Caller, place: Key, owner: bytes, value: bytes, found: dict[str, Any]) -> None:
    # The node has checked it, but it need not be believed: what it tells besides must fit.
    from chordtwist.core.signed import pack_record, verify_ed25519

    try:
        salt, signature = bytes.fromhex(found["salt"]), bytes.fromhex(found["signature"])
        body = pack_record(salt, found["seq"], sha256(value).digest())
    except (KeyError, ValueError, TypeError, OverflowError, AttributeError):
        raise talking.Denied(f"{place}: the node gave a value without its signature", place.fields) from None
    if signed_key(owner, salt) != place.raw or not verify_ed25519(owner, signature, body):
        raise talking.Denied(f"{place}: the node gave a value that its owner has not signed", place.fields)


def _fields(place: Key, value: bytes, found: dict[str, Any]) -> dict[str, object]:
    shown: dict[str, object] = place.fields | {"found": True, "value_base64": b64encode(value).decode()}
    try:
        shown["text"] = value.decode()
    except UnicodeDecodeError:
        shown["text"] = None
    known = ("version", "kind", "bytes", "copies", "seq", "public_key")
    shown |= {name: found[name] for name in known if name in found}
    if isinstance(found.get("ttl_ms"), int):
        shown["ttl_s"] = found["ttl_ms"] / 1000
    return shown


def _write(value: bytes, found: dict[str, Any], owner: bytes | None, force: bool) -> None:
    if sys.stdout is None:
        raise click.ClickException("standard output is closed")
    is_terminal = sys.stdout.isatty()
    if is_terminal and not force and not _is_text(value):
        raise talking.No(f"no text but {len(value)} bytes that would steer this terminal: > FILE, or --force")
    end = b"\n" if is_terminal and not force and not value.endswith(b"\n") else b""
    sys.stdout.buffer.write(value + end)
    sys.stdout.buffer.flush()
    if is_terminal and owner is not None:
        talking.show(f"signed by {owner.hex()[:8]}..., seq {found['seq']}", err=True)


def _is_text(value: bytes) -> bool:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    return all(line.isprintable() for line in text.replace("\t", " ").replace("\r\n", "\n").split("\n"))
