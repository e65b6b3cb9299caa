"""Put a value and read it back, with asyncio: ``python client_asyncio.py [HOST:PORT]``.

Twisted runs on asyncio's own loop; the reactor has to be installed and started before anything of Twisted is used.
"""

import asyncio
import sys


async def main(address="127.0.0.1:7401"):
    from twisted.internet import asyncioreactor

    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor

    reactor.startRunning(installSignalHandlers=False)
    try:
        await talk(reactor, address)
    finally:
        # Only the clean-up of stopping: the loop is asyncio's, and ends when it likes.
        reactor.fireSystemEvent("shutdown")


async def talk(reactor, address):
    from chordtwist.core.address import Address
    from chordtwist.net.api_address import dialling_endpoint
    from chordtwist.net.client import DhtClient, key_of

    loop = asyncio.get_running_loop()
    endpoint = dialling_endpoint(reactor, Address.parse(address))
    client = await DhtClient.connect(endpoint).asFuture(loop)
    result = await client.put_confirmed(key_of("greeting"), b"good morning", ttl_s=600).asFuture(loop)
    print(f"{result.copies} of {result.wanted} copies")

    # Any number of questions may be under way at once.
    names = ["greeting", "farewell"]
    values = await asyncio.gather(*(client.get(key_of(name)).asFuture(loop) for name in names))
    for name, value in zip(names, values, strict=True):
        print(f"{name}: {'nothing' if value is None else value.decode()}")
    await client.close().asFuture(loop)


asyncio.run(main(*sys.argv[1:]))
