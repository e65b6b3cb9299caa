"""Put a value and read it back, with asyncio: ``python asyncio_client.py [HOST:PORT]``."""

import asyncio
import sys

import chordtwist


async def main(address: str = "127.0.0.1:7401") -> None:
    async with chordtwist.aio.connect(address) as dht:
        result = await dht.put_confirmed("greeting", b"good morning", ttl_s=600)
        print(f"{result.copies} of {result.wanted} copies")
        # Any number of questions may be under way at once.
        for value in await asyncio.gather(dht.get("greeting"), dht.get("farewell")):
            print("nothing" if value is None else value.decode())


asyncio.run(main(*sys.argv[1:]))
