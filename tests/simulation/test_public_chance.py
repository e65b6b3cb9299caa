"""What others are shown tells nothing of what a node draws in private."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.evidence import SALT_LENGTH
from chordtwist.core.parameters import Parameters
from chordtwist.core.ring import ID_BITS
from chordtwist.node.environment import Environment
from chordtwist.node.node import Node
from chordtwist.node.records.auditing import NONCE_BYTES
from chordtwist.simulation.adversaries import ATTACKS
from chordtwist.simulation.adversaries.coalition import Coalition
from chordtwist.simulation.world import World
from tests.simulation.apart import grow_apart


class Private(Random):
    """Draws nothing so wide that somebody might be shown it."""

    def randbytes(self, n: int) -> bytes:
        raise AssertionError("bytes that others are shown")

    def getrandbits(self, k: int) -> int:
        assert k < ID_BITS, "a position that others are asked for"
        return super().getrandbits(k)


class Public(Random):
    """Notes what is drawn."""

    drawn: set[str]

    def randbytes(self, n: int) -> bytes:
        self.drawn.add(f"{n} bytes")
        return super().getrandbits(8 * n).to_bytes(n, "big")

    def getrandbits(self, k: int) -> int:
        self.drawn.add(f"{k} bits")
        return super().getrandbits(k)


class ChanceTests(SynchronousTestCase):
    """Rings whose nodes break by an error where they draw in private what they show."""

    def setUp(self) -> None:
        self.drawn: set[str] = set()
        self.world = World(5, Parameters(network="simulation", successors=4, replication=3))
        self.addCleanup(self.world.close)

    def watch(self, build: Callable[..., Node]) -> None:
        """Have all nodes built so that they note what they draw for others to see."""

        def watched(
            me: Any, identity: Any, parameters: Any, link: Any, store: Any, lent: Environment, *more: Any
        ) -> Node:
            public = Public(lent.rng.random())
            public.drawn = self.drawn
            lent = replace(lent, rng=Private(lent.rng.random()), public_rng=public)
            return build(me, identity, parameters, link, store, lent, *more)

        self.world.build = watched

    def test_points(self) -> None:
        """Points at which rings are compared: whoever shows a ring is asked for hundreds of them."""
        self.watch(Node)
        large, small = ([self.world.address(n) for n in numbers] for numbers in (range(10), range(10, 17)))
        grow_apart(self.world, large, small)
        self.world.seed_peers = [large[0], small[0]]
        self.world.run(120)
        self.assertEqual(17, self.world.check.principals())
        self.assertIn(f"{ID_BITS} bits", self.drawn)

    def test_salts(self) -> None:
        """Nonces of audits, and salts, where a quarter gives itself away and is convicted by some before others."""
        coalition = Coalition(self.world, 0.25, ATTACKS["equivocate"], True, grown=False)
        self.watch(coalition.build)
        self.world.grow(24)
        self.world.settle(60)
        coalition.begin()
        for number, host in enumerate(self.world.live.values()):
            host.node.put(b"%032d" % number, b"value").addErrback(lambda failure: None)  # a liar may refuse it
        self.world.run(120)
        self.assertLessEqual({f"{NONCE_BYTES} bytes", f"{SALT_LENGTH} bytes"}, self.drawn)
