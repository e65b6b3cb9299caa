"""Who lies, to whom, and since when: the colluders of one simulated world, who know everything of one another."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

from chordtwist.core.peer import Peer
from chordtwist.core.ring import RingId
from chordtwist.core.signed import fingerprint
from chordtwist.core.table import FINGERPRINT_LENGTH
from chordtwist.node.node import Node
from chordtwist.simulation.adversaries.attack import Attack
from chordtwist.simulation.adversaries.liar import Liar
from chordtwist.simulation.world import World

RENTED = 1 << 16
"""Addresses that the coalition could use or invent."""


class Coalition:
    """The colluders of a world; it builds the nodes, and a given share of the addresses it meets are its own.

    They are given what real ones had to work for: the true members in order, and every key's fingerprint.
    """

    def __init__(self, world: World, share: float, attack: type[Attack], to_all: bool, grown: bool) -> None:
        """@param share: of all nodes, up to `close`.
        @param to_all: whether they lie to everybody; else they tell their ring neighbours the truth.
        @param grown: whether they lie from their first word; else from `begin`.
        """
        self.world = world
        self.share = share
        self.to_all = to_all
        self.awake = grown
        self.attack = attack(self)
        self._met: dict[Peer, bool] = {}
        self._closed = False
        self._ids: list[RingId] = []
        self._by_id: dict[RingId, Peer] = {}
        self._rented: list[Peer] = []
        world.build = self.build
        world.may_break = self.__contains__
        world.each_second.append(self._each_second)

    # Who is one of them

    def build(self, me: Peer, *parts: Any) -> Node:
        """Build the node at `me`: a liar, if that address is the coalition's."""
        if me not in self._met:
            number = len(self._met)
            if not self._closed and int((number + 1) * self.share) > int(number * self.share):
                self.enlist(me)
            else:
                self._met[me] = False
        return Liar(self, me, *parts) if self._met[me] else Node(me, *parts)

    def enlist(self, peer: Peer) -> None:
        """Take in an address, where nobody has run yet."""
        self._met[peer] = True
        insort(self._ids, peer.id)
        self._by_id[peer.id] = peer

    def __contains__(self, peer: Peer) -> bool:
        return self._met.get(peer, False)

    def close(self) -> None:
        """Take nobody in any more: whoever joins from now on is honest."""
        self._closed = True

    def begin(self) -> None:
        """Lie from now on."""
        self.awake = True
        self.attack.begin()

    def lies_to(self, liar: Liar, asker: Peer) -> bool:
        """Whether `asker` is told what the attack wants, not the truth."""
        return self.awake and asker not in self and (self.to_all or not liar.routing.is_near(asker))

    def _each_second(self) -> None:
        if self.awake:
            self.attack.each_second()

    # What they know

    def members(self, position: RingId) -> Iterator[Peer]:
        """List the true members at or behind `position`, once around."""
        return self.world.check.followers(position)

    def honest(self) -> list[Peer]:
        """List the honest members."""
        return [peer for peer in self.world.check.members if peer not in self]

    def live(self) -> list[Liar]:
        """List the colluders that run."""
        return [node for peer in self._by_id.values() if isinstance(node := self._node(peer), Liar)]

    def _node(self, peer: Peer) -> Node | None:
        host = self.world.live.get(peer)
        return None if host is None else host.node

    def colluders(self, position: RingId) -> Iterator[Peer]:
        """List the live colluders at or behind `position`, once around."""
        start = bisect_left(self._ids, position)
        for index in chain(range(start, len(self._ids)), range(start)):
            if (peer := self._by_id[self._ids[index]]) in self.world.live:
                yield peer

    def last_before(self, position: RingId) -> Peer:
        """Find the nearest colluder before `position`."""
        return self._by_id[self._ids[bisect_left(self._ids, position) - 1]]

    def invented(self, position: RingId, count: int) -> tuple[Peer, ...]:
        """Addresses where nobody is, the nearest behind `position` of those the coalition could think of."""
        if not self._rented:
            peer = self.world.identity.peer
            names = (f"172.{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(RENTED))
            self._rented = sorted((peer(name, 6401) for name in names), key=lambda peer: peer.id)
        start = bisect_left(self._rented, position, key=lambda peer: peer.id)
        return tuple(islice((*self._rented[start : start + count], *self._rented[:count]), count))

    def fingerprints(self, peers: Iterable[Peer]) -> tuple[bytes, ...]:
        """List the fingerprints of their keys; of who does not exist, some."""
        hosts = self.world.hosts
        return tuple(
            fingerprint(hosts[peer].link.public)
            if peer in hosts
            else blake2b(peer.packed, digest_size=FINGERPRINT_LENGTH).digest()
            for peer in peers
        )
