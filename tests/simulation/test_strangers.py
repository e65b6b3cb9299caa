"""Programs that announce themselves to a small ring and never go live: how long they keep an honest newcomer out."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Peer
from chordtwist.node.ring.admission import ANNOUNCE, PLACE_KEPT_S, WITHDRAW
from chordtwist.simulation.world import World
from chordtwist.wire.peer_messages import Announce, Announced, Answer
from tests.simulation.stranger import Stranger

MEMBERS = 10
FEW, AS_MANY = 8, MEMBERS
AGAIN_S = 0.1
"""Each asks each member again so soon, whatever it was answered."""

FEW_KEEP_OUT_S = 60.0
"""Six seconds for each, and some for its join."""

MANY_KEEP_OUT_S = 120.0
TAKEN_IN_MAX = 6
"""Those that each member holds at one time: a few seconds each, and twelve until their time is over."""


class Announcing(Stranger):
    """Takes the slots of all members, and never goes live.

    `again_s`: how long after it was told that a slot is taken it asks again.
    """

    def __init__(self, world: World, members: list[Peer], withdraws: bool, again_s: float) -> None:
        super().__init__(world)
        self._withdraws = withdraws
        self._again_s = again_s
        for member in members:
            self._announce(member, 1)

    def _announce(self, member: Peer, epoch: int) -> None:
        def again(epoch: int, after_s: float = AGAIN_S) -> None:
            self.world.after(after_s, partial(self._announce, member, epoch))

        def told(answer: Answer) -> None:
            if not (self._withdraws and isinstance(answer, Announced)):
                again(epoch, AGAIN_S if isinstance(answer, Announced) else self._again_s)
                return
            self.tell([member], Announce(epoch, WITHDRAW))
            again(epoch + 1)

        self.link.ask(member, Announce(epoch, ANNOUNCE)).addCallbacks(told, lambda failure: again(epoch))


class StrangersTests(SynchronousTestCase):
    """A ring of ten, and nearly as many strangers, or as many."""

    def joined_after_s(self, strangers: int, withdraws: bool, within_s: float, again_s: float = AGAIN_S) -> float:
        self.world = world = World(3, Parameters(network="test"))
        self.addCleanup(world.close)
        world.grow(MEMBERS)
        members = world.members()
        for _ in range(strangers):
            Announcing(world, members, withdraws, again_s)
        world.run(10)
        newcomer, began_s = world.start(), world.now_s
        while not newcomer.is_member and world.now_s < began_s + within_s:
            world.run(1)
        self.assertEqual(world.errors, [])
        return world.now_s - began_s

    def test_that_stay(self) -> None:
        """Strangers that have each slot for as long as they may keep a newcomer out for less than a minute."""
        self.assertLess(self.joined_after_s(FEW, False, FEW_KEEP_OUT_S), FEW_KEEP_OUT_S)

    def test_that_withdraw(self) -> None:
        """So do those that withdraw at once, and begin again."""
        self.assertLess(self.joined_after_s(FEW, True, FEW_KEEP_OUT_S), FEW_KEEP_OUT_S)

    def test_that_come_back_just_in_time(self) -> None:
        """As many as members that leave their places in line empty for as long as these are kept do so for little more:
        30 to 67 s in ten runs.
        """
        within_s = 1.5 * FEW_KEEP_OUT_S
        self.assertLess(self.joined_after_s(AS_MANY, False, within_s, PLACE_KEPT_S - AGAIN_S), within_s)

    def test_as_many_as_members(self) -> None:
        """As many strangers as there are members keep it out for less than two minutes: whoever has not gone live in
        the time for it is held no longer.
        """
        self.assertLess(self.joined_after_s(AS_MANY, False, MANY_KEEP_OUT_S), MANY_KEEP_OUT_S)
        for host in list(self.world.live.values())[1:MEMBERS]:
            known = host.node.routing.successors
            self.assertLessEqual(len([peer for peer in known if peer not in self.world.live]), TAKEN_IN_MAX)
