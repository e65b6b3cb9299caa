"""Put a value and read it back, with Twisted: ``python twisted_client.py [HOST:PORT]``."""

import sys

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

import chordtwist


async def main(reactor: object, address: str = "127.0.0.1:7401") -> None:
    dht = await chordtwist.connect(reactor, address)
    result = await dht.put_confirmed("greeting", b"good morning", ttl_s=600)
    print(f"{result.copies} of {result.wanted} copies")
    # Any number of questions may be under way at once.
    for value in await gatherResults([dht.get("greeting"), dht.get("farewell")]):
        print("nothing" if value is None else value.decode())
    await dht.close()


react(lambda reactor, *words: Deferred.fromCoroutine(main(reactor, *words)), sys.argv[1:])
