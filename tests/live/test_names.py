"""The system's resolver."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from chordtwist.net.names import resolver


class ResolverTests(TestCase):
    """Names looked up in threads."""

    async def test_localhost(self) -> None:
        """localhost has a loopback address."""
        from twisted.internet import reactor

        found = await resolver(reactor)("localhost")
        self.assertTrue({"127.0.0.1", "::1"} & set(found), found)

    async def test_no_name(self) -> None:
        """What cannot be a name fails as a name that is unknown does."""
        from twisted.internet import reactor

        with self.assertRaises(OSError):
            await resolver(reactor)("a..b")
