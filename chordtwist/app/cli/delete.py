"""``chordtwist delete``: put an end to a record."""

from __future__ import annotations

from typing import BinaryIO

import click

from chordtwist.app.cli import signing, talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.records import PutResult, key_of, seal, signed_key


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
        place, end = key_of(key), None
    else:
        signer, salt = signing.signer_of(keyfile), signing.salt_of(key)
        # The end of a signed record is an empty value of a higher number.
        place, end = signed_key(signer.public, salt), seal(signer, b"", signing.seq_or_now(seq), salt)

    def conversation(connect: Connect) -> PutResult:
        client = connect(member=True)
        return client.delete(place, end)

    result = caller.confirmed(conversation, place)
    if caller.as_json:
        talking.show_json(
            {
                "key": place.hex(),
                "done": True,
                "copies": result.copies,
                "wanted": result.wanted,
                **({} if end is None else {"seq": end.seq}),
            }
        )
    else:
        number = "" if end is None else f", seq {end.seq}"
        talking.show(f"{place.hex()}: ended at {result.copies} of {result.wanted} nodes{number}")
