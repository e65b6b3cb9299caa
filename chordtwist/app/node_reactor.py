"""The reactor as one node of several in a process sees it: it can be frozen, as SIGSTOP does to a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from zope.interface import implementer


class NodeReactor:
    """Passes everything on to the process's reactor; keeps hold of the timers and connections of its node."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.kind = type(reactor).__name__
        """What the process has, for whoever is shown it."""
        self.is_frozen = False
        self._held: dict[_Timer, None] = {}
        self._protocols: WeakSet[Any] = WeakSet()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # What a node uses

    def callLater(self, delay: float, function: Callable[..., object], *given: object, **named: object) -> IDelayedCall:
        """Call a function later, but not while the node is frozen."""
        return _Timer(self, delay, function, given, named)

    def listenTCP(self, port: int, factory: Any, *given: object, **named: object) -> IListeningPort:
        """Listen, and keep hold of who comes."""
        listening: IListeningPort = self._reactor.listenTCP(port, _Watched(factory, self), *given, **named)
        return listening

    def connectTCP(self, host: str, port: int, factory: Any, *given: object, **named: object) -> Any:
        """Dial, and keep hold of the connection."""
        return self._reactor.connectTCP(host, port, _Watched(factory, self), *given, **named)

    # What happens to it

    def freeze(self) -> None:
        """Let the node do nothing: its connections stand, and nobody reads what comes; its ports take calls."""
        self.is_frozen = True
        for protocol in list(self._protocols):
            self._pause(protocol)

    def thaw(self) -> None:
        """Let it go on where it was: what was due meanwhile happens now."""
        self.is_frozen = False
        held, self._held = self._held, {}
        for timer in held:
            timer.schedule(0)
        for protocol in list(self._protocols):
            if protocol.transport is not None:
                protocol.transport.resumeProducing()

    def made(self, protocol: Any) -> None:
        """Take hold of one more connection."""
        self._protocols.add(protocol)
        if self.is_frozen:
            # Its transport comes in this very turn, and is read in the next.
            self._reactor.callLater(0, self._pause, protocol)

    def hold(self, timer: _Timer) -> None:
        """Keep what is due until the node goes on."""
        self._held[timer] = None

    def let_go(self, timer: _Timer) -> None:
        """Keep it no longer."""
        self._held.pop(timer, None)

    def _pause(self, protocol: Any) -> None:
        if protocol.transport is not None and self.is_frozen:
            protocol.transport.pauseProducing()


class _Watched:
    """A factory whose connections a `NodeReactor` keeps hold of."""

    def __init__(self, factory: Any, reactor: NodeReactor) -> None:
        self._factory = factory
        self._node = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def buildProtocol(self, addr: object) -> Any:
        protocol = self._factory.buildProtocol(addr)
        if protocol is not None:
            self._node.made(protocol)
        return protocol


@implementer(IDelayedCall)
class _Timer:
    """One call to come."""

    def __init__(
        self,
        owner: NodeReactor,
        delay: float,
        function: Callable[..., object],
        given: tuple[object, ...],
        named: dict[str, object],
    ) -> None:
        self._owner = owner
        self._call = function, given, named
        self._over: type[Exception] | None = None
        """Why it is not active any more: the error that says so."""
        self.schedule(delay)

    def schedule(self, delay: float) -> None:
        self._inner = self._owner._reactor.callLater(delay, self._due)

    def _due(self) -> None:
        if self._owner.is_frozen:
            self._owner.hold(self)
            return
        self._over = AlreadyCalled
        function, given, named = self._call
        function(*given, **named)

    def active(self) -> bool:
        return self._over is None

    def getTime(self) -> float:
        return float(self._inner.getTime())

    def cancel(self) -> None:
        self._check()
        self._over = AlreadyCancelled
        self._owner.let_go(self)
        if self._inner.active():
            self._inner.cancel()

    def delay(self, secondsLater: float) -> None:
        self.reset(self.getTime() - float(self._owner.seconds()) + secondsLater)

    def reset(self, secondsFromNow: float) -> None:
        self._check()
        self._owner.let_go(self)
        if self._inner.active():
            self._inner.reset(secondsFromNow)
        else:
            self.schedule(secondsFromNow)

    def _check(self) -> None:
        if self._over is not None:
            raise self._over
