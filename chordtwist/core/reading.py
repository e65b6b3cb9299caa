"""One read of a record under way: which replicas to ask for what, and when their answers are enough.

The value comes from the nearest replica, versions from the others of a majority, all at once: no single replica is
believed about a plain record (see `claims`), and no confirmed write is missed, since any two majorities share a member.
Where one of them keeps nothing replicas were replaced since that write, and all are heard. Content and signed records
prove themselves.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from chordtwist.core.claims import Belief, Claim, Claims, Forgotten, Said, is_by, own_word
from chordtwist.core.lookup import Route
from chordtwist.core.peer import Peer
from chordtwist.core.records import Precedence, Record

DOUBTED_HEDGES = 2
"""Whoever may know better than a majority is waited for so long: it may be dead."""

HEDGES_NEVER = 1 << 30

AS_PUBLISHER = 255
"""In the place of a rank: the receiver is asked for what it has put. No record has so many copies."""


class Ask(Struct, frozen=True, gc=False):
    """One question to put: to the replica at `rank`, for the value or for the version only."""

    peer: Peer
    rank: int
    value: bool


PROVED_BY_KEY: Precedence = (1,)
"""The precedence of a content record, see `precedence_of`."""


class Reading:
    """Start with `begin`; put the questions that every method returns; report what came of each; stop when `done`."""

    def __init__(self, route: Route, copies: int, me: Peer, publisher_of: Callable[[bytes], Peer | None]) -> None:
        """@param copies: how many of the members of the route should keep the record; the rest stand in for those that
        are silent. @param me: who answers itself at no cost, so first.
        @param publisher_of: reads a packed address; None when it is none.
        """
        self._order = list(route.replicas)
        self._copies = copies
        self._me = me
        self._publisher_of = publisher_of
        self._waiting: dict[tuple[Peer, bool], None] = {}
        self._asked: dict[Peer, None] = {}
        self._said: dict[Peer, Said] = {}
        self._out: dict[Peer, None] = {}
        self._own_words: dict[Peer, Said | Forgotten | None] = {}
        """What publishers said of their own puts; None of one that is silent."""
        self._publishers: dict[Peer, int] = {}
        """Publishers that were asked and have not answered, and how many hedges had passed then."""
        self._hedges = 0
        self._best: Precedence | None = None
        self._in_hand: Record | None = None
        self._in_hand_precedence: Precedence | None = None
        self._ended = False
        self._claim: Claim | None = None
        """Of a plain record, what the answers so far amount to."""
        self._done = False

    @property
    def done(self) -> bool:
        """Whether the answers are enough, or nobody is left to be asked."""
        return self._done

    @property
    def record(self) -> Record | None:
        """What the answers say stands there."""
        if self._ended and self._in_hand_precedence != self._best:
            return None
        return self._in_hand

    @property
    def ended(self) -> bool:
        """Whether what stands there is the tombstone of something that ended."""
        return self._ended

    @property
    def believed(self) -> bool:
        """Whether it proves itself, or is more than a guess from what few have said."""
        return self._claim is None or self._claim.belief is Belief.BELIEVED

    @property
    def proves_itself(self) -> bool:
        """Whether what was said so far names a record that proves itself, wherever it was found."""
        return self._best is not None and self._claim is None

    @property
    def has_publishers_word(self) -> bool:
        """Whether the publisher of a plain record says so itself, wherever it was found."""
        claim = self._claim
        words = [*self._own_words.values(), *(said for peer, said in self._said.items() if is_by(said, peer))]
        return claim is not None and any(isinstance(word, Said) and claim.fits(word) for word in words)

    @property
    def believed_claim(self) -> Claim | None:
        """What is believed of a plain record, if anything is."""
        return self._claim if self.believed else None

    @property
    def certain(self) -> bool:
        """Whether a majority has spoken, or it is content, which its key proves; else some of those that keep it may
        only have been silent.
        """
        if self._best == PROVED_BY_KEY and self._in_hand is not None:
            return True
        return sum(peer in self._said for peer in self._order[: self._replicas]) >= self._quorum

    @property
    def behind(self) -> list[tuple[int, Peer]]:
        """Which replicas said that they lack `record` or keep an older one, with their ranks."""
        return [
            (rank, peer)
            for rank, peer in enumerate(self._order[: self._replicas])
            if peer in self._said and self._is_behind(self._said[peer])
        ]

    @property
    def awaited(self) -> list[Peer]:
        """Those that were asked and have not answered."""
        return list(dict.fromkeys(peer for peer, _ in self._waiting))

    def begin(self) -> list[Ask]:
        """Ask for the value from the nearest, and for versions from the others of a majority."""
        nearest = self._me if self._me in self._order[: self._replicas] else self._order[0]
        asks = [self._ask(nearest, value=True)]
        for peer in self._order[: self._replicas]:
            if len(asks) >= self._quorum:
                break
            if peer is not nearest:
                asks.append(self._ask(peer, value=False))
        return asks

    def said(self, ask: Ask, said: Said) -> list[Ask]:
        """Count what a replica answered, or a publisher."""
        if ask.rank == AS_PUBLISHER:
            self._publishers.pop(ask.peer, None)
            self._own_words[ask.peer] = own_word(said, ask.peer)
            return self._next()
        self._waiting.pop((ask.peer, ask.value), None)
        self._said[ask.peer] = said
        self._out.pop(ask.peer, None)
        return self._next()

    def forgotten(self, ask: Ask, word: Forgotten) -> list[Ask]:
        """Count a publisher that knows of its latest puts only."""
        self._publishers.pop(ask.peer, None)
        self._own_words[ask.peer] = word
        return self._next()

    def out(self, ask: Ask) -> list[Ask]:
        """Let somebody stand in for a replica that is silent, tells nonsense, says to be none, or still pulls its
        records.
        """
        if ask.rank == AS_PUBLISHER:
            self._publishers.pop(ask.peer, None)
            self._own_words[ask.peer] = None
            return self._next()
        self._waiting.pop((ask.peer, ask.value), None)
        self._said.pop(ask.peer, None)
        self._out[ask.peer] = None
        return self._next()

    def hedge(self) -> list[Ask]:
        """Ask one more as if somebody had failed, since time has passed without enough answers; then two, then four."""
        if self._done:
            return []
        further = 1 << self._hedges
        self._hedges += 1
        asks = self._next()
        if self._done:
            return asks
        fresh = [peer for peer in self._order if peer not in self._asked][:further]
        # The value from one of them, the versions of the others: values may be long, and a version tells where one is.
        more = [self._ask(peer, value=self._in_hand is None and peer is fresh[0]) for peer in fresh]
        if not more and self._in_hand is None:
            again = [peer for peer in self._order if self._is_open(peer) and (peer, True) not in self._waiting]
            more = [self._ask(peer, value=True) for peer in again[:further]]
        return asks + more

    def give_up(self) -> None:
        """Take the best of what was said so far: time is up."""
        self._hedges = HEDGES_NEVER
        self._weigh()

    def renew(self, route: Route) -> list[Ask]:
        """Follow a fresh route to the same replicas: ask those that have not spoken, also the ones that were silent a
        moment ago, or whose answers were not taken since.
        """
        self._order = [*route.replicas, *(peer for peer in self._said if peer not in route.replicas)]
        self._out.clear()
        self._waiting.clear()
        self._publishers.clear()
        self._asked = dict.fromkeys(self._said)
        self._done = False
        return self._next()

    def is_of(self, route: Route) -> bool:
        """Whether the replicas are those of a route."""
        return route.replicas[: self._copies] == tuple(self._order[: self._copies])

    @property
    def _replicas(self) -> int:
        return min(self._copies, len(self._order))

    @property
    def _quorum(self) -> int:
        return self._replicas // 2 + 1

    def _has_met_the_last_write(self) -> bool:
        """Whether so many replicas have spoken that a majority which confirmed a write has one among them. Those who
        stand in count for replicas that failed; one that is merely slow may be the one that knows.
        """
        met = sum(peer in self._said or peer in self._out for peer in self._order[: self._replicas])
        return met > self._replicas - self._quorum

    def _ask(self, peer: Peer, value: bool) -> Ask:
        self._asked[peer] = None
        self._waiting[(peer, value)] = None
        return Ask(peer, self._order.index(peer), value)

    def _ask_publisher(self, peer: Peer, value: bool) -> Ask:
        self._publishers[peer] = self._hedges
        return Ask(peer, AS_PUBLISHER, value)

    def _is_open(self, peer: Peer) -> bool:
        """Whether it has been asked and said nothing so far."""
        return peer in self._asked and peer not in self._said and peer not in self._out

    # What the answers amount to

    def _weigh(self) -> None:
        self._best = self._in_hand = self._in_hand_precedence = self._claim = None
        self._ended = False
        for said in self._said.values():
            precedence = said.precedence
            if precedence is None:
                continue
            if self._best is None or precedence > self._best:
                self._best, self._ended = precedence, said.ended
            elif precedence == self._best:
                # Of a record at its end some have the tombstone a moment earlier: it lives until the last says so.
                self._ended = self._ended and said.ended
            if said.record is not None and (self._in_hand_precedence is None or precedence > self._in_hand_precedence):
                self._in_hand, self._in_hand_precedence = said.record, precedence
        if self._best is not None and not self._best[0]:
            self._weigh_plain()

    def _weigh_plain(self) -> None:
        """Choose what is believed of a plain record, with its value where that is here."""
        claim = self._claim = self._agreed_on() or self._claims().choose(self._may_follow)
        self._ended = claim is not None and claim.ended
        self._best = None if claim is None else claim.precedence
        self._in_hand = self._in_hand_precedence = None
        for said in (*self._said.values(), *self._own_words.values()):
            if claim is not None and isinstance(said, Said) and said.record is not None and claim.fits(said):
                self._in_hand = said.record

    def _agreed_on(self) -> Claim | None:
        """Give what all have said, who were asked at first: nearly every read ends so, and is weighed three times."""
        spoke = iter(self._said.values())
        one = next(spoke)
        is_disputed = any(said.precedence != one.precedence or said.digest != one.digest for said in spoke)
        if is_disputed or one.ended or self._hedges or self._out:
            return None
        precedence = one.precedence
        assert precedence is not None, "it is plain"
        return Claim(precedence, one.digest, False, Belief.OPEN if len(self._said) < self._quorum else Belief.BELIEVED)

    def _claims(self) -> Claims:
        return Claims(self._said, self._within(), self._quorum, self._publisher_of, self._own_words)

    def _may_follow(self, publisher: Peer | None) -> bool:
        """Whether a publisher may still confirm something, or of None, a replica."""
        if publisher is None:
            if self._hedges >= DOUBTED_HEDGES:
                return False
            return any(peer not in self._said and peer not in self._out for peer in self._within())
        if publisher in self._own_words:
            return False
        return self._hedges < self._publishers.get(publisher, self._hedges) + DOUBTED_HEDGES

    def _is_behind(self, said: Said) -> bool:
        claim = self._claim
        if claim is None or said.precedence is None:
            return said.precedence != self._best
        return said.precedence <= claim.precedence and not claim.fits(said)

    @property
    def _in_doubt(self) -> bool:
        """Whether one has nothing where others keep something: a majority of today's replicas may all be new, or have
        been left out of the last write, which only those know that have not spoken yet.
        """
        return (
            self._best is not None
            and self._hedges < DOUBTED_HEDGES
            and any(said.precedence is None for said in self._said.values())
            and any(peer not in self._said and peer not in self._out for peer in self._order[: self._replicas])
        )

    def _settle(self) -> None:
        """Decide whether the answers are enough; content proves itself."""
        if self._best is None:
            return
        claim = self._claim
        if claim is None:
            has_best = self._ended or self._in_hand_precedence == self._best
        else:
            has_best = self._ended or self._in_hand is not None
        if self._best == PROVED_BY_KEY and has_best:
            self._done = True
        elif len(self._said) >= self._quorum and self._has_met_the_last_write():
            self._done = has_best and not (self._in_doubt if claim is None else claim.belief is Belief.OPEN)

    # Whom to ask

    def _next(self) -> list[Ask]:
        """Weigh what was said so far, and ask whoever is needed beyond those that are being asked."""
        self._weigh()
        self._settle()
        if self._done:
            return []
        asks: list[Ask] = []
        if self._said and self._best is None and not self._is_value_coming:
            asks = self._ask_everybody()
        elif self._claim is None or len(self._said) < self._quorum:
            asks = self._fetch_best() + self._seek_value() + self._complete_majority()
        if not asks and self._claim is not None and (len(self._said) >= self._quorum or not self._waiting):
            asks = self._confirm(self._claim)
        self._done = not self._waiting and not self._publishers
        return asks

    def _confirm(self, claim: Claim) -> list[Ask]:
        """Ask for what a claim lacks: the word of others, or its value."""
        if claim.belief is Belief.OPEN:
            publishers = [peer for peer in self._claims().doubted() if self._may_be_asked(peer)]
            return [self._ask(peer, value=False) for peer in self._fresh()] + [
                self._ask_publisher(peer, value=False) for peer in publishers
            ]
        if claim.ended or self._in_hand is not None:
            return []
        holders = [peer for peer, said in self._said.items() if claim.fits(said) and not said.ended]
        if holders:
            return [] if any((peer, True) in self._waiting for peer in holders) else [self._ask(holders[0], value=True)]
        publisher = self._publisher_of(claim.publisher)
        if publisher is None or publisher in self._publishers:
            return []
        return [self._ask_publisher(publisher, value=True)]

    def _may_be_asked(self, publisher: Peer) -> bool:
        return publisher not in self._own_words and publisher not in self._publishers

    def _fetch_best(self) -> list[Ask]:
        """Ask one of those that name the best version for the value, unless one of them is being asked for it."""
        if self._best is None or self._ended or self._in_hand_precedence == self._best or self._claim is not None:
            return []
        holders = [peer for peer, said in self._said.items() if said.precedence == self._best and not said.ended]
        if any((peer, True) in self._waiting for peer in holders):
            return []
        return [self._ask(holders[0], value=True)]

    def _ask_everybody(self) -> list[Ask]:
        """Ask all others for the value at once: those that spoke have nothing, and that is so only when all say so."""
        return [self._ask(peer, value=True) for peer in self._fresh() + self._silent()]

    def _seek_value(self) -> list[Ask]:
        """Ask somebody for the value, unless it is here or on its way."""
        if self._is_value_coming:
            return []
        source = self._fresh()[:1] or self._silent()[:1]
        return [self._ask(peer, value=True) for peer in source]

    def _complete_majority(self) -> list[Ask]:
        """Ask so many for their version that all who are asked make a majority; in doubt, all replicas."""
        wanted = self._replicas if self._in_doubt else self._quorum
        silent = {peer for peer, _ in self._waiting if peer not in self._said}
        lacking = wanted - len(self._said) - len(silent)
        return [self._ask(peer, value=False) for peer in self._fresh()[:lacking]] if lacking > 0 else []

    @property
    def _is_value_coming(self) -> bool:
        return self._in_hand is not None or any(value for _, value in self._waiting)

    def _within(self) -> list[Peer]:
        """List the replicas, and as many behind them as have dropped out."""
        return self._order[: self._replicas + sum(peer in self._out for peer in self._order)]

    def _fresh(self) -> list[Peer]:
        """List those that have not been asked."""
        return [peer for peer in self._within() if peer not in self._asked]

    def _silent(self) -> list[Peer]:
        """List those that were asked for their version and have said nothing so far."""
        return [peer for peer in self._within() if (peer, False) in self._waiting and peer not in self._said]
