"""The system's resolver."""

from __future__ import annotations

import threading

from twisted.trial.unittest import TestCase

from chordtwist.net.names import Resolver


class ResolverTests(TestCase):
    """Names looked up in threads."""

    def setUp(self) -> None:
        """A resolver that is stopped after the test."""
        from twisted.internet import reactor

        self.resolve = Resolver(reactor)
        self.addCleanup(self.resolve.stop)

    async def test_localhost(self) -> None:
        """localhost has a loopback address."""
        found = await self.resolve("localhost")
        self.assertTrue({"127.0.0.1", "::1"} & set(found), found)

    async def test_no_name(self) -> None:
        """What cannot be a name fails as a name that is unknown does."""
        with self.assertRaises(OSError):
            await self.resolve("a..b")

    async def test_stopped(self) -> None:
        """Stopped, it leaves no thread behind, and is stopped without waiting for one."""
        before = set(threading.enumerate())
        await self.resolve("localhost")
        threads = set(threading.enumerate()) - before
        self.assertTrue(threads)
        self.resolve.stop()
        for thread in threads:
            thread.join(10)
        self.assertFalse([thread for thread in threads if thread.is_alive()])
