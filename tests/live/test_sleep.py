"""A node whose machine is suspended while values end: none of them comes back with it."""

from __future__ import annotations

import signal
import time
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.wire.api_messages import ResultCode
from tests.fleet import Fleet
from tests.shim import Shim

TTL_S, ASLEEP_S = 12, 18
"""Values end while the node sleeps, and would have 6 s left by a clock that stood still with it."""

VALUES = 40


class SleepTests(SynchronousTestCase):
    """Four nodes that keep four copies of everything; one is stopped, and its steady clock set back by that time."""

    def setUp(self) -> None:
        self.fleet = Fleet()
        self.addCleanup(self.fleet.close)
        self.shim = Shim(self.fleet.folder)
        self.fleet.start((1, 2, 3))
        self.fleet.environment = self.shim.environment
        self.fleet.start((4,))
        self.fleet.wait_for_ring(60)

    def test_ended_values_stay_ended(self) -> None:
        """Nobody reads a value that ended meanwhile, nor an older one, once all know of each other again."""
        keys = [sha256(b"%d" % number).digest() for number in range(VALUES)]
        writer = self.fleet.client(1)
        self.addCleanup(writer.close)
        for key in keys[: VALUES // 2]:
            self.assertIs(writer.put_confirmed(key, b"older", 2 * TTL_S).code, ResultCode.DONE)
        for key in keys[VALUES // 2 :]:
            self.assertIs(writer.put_confirmed(key, b"value", TTL_S).code, ResultCode.DONE)
        self.fleet.processes[4].send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        for key in keys[: VALUES // 2]:
            self.assertIs(writer.put_confirmed(key, b"newer", TTL_S // 2).code, ResultCode.DONE)
        time.sleep(ASLEEP_S - (time.monotonic() - begun))
        self.shim.slept(ASLEEP_S)
        self.fleet.processes[4].send_signal(signal.SIGCONT)
        found: dict[bytes, list[int]] = {}
        ends = time.monotonic() + 2 * TTL_S
        while time.monotonic() < ends:
            for number in self.fleet.numbers:
                client = self.fleet.client(number)
                for value in client.get_many(keys).values():
                    if value is not None:
                        found.setdefault(value, []).append(number)
                client.close()
        self.assertEqual(found, {})
        self.fleet.wait_for_ring(60)
