"""Addresses as people write them, or an error that says what would be right."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.address import PATH_BYTES_MAX, Address, UnixAddress


class AddressTests(SynchronousTestCase):
    """Host and port, and the paths of sockets."""

    def test_shown_as_written(self) -> None:
        """An address is shown as it is written, IPv6 in brackets."""
        for text in ("127.0.0.1:6401", "[2001:db8::1]:6401", "node-1.example.org:6401"):
            self.assertEqual(text, str(Address.parse(text)))
        self.assertEqual("unix:/run/api.sock", str(UnixAddress(Path("/run/api.sock"))))

    def test_one_form(self) -> None:
        """An IPv4 address that is written as IPv6 is the IPv4 address."""
        self.assertEqual(Address("127.0.0.1", 6401), Address.parse("[::ffff:127.0.0.1]:6401"))

    def test_loopback(self) -> None:
        """All of 127.0.0.0/8, [::1] and localhost are loopback."""
        loopback = ("127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1")
        self.assertEqual([], [text for text in loopback if not Address.parse(text).is_loopback])
        beyond = ("0.0.0.0:1", "[::]:1", "128.0.0.1:1", "localhost.example.org:1")
        self.assertEqual([], [text for text in beyond if Address.parse(text).is_loopback])

    def test_none(self) -> None:
        """What is no address is refused, in words that quote it and show what would be one."""
        for text, expected in (
            ("localhost", "'localhost' is not host:port"),
            ("[::1]", "'[::1]' is not host:port"),
            ("tcp://127.0.0.1:7401", "'tcp://127.0.0.1:7401' is a URL; an address is host:port alone"),
            ("http://[::1]:7401/", "'http://[::1]:7401/' is a URL; an address is host:port alone"),
            *(
                (text, f"{text!r} is more than one host:port; where several may stand, commas stand between")
                for text in ("127.0.0.1:1 127.0.0.2:1", "[::1]:1,[::2]:1", "no name:7401")
            ),
            ("localhost:" + "1" * 5000, f"port '{'1' * 5000}' is not a whole number from 1 to 65535"),
            (":7401", "':7401' is not host:port"),
            ("localhost:0", "port '0' is not a whole number from 1 to 65535"),
            ("localhost:65536", "port '65536' is not a whole number from 1 to 65535"),
            ("localhost:seven", "port 'seven' is not a whole number from 1 to 65535"),
            ("localhost:٣", "port '٣' is not a whole number from 1 to 65535"),
            ("::1:7401", "'::1:7401' is ambiguous; an IPv6 address stands in brackets, as in [::1]:6401"),
            ("[127.0.0.1]:7401", "'[127.0.0.1]:7401' has something other than an IPv6 address in its brackets"),
            ("[node]:7401", "'[node]:7401' has something other than an IPv6 address in its brackets"),
            ("[fe80::1%eth0]:7401", "'[fe80::1%eth0]:7401' has a zone, which means something else on every host"),
            ("1.2.3:7401", "'1.2.3' is neither an IP address nor a host name"),
            ("a..b:7401", "'a..b' is neither an IP address nor a host name"),
        ):
            error = self.assertRaises(ValueError, Address.parse, text)
            self.assertEqual(expected, str(error))

    def test_long_path(self) -> None:
        """A path that no Unix socket can have is refused before anything is tried; the longest is taken."""
        UnixAddress(Path("/" + "x" * (PATH_BYTES_MAX - 1)))
        error = self.assertRaises(ValueError, UnixAddress, Path("/" + "x" * PATH_BYTES_MAX))
        self.assertIn("longer than the 107 bytes", str(error))
