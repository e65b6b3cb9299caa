"""Behaviour of what a node signs: its table, its status, its leases, its receipts."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.leases import LEASE_MS
from chordtwist.core.parameters import SUCCESSORS_MAX
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.receipts import held, proof_of
from chordtwist.core.records import Record, RecordKind, Version
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Status, unpack_holding, unpack_lease, unpack_status, unpack_table
from chordtwist.core.table import FINGERS_MAX, UNPROVED, Table
from chordtwist.node.ring.statements import TABLE_FRESH_MS, Statements
from chordtwist.simulation.signer import verify_simulated
from chordtwist.wire.peer_messages import Leased, TableIs, encode
from tests.builders import IDENTITY, fingerprint_of, peer, peers, routing, signer, table

NOW_MS = 1_700_000_000_000


class StatementsTests(SynchronousTestCase):
    """The node at 10, with 20 (proved) and 30 behind it and 5 before it, in its epoch 7."""

    def setUp(self) -> None:
        """Nothing was signed yet."""
        self.now_ms = NOW_MS
        self.steady_ms = 5_000
        self.routing = routing(10, (20, 30), predecessor=5)
        self.signer = signer(peer(10))
        self.proved = {peer(20): signer(peer(20)).public}
        self.statements = Statements(
            IDENTITY, self.routing, self.signer, lambda: self.now_ms, self.key_of, 7, lambda: self.steady_ms
        )

    def key_of(self, whom: Peer) -> bytes | None:
        return self.proved.get(whom)

    def shown(self) -> Table:
        said = self.statements.signed_table()
        self.assertTrue(verify_simulated(self.signer.public, said.signature, said.body))
        return unpack_table(IDENTITY, said.body)

    def change(self, place: int) -> None:
        self.assertTrue(self.routing.rectify(peer(place), predecessor_is_dead=True))

    def test_table(self) -> None:
        """The table says what the routing state is, with fingerprints of the keys that neighbours were proved with."""
        self.routing.set_finger(255, peer(4000))
        shown = self.shown()
        self.assertEqual((shown.peer, shown.epoch, shown.time_ms, shown.whole), (peer(10), 7, NOW_MS, False))
        self.assertEqual((shown.predecessor, shown.successors), (peer(5), peers(20, 30)))
        self.assertEqual((shown.fingers, shown.key), (peers(4000), self.signer.public))
        self.assertEqual(shown.fingerprints, (UNPROVED, fingerprint_of(20), UNPROVED))

    def test_without_predecessor(self) -> None:
        """A member that knows no predecessor shows none."""
        self.routing.predecessor = None
        shown = self.shown()
        self.assertIsNone(shown.predecessor)
        self.assertEqual(shown.fingerprints, (fingerprint_of(20), UNPROVED))

    def test_fingers_once(self) -> None:
        """Each finger is shown once, and none that is a successor."""
        for k, place in ((253, 20), (254, 4000), (255, 4000)):
            self.routing.set_finger(k, peer(place))
        self.assertEqual(self.shown().fingers, peers(4000))

    def test_same_signature(self) -> None:
        """While nothing changes the signature of some seconds ago is shown again: signing costs."""
        first = self.statements.signed_table()
        self.now_ms += TABLE_FRESH_MS
        self.assertIs(self.statements.signed_table(), first)

    def test_signed_afresh(self) -> None:
        """Asked for after more than 10 s it is signed again, with a new seq and the present time."""
        first = self.shown()
        self.now_ms += TABLE_FRESH_MS + 1
        second = self.shown()
        self.assertGreater(second.seq, first.seq)
        self.assertEqual(second.time_ms, self.now_ms)

    def test_signed_late(self) -> None:
        """The time in a table is that of its signature, however long ago its content came to be."""
        self.assertTrue(self.statements.table.seq)
        self.now_ms += 3_600_000
        self.assertEqual(self.shown().time_ms, self.now_ms)

    def test_wall_clock_set_back(self) -> None:
        """A table is signed again when its time lies in the future: the wall clock was set back."""
        first = self.shown()
        self.now_ms -= 60_000
        second = self.shown()
        self.assertEqual(second.time_ms, self.now_ms)
        self.assertGreater(second.seq, first.seq)

    def test_changed(self) -> None:
        """After a change the new content is shown at once, with a new seq."""
        first = self.shown()
        self.change(7)
        second = self.shown()
        self.assertEqual(second.predecessor, peer(7))
        self.assertGreater(second.seq, first.seq)

    def test_table_object(self) -> None:
        """The table for our own use is the same object until something changes."""
        first = self.statements.table
        self.assertIs(self.statements.table, first)
        self.change(7)
        self.assertIsNot(self.statements.table, first)

    def test_present(self) -> None:
        """Whoever holds a table that says what the present one says need not be sent it, however often it was signed
        since; whoever holds an older one, another epoch's, or one to come, does.
        """
        first = self.shown()
        self.now_ms += 60_000
        second = self.shown()
        self.assertTrue(self.statements.is_present(7, first.seq))
        self.assertTrue(self.statements.is_present(7, second.seq))
        self.assertFalse(self.statements.is_present(7, second.seq + 1))
        self.assertFalse(self.statements.is_present(6, second.seq))
        self.assertFalse(self.statements.is_present(0, 0))
        self.change(7)
        self.assertFalse(self.statements.is_present(7, second.seq))

    def test_every_statement_has_its_seq(self) -> None:
        """Each signature has a seq of its own: two different statements never share one (that would be evidence)."""
        seqs = [self.shown().seq]
        seqs.append(unpack_status(IDENTITY, self.statements.not_member(Status.JOINING).body)[0].seq)
        seqs.append(unpack_lease(IDENTITY, self.leased(5).body)[0].seq)
        seqs.append(unpack_status(IDENTITY, self.statements.leave(Status.LEAVING).body)[0].seq)
        self.change(7)
        seqs.append(self.shown().seq)
        self.assertEqual(seqs, sorted(set(seqs)))

    def test_not_member(self) -> None:
        """The answer of a non-member says who, in which epoch, and why."""
        said = self.statements.not_member(Status.JOINING)
        stamp, status = unpack_status(IDENTITY, said.body)
        self.assertEqual((stamp.peer, stamp.epoch, stamp.time_ms, status), (peer(10), 7, NOW_MS, Status.JOINING))
        self.assertTrue(verify_simulated(self.signer.public, said.signature, said.body))

    def test_leave(self) -> None:
        """`Leave` is the same, unasked."""
        said = self.statements.leave(Status.LEAVING)
        self.assertEqual(unpack_status(IDENTITY, said.body)[1], Status.LEAVING)
        self.assertTrue(verify_simulated(self.signer.public, said.signature, said.body))

    def leased(self, place: int) -> Leased:
        said = self.statements.leased(peer(place))
        assert said is not None
        return said

    def test_lease(self) -> None:
        """A lease names a neighbour, and until when by the steady clock of this epoch."""
        self.steady_ms += 7
        for place in (20, 5):
            said = self.leased(place)
            stamp, neighbour, until_ms = unpack_lease(IDENTITY, said.body)
            self.assertEqual((stamp.peer, neighbour, until_ms), (peer(10), peer(place), 7 + LEASE_MS))
            self.assertTrue(verify_simulated(self.signer.public, said.signature, said.body))

    def test_no_lease(self) -> None:
        """Nobody is promised to be listed who is not."""
        self.assertIsNone(self.statements.leased(peer(40)))

    def test_holding(self) -> None:
        """What is kept is signed with the hash of its value, and nothing that has less while that binds."""
        kept = Record(bytes(32), b"value", RecordKind.PLAIN, Version(5, b""), 0, 3)
        self.steady_ms += 7
        said = self.statements.holding(kept.key, kept, 9, b"nonce")
        assert said is not None
        self.assertTrue(verify_simulated(self.signer.public, said.signature, said.body))
        shown = unpack_holding(IDENTITY, said.body)
        self.assertEqual((shown.stamp.peer, shown.signer, shown.key), (peer(10), self.signer.public, kept.key))
        self.assertEqual((shown.clock_ms, shown.until_ms, shown.held), (7, 16, held(kept)))
        self.assertEqual(shown.proof, proof_of(kept, b"nonce"))
        self.assertIsNone(self.statements.holding(kept.key, None, 0, b"nonce"))
        self.statements.begin_epoch(8)
        self.assertIsNotNone(self.statements.holding(kept.key, None, 0, b"nonce"))

    def test_gone(self) -> None:
        """Whom it has promised to list, and lists no more, is named as gone until the promise ends."""
        self.leased(20)
        self.routing.drop(peer(20))
        self.assertEqual(self.shown().gone, peers(20))
        self.steady_ms += LEASE_MS
        self.now_ms += TABLE_FRESH_MS + 1
        self.assertEqual(self.shown().gone, peers(20))
        self.steady_ms += 1
        self.now_ms += TABLE_FRESH_MS + 1
        self.assertEqual(self.shown().gone, ())

    def test_not_gone(self) -> None:
        """Who stands behind the end of a list that others have shortened is not left out."""
        self.leased(30)
        self.routing.drop(peer(30))
        self.assertEqual(self.shown().gone, ())

    def test_gone_predecessor(self) -> None:
        """So is a predecessor whose place is claimed by one farther away."""
        self.leased(5)
        self.change(3)
        self.assertEqual(self.shown().gone, peers(5))

    def test_new_epoch_owes_nothing(self) -> None:
        """Another run of the node has promised nothing, and its steady clock begins afresh."""
        self.leased(20)
        self.routing.drop(peer(20))
        self.statements.begin_epoch(8)
        self.assertEqual((self.shown().gone, self.shown().clock_ms), ((), 0))

    def test_begin_epoch(self) -> None:
        """In a new epoch everything is signed anew, seqs from the beginning; what was held of the old one is not
        present.
        """
        first = self.shown()
        self.statements.begin_epoch(8)
        self.assertFalse(self.statements.is_present(7, first.seq))
        second = self.shown()
        self.assertEqual((second.epoch, second.seq), (8, 1))
        expected = table(10, (20, 30), 5, epoch=8, seq=1, time_ms=NOW_MS)
        self.assertEqual(second, replace(expected, fingerprints=(UNPROVED, fingerprint_of(20), UNPROVED)))

    def test_longest(self) -> None:
        """The longest table there can be fits its frame: twice the most successors, the most fingers, all IPv6."""
        identity = Identity("n" * 255, Policy.IP)
        known = [identity.peer(f"2001:db8:{n:x}::1", 6401) for n in range(2 * SUCCESSORS_MAX + FINGERS_MAX + 2)]
        state = Routing(known[0], SUCCESSORS_MAX, spreads_fingers=False)
        state.join(known[1], known[1 : 2 * SUCCESSORS_MAX + 1], whole=True)
        self.assertEqual((state.whole, len(state.successors)), (True, 2 * SUCCESSORS_MAX))
        for k in range(FINGERS_MAX):
            state.set_finger(k, known[-1 - k])
        statements = Statements(identity, state, self.signer, lambda: 0, lambda whom: bytes(32), 7, lambda: 0)
        said = statements.signed_table()
        self.assertLess(len(encode(said)), TableIs.body_bytes_max)
        self.assertEqual(unpack_table(identity, said.body), statements.table)
