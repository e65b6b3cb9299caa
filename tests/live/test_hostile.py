"""Hostile peers and clients over real sockets: what they claim is refused, what they cost is bounded."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from hashlib import sha256

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import Identity, Policy
from chordtwist.core.puzzles import solve
from chordtwist.wire.frames import pack_frame
from chordtwist.wire.peer_messages import (
    Announce,
    Fetch,
    GetTable,
    JoinFailure,
    JoinRequest,
    Noted,
    Notify,
    Ping,
    Pong,
    Puzzle,
    RecordBody,
    Solution,
    Store,
    StoreAll,
    Stored,
    TableIs,
    encode,
)
from tests.fleet import API_PORT, Fleet, value_of
from tests.flooding import Flood, Honest, Listed, Watch, connected, descriptors, fill, rss_mib, signed_batch, still_open
from tests.hostile import P2P_PORT, Ended, HostilePeer, Papers, claimed_length, stranger
from tests.turns import turns_of

PREFIX = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}."
"""Addresses of this process: tests run in several at once."""

IDENTITY = Identity("chordtwist", Policy.IP)
UNREAD_MIB_MAX = 110.0
"""What clients may make a node hold: 16 MiB of questions under way, 64 of answers that they do not read, and what the
allocator keeps back of both."""

RSS_MIB_MAX = 250.0
"""What docs/security.rst states for a node that keeps little: far above the 60 MiB it starts with, far below what any
of these attacks sends."""


class HostileTestCase(SynchronousTestCase):
    """A ring, and somebody at other addresses."""

    tls = "open"
    nodes: tuple[int, ...] = (1, 2, 3)
    limits: Mapping[str, object] = {}
    measures_turns = False

    def setUp(self) -> None:
        """Start the ring."""
        self.fleet = Fleet(tls=self.tls, prefix=PREFIX)
        self.addCleanup(self.fleet.close)
        self.fleet.limits = self.limits
        self.fleet.measures_turns = self.measures_turns
        self.fleet.start(self.nodes)
        self.fleet.wait_for_ring(30)
        self.node = self.fleet.host(1)
        self.before = self.tables()

    def tables(self) -> dict[int, list[object]]:
        """What every node knows of the ring."""
        shown = ("member", "predecessor", "successors", "whole", "fingers")
        return {number: [state[name] for name in shown] for number, state in self.fleet.statuses().items()}

    def peer(self, number: int, claimed: str | None = None, port: int = P2P_PORT, node: int = 1) -> HostilePeer:
        """A connection from the address of that number."""
        host = self.fleet.host(number)
        context: SSL.Context | None = None if self.tls == "off" else Papers(host).context()
        peer = HostilePeer(self.fleet.host(node), host, claimed, port, context=context)
        self.addCleanup(peer.close)
        return peer

    def assert_untouched(self) -> None:
        """No table changed, and no node met a bug of its own."""
        self.assertEqual(self.before, self.tables())
        for number in self.fleet.processes:
            self.assertNotIn("Traceback", self.fleet.log(number))

    def lines_about(self, number: int) -> list[str]:
        """The lines of the first node's log that name the address of that number."""
        host = self.fleet.host(number)
        return [line for line in self.fleet.log(1).splitlines() if f" {host}:" in line or f" {host} " in line]

    def wait_until(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        """For what a node does in its own time."""
        self.fleet.wait_until(condition, within_s)


class ClaimTests(HostileTestCase):
    """Nobody gets a place by claiming it."""

    def refused(self, peer: HostilePeer, **claims: object) -> str:
        """The reason that a Hello is refused with, which is the one line in the node's log too."""
        peer.say(peer.hello(**claims))
        reason = peer.goodbye()
        self.assertNotEqual("", reason)
        self.wait_until(lambda: reason in self.fleet.log(1))
        lines = [line for line in self.fleet.log(1).splitlines() if reason in line]
        self.assertEqual(1, len(lines), lines)
        self.assertIn(f"{PREFIX}100", lines[0])
        return reason

    def test_address_of_another(self) -> None:
        """Who claims a member's address, or the node's own, from elsewhere is refused, and the ring is as it was."""
        third = self.fleet.host(3)
        self.assertIn(f"claims the address {third}:6401", self.refused(self.peer(100, claimed=third)))
        self.assertIn("claims our own address", self.refused(self.peer(100, claimed=self.node)))
        packed = IDENTITY.peer("10.1.2.3", 6401).packed
        self.assertIn(f"comes from {PREFIX}100", self.refused(self.peer(100), address=packed))
        self.assert_untouched()

    def test_place_of_another(self) -> None:
        """Places follow from addresses: one that is another's is not given, and a false neighbour is not believed."""
        refusals = []
        for node in self.fleet.processes:
            peer = self.peer(100, node=node)
            peer.introduce()
            answer = peer.ask(JoinRequest(1))
            assert isinstance(answer, JoinFailure)
            refusals.append(answer.reason)
            self.assertIsInstance(peer.ask(Notify(1)), Noted)
        self.assertEqual(2, refusals.count("that place is not mine to give"))
        # Whoever owns it has looked whether anybody is there.
        self.assertEqual(1, sum("cannot be reached from" in reason for reason in refusals))
        self.assert_untouched()

    def test_wrong_port(self) -> None:
        """Who cannot be dialled back at the port it claims gets no place, neither from an owner nor in a small ring."""
        for node in self.fleet.processes:
            peer = self.peer(100, port=9, node=node)
            peer.introduce()
            for question in (JoinRequest(1), Announce(1, 0)):
                answer = peer.ask(question)
                assert isinstance(answer, JoinFailure)
                if "not mine" not in answer.reason:
                    self.assertIn(f"{PREFIX}100:9 cannot be reached from", answer.reason)
        self.assert_untouched()

    def test_two_places(self) -> None:
        """A second node at the address of a member finds its place taken, and the ring is as it was."""
        second = Fleet(
            {
                "p2p_address": f"{self.fleet.host(2)}:7000",
                "api_address": f"{PREFIX}99:{API_PORT}",
                "bootstrap_node": f"{self.node}:{P2P_PORT}",
            },
            tls=self.tls,
            prefix=PREFIX,
        )
        self.addCleanup(second.close)
        second.start([99])
        self.wait_until(lambda: "holds that place" in second.log(99))
        self.assertIs(False, second.statuses()[99]["member"])
        self.assert_untouched()


class FrameTests(HostileTestCase):
    """What is no message costs whoever sends it the connection."""

    def test_nonsense(self) -> None:
        """Frames that no peer sends end the connection, with the reason in one line of the log; the address is refused
        for a while, others go on.
        """
        sent = {
            101: claimed_length(200, 5),
            102: claimed_length(GetTable.kind, 0xFFFFFFFF),
            103: claimed_length(Ping.kind, 5) + b"\0\0\0\0\0",
            104: claimed_length(Store.kind, 5 + 30) + b"\x93" + bytes(29),
            105: claimed_length(Pong.kind, 6) + b"\x90",
        }
        bystander = self.peer(110)
        bystander.introduce()
        for number, raw in sent.items():
            peer = self.peer(number)
            peer.introduce()
            peer.write(raw)
            reason = peer.goodbye()
            self.assertNotEqual("", reason, number)
            self.wait_until(lambda number=number: len(self.lines_about(number)) == 1)  # type: ignore[misc]
            with self.assertRaises((Ended, OSError, SSL.Error)):
                # Not talked to for a while.
                self.peer(number).introduce()
        self.assertIsInstance(bystander.ask(GetTable(0, 0)), TableIs)
        self.assert_untouched()


class CostTests(HostileTestCase):
    """What strangers cost is bounded."""

    def pid(self) -> int:
        return self.fleet.processes[1].pid

    def watch(self) -> Watch:
        watch = Watch(self.pid())
        watch.start()
        self.addCleanup(watch.stop)
        return watch

    def test_unread_values(self) -> None:
        """Who asks for large values and reads none makes the node hold a few of them."""
        key = bytes(32)
        client = self.fleet.client(1)
        client.put(key, value_of(1, 60_000), 600)
        self.assertEqual(value_of(1, 60_000), client.get(key))
        watch = self.watch()
        for _ in range(4):
            peer = self.peer(120)
            peer.introduce()
            question = encode(Fetch(key, 0, True))
            peer.write(b"".join(pack_frame(Fetch.kind, number, question) for number in range(1200)))
        self.assertEqual(value_of(1, 60_000), client.get(key))
        time.sleep(1)
        watch.stop()
        self.assertLess(max(watch.rss_mib), RSS_MIB_MAX)

    def test_too_many_questions(self) -> None:
        """Who asks without end waits; the log says so in one line, and others are answered at once."""
        peer = self.peer(121)
        peer.introduce()

        batch = StoreAll(signed_batch(True)[:200])

        def ask_much() -> bool:
            peer.ask_all([batch] * 8)
            return self.lines_about(121) != []

        # It is dialled back first; the line comes where that was in vain a moment ago, on a slow machine after a while.
        self.wait_until(ask_much, 90.0)
        other = self.peer(122)
        other.introduce()
        self.assertIsInstance(other.ask(GetTable(0, 0)), TableIs)
        (line,) = self.lines_about(121)
        self.assertIn("it costs more than it may, and waits", line)

    def test_too_many_connections(self) -> None:
        """Of connections that say nothing a few are kept, for seconds, and the log says so in one line."""
        before = descriptors(self.pid())
        connections = [stranger(self.node, self.fleet.host(123)) for _ in range(40)]
        self.wait_until(lambda: still_open(connections) <= 16)
        self.assertLessEqual(descriptors(self.pid()), before + 16)
        other = self.peer(124)
        other.introduce()
        self.wait_until(lambda: descriptors(self.pid()) <= before + 2)
        causes = ("connections without a Hello from one address", "no Hello within", "connections a second")
        for line in self.lines_about(123):
            self.assertEqual(1, sum(cause in line for cause in causes), line)
        self.assertLessEqual(len(self.lines_about(123)), 3)
        for connection in connections:
            connection.close()

    def test_connections_without_end(self) -> None:
        """Who goes on connecting is not even told: the kernel drops it, nobody else, and only while it goes on."""
        if sys.platform != "linux":
            self.skipTest("no kernel filters here")

        def gets_through(number: int) -> bool:
            try:
                socket.create_connection((self.node, P2P_PORT), 0.3, (self.fleet.host(number), 0)).close()
            except TimeoutError:
                return False
            return True

        # As many as the kernel keeps until the node looks are accepted by the kernel.
        self.assertTrue(any(not gets_through(126) for _ in range(10_000)))
        self.assertTrue(gets_through(127))
        self.wait_until(lambda: gets_through(126))
        self.assertLessEqual(len(self.lines_about(126)), 3)
        self.assert_untouched()

    def test_stranger_is_not_stored_without_end(self) -> None:
        """A put of a stranger is kept; its records are charged to its address."""
        peer = self.peer(125)
        peer.introduce()
        key, now_ms = sha256(b"stranger").digest(), time.time_ns() // 1_000_000
        self.assertEqual(Stored(), peer.ask(Store(RecordBody(key, b"value", 0, now_ms, b"", 60_000, 4), 1)))

    def test_flood(self) -> None:
        """Everything at once for some seconds: an honest client reads on, nothing is wrong, and afterwards all is as
        before.
        """
        honest = Honest(self.fleet.client(1))
        honest.write()
        honest.read(0.5, self.pid())
        before = descriptors(self.pid())
        watch = self.watch()
        attacker = self.fleet.host(200)
        flood = Flood(self.node, attacker, tls=self.tls != "off")
        flood.start(3.0)
        phase = honest.read(2.5, self.pid())
        flood.join()
        watch.stop()
        self.assertEqual(0, phase.wrong)
        self.assertGreater(phase.gets, 0)
        self.assertLess(max(watch.rss_mib), RSS_MIB_MAX)
        self.wait_until(lambda: descriptors(self.pid()) <= before + 4)
        self.assertEqual(0, honest.read(0.5, self.pid()).wrong)
        lines = [line for line in self.fleet.log(1).splitlines() if attacker in line]
        self.assertLess(len(lines), 20, lines)
        self.assert_untouched()


class ClientTests(HostileTestCase):
    """Clients of the API are trusted with what they ask, not with the node's memory."""

    tls = "off"
    nodes = (1,)

    def pid(self) -> int:
        return self.fleet.processes[1].pid

    def api(self) -> socket.socket:
        """A connection to the API."""
        connection = socket.create_connection((self.node, API_PORT), 10)
        self.addCleanup(connection.close)
        return connection

    def test_nonsense(self) -> None:
        """What is no message ends that connection; another one does not notice."""
        bystander = self.fleet.client(1)
        for raw in (
            b"\0\0\0\0",
            b"\0\5\2\x8e\0",
            struct.pack(">HH", 36, 652),
            b"GET / HTTP/1.1\r\n\r\n",
            bytes(70_000),
        ):
            connection = self.api()
            try:
                connection.sendall(raw)
                self.assertEqual(b"", connection.recv(1))
            except ConnectionError:
                pass  # reset, with bytes of ours unread
        self.assertIs(None, bystander.get(bytes(32)))
        self.wait_until(lambda: self.fleet.log(1).count("unknown type 21536") == 1)
        self.assert_untouched()

    def test_slow_sender(self) -> None:
        """Who sends a byte now and then waits alone."""
        connections = [self.api() for _ in range(50)]
        put = struct.pack(">HHHBx", 40 + 1000, 650, 60, 0) + bytes(32)
        client = self.fleet.client(1)
        for at in range(5):
            for connection in connections:
                connection.sendall(put[at : at + 1])
            self.assertIs(None, client.get(bytes(32)))

    def test_reads_nothing(self) -> None:
        """Who asks for large values and reads none makes the node hold a few of them."""
        key = sha256(b"large").digest()
        client = self.fleet.client(1)
        client.put(key, value_of(1, 60_000), 600)
        self.assertEqual(value_of(1, 60_000), client.get(key))
        watch = Watch(self.pid())
        watch.start()
        get = struct.pack(">HH", 36, 651) + key
        for _ in range(20):
            connection = self.api()
            connection.settimeout(0.2)
            try:
                for _ in range(100):
                    connection.sendall(get * 1000)
            except TimeoutError:
                pass  # the node does not read on, which is the point
        self.assertEqual(value_of(1, 60_000), client.get(key))
        watch.stop()
        self.assertLess(max(watch.rss_mib), RSS_MIB_MAX)

    def test_idle_clients(self) -> None:
        """Clients that say nothing cost next to nothing."""
        connections = connected(self.node, 500)
        client = self.fleet.client(1)
        self.assertIs(None, client.get(bytes(32)))
        self.assertEqual(500, still_open(connections))
        for connection in connections:
            connection.close()


class DearestTests(HostileTestCase):
    """A node that is asked every question there is, each as dear as can be (longer: ``tools.flood``)."""

    measures_turns = True

    def test_one_address(self) -> None:
        """It stays in all lists, its client reads on, no turn of its reactor is long, and it grows within its bound."""
        pid = self.fleet.processes[1].pid
        fill(self.fleet.client(1), 1000)
        honest = Honest(self.fleet.client(1))
        honest.write()
        honest.read(0.5, pid)
        watch, listed = Watch(pid), Listed(self.fleet, 1)
        watch.start()
        listed.start()
        began_s = time.monotonic()
        flood = Flood(self.node, self.fleet.host(200), tls=True, is_dearest=True)
        flood.start(8.0)
        phase = honest.read(8.0, pid)
        ended_s = time.monotonic()
        flood.join()
        watch.stop()
        listed.stop()
        self.assertEqual((0, 0), (phase.wrong, listed.without))
        self.assertGreater(phase.gets, 0)
        self.assertLess(max(watch.rss_mib), RSS_MIB_MAX)
        turns = turns_of(self.fleet.turns(1), began_s, ended_s)
        self.assertGreater(turns.count, 0)
        self.assertLess(turns.at(0.999), 0.02)
        self.assertLess(turns.longest_s, 0.05)
        self.assert_untouched()


class UnreadTests(HostileTestCase):
    """Clients of a node that keeps little itself: what they ask for comes from others."""

    tls = "off"
    nodes = (1, 2, 3, 4, 5, 6, 7)

    def test_large_values(self) -> None:
        """Sixty clients that ask for large values and read none make a node hold what it says, and no more; another
        client's read does not wait behind theirs.
        """
        honest = self.fleet.client(1)
        keys = [sha256(b"large %d" % number).digest() for number in range(40)]
        for number, key in enumerate(keys):
            honest.put(key, value_of(number, 65_000), 600)
        for number, key in enumerate(keys):
            self.wait_until(lambda key=key, number=number: honest.get(key) == value_of(number, 65_000), 120)  # type: ignore[misc]
        before_mib = rss_mib(self.fleet.processes[1].pid)
        watch = Watch(self.fleet.processes[1].pid)
        watch.start()
        gets = b"".join(struct.pack(">HH", 36, 651) + key for key in keys) * 25
        for _ in range(60):
            connection = socket.create_connection((self.node, API_PORT), 10)
            self.addCleanup(connection.close)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.send(gets)
        for number, key in enumerate(keys[:20]):
            # Behind theirs it would wait for ever: nobody reads four gigabytes.
            self.wait_until(lambda key=key, number=number: honest.get(key) == value_of(number, 65_000), 120)  # type: ignore[misc]
        watch.stop()
        self.assertLess(max(watch.rss_mib) - before_mib, UNREAD_MIB_MAX)


class WorkTests(HostileTestCase):
    """A node that makes strangers work when they ask much."""

    limits = {"puzzle_bits": 10, "processor_percent": 1}  # noqa: RUF012 -- read only

    def test_stranger_works(self) -> None:
        """When strangers store much, each is set a puzzle of its own; who solves it may store on, others may not."""
        stored = [Store(RecordBody(sha256(b"%d" % n).digest(), b"v", 0, 1, b"", 60_000, 4), 1) for n in range(550)]
        one, other = self.peer(131), self.peer(132)
        for peer in (one, other):
            peer.introduce()
            peer.ask(Ping())  # both are known before all that strangers may cost is used up
        for peer in (one, other):
            peer.ask_all(stored)
        work, others_work = one.ask(stored[0]), other.ask(stored[0])
        assert isinstance(work, Puzzle) and isinstance(others_work, Puzzle)
        solution = solve(work.puzzle, work.bits, 0, 1 << 20)
        assert solution is not None
        worked = Solution(work.puzzle, solution)
        self.assertEqual(others_work, other.ask(worked))
        self.assertEqual(Noted(), one.ask(worked))
        self.assertNotIsInstance(one.ask(stored[0]), Puzzle)
        self.assertIsInstance(other.ask(stored[0]), Puzzle)
        self.wait_until(lambda: len([line for line in self.lines_about(131) if "has to work first" in line]) == 1)
        self.assert_untouched()
