"""Members of one ring as replication sees them: pointers that are always right, links with faults, one clock.

Every question and answer goes through its bytes, which are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from random import Random

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from chordtwist.core.errors import Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.quotas import Quota
from chordtwist.core.records import Record, position_of
from chordtwist.core.ring import Arc, RingId, distance
from chordtwist.node.interfaces import IRecordStore, IRing
from chordtwist.node.records.hash_table import HashTable
from chordtwist.storage.memory import MemoryRecordStore
from chordtwist.wire.frames import OPENING_BYTES
from chordtwist.wire.peer_messages import Answer, NotMember, Question, Store, decode, encode
from tests.builders import IDENTITY, peer, places

DELAY_S = 0.01
"""One way."""

STEP_S = 0.005

WALL_MS = 1_800_000_000_000


def key_in(arc: Arc, number: int = 0) -> bytes:
    """A key whose position lies in `arc`; another one for each number."""
    return keys_in(arc, number + 1)[number]


def keys_in(arc: Arc, count: int) -> list[bytes]:
    """So many keys whose positions lie in `arc`, of at least a thousandth of the ring."""
    found: list[bytes] = []
    for attempt in range(2_000 * (count + 10)):
        key = sha256(b"%d" % attempt).digest()
        if position_of(key) in arc:
            found.append(key)
            if len(found) == count:
                return found
    raise AssertionError("the arc is too short")


@implementer(IRing)
class Member:
    """One member: what `Node` is to its `HashTable`.

    @ivar view: what it takes for the ring, when that is not the truth. @ivar skew_ms: by how much the time that
    it goes by is ahead. @ivar asked: every question it
    has put, with whom.
    """

    def __init__(self, ring: RecordRing, me: Peer, store: IRecordStore, quota: Quota | None) -> None:
        self.ring = ring
        self.me = me
        self.identity = IDENTITY
        self.is_member = True
        self.store = store
        self.view: list[Peer] | None = None
        self.skew_ms = 0
        self.asked: list[tuple[Peer, Question]] = []
        self.searches = 0
        self.records = HashTable(
            self,
            store,
            ring.clock,
            lambda: int(ring.clock.seconds() * 1000),
            Random(me.id),
            ring.parameters,
            default_ttl_s=3600,
            max_ttl_s=86_400,
            quota=quota,
            is_neighbour=ring.is_neighbour,
        )

    def _ring(self) -> list[Peer]:
        """Everybody, ourselves last, in the order in which they follow us."""
        members = self.ring.members if self.view is None else self.view
        return sorted(members, key=lambda peer: distance(self.me.id, peer.id) or 1 << 256)

    @property
    def predecessor(self) -> Peer | None:
        others = [peer for peer in self._ring() if peer != self.me]
        return others[-1] if others else None

    @property
    def successors(self) -> tuple[Peer, ...]:
        return tuple([peer for peer in self._ring() if peer != self.me][: self.ring.parameters.successors])

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        if peer == self.me:
            return self.records.replica.answer(peer, question)
        self.asked.append((peer, question))
        return self.ring.carry(self, peer, question)

    def tell(self, asker: Peer, question: Question) -> Answer:
        """What it answers at once."""
        told: list[Answer] = []
        self.records.replica.answer(asker, question).addCallback(told.append)
        return told[0]

    def known_route(self, position: RingId) -> Route | None:
        if not self.is_member or not self.ring.knows_routes:
            return None
        route = self.ring.route(position, self._ring())
        return replace(route, replicas=route.replicas[: self.ring.known_replicas_max])

    def find(self, position: RingId) -> Deferred[Route]:
        self.searches += 1
        if not self.is_member:
            return fail(Unreachable(None, "nobody can be asked"))
        found: Deferred[Route] = Deferred()
        self.ring.clock.callLater(2 * DELAY_S, lambda: found.callback(self.ring.route(position, self.ring.members)))
        return found

    def neighbours_time_ms(self) -> int:
        return self.skew_ms + self.ring.wall_ms()

    def questions(self, kind: type[Question]) -> list[tuple[Peer, Question]]:
        """Whom it has asked that kind of question."""
        return [(peer, question) for peer, question in self.asked if isinstance(question, kind)]


class RecordRing:
    """All members.

    @ivar silent: members that nothing comes from any more. @ivar refusing: those whose host resets links: the process
    died. @ivar lies: what members answer instead of the truth; None is the truth. @ivar bytes: plaintext bytes of all
    frames. @ivar lose: says of a question whether it is lost.
    """

    def __init__(
        self,
        *members: int,
        replication: int = 4,
        successors: int = 16,
        store: Callable[[], IRecordStore] = MemoryRecordStore,
        quota: Quota | None = None,
        is_neighbour: Callable[[Peer], bool] = lambda peer: True,
    ) -> None:
        self.clock = Clock()
        self.parameters = Parameters("test", IDENTITY.policy, successors, replication)
        self.members: list[Peer] = []
        self.nodes: dict[int, Member] = {}
        self.silent: set[Peer] = set()
        self.refusing: set[Peer] = set()
        self.slow_s: dict[Peer, float] = {}
        self.lies: dict[Peer, Callable[[Question], Answer | None]] = {}
        self.knows_routes = True
        self.known_replicas_max = successors
        self.bytes = 0
        self.lose: Callable[[Peer, Peer, Question], bool] = lambda asker, asked, question: False
        self._store = store
        self._quota = quota
        self.is_neighbour = is_neighbour
        for place in members:
            self.add(place)
        for node in self.nodes.values():
            node.records.joined(None)

    def wall_ms(self) -> int:
        """The wall time by every right clock."""
        return WALL_MS + int(self.clock.seconds() * 1000)

    def add(self, place: int) -> Member:
        """A member that is simply there."""
        member = Member(self, peer(place), self._store(), self._quota)
        self.members = sorted([*self.members, member.me], key=lambda peer: peer.id)
        self.nodes[place] = member
        member.records.start()
        self._changed()
        return member

    def join(self, place: int) -> Member:
        """A newcomer, as it goes live."""
        member = self.add(place)
        member.records.joined(member.successors[0])
        return member

    def die(self, place: int) -> None:
        """The process ends; everybody knows at once."""
        self.crash(place)
        self.forget(place)

    def crash(self, place: int) -> None:
        """The process ends, and nobody knows yet."""
        self.nodes[place].records.stop()
        self.refusing.add(peer(place))

    def forget(self, place: int) -> None:
        """The ring has closed behind it."""
        self.members.remove(peer(place))
        self._changed()

    def _changed(self) -> None:
        for node in self.nodes.values():
            node.records.ring_changed()

    def pass_time(self, seconds: float) -> None:
        """In small steps, so that everything happens in its order."""
        ends_s = self.clock.seconds() + seconds
        while self.clock.seconds() < ends_s - 1e-9:
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            step_s = min([ends_s - self.clock.seconds(), *(max(0.0, at - self.clock.seconds()) for at in due)])
            self.clock.advance(step_s)
        self.clock.advance(0)

    def route(self, position: RingId, members: list[Peer]) -> Route:
        """Who keeps a position, if these are all members."""
        behind = sorted(members, key=lambda peer: distance(position, peer.id))
        return Route(position, tuple(behind[: self.parameters.successors]))

    def carry(self, asker: Member, peer: Peer, question: Question) -> Deferred[Answer]:
        """A question, and its answer, through their bytes."""
        result: Deferred[Answer] = Deferred()
        given_up = self.clock.callLater(
            question.answer_within_s, lambda: result.errback(Unreachable(peer, "no answer in time"))
        )
        body = encode(question)
        self.bytes += OPENING_BYTES + len(body)
        assert len(body) <= question.body_bytes_max, question

        def arrives() -> None:
            if peer in self.silent or asker.me in self.silent or self.lose(asker.me, peer, question):
                return
            here = [node for node in self.nodes.values() if node.me == peer]
            if peer in self.refusing or not here:
                self.clock.callLater(DELAY_S, refused)
                return
            told = decode(question.kind, body)
            assert isinstance(told, Question)
            (node,) = here
            if not node.is_member:
                answered(NotMember(b"", bytes(64)))
                return
            lie = self.lies[peer](told) if peer in self.lies else None
            answer = node.records.replica.answer(asker.me, told) if lie is None else succeed(lie)
            answer.addCallbacks(answered, lambda failure: None)  # it stopped meanwhile

        def answered(answer: Answer) -> None:
            body = encode(answer)
            self.bytes += OPENING_BYTES + len(body)
            assert len(body) <= answer.body_bytes_max, answer
            self.clock.callLater(DELAY_S + self.slow_s.get(peer, 0), comes_back, answer.kind, body)

        def comes_back(kind: int, body: bytes) -> None:
            if given_up.active():
                given_up.cancel()
                answer = decode(kind, body)
                assert isinstance(answer, Answer)
                result.callback(answer)

        def refused() -> None:
            if given_up.active():
                given_up.cancel()
                result.errback(Unreachable(peer, "refused"))

        self.clock.callLater(DELAY_S, arrives)
        return result

    # What tests ask

    def node(self, place: int) -> Member:
        return self.nodes[place]

    def holders(self, key: bytes) -> list[int]:
        """The places of the members that keep a live record under `key`."""
        return [
            place
            for place, node in sorted(self.nodes.items())
            if node.me in self.members and isinstance(node.records.local_records.get(key), Record)
        ]

    def replicas(self, key: bytes, copies: int = 4) -> list[int]:
        """The places of those that should."""
        return sorted(places(self.route(position_of(key), self.members).replicas[:copies]))

    def value(self, place: int, key: bytes) -> bytes | None:
        """What lies there under `key`."""
        versioned = self.nodes[place].records.local_records.get(key)
        return versioned.value if isinstance(versioned, Record) else None

    def stores(self) -> int:
        """How many `Store` questions have been put by anybody."""
        return sum(len(node.questions(Store)) for node in self.nodes.values())
