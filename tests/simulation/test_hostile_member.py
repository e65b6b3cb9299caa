"""One member of a ring that attacks all others, each way for a while: what the ring and its clients notice of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import RecordKind
from chordtwist.core.ring import RING_SIZE, position_bytes, position_from_bytes
from chordtwist.core.signed import table_content, table_opening
from chordtwist.core.small_ring import in_order
from chordtwist.core.table import UNPROVED, Table
from chordtwist.node.node import Node
from chordtwist.node.ring.admission import ANNOUNCE, LIVE
from chordtwist.simulation.chance import pick
from chordtwist.simulation.world import World
from chordtwist.wire.peer_messages import (
    Announce,
    Answer,
    Changed,
    Digest,
    GetTable,
    HandedOver,
    HandOver,
    Notify,
    Parts,
    Question,
    RecordBody,
    Summary,
    TableIs,
)
from tests.simulation.stranger import Stranger

MEMBERS = 20
EACH_WAY_S = 75
"""Of four ways to attack: five minutes in all."""

QUOTA = Quota(bytes_max=4 << 20)
"""What one address may leave at each node."""

INVENTED = 27
DIALS_PER_S_MAX = 5.0
KEYS = 40


class HostileMember:
    """A real member, but for some of its answers."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        return self._node.answer(peer, question)

    def link_lost(self, peer: Peer, reason: str) -> None:
        self._node.link_lost(peer, reason)

    def breach(self, peer: Peer, reason: str) -> None:
        self._node.breach(peer, reason)


class Liar(HostileMember):
    """Shows other tables than its own; `shown` makes them of it."""

    def __init__(self, node: Node, shown: Callable[[Table], Table]) -> None:
        super().__init__(node)
        self._shown = shown

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        answer = super().answer(peer, question)
        if not isinstance(question, GetTable) or not self._node.is_member:
            return answer
        statements = self._node.statements
        statements.seq += 1
        true = replace(statements.table, seq=statements.seq, time_ms=statements.table.time_ms + statements.seq)
        return signed(self._node, self._shown(true))


class Endless(HostileMember):
    """Says that it has a billion records in every arc, and hands large ones over without end."""

    handed_over = 0

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        if isinstance(question, Digest):
            return Parts([Summary(1 << 30, bytes(16))])
        if isinstance(question, HandOver):
            self.handed_over += 1
            after = position_from_bytes(question.after)
            keys = [position_bytes((after + n) % RING_SIZE) for n in range(1, 5)]
            return HandedOver([self._record(key) for key in keys], keys[-1])
        return super().answer(peer, question)

    def _record(self, key: bytes) -> RecordBody:
        version_ms, publisher = self._node.neighbours_time_ms(), self._node.me.packed
        return RecordBody(key, bytes(60_000), RecordKind.PLAIN, version_ms, publisher, 3_600_000, 255)


class Shown(Stranger):
    """A program that shows one table to everybody."""

    table: TableIs

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        return self.table if isinstance(question, GetTable) else super().answer(peer, question)


def signed(node: Node, table: Table) -> TableIs:
    """A table as the key of a node signs it."""
    return sign(node, table, node.statements._signer.sign)


def sign(node: Node, table: Table, by: Callable[[bytes], bytes]) -> TableIs:
    body = table_opening(node.identity, table) + table_content(table)
    return TableIs(body, by(body))


class HostileMemberTests(SynchronousTestCase):
    """A ring of 20 real nodes, one of which is hostile."""

    def setUp(self) -> None:
        """It has grown, and holds records that everybody else put."""
        self.world = World(7, Parameters(network="test", successors=16, replication=4))
        self.world.quota = QUOTA
        self.addCleanup(self.close)
        self.world.grow(MEMBERS)
        self.assertIsNotNone(self.world.settle(120))
        self.hostile, *self.honest = self.world.members()
        self.values = {bytes([number]) * 32: b"value %d" % number for number in range(KEYS)}
        for key, value in self.values.items():
            self.world.node(pick(self.world.rng, self.honest)).put(key, value)
        self.world.run(10)
        self.invented: dict[Peer, None] = {}
        self.dials: Counter[Peer] = Counter()
        self.gets = self.wrong = 0
        self.out: list[str] = []
        self.count_dials()
        self.world.each_second.append(self.look)

    def close(self) -> None:
        self.world.close()
        self.assertEqual(self.world.errors, [])

    def count_dials(self) -> None:
        """Count the questions that honest nodes put to addresses which are nobody's."""
        send = self.world.network.send

        def counted(asked: object) -> None:
            if asked.peer in self.invented:  # type: ignore[attr-defined]
                self.dials[asked.asker.me] += 1  # type: ignore[attr-defined]
            send(asked)  # type: ignore[arg-type]

        self.world.network.send = counted  # type: ignore[method-assign]

    def look(self) -> None:
        """Every second: is any honest node out of a list of another, and is a value read right?"""
        for peer in self.honest:
            missing = {*self.honest} - {*self.world.node(peer).successors, peer}
            self.out += [f"{self.world.now_s:.0f} s: {one} is not listed by {peer}" for one in missing]
        key = pick(self.world.rng, list(self.values))
        self.gets += 1

        def read(record: object) -> None:
            self.wrong += getattr(record, "value", None) != self.values[key]

        self.world.node(pick(self.world.rng, self.honest)).get(key).addBoth(read)

    def invent(self, count: int) -> list[Peer]:
        """Addresses that are nobody's, new ones each time."""
        peers = [self.world.address() for _ in range(count)]
        self.invented.update(dict.fromkeys(peers))
        return peers

    def show_invented(self, true: Table) -> Table:
        """A whole list of invented members among the true ones, others in each table."""
        named = in_order(true.peer, (*true.successors[:4], *self.invent(INVENTED)))
        return replace(true, successors=named, fingerprints=(UNPROVED,) * (len(named) + 1), whole=True, fingers=())

    def stranger(self, at: Peer) -> Stranger:
        """A program at an address that shows itself as the member before the first honest node."""
        stranger = Shown(self.world, at)
        signer = stranger.signer
        node = self.world.node(self.honest[0])
        named = in_order(at, (*self.honest, self.hostile))
        table = replace(
            node.statements.table,
            peer=at,
            key=signer.public,
            predecessor=named[-1],
            successors=named,
            fingerprints=(UNPROVED,) * (len(named) + 1),
        )
        stranger.table = sign(node, table, signer.sign)
        return stranger

    def assert_unharmed(self) -> None:
        """Nobody is out of a list, all gets were right, and few dials went to addresses that never answered."""
        self.world.run(15)
        self.assertEqual(([], 0), (self.out[:5], self.wrong), self.gets)
        self.assertGreater(self.gets, EACH_WAY_S)
        for peer in self.honest:
            self.assertLessEqual(self.dials[peer] / EACH_WAY_S, DIALS_PER_S_MAX, peer)

    def test_all_ways_in_turn(self) -> None:
        """It shows invented members; runs beside live ones at their addresses; has five say that they are live; hands
        over without end, also to a newcomer.
        """
        world = self.world
        host = world.live[self.hostile]
        host.link.answerer = Liar(host.node, self.show_invented)  # type: ignore[assignment]
        for _ in range(EACH_WAY_S):
            for peer in self.honest:
                host.link.ask(peer, Changed()).addErrback(lambda failure: None)
            world.run(1)
        self.assertGreater(len(self.invented), 1000)
        self.assertGreater(sum(self.dials.values()), 0)
        self.assert_unharmed()
        host.link.answerer = host.node
        beside = [self.stranger(world.identity.peer(peer.host, 7000)) for peer in self.honest[:5]]
        for _ in range(EACH_WAY_S):
            for stranger in beside:
                stranger.tell(self.honest, Announce(1, LIVE), Announce(1, ANNOUNCE), Notify(1))
            world.run(1)
        self.assert_unharmed()
        strangers = [self.stranger(world.address()) for _ in range(5)]
        for _ in range(EACH_WAY_S):
            for stranger in strangers:
                stranger.tell(self.honest, Announce(1, LIVE))
            world.run(1)
            for peer in self.honest:
                listed = {*world.node(peer).successors} & {stranger.me for stranger in strangers}
                self.assertEqual(set(), listed)
        self.assert_unharmed()
        for stranger in strangers:
            stranger.link.crash()
        endless = Endless(host.node)
        host.link.answerer = endless  # type: ignore[assignment]
        place = next(peer for peer in iter(world.address, None) if world.check.owner(peer.id) == self.hostile)
        newcomer = world.start(place).node  # its old owner is the hostile one
        world.run(EACH_WAY_S)
        self.assertGreater(endless.handed_over, 0)
        self.assertTrue(newcomer.is_member)
        self.assertFalse(newcomer.records.repair.pulling)
        for peer in self.honest:
            self.assertLess(world.live[peer].store.record_bytes(), 2 * QUOTA.bytes_max)
        self.assert_unharmed()
