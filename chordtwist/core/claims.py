"""Which version of a plain record is believed, of all that those who keep it say.

Nothing proves a plain record but who has it: the newest version that a majority of the replicas keeps, with the same
value. One that fewer keep is the publisher's own put on its way, or a lie: the publisher knows. Where anybody says
something else it is asked as well whether the majority lies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum, auto
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from chordtwist.core.peer import Peer
from chordtwist.core.records import Precedence, Record, Version


class Said(Struct, frozen=True, gc=False):
    """What somebody said to keep: its precedence, None of nothing; the record where it was sent.

    `ended`: it is a tombstone. `digest`: the SHA-256 of a plain value.
    """

    precedence: Precedence | None
    record: Record | None = None
    ended: bool = False
    digest: bytes = b""

    @property
    def is_plain(self) -> bool:
        """Whether it is a plain record, or the tombstone of one."""
        return self.precedence is not None and not self.precedence[0]


NOTHING_KEPT = Said(None)


class Forgotten(Struct, frozen=True, gc=False):
    """What a publisher said that does not know the version asked for: puts that are newer than `ms` it remembers."""

    ms: int


class Belief(Enum):
    """How sure a claim is."""

    BELIEVED = auto()
    """A majority keeps it, or its publisher says so."""

    OPEN = auto()
    """Others may say so yet."""

    GUESSED = auto()
    """Too few could be asked, and nothing speaks against it."""


class Claim(Struct, frozen=True, gc=False):
    """One version of a plain record with one value, that somebody says to keep."""

    precedence: Precedence
    digest: bytes
    ended: bool
    belief: Belief

    @property
    def publisher(self) -> bytes:
        """The packed address of who has put it."""
        return version_of(self).publisher

    def fits(self, said: Said) -> bool:
        """Whether `said` speaks of this very thing: a tombstone of the version tells no value."""
        return said.precedence == self.precedence and (said.ended or said.digest == self.digest)


class Claims:
    """What is said of one key."""

    def __init__(
        self,
        said: Mapping[Peer, Said],
        replicas: Collection[Peer],
        quorum: int,
        publisher_of: Callable[[bytes], Peer | None],
        own_words: Mapping[Peer, Said | Forgotten | None],
    ) -> None:
        """@param replicas: of those who spoke, the ones that count for a majority.
        @param own_words: what publishers said of what they have put; None of one that is silent.
        """
        self._said = {peer: one for peer, one in said.items() if one.is_plain}
        self._counted = {peer: one for peer, one in self._said.items() if peer in replicas}
        self._quorum = quorum
        self._publisher_of = publisher_of
        self._own_words = own_words

    def choose(self, may_follow: Callable[[Peer | None], bool]) -> Claim | None:
        """Choose the newest that is believed, or may be yet, or that a majority keeps or has replaced by something
        newer; else what most keep, the newest of it; None of nothing. What its publisher denies is not believed,
        whoever keeps it.

        @param may_follow: whether the word of a publisher may still come, or of None, that of a replica.
        """
        left = []
        for claim in self._claims():
            if self._is_denied(claim):
                continue
            publisher = self.publisher_of(claim)
            if claim.belief is Belief.BELIEVED:
                may_be_denied = publisher is not None and may_follow(publisher) and self._is_disputed(claim)
                return replace(claim, belief=Belief.OPEN) if may_be_denied else claim
            if may_follow(None) or may_follow(publisher):
                return claim
            # Before an older one that its publisher confirms: that says what it has put, not what has come since.
            if self._is_kept_or_replaced(claim):
                return replace(claim, belief=Belief.GUESSED)
            left.append(claim)
        return replace(max(left, key=self._holders), belief=Belief.GUESSED) if left else None

    def doubted(self) -> list[Peer]:
        """List the publishers of what is said, newest first, down to that of what a majority keeps."""
        publishers: dict[Peer, None] = {}
        for claim in self._claims():
            if (publisher := self.publisher_of(claim)) is not None:
                publishers[publisher] = None
            if claim.belief is Belief.BELIEVED:
                break
        return list(publishers)

    def publisher_of(self, claim: Claim) -> Peer | None:
        """Name who has put it, as it says."""
        return self._publisher_of(claim.publisher)

    def _claims(self) -> list[Claim]:
        """List all, newest first."""
        own = self._put_by_publishers()
        everything = [*self._said.values(), *own]
        claims: list[Claim] = []
        for precedence in sorted({cast(Precedence, one.precedence) for one in everything}, reverse=True):
            claims += self._rivals([one for one in everything if one.precedence == precedence], own)
        return claims

    def _put_by_publishers(self) -> list[Said]:
        """List what publishers have put: as they say, and as one that is a replica keeps it. That copy may be older
        than what it has put since: it confirms, and denies nothing.
        """
        words = [word for word in self._own_words.values() if isinstance(word, Said) and word.is_plain]
        return words + [one for peer, one in self._counted.items() if is_by(one, peer)]

    def _rivals(self, everything: list[Said], own: list[Said]) -> list[Claim]:
        """List the values that one version is said to have, first what most keep."""
        precedence = cast(Precedence, everything[0].precedence)
        digests = {one.digest for one in everything if not one.ended} or {b""}
        ended = sum(one.ended and one.precedence == precedence for one in self._counted.values())
        claims: list[Claim] = []
        for digest in digests:
            claim = Claim(precedence, digest, not digest, Belief.OPEN)
            words = [one for one in own if claim.fits(one)]
            if words or self._holders(claim) >= self._quorum:
                # Of a record at its end some have the tombstone a moment earlier.
                has_ended = claim.ended or ended >= self._quorum or any(one.ended for one in words)
                claim = Claim(precedence, digest, has_ended, Belief.BELIEVED)
            claims.append(claim)
        return sorted(claims, key=lambda claim: (self._holders(claim), claim.digest), reverse=True)

    def _is_disputed(self, claim: Claim) -> bool:
        """Whether anybody keeps something else, and its publisher not this."""
        is_put = any(map(claim.fits, self._put_by_publishers()))
        return not is_put and not all(map(claim.fits, self._said.values()))

    def _holders(self, claim: Claim) -> int:
        return sum(map(claim.fits, self._counted.values()))

    def _is_kept_or_replaced(self, claim: Claim) -> bool:
        kept = [cast(Precedence, one.precedence) for one in self._counted.values()]
        return sum(precedence >= claim.precedence for precedence in kept) >= self._quorum

    def _is_denied(self, claim: Claim) -> bool:
        """Whether its publisher remembers what it has put, and this is not."""
        publisher = self.publisher_of(claim)
        word = None if publisher is None else self._own_words.get(publisher)
        return word is not None and is_denied_by(word, claim)


def own_word(said: Said, publisher: Peer) -> Said | None:
    """Give what a publisher says, if it speaks of itself or of nothing."""
    return said if said.precedence is None or is_by(said, publisher) else None


def is_by(said: Said, publisher: Peer) -> bool:
    """Whether it is something plain that `publisher` has put, as it says."""
    return said.is_plain and version_of(said).publisher == publisher.packed


def is_denied_by(word: Said | Forgotten, plain: Claim | Said) -> bool:
    """Whether what a publisher says of a key excludes that it has put this. What has ended it forgets."""
    if isinstance(word, Forgotten):
        return not plain.ended and version_of(plain).ms > word.ms
    is_same = word.precedence == plain.precedence and (word.ended or plain.ended or word.digest == plain.digest)
    return word.precedence is not None and not is_same


def version_of(plain: Claim | Said) -> Version:
    """Read the version of a plain record in its precedence."""
    return cast("tuple[int, Version]", plain.precedence)[1]
