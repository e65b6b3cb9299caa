"""Records: what makes one right, what is left of it in time, and which of two wins."""

from __future__ import annotations

from functools import reduce
from hashlib import sha256
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.records import (
    GRACE_MS,
    Record,
    RecordKind,
    Seal,
    Tombstone,
    Version,
    Versioned,
    is_right,
    kind_of,
    merge,
    position_of,
    precedence,
    present,
    signed_key,
    wins,
)
from chordtwist.core.signed import Ed25519Signer, pack_record, verify_ed25519

KEY = sha256(b"a key").digest()
A, B = b"\x0a\0\0\1\x19\1", b"\x0a\0\0\2\x19\1"
OWNER = Ed25519Signer(b"\7" * 32)


def plain(ms: int = 1, value: bytes = b"value", expiry_ms: int = 1_000, tombstone_until_ms: int = 0) -> Record:
    return Record(KEY, value, RecordKind.PLAIN, Version(ms, A), expiry_ms, 4, None, tombstone_until_ms)


def content(value: bytes = b"value", ms: int = 1, expiry_ms: int = 1_000) -> Record:
    return Record(sha256(value).digest(), value, RecordKind.CONTENT, Version(ms, A), expiry_ms, 4)


def seal(seq: int, value: bytes, salt: bytes = b"salt") -> Seal:
    signature = OWNER.sign(pack_record(salt, seq, sha256(value).digest()))
    return Seal(OWNER.public, salt, seq, signature)


def signed(seq: int, value: bytes = b"value", ms: int = 1, expiry_ms: int = 1_000) -> Record:
    sealed = seal(seq, value)
    key = signed_key(OWNER.public, sealed.salt)
    return Record(key, value, RecordKind.SIGNED, Version(ms, A), expiry_ms, 4, sealed)


def signed_tombstone(seq: int, value: bytes = b"", expiry_ms: int = 1_000) -> Tombstone:
    sealed = seal(seq, value)
    return Tombstone(signed_key(OWNER.public, sealed.salt), Version(1, A), expiry_ms, 4, sealed, sha256(value).digest())


def tombstone(ms: int = 1, expiry_ms: int = 1_000, copies: int = 4) -> Tombstone:
    return Tombstone(KEY, Version(ms, A), expiry_ms, copies)


class KindTests(SynchronousTestCase):
    """What a value is, and when a record is right."""

    def test_a_value_under_its_own_hash_is_content(self) -> None:
        """A course client that puts a value under its SHA-256 makes a content record without asking."""
        self.assertIs(kind_of(sha256(b"x").digest(), b"x", None), RecordKind.CONTENT)
        self.assertIs(kind_of(KEY, b"x", None), RecordKind.PLAIN)

    def test_a_seal_makes_a_signed_record(self) -> None:
        """Whatever the value is."""
        self.assertIs(kind_of(KEY, b"x", seal(1, b"x")), RecordKind.SIGNED)

    def test_right_ones_are_right(self) -> None:
        """Each kind, and what it leaves."""
        for versioned in (
            plain(),
            content(),
            signed(3),
            tombstone(),
            signed_tombstone(3),
            signed_tombstone(3, b"what it was"),
        ):
            self.assertTrue(is_right(versioned, verify_ed25519), versioned)

    def test_a_kind_must_be_the_true_one(self) -> None:
        """Content that calls itself plain could be replaced by anything; plain that calls itself content is a lie."""
        self.assertFalse(is_right(replace(content(), kind=RecordKind.PLAIN), verify_ed25519))
        self.assertFalse(is_right(replace(plain(), kind=RecordKind.CONTENT), verify_ed25519))
        self.assertFalse(is_right(replace(content(), value=b"other"), verify_ed25519))
        self.assertFalse(is_right(replace(signed(1), kind=RecordKind.PLAIN), verify_ed25519))

    def test_a_signed_record_proves_key_seq_and_value(self) -> None:
        """Another value, seq, salt, key or signature makes it wrong."""
        right = signed(3)
        assert right.seal is not None
        wrong = [
            replace(right, value=b"other"),
            replace(right, key=KEY),
            replace(right, seal=replace(right.seal, seq=4)),
            replace(right, seal=replace(right.seal, salt=b"pepper")),
            replace(right, seal=replace(right.seal, signature=bytes(64))),
            replace(right, seal=seal(3, right.value, salt=b"s" * 65), key=signed_key(OWNER.public, b"s" * 65)),
        ]
        self.assertEqual([is_right(record, verify_ed25519) for record in wrong], [False] * len(wrong))

    def test_a_tombstone_of_a_signed_record_proves_its_seq(self) -> None:
        """Nobody but the owner of the key can say that a seq was reached."""
        right = signed_tombstone(3)
        assert right.seal is not None
        self.assertFalse(is_right(replace(right, seal=replace(right.seal, seq=9)), verify_ed25519))
        self.assertFalse(is_right(replace(right, digest=sha256(b"other").digest()), verify_ed25519))

    def test_what_is_signed_has_one_layout(self) -> None:
        """The bytes under a signature: magic, kind, salt with its length, seq, SHA-256 of the value."""
        self.assertEqual(
            pack_record(b"salt", 258, b"d" * 32),
            b"chordtwist" + b"\x05" + b"\x04salt" + bytes(6) + b"\x01\x02" + b"d" * 32,
        )

    def test_position_is_the_hash_of_the_key(self) -> None:
        """Keys cannot be placed at will."""
        self.assertEqual(position_of(KEY), int.from_bytes(sha256(KEY).digest(), "big"))


class PresentTests(SynchronousTestCase):
    """What is left of something at a moment."""

    def test_alive_until_the_very_millisecond(self) -> None:
        """It is there one millisecond before its expiry, and gone at it."""
        record = plain(expiry_ms=1_000)
        self.assertIs(present(record, 999), record)
        self.assertIsNone(present(record, 1_000))
        self.assertIsNone(present(None, 0))

    def test_leaves_a_tombstone_as_long_as_something_older_may_live(self) -> None:
        """A record that replaced one with a longer life is remembered until that life ends, and as much longer as a
        copy of it may live by delays.
        """
        record = plain(ms=7, expiry_ms=1_000, tombstone_until_ms=5_000)
        self.assertEqual(present(record, 1_000), tombstone(ms=7, expiry_ms=5_000))
        self.assertEqual(present(record, 4_999 + GRACE_MS), tombstone(ms=7, expiry_ms=5_000))
        self.assertIsNone(present(record, 5_000 + GRACE_MS))

    def test_a_tombstone_ends_too(self) -> None:
        """A grace after its own expiry nothing is left."""
        self.assertIsNotNone(present(tombstone(expiry_ms=5), 4 + GRACE_MS))
        self.assertIsNone(present(tombstone(expiry_ms=5), 5 + GRACE_MS))

    def test_a_signed_record_leaves_the_proof_of_its_seq(self) -> None:
        """Its tombstone keeps the seal and the digest of the value."""
        left = present(replace(signed(3), tombstone_until_ms=9_000), 1_000)
        assert isinstance(left, Tombstone)
        self.assertTrue(is_right(left, verify_ed25519))
        self.assertEqual(precedence(left), precedence(signed(3)))

    def test_content_leaves_a_plain_tombstone(self) -> None:
        """When content has ended a plain record may stand under its key again."""
        left = present(replace(content(), tombstone_until_ms=9_000), 1_000)
        assert isinstance(left, Tombstone)
        self.assertTrue(wins(replace(plain(ms=2), key=left.key), left))


class WinsTests(SynchronousTestCase):
    """Which of two is served."""

    def assertWins(self, new: Versioned, old: Versioned) -> None:
        self.assertTrue(wins(new, old))
        self.assertFalse(wins(old, new))

    def test_newer_plain_wins(self) -> None:
        """By milliseconds, then by publisher."""
        self.assertWins(plain(ms=2), plain(ms=1, expiry_ms=9_000))
        self.assertWins(replace(plain(), version=Version(1, B)), plain())

    def test_nothing_wins_over_itself(self) -> None:
        """The order is strict."""
        for versioned in (plain(), content(), signed(1), tombstone(), signed_tombstone(1)):
            self.assertFalse(wins(versioned, versioned))

    def test_content_beats_plain_and_signed_beats_both(self) -> None:
        """Whatever their versions: else anybody could take away what proves itself."""
        value = OWNER.public + b"salt"  # the one content that fits the key of a signed record
        self.assertWins(content(value), replace(plain(ms=99), key=sha256(value).digest()))
        self.assertWins(signed(1), content(value, ms=99))
        self.assertWins(signed(1), replace(tombstone(ms=99), key=signed(1).key))

    def test_a_higher_seq_wins(self) -> None:
        """Whatever the versions say."""
        self.assertWins(signed(2, ms=1), signed(1, ms=99))
        self.assertWins(signed_tombstone(2), signed(1, ms=99))

    def test_of_one_seq_all_choose_the_same_value(self) -> None:
        """Its publisher broke the rules; replicas agree all the same."""
        one, other = signed(1, b"one"), signed(1, b"other")
        self.assertNotEqual(wins(one, other), wins(other, one))

    def test_a_live_signed_record_beats_its_own_tombstone(self) -> None:
        """Else anybody could end it by sending its seal without its value."""
        self.assertWins(signed(1, b"v"), signed_tombstone(1, b"v", expiry_ms=99_999))

    def test_the_longer_life_of_the_same_content_wins(self) -> None:
        """Else anybody could end it by putting it again with a short life."""
        self.assertWins(content(expiry_ms=2_000), content(expiry_ms=1_000, ms=50))
        self.assertWins(signed(1, expiry_ms=2_000), signed(1, expiry_ms=1_000))

    def test_the_earlier_end_of_the_same_plain_version_wins(self) -> None:
        """Copies only ever gain life, by the delays of their way; the one that ends first is nearest to the truth."""
        self.assertWins(plain(expiry_ms=990), plain(expiry_ms=1_000))
        self.assertWins(tombstone(), plain())


class MergeTests(SynchronousTestCase):
    """What a replica keeps that heard of both."""

    def test_remembers_the_longest_life_it_replaced(self) -> None:
        """The newer value with the shorter life knows until when the older one may come back."""
        self.assertEqual(
            merge(plain(ms=2, expiry_ms=500), plain(ms=1, expiry_ms=9_000)),
            plain(ms=2, expiry_ms=500, tombstone_until_ms=9_000),
        )

    def test_forgets_what_cannot_outlive_it(self) -> None:
        """A copy lives longer than it should by less than a grace."""
        newer = plain(ms=2, expiry_ms=9_000)
        late = plain(ms=1, expiry_ms=9_001 - GRACE_MS)
        self.assertEqual(merge(newer, late), replace(newer, tombstone_until_ms=late.expiry_ms))
        self.assertEqual(merge(newer, plain(ms=1, expiry_ms=9_000 - GRACE_MS)), newer)

    def test_a_tombstone_lives_as_long_as_what_it_ended(self) -> None:
        """A delete is remembered until the last thing it ended would have expired."""
        self.assertEqual(
            merge(tombstone(ms=2, expiry_ms=10), plain(ms=1, expiry_ms=9_000)), tombstone(ms=2, expiry_ms=9_000)
        )

    def test_a_tombstone_of_the_same_thing_remembers(self) -> None:
        """What a deleted value had beaten is remembered by a copy of it that lives on, in whatever order they meet."""
        lives, ends = signed(1, b"b", expiry_ms=15_000), signed_tombstone(1, b"b", expiry_ms=3_750)
        beaten = plain(ms=1, expiry_ms=11_250)
        for one in (merge(merge(lives, ends), beaten), merge(lives, merge(ends, beaten))):
            self.assertEqual(one.tombstone_until_ms if isinstance(one, Record) else None, 11_250)

    def test_remembers_through_several_replacements(self) -> None:
        """What the loser remembered is not forgotten with it."""
        third = merge(plain(ms=3, expiry_ms=400), plain(ms=2, expiry_ms=500, tombstone_until_ms=9_000))
        self.assertEqual(third.tombstone_until_ms if isinstance(third, Record) else None, 9_000)

    def test_copies_never_shrink(self) -> None:
        """What replaces a record goes wherever a copy of it may lie."""
        self.assertEqual(merge(replace(plain(ms=2), copies=1), plain(ms=1)).copies, 4)
        self.assertEqual(merge(plain(ms=2), replace(plain(ms=1), copies=7)).copies, 7)

    def test_the_same_content_takes_the_newest_version(self) -> None:
        """So that digests of two replicas agree, whoever put it last."""
        merged = merge(content(ms=5, expiry_ms=10), content(ms=1, expiry_ms=2_000))
        self.assertEqual(merged, content(ms=5, expiry_ms=2_000))

    def test_an_older_value_never_comes_back(self) -> None:
        """In whatever order a short-lived newer value and a long-lived older one arrive, and expire."""
        older, newer = plain(ms=1, expiry_ms=9_000), plain(ms=2, expiry_ms=500)
        for first, second in permutations((older, newer)):
            versioned = present(merge(second, first), 600)
            assert versioned is not None
            self.assertIsInstance(present(merge(older, versioned), 700), Tombstone)


versions = st.builds(Version, st.integers(1, 3), st.sampled_from([A, B]))
expiries = st.integers(1, 5).map(lambda step: step * GRACE_MS * 3 // 4)
some_copies = st.integers(1, 2)


def remembering(record: Record, further_ms: int) -> Record:
    return replace(record, tombstone_until_ms=record.expiry_ms + further_ms if further_ms else 0)


# Under one key: the value that hashes to it, a signed value, and plain ones, so that all kinds meet.
MEETING_VALUE = OWNER.public + b"salt"
MEETING_KEY = sha256(MEETING_VALUE).digest()
SEALS = {(seq, value): seal(seq, value) for seq in (1, 2) for value in (b"a", b"b", b"")}

plains = st.builds(
    lambda value, version, expiry, copies: Record(MEETING_KEY, value, RecordKind.PLAIN, version, expiry, copies),
    st.sampled_from([b"a", b"b"]),
    versions,
    expiries,
    some_copies,
)
contents = st.builds(
    lambda version, expiry, copies: Record(MEETING_KEY, MEETING_VALUE, RecordKind.CONTENT, version, expiry, copies),
    versions,
    expiries,
    some_copies,
)
signeds = st.builds(
    lambda seq, value, version, expiry, copies: Record(
        MEETING_KEY, value, RecordKind.SIGNED, version, expiry, copies, SEALS[seq, value]
    ),
    st.sampled_from([1, 2]),
    st.sampled_from([b"a", b"b"]),
    versions,
    expiries,
    some_copies,
)
tombstones = st.builds(
    lambda version, expiry, copies: Tombstone(MEETING_KEY, version, expiry, copies), versions, expiries, some_copies
)
signed_tombstones = st.builds(
    lambda seq, value, version, expiry, copies: Tombstone(
        MEETING_KEY, version, expiry, copies, SEALS[seq, value], sha256(value).digest()
    ),
    st.sampled_from([1, 2]),
    st.sampled_from([b"a", b"b", b""]),
    versions,
    expiries,
    some_copies,
)
records = st.builds(remembering, plains | contents | signeds, st.sampled_from([0, 50, 2_000, GRACE_MS]))
versioned_things = records | tombstones | signed_tombstones


class LatticeTests(SynchronousTestCase):
    """The laws that make replicas converge."""

    @given(versioned_things, versioned_things)
    def test_merge_is_commutative(self, one: Versioned, other: Versioned) -> None:
        """Who was heard of first does not matter."""
        self.assertEqual(merge(one, other), merge(other, one))

    @given(versioned_things, versioned_things, versioned_things)
    def test_merge_is_associative(self, a: Versioned, b: Versioned, c: Versioned) -> None:
        """What was merged elsewhere before does not matter."""
        self.assertEqual(merge(merge(a, b), c), merge(a, merge(b, c)))

    @given(versioned_things)
    def test_merge_is_idempotent(self, one: Versioned) -> None:
        """Hearing the same thing again does not matter."""
        self.assertEqual(merge(one, one), one)

    @given(st.lists(versioned_things, min_size=1, max_size=6), st.randoms(use_true_random=False))
    def test_replicas_converge(self, told: list[Versioned], chance: object) -> None:
        """Replicas told the same things in other orders, some of them twice, keep the same thing."""
        again = told + told[:2]
        chance.shuffle(again)  # type: ignore[attr-defined]
        self.assertEqual(reduce(merge, told), reduce(merge, again))

    @given(versioned_things, versioned_things, versioned_things)
    def test_wins_is_an_order(self, a: Versioned, b: Versioned, c: Versioned) -> None:
        """Strict and transitive: no three things beat one another in a circle."""
        self.assertFalse(wins(a, b) and wins(b, a))
        if wins(a, b) and wins(b, c):
            self.assertTrue(wins(a, c))

    @given(versioned_things, versioned_things)
    def test_what_wins_is_kept(self, one: Versioned, other: Versioned) -> None:
        """The merged thing takes precedence over both, or equals them in it."""
        merged = precedence(merge(one, other))
        self.assertGreaterEqual(merged, precedence(one))
        self.assertGreaterEqual(merged, precedence(other))
