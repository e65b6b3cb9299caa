"""Draws docs/pictures, which docs/learn.rst shows, from rings in the simulator; a test holds the files against it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import hypot
from pathlib import Path
from random import Random
from typing import Any

from chordtwist.app.ring_picture import RADIUS, SIDE, at, framed
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.core.records import key_of, position_of
from chordtwist.core.ring import RING_SIZE, Arc, between, distance, finger_start
from chordtwist.simulation.world import World

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
NODES, FEW, MANY = 40, 2, 8
"""Of the larger ring; and the lengths of successor lists that are compared."""

SMALL_RING = 10
SETTLES_WITHIN_S = 300.0

_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.note{font-size:11px;fill:#666}.ring{fill:none;stroke:#bbb;"
    "stroke-width:2}.member{fill:#4c78a8}.me{fill:#f58518}.owner{fill:#54a24b}.dead{fill:#bbb}.cut{fill:#d62728}"
    ".chord{fill:none;stroke:#f58518;stroke-width:2}.back{fill:none;stroke:#4c78a8;stroke-width:2;stroke-dasharray:6 4}"
    ".mark{stroke:#999;stroke-width:2}.key{fill:none;stroke:#54a24b;stroke-width:3}"
    "@media(prefers-color-scheme:dark){svg{background:#131416}text{fill:#ddd}.note{fill:#aaa}.ring{stroke:#555}"
    ".dead{fill:#555}}"
)
_ARROW = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs>'
)


def pictures() -> dict[str, str]:
    """All of them, by the names of their files."""
    made = join()
    few, many = _ring(FEW), _ring(MANY)
    try:
        made |= {"fingers.svg": fingers(few), "lookup.svg": lookup(few)}
        made |= {"few-successors.svg": half_dead(few), "many-successors.svg": half_dead(many)}
    finally:
        few.close()
        many.close()
    return made


def fingers(world: World) -> str:
    """One node's fingers: where each begins, and whom it points to."""
    me = _well_connected(world)
    routing = world.node(me).routing
    shapes = _members(world.members(), {me: "me"})
    for peer in routing.successors:
        shapes.append(_chord(me, peer, "back"))
    for k, peer in sorted(routing.fingers.items()):
        shapes += [_mark(finger_start(me.id, k) / RING_SIZE, f"+ 2^{k}"), _chord(me, peer, "chord")]
    shapes.append(_words(f"{len(set(routing.fingers.values()))} fingers, {len(routing.successors)} successors"))
    return framed("The fingers of one node", [_ARROW, *shapes], _STYLE)


def lookup(world: World) -> str:
    """The way to a key by what each node on it knows: the nearest before the key."""
    here = _well_connected(world)
    position = next(
        place
        for place in (position_of(key_of(f"key {number}")) for number in range(1000))
        if 0.86 < distance(here.id, place) / RING_SIZE < 0.9
    )
    way = [here]
    while True:
        routing = world.node(way[-1]).routing
        head = routing.head
        assert head is not None
        if position in Arc(way[-1].id, head.id):
            way.append(head)
            break
        way.append(
            min(
                (peer for peer in routing.everybody() if between(way[-1].id, peer.id, position)),
                key=lambda peer: distance(peer.id, position),
            )
        )
    shapes = _members(world.members(), {here: "me", way[-1]: "owner"})
    shapes += [_chord(one, other, "chord") for one, other in pairwise(way)]
    x, y = at(position / RING_SIZE, RADIUS)
    shapes.append(f'<circle class="key" cx="{x:.1f}" cy="{y:.1f}" r="8"/>')
    x, y = at(position / RING_SIZE, RADIUS + 40)
    shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">key</text>')
    shapes.append(_words(f"{len(way) - 1} hops among {len(world.members())} nodes"))
    return framed("A lookup, hop by hop", [_ARROW, *shapes], _STYLE)


def join() -> dict[str, str]:
    """A newcomer joins a small ring: what it, the node before and the node behind point at, as it changes."""
    world = World(3, Parameters(network="simulation", successors=MANY, replication=3))
    try:
        steps: list[Mapping[str, Any]] = []
        world.trace_ring = steps.append
        world.grow(SMALL_RING)
        if world.settle(SETTLES_WITHIN_S) is None:
            raise RuntimeError("the ring did not settle")
        members = {str(peer): peer for peer in world.members()}
        heads = {peer: world.node(peer).routing.head for peer in members.values()}
        befores = {peer: world.node(peer).routing.predecessor for peer in members.values()}
        del steps[:]
        newcomer = world.start().peer
        before = min(members.values(), key=lambda peer: distance(peer.id, newcomer.id))
        behind = heads[before]
        assert behind is not None
        members[str(newcomer)] = newcomer
        if world.settle(SETTLES_WITHIN_S) is None:
            raise RuntimeError("the newcomer did not join")
    finally:
        world.close()

    def drawn(number: int, words: str) -> str:
        shapes = _members(members.values(), {newcomer: "me"})
        for peer in before, newcomer, behind:
            if heads.get(peer) is not None:
                shapes.append(_chord(peer, heads[peer], "chord", 0.1))
            if befores.get(peer) is not None:
                shapes.append(_chord(peer, befores[peer], "back", 0.4))
        return framed(f"Join, step {number}: {words}", [_ARROW, *shapes, _words(words)], _STYLE)

    made = {"join-1.svg": drawn(1, "the newcomer has found its place")}
    told = {
        before: "the node before takes it into its list",
        newcomer: "it is a member",
        behind: "the node behind takes it for its predecessor",
    }
    for step in steps:
        peer = members[step["node"]]
        if peer not in told or "successors" not in step:
            continue
        was = heads.get(peer), befores.get(peer)
        heads[peer] = members[step["successors"][0]]
        befores[peer] = members[step["predecessor"]]
        if was != (heads[peer], befores[peer]):
            number = len(made) + 1
            made[f"join-{number}.svg"] = drawn(number, told[peer])
    return made


def half_dead(world: World) -> str:
    """Every second node dies at one instant: who of the others has no live successor left?"""
    everybody = sorted(world.members(), key=lambda peer: peer.id)
    chance = Random(5)
    dead = set(chance.sample(everybody, len(everybody) // 2))
    cut = [peer for peer in everybody if peer not in dead and dead.issuperset(world.node(peer).routing.successors)]
    entries = max(len(world.node(peer).routing.successors) for peer in everybody)
    kinds = dict.fromkeys(dead, "dead") | dict.fromkeys(cut, "cut")
    words = f"lists of {entries}: {len(cut)} of {len(everybody) - len(dead)} survivors are cut off"
    return framed("Half of a ring dies", [*_members(everybody, kinds), _words(words)], _STYLE)


def _ring(successors: int) -> World:
    """A settled ring; its nodes have found their fingers."""
    world = World(4, Parameters(network="simulation", successors=successors, replication=2))
    world.grow(NODES)
    if world.settle(SETTLES_WITHIN_S) is None:
        raise RuntimeError("the ring did not settle")
    return world


def _well_connected(world: World) -> Peer:
    """The node with the most fingers, of those the one at the lowest place."""
    return min(world.members(), key=lambda peer: (-len(set(world.node(peer).routing.fingers.values())), peer.id))


def _members(peers: Iterable[Peer], kinds: Mapping[Peer, str]) -> list[str]:
    shapes = [f'<circle class="ring" cx="{SIDE / 2}" cy="{SIDE / 2}" r="{RADIUS}"/>']
    for peer in sorted(peers, key=lambda peer: peer.id):
        kind = kinds.get(peer, "member")
        x, y = at(peer.id / RING_SIZE, RADIUS)
        shapes.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{5 if kind == "member" else 7}"/>')
    return shapes


def _chord(one: Peer, other: Peer | None, kind: str, bend: float = 0.25) -> str:
    """An arrow through the circle, bent towards its middle by that share of its length."""
    assert other is not None
    (x0, y0), (x1, y1) = (at(peer.id / RING_SIZE, RADIUS - 8) for peer in (one, other))
    x, y = (x0 + x1) / 2 - SIDE / 2, (y0 + y1) / 2 - SIDE / 2
    inwards = bend * hypot(x1 - x0, y1 - y0) / max(hypot(x, y), 1)
    x, y = SIDE / 2 + x * max(1 - inwards, 0), SIDE / 2 + y * max(1 - inwards, 0)
    return f'<path class="{kind}" d="M{x0:.1f} {y0:.1f}Q{x:.1f} {y:.1f} {x1:.1f} {y1:.1f}" marker-end="url(#tip)"/>'


def _mark(turn: float, words: str) -> str:
    (x0, y0), (x1, y1), (x, y) = (at(turn, RADIUS + out) for out in (-6, 14, 30))
    line = f'<line class="mark" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'
    return f'{line}<text class="note" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{words}</text>'


def _words(words: str) -> str:
    return f'<text x="{SIDE / 2}" y="{SIDE - 24}" text-anchor="middle">{words}</text>'


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, picture in pictures().items():
        (FOLDER / name).write_text(picture)
