"""Whom a node calls to find its ring."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.seed_list import SEEDS_REMEMBERED_MAX, SeedList
from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Identity, Peer, Policy

IDENTITY = Identity("test", Policy.IP)
ME, ONE, TWO, THREE = (IDENTITY.peer(f"127.0.0.{n}", 6401) for n in (9, 1, 2, 3))


class SeedListTests(SynchronousTestCase):
    """The list of seeds, and what is remembered for the next one."""

    def seeds(self, listed: list[Peer] | None, remembered: list[Peer]) -> Deferred[list[Peer]]:
        """The seeds with this bootstrap list (None: no name can be resolved) and these peers of an earlier run."""

        def bootstrap() -> Deferred[list[Peer]]:
            return fail(Unreachable(None, "no name")) if listed is None else succeed(listed)

        return SeedList(ME, bootstrap, listed == [], remembered, lambda peers: None).seeds()

    def test_listed_first(self) -> None:
        """The bootstrap list comes first, then the peers of the earlier run, none twice."""
        self.assertEqual([ONE, TWO, THREE], self.successResultOf(self.seeds([ONE, TWO], [THREE, ONE])))

    def test_first_node(self) -> None:
        """Who has neither list nor memory begins a ring at once."""
        self.assertEqual([], self.successResultOf(self.seeds([], [])))

    def test_first_node_restarted(self) -> None:
        """The first node of a ring looks for it after a restart, and names itself first: somebody has to begin."""
        self.assertEqual([ME, ONE], self.successResultOf(self.seeds([], [ONE])))

    def test_names_fail(self) -> None:
        """Without a resolver the peers of the earlier run will do; without those either, nobody is named."""
        self.assertEqual([ONE], self.successResultOf(self.seeds(None, [ONE])))
        self.failureResultOf(self.seeds(None, []), Unreachable)

    def test_remember(self) -> None:
        """Peers are kept when they are others than those kept, which stand behind them; to be alone is no reason to
        forget, nor is it to have lost half of the ring.
        """
        kept: list[list[Peer]] = []
        seed_list = SeedList(ME, lambda: succeed([]), True, [ONE], kept.append)
        for peers in ([ONE], [TWO, ONE], [ONE, TWO], [], [THREE]):
            seed_list.remember(peers)
        self.assertEqual([[TWO, ONE], [THREE, ONE, TWO]], kept)
        self.assertEqual([ME, THREE, ONE, TWO], self.successResultOf(seed_list.seeds()))

    def test_remember_the_book(self) -> None:
        """Whoever was met stands behind the neighbours; they are kept again when some of them are new, not for each."""
        kept: list[list[Peer]] = []
        seed_list = SeedList(ME, lambda: succeed([]), True, [], kept.append)
        met = [IDENTITY.peer(f"127.0.1.{n}", 6401) for n in range(200)]
        seed_list.remember([ONE], met[:100])
        seed_list.remember([ONE], met[:103])
        self.assertEqual([[ONE, *met[:100]]], kept)
        seed_list.remember([ONE], met[:110])
        self.assertEqual([ONE, *met[:110]], kept[-1])
        seed_list.remember([TWO], met[:110])
        self.assertEqual([TWO, *met[:110], ONE], kept[-1])

    def test_few_seeds(self) -> None:
        """Of all who are remembered only the best are called."""
        many = [IDENTITY.peer(f"127.1.{n // 250}.{n % 250 + 1}", 6401) for n in range(1000)]
        self.assertEqual(many[:SEEDS_REMEMBERED_MAX], self.successResultOf(self.seeds(None, many)))
        self.assertEqual([ONE, *many[:SEEDS_REMEMBERED_MAX]], self.successResultOf(self.seeds([ONE], many)))
