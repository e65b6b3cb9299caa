"""Looks after a node's health: gathers the facts every few seconds, says in the log when it is not well, and why."""

from __future__ import annotations

import os
import resource
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.app.persistence import Persistence
from chordtwist.core.health import Alarm, Facts, Health, as_json, refused, unready
from chordtwist.net.peer_pool import PeerPool
from chordtwist.net.tls import Tls
from chordtwist.node.chores import Chore
from chordtwist.node.node import Node

HEALTH_EVERY_S = 5.0
"""About half a minute from a fault to the line that names it: two looks, and what the links and the ring take."""

REMEMBERED_LOOKS = 120
"""Ten minutes: a ring that broke in two says so for so long."""

DISK_SILENT_S = 10.0
"""A disk that has not answered for so long is hung: the slowest that work take two."""


class HealthWatch:
    """The health of one node."""

    _log = Logger()

    def __init__(
        self,
        node: Node,
        pool: PeerPool,
        tls: Tls | None,
        persistence: Persistence,
        replication: int,
        reactor: Any,
        wall_ms: Callable[[], int],
        rng: Random,
    ) -> None:
        self._health = Health()
        self._node = node
        self._pool = pool
        self._tls = tls
        self._persistence = persistence
        self._replication = replication
        self._clock = reactor
        self._wall_ms = wall_ms
        self._began_s = reactor.seconds()
        self._rings: deque[tuple[float, int]] = deque(maxlen=REMEMBERED_LOOKS)
        """The size of the ring at each look, and how many had left by then."""
        self._disk_asked_s: float | None = None
        self._disk_free_bytes: int | None = None
        self._disk_error = ""
        self._chore = Chore("health", self.look, reactor, rng, HEALTH_EVERY_S)

    def start(self) -> None:
        """Look every few seconds."""
        self._began_s = self._clock.seconds()
        self._chore.start()

    def stop(self) -> None:
        """Look no more."""
        self._chore.stop()

    def alarms(self) -> list[Alarm]:
        """List what is wrong with the node now; nothing while it is well."""
        return list(self._health.alarms.values())

    def cut_off(self) -> str:
        """Why nobody will ever see what is put here, at this moment; empty when somebody will."""
        # Every put asks.
        return refused(self._facts_of_ring()) if self._pool.has_refusals else ""

    def status(self) -> dict[str, object]:
        """Give the fields of `IDht.status` that tell of health."""
        joins = not self._node.is_member and self._health.is_well
        return {
            "health": "in no ring yet" if joins else self._health.in_words(),
            "alarms": as_json(self._health.alarms.values()),
            "ready": not self.unready(),
            "uptime_s": round(self._clock.seconds() - self._began_s, 3),
        }

    def unready(self) -> list[str]:
        """Say why nobody should be sent here at this moment, a reason each; nothing when the node is ready."""
        return unready(replace(self._facts_of_ring(), disk_error=self._disk_trouble()))

    def look(self) -> None:
        """Take one look."""
        began, ended = self._health.look(self.facts(), self._clock.seconds())
        for alarm in began:
            self._log.warn("{alarm}", alarm=alarm.text)
            self._node.note(f"alarm: {alarm.text}")
        for alarm in ended:
            self._log.info("no longer so: {alarm}", alarm=alarm.text)
            self._node.note(f"no longer so: {alarm.text}")

    # Facts

    def facts(self) -> Facts:
        """Gather what is known now."""
        self._ask_disk()
        node, wall_s = self._node, self._wall_ms() / 1000
        ring = self._facts_of_ring()
        members, left = node.members_estimate(), node.left
        before, left_before = self._before(members, left)
        self._rings.append((members, left))
        ends_s = None if self._tls is None else self._tls.ends.timestamp()
        return Facts(
            up_s=self._clock.seconds() - self._began_s,
            is_member=ring.is_member,
            answering=ring.answering,
            listed=ring.listed,
            obstacles=ring.obstacles,
            refusals=ring.refusals,
            certificate_left_s=None if ends_s is None else ends_s - wall_s,
            clock_ahead_ms=node.clock_ahead_ms(),
            wall_year=datetime.fromtimestamp(wall_s, UTC).year,
            disk_error=self._disk_trouble(),
            disk_free_bytes=self._disk_free_bytes,
            descriptors_free=DESCRIPTORS.free(self._clock.seconds()),
            members=members,
            members_before=before,
            left=left - left_before,
            replication=self._replication,
            records_below=node.records.repair.not_taken,
        )

    def _facts_of_ring(self) -> Facts:
        node = self._node
        neighbours = node.routing.neighbours()
        refusals = self._pool.refused_by()
        if refusals:
            # Not whoever had itself dialled: that must not make a node believe that it is cut off.
            known = {str(peer) for peer in (*neighbours, *node.bootstrap.sought())}
            refusals = {peer: why for peer, why in refusals.items() if peer in known}
        return Facts(
            is_member=node.is_member,
            answering=sum(not node.liveness.is_silent(peer) for peer in neighbours),
            listed=len(neighbours),
            obstacles={} if node.is_member else node.bootstrap.obstacles(),
            refusals=refusals,
        )

    def _before(self, members: float, left: int) -> tuple[float, int]:
        """How many members there were, and how many had left by then."""
        if not self._rings:
            return members, left
        return median(size for size, _ in self._rings), self._rings[0][1]

    # The disk, which may hang: so it is asked in a thread, and not waited for

    def _ask_disk(self) -> None:
        if self._disk_asked_s is None and self._persistence.directory is not None:
            self._disk_asked_s = self._clock.seconds()
            free: Deferred[int] = self._persistence.free_bytes()
            free.addCallbacks(self._disk_answered, self._disk_failed)

    def _disk_answered(self, free_bytes: int) -> None:
        self._disk_asked_s, self._disk_free_bytes, self._disk_error = None, free_bytes, ""

    def _disk_failed(self, failure: Failure) -> None:
        self._disk_asked_s = None
        error = failure.value
        self._disk_error = f"state_dir: {getattr(error, 'strerror', None) or error}"

    def _disk_trouble(self) -> str:
        asked_s = self._disk_asked_s
        if asked_s is not None and self._clock.seconds() - asked_s >= DISK_SILENT_S:
            return f"the disk of state_dir has not answered for {self._clock.seconds() - asked_s:.0f} s"
        return self._disk_error or self._persistence.trouble


def descriptors_free() -> int | None:
    """How many more files and connections this process may open; None where that has no bound or cannot be known."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    with suppress(FileNotFoundError):  # no /proc here
        try:
            return max(0, soft - len(os.listdir("/proc/self/fd")) + 1)
        except OSError:
            return 0  # the look itself needs one
    return None


class _Descriptors:
    # Counted once for all nodes of a process: with hundreds of them there are tens of thousands.

    def __init__(self) -> None:
        self._counted_s = float("-inf")
        self._free: int | None = None

    def free(self, now_s: float) -> int | None:
        if abs(now_s - self._counted_s) >= HEALTH_EVERY_S / 2:
            self._counted_s, self._free = now_s, descriptors_free()
        return self._free


DESCRIPTORS = _Descriptors()
"""How many descriptors this process has left, a moment ago."""
