"""What somebody may change of a plain record that another has put: what is hearsay needs more than his word."""

from __future__ import annotations

from enum import Enum, auto

from msgspec.structs import replace

from chordtwist.core.records import Record, RecordKind, Tombstone, Versioned


class Hearsay(Enum):
    """What to do with something that is brought."""

    HARMLESS = auto()
    """It may be taken as it is."""

    NEWS = auto()
    """Nothing stands here: there is nothing to lose."""

    DOUBTFUL = auto()
    """It would replace what stands here."""


def weigh(new: Versioned, here: Versioned | None, is_publisher: bool) -> Hearsay:
    """Say what `new` would do to what is `here`. @param is_publisher: whether whoever brings it has put it."""
    if is_publisher or new.kind is not RecordKind.PLAIN:
        return Hearsay.HARMLESS
    if here is None:
        return Hearsay.NEWS
    if here.kind is not RecordKind.PLAIN or new.version < here.version:
        return Hearsay.HARMLESS
    is_other = isinstance(new, Record) and isinstance(here, Record) and new.value != here.value
    return Hearsay.DOUBTFUL if new.version > here.version or is_other else Hearsay.HARMLESS


def without_end(new: Versioned, here: Versioned | None) -> Versioned | None:
    """Take from another copy of the version that is here what would end it earlier; None when nothing is left."""
    if here is None or new.version != here.version or isinstance(here, Tombstone):
        return new
    if isinstance(new, Tombstone):
        return None
    return replace(new, expiry_ms=max(new.expiry_ms, here.expiry_ms))
