"""`Introduction`: whose Hello is good, and in which words the others are refused."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed, Refused
from chordtwist.core.parameters import PROTOCOL_VERSION_MAX, Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.introduction import Introduction, Met
from chordtwist.wire.peer_messages import Hello

IDENTITY = Identity("test", Policy.IP)
OURS, THEIRS, OTHER = (IDENTITY.peer(f"127.0.0.{number}", 6401) for number in (1, 2, 3))
PARAMETERS = Parameters(network="test")


def introduction(
    peer: Peer, seed: int, parameters: Parameters = PARAMETERS, secret: bytes = b"", epoch: int = 7
) -> Introduction:
    signer = Ed25519Signer(bytes([seed]) * 32)
    return Introduction(peer, IDENTITY, parameters, signer, verify_ed25519, epoch, lambda: 1_000, secret)


class MeetTests(SynchronousTestCase):
    """A Hello from the node that we dialled, or that dialled us."""

    def setUp(self) -> None:
        """Two nodes that agree."""
        self.we, self.they = introduction(OURS, 1), introduction(THEIRS, 2)

    def hello(self, dialled: Peer | None = None, channel: bytes = b"channel") -> Hello:
        """What they say on a link that they dialled, or that we did."""
        return self.they.hello(dialled, channel)

    def meet(self, hello: Hello, dialled: Peer | None = None, came_from: str = THEIRS.host) -> Met:
        return self.we.meet(hello, came_from, dialled, b"channel")

    def refusal(self, hello: Hello, dialled: Peer | None = None, came_from: str = THEIRS.host) -> str:
        return str(self.assertRaises(Refused, self.meet, hello, dialled, came_from))

    def changed(self, **fields: object) -> Hello:
        return msgspec.structs.replace(self.hello(OURS), **fields)

    def test_good(self) -> None:
        """Address, key and run of a good Hello, whoever dialled."""
        handshaken = self.meet(self.hello(OURS))
        self.assertEqual((handshaken.peer, handshaken.epoch), (THEIRS, 7))
        self.assertEqual(handshaken, self.meet(self.hello(), THEIRS))

    def test_each_signature_is_new(self) -> None:
        """No two Hellos carry the same seq."""
        self.assertNotEqual(self.hello().seq, self.hello().seq)

    def test_mapped_transport(self) -> None:
        """A peer that comes from an IPv4 address dressed as IPv6 comes from the IPv4 address."""
        self.assertEqual(self.meet(self.hello(OURS), came_from="::ffff:127.0.0.2").peer, THEIRS)

    def test_newer_versions(self) -> None:
        """A newer build that still speaks our version is talked to."""
        self.meet(self.changed(version_max=PROTOCOL_VERSION_MAX + 5))

    def test_no_common_version(self) -> None:
        """One that does not is refused, with both ranges."""
        ours = PROTOCOL_VERSION_MAX
        newer = self.changed(version_min=ours + 1, version_max=ours + 2)
        self.assertEqual(
            self.refusal(newer), f"protocol versions {ours + 1} to {ours + 2} there and {ours} to {ours} here"
        )
        older = self.changed(version_min=1, version_max=1)
        self.assertEqual(self.refusal(older), f"protocol versions 1 to 1 there and {ours} to {ours} here")

    def test_differences(self) -> None:
        """What must agree and does not is named, all of it."""
        self.they = introduction(THEIRS, 2, Parameters(network="test", successors=8, dead_after_s=1.5))
        expected = "successors is 8 there and 16 here; dead_after_s is 1.5 there and 3.0 here"
        self.assertEqual(self.refusal(self.hello(OURS)), expected)

    def test_fractions_of_a_millisecond(self) -> None:
        """Times agree when they agree as they travel, in whole milliseconds."""
        odd = replace(PARAMETERS, dead_after_s=0.70049)
        self.we, self.they = introduction(OURS, 1, odd), introduction(THEIRS, 2, odd)
        self.meet(self.hello(OURS))

    def test_unknown_policy(self) -> None:
        """A policy that this build does not know is refused by name."""
        self.assertIn("'moon'", self.refusal(self.changed(policy="moon")))

    def test_impossible_parameters(self) -> None:
        """So are parameters that nobody can have."""
        self.assertIn("impossible", self.refusal(self.changed(successors=0)))

    def test_impossible_address(self) -> None:
        """An address that is none breaks the protocol."""
        self.assertRaises(Malformed, self.meet, self.changed(address=bytes(6)))

    def test_ourselves(self) -> None:
        """A node that has dialled itself sees it by the key."""
        self.assertIn("this node itself", self.refusal(self.we.hello(OURS, b"channel"), came_from=OURS.host))

    def test_our_address(self) -> None:
        """Somebody else with our address is refused."""
        self.they = introduction(OURS, 2)
        self.assertIn("claims our own address", self.refusal(self.hello(OURS), came_from=OURS.host))

    def test_another_address(self) -> None:
        """So is who claims an address that it does not come from."""
        expected = "it claims the address 127.0.0.2:6401 and comes from 127.0.0.3"
        self.assertEqual(self.refusal(self.hello(OURS), came_from=OTHER.host), expected)

    def test_another_node_than_dialled(self) -> None:
        """So is who answers at an address that is not its own."""
        expected = "the node at 127.0.0.3:6401 says that its address is 127.0.0.2:6401"
        self.assertEqual(self.refusal(self.hello(), OTHER), expected)

    def test_public_and_loopback(self) -> None:
        """A node on loopback or a private network cannot be reached from a public one: it is refused there."""
        self.we = introduction(IDENTITY.peer("8.8.8.8", 6401), 1)
        self.assertIn("cannot be reached", self.refusal(self.hello(IDENTITY.peer("8.8.8.8", 6401))))

    def test_signature(self) -> None:
        """Every word is signed: a Hello in which anything was changed is refused."""
        for changed in ({"epoch": 8}, {"seq": 99}, {"time_ms": 5}, {"key": Ed25519Signer(bytes(32)).public}):
            self.assertIn("does not fit this link", self.refusal(self.changed(**changed)))

    def test_another_link(self) -> None:
        """A Hello is for one link: not for another session, another node, or the other direction."""
        for elsewhere in (self.hello(OURS, b"another"), self.hello(OTHER), self.hello()):
            self.assertIn("does not fit this link", self.refusal(elsewhere))

    def test_secret(self) -> None:
        """Where there is a secret, only who knows it is talked to."""
        self.we = introduction(OURS, 1, secret=b"open sesame")
        self.assertIn("does not know the network's secret", self.refusal(self.hello(OURS)))
        self.they = introduction(THEIRS, 2, secret=b"open barley")
        self.assertIn("does not know the network's secret", self.refusal(self.hello(OURS)))
        self.they = introduction(THEIRS, 2, secret=b"open sesame")
        self.meet(self.hello(OURS))

    def test_secret_expected(self) -> None:
        """Where there is none, one is told as such."""
        self.they = introduction(THEIRS, 2, secret=b"open sesame")
        self.assertIn("expects a secret", self.refusal(self.hello(OURS)))

    def test_our_proof_sent_back(self) -> None:
        """Our own proof of the secret is worth nothing from somebody else."""
        self.we = introduction(OURS, 1, secret=b"open sesame")
        ours = self.we.hello(THEIRS, b"channel")
        self.assertIn("secret", self.refusal(self.changed(membership=ours.membership)))
