"""Put a value and read it back, with Twisted: ``python client_twisted.py [HOST:PORT]``."""

import sys

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from chordtwist.core.address import Address
from chordtwist.net.api_address import dialling_endpoint
from chordtwist.net.client import DhtClient, key_of


async def talk(reactor, address="127.0.0.1:7401"):
    client = await DhtClient.connect(dialling_endpoint(reactor, Address.parse(address)))
    result = await client.put_confirmed(key_of("greeting"), b"good morning", ttl_s=600)
    print(f"{result.copies} of {result.wanted} copies")

    # Any number of questions may be under way at once.
    names = ["greeting", "farewell"]
    values = await gatherResults([client.get(key_of(name)) for name in names])
    for name, value in zip(names, values, strict=True):
        print(f"{name}: {'nothing' if value is None else value.decode()}")
    await client.close()


react(lambda reactor, *address: Deferred.fromCoroutine(talk(reactor, *address)), sys.argv[1:])
