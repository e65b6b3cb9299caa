"""The addresses one node has met or heard of, around the whole ring: whom a lookup may ask that no liar in it chose.

A table is signed by its owner, but the names in it are only claims. So there are two kinds of entries: *met*, whom our
own dial reached, and *heard*, of whom somebody told us. The circle is cut into pieces, and each keeps one entry, the
nearest behind its start, met before heard: however often a name is pushed, it gets no more room (BASALT, Middleware
2023).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import inf
from random import Random
from sys import getsizeof

from chordtwist.core.allowance import Allowance
from chordtwist.core.peer import IPV4_LENGTH, IPV6_LENGTH, Identity, Peer
from chordtwist.core.prefixes import PER_PREFIX_MAX, prefix_of
from chordtwist.core.ring import ID_BITS, RingId, distance

ENTRIES_MAX = 4096
"""Four numbers and 18 bytes each, 160 KiB in all. A ring of some thousand members fits nearly whole."""

HEARD_SHARE = 4
"""One entry in so many may be merely heard of."""

HEARD_OF_ONE_MAX = 16
"""Entries that one teller may have brought."""

LISTED_OF_PREFIX_MAX = 16
"""Entries of one public IPv4 /24 or IPv6 /48, in networks that anybody may join."""

PIECES_BITS = 16
"""The circle begins as 2**16 pieces: in a ring of a thousand members 8 share theirs. Pieces are joined in pairs when
there are too many entries."""

FAILURES_MAX = 2
"""So many dials in a row that nobody answered, and an entry that was met is dropped; one that was heard of at once."""

VAIN_PER_S, VAIN_AT_ONCE = 1 / 60, 4.0
"""Whose names nobody answers at, more often than that, has all of them dropped that were not met, and brings no others
for a while: a walk would dial invented ones for ever."""

_NUMBER_BITS = 64
_MAPPED = bytes(10) + b"\xff\xff"
_MET, _REMEMBERED = 0, 1


class AddressBook:
    """Entries in ring order. All times are of a steady clock, in seconds.

    Kept in columns: as objects the same entries would take two megabytes.
    """

    def __init__(
        self, identity: Identity, entries_max: int = ENTRIES_MAX, spreads: bool = True, me: Peer | None = None
    ) -> None:
        """@param spreads: whether only a few entries may be of one prefix: so in networks that anybody may join.
        @param me: its owner, whom it never lists.
        """
        self._me = me
        self._identity = identity
        self._entries_max = entries_max
        self._spreads = spreads
        self._bits = PIECES_BITS
        self._numbers = array("Q")
        """The first 64 bits of each id, ascending; two ids that agree in them share a piece, and so a place."""
        self._addresses = bytearray()
        self._seen_s = array("d")
        self._tellers = array("Q")
        """Who named an entry; 0 for one that was met, 1 for one that an earlier run has met."""
        self._failures = array("B")
        self._heard = 0
        self._vain = Allowance(VAIN_PER_S, VAIN_AT_ONCE)
        self.is_walked = False
        """Whether a walk has been round since we became a member; most met before that may be whom few told us of."""

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, peer: Peer) -> bool:
        return self._find(peer) is not None

    @property
    def met_count(self) -> int:
        """How many of the entries our own dial has reached."""
        return len(self) - self._heard

    # What it is told

    def met(self, peer: Peer, now_s: float) -> bool:
        """Note that our own dial reached `peer` just now; answers whether there is room for it."""
        return self._note(peer, now_s, _MET)

    def heard(self, peers: Iterable[Peer], teller: Peer, now_s: float) -> None:
        """Note that `teller` named these; of whom is here already, that it was seen."""
        number = _number(teller.id) | 2
        room: int | None = None  # mostly all are known, and to count is the dear part
        for peer in peers:
            index = self._find(peer)
            if index is not None:
                self._seen_s[index] = now_s
            elif peer != teller:
                if room is None:
                    room = self._entries_max // HEARD_SHARE - self._heard
                    room = min(room, HEARD_OF_ONE_MAX - self._tellers.count(number))
                    room = 0 if self._vain.wait_s(number, now_s) > 0 else room
                if room > 0:
                    room -= self._note(peer, now_s, number)

    def remember(self, peers: Iterable[Peer]) -> None:
        """Take in whom an earlier run has met: as heard of, long ago, until our own dial reaches them again."""
        room = self._entries_max // HEARD_SHARE - self._heard
        for peer in peers:
            if room <= 0:
                return
            if self._find(peer) is None:
                room -= self._note(peer, -inf, _REMEMBERED)

    def failed(self, peer: Peer, now_s: float) -> None:
        """Note that our own dial to `peer` was in vain; it may be dropped, and what else its teller named."""
        index = self._find(peer)
        if index is None:
            return
        self._failures[index] += 1
        teller = self._tellers[index]
        if teller != _MET or self._failures[index] >= FAILURES_MAX:
            self._remove(index)
        if teller not in (_MET, _REMEMBERED):
            self._vain.spend(teller, 1, now_s)
            if self._vain.wait_s(teller, now_s) > 0:
                for at in [at for at in reversed(range(len(self))) if self._tellers[at] == teller]:
                    self._remove(at)

    def forget(self, peer: Peer) -> None:
        """Drop `peer`, since it left."""
        index = self._find(peer)
        if index is not None:
            self._remove(index)

    # What it tells

    def __iter__(self) -> Iterator[Peer]:
        """All entries in ring order."""
        return map(self._peer, range(len(self)))

    def met_ones(self, count: int) -> list[Peer]:
        """List the entries that were met, or so many of them, spread around the ring."""
        met = [index for index in range(len(self)) if self._tellers[index] == _MET]
        return (
            [self._peer(met[n * len(met) // count]) for n in range(count)]
            if len(met) > count
            else [*map(self._peer, met)]
        )

    def is_met(self, peer: Peer) -> bool:
        """Whether our own dial has reached `peer`."""
        index = self._find(peer)
        return index is not None and self._tellers[index] == _MET

    def behind(self, position: RingId, count: int) -> list[Peer]:
        """Name the nearest `count` entries at or behind `position`, nearest first."""
        start, size = self._at_or_behind(position), len(self)
        return [self._peer((start + n) % size) for n in range(min(count, size))]

    def before(self, position: RingId, count: int) -> list[Peer]:
        """Name the nearest `count` entries before `position` that were met, nearest first."""
        start, size = self._at_or_behind(position), len(self)
        found: list[Peer] = []
        for n in range(1, size + 1):
            index = (start - n) % size
            if self._tellers[index] == _MET:
                found.append(self._peer(index))
                if len(found) == count:
                    break
        return found

    def draw(
        self, position: RingId, count: int, reach: int, rng: Random, spans: Callable[[Peer], bool] = lambda peer: True
    ) -> list[Peer]:
        """Draw at most `count` witnesses from the entries that were met and stand at most `reach` before `position`, by
        chance that nobody else knows; in networks that anybody may join at most two of one prefix.

        @param spans: whether the list of an entry reaches over the position, as far as is known.
        """
        near = [peer for peer in self.before(position, 2 * count) if distance(peer.id, position) <= reach]
        near = list(filter(spans, near))
        rng.shuffle(near)
        if not self._spreads:
            return near[:count]
        drawn: list[Peer] = []
        of_prefix: Counter[str | None] = Counter()
        for peer in near:
            if len(drawn) == count:
                break
            prefix = prefix_of(peer)
            if prefix is None or of_prefix[prefix] < PER_PREFIX_MAX:
                of_prefix[prefix] += 1
                drawn.append(peer)
        return drawn

    def any_met(self, rng: Random) -> Peer | None:
        """Draw one entry that was met, by chance that nobody else knows; None when there is none."""
        size = len(self)
        start = int(rng.random() * size)
        for n in range(size):
            index = (start + n) % size
            if self._tellers[index] == _MET:
                return self._peer(index)
        return None

    def stalest(self, after: RingId, upto: RingId) -> Peer | None:
        """Name the entry of which nothing was seen for longest, of those behind `after` and not behind `upto`: of
        several one that was not met, the farthest. None when there is none.
        """
        start, end, size = self._at_or_behind(after + 1), self._at_or_behind(upto + 1), len(self)
        stretch = range(start, end) if after <= upto else (*range(start, size), *range(end))
        found = min(
            reversed(stretch), key=lambda index: (self._seen_s[index], self._tellers[index] == _MET), default=None
        )
        return None if found is None else self._peer(found)

    @property
    def held_bytes(self) -> int:
        """Count the bytes that the entries take."""
        return sum(map(getsizeof, (self._numbers, self._addresses, self._seen_s, self._tellers, self._failures)))

    # Columns

    def _note(self, peer: Peer, now_s: float, teller: int) -> bool:
        if peer == self._me:
            return False
        index = self._find(peer)
        if index is not None:
            if self._tellers[index] != _MET and teller == _MET:
                self._heard -= 1
                self._tellers[index] = _MET
            self._seen_s[index] = now_s
            self._failures[index] = 0
            return True
        rival = self._rival(peer)
        if rival is not None:
            mine = (teller != _MET, peer.id)
            theirs = (self._tellers[rival] != _MET, self._peer(rival).id)
            if theirs < mine:
                return False
        if self._is_crowded(peer):
            return False
        if rival is not None:
            self._remove(rival)
        self._insert(self._place(peer.id), peer, now_s, teller)
        while len(self) > self._entries_max:
            self._join_pieces()
        return self._find(peer) is not None

    def _insert(self, index: int, peer: Peer, now_s: float, teller: int) -> None:
        self._numbers.insert(index, _number(peer.id))
        self._addresses[index * IPV6_LENGTH : index * IPV6_LENGTH] = _wide(peer.packed)
        self._seen_s.insert(index, now_s)
        self._tellers.insert(index, teller)
        self._failures.insert(index, 0)
        self._heard += teller != _MET

    def _remove(self, index: int) -> None:
        self._heard -= self._tellers[index] != _MET
        for column in (self._numbers, self._seen_s, self._tellers, self._failures):
            column.pop(index)
        del self._addresses[index * IPV6_LENGTH : (index + 1) * IPV6_LENGTH]

    def _join_pieces(self) -> None:
        """Make pieces twice as long; of two entries that then share one the better stays."""
        self._bits -= 1
        index = 1
        while index < len(self):
            if self._piece(index - 1) != self._piece(index):
                index += 1
            elif self._tellers[index - 1] != _MET and self._tellers[index] == _MET:
                self._remove(index - 1)
            else:
                self._remove(index)

    def _piece(self, index: int) -> int:
        return self._numbers[index] >> (_NUMBER_BITS - self._bits)

    def _rival(self, peer: Peer) -> int | None:
        """Find the entry in the piece of the circle where `peer` stands."""
        piece = _number(peer.id) >> (_NUMBER_BITS - self._bits)
        index = bisect_left(self._numbers, piece << (_NUMBER_BITS - self._bits))
        return index if index < len(self) and self._piece(index) == piece else None

    def _place(self, position: RingId) -> int:
        return bisect_left(self._numbers, _number(position))

    def _at_or_behind(self, position: RingId) -> int:
        index = self._place(position)
        # The first 64 bits of two ids may agree: then the entry may stand before the position.
        return index + (index < len(self) and self._peer(index).id < position)

    def _find(self, peer: Peer) -> int | None:
        number, numbers = _number(peer.id), self._numbers
        index = bisect_left(numbers, number)
        if index == len(numbers) or numbers[index] != number:
            return None
        return index if self._addresses.startswith(_wide(peer.packed), index * IPV6_LENGTH) else None

    def _peer(self, index: int) -> Peer:
        return self._identity.unpack(self._packed(index))

    def _packed(self, index: int) -> bytes:
        at = index * IPV6_LENGTH
        start = at + len(_MAPPED) if self._addresses.startswith(_MAPPED, at) else at
        return bytes(self._addresses[start : at + IPV6_LENGTH])

    def _is_crowded(self, peer: Peer) -> bool:
        if not self._spreads or prefix_of(peer) is None:
            return False
        prefix = _wide(peer.packed)[: len(_MAPPED) + 3 if len(peer.packed) == IPV4_LENGTH else 6]
        # Bytes that stand across two entries, or in the middle of one, may be counted as well: one in millions.
        return self._addresses.count(prefix) >= LISTED_OF_PREFIX_MAX


def _number(position: RingId) -> int:
    return position >> (ID_BITS - _NUMBER_BITS)


def _wide(packed: bytes) -> bytes:
    """Write an address in as many bytes as any takes."""
    return packed if len(packed) == IPV6_LENGTH else _MAPPED + packed
