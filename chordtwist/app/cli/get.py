"""``chordtwist get``: a value, byte for byte."""

from __future__ import annotations

import sys
from base64 import b64encode

import click

from chordtwist.app.cli import talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.errors import IN_NO_RING
from chordtwist.core.records import key_of


@click.command(
    help="""Read the value under KEY and write it to standard output, exactly its bytes.

    KEY is a name, whose SHA-256 is the key, or the key itself as 64 hexadecimal digits.

    \b
    Examples:
        chordtwist get greeting
        chordtwist get backup > backup.tar
        chordtwist get greeting --api 127.0.0.3:7401

    Where there is nothing, nothing is written and the exit status is 1. With --json the value is shown in base64.
    """
)
@talking.key_argument
@talking.asks_a_node
def command(caller: Caller, key: str) -> None:
    """Run ``chordtwist get``."""
    place = key_of(key)

    def conversation(connect: Connect) -> tuple[bytes | None, bool]:
        client = connect(member=True)
        value = client.get(place)
        # A node that is in no ring finds nothing either.
        return value, value is not None or bool(client.status().get("member", True))

    value, has_looked = caller.talk(conversation)
    if caller.as_json:
        encoded = None if value is None else b64encode(value).decode()
        talking.show_json({"key": place.hex(), "found": value is not None, "value_base64": encoded})
    elif value is not None:
        if sys.stdout is None:
            raise click.ClickException("standard output is closed")
        try:
            sys.stdout.buffer.write(value)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise click.ClickException(f"standard output: {error.strerror}") from None
    if not has_looked:
        raise talking.No(f"{place.hex()}: not found: {IN_NO_RING}")
    if value is None:
        raise talking.No(f"there is no value under {place.hex()}")
