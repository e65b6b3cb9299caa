"""Proofs of misbehaviour as people keep them: one JSON object, which anybody can check offline."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from chordtwist.core.errors import Malformed
from chordtwist.core.evidence import WORDS, Charge, Conviction, Evidence, Statement, Verdict, attesting, judge
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.signed import verify_ed25519

FORMAT = "chordtwist evidence 1"
ATTESTED_READ_MAX = 64

Base64 = Annotated[str, msgspec.Meta(max_length=24_000)]


class Signed(msgspec.Struct, forbid_unknown_fields=True):
    """A statement and its signature."""

    body: Base64
    signature: Base64


class EvidenceFile(msgspec.Struct):
    """A proof with all that belongs to it; what is not needed to check it is for people."""

    format: Literal["chordtwist evidence 1"]
    network: str
    identity: Literal["ip", "address"]
    charge: Literal["broken_lease", "equivocation", "broken_receipt"]
    first: Signed
    second: Signed
    attested: Annotated[list[Signed], msgspec.Meta(max_length=ATTESTED_READ_MAX)] = []


@dataclass(frozen=True)
class Checked:
    """What a file proves: by which key, and which nodes' tables say that it is the culprit's."""

    verdict: Verdict
    attested_by: tuple[Peer, ...]
    identity: str
    """The policy by which its network places nodes, as the file says: what stands inside a list follows from it."""


def as_json(identity: Identity, conviction: Conviction) -> dict[str, Any]:
    """Write a conviction as `EvidenceFile`, with what it says in words."""
    verdict, evidence = conviction.verdict, conviction.evidence
    return {
        "format": FORMAT,
        "network": identity.network,
        "identity": identity.policy.name.lower(),
        "address": str(verdict.culprit),
        "why": WORDS[verdict.charge],
        "victim": None if verdict.victim is None else str(verdict.victim),
        "key": verdict.key.hex(),
        "charge": verdict.charge.name.lower(),
        "first": _signed((evidence.first, evidence.first_signature)),
        "second": _signed((evidence.second, evidence.second_signature)),
        "attested": [_signed(statement) for statement in conviction.attested],
    }


def check(text: bytes) -> Checked:
    """Check a proof that somebody wrote down, and the tables beside it.

    @raise Malformed: it is no such file, or proves nothing.
    """
    try:
        read = msgspec.json.decode(text, type=EvidenceFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"no proof as chordtwist evidence show writes it: {error}") from None
    try:
        identity = Identity(read.network, Policy[read.identity.upper()])
    except ValueError as error:
        raise Malformed(f"a proof of an impossible network: {error}") from None
    first, second = _statement(read.first), _statement(read.second)
    verdict = judge(identity, Evidence(Charge[read.charge.upper()], *first, *second), verify_ed25519)
    tellers: dict[Peer, None] = {}
    for signed in read.attested:
        tellers[attesting(identity, _statement(signed), verdict, verify_ed25519)] = None
    return Checked(verdict, tuple(tellers), read.identity)


def _signed(statement: Statement) -> dict[str, str]:
    body, signature = statement
    return {"body": b64encode(body).decode(), "signature": b64encode(signature).decode()}


def _statement(signed: Signed) -> Statement:
    try:
        return b64decode(signed.body, validate=True), b64decode(signed.signature, validate=True)
    except ValueError as error:
        raise Malformed(f"a statement that is no base64: {error}") from None
