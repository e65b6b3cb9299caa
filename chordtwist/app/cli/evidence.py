"""``chordtwist evidence``: whom a node convicts, and the proofs of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chordtwist.app.cli import asking, showing, talking
from chordtwist.app.cli.talking import Caller, No
from chordtwist.core.errors import Malformed

PROOF_FILE_BYTES_MAX = 1 << 21


@click.group(
    help="""Show whom a node convicts of misbehaviour, and check the proofs.

    A proof is two statements that one node signed and that contradict one another. Nobody has to be believed.

    \b
    Examples:
        chordtwist evidence list
        chordtwist evidence show 192.0.2.9:6401 > proof.json
        chordtwist evidence verify proof.json
    """
)
def command() -> None:
    """Do nothing: the work is in the commands."""


@command.command("list", help="List whom the node convicts, and of what.")
@talking.asks_a_node
def list_(caller: Caller) -> None:
    """Run ``chordtwist evidence list``."""
    found = _proofs(caller)
    if caller.as_json:
        talking.show_json({"convicted": [_in_words(proof) for proof in found]})
    elif not found:
        talking.show("nobody is convicted")
    else:
        rows = [[proof["address"], proof["why"], proof["victim"] or "", str(len(proof["attested"]))] for proof in found]
        columns = ("ADDRESS", "WHY", "LEFT OUT", "ATTESTED BY")
        showing.show(showing.table(columns, rows, right=("ATTESTED BY",), spare=("ATTESTED BY", "LEFT OUT")))


@command.command(help="Print the proof against the node at ADDRESS, host:port, as JSON.")
@click.argument("address", metavar="ADDRESS")
@talking.asks_a_node
def show(caller: Caller, address: str) -> None:
    """Run ``chordtwist evidence show``."""
    for proof in _proofs(caller):
        if proof["address"] == address:
            talking.show_json(proof)
            return
    raise No(f"the node at {caller.api} does not convict {address}")


@command.command(
    help="""Check the proof in FILE, on any machine, without a network. Status 1 when it proves nothing."""
)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@talking.json_option
def verify(file: Path, as_json: bool) -> None:
    """Run ``chordtwist evidence verify``."""
    from chordtwist.app.evidence_file import check

    try:
        with file.open("rb") as opened:
            text = opened.read(PROOF_FILE_BYTES_MAX)
    except OSError as error:
        raise click.FileError(str(file), error.strerror) from None
    try:
        checked = check(text)
    except Malformed as error:
        raise No(f"{file}: {error}") from None
    verdict = checked.verdict
    tellers = [str(peer) for peer in checked.attested_by]
    if as_json:
        talking.show_json(
            {
                "proved": True,
                "address": str(verdict.culprit),
                "key": verdict.key.hex(),
                "epoch": verdict.epoch,
                "attested_by": tellers,
            }
        )
        return
    by = f"attested by the tables of {', '.join(tellers)}" if tellers else "attested by no table"
    talking.show(f"contradiction proved under key {verdict.key.hex()}, {by}")
    talking.show(
        f"not checked, since nobody was dialled: that it is {verdict.culprit}'s key, that the others are those of the"
        f" tables' owners, that the network has identity = {checked.identity}"
    )


def _proofs(caller: Caller) -> list[dict[str, Any]]:
    return asking.every(caller, {"do": "evidence"})


def _in_words(proof: dict[str, Any]) -> dict[str, Any]:
    return {name: proof[name] for name in ("address", "why", "victim", "key")} | {"attested": len(proof["attested"])}
