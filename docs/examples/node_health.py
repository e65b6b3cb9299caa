"""Run a node inside a program, and ask how it is: ``python node_health.py FILE``."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from chordtwist.app.config_file import read_file
from chordtwist.app.process import use_monotonic_clock
from chordtwist.app.service import build


async def run(reactor, path):
    use_monotonic_clock(reactor)
    node = build(read_file(path), reactor, on_shutdown=lambda: None)
    node.privilegedStartService()
    node.startService()
    try:
        while not node.dht.status()["ready"]:
            await deferLater(reactor, 0.1)
        print("well" if not node.health() else "not well")
        for alarm in node.health():
            print(f"{alarm.cause.value}: {alarm.text}")
        for event in node.events:
            print(f"at {event.at_ms}: {event.text}")
    finally:
        await node.stopService()


react(lambda reactor, path: Deferred.fromCoroutine(run(reactor, path)), sys.argv[1:])
