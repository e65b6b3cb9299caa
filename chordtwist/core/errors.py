"""The error tree: every error says whose fault it is, since that decides what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chordtwist.core.peer import Peer

IN_NO_RING = "this node is in no ring yet; its log says why"
TOO_FEW = "too few replicas answered"
STOPPED = "this node stops"


class ChordtwistError(Exception):
    """The root of all errors this package raises on purpose; never raised itself."""


class Unreachable(ChordtwistError):
    """The network's fault: a peer gave no answer in time, or no link to it could be had. Normal, never logged alone."""

    def __init__(self, peer: Peer | None, reason: str) -> None:
        super().__init__(f"{peer} is unreachable: {reason}" if peer is not None else reason)
        self.peer = peer
        self.reason = reason


class NotDialled(Unreachable):
    """A peer that has never answered was not dialled now, since too many such are: nothing of its life is known."""


class NodeGone(Unreachable):
    """The node itself cannot be reached, or the connection to it is gone; of others it says `Unreachable` alone."""


class Refused(ChordtwistError):
    """Somebody said no, and said why: a full node, a record that is too old, a place that is taken."""


class Malformed(ChordtwistError):
    """The other side sent bytes that are no message of the protocol. Its link ends; nobody else is touched."""


class Untruthful(ChordtwistError):
    """The other side sent something provably false: a wrong signature, another's address, an impossible table."""


class StoreFull(Refused):
    """The record store can take no more: its own limit, a delivering address's quota, or the disk."""


class StateUnusable(ChordtwistError):
    """The operator's to mend: the state directory is in use, of a newer format, or cannot be read or written."""


class ConfigurationError(ChordtwistError):
    """The operator's to mend: a configuration cannot be used. Names file, line and key, and what would be right."""

    def __init__(self, source: str, line: int | None, key: str | None, reason: str) -> None:
        place = source if line is None else f"{source}, line {line}"
        super().__init__(f"{place}: {reason}" if key is None else f"{place}: {key}: {reason}")
        self.source = source
        self.line = line
        self.key = key
        self.reason = reason
