"""``chordtwist put``: store a value, and say how many copies there are of it."""

from __future__ import annotations

import sys
from hashlib import sha256
from typing import BinaryIO

import click

from chordtwist.app.cli import signing, talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.records import VALUE_BYTES_MAX, PutResult, Seal, key_of, seal, signed_key


@click.command(
    help="""Store VALUE under KEY, and say how many copies were made.

    KEY is a name, whose SHA-256 is the key, or the key itself as 64 hexadecimal digits. VALUE has 1 to 65,495 bytes;
    it is read from standard input when it is - or left out.

    \b
    Examples:
        chordtwist put greeting "good morning"
        chordtwist put backup --file backup.tar --ttl 86400 --replication 8
        date | chordtwist put now -
        chordtwist put --content "nobody can change this"
        chordtwist put news "only I can change this" --signed owner.pem

    A value under a name can be replaced by anybody. What is put with --content or --signed cannot; both tell the key
    under which to get it.
    """
)
@click.argument("key", metavar="[KEY]", required=False)
@click.argument("value", required=False)
@click.option(
    "--ttl",
    "ttl_s",
    metavar="S",
    type=click.IntRange(0, (1 << 32) - 1),
    default=0,
    help="Seconds it lives, at most the node's max_store_duration. Default 0: its default_store_duration.",
)
@click.option(
    "--replication",
    metavar="N",
    type=click.IntRange(0, 255),
    default=0,
    help="Copies to make of it, at most the network's successors. Default 0: its replication.",
)
@click.option("--file", metavar="PATH", type=click.File("rb"), help="Read the value from this file.")
@click.option(
    "--content", is_flag=True, help="Take no KEY: the key is the SHA-256 of the value, and nothing else fits."
)
@signing.keyfile_option
@signing.seq_option
@click.option(
    "--expect",
    "expected_seq",
    metavar="SEQ",
    type=click.IntRange(0, (1 << 63) - 1),
    help="With --signed, write only in place of the record with this number, ended or not; 0: of none.",
)
@talking.asks_a_node
def command(
    caller: Caller,
    key: str | None,
    value: str | None,
    ttl_s: int,
    replication: int,
    file: BinaryIO | None,
    content: bool,
    keyfile: BinaryIO | None,
    seq: int | None,
    expected_seq: int | None,
) -> None:
    """Run ``chordtwist put``."""
    if content:
        if keyfile is not None:
            raise click.UsageError("--content and --signed are two kinds of record; choose one")
        if value is not None:
            raise click.UsageError("with --content there is no KEY, only VALUE")
        key, value = None, key
    elif key is None:
        raise click.UsageError("Missing argument 'KEY'.")
    else:
        talking.check_name(key)
    if keyfile is None and (seq is not None or expected_seq is not None):
        raise click.UsageError("--seq and --expect are for --signed")
    if file is not None and value is not None:
        raise click.UsageError("VALUE and --file are two values; choose one")
    raw = _bytes(value, file)
    place, sealed = _place(key, raw, keyfile, seq, expected_seq)

    def conversation(connect: Connect) -> PutResult:
        client = connect(member=True)
        return client.put(place, raw, ttl_s, replication, sealed)

    result = caller.confirmed(conversation, place)
    if caller.as_json:
        talking.show_json(
            {
                "key": place.hex(),
                "done": True,
                "copies": result.copies,
                "wanted": result.wanted,
                "version_ms": result.version.ms,
                "ttl_s": result.ttl_ms / 1000,
                **({} if sealed is None else {"seq": sealed.seq}),
            }
        )
    else:
        number = "" if sealed is None else f", seq {sealed.seq}"
        talking.show(
            f"{place.hex()}: {result.copies} of {result.wanted} copies, for {result.ttl_ms / 1000:.0f} s{number}"
        )


def _bytes(value: str | None, file: BinaryIO | None) -> bytes:
    # An argument is what the shell passed, also where that is no text in this locale.
    if file is not None:
        raw = _read(file)
    elif value is None or value == "-":
        raw = _standard_input()
    else:
        raw = value.encode(errors="surrogateescape")
    if not raw:
        raise talking.BadValue("the value is empty; it has 1 to 65,495 bytes")
    if len(raw) > VALUE_BYTES_MAX:
        raise talking.BadValue("the value has more than 65,495 bytes")
    return raw


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(VALUE_BYTES_MAX + 1)
    except OSError as error:
        raise click.FileError(file.name, error.strerror) from None


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise click.ClickException("standard input is closed")
    if sys.stdin.isatty():
        talking.show("type the value; Ctrl-D ends it", err=True)
    return sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)


def _place(
    name: str | None, value: bytes, keyfile: BinaryIO | None, seq: int | None, expected_seq: int | None
) -> tuple[bytes, Seal | None]:
    if name is None:
        return sha256(value).digest(), None
    if keyfile is None:
        return key_of(name), None
    signer, salt = signing.signer_of(keyfile), signing.salt_of(name)
    return signed_key(signer.public, salt), seal(signer, value, signing.seq_or_now(seq), salt, expected_seq)
