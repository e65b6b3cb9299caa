"""What goes on in a simulated world: nodes come and go, look positions up, put and get records."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial

from chordtwist.core.lookup import Quality
from chordtwist.core.peer import Peer
from chordtwist.simulation.chance import below, pick, session_us, waiting_us
from chordtwist.simulation.clock import SECOND_US, microseconds
from chordtwist.simulation.world import LookupResult, World

AWAY_SHARE = 10
"""Who comes back to its address is away for a tenth of a session, on average."""

WAYS = ("crash", "power_off", "leave")


class Churn:
    """Keeps the number of nodes as it is while each of them stays for a session only.

    A node ends by crash, by power loss or by leaving, alike often. Half of them come back to their own address later,
    with nothing but their key and epoch; for the others a new node starts at a new address at once.
    """

    def __init__(self, world: World, session_median_s: float) -> None:
        self.world = world
        self.median_us = microseconds(session_median_s)
        self.ended = 0
        self.running = False

    def begin(self, staying: Container[Peer] = ()) -> None:
        """From now on sessions end, but for those of `staying`; ages are random, as if it had always been so."""
        self.running = True
        for peer in [peer for peer in self.world.live if peer not in staying]:
            self._schedule(peer)

    def stop(self) -> None:
        """Nobody goes any more; who is away still comes back."""
        self.running = False

    def _schedule(self, peer: Peer) -> None:
        world = self.world
        link = world.live[peer].link
        world.clock.at(
            world.clock.now_us + session_us(world.rng, self.median_us), lambda _: self._end(peer, link), None
        )

    def _end(self, peer: Peer, link: object) -> None:
        world = self.world
        if not self.running or peer not in world.live or world.live[peer].link is not link:
            return
        self.ended += 1
        way = pick(world.rng, WAYS)
        if way == "leave":
            world.leave(peer)
        elif way == "crash":
            world.crash(peer)
        else:
            world.power_off(peer)
        if world.rng.getrandbits(1):
            away_us = waiting_us(world.rng, self.median_us // AWAY_SHARE)
            world.clock.at(world.clock.now_us + max(away_us, SECOND_US), self._start, peer)
        else:
            self._start(None)

    def _start(self, peer: Peer | None) -> None:
        world = self.world
        if peer is not None and peer in world.live:  # still leaving
            world.clock.at(world.clock.now_us + SECOND_US, self._start, peer)
            return
        host = world.start(peer)
        if self.running:
            self._schedule(host.peer)


class Repeated:
    """Something that is done again and again until `stop`, each time independently of the others."""

    def __init__(self, world: World, per_second: float, act: Callable[[], None]) -> None:
        """Begin at once.

        @param per_second: how often, on average.
        """
        self._world = world
        self._mean_us = int(SECOND_US / per_second)
        self._act = act
        self._running = True
        self._wait()

    def stop(self) -> None:
        """No more; what has begun goes on."""
        self._running = False

    def _wait(self) -> None:
        clock = self._world.clock
        clock.at(clock.now_us + waiting_us(self._world.rng, self._mean_us), self._due, None)

    def _due(self, _: None) -> None:
        if self._running:
            self._act()
            self._wait()


@dataclass
class Paid:
    """What the lookups of one quality have cost: how many there were, their questions, and how many of them widened."""

    of: int = 0
    questions: int = 0
    widened: int = 0


class Lookups:
    """Random members look random positions up, quickly and verified in turn."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked = 0
        self.right = 0
        self.explained = 0
        self.unreached = 0
        self.wrong = 0
        self.hops = 0
        self.questions = 0
        self.silent = 0
        self.paid = {quality: Paid() for quality in Quality}
        self.took_us = 0
        self.took_us_max = 0
        self._begun = 0
        self.askers: list[Peer] = []
        """Who looks up; nobody in particular: any member."""
        self._repeated: Repeated | None = None

    def begin(self, per_second: float) -> None:
        """Look up from now on, so many times a second in all, until `stop`."""
        self.stop()
        self._repeated = Repeated(self.world, per_second, self.once)

    def stop(self) -> None:
        """No more; what is under way ends and counts."""
        if self._repeated is not None:
            self._repeated.stop()

    def once(self) -> None:
        """One lookup now, by any member."""
        asker = pick(self.world.rng, self.askers) if self.askers else any_member(self.world)
        if asker is not None and asker in self.world.live:
            self._begun += 1
            quality = Quality.QUICK if self._begun % 2 else Quality.VERIFIED
            self.world.find(asker, self.world.rng.getrandbits(256), partial(self._told, quality), quality)

    @property
    def answered(self) -> int:
        """Lookups that ended in any way; the others are under way, or their asker is gone."""
        return self.right + self.explained + self.unreached + self.wrong

    def _told(self, quality: Quality, result: LookupResult) -> None:
        self.asked += 1
        if result.verdict == "right":
            self.right += 1
        elif result.verdict == "explained":
            self.explained += 1
        elif result.verdict == "unreached":
            self.unreached += 1
        else:
            self.wrong += 1
        if result.route is not None:
            self.hops += result.route.hops
            self.questions += result.route.questions
            self.silent += result.route.silent
            paid = self.paid[quality]
            paid.of += 1
            paid.questions += result.route.questions
            paid.widened += result.route.is_widened
        self.took_us += result.took_us
        self.took_us_max = max(self.took_us_max, result.took_us)


def any_member(world: World) -> Peer | None:
    """Pick a member at random, each alike; None when there is none."""
    ids = world.check.ids
    if not ids:
        return None
    return world.check.owner(ids[below(world.rng, len(ids))])
