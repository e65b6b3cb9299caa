"""What each command shows with --json: these fields stay, others may come; docs/schemas has them as JSON schemas."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Kind = Literal["plain", "content", "signed"]
"""Of a record."""


class Member(TypedDict):
    """A member of `Ring`."""

    address: str
    id: str
    share: float
    predecessor: str | None
    successor: str | None
    listed: int
    whole: bool
    age_s: float
    round_trip_ms: float


class SilentMember(TypedDict):
    """Somebody whom members name and who does not answer."""

    address: str
    reason: str


# ``chordtwist ring``. It is not called by its class, since "from" is a word of Python.
Ring = TypedDict(
    "Ring",
    {
        "from": str,
        "members": list[Member],
        "silent": list[SilentMember],
        "closes": bool,
        "faults": list[str],
        "complete": bool,
    },
)


class Estimate(TypedDict):
    """``chordtwist ring --estimate``."""

    members: float
    exact: bool
    listed: int


class Kept(TypedDict, total=False):
    """What is kept of a record, in `Inspect`; there where something is kept."""

    version_ms: int
    publisher: str
    ttl_ms: int
    copies: int
    seq: int | None
    kind: Kind
    bytes: int
    sha256: str


class Replica(Kept):
    """One replica of `Inspect`; what it keeps only where it keeps something."""

    rank: int
    address: str
    state: str
    behind: bool
    round_trip_ms: float


class Reader(Kept):
    """What a reader of `Inspect` would get."""

    found: bool
    why: str


class Inspect(TypedDict):
    """``chordtwist inspect``."""

    key: str
    position: str
    owner: str
    hops: int
    questions: int
    found_ms: float
    replicas: list[Replica]
    reader: Reader


class Step(TypedDict):
    """One question of `Trace`."""

    address: str
    hop: int
    at_ms: float
    took_ms: float | None
    outcome: str


# ``chordtwist trace``.
Trace = TypedDict(
    "Trace",
    {
        "key": str,
        "position": str,
        "from": str,
        "owner": str | None,
        "replicas": list[str],
        "hops": int,
        "questions": int,
        "took_ms": float,
        "steps": list[Step],
    },
)


class ApiWay(TypedDict):
    """The way of `Ping` to the API."""

    address: str
    median_ms: float
    worst_ms: float


PeerWay = TypedDict(
    "PeerWay",
    {
        "address": str,
        "as": list[str],
        "asked": int,
        "answered": int,
        "median_ms": float | None,
        "worst_ms": float | None,
        "reason": str | None,
    },
)


class Ping(TypedDict):
    """``chordtwist ping``."""

    api: ApiWay
    peers: list[PeerWay]


class Event(TypedDict):
    """A line of ``chordtwist events``."""

    at_ms: int
    text: str
    level: NotRequired[str]
    namespace: NotRequired[str]


class Reload(TypedDict):
    """``chordtwist reload``."""

    file: str
    waiting: list[str]


class Mistake(TypedDict):
    """A mistake of `ConfigCheck`."""

    line: int | None
    key: str | None
    reason: str


class ConfigCheck(TypedDict):
    """``chordtwist config check``."""

    file: str
    right: bool
    mistakes: list[Mistake]


class Option(TypedDict):
    """An option of `ConfigExplain`."""

    section: str
    key: str
    default: str
    sentence: str
    aliases: list[str]


class ConfigExplain(TypedDict):
    """``chordtwist config explain``."""

    options: list[Option]


OptionInForce = TypedDict("OptionInForce", {"section": str, "key": str, "value": str, "from": str})


class ConfigShow(TypedDict):
    """``chordtwist config show``."""

    file: str | None
    options: list[OptionInForce]


class Watched(TypedDict):
    """A line of ``chordtwist watch``."""

    at_ms: int
    event: Literal["is", "put", "gone"]
    key: str
    found: bool
    version: NotRequired[str]
    ttl_ms: NotRequired[int]
    kind: NotRequired[Kind]
    copies: NotRequired[int]
    bytes: NotRequired[int]
    seq: NotRequired[int]
    public_key: NotRequired[str]
    value_base64: NotRequired[str]


class Exported(TypedDict):
    """``chordtwist export``, besides the file."""

    file: str
    records: int


class RefusedRecord(TypedDict):
    """A record that `Imported` could not restore."""

    key: str
    reason: str


class Imported(TypedDict):
    """``chordtwist import``."""

    restored: int
    newer: int
    ended: int
    refused: list[RefusedRecord]
    complete: bool


class FindingShown(TypedDict):
    """One thing that `Doctor` looked at."""

    check: str
    state: Literal["good", "look", "bad"]
    found: str
    todo: str


class Doctor(TypedDict):
    """``chordtwist doctor``."""

    findings: list[FindingShown]


class Measured(TypedDict):
    """One kind of operation of `Bench`; times in milliseconds."""

    done: int
    per_second: float
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    failed: int
    wrong: int


class Bench(TypedDict):
    """``chordtwist bench``."""

    api: str
    seconds: float
    clients: int
    value_bytes: int
    puts: Measured
    gets: Measured
    right_percent: float


class Top(TypedDict):
    """A line of ``chordtwist top``."""

    at_ms: int
    health: str
    member: bool
    successors: int
    silent: list[str]
    records: int
    bytes: int
    counters: dict[str, int]
    per_second: dict[str, float]


class Damaged(TypedDict):
    """A record that `StateCheck` found damaged."""

    key: str
    reason: str


class StateCheck(TypedDict):
    """``chordtwist state check``."""

    directory: str
    files: dict[str, str]
    records: int
    tombstones: int
    bytes: int
    ended: int
    damaged: list[Damaged]
    faults: list[str]
    right: bool


class Convict(TypedDict):
    """Somebody of `Convicted`."""

    address: str
    why: str
    victim: str | None
    key: str
    attested: int


class Convicted(TypedDict):
    """``chordtwist evidence list``."""

    convicted: list[Convict]


class Proved(TypedDict):
    """``chordtwist evidence verify``."""

    proved: bool
    address: str
    key: str
    epoch: int
    attested_by: list[str]


SHAPES: dict[str, type] = {
    "evidence-list": Convicted,
    "evidence-verify": Proved,
    "ring": Ring,
    "ring-estimate": Estimate,
    "inspect": Inspect,
    "trace": Trace,
    "ping": Ping,
    "events": Event,
    "reload": Reload,
    "watch": Watched,
    "export": Exported,
    "import": Imported,
    "doctor": Doctor,
    "bench": Bench,
    "top": Top,
    "state-check": StateCheck,
    "config-check": ConfigCheck,
    "config-explain": ConfigExplain,
    "config-show": ConfigShow,
}
"""By the name of the schema's file."""
