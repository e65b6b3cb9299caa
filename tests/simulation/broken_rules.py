"""The node with one rule broken on purpose, for one purpose only: the checks of the simulator must see it."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater

from chordtwist.core.own_place import OwnPlace
from chordtwist.core.peer import Peer
from chordtwist.core.records import Record, Versioned
from chordtwist.core.ring import Arc, distance
from chordtwist.core.table import Table
from chordtwist.node.node import Node
from chordtwist.node.records.local_records import LocalRecords
from chordtwist.node.records.repair import Repair
from chordtwist.node.records.stray_records import StrayRecords
from chordtwist.node.ring.joining import Joining
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.starting_over import InTheWay, StartOver
from chordtwist.wire.peer_messages import Answer, Question, Store

EVICTED_ONE_IN = 40

LATE_S = 4.0


class FillsFromFingers(Node):
    """Tops its list up, after a death, from everybody it has ever met."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.membership.__class__ = _MembershipFilledFromFingers


class EvictsPrivately(Node):
    """Throws live successors out by its own opinion, now and then, and never takes them back."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        chore = self.stabilizing.chore
        look_at_head, rng = chore._round, chore._rng
        banned: dict[Peer, None] = {}

        def evict() -> Deferred[bool]:
            if rng.random() * EVICTED_ONE_IN < 1 and len(self.routing.successors) > 1:
                banned[self.routing.successors[0]] = None
            return maybeDeferred(look_at_head).addCallback(lambda changed: self._throw_out(bool(changed), banned))

        chore._round = evict

    def _throw_out(self, changed: bool, banned: dict[Peer, None]) -> bool:
        for peer in banned:
            if peer in self.routing.successors:
                self.membership.drop(peer, "is dead")
        return changed


class JoinsLate(Node):
    """Breaks nothing: between its two reads of a list some seconds pass, as on a loaded host."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.bootstrap._joining.__class__ = _JoiningLate


class ReadsOnce(Node):
    """Joins large rings as late, with what it read first: the second read is left out."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.bootstrap._joining.__class__ = _JoiningReadsOnce


class IgnoresSmallRings(Node):
    """Joins rings of any size by the rules of large ones, which begin at r + 1 members."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.bootstrap._joining.__class__ = _JoiningLarge


class KeepsNoTombstones(Node):
    """Remembers nothing of what has expired, so that nothing keeps what it replaced from coming back."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.records.local_records.__class__ = _LocalRecordsWithoutTombstones


class TakesWhateverComes(Node):
    """Keeps what it was told last, whatever its version."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.records.local_records.__class__ = _LocalRecordsOfTheLast


class AgesSlowly(Node):
    """Takes ten seconds for nine."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.records.local_records.__class__ = _LocalRecordsThatAgeSlowly


class RepairsNothing(Node):
    """Leaves records where they are, whoever owns their places now."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.records.repair.__class__ = _NoRepair
        self.records.repair.stray_records.__class__ = _NoTidying


class ForgetsNothing(Node):
    """Remembers every record it was ever sent."""

    def answer(self, peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        if isinstance(question, Store):
            self.__dict__.setdefault("sent", []).append(question)
        return super().answer(peer, question)


class _MembershipFilledFromFingers(Membership):
    def drop(self, peer: Peer, why: str) -> None:
        met = self.__dict__.setdefault("met", {})
        routing = self._routing
        met.update(dict.fromkeys(routing.everybody()))
        met.pop(peer, None)
        before, me = len(routing.successors), routing.me
        super().drop(peer, why)
        if self.is_member and len(routing.successors) < before and not routing.whole and met:
            missing = before - len(routing.successors)
            behind = [other for other in met if other not in routing.successors]
            behind.sort(key=lambda other: distance(me.id, other.id))
            last = routing.successors[-1].id if routing.successors else me.id
            tail = [other for other in behind if distance(me.id, other.id) > distance(me.id, last)]
            routing._write(routing.predecessor, (*routing.successors, *tail[:missing]), False)


class _LocalRecordsWithoutTombstones(LocalRecords):
    def get(self, key: bytes) -> Versioned | None:
        versioned = super().get(key)
        return versioned if isinstance(versioned, Record) else None


class _LocalRecordsOfTheLast(LocalRecords):
    def take(
        self, versioned: Versioned, here: Versioned | None, host: str | None, first: str | None = None
    ) -> Deferred[None] | None:
        return super().take(versioned, None, host, first)


class _LocalRecordsThatAgeSlowly(LocalRecords):
    def now_ms(self) -> int:
        return super().now_ms() * 9 // 10


class _NoRepair(Repair):
    async def round(self) -> None:
        pass

    async def pull(self, old_owner: Peer) -> None:
        pass


class _NoTidying(StrayRecords):
    async def _bring_home(self, own: Arc) -> None:
        pass


class _JoiningLate(Joining):
    async def _be_admitted(self, owner: Peer, place: OwnPlace, in_the_way: InTheWay) -> None:
        await super()._be_admitted(owner, place, in_the_way)
        await deferLater(self._clock, LATE_S * self._rng.random())


class _JoiningReadsOnce(_JoiningLate):
    async def find_place(self, contacts: Iterable[Peer], alone: bool) -> OwnPlace:
        place = await super().find_place(contacts, alone)
        self.__dict__["first"] = place.predecessor
        return place

    async def _fetch(self, peer: Peer) -> Table:
        first: Table | None = self.__dict__["first"]
        return first if first is not None and first.peer == peer else await super()._fetch(peer)


class _JoiningLarge(Joining):
    async def _attempt(self, contacts: list[Peer], alone: bool, in_the_way: InTheWay) -> Peer:
        place = await self.find_place(contacts, alone)
        first = place.predecessor
        if first is None:
            raise StartOver
        followers = self._followers(first)
        await self._be_admitted(followers[0], place, in_the_way)
        again = await self._fetch(first.peer)
        if again.successors != first.successors:
            raise StartOver
        self._routing.join(first.peer, followers, whole=False)
        return followers[0]
