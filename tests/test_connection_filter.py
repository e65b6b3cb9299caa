"""Addresses whose connections the kernel is told to drop: who, when, and for how long."""

from __future__ import annotations

import sys
from struct import iter_unpack
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from chordtwist.core.peer import canonical_ip
from chordtwist.net.connection_filter import (
    AWAY_MAX,
    AWAY_S,
    REFUSED_AT_ONCE,
    WRITE_EVERY_S,
    ConnectionFilter,
    filter_program,
)


class Socket:
    """A listening socket that counts the filters it is given."""

    def __init__(self, *refused: int) -> None:
        self.options: list[int] = []
        self.refused = refused

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """`socket.setsockopt`."""
        if option in self.refused:
            raise OSError(92, "Protocol not available")
        self.options.append(option)


@implementer(IStreamServerEndpoint)
class Listening:
    """An endpoint, and the port it makes."""

    def __init__(self, sock: Socket | None) -> None:
        self.socket = sock

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Itself."""
        self.factory = protocolFactory
        port: Any = self
        return succeed(port)


class Door(Factory):
    """Takes connections while it is open."""

    is_open = True

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """A connection, or nothing."""
        return Protocol() if self.is_open else None


ATTACH, DETACH = 26, 27


class ConnectionFilterTests(SynchronousTestCase):
    """Who is refused too often."""

    def setUp(self) -> None:
        """Somebody listens."""
        if sys.platform != "linux":
            self.skipTest("no kernel filters here")
        self.clock = Clock()
        self.socket = Socket()
        self.connection_filter = self.listening(self.socket)

    def listening(self, sock: Socket | None) -> ConnectionFilter:
        """A connection_filter in front of a port with that socket."""
        self.door, self.port = Door(), Listening(sock)
        connection_filter = ConnectionFilter(self.port, self.clock)
        self.assertIs(self.port, self.successResultOf(connection_filter.listen(self.door)))
        return connection_filter

    def refuse(self, host: str, times: float = REFUSED_AT_ONCE + 1) -> None:
        """An address is refused so often at once."""
        for _ in range(int(times)):
            self.connection_filter.refused(host)

    def test_counted(self) -> None:
        """Connections that the factory makes nothing of are counted, and no others."""
        address = IPv4Address("TCP", "192.0.2.1", 50_000)
        for _ in range(100):
            self.assertIsInstance(self.port.factory.buildProtocol(address), Protocol)
        self.assertEqual([], self.socket.options)
        self.door.is_open = False
        for _ in range(100):
            self.assertIsNone(self.port.factory.buildProtocol(address))
        self.assertEqual([ATTACH], self.socket.options)

    def test_told(self) -> None:
        """Who is refused now and then is told so each time."""
        self.refuse("192.0.2.1", REFUSED_AT_ONCE)
        for _ in range(100):
            self.clock.advance(1)
            self.refuse("192.0.2.1", 4)
        self.assertEqual([], self.socket.options)

    def test_dropped(self) -> None:
        """Who goes on at once is dropped, for a second; nothing is left behind."""
        self.refuse("192.0.2.1")
        self.assertEqual([ATTACH], self.socket.options)
        self.clock.pump([WRITE_EVERY_S] * int(AWAY_S / WRITE_EVERY_S + 1))
        self.assertEqual([ATTACH, DETACH], self.socket.options)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_goes_on(self) -> None:
        """Who goes on after it is dropped again soon: what it may be refused comes back slowly."""
        self.refuse("192.0.2.1")
        self.clock.pump([WRITE_EVERY_S] * int(AWAY_S / WRITE_EVERY_S + 1))
        self.refuse("192.0.2.1", 6)
        self.assertEqual([ATTACH, DETACH, ATTACH], self.socket.options)

    def test_one_owner(self) -> None:
        """All of a /64 counts as one, and so do both ways to write an IPv4 address."""
        for number in range(int(REFUSED_AT_ONCE) + 1):
            self.connection_filter.refused(f"2001:db8::{number:x}")
        self.assertEqual([ATTACH], self.socket.options)
        self.refuse("192.0.2.1", 20)
        self.refuse("::ffff:192.0.2.1", 20)
        self.clock.advance(WRITE_EVERY_S)
        self.assertEqual([ATTACH, ATTACH], self.socket.options)

    def test_written_seldom(self) -> None:
        """Many addresses at once make one list, which has an end."""
        for number in range(2 * AWAY_MAX):
            self.refuse(f"198.18.{number // 256}.{number % 256}")
        self.assertEqual([ATTACH], self.socket.options)
        self.clock.advance(WRITE_EVERY_S)
        self.assertEqual([ATTACH, ATTACH], self.socket.options)

    def test_not_here(self) -> None:
        """Where the kernel does not do it, or there is no socket, all are told as before."""
        self.connection_filter = self.listening(Socket(ATTACH, DETACH))
        self.refuse("192.0.2.1", 200)
        self.connection_filter = self.listening(None)
        self.refuse("192.0.2.1", 200)
        self.refuse("fe80::1%eth0")
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_no_longer_here(self) -> None:
        """When the kernel takes no other list, the last one does not stay: it would drop its addresses for good."""
        self.refuse("192.0.2.1")
        self.socket.refused = (ATTACH,)
        self.refuse("192.0.2.2")
        self.clock.advance(WRITE_EVERY_S)
        self.assertEqual([ATTACH, DETACH], self.socket.options)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop(self) -> None:
        """When the port ends no timer is left, and nothing is written any more; its factory ends as well."""
        self.port.factory.doStart()
        self.refuse("192.0.2.1")
        self.port.factory.doStop()
        self.assertEqual(0, self.door.numPorts)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.refuse("192.0.2.2")
        self.assertEqual([ATTACH], self.socket.options)

    def test_program(self) -> None:
        """The longest list is short enough for the kernel, and jumps to where each family begins."""
        away = [canonical_ip(f"2001:db8:{number:x}::") for number in range(AWAY_MAX)]
        self.assertLess(len(filter_program(away)) // 8, 4096)
        steps = list(iter_unpack("HBBI", filter_program([*map(canonical_ip, ("192.0.2.1", "192.0.2.2")), away[0]])))
        jump = next(index for index, (code, *_) in enumerate(steps) if code == 0x05)
        of_4 = jump + 1 + steps[jump][3] - 1
        self.assertEqual((0x06, 0, 0, 0xFFFFFFFF), steps[of_4])
        self.assertEqual((0x20, 0, 0, 0xFFF00008), steps[of_4 + 1])
