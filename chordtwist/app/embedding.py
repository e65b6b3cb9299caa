"""A node inside a program of one's own: `chordtwist.Node`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater

from chordtwist.app import config_file, settings
from chordtwist.app.process import use_monotonic_clock
from chordtwist.app.service import NodeService, StartError, build
from chordtwist.core.errors import NodeGone
from chordtwist.core.events import Event
from chordtwist.core.health import Alarm
from chordtwist.core.records import PutResult, Seal, check_value, raw_key

LOOKS_EVERY_S = 0.05


class Node:
    """One node of a ring, in the process of a program that runs the reactor.

    It is the same as ``chordtwist run`` runs, its API for other programs included, without a log, signals or an end of
    the process: those are the program's.
    """

    def __init__(self, reactor: Any, file: str | Path | None = None, values: Mapping[str, str] | None = None) -> None:
        """@param file: its configuration; without one every option has its default.
        @param values: options that stand over the file, as ``{"dht.bootstrap_node": "192.0.2.7:6401"}``.
        @raise ConfigurationError: that is no configuration. @raise StartError: this machine has not what it asks for.
        """
        use_monotonic_clock(reactor)
        self._reactor = reactor
        self.config = config_file.read_file(file, settings.from_mapping(values or {}))
        self.service: NodeService = build(self.config, reactor, self.stop)
        """For `setServiceParent`, in place of `start` and `stop`."""
        self._is_used = False

    def start(self) -> Deferred[None]:
        """Listen and join; fires when the node is a member of its ring, which is tried for as long as that takes.

        Once only: for another run make another `Node`.

        @raise StartError: it cannot listen, or was started or stopped before. Where another `Node` is to take its
            place, wait for `stop`: then its ports and its state directory are free.
        """
        if self._is_used or self.service.running:
            raise StartError("a node starts once: make another one for another run")
        self._is_used = True
        try:
            self.service.privilegedStartService()
        except StartError:
            self.stop()  # gives back the ports and the state directory that it has
            raise
        self.service.startService()
        return Deferred.fromCoroutine(self._until_member())

    def stop(self) -> Deferred[None]:
        """Leave the ring, which takes 5 seconds at most; fires when that is done."""
        self._is_used = True
        return self.service.stopService()

    def put(
        self,
        key: bytes | str,
        value: bytes,
        ttl_s: float | None = None,
        copies: int | None = None,
        seal: Seal | None = None,
    ) -> Deferred[PutResult]:
        """Store `value`; None for life or copies is the configured default.

        Fails with `Refused` when another record stands there by right, with `Unreachable` when too few nodes
        confirmed it; it may be stored here and there even so; and with `NodeGone` while the node does not run.

        @raise ValueError: that is no key, no value or no life.
        """
        raw = raw_key(key)
        check_value(value)
        if ttl_s is not None and not ttl_s >= 0:
            raise ValueError(f"a life of {ttl_s} s; from 0")
        return self.service.dht.put(raw, value, ttl_s, copies, seal) if self.service.running else _gone()

    def get(self, key: bytes | str) -> Deferred[bytes | None]:
        """Get the value under `key`, or None where there is none.

        Fails with `Unreachable` when too few nodes answered to know, and with `NodeGone` while the node does not run.

        @raise ValueError: that is no key.
        """
        raw = raw_key(key)
        if not self.service.running:
            return _gone()
        return self.service.dht.get(raw).addCallback(lambda record: None if record is None else record.value)

    def delete(self, key: bytes | str, seal: Seal | None = None) -> Deferred[PutResult]:
        """Put an end to the record under `key`; like `put`."""
        raw = raw_key(key)
        return self.service.dht.delete(raw, seal) if self.service.running else _gone()

    def status(self) -> Mapping[str, object]:
        """Tell the node's state; the fields of ``chordtwist status --json``."""
        return self.service.dht.status()

    def health(self) -> list[Alarm]:
        """List what is wrong with the node now, with `cause`, `text` and `since_s`; nothing while it is well."""
        return self.service.health()

    @property
    def events(self) -> Iterable[Event]:
        """The last hundred things that happened to it, oldest first, with `at_ms` and `text`."""
        return self.service.events

    async def _until_member(self) -> None:
        while self.service.unready():
            if not self.service.running:
                raise NodeGone(None, "the node was stopped before it had joined its ring")
            await deferLater(self._reactor, LOOKS_EVERY_S)


def _gone() -> Deferred[Any]:
    return fail(NodeGone(None, "this node does not run: it was not started yet, or is stopped"))
