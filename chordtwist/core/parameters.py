"""What all nodes of one network must agree on; Hello carries it, and a difference is refused in clear words."""

from __future__ import annotations

from dataclasses import dataclass, fields

from chordtwist.core.peer import Policy

PROTOCOL_VERSION_MIN = 6
PROTOCOL_VERSION_MAX = 6
"""The range of peer protocol versions this build speaks, so that a ring can be upgraded node by node."""


SUCCESSORS_MAX = 126
"""Messages count members in one byte, 255 at most; a whole list holds twice as many as an ordinary one, and is told
with its owner and a newcomer: 254."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The agreement of one network."""

    network: str = "chordtwist"
    """Its name: rings of different names never merge."""

    policy: Policy = Policy.IP
    """What of an address makes a node's id."""

    successors: int = 16
    """Entries of a successor list, r. 16: half of all nodes may fail at once in a ring of thousands (Chord, theorem 6,
    asks for a list in the order of log2 N); a ring of up to r + 1 members survives anything that leaves one alive."""

    replication: int = 4
    """Copies of a record where its put does not say otherwise."""

    dead_after_s: float = 3.0
    """Silence after which a peer may be judged dead: long enough for a pause of its reactor or one retransmission
    round of TCP, short enough that a crash is healed within seconds."""

    def __post_init__(self) -> None:
        if not 2 <= self.successors <= SUCCESSORS_MAX:
            raise ValueError(f"successors = {self.successors}: a successor list has 2 to {SUCCESSORS_MAX} entries")
        if not 1 <= self.replication <= self.successors:
            raise ValueError(f"replication = {self.replication}: from 1 to as many as successors ({self.successors})")
        if self.dead_after_s <= 0:
            raise ValueError(f"dead_after = {self.dead_after_s}: a time above 0 s")

    def differences(self, theirs: Parameters) -> list[str]:
        """List what stands against talking to a node with the agreement `theirs`, one phrase each."""
        return [
            f"{_NAMES.get(field.name, field.name)} is {_shown(getattr(theirs, field.name))} there"
            f" and {_shown(getattr(self, field.name))} here{_ADVICE.get(field.name, '')}"
            for field in fields(self)
            if getattr(theirs, field.name) != getattr(self, field.name)
        ]


_NAMES = {"policy": "identity"}
"""Fields that a configuration calls something else."""

_ADVICE = {"policy": ", of which the default goes by the address: it has to be said in words, the same at both"}
"""What to do where two nodes may differ though nobody has written anything."""


def _shown(value: object) -> str:
    return value.name.lower() if isinstance(value, Policy) else repr(value)
