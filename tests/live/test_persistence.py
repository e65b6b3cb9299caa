"""What outlives a run of the node."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import TestCase

from chordtwist.app import persistence
from chordtwist.app.persistence import RUNS_RESERVED, Persistence
from chordtwist.core.errors import StateUnusable
from chordtwist.core.peer import Identity, Policy


class PersistenceTests(TestCase):
    """A node with and without a state directory, over its runs; the store on disk commits in a thread."""

    def setUp(self) -> None:
        """A folder, and a wall clock that the test sets."""
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "state"
        self.now_ms = 5000

    def persistence(self, state_dir: Path | None) -> Persistence:
        """One run."""
        return Persistence(state_dir, reactor, lambda: 0, lambda: self.now_ms)

    async def test_on_disk(self) -> None:
        """Key and peers are there again in the next run, whose numbers are above the last one's by any clock."""
        identity = Identity("test", Policy.IP)
        peers = [identity.peer("127.0.0.2", 6401), identity.peer("::1", 6401)]
        first = self.persistence(self.folder)
        self.assertEqual([], first.remembered_peers(identity))
        self.assertEqual([5000, 5001], [first.next_epoch(), first.next_epoch()])
        first.remember_peers(peers)
        await first.close()
        self.now_ms = 3000
        second = self.persistence(self.folder)
        self.assertEqual(first.seed, second.seed)
        self.assertEqual(peers, second.remembered_peers(identity))
        self.assertEqual(5000 + RUNS_RESERVED, second.next_epoch())
        await second.close()

    async def test_cannot_be_written_any_more(self) -> None:
        """While it runs its numbers grow all the same, in memory, with one warning a minute, and nobody waits."""
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.patch(persistence, "RUNS_RESERVED", 2)
        first = self.persistence(self.folder)
        self.assertEqual(5000, first.next_epoch())
        gone = self.folder.rename(self.folder.with_name("gone"))
        for expected in range(5001, 5010):
            self.assertEqual(expected, first.next_epoch())
            await deferLater(reactor, 0.02)
        self.assertEqual(1, len([event for event in observer if event["log_level"].name == "warn"]))
        self.assertIn("cannot be written", first.trouble)
        gone.rename(self.folder)
        self.assertEqual(5010, first.next_epoch())
        await first.close()
        self.now_ms = 3000
        second = self.persistence(self.folder)
        self.assertGreater(second.next_epoch(), 5010)
        await second.close()

    async def test_kept_later(self) -> None:
        """Peers that the disk did not take are kept when it takes files again, and asked for no more then."""
        identity = Identity("test", Policy.IP)
        peers = [identity.peer("127.0.0.2", 6401)]
        first = self.persistence(self.folder)
        (self.folder / "peers.json.new").mkdir()
        first.remember_peers(peers)
        await deferLater(reactor, 0.1)
        self.assertIn("peers.json: cannot be written", first.trouble)
        (self.folder / "peers.json.new").rmdir()
        first.keep_again()
        await deferLater(reactor, 0.1)
        self.assertEqual(("", peers), (first.trouble, first.remembered_peers(identity)))
        (self.folder / "peers.json").unlink()
        first.keep_again()
        await first.close()
        self.assertFalse((self.folder / "peers.json").exists())

    async def test_in_memory(self) -> None:
        """Without a directory every run is another node; its numbers still grow, also when the clock goes back."""
        first, second = self.persistence(None), self.persistence(None)
        self.assertNotEqual(first.seed, second.seed)
        epochs = [first.next_epoch()]
        self.now_ms = 3000
        self.assertEqual([5000, 5001], [*epochs, first.next_epoch()])
        self.assertIsNone(first.directory)
        await first.close()

    async def test_in_use(self) -> None:
        """A directory that another process uses fails the start, and is left to that process."""
        first = self.persistence(self.folder)
        error = self.assertRaises(StateUnusable, self.persistence, self.folder)
        self.assertIn("in use by process", str(error))
        await first.close()
        await self.persistence(self.folder).close()
