"""How a node comes to its ring, and back to it: bootstrap, who is first, and members that were lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from math import inf
from random import Random

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.backoff import backoff_s, jittered
from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.signed import Status
from chordtwist.core.table import Table
from chordtwist.node.ring.joining import Joining
from chordtwist.node.ring.tables import NoMember, Tables

FIRST_AFTER_S = 5.0
"""The node whose own address stands first in its list begins a ring when no other listed address answered for so long:
time enough for the others to start, if there is a ring already."""

TOGETHER_AFTER_S = 15.0
"""Nodes that were in a ring together, wait for it, and ask one another, begin it again after so long: three times as
long as the first of the list would take. The one with the smallest id; the others so much later each, should it not."""

ASKED_LATELY_S = 4 * 5.0
"""Who waits for a ring, and knows us, asks us at least so often: each round of its own list takes `RETRY_MAX_S`."""

RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Wait between two rounds over the bootstrap list; doubles up to the maximum, for ever, jittered."""

EXPECTED_MAX = 8
"""The first of the bootstrap list, which are dialled in every round until they answer; others less and less often."""

WAITERS_MAX = 256
"""Nodes remembered that ask us for a ring while we wait for one ourselves."""

LOST_MAX = 64
"""Members of the ring that we remember after they were lost: they may come back as another ring."""


class Bootstrap:
    """Keeps one node in touch: with the bootstrap list, and with members that were lost."""

    _log = Logger()

    def __init__(
        self,
        me: Peer,
        seeds: Callable[[], Deferred[list[Peer]]],
        tables: Tables,
        joining: Joining,
        remembered: Callable[[], Iterable[Peer]],
        expected: Callable[[Peer], None],
        unconvicted: Callable[[list[Peer]], Awaitable[list[Peer]]],
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        """@param seeds: the bootstrap list, the operator's own entries first.
        @param remembered: those of them that an earlier run was in a ring with.
        @param expected: told of peers that are to be dialled, however often that was in vain.
        @param unconvicted: `Judgement.unconvicted`.
        """
        self._me = me
        self._seeds = seeds
        self._tables = tables
        self._joining = joining
        self._remembered = remembered
        self._expected = expected
        self._unconvicted = unconvicted
        self._clock = clock
        self._rng = rng
        self._lost: Bounded[Peer, None] = Bounded(LOST_MAX)
        self._seeds_found: list[Peer] = []
        self._unresolved = ""
        self._trying: list[Peer] = []
        self._again_s = 0.0
        self._said: dict[Peer, str] = {}
        self._asked_by: Bounded[Peer, float] = Bounded(WAITERS_MAX)
        """When those asked us last that ask for a ring while we have none."""
        self._waits: dict[Peer, None] = {}
        """Who answered in the last round that it waits as well."""

    def lost(self, peer: Peer) -> None:
        """Remember a member that was lost from the ring; the node may meet it again."""
        self._lost[peer] = None

    def found(self, peer: Peer) -> None:
        """Take a member off the list of the lost: it has answered, in whatever ring."""
        self._lost.pop(peer, None)

    def asked_by(self, peer: Peer) -> None:
        """Somebody asks for our table while we are no member: perhaps it waits for a ring as we do."""
        self._asked_by[peer] = self._clock.seconds()

    def failed(self, reason: str) -> bool:
        """Note what else went wrong while we tried to join, for `obstacles`; say whether it is news."""
        is_news = self._said.get(self._me) != reason
        self._said[self._me] = reason
        return is_news

    def obstacles(self) -> dict[str, str]:
        """Tell what was in our way when we last tried to join, by the address of who stood there; ours: the ring
        itself.
        """
        said = {str(peer): reason for peer, reason in self._said.items()}
        return {"bootstrap_node": self._unresolved, **said} if self._unresolved else said

    def next_try(self) -> str:
        """Tell what is tried next to join, in words."""
        some = len(self._trying)
        whom = "bootstrap_node" if not some else f"{some} addresses" if some > 1 else str(self._trying[0])
        wait_s = self._again_s - self._clock.seconds()
        return f"{whom} again within {wait_s:.1f} s" if wait_s > 0 else f"{whom} now"

    def sought(self) -> set[Peer]:
        """List whom it looks for: the bootstrap list as it was resolved last, and members that were lost."""
        return {*self._seeds_found, *self._lost} - {self._me}

    async def enter(self, still_wanted: Callable[[], bool], through: Iterable[Peer] = ()) -> Peer | None:
        """Join the ring of any contact, trying for ever, or find that we are the first.

        @param through: contacts to try before all others: the ring that is to be joined.

        Answers with the old owner of our arc, or None when we are to begin a ring.
        """
        began = self._clock.seconds()
        rounds = 0
        while still_wanted():
            listed = await self._listed()
            seeds = listed or []
            for peer in seeds[:EXPECTED_MAX]:
                self._expected(peer)
            others = [peer for peer in dict.fromkeys((*through, *seeds, *self._lost)) if peer != self._me]
            if not others and listed is not None:
                return None
            self._trying = others
            members = await self._answering(list(through))
            is_told = bool(members)
            members = members or await self._answering(others)
            through = ()
            contacts = await self._unconvicted([table.peer for table in members])
            if members:
                try:
                    if not contacts:
                        raise Unreachable(None, "all who answer are convicted")
                    old_owner = await self._joining.join(contacts, is_told)
                    self._said.clear()
                    return old_owner
                except (Refused, Unreachable) as error:
                    self._say(self._me, str(error))
            elif self._clock.seconds() - began >= self._begins_after_s(listed):
                return None
            slowest_s = FIRST_AFTER_S / 4 if self._may_begin(listed) else RETRY_MAX_S
            pause_s = jittered(backoff_s(rounds, RETRY_MIN_S, slowest_s), self._rng)
            self._again_s = self._clock.seconds() + pause_s
            await deferLater(self._clock, pause_s)
            rounds += 1
        return None

    def _begins_after_s(self, listed: list[Peer] | None) -> float:
        """After how long we begin a ring when no member answers."""
        if self._may_begin(listed):
            return FIRST_AFTER_S
        # Each of the two remembers the other, or it would not be asked: whoever is only listed waits for the first.
        lately = self._clock.seconds() - ASKED_LATELY_S
        known = {*self._remembered(), *self._lost}
        together = [peer for peer in self._waits if peer in known and self._asked_by.get(peer, lately) > lately]
        before_us = sum(peer.id < self._me.id for peer in together)
        return TOGETHER_AFTER_S * (1 + before_us) if together else inf

    def _may_begin(self, listed: list[Peer] | None) -> bool:
        """Whether we begin a ring when nobody answers: we stand first in the list, or there is none, and whoever we
        lost may be waiting for us.
        """
        return listed is not None and listed[:1] in ([], [self._me])

    async def anybody(self) -> list[Peer]:
        """Whoever may still be reached: the bootstrap list, and members that were lost."""
        known = dict.fromkeys((*(await self._listed() or ()), *self._lost))
        return [peer for peer in known if peer != self._me]

    async def _listed(self) -> list[Peer] | None:
        """Get the bootstrap list; None while no name can be resolved, which makes nobody the first of a ring."""
        try:
            self._seeds_found = await self._seeds()
        except Unreachable as error:
            self._unresolved = error.reason
            return None
        self._unresolved = ""
        return self._seeds_found

    async def _answering(self, peers: list[Peer]) -> list[Table]:
        """Get the tables of those that answer as members; one line for each that does not, when its reason is new."""
        members: list[Table] = []
        self._waits.clear()

        def silent(failure: Failure, peer: Peer) -> None:
            failure.trap(Unreachable)
            error = failure.value
            if isinstance(error, NoMember):
                if error.status is Status.JOINING:
                    self._waits[peer] = None
                self._say(peer, "not a member of a ring yet")
            elif isinstance(error, Unreachable):
                self._say(peer, error.reason)

        await DeferredList(
            [self._tables.fetch(peer).addCallbacks(members.append, silent, errbackArgs=(peer,)) for peer in peers]
        )
        return members

    def _say(self, peer: Peer, reason: str) -> None:
        if self._said.get(peer) != reason:
            self._said[peer] = reason
            what = "joining" if peer == self._me else "bootstrap"
            self._log.info("{what}: {peer}: {reason}; trying on", what=what, peer=str(peer), reason=reason)
