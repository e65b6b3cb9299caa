"""Signed statements: one layout per kind, byte for byte, and nothing but that layout."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.core.peer import Identity, Peer, Policy, why_no_host
from chordtwist.core.signed import (
    SIGNED_NUMBER_MAX,
    Ed25519Signer,
    Held,
    Holding,
    Stamp,
    Status,
    fingerprint,
    pack_hello,
    pack_holding,
    pack_lease,
    pack_record,
    pack_status,
    unpack_holding,
    unpack_lease,
    unpack_status,
    unpack_table,
    verify_ed25519,
)
from chordtwist.core.table import FINGERS_MAX, UNPROVED, Table
from tests.builders import pack_table

IDENTITY, OTHER_NETWORK = Identity("test", Policy.IP), Identity("other", Policy.IP)
KEY = bytes(range(32))
US = IDENTITY.peer("192.0.2.1", 6401)

u64 = st.integers(0, SIGNED_NUMBER_MAX)
peers = st.builds(
    IDENTITY.peer,
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(lambda ip: why_no_host(ip) is None).map(str),
    st.integers(1, 65_535),
)
stamps = st.builds(Stamp, peers, u64, u64, u64)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any table."""
    predecessor = draw(st.none() | peers)
    successors = tuple(draw(st.lists(peers, max_size=5)))
    known = len(successors) + (predecessor is not None)
    return Table(
        peer=draw(peers),
        epoch=draw(u64),
        seq=draw(u64),
        time_ms=draw(u64),
        key=draw(st.binary(min_size=32, max_size=32)),
        whole=draw(st.booleans()),
        predecessor=predecessor,
        successors=successors,
        fingers=tuple(draw(st.lists(peers, max_size=5))),
        fingerprints=tuple(draw(st.binary(min_size=8, max_size=8)) for _ in range(known)),
        gone=tuple(draw(st.lists(peers, max_size=1))),
        clock_ms=draw(u64),
    )


class LayoutTests(SynchronousTestCase):
    """The bytes, written out: they must never change."""

    opening = (
        b"chordtwist\x06\x04test\x06\xc0\x00\x02\x01\x19\x01" + bytes(7) + b"\1" + bytes(7) + b"\2" + bytes(7) + b"\3"
    )

    def stamp(self) -> Stamp:
        return Stamp(US, 1, 2, 3)

    def test_table(self) -> None:
        """Opening, steady clock, key, flags, successors with fingerprints, fingers, gone."""
        after, finger = IDENTITY.peer("192.0.2.2", 1), IDENTITY.peer("::1", 2)
        table = Table(US, 1, 2, 3, KEY, True, None, (after,), (finger,), (b"8 bytes.",), (US,), 4)
        said = b"\1\1" + b"\x06" + after.packed + b"8 bytes." + b"\1\x12" + finger.packed + b"\1\x06" + US.packed
        expected = self.opening + bytes(7) + b"\4" + KEY + said
        self.assertEqual(pack_table(IDENTITY, table), expected)

    def test_predecessor_first(self) -> None:
        """Where a predecessor is known it stands before the successors, and a flag says so."""
        table = Table(US, 1, 2, 3, KEY, False, US, (), (), (UNPROVED,))
        expected = self.opening + bytes(8) + KEY + b"\2\0" + b"\x06" + US.packed + bytes(8) + b"\0\0"
        self.assertEqual(pack_table(IDENTITY, table), expected)

    def test_status(self) -> None:
        """Opening, status."""
        opening = self.opening.replace(b"chordtwist\6", b"chordtwist\2")
        self.assertEqual(pack_status(IDENTITY, self.stamp(), Status.LEAVING), opening + b"\2")

    def test_lease(self) -> None:
        """Opening, neighbour, end."""
        opening = self.opening.replace(b"chordtwist\6", b"chordtwist\7")
        packed = pack_lease(IDENTITY, self.stamp(), US, 258)
        self.assertEqual(packed, opening + b"\x06" + US.packed + bytes(6) + b"\1\2")

    def test_holding(self) -> None:
        """Opening, steady clock, signer, key, rank, whether it lives, proof, end."""
        opening = self.opening.replace(b"chordtwist\6", b"chordtwist\x08")
        said = Holding(self.stamp(), 258, KEY, b"key", Held(b"rank", True), b"proof", 259)
        expected = opening + bytes(6) + b"\1\2" + KEY + b"\3key\4rank\1\5proof" + bytes(6) + b"\1\3"
        self.assertEqual(pack_holding(IDENTITY, said), expected)

    def test_hello(self) -> None:
        """Opening, address dialled or nothing, channel."""
        opening = self.opening.replace(b"chordtwist\6", b"chordtwist\4")
        self.assertEqual(pack_hello(IDENTITY, self.stamp(), US, b"tls"), opening + b"\x06" + US.packed + b"\3tls")
        self.assertEqual(pack_hello(IDENTITY, self.stamp(), None, b""), opening + b"\0\0")

    def test_record(self) -> None:
        """Tag, salt, seq, digest; no network, since a record may be carried by anybody."""
        self.assertEqual(pack_record(b"salt", 5, bytes(32)), b"chordtwist\5\4salt" + bytes(7) + b"\5" + bytes(32))

    def test_fingerprint(self) -> None:
        """Eight bytes of the key's SHA-256."""
        self.assertEqual(fingerprint(KEY).hex(), "630dcd2966c43366")


class RoundTripTests(SynchronousTestCase):
    """Bytes and back."""

    @given(tables())
    def test_table(self, table: Table) -> None:
        """A table is read as it was written."""
        self.assertEqual(unpack_table(IDENTITY, pack_table(IDENTITY, table)), table)

    @given(stamps, st.sampled_from((Status.JOINING, Status.LEAVING)))
    def test_status(self, stamp: Stamp, status: Status) -> None:
        """So is a status."""
        self.assertEqual(unpack_status(IDENTITY, pack_status(IDENTITY, stamp, status)), (stamp, status))

    @given(stamps, peers, u64)
    def test_lease(self, stamp: Stamp, neighbour: Peer, until_ms: int) -> None:
        """So is a lease."""
        packed = pack_lease(IDENTITY, stamp, neighbour, until_ms)
        self.assertEqual(unpack_lease(IDENTITY, packed), (stamp, neighbour, until_ms))

    @given(stamps, u64, st.binary(max_size=64), st.booleans(), u64)
    def test_holding(self, stamp: Stamp, clock_ms: int, rank: bytes, is_live: bool, until_ms: int) -> None:
        """So is what somebody keeps."""
        said = Holding(stamp, clock_ms, KEY, bytes(32), Held(rank, is_live), b"proof", until_ms)
        self.assertEqual(unpack_holding(IDENTITY, pack_holding(IDENTITY, said)), said)


class BrokenTests(SynchronousTestCase):
    """Bytes that are no such statement."""

    def setUp(self) -> None:
        """One good statement of each kind."""
        stamp = Stamp(US, 1, 2, 3)
        after = IDENTITY.peer("192.0.2.2", 1)
        self.table = pack_table(IDENTITY, Table(US, 1, 2, 3, KEY, True, after, (after,), (after,), (UNPROVED,) * 2))
        self.good = (
            (unpack_table, self.table),
            (unpack_status, pack_status(IDENTITY, stamp, Status.JOINING)),
            (unpack_lease, pack_lease(IDENTITY, stamp, after, 4)),
            (unpack_holding, pack_holding(IDENTITY, Holding(stamp, 4, KEY, bytes(32), Held(b"r", True), b"p", 5))),
        )

    def test_cut_off(self) -> None:
        """Wherever it is cut off, it is none."""
        for unpack, body in self.good:
            for length in range(len(body)):
                self.assertRaises(Malformed, unpack, IDENTITY, body[:length])

    def test_numbers_that_no_message_carries(self) -> None:
        """Nor with an epoch, a seq or a time that could not be repeated to anybody."""
        for numbers in ((SIGNED_NUMBER_MAX + 1, 2, 3), (1, SIGNED_NUMBER_MAX + 1, 3), (1, 2, SIGNED_NUMBER_MAX + 1)):
            body = pack_status(IDENTITY, Stamp(US, *numbers), Status.JOINING)
            self.assertRaises(Malformed, unpack_status, IDENTITY, body)

    def test_too_long(self) -> None:
        """Nor with a byte too many: nobody can sign two texts that mean the same."""
        for unpack, body in self.good:
            self.assertRaises(Malformed, unpack, IDENTITY, body + b"\0")

    def test_another_kind(self) -> None:
        """Nor is one kind taken for another."""
        for unpack, _ in self.good:
            for other, body in self.good:
                if other is not unpack:
                    self.assertRaises(Malformed, unpack, IDENTITY, body)

    def test_another_network(self) -> None:
        """Nor a statement of another network."""
        for unpack, body in self.good:
            self.assertRaises(Malformed, unpack, OTHER_NETWORK, body)

    def test_unknown_flags(self) -> None:
        """Flags that mean nothing are refused: they would be a second form."""
        at = self.table.index(KEY) + len(KEY)
        flags = bytes([self.table[at] | 4])
        self.assertRaises(Malformed, unpack_table, IDENTITY, self.table[:at] + flags + self.table[at + 1 :])

    def test_too_many_fingers(self) -> None:
        """So are more fingers than there can be."""
        fingers = tuple(IDENTITY.peer("192.0.2.2", port + 1) for port in range(FINGERS_MAX + 1))
        longest = Table(US, 1, 2, 3, KEY, True, None, (), fingers[1:], ())
        self.assertEqual(unpack_table(IDENTITY, pack_table(IDENTITY, longest)), longest)
        body = pack_table(IDENTITY, replace(longest, fingers=fingers))
        self.assertRaises(Malformed, unpack_table, IDENTITY, body)

    def test_unknown_status(self) -> None:
        """So is a status that is none, and that of a member, who shows its table."""
        body = pack_status(IDENTITY, Stamp(US, 1, 2, 3), Status.JOINING)
        for raw in (b"\7", b"\0"):
            self.assertRaises(Malformed, unpack_status, IDENTITY, body[:-1] + raw)

    def test_impossible_peer(self) -> None:
        """So is an address that is none."""
        body = self.table.replace(b"\x06" + US.packed, b"\x05" + US.packed[:5], 1)
        self.assertRaises(Malformed, unpack_table, IDENTITY, body)

    @given(st.binary(max_size=300))
    def test_anything(self, rest: bytes) -> None:
        """No bytes lead to anything but a table or `Malformed`."""
        for body in (rest, self.table[:40] + rest):
            try:
                table = unpack_table(IDENTITY, body)
            except Malformed:
                continue
            self.assertEqual(pack_table(IDENTITY, table), body)


class MemoryTests(SynchronousTestCase):
    """What strangers can make us hold, before anybody looks at a signature."""

    def test_tables(self) -> None:
        """Tables that are read and not kept take no memory, however many: only a few are remembered."""
        peers = tuple(IDENTITY.peer("192.0.2.2", port + 1) for port in range(255))
        table = Table(US, 1, 2, 3, KEY, True, None, peers, (), (UNPROVED,) * 255)
        one_bytes = len(pack_table(IDENTITY, table))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(600):
            unpack_table(IDENTITY, pack_table(IDENTITY, replace(table, key=number.to_bytes(32, "big"))))
        # An entry is about five times as long as its bytes, where the peers in it are known.
        held_bytes, _ = tracemalloc.get_traced_memory()
        self.assertLess(held_bytes, 200 * 5 * one_bytes)


class SignatureTests(SynchronousTestCase):
    """Keys and signatures."""

    def test_ed25519(self) -> None:
        """What a key signed is verified with its public half, and nothing else is."""
        signer, other = Ed25519Signer(bytes(32)), Ed25519Signer(bytes(31) + b"\1")
        signature = signer.sign(b"body")
        self.assertTrue(verify_ed25519(signer.public, signature, b"body"))
        self.assertFalse(verify_ed25519(signer.public, signature, b"bodies"))
        self.assertFalse(verify_ed25519(other.public, signature, b"body"))

    def test_nonsense(self) -> None:
        """A key or signature that is none verifies nothing, without an error."""
        signer = Ed25519Signer(bytes(32))
        self.assertFalse(verify_ed25519(b"short", bytes(64), b"body"))
        self.assertFalse(verify_ed25519(signer.public, b"short", b"body"))

    def test_key_of_small_order(self) -> None:
        """A key with which one signature would fit everything is none: nobody could be held to what it says."""
        neutral = b"\1" + bytes(31)
        self.assertFalse(verify_ed25519(neutral, neutral + bytes(32), b"anything"))

    def test_known_answer(self) -> None:
        """RFC 8032, section 7.1, test 1."""
        seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
        signer = Ed25519Signer(seed)
        self.assertEqual(signer.public.hex()[:16], "d75a980182b10ab7")
        self.assertEqual(signer.sign(b"").hex()[:16], "e5564300c360ac72")

    def test_every_field_counts(self) -> None:
        """Two tables that differ in anything have different bytes."""
        table = Table(US, 1, 2, 3, KEY, True, US, (US,), (US,), (UNPROVED,) * 2)
        other = IDENTITY.peer("192.0.2.9", 1)
        variants = [
            replace(table, peer=other),
            replace(table, epoch=9),
            replace(table, seq=9),
            replace(table, time_ms=9),
            replace(table, key=bytes(32)),
            replace(table, whole=False),
            replace(table, predecessor=other),
            replace(table, successors=(other,)),
            replace(table, fingers=(other,)),
            replace(table, fingerprints=(UNPROVED, b"8 bytes.")),
        ]
        self.assertEqual(len({pack_table(IDENTITY, one) for one in (table, *variants)}), len(variants) + 1)
