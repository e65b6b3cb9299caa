"""What addresses say: reach, prefixes, and how many of one prefix are taken."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.prefixes import (
    PER_PREFIX_MAX,
    Reach,
    can_be_neighbours,
    is_crowded,
    one_owner,
    owner_of,
    prefix_group,
    reach,
)
from chordtwist.core.routing import Routing

IDENTITY = Identity("test", Policy.IP)


def peer(host: str) -> Peer:
    """The peer at an address."""
    return IDENTITY.peer(host, 6401)


def routing(me: str = "8.8.8.8", spreads_fingers: bool = True) -> Routing:
    """A member of a ring without neighbours."""
    return Routing(peer(me), 16, spreads_fingers)


class ReachTests(SynchronousTestCase):
    """From how far away an address can be dialled."""

    def test_reach(self) -> None:
        """Every range has its reach, in both families."""
        expected = {
            Reach.PUBLIC: ("8.8.8.8", "1.1.1.1", "2606:4700::1111"),
            Reach.PRIVATE: ("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "fd00::1"),
            Reach.LOOPBACK: ("127.0.0.1", "127.9.9.9", "::1"),
            Reach.NOWHERE: ("0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "240.0.0.1", "fe80::1"),
        }
        for meaning, hosts in expected.items():
            for host in hosts:
                self.assertEqual(meaning, reach(ip_address(host)), host)

    def test_neighbours(self) -> None:
        """A node has business with addresses that reach at least as far as its own, never with others."""
        hosts = ("8.8.8.8", "10.0.0.1", "127.0.0.1")
        for index, ours in enumerate(hosts):
            for other, theirs in enumerate(hosts):
                self.assertEqual(other <= index, can_be_neighbours(peer(ours), peer(theirs)), (ours, theirs))


class PrefixTests(SynchronousTestCase):
    """What one owner may well have."""

    def test_groups(self) -> None:
        """An IPv4 /24 and an IPv6 /48 are one owner's; loopback and private ranges are nobody's."""
        self.assertEqual("8.8.8.0/24", prefix_group(ip_address("8.8.8.77")))
        self.assertEqual("2606:4700:1::/48", prefix_group(ip_address("2606:4700:1:2::3")))
        for host in ("127.0.0.1", "10.1.2.3", "192.168.0.1", "::1", "fd00::1", "0.0.0.0"):
            self.assertIsNone(prefix_group(ip_address(host)))

    def test_owners(self) -> None:
        """An IPv4 address and an IPv6 /64 have one owner each, whatever the ports."""
        self.assertEqual(owner_of(peer("8.8.8.8")), owner_of(IDENTITY.peer("8.8.8.8", 7000)))
        self.assertNotEqual(owner_of(peer("8.8.8.8")), owner_of(peer("8.8.8.9")))
        self.assertEqual(owner_of(peer("2606:4700:1:2::3")), owner_of(peer("2606:4700:1:2:ffff::4")))
        self.assertNotEqual(owner_of(peer("2606:4700:1:2::3")), owner_of(peer("2606:4700:1:3::3")))
        self.assertEqual("8.8.8.8", one_owner(ip_address("8.8.8.8")))
        self.assertEqual("2606:4700:1:2::/64", one_owner(ip_address("2606:4700:1:2:ffff::4")))

    def test_crowded(self) -> None:
        """A prefix is crowded by other peers of it, each counted once."""
        first, second, third = peer("9.9.9.1"), peer("9.9.9.2"), peer("9.9.9.3")
        self.assertFalse(is_crowded(third, [first, first, peer("9.9.8.1"), peer("127.0.0.1")]))
        self.assertTrue(is_crowded(third, [first, second]))
        self.assertFalse(is_crowded(second, [first, second]))

    def test_private_is_never_crowded(self) -> None:
        """In a laboratory all peers are of one prefix."""
        self.assertFalse(is_crowded(peer("127.0.0.9"), [peer(f"127.0.0.{number}") for number in range(1, 9)]))


class FingerTests(SynchronousTestCase):
    """Fingers are spread over prefixes."""

    def test_one_owner(self) -> None:
        """Who owns a prefix gets two fingers, not all of them."""
        state = routing()
        taken = [state.set_finger(250 + number, peer(f"9.9.9.{number}")) for number in range(5)]
        self.assertEqual([True] * PER_PREFIX_MAX + [False] * (5 - PER_PREFIX_MAX), taken)
        self.assertEqual(PER_PREFIX_MAX, len(state.fingers))
        self.assertTrue(state.set_finger(254, peer("9.9.8.1")))

    def test_same_peer(self) -> None:
        """One peer may be many fingers, as in every ring with fewer members than fingers."""
        state = routing()
        for k in range(240, 250):
            self.assertTrue(state.set_finger(k, peer("9.9.9.1")))

    def test_replaced(self) -> None:
        """A finger makes room for another of its prefix."""
        state = routing()
        for k, host in ((250, "9.9.9.1"), (251, "9.9.9.2"), (251, "9.9.9.3")):
            self.assertTrue(state.set_finger(k, peer(host)))

    def test_refused_keeps_the_old(self) -> None:
        """What is refused changes nothing."""
        state = routing()
        for k, host in ((250, "9.9.9.1"), (251, "9.9.9.2"), (252, "7.7.7.7")):
            state.set_finger(k, peer(host))
        changes = state.changes
        self.assertFalse(state.set_finger(252, peer("9.9.9.3")))
        self.assertEqual((peer("7.7.7.7"), changes), (state.fingers[252], state.changes))

    def test_closed_network(self) -> None:
        """Where an authority says who may join, all may live in one prefix."""
        state = routing(spreads_fingers=False)
        for number in range(5):
            self.assertTrue(state.set_finger(250 + number, peer(f"9.9.9.{number}")))

    def test_replicas_are_not_chosen_by_prefix(self) -> None:
        """Who keeps a record follows from positions alone, whatever the addresses."""
        state = routing()
        members = sorted((peer(f"9.9.9.{number}") for number in range(1, 9)), key=lambda one: one.id)
        behind = [one for one in members if one.id > state.me.id] + [one for one in members if one.id < state.me.id]
        state.join(behind[-1], behind, True)
        self.assertEqual(tuple(behind), state.replicas(behind[0].id)[:8])

    def test_ourselves_again(self) -> None:
        """That we are our own finger is no news."""
        self.assertFalse(routing().set_finger(255, peer("8.8.8.8")))


class NearTests(SynchronousTestCase):
    """Who may have whole arcs of records for us."""

    def test_large_ring(self) -> None:
        """In a large ring those who stand as near as our last successor, before us or behind."""
        everybody = sorted((peer(f"9.9.{number}.1") for number in range(100)), key=lambda one: one.id)
        state = Routing(everybody[50], 8)
        state.join(everybody[49], everybody[51:] + everybody[:50], False)
        near = [one for one in everybody if state.is_near(one)]
        self.assertEqual(everybody[51:59], [one for one in near if one.id > state.me.id])
        self.assertIn(everybody[49], near)
        self.assertLess(len(near), 40)

    def test_small_ring(self) -> None:
        """In a ring that we know as a whole, and while we know nobody, everybody."""
        state = routing()
        self.assertTrue(state.is_near(peer("9.9.9.9")))
        state.join(peer("7.7.7.7"), [peer("7.7.7.7")], True)
        self.assertTrue(state.is_near(peer("9.9.9.9")))
