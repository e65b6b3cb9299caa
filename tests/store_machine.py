"""Record stores against a plain dictionary: hypothesis chooses what happens, in what order, and when a process dies."""

from __future__ import annotations

import shutil
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from chordtwist.core.records import Record, RecordKind, Tombstone, Version, Versioned, position_of, present
from chordtwist.core.ring import ID_BITS, Arc
from chordtwist.node.interfaces import IRecordStore
from chordtwist.storage.lmdb import LmdbRecordStore
from chordtwist.storage.memory import MemoryRecordStore
from tests.contracts import entry_of
from tests.workers import SteppedWorker, folder_in_memory

KEYS = [bytes([n]) * 32 for n in range(8)]
keys = st.sampled_from(KEYS)
versions = st.builds(Version, st.integers(0, 2**64 - 1), st.sampled_from([b"", b"\x7f\0\0\1\x19\1", b"\xff" * 18]))
values = st.binary(max_size=20) | st.integers(0, 65_495).map(bytes)
lives = st.integers(-10, 200)
positions = st.integers(0, 2**ID_BITS - 1) | keys.map(position_of) | keys.map(lambda key: position_of(key) - 1)


class StoreMachine(RuleBasedStateMachine):
    """Whatever is put and removed, the store says what a dictionary says."""

    store: IRecordStore

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 1_000
        self.model: dict[bytes, Versioned] = {}

    @initialize()
    def begin(self) -> None:
        self.store = MemoryRecordStore()

    def changed(self, done: Deferred[None] | None) -> None:
        """The model has just made the same change."""
        assert done is None or done.called

    @rule(
        key=keys,
        value=values,
        version=versions,
        ttl_ms=lives,
        copies=st.integers(1, 255),
        tombstone_ms=st.none() | st.integers(0, 400),
    )
    def put_record(
        self, key: bytes, value: bytes, version: Version, ttl_ms: int, copies: int, tombstone_ms: int | None
    ) -> None:
        until_ms = 0 if tombstone_ms is None else self.now_ms + tombstone_ms
        expiry_ms = self.now_ms + ttl_ms
        versioned = Record(key, value, RecordKind.PLAIN, version, expiry_ms, copies, tombstone_until_ms=until_ms)
        self.model[key] = versioned
        self.changed(self.store.put(versioned))

    @rule(key=keys, version=versions, ttl_ms=lives)
    def put_tombstone(self, key: bytes, version: Version, ttl_ms: int) -> None:
        self.model[key] = versioned = Tombstone(key, version, self.now_ms + ttl_ms, 4)
        self.changed(self.store.put(versioned))

    @rule(key=keys)
    def remove(self, key: bytes) -> None:
        self.model.pop(key, None)
        self.store.remove(key)
        self.changed(None)

    @rule(elapsed_ms=st.integers(1, 100))
    def wait(self, elapsed_ms: int) -> None:
        self.now_ms += elapsed_ms

    @rule(after=positions, upto=positions)
    def scan(self, after: int, upto: int) -> None:
        arc = Arc(after, upto)
        inside = [versioned for versioned in self.model.values() if position_of(versioned.key) in arc]
        inside.sort(key=lambda versioned: Arc(after, position_of(versioned.key)).length)
        assert list(self.store.scan(arc)) == [entry_of(versioned) for versioned in inside]

    @rule()
    def sweep(self) -> None:
        expected = {versioned.key for versioned in self.model.values() if versioned.expiry_ms <= self.now_ms}
        found = self.store.expired(self.now_ms)
        assert {versioned.key for versioned in found} == expected
        assert [versioned.expiry_ms for versioned in found] == sorted(versioned.expiry_ms for versioned in found)

    @invariant()
    def says_what_the_dictionary_says(self) -> None:
        if not hasattr(self, "store"):
            return
        for key in KEYS:
            versioned = self.model.get(key)
            assert self.store.get(key) == versioned
            assert self.store.entry(key) == (None if versioned is None else entry_of(versioned))
        records = [versioned for versioned in self.model.values() if isinstance(versioned, Record)]
        assert self.store.records() == len(records)
        assert self.store.record_bytes() == sum(len(record.value) for record in records)


class LmdbStoreMachine(StoreMachine):
    """The same on disk: commits take their time, processes end well or are killed, and clocks begin anew.

    After a kill, what is found is what the dictionary held at some moment after the last confirmed change.
    """

    store: LmdbRecordStore

    @initialize()
    def begin(self) -> None:
        self.root = folder_in_memory()
        self.runs = 0
        self.directory = self.root / "0"
        self.wall_ms = 1_700_000_000_000
        self.began_ms = self.now_ms
        self.possible: list[dict[bytes, Versioned]] = [{}]
        self.open()

    def open(self) -> None:
        self.worker = SteppedWorker()
        self.store = LmdbRecordStore(
            self.directory, self.worker, lambda: self.now_ms, lambda: self.wall_ms + self.now_ms - self.began_ms
        )

    def changed(self, done: Deferred[None] | None) -> None:
        now = dict(self.model)
        self.possible.append(now)

        def confirmed(ignored: Any) -> None:
            index = next((n for n, other in enumerate(self.possible) if other is now), 0)
            del self.possible[:index]

        if done is not None:
            done.addCallback(confirmed)

    @precondition(lambda self: self.worker.waiting)
    @rule()
    def commit(self) -> None:
        self.worker.step()

    @rule(down_ms=st.integers(0, 100), now_ms=st.integers(0, 10**12))
    def restart(self, down_ms: int, now_ms: int) -> None:
        """A process ends as it should, and after a while another begins."""
        closed = self.store.close()
        while self.worker.waiting:
            self.worker.step()
        assert closed.called and self.worker.has_stopped
        self.model = self.begun_again(self.model, down_ms, now_ms)
        self.open()

    @rule(down_ms=st.integers(0, 100), now_ms=st.integers(0, 10**12))
    def kill(self, down_ms: int, now_ms: int) -> None:
        """A process is gone at any moment; what the system holds of its file is all there is."""
        self.runs += 1
        directory = self.root / str(self.runs)
        shutil.copytree(self.directory, directory)
        possible = list(self.possible)
        self.end()
        self.directory = directory
        before_ms, began_ms, wall_ms = self.now_ms, self.began_ms, self.wall_ms
        candidates = []
        for model in possible:
            self.now_ms, self.began_ms, self.wall_ms = before_ms, began_ms, wall_ms
            candidates.append(self.begun_again(model, down_ms, now_ms))
        self.open()
        found = {key: versioned for key in KEYS if (versioned := self.store.get(key)) is not None}
        assert found in candidates, (found, candidates)
        self.model = found
        self.possible = [dict(found)]

    def begun_again(self, model: dict[bytes, Versioned], down_ms: int, now_ms: int) -> dict[bytes, Versioned]:
        """What is left after a while, on the clock of another process."""
        self.wall_ms += self.now_ms - self.began_ms + down_ms
        shift_ms = now_ms - down_ms - self.now_ms
        self.now_ms = self.began_ms = now_ms
        left = {}
        for key, versioned in model.items():
            versioned = replace(versioned, expiry_ms=versioned.expiry_ms + shift_ms)
            if isinstance(versioned, Record) and versioned.tombstone_until_ms:
                versioned = replace(versioned, tombstone_until_ms=versioned.tombstone_until_ms + shift_ms)
            one = present(versioned, now_ms)
            if one is not None:
                left[key] = one
        self.possible = [dict(left)]
        return left

    def end(self) -> None:
        closed = self.store.close()
        while self.worker.waiting:
            self.worker.step()
        assert closed.called

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.end()
            shutil.rmtree(self.root)
