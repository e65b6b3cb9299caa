"""Joining a small ring: the newcomer announces itself to every member, until all have taken it in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from chordtwist.core.errors import Refused
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.routing import Routing
from chordtwist.core.small_ring import in_order
from chordtwist.node.ring.admission import ANNOUNCE, HELD_S, LIVE, PROBE, WITHDRAW
from chordtwist.node.ring.asking import answers_to
from chordtwist.node.ring.starting_over import InTheWay, StartOver, pause
from chordtwist.node.ring.statements import Statements
from chordtwist.node.ring.tables import Tables
from chordtwist.wire.peer_messages import Announce, Announced, Answer, JoinFailure, NotMember, Ping, Question

TURNS_MAX = 20
"""Times that a newcomer asks a member whose slot is taken, before it looks again who is there."""

SILENT_TRIES_MAX = 1
"""Members that do not answer when our turn has come are asked so many times again: then the turn is another's."""

LIVE_SAID_MAX = 3
"""Times that members which do not answer are told that we are live."""


class Announcing:
    """Brings one newcomer into a ring in which everybody knows everybody."""

    def __init__(
        self,
        identity: Identity,
        routing: Routing,
        statements: Statements,
        tables: Tables,
        ask: Callable[[Peer, Question], Deferred[Answer]],
        clock: IReactorTime,
        rng: Random,
    ) -> None:
        self._identity = identity
        self._routing = routing
        self._statements = statements
        self._tables = tables
        self._ask = ask
        self._clock = clock
        self._rng = rng

    async def join_whole(self, followers: Iterable[Peer], in_the_way: InTheWay) -> Peer:
        """Join a ring in which everybody knows everybody: in the slot of each member, then live at once."""
        me = self._routing.me
        told: dict[Peer, None] = {}
        try:
            members = await self._be_taken_in(followers, in_the_way, told)
            # We have the slot of every member, so no other newcomer came in since; some may have come before us, while
            # we waited in line: our predecessor may be another one than at first.
            followers = in_order(me, members)
            predecessor = followers[-1]
            # A member that took us in and has restarted meanwhile, before we had the slots of the others, may be back.
            answers = dict(zip(members, await self._announce(members, ANNOUNCE), strict=True))
            failed = {peer: answer for peer, answer in answers.items() if not isinstance(answer, Announced)}
            await self._pass_over(failed, dict.fromkeys(answers.keys() - failed.keys(), members), in_the_way)
            again = (await answers_to([self._tables.fetch(predecessor)]))[0]
            # With one more than a whole list holds, taking us in ends wholeness.
            may_be_whole = len(members) <= 2 * self._routing.entries_max
            untold = set() if again is None else {*again.successors} - {me, *members}
            is_shown = again is not None and (again.whole or not may_be_whole)
            is_sure = is_shown and all(map(in_the_way.is_overruled, untold))
            if not is_sure and not in_the_way.is_overruled(predecessor):
                raise StartOver(predecessor)
        except (Refused, StartOver):
            await self._announce(told, WITHDRAW)
            raise
        self._routing.join(predecessor, followers, whole=True)
        Deferred.fromCoroutine(self._say_live(members)).addErrback(lambda failure: failure.trap(CancelledError))
        return followers[0]

    async def _be_taken_in(self, members: Iterable[Peer], in_the_way: InTheWay, told: dict[Peer, None]) -> list[Peer]:
        """Announce ourselves to every member that we learn of; answers with all of them, in whose slots we are now.

        The member with the smallest id is asked before all others, so that newcomers meet there and not halfway. Before
        its turn comes a newcomer makes sure that it reaches everybody, and they it: else all others wait for nothing.

        @param told: those that may have taken us in are added.
        """
        first, named, passed = await self._line_up(members, in_the_way, told)
        told.update(dict.fromkeys(named))
        taken_in_by: dict[Peer, Collection[Peer]] = {first: named}
        try:
            await self._announce_to_all(ANNOUNCE, named, taken_in_by, in_the_way, SILENT_TRIES_MAX, passed=passed)
        finally:
            told.update(dict.fromkeys(taken_in_by))
        return [*taken_in_by]

    async def _line_up(
        self, members: Iterable[Peer], in_the_way: InTheWay, told: dict[Peer, None]
    ) -> tuple[Peer, list[Peer], Collection[Peer]]:
        """Ask the first member until its slot is ours: it holds its answer for a while when others come before us, and
        refuses at once when its line is full. Only those that stand in it reach everybody else.

        Answers with that one, the members that it and the others name, and those that were passed over.
        """
        answered: dict[Peer, Collection[Peer]] = {}
        passed: set[Peer] = set()
        before: Peer | None = None
        for turn in range(TURNS_MAX):
            probed_s = self._clock.seconds()
            passed.update(await self._announce_to_all(PROBE, members, answered, in_the_way, before=before))
            if before is not None:
                # Whoever sent us on has let us wait for those that it named, too.
                in_the_way.lined_up(before, self._clock.seconds() - probed_s)
            if not answered:
                raise StartOver
            in_the_way.look(answered)
            first = min(answered, key=lambda peer: (in_the_way.is_overruled(peer), peer.id))
            told[first] = None
            asked_s = self._clock.seconds()
            answer = (await self._announce([first], ANNOUNCE))[0]
            if isinstance(answer, Announced):
                named = self._named(answer)
                if not any(peer.id < first.id and peer not in answered and peer not in passed for peer in named):
                    return first, [*dict.fromkeys((*named, *answered))], passed.difference(answered)
                # One came before it while we waited here: others line up there.
                members, before = [*answered, *named], None
            elif isinstance(answer, JoinFailure) and answer.busy:
                # Whoever does not stand in line is told where to. On a busy machine that comes late, too.
                is_in_line = not answer.better and self._clock.seconds() - asked_s > HELD_S / 2
                if not answer.better:
                    del answered[first]  # it tells us who came meanwhile
                    members, before = [*answered, first], None
                else:
                    members, before = [peer for peer in self._unpacked([answer.better]) if peer.id < first.id], first
                await pause(self._clock, self._rng, 0 if is_in_line else turn + 1)
                in_the_way.lined_up(first, self._clock.seconds() - asked_s)
                continue
            await self._announce([first], WITHDRAW)
            if not isinstance(answer, Announced):
                del answered[first]
                await self._pass_over({first: answer}, answered, in_the_way)
        raise StartOver(first)

    async def _announce_to_all(
        self,
        step: int,
        members: Iterable[Peer],
        answered: dict[Peer, Collection[Peer]],
        in_the_way: InTheWay,
        silent_tries: int = 0,
        before: Peer | None = None,
        passed: Collection[Peer] = (),
    ) -> Collection[Peer]:
        """Take a step of ours to all `members`, and to whomever they name, but those that have `answered`: whoever does
        is added there, with whom he names. Answers with those that do not, and are passed over.

        @param before: whom they name is left alone unless its id is smaller than that of this one.
        @param passed: those before our turn. Whom of them we overrule is not waited for again: others wait for us.
        @raise StartOver: others do not, and have not kept us waiting for long. @raise Refused: half of them refuse us.
        """
        heard = dict.fromkeys(members)
        failed: dict[Peer, Answer | None] = {peer: None for peer in passed if in_the_way.is_overruled(peer)}
        while batch := [peer for peer in heard if peer not in answered and peer not in failed]:
            for peer, answer in zip(batch, await self._announce(batch, step), strict=True):
                if isinstance(answer, Announced):
                    answered[peer] = self._named(answer)
                    heard.update({peer: None for peer in answered[peer] if before is None or peer.id < before.id})
                elif answer is not None or silent_tries <= 0 or in_the_way.is_overruled(peer):
                    failed[peer] = answer
            silent_tries -= 1
        await self._pass_over(failed, answered, in_the_way)
        return failed

    async def _pass_over(
        self, failed: Mapping[Peer, Answer | None], answered: Mapping[Peer, Collection[Peer]], in_the_way: InTheWay
    ) -> None:
        """Go on without those that have `failed` to answer a step of ours, where they are no members: by their own
        word, or named by few and not busy. Members have their time, and then are overruled by those that `answered`.
        Whom we cannot reach is none that lies: we would skip each other. Where most of them stand in our way it is the
        ring that changes, and held against nobody.
        """
        members = [peer for peer in failed if 2 * sum(peer in named for named in answered.values()) > len(answered)]
        count = len(answered) + len(members)
        waited_for = []
        for peer, answer in failed.items():
            is_busy = isinstance(answer, JoinFailure) and answer.busy
            if isinstance(answer, NotMember) or not (is_busy or peer in members):
                continue
            if isinstance(answer, JoinFailure) and not is_busy:
                in_the_way.refused(peer, answer.reason, count)
            waited_for.append(peer)
        overruled = [peer for peer in waited_for if in_the_way.is_overruled(peer)]
        if 2 * sum(peer in members for peer in waited_for) >= count:
            raise StartOver
        if len(overruled) < len(waited_for):
            raise StartOver(*waited_for)
        if None in await answers_to(self._ask(peer, Ping()) for peer in overruled):
            raise StartOver(*waited_for)

    def _named(self, announced: Announced) -> dict[Peer, None]:
        return self._unpacked(announced.members)

    def _unpacked(self, named: Iterable[bytes]) -> dict[Peer, None]:
        peers: dict[Peer, None] = {}
        for packed in named:
            with suppress(ValueError):
                peers[self._identity.unpack(packed)] = None
        peers.pop(self._routing.me, None)
        return peers

    async def _announce(self, peers: Iterable[Peer], step: int) -> list[Answer | None]:
        """Tell all of them at once; None stands for one that is silent."""
        question = Announce(self._statements.epoch, step)
        return await answers_to(self._ask(peer, question) for peer in peers)

    async def _say_live(self, members: list[Peer]) -> None:
        """Whoever has not heard it keeps the next newcomer waiting."""
        for _ in range(LIVE_SAID_MAX):
            answers = await self._announce(members, LIVE)
            members = [peer for peer, answer in zip(members, answers, strict=True) if answer is None]
            if not members:
                break
