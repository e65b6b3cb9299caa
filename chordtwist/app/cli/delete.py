"""``chordtwist delete``: put an end to a record."""

from __future__ import annotations

from typing import BinaryIO

import click

from chordtwist.app.cli import signing, talking
from chordtwist.app.cli.talking import Caller, Key
from chordtwist.core.records import seal, signed_key


@click.command(
    help="""Put an end to the value under KEY, everywhere, before its time.

    KEY is a name, whose SHA-256 is the key, or the key itself as 64 hexadecimal digits. A record that was put with
    --signed is ended with the same key file and name; one that was put with --content cannot be ended.
    Where there is nothing that is no error.

    \b
    Examples:
        chordtwist delete greeting
        chordtwist delete news --signed owner.pem
    """
)
@talking.key_argument
@signing.keyfile_option
@signing.seq_option
@talking.asks_a_node
def command(caller: Caller, key: str, keyfile: BinaryIO | None, seq: int | None) -> None:
    """Run ``chordtwist delete``."""
    if keyfile is None:
        if seq is not None:
            raise click.UsageError("--seq is for --signed")
        place, end = Key.of(key), None
    else:
        signer, salt = signing.signer_of(keyfile), signing.salt_of(key)
        # The end of a signed record is an empty value of a higher number.
        place = Key(signed_key(signer.public, salt), key)
        end = seal(signer, b"", signing.seq_or_now(seq), salt)
    result = caller.confirmed(lambda client: client.delete(place.raw, end), place)
    fields = place.fields | {"done": True, "copies": result.copies, "wanted": result.wanted}
    if caller.as_json:
        talking.show_json(fields if end is None else fields | {"seq": end.seq})
    else:
        number = "" if end is None else f", seq {end.seq}"
        talking.show(f"{place}: ended, confirmed by {result.copies} of {result.wanted}{number}")
