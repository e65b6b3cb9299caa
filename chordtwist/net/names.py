"""Host names to peers, afresh each time, without ever holding the node up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chordtwist.core.errors import Unreachable
from chordtwist.core.peer import Identity, Peer, canonical_ip
from chordtwist.net.daemon_threads import DaemonThreads

RESOLVE_WITHIN_S = 5.0
"""After that the other bootstrap nodes are tried without this one; one try of a resolver with a dead server."""

THREADS_MAX = 4
"""Names that are looked up at a time."""

Resolve = Callable[[str], "Deferred[list[str]]"]


class Names:
    """The bootstrap list of one node, names included.

    @param resolve: from a name to its IP addresses; fails where it has none. Never asked for an IP address.
    """

    _log = Logger()

    def __init__(
        self,
        resolve: Resolve,
        identity: Identity,
        addresses: Sequence[tuple[str, int]],
        clock: IReactorTime,
        dial_from: str = "",
    ) -> None:
        """@param dial_from: the local IP address that peers are dialled from: of a name's addresses only those of its
        family are taken where there are any. Empty where the system chooses.
        """
        self._resolve = resolve
        self._identity = identity
        self._addresses = addresses
        self._clock = clock
        self._version = canonical_ip(dial_from).version if dial_from else None
        self._waiting: dict[str, list[Deferred[list[str]]]] = {}
        self._said: dict[str, str] = {}

    def peers(self) -> Deferred[list[Peer]]:
        """Find the peers of the list, in its order, none twice. Fires within `RESOLVE_WITHIN_S`.

        A name that cannot be resolved is left out, with one line in the log until the reason changes. Fails with
        `Unreachable` when not one of a list could be: who was to join somebody does not begin a ring for that.
        """
        return Deferred.fromCoroutine(self._peers())

    async def _peers(self) -> list[Peer]:
        found: dict[Peer, None] = {}
        asked = [(self._hosts(host), port) for host, port in self._addresses]
        for hosts, port in asked:
            peers: list[Peer] = []
            for host in await hosts:
                # What is no address of a peer, such as a link-local one with its zone, is passed over.
                with suppress(ValueError):
                    peers.append(self._identity.peer(host, port))
            found.update(dict.fromkeys(self._of_our_family(peers) or peers))
        if self._addresses and not found:
            raise Unreachable(None, "no name of the bootstrap list can be resolved")
        return list(found)

    def _of_our_family(self, peers: list[Peer]) -> list[Peer]:
        return [peer for peer in peers if self._version in (None, canonical_ip(peer.host).version)]

    def _hosts(self, host: str) -> Deferred[list[str]]:
        if _is_ip(host):
            return succeed([host])
        hosts: Deferred[list[str]] = Deferred()
        # A lookup that hangs is joined by later ones, so that they do not fill the threads.
        waiting = self._waiting.setdefault(host, [])
        waiting.append(hosts)
        if len(waiting) == 1:
            self._resolve(host).addBoth(self._resolved, host)
        return hosts.addTimeout(RESOLVE_WITHIN_S, self._clock).addCallbacks(
            self._said_well, self._failed, callbackArgs=(host,), errbackArgs=(host,)
        )

    def _resolved(self, outcome: list[str] | Failure, host: str) -> None:
        for hosts in self._waiting.pop(host):
            hosts.callback(outcome)  # a Failure fails it

    def _said_well(self, hosts: list[str], host: str) -> list[str]:
        self._said.pop(host, None)
        return hosts

    def _failed(self, failure: Failure, host: str) -> list[str]:
        reason = "no answer" if failure.check(TimeoutError) else failure.getErrorMessage()
        if self._said.get(host) != reason:
            self._said[host] = reason
            self._log.warn("{host}: the name cannot be resolved: {reason}", host=host, reason=reason)
        return []


class Resolver:
    """The system's resolver, in threads of its own."""

    def __init__(self, reactor: Any) -> None:
        self._threads = DaemonThreads(reactor, THREADS_MAX, "names")
        self.stop = self._threads.stop

    def __call__(self, host: str) -> Deferred[list[str]]:
        """Look up the IP addresses of a name."""
        return self._threads.call(_look_up, host)


def _look_up(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(str(error)) from None
    except OSError as error:
        raise OSError(error.strerror) from None
    return [str(address[0]) for *_, address in found]


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
