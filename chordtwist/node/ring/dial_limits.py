"""How often a node dials addresses that have never answered it: they are names that somebody brought."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from twisted.internet.interfaces import IReactorTime

from chordtwist.core.allowance import Allowance
from chordtwist.core.backoff import backoff_s
from chordtwist.core.bounded import Bounded
from chordtwist.core.peer import Peer
from chordtwist.core.prefixes import owner_of

PER_TELLER_PER_MIN = 20
"""Addresses on the word of one peer: while many nodes die in a large ring, one asks each other a handful of times."""

KNOWN_PER_TELLER_PER_S, KNOWN_PER_TELLER_AT_ONCE = 5.0, 100.0
"""Questions to nodes that we have met, on the word of one peer: each costs two messages more than it is charged with,
and is charged to us where it is answered. An honest one names a few in a minute, and at once all its neighbours."""

RELAYED_WEIGHT = 20
"""What is asked on somebody's behalf makes a node sign, and hash a value: it counts as so many short questions. An
honest member asks all others together for it once in some fifteen seconds."""

IN_ALL_PER_MIN = 200
"""The same on the word of all together: whoever has many addresses makes no scanner of this node either."""

UNANSWERED_PER_S, UNANSWERED_AT_ONCE = 3.0, 30.0
"""Dials that nobody answered, wherever the names came from: with those under way less than 5 a second over a minute. At
once as many as a whole ring has members that may have died while we were away."""

WORD_PER_S, WORD_AT_ONCE = 1 / 120, 4.0
"""The same of what one member has named: beyond that its names are on the account of all. Who lies has used up his word
soon, and nobody else's; honest members name whom they have reached themselves."""

ON_WORD_MAX = 4096
"""Addresses remembered that a member named whose word was good."""

UNDER_WAY_MAX = 64
"""Dials of addresses that have not answered yet; a newcomer to a small ring meets 32 members at once."""

AGAIN_FIRST_S, AGAIN_SLOWEST_S = 1.0, 300.0
"""An address that never answered is dialled again so much later, twice as late each time. The first tries suffice for
the rule of death; none is the last, since it may be a member that was cut off from us alone."""

UNANSWERED_MAX = 4096
"""Addresses remembered that never answered."""

CALLERS_MAX = 1024
"""Peers remembered that have asked us something, and that we have not reached yet."""


class DialLimits:
    """Keeps count of the dials of one node that came to nothing, and of what strangers made it look at.

    Whoever has answered once is dialled at any time. Who asks us is where it says it is, or its link would not stand:
    to dial it back is charged to its own address, and waits for nobody else.
    """

    def __init__(self, is_known: Callable[[Peer], bool], clock: IReactorTime) -> None:
        """@param is_known: whether a node was met at an address by our own dial."""
        self.is_known = is_known
        self._clock = clock
        self._of_teller = Allowance(PER_TELLER_PER_MIN / 60, PER_TELLER_PER_MIN)
        self._known_of_teller = Allowance(KNOWN_PER_TELLER_PER_S, KNOWN_PER_TELLER_AT_ONCE)
        self._of_all = Allowance(IN_ALL_PER_MIN / 60, IN_ALL_PER_MIN)
        self._unanswered = Allowance(UNANSWERED_PER_S, UNANSWERED_AT_ONCE)
        self._tried: Bounded[Peer, tuple[int, float, str]] = Bounded(UNANSWERED_MAX)
        """How often in vain, when it may be dialled again, and what came of the last time."""
        self._callers: Bounded[Peer, None] = Bounded(CALLERS_MAX)
        self._words = Allowance(WORD_PER_S, WORD_AT_ONCE)
        self._named: Bounded[Peer, str] = Bounded(ON_WORD_MAX)
        """On whose word an address is dialled."""
        self._under_way: dict[Peer, int] = {}

    def may_look(self, teller: Peer, named: Peer, weight: float = 1) -> bool:
        """Whether to ask a peer that `teller` named, or to dial it; counts it when it may.

        @param weight: as how many questions to a node that we have met it counts.
        """
        now = self._clock.seconds()
        if self.is_known(named):
            if self._known_of_teller.wait_s(teller.id, now) > 0:
                return False
            self._known_of_teller.spend(teller.id, weight, now)
            return True
        if self._of_teller.wait_s(teller.id, now) > 0 or self._of_all.wait_s("", now) > 0:
            return False
        self._of_teller.spend(teller.id, 1, now)
        self._of_all.spend("", 1, now)
        return True

    def called(self, peer: Peer) -> None:
        """Note that a peer asks us something: it lives, and may be dialled."""
        if not self.is_known(peer):
            self._callers[peer] = None
            self.expected(peer)

    def named(self, peer: Peer, namers: Iterable[Peer]) -> None:
        """Charge the next dial of an address to one of those who named it, whose word is good: then what others invent
        stands in nobody's way to it. One that did not answer itself still waits.
        """
        if self.is_known(peer) or peer in self._under_way:
            return
        now = self._clock.seconds()
        said = self._named.pop(peer, None)
        words = chain(() if said is None else (said,), map(owner_of, namers))
        word = next((word for word in words if self._words.wait_s(word, now) <= 0), None)
        if word is not None:
            self._named[peer] = word

    def expected(self, peer: Peer) -> None:
        """Dial a peer when it is next asked, however often that was in vain."""
        self._tried.pop(peer, None)

    def has_failed(self, peer: Peer) -> bool:
        """Whether an address that has never answered was dialled in vain a while ago, and is not due again."""
        return self._clock.seconds() < self._tried.get(peer, (0, 0.0, ""))[1]

    def why_not_dial(self, peer: Peer) -> str | None:
        """Say what stands against dialling an address that has not answered yet; None when nothing does."""
        if peer in self._under_way:
            return None
        if self.has_failed(peer):
            return self._tried[peer][2]
        now = self._clock.seconds()
        word = self._named.get(peer)
        if word is not None and self._words.wait_s(word, now) > 0:
            del self._named[peer]  # used up since then: what a liar named first would wait for hours
        account, name = self._charged(peer)
        if account.wait_s(name, now) > 0 or len(self._under_way) >= UNDER_WAY_MAX:
            return "too many addresses that never answered"
        return None

    def dialled(self, peer: Peer) -> None:
        """Note that an address which has not answered yet is asked something."""
        self._under_way[peer] = self._under_way.get(peer, 0) + 1

    def ended(self, peer: Peer, reason: str) -> None:
        """Note what came of that: `reason` stands against its having been reached, if it was not."""
        left = self._under_way.pop(peer) - 1
        if left:
            self._under_way[peer] = left
        if self.is_known(peer):
            for known in self._tried, self._callers, self._named:
                known.pop(peer, None)
        elif not left:
            now = self._clock.seconds()
            tries = self._tried.get(peer, (0, 0.0, ""))[0]
            account, name = self._charged(peer)
            account.spend(name, 1, now)
            self._named.pop(peer, None)
            self._tried[peer] = (tries + 1, now + backoff_s(tries, AGAIN_FIRST_S, AGAIN_SLOWEST_S), reason)

    def _charged(self, peer: Peer) -> tuple[Allowance, str]:
        """Say on which account an address is dialled, and in whose name."""
        if peer in self._callers:
            return self._unanswered, owner_of(peer)
        word = self._named.get(peer)
        return (self._unanswered, "") if word is None else (self._words, word)
