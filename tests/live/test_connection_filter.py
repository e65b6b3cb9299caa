"""What the kernel makes of it: real sockets of either family, and IPv4 on one of IPv6."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.peer import canonical_ip
from chordtwist.net.connection_filter import write_filter

DROPPED_WITHIN_S = 0.3
"""What is dropped is not answered; what is not dropped is, on this machine, in a fraction of a millisecond."""


class FilterTests(SynchronousTestCase):
    """Whose connections get through."""

    def setUp(self) -> None:
        """This kernel has filters."""
        if sys.platform != "linux":
            self.skipTest("no kernel filters here")

    def listening(self, host: str) -> socket.socket:
        """A socket that listens there."""
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(server.close)
        server.bind((host, 0))
        server.listen()
        return server

    def dialler(self, server: socket.socket, host: str) -> Callable[[str], bool]:
        """Whether a connection from an address stands at once."""

        def gets_through(comes_from: str) -> bool:
            try:
                target = (host, server.getsockname()[1])
                socket.create_connection(target, DROPPED_WITHIN_S, (comes_from, 0)).close()
            except TimeoutError:
                return False
            return True

        return gets_through

    def test_ipv4(self) -> None:
        """Those listed are dropped, others and those no longer listed are not."""
        server = self.listening("127.0.0.1")
        gets_through = self.dialler(server, "127.0.0.1")
        write_filter(server, [canonical_ip(host) for host in ("2001:db8::", "127.0.9.1", "127.0.9.3")])
        seen = [gets_through(f"127.0.9.{number}") for number in range(1, 5)]
        self.assertEqual([False, True, False, True], seen)
        write_filter(server, [canonical_ip("127.0.9.2")])
        self.assertEqual([True, False], [gets_through("127.0.9.1"), gets_through("127.0.9.2")])
        write_filter(server, [])
        self.assertTrue(gets_through("127.0.9.2"))

    def test_ipv6(self) -> None:
        """Of IPv6 the whole /64 is dropped, and no other."""
        server = self.listening("::1")
        gets_through = self.dialler(server, "::1")
        write_filter(server, [canonical_ip(host) for host in ("0:0:0:1::", "1::", "127.0.0.1")])
        self.assertTrue(gets_through("::1"))
        write_filter(server, [canonical_ip(host) for host in ("0:0:0:1::", "::")])
        self.assertFalse(gets_through("::1"))

    def test_ipv4_on_a_socket_of_ipv6(self) -> None:
        """A socket that takes both families drops IPv4 addresses by what the packets say, too."""
        server = self.listening("::ffff:127.0.0.1")
        gets_through = self.dialler(server, "127.0.0.1")
        write_filter(server, [canonical_ip(host) for host in ("::", "127.0.9.1")])
        self.assertEqual([False, True], [gets_through("127.0.9.1"), gets_through("127.0.9.2")])

    def test_links_that_stand(self) -> None:
        """A connection that was accepted before goes on."""
        server = self.listening("127.0.0.1")
        with socket.create_connection(server.getsockname(), 5, ("127.0.9.1", 0)) as ours, server.accept()[0] as theirs:
            write_filter(server, [canonical_ip("127.0.9.1")])
            ours.sendall(b"still here")
            theirs.settimeout(5)
            self.assertEqual(b"still here", theirs.recv(100))
