"""A node that lies, as a process: ``python -m tests.lying_build RING LIE run -c FILE``.

RING is a JSON file with the addresses of all nodes and of the liars. LIE is a file that names an attack: the node is
honest until it is there, and turns to another attack when it changes. It is the very node of the service, and the very
liar of the simulator, but for its links.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.task import LoopingCall

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.ring import RingId
from chordtwist.node.node import Node
from chordtwist.simulation.adversaries import ATTACKS
from chordtwist.simulation.adversaries.attack import Attack
from chordtwist.simulation.adversaries.coalition import Coalition
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.simulation.world import World

P2P_PORT = 6401


class KnownRing:
    """In place of a simulated world: what liars on real hosts would know, the ring's members and one another."""

    def __init__(self, hosts: list[str], successors: int, seconds: Callable[[], float]) -> None:
        self.identity = Identity("chordtwist", Policy.IP)
        self.parameters = Parameters(successors=successors)
        self.each_second: list[Callable[[], None]] = []
        self.build: Callable[..., Node] = Node
        self.members = {peer: None for peer in sorted((self.peer(host) for host in hosts), key=lambda peer: peer.id)}
        self.check = self
        self.hosts: dict[Peer, Any] = {}
        self.live = {peer: SimpleNamespace(node=None) for peer in self.members}
        self._seconds = seconds

    @property
    def now_s(self) -> float:
        return self._seconds()

    def peer(self, host: str) -> Peer:
        return self.identity.peer(host, P2P_PORT)

    def followers(self, position: RingId) -> Iterator[Peer]:
        """List the members at or behind a position, once around."""
        members = list(self.members)
        start = next((index for index, peer in enumerate(members) if peer.id >= position), 0)
        yield from members[start:] + members[:start]


class LyingProcess:
    """Makes the node of this process a liar."""

    def __init__(self, ring: Path, lie: Path, seconds: Callable[[], float]) -> None:
        told = json.loads(ring.read_text())
        self._lie = lie
        self._world = KnownRing(told["hosts"], told["successors"], seconds)
        self._coalition = Coalition(cast(World, self._world), 0.0, Attack, to_all=True, grown=False)
        for host in told["liars"]:
            self._coalition.enlist(self._world.peer(host))

    def build(self, me: Peer, *parts: Any) -> Node:
        """Build it, in place of the honest one."""
        node = self._coalition.build(me, *parts)
        assert isinstance(node, Liar), f"{me} is none of the liars"
        self._world.live[me].node = node
        LoopingCall(self._each_second).start(1.0, now=False)
        return node

    def _each_second(self) -> None:
        if self._lie.exists() and (name := self._lie.read_text()) in ATTACKS:
            coalition = self._coalition
            if not isinstance(coalition.attack, ATTACKS[name]):
                coalition.attack = ATTACKS[name](coalition)
                coalition.begin()
            for act in self._world.each_second:
                act()


if __name__ == "__main__":
    ring, lie = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
    from twisted.internet import reactor

    from chordtwist.app import service
    from chordtwist.app.cli import main

    service.Node = LyingProcess(ring, lie, reactor.seconds).build  # type: ignore[assignment, attr-defined]
    main()
