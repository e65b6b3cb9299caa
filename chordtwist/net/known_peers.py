"""The peers that a node has links with: which of them are proved, and over which link each is asked.

It decides and does nothing else: no clock, no transport, nobody to tell. `net.peer_pool` acts on what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast
from typing import Protocol as Shape

from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Refused
from chordtwist.core.peer import Peer
from chordtwist.net.introduction import Met

PROOFS_MAX = 16_384
"""Peers whose proof is remembered while there is no link to them."""


class KnownLink(Shape):
    """What has to be known of a link.

    @ivar dialled: the peer we dialled to get it; None when the other side dialled us.
    @ivar handshaken: who the other side has shown to be.
    @ivar heard_at: when anything was last heard.
    @ivar is_proved: whether our own dial has met the key of the other side at its address; `KnownPeers` says so.
    """

    dialled: Peer | None
    handshaken: Met | None
    heard_at: float
    is_proved: bool


L = TypeVar("L", bound=KnownLink)


@dataclass(frozen=True, slots=True)
class Proof:
    """The key that our own dial has met at a peer's address, the run it met, and when that process was last heard over
    links that have ended.
    """

    key: bytes
    epoch: int
    heard_at: float = 0.0


def why_not_believed(proof: Proof | None, met: Met, is_linked: bool, now: float, dead_after_s: float) -> str | None:
    """Say what stands against the key that our own dial has met at an address; None when nothing does.

    Another key than before is believed once the link to the process with the old one is gone and this is a later run,
    or that process was silent for as long as makes a peer dead: restarts without a state directory are ordinary, but
    nobody takes a live peer's place.

    @param is_linked: whether a link to the process with the old key stands.
    """
    if proof is None or proof.key == met.key:
        return None
    silent_s = now - proof.heard_at
    if not is_linked and (met.epoch > proof.epoch or silent_s >= dead_after_s):
        return None
    return f"another key than that of the node heard there {silent_s:.1f} s ago"


def link_to_ask(links: Sequence[L], we_dial: bool) -> L | None:
    """Choose the one of the links to a peer that it is asked over; None while it is not proved.

    Both sides keep the link that the lower id dialled, so they agree without a word; the newest, where the other side
    lost one that we still hold.

    @param links: in the order in which they were made.
    @param we_dial: whether ours is the lower id.
    """
    proved = [link for link in links if link.is_proved]
    kept = [link for link in proved if (link.dialled is not None) is we_dial] or proved
    return kept[-1] if kept else None


class KnownPeers(Generic[L]):
    """What one node knows of its peers, from the Hellos on its links.

    @ivar asking: the link that each proved peer is asked over, by its packed address.
    """

    def __init__(self, me: Peer, dead_after_s: float) -> None:
        self.asking: dict[bytes, L] = {}
        self._me = me
        self._dead_after_s = dead_after_s
        self._links: dict[bytes, list[L]] = {}
        self._proofs: dict[bytes, Proof] = {}  # of peers that there are links with
        self._remembered: Bounded[bytes, Proof] = Bounded(PROOFS_MAX)  # of the others
        self._homes: Bounded[str, None] = Bounded(PROOFS_MAX)  # IP addresses of both

    def __len__(self) -> int:
        """How many peers are proved."""
        return len(self._proofs) + len(self._remembered)

    def __contains__(self, link: L) -> bool:
        return link.handshaken is not None and link in self._links.get(link.handshaken.peer.packed, ())

    def key_of(self, peer: Peer) -> bytes | None:
        """Look up the key that a peer was last proved with; None when it never was."""
        proof = self._proof(peer.packed)
        return None if proof is None else proof.key

    def is_home(self, host: str) -> bool:
        """Say whether a peer that was proved lately lives at an IP address."""
        return host in self._homes

    def add(self, link: L, now: float) -> None:
        """Take in a link whose other side has said a good Hello; if we dialled it, that proves the peer.

        @raise Refused: it shows another key than the one its address was proved with.
        """
        met = cast(Met, link.handshaken)
        address = met.peer.packed
        links = self._links.get(address, [])
        proof = self._proof(address)
        if link.dialled is not None:
            is_linked = any(one.is_proved for one in links)
            reason = why_not_believed(proof, met, is_linked, now, self._dead_after_s)
            if reason is not None:
                raise Refused(reason)
            is_known = proof is not None and proof.key == met.key
            proof = Proof(met.key, met.epoch, proof.heard_at if proof is not None and is_known else 0.0)
        self._links[address] = links = [*links, link]
        if proof is not None:
            self._remembered.pop(address, None)
            self._proofs[address] = proof
            self._homes[met.peer.host] = None
            for one in links:
                one.is_proved = cast(Met, one.handshaken).key == proof.key
        self._choose(met.peer)

    def remove(self, link: L) -> bool:
        """Forget a link that has ended; say whether it was with the peer as it is proved."""
        if link not in self:
            return False
        peer = cast(Met, link.handshaken).peer
        address = peer.packed
        links = self._links[address]
        links.remove(link)
        if link.is_proved:
            proof = self._proofs[address]
            self._proofs[address] = replace(proof, heard_at=max(proof.heard_at, link.heard_at))
        self._choose(peer)
        if not links:
            del self._links[address]
            left = self._proofs.pop(address, None)
            if left is not None:
                self._remembered[address] = left
        return link.is_proved

    def is_duplicate(self, link: L) -> bool:
        """Say whether a link that we dialled is not needed, since the peer is asked over another one.

        Its dialler ends it: the other side cannot know what for it was dialled.
        """
        asking = self.asking.get(cast(Met, link.handshaken).peer.packed)
        return link.is_proved and link.dialled is not None and asking is not link

    def _proof(self, address: bytes) -> Proof | None:
        return self._proofs.get(address) or self._remembered.get(address)

    def _choose(self, peer: Peer) -> None:
        we_dial = (self._me.id, self._me.packed) < (peer.id, peer.packed)
        chosen = link_to_ask(self._links[peer.packed], we_dial)
        if chosen is None:
            self.asking.pop(peer.packed, None)
        else:
            self.asking[peer.packed] = chosen
