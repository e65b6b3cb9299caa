"""Links over real sockets: what sockets in memory cannot show."""

from __future__ import annotations

import os
import resource
import socket
import ssl
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from chordtwist.core.errors import Unreachable
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.certificates import make_key, self_signed
from chordtwist.net.failures import TOO_FEW_DESCRIPTORS
from chordtwist.net.introduction import Introduction
from chordtwist.net.peer_pool import PeerPool
from chordtwist.net.tls import Credentials, Tls
from chordtwist.wire.peer_messages import Fetch, Found, Ping, Pong, RecordBody
from tests import contracts

reactor: Any = installed

PARAMETERS = Parameters(network="live", policy=Policy.ADDRESS)
IDENTITY = Identity("live", Policy.ADDRESS)
KEY = make_key()


class Host:
    """A node's links on a port that the system chose."""

    def __init__(self, host: str, tls: bool) -> None:
        # The port has to be known before the peer: ask for one, and then listen on it with what follows from it.
        with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
            port = free.getsockname()[1]
        self.peer = IDENTITY.peer(host, port)
        signer = Ed25519Signer(sha256(self.peer.packed).digest())
        introduction = Introduction(self.peer, IDENTITY, PARAMETERS, signer, verify_ed25519, 1, lambda: 0)
        now = datetime.now(UTC)
        own = Tls(Credentials(self_signed(KEY, host), KEY), host, lambda: now, reactor) if tls else None
        self.pool = PeerPool(reactor, introduction, own, dial_from=host)
        self.answers = contracts.ScriptedAnswers()
        self.pool.start(self.answers)
        self.port = reactor.listenTCP(port, self.pool.factory, 50, host)

    async def stop(self) -> None:
        """Close the port and all links."""
        await maybeDeferred(self.port.stopListening)
        await self.pool.stop()


class LinksTestCase(TestCase):
    """Some nodes on loopback."""

    tls = False

    def host(self, host: str) -> Host:
        """A node, stopped at the end; trial's look at the reactor proves that nothing of it is left."""
        made = Host(host, self.tls)
        self.addCleanup(made.stop)
        return made

    async def unreachable(self, one: Host, peer: Peer) -> str:
        try:
            await one.pool.ask(peer, Ping())
        except Unreachable as error:
            return error.reason
        raise AssertionError("an answer")


class PlainTests(LinksTestCase):
    """Without TLS."""

    async def test_both_families(self) -> None:
        """Questions go both ways, over IPv4 and IPv6, and end in one link for the pair."""
        for here, there in (("127.0.0.1", "127.0.0.2"), ("::1", "::1")):
            one, other = self.host(here), self.host(there)
            answers = [one.pool.ask(other.peer, Ping()) for _ in range(100)]
            answers += [other.pool.ask(one.peer, Ping()) for _ in range(100)]
            self.assertEqual(await gatherResults(answers), [Pong()] * 200)
            self.assertEqual({peer for peer, _ in one.answers.asked}, {other.peer})
            while one.pool.status()["open"] > 1 or other.pool.status()["open"] > 1:
                await deferLater(reactor, 0.1)
            self.assertEqual(await one.pool.ask(other.peer, Ping()), Pong())
            self.assertEqual(one.answers.lost + other.answers.lost, [])

    async def test_refused_at_once(self) -> None:
        """Where nobody listens the system says so, and so do we."""
        one, other = self.host("127.0.0.1"), self.host("127.0.0.2")
        await other.stop()
        self.assertEqual(await self.unreachable(one, other.peer), "connection refused")

    async def test_large(self) -> None:
        """Many of the largest values come through, whatever the buffers between."""
        one, other = self.host("127.0.0.1"), self.host("127.0.0.2")
        value = os.urandom(65_495)
        found = Found(RecordBody(bytes(32), value, 0, 1, b"", 1000, 4))
        other.answers.reply = lambda peer, question: found
        answers = await gatherResults([one.pool.ask(other.peer, Fetch(bytes(32), 0, True)) for _ in range(200)])
        self.assertEqual(answers, [found] * 200)

    async def test_no_descriptors_to_dial(self) -> None:
        """Without a free descriptor a dial fails, and says so; with one again it succeeds."""
        one, other = self.host("127.0.0.1"), self.host("127.0.0.2")
        await deferLater(reactor, 0)  # a reactor that starts opens files of its own
        with Scarce(0):
            self.assertEqual(await self.unreachable(one, other.peer), TOO_FEW_DESCRIPTORS)
        await deferLater(reactor, 0.25)
        self.assertEqual(await one.pool.ask(other.peer, Ping()), Pong())

    async def test_no_descriptors_to_accept(self) -> None:
        """A node that cannot accept keeps the links it has, turns callers away, and accepts again when it can."""
        one, other = self.host("127.0.0.1"), self.host("127.0.0.2")
        self.assertEqual(await one.pool.ask(other.peer, Ping()), Pong())
        callers = [socket.socket() for _ in range(10)]
        for caller in callers:
            self.addCleanup(caller.close)
            caller.setblocking(False)
        with Scarce(0):
            for caller in callers:
                caller.connect_ex((other.peer.host, other.peer.port))
            await deferLater(reactor, 0.1)
            for caller in callers:
                self.assertEqual(ended(caller), b"")
            self.assertEqual(await one.pool.ask(other.peer, Ping()), Pong())
        self.assertEqual(other.pool.status()["accepted"], 1)
        third = self.host("127.0.0.3")
        self.assertEqual(await third.pool.ask(other.peer, Ping()), Pong())


class TlsTests(PlainTests):
    """With TLS 1.3, both sides with certificates."""

    tls = True

    async def test_older_tls(self) -> None:
        """Somebody who speaks TLS 1.2 at most is refused in the handshake."""
        node = self.host("127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertIn("PROTOCOL_VERSION", await self.handshake(node, context))
        self.assertEqual(node.pool.refusals.count, 1)

    async def test_no_certificate(self) -> None:
        """So is who shows no certificate: in TLS 1.3 it hears of it behind its own end of the handshake."""
        node = self.host("127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.assertIn("CERTIFICATE_REQUIRED", await self.handshake(node, context))
        self.assertEqual(node.pool.refusals.count, 1)

    async def handshake(self, node: Host, context: ssl.SSLContext) -> str:
        """What somebody else's TLS says of ours."""
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(inward, outward)
        caller = socket.create_connection((node.peer.host, node.peer.port))
        self.addCleanup(caller.close)
        caller.setblocking(False)
        done = False
        while True:
            try:
                if done:
                    tls.read()
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return str(error.reason)
            if outward.pending:
                caller.send(outward.read())
            await deferLater(reactor, 0.02)
            try:
                inward.write(caller.recv(65_536))
            except BlockingIOError:
                continue


class Scarce:
    """As long as it is entered, the process may open so many more files, and no others."""

    def __init__(self, more: int) -> None:
        self._more = more

    def __enter__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        # Every number below it is taken.
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + self._more, self._limits[1]))

    def __exit__(self, *raised: object) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


def ended(caller: socket.socket) -> bytes | None:
    """What a caller reads: nothing, when the other side has closed; None when it has not."""
    try:
        return caller.recv(1)
    except ConnectionResetError:
        return b""
    except BlockingIOError:
        return None
