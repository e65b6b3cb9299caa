"""What a service manager is told, and what it hands over."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.systemd import (
    API,
    TELL_EVERY_S,
    UNREADY_EVERY_S,
    Notices,
    handed_over,
    notifying,
    watchdog_s,
    words_for,
)
from chordtwist.core.address import Address, UnixAddress

JOINING: dict[str, Any] = {"member": False, "joining": {"10.0.0.1:6401": "connection\nrefused"}}
MEMBER: dict[str, Any] = {"member": True, "health": "well", "members_estimate": 9, "records": 4}


class SocketTests(SynchronousTestCase):
    """The datagrams."""

    def heard(self, path: str, bound: str) -> bytes:
        """What arrives at a manager that listens there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(bound)
            manager.settimeout(5)
            notify = notifying({"NOTIFY_SOCKET": path})
            assert notify is not None
            notify("READY=1")
            return manager.recv(100)

    def test_told(self) -> None:
        """One datagram, to a path or to a name of the abstract kind."""
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "notify")
            self.assertEqual(b"READY=1", self.heard(path, path))
        name = f"chordtwist-{os.getpid()}"
        self.assertEqual(b"READY=1", self.heard(f"@{name}", f"\0{name}"))

    def test_nobody_listens(self) -> None:
        """Without a manager nothing is told; one that is gone harms nobody."""
        self.assertIsNone(notifying({}))
        notify = notifying({"NOTIFY_SOCKET": "/nowhere/at/all"})
        assert notify is not None
        notify("READY=1")

    def test_watchdog(self) -> None:
        """How often the manager wants to hear of this process, and of no other."""
        self.assertEqual(30.0, watchdog_s({"WATCHDOG_USEC": "30000000"}))
        self.assertEqual(30.0, watchdog_s({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}))
        for environ in {}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}:
            self.assertIsNone(watchdog_s(environ))


class NoticesTests(SynchronousTestCase):
    """What is told, and when."""

    def setUp(self) -> None:
        """A node that joins."""
        self.clock = Clock()
        self.told: list[str] = []
        self.status = JOINING

    def start(self, watchdog: float | None = None) -> Notices:
        """Begin to tell."""
        notices = Notices(lambda: self.status, self.told.append, watchdog, self.clock)
        notices.startService()
        return notices

    def test_ready_when_member(self) -> None:
        """READY is told once, when the node is a member; before it the status says what stands in the way."""
        notices = self.start()
        self.assertEqual(["WATCHDOG=1\nSTATUS=joining: 10.0.0.1:6401: connection\\nrefused"], self.told)
        self.status = MEMBER
        self.clock.advance(UNREADY_EVERY_S)
        self.assertEqual("READY=1\nWATCHDOG=1\nSTATUS=well; member of some 9, 4 records", self.told[-1])
        self.status = JOINING
        self.clock.pump([1.0] * int(3 * TELL_EVERY_S))
        self.assertEqual(1, sum("READY" in told for told in self.told))
        self.assertEqual(5, len(self.told))
        notices.stopService()
        self.assertEqual(("STOPPING=1\nSTATUS=leaving the ring", []), (self.told[-1], self.clock.getDelayedCalls()))

    def test_watchdog_pace(self) -> None:
        """It lives twice as often as the manager wants to hear it."""
        self.status = MEMBER
        self.start(watchdog=3.0)
        self.clock.pump([0.5] * 12)
        self.assertEqual(5, len(self.told))

    def test_broken_state(self) -> None:
        """A state that cannot be read is in the log; the next one is told."""
        self.status = {}
        self.start()
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))
        self.status = MEMBER
        self.clock.advance(UNREADY_EVERY_S)
        self.assertIn("READY=1", self.told[-1])

    def test_one_line(self) -> None:
        """Whatever others say, the status is one line of bounded length."""
        words = words_for({"member": False, "joining": {"a": "x\nREADY=1\u202e" * 100}})
        self.assertEqual((200, True), (len(words), words.isprintable()))


class HandedOverTests(SynchronousTestCase):
    """What is handed over; tests/live/test_activation.py has it with processes."""

    def test_nothing(self) -> None:
        """Where nothing is, the node listens for itself."""
        for address in Address("127.0.0.1", 7401), Address("::1", 7401), UnixAddress(Path("/run/api.sock")):
            self.assertIsNone(handed_over(MemoryReactorClock(), API, address))
