"""Records as the lines of a backup, and back: ends of lives by the wall clock, versions and signatures as they are."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from chordtwist.core.errors import Malformed
from chordtwist.core.records import KEY_BYTES, VALUE_BYTES_MAX, RecordKind, Tombstone, Versioned
from chordtwist.core.signed import SIGNED_NUMBER_MAX
from chordtwist.node.records.record_bodies import body_of
from chordtwist.wire.peer_messages import RecordBody, Seal

BACKUP_FORMAT = 1
"""Of the lines: raised when a line of it would be misread by an older build."""

TOMBSTONE = "tombstone"


def line_of(versioned: Versioned, now_ms: int, wall_ms: int) -> dict[str, object]:
    """Tell something that is alive, or remembered, at `now_ms` of the steady and `wall_ms` of the wall clock."""
    body = body_of(versioned, now_ms)
    line: dict[str, object] = {
        "key": body.key.hex(),
        "kind": TOMBSTONE if isinstance(versioned, Tombstone) else versioned.kind.name.lower(),
        "value": b64encode(body.value).decode(),
        "version_ms": body.version_ms,
        "publisher": body.publisher.hex(),
        "ends_ms": wall_ms + body.ttl_ms if body.ttl_ms else 0,
        "remembered_until_ms": wall_ms + body.tombstone_ttl_ms if body.tombstone_ttl_ms else 0,
        "copies": body.copies,
    }
    if body.seal is not None:
        seal = body.seal
        line["seal"] = {
            "public_key": seal.public_key.hex(),
            "salt": seal.salt.hex(),
            "seq": seal.seq,
            "signature": seal.signature.hex(),
        }
    return line


def body_from(line: dict[str, Any], wall_ms: int) -> RecordBody | None:
    """Read such a line at `wall_ms`; None of what has ended, and is not to be remembered, by then.

    @raise Malformed: it is no line of a backup.
    """
    try:
        return _read(line, wall_ms)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise Malformed(f"no line of a backup: {what}") from None


def _read(line: dict[str, Any], wall_ms: int) -> RecordBody | None:
    kind = line["kind"]
    is_tombstone = kind == TOMBSTONE
    seal = None
    if (sealed := line.get("seal")) is not None:
        seal = Seal(
            _bytes(sealed, "public_key", 32, 32),
            _bytes(sealed, "salt", 0, 64),
            _number(sealed, "seq"),
            _bytes(sealed, "signature", 64, 64),
        )
    ttl_ms = max(0, _number(line, "ends_ms") - wall_ms)
    remembered_ms = max(0, _number(line, "remembered_until_ms") - wall_ms)
    if not (remembered_ms if is_tombstone else ttl_ms):
        return None
    value = b64decode(line["value"], validate=True)
    if len(value) > VALUE_BYTES_MAX or not (value or is_tombstone):
        raise ValueError(f"a value of {len(value)} bytes")
    return RecordBody(
        _bytes(line, "key", KEY_BYTES, KEY_BYTES),
        value,
        _kind(kind, seal),
        _number(line, "version_ms"),
        _bytes(line, "publisher", 0, 18),
        0 if is_tombstone else ttl_ms,
        min(255, max(1, _number(line, "copies"))),
        seal,
        remembered_ms,
    )


def _kind(kind: object, seal: Seal | None) -> RecordKind:
    if kind == TOMBSTONE:
        return RecordKind.PLAIN if seal is None else RecordKind.SIGNED
    try:
        return RecordKind[str(kind).upper()]
    except KeyError:
        raise ValueError(f"the unknown kind {str(kind)[:20]!r}") from None


def _bytes(line: dict[str, Any], name: str, least: int, most: int) -> bytes:
    raw = bytes.fromhex(line[name])
    if not least <= len(raw) <= most:
        raise ValueError(f"{name} has {len(raw)} bytes")
    return raw


def _number(line: dict[str, Any], name: str) -> int:
    number = line[name]
    if type(number) is not int or not 0 <= number <= SIGNED_NUMBER_MAX:
        raise ValueError(f"{name} is no number that a record has")
    return number
