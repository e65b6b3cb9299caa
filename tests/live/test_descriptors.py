"""A process that may open far too few files and connections."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.net.failures import TOO_FEW_DESCRIPTORS
from tests.fleet import API_PORT, P2P_PORT, Fleet

DESCRIPTORS = 20
WITHIN_S = 60.0


class DescriptorsTests(SynchronousTestCase):
    """``ulimit -n 20``."""

    def wait_for(self, what: Callable[[], bool], log: Callable[[], str], meanwhile: Callable[[], object]) -> None:
        ends = time.monotonic() + WITHIN_S
        while not what():
            meanwhile()
            self.assertLess(time.monotonic(), ends, log())
            time.sleep(0.1)

    def test_few(self) -> None:
        """A node says at its start that they are few and what to do, and, when none is left, that this is why a
        connection is not accepted and a bootstrap node not dialled; it goes on, and is a member when they are free.
        """
        fleet = Fleet()
        self.addCleanup(fleet.close)
        fleet.prepare = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        fleet.start([1], bootstrap=[2])
        log = partial(fleet.log, 1)
        fleet.client(1).close()
        with ExitStack() as held:

            def crowd(port: int, connections: int) -> None:
                for _ in range(connections):
                    held.enter_context(socket.create_connection((fleet.host(1), port)))

            crowd(API_PORT, DESCRIPTORS)
            not_accepted = f"a connection was not accepted: {TOO_FEW_DESCRIPTORS}"
            not_dialled = f"bootstrap: {fleet.host(2)}:6401: {TOO_FEW_DESCRIPTORS}"
            # Those that say nothing are ended, after 5 s, and others have to come.
            self.wait_for(lambda: not_accepted in log() and not_dialled in log(), log, partial(crowd, P2P_PORT, 4))
        fleet.prepare = None
        fleet.start([2], bootstrap=[2])
        fleet.wait_for_ring(WITHIN_S)
        self.assertIn(f"may open {DESCRIPTORS} files and connections only, 256 are the least", log())
        self.assertEqual(1, log().count("a connection was not accepted"))
        self.assertNotIn("Traceback", log())
