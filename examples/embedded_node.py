"""Run a node inside a program, use it and ask how it is: ``python embedded_node.py [FILE]``."""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

import chordtwist


async def main(reactor: object, file: str | None = None) -> None:
    node = chordtwist.Node(reactor, file)
    await node.start()
    result = await node.put("greeting", b"good morning")
    print(f"{result.copies} of {result.wanted} copies")
    print(await node.get("greeting"))
    print("well" if not node.health() else [alarm.text for alarm in node.health()])
    print([event.text for event in node.events])
    await node.stop()


react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
