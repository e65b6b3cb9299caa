"""How a node comes to its ring: who is first."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.node.contact import Contact

ME = Identity("test", Policy.IP).peer("127.0.0.9", 6401)


class FirstTests(SynchronousTestCase):
    """Whether a node that knows nobody begins a ring."""

    def setUp(self) -> None:
        """A node that has nobody to ask, so that it needs neither tables nor a way to join."""
        self.clock = Clock()
        self.listed: list[Peer] | None = []
        nobody = cast(Any, None)
        self.contact = Contact(ME, self.seeds, nobody, nobody, self.clock, Random(1))

    def seeds(self) -> Deferred[list[Peer]]:
        """The bootstrap list; None stands for names that cannot be resolved."""
        return fail(Unreachable(None, "no name")) if self.listed is None else succeed(self.listed)

    def test_empty_list(self) -> None:
        """An empty list, or one of the node alone, makes it the first at once."""
        for self.listed in ([], [ME]):
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.contact.enter(lambda: True))))

    def test_names_fail(self) -> None:
        """Names that cannot be resolved make nobody the first; the node tries on until they can be."""
        self.listed = None
        entered = Deferred.fromCoroutine(self.contact.enter(lambda: True))
        for _ in range(10):
            self.clock.advance(10)
        self.assertNoResult(entered)
        self.listed = [ME]
        self.clock.advance(10)
        self.assertIsNone(self.successResultOf(entered))
