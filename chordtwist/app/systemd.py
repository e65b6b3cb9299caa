"""What a service manager and a node have to do with one another: sd_notify(3), by hand, and the sockets it holds.

One datagram says that the node is a member of its ring, how it is, and that it still lives; sockets that the manager
holds are listened on, so that nobody is refused while the node restarts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger

from chordtwist.core.address import ApiAddress, UnixAddress
from chordtwist.core.printable import printable

UNREADY_EVERY_S = 1.0
"""Until the node is a member of its ring; then as often as the watchdog wants, or every `TELL_EVERY_S`."""

TELL_EVERY_S = 10.0
STATUS_MAX = 200
"""Characters of the line that ``systemctl status`` shows."""

API, WEB = "api", "web"
"""Names of the sockets that may be handed over: FileDescriptorName= of a socket unit."""

_log = Logger()


def notifying(environ: Mapping[str, str]) -> Callable[[str], None] | None:
    """Make what tells the service manager of this process a line, or several; None where there is none that listens."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return None
    address = "\0" + path[1:] if path.startswith("@") else path

    def notify(lines: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as telling:
            try:
                telling.sendto(lines.encode(), address)
            except OSError as error:
                # A manager that is busy hears the next one; the watchdog allows for one that is lost.
                _log.debug("the service manager was not told: {error}", error=error)

    return notify


def watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Find how often the manager wants to hear that this process lives; None where it does not."""
    microseconds, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) == 0 or whose not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6


class Notices(Service):
    """Tells the service manager of a node: READY when it is a member, STATUS, WATCHDOG, STOPPING.

    They come from the reactor's own timers: a reactor that hangs tells nothing, and the manager starts the node anew.
    """

    name = "notices to the service manager"

    def __init__(
        self,
        status: Callable[[], Mapping[str, Any]],
        notify: Callable[[str], None],
        watchdog_s: float | None,
        clock: IReactorTime,
    ) -> None:
        self._status = status
        self._notify = notify
        self._clock = clock
        # sd_watchdog_enabled(3): half of what is allowed.
        self._every_s = TELL_EVERY_S if watchdog_s is None else min(TELL_EVERY_S, watchdog_s / 2)
        self._is_ready = False
        self._next: Any = None

    def startService(self) -> None:
        """Begin to tell."""
        super().startService()
        self._tell()

    def stopService(self) -> None:
        """Tell that the node leaves."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._notify("STOPPING=1\nSTATUS=leaving the ring")

    def _tell(self) -> None:
        self._next = self._clock.callLater(
            self._every_s if self._is_ready else min(UNREADY_EVERY_S, self._every_s), self._tell
        )
        try:
            status = self._status()
            is_ready = self._is_ready or status["member"] is True
            lines = ["WATCHDOG=1", f"STATUS={words_for(status)}"]
        except Exception:
            _log.failure("the state cannot be told to the service manager")
            return
        if is_ready and not self._is_ready:
            self._is_ready = True
            lines.insert(0, "READY=1")
        self._notify("\n".join(lines))


def notices_of(status: Callable[[], Mapping[str, Any]], clock: IReactorTime) -> Notices | None:
    """Make what tells this process's service manager of a node; None where there is none."""
    notify = notifying(os.environ)
    return None if notify is None else Notices(status, notify, watchdog_s(os.environ), clock)


def words_for(status: Mapping[str, Any]) -> str:
    """Say in a line how a node is."""
    if not status["member"]:
        told = "; ".join(f"{address}: {reason}" for address, reason in status["joining"].items())
        words = f"joining: {told}" if told else "joining"
    else:
        records = status["records"]
        words = f"{status['health']}; member of some {status['members_estimate']}, {records} records"
    return printable(words)[:STATUS_MAX]


def handed_over(reactor: Any, name: str, address: ApiAddress) -> IStreamServerEndpoint | None:
    """Find the endpoint of a socket that the service manager holds for us under `name`; None where it holds none.

    @param address: where that socket listens, as our configuration has it.
    """
    domain = "UNIX" if isinstance(address, UnixAddress) else "INET6" if ":" in address.host else "INET"
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, f"systemd:domain={domain}:name={name}")
    except (KeyError, ValueError):
        return None
    return endpoint
