"""One target in a process of its own: ``python -m tools.fuzz.search TARGET`` with libFuzzer's options behind it.

Reads whatever atheris makes of the seeds until its time is over. A process of its own, since libFuzzer never returns.
"""

from __future__ import annotations

import sys
from random import Random
from time import thread_time
from typing import Any

import atheris

with atheris.instrument_imports(include=["chordtwist"]):
    from tests.fuzz_targets import TARGETS

import msgspec

SLOW_S, SLOW_S_PER_BYTE = 0.05, 0.000_1
"""What an input may take, instrumented and on a busy machine: some ten times what the slowest of each length takes."""

TRIES = 3
"""So many times a slow input is run again; it counts when it was slow each time."""


class Slow(Exception):
    """An input takes more than linear time allows."""


def watched(name: str) -> Any:
    """The target, with its time looked at."""
    feed = TARGETS[name].feed

    def run(raw: bytes) -> None:
        limit_s = SLOW_S + SLOW_S_PER_BYTE * len(raw)
        for _ in range(1 + TRIES):
            began_s = thread_time()
            feed(raw)
            took_s = thread_time() - began_s
            if took_s <= limit_s:
                return
        raise Slow(f"{len(raw)} bytes took {took_s:.3f} s, four times in a row; {limit_s:.3f} s are allowed")

    return run


def mutate_message(raw: bytes, bytes_max: int, seed: int) -> bytes:
    """Another message: libFuzzer's own mutations see nothing of what msgspec does, so fields are changed as fields."""
    rng = Random(seed)
    if rng.random() < 0.5 or not raw:
        mutated: bytes = atheris.Mutate(raw, bytes_max)
        return mutated
    kind = bytes((rng.choice(_KINDS),)) if rng.random() < 0.1 else raw[:1]
    try:
        fields = msgspec.msgpack.decode(raw[1:])
        body = msgspec.msgpack.encode(_changed(fields, rng))
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, TypeError):
        body = raw[1:]
    return (kind + body)[:bytes_max]


_KINDS = range(64)
_LEAVES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    1.5,
    "",
    "é",
    [],
    {},
)


def _changed(field: Any, rng: Random) -> Any:
    if isinstance(field, list) and field and rng.random() < 0.9:
        at = rng.randrange(len(field))
        choice = rng.random()
        if choice < 0.7:
            return [*field[:at], _changed(field[at], rng), *field[at + 1 :]]
        return [*field[:at], *field[at + 1 :]] if choice < 0.8 else [*field[:at], *([field[at]] * rng.choice((2, 300)))]
    choice = rng.random()
    if choice < 0.4 and isinstance(field, bytes | str):
        return field[: rng.randrange(len(field) + 1)] * rng.choice((1, 1, 2, 50))
    if choice < 0.6:
        return rng.randbytes(rng.choice((0, 1, 6, 8, 16, 18, 31, 32, 33, 64, 65)))
    if choice < 0.7:
        return rng.getrandbits(rng.choice((7, 8, 16, 32, 63)))
    return rng.choice(_LEAVES)


def main() -> None:
    """Search until libFuzzer's options say stop; it ends the process, with another status than 0 when it found a way
    to break the target.
    """
    name = sys.argv.pop(1)
    mutator = {"custom_mutator": mutate_message} if name == "peer-messages" else {}
    atheris.Setup(sys.argv, watched(name), **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
