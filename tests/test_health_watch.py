"""`HealthWatch`: the facts it gathers of a node, and what it says in log, events and status."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import formatEvent, globalLogPublisher
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase, TestCase

from chordtwist.app.config_file import read_text
from chordtwist.app.health_watch import DISK_SILENT_S, HEALTH_EVERY_S, HealthWatch, descriptors_free
from chordtwist.app.service import NodeService, build
from chordtwist.core.events import Events
from chordtwist.core.health import QUIET_S, Cause, Facts
from tests.test_service import Reactor


class ScriptedWatch(HealthWatch):
    """Sees what a test lets it see."""

    seen = Facts(up_s=QUIET_S)

    def facts(self) -> Facts:
        return self.seen


class ScriptedPersistence:
    """Has a directory whose disk answers as a test says."""

    directory = "somewhere"
    trouble = ""

    def __init__(self) -> None:
        self.answer: Deferred[int] | OSError | int = 1 << 40

    def free_bytes(self) -> Deferred[int]:
        if isinstance(self.answer, OSError):
            return fail(self.answer)
        return succeed(self.answer) if isinstance(self.answer, int) else self.answer


class ScriptedPool:
    """Was refused as a test says."""

    def __init__(self, refusals: dict[str, str]) -> None:
        self.refusals = refusals

    @property
    def has_refusals(self) -> bool:
        return bool(self.refusals)

    def refused_by(self) -> dict[str, str]:
        return dict(self.refusals)


def scripted_node() -> Any:
    """As much of a node as the watch asks for."""
    node = SimpleNamespace(
        events=Events(),
        is_member=True,
        left=0,
        routing=SimpleNamespace(neighbours=lambda: ["10.0.0.2:6401"]),
        liveness=SimpleNamespace(is_silent=lambda peer: False),
        bootstrap=SimpleNamespace(obstacles=lambda: {}, sought=lambda: {"10.0.0.3:6401"}),
        records=SimpleNamespace(repair=SimpleNamespace(not_taken=0)),
        members_estimate=lambda: 2.0,
        clock_ahead_ms=lambda: None,
    )
    node.note = lambda text: node.events.note(1, text)
    return node


class LookTests(TestCase):
    """What follows from a look."""

    def setUp(self) -> None:
        """A node that is well."""
        self.reactor = Reactor()
        self.node = scripted_node()
        self.persistence: Any = ScriptedPersistence()
        self.refused_by: dict[str, str] = {}
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def watch(self, kind: type[HealthWatch] = HealthWatch) -> Any:
        pool: Any = ScriptedPool(self.refused_by)
        return kind(self.node, pool, None, self.persistence, 4, self.reactor, lambda: 1_800_000_000_000, Random(1))

    def test_told_once(self) -> None:
        """An alarm is one warning when it begins and one line when it ends, and both are events."""
        watch = self.watch(ScriptedWatch)
        watch.seen = Facts(up_s=QUIET_S, disk_error="No space left on device")
        for _ in range(4):
            watch.look()
        self.assertEqual(("No space left on device", True), (watch.status()["health"], watch.status()["ready"]))
        self.assertEqual([Cause.DISK], [alarm.cause for alarm in watch.alarms()])
        watch.seen = Facts(up_s=QUIET_S)
        watch.look()
        watch.look()
        lines = [(event["log_level"].name, formatEvent(event)) for event in self.log]
        expected = [("warn", "No space left on device"), ("info", "no longer so: No space left on device")]
        self.assertEqual(expected, lines)
        noted = [event.text for event in self.node.events]
        self.assertEqual(["alarm: No space left on device", "no longer so: No space left on device"], noted)
        self.assertEqual(("well", []), (watch.status()["health"], watch.alarms()))

    def test_hung_disk(self) -> None:
        """A disk that does not answer is not waited for, not asked again meanwhile, and said to be hung."""
        self.persistence.answer = Deferred()
        watch = self.watch()
        self.assertEqual("", watch.facts().disk_error)
        self.reactor.advance(DISK_SILENT_S)
        self.assertEqual("the disk of state_dir has not answered for 10 s", watch.facts().disk_error)
        self.persistence.answer.callback(5)
        self.persistence.answer = 6
        watch.facts()
        self.assertEqual(("", 6), (watch.facts().disk_error, watch.facts().disk_free_bytes))

    def test_failing_disk(self) -> None:
        """What the disk says is said, and so is what it said when something was to be kept."""
        self.persistence.answer = OSError(errno.EIO, os.strerror(errno.EIO))
        watch = self.watch()
        self.assertEqual("state_dir: Input/output error", watch.facts().disk_error)
        self.persistence.answer = 1 << 40
        self.persistence.trouble = "/x/peers.json: cannot be written"
        self.assertEqual("/x/peers.json: cannot be written", watch.facts().disk_error)

    def test_refused(self) -> None:
        """Refusals count of those whom the node looks for; others may let themselves be dialled to refuse it."""
        watch = self.watch()
        self.node.liveness.is_silent = lambda peer: True
        self.refused_by["10.66.6.6:6401"] = "no"
        self.assertEqual("", watch.cut_off())
        self.refused_by["10.0.0.3:6401"] = "our certificate was revoked"
        self.assertEqual("cut off: 10.0.0.3:6401 refuses us: our certificate was revoked", watch.cut_off())
        self.node.liveness.is_silent = lambda peer: False
        self.assertEqual("", watch.cut_off())

    def test_shrunk(self) -> None:
        """The ring before is that of the last minutes; whoever said that it leaves does not count."""
        watch = self.watch()
        self.node.members_estimate = lambda: 20.0
        for _ in range(9):
            watch.facts()
        self.node.members_estimate = lambda: 8.0
        self.node.left = 3
        facts = watch.facts()
        self.assertEqual((8.0, 20.0, 3), (facts.members, facts.members_before, facts.left))

    def test_descriptors(self) -> None:
        """Descriptors that are open are not free."""
        before = descriptors_free()
        if before is None:
            self.skipTest("no bound on descriptors here")
        with open(os.devnull):
            self.assertEqual(before - 1, descriptors_free())


class ServiceTests(SynchronousTestCase):
    """The health of a node as its service shows it."""

    def build(self, text: str) -> NodeService:
        """A node on a network that nobody answers in."""
        self.reactor = Reactor()
        config = read_text(f"[tls]\nmode = off\n[dht]\n{text}", "node.ini", Path("/"))
        node = build(config, self.reactor, lambda: None)
        node.startService()
        self.addCleanup(node.stopService)
        return node

    def test_in_no_ring(self) -> None:
        """A node that finds nobody is silent for a minute, then says what is in its way; and it is never ready."""
        node = self.build("bootstrap_node = 127.0.0.9:6401")
        state = node.dht.status()
        self.assertEqual(("in no ring yet", False), (state["health"], state["ready"]))
        for _ in range(int(QUIET_S)):
            self.reactor.advance(1)
        self.assertEqual([], node.health())
        for _ in range(int(4 * HEALTH_EVERY_S)):
            self.reactor.advance(1)
        (alarm,) = node.health()
        self.assertEqual(Cause.CUT_OFF, alarm.cause)
        self.assertTrue(alarm.text.startswith("in no ring: 127.0.0.9:6401: "), alarm.text)
        state = node.dht.status()
        self.assertEqual((alarm.text, False), (state["health"], state["ready"]))
        self.assertIn("127.0.0.9:6401", str(state["tried_next"]))

    def test_alone(self) -> None:
        """The first node of a ring is well alone; that it became a member is its first event."""
        node = self.build("")
        for _ in range(int(QUIET_S + 4 * HEALTH_EVERY_S)):
            self.reactor.advance(1)
        self.assertEqual([], node.health())
        state = node.dht.status()
        self.assertEqual(("well", True), (state["health"], state["ready"]))
        first = next(iter(node.events))
        self.assertEqual("became a member, the first of it", first.text)
