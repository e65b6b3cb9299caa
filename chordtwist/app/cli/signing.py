"""Signed records on the command line: the owner's key from its file, and the key under which it writes."""

from __future__ import annotations

import time
from io import BytesIO
from string import hexdigits
from typing import TYPE_CHECKING, BinaryIO

import click

from chordtwist.core.records import KEY_BYTES, SALT_BYTES_MAX

if TYPE_CHECKING:
    from chordtwist.core.signed import Ed25519Signer


def _public_key(context: click.Context, parameter: click.Parameter, written: str | None) -> bytes | None:
    if written is None:
        return None
    if len(written) != 2 * KEY_BYTES or set(written) - set(hexdigits):
        raise click.BadParameter(f"{written!r} is not {2 * KEY_BYTES} hexadecimal digits")
    return bytes.fromhex(written)


keyfile_option = click.option(
    "--signed",
    "keyfile",
    metavar="KEYFILE",
    type=click.File("rb"),
    help="Sign with the Ed25519 private key in this PEM file; KEY is then a name of the owner's own.",
)
read_keyfile_option = click.option(
    "--signed",
    "keyfile",
    metavar="KEYFILE",
    type=click.File("rb"),
    help="KEY is a name of the owner's whose Ed25519 key is in this PEM file, private or public.",
)
owner_option = click.option(
    "--owner",
    metavar="PUBLICKEY",
    callback=_public_key,
    help="KEY is a name of the owner's with this public key: 64 hexadecimal digits.",
)
seq_option = click.option(
    "--seq",
    metavar="SEQ",
    type=click.IntRange(1, (1 << 63) - 1),
    help="With --signed, the number of this write, higher than that of the last one. Default: the time in ms.",
)


def signer_of(keyfile: BinaryIO, name: str | None = None) -> Ed25519Signer:
    """Read the key in a file, as a signer.

    @raise click.BadParameter: there is no such key in it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from chordtwist.core.signed import Ed25519Signer

    try:
        key = load_pem_private_key(keyfile.read(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(name or keyfile.name)
    return Ed25519Signer(key.private_bytes_raw())


def _no_key(name: str) -> click.BadParameter:
    return click.BadParameter(
        f"{name} holds no Ed25519 private key in PEM without a password; one is made by"
        " openssl genpkey -algorithm ed25519 -out owner.pem"
    )


def owner_of(keyfile: BinaryIO) -> bytes:
    """Read the public key of a private or public key in a file.

    @raise click.BadParameter: there is no such key in it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    raw = keyfile.read()
    try:
        key = load_pem_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return signer_of(BytesIO(raw), keyfile.name).public
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(keyfile.name)
    return key.public_bytes_raw()


def salt_of(name: str) -> bytes:
    """Turn a name into the salt that tells the records of one owner apart.

    @raise click.BadParameter: the name is too long for it.
    """
    salt = name.encode(errors="surrogateescape")
    if len(salt) > SALT_BYTES_MAX:
        raise click.BadParameter(f"with --signed, KEY is a name of at most {SALT_BYTES_MAX} bytes")
    return salt


def seq_or_now(seq: int | None) -> int:
    """Choose the number of a write: as asked, or the wall time in ms, which grows by itself."""
    return time.time_ns() // 1_000_000 if seq is None else seq
