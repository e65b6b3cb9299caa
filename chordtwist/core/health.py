"""Whether a node is well, and if not why: one judgement, which log, status, page, metrics and alerts show alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

QUIET_S = 60.0
"""No alarm in the first minute of a node: joining, pulling records and meeting the neighbours take a while."""

CERTIFICATE_ENDING_S = 14 * 86_400.0
"""An operator who looks once a week has a week left to renew it."""

CLOCK_OFF_MS = 30_000
"""Half of what a version may be ahead of its receiver before it is refused."""

YEAR_MIN = 2020
"""A clock that says less was never set."""

DISK_FREE_BYTES_MIN = 64 << 20
DESCRIPTORS_FREE_MIN = 16
"""Fewer left than this: links, clients and files are refused one by one soon."""

SHRUNK_BY = 2.0
"""Smaller by this factor than the ring it was in, though hardly anybody said that it leaves: probably a part of it."""


WELL = "well"
"""How a node is with which nothing is wrong."""


class Cause(Enum):
    """What is wrong. The value is its name for programs; it stays."""

    CUT_OFF = "cut-off"
    REFUSED = "refused"
    CERTIFICATE = "certificate"
    CLOCK = "clock"
    DISK = "disk"
    DESCRIPTORS = "descriptors"
    SHRUNK = "smaller-ring"
    COPIES = "copies"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a node knows of itself at one look; every field has the value of a node that is well.

    @ivar up_s: since the node started.
    @ivar answering: entries of its lists that answered lately. @ivar listed: how many entries there are.
    @ivar obstacles: why it is in no ring, by whom. @ivar refusals: who of those it seeks refused us lately, and why.
    @ivar certificate_left_s: until our certificate ends, None for ever. @ivar clock_ahead_ms: of our wall clock,
    compared with the neighbours'; None with too few of them. @ivar wall_year: by our wall clock.
    @ivar disk_error: what the disk said last. @ivar disk_free_bytes, descriptors_free: None where it does not matter.
    @ivar members: of the ring as it looks now. @ivar members_before: as it looked some minutes ago. @ivar left: members
    that said since then that they leave. @ivar replication: copies of a record.
    @ivar records_below: records with fewer copies than they should have.
    """

    up_s: float = 0.0
    is_member: bool = True
    answering: int = 0
    listed: int = 0
    obstacles: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    certificate_left_s: float | None = None
    clock_ahead_ms: int | None = None
    wall_year: int = 2026
    disk_error: str = ""
    disk_free_bytes: int | None = None
    descriptors_free: int | None = None
    members: float = 1.0
    members_before: float = 1.0
    left: int = 0
    replication: int = 4
    records_below: int = 0


def complaints(facts: Facts) -> dict[Cause, str]:
    """Say what is wrong at one look, each in a line for people."""
    by_all = refused(facts)
    said = {
        Cause.REFUSED: by_all,
        Cause.CUT_OFF: "" if by_all else _cut_off(facts),
        Cause.CERTIFICATE: _certificate(facts.certificate_left_s),
        Cause.CLOCK: _clock(facts),
        Cause.DISK: _disk(facts),
        Cause.DESCRIPTORS: _descriptors(facts.descriptors_free),
        Cause.SHRUNK: _shrunk(facts),
        Cause.COPIES: _copies(facts),
    }
    return {cause: text for cause, text in said.items() if text}


def unready(facts: Facts) -> list[str]:
    """Say why nobody should be sent to a node at one look, each reason in a line for people; nothing when it is ready.

    Ready is a member of the ring that the majority of its list answers, whom not all refuse, and whose disk takes what
    is written. A list may be empty since all who refuse were taken for dead.
    """
    reasons = []
    if why := refused(facts):
        reasons.append(why)
    elif not facts.is_member:
        reasons.append(_cut_off(facts))
    elif facts.listed and facts.answering * 2 <= facts.listed:
        reasons.append(f"{facts.answering} of {facts.listed} neighbours answer")
    if facts.disk_error:
        reasons.append(facts.disk_error)
    return reasons


# Each of the following says one cause in a line for people, or nothing where it does not hold.


def refused(facts: Facts) -> str:
    """Say that everybody refuses us, and why; nothing where somebody does not."""
    refusals = facts.refusals
    if not refusals or facts.answering or not set(facts.obstacles) <= set(refusals):
        return ""
    causes = sorted(set(refusals.values()))
    who = f"all of {len(refusals)} refuse" if len(refusals) > 1 else f"{next(iter(refusals))} refuses"
    return f"cut off: {who} us: {'; '.join(causes[:3])}"


def _cut_off(facts: Facts) -> str:
    if facts.is_member and (facts.answering or not facts.listed):
        return ""
    if facts.obstacles:
        some = "; ".join(f"{who}: {why}" for who, why in sorted(facts.obstacles.items())[:3])
        return f"in no ring: {some}"
    return f"cut off: none of {facts.listed} neighbours answers" if facts.listed else "in no ring yet"


def _certificate(left_s: float | None) -> str:
    if left_s is None or left_s >= CERTIFICATE_ENDING_S:
        return ""
    if left_s <= 0:
        return "our certificate has ended"
    return f"our certificate ends in {left_s / 86_400:.0f} days" if left_s >= 86_400 else "our certificate ends today"


def _clock(facts: Facts) -> str:
    if facts.wall_year < YEAR_MIN:
        return f"this machine's clock says {facts.wall_year}"
    ahead_ms = facts.clock_ahead_ms or 0
    if abs(ahead_ms) < CLOCK_OFF_MS:
        return ""
    way = "ahead of" if ahead_ms > 0 else "behind"
    return f"this machine's clock is {abs(ahead_ms) / 1000:.0f} s {way} its neighbours'"


def _disk(facts: Facts) -> str:
    if facts.disk_error or facts.disk_free_bytes is None or facts.disk_free_bytes >= DISK_FREE_BYTES_MIN:
        return facts.disk_error
    return f"{facts.disk_free_bytes >> 20} MiB left on the disk of state_dir"


def _descriptors(free: int | None) -> str:
    if free is None or free >= DESCRIPTORS_FREE_MIN:
        return ""
    return f"{free} file descriptors left: raise the limit (ulimit -n)"


def _shrunk(facts: Facts) -> str:
    stayed = facts.members_before - facts.left
    if facts.members_before <= facts.replication or facts.members * SHRUNK_BY > stayed:
        return ""
    return f"{facts.members:.0f} members where some {facts.members_before:.0f} were, and {facts.left} of them left"


def _copies(facts: Facts) -> str:
    if not facts.records_below or facts.members < facts.replication:
        return ""
    return f"{facts.records_below} records have fewer copies than they should"


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is wrong now: what, in words, and since when by the clock of the looks."""

    cause: Cause
    text: str
    since_s: float


class Health:
    """Judges look by look. An alarm takes two looks in a row to begin, and ends by itself at the first look without it.

    Silent are the first minute, a first node alone, and what a ring smaller than `replication` cannot have.
    """

    def __init__(self) -> None:
        self.alarms: dict[Cause, Alarm] = {}
        self._seen: set[Cause] = set()

    @property
    def is_well(self) -> bool:
        """Whether no alarm is on."""
        return not self.alarms

    def look(self, facts: Facts, now_s: float) -> tuple[list[Alarm], list[Alarm]]:
        """Take one look; answer with the alarms that began with it and those that ended."""
        found = {} if facts.up_s < QUIET_S else complaints(facts)
        ended = [self.alarms.pop(cause) for cause in list(self.alarms) if cause not in found]
        began = []
        for cause, text in found.items():
            known = self.alarms.get(cause)
            if known is not None:
                self.alarms[cause] = Alarm(cause, text, known.since_s)
            elif cause in self._seen:
                began.append(Alarm(cause, text, now_s))
                self.alarms[cause] = began[-1]
        self._seen = set(found)
        return began, ended

    def in_words(self) -> str:
        """Say in one line how the node is."""
        return "; ".join(alarm.text for alarm in self.alarms.values()) or WELL


def as_json(alarms: Iterable[Alarm]) -> list[dict[str, object]]:
    """Show alarms to programs: ``cause``, ``text``, ``since_s``."""
    return [{"cause": alarm.cause.value, "text": alarm.text, "since_s": alarm.since_s} for alarm in alarms]
