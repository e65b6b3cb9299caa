"""Values in a ring with liars: put by honest members, read by others, and held against what was confirmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from twisted.python.failure import Failure

from chordtwist.core.peer import Peer
from chordtwist.core.records import PutResult, Record, RecordKind, position_of, seal, signed_key
from chordtwist.core.signed import Ed25519Signer
from chordtwist.simulation.shares import Share
from chordtwist.simulation.world import World

PUT_APART_S = 0.02
"""Puts and gets of one kind begin so far apart."""

ENDED_S = 30.0
"""Whatever was asked has ended by then."""

LIVES_S = 3 * 3600.0
"""Longer than any attack takes."""


@dataclass
class Kept:
    """What became of the values of one kind."""

    puts: Share = field(default_factory=Share)
    puts_of_honest: Share = field(default_factory=Share)
    """Those of the puts whose replicas are honest for the most part."""
    gets: Share = field(default_factory=Share)
    """Gets of what was confirmed, and those of them that answered with the last that was."""
    gets_of_honest: Share = field(default_factory=Share)
    """The same of the gets."""
    altered: int = 0
    """Gets that answered with what nobody put."""
    rolled_back: int = 0
    """Gets that answered with what was put before the last that was confirmed."""
    wrong_of_honest: int = 0
    """Of both, those whose replicas are honest for the most part."""

    def as_json(self) -> dict[str, object]:
        return {
            "puts": self.puts.as_json(),
            "puts_of_honest": self.puts_of_honest.as_json(),
            "gets": self.gets.as_json(),
            "gets_of_honest": self.gets_of_honest.as_json(),
            "altered": self.altered,
            "rolled_back": self.rolled_back,
            "wrong_of_honest": self.wrong_of_honest,
            "unreadable": self.gets.of - self.gets.right - self.altered - self.rolled_back,
        }


class _Key:
    """One key: everything that was put under it, and the last that was confirmed."""

    def __init__(self, key: bytes, signer: Ed25519Signer | None = None) -> None:
        self.key = key
        self.signer = signer
        self.put: list[bytes] = []
        self.confirmed: int | None = None


class Values:
    """Plain, content and signed values, each key put twice; content once."""

    def __init__(
        self, world: World, count: int, honest: Callable[[], Peer | None], is_liar: Callable[[Peer], bool]
    ) -> None:
        """@param count: keys of each kind. @param honest: draws an honest member."""
        self._is_liar = is_liar
        self.kinds = {kind: Kept() for kind in RecordKind}
        self._world = world
        self._honest = honest
        self._keys = {kind: [self._new(kind) for _ in range(count)] for kind in RecordKind}

    def put(self) -> None:
        """Put all, at random members."""
        for again in range(2):
            for number in range(len(self._keys[RecordKind.PLAIN])):
                for kind, keys in self._keys.items():
                    if not (again and kind is RecordKind.CONTENT):
                        self._put(kind, keys[number])
                self._world.run(PUT_APART_S)
            self._world.run(ENDED_S)  # a put that liars delay must not be taken for the later of two

    def get(self) -> None:
        """Read all that was confirmed, at two random members each."""
        for _ in range(2):
            for number in range(len(self._keys[RecordKind.PLAIN])):
                for kind, keys in self._keys.items():
                    self._get(kind, keys[number])
                self._world.run(PUT_APART_S)
        self._world.run(ENDED_S)

    def _has_honest_replicas(self, key: bytes) -> bool:
        copies = self._world.parameters.replication
        replicas = list(islice(self._world.check.followers(position_of(key)), copies))
        return 2 * sum(map(self._is_liar, replicas)) < len(replicas)

    def _random(self) -> bytes:
        return self._world.rng.getrandbits(256).to_bytes(32, "big")

    def _new(self, kind: RecordKind) -> _Key:
        if kind is RecordKind.SIGNED:
            signer = Ed25519Signer(self._random())
            return _Key(signed_key(signer.public, b""), signer)
        new = _Key(self._random())
        if kind is RecordKind.CONTENT:
            new.put.append(new.key)
            new.key = sha256(new.key).digest()
        return new

    def _put(self, kind: RecordKind, key: _Key) -> None:
        putter = self._honest()
        if putter is None:
            return
        if kind is not RecordKind.CONTENT:
            key.put.append(self._random())
        number, value = len(key.put) - 1, key.put[-1]
        sealed = None if key.signer is None else seal(key.signer, value, number + 1)

        kept, is_honest = self.kinds[kind], self._has_honest_replicas(key.key)

        def told(result: PutResult | Failure) -> None:
            is_confirmed = not isinstance(result, Failure)
            kept.puts.count(is_confirmed)
            if is_honest:
                kept.puts_of_honest.count(is_confirmed)
            if is_confirmed:
                key.confirmed = number

        self._world.node(putter).put(key.key, value, LIVES_S, seal=sealed).addBoth(told)

    def _get(self, kind: RecordKind, key: _Key) -> None:
        reader = self._honest()
        if reader is None or key.confirmed is None:
            return
        kept, last, is_honest = self.kinds[kind], key.confirmed, self._has_honest_replicas(key.key)

        def got(record: Record | Failure | None) -> None:
            value = record.value if isinstance(record, Record) else None
            # One that was put and not confirmed may stand there all the same.
            is_right = value in key.put[last:]
            is_altered, is_older = value is not None and value not in key.put, value in key.put[:last]
            kept.gets.count(is_right)
            kept.altered += is_altered
            kept.rolled_back += is_older
            if is_honest:
                kept.gets_of_honest.count(is_right)
                kept.wrong_of_honest += is_altered or is_older

        self._world.node(reader).get(key.key).addBoth(got)
