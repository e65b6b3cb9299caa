"""Host names in the bootstrap list."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.net.names import RESOLVE_WITHIN_S, Names


class NamesTests(TestCase):
    """Names to peers."""

    def setUp(self) -> None:
        """A resolver that answers when the test says so."""
        self.identity = Identity("test", Policy.IP)
        self.clock = Clock()
        self.lookups: list[tuple[str, Deferred[list[str]]]] = []

    def resolve(self, host: str) -> Deferred[list[str]]:
        """Ask the test."""
        found: Deferred[list[str]] = Deferred()
        self.lookups.append((host, found))
        return found

    def names(self, *addresses: tuple[str, int]) -> Names:
        """The list under test."""
        return Names(self.resolve, self.identity, addresses, self.clock)

    def peer(self, host: str, port: int = 6401) -> Peer:
        """A peer by its IP address."""
        return self.identity.peer(host, port)

    def test_ip_addresses(self) -> None:
        """IP addresses of either family need no resolver."""
        found = self.successResultOf(self.names(("127.0.0.2", 6401), ("::1", 6402)).peers())
        self.assertEqual([self.peer("127.0.0.2"), self.peer("::1", 6402)], found)
        self.assertEqual([], self.lookups)

    def test_order(self) -> None:
        """Peers come in the order of the list, whatever answers first, and none twice."""
        found = self.names(("one.example", 6401), ("127.0.0.2", 6401), ("two.example", 6401)).peers()
        one, two = self.lookups
        two[1].callback(["127.0.0.4"])
        self.assertNoResult(found)
        one[1].callback(["127.0.0.3", "::1", "127.0.0.2"])
        expected = [self.peer(host) for host in ("127.0.0.3", "::1", "127.0.0.2", "127.0.0.4")]
        self.assertEqual(expected, self.successResultOf(found))

    def test_family(self) -> None:
        """Of a name's addresses, as localhost has them, those of the family that is dialled from are taken, or else the
        others: they cannot be dialled, and that is said of them. What the list names by address stays.
        """
        for dial_from, hosts, expected in (
            ("127.0.0.1", ["::1", "127.0.0.1"], ["127.0.0.1"]),
            ("::1", ["::1", "127.0.0.1"], ["::1"]),
            ("", ["::1", "127.0.0.1"], ["::1", "127.0.0.1"]),
            ("127.0.0.1", ["::1"], ["::1"]),
        ):
            listed = [("localhost", 6401), ("2001:db8::9", 6401)]
            found = Names(self.resolve, self.identity, listed, self.clock, dial_from).peers()
            self.lookups.pop()[1].callback(hosts)
            peers = [self.peer(host) for host in (*expected, "2001:db8::9")]
            self.assertEqual(peers, self.successResultOf(found), dial_from)

    def test_resolved_again(self) -> None:
        """A name is resolved again at each try, since its address may have changed."""
        names = self.names(("one.example", 6401))
        for host in ("127.0.0.3", "127.0.0.4"):
            found = names.peers()
            self.lookups.pop()[1].callback([host])
            self.assertEqual([self.peer(host)], self.successResultOf(found))

    def test_failure(self) -> None:
        """A name that does not resolve is left out; the log says so once, and again when it failed anew."""
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        names = self.names(("one.example", 6401), ("127.0.0.2", 6401))
        outcomes: tuple[Exception | list[str], ...] = (
            OSError("unknown"),
            OSError("unknown"),
            ["127.0.0.3"],
            OSError("unknown"),
        )
        for outcome, lines in zip(outcomes, (1, 1, 1, 2), strict=True):
            found = names.peers()
            lookup = self.lookups.pop()[1]
            if isinstance(outcome, list):
                lookup.callback(outcome)
                self.successResultOf(found)
            else:
                lookup.errback(outcome)
                self.assertEqual([self.peer("127.0.0.2")], self.successResultOf(found))
            self.assertEqual(lines, len(events))
        self.assertEqual(("one.example", "unknown"), (events[0]["host"], events[0]["reason"]))

    def test_none(self) -> None:
        """When not one of a list can be resolved it fails; an empty list is no failure."""
        found = self.names(("one.example", 6401)).peers()
        self.lookups.pop()[1].errback(OSError("unknown"))
        self.failureResultOf(found, Unreachable)
        self.assertEqual([], self.successResultOf(self.names().peers()))

    def test_hanging(self) -> None:
        """A lookup that hangs is left out after a while; later tries join it instead of starting more."""
        names = self.names(("one.example", 6401), ("127.0.0.2", 6401))
        first = names.peers()
        self.clock.advance(RESOLVE_WITHIN_S)
        self.assertEqual([self.peer("127.0.0.2")], self.successResultOf(first))
        second = names.peers()
        ((_, lookup),) = self.lookups
        lookup.callback(["127.0.0.3"])
        self.assertEqual([self.peer("127.0.0.3"), self.peer("127.0.0.2")], self.successResultOf(second))
        self.assertEqual([], self.clock.getDelayedCalls())
