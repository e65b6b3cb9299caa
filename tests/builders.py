"""Scenes for tests: peers whose place can be read off their address, tables, routing states, and one node's network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import Random

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from chordtwist.core.conduct import Conduct
from chordtwist.core.liveness import Liveness
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.ring import ID_BITS, RingId
from chordtwist.core.routing import Routing
from chordtwist.core.signed import Signer, Stamp, Status, fingerprint, pack_status, table_content, table_opening
from chordtwist.core.table import UNPROVED, Table
from chordtwist.node.ring.asking import Asking
from chordtwist.node.ring.dial_limits import DialLimits
from chordtwist.node.ring.joining import Joining
from chordtwist.node.ring.membership import Membership
from chordtwist.node.ring.probing import Probing
from chordtwist.node.ring.searches import Searches
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.simulation.chance import constant
from chordtwist.simulation.clock import HeapClock
from chordtwist.simulation.faults import Cut
from chordtwist.simulation.link import SimulatedLink
from chordtwist.simulation.network import SimulatedNetwork
from chordtwist.simulation.signer import SimulatedSigner
from chordtwist.simulation.trace import Trace
from chordtwist.wire.peer_messages import Answer, GetTable, JoinFailure, NotMember, Question, TableIs
from tests.contracts import ScriptedAnswers

Reply = Callable[[Peer, Question], "Answer | Deferred[Answer]"]

PLACE_BITS = 16
"""Test peers stand at multiples of ``2**(ID_BITS - PLACE_BITS)``."""

PORT = 6401


def take_turn(clock: Clock) -> None:
    """Do what is due now as the reactor does: what is begun meanwhile waits for the next turn, due or not."""
    for call in [call for call in clock.getDelayedCalls() if call.getTime() <= clock.seconds()]:
        if call.active():
            assert isinstance(call, DelayedCall)
            function, given, named = call.func, call.args, call.kw
            call.cancel()
            function(*given, **named)


def at(place: int) -> RingId:
    """The position of a place: the circle has 65,536 of them, clockwise."""
    return (place % (1 << PLACE_BITS)) << (ID_BITS - PLACE_BITS)


class PlacedIdentity(Identity):
    """Places by address instead of by its hash: 10.0.a.b stands at place ``256 * a + b``, whatever its port."""

    def _unpack(self, packed: bytes) -> Peer:
        peer = super()._unpack(packed)
        return Peer(at(int.from_bytes(packed[2:4], "big")), peer.host, peer.port, packed)


IDENTITY = PlacedIdentity("test", Policy.IP)


def peer(place: int, port: int = PORT) -> Peer:
    """The peer at a place, 0 to 65,535."""
    return IDENTITY.peer(f"10.0.{place >> 8}.{place & 255}", port)


def peers(*places: int) -> tuple[Peer, ...]:
    """The peers at these places, in this order."""
    return tuple([peer(place) for place in places])


def places(found: Iterable[Peer]) -> list[int]:
    """The places at which peers stand: what an assertion about peers is readable in."""
    return [peer.id >> (ID_BITS - PLACE_BITS) for peer in found]


def signer(of: Peer) -> Signer:
    """The key of a test peer."""
    return SimulatedSigner(of.packed)


def table(
    owner: int,
    successors: Iterable[int] = (),
    predecessor: int | None = None,
    whole: bool = False,
    fingers: Iterable[int] = (),
    epoch: int = 1,
    seq: int = 1,
    time_ms: int = 0,
) -> Table:
    """The table of the peer at `owner`; all other peers by their places too."""
    me = peer(owner)
    listed = peers(*successors)
    neighbours = len(listed) + (predecessor is not None)
    return Table(
        peer=me,
        epoch=epoch,
        seq=seq,
        time_ms=time_ms,
        key=signer(me).public,
        whole=whole,
        predecessor=None if predecessor is None else peer(predecessor),
        successors=listed,
        fingers=peers(*fingers),
        fingerprints=(UNPROVED,) * neighbours,
    )


def routing(
    me: int,
    successors: Iterable[int] = (),
    predecessor: int | None = None,
    whole: bool = False,
    entries_max: int = 3,
) -> Routing:
    """The routing state of a member in the midst of things."""
    state = Routing(peer(me), entries_max)
    state.join(peer(0), peers(*successors), whole)
    state.predecessor = None if predecessor is None else peer(predecessor)
    return state


def is_alone(state: Routing) -> bool:
    """Whether this is a ring of one."""
    return state.whole and not state.successors


def whole_ring(*members: int) -> dict[int, Table]:
    """The tables of all members of a small ring in its ideal state, by place; `members` in clockwise order."""
    count = len(members)
    return {
        place: table(
            place,
            [members[(index + step) % count] for step in range(1, count)],
            members[index - 1] if count > 1 else None,
            whole=True,
        )
        for index, place in enumerate(members)
    }


def large_ring(entries: int, *members: int) -> dict[int, Table]:
    """The same for a ring too large for whole lists: `entries` successors each."""
    count = len(members)
    return {
        place: table(place, [members[(index + step) % count] for step in range(1, entries + 1)], members[index - 1])
        for index, place in enumerate(members)
    }


def fingerprint_of(place: int) -> bytes:
    """How a table names the key of the peer at a place."""
    return fingerprint(signer(peer(place)).public)


def pack_table(identity: Identity, table: Table) -> bytes:
    """The bytes of a table, as one signs them."""
    return table_opening(identity, table) + table_content(table)


def signed(table: Table, by: Signer | None = None) -> TableIs:
    """A table as its owner shows it, signed with its key, or with another's."""
    body = pack_table(IDENTITY, table)
    return TableIs(body, (by or signer(table.peer)).sign(body))


def busy(better: bytes = b"") -> JoinFailure:
    """What a member says while another newcomer has its slot."""
    return JoinFailure("another newcomer has the slot", busy=True, better=better)


def not_member(
    place: int, status: Status = Status.JOINING, epoch: int = 1, seq: int = 1, by: Signer | None = None
) -> NotMember:
    """The signed word of the peer at a place that it is no member."""
    body = pack_status(IDENTITY, Stamp(peer(place), epoch, seq, 0), status)
    return NotMember(body, (by or signer(peer(place))).sign(body))


class ScriptedMembership(Membership):
    """The status of a node as a test sets it; notes through whom it was to rejoin."""

    def __init__(self) -> None:
        self.status = Status.MEMBER
        self.rejoined: list[list[int]] = []

    def rejoin(self, through: Iterable[Peer] = ()) -> None:
        self.rejoined.append(places(through))


def newcomer(scene: Neighbourhood, routing: Routing, statements: Statements, tables: Tables) -> Joining:
    """The newcomer's side of joining, of the node whose state this is."""
    link, clock, rng = scene.link, scene.link.clock, Random(1)
    limits = DialLimits(lambda peer: True, clock)
    liveness = Liveness(3.0)
    asking = Asking(link, liveness, limits, lambda peer, said: None, clock.seconds)
    probing = Probing(asking.ask, liveness, routing.everybody, lambda peer: None, clock, rng)
    searches = Searches(lambda: False, routing, statements, tables, Conduct(clock.seconds), limits, clock, rng, 4)
    return Joining(
        IDENTITY,
        routing,
        statements,
        tables,
        asking.ask,
        searches.find_place,
        probing.is_dead,
        clock,
        rng,
    )


class Neighbourhood:
    """Our host and others on a simulated network, 10 ms apart; what the others answer is up to the test.

    `others` has what each was asked, and how it replies, by its place.
    """

    def __init__(self, me: int, *others: int) -> None:
        self.clock = HeapClock()
        self.network = SimulatedNetwork(self.clock, Random(1), Trace(), constant(10_000))
        self.me = peer(me)
        self.ours = ScriptedAnswers()
        self.link = self.start(self.me, self.ours)
        self.others: dict[int, ScriptedAnswers] = {}
        self.links: dict[int, SimulatedLink] = {}
        for place in others:
            self.others[place] = ScriptedAnswers()
            self.links[place] = self.start(peer(place), self.others[place])

    def start(self, peer: Peer, answers: ScriptedAnswers) -> SimulatedLink:
        """Another host."""
        link = self.network.link(peer, signer(peer).public)
        link.listen(answers)
        return link

    def reply(self, place: int, reply: Answer | Callable[[Question], Answer | Deferred[Answer]]) -> None:
        """From now on the peer at a place answers everything with this."""
        self.others[place].reply = lambda _, question: reply(question) if callable(reply) else reply

    def show(self, *tables: Table) -> None:
        """From now on the owners of these tables answer `GetTable` with them, and all else as before."""
        for shown in tables:
            answers = self.others[places([shown.peer])[0]]
            answers.reply = partial(_shows, signed(shown), answers.reply)

    def asked(self, place: int) -> list[Question]:
        """What the peer at a place was asked up to now."""
        return [question for _, question in self.others[place].asked]

    def silence(self, *silent: int) -> None:
        """Nothing reaches these peers any more, and nobody says so."""
        for place in silent:
            self.network.faults.install(Cut(self.me, peer(place)))

    @property
    def now_s(self) -> float:
        return self.clock.now_us / 1e6

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run_until(self.clock.now_us + int(seconds * 1e6))


def _shows(shown: TableIs, otherwise: Reply, asker: Peer, question: Question) -> Answer | Deferred[Answer]:
    return shown if isinstance(question, GetTable) else otherwise(asker, question)


def lines(events: Iterable[LogEvent], level: str = "info") -> list[str]:
    """What was logged at a level, as a reader sees it."""
    return [
        event["log_format"].format(**event)
        for event in events
        if event["log_level"].name == level and event.get("log_format")
    ]
