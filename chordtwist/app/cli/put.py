"""``chordtwist put``: store a value, and say how many copies there are of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, BinaryIO

import click

from chordtwist.app.cli import asking, signing, talking
from chordtwist.app.cli.talking import Caller, Key
from chordtwist.core.counted import counted
from chordtwist.core.durations import duration_in_words
from chordtwist.core.records import VALUE_BYTES_MAX, PutResult, Seal, Version, seal, signed_key
from chordtwist.net.blocking_client import BlockingClient

WAITS_FOR_COPIES_S = 10.0
"""How long --copies waits for the last of them: by then a replica that has died is replaced."""

COUNT_EVERY_S = 0.1


@click.command(
    help="""Store VALUE under KEY, and say how many nodes have it.

    KEY is a name, whose SHA-256 is the key, or the key itself as 64 hexadecimal digits. VALUE has 1 to 65,495 bytes;
    it is read from standard input when it is - or left out.

    \b
    Examples:
        chordtwist put greeting "good morning"
        chordtwist put backup --file backup.tar --ttl 12h --copies 4
        date | chordtwist put now -
        chordtwist put --content "nobody can change this"
        chordtwist put news "only I can change this" --signed owner.pem

    A value under a name can be replaced by anybody. What is put with --content or --signed cannot; both tell the key
    under which to get it.

    It is done when a majority of the nodes that should have the value confirm it; the others follow.
    """
)
@click.argument("key", metavar="[KEY]", required=False)
@click.argument("value", required=False)
@click.option(
    "--ttl",
    "ttl_s",
    metavar="S",
    type=talking.Duration((1 << 32) - 1, is_whole=True),
    default=0,
    help="How long it lives, in seconds or as 5m, 12h, 2d; at most the node's max_store_duration. Default 0: its"
    " default_store_duration.",
)
@click.option(
    "--replication",
    metavar="N",
    type=click.IntRange(0, 255),
    default=0,
    help="Copies to make of it, at most the network's successors. Default 0: its replication.",
)
@click.option(
    "--copies",
    "copies_needed",
    metavar="N",
    type=click.IntRange(1, 255),
    help="Wait until N nodes have it, and end with status 4 when fewer do.",
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
    copies_needed: int | None,
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
    asked_at_s = caller.door.clock()
    will_have = copies = 0

    def write(client: BlockingClient) -> PutResult:
        nonlocal will_have, copies
        result = client.put_confirmed(place.raw, raw, ttl_s, replication, sealed)
        will_have = _will_have(result, client.status())
        copies = result.copies
        if copies_needed is not None and copies < copies_needed <= will_have:
            copies = max(copies, _wait_for_copies(caller, client, place, result.version, copies_needed))
        return result

    result = caller.confirmed(write, place)
    life_s = result.ttl_ms / 1000
    fields: dict[str, object] = {
        **place.fields,
        "done": True,
        "copies": copies,
        "wanted": result.wanted,
        "version_ms": result.version.ms,
        "ttl_s": life_s,
    }
    if sealed is not None:
        fields["seq"] = sealed.seq
    # Some of its life is over by now, besides what the node has cut off.
    is_cut = life_s < ttl_s - (caller.door.clock() - asked_at_s) - 1
    if copies_needed is not None and copies < copies_needed:
        more = f"; {counted(will_have, 'node')} will have it, --replication asks for more"
        few = f"only {counted(copies, 'node')} of {copies_needed} have it{more if will_have < copies_needed else ''}"
        raise talking.TooFewCopies(f"{place.whole}: {few}", fields)
    if caller.as_json:
        talking.show_json(fields)
        return
    cut = f" (cut from {duration_in_words(ttl_s)}: max_store_duration of the node)" if is_cut else ""
    number = "" if sealed is None else f", seq {sealed.seq}"
    life = duration_in_words(round(life_s))
    has = "has" if will_have == 1 else "have"
    talking.show(f"{place.whole}: {copies} of {counted(will_have, 'node')} {has} it, for {life}{cut}{number}")


def _will_have(result: PutResult, state: Mapping[str, Any]) -> int:
    # A ring of three cannot hold four copies; who knows a whole ring knows how many nodes there are.
    others = state.get("successors")
    if not state.get("whole") or not isinstance(others, list):
        return result.wanted
    return max(result.copies, min(result.wanted, len(others) + 1))


def _wait_for_copies(caller: Caller, client: BlockingClient, place: Key, version: Version, needed: int) -> int:
    # The node answered at a majority; the others still get theirs. How many replicas have this version, or a newer one.
    door = caller.door
    ends_at_s = door.clock() + WAITS_FOR_COPIES_S
    while True:
        seen = next(asking.lines(caller, client, {"do": "inspect", "key": place.raw.hex()}), {})
        rows: list[dict[str, Any]] = seen.get("replicas", [])
        copies: int = sum(row.get("state") == "has" and row.get("version_ms", 0) >= version.ms for row in rows)
        if copies >= needed or door.clock() >= ends_at_s:
            return copies
        door.sleep(COUNT_EVERY_S)


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
) -> tuple[Key, Seal | None]:
    if name is None:
        return Key(sha256(value).digest()), None
    if keyfile is None:
        return Key.of(name), None
    signer, salt = signing.signer_of(keyfile), signing.salt_of(name)
    place = Key(signed_key(signer.public, salt), name)
    return place, seal(signer, value, signing.seq_or_now(seq), salt, expected_seq)
