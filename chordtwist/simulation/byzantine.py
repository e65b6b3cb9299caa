"""A ring in which a share of the nodes lies: what lookups, values and newcomers come to, in figures.

Nothing is expected of such a run but that no honest node breaks: it measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from chordtwist.core.peer import Peer
from chordtwist.core.ring import ID_BITS, RING_SIZE, RingId, distance
from chordtwist.simulation.adversaries import ATTACKS
from chordtwist.simulation.adversaries.coalition import Coalition
from chordtwist.simulation.chance import below, pick
from chordtwist.simulation.plain_chord import find_successor
from chordtwist.simulation.run import Run
from chordtwist.simulation.shares import Share
from chordtwist.simulation.values import Kept, Values
from chordtwist.simulation.workload import Churn
from chordtwist.simulation.world import LookupResult

LOOKUPS = 1000
VALUES = 200
"""Keys of each kind of record."""

JOINERS = 100

JOINER_S = 120.0
"""So long after its start a newcomer is looked at."""

JOINER_ASKS_S = 30.0
"""So long after its start a newcomer looks up random positions, so many as follow."""
JOINER_LOOKUPS = 3

APART_S = 0.02
"""Lookups begin so far apart."""

ANSWERED_S = 30.0
"""Whatever was asked has ended by then."""


@dataclass
class Joiners:
    """What became of newcomers whose every contact but one is a colluder."""

    members: Share = field(default_factory=Share)
    """Those that were members in time."""
    at_place: Share = field(default_factory=Share)
    """Those that the member before their place had as its head by then."""
    list_colluders: Share = field(default_factory=Share)
    """Entries of their lists that are colluders."""
    finger_colluders: Share = field(default_factory=Share)
    members_colluders: Share = field(default_factory=Share)
    """Members of the ring that are colluders, when the last one has joined."""
    lookups: Share = field(default_factory=Share)
    """Those of newcomers half a minute after their start, where the owner is honest."""

    def as_json(self) -> dict[str, object]:
        return {"asked": self.members.of, **{name: share.as_json() for name, share in vars(self).items()}}


@dataclass
class Figures:
    """What the coalition achieved."""

    lookups: Share = field(default_factory=Share)
    honest_owners: Share = field(default_factory=Share)
    """Of the lookups, those whose owner is honest."""
    victims: Share = field(default_factory=Share)
    """Lookups of keys that the victims own."""
    questions: int = 0
    plain_chord: Share = field(default_factory=Share)
    """The same lookups by `plain_chord`."""
    plain_chord_victims: Share = field(default_factory=Share)
    plain_chord_questions: int = 0
    values: dict[str, Kept] = field(default_factory=dict)
    """By kind of record."""
    joiners: Joiners = field(default_factory=Joiners)
    list_colluders: Share = field(default_factory=Share)
    """Entries of honest lists that are colluders; of 1,000 nodes a quarter of which lie it should be a quarter."""
    finger_colluders: Share = field(default_factory=Share)
    lists_right: Share = field(default_factory=Share)
    """Honest members whose list names the true next ones."""
    honest_members: Share = field(default_factory=Share)
    """Honest nodes that are members of the ring."""
    principals: int = 0

    def as_json(self) -> dict[str, object]:
        shares: dict[str, object] = {
            name: value.as_json() for name, value in vars(self).items() if isinstance(value, Share | Joiners)
        }
        return {
            **shares,
            "values": {kind: kept.as_json() for kind, kept in self.values.items()},
            "principals": self.principals,
            "questions_mean": round(self.questions / max(1, self.lookups.of), 3),
            "plain_chord_questions_mean": round(self.plain_chord_questions / max(1, self.plain_chord.of), 3),
        }


def under_attack(run: Run) -> None:
    """Grow a ring with liars in it, let it go on for the given minutes, and measure."""
    options, world = run.options, run.world
    coalition = Coalition(
        world, options.byzantine, ATTACKS[options.attack], to_all=options.how == "all", grown=options.grown
    )
    figures = run.figures = Figures()
    run.evictions.is_liar = coalition.__contains__
    world.grow(options.nodes)
    if not options.grown:
        world.settle(120.0)
    coalition.close()
    run.evictions.begin()
    coalition.begin()
    run.count_traffic()
    churn = None if options.session_median_s is None else Churn(world, options.session_median_s)
    if churn is not None:
        churn.begin()
    count = min(VALUES, options.nodes) if options.records is None else options.records
    values = Values(world, count, lambda: _any_honest(coalition), coalition.__contains__)
    figures.values = {kind.name.lower(): kept for kind, kept in values.kinds.items()}
    values.put()
    run.minutes()
    _look_at_ring(coalition, figures)
    _look_up(run, coalition, figures)
    values.get()
    _join(run, coalition, figures)


def _any_honest(coalition: Coalition) -> Peer | None:
    """Draw an honest member; None when there is none."""
    honest = coalition.honest()
    return pick(coalition.world.rng, honest) if honest else None


def _look_at_ring(coalition: Coalition, figures: Figures) -> None:
    world = coalition.world
    for peer, host in world.live.items():
        if peer in coalition:
            continue
        figures.honest_members.count(host.is_member)
        routing = host.node.routing
        for other in routing.successors:
            figures.list_colluders.count(other in coalition)
        for other in routing.fingers.values():
            figures.finger_colluders.count(other in coalition)
        true = coalition.members((peer.id + 1) % RING_SIZE)
        figures.lists_right.count(all(a == b for a, b in zip(routing.successors, true, strict=False)))
    figures.principals = world.check.principals()


def _look_up(run: Run, coalition: Coalition, figures: Figures) -> None:
    """Honest members look random positions up, then the victims' keys; each beside it as in plain Chord."""
    world = run.world
    count = LOOKUPS if run.options.lookups is None else run.options.lookups

    def once(position: RingId, share: Share, plain: Share) -> None:
        owner = world.check.owner(position)

        def told(result: LookupResult) -> None:
            is_right = _is_right(result)
            share.count(is_right)
            if share is figures.lookups:
                figures.questions += 0 if result.route is None else result.route.questions
                if owner is not None and owner not in coalition:
                    figures.honest_owners.count(is_right)

        asker = _any_honest(coalition)
        if asker is not None:
            believed, questions = find_successor(world, asker, position)
            plain.count(believed == owner)
            figures.plain_chord_questions += questions if plain is figures.plain_chord else 0
            world.find(asker, position, told)
        world.run(APART_S)

    for _ in range(count):
        once(world.rng.getrandbits(ID_BITS), figures.lookups, figures.plain_chord)
    ids = world.check.ids
    for number in range(count // 4 if coalition.attack.victims else 0):
        victim = coalition.attack.victims[number % len(coalition.attack.victims)]
        if victim in world.check.members:
            before = ids[ids.index(victim.id) - 1]
            position = (before + 1 + below(world.rng, distance(before, victim.id))) % RING_SIZE
            once(position, figures.victims, figures.plain_chord_victims)
    world.run(ANSWERED_S)


def _is_right(found: LookupResult) -> bool:
    return found.verdict in ("right", "explained")


def _join(run: Run, coalition: Coalition, figures: Figures) -> None:
    """Newcomers join one by one, told of three colluders and of one honest member, in any order; each is looked at two
    minutes after its start.
    """
    world, joiners = run.world, figures.joiners
    liars = [node.me for node in coalition.live()]
    before = coalition.honest()
    if not before:
        return

    def look(peer: Peer) -> None:
        host, pointers = world.live.get(peer), world.check.members.get(peer)
        if host is None:
            return
        joiners.members.count(host.is_member)
        joiners.at_place.count(pointers is not None and pointers.linked)
        for other in host.node.routing.successors:
            joiners.list_colluders.count(other in coalition)
        for other in host.node.routing.fingers.values():
            joiners.finger_colluders.count(other in coalition)

    def look_up(peer: Peer) -> None:
        for _ in range(JOINER_LOOKUPS if peer in world.check.members else 0):
            position = world.rng.getrandbits(ID_BITS)
            owner = world.check.owner(position)
            if owner is not None and owner not in coalition:
                world.find(peer, position, lambda found: joiners.lookups.count(_is_right(found)))

    for _ in range(min(JOINERS, max(1, run.options.nodes // 4))):
        told = [pick(world.rng, liars) for _ in range(3 if liars else 0)] + [pick(world.rng, before)]
        turn = below(world.rng, len(told))
        world.seed_peers = [*told[turn:], *told[:turn]]
        peer = world.start().peer
        world.after(JOINER_ASKS_S, partial(look_up, peer))
        world.after(JOINER_S, partial(look, peer))
        world.run(1.0)
    world.run(JOINER_S)
    for peer in world.check.members:
        joiners.members_colluders.count(peer in coalition)
