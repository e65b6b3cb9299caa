"""`Identity` and `Peer`: places that follow from addresses, and from nothing else."""

from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import PEERS_CACHED_MAX, Identity, Policy, canonical_ip, why_no_host

BY_IP, BY_ADDRESS = Identity("test", Policy.IP), Identity("test", Policy.ADDRESS)


class IdTests(SynchronousTestCase):
    """The id of an address."""

    def expected(self, *parts: bytes) -> int:
        return int.from_bytes(sha256(b"chordtwist-node" + b"".join(parts)).digest(), "big")

    def test_ipv4(self) -> None:
        """SHA-256 of a tag, the policy, the network's name with its length, and the address's four bytes."""
        peer = BY_IP.peer("192.0.2.7", 6401)
        self.assertEqual(peer.id, self.expected(b"\x01", b"\x04test", bytes([192, 0, 2, 7])))

    def test_with_port(self) -> None:
        """Under policy address the port belongs to it."""
        peer = BY_ADDRESS.peer("192.0.2.7", 6401)
        self.assertEqual(peer.id, self.expected(b"\x02", b"\x04test", bytes([192, 0, 2, 7]), b"\x19\x01"))

    def test_ipv6(self) -> None:
        """Of an IPv6 address only the /64 counts under policy ip: a customer has one place, not 2**64."""
        peer = BY_IP.peer("2001:db8:0:1::5", 6401)
        self.assertEqual(peer.id, self.expected(b"\x01", b"\x04test", bytes.fromhex("20010db800000001")))
        self.assertEqual(BY_IP.peer("2001:db8:0:1:ffff::9", 9).id, peer.id)
        self.assertNotEqual(BY_IP.peer("2001:db8:0:2::5", 6401).id, peer.id)

    def test_ipv6_with_port(self) -> None:
        """Under policy address all of an IPv6 address counts."""
        self.assertNotEqual(BY_ADDRESS.peer("2001:db8::1", 5).id, BY_ADDRESS.peer("2001:db8::2", 5).id)

    def test_one_place_per_address(self) -> None:
        """Under policy ip the port changes nothing; the peers are two all the same."""
        one, other = BY_IP.peer("192.0.2.7", 1), BY_IP.peer("192.0.2.7", 2)
        self.assertEqual(one.id, other.id)
        self.assertNotEqual(one, other)

    def test_networks_apart(self) -> None:
        """Another network, another place."""
        self.assertNotEqual(Identity("other", Policy.IP).peer("192.0.2.7", 1).id, BY_IP.peer("192.0.2.7", 1).id)

    def test_mapped(self) -> None:
        """An IPv4 address dressed as IPv6 is the IPv4 address."""
        self.assertEqual(BY_IP.peer("::ffff:192.0.2.7", 6401), BY_IP.peer("192.0.2.7", 6401))

    def test_network_name(self) -> None:
        """A network has a name of 1 to 255 bytes."""
        self.assertRaises(ValueError, Identity, "", Policy.IP)
        self.assertRaises(ValueError, Identity, "ä" * 128, Policy.IP)
        Identity("ä" * 127, Policy.IP)


hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).filter(lambda ip: why_no_host(ip) is None)


class PackedTests(SynchronousTestCase):
    """Addresses as they travel."""

    @given(hosts, st.integers(1, 65_535))
    def test_round_trip(self, address: object, port: int) -> None:
        """A peer is known again by its packed address."""
        host = str(address)
        peer = BY_ADDRESS.peer(host, port)
        self.assertEqual(BY_ADDRESS.unpack(peer.packed), peer)
        self.assertEqual((peer.host, peer.port), (str(canonical_ip(host)), port))

    def test_layout(self) -> None:
        """Four or sixteen bytes of address, two of port."""
        self.assertEqual(BY_IP.peer("1.2.3.4", 6401).packed, bytes([1, 2, 3, 4, 0x19, 0x01]))
        self.assertEqual(len(BY_IP.peer("::1", 6401).packed), 18)

    def test_impossible(self) -> None:
        """What is no address, has no port, or is written in a second form, is none."""
        for packed in (b"", bytes(5), bytes([1, 2, 3, 4, 0, 0]), bytes(17), bytes(10) + b"\xff\xff\1\2\3\4\0\5"):
            self.assertRaises(ValueError, BY_IP.unpack, packed)
        for host, port in (("localhost", 1), ("1.2.3.4", 0), ("1.2.3.4", 65_536), ("fe80::1%eth0", 1)):
            self.assertRaises(ValueError, BY_IP.peer, host, port)

    def test_no_host(self) -> None:
        """What no host can have is no peer's address, whoever tells of it; a reason says so."""
        for host, reason in (
            ("0.0.0.0", "every address"),
            ("0.1.2.3", "0.0.0.0/8"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.250", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "reserved"),
            ("::", "every address"),
            ("::2", "reserved"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
            ("::ffff:224.0.0.1", "multicast"),
        ):
            self.assertIn(reason, str(why_no_host(canonical_ip(host))))
            error = self.assertRaises(ValueError, BY_IP.peer, host, 6401)
            self.assertIn(reason, str(error))
            packed = canonical_ip(host).packed + b"\x19\x01"
            self.assertRaises(ValueError, BY_ADDRESS.unpack, packed)
        for host in (
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "169.254.1.1",
            "192.0.2.1",
            "100.64.0.1",
            "2001:db8::1",
            "8.8.8.8",
        ):
            self.assertIsNone(why_no_host(canonical_ip(host)), host)

    @given(st.integers(0, 255), st.binary(min_size=15, max_size=15), st.binary(min_size=15, max_size=15))
    def test_every_opening(self, first: int, rest: bytes, holes: bytes) -> None:
        """Whatever an address begins with, it is a peer's where a host can have it, written as everybody does."""
        sparse = bytes(byte & hole for byte, hole in zip(rest, holes, strict=True))
        for raw in (bytes((first, *rest[:3])), bytes((first, *rest)), bytes((first, *sparse)), bytes((0, *sparse))):
            address = ip_address(raw)
            if why_no_host(address) is None and getattr(address, "ipv4_mapped", None) is None:
                self.assertEqual(BY_IP.unpack(raw + b"\0\1").host, str(address))
            else:
                self.assertRaises(ValueError, BY_IP.unpack, raw + b"\0\1")

    def test_bounded_memory(self) -> None:
        """However many addresses come by, a bounded number is remembered; forgotten ones are the same again."""
        identity = Identity("test", Policy.ADDRESS)
        first = identity.peer("10.0.0.1", 1)
        for number in range(PEERS_CACHED_MAX + 5):
            identity.unpack((10 << 24 | number).to_bytes(4, "big") + b"\0\1")
        self.assertLessEqual(len(identity._peers), PEERS_CACHED_MAX)
        self.assertEqual(identity.peer("10.0.0.1", 1), first)


class PeerTests(SynchronousTestCase):
    """Peers as values."""

    def test_shown(self) -> None:
        """Shown as it is written: host:port, IPv6 in brackets."""
        self.assertEqual(str(BY_IP.peer("192.0.2.7", 6401)), "192.0.2.7:6401")
        self.assertEqual(str(BY_IP.peer("2001:DB8::1", 6401)), "[2001:db8::1]:6401")
        self.assertIn("192.0.2.7:6401", repr(BY_IP.peer("192.0.2.7", 6401)))

    def test_equal(self) -> None:
        """Equal when the address is, whoever made them; and usable as a key."""
        one, other = BY_IP.peer("192.0.2.7", 1), Identity("test", Policy.IP).peer("192.0.2.7", 1)
        self.assertIsNot(one, other)
        self.assertEqual({one: 5}[other], 5)
        self.assertNotEqual(one, "192.0.2.7:1")
