"""The lookup of the Chord paper (Stoica et al., figure 5: `find_successor`), for comparison: one way from table to
table, on which whoever is asked is believed.

It goes over the ring that our rules keep, and over the very tables that our lookups are shown; what Chord's own upkeep
would have made of them by then is worse. A node that does not answer at once is passed over, as the paper says
(section IV.E.3). All of it takes no time, and the asker learns nothing by it.
"""

from __future__ import annotations

from chordtwist.core.lookup import HOPS_MAX
from chordtwist.core.peer import Peer
from chordtwist.core.ring import Arc, RingId, between, distance
from chordtwist.core.signed import unpack_table
from chordtwist.core.table import Table
from chordtwist.simulation.world import World
from chordtwist.wire.peer_messages import GetTable, TableIs


def find_successor(world: World, asker: Peer, position: RingId) -> tuple[Peer | None, int]:
    """Find whom `asker` takes for the owner of `position`, None where its way ends; and how many it has asked."""
    table = world.node(asker).statements.table
    silent: set[Peer] = set()
    for questions in range(HOPS_MAX):
        if not table.successors:
            return asker, questions
        if position in Arc(table.peer.id, table.successors[0].id):
            return table.successors[0], questions
        nearest = _closest_preceding(table, position, silent)
        if nearest is None:
            return None, questions
        shown = _shown(world, asker, nearest)
        if shown is None:
            silent.add(nearest)
        else:
            table = shown
    return None, HOPS_MAX


def _closest_preceding(table: Table, position: RingId, silent: set[Peer]) -> Peer | None:
    """Choose the nearest before `position` of all that the table names (`closest_preceding_node`)."""
    me = table.peer.id
    named = [peer for peer in (*table.successors, *table.fingers) if between(me, peer.id, position)]
    return max((peer for peer in named if peer not in silent), key=lambda peer: distance(me, peer.id), default=None)


def _shown(world: World, asker: Peer, peer: Peer) -> Table | None:
    host = world.live.get(peer)
    answer = None if host is None else host.node.answer(asker, GetTable(0, 0))
    return unpack_table(world.identity, answer.body) if isinstance(answer, TableIs) else None
