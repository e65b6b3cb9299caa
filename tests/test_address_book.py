"""The address book: whom a node has met or heard of, in ring order, within bounds that no teller can move."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.address_book import (
    ENTRIES_MAX,
    FAILURES_MAX,
    HEARD_OF_ONE_MAX,
    HEARD_SHARE,
    LISTED_OF_PREFIX_MAX,
    VAIN_PER_S,
    AddressBook,
)
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.ring import RING_SIZE, distance

IDENTITY = Identity("book", Policy.IP)


def private(number: int) -> Peer:
    """A peer at an address where prefixes count for nothing."""
    return IDENTITY.peer(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 6401)


def ring_of(count: int) -> list[Peer]:
    return sorted((private(number) for number in range(count)), key=lambda peer: peer.id)


class AddressBookTests(SynchronousTestCase):
    """One book, told and asked."""

    def setUp(self) -> None:
        self.book = AddressBook(IDENTITY)

    def test_order(self) -> None:
        """Entries come in ring order whatever the order they were met in; the ring closes."""
        ring = ring_of(50)
        shuffled = list(ring)
        Random(1).shuffle(shuffled)
        for peer in shuffled:
            self.assertTrue(self.book.met(peer, 1.0))
        self.assertEqual(list(self.book), ring)
        self.assertEqual(self.book.behind(ring[-1].id + 1, 2), ring[:2])
        self.assertEqual(self.book.before(ring[0].id, 2), [ring[-1], ring[-2]])
        self.assertEqual(self.book.behind(ring[7].id, 1), [ring[7]])
        self.assertEqual(self.book.before(ring[7].id, 1), [ring[6]])

    def test_as_a_sorted_list(self) -> None:
        """Behind and before a position stands what a sorted list of all entries says."""
        ring = ring_of(200)
        for peer in ring:
            self.book.met(peer, 1.0)
        ring = list(self.book)
        rng = Random(2)
        for _ in range(100):
            position = rng.getrandbits(256)
            behind = sorted(ring, key=lambda peer: distance(position, peer.id))
            self.assertEqual(self.book.behind(position, 3), behind[:3])
            self.assertEqual(self.book.before(position, 3), behind[:-4:-1])

    def test_both_address_families(self) -> None:
        """IPv4 and IPv6 addresses come back as they were told."""
        peers = [IDENTITY.peer("192.0.2.7", 1), IDENTITY.peer("2001:db8::7", 65535)]
        for peer in peers:
            self.book.met(peer, 1.0)
        self.assertEqual(set(self.book), set(peers))

    def test_a_ring_of_a_thousand_fits(self) -> None:
        """Of a thousand members hardly one is left out because another stands in its piece of the circle."""
        for peer in ring_of(1000):
            self.book.met(peer, 1.0)
        self.assertGreater(len(self.book), 980)

    def test_bounds(self) -> None:
        """Whatever is met, there are never more entries than allowed, and they stand all around the circle."""
        for number in range(3 * ENTRIES_MAX):
            self.book.met(private(number), 1.0)
        self.assertLessEqual(len(self.book), ENTRIES_MAX)
        self.assertGreater(len(self.book), ENTRIES_MAX // 2)
        gaps = [distance(a.id, b.id) for a, b in zip(self.book, list(self.book)[1:], strict=False)]
        self.assertLess(max(gaps), 20 * RING_SIZE // ENTRIES_MAX)
        self.assertLess(self.book.held_bytes, 250_000)

    def test_joined_pieces(self) -> None:
        """When pieces of the circle are joined, who was met stays of two that come to share one, or else the one that
        stands first in it.
        """
        at = {peer.id >> 240: peer for peer in ring_of(2000)}
        piece = next(piece for piece in sorted(at) if piece % 2 == 0 and piece + 1 in at)
        near, far = at[piece], at[piece + 1]
        others = [at[other] for other in sorted(at) if other >> 8 != piece >> 8][::250]
        for met, stays in (((near, far), near), ((near,), near), ((far,), far), ((), near)):
            self.book = AddressBook(IDENTITY, 8)
            for peer in met:
                self.book.met(peer, 1.0)
            self.book.heard([peer for peer in (near, far) if peer not in met], private(5000), 1.0)
            self.assertEqual([near in self.book, far in self.book], [True, True])
            for peer in others[:7]:
                self.book.met(peer, 2.0)
            self.assertEqual([peer for peer in (near, far) if peer in self.book], [stays])

    def test_another_port(self) -> None:
        """Of two ports of one address the one that answered last stays, as after a restart at another port."""
        one, other = (IDENTITY.peer("10.0.0.1", port) for port in (6401, 6402))
        for peer in (one, other, one):
            self.assertTrue(self.book.met(peer, 1.0))
            self.assertEqual(list(self.book), [peer])

    def test_what_is_met_stays(self) -> None:
        """Names that are heard take no place of one that was met, and count as what they are."""
        met = private(1)
        self.book.met(met, 1.0)
        self.book.heard([met, private(2)], private(3), 2.0)
        self.assertTrue(self.book.is_met(met))
        self.assertFalse(self.book.is_met(private(2)))
        self.assertEqual((len(self.book), self.book.met_count), (2, 1))

    def test_heard_becomes_met(self) -> None:
        """Once our own dial has reached it, an entry is met."""
        self.book.heard([private(2)], private(3), 1.0)
        self.book.met(private(2), 2.0)
        self.assertTrue(self.book.is_met(private(2)))
        self.assertEqual(self.book.met_count, 1)

    def test_its_owner(self) -> None:
        """It never lists its owner, whoever names him."""
        book = AddressBook(IDENTITY, me=private(1))
        book.heard([private(1), private(2)], private(3), 1.0)
        book.remember([private(1)])
        self.assertEqual(list(book), [private(2)])

    def test_one_teller(self) -> None:
        """Of one teller only so many names are kept, however often it tells more."""
        for start in range(0, 200, 20):
            self.book.heard([private(start + n) for n in range(20)], private(9999), 1.0)
        self.assertEqual(len(self.book), HEARD_OF_ONE_MAX)

    def test_all_tellers(self) -> None:
        """All tellers together fill a quarter of the book, and no more."""
        for teller in range(2 * ENTRIES_MAX // HEARD_SHARE // HEARD_OF_ONE_MAX):
            names = [private(100_000 + 16 * teller + n) for n in range(16)]
            self.book.heard(names, private(teller), 1.0)
        self.assertEqual(len(self.book), ENTRIES_MAX // HEARD_SHARE)

    def test_one_prefix(self) -> None:
        """Of one public /24 or /48 only so many are kept; of private ranges, and in a closed network, any."""
        cases = (
            ([IDENTITY.peer(f"8.8.8.{n}", 6401) for n in range(1, 100)], LISTED_OF_PREFIX_MAX),
            ([IDENTITY.peer(f"2600:1:2:{n:x}::1", 6401) for n in range(1, 100)], LISTED_OF_PREFIX_MAX),
            ([IDENTITY.peer(f"10.8.8.{n}", 6401) for n in range(1, 100)], 99),
        )
        for peers, kept in cases:
            book = AddressBook(IDENTITY)
            self.assertEqual(sum(book.met(peer, 1.0) for peer in peers), kept, peers[0])
        closed = AddressBook(IDENTITY, spreads=False)
        self.assertEqual(sum(closed.met(peer, 1.0) for peer in cases[0][0]), 99)

    def test_failures(self) -> None:
        """Who was heard of goes with the first dial in vain, who was met with the second in a row."""
        self.book.heard([private(2)], private(3), 1.0)
        self.book.failed(private(2), 3.0)
        self.assertNotIn(private(2), self.book)
        self.book.met(private(1), 1.0)
        self.book.failed(private(1), 3.0)
        self.book.met(private(1), 2.0)
        for _ in range(FAILURES_MAX - 1):
            self.book.failed(private(1), 3.0)
        self.assertIn(private(1), self.book)
        self.book.failed(private(1), 3.0)
        self.assertNotIn(private(1), self.book)
        self.book.failed(private(1), 3.0)

    def test_names_in_vain(self) -> None:
        """Who named several at whom nobody answers has all dropped that it named and nobody met, and brings no more for
        a while; another's names stay.
        """
        liar, other = private(900), private(901)
        self.book.heard(map(private, range(1, 11)), liar, 1.0)
        self.book.heard([private(20)], other, 1.0)
        self.book.met(private(10), 1.0)
        for number in range(1, 5):
            self.book.failed(private(number), 2.0)
        self.assertIn(private(9), self.book)
        self.book.failed(private(5), 2.0)
        self.assertEqual({*self.book}, {private(10), private(20)})
        self.book.heard([private(30), private(10)], liar, 3.0)
        self.assertNotIn(private(30), self.book)
        self.book.heard([private(30)], liar, 3.0 + 1 / VAIN_PER_S)
        self.assertIn(private(30), self.book)

    def test_witnesses(self) -> None:
        """Witnesses are drawn from those met before a position, each as likely, at most two of one prefix."""
        ring = ring_of(40)
        for peer in ring:
            self.book.met(peer, 1.0)
        drawn = [frozenset(self.book.draw(ring[20].id, 5, RING_SIZE // 2, Random(seed))) for seed in range(50)]
        self.assertTrue(all(len(witnesses) == 5 for witnesses in drawn))
        self.assertEqual(frozenset().union(*drawn), frozenset(ring[10:20]))
        crowded = AddressBook(IDENTITY)
        for n in range(1, 17):
            crowded.met(IDENTITY.peer(f"8.8.8.{n}", 6401), 1.0)
        self.assertEqual(len(crowded.draw(0, 5, RING_SIZE, Random(1))), 2)

    def test_heard_names_are_no_witnesses(self) -> None:
        """Whom somebody named may be his invention."""
        self.book.heard([private(1)], private(2), 1.0)
        self.assertEqual(self.book.draw(0, 5, RING_SIZE, Random(1)), [])

    def test_stalest(self) -> None:
        """Of an arc whoever was seen longest ago is to be visited, one that was not met before others, then the
        farthest.
        """
        ring = ring_of(5)
        around = (ring[-1].id, ring[-2].id)
        self.assertIsNone(self.book.stalest(*around))
        for number, peer in enumerate(ring):
            self.book.met(peer, 10.0 - number)
        self.assertEqual(self.book.stalest(*around), ring[3])
        self.assertEqual(self.book.stalest(ring[0].id, ring[2].id), ring[2])
        self.assertEqual(self.book.stalest(ring[3].id, ring[1].id), ring[4])
        self.assertIsNone(self.book.stalest(ring[0].id, ring[0].id))
        self.book.heard(ring, private(99), 20.0)
        self.assertEqual(self.book.stalest(*around), ring[3])
        self.book.forget(ring[1])
        self.book.heard([ring[1]], private(99), 20.0)
        self.assertEqual(self.book.stalest(*around), ring[1])

    def test_remembered(self) -> None:
        """Whom an earlier run has met is heard of until our own dial reaches him, and visited before all others."""
        ring = ring_of(4)
        self.book.met(ring[0], 5.0)
        self.book.remember(ring)
        self.assertEqual((len(self.book), self.book.met_count), (4, 1))
        self.assertEqual(self.book.stalest(ring[3].id, ring[2].id), ring[2])
        self.book.met(ring[2], 6.0)
        self.assertEqual(self.book.met_ones(9), [ring[0], ring[2]])
        self.book.failed(ring[1], 3.0)
        self.assertNotIn(ring[1], self.book)

    def test_too_many_remembered(self) -> None:
        """They take no more of the book than all that is heard; of many that were met some are told, all around."""
        self.book.remember(ring_of(2 * ENTRIES_MAX))
        self.assertEqual(len(self.book), ENTRIES_MAX // HEARD_SHARE)
        for peer in (ring := ring_of(1000)):
            self.book.met(peer, 1.0)
        told = self.book.met_ones(100)
        self.assertEqual(len(told), 100)
        self.assertLess(ring.index(told[0]), 40)
        self.assertGreater(ring.index(told[-1]), 960)

    def test_named_again(self) -> None:
        """Who is named again was seen, also when nobody new may be named any more."""
        ring = ring_of(40)
        self.book.heard(ring, private(99), 1.0)
        kept = list(self.book)
        self.book.heard(kept[1:], private(99), 2.0)
        self.assertEqual(self.book.stalest(kept[-1].id + 1, kept[-1].id), kept[0])
