"""`KnownPeers`: which key is believed, which link of several is kept, what is remembered. No network, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Refused
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.net.introduction import Met
from chordtwist.net.known_peers import PROOFS_MAX, KnownPeers, Proof, link_to_ask, why_not_believed

IDENTITY = Identity("test", Policy.IP)
NOW, DEAD_AFTER_S = 1000.0, 3.0
OLD, NEW = b"o" * 32, b"n" * 32


def peer(number: int) -> Peer:
    return IDENTITY.peer(f"127.0.{number >> 8}.{number & 255}", 6401)


ME, THEY = sorted((peer(1), peer(2)), key=lambda one: one.id)
"""We have the lower id, so our dial is kept."""


@dataclass(eq=False)
class Link:
    """A link with a peer that has said Hello."""

    handshaken: Met | None
    dialled: Peer | None = None
    heard_at: float = NOW
    is_proved: bool = False


def dialled(by: Peer = THEY, key: bytes = OLD, epoch: int = 1) -> Link:
    """A link that we dialled."""
    return Link(Met(by, key, epoch), by)


def accepted(by: Peer = THEY, key: bytes = OLD, epoch: int = 1) -> Link:
    """A link that the other side dialled."""
    return Link(Met(by, key, epoch))


class BelievedTests(SynchronousTestCase):
    """The key that our own dial meets."""

    def test_table(self) -> None:
        """A new key takes the place of another when no link with that is left, and it is later or that was silent."""
        proof = Proof(OLD, 5, NOW - 1)
        silent = Proof(OLD, 5, NOW - DEAD_AFTER_S)
        for known, key, epoch, is_linked, is_believed in (
            (None, NEW, 1, False, True),
            (proof, OLD, 1, True, True),
            (proof, OLD, 9, False, True),
            (proof, NEW, 6, False, True),
            (proof, NEW, 6, True, False),
            (proof, NEW, 5, False, False),
            (proof, NEW, 4, False, False),
            (silent, NEW, 4, False, True),
            (silent, NEW, 9, True, False),
        ):
            reason = why_not_believed(known, Met(THEY, key, epoch), is_linked, NOW, DEAD_AFTER_S)
            self.assertEqual(is_believed, reason is None, (known, key, epoch, is_linked))

    def test_words(self) -> None:
        """It says when the node with the other key was last heard."""
        reason = why_not_believed(Proof(OLD, 5, NOW - 1), Met(THEY, NEW, 5), False, NOW, DEAD_AFTER_S)
        self.assertEqual("another key than that of the node heard there 1.0 s ago", reason)


class ChoiceTests(SynchronousTestCase):
    """One link of several."""

    def test_table(self) -> None:
        """Of the proved links the newest is kept that the lower id dialled; without such, the newest of all."""
        ours, later, theirs, stranger = dialled(), dialled(), accepted(), accepted(key=NEW)
        for link in ours, later, theirs:
            link.is_proved = True
        for links, if_we_dial, if_they_dial in (
            ((), None, None),
            ((stranger,), None, None),
            ((ours,), ours, ours),
            ((theirs,), theirs, theirs),
            ((ours, theirs), ours, theirs),
            ((theirs, ours), ours, theirs),
            ((ours, later), later, later),
            ((ours, theirs, later), later, theirs),
            ((ours, stranger), ours, ours),
        ):
            self.assertIs(if_we_dial, link_to_ask(links, True), links)
            self.assertIs(if_they_dial, link_to_ask(links, False), links)


class KnownPeersTests(SynchronousTestCase):
    """What links come and go."""

    def setUp(self) -> None:
        """Nobody is known."""
        self.known: KnownPeers[Link] = KnownPeers(ME, DEAD_AFTER_S)

    def add(self, *links: Link, now: float = NOW) -> None:
        for link in links:
            self.known.add(link, now)

    def asking(self, other: Peer = THEY) -> Link | None:
        return self.known.asking.get(other.packed)

    def test_accepted(self) -> None:
        """Who dialled us is not proved, and not asked."""
        link = accepted()
        self.add(link)
        self.assertEqual((None, None, False), (self.known.key_of(THEY), self.asking(), link.is_proved))
        self.assertFalse(self.known.remove(link))

    def test_proved_later(self) -> None:
        """A dial proves the links that are there with the same key, and no other."""
        same, other, ours = accepted(), accepted(key=NEW), dialled()
        self.add(same, other, ours)
        self.assertEqual([True, False, True], [link.is_proved for link in (same, other, ours)])
        self.assertEqual((OLD, ours, 1), (self.known.key_of(THEY), self.asking(), len(self.known)))

    def test_refused(self) -> None:
        """A link whose key is not believed changes nothing."""
        ours = dialled()
        self.add(ours)
        thief = dialled(key=NEW, epoch=9)
        self.assertRaises(Refused, self.known.add, thief, NOW)
        self.assertNotIn(thief, self.known)
        self.assertFalse(self.known.remove(thief))
        self.assertEqual((OLD, ours), (self.known.key_of(THEY), self.asking()))

    def test_duplicates(self) -> None:
        """A link that we dialled is a duplicate when we ask over another; never one of theirs, nor a stranger's."""
        first, theirs, second, stranger = dialled(), accepted(), dialled(), accepted(key=NEW)
        self.add(first, theirs, second, stranger)
        links = (first, theirs, second, stranger)
        self.assertEqual([True, False, False, False], [self.known.is_duplicate(link) for link in links])

    def test_the_other_link_is_left(self) -> None:
        """When the link that was asked over ends, the other is."""
        ours, theirs = dialled(), accepted()
        self.add(ours, theirs)
        self.assertTrue(self.known.remove(ours))
        self.assertIs(theirs, self.asking())
        self.assertTrue(self.known.remove(theirs))
        self.assertIsNone(self.asking())

    def test_outlives_its_links(self) -> None:
        """A proof outlives its links: who comes back with that key is proved at once, with another it is not."""
        link = dialled()
        self.add(link)
        self.known.remove(link)
        self.assertEqual((OLD, 1), (self.known.key_of(THEY), len(self.known)))
        self.add(accepted(key=NEW))
        self.assertIsNone(self.asking())
        back = accepted()
        self.add(back)
        self.assertIs(back, self.asking())

    def test_another_key(self) -> None:
        """When the old key was silent long enough since its last link, a dial that meets another is believed."""
        link = dialled(epoch=5)
        self.add(link)
        link.heard_at = NOW + 10
        self.known.remove(link)
        again = dialled(key=NEW)
        self.assertRaises(Refused, self.known.add, again, NOW + 10 + DEAD_AFTER_S - 0.1)
        self.add(again, now=NOW + 10 + DEAD_AFTER_S)
        self.assertEqual(NEW, self.known.key_of(THEY))

    def test_proofs_are_bounded(self) -> None:
        """Of peers without a link so many proofs are remembered, those met last; peers with links do not count."""
        linked = dialled(peer(9))
        self.add(linked)
        for number in range(10, 10 + PROOFS_MAX + 1):
            link = dialled(peer(number))
            self.add(link)
            self.known.remove(link)
        self.assertEqual(PROOFS_MAX + 1, len(self.known))
        self.assertEqual((None, OLD), (self.known.key_of(peer(10)), self.known.key_of(peer(11))))
        self.assertIs(linked, self.asking(peer(9)))

    def test_strangers_are_forgotten(self) -> None:
        """Of peers that are not proved nothing is left when their links end."""
        for number in range(10, 20):
            link = accepted(peer(number))
            self.add(link)
            self.known.remove(link)
        self.assertEqual(({}, 0), (self.known._links, len(self.known)))
