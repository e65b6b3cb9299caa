"""What strangers may cost a node over its links: questions, connections, memory, log lines."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from chordtwist.core import costs
from chordtwist.core.costs import TURN_S, Costs, Shares
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Policy
from chordtwist.net.bounds import (
    ACCEPTED_PER_ADDRESS_MAX,
    AT_ONCE_S,
    JOINED_BYTES_MAX,
    PENDING_MAX,
    PENDING_PER_ADDRESS_MAX,
    PENDING_PER_PREFIX_MAX,
    Bounds,
    Limits,
)
from chordtwist.net.peer_pool import LINKS_HELD_BYTES_MAX
from chordtwist.wire.frames import pack_frame
from chordtwist.wire.peer_messages import (
    Answer,
    Fetch,
    Found,
    GetTable,
    Notify,
    Ping,
    Pong,
    Question,
    RecordBody,
    StoreAll,
    encode,
)
from tests.test_peer_pool import Host, PoolTestCase
from tests.test_peer_protocol import LinkTestCase


class LinkLimitTests(LinkTestCase):
    """One link."""

    def setUp(self) -> None:
        """Each question but a Ping takes 0.3 s of our processor, which a stranger pays for in three seconds."""
        super().setUp()
        self.owner.reply = self.reply

    def reply(self, question: Question) -> Answer:
        """Work for a question."""
        self.owner.processor_s += 0.0 if isinstance(question, Ping) else 0.3
        return Pong()

    def test_waits(self) -> None:
        """A stranger that owes waits: its questions are answered late and in order, and nothing more is read of it."""
        self.meet()
        self.said()
        self.say((1, GetTable(0, 0)), (2, GetTable(0, 0)), (3, Ping()))
        self.assertEqual([(1, Pong())], self.said())
        self.assertEqual("paused", self.transport.producerState)
        self.clock.advance(1.9)
        self.assertEqual([], self.said())
        self.clock.advance(0.1)
        self.assertEqual([(2, Pong())], self.said())
        self.assertEqual("paused", self.transport.producerState)
        self.clock.pump([0, 3.0, 0])
        self.assertEqual([(3, Pong())], self.said())
        self.assertEqual("producing", self.transport.producerState)

    def test_what_keeps_a_peer_in_the_ring(self) -> None:
        """A peer that owes for its records still has its upkeep answered, and waits with the rest, in order."""
        self.meet()
        self.link.is_proved = True
        self.said()
        self.owner.processor_s += 1.0
        fetch = Fetch(bytes(32), 0, True)
        self.say(*((number, fetch) for number in range(5)), (8, Ping()), (9, Notify(1)))
        self.clock.advance(0)
        said = self.said()
        self.assertEqual([(0, Pong()), (1, Pong()), (8, Pong()), (9, Pong())], sorted(said, key=lambda one: one[0]))
        self.assertEqual("producing", self.transport.producerState)
        for number in (2, 3, 4):
            self.clock.advance(0.6)
            self.assertEqual([(number, Pong())], self.said())

    def test_upkeep_is_bounded_too(self) -> None:
        """What keeps it in the ring has a share of its own."""
        self.meet()
        self.link.is_proved = True
        self.said()
        self.say(*((number, Notify(1)) for number in range(5)))
        self.clock.advance(0)
        self.assertEqual([(0, Pong())], self.said())

    def test_ends_while_it_waits(self) -> None:
        """A link that ends while its peer waits leaves no timer, and holds nothing."""
        self.meet()
        self.say((1, GetTable(0, 0)), (2, Ping()))
        self.assertGreater(self.owner.held_bytes, 0)
        self.link.end("leaving")
        self.assertEqual(0, self.owner.held_bytes)
        self.lose()
        self.clock.advance(0)
        self.assertEqual([], self.clock.getDelayedCalls())

    def lose(self) -> None:
        """The transport is gone."""
        self.link.connectionLost()

    def test_what_it_cost_is_charged(self) -> None:
        """The processor time of an answer is charged, and what else is done meanwhile is not."""
        self.meet()
        payer = self.owner.payer(self.link, False)
        self.owner.processor_s += 100.0
        self.say((1, GetTable(0, 0)))
        self.owner.processor_s += 100.0
        self.assertAlmostEqual(2.0, self.owner.costs.wait_s(payer))

    def test_later_answers_are_charged(self) -> None:
        """So is what is done when an answer comes later, and what follows from the answer to a question of ours that we
        asked for it.
        """
        self.meet()
        self.said()
        asked: list[Deferred[Answer]] = []

        def reply(question: Question) -> Deferred[Answer]:
            return self.link.ask(Ping()).addCallback(work)

        def work(answer: Answer) -> Answer:
            self.owner.processor_s += 0.3
            return answer

        self.owner.reply = reply
        self.say((1, GetTable(0, 0)))
        self.clock.advance(0)
        ((request_id, question),) = self.said()
        self.assertEqual((Ping(), []), (question, asked))
        payer = self.owner.payer(self.link, False)
        self.assertEqual(0.0, self.owner.costs.wait_s(payer))
        self.say((request_id, Pong()))
        self.assertEqual([(1, Pong())], self.said())
        self.assertAlmostEqual(2.0, self.owner.costs.wait_s(payer))

    def test_one_turn(self) -> None:
        """Others have so much of a turn of the reactor; what they asked besides is answered in the next turns."""
        self.owner.costs = Costs(lambda: self.owner.processor_s, self.clock.seconds, Shares(1.0, 1.0, 1.0))

        def reply(question: Question) -> Answer:
            self.owner.processor_s += TURN_S / 2
            return Pong()

        self.owner.reply = reply
        self.meet()
        self.said()
        self.say(*((number, Ping()) for number in range(200)))
        self.assertEqual(list(range(200)), [number for number, _ in self.said()])
        self.assertGreaterEqual(self.owner.turns, 99)
        self.assertEqual("producing", self.transport.producerState)

    def test_answers_are_not_gathered_without_bound(self) -> None:
        """A chunk of short questions for large values makes us hold a few of them, not all."""
        value = bytes(60_000)
        self.owner.reply = lambda question: Found(RecordBody(bytes(32), value, 0, 1, b"", 1000, 4))
        self.meet()
        self.transport.clear()
        written: list[int] = []

        def write(raw: bytes) -> None:
            written.append(len(raw))
            if sum(written) > JOINED_BYTES_MAX:
                self.link.pauseProducing()

        self.transport.write = write  # type: ignore[method-assign]
        self.say(*((number, Ping()) for number in range(1000)))
        self.assertLess(sum(written), 4 * JOINED_BYTES_MAX)
        self.assertLess(self.owner.held_bytes, 4 * JOINED_BYTES_MAX)
        self.assertGreater(self.owner.held_bytes, 0)

    def test_incomplete_frames_are_counted(self) -> None:
        """What has come of a frame is held until the rest is here, or the link ends."""
        self.meet()
        frame = pack_frame(StoreAll.kind, 1, encode(StoreAll([RecordBody(bytes(32), bytes(9000), 0, 1, b"", 1, 4)])))
        self.link.dataReceived(frame[:5000])
        self.assertEqual(5000, self.owner.held_bytes)
        self.link.dataReceived(frame[5000:])
        self.assertEqual(0, self.owner.held_bytes)
        self.link.dataReceived(frame[:5000])
        self.lose()
        self.assertEqual(0, self.owner.held_bytes)


class PoolLimitTests(PoolTestCase):
    """All links of a node."""

    def strangers(self, ours: Host, theirs: Host, questions: int) -> int:
        """How many of so many questions at once are answered at once, over a link that only they have dialled."""
        asked = [theirs.pool.ask(ours.peer, Ping()) for _ in range(questions)]
        self.network.settle()
        answered = sum(hasattr(deferred, "result") for deferred in asked)
        for deferred in asked:
            deferred.addErrback(lambda failure: None)
        return answered

    def limited(self, number: int = 1, **options: Any) -> Host:
        return self.host(number, limits=Limits(connections_per_s=2), shares=Shares(0.01, 0.05, 0.05), **options)

    def test_strangers(self) -> None:
        """An address where nobody listens may ask so much; the rest waits and is answered later."""
        ours, theirs = self.limited(), self.host(2, listens=False)
        answered = self.strangers(ours, theirs, 200)
        self.assertLess(answered, 10 * costs.SPENT_AT_ONCE_S + 3)
        self.assertGreater(answered, 10 * costs.SPENT_AT_ONCE_S - 3)
        self.network.pass_time(0.5)
        self.assertEqual(Pong(), self.successResultOf(self.asked_later(theirs, ours)))

    def asked_later(self, one: Host, other: Host) -> Any:
        """A question once the patience of the other is back."""
        self.network.pass_time(30)
        return self.asked(one, other)

    def test_proved_when_it_matters(self) -> None:
        """Whoever asks more than a stranger may is dialled back, and waits no longer when it is where it says."""
        ours, theirs = self.limited(), self.host(2)
        asked = [theirs.pool.ask(ours.peer, Ping()) for _ in range(100)]
        self.network.pass_time(0.5)
        self.assertEqual([Pong()] * 100, [self.successResultOf(deferred) for deferred in asked])
        self.assertEqual(0, ours.pool.refusals.count)

    def test_not_where_it_says(self) -> None:
        """Whoever cannot be dialled back waits on, and is named."""
        ours, theirs = self.limited(), self.host(2, listens=False)
        asked = [theirs.pool.ask(ours.peer, Ping()) for _ in range(100)]
        self.network.pass_time(0.5)
        answered = sum(hasattr(deferred, "result") for deferred in asked)
        self.assertLess(answered, 10 * costs.SPENT_AT_ONCE_S + 10)
        self.assertGreater(ours.pool.refusals.count, 0)
        for deferred in asked:
            deferred.addErrback(lambda failure: None)

    def test_proved(self) -> None:
        """A peer that we have dialled ourselves may ask more."""
        ours, theirs = self.limited(), self.host(2)
        self.meet(ours, theirs)
        self.meet(theirs, ours)
        answered = self.strangers(ours, theirs, 1000)
        self.assertGreater(answered, 50 * costs.SPENT_AT_ONCE_S - 5)
        self.assertLess(answered, 1000)

    def test_others_do_not_wait(self) -> None:
        """What one address asks costs others nothing."""
        ours, loud, quiet = self.limited(), self.host(2), self.host(3)
        self.strangers(ours, loud, 500)
        self.meet(quiet, ours)

    def test_connections(self) -> None:
        """So many connections are taken from one address at once, and so many more with each second."""
        ours = self.limited()
        parameters = Parameters(network="test")
        taken = 0
        for number in range(40):
            theirs = self.host(2, port=7000 + number, parameters=parameters, listens=False)
            taken += hasattr(self.asked(theirs, ours).addErrback(lambda failure: None), "result")
            theirs.crash()
        self.network.pass_time(1)
        self.assertLess(ours.pool.counts.accepted, 2 * AT_ONCE_S + 2 * 40 * 0.3 + 3)
        self.assertGreater(ours.pool.counts.accepted, 2 * AT_ONCE_S)
        self.assertEqual(40, taken)

    def test_connections_from_one_segment(self) -> None:
        """Whoever has one IPv6 address has its whole /64: all of it counts as one."""
        bounds = Bounds(Limits(connections_per_s=2), Clock())
        taken = 0
        for number in range(40):
            host = f"2606:4700:1:2::{number:x}"
            if bounds.why_not_accept(host) is None:
                bounds.accepted(host)
                bounds.no_longer_pending(host)
                bounds.closed(host)
                taken += 1
        self.assertEqual(2 * AT_ONCE_S + 1, taken)
        self.assertIsNone(bounds.why_not_accept("2606:4700:1:3::1"))

    def test_address_with_a_zone(self) -> None:
        """An address that means something else on every host is no node's."""
        bounds = Bounds(Limits(), Clock())
        self.assertIn("zone", bounds.why_not_accept("fe80::1%eth0") or "")

    def test_links_from_one_segment(self) -> None:
        """So do the links it may have."""
        bounds = Bounds(Limits(connections_per_s=1000), Clock())
        for number in range(ACCEPTED_PER_ADDRESS_MAX):
            host = f"2606:4700:1:2::{number:x}"
            self.assertIsNone(bounds.why_not_accept(host))
            bounds.accepted(host)
            bounds.no_longer_pending(host)
        self.assertIn("connections from one address", bounds.why_not_accept("2606:4700:1:2:ffff::1") or "")
        bounds.closed("2606:4700:1:2::1")
        self.assertIsNone(bounds.why_not_accept("2606:4700:1:2:ffff::1"))

    def test_connections_where_ports_make_places(self) -> None:
        """Where many nodes have one address, so many may connect at once."""
        parameters = Parameters(network="test", policy=Policy.ADDRESS)
        limits = Limits(connections_per_s=2, nodes_per_address=11)
        ours = self.host(1, limits=limits, parameters=parameters)
        for number in range(30):
            theirs = self.host(2, port=7000 + number, parameters=parameters, listens=False)
            self.meet(theirs, ours)
            theirs.crash()

    def test_pace_where_ports_make_places(self) -> None:
        """Beyond that an address has to wait, as anywhere."""
        bounds = Bounds(Limits(connections_per_s=2, nodes_per_address=11), Clock())
        taken = 0
        while taken < 100 and bounds.why_not_accept("127.0.0.1") is None:
            taken += 1
        self.assertEqual(2 * AT_ONCE_S + 2 * 10 + 1, taken)
        self.assertIsNone(bounds.why_not_accept("127.0.0.2"))

    def test_room_for_nodes_of_one_address(self) -> None:
        """So many nodes as one address has room for may have two links each besides, open or without a Hello yet."""
        room = 2 * (64 - 1)
        bounds = Bounds(Limits(connections_per_s=1000, nodes_per_address=64), Clock())
        for _ in range(PENDING_PER_ADDRESS_MAX + room):
            self.assertIsNone(bounds.why_not_accept("127.0.0.1"))
            bounds.accepted("127.0.0.1")
        self.assertIn("without a Hello from one address", bounds.why_not_accept("127.0.0.1") or "")
        for _ in range(PENDING_PER_ADDRESS_MAX + room):
            bounds.no_longer_pending("127.0.0.1")
        for _ in range(ACCEPTED_PER_ADDRESS_MAX - PENDING_PER_ADDRESS_MAX):
            self.assertIsNone(bounds.why_not_accept("127.0.0.1"))
            bounds.accepted("127.0.0.1")
            bounds.no_longer_pending("127.0.0.1")
        self.assertIn("connections from one address", bounds.why_not_accept("127.0.0.1") or "")

    def test_room_for_known_peers(self) -> None:
        """However many addresses say nothing, a peer that we have dialled gets in again, from a crowded prefix too."""
        ours, member, newcomer = self.host(1), self.host(2), self.host(3)
        self.meet(ours, member)
        member.crash()
        self.network.pass_time(1)
        for number in range(PENDING_MAX):
            host = f"10.0.{number // PENDING_PER_ADDRESS_MAX}.1"
            self.assertIsNone(ours.pool._why_not_accept(host))
            ours.pool._bounds.accepted(host)
        self.assertIn("connections without a Hello", ours.pool._why_not_accept(newcomer.peer.host) or "")
        self.assertIsNone(ours.pool._why_not_accept(member.peer.host))
        bounds = Bounds(Limits(connections_per_s=1000), Clock())
        for number in range(PENDING_PER_PREFIX_MAX):
            bounds.accepted(f"93.184.216.{number}")
        self.assertIn("93.184.216.0/24", bounds.why_not_accept("93.184.216.200") or "")
        self.assertIsNone(bounds.why_not_accept("93.184.216.200", is_known=True))

    def test_held_by_all(self) -> None:
        """Beyond the bound of all links together the one that holds most ends, a stranger's first."""
        ours, friend, stranger = self.host(1), self.host(2), self.host(3)
        self.meet(ours, friend)
        self.meet(stranger, ours)
        pool = ours.pool
        friends = next(
            link for link in pool._links if link.handshaken is not None and link.handshaken.peer == friend.peer
        )
        strangers = next(
            link for link in pool._links if link.handshaken is not None and link.handshaken.peer == stranger.peer
        )
        friends.held_bytes, strangers.held_bytes = LINKS_HELD_BYTES_MAX - 1000, 2000
        pool.holding(LINKS_HELD_BYTES_MAX - 1000)
        self.assertTrue(strangers.is_open)
        pool.holding(2000)
        self.assertFalse(strangers.is_open)
        self.assertTrue(friends.is_open)
