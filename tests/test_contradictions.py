"""What an honest member signs, whatever happens to it and whatever it is asked, never convicts it."""

from __future__ import annotations

from itertools import product
from random import Random
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core import receipts
from chordtwist.core.costs import unmetered
from chordtwist.core.errors import Malformed
from chordtwist.core.evidence import Charge, Evidence, judge
from chordtwist.core.quotas import Quota
from chordtwist.core.records import Record, RecordKind, Seal, Tombstone, Version
from chordtwist.core.small_ring import in_order
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.ring.statements import Statements
from chordtwist.simulation.signer import verify_simulated
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire.peer_messages import Holding, Leased, TableIs
from tests import SOAK
from tests.builders import IDENTITY, peer, peers, routing, signer

EVENTS = 150
SEEDS = 10 * SOAK
LATER_S = (0.0002, 0.0005, 0.001, 0.003, 5.0, 130.0, 601.0)
LIVES_MS = (1, 2, 3, 5, 500, 1_000_000)
KEYS = tuple(bytes((number,)) * 32 for number in range(6))


class Member:
    """A member to which anything happens. The clock that lives are counted on shows another fraction of a millisecond
    than the one that it signs by.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.now_s, self.phase_s = 1000.0, self.rng.random() / 1000
        self.me = peer(10)
        self.routing = routing(10)
        clock = Clock()
        self.statements = Statements(
            IDENTITY, self.routing, signer(self.me), lambda: 0, lambda one: one.packed, 1, self.steady_ms
        )
        pauses = Pauses(clock, unmetered())
        self.records = LocalRecords(MemoryRecordStore(), clock, self.life_ms, pauses, Quota())
        self.said: list[Holding | Leased | TableIs] = []

    def steady_ms(self) -> int:
        return int(self.now_s * 1000)

    def life_ms(self) -> int:
        return int((self.now_s + self.phase_s) * 1000)

    def happens(self) -> None:
        """Let something happen."""
        rng = self.rng
        events = (self.put, self.put, self.end, self.lose, self.pass_time, self.move, self.newcomer, self.restart)
        asked = (self.audited, self.audited, self.audited, self.leased, self.shown)
        rng.choice((*events, *asked))()
        self.now_s += rng.choice((0.0, 0.0003))

    def put(self) -> None:
        key, kind, ends_ms = self.rng.choice(KEYS), self.rng.choice(list(RecordKind)), self.ends_ms()
        seal = Seal(bytes(32), b"", self.rng.randrange(4), bytes(64)) if kind is RecordKind.SIGNED else None
        version = Version(self.rng.randrange(6), b"")
        value = self.rng.choice((b"one", b"other"))
        until_ms = self.rng.choice((0, ends_ms + 3, ends_ms + 100_000))
        self.take(Record(key, value, kind, version, ends_ms, self.rng.randrange(1, 5), seal, until_ms))

    def end(self) -> None:
        self.take(Tombstone(self.rng.choice(KEYS), Version(self.rng.randrange(6), b""), self.ends_ms(), 3))

    def ends_ms(self) -> int:
        return self.life_ms() + self.rng.choice(LIVES_MS)

    def take(self, versioned: Record | Tombstone) -> None:
        self.records.take(versioned, self.records.get(versioned.key), None)

    def lose(self) -> None:
        self.records.remove(self.rng.choice(KEYS))
        self.records.sweep()

    def pass_time(self) -> None:
        self.now_s += self.rng.choice(LATER_S)

    def move(self) -> None:
        listed = self.rng.sample(range(20, 60), self.rng.randrange(1, 6))
        is_whole = self.rng.random() < 0.3
        self.routing._write(peer(self.rng.randrange(20, 60)), in_order(self.me, peers(*listed)), is_whole)

    def newcomer(self) -> None:
        change = self.rng.choice((self.routing.take_in, self.routing.gone_live))
        change(peer(self.rng.randrange(20, 60)))

    def restart(self) -> None:
        if self.rng.random() < 0.1:
            self.statements.begin_epoch(self.statements.epoch + 1)

    def audited(self) -> None:
        key = self.rng.choice(KEYS)
        kept = self.records.get(key)
        left_ms = 0 if kept is None else kept.expiry_ms - self.records.now_ms()
        self.sign(self.statements.holding(key, kept, left_ms, bytes(16)))

    def leased(self) -> None:
        self.sign(self.statements.leased(peer(self.rng.randrange(20, 60))))

    def shown(self) -> None:
        self.sign(self.statements.signed_table())

    def sign(self, said: Holding | Leased | TableIs | None) -> None:
        if said is not None:
            self.said.append(said)


class ContradictionTests(SynchronousTestCase):
    """Members to which anything happens, and that sign whatever they are asked to."""

    def test_none(self) -> None:
        """No two of their statements are a proof, also where more is asked of them than they remember."""
        for seed in range(SEEDS):
            with self.subTest(seed), patch.object(receipts, "RECEIPTS_GIVEN_MAX", 2 if seed % 2 else 1024):
                member = Member(seed)
                for _ in range(EVENTS):
                    member.happens()
                self.assertTrue(member.said)
                for charge, one, other in product(Charge, member.said, member.said):
                    evidence = Evidence(charge, one.body, one.signature, other.body, other.signature)
                    self.assertRaises(Malformed, judge, IDENTITY, evidence, verify_simulated)

    def test_at_one_moment(self) -> None:
        """With no room for another receipt, what ends within the millisecond in which it was signed ends unpunished."""
        with patch.object(receipts, "RECEIPTS_GIVEN_MAX", 0):
            member = Member(0)
            member.take(Record(KEYS[0], b"value", RecordKind.PLAIN, Version(1, b""), member.ends_ms(), 3))
            kept = member.records.get(KEYS[0])
            for here in (kept, None):
                member.sign(member.statements.holding(KEYS[0], here, 9, bytes(16)))
        one, other = member.said
        evidence = Evidence(Charge.BROKEN_RECEIPT, one.body, one.signature, other.body, other.signature)
        self.assertRaises(Malformed, judge, IDENTITY, evidence, verify_simulated)
