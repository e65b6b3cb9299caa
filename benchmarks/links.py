"""Questions per second over one link between two processes, 64 under way, through the real `PeerPool.ask`.

One JSON object per line: ``python -m benchmarks.links [--tls] [--seconds S] [--in-flight N] [--rounds R]``; the figures
are medians over the rounds, with the lowest and highest rate. ``asker_cpu_us`` and
``answerer_cpu_us`` are processor time per question, which a busy machine changes less than questions per second.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import resource
import signal
import time
from datetime import UTC, datetime
from statistics import median
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer, Policy
from chordtwist.core.signed import Ed25519Signer, verify_ed25519
from chordtwist.net.certificates import make_key, self_signed
from chordtwist.net.introduction import Introduction
from chordtwist.net.peer_pool import PeerPool
from chordtwist.net.tls import Credentials, Tls
from chordtwist.node.interfaces import IAnswer
from chordtwist.wire.peer_messages import Answer, Ping, Pong, Question

ASKER, ANSWERER = "127.0.0.1", "127.0.0.2"


@implementer(IAnswer)
class Answers:
    """Answers everything with `Pong`."""

    def answer(self, peer: Peer, question: Question) -> Answer:
        return Pong()

    def link_lost(self, peer: Peer, reason: str) -> None:
        pass

    def breach(self, peer: Peer, reason: str) -> None:
        raise AssertionError(reason)


def pool_at(host: str, port: int, tls: bool, reactor: Any) -> tuple[PeerPool, Identity]:
    """The links of a node at an address, listening."""
    parameters = Parameters(policy=Policy.ADDRESS)
    identity = Identity(parameters.network, parameters.policy)
    signer = Ed25519Signer(os.urandom(32))
    me = identity.peer(host, port)
    introduction = Introduction(
        me, identity, parameters, signer, verify_ed25519, time.time_ns(), lambda: time.time_ns() // 1_000_000
    )
    key = make_key()
    now = datetime.now(UTC)
    own = Tls(Credentials(self_signed(key, host), key), host, lambda: now, reactor) if tls else None
    pool = PeerPool(reactor, introduction, own, dial_from=host)
    pool.start(Answers())
    reactor.listenTCP(port, pool.factory, 50, host)
    return pool, identity


def answerer(given: argparse.Namespace, ready: int) -> None:
    """The process that answers; ends when nobody asks any more."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    pool_at(ANSWERER, given.port, given.tls, reactor)
    os.write(ready, b"!")
    reactor.callLater(given.seconds * given.rounds + 10, reactor.stop)
    reactor.run()
    os._exit(0)


def main() -> None:
    """Ask, count, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=2, help="how long to ask (2)")
    options.add_argument("--rounds", type=int, default=3, help="of which each lasts so long (3)")
    options.add_argument("--in-flight", type=int, default=64, help="questions under way at a time (64)")
    options.add_argument("--port", type=int, default=17_301, help="port on 127.0.0.1 and 127.0.0.2 (17301)")
    options.add_argument("--tls", action="store_true", help="over TLS 1.3, both sides with certificates")
    options.add_argument("--profile", metavar="FILE", help="write a profile of the asking side to FILE")
    given = options.parse_args()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answerer(given, writing)
    os.read(reading, 1)
    # Only now: a reactor that exists before a fork is shared by both sides.
    from twisted.internet import reactor as installed

    reactor: Any = installed
    pool, identity = pool_at(ASKER, given.port, given.tls, reactor)
    other = identity.peer(ANSWERER, given.port)
    question = Ping()

    async def ask(ends_at: float) -> int:
        count = 0
        while time.perf_counter() < ends_at:
            await pool.ask(other, question)
            count += 1
        return count

    result: dict[str, object] = {"tls": given.tls, "in_flight": given.in_flight}
    counted = 0

    async def run() -> None:
        nonlocal counted
        await pool.ask(other, question)
        rates, cpu_us = [], []
        for _ in range(given.rounds):
            began, began_cpu_s = time.perf_counter(), time.process_time()
            asking = [Deferred.fromCoroutine(ask(began + given.seconds)) for _ in range(given.in_flight)]
            count = sum(await gatherResults(asking))
            rates.append(count / (time.perf_counter() - began))
            cpu_us.append((time.process_time() - began_cpu_s) / count * 1e6)
            counted += count
        result["questions_per_s"] = round(median(rates))
        result["lowest_per_s"], result["highest_per_s"] = round(min(rates)), round(max(rates))
        result["asker_cpu_us"] = round(median(cpu_us), 2)
        await pool.stop()

    def begin() -> None:
        Deferred.fromCoroutine(run()).addErrback(lambda failure: print(failure)).addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    if given.profile:
        cProfile.runctx("reactor.run()", {"reactor": reactor}, {}, given.profile)
    else:
        reactor.run()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["answerer_cpu_us"] = round((spent.ru_utime + spent.ru_stime) / max(counted, 1) * 1e6, 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
