"""Behaviour of proofs of misbehaviour: what convicts, and what does not."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.core.evidence import (
    CONVICTIONS_MAX,
    NOBODY,
    SENTENCE_DOUBLINGS_MAX,
    SENTENCE_S,
    STALE_S,
    SUM_LENGTH,
    SUMS,
    Charge,
    Convictions,
    Evidence,
    Verdict,
    judge,
)
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.signed import Held, Holding, Stamp, pack_holding, pack_lease
from chordtwist.core.table import Table
from chordtwist.simulation.signer import verify_simulated
from tests.builders import IDENTITY, pack_table, peer, peers, signer, table

LEASED = Stamp(peer(10), 1, 5, 0)
"""When 10 promised to list 20 until its steady clock shows 1,000 ms."""


def lease(stamp: Stamp = LEASED, neighbour: int = 20, until_ms: int = 1000) -> bytes:
    return pack_lease(IDENTITY, stamp, peer(neighbour), until_ms)


def shown(successors: tuple[int, ...] = (30, 40), seq: int = 6, clock_ms: int = 1000, **changes: object) -> Table:
    return replace(table(10, successors, 5, seq=seq), clock_ms=clock_ms, **changes)  # type: ignore[arg-type]


def proof(charge: Charge, first: bytes, second: bytes, by: int = 10, also_by: int = 10) -> Evidence:
    """What 10 signed, or somebody in its name."""
    return Evidence(charge, first, signer(peer(by)).sign(first), second, signer(peer(also_by)).sign(second))


def broken(first: bytes, table: Table, by: int = 10, also_by: int = 10) -> Evidence:
    return proof(Charge.BROKEN_LEASE, first, pack_table(IDENTITY, table), by, also_by)


class Counting(Identity):
    """Counts the addresses that it is asked to read for the first time."""

    unpacked = 0

    def _unpack(self, packed: bytes) -> Peer:
        self.unpacked += 1
        return super()._unpack(packed)


class JudgeTests(SynchronousTestCase):
    """Proofs against the member at 10."""

    def test_broken_lease(self) -> None:
        """A table that leaves out a neighbour, signed behind the lease and before its end, convicts."""
        verdict = judge(IDENTITY, broken(lease(), shown()), verify_simulated)
        expected = Verdict(peer(10), signer(peer(10)).public, 1, Charge.BROKEN_LEASE, peer(20))
        self.assertEqual(verdict, expected)

    def test_claimed_arc(self) -> None:
        """So does one that claims the arc of a predecessor it had promised to list."""
        claims = replace(table(10, (30,), 2, seq=6), clock_ms=1)
        self.assertEqual(judge(IDENTITY, broken(lease(neighbour=5), claims), verify_simulated).victim, peer(5))

    def test_equivocation(self) -> None:
        """Two tables of one number convict."""
        one, other = pack_table(IDENTITY, shown()), pack_table(IDENTITY, shown((30,)))
        verdict = judge(IDENTITY, proof(Charge.EQUIVOCATION, one, other), verify_simulated)
        self.assertEqual((verdict.culprit, verdict.victim), (peer(10), None))

    def test_long_tables(self) -> None:
        """Two tables of one number need not be read any further than to the key: who shows long ones costs no more."""
        identity = Counting("test", Policy.IP)
        one, other = (pack_table(IDENTITY, shown(tuple(range(at, at + 200)))) for at in (20, 300))
        judge(identity, proof(Charge.EQUIVOCATION, one, other), verify_simulated)
        self.assertEqual(identity.unpacked, 1)

    def test_no_proof(self) -> None:
        """Everything that an honest member may have signed, in any order, and all that another did, proves nothing."""
        one = pack_table(IDENTITY, shown())
        for name, evidence in {
            "the neighbour is listed": broken(lease(), shown((20, 30))),
            "it is named as gone": broken(lease(), shown(gone=peers(20))),
            "it stands behind the end": broken(lease(neighbour=50), shown()),
            "the table came first": broken(lease(), shown(seq=4)),
            "the lease was over": broken(lease(), shown(clock_ms=1001)),
            "another epoch": broken(lease(), shown(epoch=2)),
            "another's lease": broken(lease(Stamp(peer(11), 1, 5, 0)), shown()),
            "a lease that another signed": broken(lease(), shown(), by=11),
            "a table that another signed": broken(lease(), shown(), also_by=11),
            "one table twice": proof(Charge.EQUIVOCATION, one, one),
            "two statements": proof(Charge.EQUIVOCATION, one, pack_table(IDENTITY, shown(seq=7))),
            "of two epochs": proof(Charge.EQUIVOCATION, one, pack_table(IDENTITY, shown((30,), epoch=2))),
            "of two keys": proof(Charge.EQUIVOCATION, one, pack_table(IDENTITY, shown(key=bytes(32)))),
            "no lease at all": broken(b"x", shown()),
            "a lease as table": proof(Charge.BROKEN_LEASE, lease(), lease()),
            "a table as lease": proof(Charge.BROKEN_LEASE, one, one),
        }.items():
            with self.subTest(name):
                self.assertRaises(Malformed, judge, IDENTITY, evidence, verify_simulated)


class BrokenReceiptTests(SynchronousTestCase):
    """Proofs against the member at 10, which signed at 100 ms to keep a record until 1,000."""

    def said(self, seq: int, rank: bytes, is_live: bool = True, clock_ms: int = 999, **changes: object) -> bytes:
        stamp = Stamp(peer(10), 1, seq, 0)
        statement = Holding(stamp, clock_ms, signer(peer(10)).public, bytes(32), Held(rank, is_live), b"", 1000)
        return pack_holding(IDENTITY, statement._replace(**changes))  # type: ignore[arg-type]

    def setUp(self) -> None:
        self.receipt = self.said(5, b"b", clock_ms=100)

    def test_less(self) -> None:
        """A later statement that has less, or its end, before the receipt's, convicts."""
        for rank, is_live in ((b"", False), (b"a", True), (b"b", False)):
            verdict = judge(
                IDENTITY, proof(Charge.BROKEN_RECEIPT, self.receipt, self.said(6, rank, is_live)), verify_simulated
            )
            self.assertEqual(verdict, Verdict(peer(10), signer(peer(10)).public, 1, Charge.BROKEN_RECEIPT))

    def test_no_proof(self) -> None:
        """Everything that an honest member may have signed, in any order, and all that another did, proves nothing."""
        for name, later in {
            "the same": self.said(6, b"b"),
            "more": self.said(6, b"c", False),
            "it came first": self.said(4, b"a"),
            "it is the receipt": self.receipt,
            "the receipt was over": self.said(6, b"a", clock_ms=1000),
            "another epoch": self.said(6, b"a", stamp=Stamp(peer(10), 2, 6, 0)),
            "another's": self.said(6, b"a", stamp=Stamp(peer(11), 1, 6, 0)),
            "another record": self.said(6, b"a", key=bytes(31) + b"a"),
            "another key": self.said(6, b"a", signer=signer(peer(11)).public),
            "a lease": lease(),
        }.items():
            with self.subTest(name):
                evidence = proof(Charge.BROKEN_RECEIPT, self.receipt, later)
                self.assertRaises(Malformed, judge, IDENTITY, evidence, verify_simulated)
        forged = proof(Charge.BROKEN_RECEIPT, self.receipt, self.said(6, b"a"), also_by=11)
        self.assertRaises(Malformed, judge, IDENTITY, forged, verify_simulated)


class ConvictionsTests(SynchronousTestCase):
    """Who is convicted, and for how long."""

    def setUp(self) -> None:
        """Nobody."""
        self.ended: list[Peer] = []
        self.convictions = Convictions(self.ended.append)

    def convict(self, place: int, now_s: float = 0.0, number: int = 0) -> bool:
        return self.convict_peer(peer(place), now_s, number)

    def convict_peer(self, culprit: Peer, now_s: float = 0.0, number: int = 0) -> bool:
        verdict = Verdict(culprit, b"", 1, Charge.EQUIVOCATION)
        evidence = Evidence(Charge.EQUIVOCATION, culprit.packed, b"", b"%d" % number, b"")
        return self.convictions.add(verdict, evidence, now_s)

    def test_once(self) -> None:
        """Whoever is convicted is not convicted again for anything else."""
        self.assertTrue(self.convict(10))
        self.assertFalse(self.convict(10, number=1))
        self.assertIn(peer(10), self.convictions)
        self.assertFalse(self.convictions.is_wanted(peer(10), 0))

    def test_end(self) -> None:
        """A sentence ends, and the same proof gives no other; nor is a proof wanted that others still hold."""
        self.convict(10)
        self.convictions.expire(SENTENCE_S - 1)
        self.assertEqual(self.ended, [])
        self.convictions.expire(SENTENCE_S)
        self.assertEqual((self.ended, len(self.convictions)), ([peer(10)], 0))
        self.assertFalse(self.convictions.is_wanted(peer(10), SENTENCE_S + STALE_S - 1))
        self.assertTrue(self.convictions.is_wanted(peer(10), SENTENCE_S + STALE_S))
        self.assertFalse(self.convict(10, SENTENCE_S + STALE_S))

    def test_doubled(self) -> None:
        """Each further proof convicts for twice as long, up to a bound."""
        now_s = 0.0
        for number in range(SENTENCE_DOUBLINGS_MAX + 2):
            self.assertTrue(self.convict(10, now_s, number))
            length_s = SENTENCE_S * 2 ** min(number, SENTENCE_DOUBLINGS_MAX)
            self.convictions.expire(now_s + length_s - 1)
            self.assertIn(peer(10), self.convictions)
            now_s += length_s
            self.convictions.expire(now_s)
            self.assertNotIn(peer(10), self.convictions)

    def test_bounded(self) -> None:
        """With too many the first one is let go."""
        for place in range(CONVICTIONS_MAX + 1):
            self.convict(place)
        self.assertEqual((len(self.convictions), self.ended), (CONVICTIONS_MAX, [peer(0)]))

    def test_bounded_for_one_owner(self) -> None:
        """Whoever has many ports, or many addresses of a prefix, makes room among his own only."""
        for host in ("192.0.2.9", "9.9.9.%d"):
            convictions = self.convictions = Convictions(self.ended.append)
            self.convict(10)
            for number in range(2 * CONVICTIONS_MAX):
                self.convict_peer(IDENTITY.peer(host % (number % 250) if "%" in host else host, 1024 + number))
            self.assertEqual((len(convictions), peer(10) in convictions), (CONVICTIONS_MAX, True))

    def test_bounded_for_one_address(self) -> None:
        """Nor does whoever is guilty at one address of a prefix go free by the ports of another one."""
        guilty = IDENTITY.peer("9.9.9.1", 1024)
        self.convict_peer(guilty)
        for number in range(2 * CONVICTIONS_MAX):
            self.convict_peer(IDENTITY.peer("9.9.9.2", 1024 + number))
        self.assertEqual((len(self.convictions), guilty in self.convictions), (CONVICTIONS_MAX, True))

    def test_one_place(self) -> None:
        """Where an address is one place, its ports share it: the second one's sentence is twice as long, and the place
        is free when both are over.
        """
        one, other = (IDENTITY.peer("192.0.2.9", port) for port in (1024, 1025))
        self.assertTrue(self.convict_peer(one))
        self.assertTrue(self.convict_peer(other, number=1))
        self.convictions.expire(2 * SENTENCE_S - 1)
        self.assertEqual((one in self.convictions, other in self.convictions, self.ended), (False, True, []))
        self.convictions.expire(2 * SENTENCE_S)
        self.assertEqual(self.ended, [other])

    def test_unlike(self) -> None:
        """By the sums of somebody else those are found whom he does not convict, and a few besides."""
        other = Convictions(self.ended.append)
        for place in range(200):
            self.convict(place)
            if place % 50:
                verdict = Verdict(peer(place), b"", 1, Charge.EQUIVOCATION)
                other.add(verdict, Evidence(Charge.EQUIVOCATION, peer(place).packed, b"", b"", b""), 0)
        salt = bytes(8)
        self.assertEqual(len(other.sums(salt)), SUMS * SUM_LENGTH)
        told = self.convictions.unlike(salt, other.sums(salt))
        self.assertLessEqual({peer(place) for place in range(0, 200, 50)}, {*told})
        self.assertLess(len(told), 60)
        self.assertLessEqual({*other.unlike(salt, self.convictions.sums(salt))}, {*told})
        self.assertEqual(self.convictions.unlike(salt, self.convictions.sums(salt)), [])
        self.assertEqual(len(self.convictions.unlike(b"", b"")), 200)
        self.convictions.expire(SENTENCE_S)
        self.assertEqual(self.convictions.sums(salt), Convictions(self.ended.append).sums(salt))

    def test_digest(self) -> None:
        """Those who convict the same ones have one digest, by whichever proofs."""
        other = Convictions(self.ended.append)
        self.assertEqual(self.convictions.digest(), NOBODY)
        self.convict(10)
        self.convict(20)
        for place in (20, 10):
            evidence = Evidence(Charge.EQUIVOCATION, b"another", b"", b"%d" % place, b"")
            self.assertNotEqual(self.convictions.digest(), other.digest())
            other.add(Verdict(peer(place), b"", 1, Charge.EQUIVOCATION), evidence, 0)
        self.assertEqual(self.convictions.digest(), other.digest())
