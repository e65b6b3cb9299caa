"""Behaviour of audits: whom a member asks what it keeps, directly and through others, and what that comes to."""

from __future__ import annotations

from hashlib import sha256
from random import Random

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chordtwist.core.address_book import AddressBook
from chordtwist.core.conduct import BLAMED_AGAIN_S, Conduct
from chordtwist.core.costs import unmetered
from chordtwist.core.evidence import Charge, Evidence, judge
from chordtwist.core.lookup import Quality, Route
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import Record, RecordKind, Version, Versioned
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.auditing import HASHES_NOTHING, RECEIPTS_MAX, Auditor
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.pauses import Pauses
from chordtwist.node.ring.statements import Statements
from chordtwist.simulation.signer import verify_simulated
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire.peer_messages import Answer, Audit, Holding, Noted, Question, Relay
from tests.builders import IDENTITY, Neighbourhood, peer, routing, signer

LIFE_MS = 1_000_000
OTHERS = (20, 30, 40)


def record(key: bytes = bytes(32), ms: int = 2, value: bytes = b"value") -> Record:
    return Record(key, value, RecordKind.PLAIN, Version(ms, b""), LIFE_MS, 4)


@implementer(IRing)
class AskingRing:
    """What an audit needs of its node."""

    def __init__(self, scene: Neighbourhood) -> None:
        self.me, self.identity, self.is_member = scene.me, IDENTITY, True
        self.predecessor: Peer | None = None
        self.successors: tuple[Peer, ...] = ()
        self.ask = scene.link.ask

    def known_route(self, position: int) -> None:
        raise NotImplementedError

    def find(self, position: int, quality: Quality = Quality.VERIFIED) -> Deferred[Route]:
        raise NotImplementedError

    def neighbours_time_ms(self) -> int:
        raise NotImplementedError


class AuditTests(SynchronousTestCase):
    """The member at 10 keeps a plain record; 20, 30 and 40 stand behind it."""

    def setUp(self) -> None:
        self.scene = Neighbourhood(10, *OTHERS)
        self.clock = self.scene.link.clock
        store = MemoryRecordStore()
        self.local_records = LocalRecords(store, self.clock, lambda: 0, Pauses(self.clock, unmetered()), Quota())
        self.take(record())
        book = AddressBook(IDENTITY, me=self.scene.me)
        self.kept: dict[int, Versioned | None] = {}
        self.statements: dict[int, Statements] = {}
        for place in OTHERS:
            book.met(peer(place), 0.0)
            self.kept[place] = record()
            self.statements[place] = Statements(
                IDENTITY, routing(place), signer(peer(place)), lambda: 0, lambda peer: None, 1, self.steady_ms
            )
            self.scene.reply(place, lambda question, place=place: self.answer(place, question))  # type: ignore[misc]
        self.accused: list[Evidence] = []
        self.conduct = Conduct(self.clock.seconds)
        self.ring = AskingRing(self.scene)
        self.auditor = Auditor(
            self.ring,
            self.local_records,
            book,
            self.conduct,
            self.scene.link.key_of,
            verify_simulated,
            self.accused.append,
            10.0,
            self.clock,
            Random(1),
        )

    def steady_ms(self) -> int:
        return int(self.clock.seconds() * 1000)

    def take(self, versioned: Versioned) -> None:
        self.local_records.take(versioned, self.local_records.get(versioned.key), None)

    def answer(self, place: int, question: Question) -> Answer | Deferred[Answer]:
        if isinstance(question, Relay):
            assert question.audit is not None
            return self.answer(IDENTITY.unpack(question.target).id >> 240, question.audit)
        assert isinstance(question, Audit)
        kept = self.kept[place]
        here = kept if kept is not None and kept.key == question.key else None
        return self.statements[place].holding(question.key, here, LIFE_MS, question.nonce) or Noted()

    def audit(self, times: int = 1) -> None:
        for _ in range(times):
            audited = maybeDeferred(lambda: Deferred.fromCoroutine(self.auditor._audit()))
            self.scene.advance(3)
            self.assertIsNone(self.successResultOf(audited))

    def asked(self) -> list[Question]:
        return [question for place in OTHERS for question in self.scene.asked(place)]

    def breaks(self, *places: int) -> None:
        """Those at these places sign less than they signed to keep."""
        for place in places:
            self.statements[place]._receipts.forget_all()
            self.kept[place] = None

    def test_all_are_asked(self) -> None:
        """All that should keep the record are asked by and by, and as often others are asked to ask them."""
        self.audit(60)
        for place in OTHERS:
            self.assertTrue([question for question in self.scene.asked(place) if isinstance(question, Audit)])
        relayed = [question for question in self.asked() if isinstance(question, Relay)]
        self.assertEqual({question.target for question in relayed}, {peer(place).packed for place in OTHERS})
        audits = [question.audit if isinstance(question, Relay) else question for question in self.asked()]
        nonces = {audit.nonce for audit in audits if isinstance(audit, Audit)}
        self.assertEqual(len(nonces), len(audits))
        self.assertEqual((self.accused, self.conduct.suspected()), ([], {}))

    def test_broken(self) -> None:
        """Whoever has less than it signed to keep is accused, with a proof; nobody else is."""
        self.audit(60)
        self.breaks(20)
        self.audit(60)
        culprits = {judge(IDENTITY, evidence, verify_simulated).culprit for evidence in self.accused}
        self.assertEqual(culprits, {peer(20)})
        self.assertEqual({evidence.charge for evidence in self.accused}, {Charge.BROKEN_RECEIPT})

    def test_restarted(self) -> None:
        """Whoever has lost its records with its run is not."""
        self.audit(60)
        for place in OTHERS:
            self.kept[place] = None
            self.statements[place].begin_epoch(2)
        self.audit(60)
        self.assertEqual(self.accused, [])

    def test_old_word(self) -> None:
        """A relay that brings what somebody had signed before its receipt changes nothing."""
        old = self.statements[20].holding(bytes(32), None, 0, bytes(16))
        assert old is not None
        self.kept[30] = self.kept[40] = None
        self.audit(30)

        def lies(question: Question) -> Answer | Deferred[Answer]:
            return old if isinstance(question, Relay) else self.answer(30, question)

        for place in (30, 40):
            self.scene.reply(place, lies)
        self.audit(60)
        self.assertEqual(self.accused, [])
        self.assertIn((peer(20), bytes(32)), self.auditor._receipts)

    def test_others_words(self) -> None:
        """What another signed, what its key did not sign, and what is no such statement, is passed over."""
        audit = Audit(bytes(32), bytes(16))
        true = self.answer(30, audit)
        assert isinstance(true, Holding)
        for said in (true, Holding(true.body, bytes(64)), Holding(b"x", bytes(64)), Noted()):
            for place in OTHERS:
                self.scene.reply(place, said)
            self.kept = dict.fromkeys(OTHERS)
            self.auditor._receipts.clear()
            before = self.auditor.audits
            self.audit(10)
            if said is not true:
                self.assertEqual(self.auditor.audits, before)
        self.assertLessEqual({place for place, _ in self.auditor._receipts}, {peer(30)})

    def test_cannot_hash(self) -> None:
        """Who signs to keep a value that it cannot hash is suspected, where only one value is right."""
        right = Record(sha256(b"content").digest(), b"content", RecordKind.CONTENT, Version(1, b""), LIFE_MS, 4)
        for mine, suspected in ((record(), {}), (right, {peer(20): HASHES_NOTHING})):
            self.local_records.remove(bytes(32))
            self.take(mine)
            self.kept = dict.fromkeys(OTHERS, mine)
            self.kept[20] = Record(mine.key, b"dropped", mine.kind, mine.version, LIFE_MS, 4)
            for _ in range(30):
                self.audit()
                self.scene.advance(BLAMED_AGAIN_S)
            self.assertEqual(self.conduct.suspected(), suspected)
            self.assertEqual((peer(20), mine.key) in self.auditor._receipts, False)

    def test_hash_of_another_question(self) -> None:
        """A relay that brings what somebody signed for another number brings nobody under suspicion."""
        right = Record(sha256(b"content").digest(), b"content", RecordKind.CONTENT, Version(1, b""), LIFE_MS, 4)
        self.local_records.remove(bytes(32))
        self.take(right)
        self.kept = dict.fromkeys(OTHERS, right)

        def replays(place: int, question: Question) -> Answer | Deferred[Answer]:
            if isinstance(question, Relay):
                target = IDENTITY.unpack(question.target).id >> 240
                return self.answer(target, Audit(right.key, bytes(16)))
            return self.answer(place, question)

        for place in OTHERS:
            self.scene.reply(place, lambda question, place=place: replays(place, question))  # type: ignore[misc]
        for _ in range(60):
            self.audit()
            self.scene.advance(BLAMED_AGAIN_S)
        self.assertTrue([question for question in self.asked() if isinstance(question, Relay)])
        self.assertEqual((self.conduct.suspected(), self.accused), ({}, []))

    def test_bounded(self) -> None:
        """So many receipts are looked after, whatever is kept."""
        for number in range(4 * RECEIPTS_MAX):
            self.take(record(number.to_bytes(32, "big")))
        for place in OTHERS:
            self.scene.reply(place, lambda question, place=place: self.keeps_all(place, question))  # type: ignore[misc]
        self.audit(200)
        self.assertLessEqual(len(self.auditor._receipts), RECEIPTS_MAX)

    def keeps_all(self, place: int, question: Question) -> Answer | Deferred[Answer]:
        if isinstance(question, Relay):
            assert question.audit is not None
            return self.keeps_all(IDENTITY.unpack(question.target).id >> 240, question.audit)
        assert isinstance(question, Audit)
        kept = record(question.key)
        return succeed(self.statements[place].holding(question.key, kept, LIFE_MS, question.nonce) or Noted())

    def test_nobody(self) -> None:
        """Who keeps nothing, knows nobody, or is no member, asks nobody; who is silent costs nothing more."""
        self.scene.silence(*OTHERS)
        self.audit(3)
        self.assertEqual((self.asked(), self.auditor.audits), ([], 0))
        self.local_records.remove(bytes(32))
        self.audit(3)
        self.take(record())
        self.ring.is_member = False
        self.audit(3)
        self.assertEqual(self.asked(), [])

    def test_switched_off(self) -> None:
        """Without bytes for it there are none."""
        off = Auditor(
            self.ring,
            self.local_records,
            self.auditor._book,
            self.conduct,
            self.scene.link.key_of,
            verify_simulated,
            self.accused.append,
            0,
            self.clock,
            Random(1),
        )
        self.assertEqual(off.chores, [])
