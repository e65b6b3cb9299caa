"""The reactor of a process that runs nodes: Twisted's on epoll, with two detours less for each event.

What is written goes out when the turn ends, where the connection takes it: Twisted's own has epoll say first that it
does, which is a turn and two system calls more. And no context of Twisted's older log is made for each event; nobody
reads it.
"""

from __future__ import annotations

from select import EPOLLOUT
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor


class NodeEventLoop(EPollReactor):
    """A reactor."""

    def __init__(self) -> None:
        self._fresh: dict[Any, None] = {}
        """Those that have something to write since this turn, which epoll does not know of."""
        super().__init__()

    def addWriter(self, writer: Any) -> None:
        """Have `writer` write when the turn ends, and from then on whenever it can."""
        if writer.fileno() not in self._writes:
            self._fresh[writer] = None

    def removeWriter(self, writer: Any) -> None:
        """Have `writer` write no more."""
        self._fresh.pop(writer, None)
        super().removeWriter(writer)

    def getWriters(self) -> list[Any]:
        """List those that have something to write."""
        return [*super().getWriters(), *self._fresh]

    def removeAll(self) -> list[Any]:
        """Forget all connections and ports, and list them."""
        self._wait_for_fresh()
        return list(super().removeAll())

    def doPoll(self, timeout: float | None) -> None:
        """Write what there is to write, wait for events so many seconds at most, and let them be dealt with."""
        for writer in list(self._fresh):
            if writer in self._fresh:
                self._doReadOrWrite(writer, writer.fileno(), EPOLLOUT)
        self._wait_for_fresh()
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(self._selectables))
        except InterruptedError:
            return
        for descriptor, event in events:
            selectable = self._selectables.get(descriptor)
            if selectable is not None:
                self._doReadOrWrite(selectable, descriptor, event)

    doIteration = doPoll

    def _wait_for_fresh(self) -> None:
        """Let epoll say when those can write that could not write all."""
        fresh, self._fresh = self._fresh, {}
        for writer in fresh:
            super().addWriter(writer)


def install() -> None:
    """Make it the reactor of this process, which has none yet."""
    installReactor(NodeEventLoop())
