"""What every replica of one key keeps, for people who want to know: asked afresh, and nothing is changed by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from chordtwist.core.claims import Claims, Forgotten, Said, own_word
from chordtwist.core.errors import ChordtwistError, Unreachable
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.reading import AS_PUBLISHER
from chordtwist.core.records import Record, position_of
from chordtwist.node.interfaces import IRing
from chordtwist.node.records.incoming import Incoming
from chordtwist.node.records.locating import Locating
from chordtwist.wire.peer_messages import Answer, Fetch, Found, NotFound, NotMine, Pulling, RecordBody


@dataclass(slots=True)
class Replicated:
    """What one replica said: `state` in a word or a reason, what it keeps, and how that weighs."""

    rank: int
    peer: Peer
    state: str = "not waited for"
    took_ms: float = 0.0
    body: RecordBody | None = None
    said: Said | None = None


class Inspecting:
    """Looks at the replicas of keys for one node."""

    def __init__(
        self, ring: IRing, locating: Locating, incoming: Incoming, seconds: Callable[[], float], copies: int
    ) -> None:
        """@param seconds: the steady clock. @param copies: how many replicas a record has that says nothing else."""
        self._ring = ring
        self._locating = locating
        self._incoming = incoming
        self._seconds = seconds
        self._copies = copies

    def inspect(self, key: bytes) -> Deferred[dict[str, object]]:
        """Ask every replica what it keeps under `key`; plain values, ready for JSON.

        `replicas`, by rank: `address`, `state` (``has``, ``tombstone``, ``nothing``, or why it is none of these),
        `behind`, `round_trip_ms`, and of what it keeps `version_ms`, `publisher`, `ttl_ms`, `bytes`, `sha256`, `kind`,
        `copies`, `seq`. `reader`: what a read that hears all of them would give, and `why`. Fails with `Unreachable`
        when nobody can be asked who they are.
        """
        return Deferred.fromCoroutine(self._inspect(key))

    async def _inspect(self, key: bytes) -> dict[str, object]:
        began_s = self._seconds()
        route = await self._locating.find(position_of(key))
        found_ms = (self._seconds() - began_s) * 1000
        replicas = await self._asked(key, route, 0, self._copies)
        wanted = max([self._copies, *(replica.body.copies for replica in replicas if replica.body is not None)])
        # A put may have asked for more copies than are usual.
        replicas += await self._asked(key, route, len(replicas), wanted)
        return await self._shown(key, route, found_ms, replicas)

    async def _asked(self, key: bytes, route: Route, first: int, upto: int) -> list[Replicated]:
        asked = [Replicated(rank, peer) for rank, peer in enumerate(route.replicas[:upto])][first:]
        await DeferredList([self._ask(key, replica) for replica in asked])
        return asked

    def _ask(self, key: bytes, replica: Replicated) -> Deferred[None]:
        began_s = self._seconds()

        def answered(answer: Answer) -> None:
            replica.took_ms = (self._seconds() - began_s) * 1000
            self._take(key, replica, answer)

        def unanswered(failure: Failure) -> None:
            replica.took_ms = (self._seconds() - began_s) * 1000
            error = failure.value
            replica.state = error.reason if isinstance(error, Unreachable) else failure.getErrorMessage()

        return self._ring.ask(replica.peer, Fetch(key, replica.rank, True)).addCallbacks(answered, unanswered)

    def _take(self, key: bytes, replica: Replicated, answer: Answer) -> None:
        if isinstance(answer, (Found, NotFound)):
            replica.said = self._incoming.said(key, answer, value=True)
            if replica.said is None:
                replica.state = "something that proves itself wrong"
                return
            replica.body = answer.record if isinstance(answer, Found) else answer.tombstone
            replica.state = "has" if isinstance(answer, Found) else "nothing" if replica.body is None else "tombstone"
        elif isinstance(answer, NotMine):
            replica.state = "says that it is not its own"
        elif isinstance(answer, Pulling):
            replica.state = "still fetches its records"
        else:
            replica.state = f"answered with {type(answer).__name__}"

    async def _believed(self, key: bytes, replicas: list[Replicated]) -> list[Replicated]:
        """List the replicas that keep what a reader takes, having asked the publishers that it would ask."""
        spoke = {replica.peer: replica.said for replica in replicas if replica.said is not None}
        best = max((said.precedence for said in spoke.values() if said.precedence is not None), default=None)
        if best is None:
            return []
        if best[0]:
            return [replica for replica in replicas if replica.said is not None and replica.said.precedence == best]
        words: dict[Peer, Said | Forgotten | None] = {}
        claims = Claims(spoke, spoke, len(replicas) // 2 + 1, self._incoming.publisher_of, words)
        for publisher in claims.doubted():
            try:
                answer = await self._ring.ask(publisher, Fetch(key, AS_PUBLISHER, False))
            except ChordtwistError:
                continue
            word = self._incoming.word(key, answer)
            words[publisher] = own_word(word, publisher) if isinstance(word, Said) else word
        claim = claims.choose(lambda publisher: False)
        return [replica for replica in replicas if claim and replica.said is not None and claim.fits(replica.said)]

    async def _shown(self, key: bytes, route: Route, found_ms: float, replicas: list[Replicated]) -> dict[str, object]:
        spoke = [replica for replica in replicas if replica.said is not None]
        newest = await self._believed(key, replicas)
        # Of a record at its end some have the tombstone a moment earlier: it lives until the last says so.
        living = [replica for replica in newest if replica.said is not None and replica.said.record is not None]
        return {
            "key": key.hex(),
            "position": f"{route.position:064x}",
            "owner": str(route.owner),
            "hops": route.hops,
            "questions": route.questions,
            "found_ms": round(found_ms, 3),
            "replicas": [_row(replica, bool(newest) and replica not in newest) for replica in replicas],
            "reader": {
                "found": bool(living),
                **(_kept(living[0]) if living else {}),
                "why": _why(bool(newest), len(newest), bool(living), len(spoke), len(replicas)),
            },
        }


def _row(replica: Replicated, is_behind: bool) -> dict[str, object]:
    return {
        "rank": replica.rank,
        "address": str(replica.peer),
        "state": replica.state,
        "behind": is_behind and replica.said is not None,
        "round_trip_ms": round(replica.took_ms, 3),
        **_kept(replica),
    }


def _kept(replica: Replicated) -> dict[str, object]:
    body, said = replica.body, replica.said
    if body is None or said is None:
        return {}
    kept: dict[str, object] = {
        "version_ms": body.version_ms,
        "publisher": body.publisher.hex(),
        "ttl_ms": body.ttl_ms or body.tombstone_ttl_ms,
        "copies": body.copies,
        "seq": None if body.seal is None else body.seal.seq,
    }
    if isinstance(said.record, Record):
        kept |= {
            "kind": said.record.kind.name.lower(),
            "bytes": said.record.value_bytes,
            "sha256": sha256(said.record.value).hexdigest(),
        }
    return kept


def _why(is_kept: bool, having: int, is_living: bool, speaking: int, asked: int) -> str:
    if speaking * 2 <= asked:
        return f"only {speaking} of {asked} replicas speak, which is no majority: a reader asks those behind them too"
    if not is_kept:
        return f"none of the {speaking} replicas that speak keeps anything"
    what = "the newest version" if is_living else "the tombstone of the newest version, which has ended"
    return f"{having} of {asked} replicas have {what}; {speaking} speak, which is a majority"
