"""What every implementer of a seam does: one test class per interface of `node.interfaces`.

Import the module, not the classes (``from tests import contracts``), else trial runs a contract without an implementer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from operator import attrgetter
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from chordtwist.core.errors import Malformed, Refused, StoreFull, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.records import (
    Entry,
    PutResult,
    Record,
    RecordKind,
    Seal,
    Tombstone,
    Version,
    Versioned,
    position_of,
    signed_key,
)
from chordtwist.core.ring import RING_SIZE, Arc
from chordtwist.core.signed import Ed25519Signer, pack_record
from chordtwist.node.interfaces import IAnswer, IDht, IPeerLink, IRecordStore
from chordtwist.wire.peer_messages import Answer, GetTable, JoinFailure, Noted, Notify, Ping, Pong, Question


@implementer(IAnswer)
class ScriptedAnswers:
    """An `IAnswer` that answers as told, and keeps what it was asked and told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Peer, Question]] = []
        self.lost: list[Peer] = []
        self.breaches: list[Peer] = []
        self.reply: Callable[[Peer, Question], Answer | Deferred[Answer]] = lambda peer, question: Pong()

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        self.asked.append((peer, question))
        return self.reply(peer, question)

    def link_lost(self, peer: Peer, reason: str) -> None:
        self.lost.append(peer)

    def breach(self, peer: Peer, reason: str) -> None:
        self.breaches.append(peer)


class TwoNodes(Protocol):
    """Two ends of a network, `ours` and `theirs`, and the means to let time pass and to kill the other end."""

    @property
    def ours(self) -> IPeerLink: ...

    @property
    def theirs(self) -> IPeerLink: ...

    our_answers: ScriptedAnswers
    our_peer: Peer
    their_answers: ScriptedAnswers
    their_peer: Peer
    their_key: bytes
    nobody: Peer
    """An address at which nobody listens, on a host that says so."""

    def advance(self, seconds: float) -> None: ...

    def crash_theirs(self) -> None: ...


class PeerLinkContract(SynchronousTestCase):
    """What every `IPeerLink` does. A test case inherits from it and says how two nodes are connected."""

    def two_nodes(self) -> TwoNodes:
        raise NotImplementedError

    def setUp(self) -> None:
        """Two nodes that have not spoken yet."""
        self.nodes = self.two_nodes()

    def ask(self, question: Question | None = None) -> Deferred[Answer]:
        return self.nodes.ours.ask(self.nodes.their_peer, Ping() if question is None else question)

    def test_interface(self) -> None:
        """It is an `IPeerLink`."""
        verifyObject(IPeerLink, self.nodes.ours)

    def test_answer(self) -> None:
        """A question reaches the other node, under our address, and its answer comes back."""
        question = GetTable(3, 4)
        asked = self.ask(question)
        self.nodes.advance(0.9)
        self.assertEqual(self.successResultOf(asked), Pong())
        self.assertEqual(self.nodes.their_answers.asked, [(self.nodes.our_peer, question)])

    def test_nothing_before_ask_returned(self) -> None:
        """No Deferred has fired when `ask` returns: neither with an answer nor with a refusal."""
        self.assertNoResult(self.ask())
        self.nodes.advance(0.9)
        self.assertNoResult(again := self.ask())
        self.assertNoResult(refused := self.nodes.ours.ask(self.nodes.nobody, Ping()))
        self.nodes.advance(0.9)
        self.successResultOf(again)
        self.failureResultOf(refused, Unreachable)

    def test_both_ways(self) -> None:
        """Both ends may ask."""
        ours, theirs = self.ask(), self.nodes.theirs.ask(self.nodes.our_peer, Ping())
        self.nodes.advance(0.9)
        self.assertEqual((self.successResultOf(ours), self.successResultOf(theirs)), (Pong(), Pong()))

    def test_each_gets_its_own_answer(self) -> None:
        """Many questions are under way at once; each gets the answer to itself, in whatever order answers come."""
        waiting: list[tuple[int, Deferred[Answer]]] = []

        def later(peer: Peer, question: Question) -> Deferred[Answer]:
            assert isinstance(question, Notify)
            waiting.append((question.epoch, Deferred()))
            return waiting[-1][1]

        self.nodes.their_answers.reply = later
        asked = [self.ask(Notify(number)) for number in range(20)]
        self.nodes.advance(0.5)
        self.assertEqual(len(waiting), 20)
        for number, answer in reversed(waiting):
            answer.callback(JoinFailure(str(number)))
        self.nodes.advance(0.4)
        self.assertEqual([self.successResultOf(d) for d in asked], [JoinFailure(str(number)) for number in range(20)])

    def test_silence(self) -> None:
        """Without an answer the Deferred fails with `Unreachable` after the question's own time, and not before."""
        self.ask()
        self.nodes.advance(0.9)
        self.nodes.their_answers.reply = lambda peer, question: Deferred()
        asked = self.ask()
        self.nodes.advance(Ping.answer_within_s - 0.01)
        self.assertNoResult(asked)
        self.nodes.advance(0.02)
        self.assertEqual(self.failureResultOf(asked, Unreachable).value.peer, self.nodes.their_peer)

    def test_late_answer(self) -> None:
        """An answer that comes after its time is nobody's, and the link goes on."""
        late: Deferred[Answer] = Deferred()
        self.nodes.their_answers.reply = lambda peer, question: late
        asked = self.ask()
        self.nodes.advance(1.1)
        self.failureResultOf(asked, Unreachable)
        late.callback(Pong())
        self.nodes.their_answers.reply = lambda peer, question: Noted()
        asked = self.ask()
        self.nodes.advance(0.9)
        self.assertEqual(self.successResultOf(asked), Noted())

    def test_refused_at_once(self) -> None:
        """Where nobody listens the failure does not wait for the time limit."""
        asked = self.nodes.ours.ask(self.nodes.nobody, Ping())
        self.nodes.advance(0.5)
        self.assertEqual(self.failureResultOf(asked, Unreachable).value.peer, self.nodes.nobody)

    def test_crash(self) -> None:
        """When the other process dies, questions under way fail at once, and the loss of the link is told once."""
        self.ask()
        self.nodes.advance(0.9)
        self.nodes.their_answers.reply = lambda peer, question: Deferred()
        asked = [self.ask(), self.ask()]
        self.nodes.advance(0.3)
        self.nodes.crash_theirs()
        self.nodes.advance(0.3)
        for deferred in asked:
            self.failureResultOf(deferred, Unreachable)
        self.assertEqual(self.nodes.our_answers.lost, [self.nodes.their_peer])

    def test_cancel(self) -> None:
        """Cancelling gives up waiting; the answer, when it comes, is nobody's."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.nodes.advance(1.1)
        self.nodes.advance(0.1)

    def test_proof(self) -> None:
        """A peer's key is known once it has answered a question of ours, and not before."""
        self.assertIsNone(self.nodes.ours.key_of(self.nodes.their_peer))
        self.ask()
        self.nodes.advance(0.9)
        self.assertEqual(self.nodes.ours.key_of(self.nodes.their_peer), self.nodes.their_key)

    def test_ask_once(self) -> None:
        """A link that was dialled for one question is gone behind its answer: no loss of it is ever told."""
        asked = self.nodes.ours.ask_once(self.nodes.their_peer, Ping())
        self.nodes.advance(0.9)
        self.assertEqual(self.successResultOf(asked), Pong())
        self.nodes.crash_theirs()
        self.nodes.advance(0.9)
        self.assertEqual(self.nodes.our_answers.lost, [])

    def test_ask_once_over_a_link(self) -> None:
        """A link that stood before stays."""
        self.ask()
        self.nodes.advance(0.9)
        self.nodes.ours.ask_once(self.nodes.their_peer, Ping())
        self.nodes.advance(0.9)
        self.nodes.crash_theirs()
        self.nodes.advance(0.9)
        self.assertEqual(self.nodes.our_answers.lost, [self.nodes.their_peer])

    def test_ask_once_in_vain(self) -> None:
        """It fails as any other question does."""
        asked = self.nodes.ours.ask_once(self.nodes.nobody, Ping())
        self.nodes.advance(0.9)
        self.failureResultOf(asked, Unreachable)

    def test_broken_question(self) -> None:
        """A question that the other node calls malformed ends the link: the asker gets no answer."""

        def complain(peer: Peer, question: Question) -> Answer:
            raise Malformed("that makes no sense")

        self.nodes.their_answers.reply = complain
        asked = self.ask()
        self.nodes.advance(1.1)
        self.failureResultOf(asked, Unreachable)


class DhtContract(SynchronousTestCase):
    """What every `IDht` does. A test case inherits from it and says how one is made and how time passes."""

    def make_dht(self) -> IDht:
        """A hash table that serves, with a default life of an hour and a longest one of a day."""
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        raise NotImplementedError

    def setUp(self) -> None:
        """An empty hash table."""
        self.dht = self.make_dht()

    def put(
        self, value: bytes, ttl_s: float | None = None, seal: Seal | None = None, key: bytes = b"k" * 32
    ) -> PutResult:
        """Put and wait until it is done."""
        stored = self.dht.put(key, value, ttl_s, None, seal)
        self.advance(1.0)
        return self.successResultOf(stored)

    def value(self, key: bytes = b"k" * 32) -> bytes | None:
        """Get and wait until it is there."""
        found = self.dht.get(key)
        self.advance(1.0)
        record = self.successResultOf(found)
        return None if record is None else record.value

    def test_interface(self) -> None:
        """It is an `IDht`."""
        verifyObject(IDht, self.dht)

    def test_nothing(self) -> None:
        """Under a key that nobody wrote there is None."""
        self.assertIsNone(self.value())

    def test_read_at_once(self) -> None:
        """A value is read on the same node as soon as `put` has returned."""
        self.dht.put(b"k" * 32, b"value")
        found = self.dht.get(b"k" * 32)
        self.advance(1.0)
        record = self.successResultOf(found)
        assert record is not None
        self.assertEqual((record.key, record.value), (b"k" * 32, b"value"))

    def test_last_put_wins(self) -> None:
        """Of two puts the later one is read, also when its life is shorter."""
        self.put(b"old", 3000.0)
        self.put(b"new", 300.0)
        self.assertEqual(self.value(), b"new")

    def test_result(self) -> None:
        """A put tells how many copies there are of how many wanted, and how long they live."""
        result = self.put(b"value", 60.0)
        self.assertTrue(1 <= result.copies <= result.wanted)
        self.assertTrue(58_000 <= result.ttl_ms <= 60_000, result)

    def test_newer_version(self) -> None:
        """A later put has a greater version."""
        self.assertLess(self.put(b"one").version, self.put(b"two").version)

    def test_end_of_life(self) -> None:
        """A value is there until its life is over, and not a moment longer."""
        self.dht.put(b"k" * 32, b"value", 1.0)
        self.advance(0.7)
        before = self.dht.get(b"k" * 32)
        self.advance(0.3)
        after = self.dht.get(b"k" * 32)
        self.advance(1.0)
        self.assertIsNotNone(self.successResultOf(before))
        self.assertIsNone(self.successResultOf(after))

    def test_lives(self) -> None:
        """A life that is not said is the default, and one that is too long becomes the longest."""
        self.assertTrue(3_598_000 <= self.put(b"value").ttl_ms <= 3_600_000)
        self.assertTrue(86_398_000 <= self.put(b"value", 100_000.0).ttl_ms <= 86_400_000)

    def test_delete(self) -> None:
        """What was deleted is gone, and can be written again."""
        self.put(b"value")
        deleted = self.dht.delete(b"k" * 32)
        self.advance(1.0)
        self.successResultOf(deleted)
        self.assertIsNone(self.value())
        self.put(b"again")
        self.assertEqual(self.value(), b"again")

    def test_content_stays(self) -> None:
        """Under the SHA-256 of a value another value is refused."""
        key = sha256(b"value").digest()
        self.put(b"value", key=key)
        other = self.dht.put(key, b"other")
        self.advance(1.0)
        self.failureResultOf(other, Refused)
        self.assertEqual(self.value(key), b"value")

    def test_signed(self) -> None:
        """Under a key pair's own key only its owner writes, ever higher seqs, and only over the seq that it expects."""
        signer = Ed25519Signer(b"s" * 32)
        key = signed_key(signer.public, b"")

        def seal(value: bytes, seq: int, expected_seq: int | None = None) -> Seal:
            signature = signer.sign(pack_record(b"", seq, sha256(value).digest()))
            return Seal(signer.public, b"", seq, signature, expected_seq)

        self.put(b"two", seal=seal(b"two", 2), key=key)
        for value, made in (
            (b"plain", None),
            (b"older", seal(b"older", 1)),
            (b"forged", seal(b"other", 3)),
            (b"unexpected", seal(b"unexpected", 3, 1)),
        ):
            refused = self.dht.put(key, value, None, None, made)
            self.advance(1.0)
            self.failureResultOf(refused, Refused)
        self.put(b"three", seal=seal(b"three", 3, 2), key=key)
        self.assertEqual(self.value(key), b"three")

    def test_status(self) -> None:
        """The state is plain: it becomes JSON as it is."""
        self.assertTrue(json.loads(json.dumps(self.dht.status())))

    def test_leave(self) -> None:
        """Leaving comes to its end, and doing it twice does no harm."""
        left = [self.dht.leave(), self.dht.leave()]
        self.advance(10.0)
        self.assertEqual([self.successResultOf(d) for d in left], [None, None])


class RecordStoreContract(SynchronousTestCase):
    """What every `IRecordStore` does. A test case inherits from it and says how a store is made."""

    def make_store(self, records_max: int = 1000, bytes_max: int = 1 << 20) -> IRecordStore:
        """An empty store that commits at once, closed at the end of the test."""
        raise NotImplementedError

    def setUp(self) -> None:
        """An empty store."""
        self.store = self.make_store()

    def put(self, *versioned: Versioned) -> None:
        """Put, and be sure that it is safe."""
        for one in versioned:
            self.successResultOf(self.store.put(one))

    def test_interface(self) -> None:
        """It is an `IRecordStore`."""
        verifyObject(IRecordStore, self.store)

    def test_nothing(self) -> None:
        """Under a key that was never put there is None."""
        self.assertIsNone(self.store.get(b"k" * 32))
        self.assertIsNone(self.store.entry(b"k" * 32))

    def test_every_field(self) -> None:
        """What is read is what was put, in every field: records of each kind, with and without a seal, and
        tombstones.
        """
        seal = Seal(b"p" * 32, b"salt", 2**64 - 1, b"s" * 64)
        for versioned in (
            make_record(b"plain", value=b"value", expiry_ms=-5),
            make_record(b"content", kind=RecordKind.CONTENT, value=b""),
            make_record(b"signed", kind=RecordKind.SIGNED, seal=seal, value=b"value", tombstone_until_ms=90_000),
            make_record(b"no salt", kind=RecordKind.SIGNED, seal=Seal(b"p" * 32, b"", 0, b"s" * 64)),
            make_record(b"largest", value=bytes(65_495), copies=255, version=Version(2**64 - 1, b"\xff" * 18)),
            make_record(b"anonymous", version=Version(0, b"")),
            make_tombstone(b"tombstone"),
            make_tombstone(b"signed tombstone", seal=seal, digest=b"d" * 32),
        ):
            self.put(versioned)
            self.assertEqual(self.store.get(versioned.key), versioned)
            self.assertEqual(self.store.entry(versioned.key), entry_of(versioned))
            self.assertIsNone(self.store.under_way(versioned.key))

    def test_replace(self) -> None:
        """What is put takes the place of what was there, a tombstone that of a record and a record that of a
        tombstone.
        """
        for versioned in (
            make_record(b"k", value=b"old"),
            make_record(b"k"),
            make_tombstone(b"k"),
            make_record(b"k", copies=2),
        ):
            self.put(versioned)
            self.assertEqual(self.store.get(versioned.key), versioned)
            self.assertEqual(len(list(self.store.scan(Arc(0, 0)))), 1)

    def test_remove(self) -> None:
        """What is removed is gone, and can be put again; to remove what is not there does nothing."""
        versioned = make_record(b"k")
        self.put(versioned)
        for _ in range(2):
            self.store.remove(versioned.key)
            self.assertIsNone(self.store.get(versioned.key))
            self.assertEqual(list(self.store.scan(Arc(0, 0))), [])
        self.put(versioned)
        self.assertEqual(self.store.get(versioned.key), versioned)

    def test_scan(self) -> None:
        """A scan gives the entries of an arc in the order of positions, beginning after its beginning, also where the
        arc goes over the end of the circle, and where it is the whole circle.
        """
        versioned = [make_record(b"%d" % n) for n in range(700)] + [
            make_tombstone(b"tombstone %d" % n) for n in range(20)
        ]
        self.put(*versioned)
        entries = sorted((entry_of(one) for one in versioned), key=attrgetter("position"))
        first, last = entries[10].position, entries[600].position
        for arc, expected in (
            (Arc(first, last), entries[11:601]),
            (Arc(first - 1, last - 1), entries[10:600]),
            (Arc(last, first), entries[601:] + entries[:11]),
            (Arc(first, first), entries[11:] + entries[:11]),
            (Arc(first, first + 1), []),
            (Arc(entries[-1].position, entries[0].position - 1), []),
            (Arc(0, RING_SIZE - 1), entries),
            (Arc(RING_SIZE - 1, 0), []),
        ):
            self.assertEqual(list(self.store.scan(arc)), expected)

    def test_scan_while_changed(self) -> None:
        """A scan under way sees what is put and what is removed ahead of it, and is not disturbed by what is behind."""
        versioned = sorted((make_record(b"%d" % n) for n in range(600)), key=lambda record: position_of(record.key))
        late, removed = versioned[400], versioned[500]
        self.put(*(record for record in versioned if record is not late))
        scan = self.store.scan(Arc(0, 0))
        seen = [next(scan).key for _ in range(5)]
        self.put(late)
        self.store.remove(removed.key)
        self.store.remove(versioned[0].key)
        self.put(make_record(b"3", value=b"other"))
        seen += [entry.key for entry in scan]
        self.assertEqual(seen, [record.key for record in versioned if record is not removed])

    def test_scan_while_most_is_removed(self) -> None:
        """What is removed ahead of a scan is not seen, also when so much is that the order is made anew."""
        versioned = sorted((make_record(b"%d" % n) for n in range(600)), key=lambda record: position_of(record.key))
        self.put(*versioned)
        scan = self.store.scan(Arc(0, 0))
        seen = [next(scan).key]
        for record in versioned[1:500]:
            self.store.remove(record.key)
        seen += [entry.key for entry in scan]
        self.assertEqual(seen, [record.key for record in (versioned[0], *versioned[500:])])

    def test_expired(self) -> None:
        """At its expiry something is expired, not a millisecond before; soonest first; until it is dealt with."""
        late, soon, tombstone = (
            make_record(b"late", expiry_ms=30),
            make_record(b"soon", expiry_ms=10),
            make_tombstone(b"s", 20),
        )
        self.put(late, soon, tombstone)
        self.assertEqual(self.store.expired(9), [])
        self.assertEqual(self.store.expired(10), [soon])
        self.assertEqual(self.store.expired(29), [soon, tombstone])
        self.assertEqual(self.store.expired(30), [soon, tombstone, late])
        self.store.remove(tombstone.key)
        self.put(make_tombstone(b"soon", 40))
        self.assertEqual(self.store.expired(39), [late])
        self.assertEqual(self.store.get(late.key), late)

    def test_expiry_of_what_stands(self) -> None:
        """Only the expiry of what is kept now counts, also after it was longer, shorter, and the same again."""
        for expiry_ms in (10, 50, 10, 30, 30):
            self.put(make_record(b"k", expiry_ms=expiry_ms))
        self.assertEqual(self.store.expired(29), [])
        self.assertEqual(self.store.expired(30), [make_record(b"k", expiry_ms=30)])

    def test_many_expired(self) -> None:
        """Expired things come in batches; those that are dealt with make room for the next."""
        self.put(*(make_record(b"%d" % n, expiry_ms=n) for n in range(700)))
        expiries: list[int] = []
        while batch := self.store.expired(649):
            self.assertLess(len(batch), 400)
            for versioned in batch:
                self.store.remove(versioned.key)
            expiries += [versioned.expiry_ms for versioned in batch]
        self.assertEqual(expiries, list(range(650)))

    def test_counts(self) -> None:
        """Records are counted, and the bytes of their values; tombstones are counted apart."""

        def counted() -> tuple[int, int, int]:
            return self.store.records(), self.store.record_bytes(), self.store.tombstones()

        self.put(make_record(b"a", value=b"12345"), make_record(b"b", value=b"123"), make_tombstone(b"c"))
        self.assertEqual(counted(), (2, 8, 1))
        self.put(make_record(b"a", value=b"1"), make_tombstone(b"b"), make_record(b"c", value=b"12"))
        self.assertEqual(counted(), (2, 3, 1))
        self.store.remove(make_record(b"c").key)
        self.assertEqual(counted(), (1, 1, 1))
        self.store.remove(make_record(b"b").key)
        self.assertEqual(counted(), (1, 1, 0))

    def test_too_many(self) -> None:
        """Beyond the number of keys it may keep, tombstones among them, a new key is refused; what is there may
        change.
        """
        self.store = self.make_store(records_max=3)
        self.put(make_record(b"a"), make_record(b"b"), make_tombstone(b"c"))
        for versioned in (make_record(b"d"), make_tombstone(b"d")):
            self.failureResultOf(self.store.put(versioned), StoreFull)
            self.assertIsNone(self.store.get(versioned.key))
        self.put(make_tombstone(b"a"), make_record(b"c"))
        self.store.remove(make_record(b"b").key)
        self.put(make_record(b"d"))

    def test_too_large(self) -> None:
        """Beyond the bytes it may keep, more bytes are refused, and what was there stays; fewer are always taken."""
        self.store = self.make_store(bytes_max=100)
        old = make_record(b"a", value=bytes(60))
        self.put(old, make_record(b"b", value=bytes(40)))
        for versioned in (make_record(b"a", value=bytes(61)), make_record(b"c", value=b"1")):
            self.failureResultOf(self.store.put(versioned), StoreFull)
        self.assertEqual(self.store.get(old.key), old)
        self.put(make_record(b"c", value=b""), make_record(b"a", value=bytes(50)), make_record(b"c", value=bytes(10)))
        self.assertEqual(self.store.record_bytes(), 100)

    def test_close(self) -> None:
        """Closing comes to its end."""
        self.put(make_record(b"a"))
        self.successResultOf(self.store.close())


OLD, NEW = Version(1, b"\x7f\0\0\1\x19\1"), Version(2, b"\x7f\0\0\1\x19\1")


def make_record(
    name: bytes,
    expiry_ms: int = 60_000,
    *,
    value: bytes = b"value",
    kind: RecordKind = RecordKind.PLAIN,
    version: Version = OLD,
    copies: int = 4,
    seal: Seal | None = None,
    tombstone_until_ms: int = 0,
) -> Record:
    """A record under the key that `name` is hashed to."""
    return Record(sha256(name).digest(), value, kind, version, expiry_ms, copies, seal, tombstone_until_ms)


def make_tombstone(name: bytes, expiry_ms: int = 60_000, *, seal: Seal | None = None, digest: bytes = b"") -> Tombstone:
    """A tombstone under the key that `name` is hashed to."""
    return Tombstone(sha256(name).digest(), NEW, expiry_ms, 4, seal, digest)


def entry_of(versioned: Versioned) -> Entry:
    """The entry that a scan gives for something kept."""
    is_tombstone, size = (False, len(versioned.value)) if isinstance(versioned, Record) else (True, 0)
    return Entry(
        position_of(versioned.key),
        versioned.key,
        versioned.version,
        versioned.expiry_ms,
        versioned.copies,
        is_tombstone,
        size,
    )
