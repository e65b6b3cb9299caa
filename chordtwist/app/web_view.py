"""What the page shows of a node: where everybody stands whom it knows, what it keeps, and lookups as they happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.records import position_of
from chordtwist.core.ring import RING_SIZE, Arc, RingId
from chordtwist.node.interfaces import IDht
from chordtwist.node.node import Node
from chordtwist.node.ring.searches import Step

SHOWN_MAX = 400
"""Members in one picture: some 100 bytes each."""

BINS = 120
"""Parts of the circle that are shaded by the records in them."""

SCANNED_MAX = 2_000
"""Records looked at for the shades; of more, so many behind one place after another."""

SCANNED_AGAIN_S = 10.0
PINGED_AGAIN_S = 5.0
"""However many pages ask, peers are asked for a sign of life no more often."""

Tell = Callable[[dict[str, object]], None]


def place_of(position: RingId) -> float:
    """Say where on the circle a position is: from 0 to 1, clockwise."""
    return round(position / RING_SIZE, 6)


class NodeView:
    """One node, as the page shows it.

    @ivar address: where other nodes reach it. @ivar dht: its hash table.
    @ivar now_ms: reads the clock that the lives of records are counted on.
    @ivar config: every option in force, by section, without secrets.
    """

    def __init__(
        self,
        node: Node,
        dht: IDht,
        config: Mapping[str, Mapping[str, str]],
        clock: IReactorTime,
    ) -> None:
        self.address = str(node.me)
        self.dht = dht
        self.now_ms = node.records.local_records.now_ms
        self.status = cast(Callable[[], Mapping[str, Any]], dht.status)
        self.config = config
        self.inspect = node.inspection.inspect
        self.trace = node.inspection.trace
        self.ring = node.inspection.ring
        self._node = node
        self._clock = clock
        self._tell: Tell | None = None
        self._shades: list[int] = []
        self._shaded_s = float("-inf")
        self._waiting: list[Deferred[list[dict[str, object]]]] = []
        self._pinged_s = float("-inf")
        self._peers: list[dict[str, object]] | None = None

    @property
    def is_member(self) -> bool:
        """Whether it is a member of the ring now."""
        return self._node.is_member

    # Pictures

    def itself(self) -> dict[str, object]:
        """Show the node among others of its process: its place, the beginning of its arc, how many records it keeps."""
        node = self._node
        predecessor = node.predecessor
        return {
            "address": self.address,
            "place": place_of(node.me.id),
            "after": None if predecessor is None else place_of(predecessor.id),
            "member": node.is_member,
            "since_ms": node.statements.epoch,
            "records": node.records.local_records.store.records(),
        }

    def picture(self) -> dict[str, object]:
        """Show everybody whom the node knows, neighbours and fingers first, and how its records lie."""
        node = self._node
        roles = self._roles()
        others = (peer for peer in self._node.tables.book if peer not in roles)
        more = dict.fromkeys(islice(others, max(0, SHOWN_MAX - len(roles))), "known")
        return {
            "network": node.identity.network,
            "me": self.address,
            "members": round(node.members_estimate()),
            "nodes": [
                {
                    "address": str(peer),
                    "place": place_of(peer.id),
                    "role": role,
                    "silent": node.liveness.is_silent(peer),
                    "since_ms": node.statements.epoch if peer == node.me else node.tables.epoch_of(peer),
                }
                for peer, role in {**roles, **more}.items()
            ],
            "records": node.records.local_records.store.records(),
            "shades": self._shades_now(),
        }

    def _roles(self) -> dict[Peer, str]:
        routing = self._node.routing
        roles = {self._node.me: "me"}
        for rank, peer in enumerate(routing.successors, 1):
            roles.setdefault(peer, f"successor {rank}")
        if routing.predecessor is not None:
            roles.setdefault(routing.predecessor, "predecessor")
        for k, peer in sorted(routing.fingers.items()):
            roles.setdefault(peer, f"finger {k}")
        return roles

    def _shades_now(self) -> list[int]:
        if self._clock.seconds() - self._shaded_s >= SCANNED_AGAIN_S:
            self._shaded_s = self._clock.seconds()
            store = self._node.records.local_records.store
            shades = [0] * BINS
            # Where there are too many, each part of the circle has its share of the looks.
            parts = 1 if store.records() <= SCANNED_MAX else 20
            for part in range(parts):
                arc = Arc(RING_SIZE * part // parts - 1 if part else RING_SIZE - 1, RING_SIZE * (part + 1) // parts - 1)
                for entry in islice(store.scan(arc), SCANNED_MAX // parts):
                    shades[position_of(entry.key) * BINS // RING_SIZE] += 1
            self._shades = shades
        return self._shades

    # Lookups

    def watch(self, tell: Tell | None) -> None:
        """Tell of lookups from now on: what clients ask, and what the node searches; None to end it."""
        self._tell = tell
        self._node.searches.watch = None if tell is None else self._searched

    def asked(self, what: str, key: bytes) -> None:
        """Hear that a client asks for a key."""
        if self._tell is not None:
            position = position_of(key)
            route = self._node.known_route(position)
            way = [] if route is None else [str(route.owner)]
            self._tell({"what": what, "key": key.hex(), "place": place_of(position), "way": [self.address, *way]})

    def _searched(self, position: RingId, route: Route | None, steps: list[Step]) -> None:
        if self._tell is not None:
            way = [str(step.peer) for step in steps]
            owner = None if route is None else str(route.owner)
            self._tell({"what": "search", "place": place_of(position), "way": [self.address, *way], "owner": owner})

    # Peers

    def peers(self) -> Deferred[list[dict[str, object]]]:
        """Ask neighbours and fingers for a sign of life, as `Inspection.ping`, or tell what they gave a moment ago."""
        if self._clock.seconds() - self._pinged_s >= PINGED_AGAIN_S:
            self._pinged_s, self._peers = self._clock.seconds(), None
            self._node.inspection.ping(None, 1).addCallbacks(self._have_pinged, lambda failure: self._have_pinged([]))
        if self._peers is not None:
            return succeed(self._peers)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def _have_pinged(self, peers: list[dict[str, object]]) -> None:
        self._peers = peers
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            if not told.called:
                told.callback(peers)
